"""First variations of energies, their velocities and the equation that they drive.

For E = F(I_1, ..., I_K) the chain rule gives dE/drho = sum_k (dF/dI_k) dI_k/drho with

    I = int f(x, rho(x)) dx                      dI/drho = df/drho
    I = int int W(x, y) rho(x) rho(y) dx dy      dI/drho = int [W(x, y) + W(y, x)] rho(y) dy

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
from ..declare.energies import EnergyIntegral, ordered_integrals, short_text
from ..declare.energy_checks import check_energy, pair_kernel
from ..declare.families import energy_parts, is_family
from ..declare.formula_checks import expanded_terms, within_depth
from ..declare.indexed import free_scalars, renamed_copies
from ..declare.symbols import Density, as_copy, coordinates, copy_of
from ..errors import EnergyError
from ..sharing import holds, replaced
from .borders import jump
from .calculus import RHO, Gradient, derivative, negated, times_density
from .convolutions import Convolution, ConvolutionTable, convolutions_in_full
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
    "is_symmetric",
    "pde",
    "velocity",
]

# Kernels with more operations than this are not expanded to find out whether they are symmetric.
LARGEST_EXPANDED = 400


@dataclass(frozen=True)
class Term:
    """One integral I_k of an energy, written in the coordinates x and the partners y.

    Attributes
    ----------
    integral : EnergyIntegral, or Sum over integrals
        As it stands in the energy.
    pair : bool
        Whether it is a double integral.
    formula : Expr
        f(x, RHO) of a single integral, with symbols of convolutions; W(x, y) of a double one.
    variation : Expr
        df/dRHO, or W(x, y) + W(y, x), which is to be integrated against rho(y).
    slopes, drift : tuple of d Expr
        Derivatives of `variation` by x at fixed RHO and y, and their negatives.
    change : Expr
        RHO times the derivative of `variation` by RHO; 0 for a double integral.
    weight : Expr
        dE/dI_k, in the integrals of the energy.
    rough : str
        Where `variation` jumps, so that it has no gradient; empty where it is continuous.
    steep : bool
        Whether the integrand reads the gradient of the density.  `variation` then holds its
        derivatives written out, and slopes, drift and change are zero.
    by_convolution : tuple of Expr
        Derivatives of `formula` by the energy's convolutions; () of a double integral.
    """

    integral: EnergyIntegral
    pair: bool
    formula: sp.Expr
    variation: sp.Expr
    slopes: tuple[sp.Expr, ...]
    drift: tuple[sp.Expr, ...]
    change: sp.Expr
    weight: sp.Expr
    rough: str = ""
    steep: bool = False
    by_convolution: tuple[sp.Expr, ...] = ()

    @property
    def has_convolutions(self) -> bool:
        """Whether it is a single integral that depends on convolutions."""
        return any(slope != 0 for slope in self.by_convolution)


@dataclass(frozen=True)
class Terms:
    """An energy taken apart: its integrals, coordinates, partners, parameters and sums.

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

    def in_full(self, formula: sp.Expr, rho: Density) -> sp.Expr:
        """A formula with sums, convolutions, and their derivatives, in the place of symbols."""
        return self._written(formula, rho, self.partners)

    def at_partners(self, formula: sp.Expr, rho: Density) -> sp.Expr:
        """A formula in x, RHO and symbols, in full at the partners y."""
        x, y = self.coordinates, self.partners
        full = self._written(formula, rho, self._third_copy()).xreplace({RHO: rho})
        return _in_names(full, [x], [y])

    def _written(self, formula: sp.Expr, rho: Density, partners: Sequence[sp.Symbol]) -> sp.Expr:
        found = in_full(formula, self.sums, self.coordinates) if self.sums else formula
        found = weights_in_full(found, self.families, rho, partners)
        if not self.convolutions:
            return found
        return convolutions_in_full(found, self.convolutions, rho, (self.partners, partners))

    def _third_copy(self) -> tuple[sp.Symbol, ...]:
        """Coordinates z of an inner integral where x and y are named."""
        taken = {s.name for s in (*self.coordinates, *self.partners, *self.parameters)}
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
    check_energy(energy, rho)
    return _energy_terms(energy, rho, names)


