"""Loop nests of one thread: a fused group of tensors for the thread's sample.

What several loops over the rows of a register tile use is a small local array, which NVVM keeps in
registers because these loops have constant bounds.  Loops over axes run to ``size*one``, ``one``
being 1 at run time: NVVM would unroll them otherwise, and code, compile time and registers would
grow with the width of the map.  A contraction with weights takes them from shared memory, where the
threads of the block put them first: each is then read by all threads at once.
"""

from __future__ import annotations

import re

import sympy as sp

from ...lower.ir import Axis, Tensor, placeholder
from ...lower.schedule import FACTORISATIONS, Group
from ..comments import comments
from ..groups import GroupEmitter, Slot, loop_headers, read_name, rows_loop
from ..writer import Writer
from .places import packed, without_single_uses
from .schedule import BOUNDARY

__all__ = ["BLOCK_FUNCTIONS", "ROLLED", "Entries", "Registers", "ThreadGroupEmitter", "call_name"]
__all__ += ["element", "emit_factorisation", "summed"]

# Functions that are made for a tile, by the module in compile/cuda.
BLOCK_FUNCTIONS = {
    "blocks": ("contract", "contract_more", "load"),
    "sums": ("outer_sums", "product_sums", "row_sums"),
}
# Stands after the length of a loop that is not to be unrolled.
ROLLED = "*one"


def call_name(kind: str, *tile: int) -> str:
    """Name of a block function for a tile, in a generated module."""
    return f"{kind}_{'_'.join(map(str, tile))}"


def element(array: str, index: str) -> str:
    """An entry of an array; ``at`` makes the index unsigned.

    Numba lets a signed index count from the end, at the cost of a comparison and a register.
    """
    return f"{array}[at({index})]"


class Registers:
    """Local arrays and shared memory that a kernel declares at its top."""

    def __init__(self):
        self.arrays, self.room = {}, 0

    def array(self, name: str, rows: int) -> None:
        self.arrays[name] = max(rows, self.arrays.get(name, 0))

    def share(self, numbers: int) -> None:
        """Have so many numbers of shared memory, for one use after the other."""
        self.room = max(self.room, numbers)

    def declare(self, write) -> None:
        """Write the declarations."""
        if self.room:
            write(f"W = cuda.shared.array({self.room}, DTYPE, {BOUNDARY})")
        arrays = self.arrays.items()
        write.append(packed((name, f"cuda.local.array({rows}, DTYPE)") for name, rows in arrays))


class ThreadGroupEmitter(GroupEmitter):
    """Emits groups for the sample of a thread."""

    def __init__(self, write, slots, uses, tiling, names, printer, registers: Registers):
        super().__init__(write, slots, uses, "theta", tiling, tiling.samples, names)
        self.printer, self.registers = printer, registers

    def emit(self, groups: list[Group]) -> None:
        for group in groups:
            if group.tensors[0].kind in FACTORISATIONS:
                self._emit_factorisation(group)
            else:
                self._emit_group(group)

    def _emit_group(self, group: Group) -> None:
        row = group.row
        for line in comments(group, self.uses, self.slots, self.names):
            self.write(f"# {line}")
        loops = [axis for axis in group.axes if axis != row]
        at = {axis: axis.name for axis in loops}

        def body(variable: str, rows: int) -> None:
            _ThreadBody(self, group, row, rows, variable, at).emit()

        with self.write.nest(loop_headers(loops, ROLLED)):
            rows_loop(self.write, row, self.tiling.rows(row.size) if row else 1, body, ROLLED)

    def _emit_factorisation(self, group: Group) -> None:
        emit_factorisation(self, group, self.tiling.samples)


