"""Floating-point operations and bytes of kernels, counted in the IR that is emitted.

A fused multiply-add counts as two operations, a division and a square root as one, an elementary
function as many as its vector code takes (``functions.py``).  Bytes are those of the arrays that
a kernel is handed, each read or written once; what stays in the cache is not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import sympy as sp

from ..functions import LARGEST_CHAIN, function_of, written_out
from ..sharing import symbols_of
from . import ir
from .energies import FormulaKernel
from .ir import Add, Elementwise, Inverse, LogDet, Product, Tensor
from .kernels import Kernel, Sweep

__all__ = [
    "Count",
    "expression_flops",
    "formula_count",
    "kernel_count",
    "pair_count",
    "tensor_flops",
]

_POWER = (70, 50)  # operations of a real power in float64 and float32


@dataclass(frozen=True)
class Count:
    """Floating-point operations and bytes of memory traffic of one call of a kernel."""

    flops: float
    bytes: float

    def __add__(self, other: Count) -> Count:
        return Count(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: float) -> Count:
        return Count(self.flops * times, self.bytes * times)


def expression_flops(expressions, dtype: str) -> int:
    """Operations of SymPy scalars, common subexpressions computed once.

    Parameters
    ----------
    expressions : sequence of sympy.Expr
        Scalars that are computed together.
    dtype : {"float64", "float32"}
        Precision, on which the length of the functions depends.
    """
    shared, reduced = sp.cse([written_out(e) for e in expressions], order="none")
    found = [e for _, e in shared] + list(reduced)
    return sum(_own_flops(part, dtype) for e in found for part in sp.preorder_traversal(e))


def _own_flops(part: sp.Basic, dtype: str) -> int:
    """Operations of the outermost operation of an expression."""
    if isinstance(part, sp.Add):
        return len(part.args) - 1
    if isinstance(part, sp.Mul):
        return len(part.args) - 1 - (part.args[0] == -1)
    single = dtype == "float32"
    if isinstance(part, sp.Pow):
        exponent = part.exp
        if exponent.is_Integer and exponent <= LARGEST_CHAIN:  # by squaring, and one division
            n = abs(int(exponent))
            return n.bit_length() - 1 + bin(n).count("1") - 1 + bool(exponent < 0)
        if exponent.is_Rational and exponent.q == 2:
            return 1 + abs(exponent.p) // 2
        return _POWER[single]
    if isinstance(part, sp.Function):
        entry = function_of(part)
        return entry.operations[single] if entry else 0
    return 0


def _size(axes) -> int:
    return math.prod(axis.size for axis in axes)


def tensor_flops(tensor: Tensor, dtype: str) -> int:
    """Operations to compute one tensor from its operands, of one sample if it is per sample."""
    out = _size(tensor.axes)
    match tensor:
        case Add(terms):
            return (len(terms) - 1) * out
        case Elementwise(expression):
            return expression_flops([expression], dtype) * out
        case Product(coefficient, operands, labels, axes, sum_samples):
            total = _size({a for ls in labels for a in ls} | set(axes))
            products = total * (len(operands) - 1)
            sums = total if sum_samples else total - out
            return products + sums + (out if abs(coefficient) != 1 else 0)
        case Inverse(matrix):
            return 2 * matrix.axes[0].size ** 3
        case LogDet(matrix):
            return 2 * matrix.axes[0].size ** 3 // 3
    return 0


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
        numbers += samples * _size(axes)
    for axes in kernel.stored.values():
        numbers += samples * steps * _size(axes)
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
    dim, flops = len(kernel.partners), expression_flops(kernel.formulas(), dtype)
    rows = [formula for row in kernel.fields.values() for formula in row]
    flops += sum(formula != 0 for formula in (*kernel.means, *rows))
    if kernel.distance in symbols_of(*kernel.formulas()):
        flops += 3 * dim
    if kernel.radial != 0:
        flops += 2 * dim
    pairs = samples * (samples - 1)
    numbers = samples * (dim + sum(map(len, kernel.fields.values())))
    return Count(pairs * flops, numbers * (8 if dtype == "float64" else 4))


def _sweep_flops(sweep: Sweep, dtype: str) -> tuple[int, int]:
    """Operations of a sweep's body: what samples share, and what each sample costs."""
    shared = single = 0
    for tensor in ir.topological(sweep.outputs()):
        flops = tensor_flops(tensor, dtype)
        if tensor.per_sample or (isinstance(tensor, Product) and tensor.sum_samples):
            single += flops
        else:
            shared += flops
    return shared, single
