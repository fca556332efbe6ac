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

from ...emit.cuda.schedule import lanes_of
from .toolkit import device, simulated

__all__ = ["add_outer", "clear", "first_values", "put", "take", "turns", "written_out"]


@cache
def take(dtype, count: int, rows: int = 1):
    """``take(target, source, s, step)``: target[r*count + k] = source[s + r*step + k].

    For k < count, r < rows.  ``target`` is in registers; ``source`` begins at a multiple of sixteen
    bytes, and ``s``, ``step`` and ``count`` are multiples of what is read at a time
    (:func:`_at_a_time`).
    """
    lanes = _at_a_time(dtype, count)

    @device
    def copied(target, source, s, step):
        for r in range(rows):
            for k in range(count):
                target[r * count + k] = source[int(s) + r * step + k]

    def generate(builder, target, source, s, step):
        for number, (r, k) in _places(rows, count, lanes):
            place, align = source.vector(builder, s, step, r, k, lanes)
            value = builder.load(place, align=align)
            builder.store(value, target.held(builder, number, lanes), align=target.size)

    return copied if simulated() else written_out(generate)


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

    return copied if simulated() else written_out(generate)


def _places(rows: int, count: int, lanes: int):
    """(Number in registers, (row, first number of the row)) of every access."""
    rest = ((r, k) for r in range(rows) for k in range(0, count, lanes))
    return ((r * count + k, (r, k)) for r, k in rest)


def _at_a_time(dtype, count: int) -> int:
    """Numbers of one access: sixteen bytes of them, or fewer that divide the count."""
    return math.gcd(count, lanes_of(np.dtype(dtype).name))


@cache
def add_outer(dtype, rows: int, columns: int):
    """``add(acc, a, b)``: acc[r*columns + c] += a[r] b[c]; all are in registers."""

    @device
    def add(acc, a, b):
        for r in range(rows):
            for c in range(columns):
                acc[r * columns + c] += a[r] * b[c]

    def generate(builder, acc, a, b):
        _add_outer(builder, dtype, acc, a, b, 0, rows, columns)

    return add if simulated() else written_out(generate)


def _add_outer(builder, dtype, acc, a, b, first: int, rows: int, columns: int) -> None:
    """acc[r*columns + c] += a[r] b[first + c]."""
    lanes = _at_a_time(dtype, columns)
    own = [a.spread(builder, r, lanes) for r in range(rows)]
    places = [b.held(builder, first + c, lanes) for c in range(0, columns, lanes)]
    other = [builder.load(place, align=b.size) for place in places]
    for k, (x, y) in enumerate((x, y) for x in own for y in other):
        place = acc.held(builder, k * lanes, lanes)
        total = builder.fadd(builder.load(place, align=acc.size), builder.fmul(x, y))
        builder.store(total, place, align=acc.size)


def _read(builder, dtype, target, first: int, source, s, count: int) -> None:
    """target[first + k] = source[s + k], k < count."""
    lanes = _at_a_time(dtype, count)
    for k in range(0, count, lanes):
        place, align = source.vector(builder, s, s, 0, k, lanes)
        value = builder.load(place, align=align)
        builder.store(value, target.held(builder, first + k, lanes), align=target.size)


@cache
def first_values(dtype, samples: int, ahead: int):
    """``take(right, values, own, step, terms)``: right[k*samples + c] = values[own + k*step + c].

    For k < min(ahead, terms), c < samples: values of the first terms of a contraction.
    """

    @device
    def copied(right, values, own, step, terms):
        for k in range(min(ahead, terms)):
            for c in range(samples):
                right[k * samples + c] = values[int(own) + k * step + c]

    def generate(builder, right, values, own, step, terms):
        for k in range(ahead):
            with builder.if_then(terms.exceeds(builder, k)):
                place = own.plus(builder, step, k)
                _read(builder, dtype, right, k * samples, values, place, samples)

    return copied if simulated() else written_out(generate)


@cache
def turns(dtype, rows: int, samples: int, wide: int, ahead: int, whole: bool):
    """``turn(total, left, right, W, s, values, own, step, count)``: terms of a contraction.

    total[r*samples + c] += W[s + k*wide + r] right[k*samples + c] for ``ahead`` terms k where
    ``whole``: ``count`` others follow, of which the values that come ``ahead`` later take the place
    of those that were read.  Else for ``count`` terms, fewer than ``ahead``.
    """
    most = ahead if whole else ahead - 1

    @device
    def added(total, left, right, W, s, values, own, step, count):
        for k in range(most):
            for n in range(rows * samples if whole or k < count else 0):
                r, c = n // samples, n % samples
                total[n] += W[int(s) + k * wide + r] * right[k * samples + c]
            for c in range(samples if whole and k < count else 0):
                right[k * samples + c] = values[int(own) + (k + ahead) * step + c]

    def generate(builder, total, left, right, W, s, values, own, step, count):
        def add(k: int) -> None:
            _read(builder, dtype, left, 0, W, s.plus(builder, wide, k), rows)
            _add_outer(builder, dtype, total, left, right, k * samples, rows, samples)

        for k in range(most):
            if whole:
                add(k)
            with builder.if_then(count.exceeds(builder, k)):
                if whole:
                    place = own.plus(builder, step, k + ahead)
                    _read(builder, dtype, right, k * samples, values, place, samples)
                else:
                    add(k)

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
        from llvmlite import ir

        value = builder.load(self.held(builder, k, 1))
        if lanes == 1:
            return value
        kind = ir.VectorType(self.entry, lanes)
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, _constant(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
        return builder.shuffle_vector(first, first, mask)

    def plus(self, builder, step, times: int):
        """The number + step*times."""
        kind = self.value.type
        if isinstance(step, int):
            return _Operand(builder.add(self.value, kind(step * times)), kind)
        wide = step.value if step.value.type == kind else builder.sext(step.value, kind)
        return _Operand(builder.add(self.value, builder.mul(wide, kind(times))), kind)

    def exceeds(self, builder, k: int):
        """Whether the number is more than k."""
        return builder.icmp_signed(">", self.value, self.value.type(k))

    def vector(self, builder, first: _Operand, step: _Operand, r: int, k: int, lanes: int):
        """Where entries begin at first + r*step + k; and the bytes that this place aligns to."""
        number = first.plus(builder, 1, k)
        number = number.plus(builder, step, r) if r else number
        place = self._as_vector(builder, builder.gep(self.value, [number.value]), lanes)
        return place, lanes * self.size


def _constant(k: int):
    from llvmlite import ir

    return ir.IntType(32)(k)


def written_out(generate):
    """A function whose code ``generate(builder, ...)`` writes."""
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

    @intrinsic
    def of_five(typing, a, b, c, d, e):
        return types.void(a, b, c, d, e), lower

    @intrinsic
    def of_nine(typing, a, b, c, d, e, f, g, h, i):
        return types.void(a, b, c, d, e, f, g, h, i), lower

    count = generate.__code__.co_argcount - 1
    known = {0: of_none, 1: of_one, 3: of_three, 4: of_four, 5: of_five, 9: of_nine}
    return known[count]
