"""Kernels of a map run by NumPy: sweeps over the steps, blocks of samples at a time."""

from __future__ import annotations

import math

import numpy as np

from ...kernels.kernels import Kernel, Sweep
from ...loops.kernels import Layout
from ...schedule.groups import parts_of
from ...tensors import Tensor
from ...tensors.evaluate import Graph

__all__ = ["MapKernel", "Parameters", "add_sums"]

Arrays = dict[str, np.ndarray]
# By sweep and by step: sums over samples, or values that samples share.
Sums = list[list[dict[Tensor, np.ndarray]]]


class Parameters:
    """Parameters of every step by name, and what kernels compute of them alone.

    Parameters
    ----------
    layout : Layout
        Where parameters stand in a step's part of ``theta``.
    theta : (p,) array
    eta : (p,) array, optional
        A direction in parameter space, whose parts are called "eta." and the parameter's name.
    """

    def __init__(self, layout: Layout, theta: np.ndarray, eta: np.ndarray | None = None):
        self.layout = layout
        self.steps: list[Arrays] = [
            self._named(theta, step) | ({} if eta is None else self._named(eta, step, "eta."))
            for step in range(theta.size // layout.size)
        ]

    def _named(self, values: np.ndarray, step: int, prefix: str = "") -> Arrays:
        return {
            prefix + name: values[self.place(name, step)].reshape([a.size for a in axes])
            for name, axes in self.layout.axes.items()
        }

    def place(self, name: str, step: int) -> slice:
        """Where a step's parameter stands in ``theta``."""
        start = step * self.layout.size + self.layout.offsets[name]
        return slice(start, start + math.prod(a.size for a in self.layout.axes[name]))


class _SweepGraphs:
    """A sweep as graphs: what samples share, the samples, what is left to do with their sums."""

    def __init__(self, sweep: Sweep, dtype: np.dtype):
        self.sweep, parts = sweep, parts_of(sweep)
        self.reductions = parts.reduction
        self.shared = Graph(parts.table, dtype)
        outputs = [*sweep.saved.values(), *(c.after for c in sweep.carries.values())]
        outputs += [*sweep.rows.values(), *parts.reduction]
        self.samples = Graph(outputs, dtype, set(parts.table))
        known = {*parts.table, *parts.reduction}
        self.finish = Graph(sweep.gradients.values(), dtype, known)


class MapKernel:
    """A kernel of a map, run by NumPy on as many samples as it is given.

    Attributes
    ----------
    kernel : Kernel
    numbers : int
        Numbers a sample that it holds at a time at most.
    """

    def __init__(self, kernel: Kernel, dtype: np.dtype):
        self.kernel, self.dtype = kernel, np.dtype(dtype)
        self._sweeps = [_SweepGraphs(sweep, self.dtype) for sweep in kernel.sweeps]
        self.numbers = max(graphs.samples.numbers for graphs in self._sweeps)

    def shared(self, parameters: Parameters) -> Sums:
        """Values that samples share, sweep by sweep, step by step."""
        return [[graphs.shared(step) for step in parameters.steps] for graphs in self._sweeps]

    def run(
        self, count: int, parameters: Parameters, shared, inputs: Arrays, stored: Arrays, rows=None
    ) -> tuple[Arrays, Sums]:
        """Run the sweeps on a block of samples.

        Parameters
        ----------
        count : int
            Number n of samples.
        parameters : Parameters
        shared : list of list of dict
            What :meth:`shared` gives for them.
        inputs : dict of str to (n, ...) array
            The kernel's inputs.
        stored : dict of str to (steps, n, ...) array
            Values of the forward pass, which are read or written.
        rows : (p, n, d) array, optional
            Where rows of the sample Jacobian are written.

        Returns
        -------
        outputs : dict of str to (n, ...) array
        sums : list of list of dict
            Sums over the samples, sweep by sweep, step by step.
        """
        carried: Arrays = {}
        sums: Sums = []
        for graphs, known in zip(self._sweeps, shared, strict=True):
            sweep, steps = graphs.sweep, range(len(parameters.steps))
            carried |= self._starts(sweep, inputs, count)
            sums.append([{} for _ in steps])
            for step in {1: steps, -1: reversed(steps), 0: range(1)}[sweep.direction]:
                given = {name: array[step] for name, array in stored.items()}
                given |= parameters.steps[step] | inputs | carried
                values = graphs.samples(given, known[step])
                for name, tensor in sweep.saved.items():
                    stored[name][step] = values[tensor]
                for name, tensor in sweep.rows.items():
                    own = rows[parameters.place(name, step)]
                    _write_row(own, values[tensor], tensor.per_sample)
                for name, carry in sweep.carries.items():
                    shape = (count, *(a.size for a in carry.before.axes))
                    carried[name] = np.broadcast_to(values[carry.after], shape)
                sums[-1][step] = {tensor: values[tensor] for tensor in graphs.reductions}
        return {name: carried[name] for name in self.kernel.outputs}, sums

    def _starts(self, sweep: Sweep, inputs: Arrays, count: int) -> Arrays:
        """Carries at the first step of a sweep; others keep what an earlier sweep has left."""
        found = {}
        for name, carry in sweep.carries.items():
            if carry.start == "0":
                found[name] = np.zeros((count, *(a.size for a in carry.before.axes)), self.dtype)
            elif carry.start is not None:
                found[name] = inputs[carry.start]
        return found

    def gradient(self, parameters: Parameters, shared, sums: Sums) -> np.ndarray:
        """From sums over all samples to the gradient by theta, (p,)."""
        gradient = np.zeros(len(parameters.steps) * parameters.layout.size, self.dtype)
        for graphs, known, totals in zip(self._sweeps, shared, sums, strict=True):
            for step in range(len(totals)) if graphs.sweep.gradients else ():
                found = graphs.finish(parameters.steps[step], known[step] | totals[step])
                for name, tensor in graphs.sweep.gradients.items():
                    gradient[parameters.place(name, step)] = found[tensor].ravel()
        return gradient


def add_sums(total: Sums | None, sums: Sums) -> Sums:
    """Sums of one block of samples added to those of the blocks before."""
    if total is None:
        return sums
    for before, more in zip(total, sums, strict=True):
        for own, other in zip(before, more, strict=True):
            for tensor, value in other.items():
                own[tensor] = own[tensor] + value
    return total


def _write_row(rows: np.ndarray, values: np.ndarray, per_sample: bool) -> None:
    """Write values (n, d, ...), or (d, ...) where no sample changes them, as (size, n, d)."""
    size, count, dim = rows.shape
    rows[:] = values.reshape(count if per_sample else 1, dim, size).transpose(2, 0, 1)
