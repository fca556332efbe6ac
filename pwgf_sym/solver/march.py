"""Steps on a grid that is fixed in advance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import FlowError
from .bar import Bar
from .events import Watch
from .path import polynomial, shortened
from .restarts import Restarts
from .right_side import RightSide, Stage
from .solution import Row
from .steppers import Stepper, take_step
from .vectors import like

__all__ = ["FixedMarch", "energy_allowance"]

# Part of the largest |E| at the starts of the steps so far by which a step may raise the energy of
# its own samples: the energy of finitely many samples is no exact Lyapunov function of the
# projected flow.  What a step reaches itself does not count, or one that explodes would allow
# itself to.  An instability passes it within a few steps, as it grows geometrically.
_ENERGY_RISE = 1e-3


def energy_allowance(scale: float, samples: int) -> float:
    """By how much a step may raise the energy of so many samples; the noise of these counts."""
    return (_ENERGY_RISE + 1 / samples) * scale


class FixedMarch:
    """A run whose steps are given.

    Parameters
    ----------
    right : RightSide
        The right side.
    stepper : Stepper
        The method.
    times, stored : (K + 1,) arrays
        Ends of the steps, and whether there is a row.
    watch : Watch
        The events.
    """

    def __init__(
        self,
        right: RightSide,
        stepper: Stepper,
        times: np.ndarray,
        stored: np.ndarray,
        watch: Watch,
    ) -> None:
        self.right, self.stepper = right, stepper
        self.times, self.stored, self.watch = times, stored, watch
        self.options, self.record, self.scale = right.options, right.record, 0.0
        self.dense = self.options.dense_output
        self.restarts = Restarts(right, float(times[-1]))
        self.progress = len(times) - 1, "step"

    def rows(self, theta: np.ndarray, bar: Bar) -> Iterator[Row]:
        """Step from the first time to the last and yield a row at each stored one."""
        right, times, record = self.right, self.times, self.record
        right.time = float(times[0])
        stage = right(times[0], like(theta, right.samples.weights))
        record.stepped(right.time, 0.0, stage.energy, stage.linear.rate)
        if self.dense:
            record.path_begins(right.time, stage.theta)
        ended = self.watch.begins(right.time, stage.theta, right)
        if self.stored[0] or ended:
            yield right.row(times[0], stage)
        if ended:
            return
        for step, (t, t_next) in enumerate(zip(times[:-1], times[1:], strict=True)):
            right.step, right.time = step, float(t)
            after, stage = self.advance(float(t), float(t_next), stage)
            record.stepped(after, after - t, stage.energy, stage.linear.rate, **self.how())
            bar.update(after, stage.energy, stage.linear.residual)
            ended = self.watch.ended is not None
            if self.stored[step + 1] or ended:
                yield right.row(after, stage)
            if ended:
                return

    def how(self) -> dict[str, Any]:
        """What the history holds of a step beside its end."""
        right = self.right
        return {"samples": right.samples.count, "shift": right.shift}

    def advance(self, t: float, t_next: float, stage: Stage) -> tuple[float, Stage]:
        """One time step; returns its end and the stage there."""
        right, before = self.right, stage.energy
        self.scale = max(self.scale, abs(before))
        taken = take_step(self.stepper, right, t, stage, t_next - t)
        if right.renews:
            # The energy is compared on equal samples, where the sampling noise cancels.
            after = right.energy(t_next, taken.theta)
            right.draw(right.step + 1)
            new = right(t_next, taken.theta)
        else:
            new = taken.stage or right(t_next, taken.theta)
            after = new.energy
        self.check_energy(before, after)
        ended = self.watch.passed(t, t_next, stage.theta, taken, new.eta, right)
        if not self.dense and ended is None:
            return t_next, new
        coefficients = np.asarray(taken.coefficients(new.eta))
        if ended is not None:
            s, length = (ended - t) / (t_next - t), t_next - t
            theta = polynomial(coefficients, np.asarray(stage.theta), length, s)
            coefficients, t_next = shortened(coefficients, s), ended
            new = right(t_next, like(theta, right.samples.weights))
        if self.dense:
            self.record.path_steps(t_next, new.theta, coefficients)
        return t_next, new

    def statistics(self) -> dict[str, Any]:
        """What the run chose, and why: nothing."""
        return {"changes": []}

    def check_energy(self, before: float, after: float) -> None:
        """Stop when a step has raised the energy of its samples."""
        allowed = energy_allowance(self.scale, self.right.samples.count)
        if self.right.may_rise or not self.options.steps.energy_check:
            return
        if after <= before + allowed:
            return
        raise FlowError(
            f"energy {before:.6g} before the step and {after:.6g} after",
            f"a rise of at most {allowed:.3g}",
            "Use a smaller dt, more samples or a larger shift, or energy_check=False to go on.",
            step=self.right.step,
            time=self.right.time,
        )
