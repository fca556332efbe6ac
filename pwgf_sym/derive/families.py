"""Sums over an index of functions of integrals, as quantities of the density and of a sample.

    T = Sum(F(J_n, b[n]), (n, 0, N - 1)),    J_n = int g(A[n, :], x) rho(x) dx,

has the first variation S(x) = Sum(c_n g(A[n, :], x), (n, 0, N - 1)) with c_n = F'(J_n): a sum over
an index with one more array, which the host fills with F' of the means over all samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from ..declare.energies import EnergyIntegral, ordered_integrals
from ..declare.energy_checks import linear_kernel
from ..declare.indexed import is_kept, renamed_copies
from ..declare.symbols import Density, as_copy
from ..sharing import parts, replaced
from .calculus import RHO
from .pieces import in_pieces
from .sums import IndexedSum, SumTable, check_continuous

__all__ = ["Family", "family_of", "weights_in_full"]


@dataclass(frozen=True)
class Family:
    """A sum over an index n of a function F of means J_n.

    Attributes
    ----------
    node : Sum
        As it stands in the energy.
    means : tuple of IndexedBase
        J: the entry J[n] is the integral of g times the density.
    integrands : tuple of Expr
        g, in n, arrays, parameters and the coordinates x.
    value : Expr
        F, in J[n], n, arrays and parameters.
    weights : tuple of IndexedBase
        c: the entry c[n] is the derivative of F by J[n].
    slopes : tuple of Expr
        These derivatives.
    moved : IndexedSum
        S, the first variation, with entries of c.
    """

    node: sp.Sum
    means: tuple[sp.IndexedBase, ...]
    integrands: tuple[sp.Expr, ...]
    value: sp.Expr
    weights: tuple[sp.IndexedBase, ...]
    slopes: tuple[sp.Expr, ...]
    moved: IndexedSum

    @property
    def formula(self) -> sp.Expr:
        """S RHO, whose integral moves as this does while c is held fixed."""
        return self.moved.symbol * RHO

    @property
    def limits(self) -> tuple[sp.Symbol, sp.Expr, sp.Expr]:
        """The index, its first and its last value."""
        index, first, last = self.node.limits[0]
        return index, first, last


def family_of(node: sp.Sum, rho: Density, table: SumTable) -> Family:
    """Take a sum over integrals apart.

    Parameters
    ----------
    node : Sum
    rho : Density
    table : SumTable
        Takes the sum that is the first variation, and knows which names are free.
    """
    index, x = node.limits[0][0], rho.coordinates
    means: dict[sp.Expr, sp.IndexedBase] = {}
    values: dict[sp.Basic, sp.Basic] = {}
    for integral in ordered_integrals(node.function):
        (copy,) = integral.copies
        own = dict(zip(copy, x, strict=True)) | renamed_copies(copy, x)
        summands = []
        for term in sp.Add.make_args(replaced(in_pieces(linear_kernel(integral, rho)), own)):
            moving = [f for f in sp.Mul.make_args(term) if _varies(f, x)]
            rest = sp.Mul(*(f for f in sp.Mul.make_args(term) if f not in moving))
            if moving:  # what stands for the mass, which is 1, has no mean
                integrand = sp.Mul(*moving)
                if integrand not in means:
                    means[integrand] = sp.IndexedBase(table.free("J"), real=True)
                rest *= means[integrand][index]
            summands.append(rest)
        values[integral] = sp.Add(*summands)
    value = replaced(node.function, values)
    check_continuous(sp.Sum(value, *node.limits))
    slopes = [_slope(value, mean[index]) for mean in means.values()]
    weights = [sp.IndexedBase(table.free("c"), real=True) for _ in means]
    terms = (c[index] * g for c, g in zip(weights, means, strict=True))
    moved = table.whole(sp.Sum(sp.Add(*terms), *node.limits))
    own_means = tuple(means.values())
    return Family(node, own_means, tuple(means), value, tuple(weights), tuple(slopes), moved)


def _varies(formula: sp.Basic, x: Sequence[sp.Symbol]) -> bool:
    """Whether a factor holds coordinates."""
    base = as_copy(x, "x").indexed_base
    return any(p in x or (isinstance(p, sp.Indexed) and p.base == base) for p in parts(formula))


def _slope(formula: sp.Expr, entry: sp.Indexed) -> sp.Expr:
    """The derivative by an entry of an array, entries and inner sums being numbers of their own."""

    def is_open(part: sp.Basic) -> bool:
        return not is_kept(part) and not isinstance(part, sp.Indexed)

    leaves = [p for p in parts(formula, within=is_open) if not is_open(p)]
    marks = {leaf: sp.Dummy(real=True) for leaf in leaves}
    found = replaced(formula, marks).diff(marks[entry]) if entry in marks else sp.S.Zero
    return replaced(found, {mark: leaf for leaf, mark in marks.items()})


def weights_in_full(
    formula: sp.Expr, families: Sequence[Family], rho: Density, partners: Sequence[sp.Symbol]
) -> sp.Expr:
    """A formula with the derivatives by means in the place of entries of c."""
    found: dict[sp.Basic, sp.Basic] = {}
    copy = dict(zip(rho.coordinates, partners, strict=True))
    copy |= renamed_copies(rho.coordinates, partners)
    for entry in (p for p in parts(formula) if families and isinstance(p, sp.Indexed)):
        for family in families:
            if entry.base in family.weights:
                index = family.limits[0]
                integrals = {
                    mean[index]: EnergyIntegral(replaced(g, copy) * rho.at(partners), partners)
                    for mean, g in zip(family.means, family.integrands, strict=True)
                }
                slope = family.slopes[family.weights.index(entry.base)]
                found[entry] = replaced(slope, integrals).xreplace({index: entry.indices[0]})
    return replaced(formula, found)
