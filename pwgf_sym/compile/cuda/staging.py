"""What a block of threads brings from memory to shared memory, without waiting for it."""

from __future__ import annotations

from functools import cache

import numpy as np

from .toolkit import asynchronous, cuda, device, simulated
from .wide import written_out

__all__ = ["arrived", "stage", "stage_weights", "thread_number"]

at = np.uint64
# Neighbours among the threads that read neighbours in memory: two sectors of 32 bytes, or more.
_TOGETHER = 16


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
    from numba.cuda.extending import intrinsic

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
    """``stage(R, start, wide, rows, source, first, row, m, count)`` for a whole block.

    R[start + s*wide + i] = source[first + i*row + s] for i < rows and s < count, from memory to
    shared memory; zeros from row m on.  The numbers are there after :func:`arrived` and a barrier.
    """
    together = min(_TOGETHER, threads)
    by = threads // together
    number, bring = thread_number(), fetch(dtype)

    @device
    def stage(R, start, wide, rows, source, first, row, m, count):
        lane = number()
        s, top = lane % together, lane // together
        place, target, filled = first + s + top * row, start + s * wide, min(rows, m)
        while s < count:
            i, there = top, place
            while i < filled:
                bring(R, target + i, source, there)
                i += by
                there += by * row
            while i < rows:
                R[at(target + i)] = dtype(0.0)
                i += by
            s += together
            place += together
            target += together * wide

    return stage


@cache
def stage_weights(dtype, threads: int, rows: int, wide: int):
    """``stage(R, start, source, first, row, m, term, count)`` for a whole block.

    R[start + s*wide + i] = source[first + i*row + s*term] for i < rows and s < count; zeros from
    row m on.  As :func:`stage`, for few rows: a thread goes along one of them.
    """
    by = min(threads, 1 << (rows - 1).bit_length())
    together = threads // by
    number, bring = thread_number(), fetch(dtype)

    @device
    def stage(R, start, source, first, row, m, term, count):
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
            while n < count:
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
        from llvmlite import ir

        places = []
        for array, index, space in ((R, t, 3), (source, s, 1)):
            place = builder.gep(array.value, [index.value])
            place = builder.addrspacecast(place, ir.PointerType(array.entry, space))
            places.append(builder.ptrtoint(place, ir.IntType(64)))
        text = f"cp.async.ca.shared.global [$0], [$1], {R.size};"
        _assembly(builder, text, "l,l,~{memory}", places)

    return written_out(generate) if asynchronous() else copied


@cache
def arrived():
    """``wait()``: the thread waits for all that it has fetched."""

    @device
    def nothing():
        pass

    def generate(builder):
        _assembly(builder, "cp.async.wait_all;", "~{memory}", [])

    return written_out(generate) if asynchronous() else nothing


def _assembly(builder, text: str, constraints: str, arguments) -> None:
    from llvmlite import ir

    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    builder.call(ir.InlineAsm(kind, text, constraints, side_effect=True), arguments)
