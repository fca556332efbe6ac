"""Bicubic splines on uniform grids, whose gradients are evaluated at many points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["CubicSpline2D"]


class CubicSpline2D:
    """Bicubic interpolating spline of values on a uniform grid, mirrored at its sides.

    Parameters
    ----------
    values : (n0, n1) array
        Values at the nodes.
    origin, widths : (2,) sequences
        First node, and distances of nodes, along both axes.
    """

    def __init__(self, values: Floats, origin: Sequence[float], widths: Sequence[float]) -> None:
        from scipy.ndimage import spline_filter

        self.coefficients = np.pad(spline_filter(values, order=3, mode="mirror"), 2, "reflect")
        self.origin, self.widths = np.asarray(origin), np.asarray(widths)
        self.last = np.array(values.shape) - 1.0

    def gradient(self, points: Floats) -> Floats:
        """Gradient (N, 2) at points (N, 2); points outside get that of the nearest node."""
        place = np.clip((points - self.origin) / self.widths, 0.0, self.last)
        cell = np.floor(place).astype(int)
        (value0, slope0), (value1, slope1) = (_weights(part) for part in (place - cell).T)
        # Coefficients are padded by two: those of nodes cell - 1 to cell + 2 begin one later.
        columns = self.coefficients.shape[1]
        base = (cell[:, 0] + 1) * columns + cell[:, 1] + 1
        near = (np.arange(4)[:, None] * columns + np.arange(4)).ravel()
        patch = self.coefficients.ravel()[base[:, None] + near].reshape(-1, 4, 4)
        along0 = np.einsum("nij,nj->ni", patch, value1)
        along1 = np.einsum("nij,nj->ni", patch, slope1)
        found = np.stack([np.sum(slope0 * along0, axis=1), np.sum(value0 * along1, axis=1)], axis=1)
        return found / self.widths


def _weights(s: Floats) -> tuple[Floats, Floats]:
    """Cubic B-splines of the four nodes around a place s in [0, 1] of a cell, and their slopes."""
    r = 1 - s
    value = [r**3, 4 - 6 * s**2 + 3 * s**3, 4 - 6 * r**2 + 3 * r**3, s**3]
    slope = [-(r**2), 3 * s**2 - 4 * s, 4 * r - 3 * r**2, s**2]
    return np.stack(value, axis=1) / 6, np.stack(slope, axis=1) / 2
