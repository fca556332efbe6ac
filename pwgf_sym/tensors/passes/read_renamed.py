"""Parameters and constant arrays under other names of their axes."""

from __future__ import annotations

from ..leaves import ConstantArray, Input
from ..product import Product
from ..tensor import Tensor
from .base import Rewriting

__all__ = ["ReadRenamed"]


class ReadRenamed(Rewriting):
    """Read parameters and constant arrays under other names of their axes, without a copy."""

    name = "read renamed"
    summary = "parameters under other names of their axes are read as they stand"

    def rule(self, tensor: Tensor) -> Tensor:
        """The parameter, or the array, with axes of these names."""
        match tensor:
            case Product(coefficient, (Input(name, _, False),), (labels,), axes):
                return Input(name, labels, False) if coefficient == 1 and labels == axes else tensor
            case Product(coefficient, (ConstantArray(values),), (labels,), axes):
                same = coefficient == 1 and labels == axes and len(set(axes)) == len(axes)
                return ConstantArray(values, labels) if same else tensor
        return tensor
