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
# About so many tiles give the center.
_CENTER_TILES = 8


class Moments:
    """Values and velocity of the polynomial interactions of an energy."""

    def __init__(self, module, form, symbols, dim: int, dtype):
        self.module, self.form, self.dtype, self._symbols = module, form, dtype, symbols
        # Places of all moments among those that the kernel computes: half of y y^T.
        i, j = np.indices((dim, dim))
        half = np.maximum(i, j) * dim + np.minimum(i, j)
        self._order = np.concatenate([np.arange(2 + 2 * dim), 2 + 2 * dim + half.ravel()])

    @cached_property
    def _coefficients(self):
        """A function of (parameters, integrals): k1, k0 and the coefficients of every integral."""
        dummies = [sp.Dummy(real=True) for _ in self._symbols]
        found = [*self.form.slopes, *(c for abc in self.form.integrals.values() for c in abc)]
        found = [e.xreplace(dict(zip(self._symbols, dummies, strict=True))) for e in found]
        return sp.lambdify(dummies, found, "math", cse=False)

    def means(self, state: State, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
        """(center, moments): the center is near the mean of the samples, so that nothing cancels.

        Moments are means of |y|^2, |y|^4, y (d), |y|^2 y (d), y y^T (d, d), y = x - center.
        """
        if state.moments is None:
            d = samples.dim
            # Any center is right; the mean of some of the samples is near that of all.
            grid = state.x.reshape(samples.tiles, d, samples.lanes)
            some = grid[:: max(1, samples.tiles // _CENTER_TILES)]
            center = np.einsum("til->i", some) / self.dtype.type(some.size // d)
            bounds = self._bounds(samples)
            sums = np.empty((len(bounds), 2 + 2 * d + d * d), self.dtype)

            def work(chunk: int, first: int, last: int) -> None:
                self.module.moments(state.x, center, samples.weight, sums[chunk], first, last)

            run_chunks(work, bounds)
            total = sums.sum(axis=0, dtype=np.float64) if len(bounds) > 1 else sums[0].astype(float)
            state.moments = center, total[self._order]
        return state.moments

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
        count, d = samples.count, samples.dim
        if count == 1:
            return
        _, m = self.means(state, samples)
        t, tt, y, ty, yy = m[0], m[1], m[2 : 2 + d], m[2 + d : 2 + 2 * d], m[2 + 2 * d :]
        square = 2 * (t - y @ y)
        fourth = 2 * tt + 2 * t * t + 4 * (yy @ yy) - 8 * (y @ ty)
        share = count / (count - 1)
        _, _, *coefficients = self._coefficients(*values)
        for k, number in enumerate(self.form.integrals):
            a, b, c = coefficients[3 * k : 3 * k + 3]
            found[places[number]] += share * (a * fourth + b * square) + c

    def add_velocity(self, out: np.ndarray, state: State, samples: Samples, values) -> None:
        """Add the velocity of the polynomial interactions, packed (M,)."""
        count = samples.count
        center, moments = self.means(state, samples)
        scale = count / max(count - 1, 1)
        slopes = np.array(self._coefficients(*values)[:2], self.dtype) * self.dtype.type(scale)
        means = moments.astype(self.dtype)

        def work(chunk: int, first: int, last: int) -> None:
            self.module.moment_velocity(state.x, center, means, slopes, out, first, last)

        run_chunks(work, self._bounds(samples))
