"""Calls of generated kernels: arguments by name, chunks over threads, sums in a fixed order."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from ..arguments import real_array
from ..emit.module import Emission
from ..errors import FormulaError, OptionError
from ..kernels.carried import levels
from ..kernels.energies import FormulaKernel
from ..loops.signature import KernelSignature
from .algebra import HostAlgebra
from .bound import BoundKernel
from .packing import Samples, State, aligned_empty
from .partners import GroupCalls
from .threads import CHUNKS, chunk_bounds, run_chunks, work_bounds

__all__ = [
    "KernelCaller",
    "Storage",
    "checked_vector",
    "missing_kernel",
    "require_state",
    "reused_rows",
]

# Multiplications that an energy's formula takes for a coordinate of a sample, roughly.
_FORMULA = 16
# Tiles of a piece, whose stored values stay in a core's own cache from the forward pass to the
# product: longer pieces take fewer calls, but where two threads wrote pieces of twice the size at a
# time, both became much slower for seconds on end (docs/benchmarks.md, History).
_PIECE_BYTES, _PIECES = 5 << 18, (64, 32, 16)


@dataclass
class Storage:
    """Values of the map's forward pass for ``extent`` tiles from ``origin`` on, by name.

    Each array is (steps, extent, components, samples of a tile), flat.
    """

    arrays: dict[str, np.ndarray]
    origin: int
    extent: int
    _chosen: dict = field(default_factory=dict, init=False, repr=False)

    def of(self, names: tuple[str, ...]) -> tuple:
        """The arrays of these names; kept, as this is asked for every piece."""
        if names not in self._chosen:
            self._chosen[names] = tuple(self.arrays[name] for name in names)
        return self._chosen[names]


def checked_vector(argument: str, values, size: int, dtype: np.dtype) -> np.ndarray:
    """A contiguous vector; kernels do not check bounds, so its length is checked here."""
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        values = real_array(argument, values, finite=False, accepted=f"shape ({size},)")
    found = np.ascontiguousarray(values, dtype=dtype)
    if found.shape != (size,):
        raise OptionError(argument, f"shape {found.shape}", f"shape ({size},)")
    return found


def missing_kernel(name: str) -> FormulaError:
    """The error of a kernel that was left out when it was printed."""
    accepted = "an activation with derivatives that can be printed"
    return FormulaError("activation", f"one without the kernel {name}", accepted)


def carried_by(signature: KernelSignature) -> tuple[str, ...]:
    """What a kernel reads of what samples carry."""
    return tuple(quantity.name for quantity in levels()[-1] if quantity.name in signature)


def require_state(name: str, read: Iterable[str], state: State) -> None:
    """Refuse a state that lacks what a kernel reads."""
    missing = [key for key in read if key not in state.carried]
    if missing:
        fix, accepted = f'Push with carry="{missing[-1]}".', f"what {name} reads"
        raise OptionError("state", f"no {' and no '.join(missing)}", accepted, fix)


def reused_rows(samples: Samples, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Room for the rows of a sample Jacobian, which the next call overwrites."""
    rows = samples.scratch.get("rows")
    if rows is None or rows.shape != shape or rows.dtype != dtype:
        rows = samples.scratch["rows"] = np.empty(shape, dtype)
    return rows


