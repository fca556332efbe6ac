"""Kernels of a map as text: tables, sweeps over blocks of samples, what is left after."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np

from ..lower.kernels import Kernel, Sweep
from ..lower.reductions import outer_tiles
from ..lower.schedule import Tiling, fuse, parts_of
from ..tensors import Axis, Input, Tensor, count_uses, topological
from .groups import GroupEmitter, Names, Slot, plus, row_major, size_of
from .sweeps import SweepEmitter, scratch_size
from .writer import Writer

__all__ = ["KernelEmitter", "Layout"]

# Stored values are asked for so many tiles before they are read or written: measured on AVX2, four
# are as good as one or better, and save 5 to 25 % of a kernel.
_AHEAD = 4


@dataclass(frozen=True)
class Layout:
    """Where a map's parameters stand in ``theta``.

    Attributes
    ----------
    offsets : dict of str to int
        Offset of each parameter inside its step.
    axes : dict of str to tuple of Axis
        Axes of each parameter.
    size : int
        Parameters of one step.
    """

    offsets: dict[str, int]
    axes: dict[str, tuple[Axis, ...]]
    size: int

    @classmethod
    def of(cls, flow) -> Layout:
        axis = {name: Axis(name, size) for name, size in flow.axes().items()}
        offsets, axes, at = {}, {}, 0
        for name, letters in flow.parameters().items():
            offsets[name], axes[name] = at, tuple(axis[a] for a in letters)
            at += size_of(axes[name])
        return cls(offsets, axes, at)


class KernelEmitter:
    """Emits one kernel: ``name_table``, ``name`` and ``name_finish``, as far as they are needed.

    Attributes
    ----------
    table_size, sums_size : int
        Numbers that a step keeps in the table, and in the sums over samples.
    """

    def __init__(self, kernel: Kernel, layout: Layout, tiling: Tiling):
        self.kernel, self.layout, self.tiling = kernel, layout, tiling
        self.parts = [parts_of(sweep) for sweep in kernel.sweeps]
        reductions = [tensor for parts in self.parts for tensor in parts.reduction]
        self.outer_tiles = outer_tiles(reductions, tiling)
        blocked = kernel.has_gradient or kernel.stored
        self.tiles = tiling.block(*self._block_numbers()) if blocked else 1
        self.buffers: dict[str, str] = {}
        self.names = Names()
        self.table, self.table_size = self._table_slots()
        self.sums, self.sums_size = self._sum_slots()

    def _block_numbers(self) -> tuple[int, int]:
        """Numbers of a sample in the cache: carries and what is summed; and the hot ones of them.

        Hot is the smaller factor of an outer product, which is read once for every tile of the
        other.
        """
        carried = {n: c.before for sweep in self.kernel.sweeps for n, c in sweep.carries.items()}
        summed = {t for tensor in self.outer_tiles for t in tensor.operands if t.per_sample}
        numbers = 2 * sum(size_of(t.axes) for t in carried.values())
        numbers += sum(size_of(t.axes) for t in summed)
        outer = [tensor for tensor, tiles in self.outer_tiles.items() if tiles.column is not None]
        near = [min(size_of(t.axes) for t in tensor.operands) for tensor in outer]
        return numbers, max(near, default=1)

    # -- what lives outside the samples ------------------------------------------------------

    def _parameter_slots(self) -> dict[str, Slot]:
        found = {}
        for name, axes in self.layout.axes.items():
            base = plus("p", self.layout.offsets[name])
            found[name] = Slot("theta", base, row_major(axes, 1), 1)
            found["eta." + name] = Slot("eta", base, row_major(axes, 1), 1)
        return found

    def invariant_slots(self, tensors) -> dict[Tensor, Slot]:
        names = self._parameter_slots()
        fixed = [t for t in tensors if isinstance(t, Input) and not t.per_sample]
        return {t: names[t.name] for t in fixed if t.name in names}

    def _table_slots(self) -> tuple[dict[Tensor, Slot], int]:
        slots: dict[Tensor, Slot] = {}
        at = 0
        for parts in self.parts:
            for tensor in parts.table:
                if tensor not in slots:
                    slots[tensor] = Slot("table", plus("q", at), row_major(tensor.axes, 1), 1)
                    at += size_of(tensor.axes)
        return slots, at

    def sums_order(self) -> np.ndarray:
        """Row-major index of each place in a step's sums, which stand tile by tile."""
        found, start = np.empty(self.sums_size, int), 0
        for tensor in self.sums:
            positions = self.outer_tiles[tensor].positions()
            found[start : start + positions.size] = start + positions
            start += positions.size
        return found

    def _sum_slots(self) -> tuple[dict[Tensor, Slot], int]:
        slots: dict[Tensor, Slot] = {}
        at = 0
        for parts in self.parts:
            for tensor in parts.reduction:
                slots[tensor] = Slot("sums", plus("g", at), row_major(tensor.axes, 1), 1)
                at += size_of(tensor.axes)
        return slots, at

    # -- functions ---------------------------------------------------------------------------

    def emit(self, write: Writer, printed: dict[str, str] | None = None) -> None:
        """Write the kernel's functions.

        Parameters
        ----------
        write : Writer
            Where to.
        printed : dict of str to str, optional
            Names of the module's functions by what else they consist of.  A function that is there
            already is only given its name.
        """
        parts = {"_table": self._emit_table} if self.table else {}
        parts[""] = self._emit_samples
        parts |= {"_finish": self._emit_finish} if self.kernel.has_gradient else {}
        texts = {self.kernel.name + suffix: Writer() for suffix in parts}
        for emit, own in zip(parts.values(), texts.values(), strict=True):
            emit(own)
        printed = {} if printed is None else printed
        for name, own in texts.items():
            same = printed.setdefault(own.text().replace(f"def {name}(", "def (", 1), name)
            write.append(own.lines if same == name else [f"{name} = {same}", "", ""])

    @contextmanager
    def _function(self, write: Writer, name: str, arguments: list[str], summary: str):
        """A function of the generated module, its body written inside."""
        write("@njit(**OPTIONS)")
        with write.block(f"def {name}({', '.join(arguments)})"):
            write(f'"""{summary}"""')
            yield
        write()
        write()

    def _theta(self) -> list[str]:
        return ["theta"] + ["eta"] * self.kernel.tangent

    def _table(self) -> list[str]:
        return ["table"] if self.table else []

    def _invariant_emitter(self, write: Writer, slots, outputs) -> GroupEmitter:
        return GroupEmitter(write, slots, count_uses(outputs), "theta", self.tiling, 1, self.names)

    def _emit_table(self, write: Writer) -> None:
        summary = "What every sample shares, once a step."
        arguments = [*self._theta(), "table", "steps"]
        outputs = list(self.table)
        slots = {**self.table, **self.invariant_slots(topological(outputs))}
        with self._function(write, f"{self.kernel.name}_table", arguments, summary):
            scratch = scratch_size(outputs)
            if scratch:
                write(f"scratch = aligned(theta, {scratch})")
            with write.block("for step in range(steps)"):
                write(f"p, q = step*{self.layout.size}, step*{self.table_size}")
                self._invariant_emitter(write, slots, outputs).emit(fuse(outputs))

    def _emit_finish(self, write: Writer) -> None:
        (sweep,) = [s for s in self.kernel.sweeps if s.gradients]
        parts = self.parts[self.kernel.sweeps.index(sweep)]
        arguments = [*self._theta(), *self._table(), "sums", "gradient", "steps"]
        summary = "From sums over the samples to the gradient by theta."
        outputs = list(sweep.gradients.values())
        slots = {**self.table, **self.sums, **self.invariant_slots(topological(outputs))}
        targets = {
            name: Slot("gradient", plus("p", self.layout.offsets[name]), row_major(t.axes, 1), 1)
            for name, t in sweep.gradients.items()
        }
        with self._function(write, f"{self.kernel.name}_finish", arguments, summary):
            for tensor in parts.finish:
                name = next((n for n, t in sweep.gradients.items() if t is tensor), None)
                slots[tensor] = targets[name] if name else self._finish_slot(write, tensor)
            with write.block("for step in range(steps)"):
                sizes = (self.layout.size, self.table_size, self.sums_size)
                write("p, q, g = " + ", ".join(f"step*{size}" for size in sizes))
                self._invariant_emitter(write, slots, outputs).emit(fuse(parts.finish))
                for name, tensor in sweep.gradients.items():
                    if slots[tensor] != targets[name]:
                        self._copy_numbers(
                            write, targets[name], slots[tensor], size_of(tensor.axes)
                        )

    def _finish_slot(self, write: Writer, tensor: Tensor) -> Slot:
        array = self.names(tensor).upper()
        write(f"{array} = aligned(theta, {size_of(tensor.axes)})")
        return Slot(array, "0", row_major(tensor.axes, 1), 1)

    @staticmethod
    def _copy_numbers(write: Writer, target: Slot, source: Slot, count: int) -> None:
        with write.block(f"for n in range({count})"):
            value = f"load({source.array}, {source.base} + n, 0, 1, 1)"
            write(f"store({target.array}, {target.base} + n, 0, {value})")

    # -- the samples -------------------------------------------------------------------------

    def _emit_samples(self, write: Writer) -> None:
        kernel = self.kernel
        arguments = [*self._theta(), *self._table(), *(f"{n}_path" for n in kernel.stored)]
        arguments += [*kernel.inputs, *(f"{name}_out" for name in kernel.outputs)]
        arguments += ["sums"] * kernel.has_gradient + ["rows", "width"] * kernel.has_rows
        arguments += ["first", "last"] + ["origin", "extent"] * bool(kernel.stored)
        arguments += ["steps"]
        body = Writer()  # first, because it finds out which buffers it needs
        several = self.tiles > 1
        block, tile = (
            f"for block in range(first, last, {self.tiles})",
            "for tile in range(first, last)",
        )
        with body.block(block if several else tile):
            if several:  # the last block may be shorter
                body(f"count = min({self.tiles}, last - block)")
            for sweep, parts in zip(kernel.sweeps, self.parts, strict=True):
                SweepEmitter(self, body, sweep, parts).emit()
            self._emit_outputs(body)
        with self._function(write, kernel.name, arguments, kernel.summary):
            for name, size in self.buffers.items():
                write(f"{name} = aligned(theta, {size})")
            for line in body.lines:
                write(line)

    def _emit_outputs(self, write: Writer) -> None:
        final = self.kernel.sweeps[-1]
        if not self.kernel.outputs:
            return
        with self.tile_loop(write):
            for name, axes in self.kernel.outputs.items():
                source = self.carry_slot(final, name, "steps")
                self.copy(write, self.global_slot(f"{name}_out", axes), source, axes)

    def tile_loop(self, write: Writer):
        """The loop over the tiles of a block, if there are several."""
        if self.tiles == 1:
            return nullcontext()
        return write.block("for tile in range(count)")

    def copy(self, write: Writer, target: Slot, source: Slot | None, axes) -> None:
        """Copy a per-sample value (``None`` stands for zero)."""
        width = self.tiling.samples
        count = size_of(axes) * width

        def one(offset: str) -> None:
            value = f"zeros(theta, 1, {width})"
            if source is not None:
                value = f"load({source.array}, {source.base} + {offset}, 0, 1, {width})"
            write(f"store({target.array}, {target.base} + {offset}, 0, {value})")

        if target.ahead:
            write(f"prefetch({target.array}, {target.ahead}, {count})")
        if count == width:
            one("0")
        else:
            with write.block(f"for n in range(0, {count}, {width})"):
                one("n")

    # -- places of per-sample values ----------------------------------------------------------

    @property
    def tile(self) -> str:
        """The number of the current tile among all samples, as text."""
        return "(block + tile)" if self.tiles > 1 else "tile"

    def global_slot(self, name: str, axes) -> Slot:
        """A kernel argument with one entry a sample."""
        lanes = self.tiling.samples
        return Slot(name, f"{self.tile}*{size_of(axes) * lanes}", row_major(axes, lanes), lanes)

    def stored_slot(self, name: str, axes) -> Slot:
        """A value of the forward pass at the current step, in an array of tiles from origin on."""
        lanes = self.tiling.samples
        size = self.tiling.padded(size_of(axes)) * lanes
        now = f"(step*extent + {self.tile} - origin)*{size}"
        ahead = f"(step*extent + {self.tile} + {_AHEAD} - origin)*{size}"
        return Slot(f"{name}_path", now, row_major(axes, lanes), lanes, ahead)

    def local_slot(self, name: str, axes, block: bool, when: str = "", copies: str = "") -> Slot:
        """A buffer: of one tile, or of every tile of the block, ``copies`` times over."""
        name = name.upper()  # arrays in capitals, registers in small letters
        lanes, tiles = self.tiling.samples, self.tiles if block else 1
        size = (self.tiling.padded(size_of(axes)) if tiles > 1 else size_of(axes)) * lanes
        self.buffers[name] = (f"({copies})*" if copies else "") + str(size * tiles)
        tile = "tile" if tiles > 1 else ""
        if when:
            when = f"{when}*{tiles}" if tiles > 1 else when
            tile = f"({when} + {tile})" if tile else when
        base = f"{tile}*{size}" if tile else "0"
        return Slot(name, base, row_major(axes, lanes), lanes)

    def carry_slot(self, sweep: Sweep, name: str, when: str) -> Slot:
        """Where a carry stands after ``when`` steps of its sweep."""
        carry = sweep.carries[name]
        axes = carry.before.axes
        if carry.after is carry.before:
            return self.local_slot(name, axes, True)
        parity = "0" if when == "0" else f"(({when}) % 2)"
        return self.local_slot(name, axes, True, parity, "2")

    def final_slot(self, name: str, before: Sweep) -> Slot:
        """Where an earlier sweep left a carry."""
        for sweep in reversed(self.kernel.sweeps[: self.kernel.sweeps.index(before)]):
            if name in sweep.carries and sweep.direction:
                return self.carry_slot(sweep, name, "steps")
        raise KeyError(name)
