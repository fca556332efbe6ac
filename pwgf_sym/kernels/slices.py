"""Slices of what is computed from a vector x, written with slices of x."""

from __future__ import annotations

from collections.abc import Iterable

from ..tensors import (
    Add,
    Axis,
    Elementwise,
    Largest,
    Product,
    Tensor,
    Window,
    Zero,
    add,
    apply,
    product,
    topological,
    window,
)

__all__ = ["Slices"]


class Slices:
    """Takes slices of tensors, through all that works entry by entry, down to slices of x.

    Attributes
    ----------
    x : Tensor
        A vector.
    """

    def __init__(self, x: Tensor):
        self.x = x
        self._moving: dict[Tensor, bool] = {}

    def moves(self, tensor: Tensor) -> bool:
        """Whether a tensor is computed from x."""
        for one in topological([tensor], self._moving):
            if one not in self._moving:
                self._moving[one] = one is self.x or any(self._moving[t] for t in one.operands)
        return self._moving[tensor]

    def inward(self, tensor: Tensor) -> Tensor:
        """The same values, every slice taken as early as may be."""
        found: dict[Tensor, Tensor] = {}
        for one in topological([tensor]):
            found[one] = one.with_operands(tuple(found[t] for t in one.operands))
            own = found[one]
            if isinstance(own, Window) and self.moves(own):
                found[one] = self.part(own.operand, own.of, own.axis, own.start)
        return found[tensor]

    def part(self, tensor: Tensor, axis: Axis, own: Axis, start: int) -> Tensor:
        """Entries from ``start`` on along an axis, under another axis: a window of the tensor.

        Where that leads to no slice of x it is the window as it stands.
        """
        axes = tuple(own if a == axis else a for a in tensor.axes)
        if isinstance(tensor, Zero):
            return Zero(axes)
        whole = start == 0 and own.size == axis.size
        inside = start >= 0 and start + own.size <= axis.size
        clash = own in tensor.axes and own != axis
        if whole or clash or not inside or tensor is self.x or not self.moves(tensor):
            return window(tensor, axis, own, start)
        match tensor:
            case Window() if tensor.axis == axis:
                return self._of_window(tensor, own, start)
            case Window() if own not in (tensor.of, tensor.axis):
                inner = self.part(tensor.operand, axis, own, start)
                if isinstance(inner, Zero):
                    return Zero(axes)
                return window(inner, tensor.of, tensor.axis, tensor.start)
            case Add():
                return add(*[self.part(term, axis, own, start) for term in tensor.operands])
            case Elementwise(expression):
                parts = [
                    self._number(self.part(t, axis, own, start)) if axis in t.axes else t
                    for t in tensor.operands
                ]
                return apply(expression, *parts, axes=axes)
            case Product() if not tensor.sum_samples:
                found = self._of_product(tensor, axis, own, start)
                return window(tensor, axis, own, start) if found is None else found
            case Largest(operand, over) if own not in over:
                return Largest(self._number(self.part(operand, axis, own, start)), over)
        return window(tensor, axis, own, start)

    def _of_window(self, tensor: Window, own: Axis, start: int) -> Tensor:
        """Those of a window's entries that are none of its zeros, with zeros around them."""
        first, last = tensor.inside
        begin, end = max(start, first), min(start + own.size, last)
        if begin >= end:
            return Zero(tuple(own if a == tensor.axis else a for a in tensor.axes))
        short = own if end - begin == own.size else Axis(f"{own.name}_{begin}_{end}", end - begin)
        inner = self.part(tensor.operand, tensor.of, short, begin + tensor.start)
        return inner if isinstance(inner, Zero) else window(inner, short, own, start - begin)

    def _of_product(self, tensor: Product, axis: Axis, own: Axis, start: int) -> Tensor | None:
        """The product of parts of the factors, where one of them leads on to x."""
        labels = [a for ls in tensor.labels for a in ls]
        carried = [t for t, ls in tensor.factors if axis in ls and self.moves(t)]
        twice = any(ls.count(axis) > 1 for ls in tensor.labels)
        if not carried or own in labels or twice:
            return None
        factors = []
        for factor, under in tensor.factors:
            if axis in under:
                of = factor.axes[under.index(axis)]
                short = Axis(own.name, own.size) if own not in factor.axes else own.fresh
                factor = self.part(factor, of, short, start)
            factors.append((factor, tuple(own if a == axis else a for a in under)))
        axes = tuple(own if a == axis else a for a in tensor.axes)
        return product(tensor.coefficient, factors, axes)

    def _number(self, tensor: Tensor) -> Tensor:
        """Zeros that functions may read."""
        return product(0, (), tensor.axes) if isinstance(tensor, Zero) else tensor

    def borders(self, tensor: Tensor, axis: Axis) -> set[int]:
        """Where along an axis parts that depend on x are put together."""
        if not self.moves(tensor) or axis not in tensor.axes:
            return set()
        match tensor:
            case Window() if tensor.axis == axis:
                first, last = tensor.inside
                inner = self.borders(tensor.operand, tensor.of)
                return {first, last} | {c - tensor.start for c in inner}
            case Window() | Add() | Elementwise():
                return self._borders([(t, axis) for t in tensor.operands])
            case Product():
                places = [
                    (factor, own)
                    for factor, labels in tensor.factors
                    for own, label in zip(factor.axes, labels, strict=True)
                    if label == axis
                ]
                return self._borders(places)
        return set()

    def _borders(self, places: Iterable[tuple[Tensor, Axis]]) -> set[int]:
        return {c for tensor, axis in places for c in self.borders(tensor, axis)}

    def read(self, output: Tensor) -> list[tuple[Tensor, Axis, int]]:
        """What an output reads x through: slices or x itself, axes of them, where they begin."""
        found: dict[Tensor, tuple[Axis, int]] = {}
        for one in topological([output]):
            if isinstance(one, Window) and one.operand is self.x:
                found[one] = one.axis, one.start
            elif self.x in one.operands or output is self.x:
                found[self.x] = self.x.axes[0], 0
        return [(tensor, *place) for tensor, place in found.items()]
