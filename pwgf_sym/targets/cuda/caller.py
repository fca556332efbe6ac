"""Calls of generated CUDA kernels: arrays to the device, blocks, partial sums in a fixed order.

Everything stays on the device: samples, what they are pushed to, what ``linearize`` stores of them,
parameters, directions, fields.  Kernels take and give :class:`.vectors.Vector`.
"""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np

from ...errors import OptionError
from ...runtime.cuda.shared import TEAM
from ..bound import BoundKernel
from ..kernels import KernelCaller, Storage, require_state
from ..packing import Samples, State
from ..partners import Batch
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
        samples.starts = samples.starts.moved(partial(self.vectors.of, dtype=self.dtype))
        for name in ("weight", "weights", "origin"):
            setattr(samples, name, self.vectors.of(getattr(samples, name), self.dtype))
        return samples

    def first(self, vector, count: int) -> np.ndarray:
        return self.on_device(vector).first(count)

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

    def launch(self, name: str, blocks: int, threads: int, values: dict) -> None:
        """Run a function of the module."""
        kernel = self.bound(name)
        launch(kernel.function, blocks, threads, *kernel.arguments(values))

    def _fill_table(self, name: str, values: dict) -> None:
        self._of_steps(name, values | self._numbers(name))

    def _of_steps(self, name: str, values: dict) -> None:
        """Run a part of a kernel of the map, which takes a block a step."""
        steps, work = values["steps"], self.bound(name).signature["work"]
        values["work"] = self.workspace(work.length(step=steps))
        self.launch(name, steps, _MORE * self.threads, values)

    def _launch(self, kernel: BoundKernel, samples: Samples, values, stored, blocks=None) -> None:
        """Run a kernel of the map on all tiles."""
        work = kernel.signature["work"]
        blocks = blocks or self.blocks(samples, work.numbers)
        given = values | self._stored_arrays(kernel, blocks, stored)
        given["work"], given["tiles"] = self.workspace(work.length(block=blocks)), samples.tiles
        given["extent"] = 0 if stored is None else samples.tiles
        launch(kernel.function, blocks, self.threads, *kernel.arguments(given))

    def _stored_arrays(self, kernel: BoundKernel, blocks: int, stored: Storage | None) -> dict:
        """Arrays for stored values; without storage one step of a tile for every block."""
        arguments = kernel.signature.of("stored")
        if stored is not None:
            return {a.name: stored.arrays[a.label] for a in arguments}
        for a in arguments:
            size = a.length(step=1, sample=blocks * self.threads)
            if a.name not in self._room or self._room[a.name].size < size:
                self._room[a.name] = self.empty(size)
        return {a.name: self._room[a.name] for a in arguments}

    def run(self, name: str, samples: Samples, theta, inputs: dict, eta=None, stored=None):
        kernel, values = self._prepare(name, theta, eta)
        self._add_inputs(values, kernel, samples, inputs)
        outputs = self._add_outputs(values, kernel, samples)
        self._launch(kernel, samples, values, _whole(stored, samples))
        return outputs

    def gradient(self, name: str, samples: Samples, theta, inputs: dict, eta, stored):
        kernel, values = self._prepare(name, theta, eta)
        size = kernel.sizes["sums"]
        blocks = self.blocks(samples, kernel.signature["work"].numbers + size)
        sums, total = self.empty(blocks * size), self.empty(size)
        self._add_inputs(values, kernel, samples, inputs)
        self._launch(kernel, samples, values | {"sums": sums}, _whole(stored, samples), blocks)
        threads = _MANY * self.threads
        rows = -(-size // min(TEAM, threads))
        launch(self.module.add_partials, rows, threads, sums, total, blocks)
        gradient = self.empty(values["theta"].size)
        self._of_steps(f"{name}_finish", values | {"sums": total, "gradient": gradient})
        return gradient

    def metric(self, samples: Samples, theta, eta, stored):
        # One kernel for both halves would save N d numbers that go to memory and back, a hundredth
        # of what the halves read, and take the registers of both.
        moved = self.run("jvp", samples, theta, {}, eta, stored)["dx"]
        inputs = {"field": moved * samples.weights}
        return self.gradient("vjp", samples, theta, inputs, None, stored)

    def rows(self, name: str, samples: Samples, theta, inputs: dict, stored):
        kernel, values = self._prepare(name, theta)
        rows = self.empty(values["theta"].size * samples.width)
        self._add_inputs(values, kernel, samples, inputs)
        values |= {"rows": rows, "width": samples.width}
        self._launch(kernel, samples, values, _whole(stored, samples))
        return self.algebra.array(rows).reshape(-1, samples.width)

    # -- stored values of the forward pass -----------------------------------------------------

    def forward(self, name: str, theta, state: State):
        """Kernels of this target read the stored values of all samples."""
        given = f"{state.samples.count} samples, whose stored values take more"
        accepted = "no more than PWGF_SYM_STORAGE bytes of stored values (a quarter of the memory)"
        raise OptionError("samples", given, accepted, "Take fewer samples, or raise the variable.")

    # -- kernels of the energy -----------------------------------------------------------------

    def _formula_values(self, kernel: BoundKernel, state: State, values) -> dict:
        signature, samples = kernel.signature, state.samples
        require_state(signature.name, self._carried(kernel), state)
        found = {key: self.on_device(values) for key, values in state.carried.items()}
        found["weight"] = self.on_device(samples.weight)
        found["values"] = self.on_device(values if len(values) else np.zeros(1))
        if "share" in signature:
            found["share"] = self._constant([self._share(kernel, samples)])
        found |= {a.name: self._constant(a.values) for a in signature.of("constant")}
        return found | {"number": samples.count, "tiles": samples.tiles, "group": samples.tiles}

    def _of_batch(self, batch: Batch | None, kernel: BoundKernel, samples: Samples) -> dict:
        """What partners a sample has: those of its group, where there are groups."""
        if batch is None:
            return {}
        share = self._constant([self._formulas(kernel).share(batch.size)])
        return {"share": share, "number": batch.size, "group": batch.tiles(samples.lanes)}

    def means(self, name: str, state: State, values) -> np.ndarray:
        if self._in_groups(name, state):
            return self._group_means(name, state, values)
        return self._means_of(None, name, state, values)

    def _means_of(self, batch: Batch | None, name: str, state: State, values) -> np.ndarray:
        kernel, blocks = self.bound(name), self.blocks(state.samples)
        argument, given = kernel.signature["sums"], self._formula_values(kernel, state, values)
        given |= self._of_batch(batch, kernel, state.samples)
        size = argument.length(block=blocks)
        sums = given["sums"] = self.empty(size)
        launch(kernel.function, blocks, self.threads, *kernel.arguments(given))
        partial = np.asarray(sums)[:size].reshape(blocks, argument.numbers)
        return np.add.reduce(partial.astype(float), axis=0)

    def fields(self, name: str, state: State, values, out: dict) -> None:
        if self._in_groups(name, state):
            self._group_fields(name, state, values, out)
        else:
            self._fields_of(None, name, state, values, out)

    def _fields_of(self, batch: Batch | None, name: str, state: State, values, out: dict) -> None:
        kernel, blocks = self.bound(name), self.blocks(state.samples)
        given = self._field_values(kernel, state, values, out)
        given |= self._of_batch(batch, kernel, state.samples)
        launch(kernel.function, blocks, self.threads, *kernel.arguments(given))


def _whole(pieces, samples: Samples) -> Storage | None:
    """The stored values of all samples, if there are any."""
    if pieces is None:
        return None
    ((stored, _, _),) = pieces(0, samples.tiles)
    return stored
