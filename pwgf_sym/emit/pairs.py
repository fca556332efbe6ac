"""Sums over the partners of every sample as text: the samples of a tile stand in the lanes.

Cheap formulas are one body, a partner at a time.  Expensive ones of the distance |x - y|, and those
of many coordinates, take a block of partners in passes: distances, formulas of them, sums.  So few
numbers are alive in a pass that they stay in registers, and its iterations overlap.
"""

from __future__ import annotations

import sympy as sp

from ..sharing import parts, symbols_of
from ..tensors import Axis
from ..tensors.scalars.applications import is_function
from .groups import rows_loop

__all__ = ["DistancePasses", "PairBody", "emit_own", "in_passes", "reacts"]

# Up to this dimension the differences x - y of a pair stay in registers.
_UNROLLED = 4
# Partners in a block: their formulas for a tile of samples stay in the level 1 cache.
_BLOCK = 64
# Measured: rows of a tile of distances, and tiles of samples side by side in a pass of formulas.
_DISTANCES, _WIDE = 2, 2


def _has_functions(formula: sp.Expr) -> bool:
    """Whether a formula costs an elementary function, beside which sums are cheap."""
    found = list(parts(formula))
    powers = (p for p in found if isinstance(p, sp.Pow) and is_function(p))
    return any(isinstance(p, sp.Function) for p in found) or not all(
        (2 * p.exp).is_Integer for p in powers
    )


def in_passes(formula: sp.Expr, dim: int) -> bool:
    """Whether a formula of the distance is summed in passes; a cheap one of few coordinates not."""
    return dim > _UNROLLED or _has_functions(formula)


def reacts(kernel) -> bool:
    """Whether every pair is computed once, and its partner takes the opposite velocity.

    That is so for c(|x - y|^2) (x - y); it is worth the sums over lanes where c is expensive.
    """
    alone = kernel.radial != 0 and all(e == 0 for row in kernel.fields.values() for e in row)
    return alone and _has_functions(kernel.radial)


def emit_own(write, lanes: int, halves: bool) -> None:
    """Names of what all loops share: the tile's own samples, and where these are partners."""
    write(f"own = lane_index(x, tile*{lanes}, {lanes})")
    write("own = own - floor(own/number)*number")
    write(f"low, high = tile*{lanes}, tile*{lanes} + {lanes}")
    with write.block("if high > number"):
        # Padding repeats the samples: there, too, a sample is no partner of its own.
        write(f"low, high = {'low' if halves else '0'}, number")


