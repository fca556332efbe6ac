"""Forward and reverse mode as transformations IR -> IR.

Both work on any graph of :mod:`pwgf_sym.lower.ir`; the only derivatives of scalars are SymPy's.
Both answer a :class:`~pwgf_sym.lower.ir.Zero` where nothing depends on what moves.
``extra`` axes (for instance a basis axis, for a whole Jacobian at once) ride along in front of
every cotangent and behind every tangent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..derive.borders import jump
from ..derive.calculus import derivative
from ..derive.pieces import JumpSlope
from ..sharing import has_symbols
from . import ir
from .ir import (
    Add,
    Axes,
    Axis,
    Constant,
    Delta,
    Elementwise,
    Inverse,
    Labelled,
    LogDet,
    Product,
    Tensor,
    Zero,
    placeholder,
    product,
)
from .stable import smooth

__all__ = ["jacobian", "jvp", "replace", "trace_of_jacobian", "vjp"]


def jvp(
    outputs: Sequence[Tensor], tangents: Mapping[Tensor, Tensor], extra: Axes = ()
) -> list[Tensor]:
    """Tangents of ``outputs`` for the given tangents of inputs.

    A tangent of a tensor with axes ``a`` has axes ``a + extra``.
    """
    found: dict[Tensor, Tensor] = {}
    for tensor in ir.topological(outputs):
        if tensor in tangents:
            found[tensor] = tangents[tensor]
            continue
        terms = [
            _pushed(tensor, k, found[operand], extra)
            for k, operand in enumerate(tensor.operands)
            if not isinstance(found[operand], Zero)
        ]
        found[tensor] = ir.add(*terms) if terms else Zero(tensor.axes + extra)
    return [found[output] for output in outputs]


def _pushed(tensor: Tensor, k: int, tangent: Tensor, extra: Axes) -> Tensor:
    """The part of a tensor's tangent that comes from the tangent of its operand ``k``."""
    out = tensor.axes + extra
    match tensor:
        case Add():
            return tangent
        case Product(coefficient, _, labels, _, sum_samples):
            factors = tensor.factors
            factors[k] = (tangent, labels[k] + extra)
            return product(coefficient, factors, out, sum_samples)
        case Elementwise(_, operands):
            partial = _partial(tensor, k)
            factors = [(partial, partial.axes), (tangent, operands[k].axes + extra)]
            return product(1, factors, out)
        case LogDet(matrix):
            row, column = matrix.axes
            factors = [(Inverse(matrix), (column, row)), (tangent, (row, column, *extra))]
            return product(1, factors, out)
        case Inverse(matrix):
            row, column = matrix.axes
            left, right = _fresh(column), _fresh(row)
            factors = [(tensor, (column, right)), (tangent, (right, left, *extra))]
            return product(-1, [*factors, (tensor, (left, row))], out)
    raise TypeError(f"no forward rule for {tensor.word}")


def _fresh(axis: Axis) -> Axis:
    return Axis(axis.name + "_", axis.size)


def _partial(tensor: Elementwise, k: int) -> Tensor:
    formula = tensor.expression
    if jump(formula) is not None:
        return ir.apply(JumpSlope(placeholder(k)), *tensor.operands)
    slope = smooth(derivative(formula, placeholder(k)))
    if not has_symbols(slope):
        return ir.constant(slope)
    return ir.apply(slope, *tensor.operands)


def vjp(
    outputs: Mapping[Tensor, Tensor],
    wrt: Iterable[Tensor],
    extra: Axes = (),
    lift: bool = False,
) -> list[Tensor]:
    """Cotangents of ``wrt`` for the given cotangents of ``outputs``.

    A cotangent of a tensor with axes ``a`` has axes ``extra + a``.  The cotangent of an invariant
    tensor is summed over the samples, except when ``lift`` is set: then it stays per sample (that
    makes the sample Jacobian).
    """
    found: dict[Tensor, list[Tensor]] = {output: [ct] for output, ct in outputs.items()}
    total: dict[Tensor, Tensor] = {}
    for tensor in reversed(list(ir.topological(outputs))):
        if tensor not in found:
            continue
        total[tensor] = cotangent = ir.add(*found[tensor])
        for k, operand in enumerate(tensor.operands):
            if not isinstance(operand, (Constant, Delta, Zero)):
                term = _pulled(tensor, k, cotangent, extra, lift)
                found.setdefault(operand, []).append(term)
    return [total[tensor] if tensor in total else Zero(extra + tensor.axes) for tensor in wrt]


def _pulled(tensor: Tensor, k: int, cotangent: Tensor, extra: Axes, lift: bool) -> Tensor:
    """What the cotangent of a tensor contributes to the cotangent of its operand ``k``."""
    operand, coefficient = tensor.operands[k], 1
    factors: list[Labelled] = [(cotangent, extra + tensor.axes)]
    match tensor:
        case Product():
            return _pulled_product(tensor, k, cotangent, extra, lift)
        case Add():
            pass
        case Elementwise():
            partial = _partial(tensor, k)
            factors.append((partial, partial.axes))
        case LogDet(matrix):
            inverse = Inverse(matrix)
            factors.append((inverse, inverse.axes))
        case Inverse(matrix):
            row, column = matrix.axes
            left, right = _fresh(row), _fresh(column)
            coefficient, inner = -1, (cotangent, (*extra, right, left))
            factors = [(tensor, (right, row)), inner, (tensor, (column, left))]
        case _:
            raise TypeError(f"no reverse rule for {tensor.word}")
    return product(coefficient, factors, extra + operand.axes, _sums(factors, operand, lift))


