"""Arithmetic of tensors as NumPy writes it: operators, broadcasting from the last axis, slices.

NumPy aligns shapes, and tensors have named axes: operands are renamed to the axes of the one with
the most.  What does not fit is said with the line that wrote it.
"""

from __future__ import annotations

import linecache
import operator
import sys
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp

from ..arguments import brief
from ..errors import MapError
from .add import add
from .elementwise import apply, placeholder
from .leaves import constant
from .product import product, scale
from .tensor import Axes, Axis, Tensor
from .window import Window, window

__all__ = [
    "InFormula",
    "aligned",
    "concatenated",
    "divided",
    "elementwise",
    "item",
    "matrix_product",
    "minus",
]
__all__ += ["plus", "power", "shape_text", "times", "under", "written"]

# Frames that no user wrote.
_FOREIGN = tuple(str(Path(m.__file__ or "").parent) for m in (sp, np))
_FOREIGN += (str(Path(__file__).parent.parent),)
# Functions of NumPy that its numbers call where they stand beside a tensor.
_OPERATORS: dict[Any, Any] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.divide: operator.truediv,
    np.power: operator.pow,
    np.negative: operator.neg,
    np.matmul: operator.matmul,
    np.absolute: abs,
}


def written() -> str:
    """Where the line stands that a user wrote, for messages."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_FOREIGN):
        frame = frame.f_back
    file, number = frame.f_code.co_filename, frame.f_lineno
    line = linecache.getline(file, number).strip()
    return f" in {brief(line)} ({Path(file).name}, line {number})" if line else ""


def refused(given: str, fix: str) -> MapError:
    """The error for what tensors do not offer."""
    return MapError("step", f"{given}{written()}", "operators, brackets and op's functions", fix)


class InFormula(MapError, sp.SympifyError):
    """A tensor in a formula of SymPy; SymPy's numbers leave operators to tensors."""

    def __init__(self) -> None:
        given = f"a tensor in a formula of SymPy{written()}"
        accepted, fix = "operators, brackets and op's functions", "Write op.apply(sp.tanh, x)."
        MapError.__init__(self, "step", given, accepted, fix)
        self.args = (self.expr,)  # the message, where SympifyError keeps it

    def __str__(self) -> str:
        return str(self.args[0])


class NoAttribute(MapError, AttributeError):
    """What NumPy's arrays have and tensors have not."""


# Where NumPy's functions and attributes are, which have other names here.
_ELSEWHERE = {
    **dict.fromkeys(("concatenate", "stack", "hstack", "append"), "Write op.concatenate([x, y])."),
    **dict.fromkeys(("dot", "matmul", "vdot", "inner"), "Write A @ x."),
    **dict.fromkeys(("sum", "mean"), "Write op.sum(x) for the sum of all entries."),
    **dict.fromkeys(("einsum", "outer", "trace"), 'Write op.einsum("ij,j->i", A, x).'),
    **dict.fromkeys(("ndim", "size"), "Write len(x.shape), or x.shape."),
    **dict.fromkeys(("transpose", "swapaxes"), "Write A.T."),
}


def numpy_attribute(name: str) -> NoAttribute:
    """The error for an attribute that tensors do not have."""
    fix = _ELSEWHERE.get(name, f"Write op.apply(sp.{name}, x)." if hasattr(sp, name) else "")
    given = f"{brief(name)} of a tensor{written()}"
    return NoAttribute("step", given, "shape, T, operators, brackets and op's functions", fix)


def numpy_call(function: Any) -> MapError:
    """The error for a function of NumPy's that is none of entries."""
    name = function.__name__
    return refused(f"np.{name} of a tensor", _ELSEWHERE.get(name, "Write it with op's functions."))


def numpy_function(function: Any, method: str, values: Sequence[Any], how: Any) -> Tensor:
    """A function of NumPy's: those that are operators, of tensors and numbers."""
    if method != "__call__" or how:
        options = "".join(f", {name}=..." for name in how)
        text = f"np.{function.__name__}" + ("" if method == "__call__" else f".{method}")
        raise refused(f"{text}(x{options}) of a tensor", "Write it with op's functions.")
    for value in values:
        if isinstance(value, np.ndarray) and value.ndim:
            fix = "Write op.constant(array) of an array."
            raise refused(f"an array of shape {value.shape} beside a tensor", fix)
    if function not in _OPERATORS:
        fix = f"Write op.apply(sp.{function.__name__}, x) of a function that SymPy has."
        raise refused(f"np.{function.__name__} of a tensor", fix)
    plain = [v.item() if isinstance(v, (np.generic, np.ndarray)) else v for v in values]
    found: Tensor = _OPERATORS[function](*plain)
    return found


