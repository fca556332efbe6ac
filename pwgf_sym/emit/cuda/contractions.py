"""Contractions with weights: calls by which the threads of a block multiply together.

Their results stand in shared memory, a few rows at a time, where each thread finds those of its own
sample.  What is computed of them a contraction of the next group may need as its values, one term a
row: it then adds these terms while the rows are at hand, and nobody has to fetch them again.
"""

from __future__ import annotations

import math
from contextlib import contextmanager

from ...lower.schedule import Group
from ...tensors import Add, Axis, Input, Product, Tensor
from ..groups import deferred_terms, flat_terms, inner_name, plus, rows_loop
from .schedule import lanes_of
from .texts import ROLLED, call_name, element

__all__ = ["Contractions"]

# Results of a group that are computed by calls at most: shared memory is small.
_MOST = 4
# Rows of a turn at least where the next group adds terms: fewer use what they read too little.
_LEAST = 16


class Contractions:
    """Contractions of a group with weights, for all of its rows.

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

    Parameters
    ----------
    emitter : ThreadGroupEmitter
    group : Group
    at : dict of Axis to str
        Variables of the loops around the rows.
    """

    def __init__(self, emitter, group: Group, at: dict[Axis, str]):
        self.e, self.group, self.row, self.at = emitter, group, group.row, at
        self.results: dict[Tensor, list[Product]] = {}
        deferred = deferred_terms(group, emitter.uses, emitter.slots)
        for tensor in group.tensors if self.row else ():
            if tensor in deferred or tensor.axes != group.axes or len(self.results) == _MOST:
                continue
            terms = [tensor]
            if isinstance(tensor, Add):
                terms = [term for term in flat_terms(tensor, deferred) if term in deferred]
            terms = [term for term in terms if isinstance(term, Product) and self._factors(term)]
            if terms:
                self.results[tensor] = terms
        self.terms = {term for terms in self.results.values() for term in terms}
        self.early: set[Product] = set()
        self.near: list[Tensor] = []
        self.later: Contractions | None = None
        self.taken = 0
        if self.results:
            self._take(0)

    def _take(self, taken: int) -> None:
        """The tile, and how many rows of results a turn has; so many others have to be kept."""
        self.taken, count = taken * self.e.tiling.pitch, len(self.results)
        self.tile = self.e.tiling.contraction(self.row.size, count, taken)
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
        taken, before = len(found) * later.at_once, (self.taken, self.tile, self.at_once)
        if not found or len(near) > len(self.results) or self.e.tiling.rows_left(taken) < _LEAST:
            return
        self._take(taken)
        if self.at_once < _LEAST or self.at_once % lanes_of(self.e.tiling.dtype):  # whole turns
            self.taken, self.tile, self.at_once = before
            return
        first = {tensor: later.results[tensor] for tensor in found}  # their results begin first
        later.results = first | later.results
        later.early = {term for terms in found.values() for term in terms}
        self.near, self.later = near, later

    def _ready(self, later: Contractions, term: Product) -> bool:
        """Whether a later term sums over the rows of this group, of values that are there."""
        (_, labels), (values, own) = later._factors(term)
        known = isinstance(values, Input) or values in self.group.tensors
        return known and term.summed == [self.row] and self.row in labels and self.row in own

    @property
    def several(self) -> bool:
        """Whether the rows take more than one turn."""
        return self.row.size > self.at_once

    def _factors(self, term: Product):
        """Weights and a value of each sample, with their labels; None where a term is no such."""
        weights = [f for f in term.factors if self._is_weight(*f)]
        values = [f for f in term.factors if self._is_value(*f)]
        if len(term.operands) == 2 and weights and values and term.summed:
            return weights[0], values[0]
        return None

    def _is_weight(self, tensor: Tensor, labels) -> bool:
        return not tensor.per_sample and tensor in self.e.slots and self.row in labels

    def _is_value(self, tensor: Tensor, labels) -> bool:
        """Whether a factor is the same for all rows, and stands in memory for every sample."""
        slot = self.e.slots.get(tensor)
        return slot is not None and slot.lanes > 1 and self.row not in labels

    def emit(self, body) -> None:
        """Calls, and after them ``body(variable, rows)`` in loops over the rows."""
        write, row, tiling = self.e.write, self.row, self.e.tiling
        if not self.several:
            self._emit_calls()
            rows_loop(write, row, tiling.rows(row.size), body, ROLLED)
            return
        rows = tiling.rows_of_turns(row.size, self.at_once)
        end = f"first + {self.at_once}{ROLLED}"
        if row.size % self.at_once:
            end = f"min(first + {self.at_once}, {row.size}){ROLLED}"
        with write.block(f"for first in range(0, {row.size}{ROLLED}, {self.at_once})"):
            self._emit_calls()
            step = f", {rows}" if rows > 1 else ""
            with write.block(f"for {row.name} in range(first, {end}{step})"):
                body(row.name, rows)
            if self.later is not None:
                self._emit_early()

    def entry(self, tensor: Tensor, first: str) -> str:
        """A result for the thread's own sample, in a row of the tile from ``first`` on."""
        pitch, row = self.e.tiling.pitch, "row" if first == "0" else f"({first} + row)"
        row = f"({first} + row - first)" if self.several else row
        return element("W", plus(f"{row}*{pitch} + lane", self._begin(tensor)))

    def _begin(self, tensor: Tensor) -> int:
        """Where a result begins in shared memory."""
        place = list(self.results).index(tensor) * self.at_once * self.e.tiling.pitch
        return self.taken + place

    def near_rows(self, tensor: Tensor, variable: str) -> str:
        """Array, first place and distance of rows in shared memory, from ``variable`` on."""
        pitch = self.e.tiling.pitch
        place = f"({variable} - first)*{pitch} + lane"
        return f"W, {plus(place, self._near_begin(tensor))}, {pitch}"

    def _near_begin(self, tensor: Tensor) -> int:
        """Where the rows of a tensor begin in shared memory."""
        return self.taken + self.near.index(tensor) * self.at_once * self.e.tiling.pitch

    def _emit_calls(self) -> None:
        for tensor, terms in self.results.items():
            left = [term for term in terms if term not in self.early]
            if left:
                with self._sums(self, tensor, str(len(left) < len(terms))):
                    for term in left:
                        self._emit_call(term)

    def _emit_early(self) -> None:
        """Terms of the next group, for the rows of this turn."""
        later = self.later
        for tensor, terms in later.results.items():
            found = [term for term in terms if term in later.early]
            if not found:
                continue
            with self._sums(later, tensor, "first > 0"):
                for term in found:
                    operands = later._operands(term, self.row, {later.row: "0", self.row: "first"})
                    (values, _), kind = later._factors(term)[1], "contract"
                    if values in self.near:
                        kind = "contract_near"
                        operands[4:] = [plus("lane", self._near_begin(values))]
                    self._write_call(kind, later, operands, str(later.row.size), self._rows())

    @contextmanager
    def _sums(self, of: Contractions, result: Tensor, more: str):
        """Around the calls that add up a result, which threads hold in registers meanwhile."""
        self.e.registers.array("T", math.prod(of.tile))
        self.e.write(f"{call_name('begin', *of.tile)}(T, {more}, W, {of._begin(result)})")
        yield
        self.e.write(f"{call_name('end', *of.tile)}(T, W, {of._begin(result)})")

    def _write_call(self, kind: str, of: Contractions, operands, rows: str, count) -> None:
        """A call, and shared memory for its factors, where this group's results end."""
        tiling = self.e.tiling
        room = self.taken + len(self.results) * self.at_once * tiling.pitch
        staged = tiling.staged if kind == "contract" else 0
        terms = count if isinstance(count, int) else self.at_once
        self.e.registers.share(tiling.with_weights(room + staged, of.tile, terms))
        name = call_name(kind, *of.tile)
        self.e.write(f"{name}(T, W, {room}, {', '.join(operands)}, {rows}, {count}, one)")

    def _operands(self, term: Product, axis: Axis, at: dict[Axis, str]) -> list[str]:
        """Of weights: array, first place, distances of rows and of terms; the same of values."""
        (weights, labels), (values, own) = self._factors(term)
        weight, value = self.e.slots[weights], self.e.slots[values]
        found = [weight.array, weight.index(labels, at)]
        found += [weight.stride(labels, a) for a in (self.row, axis)]
        return [*found, value.array, value.index(own, at), value.stride(own, axis)]

    def _emit_call(self, term: Product) -> None:
        """A call that sums over the longest axis, for every entry of the others."""
        axis = max(term.summed, key=lambda a: a.size)
        taken = [*self.at.values(), "first"]
        others = [a for a in term.summed if a is not axis]
        extra = {a: inner_name(a, taken) for a in others if a.size > 1}
        at = {**self.at, **dict.fromkeys([*others, axis], "0"), **extra}
        at[self.row] = "first" if self.several else "0"
        with self.e.write.nest([f"for {extra[a]} in range({a.size}{ROLLED})" for a in extra]):
            operands = self._operands(term, axis, at)
            self._write_call("contract", self, operands, self._rows(), axis.size)

    def _rows(self) -> str:
        """Rows of a turn that there are."""
        if not self.several:
            return str(self.row.size)
        if self.row.size % self.at_once == 0:
            return str(self.at_once)
        return f"min({self.at_once}, {self.row.size} - first)"
