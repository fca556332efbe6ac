"""The module of a velocity's local Jacobian: its kernels alone, made when they are first called."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from ..declare.symbols import Density
from ..kernels.jacobian import JacobianForm
from .header import jacobian_header
from .module import Emission
from .parts import signatures_of
from .shapes import documented, shapes_of

__all__ = ["emit_jacobian"]


def emit_jacobian(
    energy: sp.Expr, density: Density, jacobian: JacobianForm, emission: Emission
) -> Emission:
    """Print the kernels of a local Jacobian.

    The text does not depend on the map, so that maps share its machine code.

    Parameters
    ----------
    energy : sympy.Expr
    density : Density
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
    builders = map(target.formula_builder, kernels.values())
    body = [node for builder in builders for node in builder.statements()]
    taken = signatures_of(body)
    rows = {name: shapes_of(name, kernel.summary, taken) for name, kernel in kernels.items()}
    body = documented(body, rows)
    values = next(iter(kernels.values())).values
    text = jacobian_header(energy, density, target.line, values, rows)
    text += target.text(body)
    emission = replace(emission, kernels={}, formulas=kernels, left_out=frozenset())
    return replace(emission, text=text, statements=tuple(body), signatures=taken)
