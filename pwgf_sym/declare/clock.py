"""The symbol of time: what it may be, where it may stand, and which times fit it."""

from __future__ import annotations

from collections.abc import Collection

import sympy as sp

from ..arguments import brief
from ..errors import OptionError, ParameterError
from ..sharing import parts
from .arrays import ASSUMED
from .energies import EnergyIntegral
from .symbols import Density

__all__ = ["check_times", "time_symbol"]

_ACCEPTED = 'a Symbol that is no coordinate and no parameter, t = sp.Symbol("t", real=True)'


def time_symbol(
    energy: sp.Expr, rho: Density, given: object, symbols: Collection[sp.Symbol]
) -> sp.Symbol:
    """The symbol of time that a user gives, checked beside the energy and all free symbols.

    Raises
    ------
    ParameterError
        If it is no symbol, one that is integrated over, or stands where only whole numbers may.
    """

    def refuse(what: str, fix: str = "") -> ParameterError:
        return ParameterError("time", what, _ACCEPTED, fix)

    if not isinstance(given, sp.Symbol):
        raise refuse(brief(given), "Give the symbol that formulas hold, time=t.")
    if not given.name.isprintable():
        raise refuse(brief(given.name), "Rename the symbol.")
    if given.is_real is False or given.is_integer or given.is_zero:
        raise refuse(f"{given}, which is no symbol for any real number")
    if given not in symbols and given.name in {symbol.name for symbol in symbols}:
        what = f"{given}, while the {given} of the formulas has other assumptions"
        raise refuse(what, "Use the same Symbol object.")
    coordinates = {*rho.coordinates}
    for part in parts(energy):
        if isinstance(part, EnergyIntegral):
            coordinates |= set(part.bound_symbols)
        if isinstance(part, (sp.Sum, sp.Product)):
            bound = [symbol for limit in part.limits for symbol in limit[1:]]
            if any(given in limit.free_symbols for limit in bound):
                raise refuse(f"{given} in the limits of {brief(part)}")
            if given in {limit[0] for limit in part.limits}:
                raise refuse(f"{given}, an index of {brief(part)}", "Rename one of them.")
        if isinstance(part, sp.Indexed) and given in set().union(
            *(index.free_symbols for index in part.indices)
        ):
            raise refuse(f"{given} as an index of {part.base}")
    if given.name in {symbol.name for symbol in coordinates}:
        raise refuse(f"{given}, a coordinate", f"Rename one of them: {given.name}_.")
    return given


def check_times(symbol: sp.Symbol | None, first: float, last: float) -> None:
    """Refuse times that contradict the assumptions of the symbol of time.

    Raises
    ------
    OptionError
        SymPy has simplified formulas with these assumptions.
    """
    for assumption, holds in ASSUMED.items():
        if symbol is None or not getattr(symbol, f"is_{assumption}"):
            continue
        inside = assumption == "nonzero" and first < 0 < last
        wrong = [time for time in (first, last) if not holds(time)] + ([0.0] if inside else [])
        if wrong:
            accepted = f"times that are {assumption}, as {symbol} was declared"
            fix = f'Write sp.Symbol("{symbol}", real=True).'
            raise OptionError("t_span", f"the time {wrong[0]:g}", accepted, fix)
