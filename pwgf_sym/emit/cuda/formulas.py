"""Kernels of an energy for a GPU: straight-line formulas, one sample a thread.

Partners come to shared memory a tile at a time; every thread adds over them in their order.  Means
are summed over the threads of a block by halves, and over the blocks by the caller, in order.
"""

from __future__ import annotations

from ...lower.energies import FormulaKernel
from ...sharing import symbols_of
from ..formulas import FormulaEmitter
from ..groups import plus
from ..writer import Writer
from .kernels import TILES
from .scalars import printer_of
from .schedule import CudaTiling
from .texts import element

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
        """The matrices of the linear forms, row by row, each with its center after it."""
        return [v for form in self.kernel.forms for row in (*form.matrix, form.center) for v in row]

    def emit(self, write: Writer) -> None:
        k = self.kernel
        write("@cuda.jit(cache=True)")
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
        (form,) = (form for form in self.kernel.forms if form.name == name)
        with write.block(f"for j in range({columns})"):
            own = element("x", f"tile*{columns * self.lanes} + j*{self.lanes} + lane")
            own = self._from_center(form, own)
            write(f"{variable} += forms[at({plus(f'i*{columns} + j', start)})]*{own}")

    def _from_center(self, form, coordinate: str) -> str:
        """Coordinate j less that of the form's center."""
        if not form.center:
            return coordinate
        start = self._start(form.name) + len(form.matrix) * len(form.center)
        return f"({coordinate} - forms[at({plus('j', start)})])"

    def _start(self, name: str) -> int:
        """Where the matrix of a linear form begins."""
        start = 0
        for form in self.kernel.forms:
            if form.name == name:
                break
            start += len(form.matrix) * len(form.matrix[0]) + len(form.center)
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
            own = f"x[at(tile*{columns * self.lanes} + j*{self.lanes} + lane)]"
            write(f"other = {self._from_center(form, own)}")
            for i, name in enumerate(names):
                write(f"{name} += forms[at({start + i * columns} + j)]*other")

    # -- pairs ---------------------------------------------------------------------------------

    def _by_distance(self) -> bool:
        """Whether a pair asks for |x - y|^2 and x - y only."""
        k = self.kernel
        rows = [e for row in k.fields.values() for e in row]
        used = symbols_of(k.radial, *k.means)
        return all(e == 0 for e in rows) and not used & {*k.reads["x"], *k.partners}

    def _emit_pairs(self, write: Writer) -> None:
        k, lanes, dim = self.kernel, self.lanes, len(self.kernel.partners)
        body = (_DistanceBody if self._by_distance() else _PairBody)(self, write)
        body.start()
        write(f"own = (tile*{lanes} + lane) % number")  # padding repeats the samples
        with write.block(f"for start in range(0, number, {lanes})"):
            write("cuda.syncthreads()")
            with write.block(f"for i in range({dim})"):
                write(f"PARTNERS[at(i*{lanes} + lane)] = x[at(start*{dim} + i*{lanes} + lane)]")
            write("cuda.syncthreads()")
            partners = f"for n in range(min({lanes}, number - start))"
            with write.nest([partners, "if start + n != own"]):
                body.pair()
        write("scale = share[0]")
        body.finish()
        for j in range(len(k.means)):
            write(f"mean{j} += scale*{self.loaded('weight', 1, 0)}*sum{j}")

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


class _DistanceBody:
    """Sums over partners of functions of the distance, coordinates in loops."""

    def __init__(self, emitter: ThreadFormulaEmitter, write: Writer):
        self.e, self.write, self.kernel = emitter, write, emitter.kernel
        self.dim = len(self.kernel.partners)
        self.pulls = self.kernel.radial != 0

    def _coordinates(self):
        return self.write.block(f"for i in range({self.dim})")

    def start(self) -> None:
        """Own coordinates to registers; sums to zero."""
        self.write(f"OWN = cuda.local.array({self.dim}, DTYPE)")
        if self.pulls:
            self.write(f"PULL = cuda.local.array({self.dim}, DTYPE)")
        with self._coordinates():
            self.write(f"OWN[i] = {self.e.loaded('x', self.dim, 'i')}")
            if self.pulls:
                self.write(f"PULL[i] = {self.e.zero}")
        for j in range(len(self.kernel.means)):
            self.write(f"sum{j} = {self.e.zero}")

    def pair(self) -> None:
        """What one partner adds."""
        k, write = self.kernel, self.write
        distance = self.e.names[k.distance]
        gap = f"OWN[i] - PARTNERS[at(i*{self.e.lanes} + n)]"
        write(f"{distance} = {self.e.zero}")
        with self._coordinates():
            write(f"gap = {gap}")
            write(f"{distance} += gap*gap")
        texts = self.e.emit_shared(write, [*k.means, *([k.radial] if self.pulls else [])])
        for j in range(len(k.means)):
            write(f"sum{j} += {texts[j]}")
        if self.pulls:
            write(f"factor = {texts[-1]}")
            with self._coordinates():
                write(f"PULL[i] += factor*({gap})")

    def finish(self) -> None:
        """Add the sums to the field."""
        for array in self.kernel.fields if self.pulls else ():
            with self._coordinates():
                self.write(f"{self.e.loaded(array, self.dim, 'i')} += scale*PULL[i]")


class _PairBody:
    """Sums over partners of any formulas, written out."""

    def __init__(self, emitter: ThreadFormulaEmitter, write: Writer):
        self.e, self.write, self.kernel = emitter, write, emitter.kernel
        k = self.kernel
        rows = [e for row in k.fields.values() for e in row]
        if k.radial != 0:
            pairs = zip(rows, k.reads["x"], k.partners, strict=True)
            rows = [row + k.radial * (x - y) for row, x, y in pairs]
        self.sums = {f"sum{j}": e for j, e in enumerate(k.means)}
        self.sums |= {f"pull{j}": e for j, e in enumerate(rows)}
        self.used = symbols_of(*self.sums.values())
        if k.distance is not None and k.distance in self.used:
            self.used |= {*k.reads["x"], *k.partners}

    def start(self) -> None:
        """Own coordinates to registers; sums to zero."""
        self.e.emit_loads(self.write, "x", self.kernel.reads["x"], self.used)
        for name in self.sums:
            self.write(f"{name} = {self.e.zero}")

    def pair(self) -> None:
        """What one partner adds."""
        k, write, names = self.kernel, self.write, self.e.names
        for i, symbol in enumerate(k.partners):
            if symbol in self.used:
                write(f"{names[symbol]} = PARTNERS[at({i * self.e.lanes} + n)]")
        if k.distance is not None and k.distance in self.used:
            write(f"{names[k.distance]} = {self.e.zero}")
            for x, y in zip(k.reads["x"], k.partners, strict=True):
                gap = f"({names[x]} - {names[y]})"
                write(f"{names[k.distance]} += {gap}*{gap}")
        texts = self.e.emit_shared(write, list(self.sums.values()))
        for name, text in zip(self.sums, texts, strict=True):
            write(f"{name} += {text}")

    def finish(self) -> None:
        """Add the sums to the field."""
        for array, rows in self.kernel.fields.items():
            for i in range(len(rows)):
                self.write(f"{self.e.loaded(array, len(rows), i)} += scale*pull{i}")
