"""Calls of the kernels of moments on a GPU."""

from __future__ import annotations

import numpy as np

from ..moments import Moments
from ..packing import State

__all__ = ["CudaMoments"]


class CudaMoments(Moments):
    """Moments that stay on the device; the host reads the two means over pairs."""

    def _means(self, state: State):
        caller, samples, threads = self.caller, state.samples, self.caller.threads
        blocks, finish = caller.blocks(samples), caller.bound("moments_finish").signature
        sums = caller.empty(finish["sums"].length(block=blocks))
        work = caller.bound("moments").signature["work"].length(block=blocks)
        values = {"x": caller.on_device(state.x), "weight": caller.on_device(samples.weight)}
        values |= {"sums": sums, "work": caller.workspace(work), "tiles": samples.tiles}
        caller.launch("moments", blocks, threads, values)
        found, means = caller.empty(finish["found"].numbers), caller.empty(finish["means"].numbers)
        found_of = {"sums": sums, "found": found, "means": means, "blocks": blocks}
        caller.launch("moments_finish", 1, threads, found_of)
        square, fourth = np.asarray(means).astype(float).tolist()
        return found, square, fourth

    def _add(self, out, state: State, means, slopes: np.ndarray) -> None:
        caller, samples = self.caller, state.samples
        values = {"x": caller.on_device(state.x), "found": means, "tiles": samples.tiles}
        values |= {"slopes": caller.on_device(slopes), "velocity_out": caller.on_device(out)}
        caller.launch("moments_velocity", caller.blocks(samples), caller.threads, values)
