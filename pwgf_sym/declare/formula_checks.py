"""Limits of formulas: depth, size, exponents and numbers that derivation and printing can bear.

Everything here walks a formula without recursion and visits each distinct part once, so that a
formula that SymPy itself would fail on, or work on for hours, is refused at once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NoReturn, ParamSpec, TypeVar

import sympy as sp
from sympy.core.function import AppliedUndef

from ..arguments import brief
from ..errors import EnergyError

__all__ = ["MOST_PARTS", "check_formula", "expanded_terms", "scalar_expression"]
__all__ += ["within_depth"]

P = ParamSpec("P")
R = TypeVar("R")

#: Nested parts of a formula: SymPy calls itself a few times for each, and Python allows 1000 calls.
DEEPEST = 150
#: Different parts of a formula; those of a separable potential in 2000 coordinates are 20000.
MOST_PARTS = 100_000
#: Parts of a formula as it is written, where a part that stands twice counts twice.
LONGEST = 10**6
#: Exponents, in size: beyond, x**n has no values in double precision but 0, 1 and infinity.
LARGEST_EXPONENT = 10_000


def scalar_expression(value: object, argument: str) -> sp.Expr:
    """A formula of one real value, from an expression, a number or a matrix of one entry.

    Raises
    ------
    EnergyError
        Naming `argument`, if it is anything else; texts are not evaluated.
    """
    accepted = "a SymPy expression or a number"
    if isinstance(value, str):
        fix = "Texts are not evaluated: write the formula with SymPy, x[0]**2."
        raise EnergyError(argument, brief(value), accepted, fix)
    try:
        expr = sp.sympify(value, strict=True)
    except (sp.SympifyError, TypeError, ValueError, AttributeError):
        raise EnergyError(argument, brief(value), accepted) from None
    shape = getattr(expr, "shape", None)
    if shape is not None:
        expr = _only_entry(expr, shape, argument)
    if not isinstance(expr, sp.Expr) or not expr.is_commutative:
        condition = isinstance(expr, sp.logic.boolalg.Boolean)
        fix = "Write sp.Piecewise((f, condition), (0, True))." if condition else ""
        raise EnergyError(argument, brief(value), accepted, fix)
    return expr


def _only_entry(matrix: sp.Basic, shape: Sequence[int], argument: str) -> sp.Basic:
    """The entry of a matrix or array of one entry."""
    if all(length == 1 for length in shape):
        try:
            explicit = matrix.as_explicit()
            return explicit[(0,) * len(shape)] if len(shape) else explicit
        except (AttributeError, TypeError, ValueError, IndexError):
            pass
    given = f"a matrix of shape {tuple(shape)}"
    fix = "Take an entry, M[0, 0], the trace or the determinant."
    raise EnergyError(argument, given, "a formula of one value", fix)


def check_formula(expr: sp.Basic, argument: str) -> None:
    """Refuse a formula that is too deep or too large, and numbers that are no doubles.

    Raises
    ------
    EnergyError
        Naming `argument` and what is beyond its limit.
    """
    heights: dict[sp.Basic, int] = {}
    lengths: dict[sp.Basic, int] = {}
    symbolic: set[sp.Basic] = set()
    stack = [expr]
    while stack:
        node = stack[-1]
        args = [a for a in node.args if isinstance(a, sp.Basic)]
        missing = [a for a in args if a not in heights]
        if missing:
            stack += missing
            if len(heights) + len(stack) > 3 * MOST_PARTS:
                _too_large(argument)
            continue
        stack.pop()
        if node in heights:
            continue
        if getattr(node, "is_Matrix", False):
            fix = "Write its entries out: M[0, 0] of a sp.Matrix."
            raise EnergyError(argument, f"the matrix {brief(node)}", "formulas of numbers", fix)
        heights[node] = 1 + max((heights[a] for a in args), default=0)
        lengths[node] = 1 + sum(lengths[a] for a in args)
        if node.is_Symbol or isinstance(node, AppliedUndef) or any(a in symbolic for a in args):
            symbolic.add(node)
            _check_constants(node, args, symbolic, argument)
        if heights[node] > DEEPEST:
            given = f"a formula of more than {DEEPEST} nested parts"
            fix = "Simplify it, or bring it into a form that is less deep."
            raise EnergyError(argument, given, f"at most {DEEPEST} nested parts", fix)
        if len(heights) > MOST_PARTS or lengths[node] > LONGEST:
            _too_large(argument)
    if expr not in symbolic:
        _check_number(expr, argument)


def within_depth(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate what works on formulas: SymPy's RecursionError becomes an EnergyError.

    :data:`DEEPEST` leaves room for it, but a caller may be deep in calls already.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except RecursionError as error:
            given = "a formula too deep for the calls that Python has left here"
            fix = "Simplify it, or raise sys.setrecursionlimit."
            raise EnergyError("energy", given, "formulas of fewer nested parts", fix) from error

    return wrapper


def _too_large(argument: str) -> NoReturn:
    accepted = f"at most {MOST_PARTS} different parts, and {LONGEST} as it is written"
    fix = "Do not multiply products and powers out: (x + 1)**n as it is."
    raise EnergyError(argument, "a formula of too many parts", accepted, fix)


def _check_constants(
    node: sp.Basic, args: Sequence[sp.Basic], symbolic: set[sp.Basic], argument: str
) -> None:
    """Check the constants that a part with symbols is made of."""
    if isinstance(node, sp.Pow) and args[1] not in symbolic:
        size = _as_double(abs(args[1]))
        if not size <= LARGEST_EXPONENT:
            accepted = f"exponents from {-LARGEST_EXPONENT} to {LARGEST_EXPONENT}"
            fix = "In double precision there is nothing between 0 and infinity beyond."
            raise EnergyError(
                argument, f"a power with the exponent {brief(args[1])}", accepted, fix
            )
    if isinstance(node, (sp.Add, sp.Mul, sp.Pow, sp.Function)):
        for constant in args:
            if constant not in symbolic:
                _check_number(constant, argument)


def _check_number(constant: sp.Basic, argument: str) -> None:
    """Refuse a constant that double precision does not hold."""
    if not isinstance(constant, sp.Expr) or constant.is_real is not True:
        return  # what is not real is refused with its term
    value = abs(_as_double(constant))
    if math.isfinite(value) and (value >= 2.3e-308 or constant.is_zero is not False):
        return
    size = "smaller than 2.2e-308" if value < 1 else "larger than 1.8e308"
    given = f"a number {size} in size"
    fix = "Scale the coordinates or the energy."
    raise EnergyError(argument, given, "numbers that double precision holds", fix)


def _as_double(constant: sp.Expr) -> float:
    """A constant as a float: infinity where it overflows, NaN where it has no value."""
    try:
        return float(constant)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError, ArithmeticError, RecursionError):
        return math.nan


def expanded_terms(expr: sp.Expr, most: int = 10_000) -> int:
    """A bound on the number of terms of ``sp.expand(expr)``, at most `most`.

    ``(x + y + 1)**1000`` has half a million: whether to multiply out is decided before.
    """
    known: dict[sp.Expr, int] = {}

    def terms(node: sp.Expr) -> int:
        if node not in known:
            known[node] = min(_terms(node, terms, most), most)
        return known[node]

    return terms(expr)


def _terms(node: sp.Expr, terms: Callable[[sp.Expr], int], most: int) -> int:
    if node.is_Add:
        return sum(map(terms, node.args))
    if node.is_Mul:
        return math.prod(map(terms, node.args))
    if node.is_Pow and node.exp.is_Integer and (node.base.is_Add or node.base.is_Mul):
        several, power = terms(node.base), min(abs(int(node.exp)), most)
        if several >= most or (several > 1 and power >= most):
            return most
        return math.comb(several + power - 1, power) if several > 1 else 1
    return 1
