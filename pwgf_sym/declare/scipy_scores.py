"""Derivatives of the log densities of SciPy's distributions, at place 0 and scale 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SCORES", "score_by_differences"]

# Central differences of order 8: shifts and weights (B. Fornberg, Math. Comp. 51 (1988) 699-706).
_SHIFTS = np.array([-4, -3, -2, -1, 1, 2, 3, 4])
_WEIGHTS = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
# The largest step in spreads and in distances to the ends of the support, and how often it is
# halved while two steps disagree by more than this part.
_STEP, _REACH, _HALVINGS, _AGREE = 0.02, 1 / 40, 14, 1e-11


def _of_skew(y: Any, a: float) -> Any:
    from scipy.special import log_ndtr

    return -y + a * np.exp(-((a * y) ** 2) / 2 - log_ndtr(a * y)) / np.sqrt(2 * np.pi)


#: Name of the distribution -> function of (y, shapes).
SCORES: dict[str, Callable[..., Any]] = {
    "norm": lambda y: -y,
    "truncnorm": lambda y, a, b: -y,
    "halfnorm": lambda y: -y,
    "skewnorm": _of_skew,
    "t": lambda y, df: -(df + 1) * y / (df + y**2),
    "logistic": lambda y: -np.tanh(y / 2),
    "hypsecant": lambda y: -np.tanh(y),
    "laplace": lambda y: -np.sign(y),
    "uniform": lambda y: np.zeros_like(y),
    "expon": lambda y: -np.ones_like(y),
    "gamma": lambda y, a: (a - 1) / y - 1,
    "chi2": lambda y, df: (df / 2 - 1) / y - 0.5,
    "erlang": lambda y, a: (a - 1) / y - 1,
    "invgamma": lambda y, a: -(a + 1) / y + 1 / y**2,
    "beta": lambda y, a, b: (a - 1) / y - (b - 1) / (1 - y),
    "semicircular": lambda y: -y / (1 - y**2),
    "lognorm": lambda y, s: -(1 + np.log(y) / s**2) / y,
    "weibull_min": lambda y, c: (c - 1) / y - c * y ** (c - 1),
    "rayleigh": lambda y: 1 / y - y,
    "maxwell": lambda y: 2 / y - y,
    "pareto": lambda y, b: -(b + 1) / y,
    "gumbel_r": lambda y: np.exp(-y) - 1,
    "gumbel_l": lambda y: 1 - np.exp(y),
}


def score_by_differences(
    logs: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    y: NDArray[np.float64],
    ends: NDArray[np.float64],
    spread: float,
) -> NDArray[np.float64]:
    """Slopes of a log density, by differences whose step is halved while they change.

    Parameters
    ----------
    logs : callable
        (n,) places -> log densities.
    y : (n,) array
        Places.
    ends : (2,) array
        Ends of the support.
    spread : float
        A unit of length.

    Returns
    -------
    (n,) array
        Of two steps that disagree the slope that disagrees least.
    """
    room = np.minimum(y - ends[0], ends[1] - y)
    step = np.minimum(_STEP * spread, _REACH * room)

    def slope(rows: NDArray[np.intp], h: NDArray[np.float64]) -> NDArray[np.float64]:
        places = y[rows, None] + h[:, None] * _SHIFTS
        values = logs(places.ravel()).reshape(places.shape)
        return np.asarray(values @ _WEIGHTS / h)

    left = np.flatnonzero(step > 0)
    found, gap = np.full(len(y), np.nan), np.full(len(y), np.inf)
    before = slope(left, step[left])
    for _ in range(_HALVINGS):
        step[left] /= 2
        now = slope(left, step[left])
        change = np.abs(now - before)
        better = change < gap[left]
        found[left[better]], gap[left[better]] = now[better], change[better]
        more = ~(change <= _AGREE * (np.abs(now) + 1 / spread))
        left, before = left[more], now[more]
        if not left.size:
            break
    return found
