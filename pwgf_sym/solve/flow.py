"""The flow itself: marches the parameters of the map along the gradient flow and records rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from ..arguments import brief, checked_call, real_array
from ..declare.flow_checks import check_flow, check_storable
from ..declare.maps import Map, parameter_count
from ..declare.problem import GradientFlow
from ..derive.variation import check_velocity, energy_terms
from ..errors import FlowError, LawError, OptionError
from .bar import Bar
from .folds import folded_part
from .history import Record
from .integrators import explicit_step, tableau
from .linear import LinearSolution, solve_metric
from .memory import check_memory
from .options import FlowOptions, LinearOptions, time_grid
from .sampling import draw, seed_for
from .signals import Terminated, termination_interrupts
from .solution import Row, Solution, build_program
from .vectors import as_double, is_finite, like, norm
from .verdict import carried, ended, warn_of

__all__ = ["solve"]

# Part of the largest |E| at the starts of the steps so far by which a step may raise the energy of
# its own samples: the energy of finitely many samples is no exact Lyapunov function of the
# projected flow.  What a step reaches itself does not count, or one that explodes would allow
# itself to.  An instability passes it within a few steps, as it grows geometrically.
_ENERGY_RISE = 1e-3

_SMALLER = "Use a smaller dt, a larger shift, or fewer parameters or more samples."


@checked_call
def solve(
    problem: GradientFlow,
    map: Map,
    t_span: tuple[float, float],
    *,
    samples: int = 4096,
    sampling: str = "sobol",
    seed: int | np.random.Generator | None = 0,
    resample: bool = False,
    formulation: str = "velocity",
    integrator: str = "rk4",
    dt: float = 0.01,
    linear_solver: str = "auto",
    target: str = "cpu",
    dtype: str = "float64",
    progress: bool = False,
    save_at=None,
    tolerance: float | None = None,
    max_iterations: int = 500,
    shift: float | None = None,
    cutoff: float | None = None,
    precision: str = "working",
    preconditioner: int = 0,
    warm_start: bool = False,
    theta0: np.ndarray | None = None,
    fresh_samples: int | None = None,
    energy_check: bool = True,
    callback: Callable[[Row], object] | None = None,
    tol: float | None = None,
) -> Solution:
    """Solve a Wasserstein gradient flow with a parameterized map.

    The map T_theta pushes the initial law forward, and theta follows d theta/dt = eta with

        velocity form:  eta = argmin mean |J eta - w|^2 + mu |eta|^2,   w = -grad dE/drho,
        energy form:    (G + mu I) eta = -grad_theta E,                 G = mean J^T J,

    J = dT/dtheta and means over the samples (Jin, Liu, Wu, Ye, Zhou, arXiv:2404.19133).  The map
    sees whitened coordinates, (z - m)/s with the mean m and the spread s of the initial law, and
    mu = ``shift`` s^2: a flow that is moved or measured in another unit has the same steps.

    Parameters
    ----------
    problem : GradientFlow
        Energy, initial law and parameters.
    map : Map
        The family of maps, of the problem's dimension.
    t_span : (float, float)
        Start and end.
    samples : int
        Number N of samples of the initial law.
    sampling : {"sobol", "random"}
        Scrambled Sobol points carried to the law, or independent points.
    seed : int, None or numpy.random.Generator
        Fixes the samples and the map's start; equal calls give bitwise equal results on a machine
        ("dense" with the same number of BLAS threads).  None draws a seed, and a generator gives
        its next number; ``solution.options["seed"]`` repeats the run.
    resample : bool
        Whether each time step draws new samples.
    formulation : {"velocity", "energy"}
        Which of the two forms above.
    integrator : {"euler", "heun", "rk4"}
        Explicit Runge-Kutta method.
    dt : float
        Time step; steps are shortened to end exactly at stored times.
    linear_solver : {"auto", "dense", "lsmr", "cg", "minres", "kernel"}
        See :func:`pwgf_sym.solve.linear.solve_metric`.  "auto" is "dense" on the CPU up to 800
        parameters, else "lsmr".
    target, dtype : str
        "cpu"; "float64" or "float32" for the kernels.  Parameters are kept in float64.
    progress : bool
        Whether to show a bar with time, energy and residual.
    save_at : sequence of float, optional
        Times to store, and no others; nothing is computed beyond the last.  By default the ends of
        ``t_span`` and every step.
    tolerance, max_iterations, shift, cutoff, precision, preconditioner, warm_start
        See :class:`pwgf_sym.solve.options.LinearOptions`.
    theta0 : (p,) array, optional
        Start parameters; by default the map's own, the identity.
    fresh_samples : int, optional
        Number of samples, drawn apart, on which the defect is measured; min(samples, 1024).
    energy_check : bool
        Whether to stop when a step raises the energy of its own samples by more than
        (1e-3 + 1/N) times the largest |E| at the start of this step and of those before.  The
        second term covers the noise of N samples.
    callback : callable, optional
        Called with a copy of each stored :class:`Row`; the run stops when it returns something
        true.
    tol : None
        Reserved for the adaptive integrator.

    Returns
    -------
    Solution
        One row a stored time.  ``status`` is "completed", "stopped" by the callback, or
        "interrupted": a KeyboardInterrupt, or in the main thread SIGTERM, returns the rows so far,
        so that nothing is lost.

    Warns
    -----
    ToleranceWarning
        When a linear solve missed its tolerance; once, at the end.
    FoldedMapWarning
        When the map at the end is folded, that is the sign of det dT/dz changes, and the energy
        reads densities; otherwise only ``message`` and ``log_density`` say it.

    Raises
    ------
    OptionError
        When an option is not accepted; before anything is compiled.
    LawError
        When the initial law gives samples that are not finite.
    FlowError
        When a state is not finite or the energy rises.

    Any exception within the run, also one of the callback, holds the rows so far in its attribute
    ``solution`` once there is a row.
    """
    begin = perf_counter()
    if tol is not None:
        fix = "The adaptive integrator comes with later work: choose dt."
        raise OptionError("tol", brief(tol), "nothing", fix)
    linear = LinearOptions(
        tolerance, max_iterations, shift, cutoff, precision, preconditioner, warm_start
    )
    options = FlowOptions(
        samples=samples,
        sampling=sampling,
        seed=seed,
        resample=resample,
        formulation=formulation,
        integrator=integrator,
        dt=dt,
        linear_solver=linear_solver,
        target=target,
        dtype=dtype,
        progress=progress,
        energy_check=energy_check,
        fresh_samples=fresh_samples,
        linear=linear,
    )
    check_flow(problem, map)
    check_storable(problem, map)
    times, stored = time_grid(t_span, dt, save_at)
    options = options.for_map(map, parameter_count(map))
    check_memory(map, options, int(np.count_nonzero(stored)))
    theta = _start(problem, map, theta0, options.seed)
    if callback is not None and not callable(callback):
        raise OptionError("callback", brief(callback), "a function of one row")
    if options.formulation == "velocity":
        check_velocity(energy_terms(problem.energy, problem.density))
    points = _draw(problem, options, "samples", 0)
    program = build_program(problem, map, target, dtype)
    run = _Run(program, options, points, Record(begin))
    return _collect(run, times, stored, theta, callback)


def _start(problem, map, theta0, seed: int) -> np.ndarray:
    """The start parameters, (p,) float64."""
    default = map.initial_parameters(problem.initial.whitened, seed_for(seed, "map"))
    if theta0 is None:
        return np.asarray(default, np.float64)
    accepted = f"an array of {default.size} numbers"
    theta = real_array("theta0", theta0, finite=False, accepted=accepted).copy()
    if theta.shape != default.shape:
        raise OptionError("theta0", f"shape {theta.shape}", f"shape {default.shape} for {map}")
    if not np.all(np.isfinite(theta)):
        bad = int(np.flatnonzero(~np.isfinite(theta))[0])
        raise OptionError("theta0", f"{theta[bad]} at index {bad}", "finite numbers")
    return theta


def _draw(problem, options: FlowOptions, purpose: str, step: int) -> np.ndarray:
    """Points of the initial law, (N, d), checked to be finite."""
    count = options.fresh_samples if purpose == "defect" else options.samples
    seed = seed_for(options.seed, purpose, step)
    points = draw(problem.initial, count, sampling=options.sampling, seed=seed, keep=step == 0)
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        given = f"sample {int(np.argmin(finite))} = {points[np.argmin(finite)]}"
        raise LawError("initial", given, "finite samples", "Check the law's parameters.")
    return points


def _collect(run: _Run, times, stored, theta, callback) -> Solution:
    """Drive the march, gather its rows and say how it ended."""
    rows: list[Row] = []
    folded = None

    def solution(status: str, how: str) -> Solution:
        counts, options = run.record.counts(), run.options.to_dict()
        message = ended(how, counts, folded)
        ending = message, run.record.history(), counts, folded, run.full_order > 0
        return Solution(rows, run.program, options, status, *ending)

    try:
        with termination_interrupts(), Bar(run.options.progress, len(times) - 1) as bar:
            status = _march(run, times, stored, theta, callback, rows, bar)
            folded = folded_part(run.program, rows[-1].theta, run.full_order)
        how = "reached" if status == "completed" else "stopped by the callback at"
        found = solution(status, f"{how} t = {rows[-1].t:.6g}")
    except KeyboardInterrupt as error:
        if not rows:
            raise
        by = "ended by SIGTERM" if isinstance(error, Terminated) else "interrupted"
        found = solution("interrupted", f"{by} in step {run.step} (t = {run.time:.6g})")
    except BaseException as error:
        how = str(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
        carried(error, lambda: solution("failed", how) if rows else None)
        raise
    warn_of(found)
    return found


def _march(run: _Run, times, stored, theta, callback, rows: list[Row], bar: Bar) -> str:
    """Append the rows of a run to ``rows``; says whether it was "completed" or "stopped"."""
    for row in run.march(times, stored, theta, bar):
        rows.append(row)
        # A copy: what the callback does to its row stays there.
        if callback is not None and callback(row._replace(theta=row.theta.copy())):
            return "stopped"
    return "completed"


@dataclass(frozen=True)
class _Stage:
    """The right side at one (t, theta): direction, energy of the samples, linear solve."""

    eta: np.ndarray
    energy: float
    linear: LinearSolution


class _Run:
    """State of a running flow: program, samples, and the record of its work."""

    def __init__(self, program, options: FlowOptions, points: np.ndarray, record: Record):
        self.program, self.options = program, options
        self.method = tableau(options.integrator)
        self.samples = program.samples(points)
        self.fresh = program.samples(_draw(program.problem, options, "defect", 0))
        form, _ = program.form, program.unknown_constant  # found, or refused, before the first step
        self.full_order = max(form.velocity_order, form.energy_order)
        self.order = self.full_order if options.formulation == "velocity" else form.energy_order
        self.step, self.time, self.scale = 0, 0.0, 0.0
        self.record = record
        self.direction: np.ndarray | None = None

    def march(self, times, stored, theta: np.ndarray, bar: Bar) -> Iterator[Row]:
        """Step from the first time to the last and yield a row at each stored one."""
        self.time, theta = times[0], like(theta, self.samples.weights)
        stage = self.evaluate(times[0], theta)
        self.record.stepped(self.time, 0.0, stage.energy, stage.linear.rate)
        if stored[0]:
            yield self.row(times[0], theta, stage)
        for step, (t, t_next) in enumerate(zip(times[:-1], times[1:], strict=True)):
            self.step, self.time = step, float(t)
            theta, stage = self.advance(float(t), float(t_next), theta, stage)
            self.record.stepped(t_next, t_next - t, stage.energy, stage.linear.rate)
            bar.update(t_next, stage.energy, stage.linear.residual)
            if stored[step + 1]:
                yield self.row(t_next, theta, stage)

    def advance(self, t, t_next, theta, stage: _Stage) -> tuple[np.ndarray, _Stage]:
        """One time step; returns the new parameters and the stage there."""
        self.scale = max(self.scale, abs(stage.energy))

        def rhs(time, parameters):
            return self.evaluate(time, parameters).eta

        theta_new, _ = explicit_step(self.method, rhs, t, theta, t_next - t, stage.eta)
        after = None
        if self.options.resample:
            # The energy is compared on equal samples, where the sampling noise cancels.
            after = self.energy(theta_new)
            points = _draw(self.program.problem, self.options, "samples", self.step + 1)
            self.samples = self.program.samples(points)
        new = self.evaluate(t_next, theta_new)
        self.check_energy(stage.energy, new.energy if after is None else after)
        return theta_new, new

    def energy(self, theta) -> float:
        """Energy of the samples, whether finite or not."""
        theta = theta.astype(self.program.dtype)
        state = self.program.push(theta, self.samples, order=self.program.form.energy_order)
        return self.program.energy(self.program.integrals(state, self.samples))

    def evaluate(self, t: float, theta: np.ndarray) -> _Stage:
        """The right side eta(t, theta), guarded."""
        program, samples = self.program, self.samples
        theta = theta.astype(program.dtype)
        if self.options.formulation == "velocity":
            state = program.push(theta, samples, order=self.order)
            integrals = program.integrals(state, samples)
        else:
            slope = program.slope(theta, samples)
            linearization, integrals = slope.linearization, slope.integrals
            state = linearization.state
        energy = program.energy(integrals)
        if not (np.isfinite(energy) and is_finite(theta)):
            raise self.diagnosis(theta, state, integrals, {})
        if self.options.formulation == "velocity":
            target = {"field": program.velocity(state, samples, integrals)}
            linearization = program.linearize(theta, samples)
        else:
            target = {"right": -slope.gradient}
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is said below
            linear = solve_metric(
                linearization,
                **target,
                method=self.options.linear_solver,
                options=self.options.linear,
                guess=self.direction if self.options.linear.warm_start else None,
            )
        if not is_finite(linear.eta):
            raise self.diagnosis(theta, state, integrals, target)
        self.record.solved(linear)
        self.direction = linear.eta
        return _Stage(linear.eta, energy, linear)

    def row(self, t, theta: np.ndarray, stage: _Stage) -> Row:
        """Record a stored time; the linear statistics are those since the row before."""
        defect, speed = self.defect(theta, stage.eta)
        return Row(
            t=float(t),
            theta=np.array(theta),
            energy=stage.energy,
            dissipation=stage.linear.rate,
            defect=defect,
            relative_defect=_ratio(defect, speed),
            **self.record.row(),
        )

    def defect(self, theta: np.ndarray, eta: np.ndarray) -> tuple[float, float]:
        """sqrt(mean |u - w|^2) and sqrt(mean |w|^2) on samples that the flow does not use.

        NaN where the first variation jumps: there is no w.
        """
        program, fresh = self.program, self.fresh
        if program.form.rough:
            return np.nan, 1.0
        theta = theta.astype(program.dtype)
        state = program.push(theta, fresh, order=self.full_order)
        w = as_double(program.velocity(state, fresh, program.integrals(state, fresh)))
        # The kernel that the solver has compiled already: another one would take a second more.
        order = self.order if self.options.formulation == "energy" else 0
        gap = program.linearize(theta, fresh, order).jvp(eta.astype(program.dtype)) - w
        weights = as_double(fresh.weights)
        defect, speed = norm(gap, weights * gap), norm(w, weights * w)
        return defect if np.isfinite(defect) else np.inf, speed

    def check_energy(self, before: float, after: float) -> None:
        """Stop when a step has raised the energy of its samples."""
        allowed = (_ENERGY_RISE + 1 / self.samples.count) * self.scale
        if not self.options.energy_check or after <= before + allowed:
            return
        raise FlowError(
            f"energy {before:.6g} before the step and {after:.6g} after",
            f"a rise of at most {allowed:.3g}",
            "Use a smaller dt, more samples or a larger shift, or energy_check=False to go on.",
            step=self.step,
            time=self.time,
        )

    def diagnosis(self, theta, state, integrals, target: dict) -> FlowError:
        """Find the first number that is not finite, from the parameters to the direction."""
        program, samples, theta = self.program, self.samples, np.asarray(theta)
        where = {"step": self.step, "time": self.time}
        if not np.all(np.isfinite(theta)):
            return FlowError("parameters not finite", "finite numbers", _SMALLER, **where)
        vectors = {
            "position x": getattr(state, "x", None),
            "score": getattr(state, "score", None),
            "target velocity w": target.get("field"),
        }
        logs = getattr(state, "log_density", None)
        found = {name: program.unpack(v, samples) for name, v in vectors.items() if v is not None}
        if logs is not None:
            found["log density"] = program.unpack_scalar(logs, samples)[:, None]
        for name in ("position x", "log density", "score", "target velocity w"):
            finite = np.isfinite(found.get(name, np.zeros((1, 1)))).all(axis=1)
            if not finite.all():
                bad = int(np.argmin(finite))
                given = f"{name} = {found[name][bad]}"
                return FlowError(given, "finite numbers", _SMALLER, sample=bad, **where)
        for integral, value in zip(program.form.integrals, integrals, strict=True):
            if not np.isfinite(value):
                fix = "Check that the term is finite wherever samples can go. " + _SMALLER
                given = f"value {value}"
                return FlowError(given, "a finite energy", fix, term=integral.label, **where)
        if not np.isfinite(program.energy(integrals)):
            labels = (integral.label for integral in program.form.integrals)
            found = ", ".join(f"{value:.6g} for {k}" for k, value in zip(labels, integrals))
            fix = "Check roots, logarithms and powers of integrals: they need positive values."
            given = f"integrals {found}, of which the energy has no finite real value"
            return FlowError(given, "an energy with a value", fix, **where)
        what = "gradient of the energy" if "right" in target else "direction eta"
        fine = "right" not in target or is_finite(target["right"])
        what = "direction eta of the linear solve" if fine else what
        return FlowError(f"{what} not finite", "finite numbers", _SMALLER, **where)


def _ratio(defect: float, speed: float) -> float:
    """The relative defect: infinite where it cannot be measured, NaN where there is none."""
    if defect == 0 or np.isnan(defect):
        return defect
    return defect / speed if speed > 0 and np.isfinite(defect) else np.inf
