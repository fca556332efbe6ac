"""What kernels take and give, in shapes of N samples of p parameters, for docstrings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..kernels.energies import FormulaKernel
from ..kernels.kernels import Kernel
from ..loops.nodes import Function, Statement
from ..tensors import Axis

__all__ = ["Shapes", "documented", "formula_shapes", "map_shapes"]


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


def map_shapes(kernel: Kernel) -> Shapes:
    """Shapes of a kernel of the map."""
    given = ["theta (p,)", *(["eta (p,)"] if kernel.tangent else [])]
    given += [f"{name} {_shape(axes)}" for name, axes in kernel.inputs.items()]
    found = [f"{name} {_shape(axes)}" for name, axes in kernel.outputs.items()]
    found += ["gradient (p,)"] if kernel.has_gradient else []
    found += [f"rows (p, N, {basis})" for basis in sorted(_bases(kernel))]
    return Shapes(kernel.summary, tuple(given), tuple(found))


def _bases(kernel: Kernel) -> set[int]:
    """Directions whose rows a kernel computes: the dimension, where there are any."""
    rows = [row for sweep in kernel.sweeps for row in sweep.rows.values()]
    return {row.axes[0].size for row in rows if row.axes}


def _shape(axes: Iterable[Axis]) -> str:
    sizes = [str(axis.size) for axis in axes]
    return f"({', '.join(['N', *sizes])})" if sizes else "(N,)"


def formula_shapes(kernel: FormulaKernel) -> Shapes:
    """Shapes of a kernel of the energy."""

    def shape(name: str, count: int) -> str:
        one = count == 1 and name not in ("x", "score")
        return f"{name} (N,)" if one else f"{name} (N, {count})"

    given = [shape(name, len(symbols)) for name, symbols in kernel.reads.items()]
    given += [f"values ({len(kernel.values)},)"] if kernel.values else []
    found = [shape(name.removesuffix("_out"), len(row)) for name, row in kernel.fields.items()]
    found += [f"means ({len(kernel.means)},)"] if kernel.means else []
    return Shapes(kernel.summary, tuple(given), tuple(found))


def documented(statements: Iterable[Statement], shapes: Mapping[str, Shapes]) -> list[Statement]:
    """Functions of a module with docstrings that say shapes, by name of the kernel."""
    return [
        replace(node, summary=shapes[node.name].docstring)
        if isinstance(node, Function) and node.name in shapes
        else node
        for node in statements
    ]
