"""An estimate of the error of the map while a run goes on, on samples that it does not use.

The samples follow x' = u, u = J d theta/dt, where the flow has x' = w, the target velocity.  To
first order the distance e of a sample from where the flow would have taken it obeys

    e' = A e + (u - w),    A = dw/dx at the sample,

so that what the map missed early is forgotten where the flow contracts, and noise of one step,
which the next does not share, cancels in part.  In a potential alone A is all there is, and is
taken as it is: errors at the top of a hill grow.  Where w depends on the density, too, only the
decaying part of A is taken: where A grows, the spreading of the density, which it does not know of,
holds against it.  That makes it an estimate, and no bound: see :mod:`.certificate` for these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import EnergyError, FormulaError
from .decay import DecayingPart

if TYPE_CHECKING:
    from .right_side import Gap, RightSide, Stage

__all__ = ["Forecast"]

# Derivatives of w are not asked for in more dimensions: eigenvalues of every sample's matrix.
_MOST_DIM = 32
# Errors that grow end here, far beyond any tolerance: an estimate that is no number says nothing.
_MOST_GROWTH, _MOST_ERROR = 100.0, 1e100


class Forecast:
    """The estimate, step by step.

    Parameters
    ----------
    right : RightSide
        Its samples ``fresh`` are those that the error is followed on.

    Attributes
    ----------
    error, of_steps : (N, d) arrays or None
        e of every sample, and the part of it that is the method's in time; None where there is no
        target velocity.
    """

    def __init__(self, right: RightSide) -> None:
        self.right = right
        rough = bool(right.program.form.rough)
        shape = right.fresh.count, right.program.dim
        self.error: np.ndarray | None = None if rough else np.zeros(shape)
        self.of_steps = self.error
        self._jacobian = right.program.dim <= _MOST_DIM and not rough
        self._before: np.ndarray | None = None
        program = right.program
        alone = program.separable and not program.form.velocity_reads
        self._whole = bool(alone and program.problem.transport.plain)

    def begins(self, stage: Stage) -> None:
        """Take the slope at the start of a step."""
        if self.error is not None:
            self._before = self.right.gap(stage.t, stage.theta, stage.eta).field

    def step(self, length: float, end: Stage, local: np.ndarray | None = None) -> None:
        """Follow a step of a length to its end.

        ``local`` is the estimate of the local error of the parameters, of a method that does not go
        on with the better one of its two results.
        """
        if self.error is None or self.of_steps is None:
            return
        gap = self.right.gap(end.t, end.theta, end.eta)
        missed = (self._before + gap.field) / 2
        if not np.isfinite(missed).all():
            self.error = self.of_steps = None
            return
        rates = self._rates(gap)
        if rates is None:
            self.error = self.error + length * missed
        else:
            added = rates.function(lambda a: length * _mean_decay(length * a), missed)
            self.error = rates.function(lambda a: _growth(length * a), self.error) + added
            self.of_steps = rates.function(lambda a: _growth(length * a), self.of_steps)
        if local is not None:
            moved = gap.moved(local)
            self.error, self.of_steps = self.error + moved, self.of_steps + moved
        self.error = np.clip(self.error, -_MOST_ERROR, _MOST_ERROR)
        self.of_steps = np.clip(self.of_steps, -_MOST_ERROR, _MOST_ERROR)

    def _rates(self, gap: Gap) -> DecayingPart | None:
        """dw/dx or its decaying part, where the package can derive it."""
        if not self._jacobian:
            return None
        try:
            found = self.right.program.at(gap.t).velocity_jacobian(gap.state, gap.integrals)
        except (EnergyError, FormulaError):
            self._jacobian = False
            return None
        return DecayingPart(found, self._whole)

    @property
    def distance(self) -> float:
        """Root mean square of e; NaN where it is not known."""
        return _size(self.error)

    @property
    def distance_of_steps(self) -> float:
        """The same of the part that is the method's in time."""
        return _size(self.of_steps)

    @property
    def distance_of_map(self) -> float:
        """The same of what is left: what the map and its samples miss."""
        if self.error is None or self.of_steps is None:
            return float("nan")
        return _size(self.error - self.of_steps)


def _size(vectors: np.ndarray | None) -> float:
    if vectors is None:
        return float("nan")
    return float(np.sqrt(np.mean(np.sum(vectors**2, axis=1))))


def _growth(z: np.ndarray) -> np.ndarray:
    """exp(z), up to a limit."""
    found: np.ndarray = np.exp(np.minimum(z, _MOST_GROWTH))
    return found


def _mean_decay(z: np.ndarray) -> np.ndarray:
    """(exp(z) - 1)/z, 1 at 0; up to a limit."""
    z = np.minimum(z, _MOST_GROWTH)
    safe = np.where(np.abs(z) < 1e-8, 1.0, z)
    return np.where(np.abs(z) < 1e-8, 1.0 + z / 2, np.expm1(safe) / safe)
