"""Samples in the layout of the kernels: tile by tile, component by component, sample innermost."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import addressof, c_char
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import brief, real_array
from ..errors import OptionError
from ..kernels.carried import Carried, level_of, levels

if TYPE_CHECKING:
    from .partners import Batch

__all__ = ["Samples", "State", "Units", "aligned_arrays", "aligned_empty", "check_packed"]
__all__ += ["pack_samples"]


def aligned_empty(size: int, dtype) -> np.ndarray:
    """A vector that begins at a cache line, not initialized: no load of a register crosses two."""
    dtype = np.dtype(dtype)
    room = np.empty(size + 64 // dtype.itemsize, dtype)
    # An eighth of the time that NumPy's own way to the address takes.
    start = -addressof(c_char.from_buffer(room)) % 64 // dtype.itemsize
    return room[start : start + size]


def aligned_arrays(sizes, dtype) -> list[np.ndarray]:
    """Such vectors of several sizes from one allocation, which takes longer than small kernels."""
    line = 64 // np.dtype(dtype).itemsize
    ends = list(accumulate(-(-size // line) * line for size in sizes))
    room = aligned_empty(ends[-1], dtype)
    return [room[a : a + n] for a, n in zip([0, *ends[:-1]], sizes, strict=True)]


# Round-off of a position, in units of the spread of the initial law.
_COARSEST = 1e-3


class Units:
    """The coordinates that a map sees, (z - origin)/spread, and the way back.

    A gradient flow commutes with moves and with changes of the unit of length.  What is computed
    does, too, since the map works where the initial law has mean 0 and mean variance 1.

    Log densities need no change: those of the initial law enter in the user's coordinates, and the
    volume that a map adds, log|det|, is the same in both.

    Attributes
    ----------
    origin : (d,) array
        Mean of the initial law.
    spread : float
        Root mean variance of the initial law.
    trivial : bool
        Whether nothing changes.
    """

    def __init__(self, origin: np.ndarray, spread: float):
        self.origin, self.spread = np.asarray(origin, float), float(spread)
        self.trivial = self.spread == 1.0 and not self.origin.any()

    @classmethod
    def of(cls, law) -> Units:
        """Those in which a law has mean 0 and mean variance 1."""
        return cls(law.mean, law.spread)

    def check(self, dtype) -> None:
        """Refuse a precision whose numbers near the origin are further apart than samples may be.

        Raises
        ------
        OptionError
            When round-off of a position is more than a thousandth of the spread, or the square of
            the spread, the unit of the metric, is no number of the precision.
        """
        limits = np.finfo(dtype)
        least, most = 1e6 * float(limits.tiny) ** 0.5, 1e-6 * float(limits.max) ** 0.5
        if not least <= self.spread <= most:
            given = f"{limits.dtype}, for an initial law of spread {self.spread:.2g}"
            accepted = f"spreads from {least:.2g} to {most:.2g}, whose squares it holds"
            raise OptionError(
                "dtype", given, accepted, "Write the energy in another unit of length."
            )
        far = float(np.abs(self.origin).max()) / self.spread
        if far * float(np.finfo(dtype).eps) <= _COARSEST:
            return
        given = f"{np.dtype(dtype).name}, for an initial law whose mean is {far:.2g} spreads from 0"
        accepted = f"at most {_COARSEST / float(np.finfo(dtype).eps):.2g} spreads, for round-off"
        single = np.dtype(dtype) == np.float32
        fix = "Write the energy in coordinates whose origin is near the law's mean"
        raise OptionError(
            "dtype", given, accepted, f'{fix}, or use "float64".' if single else f"{fix}."
        )

    @classmethod
    def none(cls, dim: int) -> Units:
        """The user's own."""
        return cls(np.zeros(dim), 1.0)

    def inward(self, points: np.ndarray) -> np.ndarray:
        """Points (N, d) in the map's coordinates."""
        return (points - self.origin) / self.spread

    def outward(self, points: np.ndarray) -> np.ndarray:
        """Points (N, d) of the map's coordinates in the user's."""
        return self.origin + self.spread * points

    def scale(self, length: int) -> float:
        """The map's unit of what is this power of a length."""
        return self.spread**length if length >= 0 else 1.0 / self.spread**-length

    def bring_out(self, state: State) -> State:
        """A state of the map's coordinates in the user's."""
        if not self.trivial:
            carried = state.carried
            for quantity in level_of(carried):
                if quantity.length:
                    carried[quantity.name] = carried[quantity.name] * self.scale(quantity.length)
            carried["x"] = carried["x"] + state.samples.origin
        return state

    def bring_out_piece(self, state: State, first: int, last: int) -> None:
        """The same for some tiles, in place."""
        if not self.trivial:
            for quantity in level_of(state.carried):
                if quantity.length:
                    values = state.carried[quantity.name]
                    own = state.samples.entries(first, last, values.size)
                    values[own] *= self.scale(quantity.length)
            own = state.samples.entries(first, last)
            state.x[own] += state.samples.origin[own]


