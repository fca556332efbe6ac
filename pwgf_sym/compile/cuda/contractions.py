"""Contractions with weights, as device functions that generated kernels call.

The block computes sum over s of weights[r, s] values[s, n] for rows r and all of its samples n.
Threads of a warp take its own samples only: what a warp reads, and who reads its results, is in
the warp, and the block meets only where weights come that its warps share.  A thread waits for no
number from memory by itself: values are on their way to shared memory for several turns before they
are multiplied.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from ...emit.cuda.schedule import STAGES, TEAM, lanes_of, pitch
from ...emit.cuda.schedule import spread as spread_on_host
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

__all__ = ["contract", "contract_near"]

# Rows between those of neighbouring threads: so many are half of all banks apart.
_ROWS = 4


@cache
def contract(dtype, threads: int, rows: int, samples: int):
    """``contract(more, W, c, room, weights, w, row, term, values, v, step, m, count, one)``.

    The whole block computes, for rows r < rows*samples and all of its samples n,

        W[c + r*pitch + n] = sum over s < count of weights[w + r*row + s*term]
                             * (values[v + s*step] of sample n);

    added to what is there where ``more`` is true; rows from ``m`` on have no meaning, and their
    distance is :func:`...emit.cuda.schedule.pitch`.  A thread
    takes ``rows`` rows of ``samples`` samples: a number that it reads is used several times.
    The shared array W has, from ``room`` on, the values of a few turns and then weights, as many
    terms as fit.  Of results a thread may read those of its warp's samples.
    """
    lanes, team = lanes_of(np.dtype(dtype).name), min(TEAM, threads)
    tile, size, pieces = rows * samples, lanes * threads, team // lanes  # of a thread, turn, term
    bring, commit, wait = fetch_piece(dtype), left_together(), arrived(STAGES - 2)
    wait_for_all = arrived()
    meet, number, early, last = team_barrier(), thread_number(), STAGES - 1, STAGES * size - 1
    begin, end, stage, wide = _parts(dtype, threads, rows, samples)
    add = turn(dtype, *_places(dtype, threads, rows, samples), lanes, wide, threads)

    @device
    def contract(more, W, c, room, weights, w, row, term, values, v, step, m, count, one):
        lane = number()
        total = cuda.local.array(tile, dtype)
        left, right = cuda.local.array(rows, dtype), cuda.local.array(samples, dtype)
        place, first_row, first = begin(total, more, W, c)
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
        end(total, W, place, count)

    return contract


@cache
def contract_near(dtype, threads: int, rows: int, samples: int):
    """As :func:`contract`, of values that stand in W, at v + s*pitch + n.

    Those of as many terms as fill the last turn have to be there; they do not count.
    """
    lanes, tile = lanes_of(np.dtype(dtype).name), rows * samples
    wait, number = arrived(), thread_number()
    begin, end, stage, wide = _parts(dtype, threads, rows, samples)
    distance = pitch(threads, lanes)
    add = turn(dtype, *_places(dtype, threads, rows, samples), lanes, wide, distance)

    @device
    def contract_near(more, W, c, room, weights, w, row, term, v, m, count, one):
        lane = number()
        total = cuda.local.array(tile, dtype)
        left, right = cuda.local.array(rows, dtype), cuda.local.array(samples, dtype)
        place, first_row, first = begin(total, more, W, c)
        most, start = (W.size - room) // wide // lanes * lanes, 0
        while start < count:
            terms = min(most, count - start)
            cuda.syncthreads()
            stage(W, room, weights, w + start * term, row, m, term, terms)
            wait()
            cuda.syncthreads()
            n, turns = room + first_row, np.int32((terms + lanes - 1) // lanes * one)
            own = v - lane + first + start * distance
            while turns > 0:
                add(total, left, right, W, n, own)
                n += lanes * wide
                own += lanes * distance
                turns = np.int32(turns - 1)
            start += most
        end(total, W, place, count)

    return contract_near


def _places(dtype, threads: int, rows: int, samples: int) -> tuple[tuple, tuple]:
    """Rows and samples of a thread, from its first ones on.

    Two threads read alternate pieces of rows, and neighbours alternate pieces of samples: so what a
    quarter of a warp reads or writes at once is in different banks of shared memory.
    """
    lanes, team = lanes_of(np.dtype(dtype).name), min(TEAM, threads)
    piece, chunk = math.gcd(samples, lanes), math.gcd(rows, _ROWS)
    between = 2 * chunk if samples > 1 else chunk
    lines = tuple(r // chunk * between + r % chunk for r in range(rows))
    return lines, tuple(c // piece * (team // samples * piece) + c % piece for c in range(samples))


@cache
def _parts(dtype, threads: int, rows: int, samples: int):
    """What both kinds are made of.

    ``begin(total, more, W, c)``, which gives a thread's place of results, first row and first
    sample; ``end(total, W, place, count)``; ``stage(...)`` for weights, and the distance of their
    terms.
    """
    size, lanes, team = rows * samples, lanes_of(np.dtype(dtype).name), min(TEAM, threads)
    wide, across, distance = spread_on_host(size, lanes), team // samples, pitch(threads, lanes)
    lines, columns = _places(dtype, threads, rows, samples)
    piece, chunk = math.gcd(samples, lanes), math.gcd(rows, _ROWS)
    stage_terms = stage_weights(dtype, threads, size, wide)
    take_tile, put_tile = (make(dtype, samples, rows, columns, lines) for make in (take, put))
    set_zero, meet, number = clear(dtype, size), team_barrier(), thread_number()

    @device
    def begin(total, more, W, c):
        lane = number()
        own = lane % team
        other = own // 2  # neighbours have the same samples
        first_row = own % 2 * chunk + other // across * (2 * rows)
        if samples == 1:
            first_row, other = 0, own
        first = lane - own + other % across * piece
        place = c + first_row * distance + first
        if more:
            take_tile(total, W, place, distance)
        else:
            set_zero(total)
        return place, first_row, first

    @device
    def end(total, W, place, count):
        if count == 0:  # what is there may still be read, factors of another call by all warps
            cuda.syncthreads()
        put_tile(W, place, distance, total)
        meet()

    @device
    def stage(W, start, weights, w, row, m, term, terms):
        whole = (terms + lanes - 1) // lanes * lanes
        stage_terms(W, start, weights, w, row, m, term, terms, whole)

    return begin, end, stage, wide
