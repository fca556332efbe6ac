"""SymPy formulas of arrays: a list of NumPy's operations, entry by entry.

What several formulas share is computed once, and an array is let go after its last use.  The rules
are those by which formulas are printed: numbers are rounded once, whole powers are products, and
both branches of a choice are computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import DTypeLike

from ...errors import FormulaError
from ...functions import LARGEST_CHAIN, function_of, names
from .offset import offset
from .scaled import largest

__all__ = ["ArrayFormulas"]

_RELATIONS = {
    sp.Eq: np.equal,
    sp.Ne: np.not_equal,
    sp.Lt: np.less,
    sp.Le: np.less_equal,
    sp.Gt: np.greater,
    sp.Ge: np.greater_equal,
}
# What takes any number of arguments, two at a time.
_CHAINS = {
    sp.Add: np.add,
    sp.Mul: np.multiply,
    sp.Max: np.maximum,
    largest: np.maximum,
    sp.Min: np.minimum,
    sp.And: np.logical_and,
    sp.Or: np.logical_or,
}
_HALF = sp.Rational(1, 2)


class ArrayFormulas:
    """Values of formulas, given arrays for their symbols.

    Parameters
    ----------
    formulas : sequence of Expr
    symbols : sequence of Symbol
        The arguments of a call, in their order.
    dtype : dtype
        Precision of the numbers that stand in formulas.

    Raises
    ------
    FormulaError
        If a formula holds a function that no target has, or a number that is not finite.
    """

    def __init__(
        self,
        formulas: Sequence[sp.Expr],
        symbols: Sequence[sp.Symbol],
        dtype: DTypeLike = np.float64,
    ) -> None:
        self._dtype: np.dtype[Any] = np.dtype(dtype)
        # Places of an evaluation's values: symbols, then numbers and what steps compute.
        self._place: dict[sp.Basic, int] = {symbol: k for k, symbol in enumerate(symbols)}
        self._given, self._count = len(self._place), len(symbols)
        self._numbers: dict[int, Any] = {}
        self._steps: list[tuple[Callable[..., Any], tuple[int, ...], int]] = []
        self._results = [self._of(formula) for formula in formulas]
        self._gone = self._last_uses()

    def __call__(self, *arrays: Any) -> list[Any]:
        """Values of the formulas; a formula without symbols gives a number."""
        values: list[Any] = [*arrays, *([None] * (self._count - len(arrays)))]
        for place, number in self._numbers.items():
            values[place] = number
        for (function, arguments, place), gone in zip(self._steps, self._gone, strict=True):
            values[place] = function(*[values[k] for k in arguments])
            for k in gone:
                values[k] = None
        return [values[place] for place in self._results]

    def _last_uses(self) -> list[list[int]]:
        """Places of steps' values that nobody reads after each step."""
        seen = {*self._results, *self._numbers, *range(self._given)}
        gone: list[list[int]] = []
        for _, arguments, place in reversed(self._steps):
            last = dict.fromkeys(k for k in (*arguments, place) if k not in seen)
            seen.update(last)
            gone.append(list(last))
        return gone[::-1]

    def _new(self) -> int:
        self._count += 1
        return self._count - 1

    def _step(self, function: Callable[..., Any], *arguments: int) -> int:
        place = self._new()
        self._steps.append((function, arguments, place))
        return place

    def _number(self, value: float) -> int:
        place = self._new()
        self._numbers[place] = self._dtype.type(value)
        return place

    def _of(self, node: sp.Basic) -> int:
        """The place of a formula's value."""
        if node not in self._place:
            self._place[node] = self._made(node)
        return self._place[node]

    def _made(self, node: sp.Basic) -> int:
        if node in (sp.true, sp.false):
            place = self._new()
            self._numbers[place] = np.bool_(node == sp.true)
            return place
        if isinstance(node, sp.Expr) and node.is_number:  # 1/sqrt(pi): rounded once, here
            value = float(node)
            if not math.isfinite(value):
                accepted = "numbers that double precision holds"
                raise FormulaError("formula", f"the number {node}", accepted)
            return self._number(value)
        entry = function_of(node)
        if entry is not None:
            written = entry.of(node.args)
            if written is not None:
                return self._of(written)
            return self._step(entry.of_arrays(), *map(self._of, node.args))
        return self._structure(node)

    def _structure(self, node: sp.Basic) -> int:
        chain, relation = _CHAINS.get(type(node)), _RELATIONS.get(type(node))
        if chain is not None:
            first, *others = node.args
            place = self._of(first)
            for other in others:
                place = self._step(chain, place, self._of(other))
            return place
        if relation is not None:
            return self._step(relation, *map(self._of, node.args))
        match node:
            case sp.Pow():
                return self._power(*node.args)
            case offset():
                return self._step(np.subtract, *map(self._of, node.args))
            case sp.Heaviside():
                return self._heaviside(*node.args)
            case sp.Piecewise():
                return self._piecewise(node)
            case sp.Not():
                return self._step(np.logical_not, self._of(node.args[0]))
        given = f"the function {type(node).__name__} in {node}"
        raise FormulaError("derivative of a formula", given, ", ".join(names()))

    def _power(self, base: sp.Expr, exponent: sp.Expr) -> int:
        if exponent.is_number and exponent < 0:
            return self._step(np.divide, self._number(1.0), self._of(base**-exponent))
        if exponent.is_Integer and exponent <= LARGEST_CHAIN:
            return self._step(partial(_whole_power, exponent=int(exponent)), self._of(base))
        if exponent.is_Rational and exponent.q == 2:
            root = self._step(np.sqrt, self._of(base))
            whole = exponent - _HALF
            return root if whole == 0 else self._step(np.multiply, self._of(base**whole), root)
        return self._step(np.power, self._of(base), self._of(exponent))

    def _heaviside(self, argument: sp.Expr, at_zero: sp.Expr) -> int:
        place, half = self._of(argument), self._number(0.5)
        scaled = self._step(np.multiply, half, self._step(np.sign, place))
        found = self._step(np.add, half, scaled)  # NaN stays NaN
        if at_zero == _HALF:
            return found
        zero = self._step(np.equal, place, self._number(0.0))
        return self._step(np.where, zero, self._of(at_zero), found)

    def _piecewise(self, node: sp.Piecewise) -> int:
        *cases, last = node.args
        if last.cond != sp.true:
            raise FormulaError("Piecewise", str(node), "a last branch with the condition True")
        place = self._of(last.expr)
        for case in reversed(cases):
            place = self._step(np.where, self._of(case.cond), self._of(case.expr), place)
        return place


def _whole_power(base: Any, exponent: int) -> Any:
    """A power by squaring: a product as it is printed."""
    if exponent == 1:
        return base
    half = _whole_power(base, exponent // 2)
    return half * half * base if exponent % 2 else half * half
