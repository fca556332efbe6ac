"""Elementary functions on LLVM vectors: the arithmetic below the register tiles.

A :class:`Lanes` names one LLVM value type (a float or double scalar, or a vector of them).  Each
function here takes ``(builder, lanes, x, ...)`` and returns LLVM values of that type.  ``exp``,
``tanh`` and ``log`` are branch-free vector code; the other transcendental functions call the C
mathematics library lane by lane.  Every function of more than a few instructions is emitted once
per module as an internal LLVM function: the Python side then writes one call per vector, which is
what keeps the compile time of a kernel short.

None of this code survives LLVM's ``reassoc`` flag (rounding by a magic number would be folded
away); the ``contract`` flag is harmless: no product feeds a sum that must stay unfused.
"""

from __future__ import annotations

import struct

from llvmlite import ir

__all__ = ["BINARY", "UNARY", "Lanes", "fma", "integer_power", "splat"]

_I32 = ir.IntType(32)


class _Splat(ir.Constant):
    """A vector constant written as LLVM's 'splat': its text does not grow with the lanes."""

    def __init__(self, vector_type, scalar):
        super().__init__(vector_type, None)
        self._scalar = scalar

    def _to_string(self):
        return f"{self.type} {self._get_reference()}"

    def _get_reference(self):
        return f"splat ({self._scalar})"


class Lanes:
    """``n`` lanes of a ``bits``-wide float: an LLVM vector, or the plain scalar where n = 1."""

    def __init__(self, bits: int, n: int):
        self.bits, self.n = bits, n
        self.element = ir.DoubleType() if bits == 64 else ir.FloatType()
        self.integer = ir.IntType(bits)
        self.type = ir.VectorType(self.element, n) if n > 1 else self.element
        self.integers = ir.VectorType(self.integer, n) if n > 1 else self.integer
        self.suffix = f"v{n}f{bits}" if n > 1 else f"f{bits}"
        self.mantissa, self.bias = (52, 1023) if bits == 64 else (23, 127)

    def _constant(self, scalar):
        if self.n == 1:
            return scalar
        return _Splat(self.type if scalar.type == self.element else self.integers, scalar)

    def const(self, value: float):
        """The same float in every lane."""
        return self._constant(ir.Constant(self.element, float(value)))

    def iconst(self, value: int):
        """The same integer (taken modulo 2**bits) in every lane."""
        value &= (1 << self.bits) - 1
        if value >> (self.bits - 1):
            value -= 1 << self.bits
        return self._constant(ir.Constant(self.integer, value))

    def bit_pattern(self, value: float) -> int:
        """The bits of ``value`` rounded to this precision, as an unsigned integer."""
        pack, unpack = ("<d", "<Q") if self.bits == 64 else ("<f", "<I")
        return struct.unpack(unpack, struct.pack(pack, value))[0]

    def as_integers(self, builder, x):
        """Reinterpret floats as integers."""
        return builder.bitcast(x, self.integers)

    def as_floats(self, builder, x):
        """Reinterpret integers as floats."""
        return builder.bitcast(x, self.type)


def splat(builder, scalar, n):
    """A vector of ``n`` copies of a scalar (the scalar itself for n = 1)."""
    if n == 1:
        return scalar
    one = ir.Constant(ir.VectorType(scalar.type, n), ir.Undefined)
    one = builder.insert_element(one, scalar, _I32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, n), None))


def _intrinsic(builder, name, lanes, args):
    """Call the LLVM intrinsic ``llvm.<name>`` whose arguments and result all are ``lanes.type``."""
    return builder.call(_declare(builder, f"llvm.{name}.{lanes.suffix}", lanes.type, args), args)


def fma(builder, lanes, a, b, c):
    """a*b + c with one rounding."""
    return _intrinsic(builder, "fma", lanes, [a, b, c])


def _declare(builder, name, result, args):
    function = builder.module.globals.get(name)
    if function is None:
        function_type = ir.FunctionType(result, [a.type for a in args])
        function = ir.Function(builder.module, function_type, name)
    return function


def _shared(name, body, inline):
    """A function emitted once per module and called from there on."""

    def emit(builder, lanes, *args):
        full_name = f"pwgf_{name}_{lanes.suffix}"
        known = builder.module.globals.get(full_name)
        function = known or _declare(builder, full_name, lanes.type, args)
        if known is None:
            function.linkage = "internal"
            function.attributes.add("alwaysinline" if inline else "noinline")
            function.attributes.add("nounwind")
            inner = ir.IRBuilder(function.append_basic_block("entry"))
            inner.ret(body(inner, lanes, *function.args))
        return builder.call(function, args)

    return emit


