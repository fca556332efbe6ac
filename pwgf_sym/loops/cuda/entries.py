"""Entries of tensors for one thread, and what is declared at the top of a kernel."""

from __future__ import annotations

from typing import Protocol

from ...runtime.cuda.shared import BOUNDARY
from ...schedule.cuda import CudaTiling
from ...schedule.groups import Group
from ...tensors import (
    Axis,
    Constant,
    Delta,
    Elementwise,
    Inverse,
    LogDet,
    Tensor,
    Window,
    placeholder,
)
from ..block import Block
from ..comments import comments
from ..groups import Names
from ..nodes import (
    Assign,
    Binary,
    Choice,
    Declare,
    Do,
    Entry,
    Expression,
    Integer,
    Let,
    Local,
    Name,
    Number,
    call,
)
from ..nodes import Group as Parentheses
from ..places import At, Slot
from ..scalars import Spelling, written
from ..windows import copy_window

__all__ = ["Entries", "Groups", "Registers", "emit_factorisation", "emit_window"]
__all__ += ["equal", "step_of"]

Labels = tuple[Axis, ...]


class Groups(Protocol):
    """What writes groups: where statements go, and where tensors live."""

    write: Block
    slots: dict[Tensor, Slot]
    tiling: CudaTiling
    names: Names
    spelling: Spelling


class Registers:
    """Local arrays and shared memory that a kernel declares at its top."""

    def __init__(self) -> None:
        self.arrays: dict[str, int] = {}
        self.room = 0

    def array(self, name: str, rows: int) -> None:
        """Have an array with so many entries at least."""
        self.arrays[name] = max(rows, self.arrays.get(name, 0))

    def share(self, numbers: int) -> None:
        """Have so many numbers of shared memory, for one use after the other."""
        self.room = max(self.room, numbers)

    def declare(self, write: Block) -> None:
        """Write the declarations."""
        if self.room:
            write(Local("W", Integer(self.room), "shared", BOUNDARY))
        if self.arrays:
            arrays = self.arrays.items()
            write(Declare(tuple(Local(name, Integer(rows)) for name, rows in arrays)))


def equal(first: Expression, second: Expression) -> Choice:
    """One where two indices are the same, else zero."""
    return Choice(Binary("==", first, second), Number(1.0), Number(0.0))


def step_of(slot: Slot, labels: Labels, axis: Axis | None) -> Expression:
    """The distance of neighbours along an axis in memory; 0 without an axis."""
    return Integer(0) if axis is None else slot.stride(labels, axis)


def emit_factorisation(builder: Groups, group: Group, stride: int) -> None:
    """A call for one matrix a thread (or one of all)."""
    matrix = group.tensors[0].operands[0]
    found = {type(tensor): tensor for tensor in group.tensors}
    size = matrix.axes[0].size
    stored = {kind: builder.slots[t] for kind, t in found.items() if t in builder.slots}
    inverse, volume = stored.get(Inverse), stored.get(LogDet)
    for kind, tensor in found.items():
        text = "log|det {}|" if kind is LogDet else "inverse({})"
        builder.write.comment(f"{builder.names(tensor)} = {text.format(builder.names(matrix))}")
    scratch = Slot("work", Name("SCRATCH"), (), stride)
    after = Slot("work", Binary("+", scratch.base, Integer(size * stride)), (), stride)
    slots = [builder.slots[matrix], *([inverse] if inverse else []), scratch, volume or after]
    places = [part for slot in slots for part in (slot.array, slot.base)]
    name = "invert" if inverse else "log_determinant"
    sizes = builder.tiling.panel(size)
    builder.write(Do(call(name, *places, size, stride, sizes=sizes)))


def emit_window(builder: Groups, group: Group, tensor: Window) -> None:
    """Copies of entries from another place on, and zeros."""
    target, operand = builder.slots[tensor], tensor.operand
    for line in comments(group, {tensor: 0}, {}, builder.names):
        builder.write.comment(line)

    def put(place: Expression, at: At | None) -> None:
        value: Expression = Number(0.0)
        if at is not None and isinstance(operand, Delta):
            value = equal(at[operand.first], at[operand.second])
        elif at is not None:
            source = builder.slots[operand]
            value = Entry(source.array, source.index(operand.axes, at))
        builder.write(Assign(Entry(target.array, place), value))

    copy_window(builder.write, tensor, target, put)


class Entries:
    """Entries of tensors; subclasses say what is in registers.

    Parameters
    ----------
    groups : Groups
        What writes groups of tensors.
    write : Block
        Where statements go.
    """

    def __init__(self, groups: Groups, write: Block) -> None:
        self.e, self.write = groups, write

    def memory(self, tensor: Tensor, labels: Labels, at: At) -> Expression:
        """An entry that is in no register."""
        if isinstance(tensor, Constant):
            return Number(float(tensor.value))
        if isinstance(tensor, Delta):
            first, second = (at[a] for a in labels)
            return equal(first, second)
        if isinstance(tensor, Elementwise) and tensor not in self.e.slots:
            return self._arithmetic(tensor, labels, at)
        slot = self.e.slots[tensor]
        return Entry(slot.array, slot.index(labels, at))

    def _arithmetic(self, tensor: Elementwise, labels: Labels, at: At) -> Expression:
        """Arithmetic that a contraction does while it reads."""
        renamed = dict(zip(tensor.axes, labels, strict=True))
        names = {}
        for k, operand in enumerate(tensor.operands):
            own = tuple(renamed[a] for a in operand.axes)
            name = names[placeholder(k)] = Name(self.e.names.variable(operand, own))
            self.fetch(Let(name.name, self.memory(operand, own, at)), own)

        def write(line: Let) -> None:
            self.fetch(line, labels)

        prefix = f"{self.e.names(tensor)}_t"
        found = written(write, tensor.expression, names, prefix, self.e.spelling)
        return Parentheses(found)

    def fetch(self, line: Let, labels: Labels) -> None:
        """A statement that reads an entry with these labels."""
        self.write(line)
