"""log and log1p on LLVM vectors, without branches."""

from __future__ import annotations

from .vector_lanes import Floats, fma, polynomial, shared, sign_of, where

__all__ = ["LN2", "log", "log1p", "split_exponent"]

# x = 2^k m with m in [sqrt(1/2), sqrt(2)), f = m - 1, s = f/(2 + f):
# log(1 + f) = f - f^2/2 + s (f^2/2 + s^2 Q(s^2)), as in FreeBSD's e_log.c and e_logf.c.
_LOG = {
    64: (
        6.666666666666735130e-01,
        3.999999999940941908e-01,
        2.857142874366239149e-01,
        2.222219843214978396e-01,
        1.818357216161805012e-01,
        1.531383769920937332e-01,
        1.479819860511658591e-01,
    ),
    32: (0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841),
}
# ln(2) = high + low, high short enough that k*high is exact.
LN2 = {
    64: (6.93147180369123816490e-01, 1.90821492927058770002e-10),
    32: (6.9313812256e-01, 9.0580006145e-06),
}


def split_exponent(x: Floats, subnormals: bool = True):
    """Of positive finite x = 2^k m: k as floats, m, and the biased exponent k + bias."""
    lanes = x.lanes
    mantissa, bias = lanes.mantissa, lanes.bias
    shift = base = 2.0**mantissa
    shift += bias
    if subnormals:
        tiny = x < 2.0 ** (1 - bias)
        x = where(tiny, x * 2.0 ** (mantissa + 2), x)
        shift = where(tiny, x.like(shift + mantissa + 2), shift)
    root = lanes.bit_pattern(0.5**0.5)
    bits = x.bits + ((bias << mantissa) - root)
    exponent = bits >> mantissa
    # Or-ing an integer below 2^mantissa into the float 2^mantissa adds it exactly.
    k = (exponent | lanes.bit_pattern(base)).floats - shift
    return k, ((bits & ((1 << mantissa) - 1)) + root).floats, exponent


def _log_positive(k: Floats, f: Floats) -> Floats:
    """k ln(2) + log(1 + f)."""
    bits = f.lanes.bits
    s = f / (f + 2.0)
    z = s * s
    half = f * 0.5 * f
    high, low = LN2[bits]
    inner = fma(z, polynomial(_LOG[bits], z), half)
    tail = half - fma(s, inner, k * low) - f
    return fma(k, high, -tail)


def _outside_too(x: Floats, value: Floats) -> Floats:
    """``value`` where 0 < x < inf, else log(x)."""
    value = where(x == float("inf"), float("inf"), value)
    outside = where(x == 0.0, x.like(float("-inf")), float("nan"))
    return where(x > 0.0, value, outside)


def _log(x):
    """log(x); subnormal x are scaled first."""
    k, m, _ = split_exponent(x)
    return _outside_too(x, _log_positive(k, m - 1.0))


def _log1p(x):
    """log(u) with u = 1 + x rounded, f corrected by what the rounding lost (f = x where k = 0)."""
    u = x + 1.0
    v = u - 1.0
    lost = (1.0 - (u - v)) + (x - v)
    k, m, exponent = split_exponent(u, subnormals=False)
    mantissa, bias = x.lanes.mantissa, x.lanes.bias
    scale = ((2 * bias + 1 - exponent) << mantissa).floats  # 2^(1 - k), 0 if k is the largest
    f = fma(lost * 0.5, scale, m - 1.0)
    value = _outside_too(u, _log_positive(k, f))
    return (value.bits | sign_of(x)).floats


log = shared("log", _log, inline=True)
log1p = shared("log1p", _log1p)
