"""The mathematics of a loop nest in index notation, for the comment above it."""

from __future__ import annotations

from collections.abc import Container, Mapping

from ..schedule.groups import Group
from ..tensors import Tensor
from ..tensors.notation import Notation
from .groups import Names

__all__ = ["comments"]

# Formulas of so many characters stand inside another one.
_SHORT = 60


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
    plain, nested, lines = Notation(names), Notation(names, inside), []
    for tensor in group.tensors:
        text = tensor.formula(nested)
        readers = [t for t in group.tensors if tensor in t.as_they_stand()]
        once = len(readers) == 1 and uses[tensor] == 1 and tensor not in slots
        if once and len(text) <= _SHORT:
            inside[tensor] = text
        else:
            lines.append(f"{plain.entry(tensor, tensor.axes)} = {text}")
    return lines
