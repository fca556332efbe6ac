"""Steps that choose their length, their method, their samples and their shift."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FlowError
from .bar import Bar
from .events import Watch
from .forecast import Forecast
from .march import energy_allowance
from .option_fields import settled
from .path import polynomial, shortened
from .restarts import Restarts
from .right_side import RightSide, Stage
from .samples_control import Renewal, SamplesControl
from .solution import Row
from .steppers import Step, Stepper, take_step
from .vectors import like

if TYPE_CHECKING:
    from .protocols import Vector

__all__ = ["AdaptiveMarch"]

# Part of the tolerance that the local error of a step may reach: at .2 an Ornstein-Uhlenbeck flow
# ended with up to 1.3 tol.
_SHARE = 0.1
# When such errors have come to this part of the tolerance, steps are shortened, down to this part.
_SHARE_OF_STEPS, _LEAST_SHARE = 0.3, 0.005
# Where steps follow a smaller tolerance than the run's, that of an affine map, they need not be
# more exact than this part of what the map misses anyway.
_OF_MISSED = 0.01
# PI controller: K. Gustafsson, ACM Trans. Math. Softw. 17 (1991) 533-554, in the form of
# E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 1996, IV.2.
_SAFETY, _LEAST, _MOST, _NOW, _BEFORE = 0.9, 0.2, 5.0, 0.7, 0.4
# A step that cannot be evaluated is cut by this factor.
_CUT = 0.25
# The shift is raised tenfold, up to the largest, after so many rejections in a row, and when so
# many steps have come no further than this part of what was left: the run stalls.
_REJECTIONS, _LARGEST_SHIFT = 6, 1e-3
_LOOK, _PROGRESS = 200, 0.02
# Steps shorter than this part of the span, or of the time's own spacing, are none.
_SHORTEST = 1e-13


class AdaptiveMarch:
    """A run whose steps follow a tolerance.

    Local errors are measured as distances between samples, mean |T_1(z) - T_2(z)|^2, in units of
    the spread of the density at that time: errors of parameters say little, as many parameters
    hardly move the map.

    Parameters
    ----------
    right : RightSide
        The right side.
    stepper : Stepper
        The method; it estimates its error.
    times : (K + 1,) array
        The start, and times that steps end at.
    every : bool
        Whether there is a row after every step, not at ``times`` alone.
    first : bool
        Whether there is a row at the start.
    watch : Watch
        The events.
    """

    def __init__(
        self,
        right: RightSide,
        stepper: Stepper,
        times: np.ndarray,
        every: bool,
        first: bool,
        watch: Watch,
    ) -> None:
        self.right, self.stepper, self.times = right, stepper, [float(t) for t in times]
        self.every, self.first, self.watch = every, first, watch
        self.options, self.record, self.scale = right.options, right.record, 0.0
        self.dense, self.step_tol = self.options.dense_output, settled(self.options.step_tol)
        self.progress = self.times[-1] - self.times[0], "t"
        self.samples: Renewal = SamplesControl(right, self.options, self.times)
        self.forecast, self.estimate, self.share = Forecast(right), 0.0, _SHARE
        self.before, self.rejections, self.seen = 1.0, 0, self.times[0]
        self.restarts = Restarts(right, self.times[-1])
        self.can_regularize = "shift" in self.options.chosen

    def rows(self, theta: np.ndarray, bar: Bar) -> Iterator[Row]:
        """Step to the last time and yield the rows."""
        right, record, t = self.right, self.record, self.times[0]
        right.time = t
        stage = right(t, like(theta, right.samples.weights))
        record.stepped(t, 0.0, stage.energy, stage.linear.rate)
        if self.dense:
            record.path_begins(t, stage.theta)
        ended = self.watch.begins(t, stage.theta, right)
        if self.first or ended:
            yield right.row(t, stage)
        if ended:
            return
        step = self.first_step(t, stage) if len(self.times) > 1 else 0.0
        for stop in self.times[1:]:
            while t < stop:
                self.forecast.begins(stage)
                taken, length, error = self.accepted(t, stop, stage, step)
                after = stop if stop - t <= length else t + length
                step = self.next_step(length, error, taken, step)
                start, slope = stage.theta, settled(taken.stage).eta
                zero = self.watch.passed(t, after, start, taken, slope, self.right)
                stage = self.finish(t, after, zero, start, taken, error)
                before, t = t, after if zero is None else zero
                bar.update(t, stage.energy, stage.linear.residual, t - before)
                if self.every or t == stop or zero is not None:
                    yield self.right.row(t, stage)
                if zero is not None:
                    return
                stage = self.restarted(t, stage, self.look_back(t))

    def first_step(self, t: float, stage: Stage) -> float:
        """A first step from the speed and its change (Hairer, Norsett, Wanner I, II.4)."""
        unit = self.allowed_error(stage)
        span = self.times[-1] - t
        speed = stage.length(stage.eta)
        if not speed > 0 or not unit > 0:
            return self.cut(1e-3 * span)
        trial = min(0.01 * stage.spread / speed, span)
        try:
            other = self.right(t + trial, stage.theta + trial * stage.eta)
            change = stage.length(other.eta - stage.eta) / trial
        except FlowError:
            return self.cut(0.01 * trial)
        fastest = max(speed, change) / unit
        return self.cut(min(100 * trial, (0.01 / fastest) ** (1 / (self.stepper.error_order + 1))))

    def cut(self, step: float) -> float:
        """The step, cut to what is allowed."""
        most = self.options.steps.max_step
        return step if most is None else min(step, most)

    def allowed_error(self, stage: Stage) -> float:
        """The local error that a step may have, as a distance."""
        return self.share * self.step_tol * stage.spread

    def next_share(self, spread: float) -> float:
        """The part of the tolerance for a step: less, when errors of steps have added up."""
        limit = _SHARE_OF_STEPS * self.step_tol * spread
        found = self.forecast.distance_of_steps
        if not found > limit:
            return _SHARE
        return max(_SHARE * (limit / found) ** 2, _LEAST_SHARE)

    def tolerance_of_steps(self, spread: float) -> float:
        """That of the options, or up to the run's own what the map's misses let through."""
        least, most = settled(self.options.step_tol), settled(self.options.tol)
        missed = _OF_MISSED * self.forecast.distance_of_map / spread if spread > 0 else math.nan
        return min(missed, most) if missed > least else least

    def error_of(self, taken: Step) -> float:
        """The estimate of a step's error, in units of what is allowed."""
        end = settled(taken.stage)
        size, allowed = end.length(settled(taken.error)), self.allowed_error(end)
        return size / allowed if allowed > 0 else size * math.inf if size > 0 else 0.0

    def accepted(
        self, t: float, stop: float, stage: Stage, step: float
    ) -> tuple[Step, float, float]:
        """Try until a step is accepted: what it found, its length, its error."""
        right, self.rejections = self.right, 0
        self.scale = max(self.scale, abs(stage.energy))
        while True:
            length, stage = self.fitted(t, stop, step), self.current(t, stage)
            right.step, right.time = self.record.steps, t
            failure: FlowError | None
            try:
                length = self.stepper.allowed(right, t, stage, length)
                taken = take_step(self.stepper, right, t, stage, length)
                error = self.error_of(taken)
                failure = self.risen(stage.energy, settled(taken.stage).energy)
            except FlowError as problem:
                error, failure = math.nan, problem
            if failure is None and error <= 1:
                return taken, length, error
            step = self.shorter(t, length, error if failure is None else math.nan, failure)

    def current(self, t: float, stage: Stage) -> Stage:
        """The stage where the step begins, with the shift of now."""
        if stage.shift == self.right.shift:
            return stage
        return self.right(t, stage.theta)

    def fitted(self, t: float, stop: float, step: float) -> float:
        """A step that does not leave a sliver before the next stop."""
        left = stop - t
        step = self.cut(step)
        if step >= left / 1.01:
            return left
        return left / 2 if step > left / 2 else step

    def risen(self, before: float, after: float) -> FlowError | None:
        """The error of a step that raises the energy of its samples, else None."""
        allowed = energy_allowance(self.scale, self.right.samples.count)
        if self.right.may_rise or not self.options.steps.energy_check:
            return None
        if after <= before + allowed:
            return None
        given = f"energy {before:.6g} before the step and {after:.6g} after"
        fix = "Use more samples or a larger shift, or energy_check=False to go on."
        accepted = f"a rise of at most {allowed:.3g}"
        return FlowError(given, accepted, fix, step=self.right.step, time=self.right.time)

    def shorter(self, t: float, length: float, error: float, failure: FlowError | None) -> float:
        """The length after a rejection; raises the shift, or gives up, where that does not help."""
        self.record.rejected()
        self.stepper.rejected()
        self.rejections += 1
        if self.rejections % _REJECTIONS == 0:
            self.raise_shift(t, f"{self.rejections} rejections in a row")
        power = 1 / (self.stepper.error_order + 1)
        factor = _CUT if not math.isfinite(error) else max(_LEAST, _SAFETY * error**-power)
        shortest = max(_SHORTEST * (self.times[-1] - self.times[0]), 4 * np.spacing(abs(t)))
        if factor * length > shortest:
            return factor * length
        if failure is not None:
            raise failure
        raise FlowError(
            f"steps of {length:.3g} with an error of {error:.3g} times what is allowed",
            f"steps longer than {shortest:.2g} at tol={self.step_tol:g}",
            "Use a larger tol, more samples or a larger shift.",
            step=self.right.step,
            time=t,
        )

    def next_step(self, length: float, error: float, taken: Step, planned: float) -> float:
        """The next length by the PI controller; a step that was cut does not count against it."""
        power = 1 / (self.stepper.error_order + 1)
        error = max(error, 1e-10)
        factor = _SAFETY * error ** (-_NOW * power) * self.before ** (_BEFORE * power)
        factor = min(max(factor, _LEAST), _MOST if self.rejections == 0 else 1.0)
        self.before = max(error, 1e-4)
        self.stepper.accepted(taken)
        following = length * factor
        return max(following, planned) if length < planned and not self.rejections else following

    def finish(
        self, t: float, after: float, ended: float | None, start: Vector, taken: Step, error: float
    ) -> Stage:
        """Note an accepted step, cut where an event ended the run, and draw new samples."""
        record, right, end, length = self.record, self.right, settled(taken.stage), after - t
        coefficients = np.asarray(taken.coefficients(end.eta))
        if ended is not None:
            s, after = (ended - t) / length, ended
            theta = polynomial(coefficients, np.asarray(start), length, s)
            coefficients = shortened(coefficients, s)
            end = right(after, like(theta, right.samples.weights))
        if self.dense:
            record.path_steps(after, end.theta, coefficients)
        record.stepped(
            after,
            after - t,
            end.energy,
            end.linear.rate,
            error=error * self.share * self.step_tol,
            stages=taken.stages,
            samples=right.samples.count,
            shift=right.shift,
        )
        extrapolated = self.stepper.error_order < self.stepper.order
        self.forecast.step(after - t, end, None if extrapolated else taken.error)
        self.estimate = self.forecast.distance / end.spread if end.spread > 0 else math.nan
        self.step_tol = self.tolerance_of_steps(end.spread)
        self.share = self.next_share(end.spread)
        if ended is not None:
            return end
        return self.samples.renewed(after, length, end, self.estimate)

    def look_back(self, t: float) -> bool:
        """Raise the shift when the last steps have led nowhere; whether they have not."""
        if self.record.steps % _LOOK:
            return False
        left, self.seen = self.times[-1] - self.seen, t
        stalls = self.times[-1] - t > (1 - _PROGRESS) * left
        if stalls:
            self.raise_shift(t, f"{_LOOK} steps took a part of less than {_PROGRESS:g} of the rest")
        return stalls

    def restarted(self, t: float, stage: Stage, stalls: bool) -> Stage:
        """The stage, or that of a fresh map where one is due and better."""
        why = self.restarts.due(t, stage, stalls)
        found = self.restarts.tried(t, stage, self.samples.step) if why else None
        if found is None:
            return stage
        new, defect = found
        self.right = new.right
        self.forecast.right = self.samples.right = self.right
        self.stepper = self.stepper.restarted(self.right, self.options.step_tol)
        if self.dense:
            self.record.path_restarts(new.theta)
        value = "its start, from the law reached"
        self.record.changed(t, "map", value, f"{why}, that of a fresh map {defect:.2g}")
        return new

    def raise_shift(self, t: float, why: str) -> None:
        shift = 10 * self.right.shift
        if self.can_regularize and 0 < shift <= _LARGEST_SHIFT:
            self.right.regularize(shift)
            self.record.changed(t, "shift", shift, why)

    def statistics(self) -> dict[str, Any]:
        """What the run chose, and why."""
        changes: list[dict[str, Any]] = self.record.changes
        for steps, name, why in getattr(self.stepper, "switches", ()):
            t = float(self.record.history().t[steps])
            changes = [*changes, {"t": t, "choice": "integrator", "value": name, "reason": why}]
        found: dict[str, Any] = {"changes": sorted(changes, key=lambda change: change["t"])}
        found["estimate"] = self.estimate if math.isfinite(self.estimate) else None
        return found | self.samples.found()
