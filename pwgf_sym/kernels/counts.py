"""Floating-point operations and bytes of kernels, counted in the IR that is emitted.

A fused multiply-add counts as two operations, a division and a square root as one, an elementary
function as many as its vector code takes (``functions.py``).  Bytes are those of the arrays that
a kernel is handed, each read or written once; what stays in the cache is not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..sharing import symbols_of
from ..tensors import Axes, Product, topological
from ..tensors.scalars.flops import expression_flops
from .energies import FormulaKernel
from .kernels import Kernel, Sweep

__all__ = [
    "Count",
    "formula_count",
    "kernel_count",
    "pair_count",
]


@dataclass(frozen=True)
class Count:
    """Floating-point operations and bytes of memory traffic of one call of a kernel."""

    flops: float
    bytes: float

    def __add__(self, other: Count) -> Count:
        return Count(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: float) -> Count:
        return Count(self.flops * times, self.bytes * times)


def _numbers(axes: Axes) -> int:
    return math.prod(axis.size for axis in axes)


def kernel_count(kernel: Kernel, steps: int, samples: int, dtype: str) -> Count:
    """Count of one call on ``samples`` samples of a map of ``steps`` steps.

    Returns
    -------
    Count
        Of all sweeps, with what every sample shares counted once a step.
    """
    flops = 0.0
    for sweep in kernel.sweeps:
        shared, single = _sweep_flops(sweep, dtype)
        flops += (steps if sweep.direction else 1) * (shared + samples * single)
    numbers = 0
    for axes in (*kernel.inputs.values(), *kernel.outputs.values()):
        numbers += samples * _numbers(axes)
    for axes in kernel.stored.values():
        numbers += samples * steps * _numbers(axes)
    return Count(flops, numbers * (8 if dtype == "float64" else 4))


def formula_count(kernel: FormulaKernel, samples: int, dtype: str) -> Count:
    """Count of a kernel of an energy that takes every sample once."""
    flops = expression_flops(kernel.formulas(), dtype) + 2 * len(kernel.means)
    flops += sum(2 * len(form.matrix) * len(form.matrix[0]) for form in kernel.forms)
    numbers = sum(map(len, (*kernel.reads.values(), *kernel.fields.values())))
    numbers += bool(kernel.means)
    return Count(samples * flops, samples * numbers * (8 if dtype == "float64" else 4))


def pair_count(kernel: FormulaKernel, samples: int, dtype: str) -> Count:
    """Count of a kernel of an energy over all pairs of samples, as its formulas say.

    Kernels that take every pair once, because the other order says the same, do less.
    """
    dim, flops = len(kernel.partner_symbols), expression_flops(kernel.formulas(), dtype)
    rows = [formula for row in kernel.fields.values() for formula in row]
    flops += sum(formula != 0 for formula in (*kernel.means, *rows))
    if kernel.distance in symbols_of(*kernel.formulas()):
        flops += 3 * len(kernel.partners)
    if kernel.radial != 0:
        flops += 2 * len(kernel.partners)
    pairs = samples * (samples if kernel.with_itself else samples - 1)
    numbers = samples * (dim + sum(map(len, kernel.fields.values())))
    return Count(pairs * flops, numbers * (8 if dtype == "float64" else 4))


def _sweep_flops(sweep: Sweep, dtype: str) -> tuple[int, int]:
    """Operations of a sweep's body: what samples share, and what each sample costs."""
    shared = single = 0
    for tensor in topological(sweep.outputs()):
        flops = tensor.flops(dtype)
        if tensor.per_sample or (isinstance(tensor, Product) and tensor.sum_samples):
            single += flops
        else:
            shared += flops
    return shared, single
