"""How a sum over the samples of a block is tiled: which axes run along a register tile, in which
order the tiles come, and where in the sums each entry therefore stands."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..tensors import Axes, Axis, Labelled, Product
from .groups import Tiling

__all__ = ["OuterTiles", "outer_tiles", "tile_starts"]


@dataclass(frozen=True)
class OuterTiles:
    """Tiles of rows by columns of a sum over samples of products of one or two factors.

    Attributes
    ----------
    axes : tuple of Axis
        Axes of the sum.
    factors : tuple of (Tensor, labels)
        One or two factors; rows run along the first, columns along the second.
    row, column : Axis or None
        Axis of the rows and of the columns of a tile.
    rows, columns : int
        Size of a tile.
    """

    axes: tuple[Axis, ...]
    factors: tuple[Labelled, ...]
    row: Axis | None
    column: Axis | None
    rows: int
    columns: int

    @property
    def loops(self) -> tuple[Axis, ...]:
        """Axes outside the tiles."""
        return tuple(a for a in self.axes if a not in (self.row, self.column))

    @property
    def nest(self) -> list[tuple[Axis, int]]:
        """Tiled axes, outermost first.

        The longer one is outside: its tile stays in the nearest cache while the other passes by.
        """
        tiled = [(self.row, self.rows), (self.column, self.columns)]
        pairs = [(axis, size) for axis, size in tiled if axis is not None]
        return sorted(pairs, key=lambda pair: -pair[0].size)

    def positions(self) -> NDArray[np.int64]:
        """Row-major index of the entry at each place of the sums, which stand tile by tile."""
        index = np.arange(np.prod([a.size for a in self.axes], dtype=int))
        index = index.reshape([a.size for a in self.axes])
        order = [self.axes.index(a) for a in (*self.loops, self.row, self.column) if a is not None]
        index = index.transpose(order).reshape(-1, *(a.size for a in self._tiled()))
        parts = []
        for block in index:
            for corner in itertools.product(*(tile_starts(*pair) for pair in self.nest)):
                window = dict(zip((axis for axis, _ in self.nest), corner, strict=True))
                parts.append(block[tuple(slice(*window[a]) for a in self._tiled())].ravel())
        return np.concatenate(parts)

    def _tiled(self) -> list[Axis]:
        return [a for a in (self.row, self.column) if a is not None]


def tile_starts(axis: Axis, size: int) -> list[tuple[int, int]]:
    """(first, end) of the tiles of an axis, the last one shorter where it does not divide."""
    return [(k, min(k + size, axis.size)) for k in range(0, axis.size, size)]


def outer_tiles(tensors: list[Product], tiling: Tiling) -> dict[Product, OuterTiles]:
    """Tiles of sums over samples; the factors are swapped where that makes cheaper tiles.

    A sum that has no columns takes the tiles of an outer product with the same outer axis.
    """
    found = {tensor: _outer_tiles(tensor, tiling) for tensor in tensors}
    outer = dict(tiles.nest[0] for tiles in found.values() if tiles.column is not None)
    for tensor, tiles in found.items():
        if tiles.column is None and tiles.row in outer:
            found[tensor] = replace(tiles, rows=outer[tiles.row])
    return found


def _outer_tiles(tensor: Product, tiling: Tiling) -> OuterTiles:
    factors = tensor.factors
    own = _own_axes(tensor.axes, factors)
    if len(factors) > 1 and (not own[0] or (own[1] and _swap(own, tiling))):
        factors.reverse()
        own.reverse()
    row = own[0][-1] if own[0] else (tensor.axes[-1] if tensor.axes else None)
    column = own[1][-1] if own[1] and own[0] else None
    rows, columns = (1, 1) if row is None else (tiling.rows(row.size), 1)
    if row is not None and column is not None:
        rows, columns = tiling.outer(row.size, column.size)
    return OuterTiles(tensor.axes, tuple(factors), row, column, rows, columns)


def _own_axes(axes: Axes, factors: list[Labelled]) -> list[list[Axis]]:
    """Axes of the sum that only the first factor carries, and that only the second one does."""
    first, *rest = (labels for _, labels in factors)
    second = rest[0] if rest else ()
    return [
        [a for a in axes if a in first and a not in second],
        [a for a in axes if a in second and a not in first],
    ]


def _swap(own: list[list[Axis]], tiling: Tiling) -> bool:
    first, second = own[0][-1].size, own[1][-1].size
    return tiling.outer_cost(second, first) < tiling.outer_cost(first, second)
