"""The right side of d theta/dt = eta(theta) on samples, and what is measured of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..errors import LawError
from .faults import diagnosis
from .linear import LinearSolution, solve_metric
from .option_fields import settled
from .options import FlowOptions
from .sampling import draw, draw_with_tails, has_tails, seed_for
from .solution import Row
from .vectors import as_double, is_finite, norm

if TYPE_CHECKING:
    from ..declare.problem import GradientFlow
    from .history import Record
    from .protocols import Linearized, Program, Samples, State, Vector

__all__ = ["RightSide", "Stage", "drawn"]

#: One sample in so many is drawn from a wider law, where the law has one.
TAILS = 4


def drawn(
    problem: GradientFlow, options: FlowOptions, purpose: str, step: int, count: int
) -> np.ndarray:
    """Points of the initial law, (N, d), checked to be finite."""
    seed = seed_for(options.seed, purpose, step)
    points = draw(
        problem.initial, count, sampling=options.samples.sampling, seed=seed, keep=step == 0
    )
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        given = f"sample {int(np.argmin(finite))} = {points[np.argmin(finite)]}"
        raise LawError("initial", given, "finite samples", "Check the law's parameters.")
    return points


@dataclass(frozen=True)
class Stage:
    """The right side at one (t, theta).

    Attributes
    ----------
    theta : (p,) array
        Parameters.
    eta : (p,) array
        The direction.
    energy : float
        Energy of the samples.
    linear : LinearSolution
        The linear solve.
    state : State
        The pushed samples.
    field : (M,) array or None
        The target velocity w, in the velocity form.
    right : RightSide
        Where it is from.
    shift : float
        The shift of the linear solve.
    integrals : (K,) array
        The energy's integrals on the samples.
    step, time : int, float
        Where the run is, for errors.
    t : float
        The stage's own time.
    """

    theta: Vector
    eta: Vector
    energy: float
    linear: LinearSolution
    state: State
    field: Vector | None
    right: RightSide
    shift: float
    integrals: np.ndarray
    step: int
    time: float
    t: float

    @property
    def program(self) -> Program:
        """The kernels, at the stage's time."""
        return self.right.program.at(self.t)

    @property
    def samples(self) -> Samples:
        """The samples that were pushed."""
        return self.state.samples

    def linearized(self) -> Linearized:
        """The map at theta and the samples."""
        return self.right.linearized(self.theta, self.samples)

    def moved(self, vector: Vector) -> Vector:
        """J v at theta and the samples, packed (M,)."""
        return self.linearized().jvp(vector.astype(self.program.dtype))

    def length(self, vector: Vector) -> float:
        """Root mean square of J v over the samples: how far a step v moves them."""
        moved = self.moved(vector)
        return norm(moved, self.samples.weights * moved)

    @cached_property
    def spread(self) -> float:
        """Root mean square distance of the pushed samples from their mean."""
        points = np.asarray(self.samples.unpack(self.state.x), np.float64)
        shares = self.samples.unpack_scalar(as_double(self.samples.weight))
        return float(np.sqrt(shares @ np.sum((points - shares @ points) ** 2, axis=1)))

    @cached_property
    def speed(self) -> float:
        """Root mean square of the target velocity; of the fitted one in the energy form."""
        if self.field is None:
            return self.length(self.eta)
        w = as_double(self.field)
        return norm(w, as_double(self.samples.weights) * w)

    @cached_property
    def misfit(self) -> float:
        """Root mean square of J eta - w over the stage's own samples; NaN in the energy form."""
        return self.misfit_of(self.eta)

    def misfit_of(self, eta: Vector) -> float:
        """The same for another direction: of one that was found on other samples, the defect."""
        if self.field is None:
            return float("nan")
        gap = self.moved(eta) - self.field
        return norm(gap, self.samples.weights * gap)


