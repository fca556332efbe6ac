"""Formulas in functions that lose no digits: sigmoid, log1p, expm1 for what users write out.

SymPy has no logistic function, and its tree keeps 1/(1 + exp(-u)), log(1 + u) and exp(u) - 1 as
they are.  Evaluated like that they overflow or cancel, and the derivative of 1/(1 + exp(-u)) needs
another exp; that of sigmoid(u) is s (1 - s) with the value s that is there already.
"""

from __future__ import annotations

import sympy as sp
from sympy.codegen.cfunctions import expm1, log1p

__all__ = ["expm1", "log1p", "sigmoid", "stable"]


class sigmoid(sp.Function):
    """The logistic function 1/(1 + exp(-u))."""

    nargs = 1

    @classmethod
    def eval(cls, u):
        """Numbers are worked out at once."""
        return 1 / (1 + sp.exp(-u)) if u.is_number else None

    def fdiff(self, argindex=1):
        """s (1 - s)."""
        return self * (1 - self)

    def _eval_is_positive(self):
        return self.args[0].is_extended_real


def stable(expression: sp.Basic) -> sp.Basic:
    """The same function of the same symbols, with sigmoid, log1p and expm1 where they apply.

    (c + c exp(v))**p with p < 0 becomes c**p sigmoid(-v)**-p, and exp(v) sigmoid(-v) sigmoid(v).
    """
    return _stable(expression, {}) if expression.has(sp.exp, sp.log) else expression


def _stable(expression: sp.Basic, known: dict) -> sp.Basic:
    """Subexpressions first; ``known`` remembers results, since large formulas repeat themselves."""
    if not expression.args:
        return expression
    if expression not in known:
        args = [_stable(arg, known) for arg in expression.args]
        same = all(a is b for a, b in zip(args, expression.args, strict=True))
        rebuilt = expression if same else expression.func(*args)
        rule = next((rule for kind, rule in _RULES if isinstance(rebuilt, kind)), None)
        known[expression] = rule(rebuilt) if rule else rebuilt
    return known[expression]


def _exponential_term(term: sp.Expr):
    """(c, v) of a term c exp(v) with a number c, else (None, None)."""
    number, factor = term.as_coeff_Mul()
    return (number, factor.args[0]) if isinstance(factor, sp.exp) else (None, None)


def _power(power: sp.Pow) -> sp.Expr:
    base, exponent = power.args
    number, rest = base.as_coeff_Add()
    factor, v = _exponential_term(rest)
    if factor is None or not (exponent.is_number and exponent.is_negative and number.is_positive):
        return power
    return number**exponent * sigmoid(-v) ** -exponent if (factor - number).is_zero else power


def _product(product: sp.Mul) -> sp.Expr:
    factors = list(product.args)
    for k, factor in enumerate(factors):
        if not isinstance(factor, sp.exp):
            continue
        for j, other in enumerate(factors):
            base, exponent = other.as_base_exp()
            if isinstance(base, sigmoid):
                (w,) = base.args
                times = -factor.args[0] / w
                if times.is_Integer and exponent.is_number and 0 < times <= exponent:
                    factors[k] = sigmoid(-w) ** times
                    factors[j] = base ** (exponent - times)
                    return sp.Mul(*factors)
    return product


def _sum(total: sp.Add) -> sp.Expr:
    number, _ = total.as_coeff_Add()
    if number == 0:
        return total
    for term in total.args:
        factor, v = _exponential_term(term)
        if factor is not None and (factor + number).is_zero:
            return total - term - number + factor * expm1(v)
    return total


def _logarithm(logarithm: sp.log) -> sp.Expr:
    number, rest = logarithm.args[0].as_coeff_Add()
    return log1p(rest) if (number - 1).is_zero and rest.free_symbols else logarithm


_RULES = [(sp.Pow, _power), (sp.Mul, _product), (sp.Add, _sum), (sp.log, _logarithm)]
