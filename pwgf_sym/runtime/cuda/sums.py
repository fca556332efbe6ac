"""Sums over the samples of a block, as device functions that generated kernels call.

Samples stand side by side in memory, and sums run over them: threads read neighbours together, put
them into the shared array R, and add from there.  All orders are fixed.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .shared import TEAM, lanes_of
from .shared import spread as spread_on_host
from .staging import arrived, stage, thread_number
from .toolkit import cuda, device
from .wide import add_products, clear, put, take

__all__ = ["outer_sums", "product_sums", "row_sums"]

at = np.uint64
# Rows of a sum over samples that a warp takes together.
_ROWS_AT_ONCE = 4
# Tiles next to each other in a row that neighbours among the threads take.
_ACROSS = 8


@cache
def outer_sums(dtype, threads: int, rows: int, columns: int):
    """``add(more, sums, g, row, column, R, a, a0, a_step, m, b, b0, b_step, n, ...)``.

    The last arguments are ``chunk, down, across, one``.

    sums[g + i*row + j*column] = sum over the block's samples of a[a0 + i*a_step] *
    b[b0 + j*b_step], i < m, j < n; added to what is there where ``more`` is true.  A round takes
    ``down`` times ``across`` tiles, powers of two; a thread has ``rows`` times ``columns`` entries
    of a tile, as far apart as there are tiles, and reads a few samples at a time.  The factors come
    to shared memory ``chunk`` samples at a time, while the ones before are added.  Where there are
    more threads than tiles, some share the samples of a tile, and then its rows.
    """
    size, lanes = rows * columns, lanes_of(np.dtype(dtype).name)
    add_tile, set_zero = add_products(dtype, rows, columns), clear(dtype, size)
    put_tile, take_row = put(dtype, size), take(dtype, columns)
    wide, stage_factor = spread_on_host(size, lanes), stage(dtype, threads)
    wait, number, mixed = arrived(), thread_number(), threads % 16 == 0

    @device
    def add(
        more, sums, g, row, column, R, a, a0, a_step, m, b, b0, b_step, n, chunk, down, across, one
    ):
        lane = number()
        a0, b0 = a0 - lane, b0 - lane  # of the block's first sample
        if mixed:  # neighbours read the same entries of b, for the banks' sake
            lane = lane % 16 // 2 + lane % 2 * 8 + lane // 16 * 16
        tiles, pitch, vectors = down * across, chunk + lanes, chunk // lanes
        groups = min(threads // tiles, vectors)
        tile, group, side = lane // groups, lane % groups, min(across, _ACROSS)
        top = tile // side % down
        left = tile % side + tile // (side * down) * side
        all_a, all_b = down * rows, across * columns
        half = (all_a + all_b) * pitch
        acc = cuda.local.array(size, dtype)
        found, more_of_it = cuda.local.array(columns, dtype), cuda.local.array(columns, dtype)
        for i0 in range(0, m * one, all_a):
            for j0 in range(0, n * one, all_b):
                set_zero(acc)
                cuda.syncthreads()
                here, there, start = 0, half, 0
                while start <= threads * one:  # a chunk comes, the one before is added
                    if start < threads:
                        first, beside = a0 + i0 * a_step + start, b0 + j0 * b_step + start
                        stage_factor(R, here, pitch, all_a, a, first, a_step, m - i0, chunk)
                        next_factor = here + all_a * pitch
                        stage_factor(R, next_factor, pitch, all_b, b, beside, b_step, n - j0, chunk)
                    own, v = there + top * pitch + group * lanes, group
                    other = there + (all_a + left) * pitch + group * lanes
                    while v < vectors * one and tile < tiles and start > 0:
                        add_tile(acc, R, own, other, down * pitch, across * pitch)
                        v += groups
                        own += groups * lanes
                        other += groups * lanes
                    wait()
                    cuda.syncthreads()
                    here, there = there, here
                    start += chunk
                put_tile(R, lane * wide, 0, acc)
                cuda.syncthreads()
                r, i, slot = group, i0 + top + group * down, (lane - group) * wide
                place, before = g + i * row + (j0 + left) * column, n if more else 0
                while r < rows * one and i < m and tile < tiles:
                    # The same in every turn, but if the compiler knew it, it would write the loop
                    # once for each case that the comparisons below leave.
                    j = j0 + left + r * (one - 1)
                    take_row(found, R, slot + r * columns, 0)
                    for other in range(1, groups):
                        take_row(more_of_it, R, slot + other * wide + r * columns, 0)
                        for c in range(columns):
                            found[c] += more_of_it[c]
                    for c in range(columns):
                        if j + c * across < before:
                            found[c] += sums[at(place + c * across * column)]
                    for c in range(columns):
                        if j + c * across < n:
                            sums[at(place + c * across * column)] = found[c]
                    r += groups
                    i += groups * down
                    place += groups * down * row

    return add


@cache
def rows_adder(threads: int):
    """``add_rows(more, sums, g, row, R, top, bottom)`` for a whole block.

    sums[g + i*row] = the sum of R's row i - top, i from top to bottom; added to what is there where
    ``more`` is true.
    """
    team, number = min(TEAM, threads), thread_number()

    @device
    def add_rows(more, sums, g, row, R, top, bottom):
        lane = number()
        cuda.syncthreads()
        for i in range(top + lane, bottom, threads):
            total = R[at((i - top) * (team + 1))]
            for t in range(1, team):
                total += R[at((i - top) * (team + 1) + t)]
            if more:
                total += sums[at(g + i * row)]
            sums[at(g + i * row)] = total

    return add_rows


@cache
def product_sums(dtype, threads: int):
    """``add(more, sums, g, row, R, a, a0, a_step, b, b0, b_step, m, one)``: entry by entry.

    sums[g + i*row] = sum over the block's samples of a[a0 + i*a_step] * b[b0 + i*b_step], i < m;
    added to what is there where ``more`` is true.
    """
    team, add_rows, number = min(TEAM, threads), rows_adder(threads), thread_number()

    @device
    def add(more, sums, g, row, R, a, a0, a_step, b, b0, b_step, m, one):
        lane = number()
        a0, b0 = a0 - lane, b0 - lane
        most = R.size // (team + 1)
        for top in range(0, m, most):
            bottom = min(m, top + most)
            cuda.syncthreads()
            for i in range(top + lane // team, bottom, threads // team):
                value = dtype(0.0)
                for s in range(lane % team, threads * one, team):
                    value += a[at(a0 + i * a_step + s)] * b[at(b0 + i * b_step + s)]
                R[at((i - top) * (team + 1) + lane % team)] = value
            add_rows(more, sums, g, row, R, top, bottom)

    return add


@cache
def row_sums(dtype, threads: int):
    """``add(more, sums, g, row, R, a, a0, a_step, m, one)``.

    sums[g + i*row] = sum over the block's samples of a[a0 + i*a_step], i < m; added to what is
    there where ``more`` is true.  A warp asks for several rows before it adds up the first.
    """
    team, add_rows, number = min(TEAM, threads), rows_adder(threads), thread_number()
    teams, several = threads // team, _ROWS_AT_ONCE

    @device
    def add(more, sums, g, row, R, a, a0, a_step, m, one):
        lane = number()
        a0, own = a0 - lane + lane % team, lane % team
        most = R.size // (team + 1)
        for top in range(0, m, most):
            bottom = min(m, top + most)
            cuda.syncthreads()
            values = cuda.local.array(several, dtype)
            i = top + lane // team
            while i < bottom * one:
                for k in range(several):
                    values[k] = dtype(0.0)
                for s in range(0, threads, team):
                    for k in range(several):
                        if i + k * teams < bottom:
                            values[k] += a[at(a0 + (i + k * teams) * a_step + s)]
                for k in range(several):
                    if i + k * teams < bottom:
                        R[at((i + k * teams - top) * (team + 1) + own)] = values[k]
                i += several * teams
            add_rows(more, sums, g, row, R, top, bottom)

    return add
