"""Contractions with weights: calls by which the threads of a block multiply together.

Their results stand in shared memory, a few rows at a time, where each thread finds those of its own
sample.  What is computed of them a contraction of the next group may need as its values, one term a
row: it then adds these terms while the rows are at hand, and nobody has to fetch them again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from ...runtime.cuda.shared import lanes_of
from ...schedule.groups import Group
from ...tensors import Add, Axis, Input, Labelled, Product, Tensor
from ..block import Header
from ..groups import deferred_terms, flat_terms
from ..nodes import Binary, Call, Do, Entry, Expression, Integer, Name, call
from ..nodes import Group as Parentheses
from ..places import At, inner_name, plus, rows_loop, taken
from .entries import Groups, Labels, Registers
from .names import LANE, ONE, from_lane

__all__ = ["Contractions"]

# Results of a group that are computed by calls at most: shared memory is small.
_MOST = 4
# Rows of a turn at least where the next group adds terms: fewer use what they read too little.
_LEAST = 16

_FIRST = Name("first")


class _Builder(Groups, Protocol):
    uses: dict[Tensor, int]
    registers: Registers


class Contractions:
    """Contractions of a group with weights, for all of its rows.

    Parameters
    ----------
    builder : ThreadGroupBuilder
    group : Group
    at : dict of Axis to Expression
        Variables of the loops around the rows.

    Attributes
    ----------
    terms : set of Tensor
        Products that the calls compute.
    results : dict of Tensor to list of Tensor
        Tensors of the group, and the products that are added up for them.
    early : set of Tensor
        Terms that the group before has added.
    near : list of Tensor
        Tensors of the group whose rows stand in shared memory, in the place of results, for terms
        of the next group.
    """

    def __init__(self, builder: _Builder, group: Group, at: At) -> None:
        self.e, self.group, self.at = builder, group, at
        self.results: dict[Tensor, list[Product]] = {}
        deferred = deferred_terms(group, builder.uses, builder.slots)
        for tensor in group.tensors if group.row else ():
            if tensor in deferred or tensor.axes != group.axes or len(self.results) == _MOST:
                continue
            terms = [tensor]
            if isinstance(tensor, Add):
                terms = [term for term in flat_terms(tensor, deferred) if term in deferred]
            products = [t for t in terms if isinstance(t, Product) and self._are_called(t)]
            if products:
                self.results[tensor] = products
        self.terms = {term for terms in self.results.values() for term in terms}
        self.early: set[Product] = set()
        self.near: list[Tensor] = []
        self.later: Contractions | None = None
        self.taken = 0
        if self.results:
            self._take(0)

    @property
    def row(self) -> Axis:
        """The axis of the rows."""
        row = self.group.row
        assert row is not None
        return row

    def _take(self, rows: int) -> None:
        """The tile, and how many rows of results a turn has; so many others have to be kept."""
        self.taken, count = rows * self.e.tiling.pitch, len(self.results)
        self.tile = self.e.tiling.contraction(self.row.size, count, rows)
        self.at_once = math.prod(self.tile)

    def add_early(self, later: Contractions) -> None:
        """Let terms of the next group be added in the turns of this one, if it takes several."""
        if self.at or later.at or not self.several or later.several:
            return
        found = {
            t: [x for x in terms if self._ready(later, x)] for t, terms in later.results.items()
        }
        found = {tensor: terms for tensor, terms in found.items() if terms}
        values = dict.fromkeys(later._factors(t)[1][0] for terms in found.values() for t in terms)
        near = [tensor for tensor in values if tensor in self.group.tensors]
        rows, before = len(found) * later.at_once, (self.taken, self.tile, self.at_once)
        if not found or len(near) > len(self.results) or self.e.tiling.rows_left(rows) < _LEAST:
            return
        self._take(rows)
        if self.at_once < _LEAST or self.at_once % lanes_of(self.e.tiling.dtype):  # whole turns
            self.taken, self.tile, self.at_once = before
            return
        first = {tensor: later.results[tensor] for tensor in found}  # their results begin first
        later.results = first | later.results
        later.early = {term for terms in found.values() for term in terms}
        self.near, self.later = near, later

    def early_terms_of_next(self) -> set[Product]:
        """Terms of the next group that are added in the turns of this one."""
        return set() if self.later is None else self.later.early

    def _ready(self, later: Contractions, term: Product) -> bool:
        """Whether a later term sums over the rows of this group, of values that are there."""
        (_, labels), (values, own) = later._factors(term)
        known = isinstance(values, Input) or values in self.group.tensors
        return known and term.summed == [self.row] and self.row in labels and self.row in own

    @property
    def several(self) -> bool:
        """Whether the rows take more than one turn."""
        return self.row.size > self.at_once

    def _are_called(self, term: Product) -> bool:
        """Whether a term multiplies weights by a value of each sample, and sums."""
        both = any(self._is_weight(*f) for f in term.factors) and any(
            self._is_value(*f) for f in term.factors
        )
        return len(term.operands) == 2 and both and bool(term.summed)

    def _factors(self, term: Product) -> tuple[Labelled, Labelled]:
        """Weights and a value of each sample, with their labels."""
        weights = next(f for f in term.factors if self._is_weight(*f))
        return weights, next(f for f in term.factors if self._is_value(*f))

    def _is_weight(self, tensor: Tensor, labels: Labels) -> bool:
        return not tensor.per_sample and tensor in self.e.slots and self.row in labels

    def _is_value(self, tensor: Tensor, labels: Labels) -> bool:
        """Whether a factor is the same for all rows, and stands in memory for every sample."""
        slot = self.e.slots.get(tensor)
        return slot is not None and slot.lanes > 1 and self.row not in labels

    def emit(self, body: Callable[[Expression, int], None]) -> None:
        """Calls, and after them ``body(variable, rows)`` in loops over the rows."""
        write, row, tiling = self.e.write, self.row, self.e.tiling
        if not self.several:
            self._emit_calls()
            rows_loop(write, row, tiling.rows(row.size), body, "rolled")
            return
        rows = tiling.rows_of_turns(row.size, self.at_once)
        end: Expression = Binary("+", _FIRST, Integer(self.at_once))
        if row.size % self.at_once:
            end = call("min", end, row.size)
        with write.loop("first", row.size, 0, self.at_once, "rolled"):
            self._emit_calls()
            with write.loop(row.name, end, _FIRST, rows, "rolled"):
                body(Name(row.name), rows)
            if self.later is not None:
                self._emit_early(self.later)

    def entry(self, tensor: Tensor, first: Expression) -> Entry:
        """A result for the thread's own sample, in a row of the tile from ``first`` on."""
        row: Expression = Name("row")
        if first != Integer(0) or self.several:
            row = Binary("+", first, row)
            row = Parentheses(Binary("-", row, _FIRST) if self.several else row)
        place = from_lane(Binary("*", row, Integer(self.e.tiling.pitch)))
        return Entry("W", plus(place, self._begin(tensor)))

    def _begin(self, tensor: Tensor) -> int:
        """Where a result begins in shared memory."""
        place = list(self.results).index(tensor) * self.at_once * self.e.tiling.pitch
        return self.taken + place

    def near_rows(self, tensor: Tensor, variable: Expression) -> list[Expression | str]:
        """Array, first place and distance of rows in shared memory, from ``variable`` on."""
        pitch = Integer(self.e.tiling.pitch)
        place = from_lane(Binary("*", Parentheses(Binary("-", variable, _FIRST)), pitch))
        return ["W", plus(place, self._near_begin(tensor)), pitch]

    def _near_begin(self, tensor: Tensor) -> int:
        """Where the rows of a tensor begin in shared memory."""
        return self.taken + self.near.index(tensor) * self.at_once * self.e.tiling.pitch

    def _emit_calls(self) -> None:
        for tensor, terms in self.results.items():
            left = [term for term in terms if term not in self.early]
            if left:
                with self._sums(self, tensor, Name(str(len(left) < len(terms)))):
                    for term in left:
                        self._emit_call(term)

    def _emit_early(self, later: Contractions) -> None:
        """Terms of the next group, for the rows of this turn."""
        for tensor, terms in later.results.items():
            found = [term for term in terms if term in later.early]
            if not found:
                continue
            with self._sums(later, tensor, Binary(">", _FIRST, Integer(0))):
                for term in found:
                    at: At = {later.row: Integer(0), self.row: _FIRST}
                    operands, kind = later._operands(term, self.row, at), "contract"
                    values, _ = later._factors(term)[1]
                    if values in self.near:
                        kind = "contract_near"
                        operands[4:] = [plus(LANE, self._near_begin(values))]
                    self._write_call(kind, later, operands, Integer(later.row.size), self._rows())

    @contextmanager
    def _sums(self, of: Contractions, result: Tensor, more: Expression) -> Iterator[None]:
        """Around the calls that add up a result, which threads hold in registers meanwhile."""
        self.e.registers.array("T", math.prod(of.tile))
        begin = of._begin(result)
        self.e.write(Do(call("begin", "T", more, "W", begin, sizes=of.tile)))
        yield
        self.e.write(Do(call("end", "T", "W", begin, sizes=of.tile)))

    def _write_call(
        self,
        kind: str,
        of: Contractions,
        operands: list[Expression | str],
        rows: Expression,
        count: Expression,
    ) -> None:
        """A call, and shared memory for its factors, where this group's results end."""
        tiling = self.e.tiling
        room = self.taken + len(self.results) * self.at_once * tiling.pitch
        staged = tiling.staged if kind == "contract" else 0
        terms = count.value if isinstance(count, Integer) else self.at_once
        self.e.registers.share(tiling.with_weights(room + staged, of.tile, terms))
        found: Call = call(kind, "T", "W", room, *operands, rows, count, ONE, sizes=of.tile)
        self.e.write(Do(found))

    def _operands(self, term: Product, axis: Axis, at: At) -> list[Expression | str]:
        """Of weights: array, first place, distances of rows and of terms; the same of values."""
        (weights, labels), (values, own) = self._factors(term)
        weight, value = self.e.slots[weights], self.e.slots[values]
        found: list[Expression | str] = [weight.array, weight.index(labels, at)]
        found += [weight.stride(labels, a) for a in (self.row, axis)]
        return [*found, value.array, value.index(own, at), value.stride(own, axis)]

    def _emit_call(self, term: Product) -> None:
        """A call that sums over the longest axis, for every entry of the others."""
        axis = max(term.summed, key=lambda a: a.size)
        used = {*taken(self.at), "first"}
        others = [a for a in term.summed if a is not axis]
        extra = {a: Name(inner_name(a, used)) for a in others if a.size > 1}
        at: At = {**self.at, **dict.fromkeys([*others, axis], Integer(0)), **extra}
        at[self.row] = _FIRST if self.several else Integer(0)
        with self.e.write.loops([Header(extra[a].name, a.size) for a in extra], kind="rolled"):
            operands = self._operands(term, axis, at)
            self._write_call("contract", self, operands, self._rows(), Integer(axis.size))

    def _rows(self) -> Expression:
        """Rows of a turn that there are."""
        if not self.several:
            return Integer(self.row.size)
        if self.row.size % self.at_once == 0:
            return Integer(self.at_once)
        return call("min", self.at_once, Binary("-", Integer(self.row.size), _FIRST))
