"""Sums over an index at samples: their values and gradients, by kernels of modules of their own."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

import numpy as np

from ..derive.families import Family
from ..derive.sums import IndexedSum
from ..emit.sums import emit_sum
from ..kernels.sums import SumKernels, sum_kernels
from ..schedule.groups import parts_of
from .data import pack_data
from .families import FamilyRows
from .packing import State

__all__ = ["SampleSum", "SumMethods", "SumModule"]

# Numbers that all samples share, for the steps of one call.
_SHARED = 1 << 23


class SumMethods:
    """Methods of a program about the sums over an index in its energy."""

    @cached_property
    def sums(self) -> dict[str, SampleSum]:
        """What computes the sums, by name."""
        found, families, place = {}, self.form.families, len(self.form.integrals)
        for one in self.form.sums:
            found[one.name] = SampleSum(self, one, families.get(one.name), place)
            place += found[one.name].number_of_means
        return found

    def sums_at(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """Values of the sums at points (N, d) of the user's coordinates, (N,) each, by name."""
        samples = self.packed(points)
        state, found = State(samples, x=samples.z), {}
        for name, one in self.sums.items():
            one.carry(state, name, None)
            found[name] = samples.unpack_scalar(np.asarray(state.carried[name], float))
        return found

    def _carry_sums(self, state: State, kernel: str, integrals) -> None:
        """Compute what a kernel of the energy reads of sums, where the state has it not yet."""
        formulas = self.emission.formulas.get(kernel)
        for name in formulas.reads if formulas is not None else ():
            one = self.sums.get(name.removesuffix("_slope"))
            # What hangs on the integrals is computed anew.
            if one is not None and (one.family is not None or name not in state.carried):
                one.carry(state, name, integrals)

    def _add_families(self, found: np.ndarray, state: State) -> list[np.ndarray]:
        """Put in the values of sums over integrals; their means come back."""
        means: list[np.ndarray] = []
        for k, integral in enumerate(self.form.integrals):
            if integral.family is not None:
                one = self.sums[integral.family.moved.name]
                means.append(one.means(state))
                found[k] = one.value(means[-1])
        return means


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
    family : Family or None
        The sum over integrals whose first variation it is.

    Parameters
    ----------
    place : int
        Where its means begin among the program's integrals.
    """

    def __init__(self, program, one: IndexedSum, family: Family | None, place: int):
        self.program, derived, self.family = program, program.derived, family
        form, parameters = program.form, derived.parameters
        self.kernels = sum_kernels(one, form.coordinates, parameters, family)
        self._place, self._rows = place, None
        if family is None:
            self.data = pack_data(self.kernels, derived.arrays, parameters, program.dtype)
        else:
            self._rows = FamilyRows(family, self.kernels, derived, program.dtype)
            self.data = self._rows.data(None)

    @property
    def number_of_means(self) -> int:
        """J and rows of its means; 0 where there are none."""
        return 0 if self.family is None else len(self.family.means) * self._rows.count

    @cached_property
    def first(self) -> SumModule:
        """Values and gradients."""
        name = self.kernels.name
        own = name if self.family is None else f"{name}_means"
        return SumModule(self.program, self.kernels, [own, f"{name}_slope"])

    @cached_property
    def second(self) -> SumModule:
        """Second derivatives, which only some methods in time ask for."""
        return SumModule(self.program, self.kernels, [f"{self.kernels.name}_hessian"])

    def means(self, state: State) -> np.ndarray:
        """Means of the integrands over the samples, one after the other, float64."""
        name, module = f"{self.kernels.name}_means", self.first
        inputs = {"x": state.x, "weight": state.samples.weight}
        calls = module.calls(self.data.size)
        return self._rows.means(calls.gradient(name, state.samples, self.data, inputs, None, None))

    def value(self, means: np.ndarray) -> float:
        """The value of the sum over integrals."""
        return self._rows.value(means)

    def _data_at(self, integrals) -> np.ndarray:
        """What the kernels' steps read where the integrals have these values."""
        if self.family is None:
            return self.data
        return self._rows.data(integrals[self._place : self._place + self.number_of_means])

    def hessians(self, state: State, integrals) -> np.ndarray:
        """Second derivatives at the samples, (N, d, d)."""
        name, samples, d = self.kernels.name, state.samples, self.program.dim
        self.carry(state, f"{name}_hessian", integrals)
        packed = np.asarray(state.carried.pop(f"{name}_hessian"))
        grid = packed.reshape(samples.tiles, d * d, samples.lanes).transpose(0, 2, 1)
        found = grid.reshape(-1, d, d)[: samples.count]
        if self.kernels.logarithm:
            if f"{name}_slope" not in state.carried:
                self.carry(state, f"{name}_slope", integrals)
            slopes = samples.unpack(np.asarray(state.carried[f"{name}_slope"]))
            found = found - slopes[:, :, None] * slopes[:, None, :]
        return found

    def carry(self, state: State, name: str, integrals) -> None:
        """Add the values, or the gradients, to what the samples carry."""
        reads = self.kernels.kernels[name].inputs
        for other in reads:
            if other not in state.carried:
                self.carry(state, other, integrals)
        inputs = {other: state.carried[other] for other in reads}
        found, module = None, self.first if name in self.first.emission.kernels else self.second
        for data in self._parts(name, self._data_at(integrals)):
            part = module.calls(data.size).run(name, state.samples, data, inputs)[name]
            found = part if found is None else found + part
        state.carried[name] = found

    def _parts(self, name: str, data: np.ndarray) -> list[np.ndarray]:
        """The data in parts that a kernel reads one after the other: the sums of all are added.

        What samples share is computed before them, and would take as much memory again, for a
        Hessian d times as much.
        """
        layout = self.first.emission.layout.size
        sweeps = self.kernels.kernels[name].sweeps
        shared = sum(tensor.size for sweep in sweeps for tensor in parts_of(sweep).table)
        steps = data.size // layout
        most = max(1, _SHARED // max(shared, 1))
        if name == self.kernels.name or steps <= most:
            return [data]
        return [data[k * layout : (k + most) * layout] for k in range(0, steps, most)]
