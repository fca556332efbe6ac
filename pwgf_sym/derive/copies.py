"""Copies of the space: what they are called, and kernels with two of them exchanged."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from ..declare.energies import EnergyIntegral, ordered_integrals
from ..declare.formula_checks import expanded_terms
from ..declare.indexed import renamed_copies
from ..declare.symbols import Density, coordinates, copy_of
from ..sharing import replaced

__all__ = [
    "LARGEST_EXPANDED",
    "OverCopies",
    "in_names",
    "in_time",
    "is_symmetric",
    "second_copy",
    "symmetrized",
    "symmetrized_of_three",
    "third_copy",
]

# Kernels with more operations than this are not expanded to find out whether they are symmetric.
LARGEST_EXPANDED = 400


def second_copy(
    found: Sequence[EnergyIntegral], rho: Density, parameters: Sequence[sp.Symbol]
) -> tuple[sp.Symbol, ...]:
    """The second copy: the one that the energy uses where it is free, else a new one."""
    names = {s.name for s in (*rho.coordinates, *parameters)}
    inner = [one for term in found for one in ordered_integrals(term.integrand)]
    for copies in [*(term.copies[1:] for term in found), *(one.copies for one in inner)]:
        for copy in copies:
            if not any(s.name in names for s in copy):
                return copy
    suffix = ""
    while any(s.name + suffix in names for s in copy_of(rho.coordinates)):
        suffix += "_"
    return tuple(sp.Symbol(s.name + suffix, real=True) for s in copy_of(rho.coordinates))


def third_copy(
    found: Sequence[EnergyIntegral], partners: Sequence[sp.Symbol], parameters: Sequence[sp.Symbol]
) -> tuple[sp.Symbol, ...]:
    """The third copy: one that the energy uses, where it is free; () without triple integrals."""
    triple = [term for term in found if len(term.copies) == 3]
    if not triple:
        return ()
    own = {s.name for s in (*triple[0].copies[0], *partners, *parameters)}
    for copy in (*triple[0].copies[::-1], coordinates(len(partners), "z")):
        if not any(s.name in own for s in copy):
            return tuple(copy)
    suffix = "_"
    while any(s.name + suffix in own for s in copy):
        suffix += "_"
    return tuple(sp.Symbol(s.name + suffix, real=True) for s in copy)


def in_names(
    expr: sp.Expr, old: Sequence[Sequence[sp.Symbol]], new: Sequence[Sequence[sp.Symbol]]
) -> sp.Expr:
    """A formula with copies of the space called otherwise."""
    names: dict[sp.Basic, sp.Basic] = {}
    for one, other in zip(old, new, strict=True):
        if tuple(one) != tuple(other):
            names |= dict(zip(one, other, strict=True)) | renamed_copies(one, other)
    return replaced(expr, names) if names else expr


def is_symmetric(kernel: sp.Expr, x: Sequence[sp.Symbol], y: Sequence[sp.Symbol]) -> bool:
    """Whether W(x, y) = W(y, x) is seen, without multiplying out a long formula."""
    swapped = in_names(kernel, [x, y], [y, x])
    if swapped == kernel or _signs_dropped(swapped) == _signs_dropped(kernel):
        return True
    difference = kernel - swapped
    small = max(sp.count_ops(difference), expanded_terms(difference)) <= LARGEST_EXPANDED
    return bool(small and sp.expand(difference) == 0)


def symmetrized(kernel: sp.Expr, x: Sequence[sp.Symbol], y: Sequence[sp.Symbol]) -> sp.Expr:
    """W(x, y) + W(y, x), as 2 W where W is seen to be symmetric."""
    if is_symmetric(kernel, x, y):
        return 2 * kernel
    return kernel + in_names(kernel, [x, y], [y, x])


def symmetrized_of_three(
    kernel: sp.Expr, x: Sequence[sp.Symbol], y: Sequence[sp.Symbol], z: Sequence[sp.Symbol]
) -> sp.Expr:
    """W(x, y, z) + W(y, x, z) + W(y, z, x), as 3 W where W is seen to be symmetric."""
    if is_symmetric(kernel, x, y) and is_symmetric(kernel, y, z):
        return 3 * kernel
    turned = in_names(kernel, [x, y, z], [y, z, x])
    return symmetrized(kernel, x, y) + turned


def _signs_dropped(expr: sp.Expr) -> sp.Expr:
    """Give (y - x)**2 and (x - y)**2 one form."""
    return expr.replace(
        lambda e: e.is_Pow and e.exp.is_even and e.base.could_extract_minus_sign(),
        lambda e: (-e.base) ** e.exp,
    )


def in_time(expr: sp.Expr, rho: Density, time: sp.Symbol) -> sp.Expr:
    """Write rho(t, x0, ...) for rho(x0, ...), also under integral signs."""
    if isinstance(expr, Density) and expr.func == rho.func:
        return expr.func(time, *expr.args)
    if not expr.args or not expr.has(rho.func):
        return expr
    return expr.func(*(in_time(arg, rho, time) for arg in expr.args))


class OverCopies:
    """An integral over ``copies`` copies of the space; ``dense`` says of a double one that it reads
    the density at both in other ways than W(x, y) rho(x) rho(y)."""

    copies: int
    dense: bool

    @property
    def single(self) -> bool:
        """Whether it is over one copy of the space."""
        return self.copies == 1

    @property
    def pair(self) -> bool:
        """Whether it is a double integral of W(x, y) rho(x) rho(y)."""
        return self.copies == 2 and not self.dense

    @property
    def triple(self) -> bool:
        """Whether it is a triple integral."""
        return self.copies == 3
