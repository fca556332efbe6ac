"""Entries, traces and determinants of matrix expressions as sums over indices.

A ``sympy.MatrixSymbol`` is an array, as a ``sympy.IndexedBase`` is, and a product of matrices a sum
over the indices between them:

    (v.T * Q * v)[0, 0]  =  Sum(Q[i, j]*x[i]*x[j], (i, 0, d - 1), (j, 0, d - 1)).

Where a factor is a matrix of numbers or formulas the sum over its index is written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations, count
from typing import NoReturn

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.slice import MatrixSlice

from ..arguments import brief
from ..errors import EnergyError
from ..sharing import parts, symbols_of
from .formula_checks import scalar_expression
from .vectors import CoordinateVector, Entry, MatrixFormula

__all__ = ["array_of", "scalar_formula", "without_matrices"]

#: Rows of a determinant of formulas, which is written out.
LARGEST_DETERMINANT, LARGEST_MINORS = 8, 7
_INDICES = "ijklmpqrstuv"
_ACCEPTED = "sums, products, powers, transposes and slices of matrices, their entries and traces"


def array_of(symbol: sp.MatrixSymbol) -> sp.IndexedBase:
    """The array that a matrix symbol stands for."""
    return sp.IndexedBase(symbol.name, shape=symbol.shape)


def scalar_formula(value: object, argument: str) -> sp.Expr:
    """A formula of one real value, its matrices written as sums over indices.

    Parameters
    ----------
    value : Expr, number or matrix of one entry
    argument : str
        What an error names.

    Raises
    ------
    EnergyError
        If a matrix stands where one value is expected, or is of a kind that has no entries, or the
        value is no formula.
    """
    if not isinstance(value, sp.Basic):
        value = scalar_expression(value, argument)
    return scalar_expression(without_matrices(value, argument), argument)


def without_matrices(formula: sp.Basic, argument: str) -> sp.Basic:
    """The same for what is checked elsewhere."""
    if not isinstance(formula, sp.Basic) or not any(map(_is_matrix, parts(formula))):
        return formula
    lowering = _Lowering(argument)
    if isinstance(formula, (sp.MatrixExpr, sp.MatrixBase)) and formula.shape == (1, 1):
        found = lowering.entry(formula, sp.S.Zero, sp.S.Zero)
    else:
        found = lowering.scalar(formula)
    return _named(found, {symbol.name for symbol in symbols_of(found)})


def _is_matrix(part: sp.Basic) -> bool:
    return bool(getattr(part, "is_Matrix", False))


class _Index(sp.Dummy):
    """An index between two factors, until it has a name."""


def _named(formula: sp.Basic, taken: set[str]) -> sp.Basic:
    """A formula with names in the place of new indices; inner sums take others than outer ones."""
    if not formula.has(_Index):
        return formula
    if not isinstance(formula, sp.Sum):
        return formula.func(*(_named(arg, taken) for arg in formula.args))
    free = (name for name in _names() if name not in taken)
    own = [limit[0] for limit in formula.limits if isinstance(limit[0], _Index)]
    names = {index: sp.Symbol(name, integer=True) for index, name in zip(own, free, strict=False)}
    inner = taken | {symbol.name for symbol in names.values()}
    function = _named(formula.function.xreplace(names), inner)
    return sp.Sum(function, *(limit.xreplace(names) for limit in formula.limits))


def _names() -> Iterator[str]:
    return chain(_INDICES, (f"i{number}" for number in count(1)))


class _Lowering:
    """Finds the entries of one formula; an entry that stands twice is lowered once."""

    def __init__(self, argument: str):
        self._argument = argument
        self._scalars: dict[sp.Basic, sp.Basic] = {}
        self._entries: dict[tuple[sp.Basic, ...], sp.Expr] = {}

    def scalar(self, node: sp.Basic) -> sp.Basic:
        """A formula of one value."""
        if node not in self._scalars:
            self._scalars[node] = self._scalar(node)
        return self._scalars[node]

    def _scalar(self, node: sp.Basic) -> sp.Basic:
        if isinstance(node, MatrixElement):
            return self.entry(*node.args)
        if isinstance(node, (Entry, sp.Trace)):
            found = self.entry(*node.args) if isinstance(node, Entry) else self._trace(node.arg)
            # Entries of arrays have values in sums: beside a matrix of numbers there is none.
            return sp.Sum(found, (_Index(integer=True), 0, 0)) if _has_loose(found) else found
        if isinstance(node, sp.Determinant):
            return self._determinant(_bare(node.arg))
        if _is_matrix(node):
            given = f"the matrix {brief(node)} of shape {tuple(node.shape)}"
            fix = "Take an entry, M[0, 0], the trace or the norm; apply functions to entries."
            raise EnergyError(self._argument, given, "formulas of one value", fix)
        args = [self.scalar(arg) for arg in node.args]
        same = all(a is b for a, b in zip(args, node.args, strict=True))
        return node if same else node.func(*args)

    def entry(self, matrix: sp.MatrixExpr, row: sp.Expr, column: sp.Expr) -> sp.Expr:
        """One entry of a matrix expression."""
        key = (matrix, row, column)
        if key not in self._entries:
            self._entries[key] = self._entry(*key)
        return self._entries[key]

    def _entry(self, matrix: sp.MatrixExpr, row: sp.Expr, column: sp.Expr) -> sp.Expr:
        if isinstance(matrix, MatrixFormula):
            return self.entry(matrix.bare, row, column)
        if isinstance(matrix, sp.Transpose):
            return self.entry(matrix.arg, column, row)
        if isinstance(matrix, sp.MatrixSymbol):
            return array_of(matrix)[row, column]
        if isinstance(matrix, CoordinateVector):
            self._check_numbered(matrix, row)
            return matrix[row, 0]
        if isinstance(matrix, sp.MatrixBase):
            self._check_numbered(matrix, row, column)
            return self.scalar(matrix[row, column])
        if isinstance(matrix, sp.MatAdd):
            return sp.Add(*(self.entry(term, row, column) for term in matrix.args))
        if isinstance(matrix, sp.MatMul):
            factor, factors = _factors(matrix)
            return self.scalar(factor) * self._closed(factors, row, column)
        if _is_whole_power(matrix):
            return self._closed(_factors(matrix)[1], row, column)
        if isinstance(matrix, sp.HadamardProduct):
            return sp.Mul(*(self.entry(factor, row, column) for factor in matrix.args))
        if isinstance(matrix, ElementwiseApplyFunction):
            return matrix.function(self.entry(matrix.expr, row, column))
        if isinstance(matrix, MatrixSlice):
            (first, _, step), (left, _, stride) = matrix.rowslice, matrix.colslice
            return self.entry(matrix.parent, first + step * row, left + stride * column)
        if isinstance(matrix, (sp.ZeroMatrix, sp.OneMatrix)):
            return sp.Integer(isinstance(matrix, sp.OneMatrix))
        if _is_diagonal(matrix):
            return self._diagonal(matrix, row) * sp.KroneckerDelta(row, column)
        self._refuse(matrix)

    def _refuse(self, matrix: sp.Basic) -> NoReturn:
        fix = "Pass it as an array: sp.MatrixSymbol, with its value among the parameters."
        if isinstance(matrix, sp.MatPow):  # Inverse is one
            fix = 'Pass the inverse as an array: P = sp.MatrixSymbol("P", d, d), {P: inverse}.'
        given = f"{brief(matrix)} ({type(matrix).__name__})"
        raise EnergyError(self._argument, given, _ACCEPTED, fix)

    def _check_numbered(self, matrix: sp.MatrixExpr, *indices: sp.Expr) -> None:
        """Refuse an index that is no number, where entries have no index."""
        if _is_numbered(matrix, 0) and not all(index.is_Integer for index in indices):
            given = f"an entry of {brief(matrix)} with an index that is no number"
            rows, columns = matrix.shape
            fix = f'Write sp.MatrixSymbol("A", {rows}, {columns}), and pass the array.'
            if isinstance(matrix, CoordinateVector):
                fix = "Use x = pw.coordinates(d), whose entries have an index."
            raise EnergyError(self._argument, given, "arrays, whose entries have indices", fix)

    def _determinant(self, matrix: sp.MatrixExpr) -> sp.Expr:
        """A determinant by elimination where many rows are symmetric, as covariances: d**3/3.

        Their pivots are positive; those of other matrices may vanish, so that there are minors.
        Entries stay as they are: of E x^2 - (E x)^2, multiplied out, far more digits would cancel.
        """
        size = matrix.shape[0]
        if not isinstance(matrix, sp.MatrixBase):
            fix = "Pass its value, as that of a Symbol, or write a sp.Matrix of formulas."
            given = f"the determinant of {brief(matrix)}"
            raise EnergyError(self._argument, given, "determinants of a sp.Matrix", fix)
        rows = [[self.scalar(entry) for entry in matrix.row(k)] for k in range(size)]
        symmetric = all(rows[i][k] == rows[k][i] for i in range(size) for k in range(i))
        most = LARGEST_DETERMINANT if symmetric else LARGEST_MINORS
        if size > most:
            kind = "" if symmetric else ", of rows that are not symmetric"
            given = f"a determinant of {size} x {size}{kind}"
            accepted = f"at most {most} x {most} formulas"
            fix = "It is written out: every row more triples the time that deriving it takes."
            raise EnergyError(self._argument, given, accepted, fix)
        return _eliminated(rows) if size > 3 and symmetric else _by_minors(rows)

    # -- products ------------------------------------------------------------------------------

    def _trace(self, matrix: sp.MatrixExpr) -> sp.Expr:
        matrix = _bare(matrix)
        if isinstance(matrix, sp.MatAdd):
            return sp.Add(*map(self._trace, matrix.args))
        size = _length(matrix, 0)
        if size == 1 or (size.is_Integer and (_is_numbered(matrix, 0) or _is_numbered(matrix, 1))):
            return sp.Add(*(self.entry(matrix, i, i) for i in map(sp.Integer, range(int(size)))))
        index, (factor, factors) = _Index(integer=True), _factors(matrix)
        term, limits = self._product(factors, index, index)
        return self.scalar(factor) * sp.Sum(term, (index, 0, size - 1), *limits)

    def _closed(self, factors: tuple[sp.MatrixExpr, ...], row: sp.Expr, column: sp.Expr) -> sp.Expr:
        """An entry of a product."""
        key = (*factors, row, column)
        if key not in self._entries:
            term, limits = self._product(factors, row, column)
            self._entries[key] = sp.Sum(term, *limits) if limits else term
        return self._entries[key]

    def _product(
        self, factors: tuple[sp.MatrixExpr, ...], row: sp.Expr, column: sp.Expr
    ) -> tuple[sp.Expr, list[tuple[_Index, int, sp.Expr]]]:
        """An entry of a product as a term, and the indices that it is to be summed over."""
        first, *others = factors
        rest = tuple(others)
        if not rest:
            return self.entry(first, row, column), []
        if _holds_diagonal(first):
            return sp.Add(*(self._closed((t, *rest), row, column) for t in first.args)), []
        if _is_diagonal(first):
            term, limits = self._product(rest, row, column)
            return self._diagonal(first, row) * term, limits
        if len(rest) == 1 and _holds_diagonal(rest[0]):
            return sp.Add(*(self._closed((first, t), row, column) for t in rest[0].args)), []
        if len(rest) == 1 and _is_diagonal(rest[0]):
            return self.entry(first, row, column) * self._diagonal(rest[0], column), []
        size = _length(first, 1)
        if size == 1:
            term, limits = self._product(rest, sp.S.Zero, column)
            return self.entry(first, row, sp.S.Zero) * term, limits
        if size.is_Integer and (_is_numbered(first, 1) or _is_numbered(rest[0], 0)):
            places = map(sp.Integer, range(int(size)))
            terms = (self.entry(first, row, p) * self._closed(rest, p, column) for p in places)
            return sp.Add(*terms), []
        index = _Index(integer=True)
        term, limits = self._product(rest, index, column)
        return self.entry(first, row, index) * term, [(index, 0, size - 1), *limits]

    def _diagonal(self, matrix: sp.MatrixExpr, place: sp.Expr) -> sp.Expr:
        """An entry of a diagonal; those of the unit matrix are 1, and may have a coefficient."""
        if isinstance(matrix, sp.MatMul):
            factor, factors = matrix.as_coeff_matrices()
            return self.scalar(factor) * sp.Mul(*(self._diagonal(f, place) for f in factors))
        return sp.S.One if matrix.is_Identity else self.entry(matrix.args[0], place, sp.S.Zero)


def _by_minors(rows: list[list[sp.Expr]]) -> sp.Expr:
    """A determinant without a division, as pivots may vanish: d 2**d operations.

    From the last row up every minor is made once, by the columns that it has left.
    """
    size = len(rows)
    minors: dict[tuple[int, ...], sp.Expr] = {(): sp.S.One}
    for length, row in enumerate(reversed(rows), 1):
        minors = {
            own: sp.Add(
                *((-1) ** k * (row[c] * minors[own[:k] + own[k + 1 :]]) for k, c in enumerate(own))
            )
            for own in combinations(range(size), length)
        }
    return minors[tuple(range(size))]


def _eliminated(rows: list[list[sp.Expr]]) -> sp.Expr:
    """A determinant as the product of the pivots; rows are exchanged where a pivot is zero."""
    pivots = []
    while rows:
        place = next((k for k, row in enumerate(rows) if row[0] != 0), None)
        if place is None:
            return sp.S.Zero
        pivots.append(rows[place][0] * (-1) ** place)
        first, others = rows[place], rows[:place] + rows[place + 1 :]
        scaled = [entry / first[0] for entry in first]
        rows = [
            [a - row[0] * b for a, b in zip(row[1:], scaled[1:], strict=True)] for row in others
        ]
    return sp.Mul(*pivots)


def _has_loose(formula: sp.Expr) -> bool:
    """Whether an entry of an array at numbers stands outside of sums."""
    outside = parts(formula, within=lambda part: not isinstance(part, (sp.Sum, sp.Indexed)))
    loose = (part for part in outside if isinstance(part, sp.Indexed))
    return any(all(index.is_Integer for index in part.indices) for part in loose)


def _bare(matrix: sp.MatrixExpr) -> sp.MatrixExpr:
    return matrix.bare if isinstance(matrix, MatrixFormula) else matrix


def _is_whole_power(matrix: sp.MatrixExpr) -> bool:
    return isinstance(matrix, sp.MatPow) and matrix.exp.is_Integer and matrix.exp > 0


def _factors(matrix: sp.MatrixExpr) -> tuple[sp.Expr, tuple[sp.MatrixExpr, ...]]:
    """The coefficient and the factors of a product, those of whole powers among them."""
    factor, factors = sp.S.One, [matrix]
    if isinstance(matrix, sp.MatMul):
        factor, factors = matrix.as_coeff_matrices()
    found: list[sp.MatrixExpr] = []
    for one in map(_bare, factors):
        found += [_bare(one.base)] * int(one.exp) if _is_whole_power(one) else [one]
    return factor, tuple(found)


def _length(matrix: sp.MatrixExpr, axis: int) -> sp.Expr:
    """Rows or columns; those of a matrix of numbers are Python's."""
    length = matrix.shape[axis]
    return sp.Integer(length) if isinstance(length, int) else length