# ------------------------------------------------------------------------------- exp and tanh
# expm1(r) = r + r^2 P(r) on |r| <= ln(2)/2, P minimax (Remez).  ln(2) = LN2_HIGH + LN2_LOW,
# LN2_HIGH short enough that n*LN2_HIGH is exact (Cody and Waite, "Software manual for the
# elementary functions", 1980).
_EXPM1 = {
    64: (
        0.5000000000000001,
        0.16666666666666674,
        0.04166666666662399,
        0.008333333333322174,
        0.0013888888917283466,
        0.00019841269886695202,
        2.4801521188003656e-05,
        2.7557242219069154e-06,
        2.76201396375759e-07,
        2.5110094155232378e-08,
    ),
    32: (0.500000002702, 0.166665768263, 0.0416663746651, 0.00836320515684, 0.00139411659931),
}
_LN2_HIGH = {64: 0.6931471805598903, 32: 0.693145751953125}
_LN2_LOW = {64: 5.497923018708371e-14, 32: 1.4286068203094173e-06}
_LOG2_E = 1.4426950408889634
# exp is exactly 0 below and infinite above these; 2|x| beyond which tanh rounds to 1.
_EXP_RANGE = {64: (-746.0, 710.0), 32: (-104.0, 89.0)}
_TANH_CLAMP = {64: 44.0, 32: 20.0}


def _magic(lanes):
    """Adding this rounds to an integer, which then sits in the low bits of the sum."""
    return lanes.const(1.5 * 2.0**lanes.mantissa)


def _polynomial(builder, lanes, coefficients, r, r2):
    """Sum of coefficients[k] r^k: even and odd halves side by side, for a short chain."""
    halves = []
    for half in (coefficients[0::2], coefficients[1::2]):
        value = lanes.const(half[-1])
        for c in half[-2::-1]:
            value = fma(builder, lanes, value, r2, lanes.const(c))
        halves.append(value)
    return fma(builder, lanes, halves[1], r, halves[0])


def _reduce(builder, lanes, y):
    """y = n ln(2) + r: returns (magic + n, n, expm1(r))."""
    magic = _magic(lanes)
    shifted = fma(builder, lanes, y, lanes.const(_LOG2_E), magic)
    n = builder.fsub(shifted, magic)
    r = fma(builder, lanes, n, lanes.const(-_LN2_HIGH[lanes.bits]), y)
    r = fma(builder, lanes, n, lanes.const(-_LN2_LOW[lanes.bits]), r)
    r2 = builder.fmul(r, r)
    p = _polynomial(builder, lanes, _EXPM1[lanes.bits], r, r2)
    return shifted, n, fma(builder, lanes, p, r2, r)


def _power_of_two(builder, lanes, n):
    """2**n as a float from the low bits of the integers n."""
    high = builder.shl(n, lanes.iconst(lanes.mantissa))
    return lanes.as_floats(builder, builder.add(high, lanes.iconst(lanes.bias << lanes.mantissa)))


def _exp(builder, lanes, x):
    low, high = (lanes.const(v) for v in _EXP_RANGE[lanes.bits])
    # Ordered comparisons are false for NaN, so NaN stays in y.
    y = builder.select(builder.fcmp_ordered("<", x, low), low, x)
    y = builder.select(builder.fcmp_ordered(">", y, high), high, y)
    shifted, n, p = _reduce(builder, lanes, y)
    # 2**n itself may overflow or be subnormal; its two half powers never are.
    half = fma(builder, lanes, n, lanes.const(0.5), _magic(lanes))
    shifted, half = lanes.as_integers(builder, shifted), lanes.as_integers(builder, half)
    first = _power_of_two(builder, lanes, half)
    second = _power_of_two(builder, lanes, builder.sub(shifted, half))
    e = builder.fadd(p, lanes.const(1.0))
    return builder.fmul(builder.fmul(e, first), second)


def _tanh(builder, lanes, x):
    """sign(x) E/(E + 2), E = expm1(2|x|); the sign travels as a bit, so -0 and NaN survive."""
    bits = lanes.as_integers(builder, x)
    sign = builder.and_(bits, lanes.iconst(1 << (lanes.bits - 1)))
    size = lanes.as_floats(builder, builder.xor(bits, sign))
    y = builder.fadd(size, size)
    clamp = lanes.const(_TANH_CLAMP[lanes.bits])
    y = builder.select(builder.fcmp_ordered(">", y, clamp), clamp, y)
    shifted, _, p = _reduce(builder, lanes, y)
    scale = _power_of_two(builder, lanes, lanes.as_integers(builder, shifted))
    e = fma(builder, lanes, scale, p, builder.fsub(scale, lanes.const(1.0)))
    t = builder.fdiv(e, builder.fadd(e, lanes.const(2.0)))
    return lanes.as_floats(builder, builder.or_(lanes.as_integers(builder, t), sign))


