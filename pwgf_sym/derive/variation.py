"""First variations of energies, their velocities and the equation that they drive.

For E = F(I_1, ..., I_K) the chain rule gives dE/drho = sum_k (dF/dI_k) dI_k/drho with

    I = int f(x, rho(x)) dx                      dI/drho = df/drho
    I = int int W(x, y) rho(x) rho(y) dx dy      dI/drho = int [W(x, y) + W(y, x)] rho(y) dy
    I = int int f(x, y, rho(x), rho(y)) dx dy    see :mod:`.density_pairs`
    I = int int int W(x, y, z) rho rho rho       dI/drho = int int [W(x, y, z) + W(y, x, z)
                                                               + W(y, z, x)] rho(y) rho(z) dy dz

with one term more where f holds convolutions (:mod:`.convolutions`), and the Wasserstein gradient
flow is d rho/dt = div(rho grad dE/drho) (Jordan, Kinderlehrer and Otto, SIAM J. Math. Anal. 29,
1998; Ambrosio, Gigli and Savare, "Gradient Flows", 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import sympy as sp

from ..arguments import checked_call
from ..declare.clock import time_symbol
from ..declare.energies import EnergyIntegral, ordered_integrals, short_text
from ..declare.energy_checks import check_energy, is_density_pair, pair_kernel
from ..declare.families import energy_parts, is_family
from ..declare.formula_checks import within_depth
from ..declare.indexed import free_scalars
from ..declare.matrices import without_matrices
from ..declare.symbols import Density, as_copy, coordinates, copy_of
from ..errors import EnergyError
from ..sharing import holds, replaced
from .borders import jump
from .calculus import RHO, Gradient, derivatives, negated, times_density
from .convolutions import Convolution, ConvolutionTable, convolutions_in_full
from .copies import (
    OverCopies,
    in_names,
    in_time,
    second_copy,
    symmetrized,
    symmetrized_of_three,
    third_copy,
)
from .density_pairs import RHO_Y, exchanged, with_densities
from .families import Family, family_of, weights_in_full
from .pieces import in_pieces
from .slopes import has_slopes, slope_marks, variation_with_slopes
from .sums import IndexedSum, SampleGradient, SumTable, in_full

__all__ = [
    "Term",
    "Terms",
    "check_velocity",
    "energy_terms",
    "first_variation",
    "free_name",
    "pde",
    "velocity",
]


@dataclass(frozen=True)
class Term(OverCopies):
    """One integral I_k of an energy, written in the coordinates x, and y and z of other copies.

    Attributes
    ----------
    integral : EnergyIntegral, or Sum over integrals
        As it stands in the energy.
    copies : int
        Over how many copies of the space.
    formula : Expr
        f(x, RHO) of a single integral, with symbols of convolutions; W(x, y) of a double one,
        W(x, y, z) of a triple one.
    variation : Expr
        df/dRHO, or W(x, y) + W(y, x), which is to be integrated against rho(y), or
        W(x, y, z) + W(y, x, z) + W(y, z, x), against rho(y) rho(z).
    slopes, drift : tuple of d Expr
        Derivatives of `variation` by x at fixed RHO, y and z, and their negatives.
    change : Expr
        RHO times the derivative of `variation` by RHO; 0 where other copies are integrated over.
    weight : Expr
        dE/dI_k, in the integrals of the energy.
    rough : str
        Where `variation` jumps, so that it has no gradient; empty where it is continuous.
    steep : bool
        Whether the integrand reads the gradient of the density.  `variation` then holds its
        derivatives written out, and slopes, drift and change are zero.
    by_convolution : tuple of Expr
        Derivatives of `formula` by the energy's convolutions; () beside other copies.
    dense : bool
        Whether it is a double integral of f(x, y, RHO, RHO_Y), which is then `formula`; `variation`
        is to be integrated over y alone.
    """

    integral: EnergyIntegral
    copies: int
    formula: sp.Expr
    variation: sp.Expr
    slopes: tuple[sp.Expr, ...]
    drift: tuple[sp.Expr, ...]
    change: sp.Expr
    weight: sp.Expr
    rough: str = ""
    steep: bool = False
    by_convolution: tuple[sp.Expr, ...] = ()
    dense: bool = False

    @property
    def has_convolutions(self) -> bool:
        """Whether it is a single integral that depends on convolutions."""
        return any(slope != 0 for slope in self.by_convolution)


@dataclass(frozen=True)
class Terms:
    """An energy taken apart: its integrals, coordinates, partners, parameters and sums.

    `thirds` are the coordinates of the third copy of the space, () where no integral has one.

    `gradient` gives the derivatives of a formula by (x0, ..., x{d-1}, RHO).  Formulas hold the
    symbols of `sums` in the place of sums over an index, and those of `convolutions` in that of
    inner integrals.
    """

    coordinates: tuple[sp.Symbol, ...]
    partners: tuple[sp.Symbol, ...]
    parameters: tuple[sp.Symbol, ...]
    terms: tuple[Term, ...]
    gradient: SampleGradient = field(compare=False, repr=False)
    sums: tuple[IndexedSum, ...] = ()
    convolutions: tuple[Convolution, ...] = ()
    families: tuple[Family, ...] = ()
    thirds: tuple[sp.Symbol, ...] = ()

    def in_full(self, formula: sp.Expr, rho: Density) -> sp.Expr:
        """A formula with sums, convolutions, and their derivatives, in the place of symbols."""
        return self._written(formula, rho, self.partners)

    def at_partners(self, formula: sp.Expr, rho: Density) -> sp.Expr:
        """A formula in x, RHO and symbols, in full at the partners y."""
        x, y = self.coordinates, self.partners
        full = self._written(formula, rho, self._third_copy()).xreplace({RHO: rho})
        return in_names(full, [x], [y])

    def _written(self, formula: sp.Expr, rho: Density, partners: Sequence[sp.Symbol]) -> sp.Expr:
        found = in_full(formula, self.sums, self.coordinates) if self.sums else formula
        found = weights_in_full(found, self.families, rho, partners)
        if not self.convolutions:
            return found
        return convolutions_in_full(found, self.convolutions, rho, (self.partners, partners))

    def _third_copy(self) -> tuple[sp.Symbol, ...]:
        """Coordinates z of an inner integral where x and y are named."""
        named = (*self.coordinates, *self.partners, *self.thirds, *self.parameters)
        taken = {s.name for s in named}
        suffix, stem = "", as_copy(self.partners, "y").name
        copy = copy_of(self.partners) if stem != "y" else coordinates(len(self.partners), "z")
        while any(s.name + suffix in taken for s in copy):
            suffix += "_"
        return tuple(sp.Symbol(s.name + suffix, real=True) for s in copy)


def energy_terms(energy: sp.Expr, rho: Density, names: frozenset[str] = frozenset()) -> Terms:
    """Check an energy and take it apart; the last results are remembered.

    No new symbol has one of ``names``.

    Raises
    ------
    EnergyError
        If the energy cannot be derived, or an integrand jumps; the message names the offending
        term.
    """
    energy = without_matrices(energy, "energy")
    check_energy(energy, rho)
    return _energy_terms(energy, rho, names)


@lru_cache(maxsize=8)
def _energy_terms(energy: sp.Expr, rho: Density, names: frozenset[str]) -> Terms:
    x = tuple(rho.coordinates)
    parameters = tuple(sorted(free_scalars(energy), key=lambda s: (s.name, str(s.assumptions0))))
    found = ordered_integrals(energy)
    y = second_copy(found, rho, parameters)
    z = third_copy(found, y, parameters)
    marks = {term: sp.Dummy(f"I_{k}", real=True) for k, term in enumerate(energy_parts(energy))}
    value = in_pieces(replaced(energy, marks))
    integrals = {mark: term for term, mark in marks.items()}
    _refuse_jump(value, "energy, as a function of its integrals,", integrals)
    used = {s.name for s in (*energy.atoms(sp.Symbol), *x, *y, *z)} | names
    tables = SumTable(x, used), ConvolutionTable(x, y, used)
    families = {node: family_of(node, rho, tables[0]) for node in marks if is_family(node)}
    own = {node: family.formula for node, family in families.items()}
    formulas = [own.get(t) or _formula(t, rho, (y, z), *tables) for t in marks]
    sums, convolutions = tables[0].sums, tables[1].convolutions
    for one in convolutions:
        _refuse_jump(one.kernel, f"the kernel {short_text(one.kernel)}", {})
    gradient = SampleGradient(x, (*sums, *convolutions))
    own_symbols = tuple(one.symbol for one in convolutions)
    terms = []
    slopes = derivatives(value, list(integrals))
    for term, slope, formula in zip(marks, slopes, formulas, strict=True):
        weight = replaced(slope, integrals)
        terms.append(_term(term, formula, weight, (x, y, z, rho), gradient, own_symbols))
    tables_found = sums, convolutions, tuple(families.values())
    return Terms(x, y, parameters, tuple(terms), gradient, *tables_found, z)


def _formula(
    integral: EnergyIntegral,
    rho: Density,
    others: Sequence[Sequence[sp.Symbol]],
    table: SumTable,
    convolutions: ConvolutionTable,
) -> sp.Expr:
    """f(x, RHO) of a single integral, W(x, y) of a double one, W(x, y, z) of a triple one."""
    x = tuple(rho.coordinates)
    if len(integral.copies) == 1:
        integrand = in_pieces(convolutions.without_convolutions(integral, rho))
        formula = replaced(
            in_names(integrand, integral.copies, [x]),
            slope_marks(rho) if holds(integrand, (sp.Derivative,)) else {},
        )
        formula = table.without_sums(replaced(formula, {rho: RHO}))
        if has_slopes(formula, len(x)):
            _check_beside_slopes(integral, formula, table, convolutions)
        return formula
    dense = is_density_pair(integral, rho)
    kernel = in_pieces(integral.integrand if dense else pair_kernel(integral, rho))
    if holds(kernel, (sp.Sum, sp.Product)):
        kind = "double" if len(integral.copies) == 2 else "triple"
        given = f"{short_text(integral)}, a {kind} integral with a sum over data"
        accepted = "sums over data in integrals over one copy of the space"
        raise EnergyError("energy", given, accepted, "Write the sum out, or split the energy.")
    found = in_names(kernel, integral.copies, [x, *others][: len(integral.copies)])
    return with_densities(found, integral, rho, others[0]) if dense else found


def _check_beside_slopes(
    integral: EnergyIntegral, formula: sp.Expr, table: SumTable, convolutions: ConvolutionTable
) -> None:
    """Refuse quantities of a sample in an integral that reads the density's gradient."""
    own = [one.symbol for one in convolutions.convolutions]
    for symbols, what, accepted in (
        (table.symbols(), "a sum over data", "sums over data"),
        (own, "an integral inside", "integrals inside"),
    ):
        if symbols and holds(formula, symbols):
            given = f"{short_text(integral)}, with {what} and the density's gradient"
            accepted += " in integrals without derivatives of the density"
            raise EnergyError("energy", given, accepted, "Write two integrals.")


