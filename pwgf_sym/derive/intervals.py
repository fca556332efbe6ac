"""Bounds of formulas on boxes, by interval arithmetic with outward rounding.

Every operation gives an interval that holds all values of its arguments' intervals, so that what
comes out is a bound and no estimate, as far as NumPy's functions are exact to a few units in the
last place (R. E. Moore, Interval Analysis, 1966).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    #: Lower and upper ends.
    Interval = tuple[Floats, Floats]
    Rule = Callable[[Floats, Floats], Interval]

__all__ = ["bounds"]

# What the widening of a function's value covers: NumPy's functions are exact to 4 units and better.
_ULPS = 16 * np.finfo(float).eps


def bounds(expr: sp.Expr, box: Mapping[sp.Symbol, Interval]) -> Interval:
    """Lower and upper bounds of a formula on boxes.

    Parameters
    ----------
    expr : Expr
        Real, in the symbols of ``box`` and numbers.
    box : dict of Symbol to (low, high)
        Arrays of one shape (n,), infinite ends included.

    Returns
    -------
    low, high : (n,) arrays
        -inf and inf where nothing is known, as for a function that is not in the table.
    """
    seen = {s: (np.asarray(a, float), np.asarray(b, float)) for s, (a, b) in box.items()}
    shape = next(iter(seen.values()))[0].shape
    with np.errstate(all="ignore"):
        low, high = _of(expr, seen, shape)
    return np.broadcast_to(low, shape), np.broadcast_to(high, shape)


def _of(node: sp.Expr, seen: dict[sp.Expr, Interval], shape: tuple[int, ...]) -> Interval:
    if node not in seen:
        low, high = _node(node, seen, shape)
        unknown = np.isnan(low) | np.isnan(high)
        seen[node] = np.where(unknown, -np.inf, low), np.where(unknown, np.inf, high)
    return seen[node]


def _node(node: sp.Expr, seen: dict[sp.Expr, Interval], shape: tuple[int, ...]) -> Interval:
    if node.is_number:
        value = float(node) if node.is_extended_real else np.nan
        exact = node.is_Integer and abs(value) < 2**53
        width = 0.0 if exact else abs(value) * _ULPS
        return np.full(shape, value - width), np.full(shape, value + width)
    args = [_of(arg, seen, shape) for arg in node.args]
    if node.is_Add:
        return _folded(_sum, args)
    if node.is_Mul:
        return _folded(_product, args)
    if isinstance(node, sp.Pow) and node.exp.is_number:
        return _power(*args[0], node.exp)
    if isinstance(node, (sp.Max, sp.Min)):
        least = np.maximum if isinstance(node, sp.Max) else np.minimum
        return _folded(lambda a, b: (least(a[0], b[0]), least(a[1], b[1])), args)
    if node.func in _RULES and len(args) == 1:
        return _RULES[node.func](*args[0])
    return np.full(shape, -np.inf), np.full(shape, np.inf)


def _folded(operation: Callable[[Interval, Interval], Interval], args: list[Interval]) -> Interval:
    found = args[0]
    for arg in args[1:]:
        found = operation(found, arg)
    return found


def _out(low: Floats, high: Floats) -> Interval:
    return np.nextafter(low, -np.inf), np.nextafter(high, np.inf)


def _widened(low: Floats, high: Floats) -> Interval:
    return low - np.abs(low) * _ULPS - 1e-300, high + np.abs(high) * _ULPS + 1e-300


def _sum(a: Interval, b: Interval) -> Interval:
    low, high = _out(a[0] + b[0], a[1] + b[1])
    return _not_below_zero(low, (a[0] >= 0) & (b[0] >= 0)), high


def _not_below_zero(low: Floats, where: Flags) -> Floats:
    """Rounding outward leaves a sum and a product of what is not negative as it is."""
    return np.where(where, np.maximum(low, 0.0), low)


def _product(a: Interval, b: Interval) -> Interval:
    ends = np.stack([x * y for x in a for y in b])
    ends = np.where(np.isnan(ends), 0.0, ends)  # 0 times infinity: an end that is not reached
    low, high = _out(ends.min(axis=0), ends.max(axis=0))
    return _not_below_zero(low, (a[0] >= 0) & (b[0] >= 0)), high


def _power(low: Floats, high: Floats, exponent: sp.Expr) -> Interval:
    if exponent == -1:
        crossing = (low <= 0) & (high >= 0)
        inverse = _out(1 / high, 1 / low)
        positive = crossing & (low == 0) & (high > 0)
        below = np.where(positive, 1 / high, -np.inf)
        least = _not_below_zero(np.where(crossing, below, inverse[0]), low >= 0)
        return least, np.where(crossing, np.inf, inverse[1])
    if exponent.is_negative:
        return _power(*_power(low, high, -exponent), sp.S.NegativeOne)
    if exponent.is_Integer and exponent.is_even:
        low, high = _absolute(low, high)
    p = float(exponent)
    if not exponent.is_Integer:
        # No value below 0: what is given may reach there by rounding only, or nothing is known.
        low, high = np.where(low < -1e-9, np.nan, np.maximum(low, 0.0)), high
    found = _widened(low**p, high**p)
    nonnegative = low >= 0
    return np.where(nonnegative, np.maximum(found[0], 0.0), found[0]), found[1]


def _absolute(low: Floats, high: Floats) -> Interval:
    crossing = (low <= 0) & (high >= 0)
    ends = np.abs(low), np.abs(high)
    return np.where(crossing, 0.0, np.minimum(*ends)), np.maximum(*ends)


def _rising(
    function: Callable[[Floats], Floats], least: float = -np.inf, most: float = np.inf
) -> Rule:
    def rule(low: Floats, high: Floats) -> Interval:
        a, b = _widened(function(low), function(high))
        return np.maximum(a, least), np.minimum(b, most)

    return rule


def _cosine(low: Floats, high: Floats) -> Interval:
    """Between -1 and 1; 1 and -1 where a multiple of pi of that parity lies inside."""
    a, b = _widened(np.minimum(np.cos(low), np.cos(high)), np.maximum(np.cos(low), np.cos(high)))
    slack = 1e-9
    turns_low, turns_high = (low - slack) / (2 * np.pi), (high + slack) / (2 * np.pi)
    wide = ~(np.isfinite(low) & np.isfinite(high)) | (np.abs(low) > 1e6) | (np.abs(high) > 1e6)
    top = wide | (np.floor(turns_high) >= np.ceil(turns_low))
    bottom = wide | (np.floor(turns_high - 0.5) >= np.ceil(turns_low - 0.5))
    return np.where(bottom, -1.0, np.maximum(a, -1)), np.where(top, 1.0, np.minimum(b, 1))


def _hyperbolic_cosine(low: Floats, high: Floats) -> Interval:
    low, high = _absolute(low, high)
    return _rising(np.cosh, least=1.0)(low, high)


def _logarithm(low: Floats, high: Floats) -> Interval:
    low = np.where(low <= 0, 0.0, low)
    return _rising(np.log)(low, np.where(high < 0, np.nan, high))


_RULES: dict[type, Rule] = {
    sp.exp: _rising(np.exp, least=0.0),
    sp.log: _logarithm,
    sp.tanh: _rising(np.tanh, -1.0, 1.0),
    sp.sinh: _rising(np.sinh),
    sp.cosh: _hyperbolic_cosine,
    sp.atan: _rising(np.arctan),
    sp.asinh: _rising(np.arcsinh),
    sp.Abs: _absolute,
    sp.cos: _cosine,
    sp.sin: lambda low, high: _cosine(low - np.pi / 2 - 4e-16, high - np.pi / 2 + 4e-16),
}
