"""Kernels of a map for a GPU: a block of threads takes a tile of samples, a thread one sample.

Every block takes the tiles block, block + blocks, ... in turn; what a step computes of a tile
stands in the block's part of a workspace.  Sums over samples are added by the block's threads, a
tile of entries a thread, into the block's own partial sums; ``add_partials`` adds these in the
order of the blocks.  Nothing depends on which block runs first: results are the same to the bit
from run to run.
"""

from __future__ import annotations

from contextlib import contextmanager

from ...lower import ir
from ...lower.ir import Tensor
from ...lower.schedule import fuse
from ..groups import Slot, loop_headers, plus, row_major, size_of
from ..map_kernels import KernelEmitter, Layout
from ..sweeps import SweepEmitter, scratch_size
from ..writer import Writer
from .groups import InvariantEmitter, Registers, ThreadGroupEmitter, element
from .reductions import emit_block_sums
from .scalars import printer_of
from .schedule import CudaTiling

__all__ = ["CudaKernelEmitter"]

TILES = "for tile in range(cuda.blockIdx.x, tiles, cuda.gridDim.x)"


class CudaKernelEmitter(KernelEmitter):
    """Emits one kernel of a map.

    Attributes
    ----------
    work_size : int
        Numbers of workspace that a block needs; known once the kernel is emitted.
    """

    def __init__(self, kernel, layout: Layout, tiling: CudaTiling, dtype: str):
        super().__init__(kernel, layout, tiling)
        self.printer, self.dtype = printer_of(dtype), dtype
        self.registers = Registers(dtype)
        self.work_size = 0

    # -- functions -----------------------------------------------------------------------------

    @contextmanager
    def _function(self, write: Writer, name: str, arguments: list[str], summary: str):
        write("@cuda.jit")
        with write.block(f"def {name}({', '.join(arguments)})"):
            write(f'"""{summary}"""')
            write("lane, one = cuda.threadIdx.x, cuda.gridDim.y")
            yield
        write()
        write()

    def _invariant_emitter(self, write: Writer, slots, outputs) -> InvariantEmitter:
        return InvariantEmitter(write, slots, self.tiling, self.names, self.printer)

    def _emit_table(self, write: Writer) -> None:
        arguments = [*self._theta(), "table", "work"]
        outputs = list(self.table)
        slots = {**self.table, **self.invariant_slots(ir.topological(outputs))}
        summary = "What every sample shares, a step a block."
        with self._function(write, f"{self.kernel.name}_table", arguments, summary):
            write("step = cuda.blockIdx.x")
            scratch = scratch_size(outputs)
            if scratch:
                size = 2 * scratch
                self.work_size = max(self.work_size, size)
                write(f"SCRATCH = step*{size}")
            write(f"p, q = step*{self.layout.size}, step*{self.table_size}")
            self._invariant_emitter(write, slots, outputs).emit(fuse(outputs))

    def _emit_finish(self, write: Writer) -> None:
        (sweep,) = [s for s in self.kernel.sweeps if s.gradients]
        parts = self.parts[self.kernel.sweeps.index(sweep)]
        arguments = [*self._theta(), *self._table(), "sums", "gradient", "work"]
        outputs = list(sweep.gradients.values())
        slots = {**self.table, **self.sums, **self.invariant_slots(ir.topological(outputs))}
        summary = "From sums over the samples to the gradient by theta, a step a block."
        body, size = Writer(), 0
        for tensor in parts.finish:
            slots[tensor] = Slot("work", f"w + {size}", row_major(tensor.axes, 1), 1)
            size += size_of(tensor.axes)
        self.work_size = max(self.work_size, size)
        with self._function(body, f"{self.kernel.name}_finish", arguments, summary):
            body("step = cuda.blockIdx.x")
            sizes = (self.layout.size, self.table_size, self.sums_size, size)
            body("p, q, g, w = " + ", ".join(f"step*{n}" for n in sizes))
            self._invariant_emitter(body, slots, outputs).emit(fuse(parts.finish))
            for name, tensor in sweep.gradients.items():
                target = plus("p", self.layout.offsets[name])
                source, count = slots[tensor], size_of(tensor.axes)
                with body.block(f"for entry in range(lane, {count}, {self.tiling.samples})"):
                    value = element(source.array, f"{source.base} + entry")
                    body(f"gradient[at({target} + entry)] = {value}")
        write.lines += body.lines

    def _emit_samples(self, write: Writer) -> None:
        kernel, body = self.kernel, Writer()
        arguments = [*self._theta(), *self._table(), *(f"{n}_path" for n in kernel.stored)]
        arguments += [*kernel.inputs, *(f"{name}_out" for name in kernel.outputs)]
        arguments += ["sums"] * kernel.has_gradient + ["rows", "width"] * kernel.has_rows
        arguments += ["work", "tiles", "steps"]
        with body.block(TILES):
            for sweep, parts in zip(kernel.sweeps, self.parts, strict=True):
                ThreadSweepEmitter(self, body, sweep, parts).emit()
            self._emit_outputs(body)
        with self._function(write, kernel.name, arguments, kernel.summary):
            self.registers.declare(write)
            self._declare_buffers(write)
            write.lines += ["    " + line for line in body.lines]

    def _declare_buffers(self, write: Writer) -> None:
        """Where each buffer begins in the block's part of the workspace."""
        sizes = {name: eval_size(text) for name, text in self.buffers.items()}
        total = sum(sizes.values())
        self.work_size = max(self.work_size, total)
        at = 0
        for name, size in sizes.items():
            start = f"cuda.blockIdx.x*{total}"
            write(f"{name} = {plus(start, at)}")
            at += size

    # -- places --------------------------------------------------------------------------------

    def copy(self, write: Writer, target: Slot, source: Slot | None, axes) -> None:
        lanes, count = self.tiling.samples, size_of(axes)
        value = self.printer({}).number(0.0)
        if source is not None:
            value = element(source.array, f"{source.base} + n*{lanes} + lane")
        with write.block(f"for n in range({count}*one)"):
            write(f"{element(target.array, f'{target.base} + n*{lanes} + lane')} = {value}")

    def stored_slot(self, name: str, axes) -> Slot:
        lanes = self.tiling.samples
        base = f"(step*tiles + tile)*{size_of(axes) * lanes}"
        return Slot(f"{name}_path", base, row_major(axes, lanes), lanes)

    def local_slot(self, name: str, axes, block: bool, when: str = "", copies: str = "") -> Slot:
        name, lanes = name.upper(), self.tiling.samples
        size = size_of(axes) * lanes
        self.buffers[name] = f"{copies or 1}*{size}"
        base = f"{name} + {when}*{size}" if when else name
        return Slot("work", base, row_major(axes, lanes), lanes)


