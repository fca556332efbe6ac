"""Arithmetic of PTX on NumPy arrays, one entry a thread: exact in type, rounding and special cases.

Functions with ``approx`` in their name are correctly rounded here, where a GPU may be two units in
the last place off, except ``rcp.approx.ftz.f64``, which has 20 bits of a mantissa as PTX says.
Fused multiply-adds are LLVM's, one rounding in either precision.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import vectorize
from numba.extending import intrinsic
from ptx_text import PtxError

__all__ = ["DTYPES", "fused", "operation"]

DTYPES = {
    **{f"s{n}": np.dtype(f"int{n}") for n in (16, 32, 64)},
    **{f"b{n}": np.dtype(f"int{n}") for n in (16, 32, 64)},
    **{f"u{n}": np.dtype(f"uint{n}") for n in (16, 32, 64)},
    **{"f32": np.dtype("float32"), "f64": np.dtype("float64"), "pred": np.dtype(bool)},
}
_LOW = np.uint64(0xFFFFFFFF)


@intrinsic
def _llvm_fma(typing, a, b, c):
    def build(context, builder, signature, args):
        return builder.fma(*args)

    return a(a, a, a), build


@vectorize(["f4(f4, f4, f4)", "f8(f8, f8, f8)"])
def fused(a, b, c):
    """a b + c, rounded once to the nearest."""
    return _llvm_fma(a, b, c)


# -- integers ----------------------------------------------------------------------------------


def _high(a, b):
    """Upper half of a product of unsigned 64-bit integers."""
    shift = np.uint64(32)
    a0, a1, b0, b1 = a & _LOW, a >> shift, b & _LOW, b >> shift
    middle = a1 * b0 + (a0 * b0 >> shift)
    other = (middle & _LOW) + a0 * b1
    return a1 * b1 + (middle >> shift) + (other >> shift)


def _multiply_high(a, b):
    if a.dtype.itemsize == 4:
        return (a.astype(f"{a.dtype.kind}8") * b.astype(f"{b.dtype.kind}8") >> 32).astype(a.dtype)
    found = _high(a.view(np.uint64), b.view(np.uint64))
    if a.dtype.kind == "u":
        return found
    return found.view(np.int64) - np.where(a < 0, b, 0) - np.where(b < 0, a, 0)


def _multiply_wide(a, b):
    wide = np.dtype(f"{a.dtype.kind}{2 * a.dtype.itemsize}")
    return a.astype(wide) * b.astype(wide)


def _divide(a, b):
    """The quotient towards zero; NumPy's goes down."""
    found = a // b
    if a.dtype.kind == "u":
        return found
    return found + ((found * b != a) & ((a < 0) != (b < 0)))


def _remainder(a, b):
    return a - _divide(a, b) * b


def _shift_left(a, count):
    bits = 8 * a.dtype.itemsize
    return np.where(count < bits, a << np.minimum(count, bits - 1).astype(a.dtype), 0).astype(
        a.dtype
    )


def _shift_right(a, count):
    """Signed numbers are filled with their sign, also by shifts of more than all bits."""
    bits = 8 * a.dtype.itemsize
    found = a >> np.minimum(count, bits - 1).astype(a.dtype)
    return found if a.dtype.kind == "i" else np.where(count < bits, found, 0).astype(a.dtype)


def _insert_bits(a, b, start, length):
    """b, with bits from ``start`` on taken from the low ones of a."""
    bits = 8 * a.dtype.itemsize
    whole = np.uint64(2**bits - 1)
    place = np.minimum(start & 255, bits).astype(np.uint64)
    length = np.minimum(length & 255, bits).astype(np.uint64)
    ones = _shift_left(np.full(a.shape, ~np.uint64(0)), length)  # zeros in the field's place
    mask = _shift_left(~ones, place) & whole
    unsigned = np.dtype(f"u{a.dtype.itemsize}")
    moved = _shift_left(a.view(unsigned).astype(np.uint64), place)
    found = (b.view(unsigned).astype(np.uint64) & ~mask) | (moved & mask)
    return found.astype(unsigned).view(a.dtype)


# -- numbers -----------------------------------------------------------------------------------


def _extreme(of, zeros, a, b):
    """The larger or smaller one: a number where the other is NaN, and -0 below +0."""
    found = of(a, b)
    bits = np.dtype(f"u{a.dtype.itemsize}")
    return np.where(a == b, zeros(a.view(bits), b.view(bits)).view(a.dtype), found)


