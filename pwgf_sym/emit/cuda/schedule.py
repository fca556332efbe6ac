"""Shapes of blocks and register tiles of CUDA kernels."""

from __future__ import annotations

from dataclasses import dataclass

from ...lower.schedule import Tiling

__all__ = ["BLOCK", "CudaTiling"]

# Threads of a block, and samples of a tile.
BLOCK = 128
_ROWS = (8, 7, 6, 5)


@dataclass(frozen=True)
class CudaTiling(Tiling):
    """A tile is a block of threads with a sample each; every thread holds a few rows of it."""

    @classmethod
    def of(cls, threads: int = BLOCK) -> CudaTiling:
        """The tiling of blocks with so many threads."""
        return cls(0, threads, threads, 1, 1)

    def rows(self, size: int) -> int:
        """Up to eight rows: each weight in shared memory is read once for as many samples.

        A number that divides the axis leaves no remainder.
        """
        if size <= _ROWS[0]:
            return size
        return next((rows for rows in _ROWS if size % rows == 0), _ROWS[0])

    def outer(self, first: int, second: int) -> tuple[int, int]:
        """Entries that a thread sums over the samples of a tile: 16 multiply-adds for 8 reads."""
        return min(4, first), min(4, second)

    def padded(self, numbers: int) -> int:
        return numbers

    def block(self, numbers: int, near: int) -> int:
        return 1
