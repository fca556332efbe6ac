"""Parameters under other names of their axes."""

from __future__ import annotations

from ..leaves import Input
from ..product import Product
from ..tensor import Tensor
from .base import Rewriting

__all__ = ["ReadRenamed"]


class ReadRenamed(Rewriting):
    """Read parameters under other names of their axes as they stand, without a copy."""

    name = "read renamed"
    summary = "parameters under other names of their axes are read as they stand"

    def rule(self, tensor: Tensor) -> Tensor:
        """The parameter with axes of these names."""
        match tensor:
            case Product(coefficient, (Input(name, _, False),), (labels,), axes):
                return Input(name, labels, False) if coefficient == 1 and labels == axes else tensor
        return tensor
