"""The flow itself: marches the parameters of the map along the gradient flow and records rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter

import numpy as np

from ..arguments import brief, checked_call
from ..calls import takes_one
from ..declare.clock import check_times
from ..declare.flow_checks import check_flow, check_storable, periodic
from ..declare.maps import Map, parameter_count
from ..declare.problem import GradientFlow
from ..derive.gather import derived_form
from ..derive.variation import check_velocity, energy_terms
from ..errors import FlowError, OptionError
from .adaptive import AdaptiveMarch
from .bar import Bar
from .compiler import build_program
from .events import Moment, Watch, events_of
from .folds import folded_part
from .grid import stops, time_grid
from .history import Record
from .march import FixedMarch
from .memory import check_memory
from .option_objects import FIELDS, RENAMED, LinearSolve, Samples, Steps
from .options import FlowOptions
from .partners import with_partners
from .path import Path
from .restarts import check_restarts
from .right_side import RightSide, drawn
from .signals import Terminated, termination_interrupts
from .solution import Row, Solution
from .start import start_of, warn_of_start
from .steppers import Stepper, stepper_named
from .verdict import carried, ended, warn_of

__all__ = ["solve"]


@checked_call(also=FIELDS, renamed=RENAMED)
def solve(
    problem: GradientFlow,
    map: Map,
    t_span: tuple[float, float],
    *,
    tol: float | None = None,
    steps: str | Stepper | Steps | None = None,
    linear: str | LinearSolve | None = None,
    samples: int | Samples | None = None,
    save_at: Sequence[float] | np.ndarray | None = None,
    events: Callable[[Moment], float] | Iterable[Callable[[Moment], float]] = (),
    formulation: str = "velocity",
    target: str = "cpu",
    dtype: str = "float64",
    seed: int | np.random.Generator | None = 0,
    progress: bool = False,
    theta0: np.ndarray | None = None,
    callback: Callable[[Row], object] | None = None,
    dense_output: bool | None = None,
    restart: str | None = None,
    **fields: object,
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
    steps : str, Stepper or Steps, optional
        Method in time, fixed steps, longest step, energy check: ``Steps("rk4", dt=0.01)``.  A name
        or a stepper is ``Steps(method=...)``.  By default "auto".
    linear : str or LinearSolve, optional
        Method, shift and tolerance of the linear solves: ``LinearSolve("minres", shift=1e-4)``.
        A name is ``LinearSolve(method=...)``.  By default "auto".
    samples : int or Samples, optional
        Number and kind of samples of the initial law: ``Samples(4096, sampling="random")``.  A
        number is ``Samples(number=...)``.  By default the run chooses.
    save_at : sequence of float, optional
        Times to store, and no others; nothing is computed beyond the last.  By default the ends of
        ``t_span`` and every step.
    events : callable, or sequence of callables
        Functions of a :class:`pwgf_sym.solver.events.Moment` whose zeros are found, as of SciPy's
        ``solve_ivp`` with their attributes ``terminal`` and ``direction``; or events such as
        :func:`pwgf_sym.until_equilibrium`.  Their times are ``solution.t_events``.
    formulation : {"velocity", "energy"}
        Which of the two forms above.
    target, dtype : str
        "cpu", "cuda", or "numpy", which compiles nothing: slower, but at once; "float64" or
        "float32" for the kernels.  Parameters are kept in float64.
    seed : int, None or numpy.random.Generator
        Fixes the samples and the map's start; equal calls give bitwise equal results on a machine
        ("dense" with the same number of BLAS threads).  None draws a seed, and a generator gives
        its next number; ``solution.options["seed"]`` repeats the run.
    progress : bool
        Whether to show a bar with time, energy and residual.
    theta0 : (p,) array, optional
        Start parameters; by default the map's own, the identity.
    callback : callable, optional
        Called with a copy of each stored :class:`Row`; the run stops when it returns something
        true.
    dense_output : bool, optional
        Whether the polynomials of the steps are kept, so that the solution is there at any time;
        by default unless fixed steps have ``save_at``.  They take some 4 p numbers a step.
    restart : {"auto"}, optional
        Whether a fresh map may take the place of one that can follow the flow no longer, with the
        law reached as its initial law.  Where the defect has doubled, or steps lead nowhere, one is
        tried, and takes over if its defect is at most half.  Each map before it is evaluated with
        every sample from then on.  Such times are in ``solution.restarts``.
    **fields
        Single fields of the three objects: ``solve(..., dt=0.01)`` is
        ``solve(..., steps=Steps(dt=0.01))``.  Keywords are the fields' names, but for
        ``integrator`` and ``linear_solver``, the two methods, ``max_samples`` and
        ``fresh_samples``.  :class:`~pwgf_sym.Steps`, :class:`~pwgf_sym.LinearSolve` and
        :class:`~pwgf_sym.Samples` list them, docs/options.md says what a run chooses.

    Returns
    -------
    Solution
        One row a stored time.  ``status`` is "completed", "stopped" by the callback or an event, or
        "interrupted": a KeyboardInterrupt, or in the main thread SIGTERM, returns the rows so far,
        so that nothing is lost.  ``options`` has all options by their keywords.

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
        When an option is not accepted, or given twice; before anything is compiled.
    LawError
        When the initial law gives samples that are not finite.
    FlowError
        When a state is not finite or the energy rises.

    Any exception within the run, also one of the callback, holds the rows so far in its attribute
    ``solution`` once there is a row.
    """
    begin = perf_counter()
    options = FlowOptions.of(
        fields,
        tol=tol,
        steps=steps,
        linear=linear,
        samples=samples,
        formulation=formulation,
        target=target,
        dtype=dtype,
        seed=seed,
        progress=progress,
        dense_output=dense_output,
        restart=restart,
    )
    check_flow(problem, map)
    check_restarts(problem, options.restart)
    map = periodic(problem, map)
    check_storable(problem, map)
    dt = options.steps.dt
    times, stored = stops(t_span, save_at) if dt is None else time_grid(t_span, dt, save_at)
    check_times(problem.time, float(times[0]), float(times[-1]))
    fresh = options.samples.fresh
    options = options.for_map(map, parameter_count(map)).for_times(save_at is not None)
    check_memory(map, options, times.size if options.adaptive else int(np.count_nonzero(stored)))
    theta = start_of(problem, map, theta0, options.seed)
    watch = Watch(events_of(events))
    if callback is not None and not takes_one(callback):
        raise OptionError("callback", brief(callback), "a function of one row")
    check_formulation(problem, options.formulation)
    terms = energy_terms(derived_form(problem).energy, problem.density)
    options = with_partners(options, terms, fresh)
    if options.formulation == "velocity" and problem.transport.plain:  # else the program does
        check_velocity(terms)
    points = drawn(problem, options, "samples", 0, options.number)
    program = build_program(problem, map, options.target, options.dtype)
    if theta0 is None:
        warn_of_start(program, theta)
    right = RightSide(program, options, points, Record(begin))
    stepper = stepper_named(options.steps.method, options.step_tol)
    stepper.begins(right)
    march: AdaptiveMarch | FixedMarch
    if isinstance(stored, bool):  # steps follow a tolerance
        march = AdaptiveMarch(right, stepper, times, save_at is None, stored, watch)
    else:
        march = FixedMarch(right, stepper, times, stored, watch)
    return _collect(march, theta, callback)


