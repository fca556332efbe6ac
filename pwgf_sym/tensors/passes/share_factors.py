"""Polynomials written through their factors."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from ...declare.formula_checks import expanded_terms
from ..differentiate import replace
from ..elementwise import Elementwise, apply, placeholder
from ..tensor import Tensor, topological
from .base import Pass

__all__ = ["ShareFactors"]

# Polynomials that would have more terms are not multiplied out to see what divides them.
_LARGEST_POLYNOMIAL = 64


class ShareFactors(Pass):
    """Write a polynomial of a value through another polynomial of it that divides it.

    tanh'' = -2 tanh tanh' then costs two multiplications beside tanh'.
    """

    name = "share factors"
    summary = "a polynomial of a value through another that divides it: tanh'' = -2 tanh tanh'"

    def run(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs with quotients times factors for polynomials."""
        mapping: dict[Tensor, Tensor] = {}
        for operand, readers in _polynomials(outputs).items():
            readers.sort(key=lambda t: sp.degree(t.expression, placeholder(0)))
            for k, reader in enumerate(readers):
                own = set(reader.axes)  # a function may be repeated along axes of its own
                for factor in [one for one in readers[:k] if own.issuperset(one.axes)]:
                    quotient, rest = sp.div(reader.expression, factor.expression, placeholder(0))
                    if rest == 0:
                        product_of = quotient * placeholder(1)
                        mapping[reader] = apply(product_of, operand, factor, axes=reader.axes)
                        break
        return replace(outputs, mapping) if mapping else list(outputs)


def _polynomials(outputs: Sequence[Tensor]) -> dict[Tensor, list[Elementwise]]:
    """Polynomials of degree 2 and more, by their operand."""
    found: dict[Tensor, list[Elementwise]] = {}
    for tensor in topological(outputs):
        if isinstance(tensor, Elementwise) and len(tensor.operands) == 1:
            expression = tensor.expression
            short = expanded_terms(expression) <= _LARGEST_POLYNOMIAL
            short = short and expression.is_polynomial()
            if short and sp.degree(expression, placeholder(0)) > 1:
                found.setdefault(tensor.operands[0], []).append(tensor)
    return found
