"""What the threads of a block do together, as device functions that generated kernels call.

Some are made for a precision and a tile: numbers that a thread holds in registers have to be known
when a function is compiled; all modules of a process share them.  Loops whose length is a multiple
of ``one``, which is 1 at run time, are not unrolled: code and registers would grow with the map's
width.

Places of values that every sample has are those of the thread's own sample: the samples of the
block stand side by side, ``cuda.blockDim.x`` of them.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from .toolkit import cuda, device

__all__ = ["block_sum", "contract", "contract_more", "copy", "fill", "inversion", "load"]
__all__ += ["outer_sums", "partial_sums", "product_sums", "row_sums"]

at = np.uint64


@device
def block_sum(value, room):
    """The sum of the block's values, by halves of its threads; every thread gets it."""
    lane, half = cuda.threadIdx.x, cuda.blockDim.x // 2
    cuda.syncthreads()
    room[lane] = value
    cuda.syncthreads()
    while half > 0:
        if lane < half:
            room[lane] += room[lane + half]
        cuda.syncthreads()
        half //= 2
    return room[0]


@device
def copy(target, t, source, s, count, one):
    """Copy the values of this thread's sample."""
    for n in range(count * one):
        target[at(t + n * cuda.blockDim.x)] = source[at(s + n * cuda.blockDim.x)]


@device
def fill(target, t, value, count, one):
    """Set the values of this thread's sample."""
    for n in range(count * one):
        target[at(t + n * cuda.blockDim.x)] = value


@cache
def load(dtype, rows: int):
    """``load(acc, weights, w, row)``: acc[r] = weights[w + r*row], for r below ``rows``."""

    @device
    def load(acc, weights, w, row):
        for r in range(rows):
            acc[r] = weights[at(w + r * row)]

    return load


