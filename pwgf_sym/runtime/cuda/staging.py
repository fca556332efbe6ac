"""What a block of threads brings from memory to shared memory, without waiting for it."""

from __future__ import annotations

from functools import cache

import numpy as np

from .shared import BOUNDARY, lanes_of
from .toolkit import asynchronous, cuda, device, part, simulated
from .wide import written_out

__all__ = ["arrived", "fetch_piece", "left_together", "stage", "stage_weights", "team_barrier"]
__all__ += ["thread_number"]

at = np.uint64


@cache
def thread_number():
    """``number()``: ``cuda.threadIdx.x``, asked for anew.

    What is computed from it is computed where it stands.  The compiler would take the places that
    every call computes of the thread's number out of the loops around the calls, and keep more of
    them than there are registers.
    """

    @device
    def plain():
        return cuda.threadIdx.x

    if simulated():
        return plain
    from llvmlite import ir
    from numba import types

    intrinsic = part("extending").intrinsic

    @intrinsic
    def number(typing):
        def lower(context, builder, signature, arguments):
            kind = ir.FunctionType(ir.IntType(32), [])
            text = ir.InlineAsm(kind, "mov.u32 $0, %tid.x;", "=r", side_effect=True)
            return builder.zext(builder.call(text, []), ir.IntType(64))

        return types.int64(), lower

    return number


@cache
def stage(dtype, threads: int):
    """``stage(R, start, pitch, rows, source, first, step, m, count)`` for a whole block.

    R[start + i*pitch + s] = source[first + i*step + s] for i < rows and s < count, from memory to
    shared memory, sixteen bytes at a time, of which all places and distances are multiples; zeros
    from row m on.  The numbers are there after :func:`arrived` and a barrier.
    """
    lanes, number, bring = lanes_of(np.dtype(dtype).name), thread_number(), fetch_piece(dtype)

    @device
    def stage(R, start, pitch, rows, source, first, step, m, count):
        pieces, lane = count // lanes, number()
        by = threads // pieces
        i, s = lane // pieces, lane % pieces * lanes
        target, place = start + i * pitch + s, first + i * step + s
        for k in range((rows + by - 1) // by):  # a few, which are unrolled
            if i + k * by < rows:
                bring(R, target + k * by * pitch, source, place + k * by * step, i + k * by < m)

    return stage


@cache
def stage_weights(dtype, threads: int, rows: int, wide: int):
    """``stage(R, start, source, first, row, m, term, count, whole)`` for a whole block.

    R[start + s*wide + i] = source[first + i*row + s*term] for i < rows and s < count; zeros from
    row m on, and for s from ``count`` to ``whole``.  As :func:`stage`, for few rows: a thread goes
    along one of them.
    """
    by = min(threads, 1 << (rows - 1).bit_length())
    together = threads // by
    number, bring = thread_number(), fetch(dtype)

    @device
    def stage(R, start, source, first, row, m, term, count, whole):
        lane = number()
        s, i = lane % together, lane // together
        if term != 1:  # neighbours in memory are rows
            s, i = lane // by, lane % by
        while i < rows:
            n, place, target = s, first + i * row + s * term, start + s * wide + i
            while n < count and i < m:
                bring(R, target, source, place)
                n += together
                place += together * term
                target += together * wide
            while n < whole:
                R[at(target)] = dtype(0.0)
                n += together
                target += together * wide
            i += by

    return stage


@cache
def fetch(dtype):
    """``bring(R, t, source, s)``: R[t] = source[s] from memory to shared memory, some time later.

    The thread does not wait, and needs no register for the number.
    """

    @device
    def copied(R, t, source, s):
        R[at(t)] = source[at(s)]

    def generate(builder, R, t, source, s):
        text = f"cp.async.ca.shared.global [$0], [$1], {R.size};"
        _assembly(builder, text, "l,l,~{memory}", _places(builder, R, t, source, s))

    return written_out(generate) if asynchronous() else copied


@cache
def fetch_piece(dtype):
    """``bring(R, t, source, s, there)``: R[t + k] = source[s + k] for sixteen bytes of numbers.

    As :func:`fetch`; zeros where ``there`` is false.  Both places are multiples of sixteen bytes.
    """
    count = lanes_of(np.dtype(dtype).name)

    @device
    def copied(R, t, source, s, there):
        for k in range(count):
            R[at(t + k)] = source[at(s + k)] if there else dtype(0.0)

    def generate(builder, R, t, source, s, there):
        from llvmlite import ir

        width = ir.IntType(32)
        size = builder.select(there.as_bit(builder), width(BOUNDARY), width(0))
        text = f"cp.async.ca.shared.global [$0], [$1], {BOUNDARY}, $2;"
        _assembly(builder, text, "l,l,r,~{memory}", [*_places(builder, R, t, source, s), size])

    return written_out(generate) if asynchronous() else copied


def _places(builder, R, t, source, s) -> list:
    """Addresses in shared and in global memory."""
    from llvmlite import ir

    places = []
    for array, index, space in ((R, t, 3), (source, s, 1)):
        place = builder.gep(array.value, [index.value])
        place = builder.addrspacecast(place, ir.PointerType(array.entry, space))
        places.append(builder.ptrtoint(place, ir.IntType(64)))
    return places


@cache
def left_together():
    """``commit()``: what the thread has fetched since the last call arrives together."""
    return _without_arguments("cp.async.commit_group;")


@cache
def arrived(but: int = 0):
    """``wait()``: the thread waits for all that it has fetched, or but for the last groups.

    Groups end where :func:`left_together` is called.
    """
    return _without_arguments(f"cp.async.wait_group {but};" if but else "cp.async.wait_all;")


def _without_arguments(text: str):
    @device
    def nothing():
        pass

    def generate(builder):
        _assembly(builder, text, "~{memory}", [])

    return written_out(generate) if asynchronous() else nothing


@cache
def team_barrier():
    """``wait()``: the threads of a warp wait for each other, and see what they have written."""

    @device
    def whole_block():
        cuda.syncthreads()

    @device
    def one_warp():
        cuda.syncwarp()

    return whole_block if simulated() else one_warp


def _assembly(builder, text: str, constraints: str, arguments) -> None:
    from llvmlite import ir

    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    builder.call(ir.InlineAsm(kind, text, constraints, side_effect=True), arguments)
