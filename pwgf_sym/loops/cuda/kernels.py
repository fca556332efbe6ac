"""Kernels of a map for a GPU: a block of threads takes a tile of samples, a thread one sample.

Every block takes the tiles block, block + blocks, ... in turn; what a step computes of a tile
stands in the block's part of a workspace.  Sums over samples are added by the block's threads, a
tile of entries a thread, into the block's own partial sums; ``add_partials`` adds these in the
order of the blocks.  Nothing depends on which block runs first: results are the same to the bit
from run to run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ...kernels.kernels import Kernel, Sweep
from ...schedule.cuda import CudaTiling
from ...schedule.groups import fuse
from ...tensors import Axis, Tensor, count_uses, topological
from ..block import Block
from ..kernels import KernelBuilder, Layout, scratch_size
from ..nodes import (
    Assign,
    Binary,
    Choice,
    Declare,
    Do,
    Entry,
    Expression,
    For,
    Function,
    Integer,
    Let,
    Name,
    Number,
    Statement,
    call,
)
from ..nodes import Group as Parentheses
from ..passes.declared import declared
from ..places import RowSlot, Slot, plus, row_major, size_of
from ..scalars import Spelling
from ..signature import Argument, count, of_step
from .entries import Labels, Registers
from .invariants import InvariantBuilder
from .names import BLOCK, BLOCKS, TILES, from_lane, function, turns
from .sweeps import ThreadSweepBuilder

__all__ = ["ThreadKernelBuilder"]

_STEP, _TILE = Name("step"), Name("tile")


def _times(a: Expression, b: int) -> Expression:
    return Binary("*", a, Integer(b))


class ThreadKernelBuilder(KernelBuilder):
    """Statements of one kernel for threads.

    Attributes
    ----------
    places : dict of str to Expression
        First places of a step's values, by the names under which they are declared.
    """

    tiling: CudaTiling

    def __init__(
        self, kernel: Kernel, layout: Layout, tiling: CudaTiling, spelling: Spelling
    ) -> None:
        super().__init__(kernel, layout, tiling, spelling)
        self.registers = Registers()
        self.buffers: dict[str, int] = {}
        self.places: dict[str, Expression] = {}

    # -- functions -----------------------------------------------------------------------------

    def _invariant_builder(
        self, write: Block, slots: dict[Tensor, Slot], outputs: Iterable[Tensor]
    ) -> InvariantBuilder:
        uses = count_uses(outputs)
        return InvariantBuilder(write, slots, uses, self.tiling, self.names, self.spelling)

    def _table_function(self) -> Function:
        write, outputs = Block(), list(self.table)
        slots = {**self.table, **self.invariant_slots(topological(outputs)), **self.constants}
        copied, computed = self.table_parts()
        size = scratch_size(outputs)
        with self._step_of_block(write, SCRATCH=size):
            for tensor in copied:
                write.comment(self.copied_line(tensor))
                write(_copy_of_entries(self.table[tensor], self.constants[tensor], tensor.axes))
            self._invariant_builder(write, slots, outputs).emit(fuse(computed))
        arguments = [*self.of_table(), of_step("work", "workspace", "entry", size)]
        summary = "What every sample shares, a step a block."
        return function(f"{self.kernel.name}_table", arguments, summary, write)

    @contextmanager
    def _step_of_block(self, write: Block, **others: int) -> Iterator[None]:
        """Where the places of the block's step begin."""
        write.let("step", BLOCK)
        sizes = {"p": self.layout.size, "q": self.table_size, "g": self.sums_size, **others}
        with write.inside() as body:
            yield
        write(*declared({name: _times(_STEP, size) for name, size in sizes.items()}, body))

    def _finish_function(self) -> Function:
        (sweep,) = [s for s in self.kernel.sweeps if s.gradients]
        finish, write = self.parts[self.kernel.sweeps.index(sweep)].finish, Block()
        outputs = list(sweep.gradients.values())
        slots = {**self.table, **self.sums, **self.invariant_slots(topological(outputs))}
        targets = self.gradient_slots(sweep)
        size = self._finish_slots(slots, sweep, finish, targets)
        with self._step_of_block(write, room=size):
            self._invariant_builder(write, slots, outputs).emit(fuse(finish))
            for name, tensor in sweep.gradients.items():
                if slots[tensor] != targets[name]:
                    write(_copy_of_entries(targets[name], slots[tensor], tensor.axes))
        arguments = [*self.of_finish(), of_step("work", "workspace", "entry", size)]
        summary = "From sums over the samples to the gradient by theta, a step a block."
        return function(f"{self.kernel.name}_finish", arguments, summary, write)

    def _finish_slots(
        self,
        slots: dict[Tensor, Slot],
        sweep: Sweep,
        finish: list[Tensor],
        targets: dict[str, Slot],
    ) -> int:
        """Places of what is left to do: gradients, and what other loops read, in ``work``."""
        where = {t: n for n, group in enumerate(fuse(finish)) for t in group.tensors}
        size = 0
        for tensor in finish:
            name = next((n for n, t in sweep.gradients.items() if t is tensor), None)
            outside = any(tensor in t.operands and where[t] != where[tensor] for t in finish)
            if name is not None:
                slots[tensor] = targets[name]
            elif outside:
                slots[tensor] = Slot("work", plus("room", size), row_major(tensor.axes, 1), 1)
                size += size_of(tensor.axes)
        return size

    def _samples_function(self) -> Function:
        kernel, body = self.kernel, Block()  # first, because it finds out what it needs
        with body.loop("tile", TILES, kind="blocks"):
            if kernel.has_gradient:
                body.let("more", Binary(">=", _TILE, BLOCKS))
            if self.forgets:
                kept = Binary(">", Name("extent"), Integer(0))
                body.let("place", Choice(kept, _TILE, BLOCK, uniform=True))
            for sweep, parts in zip(kernel.sweeps, self.parts, strict=True):
                ThreadSweepBuilder(self, body, sweep, parts).emit()
            self._emit_outputs(body)
        write = Block()
        self.registers.declare(write)
        self._declare_buffers(write)
        write(*body.statements)
        room = Argument("work", "workspace", ("block", "entry"), (None, sum(self.buffers.values())))
        numbers = ["tiles", "steps", *(["extent"] if self.forgets else [])]
        arguments = [*self.of_samples(), room, *map(count, numbers)]
        return function(kernel.name, arguments, kernel.summary, write)

    def _emit_outputs(self, write: Block) -> None:
        final = self.kernel.sweeps[-1]
        for name, axes in self.kernel.outputs.items():
            source = self.carry_slot(final, name, Name("steps"))
            self.copy(write, self.global_slot(f"{name}_out", axes), source, axes)

    def _declare_buffers(self, write: Block) -> None:
        """Where each buffer begins in the block's part of the workspace."""
        total, at, found = sum(self.buffers.values()), 0, []
        first: Expression = from_lane(_times(BLOCK, total))
        if len(self.buffers) > 1:
            first = write.let("own", first)
        for name, size in self.buffers.items():
            found.append(Let(name, plus(first, at)))
            at += size
        if found:
            write(Declare(tuple(found)))

    # -- places --------------------------------------------------------------------------------

    def copy(self, write: Block, target: Slot, source: Slot | None, axes: Labels) -> None:
        count, zero = size_of(axes), Number(0.0)
        length = turns(count), self.tiling.samples
        if count == 1:
            value = zero if source is None else Entry(source.array, source.base)
            write(Assign(Entry(target.array, target.base), value))
        elif source is None:
            write(Do(call("fill", target.array, target.base, zero, *length)))
        else:
            places = target.array, target.base, source.array, source.base
            write(Do(call("copy", *places, *length)))

    def _place(self, name: str, place: Expression) -> Name:
        """The name of a place, which is declared under it."""
        self.places[name] = place
        return Name(name)

    def global_slot(self, name: str, axes: Labels) -> Slot:
        lanes = self.tiling.samples
        base = from_lane(_times(_TILE, size_of(axes) * lanes))
        return Slot(name, base, row_major(axes, lanes), lanes)

    def stored_slot(self, name: str, axes: Labels) -> Slot:
        lanes = self.tiling.samples
        extent, tile = ("extent", "place") if self.forgets else ("tiles", "tile")
        here = Parentheses(Binary("+", Binary("*", _STEP, Name(extent)), Name(tile)))
        base = from_lane(_times(here, size_of(axes) * lanes))
        place = self._place(f"{name}_at", base)
        return Slot(f"{name}_path", place, row_major(axes, lanes), lanes)

    def local_slot(self, name: str, axes: Labels, block: bool) -> Slot:
        name, lanes = name.upper(), self.tiling.samples
        self.buffers[name] = size_of(axes) * lanes
        return Slot("work", Name(name), row_major(axes, lanes), lanes)

    def carry_slot(self, sweep: Sweep, name: str, when: Expression) -> Slot:
        carry, lanes = sweep.carries[name], self.tiling.samples
        size = size_of(carry.before.axes) * lanes
        array, moves = name.upper(), carry.after is not carry.before
        self.buffers[array] = 2 * size if moves else size
        base = self._carry_place(name, when, size) if moves else Name(array)
        return Slot("work", base, row_major(carry.before.axes, lanes), lanes)

    def _carry_place(self, name: str, when: Expression, size: int) -> Expression:
        """Where a carry begins that is read from one half of its buffer, and put into the other."""
        array = Name(name.upper())
        if when == Integer(0):
            return array
        simple = isinstance(when, Name)
        half = Binary("%", when if simple else Parentheses(when), Integer(2))
        place = Binary("+", array, _times(half, size))
        if when == Name("steps"):
            return place
        # Before the step, or after it; axes are single letters, places are not.
        return self._place(f"{name}_{'now' if simple else 'next'}", place)

    def row_slot(self, name: str, tensor: Tensor) -> Slot:
        lanes, basis = self.tiling.samples, tensor.axes[0]
        offset = plus("p", self.layout.offsets[name])
        offset = Parentheses(offset) if isinstance(offset, Binary) else offset
        start = Binary("*", offset, Name("width"))
        base = from_lane(start, _times(_TILE, basis.size * lanes))
        return RowSlot("rows", base, (lanes, *row_major(tensor.axes[1:], 1)), lanes)


def _copy_of_entries(target: Slot, source: Slot, axes: tuple[Axis, ...]) -> Statement:
    """A loop that copies an array, entry by entry."""
    entry = Name("entry")
    value = Entry(source.array, Binary("+", source.base, entry))
    line = Assign(Entry(target.array, Binary("+", target.base, entry)), value)
    return For(entry.name, Integer(size_of(axes)), (line,), kind="threads")
