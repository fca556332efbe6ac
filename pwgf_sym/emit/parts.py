"""One kernel of a module, and what it calls."""

from __future__ import annotations

from collections.abc import Iterable

from ..loops.nodes import Alias, Call, Function, Statement, Table, Verbatim, names_in, walk
from ..loops.signature import KernelSignature

__all__ = ["functions_of", "signatures_of"]


def signatures_of(statements: Iterable[Statement]) -> dict[str, KernelSignature]:
    """What the functions of a module take, by name; a second name has those of the first."""
    found: dict[str, KernelSignature] = {}
    for node in statements:
        match node:
            case Function(name):
                found[name] = node.signature
            case Alias(name, of):
                found[name] = found[of]
            case Verbatim():
                found |= {signature.name: signature for signature in node.signatures}
    return found


def functions_of(statements: Iterable[Statement], kernel: str) -> list[Statement]:
    """The functions of a kernel, and what they call or read of the module, in its order.

    A function that is another one under a second name comes with that one.
    """
    statements = list(statements)
    wanted = {kernel, f"{kernel}_table", f"{kernel}_finish"}
    aliases = [node for node in statements if isinstance(node, Alias) and node.name in wanted]
    wanted |= {node.of for node in aliases}
    own = [node for node in statements if isinstance(node, Function) and node.name in wanted]
    called = {node.function for node in walk(own) if isinstance(node, Call)} | {kernel}
    read = names_in(own)
    return [
        node
        for node in statements
        if node in own
        or node in aliases
        or (isinstance(node, Table) and node.name in read)
        or (isinstance(node, Verbatim) and called.intersection(node.names))
    ]
