"""Kernels of a map as Python text: tables, the sweeps over blocks of samples, what is left after."""

from __future__ import annotations

from dataclasses import dataclass

from ..lower import ir
from ..lower.ir import Axis, Tensor
from ..lower.kernels import Kernel, Sweep
from ..lower.schedule import Tiling, fuse, parts_of
from .groups import GroupEmitter, Names, Slot, plus, row_major, rows_loop
from .writer import Writer

__all__ = ["KernelEmitter", "Layout"]


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
            at += _size(axes[name])
        return cls(offsets, axes, at)


def _size(axes) -> int:
    result = 1
    for axis in axes:
        result *= axis.size
    return result


class KernelEmitter:
    """Emits one kernel: ``name_table``, ``name`` and ``name_finish``, as far as they are needed.

    Attributes
    ----------
    table_size, sums_size : int
        Numbers that a step keeps in the table, and in the sums over samples.
    """

    def __init__(self, kernel: Kernel, layout: Layout, tiling: Tiling):
        self.kernel, self.layout, self.tiling = kernel, layout, tiling
        self.tiles = tiling.tiles if kernel.has_gradient else 1
        self.parts = [parts_of(sweep) for sweep in kernel.sweeps]
        self.buffers: dict[str, str] = {}
        self.names = Names()
        self.table, self.table_size = self._table_slots()
        self.sums, self.sums_size = self._sum_slots()

    # -- what lives outside the samples ------------------------------------------------------

    def _parameter_slots(self) -> dict[str, Slot]:
        found = {}
        for name, axes in self.layout.axes.items():
            base = plus("p", self.layout.offsets[name])
            found[name] = Slot("theta", base, row_major(axes, 1), 1)
            found["eta." + name] = Slot("eta", base, row_major(axes, 1), 1)
        return found

    def _invariant_slots(self, tensors) -> dict[Tensor, Slot]:
        names = self._parameter_slots()
        return {t: names[t.data[0]] for t in tensors if t.kind == "input" and t.data[0] in names}

    def _table_slots(self) -> tuple[dict[Tensor, Slot], int]:
        slots: dict[Tensor, Slot] = {}
        at = 0
        for parts in self.parts:
            for tensor in parts.table:
                if tensor not in slots:
                    slots[tensor] = Slot("table", plus("q", at), row_major(tensor.axes, 1), 1)
                    at += _size(tensor.axes)
        return slots, at

    def _sum_slots(self) -> tuple[dict[Tensor, Slot], int]:
        slots: dict[Tensor, Slot] = {}
        at = 0
        for parts in self.parts:
            for tensor in parts.reduction:
                slots[tensor] = Slot("sums", plus("g", at), row_major(tensor.axes, 1), 1)
                at += _size(tensor.axes)
        return slots, at

    # -- functions ---------------------------------------------------------------------------

    def emit(self, write: Writer) -> None:
        """Write the kernel's functions."""
        if self.table:
            self._emit_table(write)
        self._emit_samples(write)
        if self.kernel.has_gradient:
            self._emit_finish(write)

    def _header(self, write: Writer, name: str, arguments: list[str], summary: str):
        write("@njit(**OPTIONS)")
        return self._function(write, f"def {name}({', '.join(arguments)})", summary)

    @staticmethod
    def _function(write: Writer, header: str, summary: str):
        block = write.block(header)
        block.__enter__()
        write(f'"""{summary}"""')
        return block

    def _close(self, write: Writer, block) -> None:
        block.__exit__(None, None, None)
        write()
        write()

    def _theta(self) -> list[str]:
        return ["theta"] + ["eta"] * self.kernel.tangent

    def _emit_table(self, write: Writer) -> None:
        summary = "What every sample shares, once a step."
        arguments = [*self._theta(), "table", "steps"]
        block = self._header(write, f"{self.kernel.name}_table", arguments, summary)
        outputs = list(self.table)
        slots = {**self.table, **self._invariant_slots(ir.topological(outputs))}
        if any(t.kind in ("inverse", "logdet") for t in outputs):
            size = max(t.operands[0].axes[0].size for t in outputs if t.kind in ("inverse", "logdet"))
            write(f"scratch = aligned(theta, {size * size + 1})")
        with write.block("for step in range(steps)"):
            write(f"p, q = step*{self.layout.size}, step*{self.table_size}")
            emitter = GroupEmitter(write, slots, ir.uses(outputs), "theta", self.tiling.rows, 1, self.names)
            emitter.emit(fuse(outputs))
        self._close(write, block)

    def _emit_finish(self, write: Writer) -> None:
        (sweep,) = [s for s in self.kernel.sweeps if s.gradients]
        parts = self.parts[self.kernel.sweeps.index(sweep)]
        arguments = [*self._theta(), *(["table"] if self.table else []), "sums", "gradient", "steps"]
        summary = "From sums over the samples to the gradient by theta."
        block = self._header(write, f"{self.kernel.name}_finish", arguments, summary)
        outputs = list(sweep.gradients.values())
        slots = {**self.table, **self.sums, **self._invariant_slots(ir.topological(outputs))}
        targets = {}
        for name, tensor in sweep.gradients.items():
            base = plus("p", self.layout.offsets[name])
            targets[name] = Slot("gradient", base, row_major(tensor.axes, 1), 1)
        for tensor in parts.finish:
            name = next((n for n, t in sweep.gradients.items() if t is tensor), None)
            if name:
                slots[tensor] = targets[name]
            else:
                array = f"finish_{len(slots)}"
                slots[tensor] = Slot(array, "0", row_major(tensor.axes, 1), 1)
                write(f"{array} = aligned(theta, {_size(tensor.axes)})")
        with write.block("for step in range(steps)"):
            quantities = f"step*{self.layout.size}, step*{self.table_size}, step*{self.sums_size}"
            write(f"p, q, g = {quantities}")
            emitter = GroupEmitter(write, slots, ir.uses(outputs), "theta", self.tiling.rows, 1, self.names)
            emitter.emit(fuse(parts.finish))
            for name, tensor in sweep.gradients.items():
                if slots[tensor] != targets[name]:
                    source, target = slots[tensor], targets[name]
                    with write.block(f"for n in range({_size(tensor.axes)})"):
                        where = f"{target.array}, {target.base} + n, 0"
                        write(f"store({where}, load({source.array}, {source.base} + n, 0, 1, 1))")
        self._close(write, block)

    # -- the samples -------------------------------------------------------------------------

    def _emit_samples(self, write: Writer) -> None:
        kernel = self.kernel
        arguments = [*self._theta(), *(["table"] if self.table else []), *kernel.inputs]
        arguments += [f"{name}_out" for name in kernel.outputs]
        arguments += ["sums"] * kernel.has_gradient + ["rows", "width"] * kernel.has_rows
        block = self._header(write, kernel.name, [*arguments, "first", "last", "steps"], kernel.summary)
        body = Writer()
        loop = f"for block in range(first, last, {self.tiles})" if self.tiles > 1 else (
            "for tile in range(first, last)"
        )
        with body.block(loop):
            for sweep, parts in zip(kernel.sweeps, self.parts, strict=True):
                _SweepEmitter(self, body, sweep, parts).emit()
            self._emit_outputs(body)
        for name, size in self.buffers.items():
            write(f"{name} = aligned(theta, {size})")
        if kernel.has_gradient:
            with write.block(f"for n in range(steps*{self.sums_size})"):
                write("sums[n] = 0.0")
        for line in body.lines:
            write(line)
        self._close(write, block)

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
            return _Nothing()
        return write.block(f"for tile in range({self.tiles})")

    def copy(self, write: Writer, target: Slot, source: Slot | None, axes) -> None:
        """Copy a per-sample value (``None`` stands for zero)."""
        width = self.tiling.samples
        count = _size(axes) * width

        def one(offset: str) -> None:
            value = f"zeros(theta, 1, {width})"
            if source is not None:
                value = f"load({source.array}, {source.base} + {offset}, 0, 1, {width})"
            write(f"store({target.array}, {target.base} + {offset}, 0, {value})")

        if count == width:
            one("0")
        else:
            with write.block(f"for n in range(0, {count}, {width})"):
                one("n")

    # -- places of per-sample values ----------------------------------------------------------

    def global_slot(self, name: str, axes) -> Slot:
        """A kernel argument with one entry a sample."""
        lanes = self.tiling.samples
        tile = "(block + tile)" if self.tiles > 1 else "tile"
        return Slot(name, f"{tile}*{_size(axes) * lanes}", row_major(axes, lanes), lanes)

    def local_slot(self, name: str, axes, block: bool, when: str = "", copies: str = "") -> Slot:
        """A buffer: of one tile, or of every tile of the block, ``copies`` times over."""
        name = name.upper()  # arrays in capitals, registers in small letters
        lanes, tiles = self.tiling.samples, self.tiles if block else 1
        size = _size(axes) * lanes
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
        if name in sweep.history:
            return self.local_slot(f"{name}_path", axes, True, f"({when})", "steps + 1")
        parity = "0" if when == "0" else f"(({when}) % 2)"
        return self.local_slot(name, axes, True, parity, "2")

    def final_slot(self, name: str, before: Sweep) -> Slot:
        """Where an earlier sweep left a carry."""
        for sweep in reversed(self.kernel.sweeps[: self.kernel.sweeps.index(before)]):
            if name in sweep.carries and sweep.direction:
                return self.carry_slot(sweep, name, "steps")
        raise KeyError(name)


