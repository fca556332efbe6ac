"""Formulas as functions of one number: f(a.x + b), and f(q) of a square q = x^T A x/2 + ... ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sympy as sp

from ..declare.formula_checks import expanded_terms
from ..sharing import symbols_of

__all__ = ["Composition", "as_composition", "degree_of", "hessian_of", "is_of_degree"]
__all__ += ["slope_at_origin"]

# Terms to which a polynomial of several coordinates is expanded.
TERMS = 4000
# The argument of functions of one direction: equal functions are one formula.
_ARGUMENT = sp.Dummy("u", real=True)


class Composition(NamedTuple):
    """f(u(x)), u affine or a positive semidefinite square.

    Attributes
    ----------
    matrix : (d, d) array
        a a^T of an affine u with the slope a, or the Hessian of a square u.
    symbol : Symbol
        Stands for u.
    outer : Expr
        f as a formula of the symbol.
    least : Rational or None
        The least value of u; None where it is affine.
    affine : bool
        Whether u is.
    """

    matrix: np.ndarray
    symbol: sp.Symbol
    outer: sp.Expr
    least: sp.Rational | None
    affine: bool


def degree_of(expr: sp.Expr, x: Sequence[sp.Symbol]) -> int | None:
    """Total degree of a polynomial with numbers as coefficients; None for other formulas."""
    present = symbols_of(expr)
    here = [s for s in x if s in present]
    if not here:
        return 0
    if _is_linear(expr, present):
        return 1
    if not expr.is_polynomial(*here) or expanded_terms(expr) > TERMS:
        return None
    return sp.Poly(expr, *here).total_degree()


def is_of_degree(expr: sp.Expr, x: Sequence[sp.Symbol], most: int) -> bool:
    """Whether it is a polynomial of degree at most so much, with numbers as coefficients."""
    degree = degree_of(expr, x)
    return degree is not None and degree <= most


def _is_linear(expr: sp.Expr, present: set[sp.Symbol]) -> bool:
    """Whether it is seen to be a sum of numbers times symbols, which most long formulas hold."""
    products = (arg.as_coeff_Mul()[1] for arg in sp.Add.make_args(expr) if not arg.is_Number)
    return all(product in present for product in products)


def hessian_of(quadratic: sp.Expr, x: Sequence[sp.Symbol]) -> np.ndarray:
    """The Hessian of a quadratic polynomial, (d, d)."""
    matrix = np.zeros((len(x), len(x)))
    here = [i for i, s in enumerate(x) if s in quadratic.free_symbols]
    for i in here:
        slope = quadratic.diff(x[i])
        for j in here:
            matrix[i, j] = float(slope.diff(x[j]))
    return matrix


def slope_at_origin(quadratic: sp.Expr, x: Sequence[sp.Symbol]) -> np.ndarray:
    """The gradient at 0."""
    origin = dict.fromkeys(x, sp.S.Zero)
    return np.array([float(quadratic.diff(s).xreplace(origin)) for s in x])


def as_composition(expr: sp.Expr, x: Sequence[sp.Symbol]) -> Composition | None:
    """f and u with expr = f(u(x)), u affine or a positive semidefinite square; None without."""
    for most, affine in ((1, True), (2, False)):
        inner = _largest(expr, x, most)
        if inner is None:
            continue
        found = _one_argument(expr, inner, x, affine)
        if found is not None:
            return found
    return None


def _largest(expr: sp.Expr, x: Sequence[sp.Symbol], most: int) -> list[sp.Expr] | None:
    """The largest parts that are polynomials of degree at most so much; None if x is elsewhere."""
    if not symbols_of(expr) & set(x):
        return []
    if is_of_degree(expr, x, most):
        return [expr]
    if not expr.args:
        return None
    found: list[sp.Expr] = []
    for group in _groups(expr, x, most):
        parts = [group] if is_of_degree(group, x, most) else _largest_of_args(group, x, most)
        if parts is None:
            return None
        found += parts
    return found


def _largest_of_args(expr: sp.Expr, x: Sequence[sp.Symbol], most: int) -> list[sp.Expr] | None:
    found: list[sp.Expr] = []
    for arg in expr.args:
        parts = _largest(arg, x, most)
        if parts is None:
            return None
        found += parts
    return found


def _groups(expr: sp.Expr, x: Sequence[sp.Symbol], most: int) -> Sequence[sp.Expr]:
    """The arguments; of a sum, those of low degree as one."""
    if not expr.is_Add:
        return expr.args
    low = [arg for arg in expr.args if is_of_degree(arg, x, most)]
    return [sp.Add(*low), *(arg for arg in expr.args if arg not in low)]


def _one_argument(
    expr: sp.Expr, inner: list[sp.Expr], x: Sequence[sp.Symbol], affine: bool
) -> Composition | None:
    """expr as a function of the first of the inner parts, of which the others are functions."""
    u = _ARGUMENT
    inner = [part for part in dict.fromkeys(inner) if symbols_of(part) & set(x)]
    if not inner:
        return None
    here = [s for s in x if s in symbols_of(*inner)]
    first = sp.Poly(inner[0], *here)
    base = first - first.eval(dict.fromkeys(here, 0)) if affine else first
    rules = {}
    for part in inner:
        poly = sp.Poly(part, *here)
        ratio = poly.coeff_monomial(base.LM()) / base.LC()
        rest = (poly - ratio * base).as_expr()
        if symbols_of(rest) & set(x):
            return None
        rules[part] = ratio * u + rest
    outer = _replaced_sums(expr, rules, x)
    if symbols_of(outer) & set(x):
        return None
    if affine:
        slope = slope_at_origin(base.as_expr(), x)
        return Composition(np.outer(slope, slope), u, outer, None, True)
    return _square(base, u, outer, x)


def _replaced_sums(expr: sp.Expr, rules: dict[sp.Expr, sp.Expr], x: Sequence[sp.Symbol]) -> sp.Expr:
    """Replace parts, also those that are several summands of a sum."""
    if expr in rules:
        return rules[expr]
    if not expr.args or not symbols_of(expr) & set(x):
        return expr
    if expr.is_Add:
        for part, by in rules.items():
            if part.is_Add and set(part.args) <= set(expr.args):
                others = [arg for arg in expr.args if arg not in part.args]
                return sp.Add(by, *(_replaced_sums(arg, rules, x) for arg in others))
    return expr.func(*(_replaced_sums(arg, rules, x) for arg in expr.args))


def _square(
    base: sp.Poly, u: sp.Symbol, outer: sp.Expr, x: Sequence[sp.Symbol]
) -> Composition | None:
    """A square as argument: its Hessian is semidefinite, and it has a least value."""
    if base.total_degree() != 2:
        return None
    matrix = hessian_of(base.as_expr(), x)
    sizes = np.linalg.eigvalsh(matrix)
    if sizes[0] < -1e-12 * sizes[-1] and sizes[-1] > -1e-12 * sizes[0]:
        return None
    if sizes[-1] <= 0:
        return _square(-base, u, outer.xreplace({u: -u}), x)
    exact = sp.Matrix([[base.as_expr().diff(a, b) for b in x] for a in x])
    slope = sp.Matrix([base.as_expr().diff(a).xreplace(dict.fromkeys(x, sp.S.Zero)) for a in x])
    if exact.rank() < len(x):
        used = [i for i, s in enumerate(x) if s in base.as_expr().free_symbols]
        exact, slope = exact.extract(used, used), slope.extract(used, [0])
        if exact.rank() < len(used):
            return None
    least = base.eval(dict.fromkeys(x, 0)) - (slope.T * exact.LUsolve(slope))[0] / 2
    return Composition(matrix, u, outer, sp.Rational(least), False)
