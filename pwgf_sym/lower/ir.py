"""The tensor IR: what a map is made of between its formula and the emitted loops.

A value is a :class:`Tensor`: an operation on named axes, either *per sample* (one value for every
sample, the sample axis is implicit) or *sample-invariant* (parameters and what is computed from
them alone).  Structurally equal tensors are one object, so common subexpressions are shared by
construction.  Every operation is one class:

:class:`Input`        a parameter, a state or a stored value, by name
:class:`Delta`        the identity matrix over two axes
:class:`Constant`     one number
:class:`Zero`         zeros over any axes, which sums and products absorb
:class:`Product`      an einsum: coefficient times a product of tensors, summed over the axes that
                      the result does not carry, and over the samples if ``sum_samples`` is set
:class:`Add`          a sum of tensors of equal axes
:class:`Elementwise`  a SymPy scalar expression applied entry by entry
:class:`Inverse`      inverse of a square matrix over its two axes (axes swapped)
:class:`LogDet`       log |det| of a square matrix

The functions :func:`add`, :func:`product`, :func:`einsum`, :func:`scale` and :func:`apply` bring an
operation to its simplest form; the classes of these operations take it as it stands.
"""

from __future__ import annotations

import weakref
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, dataclass_transform

import sympy as sp

__all__ = ["Add", "Axis", "Constant", "Delta", "Elementwise", "Input", "Inverse", "Labelled"]
__all__ += ["LogDet", "Product", "Tensor", "Zero", "add", "apply", "constant", "einsum"]
__all__ += ["input_tensor", "placeholder", "product", "scale", "topological", "uses"]

Node = TypeVar("Node", bound="Tensor")


@dataclass(frozen=True)
class Axis:
    """A named axis with its length."""

    name: str
    size: int

    def __repr__(self) -> str:
        return f"{self.name}:{self.size}"


Axes = tuple[Axis, ...]

_INTERNED: weakref.WeakValueDictionary[tuple[Any, ...], Any] = weakref.WeakValueDictionary()


class _Interning(type):
    """Makes calls of a class with equal arguments return one object."""

    def __call__(cls: type[Node], *args: Any, **named: Any) -> Node:
        made = type.__call__(cls, *args, **named)
        key = (cls, *[getattr(made, field) for field in cls.__match_args__])
        found: Node = _INTERNED.setdefault(key, made)
        return found


class Tensor(metaclass=_Interning):
    """One value of the IR.

    Attributes
    ----------
    axes : tuple of Axis
        Axes of the value, without that of the samples.
    per_sample : bool
        Whether every sample has a value of its own.
    operands : tuple of Tensor
        What it is computed from.
    """

    __match_args__: ClassVar[tuple[str, ...]]
    axes: Axes
    per_sample: bool
    operands: tuple[Tensor, ...]

    def _derive(self, **attributes: Any) -> None:
        """Set attributes that follow from the fields; these and the fields never change."""
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def __add__(self, other: Tensor) -> Tensor:
        return add(self, other)

    def __sub__(self, other: Tensor) -> Tensor:
        return add(self, scale(-1, other))

    def __neg__(self) -> Tensor:
        return scale(-1, self)

    def __mul__(self, factor: Any) -> Tensor:
        return scale(factor, self)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        axes = ", ".join(map(str, self.axes))
        return f"<{self.word}[{'n; ' if self.per_sample else ''}{axes}] {describe(self)}>"

    @property
    def word(self) -> str:
        """The operation in one word."""
        return type(self).__name__.lower()


@dataclass_transform(eq_default=False, frozen_default=True)
def _node(cls: type[Node]) -> type[Node]:
    """A class of tensors with these fields."""
    return dataclass(frozen=True, eq=False, repr=False)(cls)


@_node
class Input(Tensor):
    """A named value from outside: a parameter (invariant) or a state (per sample)."""

    name: str
    axes: Axes
    per_sample: bool

    def __post_init__(self) -> None:
        self._derive(operands=())


@_node
class Delta(Tensor):
    """Identity matrix: 1 where the two indices are equal."""

    first: Axis
    second: Axis

    def __post_init__(self) -> None:
        self._derive(axes=(self.first, self.second), per_sample=False, operands=())


@_node
class Constant(Tensor):
    """One number."""

    value: sp.Expr

    def __post_init__(self) -> None:
        self._derive(axes=(), per_sample=False, operands=())


