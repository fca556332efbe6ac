"""Dense linear forms: of V = x'Ax/2 in 30 dimensions the gradient is a matrix times x."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import sympy as sp

from ..declare.formula_checks import expanded_terms
from ..tensors.scalars.offset import offset

if TYPE_CHECKING:
    from .energies import FormulaKernel

__all__ = ["LinearForm", "extract_quadratic", "extract_rows"]

# Multiplying out may leave terms so many times larger, for each degree by which they are lower.
MULTIPLIED = 64

# A linear form is worth a matrix when it has more coefficients than this many a row.
DENSE = 4
# Products of more terms are not multiplied out.
_MOST_TERMS = 10**5

# The coordinates or offsets of a term, its number, and its other factors; None where not known.
Own = tuple[sp.Expr, ...]
Monomial = tuple[Own | None, sp.Expr, sp.Expr]
# What stands beside the coordinates of a term: its number, and maybe its row.
Term = TypeVar("Term", tuple[Own, sp.Expr], tuple[Own, int, sp.Expr])


@dataclass(frozen=True)
class LinearForm:
    """symbols[i] = sum_j matrix[i][j] (x[j] - center[j]); an empty ``center`` is zero."""

    name: str
    symbols: tuple[sp.Symbol, ...]
    matrix: tuple[tuple[float, ...], ...]
    center: tuple[float, ...] = ()


def _place(measured: sp.Expr) -> tuple[sp.Symbol, sp.Expr]:
    """(coordinate, center) of a coordinate or an offset."""
    return measured.args if isinstance(measured, offset) else (measured, sp.S.Zero)


def _new_form(
    kernel: FormulaKernel, rows: list[dict[sp.Expr, sp.Expr]], x: tuple[sp.Symbol, ...]
) -> LinearForm:
    number = len(kernel.forms)
    symbols = tuple(sp.Symbol(f"form{number}_{i}", real=True) for i in range(len(rows)))
    by_coordinate = [{_place(m)[0]: n for m, n in row.items()} for row in rows]
    matrix = tuple(tuple(float(row.get(s, 0)) for s in x) for row in by_coordinate)
    centers = dict(_place(m) for row in rows for m in row)
    center = tuple(float(centers.get(s, 0)) for s in x)
    form = LinearForm(
        f"{kernel.name.upper()}_{number}", symbols, matrix, center if any(center) else ()
    )
    kernel.forms.append(form)
    return form


def _groups(terms: list[Term]) -> list[list[Term]]:
    """Terms together where they share a center."""
    groups: list[tuple[dict[sp.Symbol, sp.Expr], list[Term]]] = []
    for term in terms:
        own = dict(map(_place, term[0]))
        fitting = (g for g in groups if all(g[0].get(s, c) == c for s, c in own.items()))
        group = next(fitting, None)
        if group is None:
            group = {}, []
            groups.append(group)
        centers, members = group
        centers.update(own)
        members.append(term)
    return [members for _, members in groups]


def extract_rows(
    kernel: FormulaKernel, rows: tuple[sp.Expr, ...], x: tuple[sp.Symbol, ...]
) -> tuple[sp.Expr, ...]:
    """Rows of a matrix times the coordinates, each with what is left of it."""
    if len(rows) < DENSE:
        return rows
    results: list[list[sp.Expr]] = []
    found: dict[sp.Expr, list[tuple[Own, int, sp.Expr]]] = {}
    for i, row in enumerate(rows):
        terms, rest = _split(row, set(x), 1)
        results.append([rest])
        for factor, numbers in terms.items():
            found.setdefault(factor, []).extend((own, i, n) for own, n in numbers.items())
    dense = False
    for factor, entries in found.items():
        for group in _groups(entries):
            matrix: list[dict[sp.Expr, sp.Expr]] = [{} for _ in rows]
            for (measured,), i, n in group:
                matrix[i][measured] = n
            values: Sequence[sp.Expr]
            if len(group) > DENSE * len(rows):
                dense, values = True, _new_form(kernel, matrix, x).symbols
            else:
                values = [sp.Add(*(n * c for c, n in row.items())) for row in matrix]
            for result, value in zip(results, values, strict=True):
                result.append(factor * value)
    return tuple(sp.Add(*result) for result in results) if dense else rows


def extract_quadratic(kernel: FormulaKernel, density: sp.Expr, x: tuple[sp.Symbol, ...]) -> sp.Expr:
    """u'Hu/2, u = x - c, with H from the numbers in the quadratic terms, as sum_i u_i (Hu)_i/2."""
    if len(x) < DENSE:
        return density
    found, rest = _split(density, set(x), 2)
    result, dense = [rest], False
    for factor, numbers in found.items():
        for group in _groups(list(numbers.items())):
            if 2 * len(group) <= DENSE * len(x):
                result += [n * factor * c * d for (c, d), n in group]
                continue
            measured = {_place(m)[0]: m for own, _ in group for m in own}
            rows: dict[sp.Symbol, dict[sp.Expr, sp.Expr]] = {s: {} for s in x}
            for (c, d), n in group:
                for a, b in ((c, d), (d, c)):
                    row = rows[_place(a)[0]]
                    row[b] = row.get(b, 0) + n
            dense, symbols = True, _new_form(kernel, list(rows.values()), x).symbols
            pairs = zip(x, symbols, strict=True)
            result += [factor * measured[s] * b / 2 for s, b in pairs if s in measured]
    return sp.Add(*result) if dense else density