class PairBody:
    """One body of formulas in x, y and the distance; only the tile's own samples are masked.

    Parameters
    ----------
    emitter, write
        The kernel's emitter, and where lines go.
    formulas : dict of str to Expr
        What is summed, by the name of the register.
    halves : bool
        Whether W(x, y) = W(y, x): every pair is then computed once and doubled.
    """

    def __init__(self, emitter, write, formulas: dict, halves: bool):
        self.f, self.write, self.lanes = emitter, write, emitter.lanes
        self.formulas, self.halves = formulas, halves
        self.used = symbols_of(*formulas.values())
        self.distance = emitter.kernel.distance in self.used
        # Partners side by side: a mean alone would wait for its own last addition.
        self.rows = 2 if emitter.kernel.means else 1

    def emit(self) -> None:
        """Write the loops over the partners."""
        write, k, rows = self.write, self.f.kernel, self.rows
        for array, symbols in k.reads.items():
            wanted = set(symbols) if self.distance and array == "x" else self.used
            self.f.emit_loads(write, array, symbols, wanted)
        for name in self.formulas:
            write(f"{name} = zeros(x, {rows}, {self.lanes})")
        write(f"whole = high + (number - high)//{rows}*{rows}")
        pieces = ["(high, whole)"] if self.halves else ["(0, low)", "(high, whole)"]
        loop = [f"for begin, end in ({', '.join(pieces)},)", f"for j in range(begin, end, {rows})"]
        with write.nest(loop):
            self._emit_partners(rows, masked=False)
        for name in self.formulas:
            write(f"{name} = {'2.0*' if self.halves else ''}row_sum({name})")
        loop = ["for begin, end in ((low, high), (whole, number))", "for j in range(begin, end)"]
        with write.nest(loop):
            if self.halves:
                write("times = 1.0 if j < high else 2.0")
            self._emit_partners(1, masked=True)

    def _emit_partners(self, rows: int, masked: bool) -> None:
        write, k, names = self.write, self.f.kernel, self.f.names
        for i, symbol in enumerate(k.partners):
            if symbol in self.used or self.distance:
                at = f"j*{len(k.partners)} + {i}"
                write(f"{names[symbol]} = load(partners, {at}, {len(k.partners)}, {rows}, 1)")
        if self.distance:
            self._emit_distance(rows)
        if masked:
            write("other = own != j")
        texts = self.f.emit_shared(write, list(self.formulas.values()))
        times = "times*" if masked and self.halves else ""
        for name, text in zip(self.formulas, texts, strict=True):
            write(f"{name} = {name} + {f'{times}where(other, {text}, 0.0)' if masked else text}")

    def _emit_distance(self, rows: int) -> None:
        k, names = self.f.kernel, self.f.names
        q = names[k.distance]
        self.write(f"{q} = zeros(x, {rows}, {self.lanes})")
        for own, other in zip(k.reads["x"], k.partners, strict=True):
            self.write(f"moved = {names[own]} - {names[other]}")
            self.write(f"{q} = fma(moved, moved, {q})")