def emit_factorisation(emitter, group: Group, stride: int) -> None:
    """A call for one matrix a thread (or one of all)."""
    matrix = group.tensors[0].operands[0]
    found = {tensor.kind: tensor for tensor in group.tensors}
    size = matrix.axes[0].size
    source = emitter.slots[matrix]
    inverse, volume = (emitter.slots.get(found.get(kind)) for kind in FACTORISATIONS)
    for kind, tensor in found.items():
        text = "log|det {}|" if kind == "logdet" else "inverse({})"
        emitter.write(f"# {emitter.names(tensor)} = {text.format(emitter.names(matrix))}")
    slots = [source, inverse, "work, SCRATCH", volume or f"work, SCRATCH + {size * stride}"]
    places = [f"{s.array}, {s.base or '0'}" if isinstance(s, Slot) else s for s in slots if s]
    name = "invert" if inverse else "log_determinant"
    emitter.write(f"{name}({', '.join(places)}, {size}, {stride})")


def summed(tensor: Tensor) -> list[Axis]:
    """Axes that a product sums over."""
    return list(dict.fromkeys(a for ls in tensor.data[1] for a in ls if a not in tensor.axes))


class Entries:
    """Texts of entries of tensors; subclasses say what is in registers."""

    def __init__(self, emitter):
        self.e, self.write = emitter, emitter.write

    def number(self, value) -> str:
        return self.e.printer({}).number(float(value))

    def memory(self, tensor: Tensor, labels, at: dict[Axis, str]) -> str:
        if tensor.kind == "constant":
            return self.number(tensor.data[0])
        if tensor.kind == "delta":
            first, second = (at[a] for a in labels)
            equal, one, zero = f"{first} == {second}", self.number(1.0), self.number(0.0)
            return f"({one} if {equal} else {zero})"
        if tensor not in self.e.slots:  # arithmetic that a contraction does while it reads
            return self._arithmetic(tensor, labels, at)
        slot = self.e.slots[tensor]
        return element(slot.array, slot.index(labels, at))

    def _arithmetic(self, tensor: Tensor, labels, at) -> str:
        renamed = dict(zip(tensor.axes, labels, strict=True))
        names = {}
        for k, operand in enumerate(tensor.operands):
            own = tuple(renamed[a] for a in operand.axes)
            name = names[placeholder(k)] = read_name(self.e.names(operand), own)
            self.write(f"{name} = {self.memory(operand, own, at)}")
        return f"({self.e.printer(names).doprint(tensor.data[0])})"

    def inner(self, axis: Axis, taken) -> str:
        """A loop variable for a summed axis that no outer loop uses."""
        name = axis.name
        while name in taken:
            name += "_"
        return name


