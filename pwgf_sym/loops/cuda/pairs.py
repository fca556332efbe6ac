"""Sums over the partners of every sample on a GPU.

Partners come to shared memory a tile at a time; every thread adds over them in their order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext

from ...sharing import symbols_of
from ..block import Block
from ..formulas import FormulaBuilder
from ..nodes import (
    Accumulate,
    Assign,
    Barrier,
    Binary,
    Entry,
    Expression,
    Group,
    Integer,
    Local,
    Name,
    call,
    product_of,
    sum_of,
)
from ..places import times
from .names import from_lane

__all__ = ["emit_pairs"]

_I, _N, _START, _NUMBER = Name("i"), Name("n"), Name("start"), Name("number")
_BEGIN, _END, _GROUP = Name("begin"), Name("end"), Name("group")
_GAP, _SCALE = Name("gap"), Name("scale")


def emit_pairs(builder: FormulaBuilder, write: Block) -> None:
    """Write what the partners of a thread's sample add up to."""
    k, lanes, dim = builder.kernel, builder.lanes, len(builder.kernel.partners)
    body: _Body = (_DistanceBody if _by_distance(builder) else _PairBody)(builder, write)
    body.start()
    # Partners are those of the tile's group of tiles, all samples or a random batch.
    whole = Binary("*", Group(Binary("//", Name("tile"), _GROUP)), _GROUP)
    write.let("begin", Binary("*", whole, Integer(lanes)))
    write.let("end", Binary("+", _BEGIN, _NUMBER))
    if not k.with_itself:
        own = Group(Binary("-", from_lane(times("tile", lanes)), _BEGIN))
        # Padding repeats the samples.
        write.let("own", Binary("+", _BEGIN, Binary("%", own, _NUMBER)))
    with write.loop("start", _END, _BEGIN, lanes):
        write(Barrier())
        with write.loop("i", dim):
            there = Entry("PARTNERS", from_lane(times(_I, lanes)))
            place = from_lane(Binary("*", _START, Integer(dim)), times(_I, lanes))
            write(Assign(there, Entry("x", place)))
        for i in range(len(k.partner_weights)):
            there = Entry("PARTNERS", from_lane(Integer((dim + i) * lanes)))
            start = Binary("*", _START, Integer(len(k.partner_weights)))
            place = from_lane(start, Integer(i * lanes))
            write(Assign(there, Entry("partner_weights", place)))
        write(Barrier())
        partners = call("min", lanes, Binary("-", _END, _START))
        other = Binary("!=", Binary("+", _START, _N), Name("own"))
        apart = nullcontext() if k.with_itself else write.when(other)
        with write.loop("n", partners), apart:
            body.pair()
    write.let("scale", Entry("share", Integer(0)))
    body.finish()
    for j in range(len(k.means)):
        factors = [_SCALE, builder.loaded("weight", 1, 0), Name(f"sum{j}")]
        write(Accumulate(Name(f"mean{j}"), product_of(factors)))


def _by_distance(builder: FormulaBuilder) -> bool:
    """Whether a pair asks for |x - y|^2 and x - y only."""
    k = builder.kernel
    rows = [e for row in k.fields.values() for e in row]
    if k.distance is None:
        return False
    used = symbols_of(k.radial, *k.means)
    return all(e == 0 for e in rows) and not used & {*k.reads["x"], *k.partners}


class _Body(ABC):
    """What a partner adds, and what is done before and after all of them."""

    def __init__(self, builder: FormulaBuilder, write: Block) -> None:
        self.e, self.write, self.kernel = builder, write, builder.kernel

    @abstractmethod
    def start(self) -> None:
        """Own coordinates to registers; sums to zero."""

    @abstractmethod
    def pair(self) -> None:
        """What one partner adds."""

    @abstractmethod
    def finish(self) -> None:
        """Add the sums to the field."""

    @property
    def distance(self) -> Name:
        """The variable of |x - y|^2."""
        assert self.kernel.distance is not None
        return self.e.names[self.kernel.distance]


