"""Sums over the samples of a block on the CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...schedule.reductions import OuterTiles
from ...tensors import Axes, Axis, Elementwise, Product, Tensor, placeholder
from ..block import Block, Header
from ..nodes import Accumulate, Binary, Do, Expression, Integer, Let, Load, Name, Zeros, call
from ..places import At, headers, rows_loop
from ..scalars import written

if TYPE_CHECKING:
    from .sweeps import TileSweepBuilder

__all__ = ["emit_reductions"]

Counts = dict[Axis, int]
# Tiled axes and the sizes of their tiles, outermost first.
Nest = Sequence[tuple[Axis, int]]
# A sum, and where one of its tiles is and how long it is along its axes.
Tile = tuple["Reduction", At, Counts]


def emit_reductions(sweep: TileSweepBuilder, reductions: dict[Product, OuterTiles]) -> None:
    """Write sums over samples; those with the same outermost tiles share the loop over them.

    A tile of rows is then read into the nearest cache once for all sums that it enters.
    """
    shared: dict[tuple[Axes, tuple[tuple[Axis, int], ...]], list[Reduction]] = {}
    for number, (tensor, tiles) in enumerate(reductions.items()):
        reduction = Reduction(sweep, tensor, tiles, f"at_{number}")
        shared.setdefault((tiles.loops, tuple(tiles.nest[:1])), []).append(reduction)
    for (loops, nest), members in shared.items():
        for reduction in members:
            reduction.begin()
        with sweep.write.loops(headers(loops)):
            _emit_outermost(sweep.write, members, nest, {a: Name(a.name) for a in loops})


def _emit_outermost(write: Block, members: list[Reduction], nest: Nest, at: At) -> None:
    """Sums with the same outermost tiles, if they have any."""
    if not nest:
        _emit_all(write, members, 0, at, {})
        return
    ((axis, size),) = nest

    def body(variable: Expression, count: int) -> None:
        _emit_all(write, members, 1, {**at, axis: variable}, {axis: count})

    rows_loop(write, axis, size, body)


def _emit_all(write: Block, members: list[Reduction], outer: int, at: At, counts: Counts) -> None:
    """What is left of the tiles of several sums, inside the loops that they share."""
    whole: list[Tile] = []
    for reduction in members:
        inner = reduction.tiles.nest[outer:]
        if any(axis.size > size for axis, size in inner):
            reduction.emit(inner, at, counts)
        else:
            sizes = {**counts, **{axis: axis.size for axis, _ in inner}}
            places = {**at, **{axis: Integer(0) for axis, _ in inner}}
            whole.append((reduction, places, sizes))
    for group in _side_by_side(whole):
        _emit_tiles(write, group)


def _side_by_side(whole: list[Tile]) -> list[list[Tile]]:
    """Tiles that share a loop over the samples: registers are enough."""
    groups: list[list[Tile]] = []
    for member in whole:
        reduction, at, counts = member
        for group in groups:
            first, *_ = group
            used = sum(r.registers(sizes) for r, _, sizes in [*group, member])
            same = first[0].sample_loops(*first[1:]) == reduction.sample_loops(at, counts)
            if same and used <= reduction.tiling.sums_at_once:
                group.append(member)
                break
        else:
            groups.append([member])
    return groups


def _emit_tiles(write: Block, group: list[Tile]) -> None:
    """Tiles of sums in one loop over the samples; what they have in common is read once."""
    names = ["acc"] if len(group) == 1 else [f"acc_{n}" for n in range(len(group))]
    for name, (reduction, _, counts) in zip(names, group, strict=True):
        write(Let(name, Zeros(*reduction.shape(counts))))
    reduction, at, counts = group[0]
    with write.loops(reduction.sample_loops(at, counts)):
        for name, (reduction, at, counts) in zip(names, group, strict=True):
            reduction.add(name, at, counts)
    for name, (reduction, _, counts) in zip(names, group, strict=True):
        write(Do(call("add_lane_sums", "sums", reduction.place, name)))
        write(Accumulate(Name(reduction.place), Integer(reduction.shape(counts)[0])))


class Reduction:
    """A sum over the samples of a block: outer products of registers, then sums over lanes."""

    def __init__(self, sweep: TileSweepBuilder, tensor: Product, tiles: OuterTiles, place: str):
        self.s, self.tensor, self.tiles, self.write = sweep, tensor, tiles, sweep.write
        self.tiling, self.slots, self.place = sweep.k.tiling, sweep.slots(), place

    def begin(self) -> None:
        """Say what is summed, and where the sums begin; they stand in the order of the tiles."""
        self.write.comment(self._comment())
        self.write(Let(self.place, self.s.k.sums[self.tensor].base))

    def emit(self, nest: Nest, at: At, counts: Counts) -> None:
        """Loops over what is left of the tiled axes, and the tile itself inside."""
        if not nest:
            _emit_tiles(self.write, [(self, at, counts)])
            return
        (axis, size), *inner = nest

        def body(variable: Expression, count: int) -> None:
            self.emit(inner, {**at, axis: variable}, {**counts, axis: count})

        rows_loop(self.write, axis, size, body)

    def _comment(self) -> str:
        def entry(tensor: Tensor, labels: Axes) -> str:
            return f"{self.s.k.names(tensor)}[{','.join(a.name for a in labels)}]"

        parts = [entry(*factor) for factor in self.tiles.factors]
        out = ",".join(a.name for a in self.tensor.axes)
        return f"sums[{out}] += sum over samples of {' '.join(parts)}"

    def shape(self, counts: Counts) -> tuple[int, int]:
        """Sums of a tile, and numbers side by side in each."""
        tiled = (self.tiles.row, self.tiles.column)
        size = math.prod(counts.get(axis, 1) for axis in tiled if axis is not None)
        return size, self.tiling.lanes_of_sums(size)

    def registers(self, counts: Counts) -> int:
        """Registers that the sums of a tile take."""
        size, lanes = self.shape(counts)
        return size * lanes // self.tiling.lanes

    def add(self, acc: str, at: At, counts: Counts) -> None:
        """What a turn of the loop over the samples adds to a tile's sums."""
        tiles, lanes = self.tiles, self.shape(counts)[1]
        at = {**at, **self._summed(at)}
        values = [self._load(t, labels, at, counts, lanes) for t, labels in tiles.factors]
        if tiles.column is not None:
            self.write(Let(acc, call("outer", acc, *values)))
        elif len(values) == 2:
            self.write(Let(acc, call("fma", *values, acc)))
        else:
            self.write(Let(acc, Binary("+", Name(acc), values[0])))

    def _summed(self, at: At) -> dict[Axis, Name]:
        """Loop variables of the axes that are summed beside the samples."""
        labels = {a for _, ls in self.tiles.factors for a in ls} - set(self.tensor.axes)
        found: dict[Axis, Name] = {}
        for axis in sorted(labels, key=lambda a: a.name):
            found[axis] = Name(axis.name + "_")
            while found[axis] in at.values():
                found[axis] = Name(found[axis].name + "_")
        return found

    def sample_loops(self, at: At, counts: Counts) -> list[Header]:
        """Headers of the loops that a tile's sums run over."""
        lanes = self.shape(counts)[1]
        loops = [Header(name.name, axis.size) for axis, name in self._summed(at).items()]
        loops += [Header("tile", Name("count"))] if self.s.k.tiles > 1 else []
        whole = lanes == self.tiling.samples
        return loops if whole else [*loops, Header("n", self.tiling.samples, 0, lanes)]

    def _load(self, tensor: Tensor, labels: Axes, at: At, counts: Counts, lanes: int) -> Expression:
        slot, tiles = self.slots.get(tensor), self.tiles
        if slot is None:  # arithmetic on stored values
            return self._arithmetic(tensor, labels, at, counts, lanes)
        axis = next((a for a in (tiles.row, tiles.column) if a in labels), None)
        stride, index = slot.stride(labels, axis), slot.index(labels, at)
        rows = counts[axis] if axis is not None else 1
        if slot.lanes == 1:  # a number that all samples share, beside what they have
            return Load(slot.array, index, stride, rows, 1)
        if lanes != self.tiling.samples:
            index = Binary("+", index, Name("n"))
        return Load(slot.array, index, stride, rows, lanes)

    def _arithmetic(
        self, tensor: Tensor, labels: Axes, at: At, counts: Counts, lanes: int
    ) -> Expression:
        assert isinstance(tensor, Elementwise)
        renamed, names = dict(zip(tensor.axes, labels, strict=True)), {}
        for k, operand in enumerate(tensor.operands):
            own = tuple(renamed[a] for a in operand.axes)
            value = self._load(operand, own, at, counts, lanes)
            names[placeholder(k)] = self.write.let(self.s.k.names.variable(operand, own), value)
        prefix = f"{self.s.k.names(tensor)}_t"
        return written(self.write, tensor.expression, names, prefix, self.s.k.spelling)
