"""The tensor IR by NumPy, one operation after the other, all samples at once.

Values of samples have the sample axis first.  A value is let go after its last use, so that what a
graph holds at a time is what its widest place needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import opt_einsum

from ..tensors import (
    Add,
    Axis,
    Constant,
    Delta,
    Elementwise,
    Input,
    Inverse,
    LogDet,
    Product,
    Tensor,
    Zero,
    placeholder,
    topological,
)
from .array_formulas import ArrayFormulas

__all__ = ["Graph", "evaluate"]

# The letter of the sample axis in subscripts, and the length by which contractions are planned.
_SAMPLES, _LENGTH = "Z", 1024


class Graph:
    """Tensors as NumPy's operations in their order.

    Parameters
    ----------
    outputs : sequence of Tensor
        What is computed.
    dtype : dtype
        Precision of the numbers that stand in formulas.
    known : container of Tensor
        Tensors whose values a call is given; they are not computed again.

    Attributes
    ----------
    numbers : int
        Numbers a sample that all its values take.
    """

    def __init__(self, outputs: Iterable[Tensor], dtype=np.float64, known: Container[Tensor] = ()):
        self._outputs = list(dict.fromkeys(outputs))
        order = [t for t in topological(self._outputs, known) if t not in known]
        self._steps = [(t, _operation(t, np.dtype(dtype))) for t in order]
        self._gone = _last_uses(order, self._outputs)
        self.numbers = sum(math.prod(a.size for a in t.axes) for t in order if t.per_sample)

    def __call__(
        self,
        inputs: Mapping[str, np.ndarray],
        count: int,
        known: Mapping[Tensor, np.ndarray] | None = None,
    ) -> dict[Tensor, np.ndarray]:
        """Values of the outputs.

        Parameters
        ----------
        inputs : dict of str to array
            Values of the inputs by name.
        count : int
            Number of samples.
        known : dict of Tensor to array
            Values that the graph does not compute.
        """
        values = dict(known or {})
        for (tensor, operation), gone in zip(self._steps, self._gone, strict=True):
            if isinstance(tensor, Input):
                values[tensor] = inputs[tensor.name]
            else:
                values[tensor] = operation(*[values[t] for t in tensor.operands])
            for t in gone:
                del values[t]
        return {tensor: values[tensor] for tensor in self._outputs}


def evaluate(outputs: Sequence[Tensor], inputs: Mapping[str, np.ndarray], count: int) -> list:
    """Values of tensors for given inputs; those of samples have the sample axis first."""
    found = Graph(outputs)(inputs, count)
    return [found[output] for output in outputs]


def _last_uses(order: list[Tensor], outputs: list[Tensor]) -> list[list[Tensor]]:
    """Tensors that are computed here, and that nobody reads after each of them."""
    own, seen, gone = set(order), set(outputs), []
    for tensor in reversed(order):
        last = [t for t in dict.fromkeys((*tensor.operands, tensor)) if t in own and t not in seen]
        seen.update(last)
        gone.append(last)
    return gone[::-1]


def _operation(tensor: Tensor, dtype: np.dtype) -> Callable | None:
    """The function of the operands' values that gives a tensor's; None for an input."""
    match tensor:
        case Input():
            return None
        case Constant(value):
            return partial(_same, dtype.type(float(value)))
        case Delta(first):
            return partial(_same, np.eye(first.size, dtype=dtype))
        case Zero(axes):
            return partial(_same, np.zeros([axis.size for axis in axes], dtype))
        case Add():
            return partial(_sum, _alignments(tensor))
        case Elementwise(expression, operands):
            symbols = [placeholder(k) for k in range(len(operands))]
            formula = ArrayFormulas([expression], symbols, dtype)
            return partial(_entry_by_entry, formula, _alignments(tensor))
        case Inverse():
            return _inverse
        case LogDet():
            return _log_determinant
        case Product():
            return _product(tensor, dtype)
    raise TypeError(f"no value of {tensor.word}")


def _same(value):
    return value


def _sum(alignments, *values):
    first, *others = (align(v) for align, v in zip(alignments, values, strict=True))
    for value in others:
        first = first + value
    return first


def _entry_by_entry(formula: ArrayFormulas, alignments, *values):
    return formula(*(align(v) for align, v in zip(alignments, values, strict=True)))[0]


def _alignments(tensor: Tensor) -> list[Callable]:
    """Functions that insert axes of length 1, so that operands broadcast against the result."""
    return [_alignment(operand, tensor) for operand in tensor.operands]


def _alignment(operand: Tensor, tensor: Tensor) -> Callable:
    samples = int(operand.per_sample)
    order = [operand.axes.index(a) + samples for a in tensor.axes if a in operand.axes]
    shape = tuple(a.size if a in operand.axes else 1 for a in tensor.axes)
    if operand.per_sample:
        order, shape = [0, *order], (-1, *shape)
    elif tensor.per_sample:
        shape = (1, *shape)
    if operand.axes == tensor.axes and operand.per_sample == tensor.per_sample:
        return _same
    return lambda value: np.transpose(value, order).reshape(shape)


def _inverse(matrix):
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:  # of one sample, perhaps: the others have theirs
        singular = np.linalg.det(matrix) == 0
        identity = np.eye(matrix.shape[-1], dtype=matrix.dtype)
        found = np.linalg.inv(np.where(singular[..., None, None], identity, matrix))
        return np.where(singular[..., None, None], matrix.dtype.type(np.nan), found)


def _log_determinant(matrix):
    if np.iscomplexobj(matrix):  # a complex step: the derivative is in the imaginary part
        return np.log(np.linalg.det(matrix))
    return np.linalg.slogdet(matrix)[1]


def _product(tensor: Product, dtype: np.dtype) -> Callable:
    """An einsum, its order of contractions planned once; then axes that no operand carries."""
    labels = tensor.labels
    letters: dict[Axis, str] = {}
    for axis in (*(a for own in labels for a in own), *tensor.axes):
        letters.setdefault(axis, chr(ord("a") + len(letters)))
    carried = {axis for own in labels for axis in own}
    kept = [axis for axis in tensor.axes if axis in carried]
    terms, shapes = [], []
    for operand, own in zip(tensor.operands, labels, strict=True):
        terms.append(_SAMPLES * operand.per_sample + "".join(letters[a] for a in own))
        shapes.append((_LENGTH,) * operand.per_sample + tuple(a.size for a in own))
    out = _SAMPLES * tensor.per_sample + "".join(letters[a] for a in kept)
    contract = opt_einsum.contract_expression(f"{','.join(terms)}->{out}", *shapes)
    factor = dtype.type(float(tensor.coefficient))
    # Axes that no operand carries are broadcasts.
    inner = tuple(a.size if a in carried else 1 for a in tensor.axes)
    whole = tuple(a.size for a in tensor.axes)

    def operation(*values):
        found = contract(*values)
        found = found if factor == 1 else found * factor
        if inner == whole:
            return found
        samples = found.shape[: int(tensor.per_sample)]
        return np.broadcast_to(found.reshape(samples + inner), samples + whole)

    return operation
