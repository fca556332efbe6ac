"""Passes that make a graph cheap: shared functions, flat products, good contraction orders."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence

import opt_einsum
import sympy as sp

from ..declare.formula_checks import expanded_terms
from ..sharing import has_symbols, replaced
from . import ir
from .differentiate import replace
from .ir import Add, Axes, Elementwise, Input, Labelled, Product, Tensor, placeholder, product
from .stable import stable

__all__ = [
    "PASSES",
    "contract_products",
    "flatten_products",
    "gather_coefficients",
    "is_function",
    "read_renamed",
    "share_factors",
    "share_functions",
    "simplify",
    "stabilize",
]

# Length that stands for the sample axis when contraction orders are compared: any number far
# above the feature axes makes sample-invariant products hoist wherever that saves operations.
SAMPLES = 4096
# Polynomials that would have more terms are not multiplied out to see what divides them.
_LARGEST_POLYNOMIAL = 64


def simplify(outputs: Sequence[Tensor]) -> list[Tensor]:
    """All passes in their order."""
    for run in PASSES.values():
        outputs = run(outputs)
    return list(outputs)


def _rewrite(
    outputs: Sequence[Tensor], rule: Callable[[Tensor], Tensor], kept: Container[Tensor] = ()
) -> list[Tensor]:
    """Apply ``rule`` to every tensor, operands first; those ``kept`` get new operands only."""
    mapping: dict[Tensor, Tensor] = {}
    for tensor in ir.topological(outputs):
        known = {operand: mapping[operand] for operand in tensor.operands}
        (rebuilt,) = replace([tensor], known) if known else [tensor]
        mapping[tensor] = rebuilt if tensor in kept else rule(rebuilt)
    return [mapping[output] for output in outputs]


def stabilize(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Bring scalar expressions to their stable form, once nothing is differentiated any more."""

    def rule(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Elementwise):
            return tensor
        found = stable(tensor.expression)
        same = found == tensor.expression
        return tensor if same else ir.apply(found, *tensor.operands, axes=tensor.axes)

    return _rewrite(outputs, rule)


