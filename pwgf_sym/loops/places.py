"""Where tensors live in memory, and loops over the rows of register tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..tensors import Axis
from .block import Block, Header
from .nodes import Binary, Expression, Integer, Let, Name, sum_of

__all__ = [
    *("At", "RowSlot", "Slot", "headers", "inner_name", "number_of", "plus", "row_major"),
    *("rows_loop", "size_of", "taken", "times"),
]

At = dict[Axis, Expression]


@dataclass(frozen=True)
class Slot:
    """Where a tensor lives: entry (i, j, ...) starts at ``base + i*strides[0] + ...``.

    ``ahead`` is where the base will be a little later, of values that do not stay in the cache.
    """

    array: str
    base: Expression
    strides: tuple[int, ...]
    lanes: int
    ahead: Expression | None = None

    def index(self, labels: tuple[Axis, ...], at: At) -> Expression:
        """The offset of an entry, with index variables ``at``."""
        terms = [self.base] if self.base != Integer(0) else []
        for axis, stride in zip(labels, self.strides, strict=True):
            if axis.size > 1 and at[axis] != Integer(0):
                terms.append(times(at[axis], stride))
        return sum_of(terms) if terms else Integer(0)

    def stride(self, labels: tuple[Axis, ...], axis: Axis | None) -> Expression:
        """The distance between neighbours along an axis, which may be there twice."""
        return Integer(sum(s for a, s in zip(labels, self.strides, strict=True) if a == axis))


def row_major(axes: tuple[Axis, ...], lanes: int) -> tuple[int, ...]:
    """Strides of a dense array over the axes with ``lanes`` numbers an entry."""
    strides, step = [], lanes
    for axis in reversed(axes):
        strides.append(step)
        step *= axis.size
    return tuple(reversed(strides))


def size_of(axes: Iterable[Axis]) -> int:
    """Number of entries of an array over axes."""
    result = 1
    for axis in axes:
        result *= axis.size
    return result


def number_of(value: Expression | int | str) -> Expression:
    """A whole number or the name of a variable as an expression."""
    if isinstance(value, str):
        return Name(value)
    return Integer(value) if isinstance(value, int) else value


def plus(base: Expression | str, offset: Expression | int) -> Expression:
    """``base + offset`` without a zero."""
    base, offset = number_of(base), number_of(offset)
    if offset == Integer(0):
        return base
    return offset if base == Integer(0) else Binary("+", base, offset)


def times(value: Expression | str, factor: Expression | int) -> Expression:
    """``value*factor`` without a one."""
    value, factor = number_of(value), number_of(factor)
    return value if factor == Integer(1) else Binary("*", value, factor)


def headers(axes: Iterable[Axis]) -> list[Header]:
    """Plain loops over axes."""
    return [Header(axis.name, axis.size) for axis in axes]


def rows_loop(
    write: Block,
    axis: Axis | None,
    rows: int,
    body: Callable[[Expression, int], None],
    kind: str = "serial",
) -> None:
    """Loop over tiles of rows of an axis: ``body(variable, rows)``, remainder separately."""
    if axis is None:
        body(Integer(0), 1)
        return
    full = axis.size // rows * rows
    if axis.size <= rows:
        body(Integer(0), axis.size)
        return
    with write.loop(axis.name, full, 0, rows, kind):
        body(Name(axis.name), rows)
    if axis.size > full:
        write(Let(axis.name, Integer(full)))
        body(Name(axis.name), axis.size - full)


def taken(at: At) -> set[str]:
    """Names of index variables."""
    return {index.name for index in at.values() if isinstance(index, Name)}


def inner_name(axis: Axis, taken: Iterable[str]) -> str:
    """A loop variable for a summed axis that no outer loop uses."""
    name, taken = axis.name, set(taken)
    while name in taken:
        name += "_"
    return name


@dataclass(frozen=True)
class RowSlot(Slot):
    """A slot whose parameter axes are strided by the run-time width of the Jacobian."""

    def index(self, labels: tuple[Axis, ...], at: At) -> Expression:
        basis, *inner = labels
        terms = [self.base]
        if basis.size > 1:
            terms.append(Binary("*", at[basis], Integer(self.strides[0])))
        for axis, stride in zip(inner, self.strides[1:], strict=True):
            if axis.size > 1 and at[axis] != Integer(0):
                terms.append(Binary("*", times(at[axis], stride), Name("width")))
        return sum_of(terms)

    def stride(self, labels: tuple[Axis, ...], axis: Axis | None) -> Expression:
        position = labels.index(axis) if axis in labels else None
        if position is None:
            return Integer(0)
        stride = Integer(self.strides[position])
        if not position:
            return stride
        return Name("width") if stride == Integer(1) else Binary("*", stride, Name("width"))
