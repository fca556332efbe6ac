"""Loop nests: one fused group of tensors as loops over register tiles.

The same code emits what runs for every tile of samples (``lanes`` numbers side by side) and what
runs once for the sample-invariant values (``lanes`` = 1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..lower.schedule import FACTORISATIONS, Group, array_function
from ..tensors import (
    Add,
    Axis,
    Constant,
    Delta,
    Elementwise,
    Input,
    Inverse,
    LogDet,
    Product,
    Tensor,
    placeholder,
)
from .comments import comments, number
from .scalars import written_text
from .writer import Writer

__all__ = [
    "GroupEmitter",
    "Names",
    "Slot",
    "deferred_terms",
    "flat_terms",
    "inner_name",
    "loop_headers",
    "number",
    "plus",
    "read_name",
    "row_major",
    "size_of",
    "rows_loop",
]


@dataclass(frozen=True)
class Slot:
    """Where a tensor lives: entry (i, j, ...) starts at ``base + i*strides[0] + ...``.

    ``ahead`` is where the base will be a little later, of values that do not stay in the cache.
    """

    array: str
    base: str
    strides: tuple[int, ...]
    lanes: int
    ahead: str = ""

    def index(self, labels: tuple[Axis, ...], at: dict[Axis, str]) -> str:
        """Text of the offset of an entry, with index variables ``at``."""
        terms = [self.base] if self.base not in ("", "0") else []
        for axis, stride in zip(labels, self.strides, strict=True):
            if axis.size > 1 and at[axis] != "0":
                terms.append(at[axis] if stride == 1 else f"{at[axis]}*{stride}")
        return " + ".join(terms) or "0"

    def stride(self, labels: tuple[Axis, ...], axis: Axis | None) -> str:
        """Text of the distance between neighbours along an axis, which may be there twice."""
        return str(sum(s for a, s in zip(labels, self.strides, strict=True) if a == axis))


def row_major(axes: tuple[Axis, ...], lanes: int) -> tuple[int, ...]:
    """Strides of a dense array over the axes with ``lanes`` numbers an entry."""
    strides, step = [], lanes
    for axis in reversed(axes):
        strides.append(step)
        step *= axis.size
    return tuple(reversed(strides))


def size_of(axes) -> int:
    """Number of entries of an array over axes."""
    result = 1
    for axis in axes:
        result *= axis.size
    return result


def read_name(name: str, labels) -> str:
    """Variable for an entry that is read under these labels."""
    return f"{name.replace('eta.', 'eta_')}_{''.join(a.name for a in labels)}"


def plus(base: str, offset: int) -> str:
    """``base + offset`` without a zero."""
    return base if offset == 0 else f"{base} + {offset}"


def loop_headers(axes, times: str = "") -> list[str]:
    """Headers of plain loops over axes; ``times`` stands after their length."""
    return [f"for {axis.name} in range({axis.size}{times})" for axis in axes]


def rows_loop(write: Writer, axis: Axis | None, rows: int, body, times: str = "") -> None:
    """Loop over tiles of rows of an axis: ``body(variable, rows)``, remainder separately."""
    if axis is None:
        body("0", 1)
        return
    full = axis.size // rows * rows
    if axis.size <= rows:
        body("0", axis.size)
        return
    with write.block(f"for {axis.name} in range(0, {full}{times}, {rows})"):
        body(axis.name, rows)
    if axis.size > full:
        write(f"{axis.name} = {full}")
        body(axis.name, axis.size - full)


def inner_name(axis: Axis, taken) -> str:
    """A loop variable for a summed axis that no outer loop uses."""
    name = axis.name
    while name in taken:
        name += "_"
    return name


def deferred_terms(group: Group, uses: dict, slots: dict) -> set[Tensor]:
    """Contractions that only a sum of this group reads: they accumulate right into it."""
    own, found = set(group.tensors), set()
    for tensor in group.tensors:
        for term in tensor.operands if isinstance(tensor, Add) else ():
            once = uses[term] == 1 and term in own and term not in slots
            scaled = isinstance(term, Product) and term.coefficient != 1
            if once and isinstance(term, (Add, Product)) and not scaled:
                found.add(term)
    return found


def flat_terms(tensor: Tensor, deferred: set[Tensor]) -> list[Tensor]:
    """Terms of a sum, and of the sums that accumulate into it."""
    found = []
    for term in tensor.operands:
        nested = isinstance(term, Add) and term in deferred
        found += flat_terms(term, deferred) if nested else [term]
    return found


class Names:
    """Names of tensors in a kernel: v0, v1, ... in the order in which they are met."""

    def __init__(self):
        self._found: dict[Tensor, str] = {}

    def __call__(self, tensor: Tensor) -> str:
        if isinstance(tensor, Input):
            return tensor.name
        return self._found.setdefault(tensor, f"v{len(self._found)}")


class GroupEmitter:
    """Emits groups into a writer.

    Parameters
    ----------
    write : Writer
        Where lines go.
    slots : dict of Tensor to Slot
        Tensors that live in memory: read from there, and stored there when computed.
    uses : dict of Tensor to int
        Number of uses of each tensor in its sweep.
    like : str
        Name of an array of the program's dtype.
    tiling : Tiling
        Shapes of register tiles.
    lanes : int
        Numbers side by side: the tiling's samples, or 1 for what samples share.
    names : Names
        Names of the tensors, shared by all parts of a kernel.
    """

    def __init__(self, write, slots, uses, like, tiling, lanes, names):
        self.write, self.slots, self.uses, self.like = write, slots, uses, like
        self.tiling, self.lanes, self.names = tiling, lanes, names

    def emit(self, groups: list[Group]) -> None:
        """Emit all groups in order."""
        for group in groups:
            if isinstance(group.tensors[0], FACTORISATIONS):
                self._emit_factorisation(group)
            elif type(self.slots.get(group.tensors[0])) is Slot and array_function(
                group.tensors[0]
            ):
                self._emit_array_function(group)
            else:
                self._emit_group(group)

    def _emit_group(self, group: Group) -> None:
        row = group.row
        for line in comments(group, self.uses, self.slots, self.names):
            self.write(f"# {line}")
        loops = [axis for axis in group.axes if axis != row]
        at = {axis: axis.name for axis in loops}

        def body(variable: str, rows: int) -> None:
            _Body(self, group, row, rows, {**at, **({row: variable} if row else {})}).emit()

        with self.write.nest(loop_headers(loops)):
            rows_loop(self.write, row, self.tiling.rows(row.size) if row else 1, body)

    def _emit_array_function(self, group: Group) -> None:
        """One call for all entries; the function may overwrite its argument."""
        (tensor,) = group.tensors
        entries = size_of(tensor.axes)
        target, source = self.slots[tensor], self.slots[tensor.operands[0]]
        places = ", ".join(f"{s.array}, {s.base or '0'}" for s in (target, source))
        count, at_once = entries * self.lanes, self.tiling.at_once(entries)
        for line in comments(group, self.uses, self.slots, self.names):
            self.write(f"# {line}")
        self.write(f"{array_function(tensor)}_array({places}, {count}, {at_once})")

    def _emit_factorisation(self, group: Group) -> None:
        matrix = group.tensors[0].operands[0]
        found = {type(tensor): tensor for tensor in group.tensors}
        source = self.slots[matrix]
        inverse = self.slots.get(found.get(Inverse), Slot("scratch", "0", (), self.lanes))
        at = inverse.base or "0"
        size = matrix.axes[0].size
        volume = self.slots.get(found.get(LogDet))
        target = volume or Slot("scratch", str(size * size * self.lanes), (), self.lanes)
        name = self.names(matrix)
        for kind, tensor in found.items():
            self.write(
                f"# {self.names(tensor)} = {'log|det' if kind is LogDet else 'inverse('}"
                f"{name}{'|' if kind is LogDet else ')'}"
            )
        self.write(
            f"invert_{self.lanes}({source.array}, {source.base or '0'}, {inverse.array}, {at}, "
            f"{target.array}, {target.base or '0'}, {size})"
        )


class _Body:
    """The innermost statements of a group for one tile of rows."""

    def __init__(self, emitter: GroupEmitter, group: Group, row, rows: int, at: dict[Axis, str]):
        self.e, self.group, self.row, self.rows, self.at = emitter, group, row, rows, at
        self.write = emitter.write
        self.registers: dict[tuple[Tensor, tuple[Axis, ...]], str] = {}
        self.deferred = deferred_terms(group, emitter.uses, emitter.slots)

    def emit(self) -> None:
        for tensor in self.group.tensors:
            if tensor in self.deferred or tensor.axes != self.group.axes:
                continue
            self._keep(tensor, self._text(tensor))

    def _text(self, tensor: Tensor) -> str:
        match tensor:
            case Add():
                return self._add(tensor)
            case Product():
                return self._product(tensor)
            case Elementwise():
                return self._elementwise(tensor)
        raise TypeError(f"no loops for {tensor.word}")

    def _keep(self, tensor: Tensor, text: str) -> None:
        name = self.e.names(tensor)
        if text != name:
            self.write(f"{name} = {text}")
        self.registers[tensor, tensor.axes] = name
        slot = self.e.slots.get(tensor)
        if slot is not None:
            index, stride = slot.index(tensor.axes, self.at), slot.stride(tensor.axes, self.row)
            self.write(f"store({slot.array}, {index}, {stride}, {name})")
            self._prefetch(slot, tensor.axes, self.at)

    def _prefetch(self, slot: Slot, labels, at: dict[Axis, str]) -> None:
        """Ask for the rows of a later tile: spread over the arithmetic, the memory keeps up."""
        if slot.ahead and self.rows > 1 and labels and labels[-1] == self.row:
            index = replace(slot, base=slot.ahead).index(labels, at)
            self.write(f"prefetch({slot.array}, {index}, {self.rows * slot.lanes})")

    def _value(self, tensor: Tensor, labels, extra: dict[Axis, str] | None = None) -> str:
        """Text that reads a tensor's entries under the given labels."""
        if isinstance(tensor, Constant):
            return number(tensor.value)
        if (tensor, labels) in self.registers:
            return self.registers[tensor, labels]
        at = {**self.at, **(extra or {})}
        if isinstance(tensor, Delta):
            return self._unit(labels, at)
        if tensor not in self.e.slots:
            return self._arithmetic(tensor, labels, at)
        slot = self.e.slots[tensor]
        rows = self.rows if self.row in labels else 1
        index, stride = slot.index(labels, at), slot.stride(labels, self.row)
        self._prefetch(slot, labels, at)
        return f"load({slot.array}, {index}, {stride}, {rows}, {slot.lanes})"

    def _arithmetic(self, tensor: Elementwise, labels, at: dict[Axis, str]) -> str:
        """Arithmetic on entries read from memory, where a contraction reads each of them once."""
        renamed = dict(zip(tensor.axes, labels, strict=True))
        names = {}
        for k, operand in enumerate(tensor.operands):
            own = tuple(renamed[a] for a in operand.axes)
            name = names[placeholder(k)] = read_name(self.e.names(operand), own)
            self.write(f"{name} = {self._value(operand, own, at)}")
        return written_text(self.write, tensor.expression, names, f"{self.e.names(tensor)}_t")

    def _unit(self, labels, at) -> str:
        first, second = labels
        if self.row == first:
            return f"unit({self.e.like}, {at[second]} - {at[first]}, {self.rows})"
        if self.row == second:
            return f"unit({self.e.like}, {at[first]} - {at[second]}, {self.rows})"
        return f"unit({self.e.like}, {at[first]} - {at[second]}, 1)"

    def _lanes(self, tensor: Tensor) -> int:
        return self.e.lanes if tensor.per_sample else 1

    def _zeros(self, tensor: Tensor) -> str:
        return f"zeros({self.e.like}, {self.rows}, {self._lanes(tensor)})"

    def _product(self, tensor: Product, start: str | None = None) -> str:
        """Text (or register) of start + product."""
        coefficient, factors, sums = tensor.coefficient, tensor.factors, tensor.summed
        scaled = "" if coefficient == 1 else number(coefficient) + "*"
        if not sums:
            text = scaled + "*".join(self._value(t, ls) for t, ls in factors)
            covered = self.row is None or any(self.row in ls for _, ls in factors)
            if not covered:
                text = f"{self._zeros(tensor)} + {text}"
            return f"{start} + {text}" if start else text
        name = self.e.names(tensor)
        self.write(f"{name} = {start if start and not scaled else self._zeros(tensor)}")
        self._accumulate(name, factors, sums)
        if scaled:
            return f"{start} + {scaled}{name}" if start else f"{scaled}{name}"
        return name

    def _accumulate(self, name: str, factors, sums) -> None:
        """Add the products over all summed axes to a register tile."""
        extra = {
            axis: inner_name(axis, self.at.values()) if axis.size > 1 else "0" for axis in sums
        }
        long = [axis for axis in sums if axis.size > 1]
        names = self._chains(name, long[-1].size if long else 1)
        headers = [f"for {extra[a]} in range({a.size})" for a in long]
        if len(names) > 1:
            headers[-1] = f"for {extra[long[-1]]} in range(0, {long[-1].size}, {len(names)})"
        with self.write.nest(headers):
            for k, chain in enumerate(names):
                at = {**extra, **({long[-1]: f"({extra[long[-1]]} + {k})"} if k else {})}
                values = [self._value(t, ls, at) for t, ls in factors]
                if len(values) == 2:
                    self.write(f"{chain} = fma({values[0]}, {values[1]}, {chain})")
                else:
                    self.write(f"{chain} = {chain} + {values[0]}")
        if len(names) > 1:
            self.write(f"{name} = {' + '.join(names)}")

    def _chains(self, name: str, terms: int) -> list[str]:
        """Names of the tiles that hold partial sums: several, where few rows have few in flight."""
        count = self.e.tiling.chains(self.rows) if self.e.lanes > 1 else 1
        while terms % count:
            count -= 1
        names = [name, *(f"{name}_{k}" for k in range(1, count))]
        for chain in names[1:]:
            self.write(f"{chain} = zeros({self.e.like}, {self.rows}, {self.e.lanes})")
        return names

    def _add(self, tensor: Add) -> str:
        terms = flat_terms(tensor, self.deferred)
        direct = [t for t in terms if t not in self.deferred]
        chained = [t for t in terms if t in self.deferred]
        text = " + ".join(self._value(t, t.axes) for t in direct)
        if all(isinstance(t, Constant) for t in direct):  # also when there are none
            text = " + ".join([self._zeros(tensor), *([text] if text else [])])
        elif chained and tensor.per_sample and not any(t.per_sample for t in direct):
            text = f"spread({text}, {self.e.lanes})"
        for term in chained:
            text = self._product(term, text)
        return text

    def _elementwise(self, tensor: Elementwise) -> str:
        names = {}
        for k, operand in enumerate(tensor.operands):
            text = self._value(operand, operand.axes)
            if not text.isidentifier() and not isinstance(operand, Constant):
                name = self.e.names(operand).replace("eta.", "eta_")
                self.write(f"{name} = {text}")
                self.registers[operand, operand.axes] = text = name
            names[placeholder(k)] = text
        text = written_text(self.write, tensor.expression, names, f"{self.e.names(tensor)}_t")
        covered = self.row is None or any(self.row in t.axes for t in tensor.operands)
        return text if covered else f"{self._zeros(tensor)} + {text}"
