"""Tiles in registers: read from shared memory sixteen bytes at a time, multiplied and added.

A multiprocessor reads shared memory for one warp a cycle and multiplies for four: with a read for
every product three quarters of the multiply-adds would wait.  Numba knows no such read.  Loops over
the entries of a tile are written out here rather than left to Numba, which takes its time for them.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from ...emit.cuda.schedule import BOUNDARY, lanes_of
from .toolkit import device, simulated

__all__ = ["add_outer", "add_scaled", "take"]


@cache
def take(dtype, count: int):
    """``take(target, source, s)``: target[k] = source[s + k], k < count.

    ``target`` is in registers; ``count`` and ``s`` are multiples of the numbers in sixteen bytes,
    and the shared array ``source`` begins at a boundary of so many.
    """
    lanes = lanes_of(np.dtype(dtype).name)

    @device
    def copied(target, source, s):
        for k in range(count):
            target[k] = source[int(s) + k]

    def generate(builder, target, source, s):
        from llvmlite import ir

        for start in range(0, count, lanes):
            first = builder.gep(source.value, [builder.add(s.value, s.value.type(start))])
            vector = ir.VectorType(source.entry, lanes)
            found = builder.load(builder.bitcast(first, vector.as_pointer()))
            found.align = BOUNDARY
            for k in range(lanes):
                number = builder.extract_element(found, ir.IntType(32)(k))
                builder.store(number, target.place(builder, start + k))

    return copied if simulated() else _written_out(generate)


@cache
def add_outer(rows: int, columns: int):
    """``add(acc, a, b)``: acc[r*columns + c] += a[r] b[c]; all are in registers."""

    @device
    def add(acc, a, b):
        for r in range(rows):
            for c in range(columns):
                acc[r * columns + c] += a[r] * b[c]

    def generate(builder, acc, a, b):
        own = [builder.load(a.place(builder, r)) for r in range(rows)]
        other = [builder.load(b.place(builder, c)) for c in range(columns)]
        products = [(x, y) for x in own for y in other]
        _add_products(builder, acc, products)

    return add if simulated() else _written_out(generate)


@cache
def add_scaled(rows: int):
    """``add(acc, a, b)``: acc[r] += a[r] b for a number b; arrays are in registers."""

    @device
    def add(acc, a, b):
        for r in range(rows):
            acc[r] += a[r] * b

    def generate(builder, acc, a, b):
        products = [(builder.load(a.place(builder, r)), b.value) for r in range(rows)]
        _add_products(builder, acc, products)

    return add if simulated() else _written_out(generate)


class _Operand(NamedTuple):
    """A number, or where an array begins; and the type of an entry."""

    value: object
    entry: object

    def place(self, builder, k: int):
        """Where an entry of the array is."""
        from llvmlite import ir

        return builder.gep(self.value, [ir.IntType(32)(k)])


def _add_products(builder, acc: _Operand, products) -> None:
    for k, (x, y) in enumerate(products):
        place = acc.place(builder, k)
        builder.store(builder.fadd(builder.load(place), builder.fmul(x, y)), place)


def _written_out(generate):
    """A function of three arguments whose code ``generate(builder, *operands)`` writes."""
    from numba import types
    from numba.cuda.extending import intrinsic

    @intrinsic
    def function(typing, first, second, third):
        def lower(context, builder, signature, arguments):
            operands = []
            for kind, value in zip(signature.args, arguments, strict=True):
                if not isinstance(kind, types.Array):
                    operands.append(_Operand(value, value.type))
                    continue
                array = context.make_array(kind)(context, builder, value)
                operands.append(_Operand(array.data, context.get_data_type(kind.dtype)))
            generate(builder, *operands)
            return context.get_dummy_value()

        return types.void(first, second, third), lower

    return function
