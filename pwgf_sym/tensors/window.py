"""Entries along an axis from another place on: slices, shifts, and what is embedded in zeros."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .notation import Notation
from .product import product
from .tensor import Array, Axes, Axis, Rule, Tensor, node

__all__ = ["Window", "window"]


@node
class Window(Tensor):
    """Entry j along ``axis`` is the operand's entry j + start along its axis; zero outside of it.

    The transposed of a window is the window back: a slice of a vector, and its place in a longer
    one.  ``axis`` stands where the operand's axis ``of`` stood.
    """

    alone: ClassVar[bool] = True
    operand: Tensor
    of: Axis
    axis: Axis
    start: int

    def __post_init__(self) -> None:
        axes = tuple(self.axis if a == self.of else a for a in self.operand.axes)
        self._derive(axes=axes, per_sample=self.operand.per_sample, operands=(self.operand,))

    @property
    def inside(self) -> tuple[int, int]:
        """The first entry that is none of the zeros before, and the first of those behind."""
        first = min(max(0, -self.start), self.axis.size)
        return first, max(first, min(self.axis.size, self.of.size - self.start))

    def pushed(self, k: int, tangent: Tensor, extra: Axes) -> Tensor:
        """The same entries of the tangent."""
        return window(tangent, self.of, self.axis, self.start)

    def pulled(self, k: int, cotangent: Tensor, extra: Axes, lift: bool) -> Tensor:
        """The cotangent's entries at their places, zero elsewhere."""
        back = window(cotangent, self.axis, self.of, -self.start)
        axes = extra + self.operand.axes
        sums = not lift and not self.operand.per_sample and back.per_sample
        return product(1, [(back, back.axes)], axes, sums)

    def rebuilt(self, operands: Sequence[Tensor]) -> Tensor:
        """The same entries of another tensor."""
        return window(operands[0], self.of, self.axis, self.start)

    def of_arrays(self, dtype: np.dtype[Any]) -> Rule:
        """A slice, with zeros around it."""
        place = self.operand.axes.index(self.of) + self.per_sample
        first, last = self.inside
        edges = first, self.axis.size - last
        return partial(_window, place, slice(first + self.start, last + self.start), edges)

    def formula(self, write: Notation) -> str:
        """The place along the axis in brackets."""
        labels = [axis if axis != self.of else self.axis for axis in self.operand.axes]
        moved = f"{self.axis.name}{self.start:+d}"
        indices = ",".join(moved if axis == self.axis else axis.name for axis in labels)
        return f"{self.operand.symbol(write.names)}[{indices}]"

    def as_they_stand(self) -> set[Tensor]:
        """None: it is read from another place on."""
        return set()

    def text(self) -> str:
        """What it is of, and from where."""
        return f"{self.operand.short_name} along {self.of} from {self.start:+d}"


def _window(place: int, inside: slice, edges: tuple[int, int], values: Array) -> Array:
    found = values[(slice(None),) * place + (inside,)]
    return np.pad(found, [edges if k == place else (0, 0) for k in range(found.ndim)])


def window(tensor: Tensor, of: Axis, axis: Axis, start: int) -> Tensor:
    """Entries along an axis from ``start`` on, under another axis; the whole is the tensor."""
    if start == 0 and of.size == axis.size:
        axes = tuple(axis if a == of else a for a in tensor.axes)
        return product(1, [(tensor, axes)], axes)
    return Window(tensor, of, axis, start)
