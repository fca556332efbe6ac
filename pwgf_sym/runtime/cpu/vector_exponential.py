"""exp, expm1, tanh and the logistic function on LLVM vectors, without branches.

All reduce by x = n ln(2) + r (Cody and Waite, "Software manual for the elementary functions",
1980).  Coefficients: Remez fits in mpmath.

exp, the logistic function and tanh are written as stages (:class:`.Staged`), so that loops over
arrays can work on several numbers at different stages.
"""

from __future__ import annotations

from .vector_lanes import (
    Floats,
    Staged,
    clamp,
    fma,
    polynomial,
    round_to_integer,
    shared,
    sign_of,
    where,
)

__all__ = ["STAGED", "exp", "expm1", "exp_of_sum", "one_minus_exp", "sigmoid", "tanh"]

# exp(r) = 1 + r + r^2 P(r) on |r| <= ln(2)/2: first coefficient rounded, then the others fitted.
_EXPM1 = {
    64: (
        0.5000000000000012,
        0.16666666666666496,
        0.04166666666651576,
        0.008333333333427574,
        0.0013888888947656032,
        0.00019841269678668203,
        2.4801488710650855e-05,
        2.7557409387741654e-06,
        2.7631881103934103e-07,
        2.5063138719242676e-08,
    ),
    32: (
        0.4999999403953552,
        0.16666516661643982,
        0.04166809841990471,
        0.008369221352040768,
        0.0013839374296367168,
    ),
}
# ln(2) = high + low, high short enough that n*high is exact.
_LN2 = {
    64: (0.6931471805598903, 5.497923018708371e-14),
    32: (0.693145751953125, 1.4286068203094173e-06),
}
_LOG2_E = 1.4426950408889634
# exp is exactly 0 below and infinite above these.
_EXP_RANGE = {64: (-746.0, 710.0), 32: (-104.0, 89.0)}
# A quotient e/(e + 1) is computed as c e/(c e + c).  Rounding costs numerator and denominator most
# just above a power of two; this c keeps both away from there where the quotient is just below
# one, where its unit is smallest.
_SCALE = 1.5
# Beyond this expm1 is -1 below zero, and the logistic function 1 above.
_ONE_BEYOND = {64: 44.0, 32: 20.0}


def _two_to_the(y: Floats, factor: float, offset: float = 0.0, plus: int = 0):
    """n = y*factor + offset rounded: 2^(n + plus) and n, both as floats."""
    integers, n = round_to_integer(y, factor, offset, y.lanes.bias + plus)
    return integers.as_exponent(), n


def _rest(y: Floats, n: Floats):
    """r = y - n ln(2), and what it loses in rounding."""
    high, low = _LN2[y.lanes.bits]
    first = fma(n, -high, y)
    r = fma(n, -low, first)
    return r, fma(n, -low, first - r)


def _expm1_tail(r: Floats, more: Floats) -> Floats:
    """expm1(r) - r + more for |r| <= ln(2)/2: with more = r, expm1(r)."""
    return fma(polynomial(_EXPM1[r.lanes.bits], r), r * r, more)


def _scaled(r: Floats, coefficients, c: float, lost: Floats | None = None) -> Floats:
    """c (r + lost + r^2 P(r)), rounded once but for its small tail."""
    tail = polynomial([c * a for a in coefficients], r)
    tail = tail * (r * r) if lost is None else fma(tail, r * r, lost * c)
    return fma(r, c, tail)


def _halves(y: Floats):
    """y = n ln(2) + r: 2^h and 2^(n - h), h about n/2, then r and what it loses in rounding.

    2^n itself may overflow or be subnormal; its two half powers never are.
    """
    bias = y.lanes.bias
    both, n = round_to_integer(y, _LOG2_E, plus=2 * bias)
    half, _ = round_to_integer(n, 0.5, plus=bias)
    return half.as_exponent(), (both - half).as_exponent(), *_rest(y, n)


def exp_of_sum(y: Floats, low: Floats) -> Floats:
    """exp(y + low), |low| far below 1."""
    first, second, r, lost = _halves(clamp(y, *_EXP_RANGE[y.lanes.bits]))
    r = r + (low + lost)
    return (_expm1_tail(r, r) + 1.0) * first * second


