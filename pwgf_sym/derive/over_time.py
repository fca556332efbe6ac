"""Structures that hold the time: what bounds may read of them over a span of time.

Bounds compare two motions under one energy at one time.  So forces that are the same everywhere,
terms of V that are linear in x and parts of a drift without x, cancel at every time.  Of what is
left a bound may use what holds at all times of the span:

* V(., t) >= V_0 + x^T D x/2 in the order of Hessians, with a fixed V_0 and a diagonal D: diagonally
  dominant for quadratic terms (Gershgorin), and for g(t) W(x - c(t)) the least of g(t) kappa with
  Hess W >= kappa I, or Hess(-W) where g < 0;
* sigma(t) >= sigma, since bounds on KL fall in sigma at every time.

Ranges over the span are proven by interval arithmetic (:mod:`.least_values`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import sympy as sp

from ..sharing import replaced, symbols_of
from .compositions import is_of_degree
from .convexity import Modulus, convexity
from .curvature import additive, curvature
from .least_values import lower_bound
from .structure import EnergyStructure, in_fractions

__all__ = ["Span", "convexity_over", "moving_parts", "without_common_forces"]

#: First and last time.
Span = tuple[float, float]


def without_common_forces(structure: EnergyStructure, span: Span) -> EnergyStructure:
    """The structure without forces of the time that are the same everywhere.

    Its entropy has the least factor over the span; a factor of 0 or less is that of none.

    Parameters
    ----------
    structure : EnergyStructure
        With numbers for all parameters but the time.
    span : (float, float)
    """
    time, x = structure.transport.time, structure.coordinates
    terms = _terms(structure.potential, time, x) if time is not None else []
    kept = [term for term in terms if time not in symbols_of(term) or not _affine(term, x)]
    drift = tuple(_not_of_time_alone(b, time, x) for b in structure.transport.drift)
    sigma = structure.sigma
    if time in symbols_of(sigma):
        sigma = _number(_least(sigma, time, span))
    transport = replace(structure.transport, drift=drift)
    return replace(structure, potential=sp.Add(*kept), sigma=sigma, transport=transport)


def _not_of_time_alone(b: sp.Expr, time: sp.Symbol, x: Sequence[sp.Symbol]) -> sp.Expr:
    """A component of a drift without its summands that hold the time and no coordinate."""
    summands = sp.Add.make_args(sp.expand(b))
    kept = [p for p in summands if symbols_of(p) & set(x) or time not in symbols_of(p)]
    return sp.Add(*kept)


def moving_parts(structure: EnergyStructure) -> list[str]:
    """What depends on the time, in words."""
    time, transport = structure.transport.time, structure.transport
    kernels = [w.kernel for w in structure.interactions]
    of_pairs = [w.by_difference for w in structure.interactions if w.by_difference is not None]
    found = {
        "the potential": [structure.potential],
        "the factor of the entropy": [structure.sigma],
        "an interaction": kernels + of_pairs,
        "the internal energy": [structure.internal],
        "a sum over an index": [one.formula for one in structure.sums],
        "the drift": [*transport.drift],
        "the mobility": [e for e in (transport.mobility,) if e is not None],
    }
    return [name for name, formulas in found.items() if time in symbols_of(*formulas)]


def convexity_over(structure: EnergyStructure, span: Span) -> Modulus:
    """A modulus lambda that the energy has at all times of a span.

    Parameters
    ----------
    structure : EnergyStructure
        Of :func:`without_common_forces`.
    span : (float, float)

    Returns
    -------
    Modulus
    """
    structure = _without_affine_drift(structure)
    moving = moving_parts(structure)
    others = [name for name in moving if name != "the potential"]
    if others:
        return Modulus(np.nan, "none", f"{others[0]} changes with the time")
    if moving and structure.sums:
        return Modulus(np.nan, "none", "the potential changes with the time, beside a sum")
    if not moving:
        return convexity(structure)
    below = _fixed_below(structure, span)
    if isinstance(below, str):
        return Modulus(np.nan, "none", below)
    potential, status = below
    found = convexity(replace(structure, potential=potential))
    if not found.holds:
        return found
    both = "proven" if status == found.status == "proven" else "conditional"
    text = f"at all times from {span[0]:g} to {span[1]:g}"
    return Modulus(found.value, both, f"{found.reason}, {text}")


def _without_affine_drift(structure: EnergyStructure) -> EnergyStructure:
    """A drift of the time that is affine in x, as what its symmetric part does to the potential."""
    x, transport = structure.coordinates, structure.transport
    if transport.time not in symbols_of(*transport.drift):
        return structure
    slopes = sp.Matrix([[b.diff(s) for s in x] for b in transport.drift])
    if slopes.free_symbols & set(x):
        return structure
    half = sum(slopes[i, j] * x[i] * x[j] for i in range(len(x)) for j in range(len(x))) / 2
    potential = structure.potential - sp.expand(half)
    return replace(structure, potential=potential, transport=replace(transport, drift=()))


def _fixed_below(structure: EnergyStructure, span: Span) -> tuple[sp.Expr, str] | str:
    """V_0 + x^T D x/2 whose Hessian is below that of V at all times; or why there is none."""
    x, time = structure.coordinates, structure.transport.time
    fixed: list[sp.Expr] = []
    quadratic: list[sp.Expr] = []
    groups: dict[sp.Expr, sp.Expr] = {}
    alone: list[tuple[sp.Expr, sp.Expr]] = []  # each moves its own way
    for term in _terms(structure.potential, time, x):
        factor, rest = term.as_independent(*x, as_Add=False)
        moved = _at_rest(rest, time, x)
        if time not in symbols_of(term):
            fixed.append(term)
        elif moved is None:
            return f"the potential changes with the time in {term}"
        elif moved != rest:
            alone.append((factor, moved))
        elif is_of_degree(rest, x, 2):
            quadratic.append(term)
        else:
            groups[factor] = groups.get(factor, sp.S.Zero) + rest
    lower = _dominated(sp.Add(*quadratic), x, time, span)
    status = "proven"
    for factor, rest in [*groups.items(), *alone]:
        found = _scaled(factor, rest, x, time, span)
        lower = lower + found.value
        status = status if found.status == "proven" else found.status
    if not np.isfinite(lower).all() or status == "none":
        return "no convexity of the potential was found that holds at all times"
    added = sp.Add(*(_number(value) * s**2 / 2 for value, s in zip(lower, x, strict=True)))
    return sp.Add(*fixed, added), status


def _dominated(
    quadratic: sp.Expr, x: Sequence[sp.Symbol], time: sp.Symbol, span: Span
) -> np.ndarray:
    """A diagonal below the Hessian of a quadratic form at all times, (d,)."""
    lower = np.zeros(len(x))
    for i, a in enumerate(x):
        slope = quadratic.diff(a)
        for j, b in enumerate(x):
            entry = sp.expand(slope.diff(b))
            if entry == 0:
                continue
            least = _least(entry, time, span)
            if i != j:
                least = min(least, _least(-entry, time, span), 0.0)
            lower[i] = np.nextafter(lower[i] + least, -np.inf)
    return lower


def _scaled(
    factor: sp.Expr, rest: sp.Expr, x: Sequence[sp.Symbol], time: sp.Symbol, span: Span
) -> Modulus:
    """A number below the Hessian of g(t) W(x) at all times."""
    low, high = _least(factor, time, span), -_least(-factor, time, span)
    values, found = [], []
    for sign, smallest, largest in ((1, low, high), (-1, -high, -low)):
        if largest > 0:
            kappa, status, _ = curvature(sign * rest, tuple(x))
            ends = [float(kappa) * max(smallest, 0.0), float(kappa) * largest]
            values.append(float(np.nextafter(min(ends), -np.inf)))
            found.append(status)
    status = "none" if "none" in found else "conditional" if "conditional" in found else "proven"
    value = min(values, default=0.0) if np.isfinite(values).all() else np.nan
    return Modulus(value, status, "")


def _terms(potential: sp.Expr, time: sp.Symbol, x: Sequence[sp.Symbol]) -> list[sp.Expr]:
    """Summands of V; those of the time multiplied out, where they are not W(x - c(t))."""
    found: list[sp.Expr] = []
    for summand in additive(in_fractions(potential)):
        if time not in symbols_of(summand):
            found.append(summand)
            continue
        flat = [*_expanded(summand)]
        if all(_affine(p, x) or is_of_degree(_rest(p, x), x, 2) for p in flat):
            found += flat
            continue
        moved = _at_rest(_rest(summand, x), time, x)
        found += flat if moved is None else [summand]
    return found


def _expanded(summand: sp.Expr) -> Iterator[sp.Expr]:
    yield from sp.Add.make_args(sp.expand(summand, power_exp=False, power_base=False, log=False))


def _rest(term: sp.Expr, x: Sequence[sp.Symbol]) -> sp.Expr:
    return term.as_independent(*x, as_Add=False)[1]


def _affine(term: sp.Expr, x: Sequence[sp.Symbol]) -> bool:
    """Whether a product is a function of the time times 1 or a coordinate."""
    rest = _rest(term, x)
    return rest == 1 or rest in x


def _at_rest(rest: sp.Expr, time: sp.Symbol, x: Sequence[sp.Symbol]) -> sp.Expr | None:
    """W(x) for W(x - c(t)), or for W(c(t) - x), which have Hessians of the same eigenvalues.

    None for other formulas.
    """
    if time not in symbols_of(rest):
        return rest
    marks = {s: sp.Dummy(s.name, real=True) for s in x}
    shifts: dict[sp.Expr, sp.Expr] = {}
    signed = {sign * s: sign * mark for s, mark in marks.items() for sign in (1, -1)}
    for node in rest.atoms(sp.Add):
        here = [p for p in node.args if p in signed]
        others = [p for p in node.args if p not in signed]
        if len(here) == 1 and not symbols_of(*others) & set(x) and time in symbols_of(*others):
            shifts[node] = signed[here[0]]
    found = replaced(rest, shifts)
    one_each = len(symbols_of(*shifts.values())) == len(shifts)
    left = symbols_of(found)
    stays = {s for s in x if marks[s] in left} & left  # a coordinate that also stands unmoved
    if time in left or stays or not one_each:
        return None
    return replaced(found, {mark: s for s, mark in marks.items()})


def _least(formula: sp.Expr, time: sp.Symbol, span: Span) -> float:
    """A number that a formula of the time is not below in the span; -inf where none is found."""
    if not formula.free_symbols:
        return float(np.nextafter(float(formula), -np.inf)) if formula != 0 else 0.0
    if formula.free_symbols != {time}:
        return -np.inf
    own = sp.Dummy("t", real=True)  # without assumptions on its sign
    first, last = (sp.Rational(end) for end in span)
    if first == last:
        first, last = first - 1, last + 1
    return lower_bound(in_fractions(formula.xreplace({time: own})), own, first, last)


def _number(value: float) -> sp.Expr:
    return sp.Rational(value) if np.isfinite(value) else sp.S.NegativeInfinity
