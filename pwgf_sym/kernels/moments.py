"""Separable interactions as moments of the samples: means of functions of one sample.

Of W(x, y) = sum_a p_a(x) q_a(y) the mean over all pairs is sum_a E p_a E q_a, and the velocity at x
is -sum_a (E q_a grad p_a(x) + E p_a grad q_a(x)).  A sample is no partner of its own: with N
samples the means over the others are N/(N - 1) times these, less 1/(N - 1) of the terms with y = x.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sympy as sp

from ..declare.formula_checks import expanded_terms
from ..derive.calculus import Gradient
from ..derive.samples import SampleForm
from ..derive.separable import Separation, Terms, sum_of
from ..sharing import symbols_of
from ..tensors.scalars.offset import offset

__all__ = ["MOST_FEATURES", "MomentForm", "MomentParts", "moment_parts", "vanishing"]

# With more functions of a sample the pairs are summed: each is a line of the kernels, and costs
# every sample about what a partner does.
MOST_FEATURES = 64
# Longer formulas are not multiplied out to see whether they vanish.
_LARGEST = 1000

# (number, p, q), both functions of one sample.
Products = list[tuple[sp.Expr, sp.Expr, sp.Expr]]


@dataclass(frozen=True)
class MomentForm:
    """The separable interactions of an energy.

    Attributes
    ----------
    centers : tuple of Symbol
        A center c near the samples; () where no formula reads it.
    means : tuple of Symbol
        Means of the features.
    shares : tuple of 2 Symbols
        N/(N - 1) and 1/(N - 1) of N samples; both zero of one sample.
    features : tuple of Expr
        Functions of a sample, in its coordinates, the parameters and the center.
    integrals : dict of int to Expr
        Parts of the double integrals, by their number, in parameters, center, means and shares.
    rows : tuple of d Expr
        The velocity at a sample, in these, the integrals and the sample's coordinates.
    separated : tuple of Separated
        The interactions.
    """

    centers: tuple[sp.Symbol, ...]
    means: tuple[sp.Symbol, ...]
    shares: tuple[sp.Symbol, ...]
    features: tuple[sp.Expr, ...]
    integrals: dict[int, sp.Expr]
    rows: tuple[sp.Expr, ...]
    separated: tuple[Separated, ...] = ()

    @property
    def symbols(self) -> tuple[sp.Symbol, ...]:
        """What formulas read beside parameters and integrals, as kernels take it."""
        return (*self.centers, *self.means, *self.shares)


@dataclass(frozen=True)
class Separated:
    """The separable part of a double integral.

    Attributes
    ----------
    weight : Expr
        Of the integral in the velocity.
    formula : Expr
        The part as it was written.
    products : list of (Expr, Expr, Expr)
        Numbers, p and q.
    """

    weight: sp.Expr
    formula: sp.Expr
    products: Products


@dataclass
class MomentParts:
    """Separable parts of an energy's double integrals, and what is left of these.

    Attributes
    ----------
    form : MomentForm or None
    rest : dict of int to Expr
        Of every double integral with a separable part, by its number.
    """

    form: MomentForm | None = None
    rest: dict[int, sp.Expr] = field(default_factory=dict)


def moment_parts(form: SampleForm, densities: Sequence[sp.Expr]) -> MomentParts:
    """Find the separable parts of an energy's double integrals.

    Parameters
    ----------
    form : SampleForm
    densities : sequence of Expr
        Of the double integrals, as they may be written best: |x - y|^2 as the sum of squares.
    """
    x, y, names = form.coordinates, form.partners, _Names(form)
    centers, shares = names.several("center", len(x)), names.several("share", 2)
    mirror = dict(zip(y, x, strict=True))
    away = [[offset(s, c) for s, c in zip(copy, centers, strict=True)] for copy in (x, y)]
    separation = Separation(x, y, centers, *away)
    found: dict[int, Separated] = {}
    rest: dict[int, sp.Expr] = {}
    for number, (density, (weight, _)) in enumerate(zip(densities, form.pair_terms, strict=True)):
        if symbols_of(density) - {*x, *y, *form.parameters}:  # what else a sample carries
            continue
        terms, taken, left = separation.split(density)
        coupled = any(p != 1 and q != 1 for p, q in terms)
        if terms and (coupled or left == 0):  # what reads one copy is cheap beside other pairs
            found[number] = Separated(weight, taken, _grouped(terms, mirror))
            rest[number] = left
    features = _Features(x)
    own = {n: vanishing(part.formula.xreplace(mirror)) for n, part in found.items()}
    features.need(f for part in found.values() for _, p, q in part.products for f in (p, q))
    features.need(own.values())
    if not found or not 0 < len(features.found) <= MOST_FEATURES:
        return MomentParts()
    means = names.several("moment", len(features.found))
    features.named(means)
    integrals = {}
    for number, part in found.items():
        means_of = [a * features.mean(p) * features.mean(q) for a, p, q in part.products]
        integrals[number] = shares[0] * sp.Add(*means_of) - shares[1] * features.mean(own[number])
    rows = _rows(found, own, features, shares, x)
    used = symbols_of(*features.found, *integrals.values(), *rows)
    centers = centers if used & set(centers) else ()
    parts = tuple(found.values())
    made = MomentForm(centers, means, shares, features.found, integrals, rows, parts)
    return MomentParts(made, rest)


def _rows(
    found: Mapping[int, Separated],
    own: Mapping[int, sp.Expr],
    features: _Features,
    shares: tuple[sp.Symbol, ...],
    x: tuple[sp.Symbol, ...],
) -> tuple[sp.Expr, ...]:
    """The velocity: minus the gradient of what the means of p and q leave, and of W(x, x)."""
    gradient = Gradient(x)
    rows: list[list[sp.Expr]] = [[] for _ in x]
    for number, part in found.items():
        every = features.collected(part.products)
        slopes = zip(gradient(every), gradient(own[number]), strict=True)
        for row, (slope, self_slope) in zip(rows, slopes, strict=True):
            row.append(part.weight * (shares[1] * self_slope - shares[0] * slope))
    return tuple(sp.Add(*row) for row in rows)


def vanishing(formula: sp.Expr) -> sp.Expr:
    """Zero where a formula is seen to be, else the formula."""
    small = max(sp.count_ops(formula), expanded_terms(formula)) <= _LARGEST
    return sp.S.Zero if small and sp.expand(formula) == 0 else formula


def _grouped(terms: Terms, mirror: Mapping[sp.Symbol, sp.Symbol]) -> Products:
    """Terms of one copy alone as one product each; of the others those with equal q, then p."""
    by_second: dict[sp.Expr, dict[sp.Expr, sp.Expr]] = {}
    of_second: dict[sp.Expr, sp.Expr] = {}
    for (p, q), number in terms.items():
        if p == 1 and q != 1:
            of_second[q] = number
        else:
            by_second.setdefault(q, {})[p] = number
    by_first: dict[sp.Expr, list[tuple[sp.Expr, sp.Expr]]] = {}
    for q, sums in by_second.items():
        number, p = sum_of(sums)
        by_first.setdefault(p, []).append((q, number))
    found = [(p, *sum_of(dict(sums))) for p, sums in by_first.items()]
    found += [(sp.S.One, *sum_of(of_second))] if of_second else []
    return [(number, p, q.xreplace(mirror)) for p, number, q in found]


class _Features:
    """Functions of a sample of which means are taken: no sum of others is one of them."""

    def __init__(self, x: tuple[sp.Symbol, ...]):
        self._x = x
        self._symbols: dict[sp.Expr, sp.Symbol] = {}
        self._sums: dict[sp.Expr, dict[sp.Expr, sp.Expr]] = {}
        self._written: dict[sp.Expr, dict[sp.Expr, sp.Expr]] = {}

    @property
    def found(self) -> tuple[sp.Expr, ...]:
        """The functions."""
        return tuple(self._symbols)

    def need(self, functions: Iterable[sp.Expr]) -> None:
        """Take the means of functions, of the shorter ones first."""
        given = {function: self._terms(function) for function in functions}
        for function, terms in sorted(given.items(), key=lambda item: len(item[1])):
            known, left = self._apart(terms)
            if len(left) == 1:
                self._symbols |= dict.fromkeys(left, sp.S.NaN)
            elif left:
                whole = sp.Add(*(number * part for part, number in left.items()))
                self._symbols[whole], self._sums[whole] = sp.S.NaN, left
                left = {whole: sp.S.One}
            self._written[function] = known | left

    def named(self, means: Iterable[sp.Symbol]) -> None:
        """Give the means their symbols."""
        self._symbols = dict(zip(self._symbols, means, strict=True))

    def mean(self, function: sp.Expr) -> sp.Expr:
        """The mean of a function that was needed, in the symbols."""
        known = self._written[function].items()
        return sp.Add(*(number * self._symbols.get(part, part) for part, number in known))

    def collected(self, products: Products) -> sp.Expr:
        """sum_a E q_a p_a(x) + E p_a q_a(x): what no sample changes is before each function."""
        found: dict[sp.Expr, list[sp.Expr]] = {}
        for a, p, q in products:
            for own, other in ((p, q), (q, p)):
                mean = a * self.mean(other)
                for part, number in self._terms(own).items():
                    found.setdefault(part, []).append(number * mean)
        # |x|^2 times a linear function is one product: its derivatives share the function.
        factors: dict[sp.Expr, list[sp.Expr]] = {}
        for part, numbers in found.items():
            sums = [f for f in sp.Mul.make_args(part) if f.as_base_exp()[0].is_Add]
            factor = sp.Mul(*sums)
            factors.setdefault(factor, []).append(sp.Add(*numbers) * part / factor)
        return sp.Add(*(factor * sp.Add(*parts) for factor, parts in factors.items()))

    def _terms(self, function: sp.Expr) -> dict[sp.Expr, sp.Expr]:
        """A sum as functions and what they are multiplied by, which no sample changes."""
        found: dict[sp.Expr, sp.Expr] = {}
        for term in sp.Add.make_args(function):
            number, part = term.as_independent(*self._x, as_Add=False)
            found[part] = found.get(part, sp.S.Zero) + number
        return {part: number for part, number in found.items() if number != 0}

    def _apart(
        self, terms: Mapping[sp.Expr, sp.Expr]
    ) -> tuple[dict[sp.Expr, sp.Expr], dict[sp.Expr, sp.Expr]]:
        """Numbers of the functions that are known, and of all that is left."""
        left, known = dict(terms), {}
        for whole, own in sorted(self._sums.items(), key=lambda item: -len(item[1])):
            first = next(iter(own))
            ratio = left.get(first, sp.S.Zero) / own[first]
            # By differences: a decimal number 1.0 is no integer 1 to ``==``.
            if ratio != 0 and all(left.get(p, 0) - ratio * n == 0 for p, n in own.items()):
                known[whole] = ratio
                left = {part: number for part, number in left.items() if part not in own}
        singles = {p: n for p, n in left.items() if p == 1 or p in self._symbols}
        return known | singles, {p: n for p, n in left.items() if p not in singles}


class _Names:
    """Symbols that stand for nothing else."""

    def __init__(self, form: SampleForm):
        taken = (*form.coordinates, *form.partners, *form.thirds, *form.parameters)
        self._taken = {
            s.name for s in (*taken, *form.beside_x, *(i.symbol for i in form.integrals))
        }

    def several(self, stem: str, count: int) -> tuple[sp.Symbol, ...]:
        """Symbols with a stem and a number."""
        while any(f"{stem}{i}" in self._taken for i in range(count)):
            stem += "_"
        self._taken |= {f"{stem}{i}" for i in range(count)}
        return tuple(sp.Symbol(f"{stem}{i}", real=True) for i in range(count))
