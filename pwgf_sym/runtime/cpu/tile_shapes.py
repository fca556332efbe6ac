"""Tiles of special shape: a column spread over the lanes, a column of the identity matrix."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.core.errors import NumbaTypeError
from numba.core.typing.templates import signature

from .tile_types import Tile, broadcast, kernel_function, literal, pack, tile_type

__all__ = ["spread", "unit"]


def _type_spread(tile, S):
    if not isinstance(tile, Tile) or tile.S not in (1, literal("S", S)):
        raise NumbaTypeError(f"spread: got {tile}; accepted: a column of numbers.")
    return signature(Tile(tile.dtype, tile.R, literal("S", S)), tile, S)


@kernel_function(_type_spread)
def spread(context, builder, sig, args):
    """spread(tile, S): a column (R, 1) repeated over S lanes."""
    wide = sig.return_type
    return pack(builder, wide, broadcast(builder, sig.args[0], args[0], wide))


@kernel_function(
    lambda buf, k, R: signature(tile_type(buf, R, types.literal(1)), buf, types.intp, R)
)
def unit(context, builder, sig, args):
    """unit(buf, k, R): column with 1 in row k and 0 elsewhere (all 0 if k is outside)."""
    tile, k = sig.return_type, args[1]
    one, zero = tile.lanes.const(1.0), tile.lanes.const(0.0)
    rows = []
    for r in range(tile.R):
        here = builder.icmp_signed("==", k, ir.Constant(ir.IntType(64), r))
        rows.append(builder.select(here, one, zero))
    return pack(builder, tile, rows)
