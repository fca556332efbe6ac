"""What kernels take and give, in shapes of N samples of p parameters, for docstrings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..loops.nodes import Function, Statement
from ..loops.signature import Argument, KernelSignature

__all__ = ["Shapes", "documented", "shapes_of"]

# Axes whose length has a letter, and axes that are not shown.
_LETTERS = {"sample": "N", "parameter": "p"}
_OUTER = ("step", "block")


@dataclass(frozen=True)
class Shapes:
    """What a kernel computes, and arrays that it takes and gives, with their shapes."""

    formula: str
    given: tuple[str, ...]
    found: tuple[str, ...]

    @property
    def docstring(self) -> str:
        """The formula, and a line of shapes."""
        arrow = f"{', '.join(self.given)} -> {', '.join(self.found)}"
        return f"{self.formula}\n\n{arrow}" if self.found else self.formula

    @property
    def row(self) -> str:
        """The formula and what comes of it, in one line."""
        return f"{self.formula} -> {', '.join(self.found)}" if self.found else self.formula


def shapes_of(name: str, formula: str, signatures: Mapping[str, KernelSignature]) -> Shapes:
    """Shapes of a kernel; what its part that finishes sums gives is its own."""
    own = signatures[name]
    finish = signatures.get(f"{name}_finish")
    outputs = [*own.of("output"), *(finish.of("output") if finish else ())]
    return Shapes(
        formula,
        tuple(_shape(argument) for argument in own.of("parameter", "input") if argument.numbers),
        tuple(_shape(argument) for argument in outputs),
    )


def _shape(argument: Argument) -> str:
    """What callers call an array, and its shape; one of all blocks or steps is that of one."""
    pairs = list(zip(argument.axes, argument.sizes, strict=True))
    sizes = [_LETTERS.get(axis, str(size)) for axis, size in pairs if axis not in _OUTER]
    return f"{argument.label} ({', '.join(sizes)}{',' * (len(sizes) == 1)})"


def documented(statements: Iterable[Statement], shapes: Mapping[str, Shapes]) -> list[Statement]:
    """Functions of a module with docstrings that say shapes, by name of the kernel."""
    return [
        replace(node, summary=shapes[node.name].docstring)
        if isinstance(node, Function) and node.name in shapes
        else node
        for node in statements
    ]
