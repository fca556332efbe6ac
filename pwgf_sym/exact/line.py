"""Fokker-Planck equations on the line, by finite volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..arguments import checked_call, integer, number
from ..errors import OptionError
from .checks import checked_times, on_grid

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    #: Lower, main and upper diagonal.
    Diagonals = tuple[Floats, Floats, Floats]

__all__ = ["bernoulli", "fokker_planck_1d"]


@checked_call
def fokker_planck_1d(
    potential: Callable[[Floats], ArrayLike],
    eps: float,
    density0: Callable[[Floats], ArrayLike],
    t: ArrayLike,
    low: float,
    high: float,
    cells: int = 4000,
    tol: float = 1e-9,
) -> tuple[Floats, Floats, Floats]:
    """Solve d rho/dt = (rho V')' + eps rho'' on [low, high] without flux through the ends.

    Space: the Scharfetter-Gummel scheme on cell centres, which keeps mass and sign and has the
    exact steady state exp(-V/eps); second order in the cell width
    (D. L. Scharfetter and H. K. Gummel, IEEE Trans. Electron Devices 16, 1969; for this equation
    J. S. Chang and G. Cooper, J. Comput. Phys. 6, 1970).
    Time: backward Euler with 2, 4, 8, ... steps, extrapolated in Romberg's scheme.  Every backward
    Euler step is positive and does not increase the L1 norm, and the extrapolation weights have
    absolute sum below 8.3: no oscillation grows, however stiff the potential.  Steps are doubled
    until the last two extrapolates differ by less than ``tol`` in L1.

    Parameters
    ----------
    potential, density0 : callable
        Vectorized functions of an array of positions.  ``density0`` has mass 1 on [low, high] up
        to 1e-4, and is normalized there.  Put jumps of it on cell faces.
    eps : float
        Diffusion, positive.
    t : float or (T,) array-like
        Strictly ascending times, at least 0.
    low, high : float
        Ends of the interval; the density should be negligible there.
    cells : int
        Number of cells, at least 8.
    tol : float
        Bound on the estimated time error in L1, of each interval between given times.

    Returns
    -------
    x : (cells,) array
        Cell centres.
    density, cdf : (cells,) or (T, cells) arrays
        Density and cumulative distribution at ``x``.

    Raises
    ------
    OptionError
        If an argument is out of range, ``potential`` or ``density0`` is not finite on the grid,
        ``density0`` has not mass 1 there, or ``tol`` cannot be reached.
    """
    low = number("low", low)
    high = number("high", high, above=low)
    eps, tol = number("eps", eps, above=0.0), number("tol", tol, above=0.0)
    cells, times = integer("cells", cells, 8), checked_times(t)
    width = (high - low) / cells
    x = low + width * (np.arange(cells, dtype=np.float64) + 0.5)
    density = on_grid("density0", density0, x)
    mass = density.sum() * width
    if density.min() < 0 or abs(mass - 1) > 1e-4:
        given = f"least value {density.min():.6g}, mass {mass:.6g} on [{low}, {high}]"
        fix = "Normalize it, or widen the interval."
        raise OptionError("density0", given, "a density of mass 1", fix)
    generator = _generator(on_grid("potential", potential, x), eps, width)
    rows: list[Floats] = []
    now, density = 0.0, density / mass
    for time in np.atleast_1d(times):
        if time > now:
            density, now = _propagate(generator, density, time - now, width, tol), time
        rows.append(density)
    density = np.stack(rows) if times.ndim else rows[0]
    return x, density, width * (np.cumsum(density, axis=-1) - density / 2)


def _generator(potential: Floats, eps: float, width: float) -> Diagonals:
    """Lower, main and upper diagonal of the Scharfetter-Gummel operator with closed ends."""
    jump = np.diff(potential) / eps
    up, down = (eps / width**2 * bernoulli(z) for z in (jump, -jump))
    main = np.zeros_like(potential)
    main[:-1] -= up
    main[1:] -= down
    return up, main, down


def bernoulli(z: Floats) -> Floats:
    """z/(exp(z) - 1), 1 at 0."""
    with np.errstate(over="ignore"):
        return np.where(z == 0, 1.0, z / np.where(z == 0, 1.0, np.expm1(z)))


def _propagate(
    generator: Diagonals, density: Floats, duration: float, width: float, tol: float
) -> Floats:
    """Density after ``duration``: backward Euler, extrapolated until the change is below tol."""
    rows: list[Floats] = []
    change = np.inf
    for level in range(1, 14):
        row = [_backward_euler(generator, density, duration, 2**level)]
        for order, coarse in enumerate(rows, start=1):
            row.append(row[-1] + (row[-1] - coarse) / (2**order - 1))
        if rows:
            change = np.abs(row[-1] - rows[-1]).sum() * width
        if change < tol:
            # Extrapolation leaves negative values of the size of its error in empty tails.
            positive = np.maximum(row[-1], 0.0)
            return positive / (positive.sum() * width)
        rows = row
    fix = "Give intermediate times, a larger tol, or a narrower interval."
    raise OptionError("tol", tol, f"at least the error reached, {change:.3g}", fix)


def _backward_euler(generator: Diagonals, density: Floats, duration: float, steps: int) -> Floats:
    """Backward Euler on times duration (k/steps)^2: short steps first, where modes are fast."""
    from scipy.linalg.lapack import dgtsv

    lower, main, upper = generator
    for k in range(1, steps + 1):
        dt = duration * (2 * k - 1) / steps**2
        *_, density, failed = dgtsv(-dt * lower, 1 - dt * main, -dt * upper, density)
        if failed:
            raise OptionError("potential", "a singular time step", "a finite potential")
    return density
