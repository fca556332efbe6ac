"""Shapes of blocks and register tiles of CPU kernels."""

from __future__ import annotations

from dataclasses import dataclass

from .costs import IN_FLIGHT, outer_cycles

__all__ = ["CpuTiling", "Machine"]

# Rows of a register tile; columns and sums of an outer product (16 registers; with 32 the tiles
# are wider instead).
_ROWS, _COLUMNS, _SUMS = (4, 5, 6), (1, 2, 3), 12
# Longer blocks make the sums over lanes rarer, but leave the cache.
_FEWEST_TILES, _MOST_TILES = 8, 16


@dataclass(frozen=True)
class Machine:
    """What the schedule needs to know of a processor.

    Attributes
    ----------
    vector_bits : int
        Width of the vector registers: 128, 256 or 512.
    near_bytes, cache_bytes : int
        Sizes of a core's level 1 (data) and level 2 caches.
    """

    vector_bits: int = 256
    near_bytes: int = 32 * 1024
    cache_bytes: int = 512 * 1024


@dataclass(frozen=True)
class CpuTiling:
    """Shapes of the register tiles and blocks of CPU kernels.

    Attributes
    ----------
    vector_bits : int
        Width of the machine's vector registers.
    lanes : int
        Numbers in a vector register.
    samples : int
        Samples in a tile, innermost in memory: a few registers side by side.
    near_numbers, block_numbers : int
        Numbers of a block that may be used over and over, and that it may occupy in all.
    """

    vector_bits: int
    lanes: int
    samples: int
    near_numbers: int
    block_numbers: int

    @classmethod
    def for_machine(cls, machine: Machine, dtype: str) -> CpuTiling:
        """The tiling for a machine: 16 registers up to 256 bits, 32 with 512."""
        size = 8 if dtype == "float64" else 4
        lanes = machine.vector_bits // (8 * size)
        side = 4 if machine.vector_bits >= 512 else 2
        near, all_numbers = machine.near_bytes // (2 * size), machine.cache_bytes // size
        return cls(machine.vector_bits, lanes, lanes * side, near, all_numbers)

    def at_once(self, entries: int) -> int:
        """Numbers that a function of an array with so many entries takes at a time.

        Four registers are the best measured; two, where four leave a remainder.
        """
        return self.samples * (2 if self.side < 4 and entries % 2 == 0 else 1)

    @property
    def side(self) -> int:
        """Vectors side by side in a tile."""
        return self.samples // self.lanes

    def rows(self, size: int) -> int:
        """Rows of a register tile over an axis of this size.

        Four to six rows keep the multiply-add units busy; of these, the number that leaves the
        cheapest remainder, and of equals the smallest.
        """
        if size <= _ROWS[-1]:
            return size
        return min(_ROWS, key=lambda rows: (_cycles(rows, self.side, size), rows))

    def padded(self, numbers: int) -> int:
        """Rows of samples that a tile takes in an array with many tiles: an odd number.

        Tiles a power of two apart would share the same few sets of the cache.
        """
        return numbers | 1

    def chains(self, rows: int) -> int:
        """Independent sums that a contraction of so many rows needs to hide the latency."""
        return -(-IN_FLIGHT // (rows * self.side))

    def outer(self, first: int, second: int) -> tuple[int, int]:
        """Rows and columns of the tiles of an outer product of axes of these sizes."""
        shapes = [(r, c) for c in _COLUMNS for r in (*range(1, _ROWS[0]), *_ROWS)]
        shapes = [s for s in shapes if s[0] <= first and s[1] <= second and s[0] * s[1] <= _SUMS]
        return min(shapes, key=lambda s: (outer_cycles(s[0], s[1], first, second), -s[0] * s[1]))

    def lanes_of_sums(self, size: int) -> int:
        """Numbers side by side in so many sums over samples: all of a tile, if registers do.

        Few sums would otherwise wait for each other's latency.
        """
        return self.samples if size * self.side <= _SUMS else self.lanes

    @property
    def sums_at_once(self) -> int:
        """Registers of sums over samples in a loop; of 32, twice as many as of 16."""
        return _SUMS * (2 if self.vector_bits >= 512 else 1)

    def outer_cost(self, first: int, second: int) -> float:
        """Cycles of an outer product with rows along the first axis, in the best tiles."""
        return outer_cycles(*self.outer(first, second), first, second)

    def block(self, numbers: int, near: int) -> int:
        """Tiles of a block whose samples occupy so many numbers each, ``near`` of them hot."""
        fitting = min(self.block_numbers // max(numbers, 1), self.near_numbers // max(near, 1))
        tiles = fitting // self.samples
        return max(_FEWEST_TILES, min(_MOST_TILES, 1 << max(tiles.bit_length() - 1, 0)))


def _cycles(rows: int, side: int, size: int) -> float:
    """Cycles for one term of a contraction, all rows of an axis."""

    def tile(count: int) -> float:
        return max(count * side, IN_FLIGHT) / 2 if count else 0.0

    return size // rows * tile(rows) + tile(size % rows)
