"""Types of register tiles, their broadcasting, and how kernel functions are declared to Numba.

The functions themselves are in :mod:`.tiles`.  This module touches the parts of Numba that are
not public interface: typing templates and lowering by type class.
"""

from __future__ import annotations

from functools import lru_cache

from llvmlite import ir
from numba.core import types
from numba.core.errors import NumbaTypeError
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model

from .vector_lanes import Lanes, splat

__all__ = [
    "Rows",
    "Tile",
    "TileMask",
    "broadcast",
    "check_buffer",
    "declare",
    "elementwise",
    "kernel_function",
    "literal",
    "pack",
    "rows_of",
    "tile_type",
]

_lanes = lru_cache(maxsize=None)(Lanes)


class Rows(types.Type):
    """R rows of S lanes each; ``dtype`` is float32 or float64."""

    def __init__(self, dtype, R, S):
        self.dtype, self.R, self.S = dtype, R, S
        super().__init__(name=f"{type(self).__name__}({dtype}, {R}, {S})")

    @property
    def lanes(self):
        """The LLVM side of one row; no attribute, so that types pickle into Numba's cache."""
        return _lanes(self.dtype.bitwidth, self.S)


class Tile(Rows):
    """Numba type of a tile of numbers."""

    @property
    def row_type(self):
        return self.lanes.type


class TileMask(Rows):
    """Numba type of the result of a comparison of tiles; ``dtype`` is that of the operands."""

    @property
    def row_type(self):
        bit = ir.IntType(1)
        return ir.VectorType(bit, self.S) if self.S > 1 else bit


@register_model(Tile)
@register_model(TileMask)
class _RowsModel(models.PrimitiveModel):
    def __init__(self, manager, tile):
        row = tile.row_type
        super().__init__(manager, tile, ir.ArrayType(row, tile.R) if tile.R > 1 else row)


def rows_of(builder, tile, value):
    """The R LLVM values of a tile."""
    if tile.R == 1:
        return [value]
    return [builder.extract_value(value, r) for r in range(tile.R)]


def pack(builder, tile, rows):
    """The inverse of :func:`rows_of`."""
    if tile.R == 1:
        return rows[0]
    value = ir.Constant(ir.ArrayType(tile.row_type, tile.R), ir.Undefined)
    for r, row in enumerate(rows):
        value = builder.insert_value(value, row, r)
    return value


def _to_dtype(builder, given, value, lanes):
    """Convert a scalar of Numba type ``given`` to the element type of ``lanes``."""
    if isinstance(given, types.Float):
        if given.bitwidth == lanes.bits:
            return value
        narrower = given.bitwidth > lanes.bits
        return (builder.fptrunc if narrower else builder.fpext)(value, lanes.element)
    signed = isinstance(given, types.Integer) and given.signed
    return (builder.sitofp if signed else builder.uitofp)(value, lanes.element)


def broadcast(builder, given, value, tile):
    """Rows of ``value`` (tile, mask or scalar of Numba type ``given``) in the shape of ``tile``."""
    if isinstance(given, Rows):
        rows = rows_of(builder, given, value)
    else:
        rows = [_to_dtype(builder, given, value, tile.lanes)]
    if tile.S > 1 and getattr(given, "S", 1) == 1:
        rows = [splat(builder, row, tile.S) for row in rows]
    return rows * tile.R if len(rows) < tile.R else rows


def _common_shape(args):
    """(dtype, R, S) that the argument types broadcast to; None if no tile is among them."""
    tiles = [a for a in args if isinstance(a, Rows)]
    real = (Rows, types.Float, types.Integer, types.Boolean)
    if not tiles or not all(isinstance(a, real) for a in args):
        return None
    dtype, R, S = tiles[0].dtype, max(t.R for t in tiles), max(t.S for t in tiles)
    if any(t.dtype != dtype or t.R not in (1, R) or t.S not in (1, S) for t in tiles):
        raise NumbaTypeError(
            f"tiles do not broadcast: got {', '.join(map(str, tiles))}; accepted: one dtype and "
            "equal or unit R and S."
        )
    return dtype, R, S


# ------------------------------------------------------------------- declaring kernel functions
def declare(function, typing):
    """Tell Numba the type rule of ``function``, a Python function or an operator.

    ``typing(*argument types)`` gives the signature, or None where it does not apply.
    """

    class Template(AbstractTemplate):
        key = function
        prefer_literal = True

        def generic(self, args, kws):
            return None if kws else typing(*args)

    infer_global(function, types.Function(Template))


def kernel_function(typing):
    """Decorate a lowering: the public function of the same name then exists inside kernels.

    A lowering is ``f(context, builder, signature, values)`` and returns the LLVM value of the
    result.  One lowering serves all argument types, read from the signature.
    """

    def decorate(lowering):
        name = lowering.__name__

        def public(*args):
            raise NotImplementedError(f"{name} works inside compiled kernels only")

        public.__name__ = public.__qualname__ = name
        public.__module__, public.__doc__ = lowering.__module__, lowering.__doc__
        declare(public, typing)
        lower_builtin(public, types.VarArg(types.Any))(lowering)
        return public

    return decorate


def literal(name, value):
    """The value of a literal positive integer type."""
    if not isinstance(value, types.IntegerLiteral) or value.literal_value < 1:
        raise NumbaTypeError(f"{name}: got {value}; accepted: a literal positive integer.")
    return value.literal_value


def tile_type(buf, R, S):
    """Tile of buf's dtype with the literal shape (R, S); S is a power of two."""
    check_buffer(buf)
    lanes = literal("S", S)
    if lanes & (lanes - 1):
        raise NumbaTypeError(f"S: got {lanes}; accepted: a power of two.")
    return Tile(buf.dtype, literal("R", R), lanes)


def check_buffer(buf):
    """Refuse anything but a C-contiguous array of float32 or float64."""
    ok = isinstance(buf, types.Array) and buf.layout == "C"
    if not ok or buf.dtype not in (types.float32, types.float64):
        raise NumbaTypeError(f"buf: got {buf}; accepted: a contiguous float32 or float64 array.")


def _scalar_result(args):
    """float32 only if every float argument is; None unless all are real scalars."""
    if not all(isinstance(a, (types.Float, types.Integer)) for a in args):
        return None
    floats = {a for a in args if isinstance(a, types.Float)}
    return types.float32 if floats == {types.float32} else types.float64


def elementwise(emit, kinds=None, result=Tile):
    """Typing and lowering of ``emit(builder, lanes, *rows)``, which acts lane by lane.

    ``kinds`` are the tile classes accepted at each argument (all Tile if None).
    """

    def typing(*args):
        expected = kinds or (Tile,) * len(args)
        if len(args) != len(expected):
            return None
        for given, kind in zip(args, expected):
            # A scalar may stand for a tile, never for a mask.
            if not isinstance(given, kind) and (isinstance(given, Rows) or kind is TileMask):
                return None
        common = _common_shape(args)
        if common is None:
            scalar = _scalar_result(args)
            return None if scalar is None else signature(scalar, *map(types.unliteral, args))
        return signature(result(*common), *map(types.unliteral, args))

    def lowering(context, builder, sig, args):
        tile = sig.return_type
        if not isinstance(tile, Rows):
            tile = Tile(tile, 1, 1)
        columns = [broadcast(builder, t, v, tile) for t, v in zip(sig.args, args)]
        return pack(builder, tile, [emit(builder, tile.lanes, *row) for row in zip(*columns)])

    return typing, lowering
