"""Formulas of a few numbers, evaluated on the host: an energy in its integrals, for instance."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence

import sympy as sp

from ..errors import FormulaError
from ..functions import host_function

__all__ = ["real_function"]


def real_function(symbols: Sequence[sp.Symbol], formula: sp.Expr) -> Callable[..., float]:
    """A function of numbers that gives the value of a formula.

    Parameters
    ----------
    symbols : sequence of Symbol
        Its arguments, in their order.
    formula : Expr
        In these symbols.

    Returns
    -------
    callable
        Of as many numbers; NaN where the formula has no real and finite value.

    Raises
    ------
    FormulaError
        If the formula holds a function that Python's ``math`` does not have.
    """
    try:
        call = host_function(symbols, formula, "math")
    except NotImplementedError as error:
        raise _without_value(formula, str(error).splitlines()[0]) from None
    known = {*call.__globals__, *dir(builtins)}
    unknown = [name for name in call.__code__.co_names if name not in known]
    if unknown:
        raise _without_value(formula, f"the function {unknown[0]}")

    def value(*numbers: float) -> float:
        try:
            return float(call(*numbers))
        # Python's sqrt, exp and division; the last: a power of a negative number is complex.
        except (ValueError, OverflowError, ZeroDivisionError, TypeError):
            return math.nan

    return value


def _without_value(formula: sp.Expr, what: str) -> FormulaError:
    return FormulaError("formula of integrals", f"{what} in {formula}", "elementary functions")
