"""Products of tensors, summed over axes and samples: einsums."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import opt_einsum
import sympy as sp

from .leaves import Constant, Delta, Zero, constant
from .notation import Notation
from .tensor import Array, Axes, Axis, Labelled, Rule, Tensor, node

__all__ = ["Product", "einsum", "filled", "product", "pulled_through", "scale"]

# The letter of the sample axis in subscripts, and the length by which contractions are planned.
_SAMPLES, _LENGTH = "Z", 1024


@node
class Product(Tensor):
    """The coefficient times the product of the operands under these labels of their axes.

    Labels that ``axes`` does not hold are summed, and the samples if ``sum_samples`` is set.  The
    functions :func:`product`, :func:`einsum` and :func:`scale` bring a product to its simplest
    form; the class takes it as it stands.
    """

    binds: ClassVar[bool] = True
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

    def pushed(self, k: int, tangent: Tensor, extra: Axes) -> Tensor:
        """The tangent takes the place of the factor."""
        factors = self.factors
        factors[k] = (tangent, self.labels[k] + extra)
        return product(self.coefficient, factors, self.axes + extra, self.sum_samples)

    def pulled(self, k: int, cotangent: Tensor, extra: Axes, lift: bool) -> Tensor:
        """The cotangent times the other factors."""
        operand, own = self.operands[k], list(self.labels[k])
        factors = [(cotangent, extra + self.axes)]
        factors += [factor for j, factor in enumerate(self.factors) if j != k]
        taken = {a for labels in self.labels for a in labels} | set(extra + self.axes)
        for position, axis in enumerate(own):  # a repeated label reads a diagonal
            if axis in own[:position]:
                while own[position] in taken:
                    own[position] = own[position].fresh
                taken.add(own[position])
                factors.append((Delta(axis, own[position]), (axis, own[position])))
        sums = _sums(factors, operand, lift)
        result = product(self.coefficient, factors, extra + tuple(own), sums)
        # The product named the operand's axes by its own labels: give them their names back.
        same = tuple(own) == operand.axes
        return result if same else _renamed(result, extra + operand.axes)

    def traced(self, first: Axis, second: Axis) -> list[Tensor]:
        """One label for both axes; of a scaled sum the traces of its terms."""
        if len(self.operands) == 1 and self.operands[0].splits_trace:
            (operand,), (labels,) = self.operands, self.labels
            back = dict(zip(labels, operand.axes, strict=True))
            parts = operand.traced(back[first], back[second])
            return [scale(self.coefficient, part) for part in parts]
        factors = [(t, tuple(first if a == second else a for a in ls)) for t, ls in self.factors]
        return [product(self.coefficient, factors, (), self.sum_samples)]

    def rebuilt(self, operands: Sequence[Tensor]) -> Tensor:
        """The same product of other factors."""
        factors = zip(operands, self.labels, strict=True)
        return product(self.coefficient, factors, self.axes, self.sum_samples)

    def of_arrays(self, dtype: np.dtype[Any]) -> Rule:
        """An einsum, its order of contractions planned once; then axes that no operand carries."""
        letters: dict[Axis, str] = {}
        for axis in (*(a for own in self.labels for a in own), *self.axes):
            letters.setdefault(axis, chr(ord("a") + len(letters)))
        carried = {axis for own in self.labels for axis in own}
        terms, shapes = [], []
        for operand, own in self.factors:
            terms.append(_SAMPLES * operand.per_sample + "".join(letters[a] for a in own))
            shapes.append((_LENGTH,) * operand.per_sample + tuple(a.size for a in own))
        kept = "".join(letters[axis] for axis in self.axes if axis in carried)
        subscripts = f"{','.join(terms)}->{_SAMPLES * self.per_sample + kept}"
        contract = opt_einsum.contract_expression(subscripts, *shapes)
        factor = dtype.type(float(self.coefficient))
        inner = tuple(axis.size if axis in carried else 1 for axis in self.axes)
        whole = tuple(axis.size for axis in self.axes)

        def rule(*values: Array) -> Array:
            found = contract(*values)
            found = found if factor == 1 else found * factor
            if carried.issuperset(self.axes):
                return found
            samples = found.shape[: int(self.per_sample)]
            return np.broadcast_to(found.reshape(samples + inner), samples + whole)

        return rule

    def formula(self, write: Notation) -> str:
        """The coefficient and the factors; that labels are summed is understood."""
        factors = [str(self.coefficient)] if self.coefficient != 1 else []
        return " ".join([*factors, *(write.factor(t, own) for t, own in self.factors)])

    def aligned(self) -> set[Tensor]:
        """Where nothing is summed, factors under the labels of all axes."""
        if self.summed:
            return set()
        return {t for t, own in self.factors if own == self.axes == t.axes}

    def as_they_stand(self) -> set[Tensor]:
        """Factors whose labels are their axes."""
        return {t for t, own in self.factors if own == t.axes}

    def flops(self, dtype: str) -> int:
        """Multiplications and additions of all terms, and of the coefficient."""
        labels = {a for own in self.labels for a in own} | set(self.axes)
        terms = math.prod(axis.size for axis in labels)
        products = terms * (len(self.operands) - 1)
        sums = terms if self.sum_samples else terms - self.size
        return products + sums + (self.size if abs(self.coefficient) != 1 else 0)

    def text(self) -> str:
        """The coefficient and the subscripts, and what they are of."""
        subscripts = ",".join("".join(a.name for a in own) for own in self.labels)
        out = "".join(a.name for a in self.axes)
        found = f"{self.coefficient} * {subscripts}->{out} of ({self.operand_names})"
        return found + " over n" * self.sum_samples


def pulled_through(
    operand: Tensor, coefficient: int, factors: list[Labelled], extra: Axes, lift: bool
) -> Tensor:
    """A product as what an operand's cotangent is made of.

    It is summed over the samples where they share the operand, except when ``lift`` is set.
    """
    sums = _sums(factors, operand, lift)
    return product(coefficient, factors, extra + operand.axes, sums)


def _sums(factors: list[Labelled], operand: Tensor, lift: bool) -> bool:
    return not lift and not operand.per_sample and any(t.per_sample for t, _ in factors)


def _renamed(tensor: Tensor, axes: Axes) -> Tensor:
    """The same tensor under other axis names."""
    if not isinstance(tensor, Product):
        return product(1, [(tensor, axes)], axes)
    rename = dict(zip(tensor.axes, axes, strict=True))
    taken = {*axes, *tensor.summed}
    for axis in sorted(tensor.summed, key=lambda a: a.name):  # apart from new names
        free = axis
        while axis in axes and free in taken:
            free = free.fresh
        taken.add(free)
        rename[axis] = free
    factors = [(operand, tuple(rename[a] for a in own)) for operand, own in tensor.factors]
    return product(tensor.coefficient, factors, axes, tensor.sum_samples)


def scale(factor: Any, tensor: Tensor) -> Tensor:
    """A number times a tensor."""
    factor = sp.sympify(factor)
    return tensor if factor == 1 else product(factor, [(tensor, tensor.axes)], tensor.axes)


def filled(number: Any, axes: Axes) -> Tensor:
    """A number for every entry: a value that loops write, also where there is a single one."""
    return _product(sp.S.One, [(constant(number), ())], axes)


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
                    own = own.fresh
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
                    axis = axis.fresh
                axis_of[letter], taken[axis] = axis, letter
            if axis_of[letter].size != axis.size:
                raise ValueError(f"axis {letter} has lengths {axis_of[letter].size}, {axis.size}")
            labels.append(axis_of[letter])
        labelled.append((tensor, tuple(labels)))
    return product(1, labelled, [axis_of[letter] for letter in output])
