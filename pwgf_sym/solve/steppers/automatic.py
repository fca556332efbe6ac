"""The method that chooses: explicit until the flow is stiff, stabilized as long as it is."""

from __future__ import annotations

from .chebyshev import Chebyshev
from .pairs import RungeKutta
from .protocol import Step, Stepper
from .tableaus import TABLEAUS

__all__ = ["Automatic"]

# The pair of order 3(2) is stable on the negative axis up to 2.51.  Long before, the noise of new
# samples in the fastest directions is damped by the stabilized method alone: on a double well the
# pair at its limit ended with four times the error.  After so many such steps the flow is stiff.
_LIMIT, _STIFF_STEPS = 1.0, 2
# Below this product of step and rate, for so many steps, the explicit pair comes back.
_SOFT, _SOFT_STEPS = 0.4, 8
# Below this tolerance the explicit pair is that of order 5(4).
_SMALL = 1e-5


class Automatic(Stepper):
    """Order 3(2) explicit steps, or 5(4) for small tolerances, and Chebyshev steps of order 2 where
    the flow is stiff.

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

    def __init__(self, tol: float | None = None):
        explicit = "rk45" if tol is not None and tol < _SMALL else "rk23"
        self.explicit, self.stabilized = RungeKutta(TABLEAUS[explicit]), Chebyshev()
        self.method: Stepper = self.explicit
        self.switches: list[tuple[int, str, str]] = []
        self._steps, self._signs = 0, 0

    def fresh(self, tol: float | None = None) -> Automatic:
        return Automatic(tol)

    @property
    def chosen(self) -> str:
        return self.method.name

    @property
    def error_order(self) -> int:
        """That of the method in use."""
        return self.method.error_order

    def allowed(self, right, t: float, stage, step: float) -> float:
        """Look whether the flow is stiff for such a step, and choose."""
        step = self.stabilized.allowed(right, t, stage, step)
        product = step * self.stabilized.rate
        explicit = self.method is self.explicit
        sign = product > _LIMIT if explicit else product < _SOFT
        self._signs = self._signs + 1 if sign else 0
        if explicit and self._signs >= _STIFF_STEPS:
            self._change(self.stabilized, f"stiff: step times rate is {product:.2g}")
        elif not explicit and self._signs >= _SOFT_STEPS:
            self._change(self.explicit, f"no longer stiff: step times rate is {product:.2g}")
        return step

    def step(self, right, t: float, stage, step: float) -> Step:
        return self.method.step(right, t, stage, step)

    def accepted(self, step: Step) -> None:
        self._steps += 1
        self.stabilized.accepted(step)

    def rejected(self) -> None:
        self.stabilized.rejected()

    def _change(self, method: Stepper, why: str) -> None:
        self.method, self._signs = method, 0
        self.switches.append((self._steps, method.name, why))
