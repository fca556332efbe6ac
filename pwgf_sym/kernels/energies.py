"""Kernels of an energy: formulas evaluated at every sample, or at every pair of samples.

The formulas come from :mod:`pwgf_sym.derive.samples`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from ..derive.copies import is_symmetric
from ..derive.samples import SampleForm
from ..sharing import symbols_of
from ..tensors.scalars.stable import stable
from .centers import Centers
from .linear_forms import LinearForm, extract_quadratic, extract_rows
from .pairs import PairParts
from .rolling import Rolled, roll

__all__ = ["FormulaKernel", "energy_kernels", "lowered", "read_values"]


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
            kernel.fields[name] = extract_rows(kernel, rows, x) if linear else rows
        kernel.means = tuple(extract_quadratic(kernel, centers.written(e), x) for e in kernel.means)
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