def shape_text(tensor: Tensor) -> str:
    """The shape as NumPy writes it."""
    return str(tuple(axis.size for axis in tensor.axes))


def _number(value: object) -> sp.Expr | None:
    """A finite real number of Python's, NumPy's or SymPy's; None of anything else."""
    value = value[()] if isinstance(value, np.ndarray) and not value.ndim else value
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, Fraction, np.number, sp.Expr)
    ):
        return None
    value = value.item() if isinstance(value, np.number) else value
    if isinstance(value, complex):
        return None
    found = value if isinstance(value, sp.Expr) else constant(value).value
    plain = found.is_number and found.is_extended_real and found.is_finite
    return found if plain and abs(found) <= sys.float_info.max else None


def _operand(sign: str, value: object) -> sp.Expr:
    """A number beside a tensor, or an error that says what is accepted."""
    found = _number(value)
    if found is None:
        given = f"{brief(value)} beside {sign!r}{written()}"
        fix = "Write op.constant(array) of an array, and op.apply(f, x) of a function."
        raise MapError("step", given, "a tensor or a finite number", fix)
    return found


# -- axes -----------------------------------------------------------------------------------------


def apart(axis: Axis, taken: Iterable[Axis]) -> Axis:
    """The axis, or one of its length whose name nothing else has."""
    names = {a.name for a in taken}
    while axis.name in names:
        axis = axis.fresh
    return axis


def aligned(sign: str, *tensors: Tensor, inner: int = 0) -> tuple[list[Axes], Axes]:
    """Labels of every tensor, last axis to last axis, and the axes of the result.

    An axis of length 1 is repeated where another one is longer.  The last axes, as many as
    ``inner``, are left out.

    Raises
    ------
    MapError
        Naming the shapes and the line.
    """
    outer = [tensor.axes[: max(len(tensor.axes) - inner, 0)] for tensor in tensors]
    rank = max(map(len, outer))
    whole: list[Axis] = []
    for place in range(rank, 0, -1):
        given = [axes[-place] for axes in outer if len(axes) >= place]
        if len({axis.size for axis in given} - {1}) > 1:
            shapes = " and ".join(map(shape_text, tensors))
            given_text = f"{sign!r} of shapes {shapes}{written()}"
            raise MapError("step", given_text, "shapes that NumPy broadcasts")
        long = max(given, key=lambda axis: axis.size)
        whole.append(apart(long, whole))
    labels = []
    for axes in outer:
        own: list[Axis] = []
        for axis, other in zip(axes, whole[rank - len(axes) :], strict=True):
            own.append(other if axis.size == other.size else apart(axis, [*whole, *own]))
        labels.append(tuple(own))
    return labels, tuple(whole)


def under(tensor: Tensor, labels: Axes, axes: Axes) -> Tensor:
    """The tensor under other labels, repeated along axes that it has not."""
    return product(1, [(tensor, labels)], axes)


# -- operators ------------------------------------------------------------------------------------


def plus(first: Tensor, second: object, sign: str = "+") -> Tensor:
    """The sum; a number is added to every entry."""
    if not isinstance(second, Tensor):
        number = _operand(sign, second)
        return first if number == 0 else apply(placeholder(0) + number, first)
    if first.axes == second.axes:
        return add(first, second)
    labels, axes = aligned(sign, first, second)
    return add(*(under(t, own, axes) for t, own in zip((first, second), labels, strict=True)))


def minus(first: Tensor, second: object) -> Tensor:
    """The difference."""
    if not isinstance(second, Tensor):
        return plus(first, -_operand("-", second), "-")
    return plus(first, scale(-1, second), "-")


def times(first: Tensor, second: object) -> Tensor:
    """The product entry by entry."""
    if not isinstance(second, Tensor):
        return scale(_operand("*", second), first)
    labels, axes = aligned("*", first, second)
    return product(1, list(zip((first, second), labels, strict=True)), axes)


def divided(first: object, second: object) -> Tensor:
    """The quotient entry by entry."""
    a, b = placeholder(0), placeholder(1)
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return elementwise("/", a / b, first, second)
    if isinstance(first, Tensor):
        number = _operand("/", second)
        if number == 0:
            raise MapError("step", f"a division by 0{written()}", "a number other than 0")
        return scale(1 / number, first)
    assert isinstance(second, Tensor)
    return apply(_operand("/", first) / a, second)


