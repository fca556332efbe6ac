"""Loops over entries that go on where the one before ends: one loop does for all of them."""

from __future__ import annotations

from collections.abc import Iterable

from ..nodes import (
    Binary,
    Comment,
    Entry,
    Expression,
    For,
    Integer,
    Name,
    Node,
    Statement,
    names_in,
    rebuilt,
    walk,
)

__all__ = ["goes_on", "merged"]


def merged(body: Iterable[Statement]) -> list[Statement]:
    """Statements in which loops shared by threads that follow each other are one.

    Comments above a loop that goes on move above the loop that it joins.
    """
    found: list[Statement] = []
    comments: list[Statement] = []
    place: int | None = None  # of the loop that may go on
    for node in body:
        match node:
            case Comment():
                comments.append(node)
                continue
            case For(kind="threads"):
                before = None if place is None else found[place]
                if isinstance(before, For) and place is not None and goes_on(before, node):
                    found[place:] = [*comments, _longer(before, node)]
                else:
                    found += [*comments, node]
                place = len(found) - 1
            case _:
                found += [*comments, node]
                place = None
        comments = []
    return [*found, *comments]


def goes_on(first: For, second: For) -> bool:
    """Whether a loop does the same with the entries after another one's, in all its arrays."""
    size, variable = first.stop, Name(first.variable)
    if not isinstance(size, Integer) or second.variable != first.variable:
        return False
    forms = [_form(loop.body, variable) for loop in (first, second)]
    if variable.name in names_in(forms[0]) or forms[0] != forms[1]:
        return False  # more depends on the entry than places
    begins = zip(_begins(first.body, variable), _begins(second.body, variable), strict=True)
    return all(after == before + size.value for before, after in begins)


def _longer(first: For, second: For) -> For:
    sizes = [loop.stop.value for loop in (first, second) if isinstance(loop.stop, Integer)]
    return For(first.variable, Integer(sum(sizes)), first.body, first.start, first.step, first.kind)


def _begin(index: Expression, variable: Name) -> tuple[Expression, int] | None:
    """A name and a number after which entries begin; None where an index is something else."""
    match index:
        case Name():
            return (Integer(0), 0) if index == variable else None
        case Binary("+", before, last) if last == variable:
            match before:
                case Integer(number):
                    return Integer(0), number
                case Name():
                    return before, 0
                case Binary("+", Name() as name, Integer(number)):
                    return name, number
    return None


def _form(body: tuple[Statement, ...], variable: Name) -> tuple[Statement, ...]:
    """Statements without the numbers after which entries begin."""

    def change(node: Node) -> Node | None:
        if isinstance(node, Entry):
            found = _begin(node.index, variable)
            return None if found is None else Entry(node.array, found[0])
        return None

    form: tuple[Statement, ...] = rebuilt(body, change)
    return form


def _begins(body: tuple[Statement, ...], variable: Name) -> list[int]:
    entries = (node for node in walk(body) if isinstance(node, Entry))
    found = (_begin(entry.index, variable) for entry in entries)
    return [begin[1] for begin in found if begin is not None]
