"""Sums over the samples of a block, as device functions that generated kernels call.

Samples stand side by side in memory, and sums run over them: threads read neighbours together, put
them into the shared array R, and add from there.  All orders are fixed.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ...emit.cuda.schedule import TEAM, lanes_of
from ...emit.cuda.schedule import spread as spread_on_host
from .staging import arrived, stage, thread_number
from .toolkit import cuda, device
from .wide import add_outer, clear, put, take

__all__ = ["outer_sums", "product_sums", "row_sums"]

at = np.uint64
# Rows of a sum over samples that a warp takes together.
_ROWS_AT_ONCE = 4

spread = device(spread_on_host)


@cache
def outer_sums(dtype, threads: int, rows: int, columns: int):
    """``add(more, sums, g, row, column, R, a, a0, a_step, m, b, b0, b_step, n, ...)``.

    The last arguments are ``chunk, groups, one``.

    sums[g + i*row + j*column] = sum over the block's samples of a[a0 + i*a_step] *
    b[b0 + j*b_step], i < m, j < n; added to what is there where ``more`` is true.  A thread takes
    ``rows`` times ``columns`` entries, ``chunk`` samples at a time, while the next ones come from
    memory; ``groups`` threads share the samples where there are more threads than entries.  What it
    has found it leaves in R, from where neighbours take neighbours to memory.
    """
    size, lanes = rows * columns, lanes_of(np.dtype(dtype).name)
    own_size, other_size = (-(-count // lanes) * lanes for count in (rows, columns))
    take_own, take_other = take(dtype, own_size), take(dtype, other_size)
    add_tile, set_zero = add_outer(dtype, rows, columns), clear(dtype, size)
    put_tile, wide = put(dtype, size), spread_on_host(size, lanes)
    stage_factor, wait, number = stage(dtype, threads), arrived(), thread_number()

    @device
    def add(more, sums, g, row, column, R, a, a0, a_step, m, b, b0, b_step, n, chunk, groups, one):
        lane = number()
        a0, b0 = a0 - lane, b0 - lane  # of the block's first sample
        down, across = (m + rows - 1) // rows, (n + columns - 1) // columns
        all_a, all_b = (down - 1) * rows + own_size, (across - 1) * columns + other_size
        wide_a, wide_b = spread(all_a, lanes), spread(all_b, lanes)
        tiles, half = down * across, chunk * (wide_a + wide_b)
        acc, found = cuda.local.array(size, dtype), cuda.local.array(rows, dtype)
        own, other = cuda.local.array(own_size, dtype), cuda.local.array(other_size, dtype)
        first = 0
        while first < tiles * groups * one:
            tile, group = (first + lane) // groups, (first + lane) % groups
            i, j, start = tile // across * rows, tile % across * columns, 0
            set_zero(acc)
            cuda.syncthreads()
            here, there = 0, half
            while start <= threads * one:  # a chunk comes, the one before is added
                if start < threads:
                    beside = here + chunk * wide_a
                    stage_factor(R, here, wide_a, all_a, a, a0 + start, a_step, m, chunk)
                    stage_factor(R, beside, wide_b, all_b, b, b0 + start, b_step, n, chunk)
                s, own_at = group, there + group * wide_a + i
                other_at = there + chunk * wide_a + group * wide_b + j
                while s < chunk * one and tile < tiles and start > 0:
                    take_own(own, R, own_at, 0)
                    take_other(other, R, other_at, 0)
                    add_tile(acc, own, other)
                    s += groups
                    own_at += groups * wide_a
                    other_at += groups * wide_b
                wait()
                cuda.syncthreads()
                here, there = there, here
                start += chunk
            if tile < tiles:
                put_tile(R, lane * wide, 0, acc)
            cuda.syncthreads()
            before = first // groups
            entry, end = lane, min(tiles - before, threads // groups) * columns * one
            while entry < end:  # a column of a tile
                tile, c = before + entry // columns, entry % columns
                i, j = tile // across * rows, tile % across * columns + c
                place, below = g + i * row + j * column, m - i if j < n else 0
                for r in range(rows):
                    there_is = more and r < below
                    found[r] = sums[at(place + r * row)] if there_is else dtype(0.0)
                s = (tile - before) * groups * wide + c
                last = s + groups * wide * one
                while s < last:
                    for r in range(rows):
                        found[r] += R[at(s + r * columns)]
                    s += wide
                for r in range(rows):
                    if r < below:
                        sums[at(place + r * row)] = found[r]
                entry += threads
            first += threads

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
