"""Energies and velocities as formulas in what a sample carries: x, l = log rho and s = grad l.

With rho = exp(l) and grad rho = rho s, an integral of f(x, rho) is the mean over samples of
(f(x, e^l) - f(x, 0)) e^-l and a constant, int f(x, 0) dx, and the velocity of its first variation
phi(x, rho) is

    -grad phi = -d phi/dx - (rho d phi/d rho) s.

A double integral of W is the mean of W over pairs of samples.  Of f(x, rho, c) with a convolution c
all is in the mean but f(x, 0, 0), and the velocity has a mean over partners besides
(:mod:`.convolutions`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import sympy as sp

from ..declare.energies import short_text
from ..declare.law import Law
from ..declare.symbols import Density
from ..declare.transport import Transport
from ..errors import EnergyError, LawError
from ..sharing import replaced, symbols_of
from .calculus import RHO, Gradient, in_log_density, times_density
from .convolutions import Convolution
from .copies import OverCopies
from .density_pairs import DensityPairs, density_pairs, energy_of_pair
from .families import Family
from .pieces import in_pieces
from .slopes import has_slopes, in_score
from .sums import IndexedSum
from .vacuum import over_density
from .variation import Term, Terms, check_velocity, energy_terms, free_name

__all__ = ["SampleForm", "SampleIntegral", "check_law", "sample_form"]


#: Symbols of the components of what a sample carries, by name.
Symbols = dict[str, tuple[sp.Symbol, ...]]


@dataclass(frozen=True)
class SampleIntegral(OverCopies):
    """One integral of the energy as a mean over samples, or over pairs of samples.

    Attributes
    ----------
    symbol : Symbol
        Stands for the value of the integral.
    copies : int
        Mean over single samples, over pairs of different samples (x, y), or over three (x, y, z).
    density : Expr
        e(x, l) = (f(x, e^l) - f0(x)) e^-l of a single integral, W(x, y) of a double one,
        W(x, y, z) of a triple one; e(x, y, l, m) of one that is ``dense``.
    vacuum : Expr
        f0(x), the limit of f(x, rho) as rho goes to 0, or of those summands that have a finite one:
        its integral is added to the mean.
    label : str
        The integral as text.
    family : Family or None
        A sum over integrals instead, whose value is a function of many means.
    """

    symbol: sp.Symbol
    copies: int
    density: sp.Expr
    label: str
    vacuum: sp.Expr = sp.S.Zero
    family: Family | None = None
    dense: bool = False


@dataclass(frozen=True)
class SampleForm:
    """An energy written in samples; all symbols have distinct names.

    Attributes
    ----------
    coordinates, partners : tuple of d Symbols
        A sample x and its partner y in a pair.
    log_density : Symbol
        l = log rho(x).
    score : tuple of d Symbols
        s = grad log rho(x).
    parameters : tuple of Symbols
        Sorted by name.
    integrals : tuple of SampleIntegral
    value : Expr
        The energy in the symbols of its integrals and the parameters.
    local_velocity : tuple of d Expr
        The velocity's part from single integrals, in x, l, s, the integrals and parameters; ()
        where there is no velocity, as `rough` says.
    pair_terms : tuple of (Expr, tuple of d Expr)
        For each double integral its weight in the velocity, in the integrals and parameters, and
        its part -grad_x (W(x, y) + W(y, x)), to be averaged over the partners y.
    triple_terms : tuple of (Expr, tuple of d Expr)
        The same of each triple integral, to be averaged over pairs of partners (y, z).
    local_gradient : (tuple of d Expr, Expr)
        Derivatives of the energy's single integrals by x at fixed l, and by l.  For pairs the
        gradient is minus the velocity.
    velocity_reads, energy_reads : tuple of str
        What `local_velocity`, and what the densities, read of a sample beside x: names in
        `carried`.
    rough : EnergyError or None
        Why there is no velocity: an integrand has a kink in the density, as ``Abs(rho - c)`` has,
        or holds its derivatives.
    sums : tuple of IndexedSum
        Sums over an index: a sample carries their values and gradients.
    score_gradient : tuple of d Expr
        Derivatives of the energy's single integrals by the score; () where none reads it.
    convolutions : tuple of Convolution
        Inner integrals: so does it of these.
    partner_weights : tuple of Expr
        Their weights at a partner, derivatives of the energy by the convolutions over the density.
    thirds : tuple of d Symbols
        The third sample z; () where no integral is over three copies.
    density_pairs : DensityPairs or None
        The double integrals that read the density at both copies.
    """

    coordinates: tuple[sp.Symbol, ...]
    partners: tuple[sp.Symbol, ...]
    log_density: sp.Symbol
    score: tuple[sp.Symbol, ...]
    parameters: tuple[sp.Symbol, ...]
    integrals: tuple[SampleIntegral, ...]
    value: sp.Expr
    local_velocity: tuple[sp.Expr, ...]
    pair_terms: tuple[tuple[sp.Expr, tuple[sp.Expr, ...]], ...]
    local_gradient: tuple[tuple[sp.Expr, ...], sp.Expr]
    velocity_reads: tuple[str, ...]
    energy_reads: tuple[str, ...]
    rough: EnergyError | None = None
    sums: tuple[IndexedSum, ...] = ()
    score_gradient: tuple[sp.Expr, ...] = ()
    convolutions: tuple[Convolution, ...] = ()
    partner_weights: tuple[sp.Expr, ...] = ()
    thirds: tuple[sp.Symbol, ...] = ()
    triple_terms: tuple[tuple[sp.Expr, tuple[sp.Expr, ...]], ...] = ()
    density_pairs: DensityPairs | None = None

    @property
    def densities(self) -> tuple[sp.Expr, ...]:
        """Those of the integrals that are means over single samples."""
        return tuple(i.density for i in self.integrals if i.single and i.family is None)

    @property
    def families(self) -> dict[str, Family]:
        """Sums over integrals, by the names of the sums that are their first variations."""
        found = (i.family for i in self.integrals if i.family is not None)
        return {family.moved.name: family for family in found}

    @property
    def reads(self) -> tuple[str, ...]:
        """What the energy and its velocity read of a sample beside x."""
        either = {*self.velocity_reads, *self.energy_reads}
        beside = _beside_x(self.log_density, self.score)
        return tuple(name for name in beside if name in either)

    @property
    def carried(self) -> Symbols:
        """What formulas read of a sample, by name: the symbols of its components."""
        found = {"x": self.coordinates, **_beside_x(self.log_density, self.score)}
        for one in self.sums:
            found |= {one.name: (one.symbol,), f"{one.name}_slope": one.slopes}
        if self.convolutions:
            values = ((one.symbol, *one.slopes) for one in self.convolutions)
            found["convolutions"] = tuple(itertools.chain.from_iterable(values))
        return found

    @property
    def beside_x(self) -> tuple[sp.Symbol, ...]:
        """Symbols of what formulas read of a sample beside x."""
        found = dict(self.carried)
        del found["x"]
        return tuple(symbol for symbols in found.values() for symbol in symbols)


def sample_form(energy: sp.Expr, rho: Density, transport: Transport | None = None) -> SampleForm:
    """Write an energy and its velocity in the data that samples carry.

    Parameters
    ----------
    energy : Expr
    rho : Density
        On d coordinates.
    transport : Transport, optional
        Drift and mobility.

    Returns
    -------
    SampleForm

    Raises
    ------
    EnergyError
        If the energy cannot be derived; the message names the offending term.
    """
    if transport is None or transport.plain:
        return _sample_form(energy, energy_terms(energy, rho), frozenset())
    names = frozenset(s.name for s in transport.symbols(rho))
    form = _sample_form(energy, energy_terms(energy, rho, names), names)
    return _transported(form, rho, transport)


def _transported(form: SampleForm, rho: Density, transport: Transport) -> SampleForm:
    """The velocity (h/rho) w + b in the place of w."""
    if form.rough:
        what = "a drift" if transport.mobility is None else "a mobility"
        accepted = f"with {what}, which wants the velocity form, energies that have a velocity"
        fix = f'Leave out {what} and use formulation="energy".'
        raise EnergyError("energy", f"{what} beside {form.rough.given}", accepted, fix)
    rows = form.local_velocity
    if transport.mobility is not None:
        others = form.pair_terms or form.triple_terms or form.density_pairs
        if others or form.convolutions:
            kind = "an interaction" if others else "an integral inside an integral"
            given = f"a mobility beside {kind}"
            accepted = "a mobility with integrals over one copy of the space"
            raise EnergyError("mobility", given, accepted, "Use the mobility rho, the default.")
        ratio = times_density(sp.expand(replaced(transport.mobility, {rho: RHO})), -1)
        factor = in_log_density(in_pieces(ratio), form.log_density)
        rows = tuple(factor * row for row in rows)
    if transport.drift:
        rows = tuple(row + b for row, b in zip(rows, map(in_pieces, transport.drift), strict=True))
    symbols = {*form.parameters, *transport.symbols(rho)}
    read = [*rows, *form.partner_weights, *_of_dense(form.density_pairs, form.log_density)]
    reads = _reads(read, _beside_x(form.log_density, form.score))
    parameters = tuple(sorted(symbols, key=lambda s: (s.name, str(s.assumptions0))))
    return replace(form, local_velocity=rows, parameters=parameters, velocity_reads=reads)


def check_law(form: SampleForm, law: Law) -> None:
    """Check that the initial law carries what the energy reads of a sample.

    A map carries the density of the initial law along, and a jump with it: no map smooths the edge
    of a uniform law, where the flow of an energy of rho has an infinite velocity.

    Raises
    ------
    LawError
        If the law has no density, or one that jumps, and the energy reads its logarithm or its
        score.
    """
    if not (form.velocity_reads or form.energy_reads) or (law.has_density and not law.jump):
        return
    label = next(
        (i.label for i in form.integrals if form.log_density in i.density.free_symbols), ""
    )
    what = "whose density jumps" if law.has_density else "which has no density"
    given = f"{law.family}, {what}, while {label or 'the energy'} reads it"
    accepted = "a law with a continuous density: Gaussian, Barenblatt"
    fix = "Use Gaussian(law.mean, law.covariance), or leave out the terms in the density itself."
    if any(law.periods):
        accepted, fix = "a law with a continuous density: Gaussian, Circle", "Use Circle(density)."
    if not law.has_density:
        fix = "Use Mixture(np.ones(N), points, h**2) at N points, or energies that read no density."
    raise LawError("initial", given, accepted, fix)


@lru_cache(maxsize=8)
def _sample_form(energy: sp.Expr, parts: Terms, names: frozenset[str]) -> SampleForm:
    log_density, score, symbols = _new_symbols(parts, names)
    of_integral = {t.integral: s for t, s in zip(parts.terms, symbols, strict=True)}
    weights = [replaced(t.weight, of_integral) for t in parts.terms]
    partner = sp.Symbol(free_name("l_y", _used_names(parts) | names), real=True)
    integrals = tuple(
        _sample_integral(t, symbol, (log_density, partner), score, parts)
        for t, symbol in zip(parts.terms, symbols, strict=True)
    )
    rough = _roughness(parts)
    local = () if rough else _local_velocity(parts, weights, log_density, score)
    drifts = {
        number: tuple(
            (w, tuple(t.drift))
            for w, t in zip(weights, parts.terms, strict=True)
            if t.copies == number and not t.dense
        )
        for number in (2, 3)
    }
    beside_x = _beside_x(log_density, score)
    partner_weights = _partner_weights(parts, weights, log_density)
    both = _density_pairs(parts, weights, (log_density, score, partner), bool(rough))
    dense = _of_dense(both, log_density)
    return SampleForm(
        coordinates=parts.coordinates,
        partners=parts.partners,
        log_density=log_density,
        score=score,
        parameters=parts.parameters,
        integrals=integrals,
        value=energy.xreplace(of_integral),
        local_velocity=local,
        pair_terms=drifts[2],
        triple_terms=drifts[3],
        thirds=parts.thirds,
        local_gradient=_local_gradient(parts, weights, log_density, score),
        score_gradient=_score_gradient(parts, weights, log_density, score),
        density_pairs=both,
        velocity_reads=_reads([*local, *partner_weights, *dense], beside_x),
        energy_reads=_reads([*(i.density for i in integrals), *dense[-1:]], beside_x),
        rough=rough,
        sums=parts.sums,
        convolutions=parts.convolutions,
        partner_weights=partner_weights,
    )


def _density_pairs(
    parts: Terms,
    weights: Sequence[sp.Expr],
    names: tuple[sp.Symbol, tuple[sp.Symbol, ...], sp.Symbol],
    rough: bool,
) -> DensityPairs | None:
    dense = [
        (weight, t.formula, t.drift, t.change)
        for weight, t in zip(weights, parts.terms, strict=True)
        if t.dense
    ]
    own = parts.coordinates, parts.partners, *names
    return density_pairs(dense, own, rough) if dense else None


def _of_dense(pairs: DensityPairs | None, log_density: sp.Symbol) -> tuple[sp.Expr, ...]:
    """What reads of a sample beside x, where integrals read the density at both copies."""
    return () if pairs is None else (*pairs.velocity, log_density)


def _beside_x(log_density: sp.Symbol, score: tuple[sp.Symbol, ...]) -> Symbols:
    """What a sample carries beside x."""
    return {"log_density": (log_density,), "score": score}


def _reads(formulas: Sequence[sp.Expr], carried: Symbols) -> tuple[str, ...]:
    """What formulas read of what a sample carries."""
    used = symbols_of(*formulas)
    return tuple(name for name, symbols in carried.items() if not used.isdisjoint(symbols))


def _over_density(term: Term, parts: Terms, score: Sequence[sp.Symbol]) -> tuple[sp.Expr, sp.Expr]:
    """e and f0 with f(x, RHO, c) = RHO e + f0, where f0 holds no convolution: it is f(x, 0, 0)."""
    density, vacuum = over_density(in_score(term.formula, score))
    own = {one.symbol: sp.S.Zero for one in parts.convolutions}
    if symbols_of(vacuum).isdisjoint(own):
        return density, vacuum
    empty = vacuum.xreplace(own)
    empty = empty if empty.is_finite is not False and not empty.has(sp.zoo, sp.nan) else sp.S.Zero
    return density + times_density(vacuum - empty, -1), empty


def _partner_weights(
    parts: Terms, weights: Sequence[sp.Expr], log_density: sp.Symbol
) -> tuple[sp.Expr, ...]:
    """Derivatives of the energy by its convolutions over the density, in samples."""
    found: list[list[sp.Expr]] = [[] for _ in parts.convolutions]
    for weight, term in _single(parts, weights):
        for row, slope in zip(found, term.by_convolution, strict=True):
            row.append(weight * in_log_density(times_density(slope, -1), log_density))
    return tuple(sp.Add(*row) for row in found)


def _sample_integral(
    term: Term,
    symbol: sp.Symbol,
    logs: tuple[sp.Symbol, sp.Symbol],
    score: Sequence[sp.Symbol],
    parts: Terms,
) -> SampleIntegral:
    label = short_text(term.integral)
    for family in parts.families:
        if family.node == term.integral:
            return SampleIntegral(symbol, 1, sp.S.Zero, label, family=family)
    if term.dense:
        return SampleIntegral(symbol, 2, energy_of_pair(term.formula, *logs), label, dense=True)
    if not term.single:
        return SampleIntegral(symbol, term.copies, term.formula, label)
    density, vacuum = _over_density(term, parts, score)
    return SampleIntegral(symbol, 1, in_log_density(density, logs[0]), label, vacuum)


def _roughness(parts: Terms) -> EnergyError | None:
    try:
        check_velocity(parts)
    except EnergyError as error:
        return error.with_traceback(None)
    return None


def _used_names(parts: Terms) -> set[str]:
    """Names of symbols in formulas."""
    taken = [*parts.coordinates, *parts.partners, *parts.thirds, *parts.parameters]
    for one in parts.sums:
        taken += [one.symbol, *one.slopes]
    for other in parts.convolutions:
        taken += [other.symbol, *other.slopes, other.weight]
    return {s.name for s in taken}


def _new_symbols(
    parts: Terms, names: frozenset[str]
) -> tuple[sp.Symbol, tuple[sp.Symbol, ...], tuple[sp.Symbol, ...]]:
    """l, s0.., I_0..: with underscores appended where formulas, or ``names``, have these names."""
    used = _used_names(parts) | names
    log_density = sp.Symbol(free_name("l", used), real=True)
    used.add(log_density.name)
    groups = []
    for stem, count in (("s", len(parts.coordinates)), ("I_", len(parts.terms))):
        while any(f"{stem}{i}" in used for i in range(count)):
            stem += "_"
        groups.append(tuple(sp.Symbol(f"{stem}{i}", real=True) for i in range(count)))
    score, integrals = groups
    return log_density, score, integrals


def _single(parts: Terms, weights: Sequence[sp.Expr]) -> list[tuple[sp.Expr, Term]]:
    return [(w, t) for w, t in zip(weights, parts.terms, strict=True) if t.single]


def _local_velocity(
    parts: Terms,
    weights: Sequence[sp.Expr],
    log_density: sp.Symbol,
    score: Sequence[sp.Symbol],
) -> tuple[sp.Expr, ...]:
    rows: list[list[sp.Expr]] = [[] for _ in parts.coordinates]
    for weight, term in _single(parts, weights):
        change = in_log_density(-term.change, log_density)
        for row, drift, s in zip(rows, term.drift, score, strict=True):
            row.append(weight * in_log_density(drift, log_density))
            row.append(weight * change * s)
    return tuple(sp.Add(*row) for row in rows)


def _local_gradient(
    parts: Terms,
    weights: Sequence[sp.Expr],
    log_density: sp.Symbol,
    score: Sequence[sp.Symbol],
) -> tuple[tuple[sp.Expr, ...], sp.Expr]:
    rows: list[list[sp.Expr]] = [[] for _ in parts.coordinates]
    by_log: list[sp.Expr] = []
    for weight, term in _single(parts, weights):
        *slopes, change = parts.gradient(_over_density(term, parts, score)[0])
        for row, slope in zip(rows, slopes, strict=True):
            row.append(weight * in_log_density(slope, log_density))
        by_log.append(weight * in_log_density(times_density(change, 1), log_density))
    return tuple(sp.Add(*row) for row in rows), sp.Add(*by_log)


def _score_gradient(
    parts: Terms,
    weights: Sequence[sp.Expr],
    log_density: sp.Symbol,
    score: Sequence[sp.Symbol],
) -> tuple[sp.Expr, ...]:
    rows: list[list[sp.Expr]] = [[] for _ in score]
    gradient = Gradient(score)
    for weight, term in _single(parts, weights):
        if has_slopes(term.formula, len(rows)):
            density = _over_density(term, parts, score)[0]
            for row, slope in zip(
                rows, gradient(in_log_density(density, log_density)), strict=True
            ):
                row.append(weight * slope)
    found = tuple(sp.Add(*row) for row in rows)
    return found if any(row != 0 for row in found) else ()
