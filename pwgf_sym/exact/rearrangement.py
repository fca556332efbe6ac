"""The exact Lagrangian map of a Fokker-Planck equation on the line, from its distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..arguments import checked_call, integer, real_array
from ..errors import OptionError
from .checks import checked_times
from .line import fokker_planck_1d

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.interpolate import BSpline

    Floats = NDArray[np.float64]

__all__ = ["Rearrangement", "rearrangement_1d"]

# Masses of tails below this are not resolved; quantiles go on linearly, as those of a Gaussian do.
_SMALLEST_TAIL = 1e-10


class Rearrangement:
    """The map x -> F_t^-1(F_0(x)) at given times; call it with points.

    Attributes
    ----------
    t : (T,) array
        Times.
    variance : (T,) array
        Variance of the law at the times.
    error : (T,) array
        Root mean square, over the initial law, of what the extrapolation in the number of cells
        adds to the map of the finer grid: an estimate of its error, above that of the map.
    """

    def __init__(self, times: Floats, grids: Sequence[_Grid], scalar: bool) -> None:
        self.t, self._grids, self._scalar = times, grids, scalar
        x, masses = grids[1].x, grids[1].masses
        means = masses[1:] @ x
        self.variance = np.sum(masses[1:] * (x - means[:, None]) ** 2, axis=1)
        inside = masses[0] > 1e-12
        coarse, fine = (grid(x[inside]) for grid in grids)
        change = (fine - coarse) / 3
        self.error = np.sqrt(change**2 @ masses[0, inside])

    @checked_call
    def __call__(self, points: ArrayLike) -> Floats:
        """Where points of any shape are at the times: an array (T, ...), or (...) for one time."""
        points = real_array("points", points)
        coarse, fine = (grid(points) for grid in self._grids)
        found = fine + (fine - coarse) / 3
        return found[0] if self._scalar else found


@checked_call
def rearrangement_1d(
    potential: Callable[[Floats], ArrayLike],
    eps: float,
    density0: Callable[[Floats], ArrayLike],
    t: ArrayLike,
    low: float,
    high: float,
    cells: int = 2000,
    tol: float = 1e-11,
) -> Rearrangement:
    """The exact Lagrangian map of d rho/dt = (rho V')' + eps rho'' on the line.

    On the line the velocity -V' - eps (log rho)' keeps the order of points, so that the map from
    time 0 to t is the monotone one between the two laws, F_t^-1 after F_0 (C. Villani, Topics in
    Optimal Transportation, AMS 2003, section 2.2).  The distributions are those of
    :func:`fokker_planck_1d`, read in standard normal quantiles, in which tails are nearly straight
    lines; they are continued so below a mass of 1e-10.  Maps by ``cells`` and by half as many cells
    are extrapolated to fourth order in the cell width.  For a potential that is a sum over
    the coordinates, and an initial density that is a product, it is the map of each coordinate.

    Parameters
    ----------
    potential, eps, density0, t, low, high
        As for :func:`fokker_planck_1d`.
    cells : int
        Even number of cells, at least 16.
    tol : float
        Time error of the densities in L1.

    Returns
    -------
    Rearrangement
        Call it with an array of points.

    Raises
    ------
    OptionError
        As :func:`fokker_planck_1d`, or if ``cells`` is odd.
    """
    cells, times = integer("cells", cells, 16), checked_times(t)
    if cells % 2:
        raise OptionError("cells", cells, "an even number: the coarser run has half of it")
    found = np.atleast_1d(times)
    wanted = found if found[0] == 0 else np.append(0.0, found)
    grids = []
    for count in (cells // 2, cells):
        x, density, _ = fokker_planck_1d(
            potential, eps, density0, wanted, low, high, cells=count, tol=tol
        )
        rows = density if found[0] else np.concatenate([density[:1], density])
        grids.append(_Grid(x, rows * (x[1] - x[0])))
    return Rearrangement(found, grids, times.ndim == 0)


class _Grid:
    """The map by one grid: masses of the cells at time 0 and at the times."""

    def __init__(self, x: Floats, masses: Floats) -> None:
        from scipy.interpolate import make_interp_spline

        self.x, self.masses = x, masses
        self._inverses: list[_Line] = []
        width = x[1] - x[0]
        faces = x[:-1] + width / 2
        for row, mass in enumerate(masses):
            levels, inside = _normal_quantiles(mass)
            at = faces[inside]
            if not row:
                self._level = _Line(make_interp_spline(at, levels[inside]), at)
            else:
                ends = levels[inside]
                self._inverses.append(_Line(make_interp_spline(ends, at), ends))

    def __call__(self, points: Floats) -> Floats:
        level = self._level(points)
        return np.stack([inverse(level) for inverse in self._inverses])


def _normal_quantiles(mass: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Standard normal quantiles of the distribution at inner faces, and where they are resolved."""
    from scipy.special import ndtri

    below, above = np.cumsum(mass)[:-1], np.cumsum(mass[::-1])[::-1][1:]
    smaller = np.minimum(below, above)
    inside = smaller > _SMALLEST_TAIL
    # Each tail by its own mass: one minus a small number has lost it.
    levels = ndtri(np.maximum(smaller, np.finfo(float).tiny))
    levels = np.where(below <= above, levels, -levels)
    ascending = np.append(True, np.diff(levels) > 0)
    return levels, inside & ascending


class _Line:
    """An interpolating function that goes on linearly beyond the ends of its nodes."""

    def __init__(self, spline: BSpline, nodes: Floats) -> None:
        self.spline, self.low, self.high = spline, nodes[0], nodes[-1]
        self.slopes = spline.derivative()([self.low, self.high])

    def __call__(self, x: Floats) -> Floats:
        near = np.clip(x, self.low, self.high)
        far = np.where(x < near, self.slopes[0], self.slopes[1])
        return self.spline(near) + far * (x - near)
