"""How close each of our kernels comes to what the machine allows: a roofline in numbers."""

from __future__ import annotations

from . import ours
from .cases import KERNELS, Case
from .counts import counts_of
from .machine import bandwidth_call, gemm_call
from .timing import Timed, measure

__all__ = ["profile", "profile_table"]


def profile(case: Case, *, rounds: int, seconds: float, clock: str = "cpu") -> dict:
    """Rates of all kernels of one case beside the gemm peak and the memory bandwidth.

    Returns
    -------
    dict
        "peak" (flop/s), "bandwidth" (bytes/s), and "kernels": rows with name, seconds, flops,
        bytes, rate, intensity, and the fraction of min(peak, bandwidth * intensity) reached.
    """
    calls = [t for t in ours.build(case) if t.kernel in KERNELS]
    for timed in calls:
        timed.call()
    gemm, gemm_flops = gemm_call(case.dtype)
    triad, triad_bytes = bandwidth_call(case.dtype)
    machine = [Timed("gemm", "numpy", "np.dot", gemm), Timed("triad", "numpy", "pieces", triad)]
    measure([*machine, *calls], rounds=rounds, seconds=seconds, clock=clock)
    peak, bandwidth = gemm_flops / machine[0].median, triad_bytes / machine[1].median
    program, rows = ours.program_of(case), []
    for timed in calls:
        flops, size = counts_of(program, timed.kernel, case.samples)
        rate, intensity = flops / timed.median, flops / size
        roof = min(peak, bandwidth * intensity)
        row = {"kernel": timed.kernel, "seconds": timed.median, "flops": flops, "bytes": size}
        rows.append(row | {"rate": rate, "intensity": intensity, "fraction": rate / roof})
    return {"peak": peak, "bandwidth": bandwidth, "kernels": rows}


def profile_table(found: dict) -> str:
    """The profile as plain text."""
    lines = [
        f"gemm peak {found['peak'] / 1e9:.1f} GFLOP/s, "
        f"memory (triad) {found['bandwidth'] / 1e9:.1f} GB/s",
        f"{'kernel':18}{'ms':>9}{'MFLOP':>9}{'MB':>8}{'GFLOP/s':>9}{'flop/byte':>11}{'of roof':>9}",
    ]
    for row in found["kernels"]:
        lines.append(
            f"{row['kernel']:18}{1e3 * row['seconds']:9.3f}{row['flops'] / 1e6:9.1f}"
            f"{row['bytes'] / 1e6:8.2f}{row['rate'] / 1e9:9.1f}{row['intensity']:11.1f}"
            f"{100 * row['fraction']:7.0f} %"
        )
    return "\n".join(lines)