def _flush(a):
    tiny = np.finfo(a.dtype).tiny
    return np.where(np.abs(a) < tiny, np.copysign(a.dtype.type(0), a), a)


def flushing(function):
    """The function with numbers below the normal ones taken for zeros, given and found."""
    return lambda *arguments: _flush(function(*map(_flush, arguments)))


def _through_double(function):
    return lambda a: function(a.astype(np.float64)).astype(np.float32)


def _gross_reciprocal(a):
    """Of the upper 32 bits, to 20 bits of a mantissa."""
    upper = np.uint64(0xFFFFFFFF00000000)
    cut = (_flush(a).view(np.uint64) & upper).view(np.float64)
    return _flush((np.divide(1.0, cut).view(np.uint64) & upper).view(np.float64))


def _directed(of, toward):
    """Of single precision, rounded to one side; ``of`` gives two terms that are exact in double."""

    def rounded(*arguments):
        one, other = of(*(a.astype(np.float64) for a in arguments))
        total = one + other
        part = total - one
        error = (one - (total - part)) + (other - part)
        found = total.astype(np.float32)
        aim = np.float32(-np.inf) if toward == "down" else np.float32(0)
        side = np.where(total < 0, -1.0, 1.0) if toward == "zero" else 1.0
        gap = (found - total) * side
        beyond = (gap > 0) | ((gap == 0) & (error * side < 0))
        return np.where(beyond, np.nextafter(found, aim), found)

    return rounded


_APPROXIMATE = {
    "ex2": _through_double(np.exp2),
    "lg2": _through_double(np.log2),
    "sin": _through_double(np.sin),
    "cos": _through_double(np.cos),
    "tanh": _through_double(np.tanh),
    "rcp": _through_double(lambda a: 1 / a),
    "sqrt": np.sqrt,
    "rsqrt": _through_double(lambda a: 1 / np.sqrt(a)),
}
_DIRECTED = {
    ("fma", "rm"): _directed(lambda a, b, c: (a * b, c), "down"),
    ("add", "rz"): _directed(lambda a, b: (a, b), "zero"),
}
_ROUNDED = {"rn": np.rint, "rz": np.trunc, "rm": np.floor, "rp": np.ceil}


# -- comparisons -------------------------------------------------------------------------------

_COMPARED = {
    **{"eq": np.equal, "lt": np.less, "le": np.less_equal, "gt": np.greater},
    **{"ge": np.greater_equal, "lo": np.less, "ls": np.less_equal, "hi": np.greater},
    "hs": np.greater_equal,
}
_UNORDERED = {
    "equ": lambda a, b: (a == b) | _unordered(a, b),
    "neu": np.not_equal,
    "ltu": lambda a, b: ~(a >= b),
    "leu": lambda a, b: ~(a > b),
    "gtu": lambda a, b: ~(a <= b),
    "geu": lambda a, b: ~(a < b),
    "num": lambda a, b: ~_unordered(a, b),
    "nan": lambda a, b: _unordered(a, b),
    "ne": lambda a, b: (a != b) & ~_unordered(a, b),
}


def _unordered(a, b):
    return (a != a) | (b != b)


def _comparison(name: str, kind: str):
    numbers = kind[0] == "f"
    if numbers and name in _UNORDERED:
        return _UNORDERED[name]
    if name == "ne":
        return np.not_equal
    if name in _COMPARED and not (numbers and name in ("lo", "ls", "hi", "hs")):
        return _COMPARED[name]
    raise PtxError(f"comparison {name} of {kind}")


# -- conversions -------------------------------------------------------------------------------


def _saturated(a):
    return np.where(a > 0, np.minimum(a, a.dtype.type(1)), a.dtype.type(0))


def _to_integer(rounded, dtype, a):
    """Rounded, put between the ends of the type; NaN gives zero."""
    value, ends = rounded(a), np.iinfo(dtype)
    inside = (value >= float(ends.min)) & (value < float(ends.max))
    found = np.where(inside, value, 0).astype(dtype)
    found = np.where(value >= float(ends.max), dtype.type(ends.max), found)
    return np.where(value < float(ends.min), dtype.type(ends.min), found).astype(dtype)


