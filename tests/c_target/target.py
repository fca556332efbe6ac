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
        self.signatures, self.steps = emission.signatures, flow.steps
        (folder / "kernels.c").write_text(self.text)
        source, library = str(folder / "kernels.c"), str(folder / "kernels.so")
        how = ["-O2", "-std=c99", "-fPIC", "-shared", "-o", library, source, "-lm"]
        subprocess.run([COMPILER, *how], check=True)
        self.library = ctypes.CDLL(library)

    def __call__(self, name, count, **values):
        """Call a function for so many samples; arrays that are not given are made."""
        signature = self.signatures[name]
        values |= {"first": 0, "last": count, "origin": 0, "extent": count, "steps": self.steps}
        if f"{name}_table" in self.signatures:
            values["table"] = self(f"{name}_table", count, **values)["table"]
        for argument in signature:
            if argument.name not in values:
                numbers = argument.length(step=self.steps, sample=count)
                values[argument.name] = np.array(argument.values or np.zeros(numbers))
        given = (values[argument.name] for argument in signature)
        getattr(self.library, signature.name)(*map(_as_c, given))
        return values


def _as_c(value):
    whole = isinstance(value, int)
    return ctypes.c_long(value) if whole else ctypes.c_void_p(value.ctypes.data)
