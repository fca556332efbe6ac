"""Register tiles: small matrices of numbers that live in vector registers inside Numba kernels.

A ``Tile(dtype, R, S)`` has R rows; each row is one LLVM vector of S lanes, which LLVM cuts to the
machine's registers, so kernels do not depend on the vector width.  With S = 1 a tile is a column
of R scalars.  Tiles exist only inside compiled functions::

    @njit(fastmath={"contract"}, error_model="numpy", nogil=True, cache=True)
    def layer(theta, x, t, d):                    # t = tanh(W x) for 4 rows of W and 8 samples
        a = zeros(theta, 4, 8)
        for q in range(d):
            a = fma(load(theta, q, d, 4, 1), load(x, 8 * q, 0, 1, 8), a)
        store(t, 0, 8, tanh(a))

Arithmetic (``+ - * /``), comparisons (which give a :class:`TileMask`), ``& | ~`` on masks and all
functions here broadcast like NumPy between (R, S), (1, S), (R, 1), (1, 1) and scalars; a scalar
is converted to the tile's dtype first, so float32 stays float32.  Offsets and strides count
elements of flat arrays and are not checked against the bounds.

Code is generated through typing templates with one lowering each, not through Python
implementations that Numba would have to compile, which keeps compile times short.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba.core import types
from numba.core.errors import NumbaTypeError
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import signature
from numba.np.arrayobj import make_array, populate_array

from .tile_types import (
    Rows,
    Tile,
    TileMask,
    broadcast,
    check_buffer,
    declare,
    elementwise,
    kernel_function,
    pack,
    rows_of,
    tile_type,
)
from .vector_lanes import Lanes, fma_lanes, splat
from .vector_math import BINARY, UNARY, integer_power

__all__ = [
    "Tile",
    "TileMask",
    "absolute",
    "acos",
    "acosh",
    "add_lane_sums",
    "aligned",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "fetch",
    "floor",
    "fma",
    "full",
    "gamma",
    "lane_index",
    "load",
    "log",
    "log1p",
    "loggamma",
    "maximum",
    "minimum",
    "outer",
    "power",
    "row_sum",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "store",
    "tan",
    "tanh",
    "where",
    "zeros",
]

_CONTRACT = ("contract",)
_I64, _I32 = ir.IntType(64), ir.IntType(32)


# ------------------------------------------------------------------------------- memory access
def pointer_to(context, builder, buf, value, *terms):
    """Pointer to the element of ``buf`` at the sum of products of ``terms``, (i64, int) pairs."""
    position = context.data_model_manager[buf].get_field_position("data")
    offset = None
    for factor, times in terms:
        if times == 0:
            continue
        term = factor if times == 1 else builder.mul(factor, ir.Constant(_I64, times))
        offset = term if offset is None else builder.add(offset, term)
    data = builder.extract_value(value, position)
    return builder.gep(data, [offset if offset is not None else _I64(0)])


def _row_pointer(context, builder, tile, *where):
    pointer = pointer_to(context, builder, *where)
    return builder.bitcast(pointer, tile.row_type.as_pointer()) if tile.S > 1 else pointer


@kernel_function(
    lambda buf, off, stride, R, S: signature(
        tile_type(buf, R, S), buf, types.intp, types.intp, R, S
    )
)
def load(context, builder, sig, args):
    """load(buf, off, stride, R, S): rows of S contiguous elements at off + r*stride."""
    tile, (buf, off, stride) = sig.return_type, args[:3]
    rows = []
    for r in range(tile.R):
        at = _row_pointer(context, builder, tile, sig.args[0], buf, (off, 1), (stride, r))
        rows.append(builder.load(at, align=tile.lanes.bits // 8))
    return pack(builder, tile, rows)


def _type_store(buf, off, stride, tile):
    check_buffer(buf)
    if not isinstance(tile, Tile) or tile.dtype != buf.dtype:
        raise NumbaTypeError(f"store: got {tile} into {buf}; accepted: a tile of the same dtype.")
    return signature(types.void, buf, types.intp, types.intp, tile)


@kernel_function(_type_store)
def store(context, builder, sig, args):
    """store(buf, off, stride, tile): the inverse of load."""
    tile, (buf, off, stride, value) = sig.args[3], args
    for r, row in enumerate(rows_of(builder, tile, value)):
        at = _row_pointer(context, builder, tile, sig.args[0], buf, (off, 1), (stride, r))
        builder.store(row, at, align=tile.lanes.bits // 8)
    return context.get_dummy_value()


def _type_fetch(buf, off):
    check_buffer(buf)
    return signature(buf.dtype, buf, types.intp)


@kernel_function(_type_fetch)
def fetch(context, builder, sig, args):
    """fetch(buf, off): the scalar buf[off], without Numba's handling of negative indices."""
    return builder.load(pointer_to(context, builder, sig.args[0], args[0], (args[1], 1)))


