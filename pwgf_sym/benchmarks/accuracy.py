"""The step to equal accuracy: 50 iterations of CG against our solver's options.

The opponents run a fixed number of iterations of CG in float64.  There are two goals: the true
relative residual r of (G + shift I) eta = -grad E that the best opponent reaches, and the least
that so many iterations reach by CG or by MINRES, which an opponent could run at the same cost.
Ours may take any way to a residual of at most r; residuals are recomputed in float64 by NumPy, from
a product that shares no code with ours.

In a flow the direction of the step before is a guess for the next (option ``warm_start``).  That is
measured at the parameters one Euler step later, where the opponents begin at zero as before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from . import ours
from .cases import CG_ITERATIONS, SHIFT, Case
from .opponents import numpy_side
from .opponents.stacked import Stacked
from .options import BenchmarkOptions
from .timing import Timed, measure, median_ratio, screen

__all__ = ["SOLVERS", "run_accuracy", "true_residual"]

# Sets of options of our solver that are tried; a tolerance is filled in.  "tries" are fractions of
# r to ask for, as a recurred residual may be too optimistic.
_MIXED = {"method": "minres", "precision": "mixed"}
SOLVERS = {
    "cg": {"method": "cg"},
    "minres": {"method": "minres"},
    "minres mixed": _MIXED,
    "minres mixed, 16 samples": _MIXED | {"preconditioner": 16},
    "minres mixed, 32 samples": _MIXED | {"preconditioner": 32},
    "minres mixed, 64 samples": _MIXED | {"preconditioner": 64},
    "minres mixed, 128 samples": _MIXED | {"preconditioner": 128},
    "dense": {"method": "dense", "cutoff": 0.0},
}
_TRIES = (1.0, 0.5, 0.2)
_SLACK = 1 + 1e-6
# Time of the Euler step to the parameters where solves with a guess are measured.  Twice of it, and
# the largest case leaves the region where Euler's method is stable within a few steps.
_TIME_STEP = 0.002
# A dense solve forms G (p, p): beyond this it is left out.
_LARGEST_DENSE = 6000


def true_residual(case: Case, eta: np.ndarray) -> float:
    """|(G + shift I) eta - b| / |b| in float64, by NumPy."""
    exact = replace(case, dtype="float64")
    run = Stacked(numpy_side.Ops(np.dtype("float64")), exact, 256, False)
    run.theta = case.theta.astype(np.float64)
    run.z = np.ascontiguousarray(case.z.T, dtype=np.float64)
    right = -run.gradient()[1]
    run.prepare()
    eta = np.asarray(eta, np.float64)
    gap = right - run.product(eta) - SHIFT * eta
    return float(np.linalg.norm(gap) / np.linalg.norm(right))


def run_accuracy(options: BenchmarkOptions, sides: dict) -> Iterable[list[dict]]:
    """Rows of the opponents' steps in float64 and of ours to the same true residual, by size."""
    for dim, width in options.sizes:
        case = Case(dim, width, options.samples)
        fixed = _fixed_steps(case, sides)
        least = min(_reached(fixed), _fifty_of_minres(case).error)
        for goal in dict.fromkeys((_reached(fixed), least)):
            yield _to_goal(case, options, fixed, goal)
        guess = _tuned(case, "minres mixed", _MIXED, least).call()
        later = replace(case, start=case.theta + _TIME_STEP * guess)
        fixed = _fixed_steps(later, sides)
        least = min(_reached(fixed), _fifty_of_minres(later).error)
        yield _to_goal(later, options, fixed, least, guess)


def _fixed_steps(case: Case, sides: dict) -> list[Timed]:
    """Steps of a fixed number of iterations, ours first, with their true residuals."""
    found = [t for t in ours.build(case) if t.kernel == "step"]
    found += [t for m in sides.values() for t in m.build(case) if t.kernel == "step"]
    for timed in found:
        timed.error = true_residual(case, timed.convert(timed.call()))
    return found


def _reached(steps: list[Timed]) -> float:
    """The least residual of the opponents' steps; of ours, where nobody else is measured."""
    theirs = [t.error for t in steps if t.side != ours.SIDE]
    return min(theirs or [t.error for t in steps])


def _to_goal(
    case: Case, options: BenchmarkOptions, steps: list[Timed], goal: float, guess=None
) -> list[dict]:
    """Rows of the steps of a fixed number of iterations, and of ours to a residual."""
    steps = [replace(t, times=[]) for t in steps]
    solved = [_tuned(case, name, given, goal) for name, given in SOLVERS.items()]
    if guess is not None:
        iterative = {name: given for name, given in SOLVERS.items() if given["method"] != "dense"}
        solved += [_tuned(case, name, given, goal, guess) for name, given in iterative.items()]
    good = [t for t in solved if not t.note]
    kept = screen([*steps, *good], options.clock, options.keep)
    measure(kept, rounds=options.rounds, seconds=options.seconds, clock=options.clock)
    return _rows(case, options, [*steps, *solved], goal)


def _fifty_of_minres(case: Case) -> Timed:
    """50 iterations of MINRES in float64, for their residual."""
    options = {"method": "minres", "tolerance": 1e-14, "max_iterations": CG_ITERATIONS}
    found = Timed("step", "pwgf_sym", "minres", ours.solver_call(case, options))
    found.error = true_residual(case, found.call())
    return found


def _tuned(case: Case, name: str, given: dict, goal: float, guess=None) -> Timed:
    """A set of options with the loosest tolerance that reaches the goal; a note if none does."""
    name += ", warm start" * (guess is not None)
    found = Timed("step", "pwgf_sym to r", name, lambda: None)
    if given["method"] == "dense" and case.theta.size > _LARGEST_DENSE:
        found.note = f"left out: p = {case.theta.size}"
        return found
    for share in _TRIES:
        asked = dict(given, tolerance=min(share * goal, 0.9))
        found.call = ours.solver_call(case, asked, guess)
        found.error = true_residual(case, found.call())
        found.variant = f"{name} tolerance {asked['tolerance']:.2g}"
        if found.error <= goal * _SLACK:
            return found
    found.note = f"residual {found.error:.2g} at best"
    return found


def _rows(case, options, calls: list[Timed], goal: float) -> list[dict]:
    timed = [t for t in calls if t.times]
    mine = [t for t in timed if t.side == "pwgf_sym to r"]
    best = min(mine or timed, key=lambda t: t.median)
    head = {"suite": "accuracy", "size": case.name, "dtype": case.dtype, "samples": case.samples}
    head |= {"threads": options.threads, "clock": options.clock, "goal": goal}
    when = "" if case.start is None else f", a step of {_TIME_STEP} later"
    head["detail"] = f"to the residual {goal:.2g}{when}"
    rows = []
    for t in calls:
        row = {**head, "kernel": t.kernel, "side": t.side, "variant": t.variant, "times": t.times}
        spread = (t.median, min(t.times), max(t.times)) if t.times else (None, None, None)
        row |= dict(zip(("median", "min", "max"), spread, strict=True))
        row |= {"residual": t.error, "error": 0.0, "note": t.note, "best": t is best}
        row |= {"gflops": None, "peak_fraction": None}
        row["ratio"] = median_ratio(t.times, best.times) if t.times else None
        rows.append(row)
    return rows
