"""Loop nests of one thread: a fused group of tensors for the thread's sample.

What is stored, or used by several loops over the rows of a register tile, is a small local array,
which NVVM keeps in registers because these loops have constant bounds; it is stored after the loop.
Loops over axes run to ``size*one``, ``one`` being 1 at run time: NVVM would unroll them otherwise,
and code, compile time and registers would grow with the width of the map.  Contractions with
weights are calls before the loops (:mod:`.contractions`).
"""

from __future__ import annotations

import re
from itertools import pairwise

import sympy as sp

from ...lower.schedule import FACTORISATIONS, Group
from ...tensors import (
    Add,
    Axis,
    Constant,
    Delta,
    Elementwise,
    Inverse,
    LogDet,
    Product,
    Tensor,
    placeholder,
)
from ..comments import comments
from ..groups import (
    GroupEmitter,
    Slot,
    deferred_terms,
    flat_terms,
    inner_name,
    loop_headers,
    read_name,
    rows_loop,
)
from ..scalars import written_text
from ..writer import Writer
from .contractions import Contractions
from .places import packed, without_single_uses
from .schedule import BOUNDARY
from .texts import ROLLED, call_name, element

__all__ = ["BLOCK_FUNCTIONS", "Entries", "Registers", "ThreadGroupEmitter", "emit_factorisation"]

# Functions that are made for a tile, by the module in compile/cuda, and what else they are made of.
BLOCK_FUNCTIONS = {
    "blocks": dict.fromkeys(("invert", "log_determinant", "store"), ("DTYPE",)),
    "contractions": dict.fromkeys(
        ("begin", "contract", "contract_near", "end"), ("DTYPE", "THREADS")
    ),
    "sums": dict.fromkeys(("outer_sums", "product_sums", "row_sums"), ("DTYPE", "THREADS")),
}


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
        self.unstored: set[Tensor] = set()

    def emit(self, groups: list[Group]) -> None:
        calls = {
            id(group): Contractions(self, group, {a: a.name for a in group.axes if a != group.row})
            for group in groups
            if not isinstance(group.tensors[0], FACTORISATIONS)
        }
        for first, second in pairwise(c for c in calls.values() if c.results):
            first.add_early(second)
        self.unstored = {t for c in calls.values() for t in c.near if self._is_only_near(t, c)}
        for group in groups:
            if id(group) in calls:
                self._emit_group(group, calls[id(group)])
            else:
                self._emit_factorisation(group)

    def _is_only_near(self, tensor: Tensor, contractions: Contractions) -> bool:
        """Whether all who read a tensor do so while its rows are in shared memory or registers."""
        readers = [*contractions.group.tensors, *contractions.later.early]
        return self.uses[tensor] == sum(t.operands.count(tensor) for t in readers)

    def _emit_group(self, group: Group, contractions: Contractions) -> None:
        row, at = group.row, contractions.at
        for line in comments(group, self.uses, self.slots, self.names):
            self.write(f"# {line}")
        loops = list(at)

        def body(variable: str, rows: int) -> None:
            _ThreadBody(self, group, rows, variable, at, contractions).emit()

        with self.write.nest(loop_headers(loops, ROLLED)):
            if contractions.results:
                contractions.emit(body)
            else:
                rows_loop(self.write, row, self.tiling.rows(row.size) if row else 1, body, ROLLED)

    def _emit_factorisation(self, group: Group) -> None:
        emit_factorisation(self, group, self.tiling.samples)


def emit_factorisation(emitter, group: Group, stride: int) -> None:
    """A call for one matrix a thread (or one of all)."""
    matrix = group.tensors[0].operands[0]
    found = {type(tensor): tensor for tensor in group.tensors}
    size = matrix.axes[0].size
    source = emitter.slots[matrix]
    inverse, volume = (emitter.slots.get(found.get(kind)) for kind in (Inverse, LogDet))
    for kind, tensor in found.items():
        text = "log|det {}|" if kind is LogDet else "inverse({})"
        emitter.write(f"# {emitter.names(tensor)} = {text.format(emitter.names(matrix))}")
    slots = [source, inverse, "work, SCRATCH", volume or f"work, SCRATCH + {size * stride}"]
    places = [f"{s.array}, {s.base or '0'}" if isinstance(s, Slot) else s for s in slots if s]
    kind = "invert" if inverse else "log_determinant"
    name = call_name(kind, *emitter.tiling.panel(size))
    emitter.write(f"{name}({', '.join(places)}, {size}, {stride})")


class Entries:
    """Texts of entries of tensors; subclasses say what is in registers."""

    def __init__(self, emitter):
        self.e, self.write = emitter, emitter.write

    def number(self, value) -> str:
        return self.e.printer({}).number(float(value))

    def memory(self, tensor: Tensor, labels, at: dict[Axis, str]) -> str:
        if isinstance(tensor, Constant):
            return self.number(tensor.value)
        if isinstance(tensor, Delta):
            first, second = (at[a] for a in labels)
            equal, one, zero = f"{first} == {second}", self.number(1.0), self.number(0.0)
            return f"({one} if {equal} else {zero})"
        if tensor not in self.e.slots:  # arithmetic that a contraction does while it reads
            return self._arithmetic(tensor, labels, at)
        slot = self.e.slots[tensor]
        return element(slot.array, slot.index(labels, at))

    def _arithmetic(self, tensor: Elementwise, labels, at) -> str:
        renamed = dict(zip(tensor.axes, labels, strict=True))
        names = {}
        for k, operand in enumerate(tensor.operands):
            own = tuple(renamed[a] for a in operand.axes)
            name = names[placeholder(k)] = read_name(self.e.names(operand), own)
            self._fetch(f"{name} = {self.memory(operand, own, at)}", own)
        prefix = f"{self.e.names(tensor)}_t"

        def write(line: str) -> None:
            self._fetch(line, labels)

        return f"({written_text(write, tensor.expression, names, prefix, self.e.printer)})"

    def _fetch(self, line: str, labels) -> None:
        """A statement that reads an entry with these labels."""
        self.write(line)


