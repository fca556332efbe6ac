"""Formulas that laws are written with."""

from __future__ import annotations

import sympy as sp
from sympy.core.function import AppliedUndef

from ..arguments import brief
from ..errors import EnergyError, LawError
from .energies import EnergyIntegral
from .formula_checks import check_formula, scalar_expression

__all__ = ["plain_formula"]


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