class KernelCaller(GroupCalls):
    """Calls the kernels of one loaded module.

    Attributes
    ----------
    by_pieces : bool
        Whether kernels run on any piece of the samples, one after the other.
    algebra : HostAlgebra
        Dense linear algebra, near to where kernels run.

    Parameters
    ----------
    rest : callable
        Gives the program that has the kernels which this one leaves out, or None.
    """

    by_pieces = True
    algebra = HostAlgebra()

    def __init__(self, module, emission: Emission, dtype: np.dtype, size: int, rest):
        self.module, self.emission, self.dtype, self.size = module, emission, dtype, size
        self._rest = rest
        self._orders: dict[str, np.ndarray] = {}
        self._bound: dict[str, BoundKernel] = {}
        self._rooms = threading.local()
        self._constants_of: dict[str, dict] = {}
        self._reads: dict[BoundKernel, tuple[str, ...]] = {}

    # -- kernels of the map -------------------------------------------------------------------

    def vector(self, argument: str, values, size: int) -> np.ndarray:
        """A contiguous vector of the kernels' precision."""
        return checked_vector(argument, values, size, self.dtype)

    def empty(self, size: int):
        """A vector where kernels run, not initialized."""
        return aligned_empty(size, self.dtype)

    def zeros(self, size: int):
        """A vector of zeros where kernels run."""
        return np.zeros(size, self.dtype)

    def resident(self, samples: Samples) -> Samples:
        """Samples whose arrays stand where kernels run."""
        return samples

    def first(self, vector, count: int) -> np.ndarray:
        """The first numbers of a vector, on the host."""
        return np.asarray(vector[:count])

    def wait(self) -> None:
        """Wait for the end of kernels that were started."""

    def bound(self, name: str) -> BoundKernel:
        """A function of the module, or of the one with the kernels that this one leaves out.

        Raises
        ------
        FormulaError
            If it is a kernel that was left out when it was printed.
        """
        found = self._bound.get(name)
        if found is None:
            module, signatures = self.module, self.emission.signatures
            other = None if name in signatures else self._rest()
            if other is not None:
                module, signatures = other.module, other.emission.signatures
            if name not in signatures:
                raise missing_kernel(name)
            function = getattr(module, signatures[name].name)
            steps = self.size // self.emission.layout.size
            found = self._bound[name] = BoundKernel(function, signatures[name], steps)
        return found

    def _prepare(self, name: str, theta, eta=None) -> tuple[BoundKernel, dict]:
        """A kernel of the map, and what all samples share: theta, eta, number of steps, table."""
        kernel, vectors = self.bound(name), {"theta": theta, "eta": eta}
        values: dict = {"steps": kernel.steps}
        for key, size in kernel.vectors:
            values[key] = self.vector(key, vectors[key], size)
        if "table" in kernel.sizes:
            values["table"] = self.empty(kernel.sizes["table"])
            self._fill_table(f"{name}_table", values)
        return kernel, values

    def _fill_table(self, name: str, values: dict) -> None:
        """Compute what all samples share."""
        numbers = self._numbers(name)
        self.bound(name)(values | numbers if numbers else values)

    def _numbers(self, name: str) -> dict:
        """Numbers that a function needs beside its text, made arrays once."""
        found = self._constants_of.get(name)
        if found is None:
            arguments = self.bound(name).signature.of("constant")
            found = {a.name: self._constant(a.values) for a in arguments}
            self._constants_of[name] = found
        return found

    def _constant(self, values):
        """Numbers as an array where kernels run."""
        return np.array(values, self.dtype)

    def _add_inputs(self, values: dict, kernel: BoundKernel, samples: Samples, inputs) -> None:
        """Add what a kernel of the map reads of every sample."""
        count = samples.tiles * samples.lanes
        for name, numbers in kernel.inputs:
            values[name] = self.vector(name, inputs[name], count * numbers)

    def _add_outputs(self, values: dict, kernel: BoundKernel, samples: Samples) -> dict:
        """Add new arrays for what a kernel writes of every sample; they come back by label."""
        count, found = samples.tiles * samples.lanes, {}
        for name, label, numbers in kernel.outputs:
            found[label] = values[name] = self.empty(count * numbers)
        return found

    @staticmethod
    def _work(kernel: BoundKernel, values: dict, pieces, part: str = "", parts=()):
        """A function of (chunk, first tile, last tile) that runs a kernel of the map."""
        if not kernel.stored:
            return kernel.work(values, part, parts)
        run = kernel.stored_work(values, part, parts)
        return lambda chunk, first, last: run(chunk, pieces(first, last))

    def _bounds(self, samples: Samples, block: int = 1):
        """Chunks of the samples for a kernel of the map: a sample meets every parameter."""
        return work_bounds(samples.tiles, block, samples.tiles * samples.lanes * self.size)

    def run(
        self, name: str, samples: Samples, theta, inputs: dict, eta=None, stored=None
    ) -> dict[str, np.ndarray]:
        """Run a kernel that writes per-sample arrays; they come back by name, where kernels run.

        ``stored`` gives the pieces of a :class:`Linearization` to a kernel that has stored arrays.
        """
        kernel, values = self._prepare(name, theta, eta)
        self._add_inputs(values, kernel, samples, inputs)
        outputs = self._add_outputs(values, kernel, samples)
        if stored is None and name in self.emission.target.forgetting:
            stored = partial(self._forgotten, name)
        run_chunks(self._work(kernel, values, stored), self._bounds(samples))
        return outputs

    def gradient(self, name: str, samples: Samples, theta, inputs: dict, eta, stored) -> np.ndarray:
        """Run a kernel that sums over the samples; the gradient by theta."""
        kernel, values = self._prepare(name, theta, eta)
        bounds = self._bounds(samples, kernel.signature.block)
        sums = np.zeros((len(bounds), kernel.sizes["sums"]), self.dtype)
        self._add_inputs(values, kernel, samples, inputs)
        run_chunks(self._work(kernel, values, stored, "sums", sums), bounds)
        values["sums"] = np.add.reduce(sums, axis=0).take(self._order(kernel))
        gradient = values["gradient"] = np.empty(values["theta"].size, self.dtype)
        self.bound(f"{name}_finish")(values)
        return gradient

    def metric(self, samples: Samples, theta, eta, stored) -> np.ndarray:
        """Weighted sum over the samples of J^T J eta."""
        inputs = {"weight": samples.weight}
        return self.gradient("metric", samples, theta, inputs, eta, stored)

    def _order(self, kernel: BoundKernel) -> np.ndarray:
        """Places of a kernel's sums, row by row, among those that stand tile by tile."""
        name, sums = kernel.signature.name, kernel.signature["sums"]
        if name not in self._orders:
            places, starts = np.argsort(sums.order), np.arange(kernel.steps)
            self._orders[name] = (sums.numbers * starts[:, None] + places).ravel()
        return self._orders[name]

    def rows(self, name: str, samples: Samples, theta, inputs: dict, stored) -> np.ndarray:
        """Run a kernel that writes the rows (p, M) of the sample Jacobian, into a reused array."""
        kernel, values = self._prepare(name, theta)
        rows = reused_rows(samples, (values["theta"].size, samples.width), self.dtype)
        self._add_inputs(values, kernel, samples, inputs)
        values["rows"], values["width"] = rows.reshape(-1), samples.width
        run_chunks(self._work(kernel, values, stored), self._bounds(samples))
        return rows

    # -- stored values of the forward pass ----------------------------------------------------

    @cached_property
    def tile_bytes(self) -> int:
        """Bytes of a tile's stored values."""
        return sum(array.nbytes for array in self.storage(0, 1).arrays.values())

    @cached_property
    def piece_tiles(self) -> int:
        """Tiles of a piece, where the stored values of all samples are not kept."""
        return next((n for n in _PIECES if n * self.tile_bytes <= _PIECE_BYTES), _PIECES[-1])

    def storage(self, origin: int, extent: int, kernel: str = "linearize") -> Storage:
        """Arrays for the stored values of ``extent`` tiles, not initialized."""
        steps, lanes = self.size // self.emission.layout.size, self.emission.tiling.samples
        arrays = {
            a.label: self.empty(a.length(step=steps, sample=extent * lanes))
            for a in self.bound(kernel).signature.of("stored")
        }
        return Storage(arrays, origin, extent)

    def _forgotten(self, name: str, first: int, last: int):
        """A chunk whose stored values nobody reads: all tiles and steps write to one place."""
        rooms = self._rooms.__dict__  # of this thread: fresh arrays take longer than small kernels
        stored = rooms.get(name)
        if stored is None:
            stored = rooms[name] = self.storage(0, 1, name)
            stored.extent = 0
        return ((stored, first, last),)

    def forward(self, name: str, theta, state: State):
        """A function of (stored values, first tile, last tile): the forward pass of these tiles.

        It fills the stored values, and the arrays of ``state``.
        """
        kernel, values = self._prepare(name, theta)
        self._add_inputs(values, kernel, state.samples, state.samples.starts)
        values |= {key: state.carried[label] for key, label, _ in kernel.outputs}
        run = kernel.stored_work(values)
        return lambda *piece: run(0, (piece,))

    def store(self, samples: Samples, theta) -> Storage:
        """The stored values of all samples, computed by one thread."""
        whole = self.storage(0, samples.tiles)
        state = State(samples, x=np.empty_like(samples.z))
        self.forward("linearize", theta, state)(whole, 0, samples.tiles)
        return whole

    # -- kernels of the energy ----------------------------------------------------------------

    def _formula_values(self, kernel: BoundKernel, state: State, values) -> dict:
        """What a kernel of the energy reads, and perhaps more."""
        samples, read = state.samples, self._carried(kernel)
        for key in read:
            if key not in state.carried:
                require_state(kernel.signature.name, read, state)
        found = {**state.carried, "values": values, "weight": samples.weight}
        if "partners" in kernel.names:
            found["partners"] = self._partners(kernel, state)
            found["share"] = np.array([self._share(kernel, samples)], self.dtype)
            found["number"] = samples.count
        return found

    def _carried(self, kernel: BoundKernel) -> tuple[str, ...]:
        """What a kernel reads of what samples carry; looked up once."""
        found = self._reads.get(kernel)
        if found is None:
            found = self._reads[kernel] = carried_by(kernel.signature)
        return found

    def _formulas(self, kernel: BoundKernel) -> FormulaKernel:
        """What a kernel of the energy computes."""
        return self.emission.formulas[kernel.signature.name]

    def _share(self, kernel: BoundKernel, samples: Samples) -> float:
        """The part of a partner in a mean over partners."""
        return self._formulas(kernel).share(samples.count)

    def _partners(self, kernel: BoundKernel, state: State) -> np.ndarray:
        """What is read of partners, one after the other."""
        rows = state.samples.rows(state.x)
        if self._formulas(kernel).partner_weights:
            weights = state.samples.rows(state.carried["partner_weights"])
            rows = np.concatenate([rows, weights], axis=1)
        return rows.reshape(-1)

    @staticmethod
    def _formula_bounds(kernel: BoundKernel, samples: Samples):
        """Chunks of the samples for a kernel of the energy."""
        if "partners" in kernel.names:
            return chunk_bounds(samples.tiles, 1, CHUNKS)
        return work_bounds(samples.tiles, 1, _FORMULA * samples.width)

    def means(self, name: str, state: State, values) -> np.ndarray:
        """Run a kernel that averages formulas; (K,) float64."""
        if self._in_groups(name, state):
            return self._group_means(name, state, values)
        kernel = self.bound(name)
        bounds = self._formula_bounds(kernel, state.samples)
        sums = np.empty((len(bounds), kernel.sizes["sums"]), self.dtype)
        given = self._formula_values(kernel, state, values)
        run_chunks(kernel.work(given, "sums", sums), bounds)
        found = sums.astype(float)
        return found[0] if len(found) == 1 else np.add.reduce(found, axis=0)

    def fields(self, name: str, state: State, values, out: dict) -> None:
        """Run a kernel that writes (or, with pairs, adds to) per-sample arrays, by their labels."""
        if self._in_groups(name, state):
            self._group_fields(name, state, values, out)
            return
        kernel, samples = self.bound(name), state.samples
        bounds = self._formula_bounds(kernel, samples)
        given = self._field_values(kernel, state, values, out)
        if "back" not in kernel.names:
            run_chunks(kernel.work(given), bounds)
            return
        back = np.zeros((len(bounds), samples.width), self.dtype)
        run_chunks(kernel.work(given, "back", back), bounds)
        # What partners took from the samples of every chunk, in the chunks' order.
        total = np.add.reduce(back, axis=0) * given["share"]
        (field_,) = out.values()
        field_ += samples.pack(total.reshape(samples.dim, -1).T[: samples.count])

    def _field_values(self, kernel: BoundKernel, state: State, values, out: dict) -> dict:
        """What a kernel of the energy reads, and arrays for what it writes."""
        found = self._formula_values(kernel, state, values)
        for name, label, _ in kernel.outputs:
            found[name] = out[label]
        return found

    def formula(self, name: str, state: State, values, out: dict):
        """A function of (first tile, last tile): a kernel that writes per-sample arrays."""
        kernel = self.bound(name)
        run = kernel.work(self._field_values(kernel, state, values, out))
        return lambda first, last: run(0, first, last)