@cache
def contract(dtype, rows: int, more: bool = False):
    """``contract(acc, W, weights, w, row, term, values, v, step, count, one)``.

    acc[r] = sum over s < count of weights[w + r*row + s*term] * values[v + s*step], for r below
    ``rows``; with ``more`` it is added to acc[r].  The block puts weights into the shared array W
    first, as many terms as fit.
    """

    @device
    def contract(acc, W, weights, w, row, term, values, v, step, count, one):
        lane, threads = cuda.threadIdx.x, cuda.blockDim.x
        total = cuda.local.array(rows, dtype)
        for r in range(rows):
            total[r] = acc[r] if more else dtype(0.0)
        most = W.size // rows
        for start in range(0, count, most):
            terms = min(most, count - start)
            cuda.syncthreads()
            for entry in range(lane, terms * rows, threads):
                place = w + entry % rows * row + (start + entry // rows) * term
                W[at(entry)] = weights[at(place)]
            cuda.syncthreads()
            for s in range(terms * one):
                factor = values[at(v + (start + s) * step)]
                for r in range(rows):
                    total[r] += W[at(s * rows + r)] * factor
        for r in range(rows):
            acc[r] = total[r]

    return contract


def contract_more(dtype, rows: int):
    """``contract_more(acc, ...)``: :func:`contract`, added to acc."""
    return contract(dtype, rows, more=True)


@cache
def outer_sums(dtype, rows: int, columns: int):
    """``add(sums, g, row, column, a, a0, a_step, m, b, b0, b_step, n, one)``.

    sums[g + i*row + j*column] += sum over the block's samples of a[a0 + i*a_step] *
    b[b0 + j*b_step], i < m, j < n; a thread takes ``rows`` times ``columns`` of them.
    """
    size = rows * columns

    @device
    def add(sums, g, row, column, a, a0, a_step, m, b, b0, b_step, n, one):
        lane, threads = cuda.threadIdx.x, cuda.blockDim.x
        a0, b0 = a0 - lane, b0 - lane  # of the block's first sample
        acc, own = cuda.local.array(size, dtype), cuda.local.array(rows, dtype)
        across = (n + columns - 1) // columns
        for entry in range(lane, (m + rows - 1) // rows * across, threads):
            i, j = entry // across * rows, entry % across * columns
            for r in range(size):
                acc[r] = dtype(0.0)
            for sample in range(threads * one):
                for r in range(rows):
                    own[r] = a[at(a0 + min(i + r, m - 1) * a_step + sample)]
                for c in range(columns):
                    other = b[at(b0 + min(j + c, n - 1) * b_step + sample)]
                    for r in range(rows):
                        acc[r * columns + c] += own[r] * other
            for r in range(rows):
                for c in range(columns):
                    if i + r < m and j + c < n:
                        sums[at(g + (i + r) * row + (j + c) * column)] += acc[r * columns + c]

    return add


@cache
def product_sums(dtype):
    """``add(sums, g, row, a, a0, a_step, b, b0, b_step, m, one)``: entry by entry.

    sums[g + i*row] += sum over the block's samples of a[a0 + i*a_step] * b[b0 + i*b_step], i < m.
    """

    @device
    def add(sums, g, row, a, a0, a_step, b, b0, b_step, m, one):
        lane, threads = cuda.threadIdx.x, cuda.blockDim.x
        a0, b0 = a0 - lane, b0 - lane
        for i in range(lane, m, threads):
            acc = dtype(0.0)
            for sample in range(threads * one):
                acc += a[at(a0 + i * a_step + sample)] * b[at(b0 + i * b_step + sample)]
            sums[at(g + i * row)] += acc

    return add


@cache
def row_sums(dtype):
    """``add(sums, g, row, a, a0, a_step, m, one)``.

    sums[g + i*row] += sum over the block's samples of a[a0 + i*a_step], i < m.
    """

    @device
    def add(sums, g, row, a, a0, a_step, m, one):
        lane, threads = cuda.threadIdx.x, cuda.blockDim.x
        a0 = a0 - lane
        for i in range(lane, m, threads):
            acc = dtype(0.0)
            for sample in range(threads * one):
                acc += a[at(a0 + i * a_step + sample)]
            sums[at(g + i * row)] += acc

    return add


@cache
def inversion(dtype):
    """``invert(matrix, m, scratch, s, inverse, k, log_det, v, d, stride)``.

    inverse = matrix^-1 and log|det matrix|, by elimination with row pivoting, a matrix a thread;
    entries of a matrix stand ``stride`` apart.
    """

    @device
    def invert(matrix, m, scratch, s, inverse, k, log_det, v, d, stride):
        volume = dtype(0.0)
        for n in range(d * d):
            scratch[at(s + n * stride)] = matrix[at(m + n * stride)]
            inverse[at(k + n * stride)] = dtype(1.0) if n % (d + 1) == 0 else dtype(0.0)
        for c in range(d):
            best = c
            for i in range(c + 1, d):
                high = math.fabs(scratch[at(s + (i * d + c) * stride)])
                if high > math.fabs(scratch[at(s + (best * d + c) * stride)]):
                    best = i
            if best != c:
                for j in range(d):
                    p, q = (c * d + j) * stride, (best * d + j) * stride
                    low = scratch[at(s + p)]
                    scratch[at(s + p)] = scratch[at(s + q)]
                    scratch[at(s + q)] = low
                    low = inverse[at(k + p)]
                    inverse[at(k + p)] = inverse[at(k + q)]
                    inverse[at(k + q)] = low
            pivot = scratch[at(s + (c * d + c) * stride)]
            volume += math.log(math.fabs(pivot))
            for j in range(d):
                p = (c * d + j) * stride
                scratch[at(s + p)] /= pivot
                inverse[at(k + p)] /= pivot
            for i in range(d):
                if i != c:
                    factor = scratch[at(s + (i * d + c) * stride)]
                    for j in range(d):
                        p, q = (c * d + j) * stride, (i * d + j) * stride
                        scratch[at(s + q)] -= factor * scratch[at(s + p)]
                        inverse[at(k + q)] -= factor * inverse[at(k + p)]
        log_det[at(v)] = volume

    return invert


@cache
def partial_sums(dtype):
    """A kernel ``add_partials(partials, total, blocks)``.

    total = sum of the blocks' partial sums, in their order; zeros stay for the next call.
    """

    @cuda.jit
    def add_partials(partials, total, blocks):
        size = total.size
        for e in range(cuda.grid(1), size, cuda.gridsize(1)):
            value = dtype(0.0)
            for block in range(blocks):
                value += partials[at(block * size + e)]
                partials[at(block * size + e)] = dtype(0.0)
            total[at(e)] = value

    return add_partials
