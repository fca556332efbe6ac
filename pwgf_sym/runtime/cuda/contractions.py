"""Contractions with weights, as device functions that generated kernels call.

The block computes sum over s of weights[r, s] values[s, n] for rows r and all of its samples n:
:func:`begin`, one or more contractions whose sums its threads hold in registers, :func:`end`.
Threads of a warp take its own samples only: what a warp reads, and who reads its results, is in
the warp, and the block meets only where weights come that its warps share.  A thread waits for no
number from memory by itself: values are on their way to shared memory for several turns before they
are multiplied.  Places of values are those of the thread's own sample.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from .shared import STAGES, TEAM, lanes_of, pitch
from .shared import spread as spread_on_host
from .staging import (
    arrived,
    fetch_piece,
    left_together,
    stage_weights,
    team_barrier,
    thread_number,
)
from .toolkit import cuda, device
from .wide import clear, put, take, turn

__all__ = ["begin", "contract", "contract_near", "end"]

# Rows between those of neighbouring threads: so many are half of all banks apart.
_ROWS = 4


@cache
def begin(dtype, threads: int, rows: int, samples: int):
    """``begin(total, more, W, c)``: sums of a thread begin with what ``end`` left, or with zero.

    Nobody else writes there until :func:`end`, or reads.
    """
    lines, columns = _places(dtype, threads, rows, samples)
    take_tile, set_zero = take(dtype, samples, rows, columns, lines), clear(dtype, rows * samples)
    mine, distance = own_tile(dtype, threads, rows, samples), pitch_of(dtype, threads)

    @device
    def begin(total, more, W, c):
        first_row, first = mine()
        if more:
            take_tile(total, W, c + first_row * distance + first, distance)
        else:
            set_zero(total)

    return begin


@cache
def end(dtype, threads: int, rows: int, samples: int):
    """``end(total, W, c)``: the sums of row r and sample n stand in W[c + r*pitch + n].

    ``pitch`` is that of :func:`.shared.pitch`.  A thread may read those of its warp's
    samples.
    """
    lines, columns = _places(dtype, threads, rows, samples)
    put_tile, meet = put(dtype, samples, rows, columns, lines), team_barrier()
    mine, distance = own_tile(dtype, threads, rows, samples), pitch_of(dtype, threads)

    @device
    def end(total, W, c):
        first_row, first = mine()
        put_tile(W, c + first_row * distance + first, distance, total)
        meet()

    return end


@cache
def contract(dtype, threads: int, rows: int, samples: int):
    """``contract(total, W, room, weights, w, row, term, values, v, step, m, count, one)``.

    The whole block adds, for rows r < rows*samples and all of its samples n,

        sum over s < count of weights[w + r*row + s*term] * (values[v + s*step] of sample n)

    to what its threads hold in the registers ``total``; rows from ``m`` on have no meaning.  A
    thread takes ``rows`` rows of ``samples`` samples: a number that it reads is used several times.
    The shared array W has, from ``room`` on, the values of a few turns and then weights, as many
    terms as fit.
    """
    lanes, team = lanes_of(np.dtype(dtype).name), min(TEAM, threads)
    size, pieces = lanes * threads, team // lanes  # numbers of a turn, pieces of a term
    bring, commit, wait = fetch_piece(dtype), left_together(), arrived(STAGES - 2)
    wait_for_all, meet, number = arrived(), team_barrier(), thread_number()
    early, last, wide = STAGES - 1, STAGES * size - 1, spread_on_host(rows * samples, lanes)
    mine, stage = own_tile(dtype, threads, rows, samples), _stage(dtype, threads, rows * samples)
    add = turn(dtype, *_places(dtype, threads, rows, samples), lanes, wide, threads)

    @device
    def contract(total, W, room, weights, w, row, term, values, v, step, m, count, one):
        lane = number()
        left, right = cuda.local.array(rows, dtype), cuda.local.array(samples, dtype)
        first_row, first = mine()
        own = lane % team
        s, piece = own // pieces, own % pieces * lanes + lane - own
        source, into = v - lane + piece + s * step, room + piece + s * threads
        weight = room + STAGES * size
        most, start = (W.size - weight) // wide // lanes * lanes, 0
        while start < count:
            terms = min(most, count - start)
            cuda.syncthreads()
            stage(W, weight, weights, w + start * term, row, m, term, terms)
            for k in range(early):
                there, ahead = s + k * lanes < terms, source + k * lanes * step
                bring(W, into + k * size, values, ahead, there)
                commit()
            wait()
            cuda.syncthreads()
            n, turns = weight + first_row, np.int32((terms + lanes - 1) // lanes * one)
            left_terms, here, ahead = np.int32(terms - s - early * lanes), 0, early * size
            source += early * lanes * step
            while turns > 0:
                wait()
                meet()
                bring(W, into + ahead, values, source, left_terms > 0)
                commit()
                add(total, left, right, W, n, room + here + first)
                n += lanes * wide
                source += lanes * step
                here, ahead = (here + size) & last, (ahead + size) & last
                left_terms, turns = np.int32(left_terms - lanes), np.int32(turns - 1)
            wait_for_all()
            start += most
            source = v - lane + piece + (s + start) * step

    return contract


@cache
def contract_near(dtype, threads: int, rows: int, samples: int):
    """As :func:`contract`, of values that stand in W, at v + s*pitch + n.

    Those of as many terms as fill the last turn have to be there, and finite; they do not count.
    """
    lanes, number, wait = lanes_of(np.dtype(dtype).name), thread_number(), arrived()
    wide, distance = spread_on_host(rows * samples, lanes), pitch_of(dtype, threads)
    mine, stage = own_tile(dtype, threads, rows, samples), _stage(dtype, threads, rows * samples)
    add = turn(dtype, *_places(dtype, threads, rows, samples), lanes, wide, distance)

    @device
    def contract_near(total, W, room, weights, w, row, term, v, m, count, one):
        left, right = cuda.local.array(rows, dtype), cuda.local.array(samples, dtype)
        first_row, first = mine()
        most, start = (W.size - room) // wide // lanes * lanes, 0
        while start < count:
            terms = min(most, count - start)
            cuda.syncthreads()
            stage(W, room, weights, w + start * term, row, m, term, terms)
            wait()
            cuda.syncthreads()
            n, turns = room + first_row, np.int32((terms + lanes - 1) // lanes * one)
            own = v - number() + first + start * distance
            while turns > 0:
                add(total, left, right, W, n, own)
                n += lanes * wide
                own += lanes * distance
                turns = np.int32(turns - 1)
            start += most

    return contract_near


def pitch_of(dtype, threads: int) -> int:
    """The distance of rows of results."""
    return pitch(threads, lanes_of(np.dtype(dtype).name))


def _places(dtype, threads: int, rows: int, samples: int) -> tuple[tuple, tuple]:
    """Rows and samples of a thread, from its first ones on.

    Two threads read alternate pieces of rows, and neighbours alternate pieces of samples: so what a
    quarter of a warp reads or writes at once is in different banks of shared memory, if four
    divides the rows.
    """
    lanes, team = lanes_of(np.dtype(dtype).name), min(TEAM, threads)
    piece, chunk = math.gcd(samples, lanes), math.gcd(rows, _ROWS)
    between = 2 * chunk if samples > 1 else chunk
    lines = tuple(r // chunk * between + r % chunk for r in range(rows))
    return lines, tuple(c // piece * (team // samples * piece) + c % piece for c in range(samples))


@cache
def own_tile(dtype, threads: int, rows: int, samples: int):
    """``mine()``: the first row and the first sample of a thread."""
    lanes, team, number = lanes_of(np.dtype(dtype).name), min(TEAM, threads), thread_number()
    piece, chunk, across = math.gcd(samples, lanes), math.gcd(rows, _ROWS), team // samples

    @device
    def mine():
        lane = number()
        own = lane % team
        other = own // 2  # neighbours have the same samples
        first_row = own % 2 * chunk + other // across * (2 * rows)
        if samples == 1:
            first_row, other = 0, own
        return first_row, lane - own + other % across * piece

    return mine


@cache
def _stage(dtype, threads: int, size: int):
    """``stage(W, start, weights, w, row, m, term, terms)``: weights of whole turns of terms."""
    lanes = lanes_of(np.dtype(dtype).name)
    stage_terms = stage_weights(dtype, threads, size, spread_on_host(size, lanes))

    @device
    def stage(W, start, weights, w, row, m, term, terms):
        whole = (terms + lanes - 1) // lanes * lanes
        stage_terms(W, start, weights, w, row, m, term, terms, whole)

    return stage
