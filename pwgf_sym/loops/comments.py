"""The mathematics of a loop nest in index notation, for the comment above it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import SupportsFloat

import sympy as sp

from ..lower.schedule import Group
from ..sharing import is_long
from ..tensors import Add, Axis, Constant, Delta, Elementwise, Product, Tensor, placeholder
from .groups import Names

__all__ = ["comments", "number"]

# Formulas of so many characters stand inside another one.
_SHORT = 60
# Formulas of more parts are not written into comments.
_MANY = 150


def number(value: SupportsFloat) -> str:
    """A number as a float literal."""
    return repr(float(value))


def comments(
    group: Group, uses: Mapping[Tensor, int], slots: Container[Tensor], names: Names
) -> list[str]:
    """Formulas of a group; what only one of its formulas reads is written out there.

    Parameters
    ----------
    group : Group
    uses : mapping of Tensor to int
        Number of uses of each tensor in its sweep.
    slots : container of Tensor
        Tensors that live in memory, which keep a formula of their own.
    names : Names
    """
    inside: dict[Tensor, str] = {}
    lines = []
    for tensor in group.tensors:
        text = _formula(tensor, names, inside)
        readers = [t for t in group.tensors if tensor in _as_they_stand(t)]
        once = len(readers) == 1 and uses[tensor] == 1 and tensor not in slots
        if once and len(text) <= _SHORT:
            inside[tensor] = text
        else:
            lines.append(f"{_entry(tensor, tensor.axes, names, {})} = {text}")
    return lines


def _entry(
    tensor: Tensor, labels: Iterable[Axis], names: Names, inside: Mapping[Tensor, str]
) -> str:
    """A tensor's entry in index notation, or its formula."""
    if tensor in inside:
        text = inside[tensor]
        loose = " " in text or text.startswith("-")
        return f"({text})" if loose and not isinstance(tensor, Product) else text
    indices = ",".join(a.name for a in labels)
    name = number(tensor.value) if isinstance(tensor, Constant) else names(tensor)
    name = "delta" if isinstance(tensor, Delta) else name
    return f"{name}[{indices}]" if indices else name


def _formula(tensor: Tensor, names: Names, inside: Mapping[Tensor, str]) -> str:
    match tensor:
        case Add(terms):
            return " + ".join(inside.get(t) or _entry(t, t.axes, names, {}) for t in terms)
        case Elementwise():
            return _elementwise(tensor, names, inside)
        case Product(coefficient):
            factors = [str(coefficient)] if coefficient != 1 else []
            factors += [_entry(t, ls, names, inside) for t, ls in tensor.factors]
            return " ".join(factors)
    raise TypeError(f"no formula for {tensor.word}")


def _elementwise(tensor: Elementwise, names: Names, inside: Mapping[Tensor, str]) -> str:
    expression = tensor.expression
    if is_long(expression, _MANY):
        entries = ", ".join(_entry(t, t.axes, names, {}) for t in tensor.operands)
        return f"a formula of many operations in {entries}"
    bare = expression.is_Function and expression.args == (placeholder(0),)
    texts = {}
    for k, operand in enumerate(tensor.operands):
        text = _entry(operand, operand.axes, names, inside)
        if operand in inside:
            loose = " " in inside[operand] and not bare
            text = f"({inside[operand]})" if loose else inside[operand]
        texts[placeholder(k)] = sp.Symbol(text)
    return str(expression.xreplace(texts))


def _as_they_stand(tensor: Tensor) -> set[Tensor]:
    """Operands whose entries are read under the names of their own axes."""
    if not isinstance(tensor, Product):
        return set(tensor.operands)
    return {t for t, labels in tensor.factors if labels == t.axes}
