"""One sweep of a kernel on the CPU, inside the loop over blocks of tiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from ...schedule.groups import array_function, is_arithmetic
from ...tensors import Constant, Delta, Input, Product, Tensor
from ..kernels import scratch_size
from ..nodes import Binary, Expression, Integer, Let, Load, Name, Number, Store, Zeros, call
from ..places import At, Slot, headers
from ..sweeps import SweepBuilder
from .groups import GroupBuilder
from .reductions import emit_reductions

if TYPE_CHECKING:
    from .kernels import TileKernelBuilder

__all__ = ["TileSweepBuilder"]


class TileSweepBuilder(SweepBuilder):
    """Statements of one sweep for register tiles."""

    k: TileKernelBuilder

    def array_functions(self) -> set[Tensor]:
        return {t for t in self.parts.sample if array_function(t) is not None}

    def sums_arithmetic(self, reader: Tensor, tensor: Tensor) -> bool:
        """Whether a sum over samples reads entries once, and can do their arithmetic itself."""
        tiles = self.k.outer_tiles.get(reader) if isinstance(reader, Product) else None
        inputs = all(isinstance(operand, Input) for operand in tensor.operands)
        return tiles is not None and tiles.column is None and inputs and is_arithmetic(tensor)

    def tile_loop(self) -> AbstractContextManager[None]:
        return self.k.tile_loop(self.write)

    @contextmanager
    def step_places(self) -> Iterator[None]:
        k = self.k
        self.write(Let("p", Binary("*", Name("step"), Integer(k.layout.size))))
        if k.table:
            self.write(Let("q", Binary("*", Name("step"), Integer(k.table_size))))
        yield

    def emit_reductions(self) -> None:
        k = self.k
        self.write(Let("g", Binary("*", Name("step"), Integer(k.sums_size))))
        emit_reductions(self, {t: k.outer_tiles[t] for t in self.parts.reduction})

    def emit_body(self) -> None:
        slots, k, tiling = self.slots(), self.k, self.k.tiling
        if k.forgets and self.sweep.saved:
            k.emit_places(self.write)
        scratch = scratch_size(self.parts.sample)
        if scratch:
            k.buffers["scratch"] = Integer(scratch * tiling.samples)
        how = tiling, tiling.samples, k.names, k.spelling
        GroupBuilder(self.write, slots, self.uses(), *how).emit(self.groups)
        self.emit_copies(slots)

    def emit_saved(self, slots: dict[Tensor, Slot]) -> None:
        if not self.k.forgets:
            super().emit_saved(slots)
            return
        with self.write.when(Binary(">", Name("extent"), Integer(0))):
            super().emit_saved(slots)

    def emit_entries(self, target: Slot, tensor: Tensor, slots: dict[Tensor, Slot]) -> None:
        lanes, loops = self.k.tiling.samples, list(tensor.axes)
        at: At = {a: Name(a.name) for a in loops}
        if isinstance(tensor, Delta):
            apart = Binary("-", Name(loops[0].name), Name(loops[1].name))
            value: Expression = call("unit", "theta", apart, 1)
        elif isinstance(tensor, Constant):
            value = Binary("+", Zeros(1, 1), Number(float(tensor.value)))
        else:
            slot = slots[tensor]
            value = Load(slot.array, slot.index(tensor.axes, at), lanes=slot.lanes)
        if not tensor.per_sample:
            value = call("spread", value, lanes)
        with self.write.loops(headers(loops)):
            self.write(Store(target.array, target.index(tensor.axes, at), value))
