"""Targets side by side: every kernel and a full step, the same calls on all of them.

Arrays stay where they are computed, as they do in a solve; a call ends when its kernels have.
Times are by the wall clock.  The problem that JAX has been written for is stepped by JAX as well,
on the device that JAX takes, which is a GPU where it finds one.  Steps are compared after few
iterations of CG, as in the other suites.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from ..errors import TargetError
from ..kernels.carried import kernel_name, level_of, pullbacks
from ..kernels.counts import Count, formula_count, kernel_count, pair_count
from ..targets.table import TARGETS
from .cases import CG_ITERATIONS, SHIFT, TRIAL_ITERATIONS, Case
from .compilation import compile_seconds
from .krylov import conjugate_gradients
from .options import BenchmarkOptions
from .problems import WITH_OPPONENTS, problem_named
from .suites import require_agreement
from .timing import Timed, difference, measure, median_ratio, screen

__all__ = ["TargetCase", "calls_of", "missing_targets", "run_targets"]


@dataclass(frozen=True)
class TargetCase:
    """One problem, map, number of samples and precision.

    Attributes
    ----------
    problem : str
        Name from ``problems.PROBLEMS``.
    dim, width, samples : int
    dtype : str
    """

    problem: str
    dim: int
    width: int
    samples: int
    dtype: str

    def program(self, target: str):
        """The compiled program on a target."""
        from ..targets.program import compile_program

        problem = problem_named(self.problem, self.dim)
        return compile_program(problem, self.flow, target, self.dtype)

    @cached_property
    def case(self) -> Case:
        """The same size as the other suites have it: parameters, a direction, samples."""
        return Case(self.dim, self.width, self.samples, self.dtype, self.flow.steps)

    @cached_property
    def flow(self):
        """The map."""
        from ..declare.maps import NeuralFlow

        return NeuralFlow(self.dim, self.width, log_determinant="trace")

    @property
    def detail(self) -> str:
        return f"{self.problem}, N = {self.samples}"


def calls_of(case: TargetCase, target: str) -> list[Timed]:
    """Every kernel and the full step on one target, as timed calls."""
    program = case.program(target)
    samples, given = program.samples(case.case.z), (case.case.theta, case.case.eta)
    theta, eta = (program.kernels.vector("theta", v, program.size) for v in given)
    # Where they are first needed, so that no call compiles what another one answers for.
    state = cache(lambda: program.push(theta, samples, program.form.reads))
    linearized = cache(lambda: program.linearize(theta, samples))
    field = cache(lambda: linearized().jvp(eta) * samples.weights)

    def velocity():
        state().moments = None  # kept by the state otherwise
        return program.velocity(state(), program.integrals(state()))

    def step(iterations=CG_ITERATIONS):
        slope = program.slope(theta, samples)
        shift = program.dtype.type(SHIFT)

        def apply(u):
            return slope.linearization.metric(u) + shift * u

        if program.host.on_host:
            return conjugate_gradients(apply, -slope.gradient, iterations)
        from ..targets.cuda.krylov import cg

        return cg(apply, -slope.gradient, rtol=0.0, maxiter=iterations)[0]

    pairs = any(integral.pair for integral in program.form.integrals)
    calls = {
        "push": lambda: program.push(theta, samples, program.form.reads).x,
        "energy gradient": lambda: program.slope(theta, samples).gradient,
        "pairs" if pairs else "velocity": velocity,
        "jvp": lambda: linearized().jvp(eta),
        "vjp": lambda: linearized().vjp(field()),
        "metric": lambda: linearized().metric(eta),
        "step": step,
    }
    found = []
    for name, call in calls.items():
        packed = name in ("push", "velocity", "pairs", "jvp")
        finish = samples.unpack if packed else np.asarray
        found.append(Timed(name, target, "", _to_its_end(call, program.kernels.wait), finish))
    found[-1].trial = lambda: step(TRIAL_ITERATIONS)
    return found


def _to_its_end(call, wait):
    """The call, which returns when the kernels that it started have ended."""

    def whole():
        result = call()
        wait()
        return result

    return whole


def counts_of(case: TargetCase, program) -> dict[str, Count]:
    """Operations and bytes of each call, from the IR."""
    form, formulas, dtype = program.form, program.emission.formulas, program.dtype.name
    pushed, energy = (
        level_of(form.reads),
        level_of(form.energy_reads),
    )

    def of(*names: str) -> Count:
        total = Count(0.0, 0.0)
        for name in names:
            if name in program.emission.kernels:
                kernel = program.emission.kernels[name]
                total += kernel_count(kernel, program.map.steps, case.samples, dtype)
            elif name in formulas:
                count = pair_count if formulas[name].partners else formula_count
                total += count(formulas[name], case.samples, dtype)
        return total

    velocity = of("integrals", "velocity", "pair_integrals", "pair_velocity")
    passes = kernel_name("linearize", energy), pullbacks(energy)[-1].kernel
    gradient = of(*passes, "integrals", "slopes", "pair_integrals", "pair_velocity")
    product = of("metric")
    vectors = Count(12.0 * program.size, 12.0 * program.size * program.dtype.itemsize)
    return {
        "push": of(kernel_name("push", pushed)),
        "energy gradient": gradient,
        "velocity": velocity,
        "pairs": velocity,
        "jvp": of("jvp"),
        "vjp": of("vjp"),
        "metric": product,
        "step": gradient + (product + vectors) * CG_ITERATIONS,
    }


def run_targets(options: BenchmarkOptions, sides: dict) -> Iterable[list[dict]]:
    """Rows of every kernel on every target, a block for each problem, size, N and precision."""
    targets = [t for t in options.targets if t not in missing_targets(options.targets)]
    for problem in options.problems:
        for dim, width in options.sizes:
            for dtype in options.dtypes:
                compiled = {t: compile_seconds(problem, dim, width, dtype, t) for t in targets}
                for samples in options.counts:
                    case = TargetCase(problem, dim, width, samples, dtype)
                    yield _block(case, targets, compiled, options, sides)


def missing_targets(names: Iterable[str]) -> dict[str, str]:
    """Why a target cannot run here, by name.

    Raises
    ------
    TargetError
        When none of them can.
    """
    if "cuda" not in names:
        return {}
    from ..targets.cuda.device import require

    try:
        require()
    except TargetError as error:
        if set(names) == {"cuda"}:
            raise
        return {"cuda": str(error)}
    return {}


def _block(case: TargetCase, targets, compiled, options: BenchmarkOptions, sides) -> list[dict]:
    calls = {target: calls_of(case, target) for target in targets}
    first = calls[targets[0]]
    for others in calls.values():
        for timed, reference in zip(others, first, strict=True):
            timed.error = difference(timed.result(), reference.result())
    opponents = _opponents(case, sides, first[-1], options.keep)
    peaks = {target: peak_call(target, case.dtype, options.threads) for target in targets}
    machine = {t: Timed("peak", t, "", call) for t, (call, _) in peaks.items() if call}
    every = [*machine.values(), *(timed for own in calls.values() for timed in own), *opponents]
    measure(every, rounds=options.rounds, seconds=options.seconds, clock="wall")
    counts = counts_of(case, case.program(targets[0]))
    head = {"suite": "targets", "size": f"{case.dim}/{case.width}", "dtype": case.dtype}
    head |= {"samples": case.samples, "threads": options.threads, "clock": "wall"}
    head |= {"detail": case.detail, "problem": case.problem, "note": ""}
    rows = []
    for target in targets:
        peak, flops = machine.get(target), peaks[target][1]
        rate = flops / peak.median if peak else None
        for timed, base in zip(calls[target], first, strict=True):
            rows.append(head | _row(timed, base, counts[timed.kernel], rate, case.samples))
            rows[-1] |= compiled[target].get(timed.kernel, {})
    best = {timed.side: timed for timed in sorted(opponents, key=lambda t: -t.median)}
    for timed in best.values():
        rows.append(head | _row(timed, first[-1], counts["step"], None, case.samples))
    return rows


def _opponents(case: TargetCase, sides: dict, step: Timed, keep: float) -> list[Timed]:
    """The best variants of the step by JAX, if they compute the same.

    Raises
    ------
    BenchmarkError
        If they do not.
    """
    if "jax" not in sides or case.problem != WITH_OPPONENTS:
        return []
    found = sides["jax"].build_steps(case.case)
    require_agreement(found, {"step": step.result()}, case.dtype)
    return screen(found, "wall", keep)


def _row(timed: Timed, base: Timed, count: Count, peak: float | None, samples: int) -> dict:
    median = statistics.median(timed.times)
    row = {"kernel": timed.kernel, "side": timed.side, "variant": timed.variant}
    row |= {"times": timed.times, "median": median}
    row |= {"min": min(timed.times), "max": max(timed.times), "error": timed.error}
    row |= {"flops": count.flops, "bytes": count.bytes, "gflops": count.flops / median / 1e9}
    row |= {"samples_a_second": samples / median, "gbytes": count.bytes / median / 1e9}
    row["peak_fraction"] = count.flops / median / peak if peak else None
    return row | {"ratio": median_ratio(base.times, timed.times)}


def peak_call(target: str, dtype: str, threads: int):
    """What measures the peak of a target, and its operations: (call or None, flops)."""
    if TARGETS[target].on_host:
        from .machine import gemm_call

        return gemm_call(dtype, threads=threads)
    from ..runtime.cuda.toolkit import simulated
    from ..targets.cuda.peak import multiply_add_call

    return (None, 0.0) if simulated() else multiply_add_call(dtype)
