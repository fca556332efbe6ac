"""Operation counts of the benchmark kernels, from the IR that our kernels are emitted from."""

from __future__ import annotations

from ..kernels.counts import Count, kernel_count, pair_count

__all__ = ["counts_of", "pair_counts"]

# What our side runs for each kernel of the benchmarks.
_PARTS = {
    "gradient": ("linearize_log_density", "gradient"),
    "metric": ("linearize", "metric"),
    "product": ("metric",),
}


def counts_of(program, name: str, samples_count: int) -> tuple[float, float]:
    """Operations, and bytes of the arrays handed over, of one call of a kernel.

    Parameters
    ----------
    program : Program
        Of a map.
    name : str
        Kernel of the benchmarks.
    samples_count : int

    Returns
    -------
    flops, bytes : float
    """
    total = Count(0.0, 0.0)
    for part in _PARTS.get(name, (name,)):
        kernel = program.emission.kernels[part]
        total = total + kernel_count(kernel, program.map.steps, samples_count, program.dtype.name)
    return total.flops, total.bytes


def pair_counts(program, samples_count: int) -> tuple[float, float]:
    """Operations and bytes of value and velocity over all pairs."""
    total = Count(0.0, 0.0)
    for name in ("pair_integrals", "pair_velocity"):
        kernel = program.emission.formulas[name]
        total = total + pair_count(kernel, samples_count, program.dtype.name)
    return total.flops, total.bytes
