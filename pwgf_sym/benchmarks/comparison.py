"""Schemes side by side on problems with exact answers: ours, our former defaults, the paper's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..arguments import brief, checked_call, choice, integer
from ..declare.maps import parameter_count
from ..errors import OptionError
from ..files import write_atomically
from .exact_problems import exact_problem
from .exact_row import ExactProblem
from .study import aligned, plain, timed_run

__all__ = ["SCHEMES", "Comparison", "ComparisonRow", "compare"]

#: Options of :func:`pwgf_sym.solve` by the name of a scheme.  "paper": forward Euler in the energy
#: form, Monte Carlo samples, MINRES (Jin, Liu, Wu, Ye, Zhou, arXiv 2404.19133); residual, 10,000
#: samples and 1,000 steps are those of the group's papers 2306.00191, 2505.11762 and 2402.16821, 50
#: iterations those of its code.
SCHEMES = {
    "auto": {},
    "fixed": {"integrator": "rk4"},
    "paper": {
        "integrator": "euler",
        "formulation": "energy",
        "sampling": "random",
        "resample": True,
        "samples": 10000,
        "linear_solver": "minres",
        "tolerance": 3e-4,
        "max_iterations": 50,
        "shift": 0.0,
        "energy_check": False,
    },
}
# Time steps of a span; "fixed" had dt = 0.01 whatever the problem.
_STEPS = {"fixed": lambda span: 0.01, "paper": lambda span: span / 1000}
_POINTS = 16384


@dataclass(frozen=True)
class ComparisonRow:
    """One run.

    Attributes
    ----------
    problem, scheme : str
        What was run.
    error : float
        See `ExactProblem.error`; NaN for a run that failed.
    seconds, cpu_seconds : float
        Of the run, compilation apart: by the clock, and of all threads' processors.
    parameters, samples, steps, evaluations : int
        Sizes of the map and the run, time steps, right-hand sides; 0 for a run that failed.
    distance : str
        Of the bound; empty where none was offered.
    bound, effectivity : float
        The bound at the end, in units of the distance; for "W2" over the error of the map, which is
        at least W2: the true effectivity is no less.  Else NaN.
    note : str
        What is wrong with the run; empty if nothing is.
    """

    problem: str
    scheme: str
    error: float
    seconds: float
    cpu_seconds: float
    parameters: int
    samples: int
    steps: int
    evaluations: int
    distance: str
    bound: float
    effectivity: float
    note: str


@dataclass(frozen=True)
class Comparison:
    """Rows of a comparison, in the order of the runs."""

    rows: tuple[ComparisonRow, ...]

    def __str__(self) -> str:
        head = ["problem", "scheme", "error", "seconds", "cpu s", "parameters", "samples", "steps"]
        lines = [[*head, "evaluations", "bound", "effectivity", "note"]]
        for row in self.rows:
            sizes = (row.parameters, row.samples, row.steps, row.evaluations)
            times = [f"{row.seconds:.1f}", f"{row.cpu_seconds:.1f}"]
            bound = f"{row.distance} {row.bound:.1e}" if row.distance else "-"
            ratio = f"{row.effectivity:.3g}" if np.isfinite(row.effectivity) else "-"
            line = [row.problem, row.scheme, f"{row.error:.1e}", *times, *map(str, sizes)]
            lines.append([*line, bound, ratio, row.note[:60]])
        return aligned(lines, left=(0, 1, 11))

    def save(self, path) -> None:
        """Write all rows as JSON, whole or not at all."""
        rows = [
            {k: plain(v) if isinstance(v, float) else v for k, v in asdict(row).items()}
            for row in self.rows
        ]
        text = json.dumps({"rows": rows}, indent=1)
        write_atomically(Path(path), lambda file: file.write(text.encode()))


@checked_call
def compare(
    names: Sequence[str],
    schemes: Sequence[str] = tuple(SCHEMES),
    *,
    seed: int = 0,
    show: Callable[[ComparisonRow], object] | None = None,
) -> Comparison:
    """Run problems with exact answers by several schemes, with the same map.

    Parameters
    ----------
    names : sequence of str
        Of `EXACT_PROBLEMS`.
    schemes : sequence of str
        Of `SCHEMES`.
    seed : int
        Of all runs.
    show : callable, optional
        Called with every row as soon as it is there.

    Returns
    -------
    Comparison

    Raises
    ------
    BenchmarkError
        For an unknown problem.
    OptionError
        If another argument is out of range.
    """
    for option, given in (("names", names), ("schemes", schemes)):
        if isinstance(given, str) or not all(isinstance(name, str) for name in given):
            raise OptionError(option, brief(given), "a list of names", "Write ['double_well'].")
    for scheme in schemes:
        choice("schemes", scheme, SCHEMES)
    problems, seed = [exact_problem(name) for name in names], integer("seed", seed, 0)
    found = []
    for problem in problems:
        for scheme in schemes:
            found.append(_row(problem, scheme, seed))
            if show is not None:
                show(found[-1])
    return Comparison(tuple(found))


def _row(problem: ExactProblem, scheme: str, seed: int) -> ComparisonRow:
    options = SCHEMES[scheme] | {"seed": seed}
    if scheme in _STEPS:
        options["dt"] = _STEPS[scheme](problem.t_span[1] - problem.t_span[0])
    found, seconds, cpu, note = timed_run(problem, options | {"dense_output": True})
    head, size = (problem.name, scheme), parameter_count(problem.map)
    if found is None:
        nothing = (0, 0, 0, "", np.nan, np.nan)
        return ComparisonRow(*head, np.nan, seconds, cpu, size, *nothing, note)
    error = problem.error(found, _POINTS)
    counts = (found.options.get("samples") or 0, found.nsteps or 0, found.nfev or 0)
    bound = _bound(found)
    distance, value, ratio = "", np.nan, np.nan
    if bound is not None:
        distance, value = bound.distance, float(bound)
        if distance == "W2" and error > 0:
            ratio = value / (error * problem.spread() * np.sqrt(problem.dim))
    sizes = (size, *counts)
    return ComparisonRow(*head, error, seconds, cpu, *sizes, distance, value, ratio, note)


def _bound(solution):
    """The W2 bound where one holds, else the one that the solution offers, else None."""
    for distance in ("W2", None):
        try:
            return solution.error_bound(distance=distance)
        except OptionError:
            continue
    return None
