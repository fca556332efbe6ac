"""Factors that are zero somewhere, beside others that are infinite there."""

from __future__ import annotations

import sympy as sp

from ...functions import expm1
from ...sharing import has_symbols, holds

__all__ = ["gated"]


def gated(product: sp.Mul) -> sp.Expr | None:
    """A product with a factor that is zero somewhere as pieces: 0 times infinity is not a number.

    None where no factor is, or no other factor can be infinite.
    """
    factors = list(product.args)
    for k, factor in enumerate(factors):
        pieces = _pieces(factor)
        if pieces is None:
            continue
        rest = sp.Mul(*factors[:k], *factors[k + 1 :])
        if any(map(_unbounded, sp.Mul.make_args(rest))):
            return sp.Piecewise(*((value * rest, where) for value, where in pieces))
    return None


def _pieces(factor: sp.Expr) -> list[tuple[sp.Expr, sp.Basic | bool]] | None:
    """(value, condition) of the pieces of a factor that is zero in one of them, else None."""
    base, power = factor.as_base_exp()
    if not (power.is_number and power.is_positive):
        return None
    if isinstance(base, sp.Heaviside):
        u, at_zero = base.args
        return [(sp.S.One, u > 0), (sp.S.Zero, u < 0), (at_zero**power, True)]
    if isinstance(base, (sp.Max, sp.Min)) and 0 in base.args:
        u = base.func(*(arg for arg in base.args if arg != 0))
        return [(u**power, u > 0 if isinstance(base, sp.Max) else u < 0), (sp.S.Zero, True)]
    if isinstance(base, sp.Piecewise) and any(value == 0 for value, _ in base.args):
        return [(value**power, where) for value, where in base.args]
    return None


def _unbounded(factor: sp.Expr) -> bool:
    """Whether a factor tends to infinity somewhere faster than a polynomial."""
    base, power = factor.as_base_exp()
    if isinstance(factor, sp.exp):
        return has_symbols(factor.args[0]) and not factor.args[0].is_nonpositive
    inverse = bool(power.is_negative and has_symbols(base) and not base.is_positive)
    return inverse or holds(base, (sp.exp, sp.sinh, sp.cosh, sp.log, expm1))
