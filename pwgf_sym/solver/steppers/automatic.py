"""The method that chooses: explicit, stabilized, or implicit, as stiff as the flow is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import OptionError
from ..implicit import check_implicit, check_jacobian
from .chebyshev import Chebyshev
from .pairs import RungeKutta
from .protocol import Step, Stepper
from .rosenbrock import Rosenbrock
from .tableaus import TABLEAUS

if TYPE_CHECKING:
    from ..right_side import RightSide, Stage
    from .protocol import Right

__all__ = ["Automatic"]

# The pair of order 3(2) is stable on the negative axis up to 2.51.  Long before, the noise of new
# samples in the fastest directions is damped by the stabilized method alone: on a double well the
# pair at its limit ended with four times the error.  After so many such steps the flow is stiff.
# The pair of order 5(4), for tolerances at which there is no such noise, is stable up to 3.3.
_LIMITS, _STIFF_STEPS = {"rk23": 1.0, "rk45": 2.5}, 2
# Below this product of step and rate, for so many steps, the explicit pair comes back.
_SOFT, _SOFT_STEPS = 0.4, 8
# A Rosenbrock step costs about as much as seven stages of the stabilized method, and is longer: on
# a quadratic of condition 1e4 and in a deep well half as many reach the end.  After so many steps
# with more stages than this it takes over, after so many with less than _FEW it hands back.
_MANY, _MANY_STEPS = 6, 3
_FEW, _FEW_STEPS = 4, 8
# Below this tolerance the explicit pair is that of order 5(4).
_SMALL = 1e-5


class Automatic(Stepper):
    """Explicit steps of order 3(2), or 5(4) for small tolerances; where the flow is stiff Chebyshev
    steps of order 2, and Rosenbrock steps where these would take many stages and a run can make
    their matrix.

    Parameters
    ----------
    tol : float, optional
        The tolerance of the run.

    Attributes
    ----------
    switches : list of (int, str, str)
        Accepted steps before each change, the method from then on, and why.
    """

    name, order, controlled = "auto", 2, True

    def __init__(self, tol: float | None = None) -> None:
        explicit = "rk45" if tol is not None and tol < _SMALL else "rk23"
        self.explicit, self.stabilized = RungeKutta(TABLEAUS[explicit]), Chebyshev()
        self.implicit: Rosenbrock | None = None
        self._use(self.explicit)
        self.switches: list[tuple[int, str, str]] = []
        self._steps, self._signs = 0, 0
        self._last: Stepper | None = None
        self._returns = 0

    def fresh(self, tol: float | None = None) -> Automatic:
        return Automatic(tol)

    def begins(self, right: RightSide) -> None:
        """Find out whether there may be implicit steps; the Jacobian waits until they are due."""
        try:
            check_implicit(right.options)
        except OptionError:
            return
        self.implicit = Rosenbrock()

    def restarted(self, right: RightSide, tol: float | None = None) -> Automatic:
        """It goes on with its choice, and looks anew how stiff the flow is."""
        self.stabilized.restarted(right, tol)
        self._last = None
        return self

    @property
    def chosen(self) -> str:
        return self.method.name

    def _use(self, method: Stepper) -> None:
        self.method, self.error_order = method, method.error_order

    def allowed(self, right: RightSide, t: float, stage: Stage, step: float) -> float:
        """Look how stiff the flow is for such a step, and choose."""
        reach = self.stabilized.allowed(right, t, stage, step)
        asked, patience, why = self._asked(step)
        self._signs = self._signs + 1 if asked is self._last else 1
        self._last = asked
        if asked is not None and self._signs >= patience and self._can(asked, right):
            self._returns += asked is self.explicit
            self._use(asked)
            self._last = None
            why = f"{why}: step times rate is {step * self.stabilized.rate:.2g}"
            self.switches.append((self._steps, asked.name, why))
        return step if self.method is self.implicit else reach

    def _asked(self, step: float) -> tuple[Stepper | None, int, str]:
        """The method that such a step would be better with, if any, after how many, and why."""
        product, stages = step * self.stabilized.rate, self.stabilized.needed(step)
        if self.method is self.explicit and product > _LIMITS[self.explicit.name]:
            # What was left since its steps were short is tried again later and later, but for the
            # noise that it damps.
            noisy = self.explicit.name == "rk23"
            return self.stabilized, _STIFF_STEPS << (0 if noisy else self._returns), "stiff"
        if self.method is self.stabilized and product < _SOFT:
            return self.explicit, _SOFT_STEPS, "no longer stiff"
        if self.method is self.stabilized and self.implicit is not None and stages > _MANY:
            return self.implicit, _MANY_STEPS, "very stiff"
        if self.method is self.implicit and stages < _FEW:
            return self.stabilized, _FEW_STEPS, "less stiff"
        return None, 0, ""

    def _can(self, asked: Stepper, right: RightSide) -> bool:
        """Whether a method can be used: the implicit one needs the velocity's Jacobian."""
        if asked is not self.implicit:
            return True
        try:
            check_jacobian(right.program)
        except OptionError:
            self.implicit = None
        return self.implicit is not None

    def step(self, right: Right, t: float, stage: Stage, step: float) -> Step:
        return self.method.step(right, t, stage, step)

    def accepted(self, step: Step) -> None:
        self._steps += 1
        self.stabilized.accepted(step)

    def rejected(self) -> None:
        self.stabilized.rejected()
