"""The energy's gradient by theta, with the linearized map that a solver goes on with.

The forward pass writes megabytes that the backward pass reads.  Where the slope of a sample needs
nothing of the other samples both run piece by piece, and what a piece stores is read while it is
still in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..kernels.carried import level_of, pullbacks
from .linearization import Linearization
from .packing import Samples, State, aligned_arrays

__all__ = ["Slope", "slope"]


@dataclass(frozen=True)
class Slope:
    """An energy's gradient at parameters theta, and what was computed on the way.

    Attributes
    ----------
    linearization : Linearization
        The map at theta.
    integrals : (K,) float64 array
        Values of the energy's integrals on the samples.
    gradient : (p,) array
        grad_theta of the energy of the samples.
    """

    linearization: Linearization
    integrals: np.ndarray
    gradient: np.ndarray


def slope(program, theta, samples: Samples, keep: bool) -> Slope:
    """See :meth:`.program.Program.slope`."""
    local = program.separable and "slopes" in program.emission.formulas and not program.form.sums
    local = local and not program.form.score_gradient
    if local and program.kernels.by_pieces and _asks_for_pieces(program):
        return _by_pieces(program, theta, samples, keep)
    linearized = Linearization(program, theta, samples, program.form.energy_reads, keep)
    integrals = program.integrals(linearized.state)
    return Slope(linearized, integrals, program.gradient(linearized, integrals))


def _asks_for_pieces(program) -> bool:
    """Whether the backward pass reads stored values; that of a translation does not."""
    kernel = pullbacks(level_of(program.form.energy_reads))[-1].kernel
    return bool(program.emission.kernels[kernel].stored)


def _by_pieces(program, theta, samples: Samples, keep: bool) -> Slope:
    """Forward pass, slopes and backward pass of one piece of the samples after the other."""
    level, call = level_of(program.form.energy_reads), program.kernels
    linearized = Linearization(program, theta, samples, keep=keep, run=False)
    numbers = samples.tiles * samples.lanes
    sizes = samples.width, numbers
    kept = ("slope", program.dtype.name)
    if kept not in samples.scratch:  # fresh pages cost time
        samples.scratch[kept] = aligned_arrays(sizes, program.dtype)
    field, scalar = samples.scratch[kept]
    arrays = aligned_arrays([samples.starts[c.start].size for c in level], program.dtype)
    state = State(samples, **{c.name: array for c, array in zip(level, arrays, strict=True)})
    forward = linearized.forward(state)
    inputs = {"field": field, "scalar": scalar}
    slopes = call.formula("slopes", state, program.values(None), inputs)

    padded, units = samples.count < numbers, program.units

    def piece(stored, start: int, end: int) -> None:
        forward(stored, start, end)
        units.bring_out_piece(state, start, end)
        slopes(start, end)
        if not units.trivial:
            field[samples.entries(start, end)] *= units.spread
        if padded and end == samples.tiles:
            _without_padding(field, samples)
            _without_padding(scalar, samples)

    def pieces(first: int, last: int):
        return linearized.forward_pieces(first, last, piece)

    kernel = pullbacks(level)[-1].kernel
    found = call.gradient(kernel, samples, linearized.theta, inputs, None, pieces)
    found *= samples.weight[0]  # the same for every sample
    linearized.state = state
    return Slope(linearized, program.integrals(state), found)


def _without_padding(values: np.ndarray, samples: Samples) -> None:
    """Set what is packed beyond the last sample to zero."""
    last = values.reshape(samples.tiles, -1, samples.lanes)[-1]
    last[:, samples.weight[-samples.lanes :] == 0] = 0
