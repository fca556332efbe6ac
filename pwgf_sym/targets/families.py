"""Functions of the means of a sum over integrals, for all values of its index at once."""

from __future__ import annotations

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from ..declare.indexed import is_kept
from ..derive.families import Family
from ..derive.gather import DerivedForm
from ..derive.pieces import in_pieces
from ..errors import ParameterError
from ..kernels.sums import SumKernels
from ..kernels.terms import length_of_limit, numbers_of
from ..loops.kernels import Layout
from ..sharing import parts, replaced
from ..tensors.scalars.array_formulas import ArrayFormulas
from .data import leaf_values, pack_data

__all__ = ["FamilyRows"]


class FamilyRows:
    """What the host computes of a sum over integrals: T = sum F(J_n), and c_n = F'(J_n).

    Parameters
    ----------
    family : Family
    kernels : SumKernels
        Of its first variation.
    derived : DerivedForm
        Arrays and parameters.
    dtype : dtype
        Of what kernels read.

    Attributes
    ----------
    count : int
        N, the number of values of the index.
    """

    def __init__(self, family: Family, kernels: SumKernels, derived: DerivedForm, dtype: np.dtype):
        self.family, parameters = family, derived.parameters
        index, first, _ = family.limits
        self.count = length_of_limit(family.node.limits[0], parameters)
        start = int(first.xreplace(numbers_of(parameters)))
        if start < 0:
            accepted = "an index from 0 or later on, in a sum over integrals"
            raise ParameterError(str(index), f"an index from {start} on", accepted)
        place = np.arange(start, start + self.count)
        self._make_functions(derived, {index: place})
        blank = {c: np.zeros(start + self.count) for c in family.weights}
        packed = pack_data(kernels, derived.arrays | blank, parameters, dtype)
        layout = Layout.of_axes(kernels.axes)
        self._data, self._columns = packed.reshape(-1, layout.size), []
        by_formula = {datum.formula: datum for datum in kernels.data}
        for c in family.weights:
            datum = by_formula[c[index]]
            at, size = layout.offsets[datum.name], int(np.prod([a.size for a in datum.axes]))
            self._columns.append(slice(at, at + size))

    def _make_functions(self, derived: DerivedForm, places: dict) -> None:
        (index,) = places
        means = {mean[index]: sp.Dummy(real=True) for mean in self.family.means}
        formulas = [self.family.value, *self.family.slopes]

        def is_open(part: sp.Basic) -> bool:
            return not is_kept(part) and not isinstance(part, sp.Indexed)

        whole = [p for p in parts(*formulas, within=is_open) if not is_open(p) and p not in means]
        marks = means | {leaf: sp.Dummy(real=True) for leaf in whole}
        bare = [in_pieces(replaced(formula, marks)) for formula in formulas]
        symbols = [*marks.values(), index, *derived.parameters]
        self._function = ArrayFormulas(bare, symbols)
        self._given = leaf_values(whole, places, derived.arrays, derived.parameters)
        self._given += [places[index].astype(float)]
        self._given += [np.float64(v) for v in derived.parameters.values()]

    def _rows(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """F and its derivatives at all values of the index, (1 + J, N)."""
        own = means.reshape(len(self.family.means), self.count)
        with np.errstate(all="ignore"):
            found = self._function(*own, *self._given)
        return np.stack([np.broadcast_to(row, self.count) for row in found])

    def value(self, means: NDArray[np.float64]) -> float:
        """T, from means of :meth:`means`."""
        return float(self._rows(means)[0].sum())

    def data(self, means: NDArray[np.float64] | None) -> NDArray:
        """What the steps of the kernels read, with c at these means; c is zero without."""
        found = self._data.copy()
        if means is not None:
            for column, weights in zip(self._columns, self._rows(means)[1:], strict=True):
                room = np.zeros(found[:, column].size)
                room[: self.count] = weights
                found[:, column] = room.reshape(len(found), -1)
        return found.ravel()

    def means(self, gradient: NDArray) -> NDArray[np.float64]:
        """Means J, one after the other, of the derivatives by what the steps read."""
        steps = np.asarray(gradient, float).reshape(self._data.shape)
        return np.concatenate([steps[:, c].ravel()[: self.count] for c in self._columns])
