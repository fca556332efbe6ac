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

from .shared import TEAM
from .toolkit import cuda, device
from .wide import put

__all__ = ["block_sum", "copy", "fill", "invert", "log_determinant", "partial_sums", "store"]

at = np.uint64
# Blocks whose partial sums a thread asks for before it adds the first.
_AT_ONCE = 8


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
def copy(target, t, source, s, count, stride):
    """Copy ``count`` numbers ``stride`` apart."""
    n, end = 0, count * stride
    while n < end:
        target[at(t + n)] = source[at(s + n)]
        n += stride


@device
def fill(target, t, value, count, stride):
    """Set ``count`` numbers ``stride`` apart."""
    n, end = 0, count * stride
    while n < end:
        target[at(t + n)] = value
        n += stride


@cache
def store(dtype, rows: int):
    """``store(target, t, step, source)``: target[t + r*step] = source[r], for r below ``rows``."""
    return put(dtype, 1, rows)


@device
def largest(matrix, m, c, d, stride):
    """The row with the largest entry of column c, of row c and those below it."""
    best, most = c, math.fabs(matrix[at(m + (c * d + c) * stride)])
    for i in range(c + 1, d):
        high = math.fabs(matrix[at(m + (i * d + c) * stride)])
        if high > most:
            best, most = i, high
    return best


@device
def exchange(matrix, first, second, count, stride):
    """Two rows or columns change places, ``count`` numbers ``stride`` apart."""
    n, end = 0, count * stride
    while n < end:
        low, high = matrix[at(first + n)], matrix[at(second + n)]
        matrix[at(second + n)], matrix[at(first + n)] = low, high
        n += stride


@cache
def panels(dtype, columns: int, rest: int, whole: bool):
    """``panel(matrix, m, places, s, c, d, stride)``: columns of Gauss-Jordan, from c on.

    So many ``columns`` are eliminated together, ``rest`` of them at the end of the matrix if that
    is not 0; with row pivoting in all rows where ``whole``, and places[s + p*stride] is the row
    that the p-th pivot came from; else in rows and columns from c on, and nothing is kept.  The
    columns become M, those of the matrix that does all this from the left once the rows have
    changed places.  Returns the log of the absolute product of the pivots.
    """
    even = rest == 0

    @device
    def panel(matrix, m, places, s, c, d, stride):
        size, volume, top = d * stride, dtype(0.0), 0 if whole else c
        end, one = c + columns if even else min(c + columns, d), cuda.gridDim.y
        line, other = cuda.local.array(columns, dtype), cuda.local.array(columns, dtype)
        p = c
        while p < end:
            best = largest(matrix, m, p, d, stride)
            own = m + p * size
            if whole:
                places[at(s + p * stride)] = best
            pivot = matrix[at(m + best * size + p * stride)]
            volume += math.log(math.fabs(pivot))
            shift = top * stride
            exchange(matrix, own + shift, m + best * size + shift, d - top, stride)
            for k in range(columns):
                if even or c + k < d:
                    value = dtype(1.0) if c + k == p else matrix[at(own + (c + k) * stride)]
                    line[k] = value / pivot
                    matrix[at(own + (c + k) * stride)] = line[k]
            row = m + top * size
            while row < m + d * size * one:
                if row != own:
                    factor = matrix[at(row + p * stride)]
                    for k in range(columns):
                        here = (even or c + k < d) and c + k != p
                        other[k] = matrix[at(row + (c + k) * stride)] if here else dtype(0.0)
                    for k in range(columns):
                        if even or c + k < d:
                            matrix[at(row + (c + k) * stride)] = other[k] - factor * line[k]
                row += size
            p += 1
        return volume

    return panel


