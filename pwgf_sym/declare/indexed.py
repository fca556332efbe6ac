"""Sums and products over an index: which are written out, and which stay.

A sum over data rows stays a sum, ``Sum(log(1 + exp(-b[n]*Sum(A[n, i]*x[i], ...))), ...)``: what it
is over is known only from the arrays that are given for A and b.  So does a long sum over the
coordinates whose terms couple them, ``Sum((x[i + 1] - x[i])**2, ...)``; one of terms in one
coordinate each is written out: kernels find the loop in it (:mod:`..kernels.rolling`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NoReturn

import sympy as sp
from sympy.core.function import AppliedUndef

from ..errors import EnergyError
from ..sharing import parts, replaced
from .formula_checks import MOST_PARTS
from .symbols import Coordinates, as_copy

__all__ = ["check_bound", "data_arrays", "free_scalars", "is_kept", "renamed_copies"]
__all__ += ["without_indices", "written_out"]

_OVER_INDEX = (sp.Sum, sp.Product)
# Sums of terms in several coordinates with more terms than this stay sums.
_WRITTEN_OUT = 8


def without_indices(expr: sp.Expr, spaces: Sequence[Coordinates]) -> sp.Expr:
    """An integrand with its sums over numbers written out, and x[3] as the symbol x3.

    Raises
    ------
    EnergyError
        If an index is out of range, free, or bound twice, or a sum cannot be read.
    """
    bases = {space.indexed_base: space for space in spaces}
    symbols = {symbol for space in spaces for symbol in space}
    expr = expr.xreplace({index: index.label for index in expr.atoms(sp.Idx)})
    expr = replaced(expr, _entries_by_number(bases))
    stays = partial(_stays, bases=set(bases), beside=_has_beside_sums(expr, symbols))
    if any(is_kept(p) and stays(p, beside=False) for p in parts(expr)):
        stays = partial(stays, beside=True)
    expr = replaced(_written_out(expr, stays), _entries_by_number(bases))
    _Scopes(bases, open=True).check(expr, {})
    return expr


def check_bound(
    expr: sp.Expr, spaces: Sequence[Coordinates], limits: Sequence[sp.Tuple] = ()
) -> None:
    """Refuse entries of arrays whose indices no sum binds; ``limits`` are of sums around.

    Raises
    ------
    EnergyError
    """
    if expr.has(*_OVER_INDEX, sp.Indexed):
        bases = {space.indexed_base: space for space in spaces}
        _Scopes(bases).check(expr, {limit[0]: limit for limit in limits})


def written_out(formula: sp.Expr, space: Coordinates) -> sp.Expr | None:
    """A sum over numbers of the coordinates, term by term; None if it is over data."""
    bases = {space.indexed_base: space}
    for part in parts(formula):
        known = not is_kept(part) or all(n.is_Integer for _, *ends in part.limits for n in ends)
        if not known or (isinstance(part, sp.Indexed) and part.base not in bases):
            return None
    return _written_out(formula, lambda part: False).xreplace(_entries_by_number(bases))


def _entries_by_number(bases: Mapping[sp.IndexedBase, Coordinates]) -> dict[sp.Indexed, sp.Symbol]:
    return {base[i]: symbol for base, space in bases.items() for i, symbol in enumerate(space)}


def _has_beside_sums(expr: sp.Basic, symbols: set[sp.Symbol]) -> bool:
    """Whether coordinates stand outside of sums, and not as arguments of the density only."""
    outside = parts(expr, within=lambda p: not (is_kept(p) or isinstance(p, AppliedUndef)))
    return any(part in symbols for part in outside)


def data_arrays(expr: sp.Basic) -> list[sp.IndexedBase]:
    """Arrays that stand for data: those of an energy that are no coordinates, by name."""
    found = {part.base for part in parts(expr) if isinstance(part, sp.Indexed)}
    return sorted(found - _copies_of(expr), key=str)


def _copies_of(expr: sp.Basic) -> set[sp.IndexedBase]:
    """What stands for all coordinates of a copy that is integrated over."""
    from .energies import EnergyIntegral

    found = set()
    for term in parts(expr):
        if isinstance(term, EnergyIntegral):
            found |= {as_copy(copy, "copy").indexed_base for copy in term.copies}
    return found


def is_kept(part: sp.Basic) -> bool:
    """Whether a part of an integrand is a sum, or a product, that is not written out."""
    return isinstance(part, _OVER_INDEX)


def free_scalars(expr: sp.Basic) -> set[sp.Symbol]:
    """Symbols of an integrand that nothing in it binds, and no names of arrays."""
    from .energies import EnergyIntegral

    scopes = (*_OVER_INDEX, sp.Indexed, EnergyIntegral, sp.Integral)
    found: set[sp.Symbol] = set()
    for part in parts(expr, within=lambda p: not isinstance(p, scopes)):
        if part.is_Symbol:
            found.add(part)
        elif is_kept(part):
            limits = {s for limit in part.limits for bound in limit[1:] for s in bound.free_symbols}
            found |= (free_scalars(part.function) | limits) - {limit[0] for limit in part.limits}
        elif isinstance(part, sp.Indexed):
            found |= {s for index in part.indices for s in index.free_symbols}
        elif isinstance(part, (EnergyIntegral, sp.Integral)):
            found |= part.free_symbols
    return found


def renamed_copies(
    old: Sequence[sp.Symbol], new: Sequence[sp.Symbol]
) -> dict[sp.IndexedBase, sp.IndexedBase]:
    """By what stands for all of a copy, what stands for all of the other one."""
    return {as_copy(old, "copy").indexed_base: as_copy(new, "copy").indexed_base}


def _written_out(expr: sp.Basic, stays: Callable[[sp.Basic], bool]) -> sp.Basic:
    if not expr.has(*_OVER_INDEX):
        return expr
    if not is_kept(expr):
        return expr.func(*(_written_out(arg, stays) for arg in expr.args))
    if stays(expr):
        return expr
    # The last limit is the outermost; the inner ones may depend on its index.
    *inner, (index, first, last) = expr.limits
    if int(last) - int(first) >= MOST_PARTS:
        given = f"a sum or product of {int(last) - int(first) + 1} terms"
        raise EnergyError("integrand", given, f"at most {MOST_PARTS} terms")
    body = expr.func(expr.function, *inner) if inner else expr.function
    places = map(sp.Integer, range(int(first), int(last) + 1))
    terms = [_written_out(body.xreplace({index: place}), stays) for place in places]
    return sp.Add(*terms) if isinstance(expr, sp.Sum) else sp.Mul(*terms)


def _stays(expr: sp.Sum | sp.Product, bases: set[sp.IndexedBase], beside: bool) -> bool:
    """Whether a sum is over data, its length is given by a symbol, or it is long.

    A long sum of terms in a coordinate each stays where coordinates stand ``beside`` it, in which
    no loop over all coordinates would be found.
    """
    if any(len(limit) != 3 for limit in expr.limits):
        fix = "Write sp.Sum(f, (n, 0, N - 1))."
        raise EnergyError("integrand", str(expr), "sums with a first and a last index", fix)
    _, *outermost = expr.limits[-1]
    if not all(n.is_Integer for n in outermost):
        return True
    data = any(isinstance(p, sp.Indexed) and p.base not in bases for p in parts(expr))
    if data or not all(n.is_Integer for _, *ends in expr.limits for n in ends):
        return data  # inner limits of the outer indices: terms are written out
    entries = {p for p in parts(expr) if isinstance(p, sp.Indexed) and p.base in bases}
    if len({entry.base for entry in entries}) > 1:
        return False  # of a sample and its partner: kernels of pairs find the loop
    lengths = [int(last) - int(first) + 1 for _, first, last in expr.limits]
    if (len(entries) > 1 or beside) and math.prod(lengths) > _WRITTEN_OUT:
        return isinstance(expr, sp.Sum)
    return False


class _Scopes:
    """Checks that every index is bound once, by a sum around it.

    With ``open`` the sum may be around the integral.
    """

    def __init__(self, bases: Mapping[sp.IndexedBase, Coordinates], open: bool = False):
        self._bases, self._open = bases, open

    def check(self, expr: sp.Basic, bound: dict[sp.Symbol, sp.Tuple]) -> None:
        """Check the sums of an integrand, and what stands in them."""
        if is_kept(expr):
            self._check_sum(expr, bound)
        elif isinstance(expr, sp.Indexed):
            self._check_entry(expr, bound)
        elif bound and isinstance(expr, AppliedUndef) and not self._sees_no_index(expr, bound):
            _refuse(expr, "functions that the package knows, of the coordinates")
        else:
            for arg in expr.args:
                if isinstance(arg, sp.Basic) and arg.has(*_OVER_INDEX, sp.Indexed):
                    self.check(arg, bound)

    @staticmethod
    def _sees_no_index(expr: sp.Basic, bound: dict[sp.Symbol, sp.Tuple]) -> bool:
        return not expr.free_symbols & set(bound)

    def _check_sum(self, expr: sp.Sum | sp.Product, bound: dict[sp.Symbol, sp.Tuple]) -> None:
        inner = dict(bound)
        for limit in reversed(expr.limits):
            if len(limit) != 3:
                fix = "Write sp.Sum(f, (n, 0, N - 1))."
                _refuse(expr, "sums with a first and a last index", fix)
            index, first, last = limit
            if index in inner:
                given = f"the index {index}, bound by a sum and by one around it, in {expr}"
                fix = "Give the inner sum another index."
                raise EnergyError("integrand", given, "indices of different names", fix)
            if (first.free_symbols | last.free_symbols) & set(inner):
                accepted = "limits that are numbers, or the lengths of arrays"
                _refuse(expr, accepted, "Multiply what is left out by 0, with an array of 0 and 1.")
            if index.is_positive and first.is_nonpositive:
                given = f"the index {index} from {first} on, declared as positive"
                fix = f'Write sp.Symbol("{index}", integer=True).'
                raise EnergyError("integrand", given, "indices of any sign", fix)
            inner[index] = limit
        self.check(expr.function, inner)

    def _check_entry(self, expr: sp.Indexed, bound: dict[sp.Symbol, sp.Tuple]) -> None:
        if expr.base in self._bases:
            if len(expr.indices) != 1:
                _refuse(expr, "one index of a coordinate")
            (index,) = expr.indices
            if not index.free_symbols & set(bound):
                accepted = (
                    "indices within 0..d-1 of the integrated copies, bound by a Sum or Product"
                )
                raise EnergyError("integrand", expr, accepted, "Check the limits of the sum.")
            self._check_range(expr, index, bound)
        elif not bound:
            self._refuse_alone(expr)
        for index in expr.indices:
            if index.has(sp.Indexed):
                fix = "Take the rows out before: pass A[order] as an array of its own."
                _refuse(expr, "indices in bound symbols and numbers", fix)
            lengths = {s for length in expr.base.shape or () for s in length.free_symbols}
            free = sorted(index.free_symbols - set(bound) - lengths, key=str)
            if free and not (self._open and all(s.is_integer for s in free)):
                given = f"the index {free[0]} in {expr}, which no sum binds"
                fix = f"Write sp.Sum(..., ({free[0]}, 0, N - 1)) around it."
                raise EnergyError("integrand", given, "indices that a sum binds", fix)

    @staticmethod
    def _refuse_alone(expr: sp.Indexed) -> None:
        """Refuse an entry of an array outside of sums: there is a number for it."""
        free = sorted(set().union(*(i.free_symbols for i in expr.indices)), key=str)
        lengths = {s for length in expr.base.shape or () for s in length.free_symbols}
        if set(free) <= lengths and not any(i.has(sp.Indexed) for i in expr.indices):
            given = f"{expr} outside of a sum over its array"
            fix = "Write a Symbol, and pass the entry as its value."
            raise EnergyError("integrand", given, "entries of arrays in sums", fix)

    def _check_range(
        self, expr: sp.Indexed, index: sp.Expr, bound: dict[sp.Symbol, sp.Tuple]
    ) -> None:
        """Refuse coordinates that there are not, where the limits are numbers."""
        (symbol, *others) = index.free_symbols
        _, first, last = bound[symbol]
        if others or not (first.is_Integer and last.is_Integer):
            return  # checked when the sum is lowered
        dim = len(self._bases[expr.base])
        for place in range(int(first), int(last) + 1):
            if not 0 <= index.xreplace({symbol: sp.Integer(place)}) < dim:
                given = f"{expr} with {symbol} = {place}"
                accepted = f"indices within 0..{dim - 1} of the integrated copies"
                raise EnergyError("integrand", given, accepted, "Check the limits of the sum.")


def _refuse(expr: sp.Basic, accepted: str, fix: str = "") -> NoReturn:
    raise EnergyError("integrand", str(expr), accepted, fix)
