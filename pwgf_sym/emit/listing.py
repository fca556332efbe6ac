"""Kernels as formulas to be read: what the NumPy target has in place of generated code."""

from __future__ import annotations

from collections.abc import Iterable

import sympy as sp

from ..kernels.energies import FormulaKernel
from ..kernels.kernels import Kernel, Sweep
from ..loops.comments import comments
from ..loops.groups import Names
from ..loops.kernel_arguments import (
    fields_of,
    gradient,
    inputs_of,
    means_of,
    outputs_of,
    parameters,
    partner_weights_of,
    reads_of,
    rows_of,
    stored_of,
    values_of,
)
from ..loops.kernels import Layout
from ..loops.nodes import Function, Statement, Verbatim
from ..loops.printable import check_printable
from ..loops.signature import Argument, KernelSignature
from ..schedule.groups import Group
from ..schedule.numpy import NumpyTiling
from ..sharing import is_long
from ..tensors import (
    Constant,
    ConstantArray,
    Delta,
    Elementwise,
    Product,
    Tensor,
    Zero,
    topological,
)
from .module import Target

__all__ = ["formula_lines", "kernel_lines", "numpy_target"]

# Formulas of more parts are not written.
_MANY = 150
_INTERPRETED = (
    "No code is generated for this target: NumPy computes these formulas, all samples at once."
)


def numpy_target(dtype: str, moments: bool = True) -> Target:
    """NumPy, which interprets kernels.

    Parameters
    ----------
    dtype : {"float64", "float32"}
        Precision of all numbers.
    moments : bool
        Whether interactions that are polynomials of |x - y|^2 become moments of the samples.
    """
    tiling = NumpyTiling()
    return Target(
        f"numpy, {dtype}, interpreted",
        tiling,
        lambda kernel, layout: KernelListing(kernel, layout, tiling),
        FormulaListing,
        lambda nodes: f"\n{_INTERPRETED}\n{_joined(nodes)}",
        _joined,
        _list_moments if moments else None,
    )


def _joined(nodes: Iterable[Statement]) -> str:
    return "".join(f"{node.text}\n" for node in nodes if isinstance(node, Verbatim))


def _list_moments(dim: int) -> Statement:
    lines = ["moments: a center c, and means of |y|^2, |y|^4, y, |y|^2 y, y y^T, y = x - c"]
    return _listed("moments", lines)


class KernelListing:
    """Lists the formulas of a kernel of a map."""

    def __init__(self, kernel: Kernel, layout: Layout, tiling: NumpyTiling):
        self.kernel, self.layout, self.tiling = kernel, layout, tiling

    def statements(self, printed: dict[Function, str] | None = None) -> list[Statement]:
        """The formulas, sweep by sweep.

        Raises
        ------
        FormulaError
            When a derivative of the activation is no formula of functions that targets have.
        """
        kernel, size = self.kernel, self.layout.size
        found = [*parameters(kernel, size, kernel.steps), *stored_of(kernel, self.tiling)]
        found += [*inputs_of(kernel), *outputs_of(kernel)]
        found += [gradient(size)] if kernel.has_gradient else []
        found += rows_of(kernel, size)
        return [_listed(kernel.name, kernel_lines(kernel), found)]


def _listed(name: str, lines: list[str], arguments: Iterable[Argument] = ()) -> Verbatim:
    signature = KernelSignature(name, tuple(arguments))
    return Verbatim("\n".join(["", *lines]), names=(name,), signatures=(signature,))


def kernel_lines(kernel: Kernel) -> list[str]:
    """The tensors of a kernel of a map, sweep by sweep."""
    names = Names()
    lines = [f"kernel {kernel.name}: {kernel.summary}"]
    for sweep in kernel.sweeps:
        how = {1: "forward", -1: "backward", 0: "once"}[sweep.direction]
        starts = [f"{n} from {c.start}" for n, c in sweep.carries.items() if c.start]
        lines.append(f"    {', '.join([f'sweep {how}', *starts])}:")
        lines += [f"        {line}" for line in _lines(sweep, names)]
    return lines


def _lines(sweep: Sweep, names: Names) -> list[str]:
    lines = []
    for tensor in topological(sweep.outputs()):
        if isinstance(tensor, Elementwise):
            check_printable(tensor.expression, "derivative of a formula")
        if tensor.operands:
            lines.append(_formula(tensor, names))
        elif isinstance(tensor, ConstantArray):
            lines.append(f"{_name(tensor, names)} = {tensor.text()}")
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
        """The formulas, a line each."""
        kernel = self.kernel
        found = [*reads_of(kernel), *partner_weights_of(kernel), values_of(kernel)]
        found += [*fields_of(kernel), *means_of(kernel)]
        return [_listed(kernel.name, formula_lines(kernel), found)]


def formula_lines(kernel: FormulaKernel) -> list[str]:
    """The formulas of a kernel of an energy."""
    lines = [f"kernel {kernel.name}: {kernel.summary}"]
    for form in kernel.forms:
        moved = f"(x - {list(form.center)})" if form.center else "x"
        lines.append(f"    {form.symbols[0]}, ... = {form.name} {moved}")
    for name, rows in kernel.fields.items():
        lines += [f"    {name}[{i}] = {_text(formula)}" for i, formula in enumerate(rows)]
    lines += [f"    mean of {_text(formula)}" for formula in kernel.means]
    if kernel.radial != 0:
        lines.append(f"    x - y times {_text(kernel.radial)}")
    return lines


def _text(formula: sp.Expr) -> str:
    return "a formula of many operations" if is_long(formula, _MANY) else sp.sstr(formula)
