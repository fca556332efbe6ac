"""The largest lambda with Hess V >= lambda I everywhere, by rules on the summands of V.

Each summand gives a constant matrix M with Hess >= M, and the least eigenvalue of their sum is a
lower bound:

* what depends on one coordinate: the least value of its second derivative (Sturm's theorem for
  polynomials, else interval arithmetic), with all summands of this coordinate together;
* quadratic forms: themselves;
* f(a.x + b): the least value of f'' times a a^T;
* f(q) with q = x^T A x/2 + ... >= q0 and A >= 0: Hess f(q) = f' A + f'' grad q grad q^T, and
  0 <= grad q grad q^T <= 2 (q - q0) A, so that min(f', f' + 2 (q - q0) f'') A is below it.  The
  least value of the second is that of both, unless f has a tip at q0 as -sqrt(q) has;
* c |a.x + b| and c max(...) of affine functions are convex;
* -log sum exp of affine functions with slopes a_k: minus the covariance of the slopes, which
  is at most D^2/4 with their diameter D (Popoviciu); log sum exp itself is convex.

Where a summand fits no rule the least eigenvalue is searched numerically: "conditional".  Slopes
that may jump, as of acos(cos(x)), have none (:mod:`.smoothness`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import sympy as sp

from ..sharing import holds, symbols_of
from .compositions import as_composition, degree_of, hessian_of, is_of_degree, slope_at_origin
from .intervals import bounds
from .least_values import lower_bound
from .smoothness import has_tip, may_have_kink
from .structure import in_fractions

__all__ = ["additive", "curvature", "separated"]


@lru_cache(maxsize=16)
def curvature(potential: sp.Expr, coordinates: tuple[sp.Symbol, ...]) -> tuple[float, str, str]:
    """The least eigenvalue of the Hessian of V over R^d, from below.

    Parameters
    ----------
    potential : Expr
        V, in the coordinates and numbers.
    coordinates : tuple of d Symbols

    Returns
    -------
    value : float
        NaN where there is none.
    status : {"proven", "conditional", "none"}
    reason : str
    """
    potential = in_fractions(potential)
    sorted_ = _Summands(potential, coordinates)
    if not sorted_.left:
        matrix = sorted_.matrix
        value = float(np.linalg.eigvalsh(matrix)[0]) if len(matrix) else 0.0
        # Round-off of the eigenvalue; an exact diagonal has none.
        if np.any(matrix - np.diag(np.diag(matrix))):
            value -= 16 * len(matrix) * np.finfo(float).eps * np.abs(matrix).max()
        return float(value), "proven", sorted_.reason
    return _search(potential, coordinates, sorted_.left[0])


class _Summands:
    """The summands of a potential, sorted by rules.

    Attributes
    ----------
    matrix : (d, d) array
        The Hessian is at least this, for all summands but those ``left``.
    left : list of Expr
        Summands that fit no rule.
    reason : str
        The rules that were used.
    """

    def __init__(self, potential: sp.Expr, x: tuple[sp.Symbol, ...]) -> None:
        self.x, self.places = x, {s: i for i, s in enumerate(x)}
        self.matrix = np.zeros((len(x), len(x)))
        self.left: list[sp.Expr] = []
        self.rules: dict[str, None] = {}
        self.single: dict[int, list[sp.Expr]] = {}
        for summand in additive(potential):
            self.sort(summand)
        for place, summands in self.single.items():
            self.add_single(place, summands)

    @property
    def reason(self) -> str:
        return ", ".join(self.rules) or "V is zero or linear"

    def sort(self, summand: sp.Expr) -> None:
        """Put a summand where its rule is."""
        here = symbols_of(summand) & set(self.x)
        if not here:
            return
        degree = degree_of(summand, self.x)
        if degree is not None and degree <= 1:
            return
        if holds(summand, (sp.Piecewise,)):
            self.left.append(summand)
            return
        if _is_convex_kink(summand, self.x):
            self.rules["largest of affine functions"] = None
            return
        if len(here) == 1:
            self.single.setdefault(self.places[here.pop()], []).append(summand)
        elif degree == 2:
            self.matrix += hessian_of(summand, self.x)
            self.rules["eigenvalues of quadratic forms"] = None
        elif not any(rule(summand) for rule in (self.mixture, self.composed, self.expanded)):
            self.left.append(summand)

    def add_single(self, place: int, summands: list[sp.Expr]) -> None:
        """All summands of one coordinate: the least second derivative of their sum."""
        symbol, total = self.x[place], sp.Add(*summands)
        value = lower_bound(total.diff(symbol, 2), symbol)
        if np.isfinite(value) and may_have_kink(total, [symbol]) is None:
            self.matrix[place, place] += value
            exact = total.is_polynomial(symbol)
            how = "critical points" if exact else "interval arithmetic"
            self.rules[f"second derivatives of one coordinate by {how}"] = None
            return
        for summand in summands:
            if not (self.composed(summand) or self.mixture(summand)):
                self.left.append(summand)

    def composed(self, summand: sp.Expr) -> bool:
        """f(a.x + b) or f(q)."""
        form = as_composition(summand, self.x)
        if form is None:
            return False
        matrix, u, outer, least, affine = form
        first, second = outer.diff(u), outer.diff(u, 2)
        least_of = second if affine else first + 2 * (u - least) * second
        value = lower_bound(least_of, u, least)
        if not np.isfinite(value) or may_have_kink(outer, [u], least) is not None:
            return False
        if least is not None and has_tip(first, u, least, value):
            return False
        self.matrix += value * matrix
        kind = "functions of one direction" if affine else "functions of a squared distance"
        self.rules[kind] = None
        return True

    def mixture(self, summand: sp.Expr) -> bool:
        """c log sum_k w_k exp(q_k) with one quadratic part in all q_k."""
        factor, rest = summand.as_independent(*self.x, as_Add=False)
        if not isinstance(rest, sp.log):
            return False
        forms = []
        for part in sp.Add.make_args(rest.args[0]):
            form = _exponent(part, self.x)
            if form is None:
                return False
            forms.append(form)
        flat = all(is_of_degree(form, self.x, 1) for form in forms)
        common = np.zeros_like(self.matrix) if flat else hessian_of(forms[0], self.x)
        if not flat and any(np.any(hessian_of(form, self.x) != common) for form in forms[1:]):
            return False
        self.matrix += float(factor) * common
        if factor < 0:
            slopes = np.array([slope_at_origin(form, self.x) for form in forms])
            self.matrix += float(factor) * _largest_covariance(slopes)
        self.rules["log-sum-exp of affine functions"] = None
        return True

    def expanded(self, summand: sp.Expr) -> bool:
        """A polynomial multiplied out, where that gives summands with a rule."""
        if degree_of(summand, self.x) is None:
            return False
        parts = sp.Add.make_args(sp.expand(summand))
        mixed = [p for p in parts if len(symbols_of(p) & set(self.x)) > 1]
        if len(parts) == 1 or not all(is_of_degree(p, self.x, 2) for p in mixed):
            return False
        for part in parts:
            self.sort(part)
        return True


def additive(expr: sp.Expr, factor: sp.Expr = sp.S.One) -> Iterator[sp.Expr]:
    """Summands, with numbers multiplied into sums."""
    if expr.is_Add:
        for arg in expr.args:
            yield from additive(arg, factor)
        return
    number, rest = expr.as_coeff_Mul()
    numbers = [a for a in sp.Mul.make_args(rest) if not a.free_symbols]
    others = [a for a in sp.Mul.make_args(rest) if a.free_symbols]
    if len(others) == 1 and others[0].is_Add:
        yield from additive(others[0], factor * number * sp.Mul(*numbers))
    else:
        yield factor * expr


def _is_convex_kink(summand: sp.Expr, x: Sequence[sp.Symbol]) -> bool:
    """Whether it is c |a.x + b|, or c max(...) of affine functions, with c > 0."""
    factor, rest = summand.as_independent(*x, as_Add=False)
    if not (factor.is_positive and isinstance(rest, (sp.Abs, sp.Max))):
        return False
    return all(is_of_degree(arg, x, 1) for arg in rest.args)


def _exponent(part: sp.Expr, x: Sequence[sp.Symbol]) -> sp.Expr | None:
    """q of a summand w exp(q), w > 0 and q a quadratic function."""
    factor, rest = part.as_independent(*x, as_Add=False)
    if not factor.is_positive:
        return None
    if rest == 1:
        return sp.S.Zero
    if not isinstance(rest, sp.exp):
        return None
    return rest.exp if is_of_degree(rest.exp, x, 2) else None


def _largest_covariance(slopes: np.ndarray) -> np.ndarray:
    """A matrix above the covariance of any weights on the slopes: D^2/4 on their span."""
    offsets = slopes[1:] - slopes[0]
    if len(slopes) == 2:
        return np.outer(offsets[0], offsets[0]) / 4
    gaps = slopes[:, None] - slopes[None]
    diameter = (gaps**2).sum(axis=-1).max()
    _, sizes, rows = np.linalg.svd(offsets, full_matrices=False)
    rows = rows[sizes > 1e-12 * max(sizes.max(initial=0.0), 1e-300)]
    return diameter / 4 * rows.T @ rows


def separated(potential: sp.Expr, x: Sequence[sp.Symbol]) -> list[sp.Poly] | None:
    """The polynomials v_i of V = sum_i v_i(x_i); None where V is no such sum."""
    potential = in_fractions(potential)
    if degree_of(potential, x) is None:
        return None
    parts: list[list[sp.Expr]] = [[] for _ in x]
    for summand in sp.Add.make_args(sp.expand(potential)):
        here = [i for i, s in enumerate(x) if s in summand.free_symbols]
        if len(here) > 1:
            return None
        if here:
            parts[here[0]].append(summand)
    polys = [sp.Add(*part).as_poly(s, domain="QQ") for part, s in zip(parts, x, strict=True)]
    return None if any(poly is None for poly in polys) else polys


# A numerical search.


def _search(potential: sp.Expr, x: Sequence[sp.Symbol], left: sp.Expr) -> tuple[float, str, str]:
    """The least eigenvalue found at many points near and far; no proof."""
    kink = may_have_kink(left, x)
    if kink is not None:
        return np.nan, "none", f"the slope of {kink} may jump"
    rng = np.random.default_rng(1997)
    second = [[sp.S.Zero] * len(x) for _ in x]
    for i, a in enumerate(x):
        slope = potential.diff(a)
        for j in range(i + 1):
            second[i][j] = second[j][i] = slope.diff(x[j])

    def least(points: np.ndarray) -> np.ndarray:
        box = {s: (points[:, i], points[:, i]) for i, s in enumerate(x)}
        hessian = np.empty((len(points), len(x), len(x)))
        for i in range(len(x)):
            for j in range(i + 1):
                low, high = bounds(second[i][j], box)
                known = np.isfinite(low) & np.isfinite(high)
                hessian[:, i, j] = np.where(known, low, np.nan)
                hessian[:, j, i] = hessian[:, i, j]
        fine = np.isfinite(hessian).all(axis=(1, 2))
        values = np.full(len(points), np.nan)
        values[fine] = np.linalg.eigvalsh(hessian[fine])[:, 0]
        return values

    text = f"no rule for {sp.Add(left)}" if sp.count_ops(left) < 40 else "no rule for a summand"
    near = min(_refined(least, rng, len(x), size) for size in (0.3, 1.0, 3.0, 10.0))
    far = min(_refined(least, rng, len(x), size) for size in (100.0, 1000.0))
    if not (np.isfinite(near) and np.isfinite(far)):
        return np.nan, "none", f"{text}, and its second derivatives have no values everywhere"
    if far < near - 0.5 * (1 + abs(near)):
        given = f"{far:.3g} far away, {near:.3g} near"
        return np.nan, "none", f"{text}, and the Hessian seems not bounded below ({given})"
    value = min(near, far)
    return value - 1e-3 * (1 + abs(value)), "conditional", f"{text}: a search over points"


def _refined(
    least: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator, dim: int, size: float
) -> float:
    """The least value near points of a size, with the best of them moved."""
    points = size * rng.standard_normal((2048, dim))
    values = least(points)
    if np.isnan(values).any():
        return np.nan
    best = np.argsort(values)[:16]
    points, values, step = points[best], values[best], size / 2
    for _ in range(40):
        tries = points[:, None] + step * rng.standard_normal((len(points), 12, dim))
        found = least(tries.reshape(-1, dim)).reshape(len(points), -1)
        found = np.where(np.isnan(found), np.inf, found)
        chosen = found.argmin(axis=1)
        rows = np.arange(len(points))
        better = found[rows, chosen] < values
        points = np.where(better[:, None], tries[rows, chosen], points)
        values = np.where(better, found[rows, chosen], values)
        step *= 0.8
    return float(values.min())