def one_minus_exp(y: Floats) -> Floats:
    """1 - exp(y) for moderate y <= -1."""
    s, n = _two_to_the(y, _LOG2_E)
    r, _ = _rest(y, n)
    return fma(-s, _expm1_tail(r, r), 1.0 - s)


def _exp_reduced(x):
    first, second, r, _ = _halves(clamp(x, *_EXP_RANGE[x.lanes.bits]))
    return first, second, r


def _exp_series(first, second, r, x):
    """2^n expm1(r) + 2^n, the power of two applied in two halves."""
    return (_expm1_tail(r, r) + 1.0) * first * second


def _sigmoid_reduced(x):
    bits = x.lanes.bits
    return _halves(clamp(x, _EXP_RANGE[bits][0], _ONE_BEYOND[bits]))


def _sigmoid_series(first, second, r, lost):
    c = _SCALE
    return (_scaled(r, _EXPM1[r.lanes.bits], c, lost) + c) * first, second


def _sigmoid_quotient(e, second, x):
    """c E/(c E + c), E = exp(x): right down to subnormal results, as 1/(1 + exp(-x)) is not."""
    return e / fma(e, second, _SCALE) * second


def _expm1(x):
    """2^n (1 + p) - 1; the sign bit of x survives in results that are zero."""
    bits = x.lanes.bits
    y = clamp(x, -_ONE_BEYOND[bits], _EXP_RANGE[bits][1])
    half, n = _two_to_the(y, _LOG2_E, plus=-1)  # 2^n overflows one step before the result
    r, lost = _rest(y, n)
    value = fma(half, _expm1_tail(r, lost), fma(half, r, half - 0.5)) * 2.0
    return (value.bits | sign_of(x)).floats


# expm1(2 rho)/2 = rho + rho^2 P(rho) on [-0.0914, 0.2556]; below zero, where n > 0 and the error
# fades, an error three times as large is allowed.
_TANH = {
    64: (
        1.0000000000000013,
        0.6666666666666511,
        0.3333333333321787,
        0.13333333334905786,
        0.04444444462784668,
        0.012698409035038686,
        0.0031746085764472747,
        0.0007056752272945682,
        0.00013952338476126008,
        3.0079062468876458e-05,
    ),
    32: (
        0.9999997589336682,
        0.6666756792887213,
        0.33332455851610987,
        0.1322321908987953,
        0.05185837026765874,
    ),
}
_HALF_LN2 = {64: 0.34657359027997264, 32: 0.3465735912322998}
_TANH_CLAMP = {64: 20.0, 32: 10.0}  # beyond, tanh rounds to 1
# The shift makes n = 0 up to tanh = 1/4, where the unit doubles: what n = 1 adds counts half.
_TANH_SHIFT = 0.23696559416620616


def _tanh_reduced(x):
    """|x| = n ln(2)/2 + rho: 2^n and rho.

    One part of ln(2)/2 is enough: its error fades with exp(-2|x|).
    """
    bits = x.lanes.bits
    limit = _TANH_CLAMP[bits]
    y = (x.bits ^ sign_of(x)).floats
    y = where(y > limit, limit, y)
    s, n = _two_to_the(y, 2 * _LOG2_E, -_TANH_SHIFT)
    return s, fma(n, -_HALF_LN2[bits], y)


def _tanh_series(s, rho):
    """e = c expm1(2|x|)/2."""
    c = _SCALE
    return (fma(s, _scaled(rho, _TANH[s.lanes.bits], c), fma(s, 0.5 * c, -0.5 * c)),)


def _tanh_quotient(e, x):
    """e/(e + c); the sign travels as a bit, so -0 and NaN survive."""
    return ((e / (e + _SCALE)).bits | sign_of(x)).floats


STAGED = {
    "exp": Staged(_exp_reduced, _exp_series),
    "sigmoid": Staged(_sigmoid_reduced, _sigmoid_series, _sigmoid_quotient),
    "tanh": Staged(_tanh_reduced, _tanh_series, _tanh_quotient),
}
exp, sigmoid, tanh = (shared(name, staged, inline=True) for name, staged in STAGED.items())
expm1 = shared("expm1", _expm1)
