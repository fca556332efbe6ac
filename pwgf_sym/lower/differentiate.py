"""Forward and reverse mode as transformations IR -> IR.

Both work on any graph of :mod:`pwgf_sym.lower.ir`; the only derivatives of scalars are SymPy's.
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
from .ir import Axis, Tensor, placeholder, product
from .stable import smooth

__all__ = ["jacobian", "jvp", "replace", "trace_of_jacobian", "vjp"]


def jvp(
    outputs: Sequence[Tensor], tangents: Mapping[Tensor, Tensor], extra: tuple[Axis, ...] = ()
) -> list[Tensor | None]:
    """Tangents of ``outputs`` for the given tangents of inputs (``None`` where it vanishes).

    A tangent of a tensor with axes ``a`` has axes ``a + extra``.
    """
    found: dict[Tensor, Tensor | None] = {}
    for tensor in ir.topological(outputs):
        if tensor in tangents:
            found[tensor] = tangents[tensor]
            continue
        terms = [
            _pushed(tensor, k, found[operand], extra)
            for k, operand in enumerate(tensor.operands)
            if found[operand] is not None
        ]
        found[tensor] = ir.add(*terms) if terms else None
    return [found[output] for output in outputs]


def _pushed(tensor: Tensor, k: int, tangent: Tensor, extra) -> Tensor:
    """The part of a tensor's tangent that comes from the tangent of its operand ``k``."""
    out = tensor.axes + extra
    if tensor.kind == "add":
        return tangent
    if tensor.kind == "product":
        coefficient, labels, sum_samples = tensor.data
        factors = list(zip(tensor.operands, labels, strict=True))
        factors[k] = (tangent, labels[k] + extra)
        return product(coefficient, factors, out, sum_samples)
    if tensor.kind == "elementwise":
        partial = _partial(tensor, k)
        factors = [(partial, partial.axes), (tangent, tensor.operands[k].axes + extra)]
        return product(1, factors, out)
    row, column = tensor.operands[0].axes
    if tensor.kind == "logdet":
        inverse = ir.inverse(tensor.operands[0])
        return product(1, [(inverse, (column, row)), (tangent, (row, column, *extra))], out)
    if tensor.kind == "inverse":
        left, right = _fresh(column), _fresh(row)
        factors = [(tensor, (column, right)), (tangent, (right, left, *extra))]
        return product(-1, [*factors, (tensor, (left, row))], out)
    raise TypeError(f"no forward rule for {tensor.kind}")


def _fresh(axis: Axis) -> Axis:
    return Axis(axis.name + "_", axis.size)


def _partial(tensor: Tensor, k: int) -> Tensor:
    formula = tensor.data[0]
    if jump(formula) is not None:
        return ir.apply(JumpSlope(placeholder(k)), *tensor.operands)
    slope = smooth(derivative(formula, placeholder(k)))
    if not has_symbols(slope):
        return ir.constant(slope)
    return ir.apply(slope, *tensor.operands)


def vjp(
    outputs: Mapping[Tensor, Tensor],
    wrt: Iterable[Tensor],
    extra: tuple[Axis, ...] = (),
    lift: bool = False,
) -> list[Tensor | None]:
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
            term = _pulled(tensor, k, cotangent, extra, lift)
            if term is not None:
                found.setdefault(operand, []).append(term)
    return [total.get(tensor) for tensor in wrt]


def _pulled(tensor: Tensor, k: int, cotangent: Tensor, extra, lift: bool) -> Tensor | None:
    """What the cotangent of a tensor contributes to the cotangent of its operand ``k``."""
    operand = tensor.operands[k]
    if operand.kind == "constant" or operand.kind == "delta":
        return None
    source, out = extra + tensor.axes, extra + operand.axes
    if tensor.kind == "product":
        return _pulled_product(tensor, k, cotangent, extra, lift)
    if tensor.kind == "add":
        factors = [(cotangent, source)]
    elif tensor.kind == "elementwise":
        partial = _partial(tensor, k)
        factors = [(cotangent, source), (partial, partial.axes)]
    elif tensor.kind == "logdet":
        inverse = ir.inverse(operand)
        factors = [(cotangent, extra), (inverse, inverse.axes)]
    elif tensor.kind == "inverse":
        row, column = operand.axes
        left, right = _fresh(row), _fresh(column)
        factors = [
            (tensor, (right, row)),
            (cotangent, (*extra, right, left)),
            (tensor, (column, left)),
        ]
        return product(-1, factors, out, _sums(factors, operand, lift))
    else:
        raise TypeError(f"no reverse rule for {tensor.kind}")
    return product(1, factors, out, _sums(factors, operand, lift))