class DistancePasses:
    """Sums of f(q), or of c(q) (x - y), q = |x - y|^2, block by block of the partners.

    Parameters
    ----------
    emitter, write
        The kernel's emitter, and where lines go.
    formulas : list of Expr
        f of every mean, or c alone.
    halves : bool
        Whether every pair is computed once and doubled.
    """

    def __init__(self, emitter, write, formulas: list, halves: bool):
        self.f, self.write, self.lanes, self.halves = emitter, write, emitter.lanes, halves
        self.dim, q = len(emitter.kernel.partners), emitter.kernel.distance
        self.back = reacts(emitter.kernel)
        # What no pair changes is one factor of the sum; not where partners take their share.
        split = [(1, e) if self.back else e.as_independent(q, as_Add=False) for e in formulas]
        self.factors, self.formulas = [f for f, _ in split], [e for _, e in split]
        self.names = [f"F{k}" for k in range(len(formulas))]

    def emit_buffers(self) -> None:
        """Write the buffers of a block's formulas; the last one holds the distances before."""
        for name in self.names:
            self.write(f"{name} = aligned(x, {_BLOCK * self.lanes})")

    def emit(self, sums) -> None:
        """Write the loop over blocks; ``sums()`` writes what adds up a block's formulas."""
        write, lanes = self.write, self.lanes
        with write.block(f"for begin in range({'low' if self.halves else '0'}, number, {_BLOCK})"):
            # Whole tiles of partners: padding is masked with the rest.
            write(f"size = min({_BLOCK}, (number - begin + {lanes - 1})//{lanes}*{lanes})")
            self._emit_distances()
            self._emit_formulas()
            self._emit_masks()
            sums()

    def _emit_distances(self) -> None:
        write, lanes, dim, rows = self.write, self.lanes, self.dim, _DISTANCES
        q = self.f.names[self.f.kernel.distance]
        with write.block(f"for j in range(0, size, {rows})"):
            write(f"{q} = zeros(x, {rows}, {lanes})")
            with write.block(f"for i in range({dim})"):
                own = f"load(x, tile*{dim * lanes} + i*{lanes}, 0, 1, {lanes})"
                write(f"moved = {own} - load(partners, (begin + j)*{dim} + i, {dim}, {rows}, 1)")
                write(f"{q} = fma(moved, moved, {q})")
            write(f"store({self.names[-1]}, j*{lanes}, {lanes}, {q})")

    def _emit_formulas(self) -> None:
        write, wide, q = self.write, _WIDE * self.lanes, self.f.names[self.f.kernel.distance]
        with write.block(f"for n in range(0, size*{self.lanes}, {wide})"):
            write(f"{q} = load({self.names[-1]}, n, 0, 1, {wide})")
            texts = self.f.emit_shared(write, self.formulas)
            for name, text, formula in zip(self.names, texts, self.formulas, strict=True):
                text = text if formula.free_symbols else f"zeros(x, 1, {wide}) + {text}"
                write(f"store({name}, n, 0, {text})")

    def _emit_masks(self) -> None:
        """No pair of a sample with itself or with padding; both halves of the own tile's pairs."""
        write, lanes = self.write, self.lanes
        with write.block("for j in range(max(begin, low), min(begin + size, high))"):
            for name in self.names:
                value = f"load({name}, (j - begin)*{lanes}, 0, 1, {lanes})"
                value = f"0.5*{value}" if self.halves and not self.back else value
                write(f"store({name}, (j - begin)*{lanes}, 0, where(own != j, {value}, 0.0))")
        with write.block("for j in range(max(begin, number), begin + size)"):
            for name in self.names:
                write(f"store({name}, (j - begin)*{lanes}, 0, zeros(x, 1, {lanes}))")

    def emit_means(self, sums: list[str]) -> None:
        """Add the formulas of a block to registers."""
        write, lanes = self.write, self.lanes
        for total, name in zip(sums, self.names, strict=True):
            write(f"acc = zeros(x, 4, {lanes})")
            with write.block("for j in range(0, size, 4)"):
                write(f"acc = acc + load({name}, j*{lanes}, {lanes}, 4, {lanes})")
            write(f"{total} = {total} + row_sum(acc)")

    def emit_field(self) -> None:
        """Add c (x - y) of a block to SUMS, in two sums for each coordinate."""
        write, lanes, dim, (name,) = self.write, self.lanes, self.dim, self.names

        def body(variable: str, rows: int) -> None:
            at = f"tile*{dim * lanes} + {variable}*{lanes}"
            write(f"point = load(x, {at}, {lanes}, {rows}, {lanes})")
            write(f"acc0 = load(SUMS, {variable}*{lanes}, {lanes}, {rows}, {lanes})")
            write(f"acc1 = zeros(x, {rows}, {lanes})")
            with write.block("for j in range(0, size, 2)"):
                for k in range(2):
                    at = f"(begin + j + {k})*{dim} + {variable}"
                    factor = f"load({name}, (j + {k})*{lanes}, 0, 1, {lanes})"
                    moved = f"point - load(partners, {at}, 1, {rows}, 1)"
                    write(f"acc{k} = fma({moved}, {factor}, acc{k})")
            write(f"store(SUMS, {variable}*{lanes}, {lanes}, acc0 + acc1)")

        rows_loop(write, Axis("i", dim), 2, body)
        if self.back:
            self._emit_reaction()

    def _emit_reaction(self) -> None:
        """Add c (y - x), summed over the tile's samples, to partners beyond the tile."""
        write, lanes, dim, (name,) = self.write, self.lanes, self.dim, self.names
        with write.block(f"for i in range({dim})"):
            write(f"point = load(x, tile*{dim * lanes} + i*{lanes}, 0, 1, {lanes})")
            with write.block(f"for j in range(max(begin, low + {lanes}) - begin, size, 4)"):
                write(f"moved = load(partners, (begin + j)*{dim} + i, {dim}, 4, 1) - point")
                pull = f"load({name}, j*{lanes}, {lanes}, 4, {lanes})*moved"
                write(f"add_lane_sums(back, i*room + begin + j, {pull})")