class _DistanceBody(_Body):
    """Sums over partners of functions of the distance, coordinates in loops."""

    def __init__(self, builder: FormulaBuilder, write: Block) -> None:
        super().__init__(builder, write)
        self.dim = len(self.kernel.partners)
        self.pulls = self.kernel.radial != 0

    def _coordinates(self) -> AbstractContextManager[None]:
        return self.write.loop("i", self.dim)

    def start(self) -> None:
        arrays = ["OWN", "PULL"] if self.pulls else ["OWN"]
        for array in arrays:
            self.write(Local(array, Integer(self.dim)))
        values = [self.e.loaded("x", self.dim, _I), self.e.zero]
        with self._coordinates():
            for array, value in zip(arrays, values):
                self.write(Assign(Entry(array, _I, plain=True), value))
        for j in range(len(self.kernel.means)):
            self.write.let(f"sum{j}", self.e.zero)

    def pair(self) -> None:
        k, write = self.kernel, self.write
        partner = Entry("PARTNERS", sum_of([times(_I, self.e.lanes), _N]))
        gap = Binary("-", Entry("OWN", _I, plain=True), partner)
        write.let(self.distance.name, self.e.zero)
        with self._coordinates():
            write.let("gap", gap)
            write(Accumulate(self.distance, Binary("*", _GAP, _GAP)))
        formulas = [*k.means, *([k.radial] if self.pulls else [])]
        found = self.e.write_shared(write, formulas)
        for j in range(len(k.means)):
            write(Accumulate(Name(f"sum{j}"), found[j]))
        if self.pulls:
            factor = write.let("factor", found[-1])
            with self._coordinates():
                pull = Entry("PULL", _I, plain=True)
                write(Accumulate(pull, Binary("*", factor, Group(gap))))

    def finish(self) -> None:
        for array in self.kernel.fields if self.pulls else ():
            with self._coordinates():
                pull = Binary("*", _SCALE, Entry("PULL", _I, plain=True))
                self.write(Accumulate(_entry_of(self.e, array, self.dim, _I), pull))


class _PairBody(_Body):
    """Sums over partners of any formulas, written out."""

    def __init__(self, builder: FormulaBuilder, write: Block) -> None:
        super().__init__(builder, write)
        k = self.kernel
        rows = [e for row in k.fields.values() for e in row]
        if k.radial != 0:
            pairs = zip(rows, k.reads["x"], k.partners, strict=True)
            rows = [row + k.radial * (x - y) for row, x, y in pairs]
        self.sums = {f"sum{j}": e for j, e in enumerate(k.means)}
        self.sums |= {f"pull{j}": e for j, e in enumerate(rows)}
        self.used = set(symbols_of(*self.sums.values()))
        self.has_distance = k.distance is not None and k.distance in self.used
        if self.has_distance:
            self.used |= {*k.reads["x"], *k.partners}

    def start(self) -> None:
        for array, symbols in self.kernel.reads.items():
            self.e.write_loads(self.write, array, symbols, self.used)
        for name in self.sums:
            self.write.let(name, self.e.zero)

    def pair(self) -> None:
        k, write, names = self.kernel, self.write, self.e.names
        for i, symbol in enumerate(k.partner_symbols):
            if symbol in self.used:
                place = Binary("+", Integer(i * self.e.lanes), _N)
                write.let(names[symbol].name, Entry("PARTNERS", place))
        if self.has_distance:
            write.let(self.distance.name, self.e.zero)
            for x, y in zip(k.reads["x"], k.partners, strict=True):
                gap: Expression = Group(Binary("-", names[x], names[y]))
                write(Accumulate(self.distance, Binary("*", gap, gap)))
        found = self.e.write_shared(write, list(self.sums.values()))
        for name, value in zip(self.sums, found, strict=True):
            write(Accumulate(Name(name), value))

    def finish(self) -> None:
        for array, rows in self.kernel.fields.items():
            for i in range(len(rows)):
                pull = Binary("*", _SCALE, Name(f"pull{i}"))
                self.write(Accumulate(_entry_of(self.e, array, len(rows), i), pull))


def _entry_of(builder: FormulaBuilder, array: str, count: int, i: int | Name) -> Entry:
    entry = builder.loaded(array, count, i)
    assert isinstance(entry, Entry)
    return entry