class _Nothing:
    def __enter__(self):
        return None

    def __exit__(self, *args):
        return None


class _SweepEmitter:
    """Emits one sweep inside the loop over blocks."""

    def __init__(self, kernel: KernelEmitter, write: Writer, sweep: Sweep, parts):
        self.k, self.write, self.sweep, self.parts = kernel, write, sweep, parts
        self.turn = {1: "step", -1: "turn", 0: "0"}[sweep.direction]
        # A carry that is an input handed through, or one an earlier sweep seeded, needs no loop.
        self.groups = fuse(parts.sample)

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
            layout, k = self.k.layout, self.k
            self.write(f"p = step*{layout.size}")
            if k.table:
                self.write(f"q = step*{k.table_size}")
            with self.k.tile_loop(self.write):
                self._emit_body()
            if self.parts.reduction:
                self.write(f"g = step*{k.sums_size}")
                for tensor in self.parts.reduction:
                    _Reduction(self, tensor).emit()

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
        nodes = list(ir.topological(self.sweep.outputs()))
        found.update(self.k._invariant_slots(nodes))
        inputs = {t.data[0]: t for t in nodes if t.kind == "input" and t.per_sample}
        for name, tensor in inputs.items():
            found[tensor] = self._input_slot(name, tensor)
        for tensor in self._stored():
            found[tensor] = self._node_slot(tensor)
        return found

    def _input_slot(self, name: str, tensor: Tensor) -> Slot:
        k, sweep = self.k, self.sweep
        if sweep.direction and name in sweep.carries:
            return k.carry_slot(sweep, name, self.turn)
        if name in k.kernel.inputs:
            return k.global_slot(name, tensor.axes)
        if name.startswith("hidden_"):
            return k.local_slot(name, tensor.axes, True, "step", "steps")
        if sweep.direction < 0:  # a forward carry, read at the step that is being undone
            return k.carry_slot(k.kernel.sweeps[0], name, "step")
        return k.final_slot(name, sweep)

    def _stored(self) -> list[Tensor]:
        """Per-sample tensors that are read outside their group, or leave the sweep."""
        group_of = {t: n for n, group in enumerate(self.groups) for t in group.tensors}
        leaving = set(self.sweep.outputs())
        found = []
        for tensor in self.parts.sample:
            readers = [t for t in self._all() if tensor in t.operands]
            inside = all(group_of.get(t) == group_of[tensor] for t in readers)
            if tensor in leaving or not inside or tensor.kind in ("inverse", "logdet"):
                found.append(tensor)
        return found

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
                return k.local_slot(name, tensor.axes, True, "step", "steps")
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
        base = f"({offset})*width + tile*{basis.size * lanes}"
        return _RowSlot("rows", base, (lanes, *inner), lanes)

    def _emit_body(self) -> None:
        slots = self.slots()
        outputs = [*self.sweep.outputs(), *self.parts.reduction]
        uses = ir.uses(outputs)
        k, tiling = self.k, self.k.tiling
        if any(t.kind in ("inverse", "logdet") for t in self.parts.sample):
            size = max(
                t.operands[0].axes[0].size
                for t in self.parts.sample
                if t.kind in ("inverse", "logdet")
            )
            self.k.buffers["scratch"] = str((size * size + 1) * tiling.samples)
        emitter = GroupEmitter(self.write, slots, uses, "theta", tiling.rows, tiling.samples, k.names)
        emitter.emit(self.groups)
        self._emit_copies(slots)

    def _emit_copies(self, slots: dict[Tensor, Slot]) -> None:
        """Outputs that are computed elsewhere (an input, an invariant) are copied to their place."""
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
        blocks = [self.write.block(f"for {a.name} in range({a.size})") for a in loops]
        for block in blocks:
            block.__enter__()
        at = {a: a.name for a in loops}
        if tensor.kind == "delta":
            value = f"unit(theta, {loops[0].name} - {loops[1].name}, 1)"
        else:
            slot = slots[tensor]
            value = f"load({slot.array}, {slot.index(tensor.axes, at)}, 0, 1, {slot.lanes})"
        if not tensor.per_sample:
            value = f"spread({value}, {lanes})"
        self.write(f"store({target.array}, {target.index(tensor.axes, at)}, 0, {value})")
        for block in reversed(blocks):
            block.__exit__(None, None, None)


