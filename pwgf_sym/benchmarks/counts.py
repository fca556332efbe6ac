"""Operation counts of the benchmark kernels, by hand, for rates and fractions of the peak."""

from __future__ import annotations

__all__ = ["counts_of", "pair_counts"]

# Operations of the vector functions; a fused multiply-add counts as two, a division as one.
_TANH = {"float64": 34, "float32": 24}
_EXP = {"float64": 30, "float32": 20}


def counts_of(program, name: str, samples_count: int) -> tuple[float, float]:
    """Operations, and bytes of the arrays handed over, of one call of a kernel.

    Parameters
    ----------
    program : Program
        Of a ``NeuralFlow`` with Euler steps and log_determinant="trace".
    name : str
        Kernel of the benchmarks.
    samples_count : int

    Returns
    -------
    flops, bytes : float
    """
    flow, dtype = program.map, program.dtype.name
    d, m, tanh = flow.dim, flow.width, _TANH[program.dtype.name]
    push = 2 * d * m + tanh * m + 2 * d * d + 2 * d * m + 3 * d
    divergence = 4 * m + 3  # 1 - H^2 and its product with q
    tangent = 8 * d * m + 3 * m + 4 * d * d + 3 * d  # four products with m x d, two with d x d
    adjoint = 8 * d * m + 3 * m + 4 * d * d + 4 * d
    score = 4 * d * m + 5 * m + 2 * d * d + 2 * d
    step_flops = {
        "push": push,
        "push_log_density": push + divergence,
        "push_score": push + divergence + score,
        "gradient": push + divergence + adjoint + 5 * m,
        "metric": push + tangent + adjoint,
        "product": tangent + adjoint,
    }
    numbers = {"push": 2 * d, "push_log_density": 2 * d + 2, "push_score": 4 * d + 2}
    width = {"float64": 8, "float32": 4}[dtype]
    flops = flow.steps * samples_count * step_flops[name]
    return float(flops), float(samples_count * numbers.get(name, d + 1) * width)


def pair_counts(dim: int, kind: str, samples_count: int, dtype: str) -> tuple[float, float]:
    """Operations and bytes of value and velocity over all pairs."""
    scalar = 4 if kind == "quartic" else 2 + _EXP[dtype]
    pair = 3 * dim + scalar + 2 * dim  # differences, square, W and k, sums
    width = {"float64": 8, "float32": 4}[dtype]
    return float(samples_count**2 * pair), float(2 * dim * samples_count * width)
