"""Kernels as formulas to be read: what the NumPy target has in place of generated code."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from ..loops.comments import comments
from ..loops.groups import Names
from ..loops.nodes import Comment, Function, Statement
from ..loops.printable import check_printable
from ..lower.energies import FormulaKernel
from ..lower.kernels import Kernel, Sweep
from ..lower.schedule import Group
from ..sharing import is_long
from ..tensors import (
    Constant,
    Delta,
    Elementwise,
    Input,
    Inverse,
    LogDet,
    Product,
    Tensor,
    Zero,
    topological,
)
from .module import Target

__all__ = ["numpy_target"]

# Formulas of more parts are not written.
_MANY = 150
_INTERPRETED = (
    "No code is generated for this target: NumPy computes these formulas, all samples at once."
)


@dataclass(frozen=True)
class _Rows:
    """Samples one after the other: a tile is one sample, without padding."""

    samples: int = 1

    def padded(self, numbers: int) -> int:
        """Numbers that a sample takes in an array."""
        return numbers


def numpy_target(dtype: str, moments: bool = True) -> Target:
    """NumPy, which interprets kernels.

    Parameters
    ----------
    dtype : {"float64", "float32"}
        Precision of all numbers.
    moments : bool
        Whether interactions that are polynomials of |x - y|^2 become moments of the samples.
    """
    return Target(
        f"numpy, {dtype}, interpreted",
        _Rows(),
        lambda kernel, layout: KernelListing(kernel),
        FormulaListing,
        lambda lines: "\n".join(["", _INTERPRETED, *(line.text for line in lines), ""]),
        _list_moments if moments else None,
    )


def _list_moments(dim: int) -> Statement:
    return Comment("\nmoments: a center c, and means of |y|^2, |y|^4, y, |y|^2 y, y y^T, y = x - c")


class KernelListing:
    """Lists the formulas of a kernel of a map."""

    def __init__(self, kernel: Kernel):
        self.kernel = kernel

    def statements(self, printed: dict[Function, str] | None = None) -> list[Statement]:
        """The formulas, sweep by sweep, a comment a line.

        Raises
        ------
        FormulaError
            When a derivative of the activation is no formula of functions that targets have.
        """
        names = Names()
        lines = ["", f"{self.kernel.name}: {self.kernel.summary}"]
        for sweep in self.kernel.sweeps:
            how = {1: "step by step", -1: "step by step, backward", 0: "once"}[sweep.direction]
            starts = [f"{n} from {c.start}" for n, c in sweep.carries.items() if c.start]
            lines.append(f"    {', '.join([how, *starts])}:")
            lines += [f"        {line}" for line in _lines(sweep, names)]
        return [Comment(line) for line in lines]


def _lines(sweep: Sweep, names: Names) -> list[str]:
    lines = []
    for tensor in topological(sweep.outputs()):
        if isinstance(tensor, Elementwise):
            check_printable(tensor.expression, "derivative of a formula")
        if not isinstance(tensor, Input | Constant | Delta | Zero):
            lines.append(_formula(tensor, names))
    for name, carry in sweep.carries.items():
        lines.append(f"{name} <- {_name(carry.after, names)}")
    for kind, found in (
        ("stored", sweep.saved),
        ("gradient", sweep.gradients),
        ("row", sweep.rows),
    ):
        lines += [f"{kind} {name} <- {_name(tensor, names)}" for name, tensor in found.items()]
    return lines


def _formula(tensor: Tensor, names: Names) -> str:
    if isinstance(tensor, Inverse | LogDet):
        return f"{_name(tensor, names)} = {tensor.word}({_name(tensor.matrix, names)})"
    (line,) = comments(Group(tensor.axes, [tensor]), {tensor: 0}, {}, names)
    over = isinstance(tensor, Product) and tensor.sum_samples
    return line + " over samples" * over


def _name(tensor: Tensor, names: Names) -> str:
    match tensor:
        case Constant(value):
            return str(value)
        case Delta() | Zero():
            name = tensor.word
        case _:
            name = names(tensor)
    indices = ",".join(a.name for a in tensor.axes)
    return f"{name}[{indices}]" if indices else name


class FormulaListing:
    """Lists a kernel of an energy."""

    def __init__(self, kernel: FormulaKernel):
        self.kernel = kernel
        for formula in kernel.formulas():
            check_printable(formula, kernel.name)

    def statements(self) -> list[Statement]:
        """The formulas, a comment a line."""
        k = self.kernel
        lines = ["", f"{k.name}: {k.summary}"]
        for form in k.forms:
            moved = f"(x - {list(form.center)})" if form.center else "x"
            lines.append(f"    {form.symbols[0]}, ... = {form.name} {moved}")
        for name, rows in k.fields.items():
            lines += [f"    {name}[{i}] = {_text(formula)}" for i, formula in enumerate(rows)]
        lines += [f"    mean of {_text(formula)}" for formula in k.means]
        if k.radial != 0:
            lines.append(f"    x - y times {_text(k.radial)}")
        return [Comment(line) for line in lines]


def _text(formula: sp.Expr) -> str:
    return "a formula of many operations" if is_long(formula, _MANY) else sp.sstr(formula)