def eval_size(text: str) -> int:
    """Value of a product such as "2*640"."""
    result = 1
    for factor in text.split("*"):
        result *= int(factor)
    return result


class ThreadSweepEmitter(SweepEmitter):
    """Emits one sweep inside the loop over tiles."""

    def _array_functions(self) -> set[Tensor]:
        return set()  # a thread computes functions where it has their arguments

    def _sums_arithmetic(self, reader: Tensor, tensor: Tensor) -> bool:
        return False  # sums over samples read what is stored

    def _emit_body(self) -> None:
        slots, k = self.slots(), self.k
        uses = ir.uses([*self.sweep.outputs(), *self.parts.reduction])
        scratch = scratch_size(self.parts.sample)
        if scratch:
            k.buffers["SCRATCH"] = f"2*{scratch * k.tiling.samples}"
        emitter = ThreadGroupEmitter(
            self.write, slots, uses, k.tiling, k.names, k.printer, k.registers
        )
        emitter.emit(self.groups)
        self._emit_copies(slots)

    def _emit_reductions(self) -> None:
        self.write(f"g = (cuda.blockIdx.x*steps + step)*{self.k.sums_size}")
        emit_block_sums(self)

    def _emit_entries(self, target: Slot, tensor: Tensor, slots) -> None:
        loops = list(tensor.axes)
        at = {a: a.name for a in loops}
        if tensor.kind == "delta":
            one, zero = (self.k.printer({}).number(n) for n in (1.0, 0.0))
            value = f"({one} if {loops[0].name} == {loops[1].name} else {zero})"
        else:
            slot = slots[tensor]
            lane = " + lane" if slot.lanes > 1 else ""
            value = element(slot.array, f"{slot.index(tensor.axes, at)}{lane}")
        with self.write.nest(loop_headers(loops)):
            place = element(target.array, f"{target.index(tensor.axes, at)} + lane")
            self.write(f"{place} = {value}")
