"""Interactions W(x, y) as sums of products of a function of x and one of y.

The mean over all pairs of sum_a p_a(x) q_a(y) is sum_a E p_a E q_a: it costs O(N).  Such sums are
found by multiplying out what reads both copies: polynomials of their coordinates, sines and cosines
of sums (angle addition), exponentials of sums, and products of these; a function of one copy alone
stays as it is.

Polynomials of both copies are written in u = x - c and v = y - c with a center c near the samples:
|x - y|^2 = |u|^2 - 2 u.v + |v|^2 keeps its digits however far the samples are from the origin, as
c vanishes from what depends on differences alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import sympy as sp

from ..sharing import symbols_of

__all__ = ["Separation", "Terms", "sum_of"]

# Products of sums with more terms are not multiplied out, nor are powers above this.
_MOST_TERMS, _HIGHEST = 4096, 12

#: By (p, q) the number of p(x) q(y) in a sum.
Terms = dict[tuple[sp.Expr, sp.Expr], sp.Expr]

_ONE = (sp.S.One, sp.S.One)
# Coordinates of x alone, of y alone, of both.
_X, _Y, _BOTH = 1, 2, 3


class Separation:
    """Finds the terms p(x) q(y) of formulas.

    Parameters
    ----------
    x, y : sequence of d Symbol
        Coordinates of the two copies.
    centers : sequence of d Symbol
        The center c.
    x_away, y_away : sequence of d Symbol
        x - c and y - c.
    """

    def __init__(
        self,
        x: Sequence[sp.Symbol],
        y: Sequence[sp.Symbol],
        centers: Sequence[sp.Symbol],
        x_away: Sequence[sp.Symbol],
        y_away: Sequence[sp.Symbol],
    ):
        self._side = dict.fromkeys(x, _X) | dict.fromkeys(y, _Y)
        self._measured: dict[sp.Expr, Terms] = {}
        for a, u, c in zip(x, x_away, centers, strict=True):
            self._measured[a] = {(u, sp.S.One): sp.S.One, _ONE: c}
        for a, u, c in zip(y, y_away, centers, strict=True):
            self._measured[a] = {(sp.S.One, u): sp.S.One, _ONE: c}
        self._centers = set(centers)
        self._sides: dict[sp.Basic, int] = {}

    def split(self, formula: sp.Expr) -> tuple[Terms, sp.Expr, sp.Expr]:
        """Terms of those summands that have them, these summands, and all others."""
        polynomials, others = self._sorted(self._summands(formula))
        found: Terms = {}
        taken, rest = [], []
        groups = [polynomials] if polynomials else []
        for group in (*groups, *([other] for other in others)):
            terms = self._sum(group)
            if terms is None:
                rest += group
            else:
                taken += group
                _add(found, terms)
        return _without_zeros(found), sp.Add(*taken), sp.Add(*rest)

    def _summands(self, node: sp.Expr) -> list[sp.Expr]:
        """The terms of a sum, also where it stands in a product with functions of one copy."""
        if node.is_Add:
            return [term for arg in node.args for term in self._summands(arg)]
        mixed = [arg for arg in node.args if self._side_of(arg) == _BOTH] if node.is_Mul else []
        if len(mixed) != 1 or not mixed[0].is_Add or self._is_polynomial(node):
            return [node]
        factor = sp.Mul(*(arg for arg in node.args if arg is not mixed[0]))
        return [term for arg in mixed[0].args for term in self._summands(factor * arg)]

    def _side_of(self, node: sp.Basic) -> int:
        """Whether a node reads coordinates of x, of y, of both."""
        if node in self._side:
            return self._side[node]
        if node not in self._sides:
            found = 0
            for arg in node.args:
                found |= self._side_of(arg)
            self._sides[node] = found
        return self._sides[node]

    def _is_polynomial(self, node: sp.Basic) -> bool:
        """Whether it is one of the coordinates, as it stands."""
        if not self._side_of(node) or node in self._side:
            return True
        if node.is_Pow:
            whole = node.exp.is_Integer and 0 < node.exp <= _HIGHEST
            return bool(whole and self._is_polynomial(node.base))
        return bool((node.is_Add or node.is_Mul) and all(map(self._is_polynomial, node.args)))

    def _sorted(self, terms: Iterable[sp.Expr]) -> tuple[list[sp.Expr], list[sp.Expr]]:
        """Polynomials of both copies, or of one each, which are measured from the center; others.

        A polynomial of one copy alone, beside none of the other, stays as it is.
        """
        terms = list(terms)
        polynomials = [term for term in terms if self._is_polynomial(term)]
        read = 0
        for term in polynomials:
            read |= self._side_of(term)
        if read != _BOTH:
            return [], terms
        return polynomials, [term for term in terms if term not in set(polynomials)]

    def _of(self, node: sp.Expr, powered: int) -> Terms | None:
        """The terms of a node, or None.

        ``powered`` is the number of factors that read both copies, itself one of them, where there
        are several: terms of sums cancel in powers.
        """
        side = self._side_of(node)
        if side != _BOTH:
            return {_ONE: node} if not side else {self._key(node): sp.S.One}
        if node.is_Add:
            return self._sum(node.args, powered)
        if node.is_Mul:
            return self._product(node.args, powered)
        if isinstance(node, sp.exp) or (node.is_Pow and not self._side_of(node.base)):
            base = sp.exp if isinstance(node, sp.exp) else (lambda e: node.base**e)
            return self._exponential(node.args[-1], base)
        if node.is_Pow:
            if not node.exp.is_Integer or not 1 < node.exp <= _HIGHEST:
                return None
            return self._product([node.base] * int(node.exp), powered)
        if isinstance(node, sp.cos | sp.sin):
            return self._wave(node)
        if isinstance(node, sp.cosh | sp.sinh):
            half, sign = sp.exp(node.args[0]) / 2, 1 if isinstance(node, sp.cosh) else -1
            return self._sum([half, sign * sp.exp(-node.args[0]) / 2], min(powered, 2))
        return None

    def _key(self, node: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        return (node, sp.S.One) if self._side_of(node) == _X else (sp.S.One, node)

    def _sum(self, args: Iterable[sp.Expr], powered: int = 0) -> Terms | None:
        """The terms of a sum."""
        polynomials, others = self._sorted(args)
        found: Terms = {}
        for node in polynomials:
            terms = self._from_center(node)
            if terms is None:
                return None
            _add(found, terms)
        for node in others:
            if powered and self._cancels(node, powered):
                return None
            terms = self._of(node, powered)
            if terms is None:
                return None
            _add(found, terms)
        return _together(_without_zeros(found)) if powered else found

    def _cancels(self, node: sp.Expr, power: int) -> bool:
        """Whether a summand of a power cancels against others in a narrow cloud.

        (sin x - sin y)^2 has no digits left in a cloud that is 1e-8 wide; higher powers lose theirs
        in wider ones.
        """
        side = self._side_of(node)
        return side != 0 and (power > 2 or (side != _BOTH and not self._is_bounded(node)))

    def _is_bounded(self, node: sp.Expr) -> bool:
        """Whether it is a product of sines and cosines, and of what is the same everywhere."""
        return all(
            isinstance(factor.as_base_exp()[0], sp.cos | sp.sin) or not self._side_of(factor)
            for factor in sp.Mul.make_args(node)
        )

    def _from_center(self, node: sp.Expr) -> Terms | None:
        """A polynomial in the coordinates' distances from the center."""
        if node in self._measured:
            return self._measured[node]
        if not self._side_of(node):
            return {_ONE: node}
        if node.is_Add:
            found: Terms = {}
            for arg in node.args:
                terms = self._from_center(arg)
                if terms is None:
                    return None
                _add(found, terms)
            return _together(_without_zeros(found))
        factors = [node.base] * int(node.exp) if node.is_Pow else node.args
        return self._multiplied(map(self._from_center, factors))

    def _product(self, factors: Sequence[sp.Expr], powered: int) -> Terms | None:
        mixed = [factor for factor in factors if self._side_of(factor) == _BOTH]
        single = [factor for factor in factors if self._side_of(factor) != _BOTH]
        powered = max(powered, 1) * len(mixed) if powered or len(mixed) > 1 else 0
        found = [self._of(factor, powered) for factor in (*single, *mixed)]
        return self._multiplied(found)

    @staticmethod
    def _multiplied(factors: Iterable[Terms | None]) -> Terms | None:
        found: Terms = {_ONE: sp.S.One}
        for terms in factors:
            if terms is None or len(found) * len(terms) > _MOST_TERMS:
                return None
            product: Terms = {}
            for (p, q), a in found.items():
                _add(product, {(p * r, q * s): a * b for (r, s), b in terms.items()})
            found = _without_zeros(product)
        return found

    def _apart(self, argument: sp.Expr) -> tuple[sp.Expr, sp.Expr] | None:
        """A(x) and B(y) with argument = A(x) + B(y)."""
        terms = self._of(argument, 0)
        if terms is None or any(p != 1 and q != 1 for p, q in terms):
            return None
        terms = _without_zeros(terms)
        args = sp.Add.make_args(argument)
        # Of x^2 + y^2 the center stays where it is, and powers of it in both parts.
        far = not symbols_of(terms.get(_ONE, sp.S.Zero)).isdisjoint(self._centers)
        if far and all(self._side_of(arg) != _BOTH for arg in args):
            second = [arg for arg in args if self._side_of(arg) == _Y]
            return sp.Add(*(arg for arg in args if arg not in second)), sp.Add(*second)
        first = sp.Add(*(a * p for (p, q), a in terms.items() if q == 1))
        second = sp.Add(*(a * q for (p, q), a in terms.items() if q != 1))
        return first, second

    def _exponential(
        self, argument: sp.Expr, function: Callable[[sp.Expr], sp.Expr]
    ) -> Terms | None:
        """exp(A + B) = exp(A) exp(B)."""
        parts = self._apart(argument)
        return None if parts is None else _with_numbers({tuple(map(function, parts)): sp.S.One})

    def _wave(self, node: sp.Expr) -> Terms | None:
        """Angle addition."""
        parts = self._apart(node.args[0])
        if parts is None:
            return None
        a, b = parts
        if isinstance(node, sp.cos):
            terms = {(sp.cos(a), sp.cos(b)): sp.S.One, (sp.sin(a), sp.sin(b)): sp.S.NegativeOne}
        else:
            terms = {(sp.sin(a), sp.cos(b)): sp.S.One, (sp.cos(a), sp.sin(b)): sp.S.One}
        return _with_numbers(terms)


