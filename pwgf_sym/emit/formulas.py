"""Kernels of an energy as Python text: straight-line formulas over tiles of samples."""

from __future__ import annotations

import sympy as sp

from ..functions import runtime_names
from ..lower.energies import FormulaKernel
from ..lower.schedule import Tiling
from ..sharing import symbols_of
from ..tensors import Axis
from .groups import number, rows_loop
from .pairs import DistancePasses, PairBody, emit_own, in_passes, reacts
from .rolled import RolledBody
from .scalars import TilePrinter, assignments, check_printable
from .writer import Writer

__all__ = ["FormulaEmitter"]

# Names that kernels use besides their arguments and the functions of formulas.
_WORDS = (
    *("x", "w", "own", "other", "share", "tile", "acc", "i", "j", "np", "njit", "weight", "range"),
    *("load", "store", "zeros", "fma", "where", "power", "sqrt", "maximum", "minimum", "aligned"),
    *("lane_index", "add_lane_sums", "spread", "row_sum", "OPTIONS", "DTYPE", "SUMS", "scale"),
    *("low", "high", "begin", "end", "whole", "size", "room", "number", "times", "n", "min", "max"),
    *("point", "moved", "acc0", "acc1", "first", "last", "lane", "start", "gap", "factor", "tiles"),
    *("cuda", "math", "at", "OWN", "PULL", "PARTNERS", "ROOM", "block_sum", "forms", "values"),
)
# What names of sums and of arrays begin with.
_PREFIXES = ("mean", "sum", "pull", "F")


