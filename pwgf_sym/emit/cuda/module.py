"""What the modules of the CUDA target have beside their kernels."""

from __future__ import annotations

import re

from ...loops.nodes import Verbatim
from ..module import Target
from ..writer import Writer
from .formulas import ThreadFormulaEmitter
from .groups import BLOCK_FUNCTIONS
from .kernels import CudaKernelEmitter
from .moments import emit_moments
from .places import packed
from .schedule import BLOCK, CudaTiling

__all__ = ["NAMES", "cuda_target"]

# What a flow in the velocity form calls, with a Krylov solver: the module stays short, and the
# others come in one of their own where they are called.
_FIRST = frozenset(
    {
        *("integrals", "velocity", "slopes", "pair_integrals", "pair_velocity", "moments"),
        *("push", "push_log_density", "push_score", "jvp", "vjp"),
    }
)
# Functions of compile/cuda/blocks.py that are made for a precision, and plain ones.
_MADE = {"add_partials": "partial_sums"}
_PLAIN = ("block_sum", "copy", "fill")
# All names that a module may import, by where they are.
NAMES = {
    "blocks": {*BLOCK_FUNCTIONS["blocks"], *_MADE.values(), *_PLAIN},
    "contractions": {*BLOCK_FUNCTIONS["contractions"]},
    "sums": {*BLOCK_FUNCTIONS["sums"]},
    "toolkit": {"cuda"},
}


def cuda_target(dtype: str, threads: int = BLOCK, moments: bool = True) -> Target:
    """A GPU.

    Parameters
    ----------
    dtype : {"float64", "float32"}
        Precision of all numbers.
    threads : int
        Threads of a block, a power of two.
    moments : bool
        Whether interactions that are polynomials of |x - y|^2 become moments of the samples.
    """
    tiling = CudaTiling.of(dtype, threads)
    return Target(
        f"cuda, {dtype}, {threads} threads a block, a sample each",
        tiling,
        lambda kernel, layout: _Map(kernel, layout, tiling, dtype),
        lambda kernel: _Formulas(kernel, tiling, dtype),
        lambda statements: _text(statements, dtype, threads),
        _moments if moments else None,
        frozenset({"metric"}),
        {"push": "linearize", "push_log_density": "linearize_log_density"},
        _FIRST,
    )


class _Map(CudaKernelEmitter):
    def statements(self, printed):
        write = Writer()
        self.emit(write, printed)
        return [Verbatim(write.text(), ())]


class _Formulas(ThreadFormulaEmitter):
    def statements(self):
        write = Writer()
        self.emit(write)
        return [Verbatim(write.text(), ())]


def _moments(dim: int, tiling) -> Verbatim:
    write = Writer()
    emit_moments(dim, tiling, write)
    return Verbatim(write.text(), ())


def _text(statements, dtype: str, threads: int) -> str:
    body = "".join(node.text for node in statements)
    return _preamble(body, dtype, threads) + body.rstrip("\n") + "\n"


def _preamble(body: str, dtype: str, threads: int) -> str:
    """Imports, and the functions of a block that the kernels call."""
    write = Writer()
    write()
    if "math." in body:
        write("import math")
        write()
    write("import numpy as np")
    write()
    tiled = dict(pair for found in BLOCK_FUNCTIONS.values() for pair in found.items())
    calls = sorted(set(re.findall(rf"\b({'|'.join(tiled)})_((?:\d+_?)*)\(", body)))
    plain = [name for name in _PLAIN if f"{name}(" in body]
    kinds = {"cuda", *(kind for kind, _ in calls), *_MADE.values(), *plain}
    for module, names in NAMES.items():
        found = ", ".join(sorted(kinds & names))
        write.append([f"from pwgf_sym.compile.cuda.{module} import {found}"] if found else [])
    write()
    write(f"DTYPE, THREADS, at = np.{dtype}, {threads}, np.uint64")
    texts = []
    for kind, tile in calls:
        given = ", ".join([*tiled[kind], *filter(None, tile.split("_"))])
        texts.append((f"{kind}_{tile}", f"{kind}({given})"))
    texts += [(name, f"{maker}(DTYPE)") for name, maker in _MADE.items()]
    write.append(packed(texts))
    write()
    write()
    return write.text()
