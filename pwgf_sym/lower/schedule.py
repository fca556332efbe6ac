"""Where and in which order a sweep's values are computed.

Every tensor belongs to one part: ``table`` (sample-invariant, once before the samples), ``sample``
(for every tile of samples), ``reduction`` (sums over a block's samples) or ``finish`` (what is left
to do with the summed reductions).  Tensors of a part that have the same axes and need each other
entry by entry only are fused into one group, that is one loop nest.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import ir
from .ir import Axis, Tensor
from .kernels import Sweep

__all__ = ["Group", "Parts", "Tiling", "fuse", "parts_of"]


# Computed together by one call: the inverse and log |det| of a matrix.
FACTORISATIONS = ("inverse", "logdet")


@dataclass(frozen=True)
class Tiling:
    """Shapes of the register tiles and blocks.

    Attributes
    ----------
    vector_bits : int
        Width of the machine's vector registers.
    lanes : int
        Numbers in a vector register.
    samples : int
        Samples in a tile, innermost in memory: a few registers side by side.
    rows : int
        Rows of an output feature tile; rows * samples / lanes registers accumulate.
    columns : int
        Columns of a tile of an outer product.
    tiles : int
        Tiles in a block.
    """

    vector_bits: int
    lanes: int
    samples: int
    rows: int
    columns: int
    tiles: int = 8

    @classmethod
    def for_machine(cls, vector_bits: int, dtype: str) -> Tiling:
        """The tiling for a vector width: 16 registers up to 256 bits, 32 with 512."""
        lanes = vector_bits // (64 if dtype == "float64" else 32)
        wide = vector_bits >= 512
        return cls(vector_bits, lanes, lanes * (4 if wide else 2), 4, 4 if wide else 2)


@dataclass
class Parts:
    """Tensors of a sweep in computing order, by where they are computed."""

    table: list[Tensor]
    sample: list[Tensor]
    reduction: list[Tensor]
    finish: list[Tensor]


def parts_of(sweep: Sweep) -> Parts:
    """Assign every tensor of a sweep to its part."""
    parts = Parts([], [], [], [])
    reduced: set[Tensor] = set()
    for tensor in ir.topological(sweep.outputs()):
        if tensor.kind in ("input", "delta", "constant"):
            continue
        if tensor.per_sample:
            parts.sample.append(tensor)
        elif tensor.kind == "product" and tensor.data[2]:
            reduced.add(tensor)
            parts.reduction.append(tensor)
        elif any(operand in reduced for operand in tensor.operands):
            reduced.add(tensor)
            parts.finish.append(tensor)
        else:
            parts.table.append(tensor)
    return parts


@dataclass
class Group:
    """Tensors with equal axes that one loop nest computes; ``row`` is the tiled axis."""

    axes: tuple[Axis, ...]
    tensors: list[Tensor]

    @property
    def row(self) -> Axis | None:
        """The axis of register tiles: if possible one that only an invariant factor carries.

        Then the update of a tile is a rank-1 update, a column of numbers times a row of samples.
        """
        for tensor in self.tensors:
            if tensor.kind != "product" or len(tensor.operands) != 2:
                continue
            (first, a), (second, b) = zip(tensor.operands, tensor.data[1], strict=True)
            for fixed, own, other in ((first, a, b), (second, b, a)):
                if not fixed.per_sample:
                    for axis in reversed(self.axes):
                        if axis in own and axis not in other:
                            return axis
        return self.axes[-1] if self.axes else None


def aligned_operands(tensor: Tensor) -> set[Tensor]:
    """Operands that are read at the very entry that is being computed."""
    if tensor.kind in ("add", "elementwise"):
        return {t for t in tensor.operands if t.axes == tensor.axes}
    if tensor.kind == "product":
        pairs = zip(tensor.operands, tensor.data[1], strict=True)
        labels = {a for ls in tensor.data[1] for a in ls}
        if labels <= set(tensor.axes):
            return {t for t, own in pairs if own == tensor.axes == t.axes}
    return set()


def fuse(tensors: list[Tensor]) -> list[Group]:
    """Greedy fusion in computing order: the earliest group that a tensor's operands allow."""
    groups: list[Group] = []
    where: dict[Tensor, int] = {}
    for tensor in tensors:
        aligned = aligned_operands(tensor)
        level = 0
        for operand in tensor.operands:
            if operand in where:
                same = operand in aligned and operand.kind not in FACTORISATIONS
                level = max(level, where[operand] + (0 if same else 1))
        found = level
        while found < len(groups) and not _joins(tensor, groups[found]):
            found += 1
        if found == len(groups):
            groups.append(Group(tensor.axes, []))
        groups[found].tensors.append(tensor)
        where[tensor] = found
    return groups


def _joins(tensor: Tensor, group: Group) -> bool:
    """Whether a tensor may be computed in a group's loops; a factorisation is a call of its own."""
    first = group.tensors[0]
    if tensor.kind in FACTORISATIONS or first.kind in FACTORISATIONS:
        both = tensor.kind in FACTORISATIONS and first.kind in FACTORISATIONS
        return both and tensor.operands == first.operands
    return group.axes == tensor.axes
