"""Kernels of an energy: formulas evaluated at every sample, or at every pair of samples.

The formulas come from :mod:`pwgf_sym.derive.samples`.  The one pass here recognizes dense linear
forms: of V = x'Ax/2 in 30 dimensions the gradient is a matrix times x, not 900 products in a row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from ..derive.samples import SampleForm

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
    """

    name: str
    summary: str
    reads: dict[str, tuple[sp.Symbol, ...]]
    partners: tuple[sp.Symbol, ...]
    values: tuple[sp.Symbol, ...]
    fields: dict[str, tuple[sp.Expr, ...]] = field(default_factory=dict)
    means: tuple[sp.Expr, ...] = ()
    forms: list[LinearForm] = field(default_factory=list)

    def formulas(self) -> list[sp.Expr]:
        """All formulas in order."""
        return [e for row in self.fields.values() for e in row] + list(self.means)


def energy_kernels(form: SampleForm) -> dict[str, FormulaKernel]:
    """The kernels of an energy by name; those that would compute nothing are left out."""
    values = (*form.parameters, *(integral.symbol for integral in form.integrals))
    carried = {
        "x": form.coordinates,
        "log_density": (form.log_density,),
        "score": form.score,
    }
    single = tuple(i.density for i in form.integrals if not i.pair)
    pair = tuple(i.density for i in form.integrals if i.pair)
    slopes, by_log = form.local_gradient
    candidates = [
        FormulaKernel(
            "integrals", "means of the energy densities f(x, rho)/rho", carried, (), values,
            means=single,
        ),
        FormulaKernel(
            "velocity", "w = -grad dE/drho, without pairs", carried, (), values,
            {"velocity_out": form.local_velocity},
        ),
        FormulaKernel(
            "slopes", "dE/dx and dE/dl of a sample, without pairs", carried, (), values,
            {"field_out": slopes, "scalar_out": (by_log,)},
        ),
        FormulaKernel(
            "pair_integrals", "means of W(x, y) over pairs", carried, form.partners, values,
            means=pair,
        ),
        FormulaKernel(
            "pair_velocity", "mean over partners y of -grad_x (W(x, y) + W(y, x))", carried,
            form.partners, values, {"velocity_out": form.pair_velocity},
        ),
    ]
    return {k.name: _lowered(k) for k in candidates if any(e != 0 for e in k.formulas())}


def _lowered(kernel: FormulaKernel) -> FormulaKernel:
    """Extract dense linear forms, and keep only the arrays that are read."""
    x = kernel.reads["x"]
    if not kernel.partners:
        kernel.fields = {n: _extract_rows(kernel, n, rows, x) for n, rows in kernel.fields.items()}
        kernel.means = tuple(_extract_quadratic(kernel, e, x) for e in kernel.means)
    used = set().union(*(e.free_symbols for e in kernel.formulas()))
    kernel.reads = {
        name: symbols
        for name, symbols in kernel.reads.items()
        if used & set(symbols) or (name == "x" and (kernel.forms or kernel.partners))
    }
    if "x" not in kernel.reads:  # every kernel takes its shape and dtype from x
        kernel.reads = {"x": x, **kernel.reads}
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
    split = [_linear_part(sp.expand(row), set(x)) for row in rows]
    if sum(len(linear) for linear, _ in split) <= DENSE * len(rows):
        return tuple(rows)
    form = _new_form(kernel, [linear for linear, _ in split], x)
    return tuple(s + rest for s, (_, rest) in zip(form.symbols, split, strict=True))


def _linear_part(row: sp.Expr, coordinates: set) -> tuple[dict, sp.Expr]:
    linear, rest = {}, []
    for term in sp.Add.make_args(row):
        coefficient, factor = term.as_coeff_Mul()
        if factor in coordinates:
            linear[factor] = linear.get(factor, 0) + coefficient
        else:
            rest.append(term)
    return linear, sp.Add(*rest)


def _extract_quadratic(kernel: FormulaKernel, density: sp.Expr, x) -> sp.Expr:
    """x'Hx/2 with H from the numeric quadratic terms, as (1/2) sum_i x_i (Hx)_i."""
    if len(x) < DENSE:
        return density
    place = {symbol: k for k, symbol in enumerate(x)}
    rows: list[dict] = [{} for _ in x]
    rest, count = [], 0
    for term in sp.Add.make_args(sp.expand(density)):
        coefficient, factor = term.as_coeff_Mul()
        factors = [b for b, e in factor.as_powers_dict().items() for _ in range(_times(e))]
        if len(factors) == 2 and all(f in place for f in factors) and sp.Mul(*factors) == factor:
            first, second = factors
            rows[place[first]][second] = rows[place[first]].get(second, 0) + coefficient
            rows[place[second]][first] = rows[place[second]].get(first, 0) + coefficient
            count += 1
        else:
            rest.append(term)
    if 2 * count <= DENSE * len(x):
        return density
    form = _new_form(kernel, rows, x)
    half = sp.Rational(1, 2)
    products = [half * a * b for a, b in zip(x, form.symbols, strict=True)]
    return sp.Add(*products, *rest)


def _times(exponent: sp.Expr) -> int:
    return int(exponent) if exponent.is_Integer and 0 < exponent <= 2 else 3
