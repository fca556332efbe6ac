"""What moves mass beside the gradient of an energy: a drift, a mobility, and explicit time.

    d rho/dt = div(h(rho) grad dE/drho) - div(rho b)

E, b and h may depend on the time t.

With h(rho) = rho and b = 0 it is the Wasserstein gradient flow (Jordan, Kinderlehrer and Otto, SIAM
J. Math. Anal. 29, 1998).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import sympy as sp
from sympy.core.function import AppliedUndef

from ..arguments import brief
from ..errors import EnergyError
from ..sharing import parts, replaced, symbols_of
from .clock import time_symbol
from .energies import EnergyIntegral
from .formula_checks import check_formula
from .matrices import scalar_formula
from .symbols import Density

__all__ = ["Transport", "transport_of"]


@dataclass(frozen=True)
class Transport:
    """A drift and a mobility, and the symbol of time.

    Attributes
    ----------
    drift : tuple of d Expr
        b, in coordinates, parameters and the time; () for none.
    mobility : Expr or None
        h, in the density, parameters and the time; None for h(rho) = rho.
    time : Symbol or None
        t, as the energy, too, holds it; None where nothing depends on the time.
    """

    drift: tuple[sp.Expr, ...] = ()
    mobility: sp.Expr | None = None
    time: sp.Symbol | None = None

    @property
    def plain(self) -> bool:
        """Whether there is neither drift nor mobility."""
        return not self.drift and self.mobility is None

    @property
    def formulas(self) -> tuple[sp.Expr, ...]:
        """All formulas."""
        return self.drift if self.mobility is None else (*self.drift, self.mobility)

    def symbols(self, rho: Density) -> set[sp.Symbol]:
        """Parameters of the formulas, with the time."""
        bare = [replaced(e, {rho: sp.Symbol(rho.func.__name__)}) for e in self.formulas]
        return symbols_of(*bare) - {*rho.coordinates, sp.Symbol(rho.func.__name__)}

    def with_values(self, values: Mapping[sp.Symbol, sp.Expr]) -> Transport:
        """With other formulas in the place of symbols."""
        mobility = None if self.mobility is None else replaced(self.mobility, values)
        return Transport(tuple(replaced(e, values) for e in self.drift), mobility, self.time)


def transport_of(
    energy: sp.Expr, rho: Density, drift: object, mobility: object, time: object = None
) -> Transport:
    """The transport of what a user gives for drift, mobility and time; None is none.

    Its time is None where no formula holds the symbol.

    Raises
    ------
    EnergyError
        Naming the argument that is no formula, or of another kind or length.
    """
    found = Transport(_drift(rho, drift), _mobility(rho, mobility))
    if time is None:
        return found
    symbols = energy.free_symbols | found.symbols(rho)
    symbol = time_symbol(energy, rho, time, symbols)
    return replace(found, time=symbol) if symbol in symbols else found


def _drift(rho: Density, given: object) -> tuple[sp.Expr, ...]:
    if given is None:
        return ()
    x = rho.coordinates
    accepted = f"{len(x)} formulas in the coordinates, one each"
    if isinstance(given, (sp.MatrixBase, sp.NDimArray)):
        given = list(sp.flatten(given))
    if isinstance(given, sp.MatrixExpr):
        given = [given[i, 0] for i in range(len(x))] if given.shape == (len(x), 1) else None
    if not isinstance(given, Iterable) or isinstance(given, (str, Mapping)):
        raise EnergyError("drift", brief(given), accepted, "Write drift=[-x[1], x[0]].")
    formulas = tuple(scalar_formula(part, "drift") for part in given)
    if len(formulas) != len(x):
        raise EnergyError("drift", f"{len(formulas)} formulas", accepted)
    for formula in formulas:
        check_formula(formula, "drift")
        for part in parts(formula):
            if isinstance(part, (AppliedUndef, EnergyIntegral, sp.Derivative, sp.Sum, sp.Indexed)):
                fix = "What depends on the density belongs into the energy."
                if isinstance(part, (sp.Sum, sp.Indexed)):
                    fix = "Write a sp.Matrix of numbers, and coordinates by number."
                raise EnergyError("drift", f"{brief(formula)} with {brief(part)}", accepted, fix)
    return formulas


def _mobility(rho: Density, given: object) -> sp.Expr | None:
    if given is None or given == rho:
        return None
    formula = scalar_formula(given, "mobility")
    check_formula(formula, "mobility")
    accepted = f"a formula in {rho.func.__name__} and parameters, such as rho*(1 - rho)"
    kinds = (AppliedUndef, EnergyIntegral, sp.Derivative, sp.Sum, sp.Indexed)
    wrong = [part for part in parts(formula) if isinstance(part, kinds) and part != rho]
    bare = replaced(formula, {rho: sp.Symbol("r", positive=True)})
    wrong += sorted(symbols_of(bare) & set(rho.coordinates), key=str)
    if wrong:
        raise EnergyError("mobility", f"{brief(formula)} with {brief(wrong[0])}", accepted)
    return formula
