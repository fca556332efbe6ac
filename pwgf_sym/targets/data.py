"""Data of an energy's sums, packed for kernels: block of rows after block of rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from ..declare.arrays import Arrays
from ..derive.pieces import in_pieces
from ..errors import ParameterError
from ..kernels.sums import SumKernels
from ..kernels.terms import Datum, Rows, length_of_limit, numbers_of
from ..tensors.scalars.array_formulas import ArrayFormulas

__all__ = ["pack_data"]


def pack_data(
    kernels: SumKernels,
    arrays: Arrays,
    parameters: Mapping[sp.Symbol, float],
    dtype: np.dtype,
) -> NDArray:
    """What the steps of a sum's kernels read, one step after the other.

    Parameters
    ----------
    kernels : SumKernels
    arrays : dict of IndexedBase to array
    parameters : dict of Symbol to number
        Values of parameters, and of lengths.
    dtype : dtype

    Returns
    -------
    (steps * size,) array

    Raises
    ------
    ParameterError
        Naming an array that is too short for the indices of the sum, or data whose formula has no
        finite value.
    """
    packing = _Packing(kernels.rows, arrays, parameters)
    columns = [packing.of(datum).reshape(packing.steps, -1) for datum in kernels.data]
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(np.concatenate(columns, axis=1), dtype).ravel()


class _Packing:
    def __init__(self, rows: Rows, arrays: Arrays, parameters: Mapping[sp.Symbol, float]):
        self.rows, self._arrays, self._parameters = rows, arrays, parameters
        self._known = numbers_of(parameters)
        self.count = 1
        if rows.index is not None:
            limit = sp.Tuple(rows.index, rows.first, rows.last)
            self.count = length_of_limit(limit, parameters)
        self.steps = -(-self.count // rows.block)

    def of(self, datum: Datum) -> NDArray[np.float64]:
        """The values of a datum, the steps first."""
        shape = [axis.size for axis in datum.axes]
        if datum.first is not None:
            found = np.zeros((self.steps, *shape))
            found[0] = datum.first
            return found
        places = self._places(datum)
        value = self._value(datum.formula, places)
        runs = any(index == self.rows.index for index, _ in datum.indices)
        whole = [
            self.count if index == self.rows.index else axis.size
            for (index, _), axis in zip(datum.indices, datum.axes, strict=True)
        ]
        value = np.broadcast_to(value, whole)
        if not runs:
            return np.broadcast_to(value, (self.steps, *shape))
        return self._in_blocks(value, datum)

    def _places(self, datum: Datum) -> dict[sp.Symbol, NDArray[np.int64]]:
        """Values of the indices, each along its own axis."""
        found, rank = {}, len(datum.axes)
        for k, ((index, first), axis) in enumerate(zip(datum.indices, datum.axes, strict=True)):
            count = self.count if index == self.rows.index else axis.size
            start = int(first.xreplace(self._known))
            own = [1] * rank
            own[k] = count
            found[index] = np.arange(start, start + count).reshape(own)
        return found

    def _in_blocks(self, value: NDArray[np.float64], datum: Datum) -> NDArray[np.float64]:
        """Rows as (steps, rows of a step), what is beyond the last filled."""
        place = [index for index, _ in datum.indices].index(self.rows.index)
        value = np.moveaxis(value, place, 0)
        missing = self.steps * self.rows.block - self.count
        more = value[-1:] if datum.beyond is None else np.full_like(value[-1:], datum.beyond)
        value = np.concatenate([value, *([more] * missing)])
        blocks = value.reshape(self.steps, self.rows.block, *value.shape[1:])
        return np.moveaxis(blocks, 1, 1 + place)

    def _value(
        self, formula: sp.Expr, places: Mapping[sp.Symbol, NDArray[np.int64]]
    ) -> NDArray[np.float64]:
        """A formula in indices, entries of arrays and parameters."""
        entries = sorted(formula.atoms(sp.Indexed), key=str)
        marks = {entry: sp.Dummy(real=True) for entry in entries}
        bare = in_pieces(formula.xreplace(marks))
        symbols = [*marks.values(), *places, *self._parameters]
        given = [self._entries(entry, places) for entry in entries]
        given += [index.astype(float) for index in places.values()]
        given += [np.float64(v) for v in self._parameters.values()]
        with np.errstate(all="ignore"):
            (found,) = ArrayFormulas([bare], symbols)(*given)
        if np.isnan(found).any() or np.isposinf(found).any():
            at = f"{formula}, which has no value for some of the rows"
            names = ", ".join(sorted({str(e.base) for e in entries})) or "parameters"
            accepted = "data for which the terms of the sum have values"
            raise ParameterError(names, at, accepted)
        return np.asarray(found, float)

    def _entries(
        self, entry: sp.Indexed, places: Mapping[sp.Symbol, NDArray[np.int64]]
    ) -> NDArray[np.float64]:
        """Entries of an array at all values of the indices."""
        array = self._arrays[entry.base]
        at = [self._index(index, places) for index in entry.indices]
        for axis, (index, values) in enumerate(zip(entry.indices, at, strict=True)):
            low, high = int(np.min(values)), int(np.max(values))
            if low < 0 or high >= array.shape[axis]:
                given = f"shape {array.shape}, while the sum reads {entry}"
                given += f" with {index} from {low} to {high}"
                accepted = f"indices from 0 to {array.shape[axis] - 1} on axis {axis}"
                raise ParameterError(
                    str(entry.base), given, accepted, "Check the limits of the sum."
                )
        return array[tuple(at)]

    def _index(
        self, index: sp.Expr, places: Mapping[sp.Symbol, NDArray[np.int64]]
    ) -> NDArray[np.int64]:
        index = index.xreplace(self._known)
        symbols = sorted(index.free_symbols, key=str)
        given = [places[s].astype(float) for s in symbols]
        (found,) = ArrayFormulas([in_pieces(index)], symbols)(*given)
        return np.asarray(found).astype(np.int64)
