"""The Jacobian J of a step, or of a block of it, that slices do not divide.

diagonal      every term of J has a Kronecker delta: logarithms and divisions
low rank      c 1 + U V with few columns: the matrix determinant lemma, Woodbury's formula
dense         anything else: J is formed
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Protocol

import sympy as sp

from ..tensors import (
    Add,
    Axes,
    Axis,
    Constant,
    Delta,
    Elementwise,
    Inverse,
    Labelled,
    LogDet,
    Product,
    Tensor,
    Zero,
    add,
    apply,
    constant,
    placeholder,
    product,
    window,
)
from ..tensors.differentiate import jacobian

__all__ = ["Dense", "Diagonal", "LowRank", "Structure", "block_structure"]
__all__ += ["diagonal_structure", "low_rank_structure"]

# Measured on a CPU: at this part of the dimension a low rank takes two thirds of the time of the
# dense matrix, at one half a quarter to a half, and as long as that where they are equal.
_MOST_RANK = sp.Rational(3, 4)


class Structure(Protocol):
    """What is asked of the Jacobian J of f(x), with f over an axis (f) and x over an axis (x)."""

    @property
    def volume(self) -> Tensor:
        """log|det J|, without axes."""

    def transposed_solve(self, right: Tensor) -> Tensor:
        """J^-T r: r over the axis of x, the result over that of f."""

    def solve(self, right: Tensor) -> Tensor:
        """J^-1 r: r over the axis of f, the result over that of x."""


def block_structure(after: Tensor, x: Tensor) -> Structure:
    """The structure of a block of a step."""
    matrix, own = jacobian(after, x), x.axes[0]
    if own.size == 1:  # a number
        value = product(1, [(matrix, matrix.axes)], matrix.axes[:1])
        return Diagonal(value, own)
    return diagonal_structure(matrix, own) or low_rank_structure(matrix, own) or Dense(matrix, own)


class Dense:
    """A Jacobian without structure that is known.

    Attributes
    ----------
    matrix : Tensor
        J, (f, basis).
    axis : Axis
        The axis of x.
    """

    def __init__(self, matrix: Tensor, axis: Axis):
        self.matrix, self.axis = matrix, axis

    @cached_property
    def volume(self) -> Tensor:
        """log|det J|."""
        return LogDet(self.matrix)

    def transposed_solve(self, right: Tensor) -> Tensor:
        """J^-T r."""
        feature, basis = self.matrix.axes
        inverse = Inverse(self.matrix)
        return product(1, [(inverse, inverse.axes), (right, (basis,))], (feature,))

    def solve(self, right: Tensor) -> Tensor:
        """J^-1 r."""
        feature, basis = self.matrix.axes
        factors = [(Inverse(self.matrix), (basis, feature)), (right, (feature,))]
        found = product(1, factors, (basis,))
        return product(1, [(found, (self.axis,))], (self.axis,))


class Diagonal:
    """A diagonal Jacobian: c times factors, entry by entry.

    Attributes
    ----------
    row, axis : Axis
        Those of f and x.
    coefficient : Expr
    factors : list of (Tensor, Axes)
        Under labels of ``row``.
    """

    def __init__(self, values: Tensor, axis: Axis):
        (self.row,), self.axis = values.axes, axis
        self.coefficient, self.factors = _monomial(values)

    @cached_property
    def volume(self) -> Tensor:
        """The sum of log|v_i|."""
        number = self.row.size * sp.log(sp.Abs(self.coefficient))
        terms: list[Tensor] = [constant(number)] if number != 0 else []
        for factor, labels in self.factors:
            times = 1 if labels else self.row.size
            terms.append(product(times, [(_log_abs(factor), labels)], ()))
        return add(*terms) if terms else Zero(())

    def transposed_solve(self, right: Tensor) -> Tensor:
        """r / v."""
        return product(1 / self.coefficient, [(right, (self.row,)), *self._inverse], (self.row,))

    def solve(self, right: Tensor) -> Tensor:
        """The same, over the axis of x."""
        found = self.transposed_solve(right)
        return product(1, [(found, (self.axis,))], (self.axis,))

    @cached_property
    def _inverse(self) -> list[Labelled]:
        return [(apply(1 / placeholder(0), factor), labels) for factor, labels in self.factors]


class LowRank:
    """c 1 + U V: det = c^d det C with C = 1 + V U / c, the inverse by Woodbury's formula.

    Attributes
    ----------
    row, axis : Axis
        Those of f and x.
    number : Expr
        c.
    left, right : Tensor
        U (f, k) and V (k, basis), or without the axis k for a rank of one.
    """

    def __init__(self, row: Axis, axis: Axis, number: sp.Expr, left: Tensor, right: Tensor):
        self.row, self.axis, self.number, self.left, self.right = row, axis, number, left, right
        self.inner = left.axes[1:]

    @cached_property
    def core(self) -> Tensor:
        """C (k, l), or the number 1 + v . u / c."""
        left = tuple(axis.fresh for axis in self.inner)
        factors = [(self.right, (*self.inner, self.row)), (self.left, (self.row, *left))]
        unit = Delta(*self.inner, *left) if left else constant(1)
        return add(unit, product(1 / self.number, factors, (*self.inner, *left)))

    @cached_property
    def volume(self) -> Tensor:
        """d log|c| + log|det C|."""
        inner = LogDet(self.core) if self.inner else _log_abs(self.core)
        outer = self.row.size * sp.log(sp.Abs(self.number))
        return inner if outer == 0 else add(constant(outer), inner)

    def solve(self, right: Tensor) -> Tensor:
        """r/c - U C^-1 V r/c^2."""
        return self._solved(right, self.right, self.left, self.axis, (0, 1))

    def transposed_solve(self, right: Tensor) -> Tensor:
        """r/c - V^T C^-T U^T r/c^2."""
        return self._solved(right, self.left, self.right, self.row, (1, 0))

    def _solved(
        self, right: Tensor, first: Tensor, last: Tensor, axis: Axis, order: tuple[int, int]
    ) -> Tensor:
        """r/c - last C^-1 first r/c^2 over an axis; the order is that of C^-1's axes."""
        inner = product(1, [(first, self._labels(first, axis)), (right, (axis,))], self.inner)
        if self.inner:
            own = self.inner[0], self.inner[0].fresh
            labels = own[order[0]], own[order[1]]
            factors = [(Inverse(self.core), labels), (inner, own[1:])]
        else:
            factors = [(apply(1 / placeholder(0), self.core), ()), (inner, ())]
        factors.append((last, self._labels(last, axis)))
        change = product(-1 / self.number**2, factors, (axis,))
        return add(product(1 / self.number, [(right, (axis,))], (axis,)), change)

    def _labels(self, matrix: Tensor, axis: Axis) -> Axes:
        """Those of U or V, with an axis for f or the basis."""
        return tuple(own if own in self.inner else axis for own in matrix.axes)


