"""Explicit Runge-Kutta methods, with or without an embedded one that tells the error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..path import cubic
from .protocol import Step, Stepper
from .tableaus import Tableau

if TYPE_CHECKING:
    from ..right_side import Stage
    from .protocol import Right

__all__ = ["RungeKutta"]


class RungeKutta(Stepper):
    """The explicit method of a tableau.

    Parameters
    ----------
    tableau : Tableau
        Its coefficients.
    """

    def __init__(self, tableau: Tableau) -> None:
        self.tableau, self.name, self.order = tableau, tableau.name, tableau.order
        self.controlled = bool(tableau.error)
        self.error_order = tableau.order - 1

    def step(self, right: Right, t: float, stage: Stage, step: float) -> Step:
        method, theta = self.tableau, stage.theta
        slopes = [stage.eta]
        for row, c in zip(method.a[1:], method.c[1:], strict=True):
            slopes.append(right(t + c * step, theta + step * _combined(row, slopes)).eta)
        after = theta + step * _combined(method.b, slopes)
        end: Stage | None = None
        error: np.ndarray | None = None
        if method.error:
            end = right(t + step, after)
            error = step * _combined(method.error, [*slopes, end.eta])

        def coefficients(last: np.ndarray) -> np.ndarray:
            if not method.dense:
                return cubic(theta, after, slopes[0], last, step)
            rows = np.array([np.asarray(slope) for slope in (*slopes, last)])
            return np.array(method.dense).T @ rows

        return Step(after, end, error, coefficients, len(method.b))


def _combined(weights: tuple[float, ...], slopes: list[np.ndarray]) -> np.ndarray:
    """Sum of weights, not all of them zero, times slopes in a fixed order."""
    first, *others = [w * slope for w, slope in zip(weights, slopes, strict=True) if w]
    return sum(others, first)
