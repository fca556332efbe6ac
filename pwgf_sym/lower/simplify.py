"""Passes that make a graph cheap: shared functions, flat products, good contraction orders."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import opt_einsum
import sympy as sp

from . import ir
from .differentiate import replace
from .ir import Tensor, placeholder, product

__all__ = ["contract_products", "flatten_products", "share_functions", "simplify"]

# Length that stands for the sample axis when contraction orders are compared: any number far
# above the feature axes makes sample-invariant products hoist wherever that saves operations.
SAMPLES = 4096


def simplify(outputs: Sequence[Tensor]) -> list[Tensor]:
    """All passes in their order: functions shared, products flattened, then contracted pairwise."""
    return contract_products(flatten_products(share_functions(outputs)))


def _rewrite(outputs: Sequence[Tensor], rule: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Apply ``rule`` to every tensor, operands first."""
    mapping: dict[Tensor, Tensor] = {}
    for tensor in ir.topological(outputs):
        known = {operand: mapping[operand] for operand in tensor.operands}
        (rebuilt,) = replace([tensor], known) if known else [tensor]
        mapping[tensor] = rule(rebuilt)
    return [mapping[output] for output in outputs]


def share_functions(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Give every function application inside an elementwise expression its own tensor.

    Interning then computes it once: sigma' = 1 - tanh(a)**2 reads the stored tanh(a).
    """

    def rule(tensor: Tensor) -> Tensor:
        if tensor.kind != "elementwise":
            return tensor
        return _shared(tensor.data[0], tensor.operands)

    return _rewrite(outputs, rule)


def is_function(expression: sp.Expr) -> bool:
    """Whether an expression's outermost operation is worth keeping: a function or a real power."""
    if not expression.free_symbols:  # a number such as 1/sqrt(pi)
        return False
    if isinstance(expression, sp.Pow):
        return not expression.exp.is_Integer or expression.exp < 0
    return isinstance(expression, sp.Function)


def _shared(expression: sp.Expr, operands: tuple[Tensor, ...]) -> Tensor:
    if not any(is_function(part) for part in sp.preorder_traversal(expression)):
        return ir.apply(expression, *operands)
    tensors = list(operands)
    inner: dict[sp.Expr, sp.Expr] = {}
    top = is_function(expression)
    parts = expression.args if top else (expression,)
    for part in parts:
        for found in _outermost_functions(part):
            if found not in inner:
                inner[found] = placeholder(len(tensors))
                tensors.append(_shared(found, operands))
    return ir.apply(expression.xreplace(inner), *tensors)


def _outermost_functions(expression: sp.Expr) -> list[sp.Expr]:
    if is_function(expression):
        return [expression]
    return [found for part in expression.args for found in _outermost_functions(part)]


def flatten_products(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Merge a product that only one other product reads into that product."""
    count = ir.uses(outputs)

    def rule(tensor: Tensor) -> Tensor:
        if tensor.kind != "product":
            return tensor
        coefficient, labels, sum_samples = tensor.data
        factors = []
        for operand, own in zip(tensor.operands, labels, strict=True):
            if operand.kind == "product" and not operand.data[2] and once.get(operand, False):
                coefficient *= operand.data[0]
                factors += _inlined(operand, own, tensor, factors, labels)
            else:
                factors.append((operand, own))
        # A sum over an axis along which an inlined factor was a broadcast repeats every term.
        summed = {a for ls in labels for a in ls} - set(tensor.axes)
        lost = summed - {a for _, ls in factors for a in ls}
        coefficient *= math.prod(axis.size for axis in lost)
        return product(coefficient, factors, tensor.axes, sum_samples)

    # A tensor's number of uses is that of the tensor it was rebuilt from.
    mapping: dict[Tensor, Tensor] = {}
    once: dict[Tensor, bool] = {}
    for tensor in ir.topological(outputs):
        known = {operand: mapping[operand] for operand in tensor.operands}
        (rebuilt,) = replace([tensor], known) if known else [tensor]
        mapping[tensor] = result = rule(rebuilt)
        once[result] = count[tensor] == 1 and once.get(result, True)
    return [mapping[output] for output in outputs]


def _inlined(inner: Tensor, own, outer: Tensor, factors, labels) -> list[ir.Labelled]:
    """Factors of an inner product under the outer product's labels, summed labels made unique."""
    rename = dict(zip(inner.axes, own, strict=True))
    taken = {a for ls in labels for a in ls} | set(outer.axes)
    taken |= {a for _, ls in factors for a in ls}
    for ls in inner.data[1]:
        for axis in ls:
            if axis not in rename:
                free = axis
                while free in taken:
                    free = ir.Axis(free.name + "_", free.size)
                rename[axis] = free
                taken.add(free)
    return [
        (t, tuple(rename[a] for a in ls))
        for t, ls in zip(inner.operands, inner.data[1], strict=True)
    ]


def contract_products(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Split every product of three or more factors into pairwise ones, cheapest order first.

    A sum over samples first contracts all per-sample factors with each other, so that what the
    blocks of samples accumulate is small and invariant factors come after the reduction.
    """

    def rule(tensor: Tensor) -> Tensor:
        if tensor.kind != "product":
            return tensor
        coefficient, labels, sum_samples = tensor.data
        factors = list(zip(tensor.operands, labels, strict=True))
        if sum_samples:
            factors = _reduced_first(factors, tensor.axes)
        return _pairwise(coefficient, factors, tensor.axes)

    return _rewrite(outputs, rule)


def _reduced_first(factors, axes):
    varying = [f for f in factors if f[0].per_sample]
    fixed = [f for f in factors if not f[0].per_sample]
    needed = set(axes) | {a for _, ls in fixed for a in ls}
    kept = list(dict.fromkeys(a for _, ls in varying for a in ls if a in needed))
    while len(varying) > 2:
        varying = _contract_pair(varying, tuple(kept))
    return [(product(1, varying, kept, sum_samples=True), tuple(kept)), *fixed]


def _pairwise(coefficient, factors, axes) -> Tensor:
    while len(factors) > 2:
        factors = _contract_pair(factors, axes)
    return product(coefficient, factors, axes)


def _contract_pair(factors, axes):
    """Contract the pair of factors that the optimal path takes first."""
    symbol: dict[ir.Axis, str] = {}
    for axis in [a for _, ls in factors for a in ls] + list(axes):
        symbol.setdefault(axis, opt_einsum.get_symbol(len(symbol) + 1))
    sample = opt_einsum.get_symbol(0)
    terms = [(sample if t.per_sample else "") + "".join(symbol[a] for a in ls) for t, ls in factors]
    sizes = {sample: SAMPLES, **{s: a.size for a, s in symbol.items()}}
    carried = {a for _, ls in factors for a in ls}  # other axes of the result are broadcasts
    output = (sample if any(t.per_sample for t, _ in factors) else "") + "".join(
        symbol[a] for a in axes if a in carried
    )
    shapes = [tuple(sizes[s] for s in term) for term in terms]
    path, _ = opt_einsum.contract_path(
        ",".join(terms) + "->" + output, *shapes, shapes=True, optimize="optimal"
    )
    chosen = sorted(path[0])
    rest = [f for k, f in enumerate(factors) if k not in chosen]
    needed = set(axes) | {a for _, ls in rest for a in ls}
    labels = [a for k in chosen for a in factors[k][1]]
    kept = tuple(dict.fromkeys(a for a in labels if a in needed))
    merged = product(1, [factors[k] for k in chosen], kept)
    return [*rest, (merged, kept)]
