"""Coordinates of the space and the unknown density, as SymPy objects.

Owns the three names that every energy formula starts from: :func:`coordinates`,
:func:`copy_of` and :class:`Density`.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn, Self, SupportsIndex, overload

import sympy as sp
from sympy.core.function import AppliedUndef, UndefinedFunction

from ..arguments import brief, checked_call, dimension
from ..errors import CoordinateError, EnergyError
from .formula_checks import scalar_expression
from .numpy_functions import answer_numpy, refuse_function, remember
from .periods import PeriodicSymbol, period_of, periods_of, renamed

if TYPE_CHECKING:
    import numpy as np
    from sympy.printing.latex import LatexPrinter
    from sympy.printing.pretty.pretty import PrettyPrinter
    from sympy.printing.pretty.stringpict import prettyForm
    from sympy.printing.str import StrPrinter

__all__ = ["Coordinates", "Density", "as_copy", "coordinates", "copy_of", "short_arguments"]

# Densities on more coordinates than this print as rho(x) instead of rho(x0, x1, x2, x3, ...).
LONGEST_PRINTED_ARGUMENTS = 3


answer_numpy()

_OF_REAL = {name for name, holds in sp.Symbol("x", real=True).assumptions0.items() if holds}


class Coordinates(tuple[sp.Symbol, ...]):
    """The coordinates of one copy of the space: a tuple of real symbols with a name.

    An integer index gives a symbol, a slice a tuple, and a symbolic index an
    ``Indexed`` object for use inside ``sympy.Sum`` and ``sympy.Product``;
    :func:`~pwgf_sym.declare.energies.integral` expands such sums.

    Attributes
    ----------
    name : str
        Name of the copy, for example ``"x"``.
    dim : int
        Number of coordinates.
    """

    name: str

    def __new__(cls, symbols: Iterable[sp.Symbol], name: str) -> Self:
        self = super().__new__(cls, symbols)
        self.name = name
        remember(self)
        return self

    def __getnewargs__(self) -> tuple[tuple[sp.Symbol, ...], str]:
        return tuple(self), self.name

    @property
    def dim(self) -> int:
        return len(self)

    @property
    def periods(self) -> tuple[sp.Expr | None, ...]:
        """The period of every coordinate; None for those of the line."""
        return periods_of(tuple(self))

    @property
    def indexed_base(self) -> sp.IndexedBase:
        """The object that stands for the whole copy where an index is symbolic."""
        return sp.IndexedBase(self.name, real=True)

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> sp.Symbol: ...

    @overload
    def __getitem__(self, index: slice, /) -> tuple[sp.Symbol, ...]: ...

    def __getitem__(
        self, index: SupportsIndex | slice | sp.Expr, /
    ) -> sp.Symbol | sp.Indexed | tuple[sp.Symbol, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        try:
            return super().__getitem__(operator.index(index))
        except IndexError:
            last = f"{self.dim - 1}"
            raise CoordinateError(self.name or "x", f"[{index}]", f"indices 0 to {last}") from None
        except TypeError:
            if not isinstance(index, sp.Expr) or index.is_number:
                accepted = "an integer, a slice, or a symbol as index of a sum"
                raise EnergyError("index", brief(index), accepted) from None
            return self.indexed_base[index]

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: object, **options: object
    ) -> NoReturn:
        refuse_function(ufunc.__name__, self)
        self._no_arithmetic()

    def _no_arithmetic(self, *_: object) -> NoReturn:
        name = self.name or "x"
        given, accepted = f"arithmetic with all of {name} at once", "formulas in its coordinates"
        fix = f"Write {name}[0]**2, or sum(s**2 for s in {name}) for the squared length."
        raise EnergyError(name, given, accepted, fix)

    __mul__ = __rmul__ = __pow__ = __rpow__ = __truediv__ = __rtruediv__ = _no_arithmetic
    __add__ = __radd__ = __sub__ = __rsub__ = __neg__ = __pos__ = __abs__ = _no_arithmetic
    __matmul__ = __rmatmul__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _no_arithmetic


@checked_call
def coordinates(
    dim: int,
    name: str = "x",
    period: float | sp.Expr | Sequence[float | sp.Expr | None] | None = None,
) -> Coordinates:
    """Real symbols ``x0, ..., x{dim-1}``: the coordinates of the space.

    On a circle x and x + period are the same place: ``coordinates(1, period=2*sp.pi)`` is an angle,
    and ``coordinates(2, period=[2*sp.pi, None])`` a cylinder.

    Parameters
    ----------
    dim : int
        Dimension of the space, at least 1.
    name : str
        Name of the coordinates, an identifier.
    period : positive number, or one a coordinate, optional
        The period of all coordinates, or a list with None for those of the line.

    Returns
    -------
    Coordinates
        A tuple of `dim` real symbols.

    Raises
    ------
    EnergyError
        If `dim` is no positive integer, `name` no identifier, or a period no positive number.
    """
    count = dimension("dim", dim, error=EnergyError)
    if not (isinstance(name, str) and name.isidentifier()):
        raise EnergyError("name", brief(name), "an identifier such as 'x'")
    # x1 + 0 and x + 10 must not both be called x10.
    stem = f"{name}_" if name[-1].isdigit() else name
    names = [f"{stem}{i}" for i in range(count)]
    return Coordinates(map(_symbol, names, _periods(period, count)), name)


def _symbol(name: str, period: sp.Expr | None) -> sp.Symbol:
    return sp.Symbol(name, real=True) if period is None else PeriodicSymbol(name, period)


def _periods(given: object, count: int) -> list[sp.Expr | None]:
    """A period, or None, for each of so many coordinates."""
    if not isinstance(given, Iterable) or isinstance(given, (str, sp.Basic)):
        return [period_of(given)] * count
    try:
        several = list(given)
    except TypeError:  # an array of no dimension
        several = []
    if len(several) != count:
        accepted = f"a number, or {count} numbers, with None for coordinates of the line"
        raise EnergyError("period", brief(given), accepted)
    return [period_of(one) for one in several]


@checked_call
def copy_of(x: Sequence[sp.Symbol]) -> Coordinates:
    """A second, independent copy of the space with coordinates of other names.

    The copy of ``x`` is called ``y``; that of any other name is ``name + "_copy"``.

    Parameters
    ----------
    x : Coordinates or sequence of d real symbols

    Returns
    -------
    Coordinates
        d real symbols.

    Raises
    ------
    EnergyError
        If `x` is no sequence of distinct real symbols.
    """
    symbols = as_copy(x, "x")
    name = symbols.name
    if name:
        return coordinates(len(symbols), "y" if name == "x" else f"{name}_copy", symbols.periods)
    return Coordinates((renamed(s, f"{s.name}_copy") for s in symbols), "")


def as_copy(symbols: object, argument: str) -> Coordinates:
    """`symbols` as :class:`Coordinates`, with the name found from the symbols.

    Raises
    ------
    EnergyError
        Naming `argument`, if it is no sequence of distinct real symbols.
    """
    if isinstance(symbols, Coordinates):
        return symbols
    accepted = "coordinates(d), or a sequence of distinct real SymPy symbols"
    fix = "Write sp.symbols('x y', real=True), or coordinates(2)."
    if isinstance(symbols, sp.Symbol):
        symbols = (symbols,)
    if not isinstance(symbols, Iterable) or isinstance(symbols, str):
        raise EnergyError(argument, brief(symbols), accepted, fix)
    try:
        symbols = tuple(symbols)
    except TypeError:  # an array of no dimension
        raise EnergyError(argument, brief(symbols), accepted, fix) from None
    real = all(type(s) in (sp.Symbol, PeriodicSymbol) and s.is_real for s in symbols)
    if not symbols or not real or len(set(symbols)) != len(symbols):
        raise EnergyError(argument, brief(symbols), accepted, fix)
    for symbol in symbols:
        more = {name for name, holds in symbol.assumptions0.items() if holds} - _OF_REAL
        plain = _symbol(symbol.name, *periods_of([symbol]))
        if more or symbol != plain:
            given = f"{symbol}, declared {', '.join(sorted(more)) or 'otherwise'}"
            fix = (
                f"Write sp.Symbol({symbol.name!r}, real=True): a coordinate takes all real values."
            )
            raise EnergyError(argument, given, "symbols that are real and nothing else", fix)
    dimension(argument, len(symbols), error=EnergyError)
    return Coordinates(symbols, _common_name(symbols) or "")


def _common_name(symbols: Sequence[sp.Symbol]) -> str | None:
    """The name n such that the symbols are those of coordinates(d, n), if there is one."""
    stem = symbols[0].name[:-1]
    name = stem[:-1] if stem.endswith("_") and stem[:-1][-1:].isdigit() else stem
    if not name.isidentifier():
        return None
    named = coordinates(len(symbols), name, periods_of(symbols))
    if named != tuple(symbols):
        return None
    return name


def short_arguments(arguments: Sequence[sp.Expr]) -> tuple[sp.Expr, ...]:
    """Arguments of a density as they are printed: a long copy ``x0, ..., x9`` becomes ``x``."""
    arguments = tuple(arguments)
    if len(arguments) > LONGEST_PRINTED_ARGUMENTS and all(
        isinstance(a, sp.Symbol) for a in arguments
    ):
        for first in (0, 1):  # rho(t, x0, ...) has the time in front.
            name = _common_name(arguments[first:])
            if name:
                return (*arguments[:first], sp.Symbol(name))
    return arguments


def _density(name: str, arguments: tuple[sp.Expr, ...]) -> Density:
    """The density of a name at some arguments."""
    return Density.of_name(name)(*arguments)


class Density(AppliedUndef):
    """The unknown density ``rho(x0, ..., x{d-1})``, a positive function.

    An applied undefined SymPy function: ``rho.diff(x[0])`` is its ordinary derivative and
    ``rho`` may be used in any formula.

    Parameters
    ----------
    x : Coordinates or sequence of d real symbols
    name : str
        Name of the density.

    Raises
    ------
    EnergyError
        If `x` is no sequence of distinct real symbols, or `name` no identifier.
    """

    def __new__(
        cls, *arguments: Sequence[sp.Symbol] | sp.Expr | str, name: str = "rho", **options: object
    ) -> Density:
        if cls is not Density:  # SymPy rebuilds rho(...) from its arguments.
            return super().__new__(cls, *arguments, **options)
        called: object = name
        if len(arguments) == 2:
            first, called = arguments
            arguments = (first,)
        if len(arguments) != 1 or options:
            given = ", ".join([*map(brief, arguments), *options]) or "no argument"
            fix = "Write Density(x) for x = coordinates(2)."
            raise EnergyError("Density", given, "Density(x) or Density(x, name)", fix)
        if not (isinstance(called, str) and called.isidentifier()):
            raise EnergyError("name", brief(called), "an identifier such as 'rho'")
        return cls.of_name(called)(*as_copy(arguments[0], "x"))

    def __reduce__(self) -> tuple[object, ...]:
        # SymPy would make a class of the name that is no Density.
        return _density, (self.func.__name__, self.args)

    @staticmethod
    def of_name(name: str) -> type[Density]:
        """The SymPy function class of the densities called `name`."""
        return UndefinedFunction(name, bases=(Density,), positive=True)

    @property
    def coordinates(self) -> Coordinates:
        """The d symbols that the density is written in."""
        return as_copy(self.args, "density")

    @checked_call
    def at(self, y: Sequence[sp.Expr] | sp.Expr | float) -> Density:
        """The same density at another copy of the space: ``rho.at(y)`` is rho(y0, y1, ...).

        Raises
        ------
        EnergyError
            If `y` has another number of coordinates.
        """
        name = self.func.__name__
        fix = f"Write {name}.at(y) for y = copy_of(x)."
        accepted = f"{len(self.args)} coordinates, as {name} has"
        try:
            arguments = tuple(y) if isinstance(y, Iterable) and not isinstance(y, str) else (y,)
        except TypeError:  # an array of no dimension
            arguments = (y,)
        if len(arguments) != len(self.args):
            raise EnergyError("y", brief(y), accepted, fix)
        at = [scalar_expression(argument, "y") for argument in arguments]
        if any(a.is_extended_real is False or a.has(sp.nan, sp.oo, -sp.oo, sp.zoo) for a in at):
            raise EnergyError("y", brief(y), accepted, fix)
        return self.func(*at)

    def __call__(self, *arguments: sp.Expr) -> sp.Expr:
        """Refuse ``rho(*y)``: the density at another copy is ``rho.at(y)``."""
        # SymPy puts what can be called into a power as a function of the exponent: s**2 with rho
        # for s is rho**2, and no call of ours.
        if sys._getframe(1).f_code.co_name == "_eval_subs" and len(arguments) == 1:
            return self ** arguments[0]
        name = self.func.__name__
        given = f"a call with {len(arguments)} arguments"
        fix = f"Write {name}.at(y) for y = copy_of(x), and {name} itself at x."
        raise EnergyError(name, given, f"{name} as a factor of a formula", fix)

    def _shortened(self) -> sp.Expr:
        return sp.Function(self.func.__name__)(*short_arguments(self.args))

    def _sympystr(self, printer: StrPrinter) -> str:
        return printer._print_Function(self._shortened())

    def _pretty(self, printer: PrettyPrinter) -> prettyForm:
        return printer._print_Function(self._shortened())

    def _latex(self, printer: LatexPrinter, exp: str | None = None) -> str:
        return printer._print_Function(self._shortened(), exp=exp)
