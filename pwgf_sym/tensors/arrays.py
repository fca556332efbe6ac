"""What the values of operations in NumPy have in common.

Values of samples have the sample axis first.
"""

from __future__ import annotations

import numpy as np

from .tensor import Array, Rule, Tensor

__all__ = ["alignments", "same"]


def same(value: Array) -> Array:
    """The value itself."""
    return value


def alignments(tensor: Tensor) -> list[Rule]:
    """Functions that insert axes of length 1, so that operands broadcast against the result."""
    return [_alignment(operand, tensor) for operand in tensor.operands]


def _alignment(operand: Tensor, tensor: Tensor) -> Rule:
    if operand.axes == tensor.axes and operand.per_sample == tensor.per_sample:
        return same
    samples = int(operand.per_sample)
    order = [operand.axes.index(a) + samples for a in tensor.axes if a in operand.axes]
    shape = tuple(a.size if a in operand.axes else 1 for a in tensor.axes)
    if operand.per_sample:
        order, shape = [0, *order], (-1, *shape)
    elif tensor.per_sample:
        shape = (1, *shape)
    return lambda value: np.transpose(value, order).reshape(shape)
