"""One sweep of a kernel as text: its starts, its loop over the steps, where its values live."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass

from ..lower.kernels import Sweep
from ..lower.schedule import FACTORISATIONS, array_function, fuse, is_arithmetic
from ..tensors import Delta, Input, Tensor, count_uses, topological
from .groups import GroupEmitter, Slot, loop_headers, plus, row_major
from .reductions import emit_reductions
from .writer import Writer

__all__ = ["SweepEmitter", "scratch_size"]


def scratch_size(tensors) -> int:
    """Numbers a sample that factorisations need beside their results; 0 without any."""
    sizes = [t.operands[0].axes[0].size for t in tensors if isinstance(t, FACTORISATIONS)]
    return max(sizes) ** 2 + 1 if sizes else 0


class SweepEmitter:
    """Emits one sweep inside the loop over blocks."""

    def __init__(self, kernel, write: Writer, sweep: Sweep, parts):
        self.k, self.write, self.sweep, self.parts = kernel, write, sweep, parts
        self.turn = {1: "step", -1: "turn", 0: "0"}[sweep.direction]
        self.calls = self._array_functions()
        self.groups = fuse(parts.sample, self.calls)

    def _array_functions(self) -> set[Tensor]:
        """Functions of many entries that are computed by one call each."""
        return {t for t in self.parts.sample if array_function(t) is not None}

    def emit(self) -> None:
        self._emit_starts()
        if self.sweep.direction == 0:
            with self.k.tile_loop(self.write):
                self._emit_body()
            return
        backward = self.sweep.direction < 0
        header = "for turn in range(steps)" if backward else "for step in range(steps)"
        with self.write.block(header):
            if backward:
                self.write("step = steps - 1 - turn")
            with self._step_places():
                with self.k.tile_loop(self.write):
                    self._emit_body()
                if self.parts.reduction:
                    self._emit_reductions()

    @contextmanager
    def _step_places(self):
        """Where the step's parameters and its part of the table begin; the step's body inside."""
        layout, k = self.k.layout, self.k
        self.write(f"p = step*{layout.size}")
        if k.table:
            self.write(f"q = step*{k.table_size}")
        yield

    def _emit_reductions(self) -> None:
        self.write(f"g = step*{self.k.sums_size}")
        emit_reductions(self, {t: self.k.outer_tiles[t] for t in self.parts.reduction})

    def _emit_starts(self) -> None:
        starts = {n: c for n, c in self.sweep.carries.items() if c.start is not None}
        starts = {n: c for n, c in starts.items() if self.sweep.direction}
        if not starts:
            return
        with self.k.tile_loop(self.write):
            for name, carry in starts.items():
                axes = carry.before.axes
                source = None if carry.start == "0" else self.k.global_slot(carry.start, axes)
                self.k.copy(self.write, self.k.carry_slot(self.sweep, name, "0"), source, axes)

    def slots(self) -> dict[Tensor, Slot]:
        """Where every stored tensor of this sweep lives."""
        found = {**self.k.table, **self.k.sums}
        nodes = list(topological(self.sweep.outputs()))
        found.update(self.k.invariant_slots(nodes))
        inputs = {t.name: t for t in nodes if isinstance(t, Input) and t.per_sample}
        for name, tensor in inputs.items():
            found[tensor] = self._input_slot(name, tensor)
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
        leaving = set(self.sweep.outputs())
        found = []
        for tensor in self.parts.sample:
            readers = [t for t in self._all() if tensor in t.operands]
            inside = all(
                group_of.get(t) == group_of[tensor] or self._sums_arithmetic(t, tensor)
                for t in readers
            )
            if tensor in leaving or not inside or isinstance(tensor, FACTORISATIONS):
                found.append(tensor)
        return found

    def _sums_arithmetic(self, reader: Tensor, tensor: Tensor) -> bool:
        """Whether a sum over samples reads entries once, and can do their arithmetic itself."""
        tiles = self.k.outer_tiles.get(reader)
        inputs = all(isinstance(operand, Input) for operand in tensor.operands)
        return tiles is not None and tiles.column is None and inputs and is_arithmetic(tensor)

    def _all(self) -> list[Tensor]:
        return [*self.parts.sample, *self.parts.reduction]

    def _node_slot(self, tensor: Tensor) -> Slot:
        k, sweep = self.k, self.sweep
        for name, carry in sweep.carries.items():
            if carry.after is tensor:
                if sweep.direction:
                    return k.carry_slot(sweep, name, f"{self.turn} + 1")
                return self._seed_slot(name)
        for name, saved in sweep.saved.items():
            if saved is tensor:
                return k.stored_slot(name, tensor.axes)
        for name, row in sweep.rows.items():
            if row is tensor:
                return self._row_slot(name, tensor)
        reduced = any(tensor in t.operands for t in self.parts.reduction)
        return k.local_slot(k.names(tensor), tensor.axes, reduced)

    def _seed_slot(self, name: str) -> Slot:
        sweeps = self.k.kernel.sweeps
        later = next(s for s in sweeps[sweeps.index(self.sweep) + 1 :] if name in s.carries)
        return self.k.carry_slot(later, name, "0")

    def _row_slot(self, name: str, tensor: Tensor) -> Slot:
        """Rows of the sample Jacobian: parameters outermost, then tile, component, sample."""
        lanes, basis = self.k.tiling.samples, tensor.axes[0]
        inner = row_major(tensor.axes[1:], 1)
        offset = plus("p", self.k.layout.offsets[name])
        start = f"({offset})*width" if "+" in offset else f"{offset}*width"
        base = f"{start} + {self.k.tile}*{basis.size * lanes}"
        return RowSlot("rows", base, (lanes, *inner), lanes)

    def _emit_body(self) -> None:
        slots = self.slots()
        outputs = [*self.sweep.outputs(), *self.parts.reduction]
        uses = count_uses(outputs)
        k, tiling = self.k, self.k.tiling
        scratch = scratch_size(self.parts.sample)
        if scratch:
            self.k.buffers["scratch"] = str(scratch * tiling.samples)
        emitter = GroupEmitter(self.write, slots, uses, "theta", tiling, tiling.samples, k.names)
        emitter.emit(self.groups)
        self._emit_copies(slots)

    def _emit_copies(self, slots: dict[Tensor, Slot]) -> None:
        """Outputs computed elsewhere (an input, an invariant) are copied to their place."""
        for name, carry in self.sweep.carries.items():
            if carry.after is carry.before and self.sweep.direction:
                continue
            target = self._node_slot_for(name)
            if slots.get(carry.after) == target:
                continue
            if carry.after.per_sample:
                self.k.copy(self.write, target, slots[carry.after], carry.after.axes)
            else:
                self._emit_entries(target, carry.after, slots)
        for name, saved in self.sweep.saved.items():
            target = self.k.stored_slot(name, saved.axes)
            if not saved.per_sample:
                self._emit_entries(target, saved, slots)
            elif slots[saved] != target:  # it is a carry as well, and stands there
                self.k.copy(self.write, target, slots[saved], saved.axes)
        for name, row in self.sweep.rows.items():
            if slots[row].array != "rows":  # the cotangent itself, handed through
                self._emit_entries(self._row_slot(name, row), row, slots)

    def _node_slot_for(self, name: str) -> Slot:
        if self.sweep.direction:
            return self.k.carry_slot(self.sweep, name, f"{self.turn} + 1")
        return self._seed_slot(name)

    def _emit_entries(self, target: Slot, tensor: Tensor, slots) -> None:
        """Copy a tensor entry by entry; one that no sample changes is spread over the lanes."""
        lanes = self.k.tiling.samples
        loops = list(tensor.axes)
        at = {a: a.name for a in loops}
        if isinstance(tensor, Delta):
            value = f"unit(theta, {loops[0].name} - {loops[1].name}, 1)"
        else:
            slot = slots[tensor]
            value = f"load({slot.array}, {slot.index(tensor.axes, at)}, 0, 1, {slot.lanes})"
        if not tensor.per_sample:
            value = f"spread({value}, {lanes})"
        with self.write.nest(loop_headers(loops)):
            self.write(f"store({target.array}, {target.index(tensor.axes, at)}, 0, {value})")


@dataclass(frozen=True)
class RowSlot(Slot):
    """A slot whose parameter axes are strided by the run-time width of the Jacobian."""

    def index(self, labels, at) -> str:
        basis, *inner = labels
        terms = [self.base]
        if basis.size > 1:
            terms.append(f"{at[basis]}*{self.strides[0]}")
        for axis, stride in zip(inner, self.strides[1:], strict=True):
            if axis.size > 1 and at[axis] != "0":
                terms.append(f"{at[axis]}*{stride}*width" if stride > 1 else f"{at[axis]}*width")
        return " + ".join(terms)

    def stride(self, labels, axis) -> str:
        position = labels.index(axis) if axis in labels else None
        if position is None:
            return "0"
        stride = self.strides[position]
        return str(stride) if not position else f"{stride}*width" if stride > 1 else "width"
