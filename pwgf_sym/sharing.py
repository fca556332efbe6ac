"""Walks through formulas that visit every distinct part once.

SymPy keeps equal parts of a formula as one object, but its own walks (``free_symbols``, ``has``,
``preorder_traversal``, ``xreplace``) visit it as often as it occurs: of V <- tanh(V) + V**2, n
times, that is 2**n.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

import sympy as sp

__all__ = ["has_symbols", "holds", "is_long", "parts", "parts_of_kind", "replaced", "symbols_of"]


def parts(
    *expressions: sp.Basic, within: Callable[[sp.Basic], bool] = lambda part: True
) -> Iterator[sp.Basic]:
    """The distinct parts of expressions, each before its own parts, in their order.

    Parts of a part are visited where ``within`` says so.
    """
    seen: set[sp.Basic] = set()
    stack = list(reversed(expressions))
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        if within(node):
            stack.extend(arg for arg in reversed(node.args) if isinstance(arg, sp.Basic))


def symbols_of(*expressions: sp.Basic) -> set[sp.Symbol]:
    """All symbols of expressions without bound ones."""
    return {part for part in parts(*expressions) if part.is_Symbol}


def parts_of_kind(expression: sp.Basic, *kinds: type) -> set[sp.Basic]:
    """The parts that are instances of classes, as ``atoms`` has it."""
    return {part for part in parts(expression) if isinstance(part, kinds)}


def has_symbols(expression: sp.Basic) -> bool:
    """Whether an expression depends on any symbol."""
    return any(part.is_Symbol for part in parts(expression))


def is_long(expression: sp.Basic, most: int) -> bool:
    """Whether an expression that is written out has more than so many parts."""
    return next(islice(sp.preorder_traversal(expression), most, None), None) is not None


def holds(expression: sp.Basic, wanted: Iterable[sp.Basic] | tuple[type, ...]) -> bool:
    """Whether some part is one of ``wanted``, or an instance of one of these classes."""
    wanted = tuple(wanted)
    kinds = tuple(w for w in wanted if isinstance(w, type))
    others = {w for w in wanted if not isinstance(w, type)}
    return any(part in others or isinstance(part, kinds) for part in parts(expression))


def replaced(expression: sp.Basic, by: Mapping[sp.Basic, sp.Basic]) -> sp.Basic:
    """The expression with parts replaced, as ``xreplace`` has it."""
    known = dict(by)

    def of(node: sp.Basic) -> sp.Basic:
        if node not in known:
            args = [of(arg) if isinstance(arg, sp.Basic) else arg for arg in node.args]
            same = all(a is b for a, b in zip(args, node.args, strict=True))
            known[node] = node if same else node.func(*args)
        return known[node]

    return of(expression)
