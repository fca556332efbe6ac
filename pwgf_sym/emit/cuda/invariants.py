"""What samples share, computed by the threads of one block: an entry a thread at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...lower.schedule import FACTORISATIONS, Group
from ...tensors import Add, Elementwise, Product, Tensor, placeholder
from ..comments import comments
from ..groups import inner_name, row_major, size_of
from ..scalars import written_text
from ..writer import Writer
from .groups import Entries, emit_factorisation
from .places import packed, without_single_uses
from .texts import ROLLED, element

__all__ = ["InvariantEmitter", "Loop"]


_ENTRY = re.compile(r"\[at\((?:([a-zA-Z]\w*) \+ )?(?:(\d+) \+ )?entry\)\]")


@dataclass
class Loop:
    """A loop over entries: how many, the statements for one, and comments."""

    size: int
    lines: list[str]
    about: list[str]

    def goes_on(self, other: Loop) -> bool:
        """Whether another loop does the same with the entries after these, in all its arrays."""
        form = self._form()
        if self.size == 1 or form is None or form != other._form():
            return False
        return all(b == a + self.size for a, b in zip(self._begins(), other._begins(), strict=True))

    def _form(self) -> list[str] | None:
        """Statements without the places where entries begin; None where more depends on these."""
        form = [_ENTRY.sub(r"[\1]", line) for line in self.lines]
        return None if any("entry" in line for line in form) else form

    def _begins(self) -> list[int]:
        return [int(m[2] or 0) for line in self.lines for m in _ENTRY.finditer(line)]


class InvariantEmitter(Entries):
    """Emits groups of tensors that no sample changes."""

    def __init__(self, write, slots, uses, tiling, names, printer):
        self.write, self.slots, self.uses, self.tiling = write, slots, uses, tiling
        self.names, self.printer = names, printer
        self.pending: Loop | None = None
        super().__init__(self)

    def emit(self, groups: list[Group]) -> None:
        """Emit all groups in order; a group reads what the threads wrote before it."""
        written: set[Tensor] = set()  # since all threads met
        for group in groups:
            if any(operand in written for t in group.tensors for operand in t.operands):
                self._flush()
                self.write("cuda.syncthreads()")
                written.clear()
            written.update(group.tensors)
            if isinstance(group.tensors[0], FACTORISATIONS):
                self._flush()
                with self.write.block("if lane == 0"):
                    emit_factorisation(self, group, 1)
            else:
                self._add_loop(self._loop(group))
        self._flush()

    def _loop(self, group: Group) -> Loop:
        lines = self._entry_lines(group)
        indices = packed(self._indices(group, lines))
        about = [f"# {line}" for line in comments(group, self.uses, self.slots, self.names)]
        return Loop(size_of(group.axes), [*indices, *lines], about)

    def _add_loop(self, loop: Loop) -> None:
        """Write a loop, if it does not go on where the one before ends."""
        if self.pending is None or not self.pending.goes_on(loop):
            self._flush()
            self.pending = loop
        else:
            self.pending.size += loop.size
            self.pending.about += loop.about

    def _flush(self) -> None:
        loop, self.pending = self.pending, None
        if loop is None:
            return
        self.write.append(loop.about)
        header = f"for entry in range(lane, {loop.size}, cuda.blockDim.x)"
        with self.write.block(header if loop.size > 1 else "if lane == 0"):
            self.write.append(loop.lines)

    def _entry_lines(self, group: Group) -> list[str]:
        """Statements for one entry of a group."""
        self.group, self.known, outer = group, set(), self.write
        self.write = Writer()
        long = [axis for axis in group.axes if axis.size > 1]
        at = {a: "entry" if [a] == long else a.name if a.size > 1 else "0" for a in group.axes}
        for tensor in group.tensors:
            text, own = self._value(tensor, at), self.names(tensor)
            inside = any(tensor in t.operands for t in group.tensors)
            if inside or tensor not in self.slots:
                if text != own:
                    self.write(f"{own} = {text}")
                text = own
                self.known.add(tensor)
            if tensor in self.slots:
                self.write(f"{self.memory(tensor, tensor.axes, at)} = {text}")
        names = [self.names(tensor) for tensor in group.tensors]
        lines, self.write = without_single_uses(self.write.lines, names), outer
        return lines

    @staticmethod
    def _indices(group: Group, lines: list[str]) -> list[tuple[str, str]]:
        """Indices of the entry along the axes, as far as they are used."""
        found, size = [], size_of(group.axes)
        long = [axis for axis in group.axes if axis.size > 1]
        for axis in long if len(long) > 1 else ():
            size //= axis.size
            text = f"entry//{size}" if size > 1 else "entry"
            text += f" % {axis.size}" if axis is not long[0] else ""
            if any(re.search(rf"\b{axis.name}\b", line) for line in lines):
                found.append((axis.name, text))
        return found

    def _read(self, tensor: Tensor, labels, at) -> str:
        """An entry: of this group, or in memory."""
        if tensor in self.known and labels == tensor.axes:
            return self.names(tensor)
        return self.memory(tensor, labels, at)

    def memory(self, tensor: Tensor, labels, at) -> str:
        """An entry in memory; in an array over the group's axes they stand in order."""
        slot = self.slots.get(tensor)
        dense = slot is not None and slot.strides == row_major(labels, 1)
        if dense and labels == self.group.axes and size_of(labels) > 1:
            return element(slot.array, f"{slot.base} + entry" if slot.base else "entry")
        return super().memory(tensor, labels, at)

    def _value(self, tensor: Tensor, at) -> str:
        match tensor:
            case Add(terms):
                return " + ".join(self._read(t, t.axes, at) for t in terms)
            case Elementwise(expression, operands):
                texts = [self._read(t, t.axes, at) for t in operands]
                names = {placeholder(k): text for k, text in enumerate(texts)}
                prefix = f"{self.names(tensor)}_t"
                return written_text(self.write, expression, names, prefix, self.printer)
            case Product():
                return self._product(tensor, at)
        raise TypeError(f"no entries for {tensor.word}")

    def _product(self, tensor: Product, at) -> str:
        coefficient, sums, own = tensor.coefficient, tensor.summed, self.names(tensor)
        scaled = "" if coefficient == 1 else self.number(coefficient) + "*"
        extra = {a: inner_name(a, at.values()) for a in sums}
        inside = {**at, **extra}
        if not sums:
            return scaled + "*".join(self._read(t, ls, inside) for t, ls in tensor.factors)
        self.write(f"{own} = {self.number(0.0)}")
        with self.write.nest([f"for {extra[a]} in range({a.size}{ROLLED})" for a in sums]):
            factors = "*".join(self._read(t, ls, inside) for t, ls in tensor.factors)
            self.write(f"{own} += {factors}")
        return scaled + own