# ---------------------------------------------------------------------------------------- log
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
_LOG_LN2_HIGH = {64: 6.93147180369123816490e-01, 32: 6.9313812256e-01}
_LOG_LN2_LOW = {64: 1.90821492927058770002e-10, 32: 9.0580006145e-06}


def _log_split(builder, lanes, x):
    """k (as floats) and m of positive finite x, subnormals included."""
    mantissa, bias = lanes.mantissa, lanes.bias
    smallest = 2.0 ** (1 - bias)
    tiny = builder.fcmp_ordered("<", x, lanes.const(smallest))
    scaled = builder.fmul(x, lanes.const(2.0 ** (mantissa + 2)))
    x = builder.select(tiny, scaled, x)
    root = lanes.bit_pattern(0.5**0.5)
    bits = builder.add(lanes.as_integers(builder, x), lanes.iconst((bias << mantissa) - root))
    # Or-ing an integer below 2^mantissa into the float 2^mantissa adds it exactly.
    base = 2.0**mantissa
    exponent = builder.lshr(bits, lanes.iconst(mantissa))
    k = builder.or_(exponent, lanes.iconst(lanes.bit_pattern(base)))
    shift = builder.select(tiny, lanes.const(base + bias + mantissa + 2), lanes.const(base + bias))
    k = builder.fsub(lanes.as_floats(builder, k), shift)
    m = builder.add(builder.and_(bits, lanes.iconst((1 << mantissa) - 1)), lanes.iconst(root))
    return k, lanes.as_floats(builder, m)


def _log(builder, lanes, x):
    k, m = _log_split(builder, lanes, x)
    f = builder.fsub(m, lanes.const(1.0))
    s = builder.fdiv(f, builder.fadd(f, lanes.const(2.0)))
    z = builder.fmul(s, s)
    q = _polynomial(builder, lanes, _LOG[lanes.bits], z, builder.fmul(z, z))
    half = builder.fmul(builder.fmul(f, lanes.const(0.5)), f)
    inner = fma(builder, lanes, z, q, half)
    low = builder.fmul(k, lanes.const(_LOG_LN2_LOW[lanes.bits]))
    tail = builder.fsub(half, fma(builder, lanes, s, inner, low))
    tail = builder.fsub(tail, f)
    high = lanes.const(_LOG_LN2_HIGH[lanes.bits])
    value = fma(builder, lanes, k, high, builder.fneg(tail))
    zero, infinity = lanes.const(0.0), lanes.const(float("inf"))
    value = builder.select(builder.fcmp_ordered("==", x, infinity), infinity, value)
    at_zero = builder.fcmp_ordered("==", x, zero)
    outside = builder.select(at_zero, lanes.const(float("-inf")), lanes.const(float("nan")))
    return builder.select(builder.fcmp_ordered(">", x, zero), value, outside)


# ------------------------------------------------------------------------------ everything else
def _by_lane(symbol):
    """Call the C library once per lane."""

    def body(builder, lanes, *args):
        name = symbol if lanes.bits == 64 else symbol + "f"
        result = ir.Constant(lanes.type, ir.Undefined)
        for i in range(lanes.n):
            at = _I32(i)
            scalars = [a if lanes.n == 1 else builder.extract_element(a, at) for a in args]
            value = builder.call(_declare(builder, name, lanes.element, scalars), scalars)
            result = value if lanes.n == 1 else builder.insert_element(result, value, at)
        return result

    return _shared(symbol, body, inline=False)


def _by_intrinsic(name):
    return lambda builder, lanes, x: _intrinsic(builder, name, lanes, [x])


def _sign(builder, lanes, x):
    """-1, 0 or 1; NaN gives NaN."""
    below = builder.fcmp_ordered("<", x, lanes.const(0.0))
    above = builder.fcmp_ordered(">", x, lanes.const(0.0))
    value = builder.select(below, lanes.const(-1.0), x)
    return builder.select(above, lanes.const(1.0), value)


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


_LIBRARY = (
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
    *("erf", "erfc", "expm1", "log1p"),
)
UNARY = {name: _by_lane(name) for name in _LIBRARY} | {
    "exp": _shared("exp", _exp, inline=True),
    "tanh": _shared("tanh", _tanh, inline=True),
    "log": _shared("log", _log, inline=True),
    "sqrt": _by_intrinsic("sqrt"),
    "absolute": _by_intrinsic("fabs"),
    "floor": _by_intrinsic("floor"),
    "ceil": _by_intrinsic("ceil"),
    "sign": _sign,
    "gamma": _by_lane("tgamma"),
    "loggamma": _by_lane("lgamma"),
}
BINARY = {
    "minimum": _extremum("<"),
    "maximum": _extremum(">"),
    "power": _by_lane("pow"),
    "atan2": _by_lane("atan2"),
}