@kernel_function(lambda buf, R, S: signature(tile_type(buf, R, S), buf, R, S))
def zeros(context, builder, sig, args):
    """zeros(buf, R, S): a tile of zeros of the dtype of buf."""
    tile = sig.return_type
    return pack(builder, tile, [tile.lanes.const(0.0)] * tile.R)


@kernel_function(
    lambda buf, value, R, S: signature(tile_type(buf, R, S), buf, types.unliteral(value), R, S)
)
def full(context, builder, sig, args):
    """full(buf, value, R, S): a tile of the dtype of buf filled with a scalar."""
    tile = sig.return_type
    return pack(builder, tile, broadcast(builder, sig.args[1], args[1], tile))


@kernel_function(
    lambda buf, start, S: signature(tile_type(buf, types.literal(1), S), buf, types.intp, S)
)
def lane_index(context, builder, sig, args):
    """lane_index(buf, start, S): the (1, S) tile start, start + 1, ... as numbers of buf's dtype.

    Exact while the numbers stay below 2**24 (float32) or 2**53 (float64).
    """
    lanes = sig.return_type.lanes
    start = splat(builder, builder.sitofp(args[1], lanes.element), lanes.n)
    if lanes.n == 1:
        return start
    steps = ir.Constant(lanes.type, [float(i) for i in range(lanes.n)])
    return builder.fadd(start, steps)


