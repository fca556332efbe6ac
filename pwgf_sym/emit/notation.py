"""Energies and their equations as the field writes them: rho for rho(x), div and grad."""

from __future__ import annotations

import sympy as sp
from sympy.core.function import AppliedUndef

from ..declare.energies import EnergyIntegral, unicode_text
from ..declare.symbols import Density
from ..declare.transport import Transport
from ..derive import first_variation
from ..derive.variation import check_velocity, energy_terms
from ..errors import EnergyError
from ..kernels.rolling import readable
from ..sharing import is_long, parts, parts_of_kind

__all__ = ["energy_text", "equation", "transport_texts", "variation_text"]

# Parts of a formula that is written although it holds most of its parts several times.
_MOST = 4000
# Energies with more nodes than this state their equation in short.
_WRITTEN_OUT = 1000


def energy_text(energy: sp.Expr, density: Density) -> str:
    """``E = ...``."""
    return f"E = {_text(energy, density)}"


def variation_text(energy: sp.Expr, density: Density) -> str:
    """``dE/drho = ...``."""
    return f"{_quotient(density)} = {_text(first_variation(energy, density), density)}"


def equation(energy: sp.Expr, density: Density, transport: Transport | None = None) -> str:
    """``drho/dt = div(rho grad(...))``; with dE/drho where it is long, or where it jumps."""
    name, inside = density.func.__name__, _quotient(density)
    try:
        check_velocity(energy_terms(energy, density))
        if not is_long(energy, _WRITTEN_OUT):
            variation = first_variation(energy, density)
            moving = [t for t in sp.Add.make_args(variation) if _depends(t, density)]
            inside = _text(sp.Add(*moving), density)
    except EnergyError:  # the first variation jumps: there is a flow, but no such equation
        pass
    transport = Transport() if transport is None else transport
    mobility = name if transport.mobility is None else "h"
    drift = f" - div({name} b)" if transport.drift else ""
    time = "t" if transport.time is None else str(transport.time)
    return f"d{name}/d{time} = div({mobility} grad({inside})){drift}"


def transport_texts(density: Density, transport: Transport) -> dict[str, str]:
    """Drift and mobility, where there are any."""
    found = {}
    if transport.mobility is not None:
        found["mobility"] = f"h = {_text(transport.mobility, density)}"
    if transport.drift:
        found["drift"] = f"b = ({', '.join(map(str, transport.drift))})"
    return found


def _quotient(density: Density) -> str:
    return f"dE/d{density.func.__name__}"


def _depends(term: sp.Expr, density: Density) -> bool:
    """Whether a term has a gradient."""
    return term.has(AppliedUndef, EnergyIntegral, *density.coordinates)


def _text(formula: sp.Expr, density: Density) -> str:
    """A formula; one that shares its parts so often that only cse could write it is not written."""
    if is_long(formula, _MOST) and is_long(formula, 4 * sum(1 for _ in parts(formula))):
        return "a formula that is too long where shared parts have no names"
    found = readable(formula, density.coordinates)
    return unicode_text(found, _short(found, density))


def _short(formula: sp.Expr, density: Density) -> dict[sp.Basic, str]:
    """rho for rho(x0, x1), and rho(y) for the density at another point."""
    name = density.func.__name__
    found: dict[sp.Basic, str] = {sp.Symbol(f"{name}(x)"): name}  # where sums are written in short
    for term in parts_of_kind(formula, Density):
        first = str(term.args[0])
        letters = first.rstrip("0123456789") or first
        found[term] = name if term.args == density.args else f"{name}({letters})"
    return found