def _term(
    integral: EnergyIntegral,
    formula: sp.Expr,
    weight: sp.Expr,
    names: tuple[Sequence[sp.Symbol], Sequence[sp.Symbol], Sequence[sp.Symbol], Density],
    gradient: SampleGradient,
    convolutions: Sequence[sp.Symbol],
) -> Term:
    x, y, z, rho = names
    copies = 1 if is_family(integral) else len(integral.copies)
    if copies == 1 and has_slopes(formula, len(x)):
        _refuse_jump(formula, short_text(integral), {RHO: rho})
        variation = variation_with_slopes(formula, rho)
        zeros = (sp.S.Zero,) * len(x)
        rest = zeros, zeros, sp.S.Zero, weight
        none = (sp.S.Zero,) * len(convolutions)
        return Term(integral, copies, formula, variation, *rest, steep=True, by_convolution=none)
    dense = copies == 2 and holds(formula, (RHO,))
    if dense:
        by_x, by_y = Gradient([RHO, RHO_Y])(formula)
        variation = times_density(by_x, 0) + exchanged(by_y, x, y)
    elif copies == 2:
        variation = symmetrized(formula, x, y)
    elif copies == 3:
        variation = symmetrized_of_three(formula, x, y, z)
    else:
        (by_density,) = Gradient([RHO])(formula)
        variation = times_density(by_density, 0)
    own = (RHO, *convolutions)
    moving = (
        formula if copies > 1 else sp.Add(*(p for p in sp.Add.make_args(formula) if p.has(*own)))
    )
    _refuse_jump(moving, short_text(integral), {RHO: rho, RHO_Y: rho.at(y)})
    border = jump(variation) if copies == 1 or dense else None
    rough = border.text({RHO: rho, RHO_Y: rho.at(y)}) if border else ""
    *slopes, change = gradient(variation)
    change = times_density(change, 1)
    drift = tuple(negated(slope) for slope in slopes)
    by_convolution = () if copies > 1 else Gradient(convolutions)(formula)
    found = variation, tuple(slopes), drift, change, weight, rough
    return Term(integral, copies, formula, *found, by_convolution=by_convolution, dense=dense)


