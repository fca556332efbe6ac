"""Sums over an index at samples: their values and gradients, by kernels of modules of their own."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

import numpy as np

from ..derive.sums import IndexedSum
from ..emit.sums import emit_sum
from ..kernels.sums import SumKernels, sum_kernels
from ..schedule.groups import parts_of
from .data import pack_data
from .packing import State

__all__ = ["SampleSum", "SumMethods", "SumModule"]

# Numbers that all samples share, for the steps of one call.
_SHARED = 1 << 23


class SumMethods:
    """Methods of a program about the sums over an index in its energy."""

    @cached_property
    def sums(self) -> dict[str, SampleSum]:
        """What computes the sums, by name."""
        return {one.name: SampleSum(self, one) for one in self.form.sums}

    def sums_at(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """Values of the sums at points (N, d) of the user's coordinates, (N,) each, by name."""
        samples = self.packed(points)
        state, found = State(samples, x=samples.z), {}
        for name, one in self.sums.items():
            one.carry(state, name)
            found[name] = samples.unpack_scalar(np.asarray(state.carried[name], float))
        return found

    def _carry_sums(self, state: State, kernel: str) -> None:
        """Compute what a kernel of the energy reads of sums, where the state has it not yet."""
        formulas = self.emission.formulas.get(kernel)
        for name in formulas.reads if formulas is not None else ():
            if name not in state.carried:
                one = self.sums.get(name.removesuffix("_slope"))
                if one is not None:
                    one.carry(state, name)


class SumModule:
    """Some kernels of a sum, in a module of their own.

    Attributes
    ----------
    emission : Emission
        The module's text.
    path : pathlib.Path or None
        The generated module, if there is one.
    dtype : numpy.dtype
        Precision.
    """

    def __init__(self, program, kernels: SumKernels, names: Collection[str]):
        self.program, self.dtype = program, program.dtype
        self.emission = emit_sum(kernels, names, program.emission)
        name = f"sum_d{program.dim}_{program.dtype.name}"
        self.path = program.host.write(self.emission.text, name, program.folder)
        self._callers: dict[int, object] = {}

    @cached_property
    def module(self):
        """The generated module, imported."""
        return self.program.host.load(self.path, self.emission.text)

    def calls(self, size: int):
        """Calls of its kernels by name, for data of a size."""
        if size not in self._callers:
            program = self.program
            kind = type(program.kernels)
            self._callers[size] = kind(self.module, self.emission, self.dtype, size, lambda: None)
        return self._callers[size]


class SampleSum:
    """One sum of a program's energy.

    Attributes
    ----------
    kernels : SumKernels
        What is computed.
    data : (steps * size,) array
        What the kernels' steps read.
    """

    def __init__(self, program, one: IndexedSum):
        self.program, derived = program, program.derived
        self.kernels = sum_kernels(one, program.form.coordinates, derived.parameters)
        self.data = pack_data(self.kernels, derived.arrays, derived.parameters, program.dtype)

    @cached_property
    def first(self) -> SumModule:
        """Values and gradients."""
        name = self.kernels.name
        return SumModule(self.program, self.kernels, [name, f"{name}_slope"])

    @cached_property
    def second(self) -> SumModule:
        """Second derivatives, which only some methods in time ask for."""
        return SumModule(self.program, self.kernels, [f"{self.kernels.name}_hessian"])

    def hessians(self, state: State) -> np.ndarray:
        """Second derivatives at the samples, (N, d, d)."""
        name, samples, d = self.kernels.name, state.samples, self.program.dim
        self.carry(state, f"{name}_hessian")
        packed = np.asarray(state.carried.pop(f"{name}_hessian"))
        grid = packed.reshape(samples.tiles, d * d, samples.lanes).transpose(0, 2, 1)
        found = grid.reshape(-1, d, d)[: samples.count]
        if self.kernels.logarithm:
            if f"{name}_slope" not in state.carried:
                self.carry(state, f"{name}_slope")
            slopes = samples.unpack(np.asarray(state.carried[f"{name}_slope"]))
            found = found - slopes[:, :, None] * slopes[:, None, :]
        return found

    def carry(self, state: State, name: str) -> None:
        """Add the values, or the gradients, to what the samples carry."""
        reads = self.kernels.kernels[name].inputs
        for other in reads:
            if other not in state.carried:
                self.carry(state, other)
        inputs = {other: state.carried[other] for other in reads}
        found, module = None, self.first if name in self.first.emission.kernels else self.second
        for data in self._parts(name):
            part = module.calls(data.size).run(name, state.samples, data, inputs)[name]
            found = part if found is None else found + part
        state.carried[name] = found

    def _parts(self, name: str) -> list[np.ndarray]:
        """The data in parts that a kernel reads one after the other: the sums of all are added.

        What samples share is computed before them, and would take as much memory again, for a
        Hessian d times as much.
        """
        layout = self.first.emission.layout.size
        sweeps = self.kernels.kernels[name].sweeps
        shared = sum(tensor.size for sweep in sweeps for tensor in parts_of(sweep).table)
        steps = self.data.size // layout
        most = max(1, _SHARED // max(shared, 1))
        if name == self.kernels.name or steps <= most:
            return [self.data]
        return [self.data[k * layout : (k + most) * layout] for k in range(0, steps, most)]
