"""Kernels of an energy: formulas evaluated at every sample, or at every pair of samples.

The formulas come from :mod:`pwgf_sym.derive.samples`.  The one pass here recognizes dense linear
forms: of V = x'Ax/2 in 30 dimensions the gradient is a matrix times x, not 900 products in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import sympy as sp

from ..declare.formula_checks import expanded_terms
from ..derive.samples import SampleForm
from ..derive.variation import is_symmetric
from ..sharing import symbols_of
from ..tensors.scalars.offset import offset
from ..tensors.scalars.stable import stable
from .centers import Centers
from .pairs import PairParts
from .rolling import Rolled, roll

__all__ = ["FormulaKernel", "LinearForm", "energy_kernels", "lowered", "read_values"]

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


@dataclass
class FormulaKernel:
    """Formulas in what samples carry.

    Attributes
    ----------
    name, summary : str
        Name and one-line mathematics.
    reads : dict of str to tuple of Symbols
        Per-sample arrays and the symbols of their components.
    partners : tuple of Symbols
        Coordinates of the partner sample; () for a kernel without pairs.
    values : tuple of Symbols
        Run-time parameters, integrals, then what belongs to moments; one array.
    fields : dict of str to tuple of Expr
        Per-sample results.
    means : tuple of Expr
        Results that are averaged over the samples (over pairs, if there are partners).
    forms : list of LinearForm
        Dense linear forms that the formulas use.
    distance : Symbol or None
        |x - y|^2 of a pair, where the formulas use it.
    radial : Expr
        c(|x - y|^2) of a part c (x - y) that is added to the field.
    symmetric : bool
        Whether the means over pairs stay the same when x and y change places.
    rolled : Rolled or None
        The formulas in component i, where those of all components differ in it only.
    partner_weights : tuple of Symbols
        What else is read of the partner, of the array of this name.
    with_itself : bool
        Whether a sample is a partner of its own.
    thirds : tuple of Symbols
        Coordinates of a third sample, of the array of this name, which is the same for a sample and
        its partners: a sum over three is one over pairs of the others for each third.
    """

    name: str
    summary: str
    reads: dict[str, tuple[sp.Symbol, ...]]
    partners: tuple[sp.Symbol, ...]
    values: tuple[sp.Symbol, ...]
    fields: dict[str, tuple[sp.Expr, ...]] = field(default_factory=dict)
    means: tuple[sp.Expr, ...] = ()
    forms: list[LinearForm] = field(default_factory=list)
    distance: sp.Symbol | None = None
    radial: sp.Expr = sp.S.Zero
    symmetric: bool = False
    rolled: Rolled | None = None
    partner_weights: tuple[sp.Symbol, ...] = ()
    with_itself: bool = False
    thirds: tuple[sp.Symbol, ...] = ()

    @property
    def partner_symbols(self) -> tuple[sp.Symbol, ...]:
        """All that is read of the partner."""
        return (*self.partners, *self.partner_weights)

    def share(self, count: int) -> float:
        """The part of a partner in a mean over the partners of a sample, of so many samples."""
        return 1.0 / max(count if self.with_itself else count - 1, 1)

    def formulas(self) -> list[sp.Expr]:
        """All formulas in order."""
        rows = [e for row in self.fields.values() for e in row]
        return rows + list(self.means) + ([self.radial] if self.radial != 0 else [])


def energy_kernels(form: SampleForm, parts: PairParts) -> dict[str, FormulaKernel]:
    """The kernels of an energy by name; those that would compute nothing are left out.

    Parameters
    ----------
    form : SampleForm
        The energy in samples.
    parts : PairParts
        Its double integrals, taken apart.
    """
    moments = parts.moments
    values = read_values(form, parts)
    carried = form.carried
    single = form.densities
    symmetric = all(
        is_symmetric(mean, form.coordinates, form.partners)
        for mean in parts.means
        if parts.distance not in symbols_of(mean)
    )
    velocity, (slopes, by_log) = form.local_velocity, form.local_gradient
    if moments is not None:  # in the kernels of what has no partners
        slopes = tuple(a - b for a, b in zip(slopes, moments.rows, strict=True))
        velocity = velocity and tuple(a + b for a, b in zip(velocity, moments.rows, strict=True))
    pulls = {"pull_out": form.score_gradient} if form.score_gradient else {}
    centers = Centers(single, form.coordinates, form.beside_x)
    candidates = [
        FormulaKernel(
            "integrals",
            "means of the energy densities f(x, rho)/rho",
            carried,
            (),
            values,
            means=single,
        ),
        FormulaKernel(
            "moments",
            "means of functions of a sample, of which interactions are sums of products",
            carried,
            (),
            values,
            means=moments.features if moments else (),
        ),
        FormulaKernel(
            "velocity",
            "w = -grad dE/drho, without pairs",
            carried,
            (),
            values,
            {"velocity_out": velocity},
        ),
        FormulaKernel(
            "slopes",
            "dE/dx and dE/dl of a sample, without pairs" + ", and dE/ds" * bool(pulls),
            carried,
            (),
            values,
            {"field_out": slopes, "scalar_out": (by_log,)} | pulls,
        ),
        FormulaKernel(
            "pair_integrals",
            "means of W(x, y) over pairs",
            carried,
            form.partners,
            values,
            means=tuple(parts.means),
            distance=parts.distance,
            symmetric=symmetric,
        ),
        FormulaKernel(
            "pair_velocity",
            "mean over partners y of -grad_x (W(x, y) + W(y, x))",
            carried,
            form.partners,
            values,
            {"velocity_out": parts.rows},
            distance=parts.distance,
            radial=parts.radial,
        ),
        *_convolution_kernels(form, values),
        *_triple_kernels(form, values),
        *_density_pair_kernels(form, values),
    ]
    return {k.name: lowered(k, centers) for k in candidates if any(e != 0 for e in k.formulas())}


def read_values(form: SampleForm, parts: PairParts) -> tuple[sp.Symbol, ...]:
    """What kernels of an energy read as ``values``."""
    moments = parts.moments.symbols if parts.moments else ()
    return (*form.parameters, *(integral.symbol for integral in form.integrals), *moments)


def _convolution_kernels(form: SampleForm, values: tuple[sp.Symbol, ...]) -> list[FormulaKernel]:
    """Two passes over pairs, and the weights in between that the second one gives to partners.

    A sample is a partner of its own, as in no interaction: a convolution stays positive where its
    kernel is, and the two passes are each other's transpose.
    """
    found = form.convolutions
    forward = tuple(e for one in found for e in (one.kernel, *one.first))
    backward = []
    for i in range(len(form.coordinates)):
        backward.append(sp.Add(*(-one.weight * one.second[i] for one in found)))
    return [
        FormulaKernel(
            "convolutions",
            "means over partners y, the sample too, of K(x, y) and grad_x K(x, y)",
            form.carried,
            form.partners,
            values,
            {"convolutions_out": forward},
            with_itself=True,
        ),
        FormulaKernel(
            "convolution_weights",
            "a = (dE/dc)/rho of a sample",
            form.carried,
            (),
            values,
            {"partner_weights_out": form.partner_weights},
        ),
        FormulaKernel(
            "convolution_velocity",
            "mean over partners y, the sample too, of -a(y) grad_x K(y, x)",
            form.carried,
            form.partners,
            values,
            {"velocity_out": tuple(backward)},
            partner_weights=tuple(one.weight for one in found),
            with_itself=True,
        ),
    ]


def _triple_kernels(form: SampleForm, values: tuple[sp.Symbol, ...]) -> list[FormulaKernel]:
    """Sums over three samples, by kernels of pairs that are given the third."""
    x, y, z = form.coordinates, form.partners, form.thirds
    reads = {"x": x, "thirds": z}
    means = tuple(i.density for i in form.integrals if i.triple)
    rows = tuple(sp.Add(*(w * rows[i] for w, rows in form.triple_terms)) for i in range(len(x)))
    return [
        FormulaKernel(
            "triple_integrals",
            "means of W(x, y, z) over pairs (x, y) of the samples but z",
            reads,
            y,
            values,
            means=means,
            symmetric=all(is_symmetric(mean, x, y) for mean in means),
            thirds=z,
        ),
        FormulaKernel(
            "triple_velocity",
            "mean over partners y but z of -grad_x (W(x, y, z) + W(y, x, z) + W(y, z, x))",
            reads,
            y,
            values,
            {"velocity_out": rows},
            thirds=z,
        ),
    ]


def _density_pair_kernels(form: SampleForm, values: tuple[sp.Symbol, ...]) -> list[FormulaKernel]:
    """Means over pairs of functions of both densities, and what they do to a sample."""
    pairs = form.density_pairs
    if pairs is None:
        return []
    common = form.carried, form.partners, values
    means = tuple(i.density for i in form.integrals if i.dense)
    kernels: list[tuple[str, str, dict[str, tuple[sp.Expr, ...]]]] = [
        ("integrals", "means of e = f/(rho(x) rho(y)) over pairs", {}),
        (
            "velocity",
            "mean over partners y of (-grad_x V - rho V_rho s)/rho(y)",
            {"velocity_out": pairs.velocity},
        ),
        (
            "slopes",
            "mean over partners y of grad_x (e(x, y) + e(y, x))",
            {"field_out": pairs.slopes},
        ),
        ("pulls", "the same of its derivative by l", {"scalar_out": (pairs.by_log,)}),
    ]
    return [
        FormulaKernel(
            f"density_pair_{name}",
            summary,
            *common,
            fields=fields,
            means=() if fields else means,
            partner_weights=(pairs.log_density,),
        )
        for name, summary, fields in kernels
        if all(fields.values())
    ]


def lowered(kernel: FormulaKernel, centers: Centers, linear: bool = True) -> FormulaKernel:
    """Stable forms, coordinates from their centers, dense linear forms, and the arrays read.

    ``linear`` says whether dense linear forms are looked for: it takes long where there are none.
    """
    x = kernel.reads["x"]
    kernel.fields = {name: tuple(map(stable, rows)) for name, rows in kernel.fields.items()}
    kernel.means = tuple(map(stable, kernel.means))
    kernel.radial = stable(kernel.radial)
    if not kernel.partners:
        for name, rows in kernel.fields.items():
            rows = tuple(map(centers.written, rows))
            kernel.fields[name] = _extract_rows(kernel, rows, x) if linear else rows
        kernel.means = tuple(
            _extract_quadratic(kernel, centers.written(e), x) for e in kernel.means
        )
    used = symbols_of(*kernel.formulas())
    kernel.reads = {
        name: symbols
        for name, symbols in kernel.reads.items()
        if used & set(symbols) or (name == "x" and (kernel.forms or kernel.partners))
    }
    if "x" not in kernel.reads:  # every kernel takes its shape and dtype from x
        kernel.reads = {"x": x, **kernel.reads}
    kernel.rolled = roll(kernel)
    return kernel


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


def _extract_rows(
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


def _extract_quadratic(
    kernel: FormulaKernel, density: sp.Expr, x: tuple[sp.Symbol, ...]
) -> sp.Expr:
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
