"""Special functions written out in elementary ones, for targets that have no code of their own.

A smooth function is a polynomial on an interval: Chebyshev interpolation in mpmath, with as many
coefficients as double precision sees.  Float32 takes the same polynomials.  The arguments of a
branch that is not taken are clamped, so that nothing there overflows.  All arguments are real.

Largest errors met beside mpmath, in units of the precision's eps = 2^-52 (2^-23): besselj 15,
sinc and its derivatives 4, polygamma 4 (all as parts of the larger of 1 and the value; polygamma 20
below 0); erfcx 6, its first derivative 10, its third 60 (as parts of the value).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import mpmath
import sympy as sp

__all__ = ["besselj", "erfcx", "polygamma", "sech", "sinc"]

_DIGITS = 40
_SMALLEST = 2.0**-56  # Chebyshev coefficients below this part of the largest are left out
_MOST = 64


def _chebyshev(function: Callable[[mpmath.mpf], mpmath.mpf], count: int) -> list[mpmath.mpf]:
    """Coefficients of the polynomial that meets a function at the ``count`` Chebyshev nodes."""
    turn = mpmath.pi / (2 * count)
    values = [function(mpmath.cos(turn * (2 * k + 1))) for k in range(count)]
    found = [
        2
        * mpmath.fsum(v * mpmath.cos(turn * j * (2 * k + 1)) for k, v in enumerate(values))
        / count
        for j in range(count)
    ]
    return [found[0] / 2, *found[1:]]


def _fitted(function: Callable[[mpmath.mpf], mpmath.mpf]) -> tuple[sp.Float, ...]:
    """Coefficients of 1, t, t^2, ... of a polynomial that is the function on -1 <= t <= 1."""
    with mpmath.workdps(_DIGITS):
        for count in range(8, _MOST, 4):
            series = _chebyshev(function, count)
            largest = max(map(abs, series))
            if max(map(abs, series[-2:])) < _SMALLEST * largest:
                break
        while abs(series[-1]) < _SMALLEST * largest / 4:
            series.pop()
        total = [mpmath.mpf(0)] * len(series)
        before: list[mpmath.mpf] = []
        power = [mpmath.mpf(1)]  # T_0 = 1, T_1 = t, T_(j+1) = 2 t T_j - T_(j-1)
        for j, coefficient in enumerate(series):
            for k, part in enumerate(power):
                total[k] += coefficient * part
            following = [mpmath.mpf(0), *(part if j == 0 else 2 * part for part in power)]
            for k, part in enumerate(before):
                following[k] -= part
            before, power = power, following
        return tuple(sp.Float(float(number)) for number in total)


def _polynomial(coefficients: Sequence[sp.Float], t: sp.Expr) -> sp.Expr:
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = coefficient + t * value
    return value


def _either(condition: sp.Basic, first: sp.Expr, second: sp.Expr) -> sp.Expr:
    return sp.Piecewise((first, condition), (second, sp.true), evaluate=False)


def _size(u: sp.Expr) -> sp.Expr:
    return sp.Abs(u, evaluate=False)


def sech(u: sp.Expr) -> sp.Expr:
    """1/cosh(u), which overflows nowhere."""
    e = sp.exp(-_size(u))
    return 2 * e / (1 + e**2)


# ------------------------------------------------------------------------------ Bessel functions
_BORDER = 8  # from here on amplitude and phase


@cache
def _bessel_even(order: int) -> tuple[sp.Float, ...]:
    """J_n(u)/u^n in t = u^2/32 - 1."""
    scale = 2**order * mpmath.factorial(order)
    return _fitted(lambda t: mpmath.hyp0f1(order + 1, -8 * (t + 1)) / scale)


@cache
def _bessel_phase(order: int) -> tuple[tuple[sp.Float, ...], tuple[sp.Float, ...]]:
    """P and Q u/8 of J_n = sqrt(2/(pi u)) (P cos(chi) - Q sin(chi)) in t = 128/u^2 - 1."""

    def parts(t: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
        u = mpmath.sqrt(128 / (t + 1))
        chi = u - (2 * order + 1) * mpmath.pi / 4
        j, y = mpmath.besselj(order, u), mpmath.bessely(order, u)
        scale, c, s = mpmath.sqrt(mpmath.pi * u / 2), mpmath.cos(chi), mpmath.sin(chi)
        return scale * (j * c + y * s), scale * (y * c - j * s) * u / 8

    return _fitted(lambda t: parts(t)[0]), _fitted(lambda t: parts(t)[1])


def besselj(order: sp.Expr, u: sp.Expr) -> sp.Expr:
    """J_n(u) for a whole number n >= 0: a polynomial up to 8, then amplitude and phase.

    Orders above 1 follow beyond 8 from J_(n+1) = 2 n/u J_n - J_(n-1), which is stable there.
    """
    n, a = int(order), sp.Max(_size(u), _BORDER, evaluate=False)
    t = sp.Min(u**2, _BORDER**2, evaluate=False) / 32 - 1
    small = u**n * _polynomial(_bessel_even(n), t)
    w, c, s = 128 / a**2 - 1, sp.cos(a), sp.sin(a)
    found = []
    for k, (along, across) in enumerate([(c + s, s - c), (s - c, -(s + c))]):
        p, q = (_polynomial(part, w) for part in _bessel_phase(k))
        found.append((p * along - q * 8 / a * across) / sp.sqrt(sp.pi * a))
    while len(found) <= n:
        found.append(2 * (len(found) - 1) / a * found[-1] - found[-2])
    large = sp.sign(u) * found[n] if n % 2 else found[n]
    return _either(_size(u) < _BORDER, small, large)


# ------------------------------------------------------------------------------------------ sinc
@cache
def _sinc_small(order: int, border: int) -> tuple[sp.Float, ...]:
    """The n-th derivative of sin(u)/u, of an odd one divided by u, in t = 2 u^2/border^2 - 1."""

    def value(t: mpmath.mpf) -> mpmath.mpf:
        z, first = (t + 1) * border**2 / 2, (order + 1) // 2
        terms = (
            (-1) ** k * z ** (k - first) / mpmath.factorial(2 * k - order) / (2 * k + 1)
            for k in range(first, first + 40)
        )
        return mpmath.fsum(terms)

    return _fitted(value)


def sinc(u: sp.Expr, order: sp.Expr = sp.S.Zero) -> sp.Expr:
    """The n-th derivative s_n of s_0 = sin(u)/u: a polynomial near 0, then

    s_n = (sin(u + n pi/2) - n s_(n-1))/u.
    """
    n = int(order)
    border = n + 2 if n else 1
    t = sp.Min(u**2, border**2, evaluate=False) * sp.Rational(2, border**2) - 1
    small = u ** (n % 2) * _polynomial(_sinc_small(n, border), t)
    a = sp.Max(_size(u), border, evaluate=False)
    turned = [sp.sin(a), sp.cos(a), -sp.sin(a), -sp.cos(a)]
    large = sp.S.Zero
    for k in range(n + 1):
        large = (turned[k % 4] - k * large) / a
    return _either(_size(u) < border, small, sp.sign(u) * large if n % 2 else large)


# ------------------------------------------------------------------------------------- polygamma
def polygamma(order: sp.Expr, u: sp.Expr) -> sp.Expr:
    """The n-th derivative of the digamma function.

    The argument is raised to 10 + n, where Stirling's series ends; below 0 the function is
    reflected.
    """
    n = int(order)
    steps, v = 10 + n, _either(u < 0, 1 - u, u)
    w = v + steps
    # (-1)^(n+1) psi_n is positive for n > 0: the parts below are of one sign.
    shift = [sp.factorial(n) / (v + k) ** (n + 1) for k in range(steps)]
    near = sp.factorial(n) / (2 * w ** (n + 1))
    square = w**-2
    rows = [sp.bernoulli(2 * k) * sp.rf(2 * k, n) / (2 * k) for k in range(1, 12)]
    tail = square * _polynomial([sp.Float(float(r)) for r in rows], square)
    first = -sp.log(w) if n == 0 else sp.factorial(n - 1) / w**n
    series = first + tail / w**n
    value = (-1) ** (n + 1) * (sp.Add(*shift) + near + series)
    return _either(u < 0, (-1) ** n * value - _cotangents(n, u), value)


def _cotangents(n: int, u: sp.Expr) -> sp.Expr:
    """The n-th derivative of pi cot(pi u); d/du of cot(pi u) is -pi (1 + cot(pi u)^2)."""
    c = sp.Dummy("c")
    value = sp.pi * c
    for _ in range(n):
        value = sp.expand(-sp.pi * (1 + c**2) * value.diff(c))
    # Kept from the poles at whole numbers, 0 among them, where the branch is not taken.
    low = sp.Min(u, 0, evaluate=False)
    sine = _either(u < 0, sp.sin(sp.pi * low), sp.S.One)
    return value.xreplace({c: sp.cos(sp.pi * low) / sine})


# ----------------------------------------------------------------------------------------- erfcx
_MIDDLE = 3.0  # t = (u - 3)/(u + 3), as Shepherd and Laframboise (1981) have it with 3.75


@cache
def _erfcx_scaled(order: int) -> tuple[sp.Float, ...]:
    """(-1)^n erfcx^(n)(u) (1 + 2 u)^(n + 1) in t; the derivative is Tricomi's function U."""

    def value(t: mpmath.mpf) -> mpmath.mpf:
        u = _MIDDLE * (1 + t) / (1 - t)
        found = mpmath.hyperu((order + 1) / mpmath.mpf(2), mpmath.mpf(1) / 2, u * u)
        return mpmath.factorial(order) / mpmath.sqrt(mpmath.pi) * found * (1 + 2 * u) ** (order + 1)

    return _fitted(value)


def erfcx(u: sp.Expr, order: sp.Expr = sp.S.Zero) -> sp.Expr:
    """The n-th derivative of exp(u^2) erfc(u): a polynomial in a quotient for u >= 0.

    For u < 0, erfcx(u) = 2 exp(u^2) - erfcx(-u).
    """
    n, a = int(order), _size(u)
    t = (a - _MIDDLE) / (a + _MIDDLE)
    value = _polynomial(_erfcx_scaled(n), t) / (1 + 2 * a) ** (n + 1)
    low, slopes = sp.Min(u, 0, evaluate=False), sp.S.One
    x = sp.Dummy("x")
    for _ in range(n):
        slopes = sp.expand(slopes.diff(x) + 2 * x * slopes)
    grown = 2 * slopes.xreplace({x: low}) * sp.exp(low**2)
    return _either(u < 0, grown - value, (-1) ** n * value)
