"""Kernels of an energy run by NumPy: formulas of a block of samples, or of pairs, at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import sympy as sp

from ...kernels.energies import FormulaKernel
from ...schedule.numpy import NumpyTiling
from ...sharing import symbols_of
from ...tensors.scalars.array_formulas import ArrayFormulas
from ..packing import Samples
from ..partners import batches

__all__ = ["energy_kernel"]

# Values of symbols: numbers, and arrays that broadcast against each other.
Values = dict[sp.Symbol, np.ndarray]


def energy_kernel(
    kernel: FormulaKernel, dtype: np.dtype, tiling: NumpyTiling
) -> _LocalKernel | _PairKernel:
    """What runs a kernel of an energy."""
    return (_PairKernel if kernel.partners else _LocalKernel)(kernel, np.dtype(dtype), tiling)


class _Formulas:
    """Formulas in named values."""

    def __init__(self, formulas: Sequence[sp.Expr], dtype: np.dtype):
        self._symbols = list(symbols_of(*formulas))
        self._evaluate = ArrayFormulas(formulas, self._symbols, dtype)

    def __call__(self, known: Values) -> list[np.ndarray]:
        return self._evaluate(*(known[symbol] for symbol in self._symbols))


def _rows(arrays: Mapping[str, np.ndarray], first: int, last: int) -> dict[str, np.ndarray]:
    """Components of some samples, (components, n) by name, of arrays (N, components)."""
    return {name: np.ascontiguousarray(a[first:last].T) for name, a in arrays.items()}


class _LocalKernel:
    """Formulas of every sample alone."""

    def __init__(self, kernel: FormulaKernel, dtype: np.dtype, tiling: NumpyTiling):
        self.kernel, self.dtype, self.tiling = kernel, dtype, tiling
        rolled = kernel.rolled
        self._forms = [
            (form, np.array(form.matrix, dtype), np.array(form.center or 0.0, dtype))
            for form in kernel.forms
        ]
        fields = [e for rows in kernel.fields.values() for e in rows]
        self._sizes = {name: len(rows) for name, rows in kernel.fields.items()}
        self._sums: list[tuple[sp.Symbol, _Formulas]] = []
        if rolled is not None:  # component i of a field stands for all of them
            fields = [(rolled.rows | rolled.scalars)[name] for name in kernel.fields]
            self._sizes = dict.fromkeys(kernel.fields, 1)
            self._sums = [(symbol, _Formulas([e], dtype)) for symbol, e in rolled.sums]
        means = kernel.means if rolled is None else rolled.means
        self._formulas = _Formulas([*fields, *means], dtype)

    def fields(self, arrays: Mapping[str, np.ndarray], values, out: list, _: Samples) -> None:
        """Write the fields, (N, components) each."""
        for own, known in self._blocks(arrays, values):
            found = iter(self._formulas(known))
            for array, size in zip(out, self._sizes.values(), strict=True):
                rows = [next(found) for _ in range(size)]
                if self.kernel.rolled is None:
                    for i, row in enumerate(rows):
                        array[own, i] = row
                else:
                    array[own] = np.atleast_2d(rows[0]).T

    def means(self, arrays: Mapping[str, np.ndarray], values, samples: Samples) -> np.ndarray:
        """Weighted sums over the samples, (K,) float64."""
        total, weight = np.zeros(len(self.kernel.means)), samples.weight
        for own, known in self._blocks(arrays, values):
            (*_,) = found = self._formulas(known)
            means = found[len(found) - total.size :]
            total += [np.sum(weight[own] * mean, dtype=float) for mean in means]
        return total

    def _blocks(self, arrays, values) -> Iterator[tuple[slice, Values]]:
        """Blocks of samples, and what symbols stand for there."""
        numbers = dict(zip(self.kernel.values, values, strict=True))
        count, most = len(arrays["x"]), self.tiling.at_once
        for first in range(0, count, most):
            own = slice(first, min(first + most, count))
            yield own, numbers | self._known(_rows(arrays, own.start, own.stop), numbers)

    def _known(self, rows: dict[str, np.ndarray], numbers: Values) -> Values:
        rolled = self.kernel.rolled
        symbols = dict(self.kernel.reads)
        for form, matrix, center in self._forms:
            rows[form.name] = matrix @ (rows["x"] - center.reshape(-1, 1))
            symbols[form.name] = form.symbols
        known: Values = {}
        for name, own in symbols.items():
            if rolled is not None and name in rolled.components:
                known[rolled.components[name]] = rows[name]
            else:
                known |= zip(own, rows[name], strict=True)
        shape = rows["x"].shape
        for symbol, formula in self._sums:
            (terms,) = formula(numbers | known)
            known[symbol] = np.broadcast_to(terms, shape).sum(axis=0)
        return known


class _PairKernel:
    """Sums over the partners of samples of formulas of pairs, in groups of one size at a time."""

    def __init__(self, kernel: FormulaKernel, dtype: np.dtype, tiling: NumpyTiling):
        self.kernel, self.dtype, self.tiling = kernel, dtype, tiling
        self._radial = [kernel.radial] if kernel.radial != 0 else []
        self._rows = [e for rows in kernel.fields.values() for e in rows]
        self._formulas = _Formulas([*self._rows, *kernel.means, *self._radial], dtype)

    def fields(self, arrays: Mapping[str, np.ndarray], values, out: list, samples: Samples) -> None:
        """Add the means over partners to the field, (N, components)."""
        (array,) = out
        for members, share, sums in self._sums(arrays, values, samples):
            rows = np.moveaxis(sums[: len(self._rows)], 0, -1)
            array[members] += self.dtype.type(share) * rows

    def means(self, arrays: Mapping[str, np.ndarray], values, samples: Samples) -> np.ndarray:
        """Weighted sums over the samples of means over partners, (K,) float64."""
        total = np.zeros(len(self.kernel.means))
        for members, share, sums in self._sums(arrays, values, samples):
            rows = samples.weight[members] * sums[len(self._rows) :]
            total += np.sum(rows, axis=(1, 2), dtype=float) * share
        return total

    def _sums(
        self, arrays, values, samples: Samples
    ) -> Iterator[tuple[np.ndarray, float, np.ndarray]]:
        """Samples (groups, n), their part of a mean, and sums over partners of every formula."""
        numbers, k = dict(zip(self.kernel.values, values, strict=True)), self.kernel
        for batch, thirds in batches(samples, bool(k.thirds)):
            share = k.share(batch.size) / (1 if thirds is None else batch.size)
            at_once = max(1, self.tiling.own * self.tiling.partners // batch.size**2)
            for first in range(0, batch.groups, at_once):
                known = dict(numbers)
                if thirds is not None:
                    third = arrays["x"][thirds[first : first + at_once]].T
                    known |= zip(k.thirds, third[:, :, None, None], strict=True)
                members = batch.members[first : first + at_once]
                for start in range(0, batch.size, self.tiling.own):
                    own = slice(start, min(start + self.tiling.own, batch.size))
                    yield members[:, own], share, self._of_block(arrays, known, members, own)

    def _of_block(self, arrays, known: Values, members: np.ndarray, own: slice) -> np.ndarray:
        """Sums over all partners of some members of every group, (formulas, groups, n)."""
        k, rows = self.kernel, _components(arrays, members[:, own])
        number, size = len(self._rows) + len(k.means), members.shape[1]
        sums = np.zeros((number, *members[:, own].shape), self.dtype)
        of_partners = [arrays["x"], *([arrays["partner_weights"]] if k.partner_weights else [])]
        read = {n: a for n, a in rows.items() if n in k.reads}
        for start in range(0, size, self.tiling.partners):
            others = slice(start, min(start + self.tiling.partners, size))
            partners = np.concatenate(
                [np.moveaxis(a[members[:, others]], -1, 0) for a in of_partners]
            )
            self._add(sums, known, read, partners, own, others)
        return sums

    def _add(self, sums, known: Values, rows, partners, own: slice, others: slice) -> None:
        """Add a block of pairs to the sums over partners."""
        k, x = self.kernel, rows["x"]
        known = known | dict(zip(k.partner_symbols, partners[:, :, None, :], strict=True))
        for name, values in rows.items():
            known |= zip(k.reads[name], values[..., None], strict=True)
        shape = (*x.shape[1:], partners.shape[2])
        if k.distance is not None:
            known[k.distance] = np.zeros(shape, self.dtype)
            for a, b in zip(x, partners[: len(x)], strict=True):
                known[k.distance] += (a[:, :, None] - b[:, None, :]) ** 2
        # No pair of a sample with itself, unless it is a partner of its own.
        same = np.arange(max(own.start, others.start), min(own.stop, others.stop))
        found = []
        for pairs in self._formulas(known):
            found.append(np.broadcast_to(pairs, shape))
            if same.size and not k.with_itself:
                found[-1] = found[-1].copy()
                found[-1][:, same - own.start, same - others.start] = 0
        radial = found[len(sums) :]
        for total, pairs in zip(sums, found, strict=False):
            total += pairs.sum(axis=2)
        for factor in radial:
            for i, (a, b) in enumerate(zip(x, partners[: len(x)], strict=True)):
                sums[i] += np.einsum("gnm,gnm->gn", factor, a[:, :, None] - b[:, None, :])


def _components(arrays: Mapping[str, np.ndarray], members: np.ndarray) -> dict[str, np.ndarray]:
    """Components of some samples, (components, groups, n) by name, of arrays (N, components)."""
    return {
        name: np.ascontiguousarray(np.moveaxis(a[members], -1, 0)) for name, a in arrays.items()
    }
