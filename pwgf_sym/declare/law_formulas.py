"""Formulas that laws are written with."""

from __future__ import annotations

import math

import sympy as sp
from sympy.core.function import AppliedUndef

from ..arguments import brief
from ..errors import EnergyError, LawError
from .energies import EnergyIntegral
from .formula_checks import check_formula, scalar_expression

__all__ = ["log_gamma_ratio", "plain_formula"]

# From here on four terms of Stirling's series are a double's.
_STIRLING = 100.0


def log_gamma_ratio(a: float, b: float) -> float:
    """log(Gamma(a + b)/Gamma(a)) for positive numbers: two logarithms cancel where a is large."""
    from scipy.special import gammaln

    if a < _STIRLING:
        return float(gammaln(a + b) - gammaln(a))

    def rest(z: float) -> float:
        return (1 - (1 / 30 - (1 / 105 - 1 / (140 * z**2)) / z**2) / z**2) / (12 * z)

    main = (a - 0.5) * math.log1p(b / a) + b * (math.log(a + b) - 1)
    return main + rest(a + b) - rest(a)


def plain_formula(given: object, name: str, accepted: str, fix: str) -> sp.Expr:
    """A real formula of symbols alone: without integrals, densities, arrays and derivatives.

    Raises
    ------
    LawError
        Naming ``name``, if it is none.
    """
    try:
        formula = scalar_expression(given, name)
        check_formula(formula, name)
    except EnergyError as error:
        raise LawError(name, error.given, error.accepted, error.fix) from error
    kinds = (AppliedUndef, EnergyIntegral, sp.Derivative, sp.Sum, sp.Product, sp.Indexed)
    if formula.has(sp.I, sp.nan, sp.zoo, *kinds):
        raise LawError(name, brief(given), accepted, fix)
    return formula
