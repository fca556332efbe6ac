"""What the threads of a block do together, as device functions that generated kernels call.

Each is made for a precision and a tile: numbers that a thread holds in registers have to be known
when a function is compiled.  Loops whose length is a multiple of ``one``, which is 1 at run time,
are not unrolled: code and registers would grow with the map's width.
"""

from __future__ import annotations

import numpy as np

from .toolkit import cuda, device

__all__ = ["contract", "outer_sums", "product_sums", "row_sums"]

at = np.uint32


def contract(dtype, rows: int):
    """``add(acc, W, weights, w, row, term, values, v, step, count, one)``.

    acc[r] += sum over s < count of weights[w + r*row + s*term] * values[v + s*step + lane], for r
    below ``rows``.  The block puts weights into the shared array W first, as many terms as fit.
    """

    @device
    def add(acc, W, weights, w, row, term, values, v, step, count, one):
        lane, threads = cuda.threadIdx.x, cuda.blockDim.x
        total = cuda.local.array(rows, dtype)
        for r in range(rows):
            total[r] = acc[r]
        most = W.size // rows
        for start in range(0, count, most):
            terms = min(most, count - start)
            cuda.syncthreads()
            for entry in range(lane, terms * rows, threads):
                place = w + entry % rows * row + (start + entry // rows) * term
                W[at(entry)] = weights[at(place)]
            cuda.syncthreads()
            for s in range(terms * one):
                factor = values[at(v + (start + s) * step + lane)]
                for r in range(rows):
                    total[r] += W[at(s * rows + r)] * factor
        for r in range(rows):
            acc[r] = total[r]

    return add


def outer_sums(dtype, rows: int, columns: int):
    """``add(sums, g, row, column, a, a0, a_step, m, b, b0, b_step, n, one)``.

    sums[g + i*row + j*column] += sum over the block's samples of a[a0 + i*a_step + sample] *
    b[b0 + j*b_step + sample], i < m, j < n; a thread takes ``rows`` times ``columns`` of them.
    """
    size = rows * columns

    @device
    def add(sums, g, row, column, a, a0, a_step, m, b, b0, b_step, n, one):
        lane, threads = cuda.threadIdx.x, cuda.blockDim.x
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


def product_sums(dtype):
    """``add(sums, g, row, a, a0, a_step, b, b0, b_step, m, one)``: entry by entry.

    sums[g + i*row] += sum over the block's samples of a[a0 + i*a_step + sample] *
    b[b0 + i*b_step + sample], i < m.
    """

    @device
    def add(sums, g, row, a, a0, a_step, b, b0, b_step, m, one):
        threads = cuda.blockDim.x
        for i in range(cuda.threadIdx.x, m, threads):
            acc = dtype(0.0)
            for sample in range(threads * one):
                acc += a[at(a0 + i * a_step + sample)] * b[at(b0 + i * b_step + sample)]
            sums[at(g + i * row)] += acc

    return add


def row_sums(dtype):
    """``add(sums, g, row, a, a0, a_step, m, one)``.

    sums[g + i*row] += sum over the block's samples of a[a0 + i*a_step + sample], i < m.
    """

    @device
    def add(sums, g, row, a, a0, a_step, m, one):
        threads = cuda.blockDim.x
        for i in range(cuda.threadIdx.x, m, threads):
            acc = dtype(0.0)
            for sample in range(threads * one):
                acc += a[at(a0 + i * a_step + sample)]
            sums[at(g + i * row)] += acc

    return add