def _pulled_product(tensor: Product, k: int, cotangent: Tensor, extra: Axes, lift: bool) -> Tensor:
    labels, operand, own = tensor.labels, tensor.operands[k], list(tensor.labels[k])
    factors = [(cotangent, extra + tensor.axes)]
    factors += [factor for j, factor in enumerate(tensor.factors) if j != k]
    taken = {a for ls in labels for a in ls} | set(extra + tensor.axes)
    for position, axis in enumerate(own):  # a repeated label reads a diagonal
        if axis in own[:position]:
            while own[position] in taken:
                own[position] = _fresh(own[position])
            taken.add(own[position])
            factors.append((Delta(axis, own[position]), (axis, own[position])))
    sums = _sums(factors, operand, lift)
    result = product(tensor.coefficient, factors, extra + tuple(own), sums)
    if tuple(own) == operand.axes:
        return result
    # The product named the operand's axes by its own labels: give them their names back.
    return _rename(result, extra + operand.axes)


def _rename(tensor: Tensor, axes: Axes) -> Tensor:
    """The same tensor under other axis names."""
    rename = dict(zip(tensor.axes, axes, strict=True))
    if not isinstance(tensor, Product):
        return product(1, [(tensor, axes)], axes)
    taken = {*axes, *tensor.summed}
    for axis in sorted(
        tensor.summed, key=lambda a: a.name
    ):  # keep summed labels apart from new names
        free = axis
        while axis in axes and free in taken:
            free = _fresh(free)
        taken.add(free)
        rename[axis] = free
    factors = [(operand, tuple(rename[a] for a in own)) for operand, own in tensor.factors]
    return product(tensor.coefficient, factors, axes, tensor.sum_samples)


def _sums(factors: Sequence[Labelled], operand: Tensor, lift: bool) -> bool:
    return not lift and not operand.per_sample and any(t.per_sample for t, _ in factors)


def jacobian(output: Tensor, state: Tensor, basis: str = "e") -> Tensor:
    """d output / d state with axes ``output.axes + (basis,)``: forward mode with a basis."""
    axis = Axis(basis, state.axes[0].size)
    (tangent,) = jvp([output], {state: Delta(state.axes[0], axis)}, (axis,))
    if isinstance(tangent, Zero):
        raise ValueError("the output does not depend on the state")
    return tangent


def trace_of_jacobian(field: Tensor, state: Tensor) -> Tensor:
    """Divergence of a field: the trace of its Jacobian, distributed over the sums in it.

    The deltas of the basis disappear by renaming, so that for A x + b + W2 sigma(W1 x + c) what is
    left is tr A + sum_k sigma'(a_k) (W1 W2)_kk, whose last factor no longer depends on the sample.
    """
    full = jacobian(field, state)
    return ir.add(*_traced(full, field.axes[0], full.axes[-1]))


def _traced(tensor: Tensor, first: Axis, second: Axis) -> list[Tensor]:
    match tensor:
        case Add(terms):
            return [term for inner in terms for term in _traced(inner, first, second)]
        case Delta():
            return [ir.constant(first.size)]
        case Product(coefficient, (Add() | Delta() as inner,), (labels,)):
            back = dict(zip(labels, inner.axes, strict=True))
            parts = _traced(inner, back[first], back[second])
            return [ir.scale(coefficient, part) for part in parts]
        case Product(coefficient, _, _, _, sum_samples):
            factors = [(t, _with(first, second, labels)) for t, labels in tensor.factors]
            return [product(coefficient, factors, (), sum_samples)]
    return [product(1, [(tensor, _with(first, second, tensor.axes))], ())]


def _with(first: Axis, second: Axis, labels: Axes) -> Axes:
    """Labels with the first axis for the second one."""
    return tuple(first if axis == second else axis for axis in labels)


def replace(outputs: Sequence[Tensor], mapping: Mapping[Tensor, Tensor]) -> list[Tensor]:
    """The same graph with some tensors replaced (the replacement is not looked into)."""
    new: dict[Tensor, Tensor] = dict(mapping)
    stack = [(tensor, False) for tensor in outputs]
    while stack:
        tensor, expanded = stack.pop()
        if tensor in new:
            continue
        if not expanded:
            stack.append((tensor, True))
            stack += [(operand, False) for operand in tensor.operands]
            continue
        new[tensor] = _rebuilt(tensor, [new[operand] for operand in tensor.operands])
    return [new[output] for output in outputs]


def _rebuilt(tensor: Tensor, operands: Sequence[Tensor]) -> Tensor:
    if tuple(operands) == tensor.operands:
        return tensor
    match tensor:
        case Product(coefficient, _, labels, axes, sum_samples):
            return product(coefficient, zip(operands, labels, strict=True), axes, sum_samples)
        case Add():
            return ir.add(*operands)
        case Elementwise(expression, _, axes):
            return ir.apply(expression, *operands, axes=axes)
        case Inverse() | LogDet():
            return type(tensor)(*operands)
    raise TypeError(f"{tensor.word} has no operands")
