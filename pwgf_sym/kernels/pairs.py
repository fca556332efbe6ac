"""Interactions of pairs: which depend on the distance only, and which of these are polynomials.

W(x, y) = f(|x - y|^2) has the gradient 2 f'(q) (x - y), q = |x - y|^2: one scalar a pair instead
of d formulas.  Where f is a polynomial a q^2 + b q + c the mean over all partners needs no pairs at
all, but moments of the samples: it costs O(N d^2) instead of O(N^2 d).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from ..declare.formula_checks import expanded_terms
from ..derive.calculus import Gradient, derivative, negated
from ..derive.copies import symmetrized
from ..derive.samples import SampleForm
from ..sharing import symbols_of
from .moments import MOST_FEATURES, MomentForm, MomentParts, moment_parts
from .rolling import UNROLLED

__all__ = ["DistanceForm", "PairParts", "pair_parts"]

# Sums with more operations than this are not multiplied out, nor powers of |x - y|^2 above this.
_LARGEST, _HIGHEST = 1000, 3

# The coordinates of a sample, and (a, b, c) of a q^2 + b q + c.
Point = tuple[sp.Symbol, ...]
Coefficients = tuple[sp.Expr, sp.Expr, sp.Expr]


@dataclass(frozen=True)
class DistanceForm:
    """The polynomial parts of an energy's interactions, as coefficients.

    Attributes
    ----------
    integrals : dict of int to (Expr, Expr, Expr)
        Coefficients (a, b, c) of a q^2 + b q + c, in the parameters, by the number of the double
        integral.
    slopes : (Expr, Expr)
        k1, k0 of the velocity's part: the mean over partners of (k1 q + k0) (x - y).
    """

    integrals: dict[int, Coefficients]
    slopes: tuple[sp.Expr, sp.Expr]


@dataclass
class PairParts:
    """The double integrals of an energy, taken apart.

    Attributes
    ----------
    distance : Symbol
        q = |x - y|^2.
    means : list of Expr
        Of every double integral what is left for pairs, in q, or in x and y.
    radial : Expr
        c(q) of the velocity's part c(q) (x - y).
    rows : tuple of Expr
        What is left of the velocity, in x and y.
    moments : MomentForm or None
        What is computed from moments of the samples.
    polynomials : DistanceForm or None
        The same, of polynomials of q in many coordinates.
    """

    distance: sp.Symbol
    means: list[sp.Expr] = field(default_factory=list)
    radial: sp.Expr = sp.S.Zero
    rows: tuple[sp.Expr, ...] = ()
    moments: MomentForm | None = None
    polynomials: DistanceForm | None = None


def pair_parts(form: SampleForm, moments: bool = True) -> PairParts:
    """Take the double integrals of an energy apart; ``moments=False`` leaves all to the pairs."""
    distance = _distance_symbol(form)
    doubles = [integral.density for integral in form.integrals if integral.pair]
    found = _moments(form, doubles, distance) if moments else MomentParts()
    parts = PairParts(distance, moments=found.form)
    polynomials, slopes = {}, [sp.S.Zero, sp.S.Zero]
    rest: list[list[sp.Expr]] = [[] for _ in form.coordinates]
    for number, (density, (weight, rows)) in enumerate(zip(doubles, form.pair_terms, strict=True)):
        if number in found.rest:
            density = found.rest[number]
            rows = _velocity(density, form)
        profile = _profile(density, form.coordinates, form.partners, distance)
        if profile is None:
            parts.means.append(density)
            for row, formula in zip(rest, rows, strict=True):
                row.append(weight * formula)
            continue
        split = moments and found.form is None
        coefficients, left = _split(profile, distance) if split else (None, profile)
        if coefficients is not None:
            polynomials[number] = coefficients
            slopes[0] -= 8 * weight * coefficients[0]
            slopes[1] -= 4 * weight * coefficients[1]
        parts.means.append(left)
        # -grad_x (W(x, y) + W(y, x)) = -4 f'(q) (x - y)
        parts.radial += -4 * weight * derivative(left, distance)
    parts.rows = tuple(sp.Add(*row) for row in rest)
    if polynomials:
        parts.polynomials = DistanceForm(polynomials, tuple(slopes))
    return parts


def _moments(form: SampleForm, densities: list[sp.Expr], distance: sp.Symbol) -> MomentParts:
    """What is computed from moments of functions that are written out one by one.

    In more coordinates than formulas have lines polynomials of the distance have kernels in loops.
    """
    x, y = form.coordinates, form.partners
    if len(x) <= UNROLLED:
        return moment_parts(form, [_in_squares(density, form, distance) for density in densities])
    if any(_mixed(density, form) > MOST_FEATURES for density in densities):
        return MomentParts()
    if any(_profile(density, x, y, distance) is not None for density in densities):
        return MomentParts()
    return moment_parts(form, densities)


def _mixed(density: sp.Expr, form: SampleForm) -> int:
    """How many coordinates of x a formula reads."""
    return len(symbols_of(density) & set(form.coordinates))


def _in_squares(formula: sp.Expr, form: SampleForm, distance: sp.Symbol) -> sp.Expr:
    """The formula with |x - y|^2 as the sum of squares, also where that was multiplied out."""
    x, y = form.coordinates, form.partners
    square = sp.Add(*((a - b) ** 2 for a, b in zip(x, y, strict=True)))
    return _in_distance(formula, x, y, distance).xreplace({distance: square})


def _velocity(density: sp.Expr, form: SampleForm) -> tuple[sp.Expr, ...]:
    """-grad_x (W(x, y) + W(y, x))."""
    both = symmetrized(density, form.coordinates, form.partners)
    return tuple(map(negated, Gradient(form.coordinates)(both)))


def _distance_symbol(form: SampleForm) -> sp.Symbol:
    taken = (*form.coordinates, *form.partners, *form.thirds, *form.parameters, *form.beside_x)
    name, used = "q", {s.name for s in taken}
    while name in used:
        name += "_"
    return sp.Symbol(name, positive=True)


def _profile(formula: sp.Expr, x: Point, y: Point, distance: sp.Symbol) -> sp.Expr | None:
    """f with formula = f(|x - y|^2), or None where that is not proved."""
    profile = _in_distance(formula, x, y, distance)
    proved = not profile.free_symbols & {*x, *y}
    return profile if proved and profile.has(distance) else None


def _in_distance(node: sp.Expr, x: Point, y: Point, q: sp.Symbol) -> sp.Expr:
    """The formula with what depends on |x - y|^2 written in q, from the leaves up.

    Exact: values at some points could not tell functions that are tiny there from zero.
    """
    if not node.free_symbols & {*x, *y} or node.is_Symbol:
        return node
    node = node.func(*(_in_distance(arg, x, y, q) for arg in node.args))
    if not (node.is_Add or node.is_Mul or node.is_Pow):
        return node
    done, rest = node.as_independent(*x, *y) if node.is_Add else (sp.S.Zero, node)
    found = _polynomial_in_distance(rest, x, y, q)
    return node if found is None else done + found


def _polynomial_in_distance(node: sp.Expr, x: Point, y: Point, q: sp.Symbol) -> sp.Expr | None:
    """A polynomial of x and y as one of |x - y|^2, if it is one; q may be in its coefficients."""
    if expanded_terms(node) > _LARGEST:  # the cheapest of the three
        return None
    if not node.is_polynomial(*x, *y) or sp.count_ops(node) > _LARGEST:
        return None
    mark = sp.Dummy(positive=True)
    along = {x[0]: sp.sqrt(mark), **dict.fromkeys((*x[1:], *y), sp.S.Zero)}
    found = sp.expand(node.xreplace(along))
    if not found.is_polynomial(mark) or sp.degree(found, mark) > _HIGHEST:
        return None
    square = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    gap = sp.expand(node - found.xreplace({mark: square}))
    return found.xreplace({mark: q}) if gap == 0 else None


def _split(profile: sp.Expr, distance: sp.Symbol) -> tuple[Coefficients | None, sp.Expr]:
    """Coefficients of q^2, q and 1 in the polynomial terms of a profile, and all other terms."""
    if expanded_terms(profile) > _LARGEST:
        return None, profile
    found, rest = [sp.S.Zero] * 3, []
    for term in sp.Add.make_args(sp.expand(profile)):
        factor, power = term.as_independent(distance, as_Add=False)
        degree = sp.degree(power, distance) if power.is_polynomial(distance) else 3
        if degree <= 2 and power == distance**degree:
            found[2 - degree] += factor
        else:
            rest.append(term)
    if found[0] == 0 and found[1] == 0:  # a constant alone is cheap where pairs are summed anyway
        return None, profile
    return tuple(found), sp.Add(*rest)
