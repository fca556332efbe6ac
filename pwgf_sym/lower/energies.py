"""Kernels of an energy: formulas evaluated at every sample, or at every pair of samples.

The formulas come from :mod:`pwgf_sym.derive.samples`.  The one pass here recognizes dense linear
forms: of V = x'Ax/2 in 30 dimensions the gradient is a matrix times x, not 900 products in a row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from ..derive.samples import SampleForm
from ..derive.variation import is_symmetric
from .pairs import PairParts
from .rolling import Rolled, roll
from .stable import stable

__all__ = ["FormulaKernel", "LinearForm", "energy_kernels"]

# A linear form is worth a matrix when it has more coefficients than this many a row.
DENSE = 4


@dataclass(frozen=True)
class LinearForm:
    """symbols[i] = sum_j matrix[i][j] x[j], a matrix of numbers times the coordinates."""

    name: str
    symbols: tuple[sp.Symbol, ...]
    matrix: tuple[tuple[float, ...], ...]


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
        Components of the partner sample; () for a kernel without pairs.
    values : tuple of Symbols
        Run-time parameters, then integrals; one array.
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
    values = (*form.parameters, *(integral.symbol for integral in form.integrals))
    carried = {
        "x": form.coordinates,
        "log_density": (form.log_density,),
        "score": form.score,
    }
    single = tuple(i.density for i in form.integrals if not i.pair)
    symmetric = all(
        is_symmetric(mean, form.coordinates, form.partners)
        for mean in parts.means
        if not mean.has(parts.distance)
    )
    slopes, by_log = form.local_gradient
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
            "velocity",
            "w = -grad dE/drho, without pairs",
            carried,
            (),
            values,
            {"velocity_out": form.local_velocity},
        ),
        FormulaKernel(
            "slopes",
            "dE/dx and dE/dl of a sample, without pairs",
            carried,
            (),
            values,
            {"field_out": slopes, "scalar_out": (by_log,)},
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
    ]
    return {k.name: _lowered(k) for k in candidates if any(e != 0 for e in k.formulas())}


def _lowered(kernel: FormulaKernel) -> FormulaKernel:
    """Extract dense linear forms, name stable functions, and keep only the arrays that are read."""
    x = kernel.reads["x"]
    if not kernel.partners:
        kernel.fields = {n: _extract_rows(kernel, n, rows, x) for n, rows in kernel.fields.items()}
        kernel.means = tuple(_extract_quadratic(kernel, e, x) for e in kernel.means)
    kernel.fields = {name: tuple(map(stable, rows)) for name, rows in kernel.fields.items()}
    kernel.means = tuple(map(stable, kernel.means))
    kernel.radial = stable(kernel.radial)
    used = set().union(*(e.free_symbols for e in kernel.formulas()))
    kernel.reads = {
        name: symbols
        for name, symbols in kernel.reads.items()
        if used & set(symbols) or (name == "x" and (kernel.forms or kernel.partners))
    }
    if "x" not in kernel.reads:  # every kernel takes its shape and dtype from x
        kernel.reads = {"x": x, **kernel.reads}
    kernel.rolled = roll(kernel)
    return kernel


def _new_form(kernel: FormulaKernel, rows: list[dict[sp.Symbol, sp.Expr]], x) -> LinearForm:
    number = len(kernel.forms)
    symbols = tuple(sp.Symbol(f"form{number}_{i}", real=True) for i in range(len(rows)))
    matrix = tuple(tuple(float(row.get(s, 0)) for s in x) for row in rows)
    form = LinearForm(f"{kernel.name.upper()}_{number}", symbols, matrix)
    kernel.forms.append(form)
    return form


def _extract_rows(kernel: FormulaKernel, name, rows, x) -> tuple[sp.Expr, ...]:
    if len(rows) < DENSE:
        return tuple(rows)
    split = [_split(row, set(x), 1) for row in rows]
    results = [[rest] for _, rest in split]
    dense = False
    for factor in dict.fromkeys(f for found, _ in split for f in found):
        matrix = [{c: n for (c,), n in found.get(factor, {}).items()} for found, _ in split]
        if sum(map(len, matrix)) > DENSE * len(rows):
            dense, values = True, _new_form(kernel, matrix, x).symbols
        else:
            values = [sp.Add(*(n * c for c, n in row.items())) for row in matrix]
        for result, value in zip(results, values, strict=True):
            result.append(factor * value)
    return tuple(sp.Add(*result) for result in results) if dense else tuple(rows)


def _extract_quadratic(kernel: FormulaKernel, density: sp.Expr, x) -> sp.Expr:
    """x'Hx/2 with H from the numbers in the quadratic terms, as (1/2) sum_i x_i (Hx)_i."""
    if len(x) < DENSE:
        return density
    found, rest = _split(density, set(x), 2)
    result, dense = [rest], False
    for factor, numbers in found.items():
        if 2 * len(numbers) <= DENSE * len(x):
            result += [n * factor * c * d for (c, d), n in numbers.items()]
            continue
        rows: dict[sp.Symbol, dict] = {c: {} for c in x}
        for (c, d), n in numbers.items():
            rows[c][d] = rows[c].get(d, 0) + n
            rows[d][c] = rows[d].get(c, 0) + n
        dense, symbols = True, _new_form(kernel, list(rows.values()), x).symbols
        result += [factor * a * b / 2 for a, b in zip(x, symbols, strict=True)]
    return sp.Add(*result) if dense else density


def _split(formula: sp.Expr, coordinates: set, degree: int):
    """Terms number*factor*(product of ``degree`` coordinates), and the sum of all others.

    The terms come as factor -> sorted coordinates -> number.  A term is multiplied out only where
    that leaves nothing of a higher degree.
    """
    found: dict[sp.Expr, dict[tuple, sp.Expr]] = {}
    rest = []
    products = sp.Add.make_args(formula)
    for term in [t for p in products for t in sp.Add.make_args(sp.expand_mul(p, deep=False))]:
        parts = [_monomial(p, coordinates) for p in sp.Add.make_args(sp.expand_mul(term))]
        if not all(own is not None and len(own) <= degree for own, *_ in parts):
            rest.append(term)
            continue
        for own, number, factor in parts:
            if len(own) == degree:
                numbers = found.setdefault(factor, {})
                numbers[own] = numbers.get(own, 0) + number
            else:
                rest.append(number * factor * sp.Mul(*own))
    return found, sp.Add(*rest)


def _monomial(term: sp.Expr, coordinates: set):
    """(coordinates in order, number, factor without coordinates), or None in the first place."""
    number, product = term.as_coeff_Mul()
    own, others = [], []
    for part in sp.Mul.make_args(product):
        base, exponent = part.as_base_exp()
        if base in coordinates and exponent.is_Integer and 0 < exponent <= 2:
            own += [base] * int(exponent)
        else:
            others.append(part)
    factor = sp.Mul(*others)
    known = not factor.free_symbols & coordinates
    return (tuple(sorted(own, key=str)) if known else None), number, factor
