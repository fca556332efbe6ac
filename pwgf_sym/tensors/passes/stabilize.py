"""Scalar expressions in their stable form."""

from __future__ import annotations

from ..elementwise import Elementwise, apply
from ..scalars.stable import stable
from ..tensor import Tensor
from .base import Rewriting

__all__ = ["Stabilize"]


class Stabilize(Rewriting):
    """Bring scalar expressions to their stable form, once nothing is differentiated any more."""

    name = "stabilize"
    summary = "scalar expressions that lose no digits and do not overflow on the way"

    def rule(self, tensor: Tensor) -> Tensor:
        """The stable expression of the same operands."""
        if not isinstance(tensor, Elementwise):
            return tensor
        found = stable(tensor.expression)
        same = found == tensor.expression
        return tensor if same else apply(found, *tensor.operands, axes=tensor.axes)
