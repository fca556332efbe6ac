"""Tiles in registers: read sixteen bytes at a time, multiplied and added.

A multiprocessor reads shared memory for one warp a cycle and multiplies for four: with a read for
every product three quarters of the multiply-adds would wait.  Numba knows no such read.  Loops over
the entries of a tile are written out here rather than left to Numba, which takes its time for them.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from .shared import lanes_of
from .toolkit import device, part, simulated

__all__ = ["add_products", "clear", "put", "take", "turn", "written_out"]


@cache
def take(dtype, count: int, rows: int = 1, columns=(), lines=()):
    """``take(target, source, s, step)``: target[r*count + k] = source[s + r*step + k].

    For k < count, r < rows.  ``target`` is in registers; ``source`` begins at a multiple of sixteen
    bytes, and ``s``, ``step`` and ``count`` are multiples of what is read at a time
    (:func:`_at_a_time`).  ``columns`` and ``lines`` hold other places than k and r in ``source``.
    """
    lanes, columns, lines = _at_a_time(dtype, count), columns or range(count), lines or range(rows)

    @device
    def copied(target, source, s, step):
        for r in range(rows):
            for k in range(count):
                target[r * count + k] = source[int(s) + lines[r] * step + columns[k]]

    def generate(builder, target, source, s, step):
        for number, (r, k) in _places(rows, count, lanes):
            place, align = source.vector(builder, s, step, lines[r], columns[k], lanes)
            value = builder.load(place, align=align)
            builder.store(value, target.held(builder, number, lanes), align=target.size)

    return copied if simulated() else written_out(generate)


@cache
def put(dtype, count: int, rows: int = 1, columns=(), lines=()):
    """``put(target, t, step, source)``: target[t + r*step + k] = source[r*count + k].

    The inverse of :func:`take`: ``source`` is in registers, ``target`` in memory.
    """
    lanes, columns, lines = _at_a_time(dtype, count), columns or range(count), lines or range(rows)

    @device
    def copied(target, t, step, source):
        for r in range(rows):
            for k in range(count):
                target[int(t) + lines[r] * step + columns[k]] = source[r * count + k]

    def generate(builder, target, t, step, source):
        for number, (r, k) in _places(rows, count, lanes):
            place, align = target.vector(builder, t, step, lines[r], columns[k], lanes)
            value = builder.load(source.held(builder, number, lanes), align=source.size)
            builder.store(value, place, align=align)

    return copied if simulated() else written_out(generate)


def _places(rows: int, count: int, lanes: int):
    """(Number in registers, (row, first number of the row)) of every access."""
    rest = ((r, k) for r in range(rows) for k in range(0, count, lanes))
    return ((r * count + k, (r, k)) for r, k in rest)


def _at_a_time(dtype, count: int) -> int:
    """Numbers of one access: sixteen bytes of them, or fewer that divide the count."""
    return math.gcd(count, lanes_of(np.dtype(dtype).name))


@cache
def add_products(dtype, rows: int, columns: int):
    """``add(acc, R, a, b, a_step, b_step)``, for the numbers k of sixteen bytes:

    acc[r*columns + c] += sum over k of R[a + r*a_step + k] R[b + c*b_step + k]; acc is in
    registers.
    """
    lanes = lanes_of(np.dtype(dtype).name)

    @device
    def added(acc, R, a, b, a_step, b_step):
        for r in range(rows):
            for k in range(lanes):
                for c in range(columns):
                    product = R[int(a) + r * a_step + k] * R[int(b) + c * b_step + k]
                    acc[r * columns + c] += product

    def generate(builder, acc, R, a, b, a_step, b_step):
        def vector(first, step, number: int):
            place, align = R.vector(builder, first.plus(builder, step, number), step, 0, 0, lanes)
            whole = builder.load(place, align=align)
            return [builder.extract_element(whole, _constant(k)) for k in range(lanes)]

        others = [vector(b, b_step, c) for c in range(columns)]
        width = _at_a_time(dtype, columns)
        beside = [
            [_joined(builder, [o[k] for o in others[c : c + width]]) for k in range(lanes)]
            for c in range(0, columns, width)
        ]
        for r in range(rows):
            own = [_spread(builder, x, width) for x in vector(a, a_step, r)]
            for c, other in enumerate(beside):
                place = acc.held(builder, r * columns + c * width, width)
                total = builder.load(place, align=acc.size)
                for x, y in zip(own, other, strict=True):
                    total = builder.fadd(total, builder.fmul(x, y))
                builder.store(total, place, align=acc.size)

    return added if simulated() else written_out(generate)


def _add_outer(builder, dtype, acc, a, b, rows: int, columns: int) -> None:
    """acc[r*columns + c] += a[r] b[c]."""
    lanes = _at_a_time(dtype, columns)
    own = [a.spread(builder, r, lanes) for r in range(rows)]
    places = [b.held(builder, c, lanes) for c in range(0, columns, lanes)]
    other = [builder.load(place, align=b.size) for place in places]
    for k, (x, y) in enumerate((x, y) for x in own for y in other):
        place = acc.held(builder, k * lanes, lanes)
        total = builder.fadd(builder.load(place, align=acc.size), builder.fmul(x, y))
        builder.store(total, place, align=acc.size)


def _read(builder, dtype, target, source, s, places) -> None:
    """target[k] = source[s + places[k]]."""
    lanes = _at_a_time(dtype, len(places))
    for k in range(0, len(places), lanes):
        place, align = source.vector(builder, s, s, 0, places[k], lanes)
        value = builder.load(place, align=align)
        builder.store(value, target.held(builder, k, lanes), align=target.size)


@cache
def turn(dtype, lines: tuple, columns: tuple, terms: int, wide: int, distance: int):
    """``add(total, left, right, W, s, v)``: a few terms of a contraction.

    total[r, c] += W[s + k*wide + lines[r]] W[v + k*distance + columns[c]] for k < terms; ``left``
    and ``right`` are registers for the factors of a term.
    """
    rows, samples = len(lines), len(columns)

    @device
    def added(total, left, right, W, s, v):
        for k in range(terms):
            for r in range(rows):
                left[r] = W[int(s) + k * wide + lines[r]]
            for c in range(samples):
                right[c] = W[int(v) + k * distance + columns[c]]
            for r in range(rows):
                for c in range(samples):
                    total[r * samples + c] += left[r] * right[c]

    def generate(builder, total, left, right, W, s, v):
        for k in range(terms):
            _read(builder, dtype, left, W, s.plus(builder, wide, k), lines)
            _read(builder, dtype, right, W, v.plus(builder, distance, k), columns)
            _add_outer(builder, dtype, total, left, right, rows, samples)

    return added if simulated() else written_out(generate)


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

    return cleared if simulated() else written_out(generate)


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
        return _spread(builder, builder.load(self.held(builder, k, 1)), lanes)

    def plus(self, builder, step, times: int):
        """The number + step*times."""
        kind = self.value.type
        if isinstance(step, int):
            return _Operand(builder.add(self.value, kind(step * times)), kind)
        wide = step.value if step.value.type == kind else builder.sext(step.value, kind)
        return _Operand(builder.add(self.value, builder.mul(wide, kind(times))), kind)

    def as_bit(self, builder):
        """Whether the number is not 0."""
        return builder.icmp_unsigned("!=", self.value, self.value.type(0))

    def vector(self, builder, first: _Operand, step: _Operand, r: int, k: int, lanes: int):
        """Where entries begin at first + r*step + k; and the bytes that this place aligns to."""
        number = first.plus(builder, 1, k)
        number = number.plus(builder, step, r) if r else number
        place = self._as_vector(builder, builder.gep(self.value, [number.value]), lanes)
        return place, lanes * self.size


def _spread(builder, value, lanes: int):
    """A number in all lanes."""
    from llvmlite import ir

    if lanes == 1:
        return value
    kind = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, _constant(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
    return builder.shuffle_vector(first, first, mask)


def _joined(builder, values):
    """Numbers as lanes."""
    from llvmlite import ir

    if len(values) == 1:
        return values[0]
    found = ir.Constant(ir.VectorType(values[0].type, len(values)), ir.Undefined)
    for k, value in enumerate(values):
        found = builder.insert_element(found, value, _constant(k))
    return found


def _constant(k: int):
    from llvmlite import ir

    return ir.IntType(32)(k)


def written_out(generate):
    """A function whose code ``generate(builder, ...)`` writes."""
    from numba import types

    intrinsic = part("extending").intrinsic

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
    def of_four(typing, first, second, third, fourth):
        return types.void(first, second, third, fourth), lower

    @intrinsic
    def of_five(typing, a, b, c, d, e):
        return types.void(a, b, c, d, e), lower

    @intrinsic
    def of_six(typing, a, b, c, d, e, f):
        return types.void(a, b, c, d, e, f), lower

    count = generate.__code__.co_argcount - 1
    known = {0: of_none, 1: of_one, 4: of_four, 5: of_five, 6: of_six}
    return known[count]
