"""Where and in which order a sweep's values are computed.

Every tensor belongs to one part: ``table`` (sample-invariant, once before the samples; constant
arrays that the other parts read, too), ``sample`` (for every tile of samples), ``reduction`` (sums
over a block's samples) or ``finish`` (what is left to do with the summed reductions).  Tensors of a
part that have the same axes and need each other entry by entry only are fused into one group, that
is one loop nest.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass
from typing import Protocol

import sympy as sp

from ..kernels.kernels import Sweep
from ..tensors import (
    Axis,
    ConstantArray,
    Elementwise,
    Inverse,
    LogDet,
    Product,
    Tensor,
    placeholder,
    topological,
)
from ..tensors.scalars.applications import is_function

__all__ = ["FACTORISATIONS", "Group", "Parts", "SampleTiling", "Tiling", "array_function"]
__all__ += ["fuse", "is_arithmetic", "parts_of"]


# Computed together by one call: the inverse and log |det| of a matrix.
FACTORISATIONS = (Inverse, LogDet)
# Functions that are computed for a whole array in a loop of their own, where it is long enough.
ARRAY_FUNCTIONS = ("exp", "sigmoid", "tanh")
_SHORTEST_ARRAY = 8


class SampleTiling(Protocol):
    """How samples stand in packed arrays.

    Attributes
    ----------
    samples : int
        Samples in a tile, innermost in memory.
    """

    @property
    def samples(self) -> int: ...

    def padded(self, numbers: int) -> int:
        """Rows of samples that a tile takes in an array with many tiles."""


class Tiling(SampleTiling, Protocol):
    """Shapes of register tiles and blocks: what the steps that printers share ask of a target."""

    def rows(self, size: int) -> int:
        """Rows of a register tile over an axis of this size."""

    def outer(self, first: int, second: int) -> tuple[int, int]:
        """Rows and columns of the tiles of an outer product of axes of these sizes."""

    def outer_cost(self, first: int, second: int) -> float:
        """Cost of an outer product with rows along the first axis, in the best tiles."""

    def block(self, numbers: int, near: int) -> int:
        """Tiles of a block whose samples occupy so many numbers each, ``near`` of them hot."""


@dataclass
class Parts:
    """Tensors of a sweep in computing order, by where they are computed."""

    table: list[Tensor]
    sample: list[Tensor]
    reduction: list[Product]
    finish: list[Tensor]


def parts_of(sweep: Sweep) -> Parts:
    """Assign every tensor of a sweep to its part."""
    parts = Parts([], [], [], [])
    reduced: set[Tensor] = set()
    order = list(topological(sweep.outputs()))
    for tensor in order:
        if not tensor.operands:
            continue
        if tensor.per_sample:
            parts.sample.append(tensor)
        elif isinstance(tensor, Product) and tensor.sum_samples:
            reduced.add(tensor)
            parts.reduction.append(tensor)
        elif any(operand in reduced for operand in tensor.operands):
            reduced.add(tensor)
            parts.finish.append(tensor)
        else:
            parts.table.append(tensor)
    others = (*parts.sample, *parts.reduction, *parts.finish)
    read = {operand for tensor in others for operand in tensor.operands} | set(sweep.outputs())
    parts.table[:0] = [t for t in order if isinstance(t, ConstantArray) and t in read]
    return parts


@dataclass
class Group:
    """Tensors with equal axes that one loop nest computes; ``row`` is the tiled axis.

    A tensor with other axes is arithmetic that a contraction of the group does while it reads.
    """

    axes: tuple[Axis, ...]
    tensors: list[Tensor]

    @property
    def row(self) -> Axis | None:
        """The axis of register tiles: if possible one that only an invariant factor carries.

        Then the update of a tile is a rank-1 update, a column of numbers times a row of samples.
        """
        for tensor in self.tensors:
            if not isinstance(tensor, Product) or len(tensor.operands) != 2:
                continue
            (first, a), (second, b) = tensor.factors
            for fixed, own, other in ((first, a, b), (second, b, a)):
                if not fixed.per_sample:
                    for axis in reversed(self.axes):
                        if axis in own and axis not in other:
                            return axis
        return self.axes[-1] if self.axes else None


def array_function(tensor: Tensor) -> str | None:
    """Name of the function, if a tensor is one of ``ARRAY_FUNCTIONS`` of many entries."""
    if not isinstance(tensor, Elementwise) or not tensor.per_sample or len(tensor.operands) != 1:
        return None
    expression, name = tensor.expression, type(tensor.expression).__name__
    plain = name in ARRAY_FUNCTIONS and expression.args == (placeholder(0),)
    entries = math.prod(axis.size for axis in tensor.axes)
    same = tensor.operands[0].axes == tensor.axes and tensor.operands[0].per_sample
    return name if plain and same and entries >= _SHORTEST_ARRAY else None


def fuse(tensors: list[Tensor], calls: Container[Tensor] = ()) -> list[Group]:
    """Fusion in computing order: the earliest group that a tensor's operands allow.

    What only one later group reads, entry by entry, then moves there: it need not be stored.

    Parameters
    ----------
    tensors : list of Tensor
        In computing order.
    calls : container of Tensor
        Those that are computed by a call for all their entries, beside the factorisations.
    """
    groups: list[Group] = []
    where: dict[Tensor, int] = {}
    for tensor in tensors:
        aligned = tensor.aligned()
        level = 0
        for operand in tensor.operands:
            if operand in where:
                same = operand in aligned and not _is_call(operand, calls)
                same = same and not _is_call(tensor, calls)
                level = max(level, where[operand] + (0 if same else 1))
        found = level
        while found < len(groups) and not _joins(tensor, groups[found], calls):
            found += 1
        if found == len(groups):
            groups.append(Group(tensor.axes, []))
        groups[found].tensors.append(tensor)
        where[tensor] = found
    return _sink(tensors, groups, where, calls)


def _sink(
    tensors: list[Tensor],
    groups: list[Group],
    where: dict[Tensor, int],
    calls: Container[Tensor],
) -> list[Group]:
    """Move tensors to the only group that reads them, where it can read them from registers."""
    readers: dict[Tensor, list[Tensor]] = {tensor: [] for tensor in tensors}
    for tensor in tensors:
        for operand in tensor.operands:
            if operand in readers:
                readers[operand].append(tensor)
    for tensor in reversed(tensors):
        places = {where[reader] for reader in readers[tensor]}
        if len(places) != 1 or _is_call(tensor, calls):
            continue
        (place,) = places
        aligned = all(tensor in reader.aligned() for reader in readers[tensor])
        joins = aligned and _joins(tensor, groups[place], calls)
        if joins or all(_reads_once(reader, tensor) for reader in readers[tensor]):
            where[tensor] = place
    moved = [Group(group.axes, []) for group in groups]
    for tensor in tensors:
        moved[where[tensor]].tensors.append(tensor)
    return [group for group in moved if group.tensors]


def is_arithmetic(tensor: Tensor) -> bool:
    """Whether a tensor takes a few sums and products entry by entry, cheap enough to repeat."""
    if not isinstance(tensor, Elementwise):
        return False
    return not any(is_function(part) for part in sp.preorder_traversal(tensor.expression))


def _reads_once(reader: Tensor, tensor: Tensor) -> bool:
    """Whether a contraction reads each entry of cheap arithmetic once, so that it can do it.

    The arithmetic then stands in the loop of the contraction, in a group of other axes.
    """
    if not isinstance(reader, Product) or not tensor.per_sample or not is_arithmetic(tensor):
        return False
    labels = [ls for t, ls in reader.factors if t is tensor]
    axes = {a for ls in reader.labels for a in ls}
    return bool(reader.summed) and len(labels) == 1 and set(labels[0]) == axes


def _is_call(tensor: Tensor, calls: Container[Tensor]) -> bool:
    return tensor.alone or tensor in calls


def _joins(tensor: Tensor, group: Group, calls: Container[Tensor]) -> bool:
    """Whether a tensor may be computed in a group's loops; a call is a group of its own."""
    first = group.tensors[0]
    if _is_call(tensor, calls) or _is_call(first, calls):
        both = isinstance(tensor, FACTORISATIONS) and isinstance(first, FACTORISATIONS)
        return both and tensor.operands == first.operands
    return group.axes == tensor.axes
