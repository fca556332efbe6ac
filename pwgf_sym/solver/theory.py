"""Which bounds hold for an energy, and their formulas in the measured gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import sympy as sp

from ..declare.problem import GradientFlow
from ..declare.symbols import Density
from ..declare.transport import Transport
from ..derive.convexity import Modulus, convexity, gradient_bound
from ..derive.ergodic import Coupling, log_sobolev, reflection_coupling
from ..derive.gather import derived_form
from ..derive.one_sided import OneSidedSum, one_sided
from ..derive.over_time import Span, convexity_over, moving_parts, without_common_forces
from ..derive.structure import EnergyStructure, energy_structure
from .bounds import contracted, coupled, entropy_growth
from .directions import entropy_by_directions, transport_by_directions
from .shifts import shift_cost

if TYPE_CHECKING:
    from .gaps import Gaps

    #: Means of the gap over sets of points, by the names of its columns.
    Means = dict[str, np.ndarray]
    Formula = Callable[[Means, Gaps, float, float], float]
    #: A formula in means, gaps, first time and t; "proven" or "conditional"; why it holds.
    Choice = tuple[Formula, str, str]

T = TypeVar("T")

__all__ = ["Theory", "formulas_of", "log_sobolev_of", "theory_of"]


@dataclass(frozen=True)
class Theory:
    """Constants of an energy; each says how it is known, or why there is none."""

    structure: EnergyStructure
    modulus: Modulus
    slope: Modulus
    coupling: tuple[Coupling, ...] | str
    one_sided: OneSidedSum | str


def theory_of(problem: GradientFlow, span: Span | None = None) -> Theory:
    """The constants of a problem's energy with its parameters; the last ones are remembered.

    Parameters
    ----------
    problem : GradientFlow
    span : (float, float), optional
        Times at all of which the constants hold, where the problem depends on the time; without,
        there are none then.

    Returns
    -------
    Theory
    """
    form = derived_form(problem)
    values = tuple(form.parameters.items())
    span = None if problem.time is None else span
    return _theory(form.energy, problem.density, values, problem.transport, span)


@lru_cache(maxsize=8)
def _theory(
    energy: sp.Expr,
    density: Density,
    values: tuple[tuple[sp.Symbol, float], ...],
    transport: Transport,
    span: Span | None,
) -> Theory:
    structure = energy_structure(energy, density, transport).with_values(dict(values))
    if transport.time is not None:
        return _theory_over(structure, span)
    modulus, slope = (_known(find, structure) for find in (convexity, gradient_bound))
    coupling, local = _known(reflection_coupling, structure), _known(one_sided, structure)
    return Theory(
        structure,
        modulus,
        slope,
        coupling.reason if isinstance(coupling, Modulus) else coupling,
        local.reason if isinstance(local, Modulus) else local,
    )


def _theory_over(structure: EnergyStructure, span: Span | None) -> Theory:
    """Constants that hold at all times of a span."""
    if span is None:
        none = Modulus(np.nan, "none", f"it depends on the time {structure.transport.time}")
        return Theory(replace(structure, other=none.reason), none, none, none.reason, none.reason)
    moving = moving_parts(structure)
    structure = without_common_forces(structure, span)
    modulus = _known(lambda one: convexity_over(one, span), structure)
    slope = Modulus(np.nan, "none", "an interaction changes with the time")
    if "an interaction" not in moving:
        slope = _known(gradient_bound, structure)
    if moving_parts(structure) or "the factor of the entropy" in moving:
        why = f"{[*moving_parts(structure), *moving][0]} changes with the time"
        return Theory(structure, modulus, slope, why, why)
    still = replace(structure, transport=replace(structure.transport, time=None))
    coupling, local = _known(reflection_coupling, still), _known(one_sided, still)
    return Theory(
        structure,
        modulus,
        slope,
        coupling.reason if isinstance(coupling, Modulus) else coupling,
        local.reason if isinstance(local, Modulus) else local,
    )


def _known(find: Callable[[EnergyStructure], T], structure: EnergyStructure) -> T | Modulus:
    """What a derivation finds; none where SymPy gives up on a formula."""
    try:
        return find(structure)
    except (NotImplementedError, sp.PolynomialError, ArithmeticError, ValueError) as error:
        return Modulus(
            np.nan, "none", f"SymPy gives up ({type(error).__name__}: {str(error)[:80]})"
        )


@lru_cache(maxsize=8)
def log_sobolev_of(structure: EnergyStructure) -> Modulus:
    """The log-Sobolev constant of the equilibrium; the last ones are remembered."""
    return _known(log_sobolev, structure)


def formulas_of(theory: Theory) -> dict[str, list[Choice] | str]:
    """(formula, status, reason) of every bound that holds, by distance, or why there is none."""
    contraction, entropy = _contraction(theory), _entropy(theory)
    found: dict[str, list[Choice] | str] = {"W2": contraction, "KL": entropy}
    if isinstance(entropy, str):
        found["TV"] = entropy
    else:
        found["TV"] = [
            (_variation(kl), status, f"TV <= sqrt(KL/2), {reason}")
            for kl, status, reason in entropy
        ]
    weak = [*(contraction if not isinstance(contraction, str) else []), *_couplings(theory)]
    why = theory.coupling if isinstance(theory.coupling, str) else ""
    found["W1"] = weak or f"{contraction}; {why}"
    return found


def _variation(kl: Formula) -> Formula:
    """The bound on TV that one on KL gives."""

    def formula(mean: Means, gaps: Gaps, first: float, t: float) -> float:
        return min(float(np.sqrt(max(kl(mean, gaps, first, t), 0.0) / 2)), 1.0)

    return formula


def _contraction(theory: Theory) -> list[Choice] | str:
    modulus, moduli = theory.modulus, theory.one_sided
    found: list[Choice] = []

    def formula(mean: Means, gaps: Gaps, first: float, t: float) -> float:
        start, sizes = float(np.sqrt(mean["start_square"])), np.sqrt(mean["square"])
        return contracted(modulus.value, start, sizes, t - gaps.times, gaps.steps, t - first)

    if modulus.holds:
        found.append((formula, modulus.status, f"lambda-convexity, {modulus.reason}"))
    if not isinstance(moduli, str):

        def local(mean: Means, gaps: Gaps, first: float, t: float) -> float:
            return transport_by_directions(moduli, mean, gaps, t - first, t - gaps.times)

        text = f"coupling by equal noise of {_directions(moduli)}"
        found.append((local, "proven", text))
    return found or f"the energy is not known to be lambda-convex: {modulus.reason}"


def _directions(moduli: OneSidedSum) -> str:
    """What a potential is a sum over, and the least modulus, in words."""
    alone = (moduli.frame == np.eye(len(moduli.frame))).all()
    least = min(modulus.least for modulus in moduli.moduli)
    return f"every {'coordinate' if alone else 'direction'}, one-sided moduli of {least:.6g} and up"


def _entropy(theory: Theory) -> list[Choice] | str:
    structure, slope = theory.structure, theory.slope
    if structure.transport.mobility is not None:
        return "KL bounds need the mobility rho"
    if not structure.is_fokker_planck or structure.sigma <= 0:
        what = structure.other or "it has no entropy, or an internal energy beside it"
        return f"KL bounds need int V rho + sigma int rho log rho: {what}"
    if not slope.holds:
        return f"KL bounds need interactions with a bounded slope: {slope.reason}"
    sigma = float(structure.sigma)

    def formula(mean: Means, gaps: Gaps, first: float, t: float) -> float:
        start = float(mean["start_kl"])
        return entropy_growth(start, mean["square"], gaps.steps, sigma, slope.value)

    text = f"entropy, sigma = {sigma:.6g}" + (f", {slope.reason}" if slope.value else "")
    found: list[Choice] = [(formula, slope.status, text)]
    return [*found, *_shifts(theory, sigma)]


def _shifts(theory: Theory, sigma: float) -> list[Choice]:
    """KL bounds that forget: along directions, or else in all of space at once."""
    modulus, moduli = theory.modulus, theory.one_sided
    text = f"entropy, sigma = {sigma:.6g}"
    if not isinstance(moduli, str):

        def along(mean: Means, gaps: Gaps, first: float, t: float) -> float:
            return entropy_by_directions(moduli, mean, gaps, sigma)

        return [(along, "proven", f"{text}; shifts along {_directions(moduli)}")]
    if not modulus.holds or theory.structure.interactions:
        return []

    def at_once(mean: Means, gaps: Gaps, first: float, t: float) -> float:
        start, sizes = float(np.sqrt(mean["start_square"])), np.sqrt(mean["square"])
        return shift_cost(start, sizes, gaps.steps, modulus.value) / (4 * sigma)

    return [(at_once, modulus.status, f"{text}; shifts, {modulus.reason}")]


def _couplings(theory: Theory) -> list[Choice]:
    """W1 bounds that are no W2 bounds."""
    structure, modulus, couplings = theory.structure, theory.modulus, theory.coupling
    found: list[Choice] = []
    if not structure.is_fokker_planck or structure.interactions:
        return found
    if structure.transport.mobility is not None:
        return found
    if modulus.holds:

        def equal(mean: Means, gaps: Gaps, first: float, t: float) -> float:
            sizes, start = mean["size"], float(mean["start_size"])
            return contracted(modulus.value, start, sizes, t - gaps.times, gaps.steps, t - first)

        found.append((equal, modulus.status, f"coupling by equal noise, {modulus.reason}"))
    if not isinstance(couplings, str):

        def reflected(mean: Means, gaps: Gaps, first: float, t: float) -> float:
            arguments = t - gaps.times, gaps.steps, t - first
            return coupled(couplings, mean["start_parts"], mean["parts"], *arguments)

        total = max(coupling.total for coupling in couplings)
        text = f"reflection coupling of every coordinate, total factor at most {total:.4g}"
        found.append((reflected, "proven", text))
    return found