@dataclass
class Samples:
    """Packed samples of the initial law, in the map's coordinates (:class:`Units`).

    Attributes
    ----------
    count, dim : int
        N and d.
    tiles, lanes : int
        Number of tiles, and samples in a tile; the last ones repeat earlier samples as padding.
    starts : dict of str to array
        What the samples carry before the map (:mod:`pwgf_sym.kernels.carried`), by the names of the
        kernels' inputs.  Vectors are (M,), M = tiles * dim * lanes.
    weight : (tiles * lanes,) array
        A sample's part of a mean, 1/N as a rule, and 0 at padding.
    weights : (M,) array
        ``weight`` repeated for every component.
    origin : (M,) array
        Origin of the map's coordinates, repeated for every sample.
    groups : tuple of Batch or None
        Where partners are those of a group: the groups.
    """

    count: int
    dim: int
    tiles: int
    lanes: int
    weight: np.ndarray
    weights: np.ndarray
    origin: np.ndarray
    starts: dict[str, np.ndarray] = field(default_factory=dict)
    scratch: dict = field(default_factory=dict, repr=False)
    groups: tuple[Batch, ...] | None = None

    @property
    def z(self) -> np.ndarray:
        """The points, (M,)."""
        return self.starts["z"]

    @property
    def log_density(self) -> np.ndarray:
        """Log densities of the initial law in the user's coordinates, (tiles * lanes,)."""
        return self.starts["log_density_0"]

    @property
    def score(self) -> np.ndarray:
        """Scores of the initial law, (M,)."""
        return self.starts["score_0"]

    @property
    def width(self) -> int:
        """M, the length of a packed vector field."""
        return self.tiles * self.dim * self.lanes

    def entries(self, first: int, last: int, width: int | None = None) -> slice:
        """Where the tiles from ``first`` to ``last`` stand in a packed array, a vector field's."""
        each = (self.width if width is None else width) // self.tiles
        return slice(first * each, last * each)

    def rows(self, values: np.ndarray) -> np.ndarray:
        """(M,) -> (tiles * lanes, d), padding included; of other arrays, their components."""
        grid = np.asarray(values).reshape(self.tiles, -1, self.lanes).transpose(0, 2, 1)
        return np.ascontiguousarray(grid.reshape(-1, grid.shape[-1]))

    def unpack(self, values: np.ndarray) -> np.ndarray:
        """(M,) -> (N, d)."""
        return self.rows(values)[: self.count]

    def unpack_scalar(self, values: np.ndarray) -> np.ndarray:
        """(tiles * lanes,) -> (N,)."""
        return np.asarray(values)[: self.count].copy()

    def pack(self, values: np.ndarray) -> np.ndarray:
        """(N, d) -> (M,), or (N,) -> (tiles * lanes,); padding repeats the first samples."""
        return _in_tiles(values, self.tiles, self.lanes, self.origin.dtype)


class State:
    """Samples, and packed values of what they carry where a map has taken them.

    On the target "cuda" they are vectors on the device, which ``numpy.asarray`` copies.

    Attributes
    ----------
    samples : Samples
        What was pushed.
    carried : dict of str to array
        What the samples carry (:mod:`pwgf_sym.kernels.carried`), by name.
    moments : tuple or None
        Moments of x, once they are computed.
    time : float or None
        Of what samples carry of the energy, where that depends on the time.
    """

    def __init__(self, samples: Samples, **carried: np.ndarray):
        self.samples, self.carried = samples, carried
        self.moments: tuple | None = None
        self.time: float | None = None

    @property
    def x(self) -> np.ndarray:
        """Positions, (M,)."""
        return self.carried["x"]

    @property
    def log_density(self) -> np.ndarray | None:
        """Log densities, (tiles * lanes,), where they are carried."""
        return self.carried.get("log_density")

    @property
    def score(self) -> np.ndarray | None:
        """Scores, (M,), where they are carried."""
        return self.carried.get("score")


