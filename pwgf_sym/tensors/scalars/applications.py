"""Functions that stand in scalar expressions."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from ...sharing import has_symbols

__all__ = ["is_function", "outermost_functions"]


def is_function(expression: sp.Expr) -> bool:
    """Whether an expression's outermost operation is worth keeping: a function or a real power."""
    if not has_symbols(expression):  # a number such as 1/sqrt(pi)
        return False
    if isinstance(expression, sp.Pow):
        return not expression.exp.is_Integer or expression.exp < 0
    return isinstance(expression, sp.Function)


def outermost_functions(expressions: Sequence[sp.Expr]) -> list[sp.Expr]:
    """Function applications that stand in no other one, each once."""
    found, seen, stack = [], set(), list(reversed(expressions))
    while stack:
        part = stack.pop()
        if part in seen:
            continue
        seen.add(part)
        if is_function(part):
            found.append(part)
        else:
            stack.extend(reversed(part.args))
    return found
