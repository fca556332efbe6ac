"""How many samples a run takes: new ones each step, and more when what they miss costs too much.

A direction that was found on the samples of a step is looked at on those of the next, which it has
not seen.  Where it misses the velocity there by more than on its own samples, the difference is
noise of the samples.  Steps draw anew, so that the noise of one step is independent of that of the
next, and the errors that it makes add up like a random walk's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from .option_fields import settled

if TYPE_CHECKING:
    from .options import FlowOptions
    from .right_side import RightSide, Stage

__all__ = ["Renewal", "SamplesControl"]

# Samples are doubled when the estimate of the error passes this part of the tolerance, and more of
# it is noise than the map's own limits; after this part of the span with as many samples, in which
# the estimate can follow.
_SHARE, _PATIENCE = 0.8, 0.05
# Past so many tolerances four times the samples, half the noise, would not bring it back.
_LOST = 10.0


class Renewal(Protocol):
    """When a run whose steps choose their length draws new samples.

    Attributes
    ----------
    right : RightSide
        Which draws them.
    step : int
        Number of the draw.
    """

    right: RightSide
    step: int

    def renewed(self, t: float, length: float, stage: Stage, estimate: float) -> Stage:
        """The stage at the end of a step, on new samples where the run draws them.

        ``estimate`` is that of the map's error, over the spread.
        """
        ...

    def found(self) -> dict[str, float]:
        """What a solution says of the samples."""
        ...


class SamplesControl:
    """Draws the samples of a running flow.

    Attributes
    ----------
    noise : float
        Root of the sum of squares of what the noise has moved the samples by.
    missed : float
        Sum of what directions missed on their own samples: the map cannot follow there.
    """

    def __init__(self, right: RightSide, options: FlowOptions, times: Sequence[float]) -> None:
        self.right, self.options = right, options
        self.wait, self.since = _PATIENCE * (times[-1] - times[0]), times[0]
        self.noise = self.missed = 0.0
        self.step = 0

    def renewed(self, t: float, length: float, stage: Stage, estimate: float) -> Stage:
        """The stage at the end of a step, on new samples where the run draws them.

        ``estimate`` is that of the map's error, over the spread.
        """
        self.step += 1
        if not self.right.renews:
            return stage
        right, own = self.right, stage.misfit
        right.draw(self.step)
        new = right(t, stage.theta)
        fresh = new.misfit_of(stage.eta)
        if math.isfinite(own) and math.isfinite(fresh):
            self._count(t, length, own, fresh, estimate)
        return new

    def _count(self, t: float, length: float, own: float, fresh: float, estimate: float) -> None:
        noise = math.sqrt(max(fresh**2 - own**2, 0.0))
        self.missed += length * own
        self.noise = math.hypot(self.noise, length * noise)
        count, tol = 2 * self.right.samples.count, settled(self.options.tol)
        if "samples" not in self.options.chosen or count > settled(self.options.samples.max):
            return
        late = t - self.since >= self.wait
        lacks = _SHARE * tol < estimate < _LOST * tol
        if late and noise > own and lacks:
            self.right.grow(count)
            why = f"estimated error {estimate:.2g}, defect {fresh:.2g} on fresh samples and "
            self.right.record.changed(t, "samples", count, f"{why}{own:.2g} on its own")
            self.since = t

    def found(self) -> dict[str, float]:
        """Distances that samples' noise and the map's limits have moved the samples by, at most."""
        if not self.right.renews:
            return {}
        return {"noise": self.noise, "missed": self.missed}
