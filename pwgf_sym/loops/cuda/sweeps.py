"""One sweep of a CUDA kernel inside the loop over tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from ...tensors import Constant, Delta, Tensor
from ..kernels import scratch_size
from ..nodes import Assign, Binary, Entry, Expression, Integer, Name, Number
from ..nodes import Group as Parentheses
from ..passes.declared import declared
from ..places import At, Slot, headers
from ..sweeps import SweepBuilder
from .entries import equal
from .groups import ThreadGroupBuilder
from .names import BLOCK
from .reductions import emit_block_sums

if TYPE_CHECKING:
    from .kernels import ThreadKernelBuilder

__all__ = ["ThreadSweepBuilder"]


class ThreadSweepBuilder(SweepBuilder):
    """Statements of one sweep for the sample of a thread."""

    k: ThreadKernelBuilder
    _unstored: frozenset[Tensor] | set[Tensor] = frozenset()

    def unstored(self) -> Iterable[Tensor]:
        return self._unstored

    def tile_loop(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def step_places(self) -> Iterator[None]:
        k = self.k
        step: Expression = Name("step")
        of_block = Parentheses(Binary("+", Binary("*", BLOCK, Name("steps")), step))
        sizes = {"p": k.layout.size, "q": k.table_size, "g": k.sums_size}
        first = {"p": step, "q": step, "g": of_block}
        k.places = {n: Binary("*", first[n], Integer(size)) for n, size in sizes.items()}
        with self.write.inside() as body:
            yield
        self.write(*declared(k.places, body))

    def emit_body(self) -> None:
        slots, k = self.slots(), self.k
        scratch = scratch_size(self.parts.sample)
        if scratch:
            k.buffers["SCRATCH"] = scratch * k.tiling.samples
        how = k.tiling, k.names, k.spelling, k.registers
        builder = ThreadGroupBuilder(self.write, slots, self.uses(), *how)
        builder.emit(self.groups)
        self._unstored = builder.unstored
        for tensor in self._unstored:
            k.buffers.pop(k.names(tensor).upper(), None)
        self.emit_copies(slots)

    def emit_reductions(self) -> None:
        emit_block_sums(self)

    def emit_entries(self, target: Slot, tensor: Tensor, slots: dict[Tensor, Slot]) -> None:
        loops = list(tensor.axes)
        at: At = {a: Name(a.name) for a in loops}
        if isinstance(tensor, Delta):
            value: Expression = equal(*at.values())
        elif isinstance(tensor, Constant):
            value = Number(float(tensor.value))
        else:
            slot = slots[tensor]
            value = Entry(slot.array, slot.index(tensor.axes, at))
        with self.write.loops(headers(loops), kind="rolled"):
            self.write(Assign(Entry(target.array, target.index(tensor.axes, at)), value))
