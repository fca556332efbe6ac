"""NumPy's functions on formulas of the package: refused with the SymPy function to write instead.

For ``np.exp(x[0])`` NumPy asks the object for a method ``exp``, and where there is none its error
does not say what to do.  SymPy's expressions get these methods, by the names of NumPy's functions.
They answer for formulas with coordinates of this package; for all others they raise what NumPy
raises without them.  Nothing that works changes: an ``__array_ufunc__`` would, for comparisons.
Powers have an attribute ``exp`` of their own, so ``np.exp(x[0]**2)`` keeps NumPy's message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn

import sympy as sp

from ..arguments import brief
from ..errors import NumpyFunctionError

__all__ = ["answer_numpy", "refuse_function", "remember"]

# NumPy's name -> how it is written with SymPy.
_WRITTEN = {
    **{name: f"sp.{name}" for name in ("exp", "log", "sqrt", "cbrt", "sin", "cos", "tan")},
    **{name: f"sp.{name}" for name in ("sinh", "cosh", "tanh")},
    **{f"arc{name}": f"sp.a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "arctan2": "sp.atan2",
    "fabs": "sp.Abs",
    "expm1": "sp.exp(...) - 1",
    "exp2": "2**(...)",
    "log1p": "sp.log(1 + ...)",
    "log2": "sp.log(..., 2)",
    "log10": "sp.log(..., 10)",
    "logaddexp": "sp.log(sp.exp(...) + sp.exp(...))",
    "hypot": "sp.sqrt(...**2 + ...**2)",
}
# Symbols that are coordinates: formulas with them are this package's.
_coordinates: set[sp.Symbol] = set()


def remember(symbols: Iterable[sp.Symbol]) -> None:
    """Count symbols as coordinates of the package."""
    _coordinates.update(symbols)


def refuse_function(name: str, operand: object) -> None:
    """Raise the error that says what to write for a function of NumPy, if it is known.

    Raises
    ------
    NumpyFunctionError
    """
    if name in _WRITTEN:
        given = f"NumPy's {name} of {brief(operand)}"
        fix = f"Write {_WRITTEN[name]}, with import sympy as sp."
        raise NumpyFunctionError("formula", given, "functions of SymPy", fix)


def answer_numpy() -> None:
    """Let SymPy's expressions answer NumPy's functions, where they do not by themselves."""
    for name in _WRITTEN:
        if not hasattr(sp.Expr, name):
            setattr(sp.Expr, name, _method(name))


def _method(name: str) -> Callable[..., NoReturn]:
    def method(self: sp.Expr, *_: object) -> NoReturn:
        if not _coordinates.isdisjoint(self.atoms(sp.Symbol)):
            refuse_function(name, self)
        kind = type(self).__name__
        what = f"argument 0 of type {kind} which has no callable {name} method"
        raise TypeError(f"loop of ufunc does not support {what}")

    method.__name__ = name
    method.__doc__ = f"Answer NumPy's {name}, which does not work on formulas."
    return method
