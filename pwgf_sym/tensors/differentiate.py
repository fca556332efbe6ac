"""Forward and reverse mode as transformations of tensors.

Both work on any graph; every operation has its own rules, and the only derivatives of scalars are
SymPy's.  Both answer a :class:`Zero` where nothing depends on what moves.  ``extra`` axes (for
instance a basis axis, for a whole Jacobian at once) ride along in front of every cotangent and
behind every tangent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .add import add
from .leaves import Delta, Zero, constant_array
from .tensor import Axes, Axis, Tensor, topological

__all__ = ["jacobian", "jacobian_matrix", "jvp", "replace", "trace_of_jacobian", "vjp"]


def jvp(
    outputs: Sequence[Tensor], tangents: Mapping[Tensor, Tensor], extra: Axes = ()
) -> list[Tensor]:
    """Tangents of ``outputs`` for the given tangents of inputs.

    A tangent of a tensor with axes ``a`` has axes ``a + extra``.
    """
    found: dict[Tensor, Tensor] = {}
    for tensor in topological(outputs):
        if tensor in tangents:
            found[tensor] = tangents[tensor]
            continue
        terms = [
            tensor.pushed(k, found[operand], extra)
            for k, operand in enumerate(tensor.operands)
            if not isinstance(found[operand], Zero)
        ]
        found[tensor] = add(*terms) if terms else Zero(tensor.axes + extra)
    return [found[output] for output in outputs]


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
    for tensor in reversed(list(topological(outputs))):
        if tensor not in found:
            continue
        total[tensor] = cotangent = add(*found[tensor])
        for k, operand in enumerate(tensor.operands):
            if operand.varies:
                term = tensor.pulled(k, cotangent, extra, lift)
                found.setdefault(operand, []).append(term)
    return [total[tensor] if tensor in total else Zero(extra + tensor.axes) for tensor in wrt]


def jacobian(output: Tensor, state: Tensor, basis: str = "e") -> Tensor:
    """d output / d state with axes ``output.axes + (basis,)``: forward mode with a basis."""
    axis = Axis(basis, state.axes[0].size)
    (tangent,) = jvp([output], {state: Delta(state.axes[0], axis)}, (axis,))
    if isinstance(tangent, Zero):
        raise ValueError("the output does not depend on the state")
    return tangent


def jacobian_matrix(output: Tensor, state: Tensor) -> Tensor:
    """The Jacobian with entries in memory, which are factorised: also that of a translation."""
    found = jacobian(output, state)
    if not isinstance(found, Delta):
        return found
    return constant_array(np.eye(found.first.size), found.axes)


def trace_of_jacobian(field: Tensor, state: Tensor) -> Tensor:
    """Divergence of a field: the trace of its Jacobian, distributed over the sums in it.

    The deltas of the basis disappear by renaming, so that for A x + b + W2 sigma(W1 x + c) what is
    left is tr A + sum_k sigma'(a_k) (W1 W2)_kk, whose last factor no longer depends on the sample.
    """
    full = jacobian(field, state)
    return add(*full.traced(field.axes[0], full.axes[-1]))


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
        new[tensor] = tensor.with_operands(tuple(new[operand] for operand in tensor.operands))
    return [new[output] for output in outputs]