def _conversion(modifiers: list[str], target: str, source: str):
    numbers = (target[0] == "f", source[0] == "f")
    to = DTYPES[target]
    match numbers, modifiers:
        case (False, False), []:
            return lambda a: a.astype(to)
        case (True, False), ["rn"]:
            return lambda a: a.astype(to)
        case (True, True), [] | ["rn"] if target != source:
            return lambda a: a.astype(to)
        case (True, True), ["sat"] if target == source:
            return _saturated
        case (True, True), [("rni" | "rzi" | "rmi" | "rpi") as rounding] if target == source:
            return _ROUNDED[rounding[:2]]
        case (False, True), [("rni" | "rzi" | "rmi" | "rpi") as rounding]:
            return partial(_to_integer, _ROUNDED[rounding[:2]], to)
    raise PtxError(f"conversion {modifiers} from {source} to {target}")


# -- all of them -------------------------------------------------------------------------------

_INTEGERS = {
    "add": np.add,
    "sub": np.subtract,
    "mul.lo": np.multiply,
    "mul.hi": _multiply_high,
    "mul.wide": _multiply_wide,
    "mad.lo": lambda a, b, c: a * b + c,
    "mad.wide": lambda a, b, c: _multiply_wide(a, b) + c,
    "div": _divide,
    "rem": _remainder,
    "neg": np.negative,
    "abs": np.abs,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "shl": _shift_left,
    "shr": _shift_right,
    "bfi": _insert_bits,
}
_NUMBERS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div.rn": np.divide,
    "rcp.rn": lambda a: np.divide(a.dtype.type(1), a),
    "sqrt.rn": np.sqrt,
    "fma.rn": fused,
    "neg": np.negative,
    "abs": np.abs,
    "min": partial(_extreme, np.fmin, np.bitwise_or),
    "max": partial(_extreme, np.fmax, np.bitwise_and),
    "copysign": lambda a, b: np.copysign(b, a),  # PTX: the sign of a on b
}
# Operands that are not of the instruction's type.
_COUNTS = {"shl": ["", "u32"], "shr": ["", "u32"], "bfi": ["", "", "u32", "u32"]}


def _of_numbers(name: str, modifiers: list[str], kind: str):
    if kind == "f32" and (name, *modifiers) in _DIRECTED:
        return _DIRECTED[name, *modifiers]
    if (name, kind, modifiers) == ("rcp", "f64", ["approx", "ftz"]):
        return _gross_reciprocal
    flushes = "ftz" in modifiers
    modifiers = [m for m in modifiers if m != "ftz"]
    if modifiers == ["approx"] and name in _APPROXIMATE and kind == "f32":
        found = _APPROXIMATE[name]
    else:
        if modifiers == ["rn"] and name in ("add", "sub", "mul"):
            modifiers = []  # the default; it also keeps the assembler from fusing
        found = _NUMBERS.get(".".join([name, *modifiers]))
    if found is None or (flushes and kind != "f32"):
        raise PtxError(f"{name} {modifiers} of {kind}")
    return flushing(found) if flushes else found


def operation(opcode: str, count: int):
    """What an instruction without memory and branches does.

    Parameters
    ----------
    opcode : str
        With all modifiers.
    count : int
        Number of operands, the result included.

    Returns
    -------
    function : callable
        Of as many arrays as there are operands after the first.
    sources : list of str
        Types of these.
    result : str
        Type of the result.

    Raises
    ------
    PtxError
        Where it is not known.
    """
    name, *modifiers, kind = opcode.split(".")
    if kind not in DTYPES:
        raise PtxError(f"type {kind}")
    if name == "setp" and len(modifiers) == 1 and count == 3:
        return _comparison(modifiers[0], kind), [kind, kind], "pred"
    if name == "selp" and not modifiers:
        return lambda a, b, p: np.where(p, a, b), [kind, kind, "pred"], kind
    if name == "cvt":
        return _conversion(modifiers[:-1], modifiers[-1], kind), [kind], modifiers[-1]
    if kind[0] == "f":
        return _of_numbers(name, modifiers, kind), [kind] * (count - 1), kind
    full = ".".join([name, *modifiers])
    if full not in _INTEGERS or (kind == "pred" and name not in ("and", "or", "xor", "not")):
        raise PtxError(f"{full} of {kind}")
    own = _COUNTS.get(name, [""] * (count - 1))
    wide = f"{kind[0]}{2 * int(kind[1:])}" if "wide" in modifiers else kind
    sources = [source or kind for source in own]
    if full == "mad.wide":
        sources[2] = wide
    if name in ("shr", "shl") and kind[0] == "b":  # untyped bits are not filled with a sign
        sources[0] = wide = f"u{kind[1:]}"
    return _INTEGERS[full], sources, wide
