"""Sums over the samples of a tile, as calls of the functions in ``runtime/cuda/sums.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...schedule.reductions import OuterTiles
from ...tensors import Axis, Tensor
from ..block import Header
from ..nodes import Barrier, Binary, Do, Expression, Integer, Name, call
from ..places import At, headers
from .entries import Labels, step_of
from .names import ONE

if TYPE_CHECKING:
    from .sweeps import ThreadSweepBuilder

__all__ = ["emit_block_sums"]


def emit_block_sums(sweep: ThreadSweepBuilder) -> None:
    """Write all sums over samples of a sweep's step."""
    sweep.write(Barrier())
    for tensor in sweep.parts.reduction:
        _Sum(sweep, tensor, sweep.k.outer_tiles[tensor]).emit()
    sweep.write(Barrier())


class _Sum:
    """One sum over samples: rows of the first factor by columns of the second."""

    def __init__(self, sweep: ThreadSweepBuilder, tensor: Tensor, tiles: OuterTiles) -> None:
        self.tensor, self.tiles, self.write = tensor, tiles, sweep.write
        self.k, self.slots = sweep.k, sweep.slots()

    def emit(self) -> None:
        """Write the call, in loops over the axes that it does not take itself."""
        tiles, tiling, summed = self.tiles, self.k.tiling, self._summed()
        at: At = {**{a: Name(a.name) for a in tiles.loops}, **summed}
        at |= {a: Integer(0) for a in (tiles.row, tiles.column) if a is not None}
        target, axes = self.k.sums[self.tensor], self.tensor.axes
        entry: list[Expression | str] = [
            "sums",
            target.index(axes, at),
            step_of(target, axes, tiles.row),
        ]
        operands = [self._operand(*factor, at) for factor in tiles.factors]
        rows = tiles.row.size if tiles.row is not None else 1
        sizes: tuple[int, ...] = ()
        rest: list[Expression | int | str]
        if tiles.column is None:
            name, room = ("row_sums", "product_sums")[len(operands) - 1], tiling.row_sums(rows)
            rest = [*(part for operand in operands for part in operand), rows]
        else:
            columns = tiles.column.size
            shape, room = tiling.outer_sums(rows, columns)
            name, sizes = "outer_sums", tiling.outer(rows, columns)
            rest = [*operands[0], rows, *operands[1], columns, *shape]
            entry.append(step_of(target, axes, tiles.column))
        self.k.registers.share(room)
        more: Expression = Name("more")
        for variable in summed.values():
            more = Binary("or", more, Binary(">", variable, Integer(0)))
        found = call(name, more, *entry, "W", *rest, ONE, sizes=sizes)
        loops = [*headers(tiles.loops), *(Header(name.name, a.size) for a, name in summed.items())]
        with self.write.loops(loops, kind="rolled"):
            self.write(Do(found, self._remark()))

    def _remark(self) -> str:
        def entry(tensor: Tensor, labels: Labels) -> str:
            indices = ",".join(a.name for a in labels)
            return self.k.names(tensor) + (f"[{indices}]" if indices else "")

        return " ".join(entry(*factor) for factor in self.tiles.factors)

    def _summed(self) -> dict[Axis, Name]:
        """Loop variables of the axes that are summed beside the samples."""
        own = {a.name for a in self.tensor.axes}
        labels = {a for _, ls in self.tiles.factors for a in ls} - set(self.tensor.axes)
        found = {}
        for axis in sorted(labels, key=lambda a: a.name):
            found[axis] = Name(axis.name + "_" * (1 + (axis.name + "_" in own)))
        return found

    def _operand(self, tensor: Tensor, labels: Labels, at: At) -> list[Expression | str]:
        """Array, first entry, and step along the tiled axis of a factor."""
        slot = self.slots[tensor]
        axis = next((a for a in (self.tiles.row, self.tiles.column) if a in labels), None)
        return [slot.array, slot.index(labels, at), step_of(slot, labels, axis)]
