"""Interactions that are polynomials of |x - y|^2, through moments of the samples."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import sympy as sp

from .packing import Samples, State
from .threads import chunk_bounds, run_chunks

__all__ = ["Moments"]

# Tiles below which one chunk is faster than several: a call of a kernel takes microseconds.
_TILES = 512


class Moments:
    """Values and velocity of the polynomial interactions of an energy."""

    def __init__(self, caller, form, symbols, dim: int):
        self.caller, self.form, self.dim, self._symbols = caller, form, dim, symbols
        self.size = 2 + 3 * dim + dim * dim

    def function(self, part: str = ""):
        """A function of the generated module."""
        return self.caller.of_energy("moments", part)

    @cached_property
    def _coefficients(self):
        """A function of (parameters, integrals): k1, k0 and the coefficients of every integral."""
        dummies = [sp.Dummy(real=True) for _ in self._symbols]
        found = [*self.form.slopes, *(c for abc in self.form.integrals.values() for c in abc)]
        found = [e.xreplace(dict(zip(self._symbols, dummies, strict=True))) for e in found]
        return sp.lambdify(dummies, found, "math", cse=False)

    def means(self, state: State, samples: Samples) -> tuple[np.ndarray, float, float]:
        """(moments, mean |x - y|^2, mean |x - y|^4), the latter two over all pairs.

        Moments are a center c near the mean of the samples, so that nothing cancels, and means of
        |y|^2, |y|^4, y (d), |y|^2 y (d), y y^T (d, d), y = x - c.
        """
        if state.moments is None:
            state.moments = self._means(state, samples)
        return state.moments

    def _means(self, state: State, samples: Samples):
        bounds, dtype = self._bounds(samples), self.caller.dtype
        sums = np.empty((len(bounds), self.size), dtype)

        def work(chunk: int, first: int, last: int) -> None:
            kernel(state.x, samples.weight, sums[chunk], samples.tiles, first, last)

        kernel = self.function()
        run_chunks(work, bounds)
        means, found = np.empty(self.size, dtype), np.empty(self.size + 2)
        self.function("_finish")(sums, means, found)
        return means, found.item(0), found.item(1)

    @staticmethod
    def _bounds(samples: Samples):
        if samples.tiles <= _TILES:
            return [(0, samples.tiles)]
        return chunk_bounds(samples.tiles, _TILES)

    def add_integrals(
        self, found: np.ndarray, places: list[int], state: State, samples: Samples, values
    ) -> None:
        """Add the means over pairs of different samples to the double integrals, at their places.

        The mean over the others is n/(n - 1) times the mean over all, less W(x, x)/(n - 1).
        """
        count = samples.count
        if count == 1:
            return
        _, square, fourth = self.means(state, samples)
        share = count / (count - 1)
        _, _, *coefficients = self._coefficients(*values)
        for k, number in enumerate(self.form.integrals):
            a, b, c = coefficients[3 * k : 3 * k + 3]
            found[places[number]] += share * (a * fourth + b * square) + c

    def add_velocity(self, out: np.ndarray, state: State, samples: Samples, values) -> None:
        """Add the velocity of the polynomial interactions, packed (M,)."""
        count = samples.count
        means, *_ = self.means(state, samples)
        scale = count / max(count - 1, 1)
        slopes = [k * scale for k in self._coefficients(*values)[:2]]
        self._add(out, state, samples, means, np.array(slopes, self.caller.dtype))

    def _add(self, out, state: State, samples: Samples, means, slopes: np.ndarray) -> None:
        kernel = self.function("_velocity")

        def work(chunk: int, first: int, last: int) -> None:
            kernel(state.x, means, slopes, out, first, last)

        run_chunks(work, self._bounds(samples))