def pack_samples(points, law, units: Units, dtype, lanes: int, shares=None) -> Samples:
    """Pack points (N, d) of the user's coordinates.

    ``law`` gives log density and score; None leaves them zero.  ``shares`` (N,) are the samples'
    parts of a mean, of sum 1; all are 1/N without.

    Raises
    ------
    OptionError
        When points have the wrong shape or are not finite.
    """
    # A copy: what is read of it later are these points.
    points = real_array("points", points, finite=False, accepted="points, (N, d)").copy()
    dim = units.origin.size
    if points.ndim != 2 or len(points) < 1 or points.shape[1] != dim:
        raise OptionError("points", f"shape {points.shape}", f"shape (N, {dim}) with N >= 1")
    if not np.all(np.isfinite(points)):
        bad = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise OptionError("points", f"{points[bad]} as sample {bad}", "finite numbers")
    count = len(points)
    if shares is not None:
        accepted = f"{count} parts of a mean, of sum 1"
        shares = real_array("shares", shares, accepted=accepted)
        if shares.shape != (count,):
            raise OptionError("shares", f"shape {shares.shape}", accepted)
    tiles = -(-count // lanes)
    total = tiles * lanes
    weight, weights, origin = aligned_arrays([total, total * dim, total * dim], dtype)
    weight[:count], weight[count:] = 1.0 / count if shares is None else shares, 0.0
    weights.reshape(tiles, dim, lanes)[:] = weight.reshape(tiles, 1, lanes)
    origin.reshape(tiles, dim, lanes)[:] = units.origin[:, None]
    # They know no samples, which know them: a cycle would keep the arrays of every step in memory
    # until the garbage collector comes by, which counts objects and not their bytes.
    pack = partial(_in_tiles, tiles=tiles, lanes=lanes, dtype=np.dtype(dtype))
    starts = Starts(partial(_start, law=law, units=units, points=points, pack=pack))
    return Samples(count, dim, tiles, lanes, weight, weights, origin, starts)


def check_packed(samples, dim: int, lanes: int | None = None) -> None:
    """Refuse what is no packed samples of this dimension, and of so many lanes.

    Raises
    ------
    OptionError
    """
    fix = "Pack points with program.samples(points)."
    if not isinstance(samples, Samples):
        raise OptionError("samples", brief(samples), "samples that this program has packed", fix)
    if samples.dim != dim or samples.lanes != (lanes or samples.lanes):
        given = f"samples of dimension {samples.dim} in tiles of {samples.lanes}"
        accepted = f"dimension {dim}, tiles of {lanes or samples.lanes}"
        raise OptionError("samples", given, accepted, fix)


def _in_tiles(values, tiles: int, lanes: int, dtype: np.dtype) -> np.ndarray:
    """(N, d) -> (tiles * d * lanes,), or (N,) -> (tiles * lanes,); padding repeats the first."""
    rows = np.asarray(values)
    rows = rows[np.arange(tiles * lanes) % len(rows)]
    grid = rows.reshape(tiles, lanes, -1).transpose(0, 2, 1)
    packed = aligned_empty(grid.size, dtype)
    packed.reshape(grid.shape)[:] = grid
    return packed


class Starts(dict):
    """What samples carry before the map; what no kernel reads is not computed."""

    def __init__(self, start: Callable[[Carried], np.ndarray]):
        self.start = start

    def __missing__(self, name: str) -> np.ndarray:
        quantity = next(q for q in levels()[-1] if q.start == name)
        self[name] = self.start(quantity)
        return self[name]

    def moved(self, move: Callable[[np.ndarray], Any]) -> Starts:
        """The same, each moved to where kernels run when it is first read."""
        start = self.start
        return Starts(lambda quantity: move(start(quantity)))


def _start(quantity: Carried, law, units: Units, points, pack) -> np.ndarray:
    """What samples carry before the map, in the map's coordinates; zero without a law."""
    if quantity.name == "x":
        return pack(units.inward(points))
    if law is None or not law.has_density:  # which nothing reads: check_law
        fill = 0.0 if law is None else np.nan
        return pack(np.full((len(points), units.origin.size ** len(quantity.axes)), fill))
    return pack(np.asarray(quantity.initial(law, points)) * units.scale(-quantity.length))
