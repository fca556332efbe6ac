"""Tensors in index notation, for whoever reads generated code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .tensor import Axis, Tensor

__all__ = ["Notation"]


class Notation:
    """Writes entries of tensors.

    Parameters
    ----------
    names : callable
        The name of a tensor.
    inside : mapping of Tensor to str, optional
        Formulas that are written in the place of names.
    """

    def __init__(
        self, names: Callable[[Tensor], str], inside: Mapping[Tensor, str] | None = None
    ) -> None:
        self.names, self.inside = names, {} if inside is None else inside

    def entry(self, tensor: Tensor, labels: Iterable[Axis]) -> str:
        """An entry by its name, as in v0[i,k]."""
        indices = ",".join(axis.name for axis in labels)
        symbol = tensor.symbol(self.names)
        return f"{symbol}[{indices}]" if indices else symbol

    def factor(self, tensor: Tensor, labels: Iterable[Axis]) -> str:
        """An entry as a factor: its formula, in parentheses where it needs them, or its name."""
        text = self.inside.get(tensor)
        if text is None:
            return self.entry(tensor, labels)
        loose = (" " in text or text.startswith("-")) and not tensor.binds
        return f"({text})" if loose else text

    def whole(self, tensor: Tensor) -> str:
        """An entry as a term or an argument: its formula or its name."""
        return self.inside.get(tensor) or self.entry(tensor, tensor.axes)
