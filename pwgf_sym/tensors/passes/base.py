"""What a pass is: a transformation of tensors that keeps their values."""

from __future__ import annotations

from collections.abc import Container, Sequence

from ..tensor import Tensor, topological

__all__ = ["Pass", "Rewriting"]


class Pass:
    """A transformation of the outputs of a graph.

    Attributes
    ----------
    name, summary : str
        Its name, and in one line what it does.
    """

    name: str
    summary: str

    def run(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs with the same values, computed in another way."""
        raise NotImplementedError


class Rewriting(Pass):
    """A pass that applies a rule to one tensor after the other, operands first."""

    def rule(self, tensor: Tensor) -> Tensor:
        """The tensor in another way; its operands are rewritten already."""
        raise NotImplementedError

    def kept(self, outputs: Sequence[Tensor]) -> Container[Tensor]:
        """Tensors that get new operands only."""
        return ()

    def run(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs after the rule was applied to all that they depend on."""
        mapping: dict[Tensor, Tensor] = {}
        kept = self.kept(outputs)
        for tensor in topological(outputs):
            rebuilt = tensor.with_operands(tuple(mapping[t] for t in tensor.operands))
            mapping[tensor] = rebuilt if tensor in kept else self.rule(rebuilt)
        return [mapping[output] for output in outputs]
