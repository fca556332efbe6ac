"""All coordinates as a vector, for SymPy's matrix notation: ``(v.T * Q * v)[0]``, ``A * v``.

SymPy writes the entries of products out, d**2 terms of a quadratic form.  Formulas with a
:func:`vector` keep them as products; :mod:`.matrices` makes sums over indices of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import sympy as sp
from sympy.core.kind import NumberKind
from sympy.matrices.exceptions import ShapeError
from sympy.matrices.expressions.slice import MatrixSlice

from ..arguments import brief, checked_call, real_array
from ..errors import EnergyError
from .formula_checks import scalar_expression
from .symbols import Coordinates, as_copy

if TYPE_CHECKING:
    from sympy.printing.latex import LatexPrinter
    from sympy.printing.pretty.pretty import PrettyPrinter
    from sympy.printing.pretty.stringpict import prettyForm
    from sympy.printing.str import StrPrinter

__all__ = ["CoordinateVector", "Entry", "MatrixFormula", "vector"]

#: Entries of a matrix of numbers in a formula; an array that is a parameter may be larger.
MOST_ENTRIES = 2500


class CoordinateVector(sp.MatrixExpr):
    """The coordinates of a copy of the space as a column; :func:`vector` makes formulas of it.

    With anything else than coordinates, as a substitution puts in, it is a matrix.
    """

    def __new__(cls, *entries: sp.Expr) -> sp.Basic:
        try:
            as_copy(entries, "x")
        except EnergyError:
            return sp.ImmutableMatrix(entries)
        return super().__new__(cls, *entries)

    @property
    def coordinates(self) -> Coordinates:
        """The coordinates, with their name."""
        return as_copy(self.args, "x")

    @property
    def shape(self) -> tuple[sp.Integer, sp.Integer]:
        return sp.Integer(len(self.args)), sp.S.One

    def _entry(self, i: sp.Expr, j: sp.Expr, **_: object) -> sp.Expr:
        return self.args[int(i)] if i.is_Integer else self.coordinates[i]

    def _label(self) -> sp.Basic:
        name = self.coordinates.name
        return sp.Symbol(name) if name else sp.Tuple(*self.args)

    def _sympystr(self, printer: StrPrinter) -> str:
        return printer._print(self._label())

    def _pretty(self, printer: PrettyPrinter) -> prettyForm:
        return printer._print(self._label())

    def _latex(self, printer: LatexPrinter) -> str:
        return printer._print(self._label())


class Entry(sp.Expr):
    """One entry of a matrix formula, a real number in SymPy: ``Entry(matrix, i, j)``."""

    is_commutative = True
    is_real = True
    kind = NumberKind

    @property
    def matrix(self) -> sp.MatrixExpr:
        return self.args[0]

    def doit(self, **hints: bool) -> sp.Expr:
        """The entry as SymPy writes it out."""
        return self.matrix.doit(**hints)[self.args[1:]]

    def _eval_derivative(self, symbol: sp.Symbol) -> NoReturn:
        fix = (
            "Energies are derived by first_variation and velocity; write sp.Sum(...) to do it here."
        )
        given, accepted = f"a derivative by {symbol}", "no derivatives of entries of products"
        raise EnergyError(str(self), given, accepted, fix)

    def _sympystr(self, printer: StrPrinter) -> str:
        matrix, i, j = map(printer._print, self.args)
        return f"{matrix if self.matrix.args[0].is_Symbol else f'({matrix})'}[{i}, {j}]"

    def _pretty(self, printer: PrettyPrinter) -> prettyForm:
        return printer._print_MatrixElement(self)

    def _latex(self, printer: LatexPrinter) -> str:
        return printer._print_MatrixElement(self)

    parent = matrix
    i = property(lambda self: self.args[1])
    j = property(lambda self: self.args[2])


class MatrixFormula(sp.MatrixExpr):
    """A matrix expression with all coordinates in it, whose entries are not written out.

    Sums, products, powers and transposes with matrices of SymPy, arrays of NumPy, and numbers are
    matrix formulas again.

    Attributes
    ----------
    bare : MatrixExpr
        The same as an expression of SymPy's, with a :class:`CoordinateVector` inside.
    """

    _op_priority = 20.0  # before SymPy's matrices: their operators would write products out
    __array_ufunc__ = None  # so that an array of NumPy leaves its operators to us

    @property
    def bare(self) -> sp.MatrixExpr:
        return self.args[0]

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.bare.shape

    def _entry(self, i: sp.Expr, j: sp.Expr, **_: object) -> sp.Expr:
        if isinstance(self.bare, CoordinateVector):
            return self.bare._entry(i, j)
        return Entry(self, i, j)

    def __getitem__(self, key: Any) -> sp.Expr:
        """An entry, or the formula of a slice, ``v[1:3, :]``."""
        found = super().__getitem__(key)
        if isinstance(found, MatrixSlice):
            return MatrixFormula(MatrixSlice(self.bare, found.rowslice, found.colslice))
        return found

    def doit(self, **hints: bool) -> sp.MatrixExpr:
        """The same as an expression of SymPy's."""
        leaves = self.bare.atoms(CoordinateVector)
        return self.bare.xreplace({x: sp.ImmutableMatrix(x.args) for x in leaves}).doit(**hints)

    def transpose(self) -> MatrixFormula:
        """The transposed matrix; also ``T``."""
        if isinstance(self.bare, sp.Transpose):
            return MatrixFormula(self.bare.arg)
        return MatrixFormula(sp.Transpose(self.bare))

    def dot(self, other: object) -> sp.Expr:
        """The inner product of two columns, or rows, as a formula of one value."""
        factor = _matrix(other, self)
        first, second = (m.T if m.shape[0] == 1 else m for m in (self, factor))
        return (first.T * second)[0, 0]

    def norm(self) -> sp.Expr:
        """The Euclidean norm of a column or row; Frobenius' norm of another matrix."""
        return sp.sqrt(sp.Trace(self.T * self) if 1 not in self.shape else self.dot(self))

    def __neg__(self) -> MatrixFormula:
        return _product(sp.S.NegativeOne, self)

    def __add__(self, other: object) -> MatrixFormula:
        return _made(sp.MatAdd, self, _matrix(other, self))

    def __radd__(self, other: object) -> MatrixFormula:
        return _made(sp.MatAdd, _matrix(other, self), self)

    def __sub__(self, other: object) -> MatrixFormula:
        return _made(sp.MatAdd, self, _product(sp.S.NegativeOne, _matrix(other, self)))

    def __rsub__(self, other: object) -> MatrixFormula:
        return _made(sp.MatAdd, _matrix(other, self), -self)

    def __mul__(self, other: object) -> MatrixFormula:
        return _product(self, _operand(other))

    def __rmul__(self, other: object) -> MatrixFormula:
        return _product(_operand(other), self)

    __matmul__, __rmatmul__ = __mul__, __rmul__

    def __truediv__(self, other: object) -> MatrixFormula:
        divisor = _operand(other)
        if getattr(divisor, "is_Matrix", False):
            self._refuse_division(divisor)
        return _product(self, 1 / divisor)

    def __rtruediv__(self, other: object) -> NoReturn:
        self._refuse_division(self)

    def _refuse_division(self, divisor: sp.MatrixExpr) -> NoReturn:
        fix = "Take an entry, M[0, 0], or pass the inverse as a MatrixSymbol."
        given = f"a division by the matrix {divisor} of shape {tuple(divisor.shape)}"
        raise EnergyError("matrix", given, "divisions by formulas of one value", fix)

    def __pow__(self, other: object) -> MatrixFormula:
        return _made(sp.MatPow, self, _operand(other))

    def _sympystr(self, printer: StrPrinter) -> str:
        return printer._print(self.bare)

    def _pretty(self, printer: PrettyPrinter) -> prettyForm:
        return printer._print(self.bare)

    def _latex(self, printer: LatexPrinter) -> str:
        return printer._print(self.bare)


