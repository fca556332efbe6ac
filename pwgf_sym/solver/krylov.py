"""CG and MINRES on the metric operator, wrapped in iterative refinement.

The methods are those of the vectors' space: SciPy's on the host.
Success is judged by gaps that are computed afresh, never by a recurrence.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from .option_fields import settled
from .option_objects import LinearSolve
from .preconditioner import SamplePreconditioner
from .vectors import norm, space_of

if TYPE_CHECKING:
    from .linear import System
    from .protocols import Apply, Vector

__all__ = ["refined"]

# Recurred residuals drift from true ones by round-off: aim a little lower than is asked.
_MARGIN = 0.8
# MINRES returns no residual while it runs; it is looked at after so many iterations.
_FEWEST, _MOST = 5, 30
# A residual that falls by less than this factor between two looks does not fall.  That of MINRES
# always falls until round-off ends it; with a preconditioner M it is that of the norm of M that
# does, and the residual itself may rise for a while: so many looks are waited for a lower one.
_STAGNATION = 1 - 1e-6
_PATIENCE = 4
# A round of refinement that leaves more than this part of the gap is the last.
_PROGRESS = 0.5
# Part of tr(G_n) / n by which the preconditioner of n samples is damped at least.  A hundredth was
# the best, or near to it, at d = 2 to 30 with 16 to 128 samples; 0.003 and 0.03 are hardly worse.
_DAMPING = 1e-2


def refined(system: System, options: LinearSolve, method: str) -> tuple[Vector, int, Vector]:
    """Solve with an iterative method again and again for the gap that is left, until it is small.

    The Krylov method reduces the gap by products in the inner system's precision; the gap itself is
    always computed afresh in the program's.  With "mixed" precision the inner products are float32:
    iterative refinement, as exact as float64 at about half its cost (N. J. Higham, Accuracy and
    Stability of Numerical Algorithms, 2002, chapter 12).

    Parameters
    ----------
    system : System
        (G + mu I) eta = b.
    options : LinearSolve
        Tolerance, iteration limit, precision, preconditioner.
    method : {"cg", "minres"}
        The method of the rounds.

    Returns
    -------
    eta : (p,) float64 array
        The iterate of the smallest gap seen.
    iterations : int
    gap : (p,) array
        Its gap b - (G + mu I) eta.
    """
    inner = system.in_single() if options.precision == "mixed" else system
    precondition = _preconditioner(inner, options)
    watch = _Watch(system, inner, options, 1 if precondition is None else _PATIENCE)
    while watch.go_on():
        before = watch.lowest
        start = watch.best
        # Iterates of a singular system may leave the range of numbers: they are not kept.
        with suppress(_Enough), np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            step = _KRYLOV[method](inner, watch.gap, watch.within(start), precondition)
            watch.check(step)
        if not watch.lowest < _PROGRESS * before:
            break
    return watch.best, watch.count, watch.gap


def _preconditioner(system: System, options: LinearSolve) -> Apply | None:
    """The method's M for the options, or None."""
    if not options.preconditioner:
        return None
    count = min(options.preconditioner, system.samples.count)
    return SamplePreconditioner(system.map, count, system.shift, _DAMPING)


def _cg(inner: System, gap: Vector, watch: _Watch, precondition: Apply | None) -> Vector:
    rtol = max(_MARGIN * watch.aim / norm(gap), inner.eps)
    return space_of(gap).cg(
        inner.normal,
        gap,
        rtol=rtol,
        atol=0.0,
        maxiter=watch.left,
        M=precondition,
        callback=watch.count_only,
    )


def _minres(inner: System, gap: Vector, watch: _Watch, precondition: Apply | None) -> Vector:
    # rtol=0 leaves only SciPy's tests at machine precision; the watch stops on ours.
    solve = space_of(gap).minres
    given = inner.normal, gap
    try:
        return solve(*given, rtol=0.0, maxiter=watch.left, M=precondition, callback=watch)
    except ValueError as error:
        if "preconditioner" not in str(error):  # SciPy finds it indefinite, by round-off
            raise
        raise _Enough from error


class _Enough(Exception):
    """Leaves SciPy's loop."""


class _Watch:
    """Counts iterations, keeps the best iterate and its gap, and knows when to stop.

    As SciPy's callback it looks at the gap every few iterations, by a product in the inner
    precision, and raises :class:`_Enough` when a gap in the program's precision is small enough,
    or when the gap has stopped falling for ``patience`` looks.
    """

    def __init__(self, system: System, inner: System, options: LinearSolve, patience: int) -> None:
        self.system, self.inner, self.patience = system, inner, patience
        self.aim = settled(options.tolerance) * system.right_norm
        self.limit, self.count = options.max_iterations, 0
        self.best, self.gap = system.start, system.right
        if norm(self.best) != 0:
            self.gap = system.gap(self.best)
        self.lowest, self.start, self.left_over = norm(self.gap), self.best, self.gap
        self.nearest: Vector | None = None

    @property
    def left(self) -> int:
        """Iterations that are left."""
        return self.limit - self.count

    def go_on(self) -> bool:
        """Whether another round is needed and allowed."""
        return self.left > 0 and self.lowest > self.aim

    def within(self, start: Vector) -> _Watch:
        """The same watch over a round whose iterates are added to ``start``."""
        self.start, self.left_over = start, self.gap
        self.least, self.nearest, self.idle = np.inf, None, 0
        self.next, self.looked = self.count + _FEWEST, self.count
        return self

    def count_only(self, step: Vector) -> None:
        """Callback of a method that knows its own residual."""
        self.count += 1

    def __call__(self, step: Vector) -> None:
        self.count += 1
        if self.count >= self.next:
            self.look(step)

    def look(self, step: Vector) -> None:
        """Raise where the iterate is good enough or no better than before."""
        mixed = self.inner is not self.system
        size = norm(self.left_over - self.inner.normal(step)) if mixed else self.check(step)
        self._plan(self.least, size)
        self.idle += 1
        if size < _STAGNATION * self.least:
            self.least, self.nearest, self.idle = size, step.copy(), 0
        stuck = self.idle >= self.patience
        if mixed and (stuck or size <= self.aim):
            self.check(step if size <= self.aim or self.nearest is None else self.nearest)
        if stuck or self.lowest <= self.aim:
            raise _Enough

    def check(self, step: Vector) -> float:
        """Compute the gap afresh, in the program's precision; keep the best iterate."""
        eta = self.start + step
        gap = self.system.gap(eta)
        size = norm(gap)
        if size < self.lowest:
            self.lowest, self.best, self.gap = size, eta, gap
        return size

    def _plan(self, before: float, size: float) -> None:
        """Look again when, at the rate so far, the aim is reached."""
        passed, self.looked = self.count - self.looked, self.count
        wait = _FEWEST
        if self.aim < size < before < np.inf:
            rest = passed * np.log(size / self.aim) / np.log(before / size)
            wait = int(min(max(rest, _FEWEST), _MOST))
        self.next = self.count + wait


_KRYLOV = {"cg": _cg, "minres": _minres}
