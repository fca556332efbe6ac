"""Which sums over an index are convex: those of convex functions of one linear function each.

Of f(a.x + b) the Hessian is f'' a a^T, and a logarithm of a sum of exponentials of linear functions
is convex, too (Boyd and Vandenberghe, "Convex Optimization", 2004, 3.1.5).
"""

from __future__ import annotations

import sympy as sp

from ..declare.indexed import is_kept
from ..declare.symbols import as_copy
from ..sharing import parts, symbols_of
from .curvature import curvature
from .structure import EnergyStructure
from .sums import IndexedSum

__all__ = ["beside_convex_sums"]

_T = sp.Dummy("t", real=True)


def beside_convex_sums(structure: EnergyStructure) -> sp.Expr | None:
    """The potential without its sums over an index, if these are convex: the rest bounds Hess V.

    Returns
    -------
    Expr or None
        None where a sum is not seen to be convex, whatever the data are.
    """
    symbols = {one.symbol: one for one in structure.sums}
    if not symbols:
        return structure.potential
    rest = []
    terms = _Terms(structure.coordinates)
    for summand in sp.Add.make_args(sp.expand_mul(structure.potential)):
        if not symbols_of(summand) & set(symbols):
            rest.append(summand)
            continue
        factor, part = summand.as_independent(*symbols, *structure.coordinates, as_Add=False)
        if not (part in symbols and factor.is_positive and terms.is_convex(symbols[part])):
            return None
    return sp.Add(*rest)


class _Terms:
    """Formulas with sums and arrays, as functions of the coordinates."""

    def __init__(self, coordinates: tuple[sp.Symbol, ...]):
        self._x = {*coordinates, as_copy(coordinates, "x").indexed_base}

    def is_convex(self, one: IndexedSum) -> bool:
        """Whether a sum is seen to be convex."""
        if isinstance(one.formula, sp.log):
            factors = sp.Mul.make_args(one.formula.args[0].function)
            exponents = [f.args[0] for f in factors if isinstance(f, sp.exp)]
            others = [f for f in factors if not isinstance(f, sp.exp)]
            fixed = not any(map(self._varies, others))
            return fixed and all(map(self._is_linear, exponents))
        return all(map(self._is_convex_term, sp.Add.make_args(one.formula.function)))

    def _varies(self, formula: sp.Basic) -> bool:
        return any(
            part in self._x or (isinstance(part, sp.Indexed) and part.base in self._x)
            for part in parts(formula)
        )

    def _is_linear(self, formula: sp.Expr) -> bool:
        """Whether a formula is affine in the coordinates."""
        if not self._varies(formula):
            return True
        if formula.is_Symbol or isinstance(formula, sp.Indexed):
            return True
        if formula.is_Add:
            return all(map(self._is_linear, formula.args))
        if formula.is_Mul:
            moving = [f for f in formula.args if self._varies(f)]
            return len(moving) == 1 and self._is_linear(moving[0])
        return isinstance(formula, sp.Sum) and self._is_linear(formula.function)

    def _is_convex_term(self, term: sp.Expr) -> bool:
        if self._is_linear(term):
            return True
        moving = [f for f in sp.Mul.make_args(term) if self._varies(f)]
        factor = sp.Mul(*(f for f in sp.Mul.make_args(term) if not self._varies(f)))
        lines: set[sp.Expr] = set()
        outer = self._of_lines(sp.Mul(*moving), lines)
        if len(lines) != 1 or not factor.is_nonnegative or symbols_of(outer) != {_T}:
            return False
        value, status, _ = curvature(outer, (_T,))
        return status == "proven" and value >= 0

    def _of_lines(self, formula: sp.Expr, lines: set[sp.Expr]) -> sp.Expr:
        """A formula of t in the place of an affine part; all such parts are collected."""
        if not self._varies(formula):
            return formula
        if self._is_linear(formula):
            lines.add(formula)
            return _T
        if is_kept(formula):
            lines.add(sp.Dummy())  # a nonlinear sum inside: no function of one line
            return formula
        return formula.func(*(self._of_lines(arg, lines) for arg in formula.args))
