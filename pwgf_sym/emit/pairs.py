"""Sums over the partners of every sample as text.

The samples of a tile stand in the lanes; several partners at a time are the rows of a register
tile.  Only among the samples of the tile itself can a partner be the sample: that piece of the loop
takes one partner at a time and masks it.
"""

from __future__ import annotations

import sympy as sp

from ..lower.simplify import is_function

__all__ = ["UNROLLED", "PairBody", "reacts"]

# Up to this dimension the coordinates of a pair stay in registers; beyond they are looped over.
UNROLLED = 4


def _has_functions(kernel) -> bool:
    """Whether a pair costs an elementary function, beside which sums are cheap."""
    found = (part for e in kernel.formulas() for part in sp.preorder_traversal(e))
    return any(is_function(part) for part in found)


def partners_at_once(kernel) -> int:
    """Rows of a tile of pairs, as measured: functions want several independent chains."""
    return 4 if _has_functions(kernel) else 2


def reacts(kernel) -> bool:
    """Whether every pair is computed once, and its partner takes the opposite velocity.

    That is so for c(|x - y|^2) (x - y); it is worth the sums over lanes where c is expensive.
    """
    alone = kernel.radial != 0 and all(e == 0 for row in kernel.fields.values() for e in row)
    return alone and _has_functions(kernel)


