"""What an energy is made of, as the theory of its flow asks:

    E = int V rho + sigma int rho log rho + 1/2 int int W rho rho + int U(rho).

With rho = exp(l), an integrand f(x, rho) is rho times a function of x and l; what is linear in l
is V + sigma l, and the rest has to be free of x.  The spelling does not matter: the potential of
rho log(rho/pi) is -log pi.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import sympy as sp

from ..declare.energies import short_text
from ..declare.families import is_family
from ..declare.formula_checks import expanded_terms, within_depth
from ..declare.indexed import written_out
from ..declare.symbols import Density, as_copy
from ..declare.transport import Transport
from ..sharing import holds, replaced, symbols_of
from .calculus import RHO, in_log_density
from .copies import LARGEST_EXPANDED
from .sums import IndexedSum
from .variation import Term, Terms, energy_terms

__all__ = ["EnergyStructure", "Interaction", "energy_structure"]

_LOG = sp.Dummy("l", real=True)


@dataclass(frozen=True)
class Interaction:
    """The interaction 1/2 int int W(x, y) rho(x) rho(y) dx dy with W(x, y) = W(y, x).

    Attributes
    ----------
    kernel : Expr
        W(x, y), in coordinates and partners of the structure.
    by_difference : Expr or None
        W as a function of r = x - y, written in the coordinates; None where it is no such function.
    """

    kernel: sp.Expr
    by_difference: sp.Expr | None


@dataclass(frozen=True)
class EnergyStructure:
    """The parts of an energy; ``other`` says what fits none of them.

    Attributes
    ----------
    coordinates, partners : tuple of d Symbols
    parameters : tuple of Symbols
    potential : Expr
        V(x), up to a constant.
    sigma : Expr
        Factor of the entropy int rho log rho, of parameters alone.
    interactions : tuple of Interaction
        Their sum is the interaction of the energy.
    internal : Expr
        U as a formula of :data:`~pwgf_sym.derive.calculus.RHO`, without its entropy.
    other : str
        Why the energy is no such sum; empty if it is.
    sums : tuple of IndexedSum
        Sums over an index, whose symbols stand in the potential.
    transport : Transport
        Drift and mobility beside the energy.
    """

    coordinates: tuple[sp.Symbol, ...]
    partners: tuple[sp.Symbol, ...]
    parameters: tuple[sp.Symbol, ...]
    potential: sp.Expr = sp.S.Zero
    sigma: sp.Expr = sp.S.Zero
    interactions: tuple[Interaction, ...] = ()
    internal: sp.Expr = sp.S.Zero
    other: str = ""
    sums: tuple[IndexedSum, ...] = ()
    transport: Transport = field(default_factory=Transport)

    def with_values(self, values: Mapping[sp.Symbol, float]) -> EnergyStructure:
        """The structure with numbers for parameters, as the fractions that the doubles are.

        Parameters
        ----------
        values : dict of Symbol to float
        """
        exact = {symbol: sp.Rational(float(value)) for symbol, value in values.items()}

        def put(expr: sp.Expr) -> sp.Expr:
            return None if expr is None else in_fractions(replaced(expr, exact))

        pairs = tuple(Interaction(put(w.kernel), put(w.by_difference)) for w in self.interactions)
        return EnergyStructure(
            self.coordinates,
            self.partners,
            tuple(s for s in self.parameters if s not in values),
            put(self.potential),
            put(self.sigma),
            pairs,
            put(self.internal),
            self.other,
            self.sums,
            self.transport.with_values(exact),
        )

    @property
    def forgets_to_gibbs(self) -> bool:
        """Whether the flow is a Fokker-Planck equation with the equilibrium exp(-V/sigma)/Z."""
        known = self.is_fokker_planck and not self.interactions and self.transport.plain
        known = known and self.transport.time is None
        return bool(known and self.sigma > 0)

    @property
    def is_fokker_planck(self) -> bool:
        """Whether it is potential, entropy and interactions and nothing else."""
        return not self.other and self.internal == 0 and self.sigma != 0


def in_fractions(expr: sp.Expr) -> sp.Expr:
    """The formula with floating point numbers as the fractions that they are."""
    floats = {number: sp.Rational(float(number)) for number in expr.atoms(sp.Float)}
    return replaced(expr, floats) if floats else expr


@within_depth
def energy_structure(
    energy: sp.Expr, rho: Density, transport: Transport | None = None
) -> EnergyStructure:
    """Read off potential, entropy, interactions and internal energy.

    Parameters
    ----------
    energy : Expr
    rho : Density
        On d coordinates.
    transport : Transport, optional
        Drift and mobility beside the energy.

    Returns
    -------
    EnergyStructure
        With a reason in ``other`` where the energy is no sum of these: nonlinear in an integral,
        an internal energy that depends on x, gradients of the density.

    Raises
    ------
    EnergyError
        If the energy cannot be derived.
    """
    found = _structure(energy_terms(energy, rho))
    return found if transport is None else replace(found, transport=transport)


@lru_cache(maxsize=8)
def _structure(parts: Terms) -> EnergyStructure:
    x = as_copy(parts.coordinates, "x")
    explicit = {one.symbol: written_out(one.formula, x) for one in parts.sums}
    explicit = {symbol: formula for symbol, formula in explicit.items() if formula is not None}
    potential: list[sp.Expr] = []
    sigma: list[sp.Expr] = []
    internal: list[sp.Expr] = []
    pairs: list[Interaction] = []
    other: list[str] = []
    for term in parts.terms:
        if symbols_of(term.weight) - set(parts.parameters) or term.weight.atoms(Density):
            other.append(f"it is no linear function of {short_text(term.integral)}")
        elif is_family(term.integral):
            other.append(f"{short_text(term.integral)} is a function of many integrals")
        elif term.steep:
            other.append(f"{short_text(term.integral)} reads the density's gradient")
        elif term.dense:
            other.append(f"{short_text(term.integral)} reads the density at two points")
        elif term.triple:
            other.append(f"{short_text(term.integral)} is over three copies of the space")
        elif term.has_convolutions:
            other.append(f"{short_text(term.integral)} holds an integral inside")
        elif term.pair:
            pairs.append(_interaction(term, parts))
        else:
            found = _of_single(term, {*parts.coordinates, *(s.symbol for s in parts.sums)})
            potential.append(found[0])
            sigma.append(found[1])
            internal.append(found[2])
            other += found[3]
    return EnergyStructure(
        parts.coordinates,
        parts.partners,
        parts.parameters,
        replaced(sp.Add(*potential), explicit),
        sp.Add(*sigma),
        tuple(pairs),
        sp.Add(*internal),
        "; ".join(other),
        tuple(one for one in parts.sums if one.symbol not in explicit),
    )


def _interaction(term: Term, parts: Terms) -> Interaction:
    x, y = parts.coordinates, parts.partners
    kernel = term.weight * term.variation
    moved = replaced(kernel, {a: a + b for a, b in zip(x, y, strict=True)})
    if symbols_of(moved) & set(y) and expanded_terms(moved) <= LARGEST_EXPANDED:
        moved = sp.expand(moved)
    return Interaction(kernel, None if symbols_of(moved) & set(y) else moved)


def _of_single(term: Term, varying: set[sp.Symbol]) -> tuple[sp.Expr, sp.Expr, sp.Expr, list[str]]:
    """V, sigma and U of one integral, times its weight, and what is none of them."""
    density = _over_density(term.formula)
    free: list[sp.Expr] = []
    linear: list[sp.Expr] = []
    rest: list[sp.Expr] = []
    for summand in map(_logs_opened, _summands(density, _LOG)):
        power = _power_of_log(summand)
        if power is None:
            rest.append(summand)
        else:
            (free, linear)[power].append(summand / _LOG**power)
    sigma = sp.Add(*linear)
    other: list[str] = []
    text = short_text(term.integral)
    if symbols_of(sigma) & varying:
        other.append(f"the factor of the entropy in {text} depends on x")
    internal = sp.Add(*(RHO * _in_density(part) for part in rest))
    if symbols_of(internal) & varying:
        other.append(f"the internal energy in {text} depends on x")
    return term.weight * sp.Add(*free), term.weight * sigma, term.weight * internal, other


def _in_density(expr: sp.Expr) -> sp.Expr:
    """A formula of l written in rho: rho^p for exp(p l)."""
    powers = {
        node: RHO ** (node.exp / _LOG)
        for node in expr.atoms(sp.exp)
        if holds(node, [_LOG]) and not holds(node.exp / _LOG, [_LOG])
    }
    return replaced(replaced(expr, powers), {_LOG: sp.log(RHO)})


def _over_density(formula: sp.Expr) -> sp.Expr:
    """f(x, e^l) e^-l without the summands that are free of rho, which move nothing."""
    if formula.has(RHO) and expanded_terms(formula) <= LARGEST_EXPANDED and _hides(formula):
        formula = sp.expand(formula, log=False, power_base=False, power_exp=False)
    summands = [part for part in _summands(formula, RHO) if part.has(RHO)]
    return sp.Add(*(in_log_density(part / RHO, _LOG) for part in summands))


def _hides(formula: sp.Expr) -> bool:
    """Whether a power of a sum holds the density, as (rho - 1)**2 does."""
    powers = [p for p in formula.atoms(sp.Pow) if p.base.is_Add and p.has(RHO)]
    return any(p.exp.is_Integer and p.exp.is_positive for p in powers)


def _summands(expr: sp.Expr, symbol: sp.Symbol) -> list[sp.Expr]:
    """Summands of a product with the factors multiplied out that hold the symbol in a sum."""
    if expr.is_Add:
        return [part for arg in expr.args for part in _summands(arg, symbol)]
    if expr.is_Mul:
        for i, arg in enumerate(expr.args):
            if arg.is_Add and holds(arg, [symbol]):
                others = sp.Mul(*expr.args[:i], *expr.args[i + 1 :])
                return [part for a in arg.args for part in _summands(a * others, symbol)]
    return [expr]


def _power_of_log(summand: sp.Expr) -> int | None:
    """0 or 1 where a summand is c(x) or c(x) l, else None."""
    if not holds(summand, [_LOG]):
        return 0
    quotient = summand / _LOG
    return None if holds(quotient, [_LOG]) else 1


def _logs_opened(expr: sp.Expr) -> sp.Expr:
    """log(c e^u) as log(c) + u."""
    logs = {}
    for node in expr.atoms(sp.log):
        factors = sp.Mul.make_args(node.args[0])
        inner = [f.exp for f in factors if isinstance(f, sp.exp)]
        if inner:
            others = sp.Mul(*(f for f in factors if not isinstance(f, sp.exp)))
            logs[node] = sp.Add(sp.log(others), *inner)
    return replaced(expr, logs) if logs else expr
