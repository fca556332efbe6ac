"""Separable interactions, through means of functions of a sample."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import sympy as sp

from .moments import Moments
from .packing import State
from .values import real_function

__all__ = ["FeatureMoments", "MomentMethods"]

# About so many samples give the center.
_CENTER_SAMPLES = 8


class FeatureMoments:
    """Values of an energy's separable interactions, and what its kernels read of them.

    Parameters
    ----------
    caller : KernelCaller
    form : MomentForm
    parameters : sequence of Symbol
    integrals : int
        How many integrals stand after them in what kernels read.
    """

    def __init__(self, caller, form, parameters, integrals: int):
        self.caller, self.form = caller, form
        self._symbols = (*parameters, *form.symbols)
        start = len(parameters) + integrals
        self._centers = slice(start, start + len(form.centers))
        lanes = caller.emission.tiling.samples
        self._lanes = np.full(lanes, 1 / lanes, caller.dtype)
        self._empty = np.zeros(start + len(form.symbols), caller.dtype)

    @cached_property
    def _functions(self):
        """The parts of the double integrals."""
        formulas = self.form.integrals
        return {number: real_function(self._symbols, e) for number, e in formulas.items()}

    def of(self, state: State, parameters: list[float]) -> tuple[np.ndarray, list[float]]:
        """What kernels read, the integrals zero, and the numbers of the double integrals' parts."""
        known = state.moments
        if known is None or known[0] is not self or known[1] != parameters:
            state.moments = known = self, parameters, self._of(state, parameters)
        return known[2]

    def _of(self, state: State, parameters: list[float]) -> tuple[np.ndarray, list[float]]:
        values, others = self._empty.copy(), state.samples.count - 1
        values[: len(parameters)] = parameters
        values[self._centers] = self._center(state) if self.form.centers else ()
        means = self.caller.means("moments", state, values).tolist()
        shares = ((others + 1) / others, 1 / others) if others else (0.0, 0.0)
        values[self._centers.stop :] = [*means, *shares]
        return values, [*parameters, *values[self._centers].tolist(), *means, *shares]

    def _center(self, state: State) -> np.ndarray:
        """The mean of some samples: polynomials of distances from it keep their digits."""
        samples = state.samples
        dim, lanes = samples.dim, samples.lanes
        tiles = min(samples.tiles, -(-_CENTER_SAMPLES // lanes))
        some = self.caller.first(state.x, tiles * dim * lanes).reshape(-1, lanes)
        means = some.dot(self._lanes)  # which is faster than a sum over so few
        return means if tiles == 1 else means.reshape(tiles, dim).sum(axis=0) / tiles

    def add_integrals(
        self, found: np.ndarray, places: list[int], state: State, parameters: list[float]
    ) -> None:
        """Add the means over pairs of different samples to the double integrals, at their places.

        The mean over the others is N/(N - 1) times the mean over all, less W(x, x)/(N - 1).
        """
        _, numbers = self.of(state, parameters)
        for number, function in self._functions.items():
            found[places[number]] += function(*numbers)


class MomentMethods:
    """Methods of a program about moments, and what kernels of formulas read beside samples."""

    @cached_property
    def moments(self) -> FeatureMoments | None:
        """Interactions that are computed from moments of the samples, if the energy has any."""
        form, count = self.emission.moments, len(self.form.integrals)
        if form is None:
            return None
        return FeatureMoments(self.kernels, form, self.form.parameters, count)

    @cached_property
    def polynomials(self) -> Moments | None:
        """The same, of polynomials of the distance in many coordinates."""
        if self.emission.polynomials is None:
            return None
        integrals = [i.symbol for i in self.form.integrals]
        kind = self.host.moments()
        form, parameters = self.emission.polynomials, self.form.parameters
        return kind(self.kernels, form, parameters, integrals, self.dim)

    @property
    def uses_moments(self) -> bool:
        """Whether interactions are computed from moments of the samples."""
        return not (self.emission.moments is None and self.emission.polynomials is None)

    @cached_property
    def value_symbols(self) -> tuple[sp.Symbol, ...]:
        """Symbols of :meth:`values`."""
        form, moments = self.form, self.emission.moments
        found = (*form.parameters, *(integral.symbol for integral in form.integrals))
        return (*found, *(moments.symbols if moments else ()))

    def values(self, integrals: np.ndarray | None, state: State | None = None) -> np.ndarray:
        """What kernels of formulas read as ``values``: parameters, integrals, moments.

        Integrals that are not given are zeros, and so are the moments without a state.
        """
        start, count = len(self._parameters), len(self.form.integrals)
        if self.moments is not None and state is not None:
            found = self.moments.of(state, self._parameters)[0].copy()
        else:
            found = np.zeros(len(self.value_symbols), self.dtype)
            found[:start] = self._parameters
        if integrals is not None:
            found[start : start + count] = integrals[:count]
        return found
