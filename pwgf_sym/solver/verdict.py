"""How a run ended, in words: the message of a solution, its warnings, and errors that carry it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import AccuracyWarning, FoldedMapWarning, PwgfWarning, ToleranceWarning, warn
from .folds import fold_text

if TYPE_CHECKING:
    from .history import Counts
    from .solution import Solution

__all__ = ["carried", "ended", "to_its_end", "warn_of"]


def ended(
    how: str,
    counts: Counts,
    folded: float | None,
    estimate: float | None = None,
    tol: float | None = None,
) -> str:
    """The message of a solution: how the run ended, and what is wrong with it."""
    parts = [how]
    if estimate is None and tol is not None:
        parts.append("its error is not estimated")
    elif estimate is not None and tol is not None and estimate > tol:
        parts.append(f"the estimated error, {estimate:.2g} of the spread, is above tol = {tol:g}")
    if counts.nmissed:
        parts.append(f"{_missed(counts)} missed the tolerance")
    if folded:
        parts.append(f"the map is folded on {100 * folded:.2g} % of the initial law")
    return "; ".join(parts)


def _missed(counts: Counts | Solution) -> str:
    return f"{counts.nmissed} of {counts.nsolves} linear solves"


def warn_of(solution: Solution) -> None:
    """Say once what a finished run is not good for.

    Raises
    ------
    PwgfWarning
        Where warnings are errors; its attribute ``solution`` holds the whole run.
    """
    try:
        if solution.nmissed:
            worst, tolerance = solution.history.residual.max(), solution.options["tolerance"]
            warn(
                f"{_missed(solution)} missed the tolerance {tolerance:.2g}, the worst with a "
                f"relative residual of {worst:.2g}: the velocity of these steps is not the one of "
                "least squares.  Raise max_iterations or shift, or use "
                'linear_solver="dense" for up to some thousand parameters; raise tolerance if the '
                "residual is small enough for you.",
                ToleranceWarning,
            )
        if solution.inaccurate:
            warn(
                f"At t = {solution.t[-1]:.6g} the estimated error of the map is "
                f"{solution.error_estimate:.2g} of the spread, above tol = "
                f"{solution.options['tol']:g}.  Where solution.statistics['missed'] is much larger "
                "than ['noise'] the map cannot follow the flow: use a wider map, a NeuralFlow for "
                "an affine one; else more samples (max_samples), or a larger tol if that error is "
                "small enough for you.",
                AccuracyWarning,
            )
        if solution.folded and solution.reads_density:
            warn(
                f"At t = {solution.t[-1]:.6g} {fold_text(solution.folded)}.  Log densities of "
                "samples, and with them the energy and the velocity, are not defined there.  Use "
                "a smaller dt, a larger shift, more samples or a wider map.",
                FoldedMapWarning,
            )
    except PwgfWarning as error:
        carried(error, lambda: solution)
        raise


def to_its_end(solution: Solution) -> Solution:
    """The solution, where its run was not interrupted: what needs all of it ends there, too.

    Raises
    ------
    KeyboardInterrupt
    """
    if solution.status == "interrupted":
        raise KeyboardInterrupt(solution.message)
    return solution


def carried(error: BaseException, solution: Callable[[], object]) -> None:
    """Put the rows so far on an exception, as its attribute ``solution``."""
    # An exception may not take attributes, and memory may be what is missing.
    with suppress(AttributeError, TypeError, MemoryError):
        setattr(error, "solution", solution())  # noqa: B010 -- any exception takes it
