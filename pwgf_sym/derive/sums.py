"""Sums over an index as quantities of a sample: a value S(x), and its gradient.

Formulas of an energy read a sum over data rows as one symbol, and its gradient as d more; the
chain rule does the rest:

    grad f(x, S(x)) = f_x + f_S grad S.

What the value and the gradient are computed from is a graph of tensors (:mod:`..kernels.sums`);
SymPy differentiates nothing that an index runs over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import sympy as sp

from ..declare.energies import short_text
from ..declare.indexed import is_kept, written_out
from ..declare.symbols import Coordinates, as_copy
from ..errors import EnergyError
from ..sharing import holds, parts, replaced, symbols_of
from .borders import jump
from .calculus import RHO, Gradient
from .pieces import in_pieces

__all__ = ["IndexedSum", "SampleGradient", "SumTable", "check_continuous", "derivative_of_sum"]
__all__ += ["in_full"]


# Up to so many coordinates formulas stand one below the other.
_UNROLLED = 8


@dataclass(frozen=True)
class IndexedSum:
    """A sum over an index, or its logarithm, in an energy.

    Attributes
    ----------
    name : str
        What kernels call it.
    symbol : Symbol
        Its value S at a sample.
    slopes : tuple of d Symbols
        Its gradient there.
    formula : Expr
        The sum, or the logarithm of a sum, in the coordinates.
    """

    name: str
    symbol: sp.Symbol
    slopes: tuple[sp.Symbol, ...]
    formula: sp.Expr


class SumTable:
    """Finds the sums of an energy's integrands and gives them symbols.

    Parameters
    ----------
    coordinates : sequence of d Symbols
    used : set of str
        Names that the energy uses otherwise; those of new symbols are added.
    """

    def __init__(self, coordinates: Sequence[sp.Symbol], used: set[str]):
        self.coordinates, self._used = tuple(coordinates), used
        self._found: dict[sp.Expr, IndexedSum] = {}

    @property
    def sums(self) -> tuple[IndexedSum, ...]:
        """The sums so far."""
        return tuple(self._found.values())

    def symbols(self) -> tuple[sp.Symbol, ...]:
        """The symbols of their values."""
        return tuple(found.symbol for found in self.sums)

    def without_sums(self, formula: sp.Expr) -> sp.Expr:
        """A formula in x and RHO with the symbols of sums.

        Raises
        ------
        EnergyError
            If a sum holds the density in another place than as a factor, or jumps.
        """
        if not holds(formula, (sp.Sum, sp.Product)):
            return formula
        if isinstance(formula, sp.Product):
            return self.without_sums(sp.exp(_logarithm_of_product(formula)))
        if isinstance(formula, sp.Sum):
            return self._of_sum(formula)
        if isinstance(formula, sp.log):
            if isinstance(formula.args[0], sp.Product):
                return self.without_sums(_logarithm_of_product(formula.args[0]))
            if formula.args[0].is_Add:
                return sp.log(sp.Add(*map(self._as_exponential, formula.args[0].args)))
            powers = [f for f in sp.Mul.make_args(formula.args[0]) if self._is_power(f)]
            if powers:  # of log(rho/S)
                logs = [f.exp * self.without_sums(sp.log(f.base)) for f in powers]
                rest = sp.Mul(formula.args[0], *(f**-1 for f in powers))
                return sp.Add(self.without_sums(sp.log(rest)), *logs)
            found = self._logarithm(formula.args[0])
            if found is not None and _least(found[0]) == "positive":
                return sp.log(found[0]) + found[1]
        if formula.is_Add:
            formula = self._together(formula)
            if not holds(formula, (sp.Sum, sp.Product)):
                return formula
        return formula.func(*(self.without_sums(arg) for arg in formula.args))

    def _has_logarithms(self, node: sp.Expr) -> bool:
        """Whether the terms of a sum are seen to be positive, so that their logarithms do."""
        x = as_copy(self.coordinates, "x").indexed_base
        return is_kept(node) and not node.has(RHO) and _all_positive(node.function, x)

    def _together(self, formula: sp.Expr) -> sp.Expr:
        """Long sums over coordinates, and what stands beside them in coordinates, as one value.

        Of many coordinates some have a term of their own: there is no loop over all of them.
        Several long sums share the loads of their coordinates.
        """
        if len(self.coordinates) <= _UNROLLED:
            return formula
        x, places = as_copy(self.coordinates, "x"), set(self.coordinates)
        own = [
            a
            for a in formula.args
            if not a.has(RHO) and (holds(a, (sp.Sum,)) or symbols_of(a) & places)
        ]
        long = [holds(a, (sp.Sum,)) for a in own]
        if len(own) == 1 or not any(long) or any(written_out(a, x) is None for a in own):
            return formula
        if 2 * long.count(False) > len(self.coordinates):
            # A loop over all of them is found where each has a term of its own.
            own = [a for a in own if holds(a, (sp.Sum,)) or len(symbols_of(a) & places) > 1]
            if len(own) == 1:
                return formula
        rest = [a for a in formula.args if a not in own]
        return sp.Add(*rest, self._symbol(sp.Add(*own)))

    def _as_exponential(self, term: sp.Expr) -> sp.Expr:
        """A summand in a logarithm, with exp(log S) for a sum S that would overflow."""
        found = self._logarithm(term)
        return self.without_sums(term) if found is None else found[0] * sp.exp(found[1])

    def _logarithm(self, term: sp.Expr) -> tuple[sp.Expr, sp.Expr] | None:
        """c and the symbol of log S, of a product c S with one sum S of positive exponentials."""
        sums = [f for f in sp.Mul.make_args(term) if isinstance(f, sp.Sum)]
        if len(sums) != 1:
            return None
        factor, rest = _split(sums[0])
        if not self._has_logarithms(rest):
            return None
        factor *= sp.Mul(*(f for f in sp.Mul.make_args(term) if f not in sums))
        return self.without_sums(factor), self._symbol(sp.log(rest))

    def _is_power(self, factor: sp.Expr) -> bool:
        """Whether a factor in a logarithm is a power of a sum that has a logarithm of its own."""
        if not (factor.is_Pow and factor.exp.is_number and holds(factor.base, (sp.Sum,))):
            return False
        found = self._logarithm(factor.base)
        return found is not None and _least(found[0]) == "positive"

    def _of_sum(self, node: sp.Sum) -> sp.Expr:
        if isinstance(node.function, sp.Add) and node.function.has(RHO):
            return sp.Add(*(self._of_sum(node.func(t, *node.limits)) for t in node.function.args))
        factor, rest = _split(node)
        if not is_kept(rest):
            return self.without_sums(factor * rest)
        if rest.has(RHO):
            given = (
                f"{short_text(rest.xreplace({RHO: sp.Symbol('rho')}))}, a function of the density"
            )
            accepted = "sums of functions of x, each times the same function of the density"
            raise EnergyError("energy", given, accepted, "Take the density out of the sum.")
        return self.without_sums(factor) * self._symbol(rest)

    def whole(self, formula: sp.Sum) -> IndexedSum:
        """A sum that is a quantity of its own, as it stands."""
        self._symbol(formula)
        return self._found[_without_products(formula)]

    def _symbol(self, formula: sp.Expr) -> sp.Symbol:
        formula = _without_products(formula)
        if formula not in self._found:
            check_continuous(formula)
            number = len(self._found)
            name = self.free(f"sum_{number}")
            slopes = tuple(
                sp.Symbol(self.free(f"dS{number}_{i}"), real=True)
                for i in range(len(self.coordinates))
            )
            symbol = sp.Symbol(self.free(f"S{number}"), real=True)
            self._found[formula] = IndexedSum(name, symbol, slopes, formula)
        return self._found[formula].symbol

    def free(self, name: str) -> str:
        """The name, with underscores until nothing else has it."""
        while name in self._used:
            name += "_"
        self._used.add(name)
        return name


def _split(node: sp.Sum) -> tuple[sp.Expr, sp.Expr]:
    """Factors that no index runs over, and the sum of the others."""
    indices = [limit[0] for limit in node.limits]
    factor, rest = node.function.as_independent(*indices, as_Add=False)
    loose = [f for f in sp.Mul.make_args(factor) if _has_loose_entries(f)]
    if loose:  # the entry of an array has a value inside of sums only
        factor = sp.Mul(*(f for f in sp.Mul.make_args(factor) if f not in loose))
        return factor, node.func(sp.Mul(rest, *loose), *node.limits)
    if not rest.has(*indices):  # the same number of times the same
        return factor * rest * sp.Mul(*(b - a + 1 for _, a, b in node.limits)), sp.S.One
    return factor, sp.Sum(rest, *node.limits)


def _without_products(formula: sp.Expr) -> sp.Expr:
    """A formula with exp(Sum(log(f))) for a product of factors f."""
    products = [p for p in parts(formula) if isinstance(p, sp.Product)]
    return replaced(formula, {p: sp.exp(_logarithm_of_product(p)) for p in products})


def _logarithm_of_product(node: sp.Product) -> sp.Sum:
    """The logarithm of a product over an index of factors that are not negative, as a sum.

    Raises
    ------
    EnergyError
        If a factor may be negative: its logarithm would be no number.
    """
    if not _least(node.function):
        given = f"the product {short_text(node)}, whose factors may be negative"
        accepted = "products of factors that are seen to be positive, such as 1 + f**2 and exp(f)"
        fix = "Write the factors as such: sp.Abs(f), or f**2."
        raise EnergyError("energy", given, accepted, fix)
    return sp.Sum(_logarithm(_without_products(node.function)), *node.limits)


def _logarithm(formula: sp.Expr) -> sp.Expr:
    """log f of a formula that is not negative, nor are its factors."""
    if isinstance(formula, sp.exp):
        return formula.args[0]
    if formula.is_Mul:
        return sp.Add(*map(_logarithm, formula.args))
    return sp.log(formula)


def _has_loose_entries(formula: sp.Expr) -> bool:
    """Whether entries of arrays stand outside of its sums."""
    return any(isinstance(p, sp.Indexed) for p in parts(formula, within=lambda p: not is_kept(p)))


def _all_positive(term: sp.Expr, x: sp.IndexedBase) -> bool:
    """Whether the terms of a sum are positive, so that their logarithms can be summed up.

    Arrays among the factors are asked for their values, when these are given; coordinates x, and
    powers of entries by what differs from sample to sample, have any sign.
    """
    for factor in sp.Mul.make_args(term):
        base, power = factor.as_base_exp()
        entry = isinstance(base, sp.Indexed) and base.base != x and power.is_number
        if not (entry or _least(factor) == "positive"):
            return False
    return any(isinstance(factor, sp.exp) for factor in sp.Mul.make_args(term))


def _least(formula: sp.Expr) -> str:
    """Whether a formula is seen to be "positive", or "nonnegative"; else an empty text."""
    if isinstance(formula, (sp.exp, sp.cosh)) or formula.is_positive:
        return "positive"
    if formula.is_Pow:
        base, even = _least(formula.base), formula.exp.is_even
        if base == "positive" or (base and formula.exp.is_nonnegative):
            return base
        return "nonnegative" if even and formula.exp.is_nonnegative else ""
    if isinstance(formula, sp.Sum):
        return "nonnegative" if _least(formula.function) else ""
    if formula.is_Add or formula.is_Mul:
        found = [_least(arg) for arg in formula.args]
        decisive = any if formula.is_Add else all
        positive = decisive(one == "positive" for one in found)
        return ("positive" if positive else "nonnegative") if all(found) else ""
    return "nonnegative" if formula.is_nonnegative or isinstance(formula, sp.Abs) else ""


def check_continuous(formula: sp.Expr) -> None:
    """Refuse a sum of terms that jump: their derivatives would hold Dirac measures."""
    for part in parts(formula):
        if is_kept(part):
            entries = {e: sp.Dummy(real=True) for e in _entries(part.function)}
            border = jump(in_pieces(replaced(part.function, entries)))
            if border:
                names = {mark: entry for entry, mark in entries.items()}
                given = f"{short_text(formula)}, which jumps {border.text(names)}"
                accepted = "formulas that are continuous: kinks such as Abs(x) and Max(x, 0)"
                raise EnergyError("energy", given, accepted, "Write a steep, continuous step.")


def _entries(formula: sp.Expr) -> list[sp.Basic]:
    """Entries of arrays and coordinates, and inner sums: what the terms are functions of."""

    def inner(part: sp.Basic) -> bool:
        return not is_kept(part) and not isinstance(part, sp.Indexed)

    return [p for p in parts(formula, within=inner) if not inner(p)]


class SampleQuantity(Protocol):
    """What a sample has a value and a gradient of."""

    @property
    def symbol(self) -> sp.Symbol:
        """Its value."""

    @property
    def slopes(self) -> tuple[sp.Symbol, ...]:
        """Its gradient."""


class SampleGradient:
    """Derivatives of formulas by (x0, ..., x{d-1}, RHO), the quantities in them taken along.

    Parameters
    ----------
    coordinates : sequence of d Symbols
    sums : sequence of IndexedSum or Convolution
    """

    def __init__(self, coordinates: Sequence[sp.Symbol], sums: Sequence[SampleQuantity]):
        self._dim, self._sums = len(coordinates), tuple(sums)
        self._plain = Gradient((*coordinates, RHO, *(s.symbol for s in sums)))

    def __call__(self, expr: sp.Expr) -> tuple[sp.Expr, ...]:
        """The derivatives, one a coordinate, then that by RHO."""
        found = self._plain(expr)
        slopes, by_density = list(found[: self._dim]), found[self._dim]
        for one, by_sum in zip(self._sums, found[self._dim + 1 :], strict=True):
            if by_sum != 0:
                slopes = [a + by_sum * b for a, b in zip(slopes, one.slopes, strict=True)]
        return (*slopes, by_density)


def in_full(
    formula: sp.Expr, sums: Iterable[IndexedSum], coordinates: Sequence[sp.Symbol]
) -> sp.Expr:
    """A formula with sums, and their derivatives, in the place of their symbols."""
    used, found = symbols_of(formula), {}
    x = as_copy(coordinates, "x")
    for one in sums:
        found[one.symbol] = one.formula
        for i, symbol in enumerate(one.slopes):
            if symbol in used:
                found[symbol] = derivative_of_sum(one.formula, x, i)
    return replaced(formula, found)


def derivative_of_sum(formula: sp.Expr, coordinates: Coordinates, number: int) -> sp.Expr:
    """The derivative of a formula with sums by a coordinate, in index notation.

    An entry x[i] has the derivative KroneckerDelta(i, number), which the sum over i resolves.
    """
    if is_kept(formula):
        inner = derivative_of_sum(formula.function, coordinates, number)
        return _resolved(inner, formula.limits, number)
    if isinstance(formula, sp.Indexed):
        own = formula.base == as_copy(coordinates, "x").indexed_base
        return sp.KroneckerDelta(formula.indices[0], number) if own else sp.S.Zero
    marks = {e: sp.Dummy(real=True) for e in _entries(formula)}
    marked = replaced(formula, marks)
    found = marked.diff(coordinates[number])
    for entry, mark in marks.items():
        slope = derivative_of_sum(entry, coordinates, number)
        if slope != 0:
            found += marked.diff(mark) * slope
    return replaced(found, {mark: entry for entry, mark in marks.items()})


def _resolved(term: sp.Expr, limits: Sequence[sp.Tuple], number: int) -> sp.Expr:
    """A sum of terms of which some stand at one index only."""
    if term == 0:
        return sp.S.Zero
    if term.is_Add:
        return sp.Add(*(_resolved(t, limits, number) for t in term.args))
    for delta in term.atoms(sp.KroneckerDelta):
        for k, (index, first, last) in enumerate(limits):
            place = index + number - delta.args[0] if delta.args[0].has(index) else None
            place = (
                index + number - delta.args[1]
                if place is None and delta.args[1].has(index)
                else place
            )
            if place is None or place.has(index):
                continue
            if (place - first).is_negative or (last - place).is_negative:
                return sp.S.Zero
            rest = term.xreplace({delta: sp.S.One}).xreplace({index: place})
            others = [limit for j, limit in enumerate(limits) if j != k]
            return _resolved(rest, others, number) if others else rest
    return sp.Sum(term, *limits) if limits else term