def share_functions(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Give every function application inside an elementwise expression its own tensor.

    Interning then computes it once: sigma' = 1 - tanh(a)**2 reads the stored tanh(a).
    """

    def rule(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Elementwise):
            return tensor
        return _shared(tensor.expression, tensor.operands, tensor.axes)

    return _rewrite(outputs, rule)


def share_factors(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Write a polynomial of a value through another polynomial of it that divides it.

    tanh'' = -2 tanh tanh' then costs two multiplications beside tanh'.
    """
    found: dict[Tensor, list[Elementwise]] = {}
    for tensor in ir.topological(outputs):
        if isinstance(tensor, Elementwise) and len(tensor.operands) == 1:
            expression = tensor.expression
            short = expanded_terms(expression) <= _LARGEST_POLYNOMIAL
            short = short and expression.is_polynomial()
            if short and sp.degree(expression, placeholder(0)) > 1:
                found.setdefault(tensor.operands[0], []).append(tensor)
    mapping: dict[Tensor, Tensor] = {}
    for operand, readers in found.items():
        readers.sort(key=lambda t: sp.degree(t.expression, placeholder(0)))
        for k, reader in enumerate(readers):
            for factor in readers[:k]:
                quotient, rest = sp.div(reader.expression, factor.expression, placeholder(0))
                if rest == 0:
                    product_of = quotient * placeholder(1)
                    mapping[reader] = ir.apply(product_of, operand, factor, axes=reader.axes)
                    break
    return replace(outputs, mapping) if mapping else list(outputs)


def is_function(expression: sp.Expr) -> bool:
    """Whether an expression's outermost operation is worth keeping: a function or a real power."""
    if not has_symbols(expression):  # a number such as 1/sqrt(pi)
        return False
    if isinstance(expression, sp.Pow):
        return not expression.exp.is_Integer or expression.exp < 0
    return isinstance(expression, sp.Function)


def _shared(
    expression: sp.Expr,
    operands: tuple[Tensor, ...],
    axes: Axes = (),
    known: dict[sp.Expr, Tensor] | None = None,
) -> Tensor:
    known = {} if known is None else known
    tensors, inner = list(operands), {}
    top = is_function(expression)
    for found in _outermost_functions(expression.args if top else (expression,)):
        if found not in known:
            known[found] = _shared(found, operands, (), known)
        inner[found] = placeholder(len(tensors))
        tensors.append(known[found])
    if not inner:
        return ir.apply(expression, *operands, axes=axes)
    return ir.apply(replaced(expression, inner), *tensors, axes=axes)


def _outermost_functions(expressions: Sequence[sp.Expr]) -> list[sp.Expr]:
    """Function applications that stand in no other one, each once."""
    found, seen, stack = [], set(), list(reversed(expressions))
    while stack:
        part = stack.pop()
        if part in seen:
            continue
        seen.add(part)
        if is_function(part):
            found.append(part)
        else:
            stack.extend(reversed(part.args))
    return found


def gather_coefficients(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Take real numbers out of per-sample products and sums, so that what reads them multiplies.

    The time step of a map stands in every cotangent: it then goes with them into the sums over the
    samples, where it costs nothing, and is multiplied once where cotangents are added up.  Products
    that are outputs themselves keep theirs, or they would be there twice.
    """

    def rule(tensor: Tensor) -> Tensor:
        if isinstance(tensor, Add) and tensor.per_sample:
            return _common_taken_out(tensor.operands)
        number = _coefficient(tensor)
        if not isinstance(tensor, Product) or number == 1:
            return tensor
        return ir.scale(number, product(1, tensor.factors, tensor.axes))

    return _rewrite(outputs, rule, {tensor for tensor in outputs if isinstance(tensor, Product)})


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
            members = [ir.scale(number, ir.add(*signed))]
        found += members
    return ir.add(*found)


def _signed(term: Tensor, positive: bool) -> Tensor:
    """A scaled tensor without its number, or the negative of that."""
    factors = term.factors if isinstance(term, Product) else [(term, term.axes)]
    return product(1 if positive else -1, factors, term.axes)


def flatten_products(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Merge into a product its factors that are products read only there, or outer products.

    An outer product (of a scalar of the sample with a matrix, say) is larger than what it is made
    of: merged into every product that reads it, it need not be formed at all.
    """
    count = ir.uses(outputs)

    def merges(factor: Product) -> bool:
        read_here = once.get(factor, False) or _is_outer_product(factor)
        return read_here and not factor.sum_samples

    def rule(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Product):
            return tensor
        coefficient, factors = tensor.coefficient, list[Labelled]()
        for operand, own in tensor.factors:
            if isinstance(operand, Product) and merges(operand):
                coefficient *= operand.coefficient
                factors += _inlined(operand, own, tensor, factors)
            else:
                factors.append((operand, own))
        # A sum over an axis along which an inlined factor was a broadcast repeats every term.
        lost = set(tensor.summed) - {a for _, ls in factors for a in ls}
        coefficient *= math.prod(axis.size for axis in lost)
        return product(coefficient, factors, tensor.axes, tensor.sum_samples)

    # A tensor's number of uses is that of the tensor it was rebuilt from.
    mapping: dict[Tensor, Tensor] = {}
    once: dict[Tensor, bool] = {}
    for tensor in ir.topological(outputs):
        known = {operand: mapping[operand] for operand in tensor.operands}
        (rebuilt,) = replace([tensor], known) if known else [tensor]
        mapping[tensor] = result = rule(rebuilt)
        once[result] = count[tensor] == 1 and once.get(result, True)
    return [mapping[output] for output in outputs]


def _is_outer_product(tensor: Product) -> bool:
    """Whether a per-sample product sums nothing and has more entries than any per-sample factor."""
    if not tensor.per_sample or len(tensor.operands) < 2 or tensor.summed:
        return False
    return _size(tensor) > max(_size(t) for t in tensor.operands if t.per_sample)


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
                    free = ir.Axis(free.name + "_", free.size)
                rename[axis] = free
                taken.add(free)
    return [(t, tuple(rename[a] for a in labels)) for t, labels in inner.factors]


def contract_products(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Split every product of three or more factors into pairwise ones, cheapest order first.

    A sum over samples first contracts all per-sample factors with each other, so that what the
    blocks of samples accumulate is small and invariant factors come after the reduction.
    """

    def rule(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Product):
            return tensor
        coefficient, factors = tensor.coefficient, tensor.factors
        if tensor.sum_samples:
            factors = _reduced_first(factors, tensor.axes)
        elif abs(coefficient) != 1:
            coefficient, factors = _placed(coefficient, factors, tensor.axes)
        return _pairwise(coefficient, factors, tensor.axes)

    return _rewrite(outputs, rule)


def _placed(
    coefficient: sp.Expr, factors: list[Labelled], axes: Axes
) -> tuple[sp.Expr, list[Labelled]]:
    """Multiply the coefficient where it costs least: into what samples share, or a small factor."""
    sizes = [
        _size(t) if t.per_sample else math.inf if isinstance(t, Input) else 0 for t, _ in factors
    ]
    least = min(range(len(factors)), key=sizes.__getitem__)
    if len(factors) < 2 or sizes[least] >= math.prod(a.size for a in axes):
        return coefficient, factors
    tensor, labels = factors[least]
    # An elementwise value: a product would give up its coefficient to the products that read it.
    scaled = ir.apply(coefficient * placeholder(0), tensor)
    return sp.Integer(1), [*factors[:least], (scaled, labels), *factors[least + 1 :]]


def _size(tensor: Tensor) -> int:
    return math.prod(axis.size for axis in tensor.axes)


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


def read_renamed(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Read parameters under other names of their axes as they stand, without a copy."""

    def rule(tensor: Tensor) -> Tensor:
        match tensor:
            case Product(coefficient, (Input(name, _, False),), (labels,), axes):
                return Input(name, labels, False) if coefficient == 1 and labels == axes else tensor
        return tensor

    return _rewrite(outputs, rule)


#: The passes by name, in their order.
PASSES = {
    "stabilize": stabilize,
    "share functions": share_functions,
    "share factors": share_factors,
    "gather coefficients": gather_coefficients,
    "flatten products": flatten_products,
    "contract products": contract_products,
    "read renamed": read_renamed,
}
