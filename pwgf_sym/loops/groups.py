"""What the builders of all targets ask of a fused group of tensors."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from ..schedule.groups import Group
from ..tensors import Add, Axis, ConstantArray, Input, Product, Tensor

__all__ = ["LOWEST", "Names", "deferred_terms", "flat_terms"]

#: Smaller than any number in a formula, in both precisions: where a largest one is looked for.
LOWEST = -3e38


class Names:
    """Names of tensors in a kernel: v0, v1, ... and constant_2 in the order that they are met."""

    def __init__(self) -> None:
        self._found: dict[Tensor, str] = {}

    def __call__(self, tensor: Tensor) -> str:
        if isinstance(tensor, Input):
            return tensor.name
        word = "constant_" if isinstance(tensor, ConstantArray) else "v"
        return self._found.setdefault(tensor, f"{word}{len(self._found)}")

    def variable(self, tensor: Tensor, labels: Iterable[Axis] | None = None) -> str:
        """Variable for entries that are read; labels are given where they are read under others.

        Those of parameters, which users name, begin as no other variable does.
        """
        name, under = self(tensor), "" if labels is None else "".join(a.name for a in labels)
        if not isinstance(tensor, Input) or tensor.per_sample:
            return name if labels is None else f"{name}_{under}"
        of, _, own = name.rpartition(".")
        count = "" if labels is None else str(len(tensor.axes))
        return f"{of or 'own'}{count}_{own}" + ("" if labels is None else f"_{under}")


def deferred_terms(
    group: Group, uses: Mapping[Tensor, int], slots: Container[Tensor]
) -> set[Tensor]:
    """Contractions that only a sum of this group reads: they accumulate right into it."""
    own = set(group.tensors)
    found: set[Tensor] = set()
    for tensor in group.tensors:
        for term in tensor.operands if isinstance(tensor, Add) else ():
            once = uses[term] == 1 and term in own and term not in slots
            scaled = isinstance(term, Product) and term.coefficient != 1
            if once and isinstance(term, (Add, Product)) and not scaled:
                found.add(term)
    return found


def flat_terms(tensor: Add, deferred: Container[Tensor]) -> list[Tensor]:
    """Terms of a sum, and of the sums that accumulate into it."""
    found: list[Tensor] = []
    for term in tensor.operands:
        if isinstance(term, Add) and term in deferred:
            found += flat_terms(term, deferred)
        else:
            found.append(term)
    return found
