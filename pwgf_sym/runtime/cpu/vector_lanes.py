"""LLVM vectors as Python values, so that code builders read like formulas.

A :class:`Lanes` names one LLVM value type (a float or double scalar, or a vector of them); a
:class:`Floats` is a value of that type together with the builder that computes on it::

    def _cube_plus_one(x):               # x: Floats; emits two instructions
        return fma(x * x, x, 1.0)

    cube_plus_one = shared("cube_plus_one", _cube_plus_one)

``shared`` emits a function once per module as an internal LLVM function; the callers then write
one call per vector, which is what keeps the compile time of a kernel short.

None of this code survives LLVM's ``reassoc`` flag (rounding by a magic number would be folded
away).  Numba adds its ``contract`` flag to every instruction here: where an error of a rounded
product is needed, the sum that contains it is written as an explicit :func:`fma`.
"""

from __future__ import annotations

import struct

from llvmlite import ir

__all__ = ["Floats", "Integers", "Lanes", "Staged", "any_lane", "by_lane", "clamp", "fma"]
__all__ += [
    "fma_lanes",
    "intrinsic",
    "polynomial",
    "round_to_integer",
    "shared",
    "sign_of",
    "splat",
]
__all__ += ["where"]

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

    @property
    def sign_bit(self) -> int:
        """The integer whose only bit is the sign of a float."""
        return 1 << (self.bits - 1)


def _operator(name, swapped=False):
    def method(self, other):
        a, b = self.value, self.operand(other)
        a, b = (b, a) if swapped else (a, b)
        return type(self)(self.builder, self.lanes, getattr(self.builder, name)(a, b))

    return method


class _Lanewise:
    def __init__(self, builder, lanes, value):
        self.builder, self.lanes, self.value = builder, lanes, value

    def operand(self, other):
        """The LLVM value of another operand; a Python number means the same in every lane."""
        return other.value if isinstance(other, _Lanewise) else self._constant(other)

    def like(self, number):
        """A Python number in every lane."""
        return type(self)(self.builder, self.lanes, self._constant(number))


class Floats(_Lanewise):
    """Floats with ``+ - * /``, unary minus and comparisons.

    Comparisons give LLVM masks and are false for NaN, except ``!=``.
    """

    def _constant(self, number):
        return self.lanes.const(number)

    __add__, __radd__ = _operator("fadd"), _operator("fadd")
    __sub__, __rsub__ = _operator("fsub"), _operator("fsub", swapped=True)
    __mul__, __rmul__ = _operator("fmul"), _operator("fmul")
    __truediv__, __rtruediv__ = _operator("fdiv"), _operator("fdiv", swapped=True)

    def __neg__(self):
        return Floats(self.builder, self.lanes, self.builder.fneg(self.value))

    def __abs__(self):
        return intrinsic("fabs", self)

    def compare(self, relation: str, other):
        """A mask; ``relation`` is one of ``< <= > >= == !=``."""
        kind = self.builder.fcmp_unordered if relation == "!=" else self.builder.fcmp_ordered
        return kind(relation, self.value, self.operand(other))

    def __lt__(self, other):
        return self.compare("<", other)

    def __gt__(self, other):
        return self.compare(">", other)

    def __eq__(self, other):
        return self.compare("==", other)

    def __ne__(self, other):
        return self.compare("!=", other)

    __hash__ = None

    @property
    def bits(self) -> Integers:
        """The same bits as integers."""
        bits = self.builder.bitcast(self.value, self.lanes.integers)
        return Integers(self.builder, self.lanes, bits)

    def converted(self, bits: int) -> Floats:
        """The numbers in another precision (the same object if it is their own)."""
        if bits == self.lanes.bits:
            return self
        lanes = Lanes(bits, self.lanes.n)
        convert = self.builder.fpext if bits > self.lanes.bits else self.builder.fptrunc
        return Floats(self.builder, lanes, convert(self.value, lanes.type))


class Integers(_Lanewise):
    """Integers as wide as the floats, with ``+ - & | ^ << >>`` (shifts fill in zeros)."""

    def _constant(self, number):
        return self.lanes.iconst(number)

    __add__, __sub__, __rsub__ = _operator("add"), _operator("sub"), _operator("sub", swapped=True)
    __and__, __or__, __xor__ = _operator("and_"), _operator("or_"), _operator("xor")
    __lshift__, __rshift__ = _operator("shl"), _operator("lshr")

    @property
    def floats(self) -> Floats:
        """The same bits as floats."""
        floats = self.builder.bitcast(self.value, self.lanes.type)
        return Floats(self.builder, self.lanes, floats)

    def as_exponent(self) -> Floats:
        """2**(n - bias) as a float, of the low bits of n, as an exponent field needs."""
        return (self << self.lanes.mantissa).floats


# ------------------------------------------------------------------------------ instructions
def splat(builder, scalar, n):
    """A vector of ``n`` copies of a scalar (the scalar itself for n = 1)."""
    if n == 1:
        return scalar
    one = ir.Constant(ir.VectorType(scalar.type, n), ir.Undefined)
    one = builder.insert_element(one, scalar, _I32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, n), None))


