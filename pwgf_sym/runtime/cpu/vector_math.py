"""Elementary functions on LLVM vectors by name: the arithmetic below the register tiles.

Each function takes ``(builder, lanes, x, ...)`` with :class:`.Lanes` and LLVM values of their
type, and returns one.  The common functions are branch-free vector code within 2 units in the
last place (power: 4); the others call the C mathematics library lane by lane.
"""

from __future__ import annotations

from .vector_exponential import exp, expm1, sigmoid, tanh
from .vector_lanes import Floats, by_lane, intrinsic, where
from .vector_logarithm import log, log1p
from .vector_power import power
from .vector_special import erf
from .vector_trigonometry import cos, sin

__all__ = ["BINARY", "UNARY", "integer_power"]


def _by_intrinsic(name):
    return lambda builder, lanes, x: intrinsic(name, Floats(builder, lanes, x)).value


def _sign(builder, lanes, x):
    """-1, 0 or 1; NaN gives NaN."""
    x = Floats(builder, lanes, x)
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, x)).value


def _extremum(relation):
    def emit(builder, lanes, a, b):
        # a where it wins or is NaN, else b: a NaN on either side comes through.
        wins = builder.fcmp_ordered(relation, a, b)
        is_nan = builder.fcmp_unordered("uno", a, a)
        return builder.select(builder.or_(wins, is_nan), a, b)

    return emit


def integer_power(builder, lanes, x, exponent: int):
    """x**exponent by repeated squaring (reciprocal for a negative exponent)."""
    n, result, square = abs(exponent), None, x
    while n:
        if n & 1:
            result = square if result is None else builder.fmul(result, square)
        n >>= 1
        if n:
            square = builder.fmul(square, square)
    result = lanes.const(1.0) if result is None else result
    return builder.fdiv(lanes.const(1.0), result) if exponent < 0 else result


_LIBRARY = ("tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "erfc")
UNARY = {name: by_lane(name) for name in _LIBRARY} | {
    "exp": exp,
    "expm1": expm1,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "log": log,
    "log1p": log1p,
    "sin": sin,
    "cos": cos,
    "erf": erf,
    "sqrt": _by_intrinsic("sqrt"),
    "absolute": _by_intrinsic("fabs"),
    "floor": _by_intrinsic("floor"),
    "ceil": _by_intrinsic("ceil"),
    "sign": _sign,
    "gamma": by_lane("tgamma"),
    "loggamma": by_lane("lgamma"),
}
BINARY = {
    "minimum": _extremum("<"),
    "maximum": _extremum(">"),
    "power": power,
    "atan2": by_lane("atan2"),
}
