"""Declarations of what a block reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..nodes import Declare, Expression, Let, Statement, names_in

__all__ = ["declared"]


def declared(places: Mapping[str, Expression], body: Iterable[Statement]) -> tuple[Statement, ...]:
    """A block, and at its top the places that it reads.

    Parameters
    ----------
    places : mapping of str to Expression
        First places of arrays that stay the same in the block, by name.
    body : iterable of Statement
        The block.
    """
    body = tuple(body)
    read = names_in(body)
    items = tuple(Let(name, value) for name, value in places.items() if name in read)
    return (Declare(items), *body) if items else body
