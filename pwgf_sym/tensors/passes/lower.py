"""Operations that say what they are in others."""

from __future__ import annotations

from ..tensor import Tensor
from .base import Rewriting

__all__ = ["Lower"]


class Lower(Rewriting):
    """Write operations by others where they say so, once their derivatives have been taken."""

    name = "lower"
    summary = "operations that are written by others are"

    def rule(self, tensor: Tensor) -> Tensor:
        """The tensor by others, which may be such operations themselves."""
        found = tensor.lowered()
        return tensor if found is None else self.run([found])[0]
