"""Double integrals of functions of the density at both copies, f(x, y, rho(x), rho(y)).

Over samples int int f is the mean over pairs of e = f/(rho(x) rho(y)).  With derivatives f_1 and
f_2 of f by rho(x) and by rho(y) the first variation is

    dI/drho(x) = int f_1(x, y, rho(x), rho(y)) + f_2(y, x, rho(y), rho(x)) dy,

the mean over partners y of V/rho(y), V what is integrated; the velocity -grad_x V - rho V_rho s is
one, too.  The slope of the mean over pairs is another: of e(x, y) + e(y, x), by x and by l.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from ..declare.energies import EnergyIntegral, short_text
from ..declare.symbols import Density
from ..errors import EnergyError
from ..sharing import replaced
from .calculus import RHO, Gradient, in_log_density, negated, times_density
from .vacuum import limit_in_vacuum, over_density

__all__ = [
    "RHO_Y",
    "DensityPairs",
    "density_pairs",
    "energy_of_pair",
    "exchanged",
    "with_densities",
]

#: The density at the partner y.
RHO_Y = sp.Dummy("rho_y", positive=True)

Point = Sequence[sp.Symbol]


@dataclass(frozen=True)
class DensityPairs:
    """Such integrals of an energy, as means over the partners of a sample.

    Attributes
    ----------
    log_density : Symbol
        m = log rho(y).
    velocity : tuple of d Expr
        Their part of the velocity, in x, l, s, y and m; () where there is none.
    slopes, by_log : tuple of d Expr, Expr
        Derivatives of the energy by x at fixed l, and by l, in x, l, y and m.
    """

    log_density: sp.Symbol
    velocity: tuple[sp.Expr, ...]
    slopes: tuple[sp.Expr, ...]
    by_log: sp.Expr


def exchanged(formula: sp.Expr, x: Point, y: Point) -> sp.Expr:
    """f(y, x, rho(y), rho(x)) of a formula f(x, y, rho(x), rho(y))."""
    return replaced(formula, dict(zip((*x, *y, RHO, RHO_Y), (*y, *x, RHO_Y, RHO), strict=True)))


def _partner_named(formula: sp.Expr) -> sp.Expr:
    """The densities of both copies called as each other."""
    return replaced(formula, {RHO: RHO_Y, RHO_Y: RHO})


def _left_over(formula: sp.Expr) -> sp.Expr:
    """What is left of f where one of the densities is 0, which has no mean over samples."""
    for turn in (lambda e: e, _partner_named):
        named = turn(formula)
        rest = over_density(named)[1]
        grows = (p for p in sp.Add.make_args(named) if limit_in_vacuum(p) is None)
        rest = rest if rest != 0 else next(grows, sp.S.Zero)
        if rest != 0:
            return turn(rest)
    return sp.S.Zero


def with_densities(
    integrand: sp.Expr, integral: EnergyIntegral, rho: Density, y: Sequence[sp.Symbol]
) -> sp.Expr:
    """f(x, y, RHO, RHO_Y) of a double integral, which has to vanish with either density."""
    names = {rho: RHO, rho.at(y): RHO_Y}
    formula = replaced(integrand, names)
    rest = _left_over(formula)
    if rest != 0:
        rest = replaced(rest, {symbol: density for density, symbol in names.items()})
        given = f"{short_text(integral)}, of which {short_text(rest)} is left without one density"
        accepted = "double integrals of f(x, y, rho(x), rho(y)) that vanish with either density"
        fix = "Write the rest as integrals over one copy."
        raise EnergyError("energy", given, accepted, fix)
    return formula


def _over_partner(formula: sp.Expr, log_density: sp.Symbol, partner: sp.Symbol) -> sp.Expr:
    """A formula over rho(y), with l and m in the place of the densities."""
    found = over_density(_partner_named(formula))[0]
    return in_log_density(_partner_named(in_log_density(found, partner)), log_density)


def energy_of_pair(formula: sp.Expr, log_density: sp.Symbol, partner: sp.Symbol) -> sp.Expr:
    """e(x, y, l, m) = f/(rho(x) rho(y))."""
    return _over_partner(over_density(formula)[0], log_density, partner)


def density_pairs(
    terms: Sequence[tuple[sp.Expr, sp.Expr, tuple[sp.Expr, ...], sp.Expr]],
    names: tuple[Point, Point, sp.Symbol, Point, sp.Symbol],
    rough: bool,
) -> DensityPairs:
    """Velocity and slopes of such integrals.

    Parameters
    ----------
    terms : sequence of (Expr, Expr, tuple of d Expr, Expr)
        Weight, f, -grad_x V and rho V_rho of each.
    names : tuple
        x, y, l, s and m.
    rough : bool
        Whether the energy has no velocity.
    """
    x, y, log_density, score, partner = names
    velocity: list[list[sp.Expr]] = [[] for _ in x]
    slopes: list[list[sp.Expr]] = [[] for _ in x]
    by_log, gradient = [], Gradient((*x, log_density))
    turned = dict(zip((*x, *y, log_density, partner), (*y, *x, partner, log_density), strict=True))
    for weight, formula, drift, change in terms:
        pushed = negated(_over_partner(times_density(change, 0), log_density, partner))
        energy = energy_of_pair(formula, log_density, partner)
        *by_x, by_l = gradient(energy + replaced(energy, turned))
        by_log.append(weight * by_l)
        for i, s in enumerate(score):
            slopes[i].append(weight * by_x[i])
            along = _over_partner(drift[i], log_density, partner)
            velocity[i].append(weight * (along + pushed * s))
    rows = () if rough else tuple(sp.Add(*row) for row in velocity)
    return DensityPairs(partner, rows, tuple(sp.Add(*row) for row in slopes), sp.Add(*by_log))
