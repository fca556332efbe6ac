"""Sums over an index at samples: their values and gradients, by kernels of modules of their own."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from dataclasses import replace
from functools import cached_property

import numpy as np

from ..derive.families import Family
from ..derive.sums import IndexedSum
from ..emit.sums import emit_sum
from ..errors import OptionError
from ..kernels.carried import levels
from ..kernels.sums import SumKernels, sum_kernels
from ..kernels.terms import length_of_limit
from ..schedule.groups import parts_of
from ..sharing import symbols_of
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
        self._at_own_time(state)
        for name, one in self.sums.items():
            one.carry(state, name, None)
            found[name] = samples.unpack_scalar(np.asarray(state.carried[name], float))
        return found

    def _at_own_time(self, state: State) -> None:
        """Forget what samples carry of the energy where that is of another time."""
        if state.time != self.time:
            for name in {*state.carried} - {one.name for one in levels()[-1]}:
                del state.carried[name]
            state.time = self.time

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
    data : (steps * size,) array or None
        What the kernels' steps read; None where it depends on a time that is not said.
    family : Family or None
        The sum over integrals whose first variation it is.

    Parameters
    ----------
    place : int
        Where its means begin among the program's integrals.
    """

    def __init__(self, program, one: IndexedSum, family: Family | None, place: int):
        self.program, self.family = program, family
        parameters = program.derived.parameters
        self.kernels = sum_kernels(one, program.form.coordinates, parameters, family)
        self._place, self._rows, self.data = place, None, None
        self._modules: dict[str, SumModule] = {}
        formulas = [one.formula] if family is None else [one.formula, family.node]
        self._moves = program.problem.time in symbols_of(*formulas)
        if not self._moves:
            self._read(parameters)

    def _read(self, parameters: dict) -> None:
        """Take the values of parameters."""
        derived, dtype = replace(self.program.derived, parameters=parameters), self.program.dtype
        if self.family is None:
            self.data = pack_data(self.kernels, derived.arrays, parameters, dtype)
        else:
            self._rows = FamilyRows(self.family, self.kernels, derived, dtype)
            self.data = self._rows.data(None)

    def at(self, parameters: dict) -> SampleSum:
        """The sum with other values of parameters, of which the time is one."""
        if not self._moves:
            return self
        found = copy(self)
        found._read(parameters)
        return found

    @property
    def number_of_means(self) -> int:
        """J and rows of its means; 0 where there are none."""
        if self.family is None:
            return 0
        count = length_of_limit(self.family.node.limits[0], self.program.derived.parameters)
        return len(self.family.means) * count

    def _module(self, *names: str) -> SumModule:
        if names[-1] not in self._modules:
            self._modules[names[-1]] = SumModule(self.program, self.kernels, names)
        return self._modules[names[-1]]

    @property
    def first(self) -> SumModule:
        """Values and gradients."""
        name = self.kernels.name
        own = name if self.family is None else f"{name}_means"
        return self._module(own, f"{name}_slope")

    @property
    def second(self) -> SumModule:
        """Second derivatives, which only some methods in time ask for."""
        return self._module(f"{self.kernels.name}_hessian")

    def _check_time(self) -> None:
        """Refuse what has no value without a time."""
        if self.data is None:
            accepted = "a time, of which the terms of a sum are"
            raise OptionError("time", "None", accepted, "Use program.at(0.0).")

    def means(self, state: State) -> np.ndarray:
        """Means of the integrands over the samples, one after the other, float64."""
        self._check_time()
        if not self.number_of_means:  # of the mass alone
            return np.zeros(0)
        name, module = f"{self.kernels.name}_means", self.first
        inputs = {"x": state.x, "weight": state.samples.weight}
        calls = module.calls(self.data.size)
        return self._rows.means(calls.gradient(name, state.samples, self.data, inputs, None, None))

    def value(self, means: np.ndarray) -> float:
        """The value of the sum over integrals."""
        return self._rows.value(means)

    def _data_at(self, integrals) -> np.ndarray:
        """What the kernels' steps read where the integrals have these values."""
        self._check_time()
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
