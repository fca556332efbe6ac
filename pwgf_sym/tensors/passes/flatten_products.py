"""Products of products as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..product import Product, product
from ..tensor import Axes, Labelled, Tensor, count_uses, topological
from .base import Pass

__all__ = ["FlattenProducts"]


class FlattenProducts(Pass):
    """Merge into a product its factors that are products read only there, or outer products.

    An outer product (of a scalar of the sample with a matrix, say) is larger than what it is made
    of: merged into every product that reads it, it need not be formed at all.
    """

    name = "flatten products"
    summary = "nested products that are read once, and outer products, become one"

    def run(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs in products as large as may be."""
        count = count_uses(outputs)
        # A tensor's number of uses is that of the tensor it was rebuilt from.
        mapping: dict[Tensor, Tensor] = {}
        once: dict[Tensor, bool] = {}
        for tensor in topological(outputs):
            rebuilt = tensor.with_operands(tuple(mapping[t] for t in tensor.operands))
            merged = _merged(rebuilt, once) if isinstance(rebuilt, Product) else rebuilt
            mapping[tensor] = merged
            once[merged] = count[tensor] == 1 and once.get(merged, True)
        return [mapping[output] for output in outputs]


def _merged(tensor: Product, once: dict[Tensor, bool]) -> Tensor:
    """The product with the factors of its factors, where these are read here only."""
    coefficient, factors = tensor.coefficient, list[Labelled]()
    for operand, own in tensor.factors:
        if isinstance(operand, Product) and _merges(operand, once):
            coefficient *= operand.coefficient
            factors += _inlined(operand, own, tensor, factors)
        else:
            factors.append((operand, own))
    # A sum over an axis along which an inlined factor was a broadcast repeats every term.
    lost = set(tensor.summed) - {a for _, ls in factors for a in ls}
    coefficient *= math.prod(axis.size for axis in lost)
    return product(coefficient, factors, tensor.axes, tensor.sum_samples)


def _merges(factor: Product, once: dict[Tensor, bool]) -> bool:
    read_here = once.get(factor, False) or _is_outer_product(factor)
    return read_here and not factor.sum_samples


def _is_outer_product(tensor: Product) -> bool:
    """Whether a per-sample product sums nothing and has more entries than any per-sample factor."""
    if not tensor.per_sample or len(tensor.operands) < 2 or tensor.summed:
        return False
    return tensor.size > max(t.size for t in tensor.operands if t.per_sample)


def _inlined(
    inner: Product, own: Axes, outer: Product, factors: Sequence[Labelled]
) -> list[Labelled]:
    """Factors of an inner product under the outer product's labels, summed labels made unique."""
    rename = dict(zip(inner.axes, own, strict=True))
    taken = {a for ls in outer.labels for a in ls} | set(outer.axes)
    taken |= {a for _, ls in factors for a in ls}
    for labels in inner.labels:
        for axis in labels:
            if axis not in rename:
                free = axis
                while free in taken:
                    free = free.fresh
                rename[axis] = free
                taken.add(free)
    return [(t, tuple(rename[a] for a in labels)) for t, labels in inner.factors]
