"""The tensor IR: what a map is made of between its formula and the emitted loops.

A value is a :class:`Tensor`: an operation on named axes, either *per sample* (one value for every
sample, the sample axis is implicit) or *sample-invariant* (parameters and what is computed from
them alone).  Structurally equal tensors are one object, so common subexpressions are shared by
construction.  The operations are few:

``input``        a parameter, a state or a stored value, by name
``delta``        the identity matrix over two axes
``constant``     one number
``product``      an einsum: coefficient times a product of tensors, summed over the axes that the
                 result does not carry, and over the samples when ``sum_samples`` is set
``add``          a sum of tensors of equal axes
``elementwise``  a SymPy scalar expression applied entry by entry
``inverse``      inverse of a square matrix over its two axes (axes swapped)
``logdet``       log |det| of a square matrix
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sympy as sp

__all__ = ["Axis", "Tensor", "add", "apply", "delta", "input_tensor", "inverse", "logdet"]
__all__ += ["constant", "einsum", "placeholder", "product", "topological", "uses"]


@dataclass(frozen=True)
class Axis:
    """A named axis with its length."""

    name: str
    size: int

    def __repr__(self) -> str:
        return f"{self.name}:{self.size}"


class Tensor:
    """One value of the IR; build it with the functions of this module, never directly."""

    __slots__ = ("__weakref__", "axes", "data", "kind", "operands", "per_sample")

    kind: str
    operands: tuple[Tensor, ...]
    axes: tuple[Axis, ...]
    per_sample: bool
    data: tuple

    def __add__(self, other: Tensor) -> Tensor:
        return add(self, other)

    def __sub__(self, other: Tensor) -> Tensor:
        return add(self, scale(-1, other))

    def __neg__(self) -> Tensor:
        return scale(-1, self)

    def __mul__(self, factor) -> Tensor:
        return scale(factor, self)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        axes = ", ".join(map(str, self.axes))
        return f"<{self.kind}[{'n; ' if self.per_sample else ''}{axes}] {describe(self)}>"


_INTERNED: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def _intern(kind, operands, axes, per_sample, data) -> Tensor:
    # Operands are interned and kept alive by the node, so their ids identify them.
    key = (kind, tuple(map(id, operands)), axes, per_sample, data)
    found = _INTERNED.get(key)
    if found is None:
        found = Tensor.__new__(Tensor)
        found.kind, found.operands, found.axes = kind, operands, axes
        found.per_sample, found.data = per_sample, data
        _INTERNED[key] = found
    return found


def input_tensor(name: str, axes: Iterable[Axis] = (), per_sample: bool = False) -> Tensor:
    """A named value from outside: a parameter (invariant) or a state (per sample)."""
    return _intern("input", (), tuple(axes), per_sample, (name,))


def delta(first: Axis, second: Axis) -> Tensor:
    """Identity matrix: 1 where the two indices are equal."""
    return _intern("delta", (), (first, second), False, ())


def constant(value) -> Tensor:
    """One number."""
    return _intern("constant", (), (), False, (sp.sympify(value),))


def placeholder(position: int) -> sp.Symbol:
    """The symbol that stands for operand ``position`` in an elementwise expression."""
    return sp.Symbol(f"_{position}", real=True)


def apply(expression: sp.Expr, *operands: Tensor, axes: Iterable[Axis] = ()) -> Tensor:
    """Apply a SymPy scalar expression in ``placeholder(0..)`` entry by entry, with broadcasting.

    The result's axes are ``axes``, then those of the operands as they come.
    """
    axes = list(axes)
    for operand in operands:
        axes += [axis for axis in operand.axes if axis not in axes]
    used = [k for k in range(len(operands)) if expression.has(placeholder(k))]
    if not used:
        raise ValueError(f"elementwise expression {expression} uses none of its operands")
    if len(used) < len(operands):
        renamed = {placeholder(k): placeholder(j) for j, k in enumerate(used)}
        expression = expression.xreplace(renamed)
        operands = tuple(operands[k] for k in used)
    per_sample = any(operand.per_sample for operand in operands)
    return _intern("elementwise", tuple(operands), tuple(axes), per_sample, (expression,))


def add(*terms: Tensor) -> Tensor:
    """Sum of tensors of equal axes (invariant terms broadcast over the samples)."""
    if len(terms) == 1:
        return terms[0]
    if any(term.axes != terms[0].axes for term in terms):
        raise ValueError(f"sum of different axes: {[term.axes for term in terms]}")
    return _intern("add", tuple(terms), terms[0].axes, any(t.per_sample for t in terms), ())


def scale(factor, tensor: Tensor) -> Tensor:
    """A number times a tensor."""
    factor = sp.sympify(factor)
    return tensor if factor == 1 else product(factor, [(tensor, tensor.axes)], tensor.axes)


def inverse(matrix: Tensor) -> Tensor:
    """Inverse of a square matrix with axes (i, j); the result has axes (j, i)."""
    return _intern("inverse", (matrix,), matrix.axes[::-1], matrix.per_sample, ())


def logdet(matrix: Tensor) -> Tensor:
    """Logarithm of the absolute determinant of a square matrix."""
    return _intern("logdet", (matrix,), (), matrix.per_sample, ())


Labelled = tuple[Tensor, tuple[Axis, ...]]


def product(
    coefficient, operands: Iterable[Labelled], axes: Iterable[Axis], sum_samples: bool = False
) -> Tensor:
    """Einsum: ``coefficient * prod(operands)``, each operand with its axes relabelled.

    Labels that ``axes`` does not hold are summed; an axis that no operand carries is a broadcast.
    A delta is eliminated by renaming; factors that are scaled or relabelled tensors are read as the
    tensors themselves.  Summed labels get names of their own, so that equal sums are one tensor.
    """
    coefficient, axes = sp.sympify(coefficient), tuple(axes)
    factors: list[Labelled] = []
    for tensor, labels in operands:
        if tensor.kind == "constant":
            coefficient *= tensor.data[0]
        elif tensor.kind == "product" and len(tensor.operands) == 1 and _is_plain(tensor):
            coefficient *= tensor.data[0]
            under = dict(zip(tensor.axes, labels, strict=True))
            factors.append((tensor.operands[0], tuple(under[a] for a in tensor.data[1][0])))
        else:
            factors.append((_with_own_axes(tensor), tuple(labels)))
    factors, ones = _eliminate_deltas(factors, axes)
    coefficient *= ones
    if not factors:
        base = constant(coefficient)
        return base if not axes else _product(sp.Integer(1), [(base, ())], axes, False)
    alone = coefficient == 1 and len(factors) == 1 and not sum_samples
    if alone and factors[0][1] == axes == factors[0][0].axes:
        return factors[0][0]
    return _product(coefficient, _with_own_labels(factors, axes), axes, sum_samples)


def _with_own_labels(factors: list[Labelled], axes: tuple[Axis, ...]) -> list[Labelled]:
    """Summed labels called after the first axis that each stands at."""
    renamed = {axis: axis for axis in axes}
    for tensor, labels in factors:
        for own, label in zip(tensor.axes, labels, strict=True):
            if label not in renamed:
                while own in renamed.values():
                    own = Axis(own.name + "_", own.size)
                renamed[label] = own
    return [(tensor, tuple(renamed[a] for a in labels)) for tensor, labels in factors]


def _with_own_axes(tensor: Tensor) -> Tensor:
    """What samples share, its axes called after those of its factors: computed once.

    A value of a sample keeps the axes along which it is computed together with others.
    """
    if tensor.kind != "product" or tensor.per_sample or tensor.data[2]:
        return tensor
    coefficient, labels, _ = tensor.data
    factors = list(zip(tensor.operands, labels, strict=True))
    renamed: dict[Axis, Axis] = {}
    for (_, before), (_, after) in zip(factors, _with_own_labels(factors, ()), strict=True):
        renamed |= zip(before, after, strict=True)
    if not set(tensor.axes) <= set(renamed):  # an axis that no factor carries
        return tensor
    own = [(t, tuple(renamed[a] for a in ls)) for t, ls in factors]
    return _product(coefficient, own, tuple(renamed[a] for a in tensor.axes), False)


def _product(coefficient, factors, axes, sum_samples) -> Tensor:
    tensors = tuple(tensor for tensor, _ in factors)
    per_sample = any(tensor.per_sample for tensor in tensors) and not sum_samples
    data = (coefficient, tuple(labels for _, labels in factors), sum_samples)
    return _intern("product", tensors, axes, per_sample, data)


def _is_plain(tensor: Tensor) -> bool:
    """A product of one factor that scales it, takes a diagonal or renames axes; nothing summed."""
    labels = tensor.data[1][0]
    return set(labels) == set(tensor.axes) and not tensor.data[2]


def _eliminate_deltas(
    factors: list[Labelled], axes: tuple[Axis, ...]
) -> tuple[list[Labelled], int]:
    """Rename one index of every delta into the other where the result does not need both.

    The second result is the number of ones on diagonals that were summed.
    """
    k, ones = 0, 1
    while k < len(factors):
        tensor, labels = factors[k]
        others = {a for j, (_, ls) in enumerate(factors) if j != k for a in ls}
        if tensor.kind == "delta" and labels[0] == labels[1]:  # its diagonal: all ones
            ones *= 1 if labels[0] in others or labels[0] in axes else labels[0].size
            del factors[k]
            continue
        removable = tensor.kind == "delta" and labels[0] != labels[1]
        gone = [a for a in labels if a not in axes and a in others] if removable else []
        if not gone:
            k += 1
            continue
        kept = labels[1] if gone[0] == labels[0] else labels[0]
        rename = {gone[0]: kept}
        factors = [
            (t, tuple(rename.get(a, a) for a in ls)) for j, (t, ls) in enumerate(factors) if j != k
        ]
        k = 0
    return factors, ones


def einsum(subscripts: str, *operands: Tensor) -> Tensor:
    """Einsum in NumPy's notation over the operands' own axes: ``einsum("ij,j->i", A, x)``."""
    inputs, output = subscripts.replace(" ", "").split("->")
    axis_of: dict[str, Axis] = {}
    taken: dict[Axis, str] = {}
    labelled = []
    for letters, tensor in zip(inputs.split(","), operands, strict=True):
        labels = []
        for letter, axis in zip(letters, tensor.axes, strict=True):
            if letter not in axis_of:
                while axis in taken:  # two letters over one axis name: the second gets a new name
                    axis = Axis(axis.name + "_", axis.size)
                axis_of[letter], taken[axis] = axis, letter
            if axis_of[letter].size != axis.size:
                raise ValueError(f"axis {letter} has lengths {axis_of[letter].size}, {axis.size}")
            labels.append(axis_of[letter])
        labelled.append((tensor, tuple(labels)))
    return product(1, labelled, [axis_of[letter] for letter in output])


def topological(outputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """Every tensor that the outputs depend on, operands first, in a fixed order."""
    seen: set[Tensor] = set()
    stack = [(tensor, False) for tensor in reversed(list(outputs))]
    while stack:
        tensor, expanded = stack.pop()
        if expanded:
            yield tensor
        elif tensor not in seen:
            seen.add(tensor)
            stack.append((tensor, True))
            stack += [(operand, False) for operand in reversed(tensor.operands)]


def uses(outputs: Iterable[Tensor]) -> dict[Tensor, int]:
    """How often each tensor is an operand or an output."""
    outputs = list(outputs)
    count = dict.fromkeys(topological(outputs), 0)
    for tensor in list(count):
        for operand in tensor.operands:
            count[operand] += 1
    for tensor in outputs:
        count[tensor] += 1
    return count


def describe(tensor: Tensor) -> str:
    """One line that says how the tensor is computed."""
    names = ", ".join(t.data[0] if t.kind == "input" else t.kind for t in tensor.operands)
    if tensor.kind in ("input", "constant", "elementwise"):
        return f"{tensor.data[0]} of ({names})" if names else str(tensor.data[0])
    if tensor.kind == "product":
        coefficient, labels, sum_samples = tensor.data
        subscripts = ",".join("".join(a.name for a in ls) for ls in labels)
        out = "".join(a.name for a in tensor.axes)
        return f"{coefficient} * {subscripts}->{out} of ({names})" + " over n" * sum_samples
    return f"({names})"
