"""Whether a formula has a derivative without jumps, which its second derivative does not tell.

acos(cos(x))**2 has the second derivative 2 wherever it has one, and a slope that falls at pi: no
modulus of convexity.  So what a second derivative says of convexity holds where no function inside
is at a place where its slope, or itself, may jump: a root of 0, a quotient by 0, the ends of asin
and acos, the cut of atan2, poles.

A function f(q) of a square q >= q0 also has the place q0, where -sqrt(q) has a tip.  With
s = q - q0, h = f' and h + 2 s h' >= kappa, sqrt(s) (h - kappa) grows with s, so that h >= kappa
everywhere if and only if its limit at s = 0 is at least 0: the slope of f along a ray.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import mpmath
import numpy as np
import sympy as sp

from ..functions import host_function
from ..sharing import parts, symbols_of
from .compositions import as_composition
from .intervals import bounds
from .least_values import lower_bound

__all__ = ["has_tip", "may_have_kink"]

# Functions with places where they, or their slopes, jump, which are not looked for.
_POLES = (sp.tan, sp.cot, sp.sec, sp.csc, sp.coth, sp.csch, sp.acot, sp.acoth, sp.acsch)
_JUMPS = (*_POLES, sp.asec, sp.acsc, sp.asech, sp.Mod, sp.frac, sp.floor, sp.ceiling)
# Where the limit of sqrt(s) h is read off, with so many digits, and what is no limit but rounding.
_NEAR, _DIGITS, _ROUNDING = "1e-60", 150, 1e-20


def may_have_kink(
    formula: sp.Expr, x: Sequence[sp.Symbol], least: sp.Rational | None = None
) -> sp.Expr | None:
    """A part whose slope may jump somewhere; None where it is shown that there is none.

    Parameters
    ----------
    formula : Expr
        In the symbols and numbers; kinks of Abs, Max and the like are in its second derivative.
    x : sequence of Symbol
    least : Rational or None
        The end of a half-line of a single symbol; a root may be 0 there.

    Returns
    -------
    Expr or None
    """
    for part in parts(formula):
        if not symbols_of(part) & set(x):
            continue
        if isinstance(part, _JUMPS):
            return part
        for choices in _positive_in(part):
            if not any(_is_positive(one, x, least) for one in choices):
                return part
    return None


def _positive_in(part: sp.Expr) -> Iterator[list[sp.Expr]]:
    """Lists of formulas, one of each of which has to be positive everywhere."""
    if isinstance(part, sp.Pow) and not (part.exp.is_number and part.exp > 1):
        base, whole = part.base, part.exp.is_Integer
        if not (whole and part.exp >= 0) and not base.is_number:
            yield [base, -base] if whole else [base]
    elif isinstance(part, (sp.asin, sp.acos, sp.atanh)):
        yield from ([1 - part.args[0]], [1 + part.args[0]])
    elif isinstance(part, sp.acosh):
        yield [part.args[0] - 1]
    elif isinstance(part, sp.atan2):
        y, x = part.args
        yield [x, y, -y]


def _is_positive(formula: sp.Expr, x: Sequence[sp.Symbol], least: sp.Rational | None) -> bool:
    here = [s for s in x if s in symbols_of(formula)]
    if not here:
        return bool(formula > 0)
    if least is not None:
        (u,) = here
        slope = formula.diff(u)
        if slope.is_number and slope > 0 and formula.xreplace({u: least}) >= 0:
            return True  # above the end
    low, high = -np.inf if least is None else float(least), np.inf
    box = {s: (np.array([low]), np.array([high])) for s in here}
    if bounds(formula, box)[0][0] > 0:
        return True
    if len(here) == 1:
        return lower_bound(formula, here[0], least) > 0
    form = as_composition(formula, here)
    return form is not None and lower_bound(form.outer, form.symbol, form.least) > 0


def has_tip(slope: sp.Expr, symbol: sp.Symbol, least: sp.Rational, modulus: float) -> bool:
    """Whether f(q) with f' = ``slope`` falls along all rays from where q is least.

    Parameters
    ----------
    slope : Expr
        h, in the symbol.
    symbol : Symbol
    least : Rational
        q0.
    modulus : float
        kappa, at most h + 2 (q - q0) h'.
    """
    near = least + sp.Rational(_NEAR)
    with mpmath.workdps(_DIGITS):
        try:
            value = host_function([symbol], slope, "mpmath")(mpmath.mpf(near.p) / near.q)
            limit = mpmath.sqrt(mpmath.mpf(_NEAR)) * (value - modulus)
            return not limit >= -_ROUNDING * (1 + abs(modulus))
        except (ValueError, ArithmeticError, TypeError):
            return True
