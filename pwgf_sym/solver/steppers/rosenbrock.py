"""A linearly implicit method for stiff flows: Rosenbrock-W of order 2.

With an approximation B of the Jacobian of eta, frozen for the step, and P = (I - gamma h B)^-1,

    k1 = P eta(theta),     k2 = P (eta(theta + h k1) - 2 k1),     theta+ = theta + h (3 k1 + k2)/2,

of order 2 whatever B and gamma are (J. G. Verwer, E. J. Spee, J. G. Blom, W. Hundsdorfer, SIAM J.
Sci. Comput. 20 (1999) 1456-1480; the idea: T. Steihaug, A. Wolfbrandt, Math. Comp. 33 (1979)
521-534).  A step takes two right-hand sides however stiff the flow is.

Where eta depends on the time, too, the second one is at t + h, and P acts on eta + gamma h eta_t in
k1 and on what stands there less gamma h eta_t in k2: the method for theta and t together, whose
matrix has the column eta_t.  It takes two right-hand sides more, one of them for the estimate of
its error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..implicit import StageOperator, check_implicit, check_jacobian, entropy_factor
from ..path import cubic
from .protocol import Step, Stepper

if TYPE_CHECKING:
    from ..options import FlowOptions
    from ..right_side import RightSide, Stage
    from .protocol import Right

    Linear = Callable[[np.ndarray], np.ndarray]

__all__ = ["Rosenbrock"]

# On a mode whose rate is r times what B says, a long step's factor is 1 - 2 q + q^2/2, q = r/gamma:
# at most 1 for r <= 4 gamma.  With gamma = 1 - 1/sqrt(2) it vanishes for r = 1, but bears r of at
# most 1.17, and samples say B with errors of ten per cent and more: a larger gamma takes fewer
# steps (docs/benchmarks.md, History).
_GAMMA = 0.35
# The part of a step over which the right side's derivative by the time is taken.
_MOVE = 0.1


class Rosenbrock(Stepper):
    """Rosenbrock-W steps of order 2; the matrix of B comes from the compiler's Jacobian.

    Parameters
    ----------
    operator : callable, optional
        (stage, c) -> a function v -> (I - c B)^-1 v; by default that of a flow, which asks for the
        velocity form and dense solves on the CPU (:class:`pwgf_sym.solver.implicit.StageOperator`).
    """

    name, order, controlled, error_order = "rosenbrock", 2, True, 2

    def __init__(self, operator: Callable[[Stage, float], Linear] | None = None) -> None:
        self._operator = operator
        self._sigma: float | None = None

    def fresh(self, tol: float | None = None) -> Rosenbrock:
        return Rosenbrock(self._operator)

    def check(self, options: FlowOptions) -> None:
        if self._operator is None:
            check_implicit(options)

    def begins(self, right: RightSide) -> None:
        if self._operator is None:
            check_jacobian(right.program)

    def operator(self, stage: Stage, factor: float) -> Linear:
        """v -> (I - factor B)^-1 v."""
        if self._operator is not None:
            return self._operator(stage, factor)
        problem = stage.program.problem
        if self._sigma is None or problem.energy_moves:
            self._sigma = entropy_factor(problem, stage.t)
        return StageOperator(stage, factor, self._sigma)

    def _by_time(self, right: Right, t: float, stage: Stage, step: float) -> np.ndarray | None:
        """The derivative of the right side by the time, by a difference; None where it has none.

        The order does not ask for it; without it what is stiff would lag behind the time.
        """
        if not getattr(right, "has_time", False):
            return None
        move = _MOVE * step
        return (right(t + move, stage.theta).eta - stage.eta) * (1 / move)

    def step(self, right: Right, t: float, stage: Stage, step: float) -> Step:
        theta, slope = stage.theta, stage.eta
        solve, by_time = self.operator(stage, _GAMMA * step), self._by_time(right, t, stage, step)

        def damped(vector: np.ndarray, time: float = 0.0) -> np.ndarray:
            """P of a vector of parameters and the time."""
            return solve(vector if by_time is None else vector + (time * _GAMMA * step) * by_time)

        first = damped(slope, 1.0)
        middle = right(t + step, theta + step * first)
        second = damped(middle.eta - 2 * first, -1.0)
        after = theta + step * (1.5 * first + 0.5 * second)

        def gentle(slope: np.ndarray) -> np.ndarray:
            """The slope less what is stiff: 1 - (1 - P)^2 changes others by O(h^2) only."""
            once = damped(slope, 1.0)
            return 2 * once - damped(once, 1.0)

        def coefficients(last: np.ndarray) -> np.ndarray:
            return cubic(theta, after, gentle(slope), gentle(last), step)

        if by_time is None:
            end = right(t + step, after)
            # The error of the trapezoidal rule, as of "rkc".
            error = 0.8 * (theta - after) + (0.4 * step) * (slope + end.eta)
        else:
            # Of a force of the time alone a step is that rule: what it lacks to Simpson's.
            half = theta + (0.25 * step) * gentle(slope) + 0.25 * (after - theta)
            between = right(t + step / 2, half)
            end = right(t + step, after)
            error = after - theta - (step / 6) * (slope + 4 * between.eta + end.eta)
        # What is stiff in the slopes is not what the step errs by: once damped it is as large as
        # what it stems from, twice damped less.
        error = damped(damped(error))
        return Step(after, end, error, coefficients, 2 if by_time is None else 4)
