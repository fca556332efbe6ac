"""The inverse of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .product import product, pulled_through
from .tensor import Array, Axes, Rule, Tensor, node

__all__ = ["Inverse"]


@node
class Inverse(Tensor):
    """The inverse of a square matrix with axes (i, j); the result has axes (j, i)."""

    alone: ClassVar[bool] = True
    matrix: Tensor

    def __post_init__(self) -> None:
        matrix = self.matrix
        self._derive(axes=matrix.axes[::-1], per_sample=matrix.per_sample, operands=(matrix,))

    def pushed(self, k: int, tangent: Tensor, extra: Axes) -> Tensor:
        """d(J^-1) = -J^-1 dJ J^-1."""
        row, column = self.matrix.axes
        left, right = _apart((column, row), (row, column, *extra))
        factors = [(self, (column, right)), (tangent, (right, left, *extra)), (self, (left, row))]
        return product(-1, factors, self.axes + extra)

    def pulled(self, k: int, cotangent: Tensor, extra: Axes, lift: bool) -> Tensor:
        """-J^-T u J^-T."""
        row, column = self.matrix.axes
        left, right = _apart((row, column), (row, column, *extra))
        inner = (cotangent, (*extra, right, left))
        factors = [(self, (right, row)), inner, (self, (column, left))]
        return pulled_through(self.matrix, -1, factors, extra, lift)

    def rebuilt(self, operands: Sequence[Tensor]) -> Tensor:
        """The inverse of another matrix."""
        return Inverse(*operands)

    def of_arrays(self, dtype: np.dtype[Any]) -> Rule:
        """The inverse of every matrix; of a singular one it is not a number."""
        return _inverse

    def flops(self, dtype: str) -> int:
        """Gauss and Jordan."""
        return 2 * self.matrix.axes[0].size ** 3


def _apart(axes: Axes, others: Axes) -> Axes:
    """Axes of these lengths with names of their own."""
    found: Axes = ()
    for axis in axes:
        free = axis.fresh
        while free in (*others, *found):
            free = free.fresh
        found = (*found, free)
    return found


def _inverse(matrix: Array) -> Array:
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:  # of one sample, perhaps: the others have theirs
        singular = np.linalg.det(matrix)[..., None, None] == 0
        identity = np.eye(matrix.shape[-1], dtype=matrix.dtype)
        found = np.linalg.inv(np.where(singular, identity, matrix))
        return np.where(singular, matrix.dtype.type(np.nan), found)
