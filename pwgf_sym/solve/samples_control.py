"""How many samples a run takes: new ones each step, and more when what they miss costs too much.

A direction that was found on the samples of a step is looked at on those of the next, which it has
not seen.  Where it misses the velocity there by more than on its own samples, the difference is
noise of the samples.  Steps draw anew, so that the noise of one step is independent of that of the
next, and the errors that it makes add up like a random walk's.
"""

from __future__ import annotations

import math

__all__ = ["SamplesControl"]

# Times the tolerance that the noise of samples may come to by the end of the run.  It is counted as
# if the flow kept all of it; on wells, quartics and Gaussians a fourth of it and less was left.
_SHARE = 4.0
# Samples are doubled when the noise passes the share, after so many steps with as many samples.
_PATIENCE = 4


class SamplesControl:
    """Draws the samples of a running flow.

    Attributes
    ----------
    noise : float
        Root of the sum of squares of what the noise has moved the samples by.
    missed : float
        Sum of what directions missed on their own samples: the map cannot follow there.
    """

    def __init__(self, right, options, times):
        self.right, self.options, self.end = right, options, times[-1]
        self.noise = self.missed = self.reach = 0.0
        self.step = self.wait = 0

    def renewed(self, t: float, length: float, stage):
        """The stage at the end of a step, on new samples where the run draws them."""
        self.step += 1
        if not self.options.resample:
            return stage
        right = self.right
        right.draw(self.step)
        new = right(t, stage.theta)
        own, fresh = stage.misfit, new.misfit_of(stage.eta)
        if math.isfinite(own) and math.isfinite(fresh):
            self._count(t, length, own, fresh, new.spread)
        return new

    def _count(self, t: float, length: float, own: float, fresh: float, spread: float) -> None:
        noise = math.sqrt(max(fresh**2 - own**2, 0.0))
        self.missed += length * own
        self.noise = math.hypot(self.noise, length * noise)
        # What the rest adds if steps go on like this one.
        ahead = noise * math.sqrt(length * max(self.end - t, 0.0))
        expected = math.hypot(self.noise, ahead)
        limits = self.missed + own * max(self.end - t, 0.0)
        self.wait += 1
        count = 2 * self.right.samples.count
        allowed = max(_SHARE * self.options.tol * spread, limits)
        if expected <= allowed or self.wait < _PATIENCE or count > self.options.max_samples:
            return
        if "samples" not in self.options.chosen:
            return
        self.right.grow(count)
        self.right.record.changed(t, "samples", count, f"noise of {expected:.2g} expected")
        self.wait = 0

    def found(self) -> dict:
        """Distances that samples' noise and the map's limits have moved the samples by, at most."""
        if not self.options.resample:
            return {}
        return {"noise": self.noise, "missed": self.missed}
