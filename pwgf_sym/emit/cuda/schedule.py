"""Shapes of blocks and register tiles of CUDA kernels."""

from __future__ import annotations

from dataclasses import dataclass

from ...lower.schedule import Tiling

__all__ = ["BLOCK", "CudaTiling"]

# Threads of a block, and samples of a tile.
BLOCK = 128
# Rows that a thread holds at most, and rows and columns of its sums over samples: float64 takes two
# registers a number.
_ROWS = {"float32": (8, 7, 6, 5), "float64": (5, 4)}
_OUTER = {"float32": (4, 4), "float64": (4, 2)}


@dataclass(frozen=True)
class CudaTiling(Tiling):
    """A tile is a block of threads with a sample each; every thread holds a few rows of it."""

    dtype: str = "float64"

    @classmethod
    def of(cls, dtype: str, threads: int = BLOCK) -> CudaTiling:
        """The tiling of blocks with so many threads."""
        return cls(0, threads, threads, 1, 1, dtype)

    def rows(self, size: int) -> int:
        """Rows of a register tile: as many multiply-adds for every value of a sample that is read.

        A number that divides the axis leaves no remainder.
        """
        choices = _ROWS[self.dtype]
        if size <= choices[0]:
            return size
        return next((rows for rows in choices if size % rows == 0), choices[0])

    def outer(self, first: int, second: int) -> tuple[int, int]:
        """Entries that a thread sums over the samples of a tile."""
        rows, columns = _OUTER[self.dtype]
        return min(rows, first), min(columns, second)

    def padded(self, numbers: int) -> int:
        return numbers

    def block(self, numbers: int, near: int) -> int:
        return 1
