"""Kernels of an energy for a GPU: straight-line formulas, one sample a thread.

Partners come to shared memory a tile at a time; every thread adds over them in their order.  Means
are summed over the threads of a block by halves, and over the blocks by the caller, in order.
"""

from __future__ import annotations

from ...lower.energies import FormulaKernel
from ..formulas import FormulaEmitter
from ..groups import plus
from ..writer import Writer
from .groups import element
from .kernels import TILES
from .scalars import printer_of
from .schedule import CudaTiling

__all__ = ["ThreadFormulaEmitter"]


class ThreadFormulaEmitter(FormulaEmitter):
    """Emits one formula kernel for the sample of a thread."""

    def __init__(self, kernel: FormulaKernel, tiling: CudaTiling, dtype: str):
        super().__init__(kernel, tiling)
        self.printer = printer_of(dtype)

    @property
    def zero(self) -> str:
        return self.printer({}).number(0.0)

    def arguments(self) -> list[str]:
        k = self.kernel
        found = [*k.reads, *(["share", "number"] if k.partners else [])]
        found += ["values"] + (["weight"] if k.means else []) + ["forms"] * bool(k.forms)
        return [*found, *k.fields, *(["sums"] if k.means else []), "tiles"]

    def form_numbers(self) -> list[float]:
        """The matrices of the linear forms, row by row, one after the other."""
        return [value for form in self.kernel.forms for row in form.matrix for value in row]

    def emit(self, write: Writer) -> None:
        k = self.kernel
        write("@cuda.jit")
        with write.block(f"def {k.name}({', '.join(self.arguments())})"):
            write(f'"""{k.summary}"""')
            write("lane = cuda.threadIdx.x")
            if k.partners:
                size = len(k.partners) * self.lanes
                write(f"PARTNERS = cuda.shared.array({size}, DTYPE)")
            for j, symbol in enumerate(k.values):
                if symbol in self.used:
                    write(f"{self.names[symbol]} = values[{j}]")
            for j in range(len(k.means)):
                write(f"mean{j} = {self.zero}")
            with write.block(TILES):
                if k.partners:
                    self._emit_pairs(write)
                else:
                    self.emit_tile(write)
            self._emit_block_sums(write)
        write()
        write()

    def at(self, count: int, i: int | str) -> str:
        return f"{super().at(count, i)} + lane"

    def loaded(self, array: str, count: int, i: int | str) -> str:
        return element(array, self.at(count, i))

    def stored(self, array: str, count: int, i: int | str, expression, text: str) -> str:
        return f"{self.loaded(array, count, i)} = {text}"

    def emit_means(self, write: Writer, texts: list[str]) -> None:
        for j, text in enumerate(texts):
            write(f"mean{j} += {self.loaded('weight', 1, 0)}*({text})")

    def emit_component(self, write: Writer, name: str, variable: str) -> None:
        if name in self.kernel.reads:
            super().emit_component(write, name, variable)
            return
        start, columns = self._start(name), len(self.kernel.reads["x"])
        write(f"{variable} = {self.zero}")
        with write.block(f"for j in range({columns})"):
            own = element("x", f"tile*{columns * self.lanes} + j*{self.lanes} + lane")
            write(f"{variable} += forms[at({plus(f'i*{columns} + j', start)})]*{own}")

    def _start(self, name: str) -> int:
        """Where the matrix of a linear form begins."""
        start = 0
        for form in self.kernel.forms:
            if form.name == name:
                break
            start += len(form.matrix) * len(form.matrix[0])
        return start

    def emit_forms(self, write: Writer) -> None:
        if not self.kernel.rolled:
            super().emit_forms(write)

    def _emit_form(self, write: Writer, form) -> None:
        """Every row of a matrix times the coordinates, in a loop over the columns."""
        start, columns = self._start(form.name), len(form.matrix[0])
        names = [self.names[symbol] for symbol in form.symbols]
        for name in names:
            write(f"{name} = {self.zero}")
        with write.block(f"for j in range({columns})"):
            write(f"other = x[at(tile*{columns * self.lanes} + j*{self.lanes} + lane)]")
            for i, name in enumerate(names):
                write(f"{name} += forms[at({start + i * columns} + j)]*other")

    # -- pairs ---------------------------------------------------------------------------------

    def _emit_pairs(self, write: Writer) -> None:
        k, lanes, dim = self.kernel, self.lanes, len(self.kernel.partners)
        rows = [e for row in k.fields.values() for e in row]
        if k.radial != 0:
            pairs = zip(rows, k.reads["x"], k.partners, strict=True)
            rows = [row + k.radial * (x - y) for row, x, y in pairs]
        formulas = [*rows, *k.means]
        used = set().union(*(e.free_symbols for e in formulas))
        if k.distance is not None and k.distance in used:
            used |= {*k.reads["x"], *k.partners}
        self.emit_loads(write, "x", k.reads["x"], used)
        for j in range(len(formulas)):
            write(f"sum{j} = {self.zero}")
        write(f"own = (tile*{lanes} + lane) % number")  # padding repeats the samples
        with write.block(f"for start in range(0, number, {lanes})"):
            write("cuda.syncthreads()")
            with write.block(f"for i in range({dim})"):
                write(f"PARTNERS[at(i*{lanes} + lane)] = x[at(start*{dim} + i*{lanes} + lane)]")
            write("cuda.syncthreads()")
            partners = f"for n in range(min({lanes}, number - start))"
            with write.nest([partners, "if start + n != own"]):
                self._emit_pair(write, formulas, used)
        write("scale = share[0]")
        for array, field_rows in k.fields.items():
            for i in range(len(field_rows)):
                write(f"{element(array, self.at(len(field_rows), i))} += scale*sum{i}")
        for j in range(len(k.means)):
            write(f"mean{j} += scale*weight[at({self.at(1, 0)})]*sum{j + len(rows)}")

    def _emit_pair(self, write: Writer, formulas, used) -> None:
        k = self.kernel
        for i, symbol in enumerate(k.partners):
            if symbol in used:
                write(f"{self.names[symbol]} = PARTNERS[at({i * self.lanes} + n)]")
        if k.distance is not None and k.distance in used:
            distance = self.names[k.distance]
            write(f"{distance} = {self.zero}")
            for x, y in zip(k.reads["x"], k.partners, strict=True):
                gap = f"({self.names[x]} - {self.names[y]})"
                write(f"{distance} += {gap}*{gap}")
        for j, text in enumerate(self.emit_shared(write, formulas)):
            write(f"sum{j} += {text}")

    def _emit_block_sums(self, write: Writer) -> None:
        """Sums over the threads of a block."""
        count = len(self.kernel.means)
        if not count:
            return
        write(f"ROOM = cuda.shared.array({self.lanes}, DTYPE)")
        for j in range(count):
            write(f"mean{j} = block_sum(mean{j}, ROOM)")
        with write.block("if lane == 0"):
            for j in range(count):
                write(f"sums[{plus(f'cuda.blockIdx.x*{count}', j)}] = mean{j}")
