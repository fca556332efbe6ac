"""The flow itself: marches the parameters of the map along the gradient flow and records rows."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from ..arguments import brief, checked_call, real_array
from ..declare.flow_checks import check_flow, check_storable
from ..declare.maps import Map, parameter_count
from ..declare.problem import GradientFlow
from ..derive.variation import check_velocity, energy_terms
from ..errors import FlowError, OptionError
from .adaptive import AdaptiveMarch
from .bar import Bar
from .events import Watch, events_of
from .folds import folded_part
from .grid import stops, time_grid
from .history import Record
from .march import FixedMarch
from .memory import check_memory
from .options import FlowOptions, LinearOptions
from .right_side import RightSide, drawn
from .sampling import seed_for
from .signals import Terminated, termination_interrupts
from .solution import Row, Solution, build_program
from .steppers import Stepper, stepper_named
from .verdict import carried, ended, warn_of

__all__ = ["solve"]


@checked_call
def solve(
    problem: GradientFlow,
    map: Map,
    t_span: tuple[float, float],
    *,
    tol: float | None = None,
    integrator: str | Stepper = "auto",
    dt: float | None = None,
    max_step: float | None = None,
    save_at=None,
    events=(),
    samples: int | None = None,
    max_samples: int | None = None,
    sampling: str = "sobol",
    resample: bool | None = None,
    tails: bool = True,
    seed: int | np.random.Generator | None = 0,
    formulation: str = "velocity",
    linear_solver: str = "auto",
    target: str = "cpu",
    dtype: str = "float64",
    progress: bool = False,
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
    dense_output: bool | None = None,
    callback: Callable[[Row], object] | None = None,
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
    tol : float, optional
        Tolerance: the root mean square error of the map at the end, over the spread of the density
        there; 1e-3 by default.  Steps, shift, samples and linear solves follow it.  A map that is
        linear in its parameters, such as :class:`~pwgf_sym.Affine`, needs no shift and takes short
        steps at little cost: by default they follow 1e-7.
    integrator : {"auto", "rk23", "rk45", "rkc", "rosenbrock", "euler", "heun", "rk4"} or Stepper
        Method in time.  "auto" takes embedded steps of order 3(2), "rk23", until the flow is
        stiff, and stabilized Chebyshev steps of order 2, "rkc", as long as it is.  Where those
        would take more than six stages it takes linearly implicit steps of order 2, "rosenbrock",
        if solves are dense, not on a GPU, in the velocity form, and the velocity has a Jacobian.
    dt : float, optional
        Fixed steps of this length, without a tolerance; "auto" is "rk4" then.  "euler", "heun" and
        "rk4" have no estimate of their error and take 0.01 where none is given.  Steps are
        shortened to end exactly at stored times.
    max_step : float, optional
        Longest step that follows the tolerance.
    save_at : sequence of float, optional
        Times to store, and no others; nothing is computed beyond the last.  By default the ends of
        ``t_span`` and every step.
    events : sequence of callables
        Functions of a :class:`pwgf_sym.solve.events.Moment` whose zeros are found, as of SciPy's
        ``solve_ivp`` with their attributes ``terminal`` and ``direction``; or events such as
        :func:`pwgf_sym.until_equilibrium`.  Their times are ``solution.t_events``.
    samples : int, optional
        Number N of samples of the initial law.  By default 4096 for fixed steps; else 1024, or 2048
        below tol = 2e-4, and doubled when the defect on fresh samples asks for more.
    max_samples : int, optional
        Where doubling ends; by default at four times as many as in the beginning.
    sampling : {"sobol", "random"}
        Scrambled Sobol points carried to the law, or independent points.
    resample : bool, optional
        Whether each time step draws new samples; by default steps that follow a tolerance do.
    tails : bool
        Whether every fourth sample is drawn from a wider law, and all are weighted, so that the map
        is fitted where samples are few.  Only steps that follow a tolerance do, of energies
        without interactions, in the velocity form, from a Gaussian.
    seed : int, None or numpy.random.Generator
        Fixes the samples and the map's start; equal calls give bitwise equal results on a machine
        ("dense" with the same number of BLAS threads).  None draws a seed, and a generator gives
        its next number; ``solution.options["seed"]`` repeats the run.
    formulation : {"velocity", "energy"}
        Which of the two forms above.
    linear_solver : {"auto", "dense", "lsmr", "cg", "minres", "kernel"}
        See :func:`pwgf_sym.solve.linear.solve_metric`.  "auto" is "dense" on the CPU up to 1500
        parameters and 6000 over the dimension, else "minres" with products in float32 and a
        preconditioner of 64 samples; with fixed steps "dense" up to 800, else "lsmr".
    target, dtype : str
        "cpu", "cuda", or "numpy", which compiles nothing: slower, but at once; "float64" or
        "float32" for the kernels.  Parameters are kept in float64.
    progress : bool
        Whether to show a bar with time, energy and residual.
    tolerance, max_iterations, shift, cutoff, precision, preconditioner, warm_start
        See :class:`pwgf_sym.solve.options.LinearOptions`.  With a tolerance the shift is 1e-4 tol,
        and raised where steps stall.
    theta0 : (p,) array, optional
        Start parameters; by default the map's own, the identity.
    fresh_samples : int, optional
        Number of samples, drawn apart, on which the defect is measured; min(samples, 1024).
    energy_check : bool
        Whether to refuse steps that raise the energy of their own samples by more than
        (1e-3 + 1/N) times the largest |E| at the start of this step and of those before.  The
        second term covers the noise of N samples.  A fixed step that does ends the run, one that
        follows the tolerance is shortened.
    dense_output : bool, optional
        Whether the polynomials of the steps are kept, so that the solution is there at any time;
        by default unless fixed steps have ``save_at``.  They take some 4 p numbers a step.
    callback : callable, optional
        Called with a copy of each stored :class:`Row`; the run stops when it returns something
        true.

    Returns
    -------
    Solution
        One row a stored time.  ``status`` is "completed", "stopped" by the callback or an event, or
        "interrupted": a KeyboardInterrupt, or in the main thread SIGTERM, returns the rows so far,
        so that nothing is lost.

    Warns
    -----
    ToleranceWarning
        When a linear solve missed its tolerance; once, at the end.
    AccuracyWarning
        When the estimated error of the map at the end is above ``tol``.
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
    linear = LinearOptions(
        tolerance, max_iterations, shift, cutoff, precision, preconditioner, warm_start
    )
    options = FlowOptions(
        tol=tol,
        integrator=integrator,
        dt=dt,
        max_step=max_step,
        samples=samples,
        max_samples=max_samples,
        sampling=sampling,
        resample=resample,
        tails=tails,
        seed=seed,
        formulation=formulation,
        linear_solver=linear_solver,
        target=target,
        dtype=dtype,
        progress=progress,
        energy_check=energy_check,
        dense_output=dense_output,
        fresh_samples=fresh_samples,
        linear=linear,
    )
    check_flow(problem, map)
    check_storable(problem, map)
    times, stored = time_grid(t_span, dt, save_at) if options.dt else stops(t_span, save_at)
    options = options.for_map(map, parameter_count(map)).for_times(save_at is not None)
    check_memory(map, options, int(np.count_nonzero(stored)) if options.dt else times.size)
    theta = _start(problem, map, theta0, options.seed)
    watch = Watch(events_of(events))
    if callback is not None and not callable(callback):
        raise OptionError("callback", brief(callback), "a function of one row")
    if options.formulation == "velocity":
        check_velocity(energy_terms(problem.energy, problem.density))
    points = drawn(problem, options, "samples", 0, options.samples)
    program = build_program(problem, map, target, dtype)
    right = RightSide(program, options, points, Record(begin))
    stepper = stepper_named(options.integrator, options.step_tol)
    stepper.begins(right)
    if options.dt:
        march = FixedMarch(right, stepper, times, stored, watch)
    else:
        march = AdaptiveMarch(right, stepper, times, save_at is None, stored, watch)
    return _collect(march, theta, callback)


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


def _collect(march, theta, callback) -> Solution:
    """Drive the march, gather its rows and say how it ended."""
    right, record = march.right, march.right.record
    rows: list[Row] = []
    folded = None

    def solution(status: str, how: str) -> Solution:
        counts, options = record.counts(), right.options.to_dict()
        statistics = march.statistics()
        message = ended(how, counts, folded, statistics.get("estimate"), options["tol"])
        ending = message, record.history(), counts, folded, right.full_order > 0
        more = {"path": record.path(), "t_events": march.watch.times}
        return Solution(
            rows, right.program, options, status, *ending, **more, statistics=statistics
        )

    try:
        with termination_interrupts(), Bar(right.options.progress, *march.progress) as bar:
            stopped = _march(march, theta, callback, rows, bar)
            folded = folded_part(right.program, rows[-1].theta, right.full_order)
        how = f"stopped by {stopped} at" if stopped else "reached"
        found = solution("stopped" if stopped else "completed", f"{how} t = {rows[-1].t:.6g}")
    except KeyboardInterrupt as error:
        if not rows:
            raise
        by = "ended by SIGTERM" if isinstance(error, Terminated) else "interrupted"
        found = solution("interrupted", f"{by} in step {right.step} (t = {right.time:.6g})")
    except BaseException as error:
        how = str(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
        carried(error, lambda: solution("failed", how) if rows else None)
        raise
    warn_of(found)
    return found


def _march(march, theta, callback, rows: list[Row], bar: Bar) -> str:
    """Append the rows of a run to ``rows``; says what stopped it, if anything."""
    for row in march.rows(theta, bar):
        rows.append(row)
        # A copy: what the callback does to its row stays there.
        if callback is not None and callback(row._replace(theta=row.theta.copy())):
            return "the callback"
    return "" if march.watch.ended is None else march.watch.ended.name
