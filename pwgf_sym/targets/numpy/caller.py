"""Calls of kernels that NumPy interprets: nothing is generated, and nothing is compiled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np

from ...emit.module import Emission
from ...loops.signature import Argument, KernelSignature
from ..algebra import HostAlgebra
from ..kernels import (
    Storage,
    carried_by,
    checked_vector,
    missing_kernel,
    require_state,
    reused_rows,
)
from ..packing import Samples, State
from .formulas import energy_kernel
from .map_kernels import MapKernel, Parameters, add_sums

__all__ = ["NumpyCaller"]


class NumpyCaller:
    """Interprets the kernels of one emission; the interface is that of :class:`.KernelCaller`.

    A tile is one sample: packed arrays are (N, components), and have no padding.

    Attributes
    ----------
    by_pieces : bool
        Whether kernels run on any piece of the samples, one after the other: in larger pieces
        NumPy is faster.
    algebra : HostAlgebra
        Dense linear algebra.
    """

    by_pieces = False
    algebra = HostAlgebra()

    def __init__(self, module, emission: Emission, dtype: np.dtype, size: int, rest):
        self.emission, self.dtype, self.size = emission, dtype, size
        self._map_kernels: dict[str, MapKernel] = {}
        self._energy_kernels: dict = {}

    # -- arrays --------------------------------------------------------------------------------

    def vector(self, argument: str, values, size: int) -> np.ndarray:
        """A contiguous vector of the kernels' precision."""
        return checked_vector(argument, values, size, self.dtype)

    def zeros(self, size: int) -> np.ndarray:
        """A vector of zeros."""
        return np.zeros(size, self.dtype)

    def resident(self, samples: Samples) -> Samples:
        """Samples whose arrays stand where kernels run."""
        return samples

    def first(self, vector: np.ndarray, count: int) -> np.ndarray:
        """The first numbers of a vector."""
        return vector[:count]

    def wait(self) -> None:
        """Wait for the end of kernels that were started."""

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Silent about numbers that are not finite, as kernels are; sums of BLAS in one order."""
        with np.errstate(all="ignore"), self.algebra.calls():
            yield

    # -- kernels of the map --------------------------------------------------------------------

    def _signature(self, name: str) -> KernelSignature:
        if name not in self.emission.signatures:
            raise missing_kernel(name)
        return self.emission.signatures[name]

    def _kernel(self, name: str) -> MapKernel:
        if name not in self._map_kernels:
            self._signature(name)
            self._map_kernels[name] = MapKernel(self.emission.kernels[name], self.dtype)
        return self._map_kernels[name]

    def _interpret(
        self, name: str, samples: Samples, theta, eta, inputs: dict, pieces, outputs, rows=None
    ) -> np.ndarray | None:
        """Run a kernel, block by block of its pieces; gives the gradient by theta, if it has one.

        Parameters
        ----------
        inputs : dict of str to (...) array
            The kernel's inputs, packed.
        pieces : iterable of (Storage, int, int)
            Stored values, first and last sample of each piece.
        outputs : dict of str to (...) array
            Where the outputs are written, packed.
        rows : (p, N, d) array, optional
            Where rows of the sample Jacobian are written.
        """
        runner, layout = self._kernel(name), self.emission.layout
        kernel, count, signature = runner.kernel, samples.count, self.emission.signatures[name]
        size = signature["theta"].length(step=self.size // layout.size)
        theta = self.vector("theta", theta, size)
        eta = self.vector("eta", eta, size) if "eta" in signature else None
        given = {
            a.label: self.vector(a.label, inputs[a.label], a.length(sample=count)).reshape(
                _shape(a, count)
            )
            for a in signature.of("input")
        }
        results = {
            a.label: outputs[a.label].reshape(_shape(a, count))
            for a in signature.of("output")
            if a.label in outputs
        }
        total = None
        with self._computing():
            parameters = Parameters(layout, theta, eta)
            shared = runner.shared(parameters)
            for stored, own in _blocks(pieces, self.emission.tiling.block(runner.numbers)):
                values = self._stored(signature, stored, own)
                block = {key: array[own] for key, array in given.items()}
                part = None if rows is None else rows[:, own]
                number = own.stop - own.start
                found, sums = runner.run(number, parameters, shared, block, values, part)
                for key, array in results.items():
                    array[own] = found[key]
                total = add_sums(total, sums)
            return runner.gradient(parameters, shared, total) if kernel.has_gradient else None

    def _stored(
        self, signature: KernelSignature, stored: Storage | None, own: slice
    ) -> dict[str, np.ndarray]:
        """A block's stored values, (steps, n, ...)."""
        found = {}
        for a in signature.of("stored"):
            place = slice(own.start - stored.origin, own.stop - stored.origin)
            shape = _shape(a, self.size // self.emission.layout.size, stored.extent)
            # An array that a longer piece has had may be longer.
            found[a.label] = stored.arrays[a.label][: math.prod(shape)].reshape(shape)[:, place]
        return found

    @staticmethod
    def _pieces(samples: Samples, stored):
        """The pieces of a linearization; all samples where nothing is stored."""
        return [(None, 0, samples.count)] if stored is None else stored(0, samples.count)

    def run(
        self, name: str, samples: Samples, theta, inputs: dict, eta=None, stored=None
    ) -> dict[str, np.ndarray]:
        """Run a kernel that writes per-sample arrays; they come back by name."""
        outputs = {
            a.label: np.empty(a.length(sample=samples.count), self.dtype)
            for a in self._signature(name).of("output")
        }
        pieces = self._pieces(samples, stored)
        self._interpret(name, samples, theta, eta, inputs, pieces, outputs)
        return outputs

    def gradient(self, name: str, samples: Samples, theta, inputs: dict, eta, stored) -> np.ndarray:
        """Run a kernel that sums over the samples; the gradient by theta."""
        pieces = self._pieces(samples, stored)
        return self._interpret(name, samples, theta, eta, inputs, pieces, {})

    def metric(self, samples: Samples, theta, eta, stored) -> np.ndarray:
        """Weighted sum over the samples of J^T J eta."""
        inputs = {"weight": samples.weight}
        return self.gradient("metric", samples, theta, inputs, eta, stored)

    def rows(self, name: str, samples: Samples, theta, inputs: dict, stored) -> np.ndarray:
        """Run a kernel that writes the rows (p, M) of the sample Jacobian, into a reused array."""
        rows = reused_rows(samples, (self.size, samples.width), self.dtype)
        pieces, shape = self._pieces(samples, stored), (self.size, samples.count, samples.dim)
        self._interpret(name, samples, theta, None, inputs, pieces, {}, rows.reshape(shape))
        return rows

    # -- stored values of the forward pass -----------------------------------------------------

    @cached_property
    def tile_bytes(self) -> int:
        """Bytes of a sample's stored values."""
        return sum(array.nbytes for array in self.storage(0, 1).arrays.values())

    @cached_property
    def piece_tiles(self) -> int:
        """Samples of a piece, where the stored values of all do not fit into memory."""
        return self.emission.tiling.piece(self.tile_bytes)

    def storage(self, origin: int, extent: int, kernel: str = "linearize") -> Storage:
        """Arrays for the stored values of ``extent`` samples, not initialized."""
        steps = self.size // self.emission.layout.size
        arrays = {
            a.label: np.empty(a.length(step=steps, sample=extent), self.dtype)
            for a in self._signature(kernel).of("stored")
        }
        return Storage(arrays, origin, extent)

    def forward(self, name: str, theta, state: State):
        """A function of (stored values, first, last): the forward pass into ``state``."""
        samples = state.samples
        outputs = {a.label: state.carried[a.label] for a in self._signature(name).of("output")}

        def run(stored: Storage, first: int, last: int) -> None:
            pieces = [(stored, first, last)]
            self._interpret(name, samples, theta, None, samples.starts, pieces, outputs)

        return run

    def store(self, samples: Samples, theta) -> Storage:
        """The stored values of all samples."""
        whole = self.storage(0, samples.tiles)
        state = State(samples, x=np.empty_like(samples.z))
        self.forward("linearize", theta, state)(whole, 0, samples.tiles)
        return whole

    # -- kernels of the energy -----------------------------------------------------------------

    def _energy_kernel(self, name: str, state: State):
        """What runs a kernel of the energy, and the arrays that it reads, (N, components) each."""
        if name not in self._energy_kernels:
            formulas, tiling = self.emission.formulas[name], self.emission.tiling
            self._energy_kernels[name] = energy_kernel(formulas, self.dtype, tiling)
        runner = self._energy_kernels[name]
        require_state(name, carried_by(self.emission.signatures[name]), state)
        count = state.samples.count
        reads = [n for n in runner.kernel.reads if n != "thirds"]
        names = [*reads, *["partner_weights"] * bool(runner.kernel.partner_weights)]
        return runner, {name: state.carried[name].reshape(count, -1) for name in names}

    def means(self, name: str, state: State, values) -> np.ndarray:
        """Run a kernel that averages formulas; (K,) float64."""
        with self._computing():
            runner, arrays = self._energy_kernel(name, state)
            return runner.means(arrays, values, state.samples)

    def fields(self, name: str, state: State, values, out: dict) -> None:
        """Run a kernel that writes (or, with pairs, adds to) per-sample arrays."""
        with self._computing():
            runner, arrays = self._energy_kernel(name, state)
            written = self.emission.signatures[name].of("output")
            rows = [out[a.label].reshape(state.samples.count, -1) for a in written]
            runner.fields(arrays, values, rows, state.samples)


def _blocks(pieces, most: int) -> Iterator[tuple[Storage | None, slice]]:
    """Pieces cut into blocks of so many samples at most."""
    for stored, first, last in pieces:
        for start in range(first, last, most):
            yield stored, slice(start, min(start + most, last))


def _shape(argument: Argument, *outer: int) -> tuple[int, ...]:
    """The shape of an array, with the lengths of its outer axes."""
    return (*outer, *(size for size in argument.sizes if size is not None))
