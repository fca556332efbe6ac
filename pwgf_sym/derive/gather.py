"""Sums that a user writes out, over rows of data or components of a mixture, as sums over an index.

    log(1 + exp(0.3 x0 - 1.2 x1)) + log(1 + exp(0.7 x0 + 0.1 x1)) + ...

has one term per row, and each would be differentiated and printed by itself.  Terms that are alike
but for their numbers become one sum with arrays of these numbers,

    Sum(log(1 + exp(Sum(c0[n, i] x[i], (i, 0, 1)))), (n, 0, N0 - 1)),

which derivation and kernels take as it is.  What a user sees, prints and stores stays as written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from ..declare.arrays import Arrays, array_values
from ..declare.energies import EnergyIntegral, ordered_integrals
from ..declare.problem import GradientFlow
from ..declare.symbols import Density, as_copy
from ..errors import EnergyError
from ..sharing import parts, replaced
from .chains import chained
from .features import in_integrals, in_means
from .likeness import UNKNOWN, Family, Likeness, Numbers
from .sums import check_continuous

__all__ = ["DerivedForm", "derived_form", "gathered"]

#: As few summands, and as few different parts of them all, are written one by one.
FEWEST, SMALLEST = 16, 400
#: Larger numbers are left in formulas, where coordinates are measured from centers near by.
_LARGEST = 1e5

_GROWING = (sp.exp, sp.cosh, sp.sinh)

# What stands in the place of a number: itself, an entry of an array, the sum over a family.
Slot: TypeAlias = "sp.Expr | Callable[..., sp.Expr]"


@dataclass(frozen=True)
class DerivedForm:
    """A problem's energy as everything is derived from it.

    Attributes
    ----------
    energy : Expr
    arrays : dict of IndexedBase to array
    parameters : dict of Symbol to float
        With the lengths of the arrays.
    """

    energy: sp.Expr
    arrays: Arrays
    parameters: dict[sp.Symbol, float]


def derived_form(problem: GradientFlow) -> DerivedForm:
    """The energy of a problem with its sums gathered, and the values of all that it holds.

    Parameters
    ----------
    problem : GradientFlow

    Returns
    -------
    DerivedForm
    """
    energy, own = gathered(problem.energy, problem.density)
    if not own:
        return DerivedForm(energy, problem.arrays, problem.parameters)
    arrays = {**problem.arrays, **own}
    _, lengths = array_values(energy, arrays)
    values = {**problem.parameters, **{s: float(n) for s, n in lengths.items()}}
    return DerivedForm(energy, arrays, dict(sorted(values.items(), key=lambda one: one[0].name)))


@lru_cache(maxsize=8)
def gathered(energy: sp.Expr, density: Density) -> tuple[sp.Expr, Arrays]:
    """An energy with its sums of many like terms as sums over an index.

    Parameters
    ----------
    energy : Expr
    density : Density

    Returns
    -------
    energy : Expr
        The energy itself where there is nothing to gather.
    arrays : dict of IndexedBase to array
        Of the numbers in the sums, under names that the energy does not use.
    """
    names = _Names({str(p) for p in parts(energy, density) if p.is_Symbol})
    found: dict[sp.Basic, sp.Basic] = {}
    arrays: Arrays = {}
    try:
        for term in ordered_integrals(energy):
            if len(term.copies) == 1:
                gatherer = _Gatherer(term.copies[0], names)
                integrand = gatherer.gathered(term.integrand)
                if gatherer.arrays or gatherer.chains:
                    found[term] = EnergyIntegral(integrand, *term.copies)
                    arrays |= gatherer.arrays
        result = replaced(energy, found) if found else energy
        if len(ordered_integrals(energy)) >= FEWEST:
            of_means, others = in_means(result, density)
            gatherer = _Gatherer(density.coordinates, names)
            formula = gatherer.gathered(of_means)
            if gatherer.arrays:
                result, arrays = in_integrals(formula, others, density), arrays | gatherer.arrays
    except RecursionError:  # deeper than SymPy, which has the last word
        return energy, {}
    return result, arrays


class _Names:
    """Names that an energy does not use."""

    def __init__(self, used: set[str]):
        self._used = used
        self.row, self.place = (sp.Symbol(self.free(s), integer=True) for s in ("n", "i"))

    def free(self, name: str) -> str:
        """The name, with underscores until nothing else has it."""
        while name in self._used:
            name += "_"
        self._used.add(name)
        return name

    def numbered(self, stem: str) -> str:
        """The first free name of a stem and a number."""
        number = 0
        while f"{stem}{number}" in self._used:
            number += 1
        return self.free(f"{stem}{number}")


class _Gatherer:
    """Gathers the sums of one integrand.

    Parameters
    ----------
    copy : tuple of d Symbols
        What is integrated over.
    names : _Names

    Attributes
    ----------
    arrays : dict of IndexedBase to array
        Of the sums so far.
    chains : bool
        Whether there are sums over neighbours.
    """

    def __init__(self, copy: Sequence[sp.Symbol], names: _Names):
        self._copy, self._names = tuple(copy), names
        self._likeness = Likeness(copy)
        self._wide: dict[sp.Basic, bool] = {}
        self._found: dict[tuple[sp.Basic, bool], sp.Basic] = {}
        self.arrays: Arrays = {}
        self.chains = False

    def gathered(self, formula: sp.Basic, inside: bool = False) -> sp.Basic:
        """The formula with sums over an index.

        Sums of exponentials ``inside`` of other functions than a logarithm stay: they overflow, and
        the functions are right beyond that as they are written.
        """
        if not self._is_wide(formula):
            return formula
        key = formula, inside
        if key not in self._found:
            self._found[key] = self._new(formula, inside)
        return self._found[key]

    def _new(self, formula: sp.Basic, inside: bool) -> sp.Basic:
        if formula.is_Add:
            return self._of_sum(formula, inside)
        if isinstance(formula, sp.log):
            return self._of_logarithm(formula)
        moving = [a for a in formula.args if self._likeness.places(a) - {UNKNOWN}]
        inside = inside or not formula.is_Mul or len(moving) > 1
        return formula.func(*(self.gathered(arg, inside) for arg in formula.args))

    def _is_wide(self, node: sp.Basic) -> bool:
        """Whether some part is a sum of many terms."""
        found = self._wide.get(node)
        if found is None:
            kept = isinstance(node, (sp.Sum, sp.Product, EnergyIntegral))
            found = not kept and (
                (node.is_Add and len(node.args) >= FEWEST) or any(map(self._is_wide, node.args))
            )
            self._wide[node] = found
        return found

    def _of_sum(self, node: sp.Add, inside: bool) -> sp.Expr:
        groups, rest = self._groups(node.args)
        sums = []
        for factor, group in groups:
            made = None if inside and group.grows else group.sum()
            if made is None:
                rest += group.summands
            else:
                sums.append(factor * made)
        rest = chained(rest, self._copy, self._likeness, lambda: self._names.row)
        self.chains = self.chains or any(isinstance(term, sp.Sum) for term in rest)
        return sp.Add(*sums, *(self.gathered(term, inside) for term in rest))

    def _of_logarithm(self, node: sp.log) -> sp.Expr:
        """log(f S^p) as log f + p log S, with a sum S of positive exponentials."""
        others, logarithms = [], []
        for factor in sp.Mul.make_args(node.args[0]):
            base, power = factor.as_base_exp()
            sums = self._of_positive(base) if base.is_Add and power.is_number else None
            if sums is None:
                others.append(self.gathered(factor, True))
            else:
                logarithms.append(power * sp.log(sums))
        return sp.Add(sp.log(sp.Mul(*others)), *logarithms)

    def _of_positive(self, node: sp.Add) -> sp.Expr | None:
        """A sum of positive numbers times exponentials, gathered: what a logarithm is right for."""
        if len(node.args) < FEWEST or not all(map(self.is_positive, node.args)):
            return None
        groups, rest = self._groups(node.args)
        sums = []
        for _, group in groups:
            made = group.sum()
            if made is None:
                rest += group.summands
            else:
                sums.append(made)
        return sp.Add(*sums, *rest) if sums else None

    def is_positive(self, term: sp.Expr) -> bool:
        """Whether a term is a positive number, maybe times an exponential without the density."""
        number, rest = self._likeness.split(term)
        exponential = isinstance(rest, sp.exp) and UNKNOWN not in self._likeness.places(rest)
        return bool(number.is_positive) and (rest == 1 or exponential)

    def _groups(
        self, summands: Iterable[sp.Expr]
    ) -> tuple[list[tuple[sp.Expr, _Group]], list[sp.Expr]]:
        """Summands that are alike, by the density's function in front of them, and all others."""
        alike: dict[tuple[sp.Expr, int], list[tuple[sp.Expr, sp.Expr, Numbers]]] = {}
        rest: list[sp.Expr] = []
        for term in summands:
            outer, inner = self._apart(term)
            if self._likeness.places(inner):
                likeness, numbers = self._likeness.of(inner)
                alike.setdefault((outer, likeness), []).append((term, inner, numbers))
            else:
                rest.append(term)
        groups = []
        for (outer, likeness), rows in alike.items():
            group = _Group(self, likeness, rows)
            if group.is_worth_it():
                groups.append((outer, group))
            else:
                rest += group.summands
        return groups, rest

    def _apart(self, term: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        """The factors of a summand with the density, and all others."""
        places = self._likeness.places
        if UNKNOWN not in places(term):
            return sp.S.One, term
        factors = sp.Mul.make_args(term)
        inner = [f for f in factors if UNKNOWN not in places(f)]
        return sp.Mul(*(f for f in factors if UNKNOWN in places(f))), sp.Mul(*inner)


class _Group:
    """Summands that are alike.

    Parameters
    ----------
    gatherer : _Gatherer
    likeness : int
    rows : list of (summand, Expr, numbers)
        Summands, the same without functions of the density, and the numbers in these.
    """

    def __init__(
        self, gatherer: _Gatherer, likeness: int, rows: list[tuple[sp.Expr, sp.Expr, Numbers]]
    ):
        self._gatherer, self._of, self._number = gatherer, gatherer._likeness, likeness
        self.summands = [row[0] for row in rows]
        self._terms = [row[1] for row in rows]
        self._rows = [row[2] for row in rows]

    @property
    def grows(self) -> bool:
        """Whether the terms are exponentials times something."""
        return any(isinstance(f, _GROWING) for f in sp.Mul.make_args(self._terms[0]))

    def is_worth_it(self) -> bool:
        """Whether the summands are many, and about the same coordinates.

        Summands of few coordinates each, as in sum_i f(x_i), or of all pairs of them, are loops
        over coordinates, and no data.  Terms far from the origin stay as they are: as data
        3 (x - c) would be 3 x - 3 c, in which digits cancel (:mod:`..kernels.centers`).
        """
        if len(self._terms) < FEWEST or self._is_far():
            return False
        where = [self._of.places(term) for term in self._terms]
        if 2 * sum(map(len, where)) < len(where) * len(frozenset().union(*where)):
            return False
        return sum(1 for _ in islice(parts(*self._terms), SMALLEST)) == SMALLEST

    def _is_far(self) -> bool:
        """Whether a number in the terms is so large that digits cancel beside it."""
        numbers = (n for term in self._terms for n in parts(term) if n.is_Number)
        return any(abs(float(n)) > _LARGEST for n in numbers)

    def sum(self) -> sp.Expr | None:
        """The sum over an index; None where its terms cannot be written so."""
        try:
            table = _Table(self._gatherer, len(self._rows))
            slots = [table.slot(column) for column in zip(*self._rows, strict=True)]
            term = self._of.formula(self._number, iter(slots))
            found = sp.Sum(term, (table.row, 0, table.length - 1))
            check_continuous(found)
        except (EnergyError, ArithmeticError, TypeError, ValueError):
            return None
        arrays = table.used(found)
        if not any(table.length in array.shape for array in arrays):
            return None  # the terms differ by less than double precision
        self._gatherer.arrays |= arrays
        return found


class _Table:
    """Numbers of many rows as entries of arrays.

    Numbers that all rows share stay numbers, and equal columns are one array.
    """

    def __init__(self, gatherer: _Gatherer, count: int):
        self._names, self._count = gatherer._names, count
        self._x = as_copy(gatherer._copy, "copy")
        self.row, self._place = self._names.row, self._names.place
        self.length = sp.Symbol(self._names.numbered("N"), integer=True, positive=True)
        self._arrays: Arrays = {}
        self._known: dict[tuple[tuple[int, ...], bytes], sp.IndexedBase] = {}

    def used(self, formula: sp.Expr) -> Arrays:
        """The arrays that a formula reads."""
        read = {p.base for p in parts(formula) if isinstance(p, sp.Indexed)}
        return {array: values for array, values in self._arrays.items() if array in read}

    def slot(self, column: Sequence[sp.Expr | Family]) -> Slot:
        """What stands in the place of the numbers of all rows."""
        if isinstance(column[0], dict):
            return self._family(column)
        if len(set(column)) == 1:
            return column[0]
        numbers = np.array([float(number) for number in column if isinstance(number, sp.Expr)])
        return column[0] if _all_equal(numbers) else self._entry(numbers)(None)

    def _family(self, column: Sequence[Family]) -> Slot:
        """The sum of a part over the coordinates."""
        dim, used = len(self._x), sorted(set().union(*column))
        width = len(next(iter(column[0].values())))

        def summed(one: Callable[[Iterator[Any], sp.Expr], sp.Expr], polynomial: bool) -> sp.Expr:
            few = 2 * len(used) <= dim or dim == 1
            written = few or (len(used) < dim and not polynomial)
            places = used if written else list(range(dim))
            entries = [self._entry_of_family(column, k, places) for k in range(width)]

            def at(place: int | sp.Symbol) -> sp.Expr:
                return one((entry(place) for entry in entries), self._x[place])

            if written:
                return sp.Add(*map(at, used))
            return sp.Sum(at(self._place), (self._place, 0, dim - 1))

        return summed

    def _entry_of_family(
        self, column: Sequence[Family], number: int, places: list[int]
    ) -> Callable[..., sp.Expr]:
        """By place one of the numbers of a part: the first one is 0 where the part is missing."""
        present = dict.fromkeys(own[number] for family in column for own in family.values())
        missing = number == 0 and any(len(family) < len(places) for family in column)
        constant = next(iter(present))
        values = np.zeros((self._count, len(self._x)))
        for row, family in zip(values, column, strict=True):
            for i, numbers in family.items():
                row[i] = float(numbers[number])
        if (len(present) == 1 and not missing) or _all_equal(values[:, places]):
            return lambda place: constant
        return self._entry(values[0] if (values == values[0]).all() else values, values.shape[1])

    def _entry(self, numbers: NDArray[np.float64], dim: int = 0) -> Callable[..., sp.Expr]:
        """By place the entry of an array; of columns that are equal but for signs there is one."""
        if not np.isfinite(numbers).all():
            raise ValueError("numbers that double precision does not hold")
        sign = -1 if numbers[numbers != 0][0] < 0 else 1
        numbers = sign * numbers + 0.0
        key = numbers.shape, numbers.tobytes()
        shape = [dim] if numbers.ndim == 1 and dim else [self.length, *([dim] if dim else [])]
        if key not in self._known:
            name, positive = self._names.numbered("c"), bool((numbers > 0).all())
            assumed = {"positive": True} if positive else {"real": True}
            self._known[key] = sp.IndexedBase(name, shape=shape, **assumed)
            numbers.setflags(write=False)
            self._arrays[self._known[key]] = numbers
        rows = () if len(shape) == 1 and dim else (self.row,)
        return lambda place: sign * self._known[key][(*rows, *([place] if dim else []))]


def _all_equal(numbers: NDArray[np.float64]) -> bool:
    return bool((numbers == numbers.flat[0]).all())
