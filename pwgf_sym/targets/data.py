"""Data of an energy's sums, packed for kernels: block of rows after block of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from ..declare.arrays import Arrays
from ..declare.indexed import is_kept
from ..derive.pieces import in_pieces
from ..errors import ParameterError
from ..kernels.sums import SumKernels
from ..kernels.terms import Datum, Rows, length_of_limit, numbers_of
from ..sharing import parts, replaced
from ..tensors.scalars.array_formulas import ArrayFormulas

__all__ = ["leaf_values", "pack_data"]

#: Values of indices, each along its own axis.
Places = dict[sp.Symbol, NDArray[np.int64]]


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
    for datum, column in zip(kernels.data, columns, strict=True):
        if column.size and np.abs(column).max() > np.finfo(dtype).max:
            given = f"{datum.formula} up to {np.abs(column).max():.3g}"
            accepted = f"data within the range of {dtype.name}"
            raise ParameterError(_names(datum.formula), given, accepted, "Scale the data.")
    return np.ascontiguousarray(np.concatenate(columns, axis=1), dtype).ravel()


def leaf_values(
    leaves: Sequence[sp.Expr],
    places: Places,
    arrays: Arrays,
    parameters: Mapping[sp.Symbol, float],
) -> list[NDArray[np.float64]]:
    """Values of entries of arrays, and of sums of them, at all values of an index."""
    packing = _Packing(Rows(), arrays, parameters)
    return [(packing._sum if is_kept(e) else packing._entries)(e, places) for e in leaves]


def _names(formula: sp.Expr) -> str:
    """The arrays of a formula."""
    return ", ".join(sorted({str(e.base) for e in formula.atoms(sp.Indexed)})) or "parameters"


def _is_whole(part: sp.Basic) -> bool:
    """Whether a part of a datum's formula is an entry of an array, or a sum."""
    return is_kept(part) or isinstance(part, sp.Indexed)


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
        if datum.within is not None:
            self._check_within(*datum.within, places)
        value = self._checked(self._value(datum.formula, places), datum)
        runs = any(index == self.rows.index for index, _ in datum.indices)
        whole = [
            self.count if index == self.rows.index else axis.size
            for (index, _), axis in zip(datum.indices, datum.axes, strict=True)
        ]
        value = np.broadcast_to(value, whole)
        if not runs:
            return np.broadcast_to(value, (self.steps, *shape))
        return self._in_blocks(value, datum)

    def _places(self, datum: Datum) -> Places:
        """Values of the indices, each along its own axis."""
        found: Places = {}
        rank = len(datum.axes)
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

    def _value(self, formula: sp.Expr, places: Places) -> NDArray[np.float64]:
        """A formula in indices, entries of arrays, sums of them, and parameters."""
        whole = parts(formula, within=lambda p: not _is_whole(p))
        leaves = sorted(filter(_is_whole, whole), key=str)
        marks = {leaf: sp.Dummy(real=True) for leaf in leaves}
        bare = in_pieces(replaced(formula, marks))
        symbols = [*marks.values(), *places, *self._parameters]
        given = [(self._sum if is_kept(e) else self._entries)(e, places) for e in leaves]
        given += [index.astype(float) for index in places.values()]
        given += [np.float64(v) for v in self._parameters.values()]
        with np.errstate(all="ignore"):
            (found,) = ArrayFormulas([bare], symbols)(*given)
        return np.asarray(found, float)

    @staticmethod
    def _checked(found: NDArray[np.float64], datum: Datum) -> NDArray[np.float64]:
        """Values that are finite; a logarithm's weight may be 0, if not all of them are."""
        nothing = datum.beyond if datum.beyond else -np.inf
        found = np.maximum(found, nothing)
        if nothing > -np.inf and (found == nothing).all():
            given = f"{datum.formula} of weights that are all 0"
            accepted = "weights of which some are positive"
            raise ParameterError(_names(datum.formula), given, accepted)
        if not np.isfinite(found).all():
            given = f"{datum.formula}, which has no value for some of the rows"
            accepted = "data for which the terms of the sum have values"
            raise ParameterError(_names(datum.formula), given, accepted)
        return found

    def _sum(self, node: sp.Expr, places: Places) -> NDArray[np.float64]:
        """A sum, or a product, in which nothing differs from sample to sample."""
        rank = max((index.ndim for index in places.values()), default=0)
        inner = dict(places)
        counts = [length_of_limit(limit, self._parameters) for limit in node.limits]
        for k, ((index, first, _), count) in enumerate(zip(node.limits, counts, strict=True)):
            start = int(first.xreplace(self._known))
            shape = [1] * (len(counts) + rank)
            shape[k] = count
            inner[index] = np.arange(start, start + count).reshape(shape)
        value = self._value(node.function, inner)
        shape = np.broadcast_shapes(value.shape, (*counts, *(1,) * rank))
        over = tuple(range(len(counts)))
        combined = np.sum if isinstance(node, sp.Sum) else np.prod
        return combined(np.broadcast_to(value, shape), axis=over)

    def _check_within(self, index: sp.Expr, size: int, places: Places) -> None:
        """Refuse coordinates that there are not."""
        values = self._index(index, places)
        if values.min() < 0 or values.max() >= size:
            given = f"the coordinate of index {index} from {values.min()} to {values.max()}"
            accepted = f"indices from 0 to {size - 1}, those of the coordinates"
            raise ParameterError(str(index), given, accepted, "Check the limits of the sum.")

    def _entries(self, entry: sp.Indexed, places: Places) -> NDArray[np.float64]:
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

    def _index(self, index: sp.Expr, places: Places) -> NDArray[np.int64]:
        index = index.xreplace(self._known)
        symbols = sorted(index.free_symbols, key=str)
        given = [places[s].astype(float) for s in symbols]
        (found,) = ArrayFormulas([in_pieces(index)], symbols)(*given)
        whole = np.asarray(found).round()
        if (whole != found).any():
            fix = "Write sp.floor around it."
            raise ParameterError(str(index), "an index with parts", "whole numbers", fix)
        return whole.astype(np.int64)
