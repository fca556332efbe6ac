"""Sums over the samples of a block as text."""

from __future__ import annotations

from ..lower.reductions import OuterTiles
from ..tensors import Axis, placeholder
from .groups import loop_headers, rows_loop
from .scalars import written_text

__all__ = ["emit_reductions"]


def emit_reductions(sweep, reductions: dict) -> None:
    """Emit sums over samples; those with the same outermost tiles share the loop over them.

    A tile of rows is then read into the nearest cache once for all sums that it enters.
    """
    shared: dict[tuple, list[Reduction]] = {}
    for number, (tensor, tiles) in enumerate(reductions.items()):
        reduction = Reduction(sweep, tensor, tiles, f"at_{number}")
        shared.setdefault((tiles.loops, *tiles.nest[:1]), []).append(reduction)
    for (loops, *outer), members in shared.items():
        for reduction in members:
            reduction.begin()

        def emit_all(at, counts, outer=outer, members=members) -> None:
            whole = []
            for reduction in members:
                inner = reduction.tiles.nest[len(outer) :]
                if any(axis.size > size for axis, size in inner):
                    reduction.emit(inner, at, counts)
                else:
                    sizes = {**counts, **{axis: axis.size for axis, _ in inner}}
                    whole.append((reduction, {**at, **{axis: "0" for axis, _ in inner}}, sizes))
            for group in _side_by_side(whole):
                _emit_tiles(sweep.write, group)

        at = {a: a.name for a in loops}
        with sweep.write.nest(loop_headers(loops)):
            if not outer:
                emit_all(at, {})
                continue
            (axis, size) = outer[0]
            rows_loop(
                sweep.write,
                axis,
                size,
                lambda name, count, axis=axis, at=at, emit=emit_all: emit(
                    {**at, axis: name}, {axis: count}
                ),
            )


def _side_by_side(whole: list) -> list[list]:
    """Tiles (reduction, places, sizes) that share a loop over the samples: registers are enough."""
    groups: list[list] = []
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


def _emit_tiles(write, group: list) -> None:
    """Tiles of sums in one loop over the samples; what they have in common is read once."""
    names = ["acc"] if len(group) == 1 else [f"acc_{n}" for n in range(len(group))]
    for name, (reduction, _, counts) in zip(names, group, strict=True):
        size, lanes = reduction.shape(counts)
        write(f"{name} = zeros(theta, {size}, {lanes})")
    reduction, at, counts = group[0]
    with write.nest(reduction.sample_loops(at, counts)):
        for name, (reduction, at, counts) in zip(names, group, strict=True):
            reduction.add(name, at, counts)
    for name, (reduction, _, counts) in zip(names, group, strict=True):
        write(f"add_lane_sums(sums, {reduction.place}, {name})")
        write(f"{reduction.place} += {reduction.shape(counts)[0]}")


class Reduction:
    """A sum over the samples of a block: outer products of registers, then sums over lanes."""

    def __init__(self, sweep, tensor, tiles: OuterTiles, place: str):
        self.s, self.tensor, self.tiles, self.write = sweep, tensor, tiles, sweep.write
        self.tiling, self.slots, self.place = sweep.k.tiling, sweep.slots(), place

    def begin(self) -> None:
        """Say what is summed, and where the sums begin; they stand in the order of the tiles."""
        self.write(f"# {self._comment()}")
        self.write(f"{self.place} = {self.s.k.sums[self.tensor].base}")

    def emit(self, nest, at: dict[Axis, str], counts: dict[Axis, int]) -> None:
        """Loops over what is left of the tiled axes, and the tile itself inside."""
        if not nest:
            _emit_tiles(self.write, [(self, at, counts)])
            return
        (axis, size), *inner = nest

        def body(variable: str, count: int) -> None:
            self.emit(inner, {**at, axis: variable}, {**counts, axis: count})

        rows_loop(self.write, axis, size, body)

    def _comment(self) -> str:
        def entry(tensor, labels) -> str:
            return f"{self.s.k.names(tensor)}[{','.join(a.name for a in labels)}]"

        parts = [entry(*factor) for factor in self.tiles.factors]
        out = ",".join(a.name for a in self.tensor.axes)
        return f"sums[{out}] += sum over samples of {' '.join(parts)}"

    def shape(self, counts: dict[Axis, int]) -> tuple[int, int]:
        """Sums of a tile, and numbers side by side in each."""
        size = counts.get(self.tiles.row, 1) * counts.get(self.tiles.column, 1)
        return size, self.tiling.lanes_of_sums(size)

    def registers(self, counts: dict[Axis, int]) -> int:
        """Registers that the sums of a tile take."""
        size, lanes = self.shape(counts)
        return size * lanes // self.tiling.lanes

    def add(self, acc: str, at: dict[Axis, str], counts: dict[Axis, int]) -> None:
        """What a turn of the loop over the samples adds to a tile's sums."""
        tiles, lanes = self.tiles, self.shape(counts)[1]
        at = {**at, **self._summed(at)}
        values = [self._load(t, labels, at, counts, lanes) for t, labels in tiles.factors]
        if tiles.column is not None:
            self.write(f"{acc} = outer({acc}, {values[0]}, {values[1]})")
        elif len(values) == 2:
            self.write(f"{acc} = fma({values[0]}, {values[1]}, {acc})")
        else:
            self.write(f"{acc} = {acc} + {values[0]}")

    def _summed(self, at: dict[Axis, str]) -> dict[Axis, str]:
        """Loop variables of the axes that are summed beside the samples."""
        labels = {a for _, ls in self.tiles.factors for a in ls} - set(self.tensor.axes)
        found: dict[Axis, str] = {}
        for axis in sorted(labels, key=lambda a: a.name):
            found[axis] = axis.name + "_"
            while found[axis] in at.values():
                found[axis] += "_"
        return found

    def sample_loops(self, at: dict[Axis, str], counts: dict[Axis, int]) -> list[str]:
        """Headers of the loops that a tile's sums run over."""
        at, lanes = {**at, **self._summed(at)}, self.shape(counts)[1]
        summed = [a for a in at if a not in self.tensor.axes]
        loops = [f"for {at[a]} in range({a.size})" for a in summed]
        loops += ["for tile in range(count)"] if self.s.k.tiles > 1 else []
        whole = lanes == self.tiling.samples
        return loops if whole else [*loops, f"for n in range(0, {self.tiling.samples}, {lanes})"]

    def _load(self, tensor, labels, at, counts, lanes: int) -> str:
        if tensor not in self.slots:  # arithmetic on stored values
            return self._arithmetic(tensor, labels, at, counts, lanes)
        slot, tiles = self.slots[tensor], self.tiles
        axis = next((a for a in (tiles.row, tiles.column) if a in labels), None)
        stride, index = slot.stride(labels, axis), slot.index(labels, at)
        rows = counts[axis] if axis is not None else 1
        index += "" if lanes == self.tiling.samples else " + n"
        return f"load({slot.array}, {index}, {stride}, {rows}, {lanes})"

    def _arithmetic(self, tensor, labels, at, counts, lanes: int) -> str:
        renamed, names = dict(zip(tensor.axes, labels, strict=True)), {}
        for k, operand in enumerate(tensor.operands):
            own = tuple(renamed[a] for a in operand.axes)
            name = names[placeholder(k)] = self.s.k.names(operand)
            self.write(f"{name} = {self._load(operand, own, at, counts, lanes)}")
        return written_text(self.write, tensor.expression, names, f"{self.s.k.names(tensor)}_t")
