"""A study: errors of one option's values on problems with exact answers, slopes and a picture."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from ..arguments import brief, checked_call, choice, integer, number
from ..declare.maps import parameter_count
from ..errors import FlowError, OptionError, PwgfWarning
from ..files import write_atomically
from ..solver.flow import solve
from ..solver.verdict import to_its_end
from .exact_problems import exact_problem
from .exact_row import ExactProblem

__all__ = ["DEFAULTS", "VARIED", "Study", "StudyRow", "aligned", "plain", "study", "timed_run"]

#: Options that a study varies: the values by default, and what the axis of a picture says.
DEFAULTS = {
    "tol": (1e-2, 1e-3, 1e-4),
    "samples": (256, 1024, 4096),
    "width": (4, 8, 16),
}
VARIED = {"tol": "tolerance", "samples": "samples N", "width": "hidden units"}
# Characters of a note in a table.
_NOTE = 60
# Part of the time span that a run takes beforehand, so that its kernels are compiled.
_WARM = 1e-6


@dataclass(frozen=True)
class StudyRow:
    """One run.

    Attributes
    ----------
    problem, vary, value, seed
        What was run: a name, the varied option, its value, the seed of the run.
    error : float
        See `ExactProblem.error`; NaN for a run that failed.
    seconds, cpu_seconds : float
        Of the run, compilation apart: by the clock, and of all threads' processors.
    parameters, samples, steps, evaluations : int
        Sizes of the map and the run, time steps, right-hand sides; 0 for a run that failed.
    note : str
        What is wrong with the run; empty if nothing is.
    """

    problem: str
    vary: str
    value: float
    seed: int
    error: float
    seconds: float
    cpu_seconds: float
    parameters: int
    samples: int
    steps: int
    evaluations: int
    note: str


@dataclass(frozen=True)
class Study:
    """Rows of a study, in the order of the runs.

    Attributes
    ----------
    rows : tuple of StudyRow
    vary : str
        The varied option.
    options : dict
        Options that all runs have in common.
    """

    rows: tuple[StudyRow, ...]
    vary: str
    options: dict

    @property
    def names(self) -> list[str]:
        """Problems, in the order of the runs."""
        return list(dict.fromkeys(row.problem for row in self.rows))

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values, and root mean square error and mean seconds over the seeds, of a problem."""
        own = [row for row in self.rows if row.problem == name and np.isfinite(row.error)]
        values = sorted({row.value for row in own})
        groups = [[row for row in own if row.value == value] for value in values]
        errors = [np.sqrt(np.mean([row.error**2 for row in group])) for group in groups]
        seconds = [np.mean([row.seconds for row in group]) for group in groups]
        return np.array(values), np.array(errors), np.array(seconds)

    def slope(self, name: str) -> float:
        """Least-squares slope of log error over log value; NaN for fewer than two values."""
        values, errors, _ = self.curve(name)
        if values.size < 2 or not np.all(errors > 0):
            return float("nan")
        return float(np.polyfit(np.log(values), np.log(errors), 1)[0])

    def __str__(self) -> str:
        head = ["problem", self.vary, "error", "seconds", "cpu s", "parameters", "samples", "steps"]
        lines = [[*head, "evaluations", "slope", "note"]]
        for row in self.rows:
            last = row is [r for r in self.rows if r.problem == row.problem][-1]
            sizes = (row.parameters, row.samples, row.steps, row.evaluations)
            line = [row.problem, f"{row.value:g}", f"{row.error:.2e}"]
            line += [f"{row.seconds:.2f}", f"{row.cpu_seconds:.2f}"]
            slope = f"{self.slope(row.problem):.2f}" if last else ""
            lines.append([*line, *map(str, sizes), slope, row.note[:_NOTE]])
        return aligned(lines, left=(0, 10))

    def save(self, path) -> None:
        """Write all rows as JSON, whole or not at all."""
        data = asdict(self) | {"slopes": {name: plain(self.slope(name)) for name in self.names}}
        for row in data["rows"]:
            row["error"] = plain(row["error"])
        text = json.dumps(data, indent=1, default=str)
        write_atomically(Path(path), lambda file: file.write(text.encode()))

    def plot(self, path=None):
        """Errors over the varied values, and over the seconds; the figure, written to ``path``."""
        from ..look.figures import new_figure, save

        figure = new_figure(path, figsize=(10, 4), layout="constrained")
        by_value, by_time = figure.subplots(1, 2, sharey=True)
        for name in self.names:
            values, errors, seconds = self.curve(name)
            slope = f", slope {self.slope(name):.2f}" if values.size > 1 else ""
            by_value.loglog(values, errors, "o-", label=f"{name}{slope}")
            by_time.loglog(seconds, errors, "o-")
        if self.vary == "tol" and self.names:
            wanted = np.array(sorted({row.value for row in self.rows}))
            by_value.loglog(wanted, wanted, color="0.6", linestyle="--", label="error = tol")
        by_value.set(xlabel=VARIED[self.vary], ylabel="error of the map over the spread")
        by_time.set(xlabel="seconds")
        by_value.legend(fontsize="small")
        if path is not None:
            save(figure, path, dpi=150)
        return figure


