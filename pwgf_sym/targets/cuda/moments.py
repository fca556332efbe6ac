"""Calls of the kernels of moments on a GPU."""

from __future__ import annotations

import numpy as np

from ..moments import Moments
from ..packing import State
from .launch import launch

__all__ = ["CudaMoments"]


class CudaMoments(Moments):
    """Moments that stay on the device; the host reads the two means over pairs."""

    def _means(self, state: State):
        caller, samples = self.caller, state.samples
        blocks, found, means = caller.blocks(samples), caller.empty(self.size), caller.empty(2)
        sums = caller.empty(blocks * self.size)
        work = caller.workspace(blocks * (2 * self.dim + 3) * caller.threads)
        x, weight = caller.on_device(state.x), caller.on_device(samples.weight)
        threads = caller.threads
        launch(self.function(), blocks, threads, x, weight, sums, work, samples.tiles)
        launch(self.function("_finish"), 1, threads, sums, found, means, blocks)
        square, fourth = np.asarray(means).astype(float).tolist()
        return found, square, fourth

    def _add(self, out, state: State, means, slopes: np.ndarray) -> None:
        caller, samples = self.caller, state.samples
        kernel, blocks = self.function("_velocity"), caller.blocks(samples)
        given = caller.on_device(state.x), means, caller.on_device(slopes), caller.on_device(out)
        launch(kernel, blocks, caller.threads, *given, samples.tiles)
