"""Fokker-Planck equations in the plane, and particles that move along their velocity field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..arguments import brief, checked_call, integer, number, real_array
from ..errors import OptionError
from .checks import checked_times, on_grid
from .line import bernoulli
from .splines import CubicSpline2D

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_array

    Floats = NDArray[np.float64]
    Field = Callable[[Floats], Floats]
    Sides = list[tuple[float, float]]

__all__ = ["PlaneFlow", "fokker_planck_2d"]

# Densities below this part of the largest are round-off; their logarithms have to stay finite.
_FLOOR = 1e-280
# Stages of a step: each mixes neighbours, and cells whose densities differ by more than round-off
# must not mix.
_STAGES = 15
# Heights of V/eps above its least value, and densities, that no mass is found beyond.
_HEIGHT, _EMPTY = 80.0, 1e-20


class PlaneFlow(NamedTuple):
    """What :func:`fokker_planck_2d` found; arrays begin with an axis of times where ``t`` has one.

    Attributes
    ----------
    x0, x1 : (n0,), (n1,) arrays
        Cell centres.
    density : (n0, n1) or (T, n0, n1) array
        Density at the cell centres, on the finer grid.
    points : (N, 2) or (T, N, 2) array
        Positions of the particles, extrapolated from both grids.
    error : float or (T,) array
        Root mean square of what the extrapolation adds to the positions of the finer grid: an
        estimate of their error, above that of ``points``.
    """

    x0: Floats
    x1: Floats
    density: Floats
    points: Floats
    error: Floats | float


@checked_call
def fokker_planck_2d(
    potential: Callable[[Floats, Floats], ArrayLike],
    eps: float,
    density0: Callable[[Floats, Floats], ArrayLike],
    t: ArrayLike,
    box: ArrayLike,
    cells: int | tuple[int, int],
    points: ArrayLike | None = None,
    steps: int = 400,
) -> PlaneFlow:
    """Solve d rho/dt = div(rho grad V) + eps Laplace rho in a box without flux through its sides.

    Space: Scharfetter-Gummel fluxes between neighbouring cells (:func:`fokker_planck_1d`), which
    keep mass and the exact steady state exp(-V/eps); second order in the cell width.
    Time: the stabilized Runge-Kutta-Legendre method of order two, whose number of stages follows
    the stiffness (C. D. Meyer, D. S. Balsara, T. D. Aslam, J. Comput. Phys. 257, 2014); steps grow
    linearly from the first.  Negative densities, round-off of empty regions, are set to 0.
    Particles: x' = -grad V - eps grad log rho by the classical Runge-Kutta method of order four, in
    one step for two of the density's, with rho exp(V/eps) interpolated by bicubic splines of its
    logarithm.  All of it runs twice, the second time with half the cells and half the steps, and
    positions are extrapolated to fourth order.

    Parameters
    ----------
    potential, density0 : callable
        Vectorized functions of two arrays, the coordinates.  ``density0`` has mass 1 in the box up
        to 1e-4, and is normalized there.
    eps : float
        Diffusion, positive.
    t : float or (T,) array-like
        Strictly ascending times, at least 0.
    box : ((low0, high0), (low1, high1))
        The density should be negligible at its sides.
    cells : int or (int, int)
        Even numbers of cells along both axes, at least 16.
    points : (N, 2) array-like, optional
        Points at time 0, inside the box, that are carried along.
    steps : int
        Even number of time steps of a particle, at least 8.

    Returns
    -------
    PlaneFlow

    Raises
    ------
    OptionError
        If an argument is out of range, ``potential`` or ``density0`` is not finite on the grid,
        ``density0`` has not mass 1 there, or a point is not in the box.
    """
    eps, times = number("eps", eps, above=0.0), checked_times(t)
    sides, both = _box(box), _cells(cells)
    steps = _even("steps", steps, 8)
    starts = _inside(np.zeros((0, 2)) if points is None else points, sides)
    runs = []
    for part in (2, 1):
        grid = _Grid(potential, eps, density0, sides, [n // part for n in both])
        runs.append(grid.run(np.atleast_1d(times), steps // part, starts))
    (_, coarse), (density, fine) = runs
    change = (fine - coarse) / 3
    error = np.sqrt(np.mean(np.sum(change**2, axis=2), axis=1)) if len(starts) else 0 * times
    error, (x0, x1) = np.atleast_1d(error), grid.centers
    if times.ndim:
        return PlaneFlow(x0, x1, density, fine + change, error)
    return PlaneFlow(x0, x1, density[0], fine[0] + change[0], float(error[0]))


class _Grid:
    """The equation on one grid: the density, its operator, and the velocity of particles."""

    def __init__(
        self,
        potential: Callable[[Floats, Floats], ArrayLike],
        eps: float,
        density0: Callable[[Floats, Floats], ArrayLike],
        sides: Sides,
        cells: Sequence[int],
    ) -> None:
        self.eps, self.sides = eps, sides
        self.widths = [(high - low) / n for (low, high), n in zip(sides, cells, strict=True)]
        self.centers = [
            low + h * (np.arange(n, dtype=np.float64) + 0.5)
            for (low, _), h, n in zip(sides, self.widths, cells, strict=True)
        ]
        places = np.meshgrid(*self.centers, indexing="ij")
        heights = on_grid("potential", potential, *places) / eps
        density = on_grid("density0", density0, *places)
        mass = density.sum() * np.prod(self.widths)
        if density.min() < 0 or abs(mass - 1) > 1e-4:
            given = f"least value {density.min():.6g}, mass {mass:.6g} in the box {sides}"
            fix = "Normalize it, or widen the box."
            raise OptionError("density0", given, "a density of mass 1", fix)
        self.density, self.potential = density / mass, _cut(heights, density)
        self.operator, self.rate = _operator(self.potential, eps, self.widths)

    def run(self, times: Floats, steps: int, points: Floats) -> tuple[Floats, Floats]:
        """Densities (T, n0, n1) and positions (T, N, 2) at the times."""
        now, density = 0.0, self.density
        drift: Field | None = None
        densities: list[Floats] = []
        positions: list[Floats] = []
        graded = times[-1] * (np.arange(steps + 1) / steps) ** 2
        for time in times:
            inner = graded[(graded > now * (1 + 1e-9)) & (graded < time * (1 - 1e-9))]
            for end in np.append(inner, time) if time > now else ():
                step, now = end - now, end
                middle = self._advance(density, step / 2)
                density = self._advance(middle, step / 2)
                if len(points):
                    drift = drift or self._drift(self.density if drift is None else density)
                    drifts = drift, self._drift(middle), self._drift(density)
                    points, drift = _runge_kutta(points, step, drifts), drifts[2]
            densities.append(density)
            positions.append(points)
        return np.stack(densities), np.stack(positions)

    def _advance(self, density: Floats, duration: float) -> Floats:
        """The density after a time, by as many steps as the number of their stages asks for."""
        count = int(np.ceil(2 * duration * self.rate / (_STAGES**2 + _STAGES - 2)))
        for _ in range(count):
            density = self._step(density.ravel(), duration / count).reshape(density.shape)
        return density

    def _step(self, start: Floats, step: float) -> Floats:
        """A step of the Runge-Kutta-Legendre method of order two."""
        stages = max(3, int(np.ceil((np.sqrt(9 + 8 * step * self.rate) - 1) / 2)) | 1)
        slope = step * (self.operator @ start)
        part = 4 / (stages**2 + stages - 2)
        before, now, weights = start, start + part / 3 * slope, [1 / 3, 1 / 3]
        for j in range(2, stages + 1):
            weights.append((j * j + j - 2) / (2 * j * (j + 1)))
            mu = (2 * j - 1) / j * weights[j] / weights[j - 1]
            nu = -(j - 1) / j * weights[j] / weights[j - 2]
            new = mu * now + nu * before + (1 - mu - nu) * start
            new += mu * part * (step * (self.operator @ now) - (1 - weights[j - 1]) * slope)
            before, now = now, new
        positive = np.maximum(now, 0.0)
        return positive * (start.sum() / positive.sum())

    def _drift(self, density: Floats) -> Field:
        """The velocity -eps grad log(rho exp(V/eps)) as a function of positions (N, 2)."""
        floor = _FLOOR * density.max()
        ratio = np.log(np.maximum(density, floor)) + self.potential
        spline = CubicSpline2D(ratio, [c[0] for c in self.centers], self.widths)
        return lambda points: -self.eps * spline.gradient(points)


def _runge_kutta(points: Floats, step: float, drifts: tuple[Field, Field, Field]) -> Floats:
    """Positions after a step of the classical method; drifts at its start, middle and end."""
    first, middle, last = drifts
    a = first(points)
    b = middle(points + step / 2 * a)
    c = middle(points + step / 2 * b)
    return points + step / 6 * (a + 2 * b + 2 * c + last(points + step * c))


def _cut(potential: Floats, density: Floats) -> Floats:
    """V/eps without heights that no mass reaches: there its slope would only cost stages."""
    started = potential[density > _EMPTY * density.max()].max()
    return np.minimum(potential, max(potential.min() + _HEIGHT, started + _HEIGHT / 4))


def _operator(potential: Floats, eps: float, widths: Sequence[float]) -> tuple[csr_array, float]:
    """Sparse Scharfetter-Gummel operator with closed sides, and a bound of its spectral radius."""
    from scipy.sparse import coo_array

    number_of = np.arange(potential.size).reshape(potential.shape)
    rows: list[NDArray[np.intp]] = []
    columns: list[NDArray[np.intp]] = []
    entries: list[Floats] = []
    for axis, width in enumerate(widths):
        low = np.take(number_of, range(number_of.shape[axis] - 1), axis).ravel()
        high = np.take(number_of, range(1, number_of.shape[axis]), axis).ravel()
        jump = potential.ravel()[high] - potential.ravel()[low]
        # What leaves a cell enters its neighbour: every column has sum 0.
        for start, end, z in ((low, high, jump), (high, low, -jump)):
            rate = eps / width**2 * bernoulli(z)
            rows += [end, start]
            columns += [start, start]
            entries += [rate, -rate]
    size, place = potential.size, (np.concatenate(rows), np.concatenate(columns))
    operator = coo_array((np.concatenate(entries), place), shape=(size, size)).tocsr()
    return operator, 2 * float(-operator.diagonal().min())


def _box(box: ArrayLike) -> Sides:
    sides = real_array("box", box)
    if sides.shape != (2, 2) or np.any(sides[:, 0] >= sides[:, 1]):
        raise OptionError("box", brief(box), "((low0, high0), (low1, high1)) with low < high")
    return [(float(low), float(high)) for low, high in sides]


def _even(name: str, value: object, least: int) -> int:
    found = integer(name, value, least)
    if found % 2:
        fix = f"Write {found + 1}."
        raise OptionError(name, found, "an even number: the coarser run has half of it", fix)
    return found


def _cells(cells: object) -> list[int]:
    both = cells if isinstance(cells, tuple | list) and len(cells) == 2 else (cells, cells)
    return [_even("cells", n, 16) for n in both]


def _inside(points: ArrayLike, sides: Sides) -> Floats:
    points = real_array("points", points)
    if points.ndim != 2 or points.shape[1] != 2:
        raise OptionError("points", f"shape {points.shape}", "shape (n, 2)")
    low, high = np.transpose(sides)
    out = np.flatnonzero(np.any((points < low) | (points > high), axis=1))
    if out.size:
        given = f"the point {points[out[0]].tolist()}"
        raise OptionError("points", given, f"points in the box {sides}", "Widen the box.")
    return points