@checked_call
def study(
    names: Sequence[str],
    vary: str = "tol",
    values: Iterable[float] | None = None,
    *,
    seeds: int = 1,
    points: int = 16384,
    show: Callable[[StudyRow], object] | None = None,
    **options,
) -> Study:
    """Run problems with exact answers for several values of one option.

    Every run is ``pw.solve(row.problem, row.map, row.t_span, **options)`` with one value of the
    varied option; "width" is that of the NeuralFlow.  Errors are those of the map at the end, over
    the spread of the exact law there, on points that no run has used.

    Parameters
    ----------
    names : sequence of str
        Of `EXACT_PROBLEMS`.
    vary : {"tol", "samples", "width"}
        What varies.
    values : iterable of numbers, optional
        Positive; by default those of `DEFAULTS`.
    seeds : int
        Runs with seeds 0, 1, ..., seeds - 1 of every value.
    points : int
        Number of points that an error is measured on.
    show : callable, optional
        Called with every row as soon as it is there.
    **options
        Of `pwgf_sym.solve`, equal for all runs.

    Returns
    -------
    Study

    Raises
    ------
    BenchmarkError
        For an unknown name.
    OptionError
        If an argument is out of range, or `solve` does not accept an option.
    """
    choice("vary", vary, DEFAULTS)
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise OptionError("names", brief(names), "a list of names", "Write ['double_well'].")
    rows = [exact_problem(name) for name in names]
    values = _values(vary, DEFAULTS[vary] if values is None else values)
    seeds, points = integer("seeds", seeds, 1), integer("points", points, 1)
    for name in ("seed", vary):
        if name in options:
            accepted = "options that all runs have in common"
            raise OptionError(name, brief(options[name]), accepted, "Use seeds= or values=.")
    found = []
    for row in rows:
        for value in values:
            for seed in range(seeds):
                found.append(_run(row, vary, value, seed, points, options))
                if show is not None:
                    show(found[-1])
    return Study(tuple(found), vary, options)


def _run(row: ExactProblem, vary: str, value, seed: int, points: int, options: dict) -> StudyRow:
    """One run, after one of a moment that compiles; a flow that fails is a row with a note."""
    given = {"seed": seed} | options | ({} if vary == "width" else {vary: value})
    row = row.with_width(value) if vary == "width" else row
    size = parameter_count(row.map)
    found, *times, note = timed_run(row, {"save_at": row.t_span} | given)
    head = (row.name, vary, value, seed)
    if found is None:
        return StudyRow(*head, float("nan"), *times, size, 0, 0, 0, note)
    counts = (found.options.get("samples") or 0, found.nsteps or 0, found.nfev or 0)
    return StudyRow(*head, row.error(found, points), *times, size, *counts, note)


def timed_run(row: ExactProblem, options: dict) -> tuple:
    """A run after one of a moment that compiles: (solution or None, seconds, cpu seconds, note).

    A run that is interrupted raises KeyboardInterrupt: its last row is no answer at the end, and
    who interrupts one run of a table wants the rest no more.
    """
    start, end = row.t_span
    brief_run = {k: v for k, v in options.items() if k != "save_at"}
    clocks, note = (perf_counter(), process_time()), ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PwgfWarning)  # the message says it
        try:
            span = start, start + _WARM * (end - start)
            to_its_end(solve(row.problem, row.map, span, **brief_run))
            clocks = perf_counter(), process_time()
            found = to_its_end(solve(row.problem, row.map, row.t_span, **options))
        except FlowError as error:
            found, note = None, str(error)
    if found is not None and not found.success:
        note = found.message
    return found, perf_counter() - clocks[0], process_time() - clocks[1], note


def _values(vary: str, values) -> list:
    """Checked values: whole numbers of samples and units, and tolerances."""
    try:
        values = list(values)
    except TypeError:
        values = []
    if not values:
        raise OptionError("values", "none", "a list of positive numbers")
    if vary == "tol":
        return [number("values", value, above=0.0) for value in values]
    return [integer("values", value, 1) for value in values]


def aligned(lines: list[list[str]], left: Sequence[int]) -> str:
    """Columns of a table: numbers to the right, names and notes, in the given columns, to the left.

    The first line is the head.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    places = [str.ljust if k in left else str.rjust for k in range(len(widths))]
    rows = (zip(places, line, widths, strict=True) for line in lines)
    return "\n".join("  ".join(put(t, w) for put, t, w in row).rstrip() for row in rows)


def plain(value: float) -> float | None:
    """A number as JSON knows it."""
    return value if np.isfinite(value) else None
