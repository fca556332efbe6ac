"""The tensor IR by NumPy, one operation after the other, all samples at once.

Values of samples have the sample axis first.  A value is let go after its last use, so that what a
graph holds at a time is what its widest place needs.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import DTypeLike

from .leaves import Input
from .tensor import Array, Tensor, topological

__all__ = ["Graph", "evaluate"]


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

    def __init__(
        self,
        outputs: Iterable[Tensor],
        dtype: DTypeLike = np.float64,
        known: Container[Tensor] = (),
    ) -> None:
        self._outputs = list(dict.fromkeys(outputs))
        order = [t for t in topological(self._outputs, known) if t not in known]
        self._steps = [
            (t, t.name if isinstance(t, Input) else t.of_arrays(np.dtype(dtype))) for t in order
        ]
        self._gone = _last_uses(order, self._outputs)
        self.numbers = sum(t.size for t in order if t.per_sample)

    def __call__(
        self,
        inputs: Mapping[str, Array],
        known: Mapping[Tensor, Array] | None = None,
    ) -> dict[Tensor, Array]:
        """Values of the outputs.

        Parameters
        ----------
        inputs : dict of str to array
            Values of the inputs by name.
        known : dict of Tensor to array
            Values that the graph does not compute.
        """
        values = dict(known or {})
        for (tensor, rule), gone in zip(self._steps, self._gone, strict=True):
            if isinstance(rule, str):
                values[tensor] = inputs[rule]
            else:
                values[tensor] = rule(*[values[t] for t in tensor.operands])
            for t in gone:
                del values[t]
        return {tensor: values[tensor] for tensor in self._outputs}


def evaluate(outputs: Sequence[Tensor], inputs: Mapping[str, Array]) -> list[Array]:
    """Values of tensors for given inputs; those of samples have the sample axis first."""
    found = Graph(outputs)(inputs)
    return [found[output] for output in outputs]


def _last_uses(order: list[Tensor], outputs: list[Tensor]) -> list[list[Tensor]]:
    """Tensors that are computed here, and that nobody reads after each of them."""
    own, seen, gone = set(order), set(outputs), list[list[Tensor]]()
    for tensor in reversed(order):
        last = [t for t in dict.fromkeys((*tensor.operands, tensor)) if t in own and t not in seen]
        seen.update(last)
        gone.append(last)
    return gone[::-1]