def _refuse_jump(formula: sp.Expr, what: str, names: dict[sp.Symbol, sp.Expr]) -> None:
    """Refuse a formula that jumps: its derivative would hold a Dirac measure."""
    border = jump(formula)
    if border:
        accepted = "formulas that are continuous: kinks such as Abs(x) and Max(x, 0), but no jumps"
        fix = (
            "A force is the slope of an energy: write a steep, continuous step, such as tanh(k*x)."
        )
        raise EnergyError("energy", f"{what} which jumps {border.text(names)}", accepted, fix)


def check_velocity(parts: Terms) -> None:
    """Refuse an energy that has no velocity in what samples carry.

    Raises
    ------
    EnergyError
        Naming the integral, and where its first variation jumps, or that it reads derivatives of
        the density.
    """
    _check_continuous(parts)
    for term in parts.terms:
        if term.steep:
            given = f"{short_text(term.integral)}, whose velocity holds third derivatives of rho"
            accepted = "for a velocity, integrands without derivatives of the density"
            fix = 'Use solve(..., formulation="energy"), which needs the score alone.'
            raise EnergyError("energy", given, accepted, fix)


def _check_continuous(parts: Terms) -> None:
    """Refuse an energy whose first variation jumps where a velocity is asked for."""
    for term in parts.terms:
        if term.rough:
            given = f"{short_text(term.integral)}, whose first variation jumps {term.rough}"
            accepted = "for a velocity, integrands whose derivative by the density is continuous"
            fix = 'Use solve(..., formulation="energy"), or write a smooth kink: Max(u, 0)**2.'
            raise EnergyError("energy", given, accepted, fix)


