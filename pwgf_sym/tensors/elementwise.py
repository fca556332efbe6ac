"""Scalar functions of tensors, entry by entry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import sympy as sp

from ..derive.borders import jump
from ..derive.calculus import derivative
from ..derive.pieces import JumpSlope
from ..sharing import has_symbols, is_long
from .arrays import alignments
from .leaves import constant
from .notation import Notation
from .product import product, pulled_through
from .scalars.array_formulas import ArrayFormulas
from .scalars.flops import expression_flops
from .scalars.stable import smooth
from .tensor import Array, Axes, Axis, Rule, Tensor, node, topological

__all__ = ["Elementwise", "apply", "between_jumps", "placeholder"]

# Expressions of more parts are not written into formulas.
_MANY = 150


@node
class Elementwise(Tensor):
    """A SymPy scalar expression in ``placeholder(0..)``, entry by entry, with broadcasting."""

    expression: sp.Expr
    operands: tuple[Tensor, ...]
    axes: Axes

    def __post_init__(self) -> None:
        self._derive(per_sample=any(operand.per_sample for operand in self.operands))

    def pushed(self, k: int, tangent: Tensor, extra: Axes) -> Tensor:
        """The partial derivative times the tangent."""
        partial = self._partial(k)
        factors = [(partial, partial.axes), (tangent, self.operands[k].axes + extra)]
        return product(1, factors, self.axes + extra)

    def pulled(self, k: int, cotangent: Tensor, extra: Axes, lift: bool) -> Tensor:
        """The cotangent times the partial derivative."""
        partial = self._partial(k)
        factors = [(cotangent, extra + self.axes), (partial, partial.axes)]
        return pulled_through(self.operands[k], 1, factors, extra, lift)

    def _partial(self, k: int) -> Tensor:
        """The derivative by operand ``k``: SymPy's, in smooth functions."""
        if isinstance(self.expression, JumpSlope):  # once more, between the jumps
            slope = smooth(derivative(*self.expression.args))
            return apply(JumpSlope(slope, placeholder(k)), *self.operands)
        if jump(self.expression) is not None:
            return apply(JumpSlope(self.expression, placeholder(k)), *self.operands)
        slope = smooth(derivative(self.expression, placeholder(k)))
        return apply(slope, *self.operands) if has_symbols(slope) else constant(slope)

    def rebuilt(self, operands: Sequence[Tensor]) -> Tensor:
        """The same function of other values."""
        return apply(self.expression, *operands, axes=self.axes)

    def of_arrays(self, dtype: np.dtype[Any]) -> Rule:
        """The expression of whole arrays; then axes that no operand carries."""
        symbols = [placeholder(k) for k in range(len(self.operands))]
        formula = ArrayFormulas([self.expression], symbols, dtype)
        rule = partial(_entry_by_entry, formula, alignments(self))
        if {axis for operand in self.operands for axis in operand.axes}.issuperset(self.axes):
            return rule
        whole = tuple(axis.size for axis in self.axes)

        def repeated(*values: Array) -> Array:
            found = rule(*values)
            return np.broadcast_to(found, found.shape[: int(self.per_sample)] + whole)

        return repeated

    def formula(self, write: Notation) -> str:
        """The expression, entries of the operands in the place of its symbols."""
        if is_long(self.expression, _MANY):
            entries = ", ".join(write.entry(t, t.axes) for t in self.operands)
            return f"a formula of many operations in {entries}"
        bare = self.expression.is_Function and self.expression.args == (placeholder(0),)
        texts = {}
        for k, operand in enumerate(self.operands):
            text = write.whole(operand)
            loose = operand in write.inside and " " in text and not bare
            texts[placeholder(k)] = sp.Symbol(f"({text})" if loose else text)
        return str(self.expression.xreplace(texts))

    def aligned(self) -> set[Tensor]:
        """Operands with all axes."""
        return {operand for operand in self.operands if operand.axes == self.axes}

    def flops(self, dtype: str) -> int:
        """Those of the expression, for every entry."""
        return expression_flops([self.expression], dtype) * self.size

    def text(self) -> str:
        """The expression, and what it is of."""
        return f"{self.expression} of ({self.operand_names})"


def _entry_by_entry(formula: ArrayFormulas, aligned: Sequence[Rule], *values: Array) -> Array:
    (found,) = formula(*(align(value) for align, value in zip(aligned, values, strict=True)))
    return found


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


def between_jumps(tensor: Tensor) -> Tensor:
    """The tensor with derivatives of what jumps as they are between the jumps."""
    found: dict[Tensor, Tensor] = {}
    for one in topological([tensor]):
        found[one] = one.with_operands(tuple(found[t] for t in one.operands))
        if isinstance(one, Elementwise) and isinstance(one.expression, JumpSlope):
            slope = smooth(derivative(*one.expression.args))
            operands = found[one].operands
            found[one] = apply(slope, *operands) if has_symbols(slope) else constant(slope)
    return found[tensor]
