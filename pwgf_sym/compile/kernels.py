"""Calls of generated kernels: arguments by name, chunks over threads, sums in a fixed order."""

from __future__ import annotations

import math

import numpy as np

from ..emit.formulas import FormulaEmitter
from ..emit.module import Emission
from ..errors import FormulaError, OptionError
from .packing import Samples, State
from .threads import chunk_bounds, run_chunks

__all__ = ["KernelCaller"]


def _length(samples: Samples, axes) -> int:
    """Length of a packed array with these axes."""
    return samples.tiles * samples.lanes * math.prod(a.size for a in axes)


class KernelCaller:
    """Calls the kernels of one loaded module."""

    def __init__(self, module, emission: Emission, dtype: np.dtype, size: int):
        self.module, self.emission, self.dtype, self.size = module, emission, dtype, size
        self.formulas = {
            name: FormulaEmitter(kernel, emission.tiling).arguments()
            for name, kernel in emission.formulas.items()
        }

    # -- kernels of the map -------------------------------------------------------------------

    def _vector(self, argument: str, values, size: int) -> np.ndarray:
        """A contiguous vector; kernels do not check bounds, so its length is checked here."""
        found = np.ascontiguousarray(values, dtype=self.dtype)
        if found.shape != (size,):
            raise OptionError(argument, f"shape {found.shape}", f"shape ({size},)")
        return found

    def _prepare(self, name: str, theta, eta):
        """Leading arguments (theta, eta, table) and the number of steps."""
        emitter = self.emission.emitters.get(name)
        if emitter is None:  # left out when the module was printed
            accepted = "an activation with derivatives that can be printed"
            raise FormulaError("activation", f"one without the kernel {name}", accepted)
        size = self.emission.layout.size if name == "newton" else self.size  # newton: one step
        leading = [self._vector("theta", theta, size)]
        if emitter.kernel.tangent:
            leading.append(self._vector("eta", eta, size))
        steps = size // self.emission.layout.size
        if emitter.table:
            table = np.empty(steps * emitter.table_size, self.dtype)
            getattr(self.module, f"{name}_table")(*leading, table, steps)
            leading.append(table)
        return emitter, leading, steps

    def _inputs(self, emitter, samples: Samples, inputs: dict) -> list[np.ndarray]:
        return [
            self._vector(key, inputs[key], _length(samples, axes))
            for key, axes in emitter.kernel.inputs.items()
        ]

    def run(self, name: str, samples: Samples, theta, inputs: dict, eta=None) -> dict:
        """Run a kernel that writes per-sample arrays; they come back by name."""
        emitter, leading, steps = self._prepare(name, theta, eta)
        outputs = {
            key: np.empty(_length(samples, axes), self.dtype)
            for key, axes in emitter.kernel.outputs.items()
        }
        kernel = getattr(self.module, name)
        given = self._inputs(emitter, samples, inputs)

        def work(chunk: int, first: int, last: int) -> None:
            kernel(*leading, *given, *outputs.values(), first, last, steps)

        run_chunks(work, chunk_bounds(samples.tiles, self.emission.tiling.tiles))
        return outputs

    def gradient(self, name: str, samples: Samples, theta, inputs: dict, eta=None) -> np.ndarray:
        """Run a kernel that sums over the samples; the gradient by theta."""
        emitter, leading, steps = self._prepare(name, theta, eta)
        bounds = chunk_bounds(samples.tiles, self.emission.tiling.tiles)
        sums = np.empty((len(bounds), steps * emitter.sums_size), self.dtype)
        kernel = getattr(self.module, name)
        given = self._inputs(emitter, samples, inputs)

        def work(chunk: int, first: int, last: int) -> None:
            kernel(*leading, *given, sums[chunk], first, last, steps)

        run_chunks(work, bounds)
        gradient = np.empty(leading[0].size, self.dtype)
        total = np.add.reduce(sums, axis=0)
        getattr(self.module, f"{name}_finish")(*leading, total, gradient, steps)
        return gradient

    def rows(self, name: str, samples: Samples, theta, inputs: dict) -> np.ndarray:
        """Run a kernel that writes the rows (p, M) of the sample Jacobian, into a reused array."""
        emitter, leading, steps = self._prepare(name, theta, None)
        shape = (leading[0].size, samples.width)
        rows = samples.scratch.get("rows")
        if rows is None or rows.shape != shape or rows.dtype != self.dtype:
            rows = samples.scratch["rows"] = np.empty(shape, self.dtype)
        kernel, flat = getattr(self.module, name), rows.reshape(-1)
        given = self._inputs(emitter, samples, inputs)

        def work(chunk: int, first: int, last: int) -> None:
            kernel(*leading, *given, flat, samples.width, first, last, steps)

        run_chunks(work, chunk_bounds(samples.tiles, self.emission.tiling.tiles))
        return rows

    # -- kernels of the energy ----------------------------------------------------------------

    def _formula_arguments(self, name: str, state: State, samples: Samples, values) -> dict:
        found = {"x": state.x, "log_density": state.log_density, "score": state.score}
        found.update(values=values, weight=samples.weight)
        if self.emission.formulas[name].partners:
            found["partners"] = samples.unpack(state.x).reshape(-1)
            share = 1.0 / max(samples.count - 1, 1)
            found["partner_weights"] = np.full(samples.count, share, self.dtype)
        given = {key: found[key] for key in self.formulas[name] if key in found}
        missing = [key for key, value in given.items() if value is None]
        if missing:
            fix = f"Push with order {2 if 'score' in missing else 1}."
            raise OptionError("state", f"no {' and no '.join(missing)}", f"what {name} reads", fix)
        return given

    def means(self, name: str, state: State, samples: Samples, values) -> np.ndarray:
        """Run a kernel that averages formulas; (K,) float64."""
        given = list(self._formula_arguments(name, state, samples, values).values())
        bounds = chunk_bounds(samples.tiles, self.emission.tiling.tiles)
        sums = np.empty((len(bounds), len(self.emission.formulas[name].means)), self.dtype)
        kernel = getattr(self.module, name)

        def work(chunk: int, first: int, last: int) -> None:
            kernel(*given, sums[chunk], first, last)

        run_chunks(work, bounds)
        return np.add.reduce(sums.astype(float), axis=0)

    def fields(self, name: str, state: State, samples: Samples, values, out: list) -> None:
        """Run a kernel that writes (or, with pairs, adds to) per-sample arrays."""
        given = list(self._formula_arguments(name, state, samples, values).values())
        kernel = getattr(self.module, name)

        def work(chunk: int, first: int, last: int) -> None:
            kernel(*given, *out, first, last)

        run_chunks(work, chunk_bounds(samples.tiles, self.emission.tiling.tiles))