class FormulaEmitter:
    """Emits one formula kernel.

    Attributes
    ----------
    printer : type
        What prints SymPy scalars.
    """

    printer = TilePrinter

    def __init__(self, kernel: FormulaKernel, tiling: Tiling):
        self.kernel, self.tiling, self.lanes = kernel, tiling, tiling.samples
        for expression in kernel.formulas():
            check_printable(expression, kernel.name)
        self.names = {s: s.name for s in kernel.values}
        for symbols in (*kernel.reads.values(), kernel.partners):
            self.names.update({s: s.name for s in symbols})
        for form in kernel.forms:
            self.names.update({s: s.name for s in form.symbols})
        forms = [n for form in kernel.forms for n in (form.name, f"{form.name}_CENTER")]
        if kernel.distance is not None:
            self.names[kernel.distance] = kernel.distance.name
        if kernel.rolled is not None:
            sums = [symbol for symbol, _ in kernel.rolled.sums]
            self.names.update({s: s.name for s in (*kernel.rolled.components.values(), *sums)})
        self.names = _safe(self.names, [*self.arguments(), *forms])
        self.used = symbols_of(*kernel.formulas())

    def arguments(self) -> list[str]:
        """Names of the function's arguments."""
        k = self.kernel
        found = [*k.reads, *(["partners", "share", "number"] if k.partners else [])]
        found += ["values"] + (["weight"] if k.means else []) + list(k.fields)
        found += ["back"] * reacts(k)
        return [*found, *(["sums"] if k.means else []), "first", "last"]

    def emit(self, write: Writer) -> None:
        """Write the constants and the function."""
        k = self.kernel
        for form in k.forms:
            moved = f"(x - {form.name}_CENTER)" if form.center else "x"
            write(f"# {form.symbols[0]}, ... = {form.name} {moved}")
            with write.block(f"{form.name} = np.array(["):
                pass
            write.lines[-1] = write.lines[-1].rstrip(":")
            for row in form.matrix:
                write("    " + ", ".join(map(number, row)) + ",")
            write("], dtype=DTYPE)")
            if form.center:
                numbers = ", ".join(map(number, form.center))
                write(f"{form.name}_CENTER = np.array([{numbers}], dtype=DTYPE)")
            write()
            write()
        write("@njit(**OPTIONS)")
        with write.block(f"def {k.name}({', '.join(self.arguments())})"):
            write(f'"""{k.summary}"""')
            for j, symbol in enumerate(k.values):
                if symbol in self.used:
                    write(f"{self.names[symbol]} = load(values, {j}, 0, 1, 1)")
            for j in range(len(k.means)):
                write(f"mean{j} = zeros(x, 1, {self.lanes})")
            for form in k.forms:
                write(f"FORM_{form.name} = aligned(x, {len(form.symbols) * self.lanes})")
            if k.partners:
                self._emit_pairs(write)
            else:
                with write.block("for tile in range(first, last)"):
                    self.emit_tile(write)
            for j in range(len(k.means)):
                write(f"sums[{j}] = 0.0")
                write(f"add_lane_sums(sums, {j}, mean{j})")
        write()
        write()

    def emit_tile(self, write: Writer) -> None:
        """Write the formulas for a tile of samples."""
        k = self.kernel
        self.emit_forms(write)
        if k.rolled:
            RolledBody(self, write).emit()
            return
        for array, symbols in k.reads.items():
            self.emit_loads(write, array, symbols, self.used)
        texts = self.emit_shared(write, k.formulas())
        for array, rows in k.fields.items():
            for i, expression in enumerate(rows):
                write(self.stored(array, len(rows), i, expression, texts.pop(0)))
        self.emit_means(write, texts)

    def emit_means(self, write: Writer, texts: list[str]) -> None:
        """Add the formulas' values to the means."""
        if self.kernel.means:
            write(f"w = {self.loaded('weight', 1, 0)}")
        for j, text in enumerate(texts):
            write(f"mean{j} = mean{j} + w*({text})")

    def at(self, count: int, i: int | str) -> str:
        """Place of component i of the tile's samples; i may be a variable."""
        offset = f"i*{self.lanes}" if i == "i" else i * self.lanes
        return f"tile*{count * self.lanes}" + (f" + {offset}" if offset else "")

    def loaded(self, array: str, count: int, i: int | str) -> str:
        """Text of component i of an array with so many components."""
        return f"load({array}, {self.at(count, i)}, 0, 1, {self.lanes})"

    def stored(self, array: str, count: int, i: int | str, expression, text: str) -> str:
        """A statement that stores component i of a field."""
        return f"store({array}, {self.at(count, i)}, 0, {self._spread(expression, text)})"

    def emit_component(self, write: Writer, name: str, variable: str) -> None:
        """Write component i of an array, or of a linear form, into a variable."""
        if name in self.kernel.reads:
            write(f"{variable} = {self.loaded(name, len(self.kernel.reads[name]), 'i')}")
        else:
            write(f"{variable} = load(FORM_{name}, i*{self.lanes}, 0, 1, {self.lanes})")

    @property
    def zero(self) -> str:
        """Text of a sum before its first term."""
        return f"zeros(x, 1, {self.lanes})"

    def emit_loads(self, write: Writer, array: str, symbols, used: set) -> None:
        """Load the components of a tile that are used."""
        for i, symbol in enumerate(symbols):
            if symbol in used:
                write(f"{self.names[symbol]} = {self.loaded(array, len(symbols), i)}")

    def _emit_pairs(self, write: Writer) -> None:
        """Sums over partners: bodies of formulas, and passes over distances."""
        k, lanes, dim = self.kernel, self.lanes, len(self.kernel.partners)
        halves = (k.symmetric and bool(k.means)) or reacts(k)
        body, means, radial = self._summands()
        passes = DistancePasses(self, write, radial or list(means.values()), halves)
        passes.emit_buffers()
        if radial:
            write(f"SUMS = aligned(x, {dim * lanes})")
        if reacts(k):
            write(f"room = (number + {lanes - 1})//{lanes}*{lanes}")
        with write.block("for tile in range(first, last)"):
            emit_own(write, lanes, halves)
            if body:
                PairBody(self, write, body, halves).emit()
            for name in means:
                write(f"{name} = zeros(x, 1, {lanes})")
            if radial:
                with write.block(f"for i in range({dim})"):
                    write(f"store(SUMS, i*{lanes}, 0, zeros(x, 1, {lanes}))")
                passes.emit(passes.emit_field)
            elif means:
                passes.emit(lambda: passes.emit_means(list(means)))
            write("scale = load(share, 0, 0, 1, 1)")
            for array in k.fields:
                self._emit_field(write, array, body, passes.factors if radial else [])
            if k.means:
                self._emit_means(write, body, dict(zip(means, passes.factors, strict=True)))

    def _summands(self):
        """Formulas of the body by register, means in passes by register, and [c] in passes."""
        k, dim = self.kernel, len(self.kernel.partners)
        rows = [e for row in k.fields.values() for e in row]
        radial = [k.radial] if k.radial != 0 else []
        if radial and not in_passes(k.radial, dim):
            pairs = zip(rows, k.reads["x"], k.partners, strict=True)
            rows, radial = [row + k.radial * (x - y) for row, x, y in pairs], []
        sums = {f"sum{j}": e for j, e in enumerate([*rows, *k.means]) if e != 0}
        means = {
            name: e for name, e in sums.items() if k.distance in symbols_of(e) and in_passes(e, dim)
        }
        means = means if k.means else {}
        return {n: e for n, e in sums.items() if n not in means}, means, radial

    def _emit_field(self, write: Writer, array: str, body: dict, factors: list) -> None:
        """Add the sums over partners to a field."""
        size, lanes = len(self.kernel.fields[array]), self.lanes
        for i in range(size):
            if f"sum{i}" in body:
                before = f"load({array}, {self.at(size, i)}, 0, 1, {lanes})"
                write(f"store({array}, {self.at(size, i)}, 0, fma(scale, sum{i}, {before}))")
        for factor in factors:
            (text,) = self.emit_shared(write, [factor])
            with write.block(f"for i in range({size})"):
                at = f"tile*{size * lanes} + i*{lanes}"
                before = f"load({array}, {at}, 0, 1, {lanes})"
                total = f"load(SUMS, i*{lanes}, 0, 1, {lanes})"
                write(f"store({array}, {at}, 0, fma(({text})*scale, {total}, {before}))")

    def _emit_means(self, write: Writer, body: dict, factors: dict) -> None:
        write(f"w = scale*load(weight, {self.at(1, 0)}, 0, 1, {self.lanes})")
        for name in body:
            write(f"mean{name[3:]} = mean{name[3:]} + w*{name}")
        for name, factor in factors.items():
            (text,) = self.emit_shared(write, [2 * factor if self.kernel.symmetric else factor])
            write(f"mean{name[3:]} = mean{name[3:]} + w*({text})*{name}")

    def emit_shared(self, write: Writer, formulas: list[sp.Expr]) -> list[str]:
        """Write the common subexpressions; texts of the formulas."""
        shared, texts = assignments(formulas, self.names, self.prefix(), self.printer)
        for name, text in shared:
            write(f"{name} = {text}")
        return texts

    def prefix(self, number: int = 0) -> str:
        """What names of common subexpressions begin with, in one of several places."""
        found = "t" + "_" * number
        while any(n.startswith(found) and n[len(found) :].isdigit() for n in self.names.values()):
            found += "_" * (number + 1)
        return found

    def _spread(self, expression: sp.Expr, text: str) -> str:
        """A formula that does not depend on the sample still fills a row of samples."""
        fixed = set(self.kernel.values)
        if symbols_of(expression) - fixed:
            return text
        return f"zeros(x, 1, {self.lanes}) + {text}"

    def emit_forms(self, write: Writer) -> None:
        """Write the linear forms of a tile, into buffers and registers."""
        for form in self.kernel.forms:
            self._emit_form(write, form)

    def _emit_form(self, write: Writer, form) -> None:
        """Rows of a matrix times the coordinates, into a buffer, then into registers."""
        size, lanes = len(form.symbols), self.lanes
        columns = len(form.matrix[0])

        def body(variable: str, rows: int) -> None:
            at = "0" if variable == "0" else f"{variable}*{columns}"
            write(f"acc = zeros(x, {rows}, {lanes})")
            with write.block(f"for j in range({columns})"):
                column = f"load({form.name}, {at} + j, {columns}, {rows}, 1)"
                row = f"load(x, tile*{columns * lanes} + j*{lanes}, 0, 1, {lanes})"
                if form.center:
                    row += f" - load({form.name}_CENTER, j, 0, 1, 1)"
                write(f"acc = fma({column}, {row}, acc)")
            write(f"store(FORM_{form.name}, {variable}*{lanes}, {lanes}, acc)")

        rows_loop(write, Axis("i", size), self.tiling.rows(size), body)
        if self.kernel.rolled:
            return
        for i, symbol in enumerate(form.symbols):
            at = i * lanes
            write(f"{self.names[symbol]} = load(FORM_{form.name}, {at}, 0, 1, {lanes})")


def _safe(names: dict[sp.Symbol, str], reserved: list[str]) -> dict[sp.Symbol, str]:
    """Names that are Python identifiers, distinct, and no name that the kernel itself uses."""
    import keyword

    words = {*_WORDS, *runtime_names(), *reserved}
    taken: set[str] = set()
    found = {}
    for symbol, name in names.items():
        clean = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)
        if not clean or clean[0].isdigit() or clean.startswith(_PREFIXES):
            clean = "p_" + clean
        while clean in taken or clean in words or keyword.iskeyword(clean):
            clean += "_"
        taken.add(clean)
        found[symbol] = clean
    return found