def _is_diagonal(matrix: sp.MatrixExpr) -> bool:
    if isinstance(matrix, sp.MatMul):
        return all(map(_is_diagonal, matrix.as_coeff_matrices()[1]))
    return bool(matrix.is_Identity) or isinstance(matrix, sp.DiagMatrix)


def _holds_diagonal(matrix: sp.MatrixExpr) -> bool:
    """Whether a sum has a diagonal matrix among its terms, so that products are multiplied out."""
    return isinstance(matrix, sp.MatAdd) and any(map(_is_diagonal, matrix.args))


def _is_numbered(matrix: sp.MatrixExpr, axis: int) -> bool:
    """Whether an index along an axis has to be a number: that of a matrix of numbers."""
    if isinstance(matrix, CoordinateVector):
        return axis == 0 and not matrix.coordinates.name
    if isinstance(matrix, sp.MatrixBase):
        return True
    inner: Sequence[sp.Basic] = matrix.args
    if isinstance(matrix, sp.Transpose):
        return _is_numbered(matrix.arg, 1 - axis)
    if isinstance(matrix, sp.MatMul):
        factors = _factors(matrix)[1]
        inner = factors[:1] if axis == 0 else factors[-1:]
    return any(_is_numbered(m, axis) for m in inner if _is_matrix(m))
