"""Products of many factors as products of two."""

from __future__ import annotations

import math

import opt_einsum
import sympy as sp

from ..elementwise import apply, placeholder
from ..leaves import Input
from ..product import Product, product
from ..tensor import Axes, Axis, Labelled, Tensor
from .base import Rewriting

__all__ = ["ContractProducts"]

# Length that stands for the sample axis when contraction orders are compared: any number far
# above the feature axes makes sample-invariant products hoist wherever that saves operations.
_SAMPLES = 4096
# Factors of which all orders are compared; there are n! (n - 1)!/2^(n - 1) of them.
_TRIED = 6


class ContractProducts(Rewriting):
    """Split every product of three or more factors into pairwise ones, cheapest order first.

    A sum over samples first contracts all per-sample factors with each other, so that what the
    blocks of samples accumulate is small and invariant factors come after the reduction.
    """

    name = "contract products"
    summary = "products of many factors become products of two, in the cheapest order"

    def rule(self, tensor: Tensor) -> Tensor:
        """The product, two factors at a time."""
        if not isinstance(tensor, Product):
            return tensor
        coefficient, factors = tensor.coefficient, tensor.factors
        if coefficient == 0:  # a second derivative between kinks
            return product(0, (), tensor.axes)
        if tensor.sum_samples:
            factors = _reduced_first(factors, tensor.axes)
        elif abs(coefficient) != 1:
            coefficient, factors = _placed(coefficient, factors, tensor.axes)
        return _pairwise(coefficient, factors, tensor.axes)


def _placed(
    coefficient: sp.Expr, factors: list[Labelled], axes: Axes
) -> tuple[sp.Expr, list[Labelled]]:
    """Multiply the coefficient where it costs least: into what samples share, or a small factor."""
    sizes = [
        t.size if t.per_sample else math.inf if isinstance(t, Input) else 0 for t, _ in factors
    ]
    least = min(range(len(factors)), key=sizes.__getitem__)
    if len(factors) < 2 or sizes[least] >= math.prod(a.size for a in axes):
        return coefficient, factors
    tensor, labels = factors[least]
    # An elementwise value: a product would give up its coefficient to the products that read it.
    scaled = apply(coefficient * placeholder(0), tensor)
    return sp.Integer(1), [*factors[:least], (scaled, labels), *factors[least + 1 :]]


def _reduced_first(factors: list[Labelled], axes: Axes) -> list[Labelled]:
    varying = [f for f in factors if f[0].per_sample]
    fixed = [f for f in factors if not f[0].per_sample]
    needed = set(axes) | {a for _, ls in fixed for a in ls}
    kept = list(dict.fromkeys(a for _, ls in varying for a in ls if a in needed))
    while len(varying) > 2:
        varying = _contract_pair(varying, tuple(kept))
    return [(product(1, varying, kept, sum_samples=True), tuple(kept)), *fixed]


def _pairwise(coefficient: sp.Expr, factors: list[Labelled], axes: Axes) -> Tensor:
    while len(factors) > 2:
        factors = _contract_pair(factors, axes)
    return product(coefficient, factors, axes)


def _contract_pair(factors: list[Labelled], axes: Axes) -> list[Labelled]:
    """Contract the pair of factors that the best path takes first, of many a good one."""
    symbol: dict[Axis, str] = {}
    for axis in [a for _, ls in factors for a in ls] + list(axes):
        symbol.setdefault(axis, opt_einsum.get_symbol(len(symbol) + 1))
    sample = opt_einsum.get_symbol(0)
    terms = [(sample if t.per_sample else "") + "".join(symbol[a] for a in ls) for t, ls in factors]
    sizes = {sample: _SAMPLES, **{s: a.size for a, s in symbol.items()}}
    carried = {a for _, ls in factors for a in ls}  # other axes of the result are broadcasts
    output = (sample if any(t.per_sample for t, _ in factors) else "") + "".join(
        symbol[a] for a in axes if a in carried
    )
    shapes = [tuple(sizes[s] for s in term) for term in terms]
    subscripts = f"{','.join(terms)}->{output}"
    how = "optimal" if len(factors) <= _TRIED else "auto"
    path, _ = opt_einsum.contract_path(subscripts, *shapes, shapes=True, optimize=how)
    chosen = sorted(path[0])
    rest = [f for k, f in enumerate(factors) if k not in chosen]
    needed = set(axes) | {a for _, ls in rest for a in ls}
    labels = [a for k in chosen for a in factors[k][1]]
    kept = tuple(dict.fromkeys(a for a in labels if a in needed))
    merged = product(1, [factors[k] for k in chosen], kept)
    return [*rest, (merged, kept)]
