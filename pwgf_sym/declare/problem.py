"""A gradient flow problem: an energy, its density, the initial law and the parameters' values."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NoReturn

import sympy as sp

from ..arguments import brief, checked_call, number
from ..errors import EnergyError, LawError, ParameterError
from ..sharing import parts_of_kind
from .arrays import ASSUMED, array_values, by_array
from .circle import on_circle
from .energy_checks import check_energy
from .formula_checks import within_depth
from .indexed import free_scalars
from .law_protocol import check_law_of_user
from .laws import Law
from .matrices import without_matrices
from .period_checks import check_law_periods, check_periods
from .symbols import Coordinates, Density
from .transport import Transport, transport_of
from .tree import from_portable, portable

__all__ = ["GradientFlow"]

# Names that are likely to be meant as the time.
_TIMES = ("t", "time", "tau")


class GradientFlow:
    """The Wasserstein gradient flow d rho/dt = div(rho grad(dE/drho)) from an initial law.

    With a drift b and a mobility h it is d rho/dt = div(h(rho) grad(dE/drho)) - div(rho b).

    Parameters
    ----------
    energy : Expr
        Expression of :func:`~pwgf_sym.declare.energies.integral` objects and parameters.
    rho : Density
        The unknown density, on d coordinates.
    initial : Law
        The law at the start, of dimension d.
    parameters : dict, optional
        A finite number for every symbol of the energy that is no coordinate, and an array of them
        for every ``sympy.IndexedBase`` and ``sympy.MatrixSymbol``.  Lengths that the shape of an
        array names, such as N in ``sp.IndexedBase("A", shape=(N, 5))``, are taken from the arrays.
    drift : sequence of d Expr, optional
        A velocity b(x) beside that of the energy; it need not be a gradient, and the energy may
        rise along it.
    mobility : Expr, optional
        h(rho), by default rho: the velocity of the energy is -(h/rho) grad dE/drho.
    time : Symbol, optional
        The time t, where energy, drift or mobility hold it: E(rho, t), b(x, t), h(rho, t).

    Attributes
    ----------
    energy, density, coordinates, dim, initial
        As given; `coordinates` are those of the density and `dim` is their number.  In periodic
        coordinates the initial law of a law of the line is the one modulo the period.
    parameters : dict of Symbol to float
        Sorted by name.
    arrays : dict of IndexedBase to array
        Sorted by name; read only.
    transport : Transport
        Drift and mobility, and the symbol of time.

    Raises
    ------
    EnergyError
        If the energy cannot be derived, a symbol's name cannot be printed, or drift or mobility
        are no such formulas.
    LawError
        If the initial law is none, or has another dimension.
    ParameterError
        If a symbol has no finite value, a value contradicts its symbol's assumptions, a
        parameter does not occur in the energy, arrays do not have the shapes that it reads, or
        the time is no symbol of its own.
    """

    @checked_call
    @within_depth
    def __init__(
        self,
        energy: sp.Expr,
        rho: Density,
        initial: Law,
        parameters: dict[sp.Basic, Any] | None = None,
        drift: Sequence[sp.Expr] | None = None,
        mobility: sp.Expr | None = None,
        time: sp.Symbol | None = None,
    ) -> None:
        energy = without_matrices(energy, "energy")
        check_energy(energy, rho)
        self.transport = transport_of(energy, rho, drift, mobility, time)
        _check_names((energy, *self.transport.formulas), rho)
        self.energy, self.density = energy, rho
        self.coordinates: Coordinates = rho.coordinates
        self.dim = len(self.coordinates)
        self.initial = self._checked(initial)
        given = {} if parameters is None else parameters
        if not isinstance(given, dict):
            raise ParameterError("parameters", brief(given), "a dict of Symbol to number")
        given = by_array(given)
        self.arrays, lengths = array_values(energy, given)
        scalars = {key: value for key, value in given.items() if key not in self.arrays}
        wanted = free_scalars(energy) | self.transport.symbols(rho)
        values = {**lengths, **scalars}
        if time in given:
            fix = f"Leave it out: {time} is the time, which runs through t_span."
            raise ParameterError("parameters", f"a value for {time}", "values of parameters", fix)
        self.parameters = _parameter_values(wanted, self.coordinates, values, self.time)
        _check_lengths(lengths, self.parameters)
        check_periods(energy, rho, self.transport.drift, self.parameters)

    def _checked(self, initial: Law) -> Law:
        """A law as the problem's initial one."""
        if not isinstance(initial, Law):
            fix = f"Write initial=Gaussian(mean=[0]*{self.dim}, cov=1.0)."
            if hasattr(initial, "rvs"):
                fix = "Write initial=from_scipy(...) of a distribution of SciPy."
            elif getattr(initial, "ndim", 0) == 2:
                fix = "Write initial=Empirical(points) of given points."
            raise LawError("initial", brief(initial), "a law such as Gaussian(mean, cov)", fix)
        check_law_of_user(initial)
        if initial.dim != self.dim:
            accepted = f"a law of dimension {self.dim}, that of {self.density}"
            raise LawError("initial", f"a law of dimension {initial.dim}", accepted)
        check_law_periods(initial, self.periods)
        return on_circle(initial, self.periods)

    @checked_call
    def beginning_with(self, initial: Law) -> GradientFlow:
        """The same flow from another initial law, such as the one that a solution has reached.

        Parameters
        ----------
        initial : Law
            Of the problem's dimension.

        Returns
        -------
        GradientFlow

        Raises
        ------
        LawError
            If it is no law, or has another dimension or other periods.
        """
        found = copy.copy(self)
        found.initial = self._checked(initial)
        return found

    @property
    def periods(self) -> tuple[float | None, ...]:
        """The periods of the coordinates; None for those of the line."""
        return tuple(None if p is None else float(p) for p in self.coordinates.periods)

    @property
    def time(self) -> sp.Symbol | None:
        """The symbol of time; None where no formula holds it."""
        return self.transport.time

    @property
    def energy_moves(self) -> bool:
        """Whether the energy itself depends on the time."""
        return self.time is not None and self.time in self.energy.free_symbols

    def __getstate__(self) -> dict[str, object]:
        # As trees: SymPy would evaluate formulas anew, and an equal one might come out otherwise.
        trees: dict[str, object]
        trees = {"energy": portable(self.energy), "density": portable(self.density)}
        mobility, time = self.transport.mobility, self.time
        trees["transport"] = (
            [portable(formula) for formula in self.transport.drift],
            None if mobility is None else portable(mobility),
            None if time is None else portable(time),
        )
        parameters = [(portable(symbol), value) for symbol, value in self.parameters.items()]
        arrays = [(portable(array), values) for array, values in self.arrays.items()]
        return self.__dict__ | trees | {"parameters": parameters, "arrays": arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        energy, density = (from_portable(state[name]) for name in ("energy", "density"))
        parameters = {from_portable(symbol): value for symbol, value in state["parameters"]}
        arrays = {from_portable(array): values for array, values in state["arrays"]}
        for values in arrays.values():
            values.setflags(write=False)
        drift, *others = state["transport"]
        mobility, time = (None if tree is None else from_portable(tree) for tree in others)
        transport = Transport(tuple(map(from_portable, drift)), mobility, time)
        found = {"energy": energy, "density": density, "parameters": parameters, "arrays": arrays}
        found["transport"] = transport
        self.__dict__.update(state | found)

    def __repr__(self) -> str:
        values = "".join(f", {s.name}={v:.6g}" for s, v in self.parameters.items())
        values += "".join(f", {a} of shape {v.shape}" for a, v in self.arrays.items())
        drift, mobility = self.transport.drift, self.transport.mobility
        values += f", drift={list(drift)}" if drift else ""
        values += "" if mobility is None else f", mobility={mobility}"
        values += "" if self.time is None else f", time={self.time}"
        return f"GradientFlow({self.energy}, initial={self.initial!r}{values})"


def _check_names(formulas: Sequence[sp.Expr], rho: Density) -> None:
    """Refuse names that a module's text cannot hold, or a console would act on."""
    names = {symbol.name for e in formulas for symbol in parts_of_kind(e, sp.Symbol)}
    names |= {symbol.name for symbol in rho.coordinates}
    for name in sorted(names):
        if not name.isprintable():
            accepted = "printable characters"
            raise EnergyError("name of a symbol", brief(name), accepted, "Rename the symbol.")


def _parameter_values(
    symbols: set[sp.Symbol], x: Coordinates, given: dict[sp.Basic, Any], time: sp.Symbol | None
) -> dict[sp.Symbol, float]:
    """Check names and values; return those of all but the time, in the order of the names."""
    wanted = sorted(symbols, key=lambda s: s.name)
    coordinate_names = {s.name for s in x}
    for before, symbol in zip([None, *wanted], wanted, strict=False):
        twin = before is not None and before.name == symbol.name
        if twin or symbol.name in coordinate_names:
            what = "parameter" if twin else "coordinate"
            given_text = f"{symbol}, whose name another {what} has with other assumptions"
            raise ParameterError("energy", given_text, "distinct names", f"Rename {symbol}.")
    if time is not None:
        wanted.remove(time)
    for key in given:
        if key not in wanted:
            _refuse_unused(key, wanted)
    for symbol in wanted:
        if symbol not in given:
            fix = f"Pass parameters={{{symbol.name}: ...}}; a coordinate must be integrated over."
            if symbol.name in _TIMES and time is None:
                fix += f"  If {symbol.name} is the time, pass time={symbol.name}."
            raise ParameterError(symbol.name, "no value", "a finite number", fix)
    return {symbol: _value(symbol, given[symbol]) for symbol in wanted}


def _check_lengths(lengths: dict[sp.Symbol, int], values: dict[sp.Symbol, float]) -> None:
    """Refuse a length that is given, and is another one than the arrays have."""
    for symbol, length in lengths.items():
        if symbol in values and values[symbol] != length:
            accepted = f"{length}, the length that the arrays have"
            raise ParameterError(symbol.name, f"{values[symbol]:g}", accepted, "Leave it out.")


def _refuse_unused(key: object, wanted: list[sp.Symbol]) -> NoReturn:
    names = [s.name for s in wanted]
    accepted = f"the symbols of the energy: {', '.join(names) or 'it has none'}"
    fix = f"Remove {key} from parameters."
    if isinstance(key, sp.Symbol) and key.name in names:
        fix = f"The energy's {key} has other assumptions; use the same Symbol object."
    elif isinstance(key, str):
        fix = "Use the Symbol as the key, not its name."
    raise ParameterError("parameters", brief(key), accepted, fix)


def _value(symbol: sp.Symbol, value: object) -> float:
    result = number(symbol.name, value, error=ParameterError)
    for assumption, holds in ASSUMED.items():
        if getattr(symbol, f"is_{assumption}") and not holds(result):
            accepted = f"a value that is {assumption}, as the symbol was declared"
            raise ParameterError(symbol.name, brief(value), accepted)
    return result
