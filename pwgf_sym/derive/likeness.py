"""What formulas are like but for their numbers.

The likeness of a formula is one whole number; formulas that have it in common differ in numbers and
in the coordinates of their linear parts only.  Formulas are read as SymPy would have written them
had it hidden nothing: every part is

    scale (constant + sum_i a_i x_i + sum_k number_k part_k),

where numbers 1 and 0 stand for what is not there.  So neither 2*x0 and x0, nor x0 - 1 and x0, nor
rows of which some entries are zero are of different kinds, and the order of summands and factors
does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.functions.elementary.miscellaneous import MinMaxBase
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.logic.boolalg import Boolean

__all__ = ["Family", "Likeness", "Numbers", "UNKNOWN"]

#: The place of parts that are compared as they are: densities, integrals, sums over an index.
UNKNOWN = -1

_OPAQUE = (AppliedUndef, sp.Sum, sp.Product, sp.Indexed, sp.Integral, sp.Derivative, sp.Subs)
_EVEN = (sp.Abs, sp.cos, sp.cosh)
_UNORDERED = (MinMaxBase, sp.And, sp.Or)

#: Numbers of a part, by coordinate: the part stands once for each of them.
Family = dict[int, tuple[sp.Expr, ...]]
#: Numbers in the order of a likeness.
Numbers = tuple[sp.Expr | Family, ...]
#: A likeness, and its numbers.
Found = tuple[int, Numbers]
# A part of one coordinate: which, the number in front, the part, and its numbers.
Single = tuple[int, sp.Expr, sp.Expr, Numbers]


@dataclass(frozen=True)
class _Coordinate:
    """A coordinate, whichever it is."""


@dataclass(frozen=True)
class _Exact:
    """A part without numbers in it."""

    part: sp.Basic


@dataclass(frozen=True)
class _Call:
    """A function, a product or a condition of parts."""

    function: type[sp.Basic]
    arguments: tuple[int, ...]


@dataclass(frozen=True)
class _Power:
    """A power with a number as its exponent, which belongs to the likeness."""

    base: int
    exponent: sp.Expr


@dataclass(frozen=True)
class _Sum:
    """scale (constant + linear part + families + others).

    A family is a part of one coordinate that stands for several of them, as (x_i - c_i)**2; where
    zeros cannot stand for missing ones, ``places`` has the coordinates.
    """

    linear: bool
    families: tuple[tuple[int, tuple[int, ...]], ...]
    others: tuple[int, ...]


Kind = _Coordinate | _Exact | _Call | _Power | _Sum


class Likeness:
    """Finds likenesses; remembers them by part.

    Parameters
    ----------
    coordinates : sequence of d Symbols
    """

    def __init__(self, coordinates: Sequence[sp.Symbol]):
        self._place = {symbol: i for i, symbol in enumerate(coordinates)}
        self._kinds: list[Kind] = []
        self._numbers: dict[Kind, int] = {}
        self._lengths: list[int] = []
        self._polynomial: set[int] = set()
        self._known: dict[tuple[sp.Basic, bool], Found] = {}
        self._places: dict[sp.Basic, frozenset[int]] = {}
        self._constant: dict[sp.Basic, bool] = {}

    def of(self, formula: sp.Expr) -> Found:
        """The likeness of a formula and its numbers."""
        return self._part(formula, False)

    def places(self, formula: sp.Basic) -> frozenset[int]:
        """Numbers of the coordinates in a formula, and UNKNOWN."""
        found = self._places.get(formula)
        if found is None:
            if isinstance(formula, _OPAQUE):
                found = frozenset((UNKNOWN,))
            elif formula in self._place:
                found = frozenset((self._place[formula],))
            else:
                found = frozenset().union(*map(self.places, formula.args))
            self._places[formula] = found
        return found

    def is_constant(self, formula: sp.Basic) -> bool:
        """Whether a formula is a number."""
        if formula.is_Number or formula.is_Symbol:
            return bool(formula.is_Number)
        found = self._constant.get(formula)
        if found is None:
            found = isinstance(formula, sp.Expr) and not isinstance(formula, _OPAQUE)
            found = found and all(map(self.is_constant, formula.args))
            self._constant[formula] = found
        return found

    def split(self, term: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        """The number and the rest of a product."""
        if not term.is_Mul:
            return (term, sp.S.One) if self.is_constant(term) else (sp.S.One, term)
        number, rest = term.as_coeff_Mul()
        more = [f for f in sp.Mul.make_args(rest) if self.is_constant(f)]
        if more:
            rest = sp.Mul(*(f for f in sp.Mul.make_args(rest) if not self.is_constant(f)))
        return sp.Mul(number, *more), rest

    # -- likenesses ----------------------------------------------------------------------------

    def _found(self, kind: Kind, numbers: Numbers, polynomial: bool) -> Found:
        """A likeness by its kind; ``polynomial`` says whether it is one in the coordinate."""
        found = self._numbers.setdefault(kind, len(self._kinds))
        if found == len(self._kinds):
            self._kinds.append(kind)
            self._lengths.append(len(numbers))
            if polynomial:
                self._polynomial.add(found)
        return found, numbers

    def _part(self, node: sp.Expr, any_place: bool) -> Found:
        """A part read as a sum; one of one coordinate may be that of ``any_place``."""
        key = node, any_place
        if key not in self._known:
            self._known[key] = _Reading(self, node, any_place).found()
        return self._known[key]

    def _body(self, node: sp.Basic, any_place: bool) -> Found:
        """A part that is no sum, and has no number in front."""
        if node in self._place and any_place:
            return self._found(_Coordinate(), (), True)
        if node.is_Mul:
            return self._call(sp.Mul, node.args, any_place)
        if node.is_Pow and self.is_constant(node.exp):
            base, numbers = self._part(node.base, any_place)
            if node.exp.is_even:
                numbers = self._of_one_sign(base, numbers)
            whole = bool(node.exp.is_Integer and node.exp.is_positive)
            return self._found(_Power(base, node.exp), numbers, whole and base in self._polynomial)
        plain = isinstance(node, _OPAQUE) or not node.args or self.is_constant(node)
        if plain or not isinstance(node, (sp.Function, Boolean, ExprCondPair, sp.Pow)):
            return self._found(_Exact(node), (), not self.places(node))
        return self._call(node.func, node.args, any_place)

    def _call(self, function: type[sp.Basic], args: Sequence[sp.Basic], any_place: bool) -> Found:
        found = [(*self._argument(a, any_place, function), sorted(self.places(a))) for a in args]
        if function in _EVEN:
            ((part, numbers, places),) = found
            found = [(part, self._of_one_sign(part, numbers), places)]
        if function is sp.Mul or issubclass(function, _UNORDERED):
            found.sort(key=lambda one: (one[0], one[2]))
        polynomial = function is sp.Mul and all(one[0] in self._polynomial for one in found)
        kind = _Call(function, tuple(one[0] for one in found))
        return self._found(kind, tuple(e for one in found for e in one[1]), polynomial)

    def _of_one_sign(self, likeness: int, numbers: Numbers) -> Numbers:
        """The numbers of a part, or of its negative, whichever begins with a positive one.

        SymPy turns the sign in Abs(b - a x), but not in (b - a x)**2.
        """
        kind = self._kinds[likeness]
        if not isinstance(kind, _Sum):
            return numbers
        places, place = [1], 2
        places += range(2, 2 + kind.linear + len(kind.families))
        place += kind.linear + len(kind.families)
        for part in kind.others:
            places.append(place)
            place += 1 + self._lengths[part]
        first = next((numbers[k] for k in places[1:]), numbers[1])
        if isinstance(first, dict):
            first = first[min(first)][0]
        if not first.is_negative:
            return numbers
        turned = list(numbers)
        for k in places:
            turned[k] = _negative(turned[k])
        return tuple(turned)

    def _argument(self, node: sp.Basic, any_place: bool, function: type[sp.Basic]) -> Found:
        if not isinstance(node, sp.Expr) or isinstance(node, (Boolean, ExprCondPair)):
            return self._body(node, any_place)
        factor = function is sp.Mul and not node.is_Add and node not in self._place
        if factor or (function is sp.Pow and self.is_constant(node)):
            return self._body(node, any_place)
        return self._part(node, any_place)

    # -- formulas of a likeness ------------------------------------------------------------------

    def formula(self, likeness: int, numbers: Iterator[Any], at: sp.Expr | None = None) -> sp.Basic:
        """The formula of a likeness with other numbers, or formulas, in their places.

        Parameters
        ----------
        likeness : int
        numbers : iterator
            Of a family: a function that takes ``one``, which gives the family's part with other
            numbers and a coordinate, and ``polynomial``, and returns the sum of all parts.
        at : Expr, optional
            The coordinate that the formula is about.
        """
        kind = self._kinds[likeness]
        if isinstance(kind, _Coordinate):
            return at
        if isinstance(kind, _Exact):
            return kind.part
        if isinstance(kind, _Power):
            return self.formula(kind.base, numbers, at) ** kind.exponent
        if isinstance(kind, _Call):
            return kind.function(*[self.formula(a, numbers, at) for a in kind.arguments])
        scale, terms = next(numbers), [next(numbers)]
        if kind.linear:
            terms.append(next(numbers)(lambda own, x: next(own) * x, True))
        for part, _ in kind.families:
            terms.append(next(numbers)(self._one(part), part in self._polynomial))
        for part in kind.others:
            terms.append(next(numbers) * self.formula(part, numbers, at))
        return scale * sp.Add(*terms)

    def _one(self, part: int) -> Callable[[Iterator[Any], sp.Expr], sp.Expr]:
        return lambda own, x: next(own) * self.formula(part, own, x)


def _negative(number: sp.Expr | Family) -> sp.Expr | Family:
    if isinstance(number, dict):
        return {i: (-one, *own) for i, (one, *own) in number.items()}
    return -number


class _Reading:
    """Reads a part as a sum."""

    def __init__(self, likeness: Likeness, node: sp.Expr, any_place: bool):
        self._likeness, self._any_place = likeness, any_place
        self._linear: Family = {}
        self._families: list[tuple[int, tuple[int, ...], Family]] = []
        self._others: list[tuple[int, list[int], sp.Expr, Numbers]] = []
        number, rest = likeness.split(node)
        self._scale, terms = (number, rest.args) if rest.is_Add else (sp.S.One, (node,))
        constants = [term for term in terms if likeness.is_constant(term)]
        self._constant = sp.Add(*constants)
        self._read([likeness.split(t) for t in terms if not likeness.is_constant(t)])

    def _read(self, terms: list[tuple[sp.Expr, sp.Expr]]) -> None:
        alike: dict[int, list[Single]] = {}
        for number, body in terms:
            where = self._likeness.places(body)
            if self._any_place or len(where) != 1 or UNKNOWN in where:
                self._add_other(number, body)
            elif body.is_Symbol:
                (place,) = where  # SymPy keeps x + sqrt(2)*x as two summands
                (before,) = self._linear.get(place, (sp.S.Zero,))
                self._linear[place] = (before + number,)
            else:
                part, own = self._likeness._body(body, True)
                alike.setdefault(part, []).append((min(where), number, body, own))
        for part, found in alike.items():
            self._add_families(part, found)

    def _add_other(self, number: sp.Expr, body: sp.Expr) -> None:
        part, own = self._likeness._body(body, self._any_place)
        self._others.append((part, sorted(self._likeness.places(body)), number, own))

    def _add_families(self, part: int, found: list[Single]) -> None:
        """Parts of one coordinate each as families, the second ones of a coordinate as another."""
        layers: list[dict[int, Single]] = []
        seen: dict[int, int] = {}
        for one in found:
            number = seen.setdefault(one[0], 0)
            seen[one[0]] += 1
            if number == len(layers):
                layers.append({})
            layers[number][one[0]] = one
        for layer in layers:
            if len(layer) == 1:
                ((_, number, body, _),) = layer.values()
                self._add_other(number, body)
                continue
            family = {i: (number, *own) for i, number, _, own in layer.values()}
            places = () if part in self._likeness._polynomial else tuple(sorted(family))
            self._families.append((part, places, family))

    def found(self) -> Found:
        """The likeness and the numbers."""
        self._families.sort(key=lambda one: one[:2])
        self._others.sort(key=lambda one: one[:2])
        kind = _Sum(
            bool(self._linear),
            tuple(one[:2] for one in self._families),
            tuple(one[0] for one in self._others),
        )
        numbers: list[sp.Expr | Family] = [self._scale, self._constant]
        numbers += [self._linear] if self._linear else []
        numbers += [family for *_, family in self._families]
        for _, _, number, own in self._others:
            numbers += [number, *own]
        whole = not self._linear and not self._families
        polynomial = whole and all(part in self._likeness._polynomial for part in kind.others)
        return self._likeness._found(kind, tuple(numbers), polynomial)