class RightSide:
    """eta(t, theta), guarded, on samples that may be drawn anew.

    Attributes
    ----------
    program, options
        Kernels, and the options of the run.
    samples, fresh : Samples
        Those of the flow, and those that it does not use.
    carry : tuple of str
        What energy and velocity read of a sample beside x.
    tails : bool
        Whether some of the flow's are drawn from a wider law, and all are weighted.
    step, time : int, float
        Where the run is, for its errors.
    """

    def __init__(
        self, program: Program, options: FlowOptions, points: np.ndarray, record: Record
    ) -> None:
        self.program, self.options, self.record = program, options, record
        self.linear = options.linear
        self.count = len(points)
        tails = options.samples.tails and options.adaptive and options.formulation == "velocity"
        self.tails = tails and program.separable and has_tails(program.problem.initial)
        if self.tails:
            self.draw(0)
        else:
            self.samples = self._grouped(program.samples(points), 0)
        fresh = drawn(program.problem, options, "defect", 0, settled(options.samples.fresh))
        self.fresh = program.samples(fresh)
        form, _ = program.form, program.unknown_constant  # found, or refused, before the first step
        self.carry = form.reads
        self._may_rise = bool(program.problem.transport.drift) or program.problem.energy_moves
        self.step, self.time = 0, 0.0
        self.direction: Vector | None = None
        self._last: tuple[Vector, Linearized] | None = None
        self._gap: Gap | None = None

    def follows(self, before: RightSide, step: int) -> RightSide:
        """Take over what a run has chosen before a fresh map, and the samples of a step."""
        self.count, self.linear = before.count, before.linear
        self.step, self.time = before.step, before.time
        if self.renews:
            self.draw(step)
        return self

    @property
    def shift(self) -> float:
        """The shift of linear solves."""
        return settled(self.linear.shift)

    @property
    def has_time(self) -> bool:
        """Whether eta depends on the time at fixed theta."""
        return self.program.problem.time is not None

    @property
    def may_rise(self) -> bool:
        """Whether the energy may rise: a drift does work, and so does a time that it holds."""
        return self._may_rise

    @property
    def renews(self) -> bool:
        """Whether every step has samples, or partners, of its own."""
        of = self.options.samples
        return bool(of.resample) or of.partners is not None

    def draw(self, step: int) -> None:
        """Take new samples, those of a step, or the same with other partners."""
        program, options = self.program, self.options
        if not options.samples.resample and options.samples.partners is not None:
            self.samples = self._grouped(self.samples, step)
            return
        if not self.tails:
            points = drawn(program.problem, options, "samples", step, self.count)
            self.samples = self._grouped(program.samples(points), step)
            return
        points, weights = draw_with_tails(
            program.problem.initial,
            self.count,
            TAILS,
            sampling=options.samples.sampling,
            seed=seed_for(options.seed, "samples", step),
        )
        self.samples = program.samples(points, weights / weights.sum())

    def _grouped(self, samples: Samples, step: int) -> Samples:
        """Samples in random groups of partners, those of a step, if the run asks for them."""
        partners = self.options.samples.partners
        if partners is None:
            return samples
        seed = seed_for(self.options.seed, "partners", step)
        return self.program.in_groups(samples, partners, seed)

    def grow(self, count: int) -> None:
        """Draw so many samples from now on."""
        self.count = count

    def regularize(self, shift: float) -> None:
        """Take another shift from now on."""
        self.linear = replace(self.linear, shift=shift)

    def energy(self, t: float, theta: Vector) -> float:
        """Energy of the samples, whether finite or not."""
        program = self.program.at(t)
        theta = theta.astype(program.dtype)
        state = program.push(theta, self.samples, program.form.energy_reads)
        return program.energy(program.integrals(state))

    def __call__(self, t: float, theta: Vector) -> Stage:
        """The stage at (t, theta).

        Raises
        ------
        FlowError
            Where a number is not finite.
        """
        program, samples = self.program.at(t), self.samples
        given = theta.astype(np.float64, copy=True)  # a method in time may write into its own array
        theta = theta.astype(program.dtype)
        velocity = self.options.formulation == "velocity"
        self._last = None  # the next one takes its arrays
        if velocity:
            linearization = program.linearize(theta, samples, self.carry)
            integrals = program.integrals(linearization.state)
        else:
            slope = program.slope(theta, samples)
            linearization, integrals = slope.linearization, slope.integrals
        self._last, state = (given, linearization), linearization.state
        energy = program.energy(integrals)
        where = {"step": self.step, "time": self.time}
        if not (np.isfinite(energy) and is_finite(theta)):
            raise diagnosis(program, theta, state, integrals, {}, where)
        if velocity:
            target = {"field": program.velocity(state, integrals)}
        else:
            target = {"right": -slope.gradient}
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is said below
            linear = solve_metric(
                linearization,
                field=target.get("field"),
                right=target.get("right"),
                options=self.linear,
                guess=self.direction if self.linear.warm_start else None,
            )
        if not is_finite(linear.eta):
            raise diagnosis(program, theta, state, integrals, target, where)
        self.record.solved(linear)
        self.direction = linear.eta
        field = target.get("field")
        ends = state, field, self, self.shift, integrals
        where_it_is = self.step, self.time, float(t)
        return Stage(given, linear.eta, energy, linear, *ends, *where_it_is)

    def linearized(self, theta: Vector, samples: Samples) -> Linearized:
        """The map at a stage's theta and samples; that of the last stage is still there."""
        if self._last is not None and self._last[0] is theta:
            return self._last[1]
        # With the kernel that the right side calls: another one would take a second to compile.
        by_velocity = self.options.formulation == "velocity"
        carry = self.carry if by_velocity else self.program.form.energy_reads
        self._last = None
        found = self.program.linearize(theta.astype(self.program.dtype), samples, carry)
        self._last = theta, found
        return found

    def row(self, t: float, stage: Stage) -> Row:
        """Record a stored time; the linear statistics are those since the row before."""
        defect, speed = self.defect(stage.t, stage.theta, stage.eta)
        return Row(
            t=float(t),
            theta=np.array(stage.theta),
            energy=stage.energy,
            dissipation=stage.linear.rate,
            defect=defect,
            relative_defect=_ratio(defect, speed),
            **self.record.row(),
        )

    def defect(self, t: float, theta: Vector, eta: Vector) -> tuple[float, float]:
        """sqrt(mean |u - w|^2) and sqrt(mean |w|^2) on samples that the flow does not use.

        NaN where there is no w: the first variation jumps, or integrands hold derivatives of rho.
        """
        if self.program.form.rough:
            return np.nan, 1.0
        gap = self.gap(t, theta, eta)
        return gap.defect, gap.speed

    def gap(self, t: float, theta: Vector, eta: Vector) -> Gap:
        """u - w on samples that the flow does not use; the last one is kept."""
        if self._gap is None or self._gap.theta is not theta or self._gap.t != t:
            self._gap = None  # the next one takes the arrays of its map
            program = self.program.at(t)
            map = program.linearize(theta.astype(program.dtype), self.fresh, self.carry)
            integrals = program.integrals(map.state)
            w = as_double(program.velocity(map.state, integrals))
            self._gap = Gap(t, theta, eta, map, integrals, w)
        elif self._gap.eta is not eta:
            self._gap = replace(self._gap, eta=eta)
        return self._gap


