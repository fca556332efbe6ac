"""Suites of timed calls: what is built, checked, timed together, and written down."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Iterable, Sequence

from ..errors import BenchmarkError
from . import ours
from .cases import CG_ITERATIONS, KERNELS, PAIR_KERNELS, Case, PairCase
from .counts import counts_of, pair_counts
from .machine import gemm_call
from .options import BenchmarkOptions
from .timing import Timed, compare, measure, median_ratio, screen

__all__ = ["TOLERANCE", "opponents", "require_agreement", "run_kernels", "run_pairs", "run_step"]
__all__ += ["timed_together"]

# Largest relative difference between sides.
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


def opponents(names: Sequence[str]) -> tuple[dict, dict[str, str]]:
    """Modules of the opponents that can run here, and why the others cannot."""
    found, skipped = {}, {}
    for name in names:
        module = importlib.import_module(f".opponents.{name}_side", __package__)
        reason = module.missing()
        if reason:
            skipped[name] = reason
        else:
            found[name] = module
    return found, skipped


def run_kernels(options: BenchmarkOptions, sides: dict) -> Iterable[list[dict]]:
    """Rows of all kernels of the map, a block for every size and precision."""
    return _map_rows("kernels", KERNELS, options, sides)


def run_step(options: BenchmarkOptions, sides: dict) -> Iterable[list[dict]]:
    """Rows of the energy gradient and 50 iterations of CG, in blocks."""
    return _map_rows("step", ("step",), options, sides)


def _map_rows(suite: str, kernels, options, sides):
    for dim, width in options.sizes:
        for dtype in options.dtypes:
            case = Case(dim, width, options.samples, dtype)
            mine = [t for t in ours.build(case) if t.kernel in kernels]
            theirs = [t for m in sides.values() for t in m.build(case) if t.kernel in kernels]
            program = ours.program_of(case)
            counts = {k: _step_counts(program, k, case) for k in kernels}
            yield timed_together(suite, case, mine, theirs, counts, options)


def _step_counts(program, kernel: str, case: Case):
    if kernel != "step":
        return counts_of(program, kernel, case.samples)
    gradient = counts_of(program, "gradient", case.samples)
    product = counts_of(program, "product", case.samples)
    vectors = 12 * program.size  # of one iteration: three updates, two dot products, the shift
    flops = gradient[0] + CG_ITERATIONS * (product[0] + vectors)
    return flops, gradient[1] + CG_ITERATIONS * product[1]


def run_pairs(options: BenchmarkOptions, sides: dict) -> Iterable[list[dict]]:
    """Rows of value and velocity over all pairs, a block for every dimension and precision."""
    for dim in dict.fromkeys(d for d, _ in options.sizes):
        for dtype in options.dtypes:
            case = PairCase(dim, options.samples, dtype)
            for kind in PAIR_KERNELS:
                mine = ours.build_pairs(case, kind)
                theirs = [t for m in sides.values() for t in m.build_pairs(case, kind)]
                counts = {kind: pair_counts(ours.pair_program(case, kind), case.samples)}
                yield timed_together("pairs", case, mine, theirs, counts, options)


def require_agreement(calls: Sequence[Timed], reference: dict, dtype: str) -> None:
    """Keep the difference of every call from the reference of its kernel, and refuse a large one.

    Raises
    ------
    BenchmarkError
        If a side computes something else.
    """
    compare(calls, reference)
    for timed in calls:
        if not timed.error <= TOLERANCE[dtype]:
            given = f"{timed.side} ({timed.variant}) differs by {timed.error:.2g}"
            accepted = f"a difference of at most {TOLERANCE[dtype]:g}"
            raise BenchmarkError(timed.kernel, given, accepted)


def timed_together(suite, case, mine, theirs, counts, options) -> list[dict]:
    """Check all calls against ours, time them in the same rounds, and write one row a call.

    Raises
    ------
    BenchmarkError
        If a side computes something else.
    """
    calls = [*mine, *theirs]
    require_agreement(calls, {t.kernel: t.result() for t in mine}, case.dtype)
    gemm, gemm_flops = gemm_call(case.dtype)
    peak = Timed("gemm", "numpy", "np.dot", gemm)
    kept = screen(calls, options.clock, options.keep)
    measure([peak, *kept], rounds=options.rounds, seconds=options.seconds, clock=options.clock)
    base = {t.kernel: t for t in mine}
    head = {"suite": suite, "size": case.name, "dtype": case.dtype, "samples": case.samples}
    head |= {"threads": options.threads, "clock": options.clock}
    rows = [_row(head, t, base[t.kernel], counts[t.kernel], peak, gemm_flops) for t in calls]
    return [_gemm_row(head, peak, gemm_flops), *rows]


def _times(timed: Timed) -> dict:
    if not timed.times:
        return {"times": [], "median": None, "min": None, "max": None}
    spread = {"min": min(timed.times), "max": max(timed.times)}
    return {"times": timed.times, "median": statistics.median(timed.times), **spread}


def _row(head, timed: Timed, base: Timed, counts, peak: Timed, gemm_flops) -> dict:
    flops, size = counts
    row = {**head, "kernel": timed.kernel, "side": timed.side, "variant": timed.variant}
    row |= _times(timed) | {"error": timed.error, "note": timed.note}
    row |= {"flops": flops, "bytes": size, "gflops": None, "peak_fraction": None, "ratio": None}
    if timed.times:
        row["gflops"] = flops / timed.median / 1e9
        row["peak_fraction"] = flops / gemm_flops * median_ratio(peak.times, timed.times)
        row["ratio"] = median_ratio(timed.times, base.times)
    return row


def _gemm_row(head, peak: Timed, flops: float) -> dict:
    row = {**head, "kernel": "gemm", "side": peak.side, "variant": peak.variant}
    row |= _times(peak) | {"error": 0.0, "note": "", "flops": flops, "bytes": 0.0}
    return row | {"gflops": flops / row["median"] / 1e9, "peak_fraction": 1.0, "ratio": None}
