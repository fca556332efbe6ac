"""Affine maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..arguments import checked_call, dimension
from ..errors import MapError
from .map import Family, Operations, V

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .law import Law, WhitenedLaw

__all__ = ["Affine"]


class Affine(Family):
    """T(z) = A z + b with a full matrix A (d, d) and a shift b (d,); starts as the identity."""

    arguments = ("dim",)

    @checked_call
    def __init__(self, dim: int) -> None:
        self.dim = dimension("dim", dim, error=MapError)

    def parameters(self) -> dict[str, str]:
        return {"A": "ij", "b": "i"}

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        return op.einsum("ij,j->i", p["A"], x) + p["b"]

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        import numpy as np

        return np.concatenate([np.eye(self.dim).ravel(), np.zeros(self.dim)])
