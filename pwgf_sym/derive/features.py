"""Integrals of an energy as a function of their integrands, so that sums of many are seen as such.

In sum_n (int h_n rho - b_n)^2 written out every integral is a number of its own.  With mean(h_n) in
their place the summands are formulas of the coordinates, and alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from ..declare.energies import EnergyIntegral, ordered_integrals
from ..declare.energy_checks import linear_kernel
from ..declare.families import energy_parts, is_family
from ..declare.indexed import renamed_copies
from ..declare.symbols import Density
from ..errors import EnergyError
from ..sharing import parts, replaced

__all__ = ["in_integrals", "in_means"]


class mean(sp.Function):
    """The mean of a function of x over the density."""

    nargs = 1


def in_means(energy: sp.Expr, rho: Density) -> tuple[sp.Expr, dict[sp.Basic, sp.Basic]]:
    """The energy with mean(h) for integrals of h rho, and what stands for all its other parts.

    A summand that is linear in an integral stays: it is part of the potential.
    """
    linear = {
        p
        for term in sp.Add.make_args(sp.expand_mul(energy, deep=False))
        for p in sp.Mul.make_args(term)
        if isinstance(p, EnergyIntegral)
    }
    found: dict[sp.Basic, sp.Basic] = {}
    others: dict[sp.Basic, sp.Basic] = {}
    for part in energy_parts(energy):
        kernel = None if is_family(part) or part in linear else _kernel(part, rho)
        if kernel is None:
            mark = sp.Dummy(real=True)
            found[part], others[mark] = mark, part
        else:
            found[part] = mean(kernel)
    return replaced(energy, found), others


def _kernel(integral: EnergyIntegral, rho: Density) -> sp.Expr | None:
    """h of an integral of h rho, in the density's coordinates; None for any other."""
    if len(integral.copies) != 1 or ordered_integrals(integral.integrand):
        return None
    try:
        kernel = linear_kernel(integral, rho)
    except EnergyError:
        return None
    (copy,) = integral.copies
    own = dict(zip(copy, rho.coordinates, strict=True)) | renamed_copies(copy, rho.coordinates)
    return replaced(kernel, own)


def in_integrals(formula: sp.Expr, others: Mapping[sp.Basic, sp.Basic], rho: Density) -> sp.Expr:
    """A formula of means in integrals again."""
    x = rho.coordinates
    found = {p: EnergyIntegral(p.args[0] * rho, x) for p in parts(formula) if isinstance(p, mean)}
    return replaced(formula, {**found, **others})
