"""Functions that are written as text of a target, for the sizes of a module."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from .nodes import Call, Verbatim

__all__ = ["template"]


def template(text: str, values: Mapping[str, int | str], made: Iterable[Call] = ()) -> Verbatim:
    """Functions in Python with ``{name}`` for values.

    Parameters
    ----------
    text : str
        One or more functions, with two empty lines after each.
    values : mapping of str to int or str
        What stands for the names in braces.
    made : iterable of Call
        Functions for some sizes that it calls.
    """
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    tree = ast.parse(text)
    called = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    calls = {function.id for function in called if isinstance(function, ast.Name)}
    names = (node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    found = (*made, *(Call(name, ()) for name in sorted(calls)))
    return Verbatim(text, found, tuple(names))
