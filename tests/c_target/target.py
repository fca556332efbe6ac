"""The plan of a scalar machine, and calls of compiled C by ctypes."""

import ctypes
import shutil
import subprocess

import numpy as np
from c_target.printer import CPrinter

from pwgf_sym.emit.module import Target, emit_module
from pwgf_sym.loops.cpu.formulas import TileFormulaBuilder
from pwgf_sym.loops.cpu.kernels import TileKernelBuilder
from pwgf_sym.loops.nodes import Verbatim
from pwgf_sym.schedule.cpu import CpuTiling

__all__ = ["COMPILER", "CKernels", "c_target"]

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


class Scalar(CpuTiling):
    """One number at a time."""

    def rows(self, size):
        return 1

    def chains(self, rows):
        return 1

    def outer(self, first, second):
        return 1, 1

    def padded(self, numbers):
        return numbers

    def block(self, numbers, near):
        return 1


def c_target() -> Target:
    """Double precision, one sample a tile."""
    tiling, printer = Scalar(64, 1, 1, 1, 1), CPrinter()
    return Target(
        "C99, float64",
        tiling,
        lambda kernel, layout: TileKernelBuilder(kernel, layout, tiling, printer),
        lambda kernel: TileFormulaBuilder(kernel, tiling, printer),
        lambda nodes: printer.module(n for n in nodes if not isinstance(n, Verbatim)),
        printer.module,
        None,
    )


class CKernels:
    """The kernels push, linearize, jvp, vjp and velocity of a problem and a map."""

    wanted = ("push", "linearize", "jvp", "vjp", "velocity")

    def __init__(self, problem, flow, folder):
        emission = emit_module(problem.energy, problem.density, flow, c_target(), self.wanted)
        _, self.text = emission.text.rsplit('"""\n', 1)  # after the docstring
        self.emitters, self.steps = emission.emitters, flow.steps
        (folder / "kernels.c").write_text(self.text)
        source, library = str(folder / "kernels.c"), str(folder / "kernels.so")
        how = ["-O2", "-std=c99", "-fPIC", "-shared", "-o", library, source, "-lm"]
        subprocess.run([COMPILER, *how], check=True)
        self.library = ctypes.CDLL(library)

    def __call__(self, name, *arguments):
        kinds = {int: ctypes.c_long}
        given = [
            kinds[type(a)](a) if type(a) in kinds else ctypes.c_void_p(a.ctypes.data)
            for a in arguments
        ]
        getattr(self.library, name)(*given)

    def table(self, name, *leading):
        """What samples share, as far as the kernel has any."""
        emitter = self.emitters[name]
        if not emitter.table:
            return []
        found = np.zeros(self.steps * emitter.table_size)
        same = next(n for n in (name, *self.wanted) if f"void {n}_table(" in self.text)
        self(f"{same}_table", *leading, found, self.steps)
        return [found]
