"""Kernels of a map on the CPU: blocks of tiles, whose values stay in the cache.

A kernel walks over blocks of tiles of samples.  Inside a block every sweep runs over the steps with
all tiles of the block; what a step computes stands in buffers of the block.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from ...kernels.kernels import Kernel, Sweep
from ...schedule.cpu import CpuTiling
from ...schedule.groups import fuse
from ...tensors import Axes, Tensor, count_uses, topological
from ..block import Block
from ..kernels import KernelBuilder, Layout, scratch_size
from ..nodes import (
    Binary,
    Do,
    Expression,
    Function,
    Group,
    Integer,
    Lets,
    Load,
    Local,
    Name,
    Store,
    Zeros,
    call,
)
from ..places import RowSlot, Slot, plus, row_major, size_of
from ..scalars import Spelling
from ..signature import Argument, count
from .groups import GroupBuilder
from .sweeps import TileSweepBuilder

__all__ = ["TileKernelBuilder"]

# Stored values are asked for so many tiles before they are read or written; what this gains, and
# other numbers than four, stand in docs/benchmarks.md under History.
_AHEAD = 4


def _times(a: Expression, b: int) -> Expression:
    return Binary("*", a, Integer(b))


class TileKernelBuilder(KernelBuilder):
    """Statements of one kernel for register tiles."""

    tiling: CpuTiling

    def __init__(self, kernel: Kernel, layout: Layout, tiling: CpuTiling, spelling: Spelling):
        super().__init__(kernel, layout, tiling, spelling)
        self.buffers: dict[str, Expression] = {}

    # -- functions ---------------------------------------------------------------------------

    def _invariant_builder(
        self, write: Block, slots: dict[Tensor, Slot], outputs: list[Tensor]
    ) -> GroupBuilder:
        uses = count_uses(outputs)
        return GroupBuilder(write, slots, uses, self.tiling, 1, self.names, self.spelling)

    def _function(
        self, part: str, arguments: list[Argument], summary: str, write: Block
    ) -> Function:
        name, body = self.kernel.name + part, write.statements
        return Function(name, tuple(arguments), summary, body, 1 if part else self.tiles)

    def _table_function(self) -> Function:
        write = Block()
        outputs = list(self.table)
        slots = {**self.table, **self.invariant_slots(topological(outputs)), **self.constants}
        copied, computed = self.table_parts()
        scratch = scratch_size(outputs)
        if scratch:
            write(Local("scratch", Integer(scratch)))
        with write.loop("step", Name("steps")):
            sizes = (self.layout.size, self.table_size)
            write(Lets(("p", "q"), tuple(_times(Name("step"), size) for size in sizes)))
            for tensor in copied:
                write.comment(self.copied_line(tensor))
                _copy_numbers(write, self.table[tensor], self.constants[tensor], tensor.size)
            self._invariant_builder(write, slots, outputs).emit(fuse(computed))
        summary = "What every sample shares, once a step."
        return self._function("_table", [*self.of_table(), count("steps")], summary, write)

    def _finish_function(self) -> Function:
        (sweep,) = [s for s in self.kernel.sweeps if s.gradients]
        finish, write = self.parts[self.kernel.sweeps.index(sweep)].finish, Block()
        outputs = list(sweep.gradients.values())
        slots = {**self.table, **self.sums, **self.invariant_slots(topological(outputs))}
        targets = self.gradient_slots(sweep)
        for tensor in finish:
            name = next((n for n, t in sweep.gradients.items() if t is tensor), None)
            slots[tensor] = targets[name] if name else self._finish_slot(write, tensor)
        with write.loop("step", Name("steps")):
            sizes = (self.layout.size, self.table_size, self.sums_size)
            write(Lets(("p", "q", "g"), tuple(_times(Name("step"), size) for size in sizes)))
            self._invariant_builder(write, slots, outputs).emit(fuse(finish))
            for name, tensor in sweep.gradients.items():
                if slots[tensor] != targets[name]:
                    _copy_numbers(write, targets[name], slots[tensor], size_of(tensor.axes))
        summary = "From sums over the samples to the gradient by theta."
        return self._function("_finish", [*self.of_finish(), count("steps")], summary, write)

    def _finish_slot(self, write: Block, tensor: Tensor) -> Slot:
        array = self.names(tensor).upper()
        write(Local(array, Integer(size_of(tensor.axes))))
        return Slot(array, Integer(0), row_major(tensor.axes, 1), 1)

    # -- the samples -------------------------------------------------------------------------

    def _samples_function(self) -> Function:
        kernel = self.kernel
        numbers = ["first", "last", *(["origin", "extent"] if kernel.stored else []), "steps"]
        arguments = [*self.of_samples(), *map(count, numbers)]
        body = Block()  # first, because it finds out which buffers it needs
        several, first, last = self.tiles > 1, Name("first"), Name("last")
        with body.loop("block" if several else "tile", last, first, self.tiles):
            if several:  # the last block may be shorter
                left = Binary("-", last, Name("block"))
                body.let("count", call("min", self.tiles, left))
            for sweep, parts in zip(kernel.sweeps, self.parts, strict=True):
                TileSweepBuilder(self, body, sweep, parts).emit()
            self._emit_outputs(body)
        write = Block()
        for name, size in self.buffers.items():
            write(Local(name, size))
        write(*body.statements)
        return self._function("", arguments, kernel.summary, write)

    def _emit_outputs(self, write: Block) -> None:
        final = self.kernel.sweeps[-1]
        if not self.kernel.outputs:
            return
        with self.tile_loop(write):
            for name, axes in self.kernel.outputs.items():
                source = self.carry_slot(final, name, Name("steps"))
                self.copy(write, self.global_slot(f"{name}_out", axes), source, axes)

    def tile_loop(self, write: Block) -> AbstractContextManager[None]:
        """The loop over the tiles of a block, if there are several."""
        return nullcontext() if self.tiles == 1 else write.loop("tile", Name("count"))

    def copy(self, write: Block, target: Slot, source: Slot | None, axes: Axes) -> None:
        width = self.tiling.samples
        count = size_of(axes) * width

        def one(offset: Expression) -> None:
            value: Expression = Zeros(1, width)
            if source is not None:
                value = Load(source.array, Binary("+", source.base, offset), lanes=width)
            write(Store(target.array, Binary("+", target.base, offset), value))

        if target.ahead is not None:
            write(Do(call("prefetch", target.array, target.ahead, count)))
        if count == width:
            one(Integer(0))
        else:
            with write.loop("n", count, 0, width):
                one(Name("n"))

    # -- places of per-sample values ----------------------------------------------------------

    @property
    def tile(self) -> Expression:
        """The number of the current tile among all samples."""
        tile = Name("tile")
        return Group(Binary("+", Name("block"), tile)) if self.tiles > 1 else tile

    def global_slot(self, name: str, axes: Axes) -> Slot:
        lanes = self.tiling.samples
        return Slot(name, _times(self.tile, size_of(axes) * lanes), row_major(axes, lanes), lanes)

    def stored_slot(self, name: str, axes: Axes) -> Slot:
        """A value of the forward pass at the current step, in an array of tiles from origin on."""
        lanes = self.tiling.samples
        size = self.tiling.padded(size_of(axes)) * lanes
        row = Binary("*", Name("step"), Name("extent"))

        def place(tile: Expression) -> Expression:
            return _times(Group(Binary("+", row, tile)), size)

        if self.forgets:
            now, ahead = place(Name("place")), place(Name("ahead"))
        else:
            tile, origin = self.tile, Name("origin")
            now = place(Binary("-", tile, origin))
            ahead = place(Binary("-", Binary("+", tile, Integer(_AHEAD)), origin))
        return Slot(f"{name}_path", now, row_major(axes, lanes), lanes, ahead)

    def emit_places(self, write: Block) -> None:
        """The tile's place among stored ones: the only one there is where none are kept."""
        for name, ahead in (("place", 0), ("ahead", _AHEAD)):
            tile = plus(self.tile, ahead)
            write.let(name, call("min", Binary("-", tile, Name("origin")), Name("extent")))

    def local_slot(self, name: str, axes: Axes, block: bool) -> Slot:
        return self._buffer(name, axes, block, None)

    def _buffer(self, name: str, axes: Axes, block: bool, half: Expression | None) -> Slot:
        """A buffer; one of two halves, if ``half`` says which."""
        name = name.upper()  # arrays in capitals, registers in small letters
        lanes, tiles = self.tiling.samples, self.tiles if block else 1
        size = (self.tiling.padded(size_of(axes)) if tiles > 1 else size_of(axes)) * lanes
        numbers = Integer(size * tiles)
        self.buffers[name] = numbers
        place: Expression | None = Name("tile") if tiles > 1 else None
        if half is not None:
            self.buffers[name] = Binary("*", Group(Integer(2)), numbers)
            first = _times(half, tiles) if tiles > 1 else half
            place = Group(Binary("+", first, place)) if place is not None else first
        base = Integer(0) if place is None else _times(place, size)
        return Slot(name, base, row_major(axes, lanes), lanes)

    def carry_slot(self, sweep: Sweep, name: str, when: Expression) -> Slot:
        carry = sweep.carries[name]
        axes = carry.before.axes
        if carry.after is carry.before:
            return self.local_slot(name, axes, True)
        half = when if when == Integer(0) else Group(Binary("%", Group(when), Integer(2)))
        return self._buffer(name, axes, True, half)

    def row_slot(self, name: str, tensor: Tensor) -> Slot:
        lanes, basis = self.tiling.samples, tensor.axes[0]
        inner = row_major(tensor.axes[1:], 1)
        offset = plus("p", self.layout.offsets[name])
        offset = Group(offset) if isinstance(offset, Binary) else offset
        start = Binary("*", offset, Name("width"))
        base = Binary("+", start, _times(self.tile, basis.size * lanes))
        return RowSlot("rows", base, (lanes, *inner), lanes)


def _copy_numbers(write: Block, target: Slot, source: Slot, count: int) -> None:
    with write.loop("n", count):
        value = Load(source.array, Binary("+", source.base, Name("n")))
        write(Store(target.array, Binary("+", target.base, Name("n")), value))
