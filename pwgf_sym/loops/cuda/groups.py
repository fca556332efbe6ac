"""Loop nests of one thread: a fused group of tensors for the thread's sample.

What is stored, or used by several loops over the rows of a register tile, is a small local array,
which NVVM keeps in registers because these loops have constant bounds; it is stored after the loop.
Other loops over axes are not unrolled: code, compile time and registers would grow with the width
of the map.  Contractions with weights are calls before the loops (:mod:`.contractions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import sympy as sp

from ...errors import OperationError
from ...schedule.cuda import CudaTiling
from ...schedule.groups import Group
from ...tensors import Add, Axis, Elementwise, Largest, Product, Tensor, Window, placeholder
from ...tensors.scalars.scaled import largest
from ..block import Block, Header
from ..comments import comments
from ..groups import LOWEST, Names, deferred_terms, flat_terms
from ..nodes import (
    Accumulate,
    Assign,
    Binary,
    Do,
    Entry,
    Expression,
    Integer,
    Let,
    Name,
    Number,
    Statement,
    call,
    product_of,
    sum_of,
)
from ..nodes import Group as Parentheses
from ..passes.forward import forward
from ..passes.registers import numbers_of_one_loop
from ..places import At, Slot, headers, inner_name, rows_loop, taken
from ..scalars import Spelling, written
from .contractions import Contractions
from .entries import Entries, Labels, Registers, emit_factorisation, emit_window

__all__ = ["ThreadGroupBuilder"]

_ROW = Name("row")


class ThreadGroupBuilder:
    """Writes groups for the sample of a thread.

    Parameters
    ----------
    write : Block
        Where statements go.
    slots : dict of Tensor to Slot
        Tensors that live in memory: read from there, and stored there when computed.
    uses : dict of Tensor to int
        Number of uses of each tensor in its sweep.
    tiling : CudaTiling
        Shapes of register tiles.
    names : Names
        Names of the tensors, shared by all parts of a kernel.
    spelling : Spelling
        What formulas ask of the target.
    registers : Registers
        What the kernel declares at its top.

    Attributes
    ----------
    unstored : set of Tensor
        Tensors that nobody reads from memory; known once the groups are written.
    """

    def __init__(
        self,
        write: Block,
        slots: dict[Tensor, Slot],
        uses: dict[Tensor, int],
        tiling: CudaTiling,
        names: Names,
        spelling: Spelling,
        registers: Registers,
    ) -> None:
        self.write, self.slots, self.uses, self.tiling = write, slots, uses, tiling
        self.names, self.spelling, self.registers = names, spelling, registers
        self.unstored: set[Tensor] = set()

    def emit(self, groups: list[Group]) -> None:
        """Write all groups in order."""
        calls = {
            id(group): Contractions(
                self, group, {a: Name(a.name) for a in group.axes if a != group.row}
            )
            for group in groups
            if not group.tensors[0].alone
        }
        for first, second in pairwise(c for c in calls.values() if c.results):
            first.add_early(second)
        self.unstored = {t for c in calls.values() for t in c.near if self._is_only_near(t, c)}
        for group in groups:
            alone = group.tensors[0]
            if id(group) in calls:
                self._emit_group(group, calls[id(group)])
            elif isinstance(alone, Window):
                emit_window(self, group, alone)
            else:
                emit_factorisation(self, group, self.tiling.samples)

    def _is_only_near(self, tensor: Tensor, contractions: Contractions) -> bool:
        """Whether all who read a tensor do so while its rows are in shared memory or registers."""
        readers = [*contractions.group.tensors, *contractions.early_terms_of_next()]
        return self.uses[tensor] == sum(t.operands.count(tensor) for t in readers)

    def _emit_group(self, group: Group, contractions: Contractions) -> None:
        row, at = group.row, contractions.at
        for line in comments(group, self.uses, self.slots, self.names):
            self.write.comment(line)

        def body(variable: Expression, rows: int) -> None:
            _ThreadBody(self, group, rows, variable, contractions).emit()

        with self.write.loops(headers(at), kind="rolled"):
            if contractions.results:
                contractions.emit(body)
            else:
                rows_loop(self.write, row, self.tiling.rows(row.size) if row else 1, body, "rolled")


class _ThreadBody(Entries):
    """A group for one tile of rows of one sample."""

    def __init__(
        self,
        builder: ThreadGroupBuilder,
        group: Group,
        rows: int,
        variable: Expression,
        contractions: Contractions,
    ) -> None:
        super().__init__(builder, Block())
        self.g, self.group, self.row = builder, group, group.row
        self.rows, self.variable, self.contractions = rows, variable, contractions
        self.at: At = dict(contractions.at)
        if self.row:
            first = variable == Integer(0)
            self.at[self.row] = _ROW if first else Parentheses(Binary("+", variable, _ROW))
        self.known: set[Tensor] = set()
        self.loaded: dict[Tensor, Expression] = {}
        self.pending: list[Statement] = []
        self.stores: list[Statement] = []
        self.deferred = deferred_terms(group, builder.uses, builder.slots)

    def emit(self) -> None:
        """Write the loops over the rows, and after them what is stored."""
        for tensor in self.group.tensors:
            if tensor not in self.deferred and tensor.axes == self.group.axes:
                self._finish(tensor, self._computed(tensor))
        self._flush()
        self.write(*self.stores)
        body, names = self.write.statements, [self.g.names(tensor) for tensor in self.group.tensors]
        if self.row:
            body, arrays = numbers_of_one_loop(body, names, _ROW.name)
            for name in arrays:
                self.g.registers.array(name, self.rows)
        self.g.write(*forward(body, names, self.g.spelling))

    def _computed(self, tensor: Tensor) -> Expression:
        match tensor:
            case Product():
                return self._product(tensor)
            case Add():
                return self._add(tensor)
            case Elementwise():
                return self._elementwise(tensor)
            case Largest():
                return self._largest(tensor)
        raise OperationError.of(
            tensor.word, "cuda", "_ThreadBody._computed in loops/cuda/groups.py"
        )

    # -- registers -----------------------------------------------------------------------------

    def _rows_of(self, tensor: Tensor) -> list[Expression | str]:
        """Array, first place and distance of the rows of a tensor in memory."""
        assert self.row is not None
        slot, at = self.g.slots[tensor], {**self.at, self.row: self.variable}
        return [slot.array, slot.index(tensor.axes, at), slot.stride(tensor.axes, self.row)]

    def _register(self, tensor: Tensor) -> Name | Entry:
        name = self.g.names(tensor)
        return Entry(name, _ROW, plain=True) if self.row else Name(name)

    def _later(self, line: Statement) -> None:
        """A statement for every row; neighbours share the loop over the rows."""
        self.pending.append(line)

    def fetch(self, line: Let, labels: Labels) -> None:
        if self.row in labels:
            self._later(line)
        else:
            self.write(line)

    def _flush(self) -> None:
        if not self.pending:
            return
        with self.write.loops([Header(_ROW.name, self.rows)] if self.row else []):
            self.write(*self.pending)
        self.pending.clear()
        self.loaded.clear()

    def _set(self, tensor: Tensor, value: Expression) -> None:
        match self._register(tensor):
            case Name(name):
                self._later(Let(name, value))
            case Entry() as entry:
                self._later(Assign(entry, value))

    def _finish(self, tensor: Tensor, value: Expression) -> None:
        own, slot, name = self._register(tensor), self.g.slots.get(tensor), self.g.names(tensor)
        if value != own:
            self._set(tensor, value)
        places = []
        if slot is not None and self.row and tensor not in self.g.unstored:
            places.append(self._rows_of(tensor))
        if tensor in self.contractions.near:
            places.append(self.contractions.near_rows(tensor, self.variable))
        for place in places:
            self.stores.append(Do(call("store", *place, name, sizes=(self.rows,))))
        if slot is not None and not self.row:
            self._later(Assign(Entry(slot.array, slot.index(tensor.axes, self.at)), own))
        self.known.add(tensor)

    def _entry(
        self, tensor: Tensor, labels: Labels, extra: Mapping[Axis, Expression] | None = None
    ) -> Expression:
        if tensor in self.known and labels == tensor.axes and not extra:
            return self._register(tensor)
        if tensor in self.known and labels == tensor.axes and set(labels) <= set(self.group.axes):
            return self._register(tensor)
        if tensor in self.loaded and labels == tensor.axes and not extra:
            return self.loaded[tensor]
        return self.memory(tensor, labels, {**self.at, **(extra or {})})

    def _elementwise(self, tensor: Elementwise) -> Expression:
        names, formula = {}, tensor.expression
        for k, operand in enumerate(tensor.operands):
            value = self._entry(operand, operand.axes)
            again = formula.count(placeholder(k)) > 1 or formula.has(sp.Pow)
            here = operand in self.known or operand in self.loaded
            if again and operand in self.g.slots and not here:
                own = Name(self.g.names.variable(operand, operand.axes))
                self._later(Let(own.name, value))
                self.loaded[operand] = value = own
            names[placeholder(k)] = value
        prefix = f"{self.g.names(tensor)}_t"
        return written(self._later, formula, names, prefix, self.g.spelling)

    # -- sums ----------------------------------------------------------------------------------

    def _result(self, tensor: Tensor) -> list[Expression]:
        """What calls have computed of a tensor."""
        found = self.contractions
        return [found.entry(tensor, self.variable)] if tensor in found.results else []

    def _add(self, tensor: Add) -> Expression:
        terms = flat_terms(tensor, self.deferred)
        direct = [self._entry(t, t.axes) for t in terms if t not in self.deferred]
        direct += self._result(tensor)
        chained = [t for t in terms if t in self.deferred and t not in self.contractions.terms]
        if not chained:
            return sum_of(direct)
        if direct:
            self._set(tensor, sum_of(direct))
        for number, term in enumerate(chained):
            self._accumulate(term, tensor, fresh=not direct and number == 0)
        return self._register(tensor)

    def _product(self, tensor: Product) -> Expression:
        coefficient = tensor.coefficient
        scaled = [] if coefficient == 1 else [Number(float(coefficient))]
        if tensor in self.contractions.terms:
            return product_of([*scaled, *self._result(tensor)])
        if not tensor.summed:
            return product_of([*scaled, *(self._entry(t, ls) for t, ls in tensor.factors)])
        self._accumulate(tensor, tensor, fresh=True)
        return product_of([*scaled, self._register(tensor)])

    def _largest(self, tensor: Largest) -> Expression:
        """The largest entry along axes: one after the other is compared with that so far."""
        operand, target = tensor.operand, self._register(tensor)
        self._set(tensor, Number(LOWEST))
        self._flush()
        used = taken(self.at)
        extra = {a: Name(inner_name(a, used)) for a in tensor.over}
        with self.write.loops([Header(extra[a].name, a.size) for a in tensor.over], kind="rolled"):
            value = self._entry(operand, operand.axes, extra)
            names = {placeholder(0): target, placeholder(1): value}
            formula = largest(placeholder(0), placeholder(1))
            prefix = f"{self.g.names(tensor)}_t"
            self._set(tensor, written(self._later, formula, names, prefix, self.g.spelling))
            self._flush()
        return target

    def _accumulate(self, term: Tensor, into: Tensor, fresh: bool) -> None:
        """into += term, a contraction or a plain product; a fresh register has no value yet."""
        assert isinstance(term, Product)
        factors, sums, target = term.factors, term.summed, self._register(into)
        if not sums:
            value = product_of(self._entry(t, ls) for t, ls in factors)
            if fresh:
                self._set(into, value)
            else:
                self._later(Accumulate(target, value))
            return
        if fresh:
            self._set(into, Number(0.0))
        self._flush()
        used = taken(self.at)
        extra = {a: Name(inner_name(a, used)) for a in sums}
        with self.write.loops([Header(extra[a].name, a.size) for a in sums], kind="rolled"):
            values = []
            for k, (t, ls) in enumerate(factors):
                value = self._entry(t, ls, extra)
                if self.row and self.row not in ls and len(factors) > 1:
                    value = self.write.let(f"factor{k}", value)
                values.append(value)
            self._later(Accumulate(target, product_of(values)))
            self._flush()
