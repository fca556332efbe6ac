"""Samples in the layout of the kernels: tile by tile, component by component, sample innermost."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from ..errors import OptionError

__all__ = ["Samples", "State", "aligned_arrays", "aligned_empty", "pack_samples"]


def aligned_empty(size: int, dtype) -> np.ndarray:
    """A vector that begins at a cache line, not initialized: no load of a register crosses two."""
    dtype = np.dtype(dtype)
    room = np.empty(size + 64 // dtype.itemsize, dtype)
    start = -room.ctypes.data % 64 // dtype.itemsize
    return room[start : start + size]


def aligned_arrays(sizes, dtype) -> list[np.ndarray]:
    """Such vectors of several sizes from one allocation, which takes longer than small kernels."""
    line = 64 // np.dtype(dtype).itemsize
    ends = list(accumulate(-(-size // line) * line for size in sizes))
    room = aligned_empty(ends[-1], dtype)
    return [room[a : a + n] for a, n in zip([0, *ends[:-1]], sizes, strict=True)]


@dataclass
class State:
    """Packed values at pushed samples; ``moments`` are kept once they are computed.

    On the target "cuda" they are vectors on the device, which ``numpy.asarray`` copies.
    """

    x: np.ndarray
    log_density: np.ndarray | None = None
    score: np.ndarray | None = None
    moments: tuple[np.ndarray, float, float] | None = None


@dataclass
class Samples:
    """Packed samples of the reference density.

    Attributes
    ----------
    count, dim : int
        N and d.
    tiles, lanes : int
        Number of tiles, and samples in a tile; the last ones repeat earlier samples as padding.
    z, score : (M,) arrays
        Points and scores, M = tiles * dim * lanes.
    log_density, weight : (tiles * lanes,) arrays
        Log density; 1/N at samples and 0 at padding.
    weights : (M,) array
        ``weight`` repeated for every component.
    """

    count: int
    dim: int
    tiles: int
    lanes: int
    z: np.ndarray
    log_density: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    weights: np.ndarray
    scratch: dict = field(default_factory=dict, repr=False)

    @property
    def width(self) -> int:
        """M, the length of a packed vector field."""
        return self.tiles * self.dim * self.lanes

    def rows(self, values: np.ndarray) -> np.ndarray:
        """(M,) -> (tiles * lanes, d), padding included."""
        grid = np.asarray(values).reshape(self.tiles, self.dim, self.lanes).transpose(0, 2, 1)
        return np.ascontiguousarray(grid.reshape(-1, self.dim))

    def unpack(self, values: np.ndarray) -> np.ndarray:
        """(M,) -> (N, d)."""
        return self.rows(values)[: self.count]

    def unpack_scalar(self, values: np.ndarray) -> np.ndarray:
        """(tiles * lanes,) -> (N,)."""
        return np.asarray(values)[: self.count].copy()

    def pack(self, values: np.ndarray) -> np.ndarray:
        """(N, d) -> (M,), padding repeats the first samples."""
        rows = np.asarray(values)[np.arange(self.tiles * self.lanes) % self.count]
        grid = rows.reshape(self.tiles, self.lanes, self.dim).transpose(0, 2, 1)
        packed = aligned_empty(grid.size, self.z.dtype)
        packed.reshape(grid.shape)[:] = grid
        return packed


def pack_samples(points, law, dtype, lanes: int) -> Samples:
    """Pack points (N, d); ``law`` gives log density and score, None leaves them zero.

    Raises
    ------
    OptionError
        When points have the wrong shape or are not finite.
    """
    points = np.asarray(points, dtype=float)
    dim = points.shape[1] if points.ndim == 2 else 0
    if points.ndim != 2 or len(points) < 1 or (law is not None and dim != law.dim):
        expected = f"(N, {law.dim})" if law is not None else "(N, d)"
        raise OptionError("points", f"shape {points.shape}", f"shape {expected} with N >= 1")
    if not np.all(np.isfinite(points)):
        bad = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise OptionError("points", f"{points[bad]} as sample {bad}", "finite numbers")
    count = len(points)
    tiles = -(-count // lanes)
    total = tiles * lanes
    weight, weights = aligned_empty(total, dtype), aligned_empty(total * dim, dtype)
    weight[:count], weight[count:] = 1.0 / count, 0.0
    weights.reshape(tiles, dim, lanes)[:] = weight.reshape(tiles, 1, lanes)
    empty = np.zeros(0, dtype)
    samples = Samples(count, dim, tiles, lanes, empty, empty, empty, weight, weights)
    samples.z = samples.pack(points)
    samples.log_density, samples.score = aligned_empty(total, dtype), np.zeros(weights.size, dtype)
    samples.log_density[:] = 0.0
    if law is not None:
        log_density = np.asarray(law.log_density(points))
        samples.log_density[:] = log_density[np.arange(total) % count]
        samples.score = samples.pack(law.score(points))
    return samples
