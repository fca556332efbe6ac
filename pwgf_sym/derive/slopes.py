"""Gradient energies: integrands f(x, rho, grad rho).

In samples grad rho = rho s with the score s, so that an energy is a mean of f(x, e^l, e^l s) e^-l.
Its first variation f_rho - div f_p, p = grad rho, holds second derivatives of the density, and its
velocity third ones, which samples do not carry: the flow is integrated in the energy form, by the
derivative of the score by theta.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import sympy as sp

from ..declare.symbols import Density
from ..sharing import holds, replaced
from .calculus import RHO, Gradient

__all__ = ["density_slopes", "has_slopes", "in_score", "slope_marks", "variation_with_slopes"]


@cache
def density_slopes(dim: int) -> tuple[sp.Dummy, ...]:
    """The symbols of d rho/dx_i in formulas."""
    return tuple(sp.Dummy(f"rho_{i}", real=True) for i in range(dim))


def slope_marks(rho: Density) -> dict[sp.Basic, sp.Symbol]:
    """By derivative of the density its symbol in formulas."""
    x = rho.coordinates
    return {rho.diff(s): mark for s, mark in zip(x, density_slopes(len(x)), strict=True)}


def has_slopes(formula: sp.Expr, dim: int) -> bool:
    """Whether a formula reads derivatives of the density."""
    return holds(formula, density_slopes(dim))


def in_score(formula: sp.Expr, score: Sequence[sp.Symbol]) -> sp.Expr:
    """A formula with rho s in the place of grad rho."""
    marks = density_slopes(len(score))
    return replaced(formula, {p: RHO * s for p, s in zip(marks, score, strict=True)})


def variation_with_slopes(formula: sp.Expr, rho: Density) -> sp.Expr:
    """f_rho - div f_p, with the density and its derivatives written out."""
    x = rho.coordinates
    marks = density_slopes(len(x))
    back = {RHO: rho} | {mark: rho.diff(s) for s, mark in zip(x, marks, strict=True)}
    by_density, *by_slopes = Gradient((RHO, *marks))(formula)
    fluxes = [replaced(flux, back) for flux in by_slopes]
    divergence = sp.Add(*(flux.diff(s) for flux, s in zip(fluxes, x, strict=True)))
    return replaced(by_density, back) - divergence
