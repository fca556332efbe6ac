"""The ladder of introspection: mathematics, tensors, statements, Python, LLVM, machine code."""

from __future__ import annotations

from collections.abc import Collection

from ..arguments import brief, checked_call
from ..calls import nearest
from ..declare.energies import SIGN, integral_sign
from ..emit.listing import formula_lines, kernel_lines
from ..emit.notation import energy_text, equation, transport_texts, variation_text
from ..emit.parts import functions_of
from ..errors import OptionError
from ..loops.nodes import Statement
from ..printers.tree import TreePrinter
from .bound import numba_type
from .shown import Code
from .store import seal

__all__ = ["Inspection"]


def _no_kernel(kernel: object, names: Collection[str]) -> OptionError:
    """The error of a name that no kernel has."""
    fix = nearest(kernel, names) if isinstance(kernel, str) else ""
    return OptionError("kernel", brief(kernel), ", ".join(names), fix)


class Inspection:
    """Methods of a program that show what was generated, from the formula down."""

    @checked_call
    def code_symbolic(self, kernel: str | None = None) -> str:
        """The energy's mathematics, the kernels' tensors and the time that each pass took.

        Parameters
        ----------
        kernel : str, optional
            A kernel whose formulas, or tensors, are shown alone.

        Raises
        ------
        OptionError
            If there is no such kernel.
        """
        if kernel is not None:
            return "\n".join(self._shown(kernel)._symbolic(kernel))
        energy, density = self.derived.energy, self.problem.density
        texts = {
            "energy": energy_text(energy, density),
            "first variation": variation_text(energy, density),
            "equation": equation(energy, density, self.problem.transport),
            **transport_texts(density, self.problem.transport),
        }
        lines = [f"{key}: {t.replace(SIGN, integral_sign())}" for key, t in texts.items()]
        lines.append("")
        for name in (*self.emission.formulas, *self.emission.kernels):
            lines += self._symbolic(name)
        return "\n".join([*lines, "", *self._times()])

    def _symbolic(self, name: str) -> list[str]:
        """Formulas of a kernel."""
        if name in self._formulas:
            return formula_lines(self._formulas[name])
        return kernel_lines(self._kernels[name])

    @property
    def _formulas(self) -> dict:
        return self.emission.formulas

    @property
    def _kernels(self) -> dict:
        return self.emission.kernels

    def _shown(self, kernel: str):
        """The program that has a kernel: this one, or that of kernels that come in another module.

        Raises
        ------
        OptionError
            If there is no such kernel.
        """
        names = [*self._formulas, *self._kernels]
        if not isinstance(kernel, str) or kernel not in names:
            raise _no_kernel(kernel, names)
        return self.rest if kernel in self.emission.left_out else self

    @checked_call
    def code_statements(self, kernel: str | None = None) -> str:
        """The statements of all kernels, or of one, before a target's printer spells them.

        Parameters
        ----------
        kernel : str, optional
            Name of a kernel.

        Raises
        ------
        OptionError
            If there is no such kernel.
        """
        nodes = self.emission.statements if kernel is None else self._functions(kernel)
        return TreePrinter().module(nodes)

    def _functions(self, kernel: str) -> list[Statement]:
        """The functions of a kernel, under the name that it is printed under."""
        emission = self._shown(kernel).emission
        found = emission.signatures.get(kernel)
        return functions_of(emission.statements, kernel if found is None else found.name)

    def _times(self) -> list[str]:
        """Milliseconds of every stage, and of every pass over all kernels."""
        passes: dict[str, float] = {}
        for kernel in self.emission.kernels.values():
            for name, seconds in kernel.timings.items():
                passes[name] = passes.get(name, 0.0) + seconds
        stages = [f"stage {n}: {s * 1e3:.1f} ms" for n, s in self.emission.timings.items()]
        return stages + [f"pass {n}: {s * 1e3:.1f} ms" for n, s in passes.items()]

    @checked_call
    def code_python(self, kernel: str | None = None) -> Code:
        """The generated module, or one kernel and what it calls.

        On the target "numpy", for which nothing is generated, the kernels' formulas.  On CUDA the
        module holds the kernels of a flow; ``rest.code_python()`` has others.  Where
        the standard output cannot print the integral sign of its docstring, a word stands in its
        place.  The text is highlighted in a notebook and at a terminal's prompt.

        Parameters
        ----------
        kernel : str, optional
            Name of a kernel: the function of this name, with those of what samples share and of
            sums over samples, if it has any.

        Raises
        ------
        OptionError
            If there is no such kernel.
        """
        if kernel is None:
            return Code(seal(self.emission.text).replace(SIGN, integral_sign()))
        return Code(self._shown(kernel).emission.target.listing(self._functions(kernel)))

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
        functions, signatures = kernel_functions(self.module), self.emission.signatures
        if kernel not in functions and self.rest is not None:  # not one that every flow calls
            functions |= kernel_functions(self.rest.module)
            signatures = signatures | self.rest.emission.signatures
        if kernel not in functions:
            raise _no_kernel(kernel, functions)
        taken = signatures.get(kernel)
        return compile_ptx(functions[kernel], self.dtype.name, capability, taken)

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
        signatures = self.emission.signatures
        names = [n for n in self.kernel_names() if n in signatures]
        if not isinstance(kernel, str) or kernel not in names:
            raise _no_kernel(kernel, names)
        dispatcher = getattr(self.module, kernel)
        signature = tuple(numba_type(argument, self.dtype) for argument in signatures[kernel])
        # A function that came from the disk cache has no IR: compile it anew, without the cache.
        from numba import njit

        options = {**self.module.OPTIONS, "cache": False}
        fresh = njit(**options)(dispatcher.py_func)
        fresh.compile(signature)
        return fresh, signature

    def _is_generated(self, name: str) -> bool:
        return getattr(self.module, name).py_func.__module__ == self.module.__name__

    def cache_statistics(self) -> dict[str, int]:
        """Kernels compiled in this process, and kernels that came from the disk cache."""
        functions = {getattr(self.module, n) for n in self.kernel_names() if self._is_generated(n)}
        functions = [f for f in functions if hasattr(f, "stats")]  # CUDA kernels have none
        compiled = sum(sum(f.stats.cache_misses.values()) for f in functions)
        loaded = sum(sum(f.stats.cache_hits.values()) for f in functions)
        return {"compiled": compiled, "loaded": loaded}
