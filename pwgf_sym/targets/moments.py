"""Interactions that are polynomials of |x - y|^2, through moments of the samples."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .packing import Samples, State
from .threads import chunk_bounds, run_chunks
from .values import real_function

__all__ = ["Moments"]

# Tiles below which one chunk is faster than several: a call of a kernel takes microseconds.
_TILES = 512


class Moments:
    """Values and velocity of the polynomial interactions of an energy."""

    def __init__(self, caller, form, parameters, integrals, dim: int):
        self.caller, self.form, self.dim = caller, form, dim
        self._parameters, self._integrals = tuple(parameters), tuple(integrals)
        self.size = 2 + 3 * dim + dim * dim

    @cached_property
    def _coefficients(self):
        """Functions of the parameters: (a, b, c) of every integral."""
        forms = self.form.integrals.values()
        return [[real_function(self._parameters, c) for c in form] for form in forms]

    @cached_property
    def _slopes(self):
        """Functions of the parameters and the integrals: k1 and k0.

        Apart from the coefficients, which are wanted before the integrals are known: the slope of a
        root has no value where they are zero.
        """
        symbols = (*self._parameters, *self._integrals)
        return [real_function(symbols, slope) for slope in self.form.slopes]

    def means(self, state: State) -> tuple[np.ndarray, float, float]:
        """(moments, mean |x - y|^2, mean |x - y|^4), the latter two over all pairs.

        Moments are a center c near the mean of the samples, so that nothing cancels, and means of
        |y|^2, |y|^4, y (d), |y|^2 y (d), y y^T (d, d), y = x - c.
        """
        if state.moments is None:
            state.moments = self._means(state)
        return state.moments

    def _means(self, state: State):
        samples = state.samples
        bounds, dtype = self._bounds(samples), self.caller.dtype
        sums = np.empty((len(bounds), self.size), dtype)
        values = {"x": state.x, "weight": samples.weight, "tiles": samples.tiles}
        run_chunks(self.caller.bound("moments").work(values, "sums", sums), bounds)
        means, found = np.empty(self.size, dtype), np.empty(self.size + 2)
        self.caller.bound("moments_finish")({"sums": sums, "means": means, "found": found})
        return means, found.item(0), found.item(1)

    @staticmethod
    def _bounds(samples: Samples):
        if samples.tiles <= _TILES:
            return [(0, samples.tiles)]
        return chunk_bounds(samples.tiles, _TILES)

    def add_integrals(self, found: np.ndarray, places: list[int], state: State, parameters) -> None:
        """Add the means over pairs of different samples to the double integrals, at their places.

        The mean over the others is n/(n - 1) times the mean over all, less W(x, x)/(n - 1).
        """
        count = state.samples.count
        if count == 1:
            return
        _, square, fourth = self.means(state)
        share = count / (count - 1)
        for number, functions in zip(self.form.integrals, self._coefficients, strict=True):
            a, b, c = (function(*parameters) for function in functions)
            found[places[number]] += share * (a * fourth + b * square) + c

    def add_velocity(self, out: np.ndarray, state: State, values) -> None:
        """Add the velocity of the polynomial interactions, packed (M,)."""
        count = state.samples.count
        means, *_ = self.means(state)
        scale = count / max(count - 1, 1)
        slopes = [slope(*values) * scale for slope in self._slopes]
        self._add(out, state, means, np.array(slopes, self.caller.dtype))

    def velocity_jacobian(
        self, state: State, values, rows: np.ndarray, columns: np.ndarray
    ) -> np.ndarray:
        """Entries (rows, columns) of the velocity's local Jacobian at every sample, (N, entries).

        The mean over the other samples of (k1 q + k0) I + 2 k1 (x - y)(x - y)^T, q = |x - y|^2: of
        the mean over all what y = x adds, k0 I, is taken away.
        """
        samples = state.samples
        means = np.asarray(self.means(state)[0], float)
        center, square, first = (
            means[: self.dim],
            means[self.dim],
            means[self.dim + 2 :][: self.dim],
        )
        second = means[3 * self.dim + 2 :].reshape(self.dim, self.dim)
        k1, k0 = (slope(*values) for slope in self._slopes)
        x = samples.unpack(state.x).astype(float) - center
        distance = np.sum(x * x, axis=1) + square - 2 * (x @ first)
        a, b = x[:, rows], x[:, columns]
        found = 2 * k1 * (a * b - a * first[columns] - first[rows] * b + second[rows, columns])
        found[:, rows == columns] += (k1 * distance + k0)[:, None]
        others = max(samples.count - 1, 1)
        found *= samples.count / others
        found[:, rows == columns] -= k0 / others
        return found

    def _add(self, out, state: State, means, slopes: np.ndarray) -> None:
        values = {"x": state.x, "means": means, "slopes": slopes, "velocity_out": out}
        run_chunks(self.caller.bound("moments_velocity").work(values), self._bounds(state.samples))
