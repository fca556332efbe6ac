"""Kernels of a map for a GPU: a block of threads takes a tile of samples, a thread one sample.

Every block takes the tiles block, block + blocks, ... in turn; what a step computes of a tile
stands in the block's part of a workspace.  Sums over samples are added by the block's threads, a
tile of entries a thread, into the block's own partial sums; ``add_partials`` adds these in the
order of the blocks.  Nothing depends on which block runs first: results are the same to the bit
from run to run.
"""

from __future__ import annotations

from contextlib import contextmanager

from ...lower.kernels import Sweep
from ...lower.schedule import fuse
from ...tensors import count_uses, topological
from ..groups import Slot, plus, row_major, size_of
from ..map_kernels import KernelEmitter, Layout
from ..sweeps import scratch_size
from ..writer import Writer
from .groups import Registers
from .invariants import InvariantEmitter
from .places import Places, packed
from .scalars import printer_of
from .schedule import CudaTiling
from .sweeps import ThreadSweepEmitter
from .texts import ROLLED, element

__all__ = ["TILES", "CudaKernelEmitter"]

TILES = "for tile in range(cuda.blockIdx.x, tiles, cuda.gridDim.x)"


class CudaKernelEmitter(KernelEmitter):
    """Emits one kernel of a map.

    Attributes
    ----------
    work_size : int
        Numbers of workspace that a block needs; known once the kernel is emitted.
    forgets : bool
        Whether the kernel keeps the values that it stores only if it is told to, by ``extent``.
    """

    def __init__(self, kernel, layout: Layout, tiling: CudaTiling, dtype: str):
        super().__init__(kernel, layout, tiling)
        self.printer, self.dtype = printer_of(dtype), dtype
        self.registers = Registers()
        self.work_size = 0
        self.buffers: dict[str, int] = {}
        self.places: Places | None = None
        saved = {name for sweep in kernel.sweeps for name in sweep.saved}
        self.forgets = bool(saved) and saved == set(kernel.stored)

    # -- functions -----------------------------------------------------------------------------

    @contextmanager
    def _function(self, write: Writer, name: str, arguments: list[str], summary: str):
        write("@cuda.jit(cache=True)")
        with write.block(f"def {name}({', '.join(arguments)})"):
            write(f'"""{summary}"""')
            write("lane, one = cuda.threadIdx.x, cuda.gridDim.y")
            yield
        write()
        write()

    def _invariant_emitter(self, write: Writer, slots, outputs) -> InvariantEmitter:
        uses = count_uses(outputs)
        return InvariantEmitter(write, slots, uses, self.tiling, self.names, self.printer)

    def _emit_table(self, write: Writer) -> None:
        arguments = [*self._theta(), "table", "work"]
        outputs = list(self.table)
        slots = {**self.table, **self.invariant_slots(topological(outputs))}
        summary = "What every sample shares, a step a block."
        with self._function(write, f"{self.kernel.name}_table", arguments, summary):
            size = scratch_size(outputs)
            self.work_size = max(self.work_size, size)
            with self._step_of_block(write, SCRATCH=size):
                self._invariant_emitter(write, slots, outputs).emit(fuse(outputs))

    @contextmanager
    def _step_of_block(self, write: Writer, **others: int):
        """Where the places of the block's step begin."""
        write("step = cuda.blockIdx.x")
        places = Places(write)
        sizes = {"p": self.layout.size, "q": self.table_size, "g": self.sums_size, **others}
        for name, size in sizes.items():
            places(name, f"step*{size}")
        yield
        places.declare()

    def _emit_finish(self, write: Writer) -> None:
        (sweep,) = [s for s in self.kernel.sweeps if s.gradients]
        finish = self.parts[self.kernel.sweeps.index(sweep)].finish
        arguments = [*self._theta(), *self._table(), "sums", "gradient", "work"]
        outputs = list(sweep.gradients.values())
        slots = {**self.table, **self.sums, **self.invariant_slots(topological(outputs))}
        targets = self._gradient_slots(sweep)
        size = self._finish_slots(slots, sweep, finish, targets)
        self.work_size = max(self.work_size, size)
        summary = "From sums over the samples to the gradient by theta, a step a block."
        function = self._function(write, f"{self.kernel.name}_finish", arguments, summary)
        with function, self._step_of_block(write, room=size):
            self._invariant_emitter(write, slots, outputs).emit(fuse(finish))
            for name, tensor in sweep.gradients.items():
                if slots[tensor] != targets[name]:
                    self._copy_entries(write, targets[name], slots[tensor], tensor.axes)

    def _gradient_slots(self, sweep: Sweep) -> dict[str, Slot]:
        return {
            name: Slot("gradient", plus("p", self.layout.offsets[name]), row_major(t.axes, 1), 1)
            for name, t in sweep.gradients.items()
        }

    def _finish_slots(self, slots: dict, sweep: Sweep, finish: list, targets: dict) -> int:
        """Places of what is left to do: gradients, and what other loops read, in ``work``."""
        where = {t: n for n, group in enumerate(fuse(finish)) for t in group.tensors}
        size = 0
        for tensor in finish:
            name = next((n for n, t in sweep.gradients.items() if t is tensor), None)
            outside = any(tensor in t.operands and where[t] != where[tensor] for t in finish)
            if name is not None:
                slots[tensor] = targets[name]
            elif outside:
                slots[tensor] = Slot("work", plus("room", size), row_major(tensor.axes, 1), 1)
                size += size_of(tensor.axes)
        return size

    def _copy_entries(self, write: Writer, target: Slot, source: Slot, axes) -> None:
        with write.block(f"for entry in range(lane, {size_of(axes)}, cuda.blockDim.x)"):
            value = element(source.array, f"{source.base} + entry")
            write(f"{element(target.array, f'{target.base} + entry')} = {value}")

    def _emit_samples(self, write: Writer) -> None:
        kernel, body = self.kernel, Writer()
        arguments = [*self._theta(), *self._table(), *(f"{n}_path" for n in kernel.stored)]
        arguments += [*kernel.inputs, *(f"{name}_out" for name in kernel.outputs)]
        arguments += ["sums"] * kernel.has_gradient + ["rows", "width"] * kernel.has_rows
        arguments += ["work", "tiles", "steps"] + ["extent"] * self.forgets
        with body.block(TILES):
            if kernel.has_gradient:
                body("more = tile >= cuda.gridDim.x")
            if self.forgets:
                body("place = tile if extent > 0 else cuda.blockIdx.x")
            for sweep, parts in zip(kernel.sweeps, self.parts, strict=True):
                ThreadSweepEmitter(self, body, sweep, parts).emit()
            self._emit_outputs(body)
        with self._function(write, kernel.name, arguments, kernel.summary):
            self.registers.declare(write)
            self._declare_buffers(write)
            write.append(body.lines)

    def _declare_buffers(self, write: Writer) -> None:
        """Where each buffer begins in the block's part of the workspace."""
        total, at, found = sum(self.buffers.values()), 0, []
        self.work_size = max(self.work_size, total)
        for name, size in self.buffers.items():
            found.append((name, plus("own", at)))
            at += size
        first = f"cuda.blockIdx.x*{total} + lane"
        if len(found) > 1:
            write(f"own = {first}")
            first = "own"
        write.append(packed((name, text.replace("own", first)) for name, text in found))

    # -- places --------------------------------------------------------------------------------

    def copy(self, write: Writer, target: Slot, source: Slot | None, axes) -> None:
        count, zero = size_of(axes), self.printer({}).number(0.0)
        length = f"{count}{ROLLED}, {self.tiling.samples}"
        if count == 1:
            value = zero if source is None else element(source.array, source.base)
            write(f"{element(target.array, target.base)} = {value}")
        elif source is None:
            write(f"fill({target.array}, {target.base}, {zero}, {length})")
        else:
            places = f"{target.array}, {target.base}, {source.array}, {source.base}"
            write(f"copy({places}, {length})")

    def global_slot(self, name: str, axes) -> Slot:
        lanes = self.tiling.samples
        base = f"tile*{size_of(axes) * lanes} + lane"
        return Slot(name, base, row_major(axes, lanes), lanes)

    def stored_slot(self, name: str, axes) -> Slot:
        lanes = self.tiling.samples
        here = "step*extent + place" if self.forgets else "step*tiles + tile"
        base = f"({here})*{size_of(axes) * lanes} + lane"
        return Slot(f"{name}_path", self.places(f"{name}_at", base), row_major(axes, lanes), lanes)

    def local_slot(self, name: str, axes, block: bool, when: str = "", copies: str = "") -> Slot:
        name, lanes = name.upper(), self.tiling.samples
        self.buffers[name] = size_of(axes) * lanes
        return Slot("work", name, row_major(axes, lanes), lanes)

    def carry_slot(self, sweep: Sweep, name: str, when: str) -> Slot:
        carry, lanes = sweep.carries[name], self.tiling.samples
        size = size_of(carry.before.axes) * lanes
        array, moves = name.upper(), carry.after is not carry.before
        self.buffers[array] = 2 * size if moves else size
        base = self._carry_place(name, when, size) if moves else array
        return Slot("work", base, row_major(carry.before.axes, lanes), lanes)

    def _carry_place(self, name: str, when: str, size: int) -> str:
        """Where a carry begins that is read from one half of its buffer, and put into the other."""
        array = name.upper()
        if when == "0":
            return array
        if when == "steps":
            return f"{array} + steps % 2*{size}"
        if when.isidentifier():  # before the step; axes are single letters, places are not
            return self.places(f"{name}_now", f"{array} + {when} % 2*{size}")
        return self.places(f"{name}_next", f"{array} + ({when}) % 2*{size}")
