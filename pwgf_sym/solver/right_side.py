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
    from .protocols import Program, Samples, State, Vector

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
    program : Program
        The kernels.
    carry : tuple of str
        What the linearization that the kernels are asked for carries beside x.
    shift : float
        The shift of the linear solve.
    integrals : (K,) array
        The energy's integrals on the samples.
    step, time : int, float
        Where the run is, for errors.
    """

    theta: Vector
    eta: Vector
    energy: float
    linear: LinearSolution
    state: State
    field: Vector | None
    program: Program
    carry: tuple[str, ...]
    shift: float
    integrals: np.ndarray
    step: int
    time: float

    @property
    def samples(self) -> Samples:
        """The samples that were pushed."""
        return self.state.samples

    def moved(self, vector: Vector) -> Vector:
        """J v at theta and the samples, packed (M,); nothing of it is kept between two calls."""
        theta = self.theta.astype(self.program.dtype)
        linearization = self.program.linearize(theta, self.samples, self.carry)
        return linearization.jvp(vector.astype(self.program.dtype))

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
            self.samples = program.samples(points)
        fresh = drawn(program.problem, options, "defect", 0, settled(options.samples.fresh))
        self.fresh = program.samples(fresh)
        form, _ = program.form, program.unknown_constant  # found, or refused, before the first step
        self.carry = form.reads
        # The kernel that the solver compiles anyway: another one would take a second more.
        by_velocity = options.formulation == "velocity"
        self.carry_of_products = () if by_velocity else form.energy_reads
        self.step, self.time = 0, 0.0
        self.direction: Vector | None = None
        self._gap: Gap | None = None

    @property
    def shift(self) -> float:
        """The shift of linear solves."""
        return settled(self.linear.shift)

    def draw(self, step: int) -> None:
        """Take new samples, those of a step."""
        program, options = self.program, self.options
        if not self.tails:
            points = drawn(program.problem, options, "samples", step, self.count)
            self.samples = program.samples(points)
            return
        points, weights = draw_with_tails(
            program.problem.initial,
            self.count,
            TAILS,
            sampling=options.samples.sampling,
            seed=seed_for(options.seed, "samples", step),
        )
        self.samples = program.samples(points, weights / weights.sum())

    def grow(self, count: int) -> None:
        """Draw so many samples from now on."""
        self.count = count

    def regularize(self, shift: float) -> None:
        """Take another shift from now on."""
        self.linear = replace(self.linear, shift=shift)

    def energy(self, theta: Vector) -> float:
        """Energy of the samples, whether finite or not."""
        theta = theta.astype(self.program.dtype)
        state = self.program.push(theta, self.samples, self.program.form.energy_reads)
        return self.program.energy(self.program.integrals(state))

    def __call__(self, t: float, theta: Vector) -> Stage:
        """The stage at (t, theta).

        Raises
        ------
        FlowError
            Where a number is not finite.
        """
        program, samples, given = self.program, self.samples, theta
        theta = theta.astype(program.dtype)
        velocity = self.options.formulation == "velocity"
        if velocity:
            state = program.push(theta, samples, self.carry)
            integrals = program.integrals(state)
        else:
            slope = program.slope(theta, samples)
            linearization, integrals = slope.linearization, slope.integrals
            state = linearization.state
        energy = program.energy(integrals)
        where = {"step": self.step, "time": self.time}
        if not (np.isfinite(energy) and is_finite(theta)):
            raise diagnosis(program, theta, state, integrals, {}, where)
        if velocity:
            target = {"field": program.velocity(state, integrals)}
            linearization = program.linearize(theta, samples)
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
        ends = state, field, program, self.carry_of_products, self.shift, integrals
        return Stage(given, linear.eta, energy, linear, *ends, self.step, self.time)

    def row(self, t: float, stage: Stage) -> Row:
        """Record a stored time; the linear statistics are those since the row before."""
        defect, speed = self.defect(stage.theta, stage.eta)
        return Row(
            t=float(t),
            theta=np.array(stage.theta),
            energy=stage.energy,
            dissipation=stage.linear.rate,
            defect=defect,
            relative_defect=_ratio(defect, speed),
            **self.record.row(),
        )

    def defect(self, theta: Vector, eta: Vector) -> tuple[float, float]:
        """sqrt(mean |u - w|^2) and sqrt(mean |w|^2) on samples that the flow does not use.

        NaN where the first variation jumps: there is no w.
        """
        if self.program.form.rough:
            return np.nan, 1.0
        gap = self.gap(theta, eta)
        return gap.defect, gap.speed

    def moved(self, theta: Vector, vector: Vector) -> np.ndarray:
        """J v at the samples that the flow does not use, (N, d)."""
        program, dtype = self.program, self.program.dtype
        products = program.linearize(theta.astype(dtype), self.fresh, self.carry_of_products)
        found = self.fresh.unpack(products.jvp(vector.astype(dtype)))
        return np.asarray(found, np.float64)

    def gap(self, theta: Vector, eta: Vector) -> Gap:
        """u - w on samples that the flow does not use; the last one is kept."""
        if self._gap is not None and self._gap.theta is theta and self._gap.eta is eta:
            return self._gap
        program, fresh, given = self.program, self.fresh, theta
        theta = theta.astype(program.dtype)
        state = program.push(theta, fresh, self.carry)
        integrals = program.integrals(state)
        w = as_double(program.velocity(state, integrals))
        products = program.linearize(theta, fresh, self.carry_of_products)
        gap = products.jvp(eta.astype(program.dtype)) - w
        weights = as_double(fresh.weights)
        defect, speed = norm(gap, weights * gap), norm(w, weights * w)
        defect = defect if np.isfinite(defect) else np.inf
        self._gap = Gap(given, eta, gap, state, integrals, defect, speed, self)
        return self._gap


@dataclass(frozen=True)
class Gap:
    """u - w at one (theta, eta), packed, with the state of the fresh samples.

    Attributes
    ----------
    theta, eta : (p,) arrays
        Parameters and their rate.
    packed : (M,) array
        u - w.
    state, integrals
        The pushed samples, and the integrals of the energy.
    defect, speed : float
        Root mean squares of u - w and of w.
    """

    theta: Vector
    eta: Vector
    packed: Vector
    state: State
    integrals: np.ndarray
    defect: float
    speed: float
    right: RightSide

    @property
    def field(self) -> np.ndarray:
        """u - w as an array (N, d)."""
        return np.asarray(self.state.samples.unpack(self.packed), np.float64)


def _ratio(defect: float, speed: float) -> float:
    """The relative defect: infinite where it cannot be measured, NaN where there is none."""
    if defect == 0 or np.isnan(defect):
        return defect
    return defect / speed if speed > 0 and np.isfinite(defect) else np.inf