def _declare(builder, name, result, args):
    function = builder.module.globals.get(name)
    if function is None:
        function_type = ir.FunctionType(result, [a.type for a in args])
        function = ir.Function(builder.module, function_type, name)
    return function


def fma_lanes(builder, lanes, *args):
    """a*b + c with one rounding, of LLVM values."""
    return builder.call(_declare(builder, f"llvm.fma.{lanes.suffix}", lanes.type, args), args)


def intrinsic(name: str, x: Floats, *others) -> Floats:
    """The LLVM intrinsic ``llvm.<name>`` of arguments and result of one type."""
    args = [x.value, *map(x.operand, others)]
    function = _declare(x.builder, f"llvm.{name}.{x.lanes.suffix}", x.lanes.type, args)
    return Floats(x.builder, x.lanes, x.builder.call(function, args))


def fma(a: Floats, b, c) -> Floats:
    """a*b + c with one rounding; b and c may be Python numbers."""
    return intrinsic("fma", a, b, c)


def where(mask, a, b) -> Floats:
    """a where the mask is set, else b; one of the two may be a Python number."""
    one = a if isinstance(a, _Lanewise) else b
    value = one.builder.select(mask, one.operand(a), one.operand(b))
    return type(one)(one.builder, one.lanes, value)


def clamp(x: Floats, low: float, high: float) -> Floats:
    """x between two bounds; NaN stays NaN (the comparisons are false for it)."""
    x = where(x < low, low, x)
    return where(x > high, high, x)


def sign_of(x: Floats) -> Integers:
    """The sign bit of x, all other bits zero."""
    return x.bits & x.lanes.sign_bit


def any_lane(x: Floats, mask):
    """One LLVM bit: whether the mask is set in any lane."""
    if x.lanes.n == 1:
        return mask
    bits = ir.IntType(x.lanes.n)
    return x.builder.icmp_unsigned("!=", x.builder.bitcast(mask, bits), bits(0))


def round_to_integer(x: Floats, factor: float, offset: float = 0.0, plus: int = 0):
    """n = x*factor + offset rounded to an integer: n + plus as integers (low bits only), and n
    as floats."""
    # Adding this rounds to an integer, which then sits in the low bits of the sum.
    magic = 1.5 * 2.0**x.lanes.mantissa + plus
    shifted = fma(x, factor, offset) + magic if offset else fma(x, factor, magic)
    return shifted.bits, shifted - magic


def polynomial(coefficients, x: Floats) -> Floats:
    """Sum of coefficients[k] x^k: even and odd halves side by side, for a short chain."""
    square = x * x if len(coefficients) > 2 else None
    halves = []
    for half in (coefficients[0::2], coefficients[1::2]):
        value = x.like(half[-1])
        for c in half[-2::-1]:
            value = fma(value, square, c)
        halves.append(value)
    return fma(halves[1], x, halves[0])


# ------------------------------------------------------------------------------ functions
class Staged:
    """A function of one argument, cut where its chain of dependent instructions can be cut.

    The first stage maps x to a tuple of :class:`Floats`, the next ones that tuple to another, the
    last one the tuple and x to the result.  Called like a function it runs all of them.
    """

    def __init__(self, *stages):
        self.first, *self.middle, self.last = stages

    def __call__(self, x: Floats) -> Floats:
        values = self.first(x)
        for stage in self.middle:
            values = stage(*values)
        return self.last(*values, x)


def shared(name: str, body, inline: bool = False):
    """``emit(builder, lanes, *args)`` that calls ``body``, emitted once per module.

    ``body`` maps :class:`Floats` to Floats; ``inline`` lets LLVM copy it into every caller.
    """

    def emit(builder, lanes, *args):
        full_name = f"pwgf_{name}_{lanes.suffix}"
        known = builder.module.globals.get(full_name)
        function = known or _declare(builder, full_name, lanes.type, args)
        if known is None:
            function.linkage = "internal"
            function.attributes.add("alwaysinline" if inline else "noinline")
            function.attributes.add("nounwind")
            inner = ir.IRBuilder(function.append_basic_block("entry"))
            inner.ret(body(*(Floats(inner, lanes, a) for a in function.args)).value)
        return builder.call(function, args)

    emit.__name__, emit.__doc__ = name, body.__doc__
    return emit


def _call_lanes(symbol, x, *others):
    """The C library's function, once per lane."""
    builder, lanes = x.builder, x.lanes
    name = symbol if lanes.bits == 64 else symbol + "f"
    result = ir.Constant(lanes.type, ir.Undefined)
    for i in range(lanes.n):
        at = _I32(i)
        args = [a.value for a in (x, *others)]
        scalars = [a if lanes.n == 1 else builder.extract_element(a, at) for a in args]
        value = builder.call(_declare(builder, name, lanes.element, scalars), scalars)
        result = value if lanes.n == 1 else builder.insert_element(result, value, at)
    return Floats(builder, lanes, result)


def by_lane(symbol: str):
    """``emit(builder, lanes, *args)`` that calls the C library lane by lane."""
    return shared(f"{symbol}_by_lane", lambda *args: _call_lanes(symbol, *args))
