"""Our side of the benchmarks: every call of the package's compiled kernels is in this file."""

from __future__ import annotations

from functools import lru_cache

from ..kernels.carried import kernel_name, levels
from .cases import CG_ITERATIONS, SHIFT, TRIAL_ITERATIONS, Case, PairCase
from .krylov import conjugate_gradients
from .timing import Timed

__all__ = ["build", "build_pairs", "pair_program", "program_of", "solver_call"]

SIDE = "pwgf_sym"


@lru_cache(maxsize=4)
def program_of(case: Case, dtype: str | None = None):
    """The compiled program of a case, which variants of solvers share."""
    from ..targets.program import compile_program

    return compile_program(case.problem, case.map, "cpu", dtype or case.dtype)


def build(case: Case) -> list[Timed]:
    """Our kernels on one case."""
    program = program_of(case)
    samples = program.samples(case.z)
    theta, eta = case.theta, case.eta

    def state(carry):
        return lambda: program.push(theta, samples, carry)

    stored = program.linearize(theta, samples)

    def gradient():
        slope = program.slope(theta, samples, keep=False)
        return program.energy(slope.integrals), slope.gradient

    def metric():
        return program.metric(theta, samples, eta)

    def product():
        return stored.metric(eta)

    def step(iterations=CG_ITERATIONS):
        slope = program.slope(theta, samples)

        def shifted(u):
            return slope.linearization.metric(u) + program.dtype.type(SHIFT) * u

        return conjugate_gradients(shifted, -slope.gradient, iterations)

    def unpacked(pushed):
        scalars = [] if pushed.log_density is None else [pushed.log_density]
        fields = [] if pushed.score is None else [samples.unpack(pushed.score)]
        parts = [samples.unpack(pushed.x), *map(samples.unpack_scalar, scalars), *fields]
        return tuple(parts)

    calls = {"gradient": gradient, "metric": metric, "product": product}
    found = []
    for level in levels():
        call = state(level[-1].name)
        found.append(Timed(kernel_name("push", level), SIDE, "tiles", call, unpacked))
    found += [Timed(name, SIDE, "tiles", call) for name, call in calls.items()]
    found.append(Timed("step", SIDE, "tiles", step, trial=lambda: step(TRIAL_ITERATIONS)))
    return found


def build_pairs(case: PairCase, kind: str) -> list[Timed]:
    """Our kernels of value and velocity for one interaction; all pairs are the last."""
    found = []
    for variant, moments in (("moments", True), ("all pairs", False)):
        program = pair_program(case, kind, moments)
        if variant == "all pairs" or program.uses_moments:
            found.append(_pair_call(program, case, kind, variant))
    return found


def pair_program(case: PairCase, kind: str, moments: bool = False):
    """The compiled program of an interaction, from all pairs or from moments."""
    from ..declare.maps import Affine
    from ..targets.program import compile_program

    problem = case.problem(kind)
    return compile_program(problem, Affine(case.dim), "cpu", case.dtype, moments=moments)


def _pair_call(program, case: PairCase, kind: str, variant: str) -> Timed:
    samples = program.samples(case.z)
    state = program.push(program.map.initial_parameters(None), samples)

    def both():
        state.moments = None  # kept by the state otherwise
        integrals = program.integrals(state)
        return program.energy(integrals), program.velocity(state, integrals)

    # A side of its own: variants of one side are screened against each other.
    side = SIDE if variant == "all pairs" else f"{SIDE} {variant}"
    return Timed(kind, side, variant, both, lambda r: (r[0], samples.unpack(r[1])))


def solver_call(case: Case, options: dict, guess=None):
    """One whole step with a set of solver options: a function that returns eta (p,) float64.

    Parameters
    ----------
    case : Case
    options : dict
        Fields of :class:`pwgf_sym.LinearSolve`.
    guess : (p,) array, optional
        Where the solve starts: the direction of the step before.
    """
    from ..solver.linear import solve_metric
    from ..solver.option_objects import LinearSolve

    program = program_of(case)
    samples = program.samples(case.z)
    theta = case.theta
    linear = LinearSolve(**options, shift=SHIFT)

    def call():
        slope = program.slope(theta, samples)
        right = -slope.gradient
        return solve_metric(slope.linearization, right=right, options=linear, guess=guess).eta

    return call
