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
    others: At = {a: Name(a.name) for a in tensor.axes if a != axis}

    def entry(place: Expression, inside: bool) -> None:
        source = {**others, tensor.of: _moved(place, tensor.start)} if inside else None
        put(target.index(tensor.axes, {**others, axis: place}), source)

    with write.loops(headers(list(others))):
        for start, end, inside in (
            (0, first, False),
            (first, last, True),
            (last, axis.size, False),
        ):
            if end - start == 1:  # no loop
                entry(Integer(start), inside)
            elif start < end:
                with write.loop(axis.name, end, start):
                    entry(Name(axis.name), inside)


def _moved(place: Expression, by: int) -> Expression:
    """The place so many entries further on."""
    if isinstance(place, Integer):
        return Integer(place.value + by)
    if not by:
        return place
    return Group(Binary("+" if by > 0 else "-", place, Integer(abs(by))))