def power(first: object, second: object) -> Tensor:
    """The power entry by entry."""
    a, b = placeholder(0), placeholder(1)
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return elementwise("**", a**b, first, second)
    if isinstance(first, Tensor):
        number = _operand("**", second)
        formula = a**number
        return apply(formula, first) if formula.has(a) else under(constant(1), (), first.axes)
    assert isinstance(second, Tensor)
    base = _operand("**", first)
    if base <= 0:
        raise MapError("step", f"a power of {base}{written()}", "a positive base")
    return apply(base**a, second) if base != 1 else under(constant(1), (), second.axes)


def elementwise(sign: str, formula: sp.Expr, *tensors: Tensor) -> Tensor:
    """A formula in ``placeholder(0..)`` of tensors that are aligned as NumPy aligns them."""
    labels, axes = aligned(sign, *tensors)
    parts = []
    for tensor, own in zip(tensors, labels, strict=True):
        kept = tuple(axis for axis in own if axis in axes)  # not those of length 1 that repeat
        parts.append(tensor if own == tensor.axes == kept else under(tensor, own, kept))
    return apply(formula, *parts, axes=axes)


def matrix_product(first: Tensor, second: object) -> Tensor:
    """What ``@`` is of vectors, matrices and stacks of them."""
    if not isinstance(second, Tensor):
        given = f"{brief(second)} beside '@'{written()}"
        raise MapError("step", given, "two tensors", "Write op.constant(array) of an array.")
    summed = second.axes[-2:][:1]  # the rows of a matrix, the entries of a vector
    if not first.axes or not summed or first.axes[-1].size != summed[0].size:
        given = f"'@' of shapes {shape_text(first)} and {shape_text(second)}{written()}"
        raise MapError("step", given, "vectors or matrices that fit, as NumPy multiplies them")
    (left, right), whole = aligned("@", first, second, inner=2)
    row = tuple(apart(axis, (*whole, *left, *right)) for axis in first.axes[-2:-1])
    inside = apart(first.axes[-1], (*whole, *left, *right, *row))
    taken = (*whole, *left, *right, *row, inside)
    column = tuple(apart(axis, taken) for axis in second.axes[-2:][1:])
    factors = [(first, (*left, *row, inside)), (second, (*right, inside, *column))]
    return product(1, factors, (*whole, *row, *column))


# -- parts ----------------------------------------------------------------------------------------


def item(tensor: Tensor, key: Any) -> Tensor:
    """What NumPy's brackets give: integers, slices, lists of integers and None, axis by axis."""
    every = [_plain_key(k) for k in (key if isinstance(key, tuple) else [key])]
    new = sum(k is None for k in every)
    ellipses = [n for n, k in enumerate(every) if k is Ellipsis]
    if ellipses:
        place = ellipses[0]
        missing = len(tensor.axes) - len(every) + new + 1
        every[place : place + 1] = [slice(None)] * missing
    keys = [k for k in every if k is not None]
    if len(keys) > len(tensor.axes):
        given = f"{len(keys)} indices of a tensor of shape {shape_text(tensor)}{written()}"
        raise MapError("step", given, "at most one an axis")
    _check_lists(every if new else keys)
    for axis, one in zip(tensor.axes, keys):
        tensor = _along(tensor, axis, one)
    return _with_new_axes(tensor, every) if new else tensor


def _plain_key(key: Any) -> Any:
    """A key, that of an array without axes being its number."""
    return key[()] if isinstance(key, np.ndarray) and not key.ndim else key


def _with_new_axes(tensor: Tensor, keys: Sequence[Any]) -> Tensor:
    """Axes of length 1 where None stands among keys; those of integers are gone."""
    axes, left = list[Axis](), list(tensor.axes)
    for key in keys:
        if key is None:
            axes.append(apart(Axis("one", 1), (*tensor.axes, *axes)))
        elif isinstance(key, (slice, list, tuple, range, np.ndarray)):
            axes.append(left.pop(0))
    return under(tensor, tensor.axes, (*axes, *left))


def _check_lists(keys: Sequence[Any]) -> None:
    """Refuse lists that NumPy pairs, and one whose axis NumPy brings to the front."""
    slices = [isinstance(key, slice) or key is None for key in keys]
    lists = [n for n, key in enumerate(keys) if isinstance(key, (list, tuple, range, np.ndarray))]
    places = [n for n, one in enumerate(slices) if not one]
    parted = bool(lists) and places[-1] - places[0] >= len(places)
    if len(lists) > 1 or (parted and True in slices[: lists[0]]):
        given, accepted = f"the indices {brief(keys)}{written()}", "one list of indices at a time"
        raise MapError("step", given, accepted, "Write A[[0, 1]][:, [2, 0]], an axis at a time.")