class _ThreadBody(Entries):
    """A group for one tile of rows of one sample."""

    def __init__(self, emitter, group: Group, row, rows: int, variable: str, at):
        super().__init__(emitter)
        self.group, self.row, self.rows, self.variable = group, row, rows, variable
        self.at = {**at, **({row: self._row("row")} if row else {})}
        self.known: set[Tensor] = set()
        self.loaded: dict[Tensor, str] = {}
        self.pending: list[str] = []
        self.loops: list[range] = []
        self.deferred = self._find_deferred()
        self.write = Writer()

    def _row(self, offset: str) -> str:
        return offset if self.variable == "0" else f"({self.variable} + {offset})"

    def emit(self) -> None:
        for tensor in self.group.tensors:
            if tensor in self.deferred or tensor.axes != self.group.axes:
                continue
            if tensor.kind == "product":
                text = self._product(tensor)
            elif tensor.kind == "add":
                text = self._add(tensor)
            else:
                text = self._elementwise(tensor)
            self._finish(tensor, text)
        self._flush()
        if self.row:
            for name in {self.e.names(tensor): None for tensor in self.group.tensors}:
                self._place(name)
        names = [self.e.names(tensor) for tensor in self.group.tensors]
        self.e.write.append(without_single_uses(self.write.lines, names))

    # -- registers -----------------------------------------------------------------------------

    def _register(self, tensor: Tensor) -> str:
        name = self.e.names(tensor)
        return f"{name}[row]" if self.row else name

    def _place(self, name: str) -> None:
        """An array for what several loops over the rows use, a number for what one does."""
        lines, entry = self.write.lines, re.compile(rf"\b{name}\[row\]")
        places = [k for k, line in enumerate(lines) if entry.search(line)]
        loops = [loop for loop in self.loops if any(k in loop for k in places)]
        if len(loops) > 1 or any(re.search(rf"\b{name}\b(?!\[row\])", line) for line in lines):
            self.e.registers.array(name, self.rows)
            return
        for k in places:
            lines[k] = entry.sub(name, lines[k])

    def _later(self, line: str) -> None:
        """A statement for every row; neighbours share the loop over the rows."""
        self.pending.append(line)

    def _flush(self) -> None:
        if not self.pending:
            return
        start = len(self.write.lines)
        with self.write.nest([f"for row in range({self.rows})"] if self.row else []):
            self.write.append(self.pending)
        self.loops.append(range(start, len(self.write.lines)))
        self.pending.clear()
        self.loaded.clear()

    def _set(self, tensor: Tensor, text: str) -> None:
        self._later(f"{self._register(tensor)} = {text}")

    def _finish(self, tensor: Tensor, text: str) -> None:
        own, slot = self._register(tensor), self.e.slots.get(tensor)
        if text != own:
            self._later(f"{own} = {text}")
        if slot is not None:
            self._later(f"{self.memory(tensor, tensor.axes, self.at)} = {own}")
        self.known.add(tensor)

    def _entry(self, tensor: Tensor, labels, extra: dict[Axis, str] | None = None) -> str:
        if tensor in self.known and labels == tensor.axes and not extra:
            return self._register(tensor)
        if tensor in self.known and labels == tensor.axes and set(labels) <= set(self.group.axes):
            return self._register(tensor)
        if tensor in self.loaded and labels == tensor.axes and not extra:
            return self.loaded[tensor]
        return self.memory(tensor, labels, {**self.at, **(extra or {})})

    def _elementwise(self, tensor: Tensor) -> str:
        names = {}
        for k, operand in enumerate(tensor.operands):
            text = self._entry(operand, operand.axes)
            again = tensor.data[0].count(placeholder(k)) > 1 or tensor.data[0].has(sp.Pow)
            if again and operand in self.e.slots and operand not in {*self.known, *self.loaded}:
                own = read_name(self.e.names(operand), operand.axes)
                self._later(f"{own} = {text}")
                self.loaded[operand] = text = own
            names[placeholder(k)] = text
        return self.e.printer(names).doprint(tensor.data[0])

    # -- sums ----------------------------------------------------------------------------------

    def _find_deferred(self) -> set[Tensor]:
        """Contractions that only a sum of this group reads: they accumulate right into it."""
        own, found = set(self.group.tensors), set()
        for tensor in self.group.tensors:
            for term in tensor.operands if tensor.kind == "add" else ():
                once = self.e.uses[term] == 1 and term in own and term not in self.e.slots
                plain = term.kind == "add" or (term.kind == "product" and term.data[0] == 1)
                if once and plain:
                    found.add(term)
        return found

    def _flat_terms(self, tensor: Tensor) -> list[Tensor]:
        found = []
        for term in tensor.operands:
            nested = term.kind == "add" and term in self.deferred
            found += self._flat_terms(term) if nested else [term]
        return found

    def _add(self, tensor: Tensor) -> str:
        terms = self._flat_terms(tensor)
        direct = [self._entry(t, t.axes) for t in terms if t not in self.deferred]
        chained = [t for t in terms if t in self.deferred]
        if not chained:
            return " + ".join(direct)
        first = [t for t in terms if t not in self.deferred]
        if len(first) == 1 and self._is_weight(first[0], first[0].axes) and not self.pending:
            self._load(tensor, first[0])
        elif direct:
            self._set(tensor, " + ".join(direct))
        for number, term in enumerate(chained):
            self._accumulate(term, tensor, fresh=not direct and number == 0)
        return self._register(tensor)

    def _load(self, tensor: Tensor, source: Tensor) -> None:
        """Rows of what samples share, from memory to registers."""
        slot = self.e.slots[source]
        place = slot.index(source.axes, {**self.at, self.row: self.variable})
        stride = slot.stride(source.axes, self.row)
        name = call_name("load", self.rows)
        self.write(f"{name}({self.e.names(tensor)}, {slot.array}, {place}, {stride})")

    def _product(self, tensor: Tensor) -> str:
        coefficient, labels, _ = tensor.data
        factors = list(zip(tensor.operands, labels, strict=True))
        scaled = "" if coefficient == 1 else self.number(coefficient) + "*"
        if not summed(tensor):
            return scaled + "*".join(self._entry(t, ls) for t, ls in factors)
        self._accumulate(tensor, tensor, fresh=True)
        return scaled + self._register(tensor)

    def _accumulate(self, term: Tensor, into: Tensor, fresh: bool) -> None:
        """into += term, a contraction or a plain product; a fresh register has no value yet."""
        factors = list(zip(term.operands, term.data[1], strict=True))
        sums = summed(term)
        weights = next((f for f in factors if self._is_weight(*f)), None)
        others = [f for f in factors if f is not weights]
        fits = self.rows <= self.e.tiling.room
        if weights and len(others) == 1 and sums and fits and self._is_stored(*others[0]):
            self._with_weights(weights, others[0], sums, into, fresh)
            return
        if not sums:
            text = "*".join(self._entry(t, ls) for t, ls in factors)
            self._later(f"{self._register(into)} {'' if fresh else '+'}= {text}")
            return
        if fresh:
            self._set(into, self.number(0.0))
        self._flush()
        extra = {a: self.inner(a, self.at.values()) for a in sums}
        with self.write.nest([f"for {extra[a]} in range({a.size}{ROLLED})" for a in sums]):
            texts = []
            for k, (t, ls) in enumerate(factors):
                text = self._entry(t, ls, extra)
                if self.row and self.row not in ls and len(factors) > 1:
                    self.write(f"factor{k} = {text}")
                    text = f"factor{k}"
                texts.append(text)
            self._later(f"{self._register(into)} += {'*'.join(texts)}")
            self._flush()

    def _is_stored(self, tensor: Tensor, labels) -> bool:
        """Whether a factor is the same for all rows, and stands in memory for every sample."""
        slot = self.e.slots.get(tensor)
        return slot is not None and slot.lanes > 1 and self.row not in labels

    def _is_weight(self, tensor: Tensor, labels) -> bool:
        invariant = not tensor.per_sample and tensor in self.e.slots
        return invariant and self.row is not None and self.row in labels

    def _with_weights(self, weights, other, sums, into: Tensor, fresh: bool) -> None:
        """A call that sums over the longest axis, for every entry of the others."""
        axis = max(sums, key=lambda a: a.size)
        extra = {a: self.inner(a, self.at.values()) for a in sums if a is not axis}
        if fresh and extra:
            self._set(into, self.number(0.0))
        self._flush()
        self.e.registers.share(self.e.tiling.terms(self.rows, axis.size))
        places = []
        for (tensor, labels), along in ((weights, (self.row, axis)), (other, (axis,))):
            slot, at = self.e.slots[tensor], {**self.at, **extra, axis: "0"}
            if self.row in labels:
                at[self.row] = self.variable
            steps = [slot.stride(labels, a) for a in along]
            places += [slot.array, slot.index(labels, at), *steps]
        name = call_name("contract" if fresh and not extra else "contract_more", self.rows)
        with self.write.nest([f"for {extra[a]} in range({a.size}{ROLLED})" for a in extra]):
            self.write(f"{name}({self.e.names(into)}, W, {', '.join(places)}, {axis.size}, one)")
