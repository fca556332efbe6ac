"""Loop nests on the CPU: one fused group of tensors as loops over register tiles.

The same code makes what runs for every tile of samples (``lanes`` numbers side by side) and what
runs once for the sample-invariant values (``lanes`` = 1).
"""

from __future__ import annotations

from dataclasses import replace

from ...errors import OperationError
from ...schedule.cpu import CpuTiling
from ...schedule.groups import FACTORISATIONS, Group, array_function
from ...tensors import (
    Add,
    Axes,
    Axis,
    Constant,
    Delta,
    Elementwise,
    Inverse,
    Labelled,
    Largest,
    LogDet,
    Product,
    Tensor,
    Window,
    placeholder,
)
from ...tensors.scalars.scaled import largest
from ..block import Block, Header
from ..comments import comments
from ..groups import LOWEST, Names, deferred_terms, flat_terms
from ..nodes import (
    Binary,
    Do,
    Expression,
    Integer,
    Let,
    Load,
    Name,
    Number,
    Store,
    Zeros,
    call,
    product_of,
    sum_of,
)
from ..nodes import Group as Parentheses
from ..places import At, Slot, headers, inner_name, rows_loop, size_of, taken
from ..scalars import Spelling, written
from ..windows import copy_window

__all__ = ["GroupBuilder"]


class GroupBuilder:
    """Writes groups into a block.

    Parameters
    ----------
    write : Block
        Where statements go.
    slots : dict of Tensor to Slot
        Tensors that live in memory: read from there, and stored there when computed.
    uses : dict of Tensor to int
        Number of uses of each tensor in its sweep.
    tiling : CpuTiling
        Shapes of register tiles.
    lanes : int
        Numbers side by side: the tiling's samples, or 1 for what samples share.
    names : Names
        Names of the tensors, shared by all parts of a kernel.
    spelling : Spelling
        What formulas ask of the target.
    """

    def __init__(
        self,
        write: Block,
        slots: dict[Tensor, Slot],
        uses: dict[Tensor, int],
        tiling: CpuTiling,
        lanes: int,
        names: Names,
        spelling: Spelling,
    ):
        self.write, self.slots, self.uses = write, slots, uses
        self.tiling, self.lanes, self.names, self.spelling = tiling, lanes, names, spelling

    def emit(self, groups: list[Group]) -> None:
        """Write all groups in order."""
        for group in groups:
            first = group.tensors[0]
            if isinstance(first, FACTORISATIONS):
                self._emit_factorisation(group)
            elif isinstance(first, Window):
                self._emit_window(group, first)
            elif type(self.slots.get(first)) is Slot and array_function(first):
                self._emit_array_function(group)
            else:
                self._emit_group(group)

    def _emit_group(self, group: Group) -> None:
        row = group.row
        self._emit_comments(group)
        loops = [axis for axis in group.axes if axis != row]
        at: At = {axis: Name(axis.name) for axis in loops}

        def body(variable: Expression, rows: int) -> None:
            _Body(self, group, row, rows, {**at, **({row: variable} if row else {})}).emit()

        with self.write.loops(headers(loops)):
            rows_loop(self.write, row, self.tiling.rows(row.size) if row else 1, body)

    def _emit_comments(self, group: Group) -> None:
        for line in comments(group, self.uses, self.slots, self.names):
            self.write.comment(line)

    def _emit_array_function(self, group: Group) -> None:
        """One call for all entries; the function may overwrite its argument."""
        (tensor,) = group.tensors
        entries = size_of(tensor.axes)
        target, source = self.slots[tensor], self.slots[tensor.operands[0]]
        places = [part for s in (target, source) for part in (s.array, s.base)]
        count, at_once = entries * self.lanes, self.tiling.at_once(entries)
        self._emit_comments(group)
        self.write(Do(call(f"{array_function(tensor)}_array", *places, count, at_once)))

    def _emit_window(self, group: Group, tensor: Window) -> None:
        target, operand = self.slots[tensor], tensor.operand
        lanes = self.lanes if tensor.per_sample else 1

        def put(place: Expression, at: At | None) -> None:
            value: Expression = Zeros(1, lanes)
            if at is not None and isinstance(operand, Delta):
                apart = Binary("-", at[operand.first], at[operand.second])
                value = call("unit", "theta", apart, 1)
            elif at is not None:
                source = self.slots[operand]
                value = Load(source.array, source.index(operand.axes, at), lanes=lanes)
            self.write(Store(target.array, place, value))

        self._emit_comments(group)
        copy_window(self.write, tensor, target, put)

    def _emit_factorisation(self, group: Group) -> None:
        matrix = group.tensors[0].operands[0]
        source, size = self.slots[matrix], matrix.axes[0].size
        scratch = Slot("scratch", Integer(0), (), self.lanes)
        kept = {type(t): self.slots[t] for t in group.tensors if t in self.slots}
        inverse = kept.get(Inverse, scratch)
        volume = kept.get(LogDet, replace(scratch, base=Integer(size * size * self.lanes)))
        for tensor in group.tensors:
            text = "log|det{}|" if isinstance(tensor, LogDet) else "inverse({})"
            self.write.comment(f"{self.names(tensor)} = {text.format(self.names(matrix))}")
        places = [part for s in (source, inverse, volume) for part in (s.array, s.base)]
        self.write(Do(call(f"invert_{self.lanes}", *places, size)))


