"""Periodic coordinates: symbols that know their period, and points modulo it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import sympy as sp

from ..arguments import brief, number
from ..errors import EnergyError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PeriodicSymbol", "Periods", "period_of", "periods_of", "renamed", "same_period"]
__all__ += ["wrapped"]

#: Of each coordinate; None where it is not periodic.
Periods = tuple[float | None, ...]

# A float that is a multiple of pi/_PARTS to the last digit stands for that multiple.
_PARTS = 720
_ROUNDING = 1e-14
# A period has fewer parts than this.
_MOST = 50


class PeriodicSymbol(sp.Symbol):
    """A real symbol x whose values x and x + period are the same place.

    Attributes
    ----------
    period : Expr
        A positive number.
    """

    __slots__ = ("period",)

    def __new__(cls, name: str, period: sp.Expr) -> PeriodicSymbol:
        symbol = cls.__xnew__(cls, name, real=True)
        symbol.period = period
        return symbol

    def __getnewargs_ex__(self) -> tuple[tuple[object, ...], dict[str, object]]:
        return (self.name, self.period), {}

    def _hashable_content(self) -> tuple[object, ...]:
        return (*super()._hashable_content(), self.period)


def period_of(given: object) -> sp.Expr | None:
    """A period as an exact number: of a float the multiple of pi, or the decimals, that it is.

    Raises
    ------
    EnergyError
        If it is no positive finite number.
    """
    if given is None:
        return None
    accepted = "a positive number such as 2*sp.pi, or None for a coordinate of the line"
    fix = "Write coordinates(1, period=2*sp.pi)."
    if isinstance(given, sp.Expr) and not isinstance(given, sp.Float):
        if _is_modest(given) and given.is_positive and given.is_finite:
            return given
        raise EnergyError("period", brief(given), accepted, fix)
    try:
        value = number("period", given, above=0.0, error=EnergyError)
    except EnergyError:
        raise EnergyError("period", brief(given), accepted, fix) from None
    parts = value / math.pi * _PARTS
    if abs(parts - round(parts)) <= _ROUNDING * parts and round(parts) >= 1:
        return sp.Rational(round(parts), _PARTS) * sp.pi
    return sp.Rational(repr(value))


def _is_modest(number: sp.Expr) -> bool:
    """Whether it is made of few numbers, pi, sums, products and small powers: read from a file."""
    nodes = list(itertools.islice(sp.preorder_traversal(number), _MOST))
    kinds = (sp.Rational, sp.core.numbers.Pi, sp.Add, sp.Mul, sp.Pow)
    small = [n.exp.is_Rational and abs(n.exp) <= 2 for n in nodes if isinstance(n, sp.Pow)]
    return len(nodes) < _MOST and all(isinstance(n, kinds) for n in nodes) and all(small)


def periods_of(symbols: Iterable[sp.Basic]) -> tuple[sp.Expr | None, ...]:
    """The periods of coordinates, None for those of the line."""
    return tuple(s.period if isinstance(s, PeriodicSymbol) else None for s in symbols)


def renamed(symbol: sp.Symbol, name: str) -> sp.Symbol:
    """A coordinate of another name, of the same period."""
    if isinstance(symbol, PeriodicSymbol):
        return PeriodicSymbol(name, symbol.period)
    return sp.Symbol(name, **symbol.assumptions0)


def same_period(first: float | None, second: float | None) -> bool:
    """Whether two periods are one but for rounding."""
    if first is None or second is None:
        return first is second
    return abs(first - second) <= 1e-9 * max(first, second)


def wrapped(
    points: np.ndarray, periods: Sequence[float | None], start: np.ndarray | float = 0.0
) -> np.ndarray:
    """Points (N, d) in the period that begins at ``start``, in periodic coordinates."""
    import numpy as np

    found = np.array(points, float)
    starts = np.broadcast_to(np.asarray(start, float), found.shape[1:])
    for i, period in enumerate(periods):
        if period is not None:
            beside = found[:, i] - starts[i]
            beside -= period * np.floor(beside / period)
            # Rounding may reach the end, which is the beginning.
            found[:, i] = starts[i] + np.where(beside < period, beside, 0.0)
    return found
