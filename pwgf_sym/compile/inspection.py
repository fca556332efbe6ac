"""The ladder of introspection: mathematics, IR, Python, LLVM, machine code."""

from __future__ import annotations

import inspect

import sympy as sp

from ..arguments import brief, checked_call
from ..declare.energies import SIGN, integral_sign
from ..emit.header import equation
from ..errors import OptionError
from ..tensors import topological
from .store import seal

__all__ = ["Inspection"]


class Inspection:
    """Methods of a program that show what was generated, from the formula down."""

    def code_symbolic(self) -> str:
        """The energy's mathematics, the kernels' tensor IR and the time that each pass took."""
        from ..derive import first_variation

        energy, density = self.problem.energy, self.problem.density
        lines = [f"energy: {energy}", f"first variation: {first_variation(energy, density)}"]
        lines += [f"equation: {equation(energy, density).replace(SIGN, integral_sign())}", ""]
        for name, formula in self.emission.formulas.items():
            lines.append(f"kernel {name}: {formula.summary}")
            lines += [f"    {sp.sstr(expression)}" for expression in formula.formulas()]
        for name, kernel in self.emission.kernels.items():
            lines.append(f"kernel {name}: {kernel.summary}")
            for sweep in kernel.sweeps:
                kind = {1: "forward", -1: "backward", 0: "once"}[sweep.direction]
                lines.append(f"  sweep {kind}: carries {', '.join(sweep.carries)}")
                lines += [f"    {tensor}" for tensor in topological(sweep.outputs())]
        return "\n".join([*lines, "", *self._times()])

    def _times(self) -> list[str]:
        """Milliseconds of every stage, and of every pass over all kernels."""
        passes: dict[str, float] = {}
        for kernel in self.emission.kernels.values():
            for name, seconds in kernel.timings.items():
                passes[name] = passes.get(name, 0.0) + seconds
        stages = [f"stage {n}: {s * 1e3:.1f} ms" for n, s in self.emission.timings.items()]
        return stages + [f"pass {n}: {s * 1e3:.1f} ms" for n, s in passes.items()]

    def code_python(self) -> str:
        """The generated module (on CUDA the kernels of a flow; ``rest.code_python()``: others).

        On the target "numpy", for which nothing is generated, the kernels' formulas.

        Where the standard output cannot print the integral sign of its docstring, a word stands
        in its place.
        """
        return seal(self.emission.text).replace(SIGN, integral_sign())

    @checked_call
    def code_llvm(self, kernel: str) -> str:
        """LLVM IR of a kernel after optimization (compiles it if need be)."""
        dispatcher, signature = self._compiled(kernel)
        return dispatcher.inspect_llvm(signature)

    @checked_call
    def code_native(self, kernel: str) -> str:
        """Machine code of a kernel as assembler text (compiles it if need be)."""
        dispatcher, signature = self._compiled(kernel)
        return dispatcher.inspect_asm(signature)

    @checked_call
    def code_ptx(self, kernel: str, capability: tuple[int, int] = (9, 0)) -> str:
        """PTX of a kernel of the CUDA target; it needs NVIDIA's compiler, but no GPU."""
        from .cuda.ptx import compile_ptx, kernel_functions

        if self.target != "cuda":
            raise OptionError("target", f'"{self.target}"', '"cuda"', self._fix)
        if not isinstance(kernel, str):
            raise OptionError("kernel", brief(kernel), "the name of a kernel")
        functions = kernel_functions(self.module)
        if kernel not in functions and self.rest is not None:  # not one that every flow calls
            functions |= kernel_functions(self.rest.module)
        if kernel not in functions:
            raise OptionError("kernel", brief(kernel), ", ".join(functions))
        return compile_ptx(functions[kernel], self.dtype.name, capability)

    @property
    def _fix(self) -> str:
        """What shows machine code of this target, or formulas where there is none."""
        return f"Use {self.host.shown_by}."

    def kernel_names(self) -> list[str]:
        """Functions of the generated module."""
        return [n for n, f in vars(self.module).items() if hasattr(f, "py_func")]

    def _compiled(self, kernel: str):
        if self.target != "cpu":
            raise OptionError("target", f'"{self.target}"', '"cpu"', self._fix)
        names = [n for n in self.kernel_names() if self._is_generated(n)]
        if not isinstance(kernel, str) or kernel not in names:
            raise OptionError("kernel", brief(kernel), ", ".join(names))
        dispatcher = getattr(self.module, kernel)
        signature = self._signature(dispatcher)
        # A function that came from the disk cache has no IR: compile it anew, without the cache.
        from numba import njit

        options = {**self.module.OPTIONS, "cache": False}
        fresh = njit(**options)(dispatcher.py_func)
        fresh.compile(signature)
        return fresh, signature

    def _is_generated(self, name: str) -> bool:
        return getattr(self.module, name).py_func.__module__ == self.module.__name__

    def _signature(self, dispatcher) -> tuple:
        from numba import from_dtype, types

        array = types.Array(from_dtype(self.dtype), 1, "C")
        integers = {
            "number",
            "first",
            "last",
            "origin",
            "extent",
            "steps",
            "width",
            "m",
            "k",
            "v",
            "d",
        }
        names = inspect.signature(dispatcher.py_func).parameters
        return tuple(types.intp if name in integers else array for name in names)

    def cache_statistics(self) -> dict[str, int]:
        """Kernels compiled in this process, and kernels that came from the disk cache."""
        functions = {getattr(self.module, n) for n in self.kernel_names() if self._is_generated(n)}
        functions = [f for f in functions if hasattr(f, "stats")]  # CUDA kernels have none
        compiled = sum(sum(f.stats.cache_misses.values()) for f in functions)
        loaded = sum(sum(f.stats.cache_hits.values()) for f in functions)
        return {"compiled": compiled, "loaded": loaded}
