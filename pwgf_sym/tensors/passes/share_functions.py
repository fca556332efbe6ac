"""Functions as tensors of their own."""

from __future__ import annotations

import sympy as sp

from ...sharing import replaced
from ..elementwise import Elementwise, apply, placeholder
from ..scalars.applications import is_function, outermost_functions
from ..tensor import Axes, Tensor
from .base import Rewriting

__all__ = ["ShareFunctions"]


class ShareFunctions(Rewriting):
    """Give every function application inside an elementwise expression its own tensor.

    Interning then computes it once: sigma' = 1 - tanh(a)**2 reads the stored tanh(a).
    """

    name = "share functions"
    summary = "every tanh, exp, ... becomes a value of its own, which tanh' = 1 - tanh^2 reads"

    def rule(self, tensor: Tensor) -> Tensor:
        """Arithmetic, a function of it, arithmetic of that, and so on."""
        if not isinstance(tensor, Elementwise):
            return tensor
        return _shared(tensor.expression, tensor.operands, tensor.axes, {})


def _shared(
    expression: sp.Expr,
    operands: tuple[Tensor, ...],
    axes: Axes,
    known: dict[sp.Expr, Tensor],
) -> Tensor:
    tensors, inner = list(operands), {}
    top = is_function(expression)
    for found in outermost_functions(expression.args if top else (expression,)):
        if found not in known:
            known[found] = _shared(found, operands, (), known)
        inner[found] = placeholder(len(tensors))
        tensors.append(known[found])
    if not inner:
        return apply(expression, *operands, axes=axes)
    return apply(replaced(expression, inner), *tensors, axes=axes)