class PairBody:
    """Emits the loops over the partners of one tile of samples, and what follows them."""

    def __init__(self, emitter, write):
        self.f, self.k, self.write, self.lanes = emitter, emitter.kernel, write, emitter.lanes
        self.dim = len(self.k.partners)
        self.uses_distance = self.k.distance in emitter.used
        self.looped = self.uses_distance and self.dim > UNROLLED
        self.backward = reacts(self.k)
        self.halves = (self.k.symmetric and bool(self.k.means)) or self.backward
        self.rows = partners_at_once(self.k)
        rows = [e for row in self.k.fields.values() for e in row]
        self.plain = [e for e in (*rows, *self.k.means) if e != 0]
        self.names = [f"sum{j}" for j in range(len([*rows, *self.k.means]))]

    def emit(self) -> None:
        """Start values, the three pieces of the loop, and results."""
        write, lanes = self.write, self.lanes
        for name in self.names:
            write(f"{name} = zeros(x, 1, {lanes})")
        if self.looped and self.k.radial != 0:
            with write.block(f"for i in range({self.dim})"):
                write(f"store(SUMS, i*{lanes}, 0, zeros(x, 1, {lanes}))")
        write(f"own = lane_index(x, tile*{lanes}, {lanes})")
        write("own = own - floor(own/number)*number")
        write(f"low, high = tile*{lanes}, tile*{lanes} + {lanes}")
        with write.block("if high > number"):
            # Padding repeats the samples: there, too, a sample is no partner of its own.
            write(f"low, high = {'low' if self.halves else '0'}, number")
        write(f"whole = high + (number - high)//{self.rows}*{self.rows}")
        self._emit_others()
        self._emit_own("low", "high", doubled=False)
        self._emit_own("whole", "number", doubled=self.halves)
        self._emit_results()

    def _emit_others(self) -> None:
        write = self.write
        if self.halves:
            # W(x, y) = W(y, x): every pair once, from the sample that comes first.
            with write.block(f"for j in range(high, whole, {self.rows})"):
                self._emit_pairs(self.rows, False, reaction=self.backward)
            for name in self.names if self.k.means else []:
                write(f"{name} = 2.0*{name}")
            return
        with write.block("for part in range(2)"):
            write("begin, end = (0, low) if part == 0 else (high, whole)")
            with write.block(f"for j in range(begin, end, {self.rows})"):
                self._emit_pairs(self.rows, False)

    def _emit_own(self, begin: str, end: str, doubled: bool) -> None:
        with self.write.block(f"for j in range({begin}, {end})"):
            self.write("other = own != j")
            factor = "2.0*" if doubled and self.k.means else ""
            self._emit_pairs(1, True, factor, reaction=doubled and self.backward)

    # -- one pair, or a few ------------------------------------------------------------------

    def _emit_pairs(
        self, rows: int, masked: bool, factor: str = "", reaction: bool = False
    ) -> None:
        names, dim = self.f.names, self.dim
        for i, symbol in enumerate(self.k.partners):
            if symbol in self.f.used or (self.uses_distance and not self.looped):
                self.write(f"{names[symbol]} = load(partners, j*{dim} + {i}, {dim}, {rows}, 1)")
        if self.uses_distance:
            self._emit_distance(rows)
        texts = self.f.emit_shared(self.write)
        values = texts[: len(self.names)]
        for name, text in zip(self.names, values, strict=True):
            if text == "0.0" or text == "0":
                continue
            if masked:
                self.write(f"{name} = {name} + {factor}where(other, {text}, 0.0)")
            else:
                self.write(f"{name} = {name} + row_sum(zeros(x, {rows}, {self.lanes}) + {text})")
        if self.k.radial != 0:
            radial = f"where(other, {texts[-1]}, 0.0)" if masked else texts[-1]
            self._emit_radial(rows, f"zeros(x, {rows}, {self.lanes}) + {radial}", reaction)

    def _difference(self, rows: int) -> str:
        own = f"load(x, tile*{self.dim * self.lanes} + i*{self.lanes}, 0, 1, {self.lanes})"
        return f"{own} - load(partners, j*{self.dim} + i, {self.dim}, {rows}, 1)"

    def _emit_distance(self, rows: int) -> None:
        write, q = self.write, self.f.names[self.k.distance]
        write(f"{q} = zeros(x, {rows}, {self.lanes})")
        if self.looped:
            with write.block(f"for i in range({self.dim})"):
                write(f"moved = {self._difference(rows)}")
                write(f"{q} = fma(moved, moved, {q})")
            return
        for i, partner in enumerate(self.k.partners):
            own = self.f.names[self.k.reads["x"][i]]
            write(f"moved{i} = {own} - {self.f.names[partner]}")
            write(f"{q} = fma(moved{i}, moved{i}, {q})")

    def _emit_radial(self, rows: int, text: str, reaction: bool) -> None:
        """Add c (x - y) to the samples' sums; as a reaction, its opposite to the partners'."""
        write = self.write
        write(f"c = {text}")
        if self.looped:
            with write.block(f"for i in range({self.dim})"):
                total = f"load(SUMS, i*{self.lanes}, 0, 1, {self.lanes})"
                write(f"moved = {self._difference(rows)}")
                write(f"store(SUMS, i*{self.lanes}, 0, row_dot({total}, c, moved))")
                if reaction:
                    write("add_lane_sums(back, i*number + j, -c*moved)")
            return
        for i in range(self.dim):
            write(f"sum{i} = row_dot(sum{i}, c, moved{i})")
            if reaction:
                write(f"add_lane_sums(back, {i}*number + j, -c*moved{i})")

    # -- after the loops ---------------------------------------------------------------------

    def _emit_results(self) -> None:
        write, lanes = self.write, self.lanes
        write("scale = load(share, 0, 0, 1, 1)")
        for array, rows in self.k.fields.items():
            looped = self.looped and self.k.radial != 0
            for i in range(len(rows)):
                at = self.f.at(len(rows), i)
                total = f"sum{i}"
                if looped:
                    total = f"({total} + load(SUMS, {i * lanes}, 0, 1, {lanes}))"
                before = f"load({array}, {at}, 0, 1, {lanes})"
                write(f"store({array}, {at}, 0, fma(scale, {total}, {before}))")
        if self.k.means:
            write(f"w = scale*load(weight, {self.f.at(1, 0)}, 0, 1, {lanes})")
            for j in range(len(self.k.means)):
                write(f"mean{j} = mean{j} + w*sum{j}")
