"""Sums of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .arrays import alignments
from .leaves import Zero
from .notation import Notation
from .product import pulled_through
from .tensor import Array, Axes, Axis, Rule, Tensor, node

__all__ = ["Add", "add"]


@node
class Add(Tensor):
    """A sum of tensors of equal axes (invariant terms broadcast over the samples)."""

    splits_trace: ClassVar[bool] = True
    operands: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        any_sample = any(term.per_sample for term in self.operands)
        self._derive(axes=self.operands[0].axes, per_sample=any_sample)

    def pushed(self, k: int, tangent: Tensor, extra: Axes) -> Tensor:
        """The tangent of a term is a term of the tangent."""
        return tangent

    def pulled(self, k: int, cotangent: Tensor, extra: Axes, lift: bool) -> Tensor:
        """Every term gets the cotangent."""
        return pulled_through(self.operands[k], 1, [(cotangent, extra + self.axes)], extra, lift)

    def traced(self, first: Axis, second: Axis) -> list[Tensor]:
        """The traces of the terms."""
        return [part for term in self.operands for part in term.traced(first, second)]

    def rebuilt(self, operands: Sequence[Tensor]) -> Tensor:
        """The sum of other terms."""
        return add(*operands)

    def of_arrays(self, dtype: np.dtype[Any]) -> Rule:
        """The terms one after the other."""
        return partial(_sum, alignments(self))

    def formula(self, write: Notation) -> str:
        """The terms."""
        return " + ".join(map(write.whole, self.operands))

    def aligned(self) -> set[Tensor]:
        """All terms."""
        return set(self.operands)

    def flops(self, dtype: str) -> int:
        """An addition an entry and term, but for the first."""
        return (len(self.operands) - 1) * self.size


def _sum(aligned: Sequence[Rule], *values: Array) -> Array:
    first, *others = (align(value) for align, value in zip(aligned, values, strict=True))
    for value in others:
        first = first + value
    return first


def add(*terms: Tensor) -> Tensor:
    """The sum of tensors of equal axes; of one term that is the term."""
    if any(term.axes != terms[0].axes for term in terms):
        raise ValueError(f"sum of different axes: {[term.axes for term in terms]}")
    terms = tuple(term for term in terms if not isinstance(term, Zero)) or terms[:1]
    return Add(terms) if len(terms) > 1 else terms[0]
