"""x**y on LLVM vectors, without branches: exp(y log|x|) and the special cases of C99.

In float64 the logarithm and its product with y are sums of two numbers, since an error of 1e-16
in log|x| grows with |y log|x|| up to 745.  In float32 everything is computed in float64.
"""

from __future__ import annotations

from .vector_exponential import exp, exp_of_sum
from .vector_lanes import Floats, clamp, fma, intrinsic, polynomial, shared, sign_of, where
from .vector_logarithm import LN2, log, split_exponent

__all__ = ["power"]

_INFINITY = float("inf")
# log(m) = 2 s + s z (2/3 + z L(z)), s = (m - 1)/(m + 1), z = s^2: Remez in mpmath, for an error
# below 2^-66.  The second number completes 2/3.
_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
_LOG_TAIL = (
    0.40000000000002256,
    0.2857142857009846,
    0.22222222520125376,
    0.18181784349016633,
    0.15386758183375532,
    0.1325679748734351,
    0.13196520516720495,
)
# Larger exponents change no result, as |log x| is zero or at least 2^-53.
_LARGEST_EXPONENT = 2.0**80


def _log_in_two(a):
    """log(a) = high + low for positive a; 0, infinity and NaN give what log gives."""
    k, m, _ = split_exponent(a)
    f, d = m - 1.0, m + 1.0
    inverse = 1.0 / d
    s = f * inverse
    s_low = fma(-s, m - (d - 1.0), fma(-s, d, f)) * inverse
    z = s * s
    z_low = fma(s + s, s_low, fma(s, s, -z))
    tail = polynomial(_LOG_TAIL, z)
    c = fma(z, tail, _TWO_THIRDS[0])
    c_low = fma(z, tail, _TWO_THIRDS[0] - c) + _TWO_THIRDS[1]
    p = z * c
    p_low = fma(z, c, -p) + fma(z, c_low, z_low * c)
    twice = s + s
    high = fma(s, p, twice)
    low = fma(s, p, twice - high) + fma(s, p_low, s_low * (p + 2.0))
    ln2, ln2_low = LN2[64]
    total = fma(k, ln2, high)
    rest = (fma(k, ln2, -total) + high) + fma(k, ln2_low, low)
    total = where(a < _INFINITY, total, a)
    return where(a == 0.0, -_INFINITY, total), rest


def _exp_of_product(y, a):
    """exp(y log(a)), a >= 0, in float64."""
    log_a, log_low = _log_in_two(a)
    high = y * log_a
    low = fma(y, log_low, fma(y, log_a, -high))
    low = where(abs(high) < 2000.0, low, 0.0)  # beyond, low may be NaN
    return exp_of_sum(high, low)


def _exp_of_product_32(y, a):
    y, a = y.converted(64), a.converted(64)
    builder, lanes = y.builder, y.lanes
    product = y * Floats(builder, lanes, log(builder, lanes, a.value))
    return Floats(builder, lanes, exp(builder, lanes, product.value)).converted(32)


def _power(x, y):
    """x**y; 1 for x = 1 or y = 0 whatever the other is, NaN for a negative x and broken y."""
    bounded = clamp(y, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)  # no infinity times log(1)
    value = (_exp_of_product if x.lanes.bits == 64 else _exp_of_product_32)(bounded, abs(x))
    half = y * 0.5
    builder = x.builder
    fractional = intrinsic("floor", y) != y
    half_whole = intrinsic("floor", half) == half
    even = builder.or_(fractional, half_whole)
    sign = where(even, 0, sign_of(x))
    value = (value.bits | sign).floats
    invalid = builder.and_(builder.and_(x < 0.0, x > -_INFINITY), fractional)
    value = where(invalid, float("nan"), value)
    return where(builder.or_(x == 1.0, y == 0.0), 1.0, value)


power = shared("power", _power)
