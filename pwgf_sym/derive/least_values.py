"""The least value of a formula of one number over a line or a part of it, from below.

Polynomials by Sturm's theorem; other formulas by interval arithmetic, splitting the intervals that
could still hold the least value, with one unbounded interval a side.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import sympy as sp

from .intervals import bounds

__all__ = ["lower_bound", "polynomial_lower_bound"]

# Boxes of a search at a time, and rounds of splitting.
_BOXES, _ROUNDS = 1 << 13, 40
# Ends of the finite part of a line that are tried; beyond is one unbounded interval a side.
_FAR = (8.0, 64.0, 1024.0)


def polynomial_lower_bound(
    poly: sp.Poly, low: sp.Rational | None = None, high: sp.Rational | None = None
) -> float:
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


def _least_estimate(poly: sp.Poly, low: sp.Rational | None, high: sp.Rational | None) -> float:
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


def _is_nonnegative(poly: sp.Poly, low: sp.Rational | None, high: sp.Rational | None) -> bool:
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
def lower_bound(
    expr: sp.Expr,
    symbol: sp.Symbol,
    low: sp.Rational | None = None,
    high: sp.Rational | None = None,
    gap: float = 1e-4,
) -> float:
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


def _spellings(expr: sp.Expr, symbol: sp.Symbol) -> Iterator[sp.Expr]:
    """Ways to write a formula: interval arithmetic is not the same for all."""
    yield sp.expand(expr)
    yield expr
    if sp.count_ops(expr) < 100:
        if expr.is_rational_function(symbol):
            yield sp.apart(sp.together(expr), symbol)
        yield sp.simplify(expr)


def _lower_bound(
    expr: sp.Expr,
    symbol: sp.Symbol,
    low: sp.Rational | None,
    high: sp.Rational | None,
    gap: float,
) -> float:
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


def _inner(
    expr: sp.Expr, symbol: sp.Symbol, left: float, right: float, gap: float, enough: float
) -> tuple[float, float]:
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


def _tail(expr: sp.Expr, symbol: sp.Symbol, end: float, side: int) -> float:
    """A lower bound beyond ``end``, summand by summand."""
    total = 0.0
    for summand in sp.Add.make_args(expr):
        least = _falling(summand, symbol, end, side)
        if least is None:
            left, right = (end, np.inf) if side > 0 else (-np.inf, end)
            box = np.array([left]), np.array([right])
            least = bounds(summand, {symbol: box})[0][0]
        exact = total >= 0 and least >= 0
        total = max(total, least) if exact else np.nextafter(total + least, -np.inf)
    return total


def _falling(summand: sp.Expr, symbol: sp.Symbol, end: float, side: int) -> float | None:
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