@_node
class Zero(Tensor):
    """Zeros: the derivative of what depends on nothing."""

    axes: Axes

    def __post_init__(self) -> None:
        self._derive(per_sample=False, operands=())


@_node
class Product(Tensor):
    """Einsum: the coefficient times the product of the operands under these labels of their axes.

    Labels that ``axes`` does not hold are summed, and the samples if ``sum_samples`` is set.
    """

    coefficient: sp.Expr
    operands: tuple[Tensor, ...]
    labels: tuple[Axes, ...]
    axes: Axes
    sum_samples: bool

    def __post_init__(self) -> None:
        any_sample = any(operand.per_sample for operand in self.operands)
        self._derive(per_sample=any_sample and not self.sum_samples)

    @property
    def factors(self) -> list[Labelled]:
        """Operands with the labels of their axes."""
        return list(zip(self.operands, self.labels, strict=True))

    @property
    def summed(self) -> list[Axis]:
        """Labels that are summed over, each once, as they come."""
        labels = [axis for own in self.labels for axis in own]
        return list(dict.fromkeys(axis for axis in labels if axis not in self.axes))


@_node
class Add(Tensor):
    """Sum of tensors of equal axes (invariant terms broadcast over the samples)."""

    operands: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        any_sample = any(term.per_sample for term in self.operands)
        self._derive(axes=self.operands[0].axes, per_sample=any_sample)


@_node
class Elementwise(Tensor):
    """A SymPy scalar expression in ``placeholder(0..)``, entry by entry, with broadcasting."""

    expression: sp.Expr
    operands: tuple[Tensor, ...]
    axes: Axes

    def __post_init__(self) -> None:
        self._derive(per_sample=any(operand.per_sample for operand in self.operands))


@_node
class Inverse(Tensor):
    """Inverse of a square matrix with axes (i, j); the result has axes (j, i)."""

    matrix: Tensor

    def __post_init__(self) -> None:
        matrix = self.matrix
        self._derive(axes=matrix.axes[::-1], per_sample=matrix.per_sample, operands=(matrix,))


@_node
class LogDet(Tensor):
    """Logarithm of the absolute determinant of a square matrix."""

    matrix: Tensor

    def __post_init__(self) -> None:
        self._derive(axes=(), per_sample=self.matrix.per_sample, operands=(self.matrix,))


def input_tensor(name: str, axes: Iterable[Axis] = (), per_sample: bool = False) -> Input:
    """An input with any axes: by default an invariant number."""
    return Input(name, tuple(axes), per_sample)


def constant(value: Any) -> Constant:
    """A number of Python's or SymPy's as a tensor."""
    return Constant(sp.sympify(value))


def placeholder(position: int) -> sp.Symbol:
    """The symbol that stands for operand ``position`` in an elementwise expression."""
    return sp.Symbol(f"_{position}", real=True)


def apply(expression: sp.Expr, *operands: Tensor, axes: Iterable[Axis] = ()) -> Tensor:
    """Apply a SymPy scalar expression in ``placeholder(0..)`` entry by entry, with broadcasting.

    The result's axes are ``axes``, then those of the operands as they come.
    """
    all_axes = list(axes)
    for operand in operands:
        all_axes += [axis for axis in operand.axes if axis not in all_axes]
    used = [k for k in range(len(operands)) if expression.has(placeholder(k))]
    if not used:
        raise ValueError(f"elementwise expression {expression} uses none of its operands")
    if len(used) < len(operands):
        renamed = {placeholder(k): placeholder(j) for j, k in enumerate(used)}
        expression = expression.xreplace(renamed)
        operands = tuple(operands[k] for k in used)
    return Elementwise(expression, tuple(operands), tuple(all_axes))


def add(*terms: Tensor) -> Tensor:
    """Sum of tensors of equal axes (invariant terms broadcast over the samples)."""
    if any(term.axes != terms[0].axes for term in terms):
        raise ValueError(f"sum of different axes: {[term.axes for term in terms]}")
    terms = tuple(term for term in terms if not isinstance(term, Zero)) or terms[:1]
    return Add(terms) if len(terms) > 1 else terms[0]


def scale(factor: Any, tensor: Tensor) -> Tensor:
    """A number times a tensor."""
    factor = sp.sympify(factor)
    return tensor if factor == 1 else product(factor, [(tensor, tensor.axes)], tensor.axes)


Labelled = tuple[Tensor, Axes]


