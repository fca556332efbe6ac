"""The gap u - w between the velocity of a computed path and that of the flow, measured afresh.

Its square is dominated by few samples far out: of 1,024 samples of a double well the outermost
one carries most of it.  So the points are half of the initial law and half of a wider one, each
weighted with lambda(z)/q(z) for their common density q (balance heuristic: E. Veach and
L. J. Guibas, SIGGRAPH 1995), where the law has tails and the velocity at a point needs nothing of
the other points.  Independently scrambled Sobol points give the error of every mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .sampling import draw, draw_with_tails, has_tails, seed_for
from .vectors import as_double

if TYPE_CHECKING:
    from ..derive.one_sided import OneSidedSum
    from .path import Curve
    from .protocols import Program, Samples

__all__ = ["Gaps", "Points", "joined", "measure", "points_of"]

# Independent sets of points, and points a set to begin with and for choosing time steps.
_SETS, _FIRST, _COARSE = 8, 256, 256
# Rates that a local contraction is tried with.
_RATES = 25
# So many pairs of a point cost what the map does at it.
_PAIRS = 512
# A step is halved while that changes an integral by more than this part of the mean step's.
_QUADRATURE, _HALVINGS = 0.02, 6
_GAUSS = 0.5 - 0.5 * np.sqrt(0.6)


@dataclass(frozen=True)
class Points:
    """Packed points of the initial law, with a weight each.

    Attributes
    ----------
    samples : Samples
    places : (n, d) array
        The points.
    weights : (n,) array
        Means over the law are sums with these weights.
    """

    samples: Samples
    places: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Gaps:
    """Means of the gap g = u - w over sets of points, at Gauss points in time.

    Attributes
    ----------
    times, steps : (K,) arrays
        Nodes and weights of the integral over time.
    square, size : (R, K) arrays
        E|g|^2 and E|g|, one row a set of points.
    parts : (R, K, d) array
        E|g_i|.
    own : (R, K, D) array
        E g_k^2 in the D directions in which the potential is a sum; D = 0 where there are none.
    damped : (R, K, B, A) array
        E g_k^2/(2 (m_k + a)) at the pushed points, or with c_k for m_k where g_k is small, for the
        rates a, in the B of them whose one-sided modulus m_k is not the same everywhere.
    rates : (B, A) array
        a.
    start_square, start_size : (R,) arrays
        E|T(z) - z|^2 and E|T(z) - z| at the first time.
    start_parts : (R, d) array
    start_own : (R, D) array
        E|T(z) - z|^2 in these directions.
    start_kl : (R,) array
        KL of the map's law at the first time from the initial law.
    time_error : float
        Change of the integral of E|g|^2 or of its root by the last halving of the steps, as a part
        of it; the larger of the two.
    points : int
        Number of all points.
    largest : float
        Part of the integral of E|g|^2 that one point brings, the largest of all.
    """

    times: np.ndarray
    steps: np.ndarray
    square: np.ndarray
    size: np.ndarray
    parts: np.ndarray
    own: np.ndarray
    damped: np.ndarray
    rates: np.ndarray
    start_square: np.ndarray
    start_size: np.ndarray
    start_parts: np.ndarray
    start_own: np.ndarray
    start_kl: np.ndarray
    time_error: float
    points: int
    largest: float

    def standard_error(self) -> float:
        """Of the integral of the mean square gap, as a part of it.

        What a velocity that is a mean over points errs by is common to all sets and not in it; on
        average it makes the gap larger.  Where few points bring most of the integral, more that are
        as rare were missed, and sets agree by chance: ten times the largest part is an error, too.
        (In 15 dimensions sets of 256 points agreed to 2 % on half of the gap: of 65,536 points 100
        brought four fifths of its square.)
        """
        whole = self.square @ self.steps
        mean = whole.mean()
        error = whole.std(ddof=1) / np.sqrt(len(whole))
        return max(float(error / mean), 10 * self.largest) if mean > 0 else 0.0


def joined(gaps: Sequence[Gaps]) -> Gaps:
    """The gaps of paths that follow each other, as those of one."""
    if len(gaps) == 1:
        return gaps[0]
    whole = [float((g.square @ g.steps).mean()) for g in gaps]
    total = sum(whole)
    parts = [w / total for w in whole] if 0 < total < np.inf else [1.0] * len(gaps)
    along = {"times": 0, "steps": 0, "square": 1, "size": 1, "parts": 1, "own": 1, "damped": 1}
    return replace(
        gaps[0],
        **{name: np.concatenate([getattr(g, name) for g in gaps], k) for name, k in along.items()},
        # The root of E|g|^2 is no sum over pieces: the largest change of one is taken for it.
        time_error=max(g.time_error for g in gaps),
        points=sum(g.points for g in gaps),
        largest=max(part * g.largest for part, g in zip(parts, gaps, strict=True)),
    )


def points_of(
    program: Program, count: int, seed: int, purpose: str = "bound", wide: bool = True
) -> Points:
    """So many fresh points of the initial law, half of them from a wider one where that helps."""
    law, seed = program.problem.initial, seed_for(seed, purpose)
    if not (wide and program.separable and has_tails(law)):
        places = draw(law, count, seed=seed)
        return Points(program.samples(places), places, np.full(count, 1.0 / count))
    places, weights = draw_with_tails(law, count, 2, sampling="sobol", seed=seed)
    return Points(program.samples(places), places, weights)


def measure(
    path: Curve,
    program: Program,
    times: Sequence[float],
    moduli: OneSidedSum | None = None,
    *,
    seed: int,
    accuracy: float,
    evaluations: int,
) -> Gaps:
    """Measure the gap of a path up to the last of some times.

    Parameters
    ----------
    path
        With breakpoints ``path.t``, ``path(t)`` -> theta and ``path.rate(t)`` -> d theta/dt.
    program : Program
    times : sequence of float
        No step of the integral reaches across any of them.
    moduli : OneSidedSum, optional
        Of the energy's potential.
    seed : int
    accuracy : float
        Points are added until the standard error of the integral of E|g|^2 is at most this part.
    evaluations : int
        Limit of points times nodes; at least one round is made.  Sums over pairs count, too.

    Returns
    -------
    Gaps
    """
    nodes, steps, time_error = _time_nodes(path, program, times, seed)
    # A velocity that is a mean over all points has an error of its own.
    alone = program.separable or program.sums_pairs
    count, spent, turn = _FIRST if alone else 8 * _FIRST, 0.0, 0
    while True:
        found = _means(path, program, nodes, steps, count, seed, turn, time_error, moduli)
        spent += _work(program, count) * nodes.size
        error = found.standard_error()
        growth = min(max((error / accuracy) ** 2, 2.0), 16.0)
        larger = 1 << int(np.ceil(np.log2(count * growth)))
        room = spent + _work(program, larger) * nodes.size <= evaluations
        if not error > accuracy or not room:
            return found
        count, turn = larger, turn + 1


def _work(program: Program, count: int) -> float:
    """Points of all sets, times what sums over all pairs of them cost beside a map."""
    points = _SETS * count
    return points * (1 + points / _PAIRS if program.sums_pairs else 1)


def _means(
    path: Curve,
    program: Program,
    nodes: np.ndarray,
    steps: np.ndarray,
    count: int,
    seed: int,
    turn: int,
    time_error: float,
    moduli: OneSidedSum | None,
) -> Gaps:
    seeds = [seed_for(seed, "bound", turn * _SETS + k) for k in range(_SETS)]
    sets = [points_of(program, count, s) for s in seeds]
    starts = np.stack([_start(path, program, points, moduli) for points in sets])
    # One call for all sets: where a velocity needs the other points, it has more of them.
    places = np.concatenate([points.places for points in sets])
    together = Points(program.samples(places), places, np.zeros(0))
    rates = _rates(moduli)
    own = 0 if moduli is None else program.dim
    rows = np.empty((_SETS, len(nodes), 2 + program.dim + own + rates.size))
    weights = np.concatenate([points.weights for points in sets]) / _SETS
    parts = np.zeros(len(places))
    for k, s in enumerate(nodes):
        gap, x = _gap_and_places(path, program, together, s)
        squares = _along_directions(gap, moduli, rates, x)
        with np.errstate(all="ignore"):
            parts += steps[k] * weights * np.sum(gap**2, axis=1)
        split = zip(np.split(gap, _SETS), np.split(squares, _SETS), sets, strict=True)
        rows[:, k] = [_row(g, points, more) for g, more, points in split]
    first, last = 2 + program.dim, 2 + program.dim + own
    return Gaps(
        nodes,
        steps,
        *(rows[..., 0], rows[..., 1], rows[..., 2:first], rows[..., first:last]),
        *(rows[..., last:].reshape(*rows.shape[:2], *rates.shape), rates),
        *(starts[:, 0], starts[:, 1], starts[:, 2:first], starts[:, first:last], starts[:, -1]),
        time_error,
        _SETS * count,
        _largest(parts),
    )


def _largest(parts: np.ndarray) -> float:
    """The largest part of a sum; 0 where there is none."""
    total = parts.sum()
    return float(parts.max() / total) if np.isfinite(total) and total > 0 else 0.0


def _rates(moduli: OneSidedSum | None) -> np.ndarray:
    """Rates a above the largest -m of every bent direction, from a little to far above it."""
    bent = () if moduli is None else moduli.bent
    least = np.array([moduli.moduli[k].least for k in bent]) if moduli else np.zeros(0)
    return np.geomspace(1e-2, 1e4, _RATES) - least[:, None]


def _along_directions(
    gap: np.ndarray, moduli: OneSidedSum | None, rates: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """g_k^2 of all directions, and g_k^2/(2 (m_k + a)) of bent ones, (n, D + B A)."""
    if moduli is None:
        return np.zeros((len(gap), 0))
    squares, places = (gap @ moduli.frame.T) ** 2, x @ moduli.frame.T
    found = [squares]
    for k, own in zip(moduli.bent, rates, strict=True):
        modulus, y = moduli.moduli[k], places[:, k, None]
        square, far, near = squares[:, k, None], modulus(y) + own, modulus.near(y) + own
        small = square <= (far * modulus.radius(y)) ** 2
        found.append(square / (2 * np.where(small, near, far)))
    return np.concatenate(found, axis=1)


def _gap(path: Curve, program: Program, points: Points, t: float) -> np.ndarray:
    """u - w at the points, (n, d)."""
    return _gap_and_places(path, program, points, t)[0]


def _gap_and_places(
    path: Curve, program: Program, points: Points, t: float
) -> tuple[np.ndarray, np.ndarray]:
    """u - w at the points, and where the map takes them; both (n, d)."""
    program, theta = program.at(t), np.asarray(path(t), float).astype(program.dtype)
    rate = np.asarray(path.rate(t), float).astype(program.dtype)
    samples = points.samples
    map = program.linearize(theta, samples, program.form.reads)
    gap = as_double(map.jvp(rate)) - as_double(program.velocity(map.state))
    return samples.unpack(gap), np.asarray(samples.unpack(as_double(map.state.x)), float)


def velocity_at(program: Program, theta: np.ndarray, points: Points) -> np.ndarray:
    """w = -grad dE/drho at the pushed points, (n, d)."""
    theta = np.asarray(theta, float).astype(program.dtype)
    state = program.push(theta, points.samples, program.form.reads)
    return points.samples.unpack(as_double(program.velocity(state)))


def _row(gap: np.ndarray, points: Points, more: np.ndarray | None = None) -> np.ndarray:
    """E|g|^2, E|g|, E|g_i|, and means of more columns; infinite where a value is no number."""
    with np.errstate(all="ignore"):
        square = np.sum(gap**2, axis=1)
        row = np.concatenate(
            [[points.weights @ square, points.weights @ np.sqrt(square)]]
            + [points.weights @ np.abs(gap)]
            + ([] if more is None else [points.weights @ more])
        )
    return np.where(np.isfinite(row), row, np.inf)


def _start(path: Curve, program: Program, points: Points, moduli: OneSidedSum | None) -> np.ndarray:
    """How far the map at the first time is from the identity, in the means of a row, and in KL."""
    law = program.problem.initial
    theta = np.asarray(path(float(path.t[0])), float).astype(program.dtype)
    known = bool(program.form.velocity_reads)
    state = program.push(theta, points.samples, "log_density" if known else "x")
    x = points.samples.unpack(as_double(state.x))
    gap = x - points.places
    own = None if moduli is None else (gap @ moduli.frame.T) ** 2
    row = _row(gap, points, own)
    rounding = 64 * np.finfo(program.dtype).eps * (np.abs(points.places).max() + law.spread)
    if np.abs(gap).max() <= rounding:
        return np.zeros(row.size + 1)
    kl = np.inf
    if known and state.log_density is not None:
        logs = points.samples.unpack_scalar(as_double(state.log_density))
        with np.errstate(all="ignore"):
            kl = float(points.weights @ (logs - law.log_density(x)))
    return np.append(row, kl if np.isfinite(kl) else np.inf)


# Nodes in time.


def _time_nodes(
    path: Curve, program: Program, times: Sequence[float], seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Three Gauss points a step; steps are halved where the gap changes within one."""
    first, last = float(path.t[0]), max(float(t) for t in times)
    inner = [float(s) for s in (*path.t, *times) if first < s < last]
    edges = np.unique([first, *inner, last]) if last > first else np.array([first])
    if edges.size < 2:
        return np.zeros(0), np.zeros(0), 0.0
    points = points_of(program, _COARSE, seed_for(seed, "time nodes"), wide=False)

    def integral(a: float, b: float) -> np.ndarray:
        """Of the root of E|g|^2 and of E|g|^2: time errors are bumps in a step, s^2 (1 - s)^2."""
        places, weights = _gauss(a, b)
        values = np.array([_row(_gap(path, program, points, s), points)[0] for s in places])
        return np.array([weights @ np.sqrt(values), weights @ values])

    cells = [(a, b, integral(a, b), _HALVINGS) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    total, span = sum(cell[2] for cell in cells), last - first
    total = np.where(total > 0, total, np.inf)
    final, change = [], 0.0
    while cells:
        a, b, whole, left = cells.pop()
        middle = a / 2 + b / 2
        halves = integral(a, middle), integral(middle, b)
        moved = np.abs(sum(halves) - whole) / total
        moved = float(moved.max()) if np.isfinite(moved).all() else 0.0
        if left and moved > _QUADRATURE * max((b - a) / span, 1e-3):
            cells += [(a, middle, halves[0], left - 1), (middle, b, halves[1], left - 1)]
        else:
            final.append((a, b))
            change += moved
    parts = [_gauss(a, b) for a, b in sorted(final)]
    nodes, steps = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
    return nodes, steps, change


def _gauss(a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the Gauss rule of three points."""
    h = b - a
    return np.array([a + _GAUSS * h, (a + b) / 2, b - _GAUSS * h]), h * np.array([5, 8, 5]) / 18
