"""What :func:`~pwgf_sym.solve` and :func:`~pwgf_sym.compile` check of a problem and a map."""

from __future__ import annotations

import numpy as np
import sympy as sp

from ..arguments import brief
from ..errors import FormulaError, OptionError
from .maps import Map
from .problem import GradientFlow
from .tree import to_tree

__all__ = ["check_flow", "check_precision", "check_storable", "periodic"]

_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def check_flow(problem: object, map: object, argument: str = "map") -> None:
    """Check that a problem and a map were given, of one dimension.

    Parameters
    ----------
    problem : GradientFlow
        The problem.
    map : Map
        The map.
    argument : str
        What the caller calls the map.

    Raises
    ------
    OptionError
        Naming the argument that is something else.
    """
    if isinstance(problem, Map) and isinstance(map, GradientFlow):
        given = "a map, and the problem as the second argument"
        raise OptionError("problem", given, "the problem, then the map", "Exchange the two.")
    if not isinstance(problem, GradientFlow):
        fix = "Write GradientFlow(energy, rho, initial=Gaussian(mean, cov))."
        raise OptionError("problem", brief(problem), "a GradientFlow", fix)
    if not isinstance(map, Map):
        fix = f"Write Affine({problem.dim}) or NeuralFlow({problem.dim}, width=32)."
        accepted = "a map such as NeuralFlow(dim=2, width=32)"
        raise OptionError(argument, brief(map), accepted, fix)
    dim = getattr(map, "dim", None)  # a class of the user's may have forgotten it
    whole = isinstance(dim, (int, np.integer)) and not isinstance(dim, bool)
    if not whole or dim != problem.dim:
        given = f"a map of dimension {brief(dim)}"
        raise OptionError(argument, given, f"dimension {problem.dim}, the problem's")


def periodic(problem: GradientFlow, map: Map) -> Map:
    """The map on the problem's circles, in the coordinates that it sees; itself on the line.

    Raises
    ------
    MapError
        If it is of a family that does not commute with the period.
    """
    if not any(problem.periods):
        return map
    unit = problem.initial.spread
    return map.on_circle(tuple(None if p is None else p / unit for p in problem.periods))


def check_storable(problem: GradientFlow, map: Map) -> None:
    """Refuse formulas that a solution could not store, before it is computed.

    Raises
    ------
    FormulaError
        Naming the part of the formula.
    """
    for formula in (
        problem.energy,
        problem.density,
        *problem.parameters,
        *problem.transport.formulas,
        *([] if problem.time is None else [problem.time]),
    ):
        to_tree(formula)
    for activation in _activations(map):
        to_tree(activation)


def check_precision(problem: GradientFlow, map: Map) -> None:
    """Refuse numbers of a problem and a map that float32 does not hold.

    Raises
    ------
    FormulaError
        Naming the number.
    """
    formulas = [problem.energy, *_activations(map)]
    formulas += problem.transport.formulas
    numbers = {number for formula in formulas for number in formula.atoms(sp.Number)}
    for number in [*sorted(numbers, key=sp.default_sort_key), *problem.parameters.values()]:
        size = abs(float(number))
        if size != 0 and not _SMALLEST <= size <= _LARGEST:
            given = f"float32, which does not hold the number {brief(number)}"
            fix = 'Use dtype="float64", or scale the coordinates or the energy.'
            raise FormulaError("dtype", given, "numbers from 1.2e-38 to 3.4e38 in size", fix)


def _activations(map: Map) -> list[sp.Expr]:
    """Formulas that the map, or the maps of a chain, are made with."""
    return [part.activation for part in map.parts() if hasattr(part, "activation")]