class _ThreadBody(Entries):
    """A group for one tile of rows of one sample."""

    def __init__(self, emitter, group: Group, rows: int, variable: str, at, contractions):
        super().__init__(emitter)
        self.group, self.row, self.rows, self.variable = group, group.row, rows, variable
        self.at = {**at, **({self.row: self._row("row")} if self.row else {})}
        self.contractions = contractions
        self.known: set[Tensor] = set()
        self.loaded: dict[Tensor, str] = {}
        self.pending: list[str] = []
        self.stores: list[str] = []
        self.loops: list[range] = []
        self.deferred = deferred_terms(group, emitter.uses, emitter.slots)
        self.write = Writer()

    def _row(self, offset: str) -> str:
        return offset if self.variable == "0" else f"({self.variable} + {offset})"

    def emit(self) -> None:
        for tensor in self.group.tensors:
            if tensor in self.deferred or tensor.axes != self.group.axes:
                continue
            self._finish(tensor, self._text(tensor))
        self._flush()
        self.write.append(self.stores)
        if self.row:
            for name in {self.e.names(tensor): None for tensor in self.group.tensors}:
                self._place(name)
        names = [self.e.names(tensor) for tensor in self.group.tensors]
        self.e.write.append(without_single_uses(self.write.lines, names))

    def _text(self, tensor: Tensor) -> str:
        match tensor:
            case Product():
                return self._product(tensor)
            case Add():
                return self._add(tensor)
            case Elementwise():
                return self._elementwise(tensor)
        raise TypeError(f"no loops for {tensor.word}")

    # -- registers -----------------------------------------------------------------------------

    def _rows_of(self, tensor: Tensor) -> str:
        """Array, first place and distance of the rows of a tensor in memory."""
        slot, at = self.e.slots[tensor], {**self.at, self.row: self.variable}
        place, step = slot.index(tensor.axes, at), slot.stride(tensor.axes, self.row)
        return f"{slot.array}, {place}, {step}"

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

    def _fetch(self, line: str, labels) -> None:
        if self.row in labels:
            self._later(line)
        else:
            self.write(line)

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
        own, slot, name = self._register(tensor), self.e.slots.get(tensor), self.e.names(tensor)
        if text != own:
            self._later(f"{own} = {text}")
        places = []
        if slot is not None and self.row and tensor not in self.e.unstored:
            places.append(self._rows_of(tensor))
        if tensor in self.contractions.near:
            places.append(self.contractions.near_rows(tensor, self.variable))
        store = call_name("store", self.rows)
        self.stores += [f"{store}({place}, {name})" for place in places]
        if slot is not None and not self.row:
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

    def _elementwise(self, tensor: Elementwise) -> str:
        names, formula = {}, tensor.expression
        for k, operand in enumerate(tensor.operands):
            text = self._entry(operand, operand.axes)
            again = formula.count(placeholder(k)) > 1 or formula.has(sp.Pow)
            here = operand in self.known or operand in self.loaded
            if again and operand in self.e.slots and not here:
                own = read_name(self.e.names(operand), operand.axes)
                self._later(f"{own} = {text}")
                self.loaded[operand] = text = own
            names[placeholder(k)] = text
        prefix = f"{self.e.names(tensor)}_t"
        return written_text(self._later, formula, names, prefix, self.e.printer)

    # -- sums ----------------------------------------------------------------------------------

    def _result(self, tensor: Tensor) -> list[str]:
        """What calls have computed of a tensor."""
        found = self.contractions
        return [found.entry(tensor, self.variable)] if tensor in found.results else []

    def _add(self, tensor: Add) -> str:
        terms = flat_terms(tensor, self.deferred)
        direct = [self._entry(t, t.axes) for t in terms if t not in self.deferred]
        direct += self._result(tensor)
        chained = [t for t in terms if t in self.deferred and t not in self.contractions.terms]
        if not chained:
            return " + ".join(direct)
        if direct:
            self._set(tensor, " + ".join(direct))
        for number, term in enumerate(chained):
            self._accumulate(term, tensor, fresh=not direct and number == 0)
        return self._register(tensor)

    def _product(self, tensor: Product) -> str:
        coefficient = tensor.coefficient
        scaled = "" if coefficient == 1 else self.number(coefficient) + "*"
        if tensor in self.contractions.terms:
            return scaled + self._result(tensor)[0]
        if not tensor.summed:
            return scaled + "*".join(self._entry(t, ls) for t, ls in tensor.factors)
        self._accumulate(tensor, tensor, fresh=True)
        return scaled + self._register(tensor)

    def _accumulate(self, term: Product, into: Tensor, fresh: bool) -> None:
        """into += term, a contraction or a plain product; a fresh register has no value yet."""
        factors, sums = term.factors, term.summed
        if not sums:
            text = "*".join(self._entry(t, ls) for t, ls in factors)
            self._later(f"{self._register(into)} {'' if fresh else '+'}= {text}")
            return
        if fresh:
            self._set(into, self.number(0.0))
        self._flush()
        extra = {a: inner_name(a, self.at.values()) for a in sums}
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
