"""Formulas in pieces: one spelling for kinks and jumps, and derivatives between their borders.

Max, Abs, Heaviside, floor, Piecewise and their like cut the space into pieces, inside of which a
formula is smooth.  Where a formula is continuous across the borders (:mod:`.borders` finds out),
its derivative in the sense of distributions is the derivative of the pieces, which is what the
rules here write; where it jumps, they would drop a Dirac measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import sympy as sp
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.logic.boolalg import Boolean, BooleanFunction

from ..functions import before_derivatives
from ..sharing import holds

__all__ = ["KINKS", "STEPS", "JumpSlope", "in_pieces", "piecewise_slopes"]

# Continuous functions whose derivative jumps, and functions that jump.
KINKS = (sp.Abs, sp.Max, sp.Min)
STEPS = (sp.sign, sp.Heaviside, sp.floor, sp.ceiling)
_REWRITTEN = (sp.Heaviside, sp.Piecewise)

#: Nonzero partial derivatives by symbol, and what gives those of a formula.
Slopes = dict[sp.Symbol, sp.Expr]
Partials = Callable[[sp.Expr], Slopes]


class JumpSlope(sp.Function):
    """Stands for the derivative of a formula that jumps, by a symbol; no target prints it."""

    nargs = 2


def in_pieces(expr: sp.Expr) -> sp.Expr:
    """The same function with frac and Mod by floor, and products with a step as Piecewise.

    A product with a step may be 0 times infinity where the step is off; a Piecewise chooses.
    Conditions are written with And, Or and Not only.
    """
    expr = before_derivatives(expr)
    return _rewritten(expr, {}) if holds(expr, _REWRITTEN) else expr


def _rewritten(node: sp.Basic, seen: dict[sp.Basic, sp.Basic]) -> sp.Basic:
    if not node.args:
        return node
    if node not in seen:
        args = [_rewritten(arg, seen) for arg in node.args]
        if isinstance(node, sp.Piecewise):
            seen[node] = _cases(args)
        elif node.is_Mul and any(isinstance(arg, sp.Heaviside) for arg in args):
            seen[node] = _switched(args)
        else:
            seen[node] = node if list(node.args) == args else node.func(*args)
    return seen[node]


def _cases(pairs: list[ExprCondPair]) -> sp.Expr:
    """A Piecewise with plain conditions; the last needs none where the others leave just it."""
    cases = [(value, _plain(condition)) for value, condition in pairs]
    *before, (value, last) = cases
    if before and last != sp.true:
        others = sp.Or(*(condition for _, condition in before))
        if sp.Not(others) == last or sp.Or(others, last) == sp.true or _covers(others, last):
            cases[-1] = (value, sp.true)
    return sp.Piecewise(*cases)


def _plain(condition: Boolean) -> Boolean:
    """A condition in And, Or and Not of comparisons."""
    known = (sp.And, sp.Or, sp.Not)
    other = [b for b in condition.atoms(BooleanFunction) if not isinstance(b, known)]
    return sp.to_nnf(condition, simplify=False) if other else condition


def _covers(first: Boolean, second: Boolean) -> bool:
    """Whether one of two conditions always holds, for few comparisons in one symbol."""
    both = sp.Or(first, second)
    if len(both.free_symbols) != 1 or len(both.atoms(sp.core.relational.Relational)) > 6:
        return False
    try:
        return both.as_set() == sp.S.Reals
    except (NotImplementedError, TypeError, ValueError):
        return False


def _needs_folding(u: sp.Expr) -> bool:
    """Whether SymPy would multiply out a condition on u, which has no bound on its length."""
    return holds(u, [sp.Piecewise])


def _switched(factors: list[sp.Expr]) -> sp.Expr:
    """A product with steps H(u): the other factors where all u > 0, else 0."""
    others = [f for f in factors if not isinstance(f, sp.Heaviside)]
    steps = [f.args[0] for f in factors if isinstance(f, sp.Heaviside)]
    if any(_needs_folding(u) for u in steps) or not any(f.free_symbols for f in others):
        return sp.Mul(*factors)
    return sp.Piecewise((sp.Mul(*others), sp.And(*(u > 0 for u in steps))), (sp.S.Zero, True))


def piecewise_slopes(node: sp.Expr, partials: Partials) -> Slopes | None:
    """Partial derivatives of a kink, a step or a power of one between the borders; else None.

    Parameters
    ----------
    node : Expr
        Its outermost operation is asked about.
    partials : callable
        Gives the nonzero partial derivatives of an argument, by symbol.
    """
    if isinstance(node, STEPS):
        return {}
    if isinstance(node, sp.Piecewise):
        values = [partials(value) for value, _ in node.args]
        conditions = [condition for _, condition in node.args]
        return _selected(values, conditions)
    if isinstance(node, (sp.Max, sp.Min)):
        return _of_extremum(node, partials)
    if node.is_Pow and holds(node.base, (sp.Max, sp.Min, sp.Piecewise)):
        return _of_power(node, partials)
    return None


def _selected(values: list[Slopes], conditions: Iterable[Boolean]) -> Slopes:
    conditions = list(conditions)
    found: Slopes = {}
    for symbol in {symbol: None for slopes in values for symbol in slopes}:
        rows = [slopes.get(symbol, sp.S.Zero) for slopes in values]
        found[symbol] = sp.Piecewise(*zip(rows, conditions, strict=True))
    return {symbol: slope for symbol, slope in found.items() if slope != 0}


def _of_extremum(node: sp.Expr, partials: Partials) -> Slopes:
    """The slope of the argument that is the largest (the smallest)."""
    args = list(node.args)
    values = [partials(arg) for arg in args]
    # The arguments that vary come first, so that max(u, 0) is asked whether u > 0.
    order = sorted(range(len(args)), key=lambda k: not values[k])
    args, values = [args[k] for k in order], [values[k] for k in order]
    if any(_needs_folding(arg) for arg in args):
        return _by_steps(node, args, values)
    beats = (lambda a, b: a > b) if isinstance(node, sp.Max) else (lambda a, b: a < b)
    conditions = [sp.And(*(beats(a, b) for b in args if b is not a)) for a in args[:-1]]
    return _selected(values, [*conditions, sp.true])


def _by_steps(node: sp.Expr, args: Sequence[sp.Expr], values: list[Slopes]) -> Slopes:
    """The same, with steps in place of conditions."""
    ahead = 1 if isinstance(node, sp.Max) else -1
    found: dict[sp.Symbol, list[sp.Expr]] = {}
    for arg, slopes in zip(args, values, strict=True):
        rest = node.func(*(other for other in args if other is not arg)) if slopes else None
        for symbol, slope in slopes.items():
            step = sp.Heaviside(ahead * (arg - rest))
            found.setdefault(symbol, []).append(step * slope)
    return {symbol: sp.Add(*terms) for symbol, terms in found.items()}


def _of_power(node: sp.Expr, partials: Partials) -> Slopes | None:
    """p u^(p-1) u' of a base u with kinks, and 0 where u is 0 if u^(p-1) is infinite there."""
    base, exponent = node.args
    if partials(exponent):
        return None
    if isinstance(base, sp.Piecewise):
        values = [_of_plain_power(value, exponent, partials(value)) for value, _ in base.args]
        return _selected(values, [condition for _, condition in base.args])
    plain = _without_select(base, exponent, partials)
    found = _of_plain_power(base, exponent, partials(base) if plain is None else plain)
    regular = (exponent - 1).is_nonnegative or base.is_positive or not base.is_nonnegative
    if regular or _needs_folding(base):
        return found
    return {s: sp.Piecewise((slope, base > 0), (sp.S.Zero, True)) for s, slope in found.items()}


def _of_plain_power(base: sp.Expr, exponent: sp.Expr, slopes: Slopes) -> Slopes:
    rest = base ** (exponent - 1) if slopes else None
    return {s: sp.Mul(exponent, slope, rest) for s, slope in slopes.items()}


def _without_select(base: sp.Expr, exponent: sp.Expr, partials: Partials) -> Slopes | None:
    """Slopes of u for those of max(u, 0)^p, p > 1: where they are numbers, its power is enough."""
    if not isinstance(base, (sp.Max, sp.Min)) or not (exponent - 1).is_positive:
        return None
    others = [arg for arg in base.args if arg != 0]
    if len(others) != 1 or len(base.args) != 2:
        return None
    slopes = partials(others[0])
    return slopes if all(slope.is_number for slope in slopes.values()) else None
