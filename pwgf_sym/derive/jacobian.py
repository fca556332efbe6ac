"""Local Jacobians of velocities: how w = -grad dE/drho changes with a sample's own position.

What a sample carries of the density, l = log rho and s = grad l, is held fixed, and so are the
partners y of a pair and the energy's integrals.  Of a potential V that leaves A = -Hess V, of a
formula f(x, rho) with the variation phi(x, rho) the symmetric part of

    dw_i/dx_j = -d^2 phi/dx_i dx_j - (d/dx_j (rho d phi/d rho)) s_i,

of an interaction the mean over y of -Hess_x (W(x, y) + W(y, x)).  A step that reads A as an
approximation, as a W-method does (Steihaug and Wolfbrandt, Math. Comp. 33, 1979), keeps its order
whatever else there is.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from ..declare.energies import short_text
from ..declare.formula_checks import expanded_terms
from ..errors import EnergyError
from ..sharing import symbols_of
from .calculus import Gradient
from .copies import LARGEST_EXPANDED
from .samples import SampleForm

__all__ = ["MOST_CORNERS", "factors_of_sums", "local_jacobian", "radial_jacobian"]
__all__ += ["rows_jacobian"]

# So many entries off the diagonal may differ from sample to sample: each is a formula of its own.
MOST_CORNERS = 64
# Hessians of sums over an index are matrices at every sample.
MOST_COORDINATES = 64

Entries = dict[tuple[int, int], sp.Expr]


def local_jacobian(form: SampleForm) -> Entries:
    """Entries (i, j), i <= j, of the symmetric part of dw/dx without pairs, where not zero.

    Raises
    ------
    EnergyError
        If more than ``MOST_CORNERS`` entries off the diagonal differ from sample to sample, or the
        energy holds convolutions.
    """
    if form.convolutions:
        given = "one with an integral inside an integral"
        accepted = "for the velocity's Jacobian, energies without convolutions"
        raise EnergyError("energy", given, accepted, "Use an integrator that reads no Jacobian.")
    carried = {*form.coordinates, *form.beside_x}
    found = rows_jacobian(form.local_velocity, form.coordinates, carried, form.score)
    if found is None:
        given = f"one in {len(form.coordinates)} coordinates of which more are coupled"
        accepted = f"for the velocity's Jacobian, energies whose Hessian has at most {MOST_CORNERS}"
        fix = "Use an integrator that reads no Jacobian."
        accepted += " entries above the diagonal that differ from sample to sample"
        raise EnergyError("energy", given, accepted, fix)
    return found


def factors_of_sums(form: SampleForm) -> dict[str, sp.Expr]:
    """Factors c of the sums S over an index, of which the velocity holds c grad S.

    Raises
    ------
    EnergyError
        If a factor differs from sample to sample: S stands in a function, or times the density.
    """
    varying = {*form.coordinates, *form.beside_x}
    found = {}
    for one in form.sums:
        gradient = Gradient([one.symbol, *one.slopes])
        rows = [gradient(row) for row in form.local_velocity]
        factors = {row[1 + i] for i, row in enumerate(rows)}
        (factor, *others) = factors
        mixed = any(row[1 + j] != 0 for i, row in enumerate(rows) for j in range(i))
        if others or mixed or symbols_of(factor) & varying or any(row[0] != 0 for row in rows):
            given = f"{short_text(one.formula)} in a function"
            accepted = (
                "for the velocity's Jacobian, sums over an index in the potential as they are"
            )
            fix = "Use an integrator that reads no Jacobian."
            raise EnergyError("energy", given, accepted, fix)
        if len(form.coordinates) > MOST_COORDINATES:
            given = f"{short_text(one.formula)} in {len(form.coordinates)} coordinates"
            accepted = f"for the velocity's Jacobian, at most {MOST_COORDINATES} coordinates"
            fix = "Use an integrator that reads no Jacobian."
            raise EnergyError("energy", given, accepted, fix)
        if factor != 0:
            found[one.name] = factor
    return found


def rows_jacobian(
    rows: Sequence[sp.Expr],
    x: Sequence[sp.Symbol],
    varying: set[sp.Symbol],
    score: Sequence[sp.Symbol] = (),
) -> Entries | None:
    """Entries (i, j), i <= j, of the symmetric part of d rows/dx, where not zero.

    Parameters
    ----------
    rows : sequence of d Expr
        A gradient, up to what is multiplied by the score.
    x : sequence of d Symbol
    varying : set of Symbol
        What differs from sample to sample, or from pair to pair.
    score : sequence of Symbol

    Returns
    -------
    dict or None
        None where more than ``MOST_CORNERS`` entries off the diagonal vary.
    """
    gradient, slopes, corners = Gradient(x), [], 0
    for i, row in enumerate(rows):
        slopes.append(gradient(row))
        corners += sum(not varying.isdisjoint(symbols_of(e)) for e in slopes[-1][i + 1 :])
        if corners > MOST_CORNERS:
            return None
    found = {}
    for i in range(len(rows)):
        for j in range(i, len(rows)):
            entry, mirrored = slopes[i][j], slopes[j][i]
            if i < j and not symbols_of(entry, mirrored).isdisjoint(score):
                entry = (entry + mirrored) / 2
            if not _vanishes(entry):
                found[i, j] = entry
    return found


def radial_jacobian(
    radial: sp.Expr, distance: sp.Symbol, x: Sequence[sp.Symbol], y: Sequence[sp.Symbol]
) -> Entries:
    """The same for c(q) (x - y), q = |x - y|^2: c I + 2 c' (x - y)(x - y)^T, in q, x and y."""
    (slope,) = Gradient([distance])(radial)
    found = {}
    for i in range(len(x)):
        for j in range(i, len(x)):
            entry = 2 * slope * (x[i] - y[i]) * (x[j] - y[j]) + (radial if i == j else 0)
            if entry != 0:
                found[i, j] = entry
    return found


def _vanishes(entry: sp.Expr) -> bool:
    """Whether an entry is seen to be zero, without multiplying out a long formula."""
    if entry == 0 or not entry.is_Add:
        return entry == 0
    small = max(sp.count_ops(entry), expanded_terms(entry)) <= LARGEST_EXPANDED
    return bool(small and sp.expand(entry) == 0)