@lru_cache(maxsize=8)
def _energy_terms(energy: sp.Expr, rho: Density, names: frozenset[str]) -> Terms:
    x = tuple(rho.coordinates)
    parameters = tuple(sorted(free_scalars(energy), key=lambda s: (s.name, str(s.assumptions0))))
    y = _partners(ordered_integrals(energy), rho, parameters)
    marks = {term: sp.Dummy(f"I_{k}", real=True) for k, term in enumerate(energy_parts(energy))}
    value = in_pieces(energy.xreplace(marks))
    integrals = {mark: term for term, mark in marks.items()}
    _refuse_jump(value, "energy, as a function of its integrals,", integrals)
    used = {s.name for s in (*energy.atoms(sp.Symbol), *x, *y)} | names
    tables = SumTable(x, used), ConvolutionTable(x, y, used)
    families = {node: family_of(node, rho, tables[0]) for node in marks if is_family(node)}
    own = {node: family.formula for node, family in families.items()}
    formulas = [own.get(t) or _formula(t, rho, y, *tables) for t in marks]
    sums, convolutions = tables[0].sums, tables[1].convolutions
    for one in convolutions:
        _refuse_jump(one.kernel, f"the kernel {short_text(one.kernel)}", {})
    gradient = SampleGradient(x, (*sums, *convolutions))
    own_symbols = tuple(one.symbol for one in convolutions)
    terms = []
    for (term, mark), formula in zip(marks.items(), formulas, strict=True):
        weight = derivative(value, mark).xreplace(integrals)
        terms.append(_term(term, formula, weight, (x, y, rho), gradient, own_symbols))
    tables_found = sums, convolutions, tuple(families.values())
    return Terms(x, y, parameters, tuple(terms), gradient, *tables_found)


