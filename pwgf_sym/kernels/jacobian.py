"""Kernels of a velocity's local Jacobian: entries at every sample, and sums over pairs.

Entries that are the same at all samples, such as those of a quadratic potential, are numbers and no
kernel's; interactions that are polynomials of |x - y|^2 need moments of the samples only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import sympy as sp

from ..derive.calculus import Gradient
from ..derive.copies import symmetrized
from ..derive.jacobian import (
    MOST_CORNERS,
    factors_of_sums,
    local_jacobian,
    radial_jacobian,
    rows_jacobian,
)
from ..derive.samples import SampleForm
from ..sharing import symbols_of
from .centers import Centers
from .energies import FormulaKernel, lowered, read_values
from .moments import MomentForm, vanishing
from .pairs import PairParts

__all__ = ["JacobianForm", "jacobian_form"]

Place = tuple[int, int]
Entries = dict[Place, sp.Expr]
# A kernel, and the places of its field's components.
Placed = tuple[FormulaKernel, tuple[Place, ...]]

_SUMMARY = "A = dw/dx at fixed log density and score"


@dataclass(frozen=True)
class JacobianForm:
    """A velocity's local Jacobian, symmetric, taken apart; places are (i, j) with i <= j.

    Attributes
    ----------
    dim : int
        d.
    places : tuple of (int, int)
        Where entries are not zero, sorted.
    fixed, pair_fixed : dict of (int, int) to Expr
        Entries in parameters and integrals only: of the local part, and of every pair.
    kernels : dict of str to FormulaKernel
        What differs from sample to sample, in the field ``jacobian_out``.
    fields : dict of str to tuple of (int, int)
        Places of the components of a kernel's field.
    moments : (Expr, Expr) or None
        k1, k0 of the mean over partners of (k1 q + k0) (x - y), q = |x - y|^2, which the velocity
        takes from moments.
    complete : bool
        Whether it has all pairs: interactions with too many entries are left out.
    sums : dict of str to Expr
        Factors, in parameters and integrals, of the Hessians of sums over an index.
    """

    dim: int
    places: tuple[Place, ...]
    fixed: dict[Place, sp.Expr]
    pair_fixed: dict[Place, sp.Expr]
    kernels: dict[str, FormulaKernel]
    fields: dict[str, tuple[Place, ...]]
    moments: tuple[sp.Expr, sp.Expr] | None
    complete: bool
    sums: dict[str, sp.Expr] = field(default_factory=dict)

    @property
    def diagonal(self) -> bool:
        """Whether no entry stands off the diagonal."""
        return all(i == j for i, j in self.places)


def jacobian_form(form: SampleForm, parts: PairParts) -> JacobianForm:
    """Derive the local Jacobian of an energy's velocity.

    Parameters
    ----------
    form : SampleForm
        The energy in samples, with a velocity.
    parts : PairParts
        Its double integrals, taken apart.

    Raises
    ------
    EnergyError
        If more than 64 entries off the diagonal differ from sample to sample.
    """
    carried = {*form.coordinates, *form.beside_x}
    sums = factors_of_sums(form)
    local = local_jacobian(form) if form.local_velocity else {}
    of_moments = moment_entries(parts.moments, form)
    for place, entry in (of_moments or {}).items():
        local[place] = local.get(place, sp.S.Zero) + entry
    fixed, moving = _apart(local, carried)
    kernels = _local_kernels(form, parts, moving)
    pairs = _pair_entries(form, parts)
    others = form.triple_terms or form.density_pairs
    complete = pairs is not None and of_moments is not None and not others
    pair_fixed, pair_moving = _apart(pairs or {}, {*carried, *form.partners, parts.distance})
    if pair_moving:
        kernels["pair_velocity_jacobian"] = (
            _pair_kernel(form, parts, pair_moving),
            tuple(pair_moving),
        )
    slopes = parts.polynomials.slopes if parts.polynomials else None
    places = {*fixed, *moving, *pair_fixed, *pair_moving, *_of_moments(slopes, form)}
    d = len(form.coordinates)
    places |= {(i, j) for i in range(d) for j in range(i, d)} if sums else set()
    return JacobianForm(
        len(form.coordinates),
        tuple(sorted(places)),
        fixed,
        pair_fixed,
        {name: kernel for name, (kernel, _) in kernels.items()},
        {name: own for name, (_, own) in kernels.items()},
        slopes,
        complete,
        sums,
    )


def _apart(entries: Entries, varying: set[sp.Symbol]) -> tuple[Entries, Entries]:
    """Entries without and with symbols that vary."""
    moving = {p: e for p, e in entries.items() if not varying.isdisjoint(symbols_of(e))}
    return {p: e for p, e in entries.items() if p not in moving}, moving


def _of_moments(slopes: tuple[sp.Expr, sp.Expr] | None, form: SampleForm) -> set[Place]:
    """Places of the interactions that are computed from moments."""
    d = len(form.coordinates)
    if slopes is None:
        return set()
    return {(i, j) for i in range(d) for j in range(i, d) if i == j or slopes[0] != 0}


def _pair_entries(form: SampleForm, parts: PairParts) -> Entries | None:
    """Entries of what is summed over pairs; None where there are too many."""
    x, y, d = form.coordinates, form.partners, len(form.coordinates)
    found: Entries = {}
    if any(row != 0 for row in parts.rows):
        rows = rows_jacobian(parts.rows, x, {*x, *y})
        if rows is None:
            return None
        found |= rows
    if parts.radial != 0:
        if d * (d - 1) // 2 > MOST_CORNERS and parts.distance in symbols_of(parts.radial):
            return None
        for place, entry in radial_jacobian(parts.radial, parts.distance, x, y).items():
            found[place] = found.get(place, sp.S.Zero) + entry
    return found


def moment_entries(moments: MomentForm | None, form: SampleForm) -> Entries | None:
    """Entries of what is computed from moments; None where there are too many.

    The derivatives hold the partners fixed, also that one which is the sample itself.
    """
    if moments is None:
        return {}
    own = moments.shares[1]
    x, mirror = form.coordinates, dict(zip(form.partners, form.coordinates, strict=True))
    found = rows_jacobian([row.xreplace({own: sp.S.Zero}) for row in moments.rows], x, {*x})
    if found is None:
        return None
    gradient = Gradient(x)
    for part in moments.separated:
        slopes = gradient(symmetrized(part.formula, x, form.partners))
        for i, slope in enumerate(slopes):
            for j, entry in enumerate(gradient(slope)[i:], i):
                entry = own * part.weight * vanishing(entry.xreplace(mirror))
                found[i, j] = found.get((i, j), sp.S.Zero) + entry
    return {place: entry for place, entry in found.items() if entry != 0}


def _local_kernels(form: SampleForm, parts: PairParts, moving: Entries) -> dict[str, Placed]:
    """By name one kernel, or two where the diagonal is a loop over the coordinates."""
    if not moving:
        return {}
    d, name = len(form.coordinates), "velocity_jacobian"
    diagonal = tuple((i, i) for i in range(d))
    corners = tuple(p for p in moving if p not in diagonal)
    if all(p in moving for p in diagonal):
        kernel = _kernel(form, parts, name, f"{_SUMMARY}: its diagonal", moving, diagonal)
        if kernel.rolled is not None:
            found = {name: (kernel, diagonal)}
            if corners:
                other, summary = f"{name}_corners", f"{_SUMMARY}: above its diagonal"
                found[other] = _kernel(form, parts, other, summary, moving, corners), corners
            return found
    places = tuple(moving)
    where = ", ".join(f"{i},{j}" for i, j in places)
    return {
        name: (_kernel(form, parts, name, f"{_SUMMARY}: entries {where}", moving, places), places)
    }


def _kernel(
    form: SampleForm,
    parts: PairParts,
    name: str,
    summary: str,
    entries: Entries,
    places: Iterable[Place],
) -> FormulaKernel:
    centers = Centers(form.densities, form.coordinates, form.beside_x)
    fields = {"jacobian_out": tuple(entries[p] for p in places)}
    kernel = FormulaKernel(name, summary, form.carried, (), read_values(form, parts), fields)
    return lowered(kernel, centers, linear=False)


def _pair_kernel(form: SampleForm, parts: PairParts, entries: Entries) -> FormulaKernel:
    where = ", ".join(f"{i},{j}" for i, j in entries)
    kernel = FormulaKernel(
        "pair_velocity_jacobian",
        f"mean over partners y of -Hess_x (W(x, y) + W(y, x)): entries {where}",
        form.carried,
        form.partners,
        read_values(form, parts),
        {"jacobian_out": tuple(entries.values())},
        distance=parts.distance,
    )
    return lowered(kernel, Centers((), form.coordinates, ()))