def product(
    coefficient: Any, operands: Iterable[Labelled], axes: Iterable[Axis], sum_samples: bool = False
) -> Tensor:
    """Einsum: ``coefficient * prod(operands)``, each operand with its axes relabelled.

    Labels that ``axes`` does not hold are summed; an axis that no operand carries is a broadcast.
    A delta is eliminated by renaming; factors that are scaled or relabelled tensors are read as the
    tensors themselves.  Summed labels get names of their own, so that equal sums are one tensor.
    """
    coefficient, axes = sp.sympify(coefficient), tuple(axes)
    factors: list[Labelled] = []
    for tensor, labels in operands:
        match tensor:
            case Zero():
                return Zero(axes)
            case Constant(value):
                coefficient *= value
            case Product(own, (inner,), (inside,)) if _is_plain(tensor):
                coefficient *= own
                under = dict(zip(tensor.axes, labels, strict=True))
                factors.append((inner, tuple(under[a] for a in inside)))
            case _:
                factors.append((_with_own_axes(tensor), tuple(labels)))
    factors, ones = _eliminate_deltas(factors, axes)
    coefficient *= ones
    if not factors:
        base = constant(coefficient)
        return base if not axes else _product(sp.S.One, [(base, ())], axes)
    alone = coefficient == 1 and len(factors) == 1 and not sum_samples
    if alone and factors[0][1] == axes == factors[0][0].axes:
        return factors[0][0]
    return _product(coefficient, _with_own_labels(factors, axes), axes, sum_samples)


def _with_own_labels(factors: list[Labelled], axes: Axes) -> list[Labelled]:
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
    if not isinstance(tensor, Product) or tensor.per_sample or tensor.sum_samples:
        return tensor
    factors = tensor.factors
    renamed: dict[Axis, Axis] = {}
    for (_, before), (_, after) in zip(factors, _with_own_labels(factors, ()), strict=True):
        renamed |= zip(before, after, strict=True)
    if not set(tensor.axes) <= set(renamed):  # an axis that no factor carries
        return tensor
    own = [(t, tuple(renamed[a] for a in ls)) for t, ls in factors]
    return _product(tensor.coefficient, own, tuple(renamed[a] for a in tensor.axes))


def _product(
    coefficient: sp.Expr, factors: list[Labelled], axes: Axes, sum_samples: bool = False
) -> Product:
    operands, labels = (tuple(part) for part in zip(*factors, strict=True))
    return Product(coefficient, operands, labels, axes, sum_samples)


def _is_plain(tensor: Product) -> bool:
    """A product of one factor that scales it, takes a diagonal or renames axes; nothing summed."""
    return set(tensor.labels[0]) == set(tensor.axes) and not tensor.sum_samples


def _eliminate_deltas(factors: list[Labelled], axes: Axes) -> tuple[list[Labelled], int]:
    """Rename one index of every delta into the other where the result does not need both.

    The second result is the number of ones on diagonals that were summed.
    """
    k, ones = 0, 1
    while k < len(factors):
        tensor, labels = factors[k]
        others = {a for j, (_, ls) in enumerate(factors) if j != k for a in ls}
        is_delta = isinstance(tensor, Delta)
        if is_delta and labels[0] == labels[1]:  # its diagonal: all ones
            ones *= 1 if labels[0] in others or labels[0] in axes else labels[0].size
            del factors[k]
            continue
        removable = is_delta and labels[0] != labels[1]
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
    labelled: list[Labelled] = []
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


def topological(outputs: Iterable[Tensor], known: Container[Tensor] = ()) -> Iterator[Tensor]:
    """Every tensor that the outputs depend on, operands first, in a fixed order.

    What only ``known`` tensors depend on is left out.
    """
    seen: set[Tensor] = set()
    stack = [(tensor, False) for tensor in reversed(list(outputs))]
    while stack:
        tensor, expanded = stack.pop()
        if expanded:
            yield tensor
        elif tensor not in seen:
            seen.add(tensor)
            stack.append((tensor, True))
            if tensor not in known:
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
    names = ", ".join(t.name if isinstance(t, Input) else t.word for t in tensor.operands)
    match tensor:
        case Input(name):
            return name
        case Constant(value):
            return str(value)
        case Elementwise(expression):
            return f"{expression} of ({names})"
        case Product(coefficient, _, labels, axes, sum_samples):
            subscripts = ",".join("".join(a.name for a in ls) for ls in labels)
            out = "".join(a.name for a in axes)
            found = f"{coefficient} * {subscripts}->{out} of ({names})"
            return found + " over n" * sum_samples
    return f"({names})"
