"""The logarithm of a determinant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .inverse import Inverse
from .product import product, pulled_through
from .tensor import Array, Axes, Rule, Tensor, node

__all__ = ["LogDet"]


@node
class LogDet(Tensor):
    """The logarithm of the absolute determinant of a square matrix."""

    alone: ClassVar[bool] = True
    matrix: Tensor

    def __post_init__(self) -> None:
        self._derive(axes=(), per_sample=self.matrix.per_sample, operands=(self.matrix,))

    def pushed(self, k: int, tangent: Tensor, extra: Axes) -> Tensor:
        """d log|det J| = tr(J^-1 dJ)."""
        row, column = self.matrix.axes
        factors = [(Inverse(self.matrix), (column, row)), (tangent, (row, column, *extra))]
        return product(1, factors, self.axes + extra)

    def pulled(self, k: int, cotangent: Tensor, extra: Axes, lift: bool) -> Tensor:
        """u J^-T."""
        inverse = Inverse(self.matrix)
        factors = [(cotangent, extra), (inverse, inverse.axes)]
        return pulled_through(self.matrix, 1, factors, extra, lift)

    def rebuilt(self, operands: Sequence[Tensor]) -> Tensor:
        """That of another matrix."""
        return LogDet(*operands)

    def of_arrays(self, dtype: np.dtype[Any]) -> Rule:
        """That of every matrix."""
        return _log_determinant

    def flops(self, dtype: str) -> int:
        """An LU factorization."""
        return 2 * self.matrix.axes[0].size ** 3 // 3


def _log_determinant(matrix: Array) -> Array:
    if np.iscomplexobj(matrix):  # a complex step: the derivative is in the imaginary part
        return np.log(np.linalg.det(matrix))
    return np.linalg.slogdet(matrix)[1]
