"""Sums over the samples of a tile, as calls of the functions in ``compile/cuda/sums.py``."""

from __future__ import annotations

from ...lower.reductions import OuterTiles
from ...tensors import Axis, Tensor
from ..groups import loop_headers
from .texts import ROLLED, call_name

__all__ = ["emit_block_sums"]


def emit_block_sums(sweep) -> None:
    """Emit all sums over samples of a sweep's step."""
    sweep.write("cuda.syncthreads()")
    for tensor in sweep.parts.reduction:
        _Sum(sweep, tensor, sweep.k.outer_tiles[tensor]).emit()
    sweep.write("cuda.syncthreads()")


class _Sum:
    """One sum over samples: rows of the first factor by columns of the second."""

    def __init__(self, sweep, tensor: Tensor, tiles: OuterTiles):
        self.tensor, self.tiles, self.write = tensor, tiles, sweep.write
        self.k, self.slots = sweep.k, sweep.slots()

    def emit(self) -> None:
        tiles = self.tiles
        summed = self._summed()
        at = {**{a: a.name for a in tiles.loops}, **summed}
        at |= {a: "0" for a in (tiles.row, tiles.column) if a is not None}
        target = self.k.sums[self.tensor]
        entry = f"sums, {target.index(self.tensor.axes, at)}, {self._step(target, tiles.row)}"
        operands = [self._operand(*factor, at) for factor in tiles.factors]
        rows = tiles.row.size if tiles.row is not None else 1
        columns = tiles.column.size if tiles.column is not None else None
        if columns is None:
            name, rest = ("row_sums", "product_sums")[len(operands) - 1], [*operands, rows]
            name, room = call_name(name), self.k.tiling.row_sums(rows)
        else:
            shape, room = self.k.tiling.outer_sums(rows, columns)
            name = call_name("outer_sums", *self.k.tiling.outer(rows, columns))
            rest = [operands[0], rows, operands[1], columns, *shape]
            entry += f", {self._step(target, tiles.column)}"
        self.k.registers.share(room)
        loops = [f"for {n} in range({axis.size}{ROLLED})" for axis, n in summed.items()]
        with self.write.nest([*loop_headers(tiles.loops, ROLLED), *loops]):
            more = " or ".join(["more", *(f"{n} > 0" for n in summed.values())])
            call = f"{name}({more}, {entry}, W, {', '.join(map(str, rest))}, one)"
            self.write(f"{call}  # {self._comment()}")

    def _comment(self) -> str:
        def entry(tensor, labels) -> str:
            indices = ",".join(a.name for a in labels)
            return self.k.names(tensor) + (f"[{indices}]" if indices else "")

        return " ".join(entry(*factor) for factor in self.tiles.factors)

    def _summed(self) -> dict[Axis, str]:
        """Loop variables of the axes that are summed beside the samples."""
        taken = {a.name for a in self.tensor.axes}
        labels = {a for _, ls in self.tiles.factors for a in ls} - set(self.tensor.axes)
        found = {}
        for axis in sorted(labels, key=lambda a: a.name):
            found[axis] = axis.name + "_" * (1 + (axis.name + "_" in taken))
        return found

    def _step(self, slot, axis: Axis | None) -> str:
        return "0" if axis is None else slot.stride(self.tensor.axes, axis)

    def _operand(self, tensor: Tensor, labels, at) -> str:
        """Array, first entry, and step along the tiled axis of a factor."""
        slot = self.slots[tensor]
        axis = next((a for a in (self.tiles.row, self.tiles.column) if a in labels), None)
        step = "0" if axis is None else slot.stride(labels, axis)
        return f"{slot.array}, {slot.index(labels, at)}, {step}"
