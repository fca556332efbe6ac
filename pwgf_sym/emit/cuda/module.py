"""What the modules of the CUDA target have beside their kernels."""

from __future__ import annotations

import re

from ..module import Target
from ..writer import Writer
from .formulas import ThreadFormulaEmitter
from .groups import BLOCK_FUNCTIONS
from .kernels import CudaKernelEmitter
from .schedule import BLOCK, CudaTiling

__all__ = ["cuda_target"]

_INVERT = '''@cuda.jit(device=True)
def invert(matrix, m, scratch, s, inverse, k, log_det, v, d, stride, lane):
    """inverse = matrix^-1 and log|det matrix|, by elimination with row pivoting."""
    volume = DTYPE(0.0)
    for n in range(d*d):
        scratch[at(s + n*stride + lane)] = matrix[at(m + n*stride + lane)]
        inverse[at(k + n*stride + lane)] = DTYPE(1.0) if n % (d + 1) == 0 else DTYPE(0.0)
    for c in range(d):
        best = c
        for i in range(c + 1, d):
            high = math.fabs(scratch[at(s + (i*d + c)*stride + lane)])
            if high > math.fabs(scratch[at(s + (best*d + c)*stride + lane)]):
                best = i
        if best != c:
            for j in range(d):
                p, q = (c*d + j)*stride + lane, (best*d + j)*stride + lane
                low = scratch[at(s + p)]
                scratch[at(s + p)] = scratch[at(s + q)]
                scratch[at(s + q)] = low
                low = inverse[at(k + p)]
                inverse[at(k + p)] = inverse[at(k + q)]
                inverse[at(k + q)] = low
        pivot = scratch[at(s + (c*d + c)*stride + lane)]
        volume += math.log(math.fabs(pivot))
        for j in range(d):
            p = (c*d + j)*stride + lane
            scratch[at(s + p)] /= pivot
            inverse[at(k + p)] /= pivot
        for i in range(d):
            if i != c:
                factor = scratch[at(s + (i*d + c)*stride + lane)]
                for j in range(d):
                    p, q = (c*d + j)*stride + lane, (i*d + j)*stride + lane
                    scratch[at(s + q)] -= factor*scratch[at(s + p)]
                    inverse[at(k + q)] -= factor*inverse[at(k + p)]
    log_det[at(v + lane)] = volume


'''
_ADD_PARTIALS = '''@cuda.jit
def add_partials(partials, total, blocks):
    """total = sum of the blocks' partial sums, in their order; zeros stay for the next call."""
    size = total.size
    for e in range(cuda.grid(1), size, cuda.gridsize(1)):
        value = DTYPE(0.0)
        for block in range(blocks):
            value += partials[at(block*size + e)]
            partials[at(block*size + e)] = DTYPE(0.0)
        total[at(e)] = value


'''


def cuda_target(dtype: str, threads: int = BLOCK) -> Target:
    """A GPU.

    Parameters
    ----------
    dtype : {"float64", "float32"}
        Precision of all numbers.
    threads : int
        Threads of a block, a power of two.
    """
    tiling = CudaTiling.of(dtype, threads)
    return Target(
        f"cuda, {dtype}, {threads} threads a block, a sample each",
        tiling,
        lambda kernel, layout: CudaKernelEmitter(kernel, layout, tiling, dtype),
        lambda kernel: ThreadFormulaEmitter(kernel, tiling, dtype),
        lambda body: _preamble(body, dtype),
        False,
    )


def _preamble(body: str, dtype: str) -> str:
    write = Writer()
    write()
    if "math." in body or "invert(" in body:
        write("import math")
        write()
    write("import numpy as np")
    write()
    called = sorted(set(re.findall(rf"\b({'|'.join(BLOCK_FUNCTIONS)})_((?:\d+_?)*)\(", body)))
    if called:
        kinds = sorted({kind for kind, _ in called})
        write(f"from pwgf_sym.compile.cuda.blocks import {', '.join(kinds)}")
    write("from pwgf_sym.compile.cuda.toolkit import cuda")
    write()
    write(f"DTYPE, at = np.{dtype}, np.uint32")
    for kind, tile in called:
        numbers = [n for n in tile.split("_") if n]
        write(f"{kind}_{tile} = {kind}({', '.join(['DTYPE', *numbers])})")
    write()
    write()
    return write.text() + (_INVERT if "invert(" in body else "") + _ADD_PARTIALS
