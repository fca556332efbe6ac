"""One sweep of a CUDA kernel inside the loop over tiles."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

from ...tensors import Delta, Tensor, count_uses
from ..groups import Slot, loop_headers
from ..sweeps import SweepEmitter, scratch_size
from .groups import ThreadGroupEmitter
from .places import Places
from .reductions import emit_block_sums
from .texts import ROLLED, element

__all__ = ["ThreadSweepEmitter"]


class ThreadSweepEmitter(SweepEmitter):
    """Emits one sweep for the sample of a thread."""

    unstored: frozenset[Tensor] | set[Tensor] = frozenset()

    def _array_functions(self) -> set[Tensor]:
        return set()  # a thread computes functions where it has their arguments

    def _sums_arithmetic(self, reader: Tensor, tensor: Tensor) -> bool:
        return False  # sums over samples read what is stored

    @contextmanager
    def _step_places(self):
        k = self.k
        k.places = Places(self.write)
        k.places("p", f"step*{k.layout.size}")
        k.places("q", f"step*{k.table_size}")
        k.places("g", f"(cuda.blockIdx.x*steps + step)*{k.sums_size}")
        yield
        k.places.declare()

    def _emit_body(self) -> None:
        slots, k = self.slots(), self.k
        uses = count_uses([*self.sweep.outputs(), *self.parts.reduction])
        scratch = scratch_size(self.parts.sample)
        if scratch:
            k.buffers["SCRATCH"] = scratch * k.tiling.samples
        emitter = ThreadGroupEmitter(
            self.write, slots, uses, k.tiling, k.names, k.printer, k.registers
        )
        emitter.emit(self.groups)
        self.unstored = emitter.unstored
        for tensor in self.unstored:
            k.buffers.pop(k.names(tensor).upper(), None)
        self._emit_copies(slots)

    def _stored(self) -> list[Tensor]:
        return [tensor for tensor in super()._stored() if tensor not in self.unstored]

    def _emit_reductions(self) -> None:
        emit_block_sums(self)

    def _row_slot(self, name: str, tensor: Tensor) -> Slot:
        slot = super()._row_slot(name, tensor)
        return replace(slot, base=f"{slot.base} + lane")

    def _emit_entries(self, target: Slot, tensor: Tensor, slots) -> None:
        loops = list(tensor.axes)
        at = {a: a.name for a in loops}
        if isinstance(tensor, Delta):
            one, zero = (self.k.printer({}).number(n) for n in (1.0, 0.0))
            value = f"({one} if {loops[0].name} == {loops[1].name} else {zero})"
        else:
            slot = slots[tensor]
            value = element(slot.array, slot.index(tensor.axes, at))
        with self.write.nest(loop_headers(loops, ROLLED)):
            self.write(f"{element(target.array, target.index(tensor.axes, at))} = {value}")
