"""A stabilized method for stiff flows without linear solves of its own: Runge-Kutta-Chebyshev.

Second order; s stages are stable on the negative axis up to about .653 s^2, so that the work grows
with the root of the stiffness (B. P. Sommeijer, L. F. Shampine, J. G. Verwer, "RKC: an explicit
solver for parabolic PDEs", J. Comput. Appl. Math. 88 (1998) 315-326).  The flow of a gradient has a
real spectrum, so that this interval is what counts.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..path import cubic
from ..vectors import dot, like
from .protocol import Step, Stepper

if TYPE_CHECKING:
    from ..right_side import RightSide, Stage
    from .protocol import Right

__all__ = ["Chebyshev"]

# Damping of the stability polynomial, as the authors take it: 2/13.
_DAMPING = 2 / 13
# Part of s^2 - 1 that the interval of stability reaches.
_REACH = 0.653
# The estimate of the rate is raised by so much, is made anew after so many steps, by so many
# products, at the start by more; the difference quotient moves the samples by a part of the spread.
_SAFETY, _AGE, _ROUNDS, _FIRST_ROUNDS = 1.2, 10, 2, 8
_MOVE = 1e-4


@lru_cache(maxsize=256)
def _scheme(
    stages: int,
) -> tuple[float, list[tuple[float, float, float, float]], list[float]]:
    """Coefficients mu~_1 and, for j = 2 ... s, (mu, nu, mu~, gamma~) and c_j of s stages."""
    w0 = 1 + _DAMPING / stages**2
    value, first, second = [1.0, w0], [0.0, 1.0], [0.0, 0.0]
    for j in range(2, stages + 1):
        value.append(2 * w0 * value[-1] - value[-2])
        first.append(2 * value[j - 1] + 2 * w0 * first[-1] - first[-2])
        second.append(4 * first[j - 1] + 2 * w0 * second[-1] - second[-2])
    w1 = first[stages] / second[stages]
    b = [0.0, 0.0] + [second[j] / first[j] ** 2 for j in range(2, stages + 1)]
    b[0] = b[1] = b[2]
    c = [0.0, 0.0] + [w1 * second[j] / first[j] for j in range(2, stages + 1)]
    c[1] = c[2] / first[2]
    rows = []
    for j in range(2, stages + 1):
        mu, nu = 2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2]
        slope = 2 * b[j] * w1 / b[j - 1]
        rows.append((mu, nu, slope, -(1 - b[j - 1] * value[j - 1]) * slope))
    return b[1] * w1, rows, c


class Chebyshev(Stepper):
    """Runge-Kutta-Chebyshev of order 2, with as many stages as the step needs.

    Parameters
    ----------
    most_stages : int
        Stages of a step at most; a longer step is cut.
    """

    name, order, controlled, error_order = "rkc", 2, True, 2

    def __init__(self, most_stages: int = 100) -> None:
        self.most_stages = most_stages
        self._rate: float | None = None
        self._vector: np.ndarray | None = None
        self._age = 0

    def fresh(self, tol: float | None = None) -> Chebyshev:
        return Chebyshev(self.most_stages)

    def restarted(self, right: RightSide, tol: float | None = None) -> Chebyshev:
        self._rate, self._vector, self._age = None, None, 0
        return self

    def allowed(self, right: RightSide, t: float, stage: Stage, step: float) -> float:
        """Estimate the rate where that is due, and cut the step to the reach of most stages."""
        if self._rate is None or self._age >= _AGE:
            self._estimate(right, t, stage)
        most = _REACH * (self.most_stages**2 - 1)
        return min(step, most / self.rate) if self.rate > 0 else step

    @property
    def rate(self) -> float:
        """Estimate of the largest rate of change of the right side; 0 before there is one."""
        return self._rate or 0.0

    def _estimate(self, right: Right, t: float, stage: Stage) -> None:
        """The largest rate of change of eta by a power iteration with difference quotients."""
        v, rounds = self._vector, _ROUNDS
        if v is None:
            v, rounds = _start(stage.eta), _FIRST_ROUNDS
        move, rate, length = _MOVE * stage.spread, 0.0, stage.length(v)
        for _ in range(rounds):
            if not length > 0:
                break
            v = (move / length) * v
            v = (right(t, stage.theta + v).eta - stage.eta) * (1 / move)
            rate = length = stage.length(v)
        self._rate, self._vector, self._age = _SAFETY * rate, v, 0

    def needed(self, step: float) -> int:
        """Stages with which a step is stable."""
        return max(math.ceil(math.sqrt(1 + step * self.rate / _REACH)), 2)

    def stages(self, step: float) -> int:
        """Stages that a step takes."""
        return min(self.needed(step), self.most_stages)

    def step(self, right: Right, t: float, stage: Stage, step: float) -> Step:
        theta, slope, count = stage.theta, stage.eta, self.stages(step)
        start, rows, c = _scheme(count)
        before, y = theta, theta + (start * step) * slope
        for j, (mu, nu, by_slope, by_first) in enumerate(rows, 2):
            found = right(t + c[j - 1] * step, y).eta
            y, before = (
                (1 - mu - nu) * theta
                + mu * y
                + nu * before
                + (by_slope * step) * found
                + (by_first * step) * slope,
                y,
            )
        end = right(t + step, y)
        error = 0.8 * (theta - y) + (0.4 * step) * (slope + end.eta)

        def coefficients(last: np.ndarray) -> np.ndarray:
            return cubic(theta, y, slope, last, step)

        return Step(y, end, error, coefficients, count)

    def accepted(self, step: Step) -> None:
        self._age += 1

    def rejected(self) -> None:
        self._age = _AGE


def _start(eta: np.ndarray) -> np.ndarray:
    """The direction and a little of everything else: the fastest change may lie elsewhere."""
    size = math.sqrt(dot(eta, eta) / eta.size)
    noise = np.random.default_rng(0).standard_normal(eta.size)
    return eta + like(noise * (0.01 * size if size > 0 else 1.0), eta)
