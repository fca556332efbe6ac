"""Explicit Runge-Kutta methods, with or without an embedded one that tells the error."""

from __future__ import annotations

import numpy as np

from ..path import cubic
from .protocol import Step, Stepper
from .tableaus import Tableau

__all__ = ["RungeKutta"]


class RungeKutta(Stepper):
    """The explicit method of a tableau.

    Parameters
    ----------
    tableau : Tableau
        Its coefficients.
    """

    def __init__(self, tableau: Tableau):
        self.tableau, self.name, self.order = tableau, tableau.name, tableau.order
        self.controlled = bool(tableau.error)
        self.error_order = tableau.order - 1

    def step(self, right, t: float, stage, step: float) -> Step:
        method, theta = self.tableau, stage.theta
        slopes, inner = [stage.eta], theta
        for row, c in zip(method.a[1:], method.c[1:], strict=True):
            inner = theta + step * _combined(row, slopes)
            slopes.append(right(t + c * step, inner).eta)
        after = theta + step * _combined(method.b, slopes)
        end = error = stiffness = None
        if method.error:
            end = right(t + step, after)
            error = step * _combined(method.error, [*slopes, end.eta])
            stiffness = _stiffness(step, end, inner, slopes[-1])

        def coefficients(last) -> np.ndarray:
            if not method.dense:
                return cubic(theta, after, slopes[0], last, step)
            rows = np.array([np.asarray(slope) for slope in (*slopes, last)])
            return np.array(method.dense).T @ rows

        return Step(after, end, error, coefficients, len(method.b), stiffness)


def _stiffness(step: float, end, inner, slope) -> float:
    """Step times the rate of change of the slope between the last two places it was taken at."""
    apart = end.length(end.theta - inner)
    return step * end.length(end.eta - slope) / apart if apart > 0 else 0.0


def _combined(weights: tuple[float, ...], slopes: list) -> np.ndarray:
    """Sum of weights, not all of them zero, times slopes in a fixed order."""
    first, *others = [w * slope for w, slope in zip(weights, slopes, strict=True) if w]
    return sum(others, first)
