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

from ...emit.cuda.schedule import STAGES, TEAM, lanes_of
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


@cache
def contract(dtype, threads: int, rows: int, samples: int):
    """``contract(more, W, c, room, weights, w, row, term, values, v, step, m, count, one)``.

    The whole block computes, for rows r < rows*samples and all of its samples n,

        W[c + r*threads + n] = sum over s < count of weights[w + r*row + s*term]
                               * (values[v + s*step] of sample n);

    added to what is there where ``more`` is true; rows from ``m`` on have no meaning.  A thread
    takes ``rows`` rows of ``samples`` samples: a number that it reads is used several times.
    The shared array W has, from ``room`` on, the values of a few turns and then weights, as many
    terms as fit.  Of results a thread may read those of its warp's samples.
    """
    lanes, team = lanes_of(np.dtype(dtype).name), min(TEAM, threads)
    tile, size, pieces = rows * samples, lanes * threads, team // lanes  # of a thread, turn, term
    bring, commit, wait = fetch_piece(dtype), left_together(), arrived(STAGES - 2)
    wait_for_all = arrived()
    meet, number, early, last = team_barrier(), thread_number(), STAGES - 1, STAGES * size - 1
    begin, add, end, stage, wide = _parts(dtype, threads, rows, samples)

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
    """As :func:`contract`, of values that stand in W, at v + s*threads + n.

    Those of as many terms as fill the last turn have to be there; they do not count.
    """
    lanes, tile = lanes_of(np.dtype(dtype).name), rows * samples
    wait, number = arrived(), thread_number()
    begin, add, end, stage, wide = _parts(dtype, threads, rows, samples)

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
            own = v - lane + first + start * threads
            while turns > 0:
                add(total, left, right, W, n, own)
                n += lanes * wide
                own += lanes * threads
                turns = np.int32(turns - 1)
            start += most
        end(total, W, place, count)

    return contract_near


@cache
def _parts(dtype, threads: int, rows: int, samples: int):
    """What both kinds are made of.

    ``begin(total, more, W, c)``, which gives a thread's place of results, first row and first
    sample; ``add(total, left, right, W, s, v)`` for the terms of a turn; ``end(total, W, place,
    count)``; ``stage(...)`` for weights, and the distance of their terms.
    """
    size, lanes, team = rows * samples, lanes_of(np.dtype(dtype).name), min(TEAM, threads)
    wide, across = spread_on_host(size, lanes), team // samples
    stage_terms = stage_weights(dtype, threads, size, wide)
    piece = math.gcd(samples, lanes)  # of the samples of a thread; the next is as far as a row of
    gap = across * piece  # pieces is wide, for the banks' sake
    take_tile, put_tile = take(dtype, samples, rows, gap), put(dtype, samples, rows, gap)
    set_zero, meet, number = clear(dtype, size), team_barrier(), thread_number()
    add = turn(dtype, rows, samples, lanes, wide, threads, gap)

    @device
    def begin(total, more, W, c):
        lane = number()
        own = lane % team
        group, other = own % 2, own // 2  # neighbours have the same samples, for the banks' sake
        if samples == 1:
            group, other = 0, own
        first_row = (group + other // across * 2) * rows
        first = lane - own + other % across * piece
        place = c + first_row * threads + first
        if more:
            take_tile(total, W, place, threads)
        else:
            set_zero(total)
        return place, first_row, first

    @device
    def end(total, W, place, count):
        if count == 0:  # what is there may still be read, factors of another call by all warps
            cuda.syncthreads()
        put_tile(W, place, threads, total)
        meet()

    @device
    def stage(W, start, weights, w, row, m, term, terms):
        whole = (terms + lanes - 1) // lanes * lanes
        stage_terms(W, start, weights, w, row, m, term, terms, whole)

    return begin, add, end, stage, wide