@cache
def panel_products(dtype, columns: int, rest: int):
    """``update(matrix, m, c, first, d, stride)``: what a panel does to the other columns.

    matrix[i, q] becomes (matrix[i, q], or 0 in rows c to c + columns) + sum over k of M[i, k] *
    matrix[c + k, q], for rows and columns from ``first`` on.  Of M and of what it is multiplied
    with a number that is read is used so many times.
    """
    size, even = columns * columns, rest == 0

    @device
    def update(matrix, m, c, first, d, stride):
        left, right = cuda.local.array(columns, dtype), cuda.local.array(size, dtype)
        total, width, one = cuda.local.array(columns, dtype), d * stride, cuda.gridDim.y
        q = first if first != c else c + columns
        while q < d * one:
            for k in range(columns):
                for j in range(columns):
                    there = even or (c + k < d and q + j < d)
                    place = m + (c + k) * width + (q + j) * stride
                    right[k * columns + j] = matrix[at(place)] if there else dtype(0.0)
            i = first
            while i < d * one:
                row, kept = m + i * width, i < c or i >= c + columns
                for k in range(columns):
                    there = even or c + k < d
                    left[k] = matrix[at(row + (c + k) * stride)] if there else dtype(0.0)
                for j in range(columns):
                    there = kept and (even or q + j < d)
                    total[j] = matrix[at(row + (q + j) * stride)] if there else dtype(0.0)
                for j in range(columns):
                    for k in range(columns):
                        total[j] += left[k] * right[k * columns + j]
                for j in range(columns):
                    if even or q + j < d:
                        matrix[at(row + (q + j) * stride)] = total[j]
                i += 1
            q += columns if q + columns != c else 2 * columns

    return update


@cache
def log_determinant(dtype, columns: int, rest: int):
    """``log_determinant(matrix, m, scratch, s, log_det, v, d, stride)``.

    log|det matrix| by elimination with row pivoting, a matrix a thread; entries of a matrix stand
    ``stride`` apart.  So many ``columns`` are eliminated together; d leaves the ``rest``.
    """
    panel, update = panels(dtype, columns, rest, False), panel_products(dtype, columns, rest)

    @device
    def log_determinant(matrix, m, scratch, s, log_det, v, d, stride):
        copy(scratch, s, matrix, m, d * d, stride)
        volume, c = dtype(0.0), 0
        while c < d:
            volume += panel(scratch, s, scratch, s, c, d, stride)
            update(scratch, s, c, c + columns, d, stride)
            c += columns
        log_det[at(v)] = volume

    return log_determinant


@cache
def invert(dtype, columns: int, rest: int):
    """``invert(matrix, m, inverse, k, scratch, s, log_det, v, d, stride)``.

    inverse = matrix^-1 and log|det matrix|, by Gauss-Jordan elimination in place with row pivoting,
    a matrix a thread; entries of a matrix stand ``stride`` apart.  So many ``columns`` are
    eliminated together; d leaves the ``rest``.
    """
    panel, update = panels(dtype, columns, rest, True), panel_products(dtype, columns, rest)

    @device
    def invert(matrix, m, inverse, k, scratch, s, log_det, v, d, stride):
        copy(inverse, k, matrix, m, d * d, stride)
        volume, c = dtype(0.0), 0
        while c < d:
            volume += panel(inverse, k, scratch, s, c, d, stride)
            update(inverse, k, c, 0, d, stride)
            c += columns
        for c in range(d - 1, -1, -1):  # rows that changed places are columns of the inverse
            other = int(scratch[at(s + c * stride)])
            exchange(inverse, k + c * stride, k + other * stride, d, d * stride)
        log_det[at(v)] = volume

    return invert


@cache
def partial_sums(dtype):
    """A kernel ``add_partials(partials, total, blocks)``.

    total = sum of the blocks' partial sums, in a fixed order.  A warp reads neighbours, a few
    blocks' at a time; the warps of a block take a part of the ``blocks`` each.  It is not kept on
    the disk: Numba has one index for this function in all precisions, and processes that write to
    it at once could take each other's code.
    """
    take = _AT_ONCE

    @cuda.jit
    def add_partials(partials, total, blocks: int):
        room, size = cuda.shared.array(1024, dtype), total.size
        lane, team = cuda.threadIdx.x, min(TEAM, cuda.blockDim.x)
        parts, part = cuda.blockDim.x // team, lane // team
        entry, value = cuda.blockIdx.x * team + lane % team, dtype(0.0)
        if entry < size:
            each = (blocks + parts - 1) // parts
            block, end = part * each, min(blocks, (part + 1) * each)
            while block < end:
                for k in range(take):
                    if block + k < end:
                        value += partials[at((block + k) * size + entry)]
                block += take
        room[lane] = value
        cuda.syncthreads()
        if part == 0 and entry < size:
            for other in range(1, parts):
                value += room[lane + other * team]
            total[at(entry)] = value

    return add_partials
