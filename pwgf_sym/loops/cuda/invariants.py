"""What samples share, computed by the threads of one block: an entry a thread at a time."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import OperationError
from ...schedule.cuda import CudaTiling
from ...schedule.groups import FACTORISATIONS, Group
from ...tensors import Add, Elementwise, Product, Tensor, Window, placeholder
from ..block import Block, Header
from ..comments import comments
from ..groups import Names
from ..nodes import (
    Accumulate,
    Assign,
    Barrier,
    Binary,
    Declare,
    Entry,
    Expression,
    For,
    If,
    Integer,
    Let,
    Name,
    Number,
    Statement,
    names_in,
    product_of,
    sum_of,
)
from ..passes.forward import forward
from ..passes.merging import merged
from ..places import At, Slot, inner_name, row_major, size_of, taken
from ..scalars import Spelling, written
from .entries import Entries, Labels, emit_factorisation, emit_window
from .names import LANE

__all__ = ["InvariantBuilder", "each_entry"]

_ENTRY = Name("entry")


def each_entry(size: int, body: Iterable[Statement]) -> Statement:
    """A loop over entries that threads share; a single one is the first thread's."""
    if size > 1:
        return For(_ENTRY.name, Integer(size), tuple(body), kind="threads")
    return If(Binary("==", LANE, Integer(0)), tuple(body))


class InvariantBuilder(Entries):
    """Writes groups of tensors that no sample changes; the parameters are those of a group's."""

    def __init__(
        self,
        write: Block,
        slots: dict[Tensor, Slot],
        uses: dict[Tensor, int],
        tiling: CudaTiling,
        names: Names,
        spelling: Spelling,
    ) -> None:
        self.slots, self.uses, self.tiling = slots, uses, tiling
        self.names, self.spelling = names, spelling
        self.axes: Labels = ()
        self.known: set[Tensor] = set()
        super().__init__(self, write)

    def emit(self, groups: list[Group]) -> None:
        """Write all groups in order; a group reads what the threads wrote before it."""
        outer, self.write = self.write, Block()
        written_now: set[Tensor] = set()  # since all threads met
        for group in groups:
            if any(operand in written_now for t in group.tensors for operand in t.operands):
                self.write(Barrier())
                written_now.clear()
            written_now.update(group.tensors)
            if isinstance(group.tensors[0], FACTORISATIONS):
                with self.write.when(Binary("==", LANE, Integer(0))):
                    emit_factorisation(self, group, 1)
            elif isinstance(group.tensors[0], Window):
                with self.write.when(Binary("==", LANE, Integer(0))):
                    emit_window(self, group, group.tensors[0])
            else:
                body = self._entry_lines(group)
                for line in comments(group, self.uses, self.slots, self.names):
                    self.write.comment(line)
                self.write(each_entry(size_of(group.axes), body))
        outer(*merged(self.write.statements))
        self.write = outer

    def _entry_lines(self, group: Group) -> list[Statement]:
        """Statements for one entry of a group."""
        outer, self.write = self.write, Block()
        self.axes, self.known = group.axes, set()
        long = [axis for axis in group.axes if axis.size > 1]
        at: At = {a: Name(a.name) if a.size > 1 else Integer(0) for a in group.axes}
        if len(long) == 1:
            at[long[0]] = _ENTRY
        for tensor in group.tensors:
            value, own = self._value(tensor, at), Name(self.names(tensor))
            inside = any(tensor in t.operands for t in group.tensors)
            if inside or tensor not in self.slots:
                if value != own:
                    self.write(Let(own.name, value))
                value = own
                self.known.add(tensor)
            if tensor in self.slots:
                slot = self.slots[tensor]
                index = self._place(slot, tensor.axes, at)
                self.write(Assign(Entry(slot.array, index), value))
        names = [self.names(tensor) for tensor in group.tensors]
        lines, self.write = forward(self.write.statements, names, self.spelling), outer
        return [*self._indices(group, lines), *lines]

    @staticmethod
    def _indices(group: Group, lines: tuple[Statement, ...]) -> list[Statement]:
        """Indices of the entry along the axes, as far as they are used."""
        found, size, read = [], size_of(group.axes), names_in(lines)
        long = [axis for axis in group.axes if axis.size > 1]
        for axis in long if len(long) > 1 else ():
            size //= axis.size
            index: Expression = Binary("//", _ENTRY, Integer(size)) if size > 1 else _ENTRY
            if axis is not long[0]:
                index = Binary("%", index, Integer(axis.size))
            if axis.name in read:
                found.append(Let(axis.name, index))
        return [Declare(tuple(found))] if found else []

    def _read(self, tensor: Tensor, labels: Labels, at: At) -> Expression:
        """An entry: of this group, or in memory."""
        if tensor in self.known and labels == tensor.axes:
            return Name(self.names(tensor))
        return self.memory(tensor, labels, at)

    def memory(self, tensor: Tensor, labels: Labels, at: At) -> Expression:
        """An entry in memory; in an array over the group's axes they stand in order."""
        slot = self.slots.get(tensor)
        if slot is None:
            return super().memory(tensor, labels, at)
        return Entry(slot.array, self._place(slot, labels, at))

    def _place(self, slot: Slot, labels: Labels, at: At) -> Expression:
        dense = slot.strides == row_major(labels, 1)
        if dense and labels == self.axes and size_of(labels) > 1:
            return _ENTRY if slot.base == Integer(0) else Binary("+", slot.base, _ENTRY)
        return slot.index(labels, at)

    def _value(self, tensor: Tensor, at: At) -> Expression:
        match tensor:
            case Add(terms):
                return sum_of(self._read(t, t.axes, at) for t in terms)
            case Elementwise(expression, operands):
                values = [self._read(t, t.axes, at) for t in operands]
                names = {placeholder(k): value for k, value in enumerate(values)}
                prefix = f"{self.names(tensor)}_t"
                return written(self.write, expression, names, prefix, self.spelling)
            case Product():
                return self._product(tensor, at)
        raise OperationError.of(
            tensor.word, "cuda", "InvariantBuilder._value in loops/cuda/invariants.py"
        )

    def _product(self, tensor: Product, at: At) -> Expression:
        coefficient, sums, own = tensor.coefficient, tensor.summed, Name(self.names(tensor))
        scaled = [] if coefficient == 1 else [Number(float(coefficient))]
        used = taken(at)
        extra = {a: Name(inner_name(a, used)) for a in sums}
        inside: At = {**at, **extra}
        if not sums:
            factors = [self._read(t, ls, inside) for t, ls in tensor.factors]
            return product_of([*scaled, *factors])
        self.write(Let(own.name, Number(0.0)))
        with self.write.loops([Header(extra[a].name, a.size) for a in sums], kind="rolled"):
            factors = [self._read(t, ls, inside) for t, ls in tensor.factors]
            self.write(Accumulate(own, product_of(factors)))
        return product_of([*scaled, own])
