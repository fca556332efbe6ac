"""Interactions that are polynomials of |x - y|^2, through moments of the samples by NumPy."""

from __future__ import annotations

import numpy as np

from ..moments import Moments
from ..packing import State

__all__ = ["NumpyMoments"]


class NumpyMoments(Moments):
    """Values and velocity of the polynomial interactions of an energy.

    The formulas are those of :mod:`pwgf_sym.loops.cpu.moments`.
    """

    def _means(self, state: State):
        x = state.x.reshape(-1, self.dim).astype(float)
        weight = state.samples.weight.astype(float)
        center = x.mean(axis=0)
        y = x - center
        s = np.sum(y * y, axis=1)
        square, fourth, first, third = weight @ s, weight @ s**2, weight @ y, (weight * s) @ y
        second = (weight[:, None] * y).T @ y
        means = np.concatenate([center, [square, fourth], first, third, second.ravel()])
        pairs_square = 2 * (square - first @ first)
        pairs_fourth = 2 * fourth + 2 * square**2 + 4 * np.sum(second**2) - 8 * (first @ third)
        return means.astype(self.caller.dtype), float(pairs_square), float(pairs_fourth)

    def _add(self, out, state: State, means, slopes: np.ndarray) -> None:
        d, (k1, k0) = self.dim, slopes
        center, square = means[:d], means[d]
        first, third, second = np.split(means[d + 2 :], [d, 2 * d])
        y = state.x.reshape(-1, d) - center
        s = np.sum(y * y, axis=1, keepdims=True)
        slope = k1 * (s + square - 2 * (y @ first)[:, None]) + k0
        turned = 2 * (y @ second.reshape(d, d)) - s * first - third
        out.reshape(-1, d)[:] += slope * y - k0 * first + k1 * turned
