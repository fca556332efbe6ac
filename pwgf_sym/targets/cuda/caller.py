"""Calls of generated CUDA kernels: arrays to the device, blocks, partial sums in a fixed order.

Everything stays on the device: samples, what they are pushed to, what ``linearize`` stores of them,
parameters, directions, fields.  Kernels take and give :class:`.vectors.Vector`.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from ...errors import OptionError
from ...runtime.cuda.shared import TEAM
from ..kernels import KernelCaller, Storage, length_of, require_state
from ..packing import Samples, State
from .device import require
from .launch import launch

__all__ = ["CudaCaller"]

# Blocks of a launch at most: four for each multiprocessor of a large GPU; fewer where what a block
# needs for itself would take more bytes than this.  Sums do not depend on the GPU.
_BLOCKS, _ROOM = 512, 2 << 30
# Blocks of threads that work on what samples share take so many times the threads of others: a few
# blocks have all the work.
_MORE = 2
# The same for the kernel that adds up what blocks have found: its blocks are a little more than a
# GPU has room for at a time, and the last ones take as long as the first.
_MANY = 4


class CudaCaller(KernelCaller):
    """Calls the kernels of one loaded module on the current device."""

    by_pieces = False

    def __init__(self, module, emission, dtype: np.dtype, size: int, rest):
        require()
        super().__init__(module, emission, dtype, size, rest)
        from ...runtime.cuda.toolkit import cuda
        from .vectors import Vector

        self.cuda, self.vectors, self.threads = cuda, Vector, emission.tiling.samples
        self._work = None
        self._room: dict[str, Vector] = {}
        self._constants: dict[bytes, Vector] = {}

    @cached_property
    def algebra(self):
        """CuPy's where it is installed, imported when it is first needed."""
        from .algebra import algebra_of_device

        return algebra_of_device()

    # -- arrays --------------------------------------------------------------------------------

    def vector(self, argument: str, values, size: int):
        """A vector on the device; kernels do not check bounds, so its length is checked here."""
        if np.shape(values) != (size,):
            raise OptionError(argument, f"shape {np.shape(values)}", f"shape ({size},)")
        return self.vectors.of(values, self.dtype)

    def zeros(self, size: int):
        return self.vectors.zeros(size, self.dtype)

    def resident(self, samples: Samples) -> Samples:
        """Move the arrays of samples to the device, where they stay."""
        for name, values in samples.starts.items():
            samples.starts[name] = self.vectors.of(values, self.dtype)
        for name in ("weight", "weights", "origin"):
            setattr(samples, name, self.vectors.of(getattr(samples, name), self.dtype))
        return samples

    def wait(self) -> None:
        self.cuda.synchronize()

    def on_device(self, values):
        """A vector on the device, of any values."""
        return self.vectors.of(values, self.dtype)

    def _constant(self, values):
        """A few numbers that calls ask for again and again, copied once."""
        values = np.array(values, self.dtype)
        key = values.tobytes()
        if key not in self._constants:
            self._constants[key] = self.on_device(values)
        return self._constants[key]

    def empty(self, size: int):
        """A vector on the device, not initialized."""
        return self.vectors.empty(max(size, 1), self.dtype)

    def workspace(self, size: int):
        """Room for a kernel, which the next one overwrites."""
        if self._work is None or self._work.size < size:
            self._work = self.empty(size)
        return self._work

    def blocks(self, samples: Samples, numbers: int = 1) -> int:
        """Blocks of a launch over the tiles, where each needs so many numbers for itself."""
        most = _ROOM // (max(numbers, 1) * self.dtype.itemsize)
        return max(1, min(samples.tiles, _BLOCKS, most))

    # -- kernels of the map --------------------------------------------------------------------

    def _prepare(self, name: str, theta, eta):
        emitter, leading, steps = self._leading(name, theta, eta)
        if emitter.table:
            table = self.empty(steps * emitter.table_size)
            work = self.workspace(steps * emitter.work_size)
            launch(
                self._function(name, "_table"), steps, _MORE * self.threads, *leading, table, work
            )
            leading.append(table)
        return emitter, leading, steps

    def _launch(self, name: str, samples: Samples, prepared, given, stored, blocks=None) -> None:
        """Run a kernel on all tiles."""
        emitter, leading, steps = prepared
        kernel, blocks = self._function(name), blocks or self.blocks(samples, emitter.work_size)
        work = self.workspace(blocks * emitter.work_size)
        arrays = self._stored_arrays(emitter.kernel.stored, blocks, stored)
        arguments = [*leading, *arrays, *given, work, samples.tiles, steps]
        if emitter.forgets:
            arguments.append(0 if stored is None else samples.tiles)
        launch(kernel, blocks, self.threads, *arguments)

    def _stored_arrays(self, axes: dict, blocks: int, stored: Storage | None) -> list:
        """Arrays for stored values; without storage one step of a tile for every block."""
        if stored is not None:
            return [stored.arrays[key] for key in axes]
        for key, own in axes.items():
            size = blocks * self.threads * math.prod(a.size for a in own)
            if key not in self._room or self._room[key].size < size:
                self._room[key] = self.empty(size)
        return [self._room[key] for key in axes]

    def _given(self, emitter, samples: Samples, inputs: dict):
        return [
            self.vector(key, inputs[key], length_of(samples, axes))
            for key, axes in emitter.kernel.inputs.items()
        ]

    def run(self, name: str, samples: Samples, theta, inputs: dict, eta=None, stored=None):
        prepared = self._prepare(name, theta, eta)
        outputs = {
            key: self.empty(length_of(samples, axes))
            for key, axes in prepared[0].kernel.outputs.items()
        }
        given = [*self._given(prepared[0], samples, inputs), *outputs.values()]
        self._launch(name, samples, prepared, given, _whole(stored, samples))
        return outputs

    def gradient(self, name: str, samples: Samples, theta, inputs: dict, eta, stored):
        prepared = emitter, leading, steps = self._prepare(name, theta, eta)
        size = steps * emitter.sums_size
        blocks = self.blocks(samples, emitter.work_size + size)
        sums, total = self.empty(blocks * size), self.empty(size)
        given = [*self._given(emitter, samples, inputs), sums]
        self._launch(name, samples, prepared, given, _whole(stored, samples), blocks)
        threads = _MANY * self.threads
        rows = -(-size // min(TEAM, threads))
        launch(self.module.add_partials, rows, threads, sums, total, blocks)
        gradient = self.empty(leading[0].size)
        finish = self._function(name, "_finish")
        work = self.workspace(steps * emitter.work_size)
        launch(finish, steps, _MORE * self.threads, *leading, total, gradient, work)
        return gradient

    def metric(self, samples: Samples, theta, eta, stored):
        # One kernel for both halves would save N d numbers that go to memory and back, a hundredth
        # of what the halves read, and take the registers of both.
        moved = self.run("jvp", samples, theta, {}, eta, stored)["dx"]
        inputs = {"field": moved * samples.weights}
        return self.gradient("vjp", samples, theta, inputs, None, stored)

    def rows(self, name: str, samples: Samples, theta, inputs: dict, stored):
        prepared = self._prepare(name, theta, None)
        rows = self.empty(prepared[1][0].size * samples.width)
        given = [*self._given(prepared[0], samples, inputs), rows, samples.width]
        self._launch(name, samples, prepared, given, _whole(stored, samples))
        return self.algebra.array(rows).reshape(-1, samples.width)

    # -- stored values of the forward pass -----------------------------------------------------

    def storage(self, origin: int, extent: int, kernel: str = "linearize") -> Storage:
        stored = self.emission.kernels[kernel].stored
        each = self.size // self.emission.layout.size * extent * self.threads
        arrays = {
            key: self.vectors.empty(each * math.prod(a.size for a in axes), self.dtype)
            for key, axes in stored.items()
        }
        return Storage(arrays, origin, extent)

    def forward(self, name: str, theta, state: State):
        """Kernels of this target read the stored values of all samples."""
        given = f"{state.samples.count} samples, whose stored values take more"
        accepted = "no more than PWGF_SYM_STORAGE bytes of stored values (a quarter of the memory)"
        raise OptionError("samples", given, accepted, "Take fewer samples, or raise the variable.")

    # -- kernels of the energy -----------------------------------------------------------------

    def _arguments(self, name: str, state: State, values) -> list:
        samples = state.samples
        require_state(name, self.formulas[name], state)
        kept = {key: self.on_device(values) for key, values in state.carried.items()}
        kept["weight"] = self.on_device(samples.weight)
        kept["values"] = self.on_device(values if len(values) else np.zeros(1))
        kept["share"] = self._constant([1.0 / max(samples.count - 1, 1)])
        kept["forms"] = self._constant(self.emission.printers[name].form_numbers() or [0.0])
        kept["number"] = samples.count
        return [kept[key] for key in self.formulas[name] if key in kept]

    def means(self, name: str, state: State, values) -> np.ndarray:
        samples = state.samples
        blocks, count = self.blocks(samples), len(self.emission.formulas[name].means)
        given, sums = self._arguments(name, state, values), self.empty(blocks * count)
        launch(self.of_energy(name), blocks, self.threads, *given, sums, samples.tiles)
        partial = np.asarray(sums)[: blocks * count].reshape(blocks, count)
        return np.add.reduce(partial.astype(float), axis=0)

    def fields(self, name: str, state: State, values, out: list) -> None:
        given = self._arguments(name, state, values)
        kernel, blocks = self.of_energy(name), self.blocks(state.samples)
        launch(kernel, blocks, self.threads, *given, *out, state.samples.tiles)


def _whole(pieces, samples: Samples) -> Storage | None:
    """The stored values of all samples, if there are any."""
    if pieces is None:
        return None
    ((stored, _, _),) = pieces(0, samples.tiles)
    return stored