def _pulled_product(tensor: Tensor, k: int, cotangent: Tensor, extra, lift: bool) -> Tensor:
    coefficient, labels, _ = tensor.data
    operand, own = tensor.operands[k], list(labels[k])
    factors = [(cotangent, extra + tensor.axes)]
    factors += [(other, labels[j]) for j, other in enumerate(tensor.operands) if j != k]
    taken = {a for ls in labels for a in ls} | set(extra + tensor.axes)
    for position, axis in enumerate(own):  # a repeated label reads a diagonal
        if axis in own[:position]:
            while own[position] in taken:
                own[position] = _fresh(own[position])
            taken.add(own[position])
            factors.append((ir.delta(axis, own[position]), (axis, own[position])))
    result = product(coefficient, factors, extra + tuple(own), _sums(factors, operand, lift))
    if tuple(own) == operand.axes:
        return result
    # The product named the operand's axes by its own labels: give them their names back.
    return _rename(result, extra + operand.axes)


def _rename(tensor: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    """The same tensor under other axis names."""
    rename = dict(zip(tensor.axes, axes, strict=True))
    if tensor.kind != "product":
        return product(1, [(tensor, axes)], axes)
    coefficient, labels, sum_samples = tensor.data
    summed = {a for ls in labels for a in ls} - set(tensor.axes)
    taken = {*axes, *summed}
    for axis in sorted(summed, key=lambda a: a.name):  # keep summed labels apart from new names
        free = axis
        while axis in axes and free in taken:
            free = _fresh(free)
        taken.add(free)
        rename[axis] = free
    new = [tuple(rename[a] for a in ls) for ls in labels]
    return product(coefficient, zip(tensor.operands, new, strict=True), axes, sum_samples)


def _sums(factors, operand: Tensor, lift: bool) -> bool:
    return not lift and not operand.per_sample and any(t.per_sample for t, _ in factors)


def jacobian(output: Tensor, state: Tensor, basis: str = "e") -> Tensor:
    """d output / d state with axes ``output.axes + (basis,)``: forward mode with a basis."""
    axis = Axis(basis, state.axes[0].size)
    (tangent,) = jvp([output], {state: ir.delta(state.axes[0], axis)}, (axis,))
    if tangent is None:
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
    labels = tuple(first if axis == second else axis for axis in tensor.axes)
    if tensor.kind == "add":
        return [term for operand in tensor.operands for term in _traced(operand, first, second)]
    if tensor.kind == "delta":
        return [ir.constant(first.size)]
    if tensor.kind == "product":
        coefficient, inner, sum_samples = tensor.data
        if len(tensor.operands) == 1 and tensor.operands[0].kind in ("add", "delta"):
            back = dict(zip(inner[0], tensor.operands[0].axes, strict=True))
            terms = _traced(tensor.operands[0], back[first], back[second])
            return [ir.scale(coefficient, term) for term in terms]
        renamed = [tuple(first if a == second else a for a in ls) for ls in inner]
        return [product(coefficient, zip(tensor.operands, renamed, strict=True), (), sum_samples)]
    return [product(1, [(tensor, labels)], ())]


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
    if tensor.kind == "product":
        coefficient, labels, sum_samples = tensor.data
        return product(coefficient, zip(operands, labels, strict=True), tensor.axes, sum_samples)
    if tensor.kind == "add":
        return ir.add(*operands)
    if tensor.kind == "elementwise":
        return ir.apply(tensor.data[0], *operands, axes=tensor.axes)
    return {"inverse": ir.inverse, "logdet": ir.logdet}[tensor.kind](*operands)
