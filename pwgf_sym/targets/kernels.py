"""Calls of generated kernels: arguments by name, chunks over threads, sums in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..emit.module import Emission
from ..errors import FormulaError, OptionError
from ..kernels.carried import levels
from ..loops.places import size_of
from .algebra import HostAlgebra
from .packing import Samples, State, aligned_empty
from .threads import CHUNKS, chunk_bounds, chunk_count, run_chunks

__all__ = [
    "KernelCaller",
    "Storage",
    "checked_vector",
    "length_of",
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


def length_of(samples: Samples, axes) -> int:
    """Length of a packed array with these axes."""
    return samples.tiles * samples.lanes * math.prod(a.size for a in axes)


def checked_vector(argument: str, values, size: int, dtype: np.dtype) -> np.ndarray:
    """A contiguous vector; kernels do not check bounds, so its length is checked here."""
    found = np.ascontiguousarray(values, dtype=dtype)
    if found.shape != (size,):
        raise OptionError(argument, f"shape {found.shape}", f"shape ({size},)")
    return found


def missing_kernel(name: str) -> FormulaError:
    """The error of a kernel that was left out when it was printed."""
    accepted = "an activation with derivatives that can be printed"
    return FormulaError("activation", f"one without the kernel {name}", accepted)


def require_state(name: str, reads: Collection[str], state: State) -> None:
    """Refuse a state that lacks what a kernel reads."""
    read = [quantity.name for quantity in levels()[-1] if quantity.name in reads]
    missing = [key for key in read if key not in state.carried]
    if missing:
        fix = f'Push with carry="{missing[-1]}".'
        raise OptionError("state", f"no {' and no '.join(missing)}", f"what {name} reads", fix)


def reused_rows(samples: Samples, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Room for the rows of a sample Jacobian, which the next call overwrites."""
    rows = samples.scratch.get("rows")
    if rows is None or rows.shape != shape or rows.dtype != dtype:
        rows = samples.scratch["rows"] = np.empty(shape, dtype)
    return rows