def _formula(
    integral: EnergyIntegral,
    rho: Density,
    y: Sequence[sp.Symbol],
    table: SumTable,
    convolutions: ConvolutionTable,
) -> sp.Expr:
    """f(x, RHO) of a single integral, W(x, y) of a double one."""
    x = tuple(rho.coordinates)
    if len(integral.copies) == 1:
        integrand = in_pieces(convolutions.without_convolutions(integral, rho))
        formula = replaced(
            _in_names(integrand, integral.copies, [x]),
            slope_marks(rho) if holds(integrand, (sp.Derivative,)) else {},
        )
        formula = table.without_sums(replaced(formula, {rho: RHO}))
        if has_slopes(formula, len(x)):
            _check_beside_slopes(integral, formula, table, convolutions)
        return formula
    kernel = in_pieces(pair_kernel(integral, rho))
    if holds(kernel, (sp.Sum, sp.Product)):
        given = f"{short_text(integral)}, a double integral with a sum over data"
        accepted = "sums over data in integrals over one copy of the space"
        raise EnergyError("energy", given, accepted, "Write the sum out, or split the energy.")
    return _in_names(kernel, integral.copies, [x, y])


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
    names: tuple[Sequence[sp.Symbol], Sequence[sp.Symbol], Density],
    gradient: SampleGradient,
    convolutions: Sequence[sp.Symbol],
) -> Term:
    x, y, rho = names
    pair = not is_family(integral) and len(integral.copies) == 2
    if not pair and has_slopes(formula, len(x)):
        _refuse_jump(formula, short_text(integral), {RHO: rho})
        variation = variation_with_slopes(formula, rho)
        zeros = (sp.S.Zero,) * len(x)
        rest = zeros, zeros, sp.S.Zero, weight
        none = (sp.S.Zero,) * len(convolutions)
        return Term(integral, pair, formula, variation, *rest, steep=True, by_convolution=none)
    if pair:
        variation = _symmetrized(formula, x, y)
    else:
        (by_density,) = Gradient([RHO])(formula)
        variation = times_density(by_density, 0)
    own = (RHO, *convolutions)
    moving = formula if pair else sp.Add(*(p for p in sp.Add.make_args(formula) if p.has(*own)))
    _refuse_jump(moving, short_text(integral), {RHO: rho})
    border = None if pair else jump(variation)
    rough = border.text({RHO: rho}) if border else ""
    *slopes, change = gradient(variation)
    change = times_density(change, 1)
    drift = tuple(negated(slope) for slope in slopes)
    by_convolution = () if pair else Gradient(convolutions)(formula)
    found = variation, tuple(slopes), drift, change, weight, rough
    return Term(integral, pair, formula, *found, by_convolution=by_convolution)


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
def pde(energy: sp.Expr, rho: Density) -> sp.Eq:
    """The equation d rho/dt = div(rho grad dE/drho) of the flow, with rho(t, x0, ...).

    The outer derivatives of the divergence are left unevaluated, as a conservation law is read.

    Parameters
    ----------
    energy : Expr
    rho : Density

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
    time = sp.Symbol(free_name("t", used), real=True)
    fluxes = _along_gradient(parts, rho, sp.S.One, 1)
    divergence = sp.Add(
        *(
            sp.Derivative(_in_time(flux, rho, time), symbol)
            for flux, symbol in zip(fluxes, rho.coordinates, strict=True)
            if flux != 0
        )
    )
    return sp.Eq(sp.Derivative(_in_time(rho, rho, time), time), divergence, evaluate=False)


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
        slopes = term.drift if sign == -1 and not term.pair else term.slopes
        for component, slope, symbol in zip(components, slopes, rho.coordinates, strict=True):
            if term.steep:
                along = sign * rho**power * term.variation.diff(symbol)
            elif term.pair:
                along = sign * rho**power * _over_partners(slope, parts, rho)
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


def _over_partners(kernel: sp.Expr, parts: Terms, rho: Density) -> sp.Expr:
    """The nonlocal term: the integral of kernel(x, y) rho(y) over y."""
    return EnergyIntegral(kernel * rho.at(parts.partners), parts.partners)


def _variation_of(term: Term, parts: Terms, rho: Density) -> sp.Expr:
    if term.pair:
        return _over_partners(term.variation, parts, rho)
    found = [term.variation.xreplace({RHO: rho})]
    for one, slope in zip(parts.convolutions, term.by_convolution, strict=True):
        at_partners = parts.at_partners(slope, rho)
        found.append(EnergyIntegral(one.turned * at_partners, parts.partners))
    return sp.Add(*found)


def _partners(
    found: Sequence[EnergyIntegral], rho: Density, parameters: Sequence[sp.Symbol]
) -> tuple[sp.Symbol, ...]:
    """The second copy: the one that the energy uses where it is free, else a new one."""
    names = {s.name for s in (*rho.coordinates, *parameters)}
    inner = [one for term in found for one in ordered_integrals(term.integrand)]
    for copies in [*(term.copies[1:] for term in found), *(one.copies for one in inner)]:
        for copy in copies:
            if not any(s.name in names for s in copy):
                return copy
    suffix = ""
    while any(s.name + suffix in names for s in copy_of(rho.coordinates)):
        suffix += "_"
    return tuple(sp.Symbol(s.name + suffix, real=True) for s in copy_of(rho.coordinates))


def _in_names(
    expr: sp.Expr, old: Sequence[Sequence[sp.Symbol]], new: Sequence[Sequence[sp.Symbol]]
) -> sp.Expr:
    """A formula with copies of the space called otherwise."""
    names: dict[sp.Basic, sp.Basic] = {}
    for one, other in zip(old, new, strict=True):
        if tuple(one) != tuple(other):
            names |= dict(zip(one, other, strict=True)) | renamed_copies(one, other)
    return replaced(expr, names) if names else expr


def is_symmetric(kernel: sp.Expr, x: Sequence[sp.Symbol], y: Sequence[sp.Symbol]) -> bool:
    """Whether W(x, y) = W(y, x) is seen, without multiplying out a long formula."""
    swapped = _in_names(kernel, [x, y], [y, x])
    if swapped == kernel or _signs_dropped(swapped) == _signs_dropped(kernel):
        return True
    difference = kernel - swapped
    small = max(sp.count_ops(difference), expanded_terms(difference)) <= LARGEST_EXPANDED
    return bool(small and sp.expand(difference) == 0)


def _symmetrized(kernel: sp.Expr, x: Sequence[sp.Symbol], y: Sequence[sp.Symbol]) -> sp.Expr:
    """W(x, y) + W(y, x), as 2 W where W is seen to be symmetric."""
    if is_symmetric(kernel, x, y):
        return 2 * kernel
    return kernel + _in_names(kernel, [x, y], [y, x])


def _signs_dropped(expr: sp.Expr) -> sp.Expr:
    """Give (y - x)**2 and (x - y)**2 one form."""
    return expr.replace(
        lambda e: e.is_Pow and e.exp.is_even and e.base.could_extract_minus_sign(),
        lambda e: (-e.base) ** e.exp,
    )


def _in_time(expr: sp.Expr, rho: Density, time: sp.Symbol) -> sp.Expr:
    """Write rho(t, x0, ...) for rho(x0, ...), also under integral signs."""
    if isinstance(expr, Density) and expr.func == rho.func:
        return expr.func(time, *expr.args)
    if not expr.args or not expr.has(rho.func):
        return expr
    return expr.func(*(_in_time(arg, rho, time) for arg in expr.args))
