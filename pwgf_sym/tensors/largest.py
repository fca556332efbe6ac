"""The largest entry along axes, by which exponentials are scaled before they are summed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from .leaves import Zero
from .notation import Notation
from .tensor import Array, Axes, Rule, Tensor, node

__all__ = ["Largest"]


@node
class Largest(Tensor):
    """The largest entry along the axes ``over``, as a constant: its derivative is taken as zero.

    log sum exp(t) = m + log sum exp(t - m) has the same value for every m, so that what depends on
    it in this way has no derivative by m.
    """

    operand: Tensor
    over: Axes

    def __post_init__(self) -> None:
        axes = tuple(axis for axis in self.operand.axes if axis not in self.over)
        self._derive(axes=axes, per_sample=self.operand.per_sample, operands=(self.operand,))

    def pushed(self, k: int, tangent: Tensor, extra: Axes) -> Tensor:
        """None: it is a constant."""
        return Zero(self.axes + extra)

    def pulled(self, k: int, cotangent: Tensor, extra: Axes, lift: bool) -> Tensor:
        """None: it is a constant."""
        return Zero(extra + self.operand.axes)

    def rebuilt(self, operands: Sequence[Tensor]) -> Tensor:
        """That of another tensor."""
        return Largest(operands[0], self.over)

    def of_arrays(self, dtype: np.dtype[Any]) -> Rule:
        """The maximum over these axes; of complex numbers that of their real parts."""
        places = (i + self.per_sample for i, a in enumerate(self.operand.axes) if a in self.over)
        return partial(_largest, axis=tuple(places))

    def formula(self, write: Notation) -> str:
        """The axes in the place of an index."""
        over = ",".join(axis.name for axis in self.over)
        return f"max_{over} {write.entry(self.operand, self.operand.axes)}"

    def flops(self, dtype: str) -> int:
        """A comparison an entry."""
        return self.operand.size


def _largest(values: Array, axis: tuple[int, ...]) -> Array:
    return np.max(values.real, axis=axis)