@checked_call
def vector(x: Sequence[sp.Symbol]) -> MatrixFormula:
    """All coordinates as a column, for SymPy's matrix notation.

    ``(v.T * Q * v)[0]`` with ``v = vector(x)`` and ``Q = sp.MatrixSymbol("Q", d, d)`` is the
    quadratic form sum_ij x_i Q_ij x_j, ``(A * v)[n, 0]`` an entry of A x, ``(v - m).norm()`` a
    distance.  What is written this way stays a product of matrices, whatever d is; in an integral
    it becomes a sum over indices.  The value of a ``MatrixSymbol`` is a parameter:
    ``GradientFlow(..., parameters={Q: array})``.

    Parameters
    ----------
    x : Coordinates or sequence of d real symbols

    Returns
    -------
    MatrixFormula
        A matrix expression of shape (d, 1).

    Raises
    ------
    EnergyError
        If `x` is no sequence of distinct real symbols.
    """
    return MatrixFormula(CoordinateVector(*as_copy(x, "x")))


def _made(kind: type, *operands: sp.Basic) -> MatrixFormula:
    """A sum, product or power of matrices as a matrix formula."""
    bare = [_bare(operand) for operand in operands]
    try:
        found = kind(*bare)
        return MatrixFormula(found if kind is sp.MatMul else found.doit(deep=False))
    except (ShapeError, TypeError, ValueError) as error:
        given = " and ".join(
            f"{brief(o)} of shape {tuple(o.shape)}" for o in bare if getattr(o, "is_Matrix", False)
        )
        fix = "Transpose one of them with .T, or declare the matrix with another shape."
        raise EnergyError("matrix", given, "matrices whose shapes fit", fix) from error


