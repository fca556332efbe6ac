"""Values of the arrays of an energy: data rows, weights, components of a mixture.

An array is a ``sympy.IndexedBase`` of the energy.  Its shape may name lengths,
``sp.IndexedBase("A", shape=(N, 5))``: N is then taken from the array that is given for A.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from ..arguments import brief, real_array
from ..errors import ParameterError
from ..sharing import parts
from .indexed import data_arrays, free_scalars
from .matrices import array_of

__all__ = ["ASSUMED", "Arrays", "array_values", "by_array"]

#: Assumptions that SymPy may have simplified with, and what they ask of values.
ASSUMED: dict[str, Callable[[Any], Any]] = {
    "positive": lambda v: v > 0,
    "negative": lambda v: v < 0,
    "nonnegative": lambda v: v >= 0,
    "nonpositive": lambda v: v <= 0,
    "nonzero": lambda v: v != 0,
    "integer": lambda v: v == np.floor(v),
    "even": lambda v: v % 2 == 0,
    "odd": lambda v: v % 2 == 1,
}

#: Values by array.
Arrays = dict[sp.IndexedBase, NDArray[np.float64]]


def by_array(given: Mapping[Any, Any]) -> dict[Any, Any]:
    """Values with arrays as keys in the place of matrix symbols; a column may have one axis."""
    found = {key: value for key, value in given.items() if not isinstance(key, sp.MatrixSymbol)}
    for key, value in given.items():
        if isinstance(key, sp.MatrixSymbol):
            if array_of(key) in found:
                fix = "Give one of them another name."
                raise ParameterError(key.name, "two values", "one value of an array", fix)
            found[array_of(key)] = _in_two_axes(key, value)
    return found


def _in_two_axes(symbol: sp.MatrixSymbol, value: Any) -> Any:
    """The value of a column or row, given as an array with one axis, as a matrix."""
    if 1 not in symbol.shape or np.ndim(value) != 1:
        return value
    return np.expand_dims(np.asarray(value), 1 if symbol.shape[1] == 1 else 0)


def array_values(energy: sp.Expr, given: Mapping[Any, Any]) -> tuple[Arrays, dict[sp.Symbol, int]]:
    """The arrays of an energy, and the lengths that their shapes name.

    Parameters
    ----------
    energy : Expr
    given : dict
        Values by symbol or array; the symbols are not looked at.

    Raises
    ------
    ParameterError
        Naming the array, if it has no value, one of another shape, or one that is not finite, or if
        two arrays disagree on a length.
    """
    arrays: Arrays = {}
    lengths: dict[sp.Symbol, int] = {}
    by: dict[sp.Symbol, sp.IndexedBase] = {}
    wanted = data_arrays(energy)
    for key in given:
        if isinstance(key, (sp.IndexedBase, sp.Indexed)) and key not in wanted:
            _refuse_unused(key, wanted)
    for array in wanted:
        name = str(array)
        if array not in given:
            fix = f"Pass parameters={{{name}: array}}."
            raise ParameterError(name, "no value", "an array of finite numbers", fix)
        rank = _rank(array, energy)
        values = _values(name, given[array], rank)
        for place, length in enumerate(array.shape or ()):
            size = values.shape[place]
            if length.is_Symbol:
                if lengths.setdefault(length, size) != size:
                    accepted = (
                        f"{lengths[length]} there, as {by[length]} has {length} = {lengths[length]}"
                    )
                    raise ParameterError(name, f"shape {values.shape}", accepted)
                by.setdefault(length, array)
            elif length.is_Integer and int(length) != size:
                accepted = f"shape {array.shape}, as it was declared"
                raise ParameterError(name, f"shape {values.shape}", accepted)
        arrays[array] = values
    sizes = {key: value for key, value in given.items() if isinstance(key, sp.Symbol)} | lengths
    for array, values in arrays.items():
        _check_shape(array, values, sizes)
        _check_assumptions(array, values)
    return arrays, {s: size for s, size in lengths.items() if s in free_scalars(energy)}


def _check_shape(
    array: sp.IndexedBase, values: NDArray[np.float64], sizes: Mapping[sp.Symbol, Any]
) -> None:
    """Refuse an array that is not as long as formulas of lengths in its shape say."""
    for place, length in enumerate(array.shape or ()):
        wanted = length.xreplace({s: sp.Integer(v) for s, v in sizes.items()})
        if wanted.is_number and wanted != values.shape[place]:
            accepted = f"{wanted} on axis {place}, which is {length}"
            raise ParameterError(str(array), f"shape {values.shape}", accepted)


def _check_assumptions(array: sp.IndexedBase, values: NDArray[np.float64]) -> None:
    """Refuse values that contradict what SymPy may have simplified with."""
    for assumption, holds in ASSUMED.items():
        if array.assumptions0.get(assumption) and not holds(values).all():
            wrong = values[~holds(values)][0]
            accepted = f"values that are {assumption}, as the array was declared"
            raise ParameterError(str(array), f"an array with {wrong:g}", accepted)


def _rank(array: sp.IndexedBase, energy: sp.Expr) -> int:
    """The number of indices of an array's entries."""
    ranks = {len(p.indices) for p in parts(energy) if isinstance(p, sp.Indexed) and p.base == array}
    declared = {len(array.shape)} if array.shape else set()
    if len(ranks | declared) > 1:
        given = f"entries with {' and '.join(map(str, sorted(ranks | declared)))} indices"
        raise ParameterError(str(array), given, "one number of indices")
    return ranks.pop()


def _values(name: str, given: Any, rank: int) -> NDArray[np.float64]:
    values = np.array(real_array(name, given, error=ParameterError), np.float64, order="C")
    if values.ndim != rank or values.size == 0:
        accepted = f"an array with {rank} {'axis' if rank == 1 else 'axes'}, not empty"
        raise ParameterError(name, f"shape {values.shape}", accepted)
    values.setflags(write=False)
    return values


def _refuse_unused(key: sp.Basic, wanted: list[sp.IndexedBase]) -> NoReturn:
    names = ", ".join(map(str, wanted)) or "it has none"
    fix = f"Remove {key} from parameters."
    if str(key) in map(str, wanted):
        fix = f"The energy's {key} has another shape or other assumptions; use the same object."
    raise ParameterError("parameters", brief(key), f"the arrays of the energy: {names}", fix)
