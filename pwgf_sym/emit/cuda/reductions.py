"""Sums over the samples of a tile: every thread of the block sums a small tile of entries.

A thread reads its rows and columns of one sample after the other, and multiplies all of them.
"""

from __future__ import annotations

from ...lower.ir import Axis, Tensor, placeholder
from ...lower.reductions import OuterTiles
from .groups import element

__all__ = ["emit_thread_reductions"]


def emit_thread_reductions(sweep) -> None:
    """Emit all sums over samples of a sweep's step."""
    sweep.write("cuda.syncthreads()")
    for tensor in sweep.parts.reduction:
        _Sum(sweep, tensor, sweep.k.outer_tiles[tensor]).emit()
    sweep.write("cuda.syncthreads()")


class _Sum:
    """One sum over samples: rows of the first factor by columns of the second."""

    def __init__(self, sweep, tensor: Tensor, tiles: OuterTiles):
        self.s, self.tensor, self.tiles, self.write = sweep, tensor, tiles, sweep.write
        self.k, self.slots = sweep.k, sweep.slots()
        self.zero = self.k.printer({}).number(0.0)

    def emit(self) -> None:
        write, tiles, lanes = self.write, self.tiles, self.k.tiling.samples
        write(f"# {self._comment()}")
        row, column = tiles.row, tiles.column
        rows, columns = (tiles.rows if row else 1), (tiles.columns if column else 1)
        rows, columns = min(rows, 4), min(columns, 4)
        count, places = 1, {}
        for axis, step in ((column, columns), (row, rows), *((a, 1) for a in tiles.loops)):
            if axis is None:
                continue
            number = -(-axis.size // step)
            digit = f"entry//{count} % {number}" if count > 1 else f"entry % {number}"
            places[axis] = f"({digit})*{step}" if step > 1 else digit
            count *= number
        for name, size in (("acc", rows * columns), ("own", rows)):
            self.k.registers.array(name, size)
        with write.block(f"for entry in range(lane, {count}, {lanes})"):
            for axis, text in places.items():
                write(f"{axis.name} = {text}")
            with write.block(f"for row in range({rows * columns})"):
                write(f"acc[row] = {self.zero}")
            self._over_samples(rows, columns)
            self._store(rows, columns)

    def _comment(self) -> str:
        def entry(tensor, labels) -> str:
            return f"{self.k.names(tensor)}[{','.join(a.name for a in labels)}]"

        parts = " ".join(entry(*factor) for factor in self.tiles.factors)
        out = ",".join(a.name for a in self.tensor.axes)
        return f"sums[{out}] += sum over samples of {parts}"

    def _summed(self) -> dict[Axis, str]:
        """Loop variables of the axes that are summed beside the samples."""
        taken = {a.name for a in self.tensor.axes}
        labels = {a for _, ls in self.tiles.factors for a in ls} - set(self.tensor.axes)
        found = {}
        for axis in sorted(labels, key=lambda a: a.name):
            found[axis] = axis.name + "_" * (1 + (axis.name + "_" in taken))
        return found

    def _over_samples(self, rows: int, columns: int) -> None:
        write, lanes = self.write, self.k.tiling.samples
        summed = self._summed()
        loops = [f"for {name} in range({axis.size}*one)" for axis, name in summed.items()]
        at = {**{a: a.name for a in self.tensor.axes}, **summed}
        first, *second = self.tiles.factors
        with write.nest([*loops, f"for sample in range({lanes}*one)"]):
            with write.block(f"for row in range({rows})"):
                write(f"own[row] = {self._load(*first, at)}")
            if not second:
                with write.block(f"for row in range({rows})"):
                    write("acc[row] += own[row]")
                return
            with write.block(f"for column in range({columns})"):
                write(f"other = {self._load(*second[0], at)}")
                with write.block(f"for row in range({rows})"):
                    write(f"acc[row*{columns} + column] += own[row]*other")

    def _load(self, tensor: Tensor, labels, at) -> str:
        """An entry of the tile; beyond the end of an axis its last one."""
        for axis, offset in ((self.tiles.row, "row"), (self.tiles.column, "column")):
            if axis in labels:
                at = {**at, axis: f"min({at[axis]} + {offset}, {axis.size - 1})"}
        if tensor not in self.slots:
            return self._arithmetic(tensor, labels, at)
        slot = self.slots[tensor]
        return element(slot.array, f"{slot.index(labels, at)} + sample")

    def _arithmetic(self, tensor: Tensor, labels, at) -> str:
        renamed, names = dict(zip(tensor.axes, labels, strict=True)), {}
        for k, operand in enumerate(tensor.operands):
            own = tuple(renamed[a] for a in operand.axes)
            slot = self.slots[operand]
            names[placeholder(k)] = element(slot.array, f"{slot.index(own, at)} + sample")
        return self.k.printer(names).doprint(tensor.data[0])

    def _store(self, rows: int, columns: int) -> None:
        """Add the sums of this tile of samples to the block's own."""
        write, tiles = self.write, self.tiles
        target = self.k.sums[self.tensor]
        at = {a: a.name for a in self.tensor.axes}
        loops, inside = [], []
        for axis, offset, count in ((tiles.row, "row", rows), (tiles.column, "column", columns)):
            if axis is not None:
                at[axis] = f"({axis.name} + {offset})"
                loops.append(f"for {offset} in range({count})")
                if axis.size % count:
                    inside.append(f"{axis.name} + {offset} < {axis.size}")
        position = "row" if tiles.row is not None else "0"
        if tiles.column is not None:
            position = f"row*{columns} + column"
        with write.nest([*loops, *([f"if {' and '.join(inside)}"] if inside else [])]):
            place = element("sums", target.index(self.tensor.axes, at))
            write(f"{place} += acc[{position}]")