def diagonal_structure(matrix: Tensor, axis: Axis) -> Diagonal | None:
    """The structure of a matrix (f, basis), if it is diagonal."""
    values = diagonal_of(matrix, *matrix.axes)
    if values is None or isinstance(values, Zero):
        return None
    found = Diagonal(values, axis)
    return found if found.coefficient != 0 else None


def diagonal_of(tensor: Tensor, row: Axis, column: Axis) -> Tensor | None:
    """Entries of a tensor for row = column, if its form proves that all others are zero.

    They have the tensor's axes without ``column``.
    """
    axes = tuple(axis for axis in tensor.axes if axis != column)
    match tensor:
        case Delta():
            return product(1, (), axes)
        case Zero():
            return Zero(axes)
        case Add():
            parts = [diagonal_of(term, row, column) for term in tensor.operands]
            known = [part for part in parts if part is not None]
            return add(*known) if len(known) == len(parts) else None
        case Product(coefficient, _, _, _, False):
            for k, (factor, labels) in enumerate(tensor.factors):
                if labels.count(row) != 1 or labels.count(column) != 1:
                    continue
                place = labels.index(column)
                inner = diagonal_of(factor, factor.axes[labels.index(row)], factor.axes[place])
                if inner is not None:
                    others = tensor.factors
                    del others[k]
                    others = _renamed(others, column, row)
                    if not isinstance(factor, Delta):
                        others.append((inner, labels[:place] + labels[place + 1 :]))
                    return product(coefficient, others, axes)
    return None


def _renamed(factors: list[Labelled], old: Axis, new: Axis) -> list[Labelled]:
    return [(t, tuple(new if axis == old else axis for axis in labels)) for t, labels in factors]


def _monomial(values: Tensor) -> tuple[sp.Expr, list[Labelled]]:
    """A vector as a number times factors that share its only axis, or have none."""
    match values:
        case Product(coefficient, _, _, _, False) if not values.summed:
            factors: list[Labelled] = []
            for factor, labels in values.factors:
                if isinstance(factor, Constant):
                    coefficient *= factor.value
                elif len(labels) == 1 and isinstance(factor, Product):
                    number, own = _monomial(factor)
                    coefficient *= number
                    factors += [(t, labels if ls else ()) for t, ls in own]
                elif len(labels) > 1:  # of a matrix the diagonal
                    factors.append((product(1, [(factor, labels)], labels[:1]), labels[:1]))
                else:
                    factors.append((factor, labels))
            return coefficient, factors
    return sp.S.One, [(values, values.axes)]


def _log_abs(tensor: Tensor) -> Tensor:
    """log|t|, entry by entry: of an exponential its argument."""
    if isinstance(tensor, Elementwise):
        plain = sp.log(tensor.expression**2) / 2
        if plain == placeholder(0) and tensor.operands[0].axes == tensor.axes:
            return tensor.operands[0]
        if not plain.has(sp.log) and plain.free_symbols:
            return apply(plain, *tensor.operands, axes=tensor.axes)
    return apply(sp.log(placeholder(0) ** 2) / 2, tensor)


