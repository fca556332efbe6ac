"""Coordinates measured from where a formula measures them: 3 (x - c) is not 3 x - 3 c.

SymPy multiplies a number into a sum at once, so of (x - c)'A(x - c)/2 with c = 1e6 every row of the
gradient is a sum of numbers of size 1e6 that cancel.  Terms such as x - c in an energy's densities
name the centers c; sums of multiples of coordinates are written in ``offset(x, c)`` = x - c again
wherever their constant then vanishes or shrinks.  x - c itself is exact near c (Sterbenz).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sympy as sp
from sympy.polys.matrices import DomainMatrix

from ..tensors.scalars.offset import offset

__all__ = ["Centers"]

# A constant that shrinks by less is left where it is, and nearer centers cost a digit at most.
_SHRINKS = 16
# So many centers of a coordinate are tried.
_MOST = 4
# What rounding leaves of a constant in sums of decimal numbers.
_ROUNDING = sp.Float(1e-14)

# By coordinate: its number in a sum, or its center.
ByCoordinate = dict[sp.Symbol, sp.Expr]


class Centers:
    """Where formulas measure coordinates from.

    Parameters
    ----------
    densities : iterable of Expr
        The formulas as they were written.
    coordinates : sequence of Symbol
    carried : sequence of Symbol
        What else differs from sample to sample.
    """

    def __init__(
        self,
        densities: Iterable[sp.Expr],
        coordinates: Sequence[sp.Symbol],
        carried: Sequence[sp.Symbol],
    ):
        self._coordinates = tuple(coordinates)
        self._depends = dict.fromkeys((*coordinates, *carried), True)
        self.found: dict[sp.Symbol, list[sp.Expr]] = {}
        rows: list[tuple[ByCoordinate, sp.Expr]] = []
        for density in densities:
            for node in sorted(density.atoms(sp.Add), key=sp.default_sort_key):
                linear, constant, rest = self._taken_apart(node)
                if rest or not linear or constant == 0:
                    continue
                if len(linear) > 1:
                    rows.append((linear, constant))
                    continue
                ((x, factor),) = linear.items()
                self._add(x, -constant / factor)
        self._solve(rows)

    def _add(self, x: sp.Symbol, center: sp.Expr) -> None:
        known = self.found.get(x, [])
        far = not center.is_number or _size(center) >= _SHRINKS
        if far and len(known) < _MOST and center not in known:
            self.found[x] = [*known, center]

    def _taken_apart(self, node: sp.Add) -> tuple[ByCoordinate, sp.Expr, list[sp.Expr]]:
        """Numbers by coordinate, the part that is the same for all samples, and all other terms."""
        linear: ByCoordinate = {}
        constant: list[sp.Expr] = []
        rest: list[sp.Expr] = []
        for term in node.args:
            number, factor = term.as_coeff_Mul()
            if factor in self._coordinates:
                linear[factor] = number
            elif self._varies(term):
                rest.append(term)
            else:
                constant.append(term)
        return linear, sp.Add(*constant), rest

    def _varies(self, node: sp.Basic) -> bool:
        """Whether a node differs from sample to sample; remembered, since formulas are long."""
        if node not in self._depends:
            self._depends[node] = any(map(self._varies, node.args))
        return self._depends[node]

    def _solve(self, rows: list[tuple[ByCoordinate, sp.Expr]]) -> None:
        """The point where all sums of several coordinates vanish, if there is one."""
        rows = [row for row in rows if self._moved(*row) is None]
        unknown = sorted({x for linear, _ in rows for x in linear}, key=str)
        if not rows or not all(b.is_number and b.is_real for _, b in rows):
            return
        numbers = [[*(linear.get(x, 0) for x in unknown), -b] for linear, b in rows]
        exact = sp.Matrix(numbers).applyfunc(lambda n: sp.nsimplify(n, rational=True))
        if not all(n.is_Rational for n in exact):
            return
        reduced, pivots = DomainMatrix.from_Matrix(exact).to_field().rref()
        if len(unknown) in pivots:  # no such point
            return
        for row, pivot in enumerate(pivots):
            self._add(unknown[pivot], reduced.to_Matrix()[row, len(unknown)])

    def _moved(
        self, linear: ByCoordinate, constant: sp.Expr
    ) -> tuple[ByCoordinate, sp.Expr] | None:
        """(center by coordinate, constant that is left), or None where no center helps."""
        chosen = {x: self.found[x][0] for x in linear if self.found.get(x)}
        if len(chosen) < len(linear):
            return None
        left = self._left(linear, constant, chosen)
        for x in chosen:
            for center in self.found[x][1:]:
                other = self._left(linear, constant, {**chosen, x: center})
                if _size(other) < _size(left):
                    chosen, left = {**chosen, x: center}, other
        if constant == 0 and len(linear) == 1:
            return None
        return (chosen, left) if _size(left) * _SHRINKS <= _size(constant) else None

    @staticmethod
    def _left(linear: ByCoordinate, constant: sp.Expr, centers: ByCoordinate) -> sp.Expr:
        moved = [factor * centers[x] for x, factor in linear.items()]
        left = sp.expand(sp.Add(constant, *moved))
        largest = max(map(_size, moved))
        return sp.S.Zero if left.is_Float and _size(left) <= _ROUNDING * largest else left

    def written(self, formula: sp.Expr) -> sp.Expr:
        """The formula in offsets."""
        return self._written(formula, {}) if self.found else formula

    def _written(self, node: sp.Basic, known: dict[sp.Basic, sp.Basic]) -> sp.Basic:
        if not node.args or not self._varies(node):
            return node
        if node not in known:
            args = [self._written(arg, known) for arg in node.args]
            rebuilt = node.func(*args)
            if node.is_Add:
                linear, constant, _ = self._taken_apart(node)
                moved = self._moved(linear, constant) if linear else None
                if moved is not None:
                    rebuilt = self._in_offsets(args, linear, *moved)
            known[node] = rebuilt
        return known[node]

    def _in_offsets(
        self, args: list[sp.Expr], linear: ByCoordinate, centers: ByCoordinate, left: sp.Expr
    ) -> sp.Expr:
        rest = [arg for arg in filter(self._varies, args) if arg.as_coeff_Mul()[1] not in linear]
        return sp.Add(*rest, left, *(a * offset(x, centers[x]) for x, a in linear.items()))


def _size(constant: sp.Expr) -> sp.Expr:
    """The size of a number; of a sum of parameters the number of its terms."""
    if constant.is_number:
        return abs(sp.N(constant))
    return sp.Float(1e9 * len(sp.Add.make_args(constant)))