@dataclass(frozen=True)
class Gap:
    """u - w at one (t, theta, eta), on samples that the flow does not use.

    Attributes
    ----------
    t : float
        Time.
    theta, eta : (p,) arrays
        Parameters and their rate.
    map : Linearized
        The map at theta.
    integrals : (K,) array
        The integrals of the energy.
    velocity : (M,) array
        w, packed.
    """

    t: float
    theta: Vector
    eta: Vector
    map: Linearized
    integrals: np.ndarray
    velocity: Vector

    @property
    def state(self) -> State:
        """The pushed samples."""
        return self.map.state

    @cached_property
    def packed(self) -> Vector:
        """u - w, packed (M,)."""
        return self._moved(self.eta) - self.velocity

    @property
    def field(self) -> np.ndarray:
        """u - w as an array (N, d)."""
        return np.asarray(self.map.samples.unpack(self.packed), np.float64)

    @property
    def defect(self) -> float:
        """Root mean square of u - w; infinite where it is no number."""
        found = self._size(self.packed)
        return found if np.isfinite(found) else np.inf

    @property
    def speed(self) -> float:
        """Root mean square of w."""
        return self._size(self.velocity)

    def moved(self, vector: Vector) -> np.ndarray:
        """J v at the samples, (N, d)."""
        return np.asarray(self.map.samples.unpack(self._moved(vector)), np.float64)

    def _moved(self, vector: Vector) -> Vector:
        return self.map.jvp(vector.astype(self.map.theta.dtype))

    def _size(self, field: Vector) -> float:
        return norm(field, as_double(self.map.samples.weights) * field)


def _ratio(defect: float, speed: float) -> float:
    """The relative defect: infinite where it cannot be measured, NaN where there is none."""
    if defect == 0 or np.isnan(defect):
        return defect
    return defect / speed if speed > 0 and np.isfinite(defect) else np.inf
