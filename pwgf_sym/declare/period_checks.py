"""Whether the formulas of a problem have the periods of its coordinates."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import mpmath
import sympy as sp

from ..errors import EnergyError, LawError
from ..functions import host_function
from ..sharing import parts, replaced, symbols_of
from .energies import EnergyIntegral, ordered_integrals, short_text
from .indexed import is_kept
from .law import Law
from .periods import PeriodicSymbol, periods_of, same_period
from .symbols import Density, as_copy

Values = Mapping[sp.Basic, sp.Basic]
Bases = Mapping[sp.Basic, Sequence[sp.Expr | None]]

__all__ = ["check_law_periods", "check_periods"]

# Points that a formula is tried at, with so many digits, up to so many periods from the origin.
_POINTS, _DIGITS, _FAR = 24, 50, (1, 10, 1000)
# Cells of a period where a change is looked for with the digits of doubles.
_GRID = 4096
# Periods that are floats, and floats in formulas, are right to this part.
_TOLERANCE = 1e-12


def check_periods(
    energy: sp.Expr, rho: Density, drift: Sequence[sp.Expr], values: Mapping[sp.Symbol, float]
) -> None:
    """Check that no integrand and no drift changes when a coordinate moves by its period.

    ``values`` are those of the parameters.

    Raises
    ------
    EnergyError
        Naming the term, the coordinate and its period, or copies of other periods.
    """
    known = periods_of(rho.args)
    terms = [t for outer in ordered_integrals(energy) for t in _with_inner(outer)]
    for term in terms:
        for copy in term.copies:
            if periods_of(copy) != known:
                given = f"{short_text(term)} over a copy of the periods {_text(periods_of(copy))}"
                accepted = f"{_text(known)}, those of {rho}"
                raise EnergyError("energy", given, accepted, "Use y = copy_of(x).")
    if not any(known):
        return
    exact: dict[sp.Basic, sp.Basic] = {s: sp.Rational(value) for s, value in values.items()}
    copies = [copy for term in terms for copy in term.copies]
    every = {as_copy(copy, "copy").indexed_base: periods_of(copy) for copy in copies}
    for term in terms:
        _check(term.integrand, f"of {short_text(term)}", "energy", exact, every)
    for formula in drift:
        _check(formula, "of the drift", "drift", exact, {})


def _with_inner(term: EnergyIntegral) -> list[EnergyIntegral]:
    """An integral and all that stand inside of it."""
    return [term, *(t for inner in ordered_integrals(term.integrand) for t in _with_inner(inner))]


def _text(periods: Sequence[sp.Expr | None]) -> str:
    return ", ".join("none" if period is None else str(period) for period in periods)


def check_law_periods(law: Law, periods: Sequence[float | None]) -> None:
    """Check that what a law is periodic in the coordinates are, too, with its period.

    Raises
    ------
    LawError
    """
    for i, (own, period) in enumerate(zip(law.periods, periods, strict=True)):
        if own is not None and not same_period(own, period):
            given = f"a law of period {own:.6g} in coordinate {i}"
            has = "no period" if period is None else f"the period {period:.6g}"
            fix = f"Write coordinates({len(periods)}, period={own:.6g})."
            raise LawError("initial", given, f"one that fits the coordinate, which has {has}", fix)


def _check(formula: sp.Expr, where: str, name: str, values: Values, bases: Bases) -> None:
    def bare(part: sp.Expr) -> sp.Expr:
        return replaced(part, {**_marks(part, bases), **values})

    periodic = [s for s in symbols_of(bare(formula)) if isinstance(s, PeriodicSymbol)]
    for symbol in sorted(periodic, key=str):
        if _has_period(bare(formula), symbol):
            continue
        summands = sp.Add.make_args(sp.expand_mul(formula))
        alone = [part for part in summands if not _has_period(bare(part), symbol)]
        culprit, period = (alone or [formula])[0], symbol.period
        given = f"{short_text(culprit)} {where}, which changes as {symbol} grows by its period"
        accepted = f"formulas of the period {period} in {symbol}, such as sin and cos"
        fix = "A force of this period whose potential has none is a drift: drift=[...]."
        raise EnergyError(name, f"{given} {period}", accepted, fix if name == "energy" else "")


def _marks(formula: sp.Expr, bases: Bases) -> dict[sp.Basic, sp.Basic]:
    """Symbols in the place of densities, their derivatives, inner integrals and entries of data.

    Of a sum over data the summand stands: a sum has the period that all of its terms have.
    """
    marks: dict[sp.Basic, sp.Basic] = {}
    kinds = (Density, sp.Derivative, EnergyIntegral)
    for part in parts(formula, within=lambda p: not isinstance(p, kinds)):
        if isinstance(part, kinds):
            marks[part] = sp.Dummy(real=True, positive=isinstance(part, Density) or None)
        elif isinstance(part, sp.Indexed):
            marks[part] = _entry(part, bases)
    for part in parts(formula, within=lambda p: not isinstance(p, kinds)):
        if is_kept(part):
            marks[part] = replaced(_summand(part), marks)
    return marks


def _entry(entry: sp.Indexed, bases: Bases) -> sp.Symbol:
    """A symbol in the place of data, or of the coordinate of an index."""
    periods = set(bases.get(entry.base, (None,)))
    if len(periods) > 1:
        accepted = "one period of all coordinates, where an index is a symbol"
        fix = "Write the coordinates by number, x[0]."
        given = f"{entry} of the periods {_text(tuple(periods))}"
        raise EnergyError("energy", given, accepted, fix)
    (period,) = periods
    return sp.Dummy(real=True) if period is None else PeriodicSymbol(str(entry), period)


def _summand(part: sp.Basic) -> sp.Expr:
    """What a sum, and all sums inside of it, add up."""
    inner = {p: _summand(p) for p in parts(part.function) if is_kept(p)}
    return replaced(part.function, inner)


def _has_period(formula: sp.Expr, symbol: PeriodicSymbol) -> bool:
    """By SymPy's rules for sines and cosines; else by numbers of many digits."""
    if symbol not in symbols_of(formula):
        return True
    moved = replaced(formula, {symbol: symbol + symbol.period})
    return bool(moved == formula) or _agree(formula, symbol)


