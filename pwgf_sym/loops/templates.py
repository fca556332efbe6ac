"""Functions that are written as text of a target, for the sizes of a module."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

from .nodes import Call, Verbatim
from .signature import Argument, KernelSignature

__all__ = ["template"]


def template(
    text: str,
    values: Mapping[str, int | str],
    arguments: Mapping[str, Sequence[Argument]] | None = None,
    made: Iterable[Call] = (),
) -> Verbatim:
    """Functions in Python with ``{name}`` for values.

    Parameters
    ----------
    text : str
        One or more functions, with two empty lines after each; ``def name({name}):``.
    values : mapping of str to int or str
        What stands for the names in braces.
    arguments : mapping of str to sequence of Argument, optional
        What functions that are called from outside take; their first lines are written of it.
    made : iterable of Call
        Functions for some sizes that it calls.
    """
    signatures = [KernelSignature(name, tuple(own)) for name, own in (arguments or {}).items()]
    taken = {s.name: ", ".join(argument.name for argument in s) for s in signatures}
    for name, value in {**values, **taken}.items():
        text = text.replace("{" + name + "}", str(value))
    tree = ast.parse(text)
    called = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    calls = {function.id for function in called if isinstance(function, ast.Name)}
    names = (node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    found = (*made, *(Call(name, ()) for name in sorted(calls)))
    return Verbatim(text, found, tuple(names), tuple(signatures))
