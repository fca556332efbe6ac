"""Formulas of a few numbers, evaluated on the host: an energy in its integrals, for instance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import sympy as sp

from ..functions import written_out

__all__ = ["real_function"]


def _sigmoid(u: float) -> float:
    """The one function of the table that Python's ``math`` lacks."""
    return (1 + math.tanh(u / 2)) / 2


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
    """
    # Dummies: a parameter may be called sqrt.
    dummies = [sp.Dummy(real=True) for _ in symbols]
    formula = written_out(formula.xreplace(dict(zip(symbols, dummies, strict=True))))
    call = sp.lambdify(dummies, formula, [{"sigmoid": _sigmoid}, "math"], cse=False)

    def value(*numbers: float) -> float:
        try:
            return float(call(*numbers))
        # Python's sqrt, exp and division; the last: a power of a negative number is complex.
        except (ValueError, OverflowError, ZeroDivisionError, TypeError):
            return math.nan

    return value