def check_formulation(problem: GradientFlow, formulation: str) -> None:
    """Refuse the energy form where the energy is not all that moves mass."""
    if formulation == "energy" and not problem.transport.plain:
        accepted = '"velocity", for a problem with a drift or a mobility'
        raise OptionError("formulation", '"energy"', accepted, 'Use formulation="velocity".')


def _collect(
    march: AdaptiveMarch | FixedMarch,
    theta: np.ndarray,
    callback: Callable[[Row], object] | None,
) -> Solution:
    """Drive the march, gather its rows and say how it ended."""
    record, options = march.right.record, march.options.to_dict()
    rows: list[Row] = []
    folded = None

    def solution(status: str, how: str) -> Solution:
        counts, statistics = record.counts(), march.statistics()
        message = ended(how, counts, folded, statistics.get("estimate"), options["tol"])
        ending = message, record.history(), counts, folded, bool(march.right.carry)
        return Solution(
            rows,
            march.restarts.first,
            options,
            status,
            *ending,
            path=record.path(),
            t_events=march.watch.times,
            statistics=statistics,
            restarts=march.restarts.found,
        )

    try:
        with termination_interrupts(), Bar(march.options.progress, *march.progress) as bar:
            stopped = _march(march, theta, callback, rows, bar)
            folded = folded_part(march.right.program, rows[-1].theta, march.right.carry)
            folded = march.restarts.folded(folded)
        how = f"stopped by {stopped} at" if stopped else "reached"
        found = solution("stopped" if stopped else "completed", f"{how} t = {rows[-1].t:.6g}")
    except KeyboardInterrupt as error:
        if not rows:
            raise
        by = "ended by SIGTERM" if isinstance(error, Terminated) else "interrupted"
        where = f"step {march.right.step} (t = {march.right.time:.6g})"
        found = solution("interrupted", f"{by} in {where}{_beyond(record.path(), rows[-1].t)}")
    except BaseException as error:
        how = str(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
        carried(error, lambda: solution("failed", how) if rows else None)
        raise
    warn_of(found)
    return found


def _beyond(path: Path | None, last: float) -> str:
    """Where an interrupted run is kept after its last row."""
    if path is None or not path.t[-1] > last:
        return ""
    return f", its last row is at t = {last:.6g}; methods take t = {path.t[-1]:.6g}, too"


def _march(
    march: AdaptiveMarch | FixedMarch,
    theta: np.ndarray,
    callback: Callable[[Row], object] | None,
    rows: list[Row],
    bar: Bar,
) -> str:
    """Append the rows of a run to ``rows``; says what stopped it, if anything."""
    for row in march.rows(theta, bar):
        rows.append(row)
        # A copy: what the callback does to its row stays there.
        if callback is not None and callback(row._replace(theta=row.theta.copy())):
            return "the callback"
    return "" if march.watch.ended is None else march.watch.ended.name
