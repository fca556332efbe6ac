"""Dense output: the parameters of the map at any time, a polynomial on every step.

On the step from t_k to t_(k+1) = t_k + h, with s = (t - t_k)/h,

    theta(t) = theta_k + h sum_j c_kj s^j,     d theta/dt = sum_j j c_kj s^(j-1).

A method of order up to 3 has the cubic with its slopes at both ends (Hermite); others bring their
own polynomial (E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I,
1993, II.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Curve", "Path", "cubic", "polynomial", "shortened"]


def cubic(
    theta: ArrayLike, after: ArrayLike, slope: ArrayLike, slope_after: ArrayLike, step: float
) -> np.ndarray:
    """Coefficients (3, p) of the cubic through two states (p,) with given slopes at them."""
    slope, slope_after = np.asarray(slope), np.asarray(slope_after)
    rise = (np.asarray(after) - np.asarray(theta)) / step
    return np.stack([slope, 3 * rise - 2 * slope - slope_after, slope + slope_after - 2 * rise])


def polynomial(coefficients: np.ndarray, theta: np.ndarray, step: float, s: float) -> np.ndarray:
    """theta + h sum_j c_j s^j, (p,), for coefficients (m, p)."""
    value = np.zeros_like(theta)
    for row in coefficients[::-1]:
        value = s * (value + row)
    return theta + step * value


def shortened(coefficients: np.ndarray, s: float) -> np.ndarray:
    """Coefficients of the first part, up to the place s, of a step."""
    # h c_j s^j = (h s) (c_j s^(j-1))
    return np.asarray(coefficients) * (s ** np.arange(len(coefficients)))[:, None]


class Curve(Protocol):
    """Parameters over time, as bounds ask for them: a :class:`Path`, or what else has these.

    Attributes
    ----------
    t : (K + 1,) array
        Times between which it is smooth.
    """

    t: np.ndarray

    def __call__(self, t: float, /) -> np.ndarray:
        """Parameters theta (p,) at a time."""
        ...

    def rate(self, t: float, /) -> np.ndarray:
        """d theta/dt, (p,), at a time."""
        ...


class Path:
    """The parameters over time.

    Attributes
    ----------
    t : (K + 1,) array
        Ends of the steps.
    theta : (K + 1, p) array
        Parameters there.
    coefficients : (K, m, p) array
        Polynomials of the steps.
    restarts : (R,) array of int
        Steps that begin with other parameters than the step before them has ended with: those of a
        fresh map.  At the time between the two the path has those of the step before.
    starts : (R, p) array
        The parameters that they begin with.
    """

    __slots__ = ("coefficients", "restarts", "starts", "t", "theta")

    def __init__(
        self,
        t: ArrayLike,
        theta: ArrayLike,
        coefficients: ArrayLike,
        restarts: ArrayLike = (),
        starts: ArrayLike | None = None,
    ) -> None:
        self.t, self.theta = np.asarray(t, float), np.asarray(theta, float)
        self.coefficients = np.asarray(coefficients, float)
        self.restarts = np.asarray(restarts, np.int64)
        none = np.empty((0, self.theta.shape[1]))
        self.starts = none if starts is None else np.asarray(starts, float)

    @classmethod
    def of_steps(
        cls,
        starts: list[tuple[float, np.ndarray]],
        steps: list[np.ndarray],
        restarts: Sequence[tuple[int, np.ndarray]] = (),
    ) -> Path | None:
        """The path of a run: (t, theta) at the ends, coefficients of the steps, fresh maps.

        None where there is no start.  An interruption may come between an end and its step.
        """
        if not starts:
            return None
        steps = steps[: len(starts) - 1]
        t, theta = zip(*starts[: len(steps) + 1], strict=True)
        size = theta[0].size
        degree = max((len(step) for step in steps), default=1)
        coefficients = np.zeros((len(steps), degree, size))
        for row, step in zip(coefficients, steps, strict=True):
            row[: len(step)] = step
        found = [(k, theta) for k, theta in restarts if k < len(steps)]
        fresh = np.array([theta for _, theta in found]).reshape(len(found), size)
        return cls(t, np.array(theta), coefficients, [k for k, _ in found], fresh)

    def arrays(self) -> dict[str, np.ndarray]:
        """By the names of the constructor's arguments; those of restarts where there are any."""
        names = self.__slots__ if self.restarts.size else ("coefficients", "t", "theta")
        return {name: getattr(self, name) for name in names}

    def covers(self, t: float) -> bool:
        """Whether a time lies between the first and the last."""
        return bool(self.t[0] <= t <= self.t[-1])

    def __call__(self, t: float) -> np.ndarray:
        """Parameters (p,) at a time within the path."""
        k, s, step = self._place(t)
        if s == 0 or step == 0:
            return self._start(k).copy()
        if s == 1:
            return self.theta[k + 1].copy()
        return polynomial(self.coefficients[k], self._start(k), step, s)

    def _start(self, k: int) -> np.ndarray:
        """Parameters at the start of a step."""
        fresh = np.flatnonzero(self.restarts == k)
        start: np.ndarray = self.starts[fresh[0]] if fresh.size else self.theta[k]
        return start

    def rate(self, t: float) -> np.ndarray:
        """d theta/dt, (p,), at a time within the path; at an end of two steps that of the first."""
        k, s, step = self._place(t)
        value = np.zeros(self.theta.shape[1])
        if step == 0:
            return value
        coefficients = self.coefficients[k]
        for j in range(len(coefficients), 0, -1):
            value = s * value + j * coefficients[j - 1]
        return value

    def _place(self, t: float) -> tuple[int, float, float]:
        """Step, place in it from 0 to 1, and its length."""
        last = len(self.t) - 2
        if last < 0:
            return 0, 0.0, 0.0
        k = min(max(int(np.searchsorted(self.t, t)) - 1, 0), last)
        step = float(self.t[k + 1] - self.t[k])
        return k, (float(t) - float(self.t[k])) / step, step

    def until(self, t: float) -> Path:
        """The path up to a time within it."""
        k, s, step = self._place(t)
        if step == 0 or t >= self.t[-1]:
            return self
        cut = self.coefficients[: k + 1].copy()
        cut[k] = shortened(cut[k], s)
        theta = np.concatenate([self.theta[: k + 1], self(t)[None]])
        known = self.restarts <= k
        fresh = self.restarts[known], self.starts[known]
        return Path(np.append(self.t[: k + 1], t), theta, cut, *fresh)

    def pieces(self) -> list[Path]:
        """The path between restarts, one without any for each map."""
        edges = [0, *map(int, self.restarts), len(self.coefficients)]
        found = []
        for first, last in zip(edges[:-1], edges[1:], strict=True):
            theta = self.theta[first : last + 1].copy()
            theta[0] = self._start(first)
            found.append(Path(self.t[first : last + 1], theta, self.coefficients[first:last]))
        return found
