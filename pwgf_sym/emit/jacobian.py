"""The module of a velocity's local Jacobian: its kernels alone, made when they are first called."""

from __future__ import annotations

from dataclasses import replace

from ..declare.problem import GradientFlow
from ..kernels.jacobian import JacobianForm
from .header import jacobian_header
from .module import Emission
from .shapes import documented, formula_shapes

__all__ = ["emit_jacobian"]


def emit_jacobian(problem: GradientFlow, jacobian: JacobianForm, emission: Emission) -> Emission:
    """Print the kernels of a local Jacobian.

    The text does not depend on the map, so that maps share its machine code.

    Parameters
    ----------
    problem : GradientFlow
        The energy.
    jacobian : JacobianForm
        With at least one kernel.
    emission : Emission
        Of the program that it belongs to: target, tiles, what else a caller of kernels asks for.

    Raises
    ------
    FormulaError
        If an entry holds a function that no target prints.
    """
    target, kernels = emission.target, jacobian.kernels
    printers = {name: target.formula_builder(kernel) for name, kernel in kernels.items()}
    body = [node for printer in printers.values() for node in printer.statements()]
    rows = {name: formula_shapes(kernel) for name, kernel in kernels.items()}
    body = documented(body, rows)
    values = next(iter(kernels.values())).values
    text = jacobian_header(problem.energy, problem.density, target.line, values, rows)
    text += target.text(body)
    emission = replace(emission, kernels={}, emitters={}, left_out=frozenset())
    emission = replace(emission, text=text, statements=tuple(body))
    return replace(emission, formulas=kernels, printers=printers)
