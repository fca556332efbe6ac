"""Numbers where they are multiplied once."""

from __future__ import annotations

from collections.abc import Container, Sequence

import sympy as sp

from ..add import Add, add
from ..product import Product, product, scale
from ..tensor import Tensor
from .base import Rewriting

__all__ = ["GatherCoefficients"]


class GatherCoefficients(Rewriting):
    """Take real numbers out of per-sample products and sums, so that what reads them multiplies.

    The time step of a map stands in every cotangent: it then goes with them into the sums over the
    samples, where it costs nothing, and is multiplied once where cotangents are added up.  Products
    that are outputs themselves keep theirs, or they would be there twice.
    """

    name = "gather coefficients"
    summary = (
        "numbers move from per-sample products to what reads them, and before sums that share one"
    )

    def rule(self, tensor: Tensor) -> Tensor:
        """A number times what has none; of a sum the numbers that its terms share."""
        if isinstance(tensor, Add) and tensor.per_sample:
            return _common_taken_out(tensor.operands)
        number = _coefficient(tensor)
        if not isinstance(tensor, Product) or number == 1:
            return tensor
        return scale(number, product(1, tensor.factors, tensor.axes))

    def kept(self, outputs: Sequence[Tensor]) -> Container[Tensor]:
        """Products that are outputs."""
        return {tensor for tensor in outputs if isinstance(tensor, Product)}


def _coefficient(tensor: Tensor) -> sp.Expr:
    """The number that stands before a per-sample product; 1 instead of 0, 1 and -1."""
    if not isinstance(tensor, Product) or not tensor.per_sample:
        return sp.S.One
    return sp.S.One if abs(tensor.coefficient) in (0, 1, 1.0) else tensor.coefficient


def _common_taken_out(terms: Sequence[Tensor]) -> Tensor:
    """The sum of the terms; those with a common coefficient are added up before it multiplies."""
    groups: dict[sp.Expr, list[Tensor]] = {}
    for term in terms:
        # A product of several factors has kept its number, as it is an output.
        alone = len(term.operands) == 1
        groups.setdefault(abs(_coefficient(term)) if alone else sp.S.One, []).append(term)
    found = []
    for size, members in groups.items():
        if size != 1 and len(members) > 1:
            negative = all(_coefficient(term) == -size for term in members)
            number = -size if negative else size
            signed = [_signed(term, _coefficient(term) == number) for term in members]
            members = [scale(number, add(*signed))]
        found += members
    return add(*found)


def _signed(term: Tensor, positive: bool) -> Tensor:
    """A scaled tensor without its number, or the negative of that."""
    factors = term.factors if isinstance(term, Product) else [(term, term.axes)]
    return product(1 if positive else -1, factors, term.axes)