class _Body:
    """The innermost statements of a group for one tile of rows."""

    def __init__(self, builder: GroupBuilder, group: Group, row: Axis | None, rows: int, at: At):
        self.e, self.group, self.row, self.rows, self.at = builder, group, row, rows, at
        self.write = builder.write
        self.registers: dict[tuple[Tensor, tuple[Axis, ...]], Name] = {}
        self.deferred = deferred_terms(group, builder.uses, builder.slots)

    def emit(self) -> None:
        for tensor in self.group.tensors:
            if tensor not in self.deferred and tensor.axes == self.group.axes:
                self._keep(tensor, self._computed(tensor))

    def _computed(self, tensor: Tensor) -> Expression:
        match tensor:
            case Add():
                return self._add(tensor)
            case Product():
                return self._product(tensor)
            case Elementwise():
                return self._elementwise(tensor)
            case Largest():
                return self._largest(tensor)
        raise OperationError.of(tensor.word, "cpu", "_Body._computed in loops/cpu/groups.py")

    def _keep(self, tensor: Tensor, value: Expression) -> None:
        name = Name(self.e.names(tensor))
        if value != name:
            self.write(Let(name.name, value))
        self.registers[tensor, tensor.axes] = name
        slot = self.e.slots.get(tensor)
        if slot is not None:
            index, stride = slot.index(tensor.axes, self.at), slot.stride(tensor.axes, self.row)
            self.write(Store(slot.array, index, name, stride))
            self._prefetch(slot, tensor.axes, self.at)

    def _prefetch(self, slot: Slot, labels: Axes, at: At) -> None:
        """Ask for the rows of a later tile: spread over the arithmetic, the memory keeps up."""
        if slot.ahead is not None and self.rows > 1 and labels and labels[-1] == self.row:
            index = replace(slot, base=slot.ahead).index(labels, at)
            self.write(Do(call("prefetch", slot.array, index, self.rows * slot.lanes)))

    def _value(self, tensor: Tensor, labels: Axes, extra: At | None = None) -> Expression:
        """A tensor's entries under the given labels."""
        if isinstance(tensor, Constant):
            return Number(float(tensor.value))
        if (tensor, labels) in self.registers:
            return self.registers[tensor, labels]
        at = {**self.at, **(extra or {})}
        if isinstance(tensor, Delta):
            return self._unit(labels, at)
        slot = self.e.slots.get(tensor)
        if slot is None:
            return self._arithmetic(tensor, labels, at)
        rows = self.rows if self.row in labels else 1
        index, stride = slot.index(labels, at), slot.stride(labels, self.row)
        self._prefetch(slot, labels, at)
        return Load(slot.array, index, stride, rows, slot.lanes)

    def _arithmetic(self, tensor: Tensor, labels: Axes, at: At) -> Expression:
        """Arithmetic on entries read from memory, where a contraction reads each of them once."""
        assert isinstance(tensor, Elementwise)
        renamed = dict(zip(tensor.axes, labels, strict=True))
        names = {}
        for k, operand in enumerate(tensor.operands):
            own = tuple(renamed[a] for a in operand.axes)
            name = self.e.names.variable(operand, own)
            value = self._value(operand, own, at)
            names[placeholder(k)] = self.write.let(name, value)
        prefix = f"{self.e.names(tensor)}_t"
        return written(self.write, tensor.expression, names, prefix, self.e.spelling)

    def _unit(self, labels: Axes, at: At) -> Expression:
        first, second = labels
        if self.row == first:
            return call("unit", "theta", Binary("-", at[second], at[first]), self.rows)
        apart = Binary("-", at[first], at[second])
        return call("unit", "theta", apart, self.rows if self.row == second else 1)

    def _zeros(self, tensor: Tensor) -> Zeros:
        return Zeros(self.rows, self.e.lanes if tensor.per_sample else 1)

    def _product(self, tensor: Product, start: Expression | None = None) -> Expression:
        """start + product, maybe in a register."""
        coefficient, factors, sums = tensor.coefficient, tensor.factors, tensor.summed
        scaled = [] if coefficient == 1 else [Number(float(coefficient))]
        before = [] if start is None else [start]
        if all(axis.size == 1 for axis in sums):
            first: At = {axis: Integer(0) for axis in sums}
            value = product_of([*scaled, *(self._value(t, ls, first) for t, ls in factors)])
            covered = any(self.row in ls for _, ls in factors)
            if self.row is None:  # numbers alone are no tile
                covered = any(not isinstance(t, Constant) for t, _ in factors)
            return sum_of([*before, *([] if covered else [self._zeros(tensor)]), value])
        name = Name(self.e.names(tensor))
        begin = start if start is not None and not scaled else self._zeros(tensor)
        self.write(Let(name.name, begin))
        self._accumulate(name.name, factors, sums)
        return sum_of([*before, product_of([*scaled, name])]) if scaled else name

    def _accumulate(self, name: str, factors: list[Labelled], sums: list[Axis]) -> None:
        """Add the products over all summed axes to a register tile."""
        used = taken(self.at)
        long = [axis for axis in sums if axis.size > 1]
        loops = [Header(inner_name(axis, used), axis.size) for axis in long]
        extra: At = {axis: Integer(0) for axis in sums}
        extra |= {axis: Name(loop.variable) for axis, loop in zip(long, loops, strict=True)}
        names = self._chains(name, long[-1].size if long else 1)
        if len(names) > 1:
            loops[-1] = loops[-1]._replace(step=len(names))
        with self.write.loops(loops):
            for k, chain in enumerate(names):
                at = dict(extra)
                if k:
                    at[long[-1]] = Parentheses(Binary("+", extra[long[-1]], Integer(k)))
                values = [self._value(t, ls, at) for t, ls in factors]
                if len(values) == 2:
                    self.write(Let(chain, call("fma", *values, chain)))
                else:
                    self.write(Let(chain, Binary("+", Name(chain), values[0])))
        if len(names) > 1:
            self.write(Let(name, sum_of(map(Name, names))))

    def _largest(self, tensor: Largest) -> Expression:
        """The largest entry along axes: one after the other is compared with that so far."""
        name, operand = self.e.names(tensor), tensor.operand
        self.write(Let(name, Binary("+", self._zeros(tensor), Number(LOWEST))))
        used = taken(self.at)
        loops = [Header(inner_name(axis, used), axis.size) for axis in tensor.over]
        pairs = zip(tensor.over, loops, strict=True)
        extra: At = {axis: Name(loop.variable) for axis, loop in pairs}
        with self.write.loops(loops):
            value = self._value(operand, operand.axes, extra)
            names = {placeholder(0): Name(name), placeholder(1): value}
            formula = largest(placeholder(0), placeholder(1))
            found = written(self.write, formula, names, f"{name}_t", self.e.spelling)
            self.write(Let(name, found))
        return Name(name)

    def _chains(self, name: str, terms: int) -> list[str]:
        """Names of the tiles that hold partial sums: several, where few rows have few in flight."""
        count = self.e.tiling.chains(self.rows) if self.e.lanes > 1 else 1
        while terms % count:
            count -= 1
        names = [name, *(f"{name}_{k}" for k in range(1, count))]
        for chain in names[1:]:
            self.write(Let(chain, Zeros(self.rows, self.e.lanes)))
        return names

    def _add(self, tensor: Add) -> Expression:
        terms = flat_terms(tensor, self.deferred)
        direct = [t for t in terms if t not in self.deferred]
        chained = [t for t in terms if isinstance(t, Product) and t in self.deferred]
        values = [self._value(t, t.axes) for t in direct]
        if all(isinstance(t, Constant) for t in direct):  # also when there are none
            total = sum_of([self._zeros(tensor), *values])
        else:
            total = sum_of(values)
            if chained and tensor.per_sample and not any(t.per_sample for t in direct):
                total = call("spread", total, self.e.lanes)
        for term in chained:
            total = self._product(term, total)
        return total

    def _elementwise(self, tensor: Elementwise) -> Expression:
        names = {}
        for k, operand in enumerate(tensor.operands):
            value = self._value(operand, operand.axes)
            if not isinstance(value, Name) and not isinstance(operand, Constant):
                name = self.e.names.variable(operand)
                slot = self.e.slots.get(operand)
                if slot is not None and slot.array == name:  # the array itself is read again
                    name = self.e.names.variable(operand, (*operand.axes, Axis("n", 1)))
                value = self.registers[operand, operand.axes] = self.write.let(name, value)
            names[placeholder(k)] = value
        prefix = f"{self.e.names(tensor)}_t"
        value = written(self.write, tensor.expression, names, prefix, self.e.spelling)
        covered = self.row is None or any(self.row in t.axes for t in tensor.operands)
        return value if covered else Binary("+", self._zeros(tensor), value)
