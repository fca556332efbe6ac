"""Where the rows of a register tile live: in a local array, or a number at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from ..nodes import (
    Assign,
    Entry,
    Expression,
    For,
    Let,
    Load,
    Local,
    Name,
    Node,
    Statement,
    rebuilt,
    walk,
)

__all__ = ["numbers_of_one_loop"]

Rebuilt = TypeVar("Rebuilt", Expression, tuple[Statement, ...])


def numbers_of_one_loop(
    body: tuple[Statement, ...], names: Iterable[str], row: str
) -> tuple[tuple[Statement, ...], list[str]]:
    """Statements in which an array that one loop over its rows uses is a number.

    Parameters
    ----------
    body : tuple of Statement
        With loops over the rows.
    names : iterable of str
        Arrays with an entry a row.
    row : str
        The variable of the loops over the rows.

    Returns
    -------
    body : tuple of Statement
        The statements.
    arrays : list of str
        Names that are arrays all the same: several loops use them, or something takes them whole.
    """
    arrays = []
    for name in dict.fromkeys(names):
        entry = Entry(name, Name(row), plain=True)
        if _is_taken_whole(body, entry) or _loops(body, entry) > 1:
            arrays.append(name)
        else:
            body = _with_number(body, entry)
    return body, arrays


def _with_number(node: Rebuilt, entry: Entry) -> Rebuilt:
    """Statements, or an expression, with a number in place of an entry."""
    found: Rebuilt = rebuilt(node, lambda part: _as_number(part, entry))
    return found


def _loops(body: Iterable[Statement], entry: Entry) -> int:
    """Loops over the rows that use an entry."""
    over_rows = (n for n in walk(body) if isinstance(n, For) and Name(n.variable) == entry.index)
    return sum(any(node == entry for node in walk(loop)) for loop in over_rows)


def _is_taken_whole(body: Iterable[Statement], entry: Entry) -> bool:
    """Whether an array is used in another way than by this entry."""
    for node in walk(body):
        match node:
            case Entry(array) | Load(array):
                if array == entry.array and node != entry:
                    return True
            case Name(name) | Let(name) | Local(name):
                if name == entry.array:
                    return True
    return False


def _as_number(node: Node, entry: Entry) -> Node | None:
    """What stands for a node where an entry is a number; None where nothing changes at once."""
    match node:
        case Assign(target, value) if target == entry:
            return Let(entry.array, _with_number(value, entry))
        case Entry() if node == entry:
            return Name(entry.array)
    return None
