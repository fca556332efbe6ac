"""Tiles in registers: read sixteen bytes at a time, multiplied and added; and what is staged.

A multiprocessor reads shared memory for one warp a cycle and multiplies for four: with a read for
every product three quarters of the multiply-adds would wait.  Numba knows no such read.  Loops over
the entries of a tile are written out here rather than left to Numba, which takes its time for them.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from ...emit.cuda.schedule import lanes_of
from .toolkit import asynchronous, cuda, device, simulated

__all__ = ["add_outer", "arrived", "clear", "put", "stage", "stage_weights", "take"]
__all__ += ["thread_number"]

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

    return _written_out(generate) if asynchronous() else copied


@cache
def arrived():
    """``wait()``: the thread waits for all that it has fetched."""

    @device
    def nothing():
        pass

    def generate(builder):
        _assembly(builder, "cp.async.wait_all;", "~{memory}", [])

    return _written_out(generate) if asynchronous() else nothing


def _assembly(builder, text: str, constraints: str, arguments) -> None:
    from llvmlite import ir

    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    builder.call(ir.InlineAsm(kind, text, constraints, side_effect=True), arguments)


@cache
def take(dtype, count: int, rows: int = 1, first: int = 0):
    """``take(target, source, s, step)``: target[first + r*count + k] = source[s + r*step + k].

    For k < count, r < rows.  ``target`` is in registers; ``source`` begins at a multiple of sixteen
    bytes, and ``s``, ``step`` and ``count`` are multiples of what is read at a time
    (:func:`_at_a_time`).
    """
    lanes = _at_a_time(dtype, count)

    @device
    def copied(target, source, s, step):
        for r in range(rows):
            for k in range(count):
                target[first + r * count + k] = source[int(s) + r * step + k]

    def generate(builder, target, source, s, step):
        for number, (r, k) in _places(rows, count, lanes):
            place, align = source.vector(builder, s, step, r, k, lanes)
            value = builder.load(place, align=align)
            builder.store(value, target.held(builder, first + number, lanes), align=target.size)

    return copied if simulated() else _written_out(generate)


@cache
def put(dtype, count: int, rows: int = 1):
    """``put(target, t, step, source)``: target[t + r*step + k] = source[r*count + k].

    The inverse of :func:`take`: ``source`` is in registers, ``target`` in memory.
    """
    lanes = _at_a_time(dtype, count)

    @device
    def copied(target, t, step, source):
        for r in range(rows):
            for k in range(count):
                target[int(t) + r * step + k] = source[r * count + k]

    def generate(builder, target, t, step, source):
        for number, (r, k) in _places(rows, count, lanes):
            place, align = target.vector(builder, t, step, r, k, lanes)
            value = builder.load(source.held(builder, number, lanes), align=source.size)
            builder.store(value, place, align=align)

    return copied if simulated() else _written_out(generate)


def _places(rows: int, count: int, lanes: int):
    """(Number in registers, (row, first number of the row)) of every access."""
    rest = ((r, k) for r in range(rows) for k in range(0, count, lanes))
    return ((r * count + k, (r, k)) for r, k in rest)


def _at_a_time(dtype, count: int) -> int:
    """Numbers of one access: sixteen bytes of them, or fewer that divide the count."""
    return math.gcd(count, lanes_of(np.dtype(dtype).name))


@cache
def add_outer(dtype, rows: int, columns: int, first: int = 0):
    """``add(acc, a, b)``: acc[r*columns + c] += a[r] b[first + c]; all are in registers."""
    lanes = _at_a_time(dtype, columns)

    @device
    def add(acc, a, b):
        for r in range(rows):
            for c in range(columns):
                acc[r * columns + c] += a[r] * b[first + c]

    def generate(builder, acc, a, b):
        own = [a.spread(builder, r, lanes) for r in range(rows)]
        places = [b.held(builder, first + c, lanes) for c in range(0, columns, lanes)]
        other = [builder.load(place, align=b.size) for place in places]
        for k, (x, y) in enumerate((x, y) for x in own for y in other):
            place = acc.held(builder, k * lanes, lanes)
            total = builder.fadd(builder.load(place, align=acc.size), builder.fmul(x, y))
            builder.store(total, place, align=acc.size)

    return add if simulated() else _written_out(generate)


@cache
def clear(dtype, count: int):
    """``clear(target)``: target[k] = 0, k < count, in registers."""
    lanes = _at_a_time(dtype, count)

    @device
    def cleared(target):
        for k in range(count):
            target[k] = dtype(0.0)

    def generate(builder, target):
        from llvmlite import ir

        for k in range(0, count, lanes):
            place = target.held(builder, k, lanes)
            builder.store(ir.Constant(place.type.pointee, None), place, align=target.size)

    return cleared if simulated() else _written_out(generate)


class _Operand(NamedTuple):
    """A number, or where an array begins; the type of an entry, and bytes of one."""

    value: object
    entry: object
    size: int = 0

    def held(self, builder, k: int, lanes: int):
        """Where entries of an array in registers are, from k on."""
        return self._as_vector(builder, builder.gep(self.value, [_constant(k)]), lanes)

    def _as_vector(self, builder, place, lanes: int):
        from llvmlite import ir

        if lanes == 1:
            return place
        return builder.bitcast(place, ir.VectorType(self.entry, lanes).as_pointer())

    def spread(self, builder, k: int, lanes: int):
        """An entry in all lanes."""
        from llvmlite import ir

        value = builder.load(self.held(builder, k, 1))
        if lanes == 1:
            return value
        kind = ir.VectorType(self.entry, lanes)
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, _constant(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
        return builder.shuffle_vector(first, first, mask)

    def vector(self, builder, first: _Operand, step: _Operand, r: int, k: int, lanes: int):
        """Where entries begin at first + r*step + k; and the bytes that this place aligns to."""
        kind = first.value.type
        number = builder.add(first.value, kind(k))
        if r:
            wide = step.value if step.value.type == kind else builder.sext(step.value, kind)
            number = builder.add(number, builder.mul(wide, kind(r)))
        place = self._as_vector(builder, builder.gep(self.value, [number]), lanes)
        return place, lanes * self.size


def _constant(k: int):
    from llvmlite import ir

    return ir.IntType(32)(k)


def _written_out(generate):
    """A function of at most four arguments whose code ``generate(builder, ...)`` writes."""
    from numba import types
    from numba.cuda.extending import intrinsic

    def lower(context, builder, signature, arguments):
        operands = []
        for kind, value in zip(signature.args, arguments, strict=True):
            if not isinstance(kind, types.Array):
                operands.append(_Operand(value, value.type))
                continue
            array = context.make_array(kind)(context, builder, value)
            entry = context.get_data_type(kind.dtype)
            operands.append(_Operand(array.data, entry, kind.dtype.bitwidth // 8))
        generate(builder, *operands)
        return context.get_dummy_value()

    @intrinsic
    def of_none(typing):
        return types.void(), lower

    @intrinsic
    def of_one(typing, first):
        return types.void(first), lower

    @intrinsic
    def of_three(typing, first, second, third):
        return types.void(first, second, third), lower

    @intrinsic
    def of_four(typing, first, second, third, fourth):
        return types.void(first, second, third, fourth), lower

    count = generate.__code__.co_argcount - 1
    return {0: of_none, 1: of_one, 3: of_three, 4: of_four}[count]