# --------------------------------------------------------------------------------------- low rank
def low_rank_structure(matrix: Tensor, axis: Axis) -> LowRank | None:
    """The structure c 1 + U V with a number c, if the rank is small.

    Other diagonals are left to the dense matrix: where an entry of theirs comes near zero, the
    lemma divides by it, though the matrix need not be singular.
    """
    row, column = matrix.axes
    terms = _split(matrix, row, column)
    if terms is None or not terms[0]:
        return None
    monomials = [_monomial(values) for values in terms[0]]
    number = sp.Add(*[coefficient for coefficient, _ in monomials])
    if number == 0 or any(factors for _, factors in monomials):
        return None
    grouped: dict[tuple[Tensor, Axes], list[Tensor]] = {}
    for left, right in terms[1]:
        grouped.setdefault((left, right.axes), []).append(right)
    pairs = [(left, add(*rights)) for (left, _), rights in grouped.items()]
    ranks = [math.prod(a.size for a in left.axes[1:]) for left, _ in pairs]
    if not pairs or sum(ranks) > _MOST_RANK * row.size:
        return None
    joined = _joined(pairs, ranks)
    return LowRank(row, axis, number, *joined) if joined else None


_Pairs = list[tuple[Tensor, Tensor]]


def _split(matrix: Tensor, row: Axis, column: Axis) -> tuple[list[Tensor], _Pairs] | None:
    """Diagonals, and pairs U (row, inner...), V (inner..., column), whose sum is the matrix."""
    values = diagonal_of(matrix, row, column)
    if values is not None:
        return [values], []
    if isinstance(matrix, Add):
        diagonals, pairs = list[Tensor](), _Pairs()
        for term in matrix.operands:
            own = _split(term, row, column)
            if own is None:
                return None
            diagonals += own[0]
            pairs += own[1]
        return diagonals, pairs
    if not isinstance(matrix, Product) or matrix.sum_samples:
        return None
    both = [k for k, ls in enumerate(matrix.labels) if row in ls and column in ls]
    if both:
        return _scaled(matrix, both[0], row, column) if len(both) == 1 else None
    best = min((_cut(matrix, row, column, rest) for rest in (False, True)), key=lambda c: c[0])
    return [], [best[1:]]


def _scaled(
    matrix: Product, place: int, row: Axis, column: Axis
) -> tuple[list[Tensor], _Pairs] | None:
    """A factor that is split, times numbers and vectors along rows or columns."""
    (factor, labels), others = matrix.factors[place], matrix.factors[:]
    del others[place]
    if {*labels} != {row, column} or len(labels) != 2:
        return None
    if any(len(ls) > 1 or not {*ls} <= {row, column} for _, ls in others):
        return None
    along = factor.axes if labels[0] == row else factor.axes[::-1]
    found = _split(factor, *along)
    if found is None:
        return None
    first = [f for f in others if column not in f[1]]
    second = [f for f in others if column in f[1]]
    diagonals = [
        product(matrix.coefficient, [(v, (row,)), *_renamed(others, column, row)], (row,))
        for v in found[0]
    ]
    pairs = [
        (
            product(1, [(left, (row, *left.axes[1:])), *first], (row, *left.axes[1:])),
            product(
                matrix.coefficient,
                [(right, (*right.axes[:-1], column)), *second],
                (*right.axes[:-1], column),
            ),
        )
        for left, right in found[1]
    ]
    return diagonals, pairs


def _cut(matrix: Product, row: Axis, column: Axis, rest: bool) -> tuple[int, Tensor, Tensor]:
    """The rank, U and V, with factors that have neither axis in U (``rest``) or in V."""
    first = [f for f in matrix.factors if row in f[1] or (rest and column not in f[1])]
    second = [f for f in matrix.factors if f not in first]
    there = {axis for _, labels in second for axis in labels}
    shared = dict.fromkeys(a for _, labels in first for a in labels if a in there)
    inner = tuple(shared)
    left = product(1, first, (row, *inner))
    right = product(matrix.coefficient, second, (*inner, column))
    return math.prod(axis.size for axis in inner), left, right


def _joined(pairs: _Pairs, ranks: list[int]) -> tuple[Tensor, Tensor] | None:
    """The pairs as one, their inner axes one behind the other."""
    if len(pairs) == 1 and len(pairs[0][0].axes) <= 2:
        return pairs[0]
    long = Axis(f"{pairs[0][0].axes[0].name}_rank", sum(ranks))
    lefts, rights, first = list[Tensor](), list[Tensor](), 0
    for (left, right), rank in zip(pairs, ranks, strict=True):
        (row, *inner), column = left.axes, right.axes[-1]
        if len(inner) > 1:
            return None
        own = inner[0] if inner else Axis(f"{long.name}{first}", 1)
        left = product(1, [(left, left.axes)], (row, own))
        right = product(1, [(right, right.axes)], (own, column))
        lefts.append(window(left, own, long, -first))
        rights.append(window(right, own, long, -first))
        first += rank
    return add(*lefts), add(*rights)