@checked_call
@within_depth
def first_variation(energy: sp.Expr, rho: Density) -> sp.Expr:
    """The first variation dE/drho of an energy, as a SymPy expression in x and rho(x).

    Nonlocal terms are integrals over a second copy of the space (convolutions).

    Parameters
    ----------
    energy : Expr
        Expression of :func:`~pwgf_sym.declare.energies.integral` objects and parameters.
    rho : Density
        The density, on d coordinates.

    Returns
    -------
    Expr
        Up to additive constants: constants do not move mass.

    Raises
    ------
    EnergyError
        If the energy cannot be derived; the message names the offending term.
    """
    parts = energy_terms(energy, rho)
    found = sp.Add(*(t.weight * _variation_of(t, parts, rho) for t in parts.terms))
    return parts.in_full(found, rho)


@checked_call
@within_depth
def velocity(energy: sp.Expr, rho: Density) -> sp.Matrix:
    """The velocity -grad dE/drho of the gradient flow, as a column of d SymPy expressions.

    Derivatives are carried out; those of the density stay as ``Derivative(rho(x0, ...), x0)``,
    and the gradient of a nonlocal term stands under the integral sign.

    Parameters
    ----------
    energy : Expr
    rho : Density

    Returns
    -------
    Matrix, (d, 1)

    Raises
    ------
    EnergyError
        If the energy cannot be derived; the message names the offending term.
    """
    parts = energy_terms(energy, rho)
    _check_continuous(parts)
    return sp.Matrix(_along_gradient(parts, rho, sp.S.NegativeOne, 0))