@dataclass(frozen=True)
class _RowSlot(Slot):
    """A slot whose parameter axes are strided by the run-time width of the Jacobian."""

    def index(self, labels, at) -> str:
        basis, *inner = labels
        terms = [self.base]
        if basis.size > 1:
            terms.append(f"{at[basis]}*{self.strides[0]}")
        for axis, stride in zip(inner, self.strides[1:], strict=True):
            if axis.size > 1:
                terms.append(f"{at[axis]}*{stride}*width")
        return " + ".join(terms)

    def stride(self, labels, axis) -> str:
        position = labels.index(axis) if axis in labels else None
        if position is None:
            return "0"
        return f"{self.strides[position]}*width" if position else str(self.strides[0])


class _Reduction:
    """A sum over the samples of a block: outer products of registers, then sums over lanes."""

    def __init__(self, sweep: _SweepEmitter, tensor: Tensor):
        self.s, self.tensor, self.write = sweep, tensor, sweep.write
        _, labels, _ = tensor.data
        self.factors = list(zip(tensor.operands, labels, strict=True))
        tiling = sweep.k.tiling
        self.lanes, self.tiling = tiling.lanes, tiling
        self.slots = sweep.slots()

    def emit(self) -> None:
        axes = self.tensor.axes
        first = self.factors[0][1]
        second = self.factors[1][1] if len(self.factors) > 1 else ()
        only_first = [a for a in axes if a in first and a not in second]
        only_second = [a for a in axes if a in second and a not in first]
        if len(self.factors) > 1 and not only_first and only_second:
            self.factors.reverse()
            only_first, only_second = only_second, []
        row = only_first[-1] if only_first else (axes[-1] if axes else None)
        column = only_second[-1] if only_second else None
        loops = [a for a in axes if a not in (row, column)]
        self.write(f"# {self._comment()}")
        blocks = [self.write.block(f"for {a.name} in range({a.size})") for a in loops]
        for block in blocks:
            block.__enter__()
        at = {a: a.name for a in loops}

        def rows(variable: str, count: int) -> None:
            inner = {**at, **({row: variable} if row else {})}

            def columns(other: str, width: int) -> None:
                self._tile(row, count, column, width, {**inner, **({column: other} if column else {})})

            rows_loop(self.write, column, self.tiling.columns, columns)

        rows_loop(self.write, row, self.tiling.rows, rows)
        for block in reversed(blocks):
            block.__exit__(None, None, None)

    def _comment(self) -> str:
        def name(t):
            return self.s.k.names(t)

        out = ",".join(a.name for a in self.tensor.axes)
        parts = [f"{name(t)}[{','.join(a.name for a in ls)}]" for t, ls in self.factors]
        return f"sums[{out}] += sum over samples of {' '.join(parts)}"

    def _tile(self, row, rows: int, column, columns: int, at: dict[Axis, str]) -> None:
        write, lanes = self.write, self.lanes
        labels = {a for _, ls in self.factors for a in ls}
        sums = sorted(labels - set(self.tensor.axes), key=lambda a: a.name)
        write(f"acc = zeros(theta, {rows * columns}, {lanes})")
        loop = [f"for {a.name}_ in range({a.size})" for a in sums]
        if self.s.k.tiles > 1:
            loop.append(f"for tile in range({self.s.k.tiles})")
        loop.append(f"for n in range(0, {self.tiling.samples}, {lanes})")
        blocks = [write.block(header) for header in loop]
        for block in blocks:
            block.__enter__()
        at = {**at, **{a: f"{a.name}_" for a in sums}}
        values = [self._load(t, ls, at, row, rows, column, columns) for t, ls in self.factors]
        if column is not None:
            write(f"acc = outer(acc, {values[0]}, {values[1]})")
        elif len(values) == 2:
            write(f"acc = fma({values[0]}, {values[1]}, acc)")
        else:
            write(f"acc = acc + {values[0]}")
        for block in reversed(blocks):
            block.__exit__(None, None, None)
        target = self.s.k.sums[self.tensor]
        strides = dict(zip(self.tensor.axes, target.strides, strict=True))
        index = target.index(self.tensor.axes, at)
        write(
            f"add_lane_sums(sums, {index}, {strides.get(row, 0)}, {strides.get(column, 0)}, acc, "
            f"{columns})"
        )

    def _load(self, tensor, labels, at, row, rows, column, columns) -> str:
        slot = self.slots[tensor]
        axis, count = (row, rows) if row in labels else (column, columns)
        stride = slot.stride(labels, axis)
        count = count if axis in labels else 1
        return f"load({slot.array}, {slot.index(labels, at)} + n, {stride}, {count}, {self.lanes})"