def _product(first: sp.Basic, second: sp.Basic) -> MatrixFormula:
    """A product; (u*v)*w is one of three factors, while in u*(v*w) the second one stays as it is.

    So (A*v).T*(A*v) is a sum of squares.
    """
    left = _bare(first)
    factors = left.args if isinstance(left, sp.MatMul) else (left,)
    return _made(sp.MatMul, *factors, second)


def _bare(operand: sp.Basic) -> sp.Basic:
    return operand.bare if isinstance(operand, MatrixFormula) else operand


def _operand(value: Any) -> sp.Basic:
    """A factor: a matrix, or a number or formula of one value."""
    if isinstance(value, Coordinates):
        return CoordinateVector(*value)
    if isinstance(value, (np.ndarray, list, tuple)) and np.ndim(value):
        return _numbers(value)
    if isinstance(value, sp.MatrixBase):
        _check_size(value)
        return sp.ImmutableMatrix(value)
    return value if isinstance(value, sp.Basic) else scalar_expression(value, "matrix")


def _matrix(value: object, beside: sp.MatrixExpr) -> sp.MatrixExpr:
    """A summand of a matrix formula."""
    found = _operand(value)
    if not getattr(found, "is_Matrix", False):
        given = f"{brief(found)} added to the matrix {beside} of shape {beside.shape}"
        fix = "Take the entry: (v.T*Q*v)[0] is a formula of one value."
        if 1 not in beside.shape or beside.shape[0] != beside.shape[1]:
            fix = "Add a matrix of this shape, or take an entry, M[0, 0]."
        raise EnergyError("matrix", given, "sums of matrices, or of formulas of one value", fix)
    return found


def _numbers(value: object) -> sp.ImmutableMatrix:
    """A matrix of an array's numbers; an array with one axis is a column."""
    array = real_array("matrix", value, error=EnergyError)
    if array.ndim > 2:
        raise EnergyError("matrix", f"shape {array.shape}", "arrays with one or two axes")
    array = array.reshape(len(array), -1)
    _check_size(array)
    return sp.ImmutableMatrix(array)


def _check_size(matrix: Any) -> None:
    rows, columns = matrix.shape
    if rows * columns > MOST_ENTRIES:
        given = f"a matrix of {rows} x {columns} numbers in a formula"
        fix = f'Write Q = sp.MatrixSymbol("Q", {rows}, {columns}) and pass parameters={{Q: array}}.'
        raise EnergyError("matrix", given, f"at most {MOST_ENTRIES} numbers", fix)
