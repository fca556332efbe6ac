"""One sweep of a kernel: its starts, its loop over the steps, where its values live."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager

from ..kernels.kernels import Sweep
from ..schedule.groups import Parts, fuse
from ..tensors import Input, Tensor, count_uses, topological
from .block import Block
from .kernels import KernelBuilder
from .nodes import Binary, Expression, Integer, Name
from .places import Slot

__all__ = ["SweepBuilder"]


class SweepBuilder(ABC):
    """Statements of one sweep inside the loop over blocks or tiles."""

    def __init__(self, kernel: KernelBuilder, write: Block, sweep: Sweep, parts: Parts):
        self.k, self.write, self.sweep, self.parts = kernel, write, sweep, parts
        turns: dict[int, Expression] = {1: Name("step"), -1: Name("turn"), 0: Integer(0)}
        self.turn = turns[sweep.direction]
        self.calls = self.array_functions()
        self.groups = fuse(parts.sample, self.calls)

    # -- what a target says --------------------------------------------------------------------

    def array_functions(self) -> set[Tensor]:
        """Functions of many entries that are computed by one call each."""
        return set()

    def sums_arithmetic(self, reader: Tensor, tensor: Tensor) -> bool:
        """Whether a sum over samples can do the arithmetic of a tensor itself."""
        return False

    def unstored(self) -> Iterable[Tensor]:
        """Tensors that all readers find elsewhere than in memory."""
        return ()

    @abstractmethod
    def tile_loop(self) -> AbstractContextManager[None]:
        """The loop over the tiles of a block, if there are several."""

    @abstractmethod
    def step_places(self) -> AbstractContextManager[None]:
        """Where the step's parameters and its part of the table begin; the step's body inside."""

    @abstractmethod
    def emit_body(self) -> None:
        """Write the statements for the samples of a step."""

    @abstractmethod
    def emit_reductions(self) -> None:
        """Write the sums over samples."""

    @abstractmethod
    def emit_entries(self, target: Slot, tensor: Tensor, slots: dict[Tensor, Slot]) -> None:
        """Copy a tensor entry by entry; one that no sample changes fills all lanes."""

    # -- the same for all ----------------------------------------------------------------------

    def emit(self) -> None:
        """Write the sweep."""
        self._emit_starts()
        if self.sweep.direction == 0:
            with self.tile_loop():
                self.emit_body()
            return
        backward = self.sweep.direction < 0
        with self.write.loop("turn" if backward else "step", Name("steps")):
            if backward:
                last = Binary("-", Name("steps"), Integer(1))
                self.write.let("step", Binary("-", last, Name("turn")))
            with self.step_places():
                with self.tile_loop():
                    self.emit_body()
                if self.parts.reduction:
                    self.emit_reductions()

    def _emit_starts(self) -> None:
        carries = self.sweep.carries.items() if self.sweep.direction else ()
        starts = {n: (c.start, c.before.axes) for n, c in carries if c.start is not None}
        if not starts:
            return
        with self.tile_loop():
            for name, (start, axes) in starts.items():
                source = None if start == "0" else self.k.global_slot(start, axes)
                target = self.k.carry_slot(self.sweep, name, Integer(0))
                self.k.copy(self.write, target, source, axes)

    def slots(self) -> dict[Tensor, Slot]:
        """Where every stored tensor of this sweep lives."""
        found = {**self.k.table, **self.k.sums}
        nodes = list(topological(self.sweep.outputs()))
        found.update(self.k.invariant_slots(nodes))
        inputs = {t.name: t for t in nodes if isinstance(t, Input) and t.per_sample}
        for name, value in inputs.items():
            found[value] = self._input_slot(name, value)
        overwritten = self._overwritten()
        for tensor in reversed(self._stored()):  # a function stands before its argument
            by = overwritten.get(tensor)
            found[tensor] = found[by] if by is not None else self._node_slot(tensor)
        return found

    def _overwritten(self) -> dict[Tensor, Tensor]:
        """Arguments that only one function of an array reads, and that function."""
        leaving, found = set(self.sweep.outputs()), {}
        for tensor in self.calls:
            (argument,) = tensor.operands
            readers = [t for t in self._all() if argument in t.operands]
            inside = not isinstance(argument, Input) and argument not in leaving
            if inside and len(readers) == 1:
                found[argument] = tensor
        return found

    def _input_slot(self, name: str, tensor: Tensor) -> Slot:
        k, sweep = self.k, self.sweep
        if sweep.direction and name in sweep.carries:
            return k.carry_slot(sweep, name, self.turn)
        if name in k.kernel.inputs:
            return k.global_slot(name, tensor.axes)
        if name in k.kernel.stored:
            return k.stored_slot(name, tensor.axes)
        return k.final_slot(name, sweep)

    def _stored(self) -> list[Tensor]:
        """Per-sample tensors that are read outside their group, or leave the sweep."""
        group_of = {t: n for n, group in enumerate(self.groups) for t in group.tensors}
        leaving, unstored = set(self.sweep.outputs()), set(self.unstored())
        found = []
        for tensor in self.parts.sample:
            readers = [t for t in self._all() if tensor in t.operands]
            inside = all(
                group_of.get(t) == group_of[tensor] or self.sums_arithmetic(t, tensor)
                for t in readers
            )
            kept = tensor in leaving or not inside or tensor.alone
            if kept and tensor not in unstored:
                found.append(tensor)
        return found

    def _all(self) -> list[Tensor]:
        return [*self.parts.sample, *self.parts.reduction]

    def _node_slot(self, tensor: Tensor) -> Slot:
        k, sweep = self.k, self.sweep
        for name, carry in sweep.carries.items():
            if carry.after is tensor:
                return self._carried_slot(name)
        for name, saved in sweep.saved.items():
            if saved is tensor:
                return k.stored_slot(name, tensor.axes)
        for name, row in sweep.rows.items():
            if row is tensor:
                return k.row_slot(name, tensor)
        reduced = any(tensor in t.operands for t in self.parts.reduction)
        return k.local_slot(k.names(tensor), tensor.axes, reduced)

    def _carried_slot(self, name: str) -> Slot:
        """Where the sweep leaves a carry: for its next step, or for the sweep that takes it on."""
        if self.sweep.direction:
            return self.k.carry_slot(self.sweep, name, Binary("+", self.turn, Integer(1)))
        sweeps = self.k.kernel.sweeps
        later = next(s for s in sweeps[sweeps.index(self.sweep) + 1 :] if name in s.carries)
        return self.k.carry_slot(later, name, Integer(0))

    def uses(self) -> dict[Tensor, int]:
        """How often each tensor of the sweep is read."""
        return count_uses([*self.sweep.outputs(), *self.parts.reduction])

    def emit_copies(self, slots: dict[Tensor, Slot]) -> None:
        """Outputs computed elsewhere (an input, an invariant) are copied to their place."""
        for name, carry in self.sweep.carries.items():
            if carry.after is carry.before and self.sweep.direction:
                continue
            target = self._carried_slot(name)
            if slots.get(carry.after) == target:
                continue
            if carry.after.per_sample:
                self.k.copy(self.write, target, slots[carry.after], carry.after.axes)
            else:
                self.emit_entries(target, carry.after, slots)
        self.emit_saved(slots)
        for name, row in self.sweep.rows.items():
            if slots[row].array != "rows":  # the cotangent itself, handed through
                self.emit_entries(self.k.row_slot(name, row), row, slots)

    def emit_saved(self, slots: dict[Tensor, Slot]) -> None:
        """What is stored and stands elsewhere is copied to its place."""
        for name, saved in self.sweep.saved.items():
            target = self.k.stored_slot(name, saved.axes)
            if not saved.per_sample:
                self.emit_entries(target, saved, slots)
            elif slots[saved] != target:  # it is a carry as well, and stands there
                self.k.copy(self.write, target, slots[saved], saved.axes)
