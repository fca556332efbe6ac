"""The target for GPUs: its schedule, its builders and its printer put together."""

from __future__ import annotations

from ..kernels.carried import levels
from ..loops.cuda.formulas import ThreadFormulaBuilder
from ..loops.cuda.kernels import ThreadKernelBuilder
from ..loops.cuda.moments import moments_functions
from ..printers.cuda import CudaPrinter
from ..schedule.cuda import BLOCK, CudaTiling
from .module import Target, forgetting

__all__ = ["cuda_target"]

# What a flow in the velocity form calls, with a Krylov solver: the first module stays short, and
# the others come in one of their own where they are called.
_FIRST = frozenset(
    {
        *("integrals", "velocity", "slopes", "pair_integrals", "pair_velocity", "moments"),
        *("convolutions", "convolution_weights", "convolution_velocity"),
        *("triple_integrals", "triple_velocity", "density_pair_integrals", "density_pair_velocity"),
        *("jvp", "vjp"),
    }
)


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
    tiling, printer = CudaTiling(dtype, threads), CudaPrinter(dtype, threads)
    pushes = forgetting(levels())
    return Target(
        f"cuda, {dtype}, {threads} threads a block, a sample each",
        tiling,
        lambda kernel, layout: ThreadKernelBuilder(kernel, layout, tiling, printer),
        lambda kernel: ThreadFormulaBuilder(kernel, tiling, printer),
        printer.whole,
        printer.listing,
        (lambda dim: moments_functions(dim, tiling)) if moments else None,
        frozenset({"metric"}),
        pushes,
        _FIRST | set(pushes),
    )
