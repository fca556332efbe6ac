"""Loops that copy entries from another place on, and fill the rest with zeros."""

from __future__ import annotations

from collections.abc import Callable

from ..tensors import Window
from .block import Block
from .nodes import Binary, Expression, Group, Integer, Name
from .places import At, Slot, headers

__all__ = ["copy_window"]


def copy_window(
    write: Block,
    tensor: Window,
    target: Slot,
    put: Callable[[Expression, At | None], None],
) -> None:
    """Write the loops of a window.

    Parameters
    ----------
    write : Block
    tensor : Window
    target : Slot
        Where it stands.
    put : callable
        Writes to a place in the target the operand's entry at index variables or, with None, zero.
    """
    axis, (first, last) = tensor.axis, tensor.inside
    place = Name(axis.name)
    at: At = {a: Name(a.name) for a in tensor.axes}
    moved: Expression = place
    if tensor.start:
        sign = "+" if tensor.start > 0 else "-"
        moved = Group(Binary(sign, place, Integer(abs(tensor.start))))
    there: At = {**{a: Name(a.name) for a in tensor.axes if a != axis}, tensor.of: moved}
    with write.loops(headers([a for a in tensor.axes if a != axis])):
        for start, end, inside in (
            (0, first, False),
            (first, last, True),
            (last, axis.size, False),
        ):
            if start < end:
                with write.loop(axis.name, end, start):
                    put(target.index(tensor.axes, at), there if inside else None)
