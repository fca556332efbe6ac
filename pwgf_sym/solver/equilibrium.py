"""Equilibrium: the flow by long steps that only its end asks for, to a stated distance from it.

The distance is measured after every step, on samples that the step did not use:

* int V rho + sigma int rho log rho has the equilibrium pi = exp(-V/sigma)/Z.  Samples have the
  weights w = exp(-V/sigma)/rho from the exact density of the map, and with r = w/mean w
  KL(rho|pi) = mean(r - 1 - log r), of which every summand is at least 0.  The distance is the root
  of it; TV <= sqrt(KL/2).
* A lambda-convex energy with lambda > 0 has W2(rho, equilibrium) <= sqrt(E|w|^2)/lambda (Ambrosio,
  Gigli and Savare, "Gradient Flows", 2008, lemma 2.4.13 and theorem 4.0.4): the distance is this
  over the spread of the density.
* Others have none that is known: sqrt(E|w|^2) over the largest of the run takes its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import numpy as np

from ..arguments import brief, checked_call, integer
from ..calls import takes_one
from ..declare.flow_checks import check_flow, check_storable, periodic
from ..declare.maps import Map, parameter_count
from ..declare.problem import GradientFlow
from ..derive.gather import derived_form
from ..derive.variation import check_velocity, energy_terms
from ..errors import OptionError, ToleranceWarning, warn
from .adaptive import AdaptiveMarch
from .bar import Bar
from .certificate import equilibrium_bound
from .compiler import build_program
from .events import Event, Watch
from .evidence import log_weight_of
from .flow import _collect
from .history import Record
from .memory import check_memory
from .option_fields import settled
from .option_objects import FIELDS, RENAMED, LinearSolve, Samples, Steps
from .options import FlowOptions
from .partners import with_partners
from .right_side import RightSide, Stage, drawn
from .solution import Row, Solution
from .start import start_of, warn_of_start
from .steppers import Stepper, stepper_named
from .theory import log_sobolev_of, theory_of
from .vectors import as_double, like

__all__ = ["DEFAULTS", "come_to_rest", "equilibrium"]

# The longest time, in units of the time that points take for the spread at their first speed.
_HORIZON = 1e6
# Errors in time may be so many times larger than those of a flow: only the end counts.
_LOOSE = 30.0
# No progress: the least distance of so many steps is above this part of the least one before.
_WINDOW, _PROGRESS = 8, 0.8
# More samples, so many times, while those before have brought the distance below this part of what
# it was: where it is the map's own, they bring nothing, and noise alone would be halved.
_GROWTH, _GAIN = 4, 0.9
#: What an equilibrium takes where nothing else is given.
DEFAULTS = {"integrator": "rkc", "max_samples": 16384}


@checked_call(also=FIELDS, renamed=RENAMED)
def equilibrium(
    problem: GradientFlow,
    map: Map,
    *,
    tol: float = 1e-3,
    max_steps: int = 1000,
    steps: str | Stepper | Steps | None = None,
    linear: str | LinearSolve | None = None,
    samples: int | Samples | None = None,
    target: str = "cpu",
    dtype: str = "float64",
    seed: int | np.random.Generator | None = 0,
    progress: bool = False,
    theta0: np.ndarray | None = None,
    callback: Callable[[Row], object] | None = None,
    **fields: object,
) -> Solution:
    """The equilibrium of a gradient flow: a solution whose last row is within a distance of it.

    The flow is followed by steps as long as they are stable and do not raise the energy, with new
    samples each, until the distance to equilibrium is at most ``tol``.  Rows before the last are
    the flow's, too, less exactly than those of :func:`pwgf_sym.solve`.

    Parameters
    ----------
    problem : GradientFlow
        Energy, initial law and parameters.
    map : Map
        The family of maps, of the problem's dimension.
    tol : float
        Distance to equilibrium, measured on samples that the step before did not use: for
        int V rho + sigma int rho log rho the root of KL(rho | exp(-V/sigma)/Z), found from the
        exact density of the map (TV is at most sqrt(KL/2)); for other lambda-convex energies with
        lambda > 0 the bound sqrt(E|w|^2)/lambda on W2, over the spread of the density; else
        sqrt(E|w|^2) over its largest value in the run.
    max_steps : int
        Limit of the number of steps.
    steps : str, Stepper or Steps, optional
        Method in time, one that estimates its error: by default "rkc".
    samples : int or Samples, optional
        Those of a step to begin with, new ones each step.  Where a run comes no nearer and may
        choose it takes four times as many, up to ``Samples(max=...)``, by default 16384, as long as
        that brings it nearer.
    linear, target, dtype, seed, progress, theta0, callback, **fields
        As of :func:`pwgf_sym.solve`.

    Returns
    -------
    Solution
        ``statistics["equilibrium"]`` is a dict: ``distance``, its name as ``kind``, ``tol``,
        whether it was ``reached``, and as ``bound`` what is known for certain: a bound on
        KL(rho|pi) from the log-Sobolev inequality of pi, or None.  The distance of samples' weights
        knows nothing of places that the map does not reach; the bound does.

    Warns
    -----
    ToleranceWarning
        If the run ended at a larger distance: the map or the samples allow no less, or
        ``max_steps`` was too small.

    Raises
    ------
    OptionError
        When an option is not accepted; before anything is compiled.
    LawError, FlowError
        As of :func:`pwgf_sym.solve`.
    """
    begin = perf_counter()
    options = FlowOptions.of(
        fields,
        DEFAULTS,
        tol=tol,
        steps=steps,
        linear=linear,
        samples=samples,
        target=target,
        dtype=dtype,
        seed=seed,
        progress=progress,
    )
    found = come_to_rest(problem, map, options, max_steps, theta0, callback, begin)
    _judge(found)
    return found


def come_to_rest(
    problem: GradientFlow,
    map: Map,
    options: FlowOptions,
    max_steps: int,
    theta0: np.ndarray | None,
    callback: Callable[[Row], object] | None,
    begin: float,
    goal: float | None = None,
    near: Callable[[float, int], bool] | None = None,
) -> Solution:
    """Check what :func:`equilibrium` was asked for, and run; nothing is said of what it reached.

    ``goal`` is the distance at which the run ends, if not the ``tol`` that its steps follow, and
    ``near`` says of an energy and its number of samples whether that is enough.
    """
    max_steps = integer("max_steps", max_steps, 1)
    if not options.adaptive:
        given, fix = options.steps.method, 'Use "rkc": steps become as long as the flow allows.'
        raise OptionError("integrator", brief(given), "a method that estimates its error", fix)
    if options.samples.resample is False:
        raise OptionError("resample", "False", "True: each step to equilibrium has new samples")
    if options.samples.partners is not None:
        accepted = "None: samples that meet other partners in each step never rest"
        fix = "Use solve over a long time."
        raise OptionError("partners", str(options.samples.partners), accepted, fix)
    check_flow(problem, map)
    map = periodic(problem, map)
    check_storable(problem, map)
    fresh = options.samples.fresh
    options = options.for_map(map, parameter_count(map)).for_times(False)
    check_memory(map, options, 2)
    theta = start_of(problem, map, theta0, options.seed)
    if callback is not None and not takes_one(callback):
        raise OptionError("callback", brief(callback), "a function of one row")
    terms = energy_terms(derived_form(problem).energy, problem.density)
    options = with_partners(options, terms, fresh)
    check_velocity(terms)
    if problem.transport.drift:
        accepted = "a problem without a drift, whose flow comes to rest"
        fix = "Use solve over a long time: along a drift samples never rest."
        raise OptionError("problem", "a problem with a drift", accepted, fix)
    if problem.time is not None:
        given, accepted = f"a problem that depends on the time {problem.time}", "one that does not"
        fix = "Use solve, or put a number in the place of the time."
        raise OptionError("problem", given, accepted, fix)
    points = drawn(problem, options, "samples", 0, options.number)
    program = build_program(problem, map, options.target, options.dtype)
    if theta0 is None:
        warn_of_start(program, theta)
    right = RightSide(program, options, points, Record(begin))
    stepper = stepper_named(options.steps.method)
    stepper.begins(right)
    march = EquilibriumMarch(right, stepper, max_steps, goal, near)
    return _collect(march, theta, callback)


class EquilibriumMarch(AdaptiveMarch):
    """Steps until the distance to equilibrium is small, or falls no further.

    Parameters
    ----------
    right : RightSide
    stepper : Stepper
    max_steps : int
    goal : float, optional
        The distance at which it ends; ``tol`` by default.
    near : callable, optional
        Whether an energy of so many samples is enough.
    """

    def __init__(
        self,
        right: RightSide,
        stepper: Stepper,
        max_steps: int,
        goal: float | None = None,
        near: Callable[[float, int], bool] | None = None,
    ) -> None:
        super().__init__(right, stepper, np.zeros(1), True, True, Watch(()))
        self.samples, self.max_steps = _Anew(right), max_steps
        self.forecast.error = None  # the error of a flow is not asked for
        self.distance, self.progress = _Distance(right), (max_steps, "step")
        self.last, self.least = np.inf, np.inf
        self.tol = settled(self.options.tol) if goal is None else goal
        self.near, self.reached = near, False
        self.before_growth = np.inf
        self.recent: deque[float] = deque(maxlen=_WINDOW)

    def rows(self, theta: np.ndarray, bar: Bar) -> Iterator[Row]:
        """Step to equilibrium and yield the rows."""
        right, record, t = self.right, self.record, 0.0
        right.time = t
        stage = right(t, like(theta, right.samples.weights))
        record.stepped(t, 0.0, stage.energy, stage.linear.rate)
        record.path_begins(t, stage.theta)
        self.times = [0.0, self.horizon(stage)]
        ended = self.has_arrived(t, stage)
        yield right.row(t, stage)
        step = 0.0 if ended else self.first_step(t, stage)
        while not ended:
            taken, length, error = self.accepted(t, self.times[-1], stage, step)
            step = self.next_step(length, error, taken, step)
            start, t = stage.theta, t + length
            stage = self.finish(t - length, t, None, start, taken, error)
            bar.update(t, stage.energy, stage.linear.residual)
            ended = self.has_arrived(t, stage) or t >= self.times[-1]
            yield right.row(t, stage)

    def horizon(self, stage: Stage) -> float:
        """A time that no run reaches."""
        return _HORIZON * (stage.spread / stage.speed if stage.speed > 0 else 1.0)

    def allowed_error(self, stage: Stage) -> float:
        """The local error that a step may have, as a distance."""
        return _LOOSE * super().allowed_error(stage)

    def has_arrived(self, t: float, stage: Stage) -> bool:
        """Measure the distance; whether the run ends here."""
        self.last = self.distance(stage)
        text = f"{self.distance.kind} of {self.last:.2g}"
        name = ""
        enough = self.near is not None and self.near(stage.energy, stage.samples.count)
        self.reached = self.last <= self.tol or enough
        if self.reached:
            ending = "samples that are near" if enough else f"{text} from equilibrium"
            name = f"the tolerance: {ending}"
        elif self.is_stuck() and not self.grows(t):
            name = f"a floor: {text} from equilibrium, and no nearer with more steps"
        elif self.record.steps >= self.max_steps:
            name = f"max_steps: {text} from equilibrium"
        if name:
            self.watch.ended = Event(lambda moment: 0.0, name=name)
        return bool(name)

    def is_stuck(self) -> bool:
        """Whether the last steps have come no nearer."""
        self.recent.append(self.last)
        if len(self.recent) < _WINDOW:
            return False
        now = min(self.recent)
        if now > _PROGRESS * self.least:
            return True
        self.least = now
        self.recent.clear()
        return False

    def grows(self, t: float) -> bool:
        """Take more samples, if there may be more and the last ones that came have helped."""
        count = min(_GROWTH * self.right.samples.count, settled(self.options.samples.max))
        if count <= self.right.samples.count or "samples" not in self.options.chosen:
            return False
        least = min(self.least, *self.recent)
        if least > _GAIN * self.before_growth:
            return False
        self.before_growth = least
        self.right.grow(count)
        self.record.changed(t, "samples", count, f"no nearer than {self.least:.2g}")
        self.recent.clear()
        self.least = np.inf
        return True

    def statistics(self) -> dict[str, Any]:
        """What the run chose, and where it came to."""
        found = {"kind": self.distance.kind, "distance": self.last, "tol": self.tol}
        found["reached"] = bool(self.reached)
        return super().statistics() | {"equilibrium": found}


class _Anew:
    """New samples after every step."""

    def __init__(self, right: RightSide) -> None:
        self.right, self.step = right, 0

    def renewed(self, t: float, length: float, stage: Stage, estimate: float) -> Stage:
        self.step += 1
        self.right.draw(self.step)
        return self.right(t, stage.theta)

    def found(self) -> dict[str, float]:
        return {}


class _Distance:
    """The distance of a stage from equilibrium; ``kind`` is its name."""

    def __init__(self, right: RightSide) -> None:
        self.right, theory = right, theory_of(right.program.problem)
        structure, self.modulus, self.largest = theory.structure, 0.0, 0.0
        self.weight = log_weight_of(right.program)
        self.kind = "sqrt(KL)"
        if self.weight is None:
            proven = theory.modulus.holds and theory.modulus.value > 0
            self.modulus = theory.modulus.value if proven else 0.0
            self.kind = "W2 over the spread" if proven else "|w| over its largest value"
        self.structure = structure

    def __call__(self, stage: Stage) -> float:
        self.largest = max(self.largest, stage.speed)
        if self.weight is None:
            unit = self.modulus * stage.spread if self.modulus else self.largest
            return stage.speed / unit if unit > 0 else 0.0
        program, samples = self.right.program, stage.samples
        state = program.push(stage.theta.astype(program.dtype), samples, "log_density")
        x = np.asarray(samples.unpack(as_double(state.x)), float)
        logs = self.weight(x, samples.unpack_scalar(as_double(settled(state.log_density))))
        with np.errstate(all="ignore"):
            logs -= logs.max()
            shares = samples.unpack_scalar(as_double(samples.weight))
            logs -= np.log(shares @ np.exp(logs))
            kl = shares @ (np.expm1(logs) - logs)
        return float(np.sqrt(kl)) if np.isfinite(kl) else np.inf


def _judge(solution: Solution) -> None:
    """Add what is known for certain, and warn where the tolerance was not reached."""
    found = solution.statistics["equilibrium"]
    constant = log_sobolev_of(theory_of(solution.problem).structure)
    known = constant.holds and not solution.folded
    found["bound"] = equilibrium_bound(solution.program, solution.theta[-1]) if known else None
    if not found["reached"] and solution.status != "interrupted" and solution.statistics:
        warn(
            f"{solution.message}; tol={found['tol']:g} was not reached.  Use a wider map, more "
            "max_samples or max_steps, or a larger tol.",
            ToleranceWarning,
        )