class KernelCaller:
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
        self.formulas = {name: p.arguments() for name, p in emission.printers.items()}

    # -- kernels of the map -------------------------------------------------------------------

    def vector(self, argument: str, values, size: int) -> np.ndarray:
        """A contiguous vector of the kernels' precision."""
        return checked_vector(argument, values, size, self.dtype)

    def zeros(self, size: int):
        """A vector of zeros where kernels run."""
        return np.zeros(size, self.dtype)

    def resident(self, samples: Samples) -> Samples:
        """Samples whose arrays stand where kernels run."""
        return samples

    def wait(self) -> None:
        """Wait for the end of kernels that were started."""

    def _printed(self, name: str):
        """The emitter of a kernel of the map, and the module that it stands in."""
        if name in self.emission.emitters:
            return self.emission.emitters[name], self.module
        other = self._rest()
        if other is None or name not in other.emission.emitters:  # left out when it was printed
            raise missing_kernel(name)
        return other.emission.emitters[name], other.module

    def _function(self, name: str, part: str = ""):
        """A function of a kernel of the map: the kernel itself, its "_table" or "_finish"."""
        emitter, module = self._printed(name)
        return getattr(module, emitter.kernel.name + part)

    def of_energy(self, name: str, part: str = ""):
        """A function of a kernel of the energy."""
        module = self._rest().module if name in self.emission.left_out else self.module
        return getattr(module, name + part)

    def _leading(self, name: str, theta, eta):
        """The kernel's emitter, its vectors theta and eta, and the number of steps."""
        emitter, _ = self._printed(name)
        size = self.emission.layout.size if name == "newton" else self.size  # newton: one step
        leading = [self.vector("theta", theta, size)]
        if emitter.kernel.tangent:
            leading.append(self.vector("eta", eta, size))
        return emitter, leading, size // self.emission.layout.size

    def _prepare(self, name: str, theta, eta):
        """Leading arguments (theta, eta, table) and the number of steps."""
        emitter, leading, steps = self._leading(name, theta, eta)
        if emitter.table:
            table = np.empty(steps * emitter.table_size, self.dtype)
            self._function(name, "_table")(*leading, table, steps)
            leading.append(table)
        return emitter, leading, steps

    def _inputs(self, emitter, samples: Samples, inputs: dict) -> list[np.ndarray]:
        return [
            self.vector(key, inputs[key], length_of(samples, axes))
            for key, axes in emitter.kernel.inputs.items()
        ]

    def _work(self, name: str, emitter, leading, steps: int, pieces):
        """A function of (arguments, first tile, last tile) that runs a kernel on a chunk."""
        kernel, names = self._function(name), tuple(emitter.kernel.stored)
        if not names:
            return lambda given, first, last: kernel(*leading, *given, first, last, steps)

        def work(given, first: int, last: int) -> None:
            for stored, start, end in pieces(first, last):
                where = (start, end, stored.origin, stored.extent, steps)
                kernel(*leading, *stored.of(names), *given, *where)

        return work

    def _bounds(self, samples: Samples, block: int = 1):
        """Chunks of the samples for a kernel of the map: a sample meets every parameter."""
        most = chunk_count(samples.tiles * samples.lanes * self.size)
        return chunk_bounds(samples.tiles, block, most)

    def run(
        self, name: str, samples: Samples, theta, inputs: dict, eta=None, stored=None
    ) -> dict[str, np.ndarray]:
        """Run a kernel that writes per-sample arrays; they come back by name, where kernels run.

        ``stored`` gives the pieces of a :class:`Linearization` to a kernel that has stored arrays.
        """
        emitter, leading, steps = self._prepare(name, theta, eta)
        outputs = {
            key: aligned_empty(length_of(samples, axes), self.dtype)
            for key, axes in emitter.kernel.outputs.items()
        }
        work = self._work(name, emitter, leading, steps, stored)
        given = [*self._inputs(emitter, samples, inputs), *outputs.values()]
        run_chunks(lambda _, *edges: work(given, *edges), self._bounds(samples))
        return outputs

    def gradient(self, name: str, samples: Samples, theta, inputs: dict, eta, stored) -> np.ndarray:
        """Run a kernel that sums over the samples; the gradient by theta."""
        emitter, leading, steps = self._prepare(name, theta, eta)
        bounds = self._bounds(samples, emitter.tiles)
        sums = np.zeros((len(bounds), steps * emitter.sums_size), self.dtype)
        work = self._work(name, emitter, leading, steps, stored)
        given = self._inputs(emitter, samples, inputs)
        run_chunks(lambda chunk, *edges: work([*given, sums[chunk]], *edges), bounds)
        gradient = np.empty(leading[0].size, self.dtype)
        total = np.add.reduce(sums, axis=0).take(self._order(name, steps))
        self._function(name, "_finish")(*leading, total, gradient, steps)
        return gradient

    def metric(self, samples: Samples, theta, eta, stored) -> np.ndarray:
        """Weighted sum over the samples of J^T J eta."""
        inputs = {"weight": samples.weight}
        return self.gradient("metric", samples, theta, inputs, eta, stored)

    def _order(self, name: str, steps: int) -> np.ndarray:
        """Places of a kernel's sums, row by row, among those that stand tile by tile."""
        if name not in self._orders:
            emitter, _ = self._printed(name)
            places, starts = np.argsort(emitter.sums_order()), np.arange(steps)
            self._orders[name] = (emitter.sums_size * starts[:, None] + places).ravel()
        return self._orders[name]

    def rows(self, name: str, samples: Samples, theta, inputs: dict, stored) -> np.ndarray:
        """Run a kernel that writes the rows (p, M) of the sample Jacobian, into a reused array."""
        emitter, leading, steps = self._prepare(name, theta, None)
        rows = reused_rows(samples, (leading[0].size, samples.width), self.dtype)
        work = self._work(name, emitter, leading, steps, stored)
        given = [*self._inputs(emitter, samples, inputs), rows.reshape(-1), samples.width]
        run_chunks(lambda _, *edges: work(given, *edges), self._bounds(samples))
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
        tiling, stored = self.emission.tiling, self.emission.kernels[kernel].stored
        shape = (self.size // self.emission.layout.size, extent, tiling.samples)
        arrays = {
            key: aligned_empty(math.prod((*shape, tiling.padded(size_of(axes)))), self.dtype)
            for key, axes in stored.items()
        }
        return Storage(arrays, origin, extent)

    def forward(self, name: str, theta, state: State):
        """A function of (stored values, first tile, last tile): the forward pass of these tiles.

        It fills the stored values, and the arrays of ``state``.
        """
        emitter, leading, steps = self._prepare(name, theta, None)
        given = self._inputs(emitter, state.samples, state.samples.starts)
        given += [state.carried[key] for key in emitter.kernel.outputs]
        kernel, names = self._function(name), tuple(emitter.kernel.stored)

        def run(stored: Storage, first: int, last: int) -> None:
            where = (first, last, stored.origin, stored.extent, steps)
            kernel(*leading, *stored.of(names), *given, *where)

        return run

    def store(self, samples: Samples, theta) -> Storage:
        """The stored values of all samples, computed by one thread."""
        whole = self.storage(0, samples.tiles)
        state = State(samples, x=np.empty_like(samples.z))
        self.forward("linearize", theta, state)(whole, 0, samples.tiles)
        return whole

    # -- kernels of the energy ----------------------------------------------------------------

    def _formula_arguments(self, name: str, state: State, values) -> dict:
        samples = state.samples
        require_state(name, self.formulas[name], state)
        found = {**state.carried, "values": values, "weight": samples.weight}
        if self.emission.formulas[name].partners:
            found["partners"] = samples.rows(state.x).reshape(-1)
            found["share"] = np.array([1.0 / max(samples.count - 1, 1)], self.dtype)
            found["number"] = samples.count
        return {key: found[key] for key in self.formulas[name] if key in found}

    def _formula_bounds(self, name: str, samples: Samples):
        """Chunks of the samples for a kernel of the energy."""
        most = CHUNKS
        if not self.emission.formulas[name].partners:
            most = chunk_count(_FORMULA * samples.width)
        return chunk_bounds(samples.tiles, 1, most)

    def means(self, name: str, state: State, values) -> np.ndarray:
        """Run a kernel that averages formulas; (K,) float64."""
        given = list(self._formula_arguments(name, state, values).values())
        bounds = self._formula_bounds(name, state.samples)
        sums = np.empty((len(bounds), len(self.emission.formulas[name].means)), self.dtype)
        kernel = self.of_energy(name)

        def work(chunk: int, first: int, last: int) -> None:
            kernel(*given, sums[chunk], first, last)

        run_chunks(work, bounds)
        return np.add.reduce(sums.astype(float), axis=0)

    def fields(self, name: str, state: State, values, out: list) -> None:
        """Run a kernel that writes (or, with pairs, adds to) per-sample arrays."""
        samples = state.samples
        if "back" not in self.formulas[name]:
            work = self.formula(name, state, values, out)
            run_chunks(lambda _, *edges: work(*edges), self._formula_bounds(name, samples))
            return
        given = self._formula_arguments(name, state, values)
        share, arguments = given["share"], list(given.values())
        bounds = self._formula_bounds(name, samples)
        back = np.zeros((len(bounds), samples.width), self.dtype)
        kernel = self.of_energy(name)

        def work(chunk: int, first: int, last: int) -> None:
            kernel(*arguments, *out, back[chunk], first, last)

        run_chunks(work, bounds)
        # What partners took from the samples of every chunk, in the chunks' order.
        total = np.add.reduce(back, axis=0) * share
        out[0] += samples.pack(total.reshape(samples.dim, -1).T[: samples.count])

    def formula(self, name: str, state: State, values, out: list):
        """A function of (first tile, last tile): a kernel that writes per-sample arrays."""
        given = list(self._formula_arguments(name, state, values).values())
        kernel = self.of_energy(name)
        return lambda first, last: kernel(*given, *out, first, last)
