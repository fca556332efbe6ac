"""Bounds of formulas on boxes, by interval arithmetic with outward rounding.

Every operation gives an interval that holds all values of its arguments' intervals, so that what
comes out is a bound and no estimate, as far as NumPy's functions are exact to a few units in the
last place (R. E. Moore, Interval Analysis, 1966).  A least value over a line is found by splitting
the intervals that could still hold it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import sympy as sp

__all__ = ["bounds", "lower_bound", "polynomial_lower_bound"]

# What the widening of a function's value covers: NumPy's functions are exact to 4 units and better.
_ULPS = 16 * np.finfo(float).eps
# Boxes of a search at a time, and rounds of splitting.
_BOXES, _ROUNDS = 1 << 13, 40
# Ends of the finite part of a line that are tried; beyond is one unbounded interval a side.
_FAR = (8.0, 64.0, 1024.0)


def bounds(expr: sp.Expr, box: dict) -> tuple[np.ndarray, np.ndarray]:
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


def _of(node: sp.Expr, seen: dict, shape):
    if node not in seen:
        low, high = _node(node, seen, shape)
        unknown = np.isnan(low) | np.isnan(high)
        seen[node] = np.where(unknown, -np.inf, low), np.where(unknown, np.inf, high)
    return seen[node]


def _node(node: sp.Expr, seen: dict, shape):
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


def _folded(operation, args):
    found = args[0]
    for arg in args[1:]:
        found = operation(found, arg)
    return found


def _out(low, high):
    return np.nextafter(low, -np.inf), np.nextafter(high, np.inf)


def _widened(low, high):
    return low - np.abs(low) * _ULPS - 1e-300, high + np.abs(high) * _ULPS + 1e-300


def _sum(a, b):
    low, high = _out(a[0] + b[0], a[1] + b[1])
    return _not_below_zero(low, (a[0] >= 0) & (b[0] >= 0)), high


def _not_below_zero(low, where):
    """Rounding outward leaves a sum and a product of what is not negative as it is."""
    return np.where(where, np.maximum(low, 0.0), low)


def _product(a, b):
    ends = np.stack([x * y for x in a for y in b])
    ends = np.where(np.isnan(ends), 0.0, ends)  # 0 times infinity: an end that is not reached
    low, high = _out(ends.min(axis=0), ends.max(axis=0))
    return _not_below_zero(low, (a[0] >= 0) & (b[0] >= 0)), high


def _power(low, high, exponent: sp.Expr):
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


def _absolute(low, high):
    crossing = (low <= 0) & (high >= 0)
    ends = np.abs(low), np.abs(high)
    return np.where(crossing, 0.0, np.minimum(*ends)), np.maximum(*ends)


def _rising(function, least=-np.inf, most=np.inf):
    def rule(low, high):
        a, b = _widened(function(low), function(high))
        return np.maximum(a, least), np.minimum(b, most)

    return rule


def _cosine(low, high):
    """Between -1 and 1; 1 and -1 where a multiple of pi of that parity lies inside."""
    a, b = _widened(np.minimum(np.cos(low), np.cos(high)), np.maximum(np.cos(low), np.cos(high)))
    slack = 1e-9
    turns_low, turns_high = (low - slack) / (2 * np.pi), (high + slack) / (2 * np.pi)
    wide = ~(np.isfinite(low) & np.isfinite(high)) | (np.abs(low) > 1e6) | (np.abs(high) > 1e6)
    top = wide | (np.floor(turns_high) >= np.ceil(turns_low))
    bottom = wide | (np.floor(turns_high - 0.5) >= np.ceil(turns_low - 0.5))
    return np.where(bottom, -1.0, np.maximum(a, -1)), np.where(top, 1.0, np.minimum(b, 1))


def _hyperbolic_cosine(low, high):
    low, high = _absolute(low, high)
    return _rising(np.cosh, least=1.0)(low, high)


def _logarithm(low, high):
    low = np.where(low <= 0, 0.0, low)
    return _rising(np.log)(low, np.where(high < 0, np.nan, high))


_RULES = {
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


# Least values over a line.


def polynomial_lower_bound(poly: sp.Poly, low=None, high=None) -> float:
    """The least value of a polynomial with fractions as coefficients over a line, from below.

    A candidate is proven by Sturm's theorem: the polynomial minus it has no root of odd order.

    Parameters
    ----------
    poly : Poly
        In one symbol.
    low, high : Rational or None
        Ends of the interval; None is infinity.

    Returns
    -------
    float
        At most the least value, and within 1e-6 (1 + its size) of it; -inf where there is none.
    """
    value = _least_estimate(poly, low, high)
    if not np.isfinite(value):
        return -np.inf
    scale = max(1.0, abs(value))
    for slack in (0.0, 1e-12, 1e-9, 1e-6):
        near = sp.Rational(float(value - slack * scale))
        tries = [near] if slack else [near.limit_denominator(1000), near]
        for candidate in tries:
            if _is_nonnegative(poly - candidate, low, high):
                found = float(candidate)
                exact = sp.Rational(found) == candidate
                return found if exact else float(np.nextafter(found, -np.inf))
    return -np.inf


def _least_estimate(poly: sp.Poly, low, high) -> float:
    coefficients = np.array([float(c) for c in poly.all_coeffs()])
    if poly.degree() <= 0:
        return float(coefficients[-1]) if coefficients.size else 0.0
    rising_right = poly.LC() > 0
    rising_left = (poly.LC() > 0) == (poly.degree() % 2 == 0)
    if (high is None and not rising_right) or (low is None and not rising_left):
        return -np.inf
    roots = np.roots(np.polyder(coefficients))
    places = list(roots.real[np.abs(roots.imag) <= 1e-6 * (1 + np.abs(roots.real))])
    places = [r for r in places if (low is None or r >= low) and (high is None or r <= high)]
    places += [float(end) for end in (low, high) if end is not None]
    exact = [float(poly.eval(sp.Rational(float(r)))) for r in places]
    return min(exact)


def _is_nonnegative(poly: sp.Poly, low, high) -> bool:
    """Whether a polynomial is at least 0 on an interval, exactly."""
    if poly.is_zero:
        return True
    inside = low if low is not None else (high if high is not None else sp.S.Zero)
    if low is not None and high is not None and low == high:
        return bool(poly.eval(low) >= 0)
    odd = [f for f, order in poly.sqf_list()[1] if order % 2]
    for factor in odd:
        count = factor.count_roots(low, high)
        count -= sum(1 for end in (low, high) if end is not None and factor.eval(end) == 0)
        if count > 0:
            return False
    # No change of sign inside: the sign anywhere but at a root decides.
    step = sp.Rational(1, 7)
    for k in range(poly.degree() + 2):
        if low is not None and high is not None:
            place = low + (high - low) * sp.Rational(k + 1, poly.degree() + 3)
        else:
            place = inside + (step * k if low is not None or high is None else -step * k)
        value = poly.eval(place)
        if value != 0:
            return bool(value > 0)
    return False


@lru_cache(maxsize=512)
def lower_bound(expr: sp.Expr, symbol: sp.Symbol, low=None, high=None, gap: float = 1e-4) -> float:
    """A lower bound of a formula of one symbol over a line or a part of it.

    Parameters
    ----------
    expr : Expr
        In one symbol, with fractions as numbers.
    low, high : Rational or None
        Ends; None is infinity.
    gap : float
        How far below the least value found the bound may stay, relative to 1 + |value|.

    Returns
    -------
    float
        -inf where none is found.
    """
    poly = expr.as_poly(symbol, domain="QQ") if expr.is_polynomial(symbol) else None
    if poly is not None:
        return polynomial_lower_bound(poly, low, high)
    best = -np.inf
    for form in _spellings(expr, symbol):
        best = max(best, _lower_bound(form, symbol, low, high, gap))
        if best > -np.inf:
            break
    return best


def _spellings(expr: sp.Expr, symbol: sp.Symbol):
    """Ways to write a formula: interval arithmetic is not the same for all."""
    yield sp.expand(expr)
    yield expr
    if sp.count_ops(expr) < 100:
        if expr.is_rational_function(symbol):
            yield sp.apart(sp.together(expr), symbol)
        yield sp.simplify(expr)


def _lower_bound(expr, symbol, low, high, gap) -> float:
    if expr.is_polynomial(symbol):
        poly = expr.as_poly(symbol, domain="QQ")
        return -np.inf if poly is None else polynomial_lower_bound(poly, low, high)
    best = -np.inf
    for far in _FAR:
        left = float(low) if low is not None else min(-far, float(high or 0) - far)
        right = float(high) if high is not None else max(far, float(low or 0) + far)
        tails = np.inf
        if low is None:
            tails = min(tails, _tail(expr, symbol, left, -1))
        if high is None:
            tails = min(tails, _tail(expr, symbol, right, 1))
        if tails == -np.inf:
            continue
        inner, value = _inner(expr, symbol, left, right, gap, tails)
        best = max(best, min(inner, tails))
        if best >= value - gap * (1 + abs(value)):
            break
    return best


def _inner(expr, symbol, left: float, right: float, gap: float, enough: float):
    """A lower bound on a bounded interval, by splitting, and the least value found."""
    edges = np.linspace(left, right, 257)
    low, high = edges[:-1], edges[1:]
    value, done = np.inf, np.inf
    for _ in range(_ROUNDS):
        middle = low / 2 + high / 2
        value = min(value, bounds(expr, {symbol: (middle, middle)})[1].min())
        found = bounds(expr, {symbol: (low, high)})[0]
        target = min(value - gap * (1 + abs(value)), enough)
        open_ = found < target
        done = min(done, found[~open_].min(initial=np.inf))
        if not open_.any():
            return min(done, value), value
        low, high = low[open_], high[open_]
        found = found[open_]
        if low.size > _BOXES:
            break
        middle = low / 2 + high / 2
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    return min(done, found.min()), value


def _tail(expr: sp.Expr, symbol, end: float, side: int) -> float:
    """A lower bound beyond ``end``, summand by summand."""
    total = 0.0
    for summand in sp.Add.make_args(expr):
        least = _falling(summand, symbol, end, side)
        if least is None:
            box = (end, np.inf) if side > 0 else (-np.inf, end)
            found = bounds(summand, {symbol: tuple(np.array([b]) for b in box)})[0][0]
            least = found
        exact = total >= 0 and least >= 0
        total = max(total, least) if exact else np.nextafter(total + least, -np.inf)
    return total


def _falling(summand: sp.Expr, symbol, end: float, side: int) -> float | None:
    """The least value beyond ``end`` of c u^a e^p(u) that falls to 0 there; None if it is none.

    With u = side * symbol its logarithm has the slope a/u + p'(u), which is negative where
    a + u p'(u) has no root and falls.
    """
    u = sp.Dummy("u", positive=True)
    term = summand.xreplace({symbol: side * u})
    factor, rest = term.as_independent(u, as_Add=False)
    power, exponent = sp.S.Zero, sp.S.Zero
    for part in sp.Mul.make_args(rest):
        base, order = part.as_base_exp()
        if isinstance(part, sp.exp):
            exponent += part.exp
        elif base == u and order.is_Rational:
            power += order
        else:
            return None
    if not factor.is_number or not exponent.is_polynomial(u):
        return None
    slope = (power + sp.expand(u * exponent.diff(u))).as_poly(u, domain="QQ")
    start = sp.Rational(abs(end))
    if slope is None or slope.is_zero or end * side <= 0:
        return None
    if slope.LC() > 0 or slope.count_roots(start, None) > 0:
        return None
    if factor > 0:
        return 0.0
    here = np.array([abs(end)])
    return min(float(bounds(factor * rest, {u: (here, here)})[0][0]), 0.0)
