"""Whole arrays in memory: functions of them, software-pipelined, and prefetching.

A function like tanh is a chain of some 25 dependent instructions.  A loop that computes it for one
tile after the other waits for the chain's end more often than the processor can look ahead; here
every turn of the loop runs the first stage of the function for one tile, the second for the tile
before and so on, which are independent of each other.  The results are the same to the bit.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.core.errors import NumbaTypeError
from numba.core.typing.templates import signature

from .tile_types import check_buffer, kernel_function, literal
from .tiles import pointer_to
from .vector_exponential import STAGED
from .vector_lanes import Floats, Lanes

__all__ = ["exp_array", "prefetch", "sigmoid_array", "tanh_array"]

_I64, _I32 = ir.IntType(64), ir.IntType(32)
_LINE = 64  # bytes of a line of the cache


def _typing(target, to, source, at, count, S):
    for array in (target, source):
        check_buffer(array)
    lanes, whole = literal("S", S), literal("count", count)
    if target.dtype != source.dtype or lanes & (lanes - 1) or whole % lanes:
        raise NumbaTypeError(
            f"got {target}, {source}, {whole} numbers, {lanes} at a time; accepted: arrays of one "
            "dtype, and a count that is a multiple of a power of two."
        )
    return signature(types.void, target, types.intp, source, types.intp, count, S)


def _array_function(name: str):
    def lowering(context, builder, sig, args):
        target, to, source, at = args[:4]
        count, S = (t.literal_value for t in sig.args[4:])
        lanes = Lanes(sig.args[0].dtype.bitwidth, S)
        function = _pipeline(builder.module, name, lanes)
        pointers = [
            builder.bitcast(pointer_to(context, builder, *where), lanes.type.as_pointer())
            for where in ((sig.args[0], target, (to, 1)), (sig.args[2], source, (at, 1)))
        ]
        builder.call(function, [*pointers, ir.Constant(_I64, count // S)])
        return context.get_dummy_value()

    lowering.__name__, lowering.__module__ = f"{name}_array", __name__
    lowering.__doc__ = (
        f"{name}_array(target, to, source, at, count, S): {name} of count numbers of source from "
        "at on, S at a time; target may be source."
    )
    return kernel_function(_typing)(lowering)


def _pipeline(module, name: str, lanes: Lanes):
    """The LLVM function (target, source, n) for n vectors, emitted once per module."""
    full_name = f"pwgf_{name}_array_{lanes.suffix}"
    function = module.globals.get(full_name)
    if function is None:
        pointer = lanes.type.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, pointer, _I64])
        function = ir.Function(module, kind, full_name)
        function.linkage = "internal"
        for attribute in ("noinline", "nounwind"):
            function.attributes.add(attribute)
        _Pipeline(function, lanes, STAGED[name]).emit()
    return function


class _Pipeline:
    """Vector i is at the last stage while vector i + 1 is at the one before, and so on."""

    def __init__(self, function, lanes: Lanes, staged):
        self.target, self.source, self.count = function.args
        self.lanes, self.last = lanes, staged.last
        self.stages = [staged.first, *staged.middle]  # all but the last
        self.entry, self.loop, self.rest = map(function.append_basic_block, ("a", "b", "c"))
        self.builder = ir.IRBuilder(self.entry)

    def emit(self) -> None:
        depth = len(self.stages)
        values = self._fill()
        builder = self.builder
        turns = builder.sub(self.count, _I64(depth))
        some = builder.icmp_signed(">", turns, _I64(0))
        builder.cbranch(some, self.loop, self.rest)
        filled = [[v.value for v in group] for group in values]
        builder.position_at_end(self.loop)
        i = self._phi(_I64, _I64(0))
        values = [[self._carried(v) for v in group] for group in filled]
        moved = self._turn(i, values)
        following = builder.add(i, _I64(1))
        self._close(i, following)
        for group, after in zip(values, moved):
            for old, new in zip(group, after):
                self._close(old.value, new.value)
        more = builder.icmp_signed("<", following, turns)
        builder.cbranch(more, self.loop, self.rest)
        builder.position_at_end(self.rest)
        self._drain(turns, filled, moved)
        builder.ret_void()

    def _phi(self, kind, start):
        phi = self.builder.phi(kind)
        phi.add_incoming(start, self.entry)
        return phi

    def _carried(self, start):
        return Floats(self.builder, self.lanes, self._phi(self.lanes.type, start))

    def _close(self, phi, value) -> None:
        phi.add_incoming(value, self.loop)

    def _load(self, i) -> Floats:
        at = self.builder.gep(self.source, [i])
        value = self.builder.load(at, align=self.lanes.bits // 8)
        return Floats(self.builder, self.lanes, value)

    def _store(self, i, values) -> None:
        result = self.last(*values, self._load(i))
        at = self.builder.gep(self.target, [i])
        self.builder.store(result.value, at, align=self.lanes.bits // 8)

    def _fill(self) -> list[list[Floats]]:
        """Values after each stage: the first vector is past all, the next past all but one, ..."""
        depth, found = len(self.stages), []
        for i in range(depth):
            values = self.stages[0](self._load(_I64(i)))
            for stage in self.stages[1 : depth - i]:
                values = stage(*values)
            found.insert(0, list(values))
        return found

    def _turn(self, i, values) -> list[list[Floats]]:
        """One turn: vector i is finished, the others move on by one stage."""
        self._store(i, values[-1])
        moved = [stage(*v) for stage, v in zip(self.stages[1:], values)]
        fresh = self._load(self.builder.add(i, _I64(len(self.stages))))
        return [list(v) for v in (self.stages[0](fresh), *moved)]

    def _drain(self, turns, filled, moved) -> None:
        """Finish the vectors that are still under way."""
        values = []
        for before, after in zip(filled, moved):
            group = [self._carried(v) for v in before]
            for phi, new in zip(group, after):
                self._close(phi.value, new.value)
            values.append(group)
        for done in range(len(self.stages)):
            self._store(self.builder.add(turns, _I64(done)), values[-1])
            values = [list(stage(*v)) for stage, v in zip(self.stages[done + 1 :], values)]


exp_array, sigmoid_array, tanh_array = map(_array_function, ("exp", "sigmoid", "tanh"))


def _type_prefetch(buf, off, count):
    check_buffer(buf)
    literal("count", count)
    return signature(types.void, buf, types.intp, count)


@kernel_function(_type_prefetch)
def prefetch(context, builder, sig, args):
    """prefetch(buf, off, count): ask for count numbers from off on, which may lie outside buf."""
    buf, _, count = sig.args
    step = _LINE * 8 // buf.dtype.bitwidth
    for start in range(0, count.literal_value, step):
        at = pointer_to(context, builder, buf, args[0], (args[1], 1), (_I64(1), start))
        at = builder.bitcast(at, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [at.type, _I32, _I32, _I32])
        function = get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [at, _I32(0), _I32(3), _I32(1)])  # a read, into all levels, of data
    return context.get_dummy_value()