@kernel_function(lambda like, n: signature(types.Array(like.dtype, 1, "C"), like, types.intp))
def aligned(context, builder, sig, args):
    """aligned(like, n): uninitialised array of n elements of like's dtype, 64-byte aligned."""
    array_type = sig.return_type
    itemsize = context.get_constant(types.intp, array_type.dtype.bitwidth // 8)
    meminfo = context.nrt.meminfo_alloc_aligned(builder, builder.mul(args[1], itemsize), 64)
    array = make_array(array_type)(context, builder)
    data = context.nrt.meminfo_data(builder, meminfo)
    data = builder.bitcast(data, array.data.type)
    populate_array(array, data, [args[1]], [itemsize], itemsize, meminfo)
    return array._getvalue()


# ------------------------------------------------------------------------ elementwise functions
def _function(name, emit, doc, kinds=None):
    typing, lowering = elementwise(emit, kinds)
    lowering.__name__, lowering.__module__, lowering.__doc__ = name, __name__, doc
    return kernel_function(typing)(lowering)


def _operator(symbol, emit, arity, kind=Tile, result=Tile):
    typing, lowering = elementwise(emit, (kind,) * arity, result)

    def tiles_only(*args):  # plain numbers keep Numba's own rules
        return typing(*args) if any(isinstance(a, Rows) for a in args) else None

    declare(symbol, tiles_only)
    for accepted in [(kind,), (kind, kind), (kind, types.Number), (types.Number, kind)]:
        if len(accepted) == arity:
            lower_builtin(symbol, *accepted)(lowering)


def _arithmetic(name):
    return lambda builder, lanes, a, b: getattr(builder, name)(a, b, flags=_CONTRACT)


def _comparison(relation):
    # Only != is true for NaN.
    kind = "fcmp_unordered" if relation == "!=" else "fcmp_ordered"
    return lambda builder, lanes, a, b: getattr(builder, kind)(relation, a, b)


for _symbols, _name in [
    ((operator.add, operator.iadd), "fadd"),
    ((operator.sub, operator.isub), "fsub"),
    ((operator.mul, operator.imul), "fmul"),
    ((operator.truediv, operator.itruediv), "fdiv"),
]:
    for _symbol in _symbols:
        _operator(_symbol, _arithmetic(_name), 2)
_operator(operator.neg, lambda builder, lanes, a: builder.fneg(a), 1)
for _symbol, _name in [
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
    (operator.ne, "!="),
]:
    _operator(_symbol, _comparison(_name), 2, result=TileMask)
_operator(operator.and_, lambda builder, lanes, a, b: builder.and_(a, b), 2, TileMask, TileMask)
_operator(operator.or_, lambda builder, lanes, a, b: builder.or_(a, b), 2, TileMask, TileMask)
_operator(operator.invert, lambda builder, lanes, a: builder.not_(a), 1, TileMask, TileMask)

fma = _function("fma", fma_lanes, "fma(a, b, c): a*b + c with one rounding.", (Tile,) * 3)
where = _function(
    "where",
    lambda builder, lanes, mask, a, b: builder.select(mask, a, b),
    "where(mask, a, b): a where the mask is set, else b.",
    (TileMask, Tile, Tile),
)


def _named(name, table, arity):
    return _function(name, table[name], f"{name}: lane by lane; NaN propagates.", (Tile,) * arity)


exp, tanh, log, sqrt = (_named(name, UNARY, 1) for name in ("exp", "tanh", "log", "sqrt"))
absolute, sign = (_named(name, UNARY, 1) for name in ("absolute", "sign"))
floor, ceil = (_named(name, UNARY, 1) for name in ("floor", "ceil"))
sin, cos, tan, asin, acos, atan = (
    _named(name, UNARY, 1) for name in ("sin", "cos", "tan", "asin", "acos", "atan")
)
sinh, cosh, asinh, acosh, atanh = (
    _named(name, UNARY, 1) for name in ("sinh", "cosh", "asinh", "acosh", "atanh")
)
erf, erfc, gamma, loggamma = (_named(n, UNARY, 1) for n in ("erf", "erfc", "gamma", "loggamma"))
expm1, log1p, sigmoid = (_named(name, UNARY, 1) for name in ("expm1", "log1p", "sigmoid"))
minimum, maximum, atan2 = (_named(name, BINARY, 2) for name in ("minimum", "maximum", "atan2"))

_power_typing, _power_lowering = elementwise(BINARY["power"], (Tile, Tile))
_LARGEST_CHAIN = 8  # repeated squaring costs at most 3.5 ulp up to here


def _type_power(a, b):
    sig = _power_typing(a, b)
    chain = isinstance(b, types.IntegerLiteral) and abs(b.literal_value) <= _LARGEST_CHAIN
    return sig.replace(args=(sig.args[0], b)) if sig is not None and chain else sig


@kernel_function(_type_power)
def power(context, builder, sig, args):
    """power(a, b): a**b; a literal integer b of size at most 8 becomes products."""
    if not isinstance(sig.args[1], types.IntegerLiteral):
        return _power_lowering(context, builder, sig, args)
    tile = sig.return_type if isinstance(sig.return_type, Tile) else Tile(sig.return_type, 1, 1)
    exponent = sig.args[1].literal_value
    rows = broadcast(builder, sig.args[0], args[0], tile)
    return pack(builder, tile, [integer_power(builder, tile.lanes, x, exponent) for x in rows])


# --------------------------------------------------------------------------- sums and products
@kernel_function(lambda t: signature(Tile(t.dtype, 1, t.S), t) if isinstance(t, Tile) else None)
def row_sum(context, builder, sig, args):
    """row_sum(tile): the (1, S) tile of sums over the rows, added in order."""
    total, *others = rows_of(builder, sig.args[0], args[0])
    for row in others:
        total = builder.fadd(total, row, flags=_CONTRACT)
    return total


def _type_outer(acc, a, b):
    tiles = (acc, a, b)
    if not all(isinstance(t, Tile) and (t.dtype, t.S) == (acc.dtype, acc.S) for t in tiles):
        raise NumbaTypeError(f"outer: got {tiles}; accepted: three tiles of one dtype and S.")
    if acc.R != a.R * b.R:
        raise NumbaTypeError(f"outer: got {acc.R} rows; accepted: {a.R}*{b.R}.")
    return signature(acc, *tiles)


@kernel_function(_type_outer)
def outer(context, builder, sig, args):
    """outer(acc, a, b): acc row r*Q + q plus a row r times b row q, lane by lane (Q rows in b)."""
    tile = sig.return_type
    acc, a, b = (rows_of(builder, t, v) for t, v in zip(sig.args, args))
    pairs = ((x, y) for x in a for y in b)
    rows = [fma_lanes(builder, tile.lanes, x, y, c) for (x, y), c in zip(pairs, acc)]
    return pack(builder, tile, rows)


def _shuffle(builder, x, y, lanes):
    mask = ir.Constant(ir.VectorType(_I32, len(lanes)), lanes)
    return builder.shuffle_vector(x, y, mask)


def _halve(builder, row, width):
    """Add the upper half of the lanes to the lower half until ``width`` are left."""
    n = getattr(row.type, "count", 1)
    while n > width:
        n //= 2
        low = _shuffle(builder, row, row, list(range(n)))
        row = builder.fadd(low, _shuffle(builder, row, row, list(range(n, 2 * n))))
    return row


def _transposed_sums(builder, rows, n):
    """n vectors of n lanes -> one vector of their n lane sums, by n - 1 shuffled additions."""
    step = 1
    while step < n:
        low, high = [], []
        for base in range(0, n, 2 * step):
            for chosen, start in ((low, base), (high, base + step)):
                chosen += [*range(start, start + step), *range(n + start, n + start + step)]
        rows = [
            builder.fadd(_shuffle(builder, x, y, low), _shuffle(builder, x, y, high))
            for x, y in zip(rows[::2], rows[1::2])
        ]
        step *= 2
    return rows[0]


def _lane_sums(builder, tile, rows):
    """Sums over the lanes of each row, in groups: (values of the group's rows, how many).

    A group is a vector, or a number for S = 1.  The order of additions depends on S and R only.
    """
    if tile.S == 1:
        return [(row, 1) for row in rows]
    width = min(tile.S, 256 // tile.lanes.bits, 4 if tile.R <= 4 else 8)
    lanes = Lanes(tile.lanes.bits, width)
    rows = [_halve(builder, row, width) for row in rows]
    sums = []
    for start in range(0, tile.R, width):
        group = rows[start : start + width]
        padding = [lanes.const(-0.0)] * (width - len(group))  # x + (-0.0) folds to x
        sums.append((_transposed_sums(builder, group + padding, width), len(group)))
    return sums


def _type_lane_sums(buf, off, acc):
    check_buffer(buf)
    if not isinstance(acc, Tile) or acc.dtype != buf.dtype:
        raise NumbaTypeError(f"add_lane_sums: got {acc} into {buf}; accepted: equal dtypes.")
    return signature(types.void, buf, types.intp, acc)


@kernel_function(_type_lane_sums)
def add_lane_sums(context, builder, sig, args):
    """add_lane_sums(buf, off, acc): adds the sum over the lanes of row r to buf[off + r]."""
    tile, (buf, off, acc), at = sig.args[2], args, 0
    for total, count in _lane_sums(builder, tile, rows_of(builder, tile, acc)):
        whole = isinstance(total.type, ir.VectorType) and total.type.count == count
        parts = [total] if whole or tile.S == 1 else []
        parts = parts or [builder.extract_element(total, _I32(i)) for i in range(count)]
        for part in parts:
            place = pointer_to(context, builder, sig.args[0], buf, (off, 1), (_I64(1), at))
            place = builder.bitcast(place, part.type.as_pointer())
            old = builder.load(place, align=tile.lanes.bits // 8)
            builder.store(builder.fadd(old, part), place, align=tile.lanes.bits // 8)
            at += count if whole else 1
    return context.get_dummy_value()
