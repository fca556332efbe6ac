"""Kernels of an energy against its truth in 50-digit arithmetic (sample_energies).

Errors are relative to the sum of the sizes of the terms that a formula adds up on its way: where
terms cancel, double precision cannot be accurate relative to the result.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from sample_energies import LOCAL, PAIR

from pwgf_sym.targets.packing import State

RELATIVE = 1e-12


def carried(program, count, seed=0, spread=1.0):
    """Samples with any log density and score: what the kernels read."""
    rng = np.random.default_rng(seed)
    samples = program.samples(spread * rng.normal(size=(count, program.dim)))
    repeat = np.arange(samples.weight.size) % count
    log_density = rng.uniform(-3, 2, count)[repeat].astype(program.dtype)
    score = samples.pack(2 * rng.normal(size=(count, program.dim)))
    return samples, State(samples, x=samples.z, log_density=log_density, score=score)


def check(energy, program, count, relative=RELATIVE, seed=0, spread=1.0):
    """Integrals, energy, velocity and slopes of a program against the truth."""
    samples, state = carried(program, count, seed, spread)
    x = program.unpack(state.x, samples).astype(float)
    log_density = program.unpack_scalar(state.log_density, samples).astype(float)
    score = program.unpack(state.score, samples).astype(float)
    truth = energy.truth(x, log_density, score)

    def close(got, name):
        value, magnitude = truth[name]
        error = np.abs(np.asarray(got) - value)
        worst = np.max(error / (magnitude + 1e-200))
        assert worst <= relative, f"{name}: {float(worst):.2e}"

    integrals = program.integrals(state)
    assert integrals.dtype == np.float64
    for integral, value in zip(program.form.integrals, integrals, strict=True):
        close(value, "pair" if integral.pair else "local")
    # The outer function is evaluated at the integrals that were found.
    values = {LOCAL: 0.0, PAIR: 0.0}
    values |= {
        (PAIR if i.pair else LOCAL): v
        for i, v in zip(program.form.integrals, integrals, strict=True)
    }
    expected = float(energy.outer.subs(energy.parameters).subs(values))
    assert program.energy(integrals) == pytest.approx(expected, rel=1e-12)
    velocity = program.velocity(state, integrals)
    assert velocity.dtype == program.dtype
    # c_k = dF/dI_k also carries the integrals' own round-off.
    relative *= 1 if energy.outer == LOCAL + PAIR else 20
    close(program.unpack(velocity, samples), "velocity")
    if "slopes" in program.emission.formulas:
        field, scalar = (program.kernels.zeros(v.size) for v in (velocity, samples.weight))
        values = program.values(integrals)
        program.kernels.fields("slopes", state, values, {"field": field, "scalar": scalar})
        close(program.unpack(field, samples), "slopes")
        close(program.unpack_scalar(scalar, samples)[:, None], "by_log")


def random(examples):
    """Settings of a test with so many random examples, the same ones every time."""
    checks = list(HealthCheck)
    return settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=checks
    )
