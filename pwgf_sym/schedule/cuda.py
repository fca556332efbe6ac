"""Shapes of blocks and register tiles of CUDA kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..runtime.cuda.shared import STAGES, TEAM, lanes_of, pitch, spread
from .costs import outer_cycles

__all__ = ["BLOCK", "CudaTiling"]

# Threads of a block, and samples of a tile.
BLOCK = 128
# Rows that a thread holds at most, and rows and columns of its sums over samples.
_ROWS, _OUTER = 8, (8, 4)
# Columns of a matrix that are eliminated together: at most, and at least without a rest.
_PANEL, _LEAST_PANEL = 6, 3
# Rows whose samples are added up at a time at most.
_TEAM_ROWS = 64
# Bytes of shared memory; those for results of contractions and values that they multiply.
_SHARED, _RESULTS = 47 * 1024, 42 * 1024
# Samples of a chunk of a sum over samples, and bytes of shared memory for it, at most.
_STAGED, _CHUNKS = {"float32": 32, "float64": 16}, 46 * 1024
# Rows and samples of a contraction that a thread takes, and cycles beside its multiply-adds.
_TILE_ROWS, _TILE_SAMPLES, _TURN = range(1, 9), (1, 2, 4, 8), 4


@dataclass(frozen=True)
class CudaTiling:
    """A tile is a block of threads with a sample each; a thread takes a few rows of it at a time.

    In contractions, and in sums over samples, a thread works for its neighbours' samples, too.

    Attributes
    ----------
    dtype : {"float64", "float32"}
        Precision of all numbers.
    samples : int
        Threads of a block, a power of two.
    """

    dtype: str = "float64"
    samples: int = BLOCK

    def rows(self, size: int) -> int:
        """Rows of a register tile: enough to wait for the memory once for several.

        A number that divides the axis leaves no remainder, if it is not too small.
        """
        if size <= _ROWS:
            return size
        found = max(rows for rows in range(1, _ROWS + 1) if size % rows == 0)
        return found if 2 * found >= _ROWS else _ROWS

    def panel(self, size: int) -> tuple[int, int]:
        """Columns of a square matrix that are eliminated together, and how many of them remain.

        A thread holds the square of their number; without a rest nothing has to be asked.
        """
        most = _PANEL if self.dtype == "float32" else _PANEL - 1
        found = max(columns for columns in range(1, most + 1) if size % columns == 0)
        return (found, 0) if found >= min(size, _LEAST_PANEL) else (4, size % 4)

    def rows_of_turns(self, size: int, at_once: int) -> int:
        """Rows of a register tile, where so many rows are taken at once, without a remainder."""
        together = math.gcd(size, at_once)
        return max(rows for rows in range(1, _ROWS + 1) if together % rows == 0)

    @property
    def room(self) -> int:
        """Numbers of shared memory that a kernel may take."""
        return _SHARED // self.bytes

    @property
    def bytes(self) -> int:
        """Bytes of a number."""
        return 4 if self.dtype == "float32" else 8

    @property
    def pitch(self) -> int:
        """Distance of the rows of results of contractions."""
        return pitch(self.samples, lanes_of(self.dtype))

    @property
    def staged(self) -> int:
        """Numbers of shared memory for the values that a contraction multiplies."""
        return STAGES * lanes_of(self.dtype) * self.samples

    def rows_left(self, taken: int) -> int:
        """Rows of results that shared memory holds beside so many others."""
        return (_RESULTS // self.bytes - self.staged) // self.pitch - taken

    def contraction(self, size: int, results: int, taken: int = 0) -> tuple[int, int]:
        """Rows and samples that a thread takes of contractions with rows of this size.

        So many results of theirs stand in shared memory at a time, beside rows that are taken.  A
        block computes the product of the two numbers of rows at a time; those that do not exist are
        lost time.
        """
        most = max(1, self.rows_left(taken) // results)
        shapes = [
            (rows, samples)
            for samples in _TILE_SAMPLES
            for rows in _TILE_ROWS
            if rows * samples <= most and samples <= self.samples
        ]
        return min(shapes, key=lambda shape: (self._cycles(shape[0], shape[1], size), -shape[0]))

    def _cycles(self, rows: int, samples: int, size: int) -> int:
        """Of a multiprocessor, for one term of a contraction and all of its rows.

        Four warps multiply at a time, in float64 half as fast; what a warp reads takes shared
        memory a cycle, sixteen bytes a thread two.  Rows that a thread then takes one after the
        other count for twice as much: it waits for the memory at every one.
        """
        times, words = -(-size // (rows * samples)), self.bytes // 4
        alone = times > 1 and self.rows_of_turns(size, rows * samples) < _ROWS // 2
        reads = [(count, math.gcd(count, lanes_of(self.dtype))) for count in (rows, samples)]
        issued = words * rows * samples + sum(count // wide for count, wide in reads) + _TURN
        busy = sum(count // wide * -(-wide * self.bytes // 8) for count, wide in reads)
        return (1 + alone) * times * max(issued, 4 * busy)

    def with_weights(self, before: int, tile: tuple[int, int], count: int) -> int:
        """Numbers of shared memory with the weights of a contraction, after so many others.

        As many terms as fit, in whole turns.
        """
        lanes = lanes_of(self.dtype)
        wide = spread(math.prod(tile), lanes)
        terms = min(-(-count // lanes), (self.room - before) // (wide * lanes)) * lanes
        return before + wide * max(lanes, terms)

    def row_sums(self, rows: int) -> int:
        """Numbers of shared memory for so many sums over samples."""
        return min(rows, _TEAM_ROWS) * (min(TEAM, self.samples) + 1)

    def outer_sums(self, first: int, second: int) -> tuple[tuple[int, int, int], int]:
        """Of sums over samples of an outer product.

        Samples at a time, tiles of a round below and beside each other; and numbers of shared
        memory: while some samples are added, the next ones come.
        """
        tile, lanes = self.outer(first, second), lanes_of(self.dtype)
        needed = [-(-size // own) for size, own in zip((first, second), tile, strict=True)]
        down, across = (1 << (count - 1).bit_length() for count in needed)
        least = 4 * lanes  # of a row: two chunks of one read, and what lies between rows

        def rows() -> int:
            return down * tile[0] + across * tile[1]

        while down * across > self.samples or least * rows() > self._chunks:
            if down == across == 1:
                break
            if across == 1 or (down > 1 and down * tile[0] >= across * tile[1]):
                down //= 2
            else:
                across //= 2
        chunk = min(_STAGED[self.dtype], self.samples)
        while chunk > lanes and 2 * rows() * (chunk + lanes) > self._chunks:
            chunk //= 2
        left_behind = self._left_behind(math.prod(tile))
        return (chunk, down, across), max(2 * rows() * (chunk + lanes), left_behind)

    @property
    def _chunks(self) -> int:
        """Numbers of shared memory that a sum over samples may take."""
        return _CHUNKS // self.bytes

    def _left_behind(self, entries: int) -> int:
        """Numbers of shared memory where every thread leaves so many."""
        return self.samples * spread(entries, lanes_of(self.dtype))

    def outer(self, first: int, second: int) -> tuple[int, int]:
        """Entries that a thread sums over the samples of a tile."""
        rows, columns = _OUTER
        while rows > 1 and self._left_behind(rows * columns) > self._chunks:
            rows //= 2
        return min(rows, first), min(columns, second)

    def outer_cost(self, first: int, second: int) -> float:
        """Cost of an outer product with rows along the first axis: which factor gives the rows."""
        return outer_cycles(*self.outer(first, second), first, second)

    def padded(self, numbers: int) -> int:
        """Rows of samples that a tile takes: none is left out."""
        return numbers

    def block(self, numbers: int, near: int) -> int:
        """Tiles of a block of threads at a time."""
        return 1
