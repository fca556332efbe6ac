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

from ...emit.cuda.schedule import lanes_of
from ...emit.cuda.schedule import spread as spread_on_host
from .toolkit import cuda, device
from .wide import add_outer, clear, put, stage, take, thread_number

__all__ = ["block_sum", "contract", "copy", "fill", "inversion"]
__all__ += ["log_determinants", "partial_sums", "store"]

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


@cache
def contract(dtype, threads: int, rows: int, samples: int):
    """``contract(more, W, c, room, weights, w, row, term, values, v, step, m, count, one)``.

    The whole block computes, for rows r < rows*samples and all of its samples n,

        W[c + r*threads + n] = sum over s < count of weights[w + r*row + s*term]
                               * (values[v + s*step] of sample n);

    added to what is there where ``more`` is true; rows from ``m`` on have no meaning.  A thread
    takes ``rows`` rows of ``samples`` neighbours: a number that it reads is used several times.
    Weights go into the shared array W from ``room`` on first, as many terms as fit.
    """
    size = rows * samples
    wide = spread_on_host(size, lanes_of(np.dtype(dtype).name))
    take_rows, take_samples = take(dtype, rows), take(dtype, samples)
    take_tile, put_tile = take(dtype, samples, rows), put(dtype, samples, rows)
    add_tile, set_zero = add_outer(dtype, rows, samples), clear(dtype, size)
    stage_weights = stage(dtype, threads)
    across, number = threads // samples, thread_number()

    @device
    def contract(more, W, c, room, weights, w, row, term, values, v, step, m, count, one):
        lane = number()
        group, first = lane // across * rows, lane % across * samples
        place, own = c + group * threads + first, v - lane + first
        total = cuda.local.array(size, dtype)
        left, right = cuda.local.array(rows, dtype), cuda.local.array(samples, dtype)
        if more:
            take_tile(total, W, place, threads)
        else:
            set_zero(total)
        most = (W.size - room) // wide
        start = 0
        while start < count:
            terms = min(most, count - start)
            cuda.syncthreads()
            stage_weights(W, room, wide, size, weights, w + start * term, row, m, term, terms)
            cuda.syncthreads()
            s, end = room + group, room + group + terms * wide * one
            while s < end:
                take_rows(left, W, s, 0)
                take_samples(right, values, own, 0)
                add_tile(total, left, right)
                s += wide
                own += step
            start += most
        if count == 0:  # what is there may still be read
            cuda.syncthreads()
        put_tile(W, place, threads, total)
        cuda.syncthreads()

    return contract


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
def subtract(matrix, row, factor, other, first, end, stride):
    """From a row ``factor`` times another one, from column ``first`` on."""
    n = first * stride
    while n < end * stride:
        matrix[at(row + n)] -= factor * matrix[at(other + n)]
        n += stride


@cache
def log_determinants(dtype):
    """``log_determinant(matrix, m, scratch, s, log_det, v, d, stride)``.

    log|det matrix| by elimination with row pivoting, a matrix a thread; entries of a matrix stand
    ``stride`` apart.
    """

    @device
    def log_determinant(matrix, m, scratch, s, log_det, v, d, stride):
        copy(scratch, s, matrix, m, d * d, stride)
        volume = dtype(0.0)
        for c in range(d):
            own = s + c * d * stride
            other = s + largest(scratch, s, c, d, stride) * d * stride
            pivot = scratch[at(other + c * stride)]
            volume += math.log(math.fabs(pivot))
            n = c * stride
            while n < d * stride:  # the rows change places
                low, high = scratch[at(own + n)], scratch[at(other + n)]
                scratch[at(other + n)], scratch[at(own + n)] = low, high
                n += stride
            for i in range(c + 1, d):
                row = s + i * d * stride
                subtract(scratch, row, scratch[at(row + c * stride)] / pivot, own, c, d, stride)
        log_det[at(v)] = volume

    return log_determinant


@cache
def inversion(dtype):
    """``invert(matrix, m, inverse, k, scratch, s, log_det, v, d, stride)``.

    inverse = matrix^-1 and log|det matrix|, by Gauss-Jordan elimination in place with row pivoting,
    a matrix a thread; entries of a matrix stand ``stride`` apart.
    """

    @device
    def invert(matrix, m, inverse, k, scratch, s, log_det, v, d, stride):
        copy(inverse, k, matrix, m, d * d, stride)
        volume, size = dtype(0.0), d * stride
        for c in range(d):
            best = largest(inverse, k, c, d, stride)
            own, other, scratch[at(s + c * stride)] = k + c * size, k + best * size, best
            pivot = inverse[at(other + c * stride)]
            volume += math.log(math.fabs(pivot))
            n = 0
            while n < size:  # the rows change places, and the pivot's is divided by it
                low, high = inverse[at(own + n)], inverse[at(other + n)]
                inverse[at(other + n)] = low
                inverse[at(own + n)] = high / pivot
                n += stride
            inverse[at(own + c * stride)] = dtype(1.0) / pivot
            for i in range(d):
                row = k + i * size
                if i != c:
                    factor = inverse[at(row + c * stride)]
                    inverse[at(row + c * stride)] = dtype(0.0)
                    subtract(inverse, row, factor, own, 0, d, stride)
        for c in range(d - 1, -1, -1):  # rows that changed places are columns of the inverse
            first, second = k + c * stride, k + int(scratch[at(s + c * stride)]) * stride
            n = 0
            while n < d * size:
                low, high = inverse[at(first + n)], inverse[at(second + n)]
                inverse[at(second + n)], inverse[at(first + n)] = low, high
                n += size
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
