"""What a run counts while it runs: its whole energy history, and the work that it took."""

from __future__ import annotations

from array import array
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np

from .path import Path

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .linear import LinearSolution

__all__ = ["Counts", "History", "Record"]


# Columns of whole numbers.
_WHOLE = ("iterations", "stages", "samples")


class History(NamedTuple):
    """A run step by step, whatever was stored: entry 0 is the start, entry k the end of step k.

    Attributes
    ----------
    t : (K + 1,) array
        Times.
    energy : (K + 1,) array
        Energy of the run's samples.
    step : (K + 1,) array
        Length of the step that ended there; 0 at the start.
    dissipation : (K + 1,) array
        -dE/dt, as in :class:`~pwgf_sym.solver.solution.Solution`.
    residual : (K + 1,) array
        Worst relative residual of the linear solves of the step.
    iterations : (K + 1,) array of int
        Iterations of the linear solves of the step.
    error : (K + 1,) array
        Estimate of the local error of the step, the root mean square distance of samples over
        their spread; 0 where the method has none.
    stages : (K + 1,) array of int
        Right-hand sides of the accepted step.
    samples : (K + 1,) array of int
        Number of samples of the step.
    shift : (K + 1,) array
        Its Tikhonov shift.
    """

    t: np.ndarray
    energy: np.ndarray
    step: np.ndarray
    dissipation: np.ndarray
    residual: np.ndarray
    iterations: np.ndarray
    error: np.ndarray
    stages: np.ndarray
    samples: np.ndarray
    shift: np.ndarray

    @classmethod
    def empty(cls) -> History:
        """No steps: of a solution whose history was not recorded."""
        return cls(**{name: np.zeros(0, kind) for name, kind in cls.dtypes().items()})

    @classmethod
    def dtypes(cls) -> dict[str, type]:
        """Type of every column."""
        return dict.fromkeys(cls._fields, np.float64) | dict.fromkeys(_WHOLE, np.int64)


class Counts(NamedTuple):
    """The work of a run; None where it is not known.

    Attributes
    ----------
    nfev : int
        Evaluations of the right-hand side.
    nsteps : int
        Time steps.
    nrejected : int
        Steps that were tried and not taken.
    nsolves, nmissed : int
        Linear solves, and those that missed their tolerance.
    nit : int
        Iterations of all linear solves.
    wall_time : float
        Seconds, compilation included.
    """

    nfev: int | None = None
    nsteps: int | None = None
    nrejected: int | None = None
    nsolves: int | None = None
    nmissed: int | None = None
    nit: int | None = None
    wall_time: float | None = None


class Solves(TypedDict):
    """Worst residual, sum of iterations and conjunction of success of some linear solves."""

    residual: float
    iterations: int
    converged: bool


class _Worst:
    """Worst residual, sum of iterations and conjunction of success over some linear solves."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.residual, self.iterations, self.converged = 0.0, 0, True

    def add(self, linear: LinearSolution) -> None:
        self.residual = max(self.residual, linear.residual)
        self.iterations += linear.iterations
        self.converged &= linear.converged


class Record:
    """Counts of a running flow.  A step takes 80 bytes, whatever the number of parameters, and its
    polynomial what a few vectors of parameters take where it is kept.

    Parameters
    ----------
    begin : float, optional
        ``time.perf_counter()`` at the beginning of the run; now by default.
    """

    def __init__(self, begin: float | None = None) -> None:
        self._begin = perf_counter() if begin is None else begin
        kinds = History.dtypes().items()
        self._columns: dict[str, array[Any]] = {  # of floats, or of whole numbers
            n: array("d" if kind is np.float64 else "q") for n, kind in kinds
        }
        self._of_row, self._of_step = _Worst(), _Worst()
        self._solves = self._missed = self._iterations = self._rejected = 0
        self._ends: list[tuple[float, np.ndarray]] = []
        self._polynomials: list[np.ndarray] = []
        self._restarts: list[tuple[int, np.ndarray]] = []
        self.changes: list[dict[str, Any]] = []

    def solved(self, linear: LinearSolution) -> None:
        """Count a linear solve, hence a right-hand side."""
        self._solves += 1
        self._missed += not linear.converged
        self._iterations += linear.iterations
        self._of_row.add(linear)
        self._of_step.add(linear)

    def tried(self, linear: LinearSolution) -> None:
        """Count the work of a linear solve that nothing of the run depends on."""
        self._solves += 1
        self._iterations += linear.iterations

    @property
    def steps(self) -> int:
        """Steps so far."""
        return max(len(self._columns["shift"]) - 1, 0)

    def rejected(self) -> None:
        """Count a step that was tried and not taken."""
        self._rejected += 1

    def changed(self, t: float, what: str, value: object, why: str) -> None:
        """Note that a choice of the run changed, and the reason."""
        self.changes.append({"t": float(t), "choice": what, "value": value, "reason": why})

    def path_begins(self, t: float, theta: ArrayLike) -> None:
        """Keep the parameters at the start."""
        self._ends.append((float(t), np.array(theta, np.float64)))

    def path_steps(self, t: float, theta: ArrayLike, coefficients: ArrayLike) -> None:
        """Keep the polynomial of a step and the parameters at its end."""
        self._ends.append((float(t), np.array(theta, np.float64)))
        self._polynomials.append(np.asarray(coefficients))

    def path_restarts(self, theta: ArrayLike) -> None:
        """Keep the parameters of a fresh map, with which the next step begins."""
        self._restarts.append((len(self._polynomials), np.array(theta, np.float64)))

    def path(self) -> Path | None:
        """Dense output, where it was kept."""
        return Path.of_steps(self._ends, self._polynomials, self._restarts)

    def stepped(
        self,
        t: float,
        step: float,
        energy: float,
        dissipation: float,
        *,
        error: float = 0.0,
        stages: int = 0,
        samples: int = 0,
        shift: float = 0.0,
    ) -> None:
        """Note the start, or the end of a step."""
        worst = self._of_step
        values = (
            *(t, energy, step, dissipation, worst.residual, worst.iterations),
            *(error, stages, samples, shift),
        )
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)
        worst.clear()

    def row(self) -> Solves:
        """Statistics of the linear solves since the row before, by their names in a row."""
        worst = self._of_row
        found: Solves = {
            "residual": worst.residual,
            "iterations": worst.iterations,
            "converged": worst.converged,
        }
        worst.clear()
        return found

    def history(self) -> History:
        """All steps so far."""
        columns, kinds = self._columns, History.dtypes()
        # An interruption may come between two columns.
        count = min(map(len, columns.values()))
        return History(**{n: np.array(c[:count], kinds[n]) for n, c in columns.items()})

    def counts(self) -> Counts:
        """The work so far."""
        solves, seconds = self._solves, perf_counter() - self._begin
        work = solves, self.steps, self._rejected, solves, self._missed, self._iterations
        return Counts(*work, seconds)