def _with_numbers(terms: Terms) -> Terms:
    """Numbers before p and q as those of the terms: sin(-x) is -sin(x)."""
    found: Terms = {}
    for (p, q), number in terms.items():
        a, p = p.as_coeff_Mul()
        b, q = q.as_coeff_Mul()
        _add(found, {(p, q): number * a * b})
    return found


def _add(found: Terms, terms: Terms) -> None:
    for key, number in terms.items():
        found[key] = found[key] + number if key in found else number


def _together(terms: Terms) -> Terms:
    """The terms that read x alone as one, and so those of y: |x|^2 stays one function."""
    found = {key: number for key, number in terms.items() if 1 not in key or key == _ONE}
    for side in (0, 1):
        own = {k[side]: n for k, n in terms.items() if k[1 - side] == 1 and k != _ONE}
        if own:
            number, whole = sum_of(own)
            found[(whole, sp.S.One) if side == 0 else (sp.S.One, whole)] = number
    return found


def sum_of(terms: Mapping[sp.Expr, sp.Expr]) -> tuple[sp.Expr, sp.Expr]:
    """A sum of numbers times functions as a number times a sum, the first of which has none."""
    first = next(iter(terms.values()))
    ratios = {f: sp.S.One if number == first else number / first for f, number in terms.items()}
    if all(ratio.is_number for ratio in ratios.values()):
        return first, sp.Add(*(ratio * f for f, ratio in ratios.items()))
    return sp.S.One, sp.Add(*(number * f for f, number in terms.items()))


def _without_zeros(terms: Terms) -> Terms:
    """Without terms whose number is zero, which may be a sum that vanishes when multiplied out."""
    return {
        key: number
        for key, number in terms.items()
        if not (number == 0 or (symbols_of(number) and number.is_Add and sp.expand(number) == 0))
    }