def _along(tensor: Tensor, axis: Axis, key: Any) -> Tensor:
    """Entries along one axis."""
    if isinstance(key, slice):
        try:
            places = range(axis.size)[key]
        except (TypeError, ValueError) as error:
            raise MapError("step", f"{key}: {error}{written()}", "a slice of integers") from error
        if places.step == 1 and len(places):
            return _slice(tensor, axis, places.start, places.stop)
        return _chosen(tensor, axis, places)
    if isinstance(key, (list, tuple, range, np.ndarray)):
        return _chosen(tensor, axis, [_place(axis, one) for one in key])
    place = _place(axis, key)
    part = _slice(tensor, axis, place, place + 1)
    return product(1, [(part, part.axes)], [a for a in part.axes if a in tensor.axes and a != axis])


def _place(axis: Axis, key: Any) -> int:
    """The number of an entry; a negative one counts from the end."""
    try:
        place = operator.index(key)
    except TypeError as error:
        given = f"the index {brief(key)}{written()}"
        raise MapError("step", given, "an integer, a slice or a list of integers") from error
    if isinstance(key, (bool, np.bool_)) or not -axis.size <= place < axis.size:
        given = f"the index {brief(key)} of an axis of length {axis.size}{written()}"
        raise MapError("step", given, f"an integer from {-axis.size} to {axis.size - 1}")
    return place % axis.size


def _slice(tensor: Tensor, axis: Axis, first: int, last: int) -> Tensor:
    """Entries from one place to another one, of the vector that is not yet cut."""
    if (first, last) == (0, axis.size):
        return tensor
    if isinstance(tensor, Window) and tensor.axis == axis and tensor.inside == (0, axis.size):
        start = tensor.start
        return _slice(tensor.operand, tensor.of, start + first, start + last)
    own = apart(Axis(f"{axis.name}{first}to{last}", last - first), tensor.axes)
    return window(tensor, axis, own, first)


def _chosen(tensor: Tensor, axis: Axis, places: Sequence[int]) -> Tensor:
    """Entries in any order: runs of neighbours, one after the other."""
    if not places:
        raise MapError("step", f"no entries{written()}", "at least one entry")
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][1] == place:
            runs[-1][1] += 1
        else:
            runs.append([place, place + 1])
    parts = [_slice(tensor, axis, first, last) for first, last in runs]
    if len(parts) == 1:
        return parts[0]
    where = tensor.axes.index(axis)
    return _joined(parts, where, len(places), axis if len(places) == axis.size else None)


def concatenated(parts: object, whole: Iterable[Axis]) -> Tensor:
    """Vectors one after the other; a number is a vector of length 1.

    ``whole`` are axes by whose names the result may be called, if one has its length.
    """
    if not isinstance(parts, Iterable):
        given = f"op.concatenate of {brief(parts)}{written()}"
        raise MapError("step", given, "a list of vectors and numbers")
    parts = list(parts)
    found = [part if isinstance(part, Tensor) else _number(part) for part in parts]
    if not found or any(p is None or (isinstance(p, Tensor) and len(p.axes) > 1) for p in found):
        shapes = [shape_text(p) if isinstance(p, Tensor) else brief(p) for p in parts]
        given = f"op.concatenate of {', '.join(shapes) or 'nothing'}{written()}"
        raise MapError("step", given, "vectors and numbers")
    tensors = [part if isinstance(part, Tensor) else constant(part) for part in found]
    vectors = [p if p.axes else under(p, (), (Axis("one", 1),)) for p in tensors]
    length = sum(part.axes[0].size for part in vectors)
    return _joined(vectors, 0, length, next((a for a in whole if a.size == length), None))


def _joined(parts: Sequence[Tensor], where: int, length: int, axis: Axis | None) -> Tensor:
    """Tensors one after the other along an axis: each in its place among zeros, and their sum."""
    first = parts[0].axes
    others = [*first[:where], *first[where + 1 :]]
    long = apart(axis or Axis(f"c{length}", length), others)
    found, at = [], 0
    for part in parts:
        own = part.axes[where]
        axes = (*first[:where], own, *first[where + 1 :])
        same = under(part, axes, axes) if part.axes != axes else part
        found.append(window(same, own, long, -at))
        at += own.size
    return add(*found)