def _split(
    formula: sp.Expr, coordinates: set[sp.Symbol], degree: int
) -> tuple[dict[sp.Expr, dict[Own, sp.Expr]], sp.Expr]:
    """Terms number*factor*(product of ``degree`` coordinates), and the sum of all others.

    The terms come as factor -> sorted coordinates -> number; a coordinate may be an offset.  A term
    is multiplied out only where that leaves nothing of a higher degree and loses no digits.
    """
    found: dict[sp.Expr, dict[Own, sp.Expr]] = {}
    rest: list[sp.Expr] = []
    terms: list[sp.Expr] = []
    for product in sp.Add.make_args(formula):
        if _loses_digits(_monomials(product, coordinates)):
            rest.append(product)
        else:
            terms += _distributed(product)
    for term in terms:
        parts = _monomials(term, coordinates)
        known = [(own, n, f) for own, n, f in parts if own is not None and len(own) <= degree]
        if len(known) < len(parts) or _loses_digits(parts):
            rest.append(term)
            continue
        for own, number, factor in known:
            if len(own) == degree:
                numbers = found.setdefault(factor, {})
                numbers[own] = numbers.get(own, 0) + number
            else:
                rest.append(number * factor * sp.Mul(*own))
    return found, sp.Add(*rest)


def _distributed(product: sp.Expr) -> list[sp.Expr]:
    """The summands of a product with one sum among its factors; of any other, itself."""
    factors = sp.Mul.make_args(product)
    sums = [f for f in factors if f.is_Add]
    if len(sums) != 1:
        return [product]
    rest = sp.Mul(*(f for f in factors if not f.is_Add))
    return [t for part in sums[0].args for t in _distributed(rest * part)]


def _loses_digits(parts: list[Monomial]) -> bool:
    """Whether terms of lower degree are so large that they cancel against those of the highest."""
    largest: dict[int, float] = {}
    for own, number, _ in parts:
        if own is not None:
            largest[len(own)] = max(largest.get(len(own), 0.0), abs(float(number)))
    top = max(largest, default=0)
    return any(size > largest[top] * MULTIPLIED ** (top - n) for n, size in largest.items())


def _monomials(product: sp.Expr, coordinates: set[sp.Symbol]) -> list[Monomial]:
    """The terms of a product that is multiplied out, functions in it left alone."""
    if expanded_terms(product, _MOST_TERMS) >= _MOST_TERMS:
        return [(None, sp.S.One, product)]  # no quadratic form is as long as this
    marks = {f: sp.Dummy() for f in _outermost_functions(product, set())}
    known = {mark: f for f, mark in marks.items()}
    blocked = coordinates | {mark for f, mark in marks.items() if _symbols(f) & coordinates}
    terms = sp.Add.make_args(sp.expand_mul(product.xreplace(marks)))
    found = [_monomial(term, coordinates, blocked) for term in terms]
    return [(own, number, factor.xreplace(known)) for own, number, factor in found]


@lru_cache(maxsize=100_000)
def _symbols(node: sp.Basic) -> frozenset[sp.Symbol]:
    """The free symbols of a node; SymPy looks for them anew in every part that formulas share."""
    found: frozenset[sp.Symbol] = frozenset([node]) if node.is_Symbol else frozenset()
    return found.union(*map(_symbols, node.args))


def _outermost_functions(node: sp.Basic, seen: set[sp.Basic]) -> set[sp.Basic]:
    if isinstance(node, sp.Function) and not isinstance(node, offset):
        return {node}
    if node in seen:
        return set()
    seen.add(node)
    return {f for arg in node.args for f in _outermost_functions(arg, seen)}


def _monomial(term: sp.Expr, coordinates: set[sp.Symbol], blocked: set[sp.Symbol]) -> Monomial:
    """(coordinates in order, number, factor without coordinates), or None in the first place."""
    number, product = term.as_coeff_Mul()
    own, others = [], []
    for part in sp.Mul.make_args(product):
        base, exponent = part.as_base_exp()
        coordinate, center = _place(base)
        simple = coordinate in coordinates and center.is_number
        if simple and exponent.is_Integer and 0 < exponent <= 2:
            own += [base] * int(exponent)
        else:
            others.append(part)
    factor = sp.Mul(*others)
    known = not factor.free_symbols & blocked
    return (tuple(sorted(own, key=str)) if known else None), number, factor
