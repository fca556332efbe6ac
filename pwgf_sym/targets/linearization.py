"""The map linearized at parameters theta: products with dT/dtheta for as long as theta stays.

A Krylov solve multiplies with dT/dtheta tens of times at one theta.  What these products need of
the map's forward pass (the path of x, the activations) is stored once if it fits in memory, else
computed again, piece by piece of the samples, before each product.  Storing saves the functions
and a third to a half of the contractions, and reads about a byte for every ten operations that are
left.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection
from functools import cached_property

import numpy as np

from ..kernels.carried import kernel_name, level_of
from ..memory import storage_limit
from .kernel_matrix import kernel_matrix
from .kernels import Storage
from .packing import Samples, State

__all__ = ["Linearization"]


class Linearization:
    """Products with J = dT/dtheta at samples.

    Attributes
    ----------
    program : Program
        The compiled kernels.
    theta : (p,) array
        Parameters, in the program's precision.
    samples : Samples
        Packed samples.
    state : State
        x and what else is carried; None where the forward pass is left to ``forward_pieces``.

    Parameters
    ----------
    carry : str or collection of str
        What the state has to hold beside x: "log_density", "score".
    keep : bool
        Whether the stored values of all samples are kept, if they fit; where kernels do not run
        piece by piece they are.
    run : bool
        Whether the forward pass runs at once.
    """

    def __init__(
        self,
        program,
        theta: np.ndarray,
        samples: Samples,
        carry: str | Collection[str] = "x",
        keep: bool = True,
        run: bool = True,
    ):
        self.program, self.samples = program, samples
        self._call = call = program.kernels
        self.theta = call.vector("theta", theta, call.size)
        self._stored = self.state = None
        self._level = level_of(carry)
        self._kernel = kernel_name("linearize", self._level)
        keep = keep or not call.by_pieces
        if keep and samples.tiles * call.tile_bytes <= storage_limit():
            self._stored = self._borrow(samples.tiles)
            weakref.finalize(self, self._free(samples.tiles).append, self._stored)
        if run and self._stored is not None:
            starts, pieces = samples.starts, self.pieces
            found = call.run(self._kernel, samples, self.theta, starts, stored=pieces)
            self.state = program.units.bring_out(State(samples, **found))
        elif run:
            self.state = program.push(self.theta, samples, carry)

    @property
    def algebra(self):
        """Dense linear algebra, near to where kernels run."""
        return self._call.algebra

    def _free(self, extent: int) -> list[Storage]:
        """Arrays for so many tiles that nobody uses now: fresh pages cost time."""
        # By program: another one may use the same samples, with stored values of other sizes.
        key = "stored", self._call, self._reads_steps, extent
        return self.samples.scratch.setdefault(key, [])

    @cached_property
    def _reads_steps(self) -> str:
        """The kernel whose stored values derivatives read: that of x has all but the score's."""
        kernels = self.program.emission.kernels
        more = kernels[self._kernel].stored.keys() - kernels["linearize"].stored.keys()
        return self._kernel if more else "linearize"

    def _borrow(self, extent: int) -> Storage:
        """Arrays that are free, or new ones."""
        try:
            return self._free(extent).pop()
        except IndexError:
            return self._call.storage(0, extent, self._reads_steps)

    def stored(self) -> Storage:
        """The stored values of all samples, computed now where they were not kept."""
        if self._stored is not None:
            return self._stored
        return self._call.store(self.samples, self.theta)

    def kernel_matrix(self):
        """J J^T, (d N, d N), component by component; see :mod:`.kernel_matrix`.

        An array of :attr:`algebra`.
        """
        return kernel_matrix(self)

    def pieces(self, first: int, last: int):
        """(stored values, first tile, last tile) of the pieces of a chunk, in their order."""
        if self._stored is not None:
            yield self._stored, first, last
            return
        yield from self.forward_pieces(first, last, self._again)

    @cached_property
    def _again(self):
        """The forward pass of a piece, for its stored values only."""
        level = self._level if self._reads_steps != "linearize" else self._level[:1]
        arrays = {c.name: np.empty_like(self.samples.starts[c.start]) for c in level}
        return self.forward(State(self.samples, **arrays))

    def forward(self, state: State):
        """A function of (stored values, first tile, last tile): the forward pass into ``state``."""
        kernel = kernel_name("linearize", level_of(state.carried))
        return self._call.forward(kernel, self.theta, state)

    def forward_pieces(self, first: int, last: int, forward):
        """The pieces of a chunk, each just after its ``forward`` pass."""
        tiles, kept = self._call.piece_tiles, self._stored is not None
        stored = self._stored if kept else self._borrow(tiles)
        for start in range(first, last, tiles):
            end = min(start + tiles, last)
            if not kept:
                stored.origin, stored.extent = start, end - start
            forward(stored, start, end)
            yield stored, start, end
        if not kept:
            self._free(tiles).append(stored)

    def on_first(self, count: int) -> Linearization:
        """The same map at the first samples only."""
        key = ("first", count)
        if key not in self.samples.scratch:
            self.samples.scratch[key] = self.program.again(self.samples, count)
        return Linearization(self.program, self.theta, self.samples.scratch[key])

    def in_single(self) -> Linearization:
        """The same map at the same samples in float32."""
        program = self.program.in_single
        if "float32" not in self.samples.scratch:
            self.samples.scratch["float32"] = program.again(self.samples)
        return Linearization(program, self.theta, self.samples.scratch["float32"])

    # The kernels' map is in units of its own, the spread of the initial law: a product with J
    # scales a vector of parameters, which is shorter than a field.

    def jvp(self, eta: np.ndarray) -> np.ndarray:
        """J eta at the samples, packed (M,)."""
        eta = self._in_units(eta, self.unit)
        return self._call.run("jvp", self.samples, self.theta, {}, eta, self.pieces)["dx"]

    def vjp(self, field: np.ndarray) -> np.ndarray:
        """Sum over the samples of J^T field, (p,)."""
        inputs = {"field": field}
        found = self._call.gradient("vjp", self.samples, self.theta, inputs, None, self.pieces)
        return self._in_units(found, self.unit)

    def metric(self, eta: np.ndarray) -> np.ndarray:
        """G eta = weighted sum of J^T J eta, (p,)."""
        found = self._call.metric(self.samples, self.theta, eta, self.pieces)
        return self._in_units(found, self.unit**2)

    def gradient(self, field: np.ndarray, scalar: np.ndarray, pull=None) -> np.ndarray:
        """Sum over the samples of J^T field + (dl/dtheta)^T scalar, (p,).

        With ``pull`` (M,) there is (ds/dtheta)^T pull, too, of the score s.
        """
        inputs = {"field": self._in_units(field, self.unit), "scalar": scalar}
        name = "gradient"
        if pull is not None:
            name = "gradient_score"
            inputs["pull"] = self._in_units(pull, 1 / self.unit)
        return self._call.gradient(name, self.samples, self.theta, inputs, None, self.pieces)

    def jacobian(self):
        """J at the samples, transposed: (p, M); the next call overwrites it.

        An array of :attr:`algebra`.
        """
        rows = self._call.rows("jacobian", self.samples, self.theta, {}, self.pieces)
        if self.unit != 1.0:
            rows *= self.unit
        return rows

    @property
    def unit(self) -> float:
        """Length of the map's unit, the spread of the initial law."""
        return self.program.units.spread

    @staticmethod
    def _in_units(values, unit: float):
        return values if unit == 1.0 else values * values.dtype.type(unit)