def _agree(formula: sp.Expr, symbol: PeriodicSymbol) -> bool:
    """Whether values at random places are those a period further, wherever there are values."""
    symbols = sorted(symbols_of(formula), key=str)
    compiled = host_function(symbols, formula, "mpmath")
    chance, compared = random.Random(1), 0
    with mpmath.workdps(_DIGITS):
        period = mpmath.mpf(sp.N(symbol.period, _DIGITS))
        places = [
            {s: _value(s, chance, _FAR[turn % len(_FAR)]) for s in symbols}
            for turn in range(_POINTS)
        ]
        for place in [*places, *_suspected(formula, symbols, symbol, places[0])]:
            further = place | {symbol: place[symbol] + period}
            try:
                here, there = (compiled(*p.values()) for p in (place, further))
            except (ValueError, ArithmeticError, TypeError):
                continue
            if not (mpmath.isfinite(here) and mpmath.isfinite(there)):
                continue
            compared += 1
            if abs(here - there) > _TOLERANCE * (abs(here) + abs(there)) + _TOLERANCE:
                return False
    return compared >= _POINTS // 4


def _suspected(
    formula: sp.Expr, symbols: list[sp.Symbol], symbol: PeriodicSymbol, place: dict[sp.Symbol, Any]
) -> list[dict[sp.Symbol, Any]]:
    """The place of the largest change in double precision, on a grid that meets narrow wells."""
    import numpy as np

    at = [float(place[s]) for s in symbols]
    period = float(symbol.period)
    grid = period * (np.arange(-_GRID, _GRID) + 0.5) / _GRID
    at_grid = [grid if s is symbol else value for s, value in zip(symbols, at, strict=True)]
    beyond = [grid + period if s is symbol else value for s, value in zip(symbols, at, strict=True)]
    with np.errstate(all="ignore"):
        try:
            compiled = host_function(symbols, formula, "numpy")
            change = np.abs(np.asarray(compiled(*beyond), float) - compiled(*at_grid))
        except (ValueError, ArithmeticError, TypeError, NameError):
            return []
    change = np.broadcast_to(np.where(np.isfinite(change), change, 0.0), grid.shape)
    return [place | {symbol: mpmath.mpf(float(grid[int(np.argmax(change))]))}]


def _value(symbol: sp.Symbol, chance: random.Random, far: int) -> mpmath.mpf:
    """A random value that a symbol may have."""
    if isinstance(symbol, PeriodicSymbol):
        return mpmath.mpf(chance.uniform(-far, far)) * mpmath.mpf(float(symbol.period))
    if symbol.is_integer:
        return mpmath.mpf(chance.randint(1, 20))
    value = mpmath.mpf(chance.uniform(0.1, 2.0))
    return value if symbol.is_positive or chance.random() < 0.5 else -value
