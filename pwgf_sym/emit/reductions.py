"""Sums over the samples of a block as text."""

from __future__ import annotations

from ..lower.ir import Axis, Tensor
from .groups import loop_headers, rows_loop

__all__ = ["Reduction"]


class Reduction:
    """A sum over the samples of a block: outer products of registers, then sums over lanes."""

    def __init__(self, sweep, tensor: Tensor):
        self.s, self.tensor, self.write = sweep, tensor, sweep.write
        _, labels, _ = tensor.data
        self.factors = list(zip(tensor.operands, labels, strict=True))
        tiling = sweep.k.tiling
        self.lanes, self.tiling = tiling.lanes, tiling
        self.slots = sweep.slots()

    def emit(self) -> None:
        axes = self.tensor.axes
        first = self.factors[0][1]
        second = self.factors[1][1] if len(self.factors) > 1 else ()
        only_first = [a for a in axes if a in first and a not in second]
        only_second = [a for a in axes if a in second and a not in first]
        if len(self.factors) > 1 and not only_first and only_second:
            self.factors.reverse()
            only_first, only_second = only_second, []
        row = only_first[-1] if only_first else (axes[-1] if axes else None)
        column = only_second[-1] if only_second else None
        loops = [a for a in axes if a not in (row, column)]
        self.write(f"# {self._comment()}")
        at = {a: a.name for a in loops}

        def rows(variable: str, count: int) -> None:
            inner = {**at, **({row: variable} if row else {})}

            def columns(other: str, width: int) -> None:
                self._tile(
                    row, count, column, width, {**inner, **({column: other} if column else {})}
                )

            rows_loop(self.write, column, self.tiling.columns, columns)

        with self.write.nest(loop_headers(loops)):
            rows_loop(self.write, row, self.tiling.rows, rows)

    def _comment(self) -> str:
        def name(t):
            return self.s.k.names(t)

        out = ",".join(a.name for a in self.tensor.axes)
        parts = [f"{name(t)}[{','.join(a.name for a in ls)}]" for t, ls in self.factors]
        return f"sums[{out}] += sum over samples of {' '.join(parts)}"

    def _tile(self, row, rows: int, column, columns: int, at: dict[Axis, str]) -> None:
        write, lanes = self.write, self.lanes
        labels = {a for _, ls in self.factors for a in ls}
        sums = sorted(labels - set(self.tensor.axes), key=lambda a: a.name)
        write(f"acc = zeros(theta, {rows * columns}, {lanes})")
        inner: dict[Axis, str] = {}
        for axis in sums:
            inner[axis] = axis.name + "_"
            while inner[axis] in at.values():
                inner[axis] += "_"
        loop = [f"for {inner[a]} in range({a.size})" for a in sums]
        if self.s.k.tiles > 1:
            loop.append(f"for tile in range({self.s.k.tiles})")
        loop.append(f"for n in range(0, {self.tiling.samples}, {lanes})")
        with write.nest(loop):
            at = {**at, **inner}
            values = [self._load(t, ls, at, row, rows, column, columns) for t, ls in self.factors]
            if column is not None:
                write(f"acc = outer(acc, {values[0]}, {values[1]})")
            elif len(values) == 2:
                write(f"acc = fma({values[0]}, {values[1]}, acc)")
            else:
                write(f"acc = acc + {values[0]}")
        target = self.s.k.sums[self.tensor]
        strides = dict(zip(self.tensor.axes, target.strides, strict=True))
        index = target.index(self.tensor.axes, at)
        write(
            f"add_lane_sums(sums, {index}, {strides.get(row, 0)}, {strides.get(column, 0)}, acc, "
            f"{columns})"
        )

    def _load(self, tensor, labels, at, row, rows, column, columns) -> str:
        slot = self.slots[tensor]
        axis, count = (row, rows) if row in labels else (column, columns)
        stride = slot.stride(labels, axis)
        count = count if axis in labels else 1
        return f"load({slot.array}, {slot.index(labels, at)} + n, {stride}, {count}, {self.lanes})"