@checked_call
@within_depth
def pde(energy: sp.Expr, rho: Density, time: sp.Symbol | None = None) -> sp.Eq:
    """The equation d rho/dt = div(rho grad dE/drho) of the flow, with rho(t, x0, ...).

    The outer derivatives of the divergence are left unevaluated, as a conservation law is read.

    Parameters
    ----------
    energy : Expr
    rho : Density
    time : Symbol, optional
        t, where the energy holds it; a new symbol by default.

    Returns
    -------
    Eq

    Raises
    ------
    EnergyError
        If the energy cannot be derived; the message names the offending term.
    """
    parts = energy_terms(energy, rho)
    _check_continuous(parts)
    used = {s.name for s in energy.atoms(sp.Symbol) | {*parts.coordinates, *parts.partners}}
    if time is None:
        time = sp.Symbol(free_name("t", used), real=True)
    else:
        time = time_symbol(energy, rho, time, parts.parameters)
    fluxes = _along_gradient(parts, rho, sp.S.One, 1)
    divergence = sp.Add(
        *(
            sp.Derivative(in_time(flux, rho, time), symbol)
            for flux, symbol in zip(fluxes, rho.coordinates, strict=True)
            if flux != 0
        )
    )
    return sp.Eq(sp.Derivative(in_time(rho, rho, time), time), divergence, evaluate=False)


def free_name(stem: str, used: set[str]) -> str:
    """`stem`, with underscores appended until no name in `used` equals it."""
    while stem in used:
        stem += "_"
    return stem


def _along_gradient(parts: Terms, rho: Density, sign: sp.Integer, power: int) -> list[sp.Expr]:
    """sign * rho**power * grad dE/drho, with the derivatives of rho written out."""
    components: list[list[sp.Expr]] = [[] for _ in parts.coordinates]
    for term in parts.terms:
        change = times_density(sign * term.change, power - 1).xreplace({RHO: rho})
        slopes = term.drift if sign == -1 and term.single else term.slopes
        for component, slope, symbol in zip(components, slopes, rho.coordinates, strict=True):
            if term.steep:
                along = sign * rho**power * term.variation.diff(symbol)
            elif not term.single:
                along = _over_partners(slope, term, parts, rho)
                if term.dense:
                    by_density = times_density(term.change, -1)
                    along += _over_partners(by_density, term, parts, rho) * rho.diff(symbol)
                along *= sign * rho**power
            else:
                local = times_density(slope, power) if power or slope.has(RHO) else slope
                pushed = [part * rho.diff(symbol) for part in sp.Add.make_args(change)]
                along = sp.Add(local.xreplace({RHO: rho}), *pushed)
            component.append(term.weight * along)
        for one, slope in zip(parts.convolutions, term.by_convolution, strict=False):
            factor = term.weight * sign * rho**power
            partner = parts.at_partners(slope, rho)
            for component, turned in zip(components, one.second, strict=True):
                component.append(factor * EnergyIntegral(turned * partner, parts.partners))
    return [parts.in_full(sp.Add(*component), rho) for component in components]


def _over_partners(kernel: sp.Expr, term: Term, parts: Terms, rho: Density) -> sp.Expr:
    """The nonlocal term: the integral of kernel(x, y) rho(y) over y, or of three copies."""
    if term.dense:
        own = replaced(kernel, {RHO: rho, RHO_Y: rho.at(parts.partners)})
        return EnergyIntegral(own, parts.partners)
    others = [parts.partners, parts.thirds][: term.copies - 1]
    return EnergyIntegral(kernel * sp.Mul(*map(rho.at, others)), *others)


def _variation_of(term: Term, parts: Terms, rho: Density) -> sp.Expr:
    if not term.single:
        return _over_partners(term.variation, term, parts, rho)
    found = [term.variation.xreplace({RHO: rho})]
    for one, slope in zip(parts.convolutions, term.by_convolution, strict=True):
        at_partners = parts.at_partners(slope, rho)
        found.append(EnergyIntegral(one.turned * at_partners, parts.partners))
    return sp.Add(*found)
