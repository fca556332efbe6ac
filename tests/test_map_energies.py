"""The energy's gradient by theta along a map, against differences of the energy on the samples."""

import numpy as np
import pytest
import sympy as sp
from map_cases import TANH, Case, neural
from on_targets import program_on
from sample_energies import ENERGIES, LOCAL, Energy
from tile_numpy import interpreted

from pwgf_sym.targets import kernels


@pytest.mark.parametrize("name", ["mixed", "root", "porous medium 3", "square", "newtonian"])
@pytest.mark.parametrize("log_determinant", ["exact", "trace"])
def test_gradient_of_the_energy(name, log_determinant, target, tmp_path):
    """The energy form: grad_theta of the sample energy, against differences of that energy."""
    energy = ENERGIES[name]
    substep = "rk4" if log_determinant == "trace" else "euler"
    flow = neural(energy.dim, 5, 2, TANH, substep, log_determinant)
    problem = energy.problem()
    check_energy_gradient(program_on(target, problem, flow, tmp_path), 9)


def test_gradient_of_the_energy_compiled(mixed_program):
    check_energy_gradient(mixed_program, 9)


def test_slope_by_pieces_of_the_samples(tmp_path, monkeypatch):
    """Several pieces a chunk, the last one shorter."""
    monkeypatch.setattr(kernels, "_PIECES", (3,))
    energy = ENERGIES["porous medium 3"]
    program = interpreted(energy.problem(), neural(energy.dim, 3, 1, TANH), tmp_path)
    assert program.separable
    check_energy_gradient(program, 32 * 8 + 50)


def test_slope_of_a_square_of_an_integral(tmp_path):
    """Every sample's slope takes the integral's value, although there are no pairs."""
    energy = Energy(2, sum(c**2 for c in ENERGIES["mixed"].x), outer=LOCAL**2)
    program = interpreted(energy.problem(), neural(2, 3, 1, TANH), tmp_path)
    assert not program.separable
    check_energy_gradient(program, 9)


def test_slope_without_density(tmp_path):
    """No log density is pushed."""
    energy = Energy(2, potential=sum(sp.cosh(c) for c in ENERGIES["mixed"].x))
    program = interpreted(energy.problem(), neural(2, 3, 2, TANH), tmp_path)
    assert program.separable and program.form.energy_reads == ()
    check_energy_gradient(program, 32 * 8 + 50)


def check_energy_gradient(program, count):
    case = Case(program.map, count, noise=0.2)
    samples = program.samples(case.z)
    carry = program.form.energy_reads

    def energy(theta):
        return program.energy(program.integrals(program.push(theta, samples, carry)))

    linearization = program.linearize(case.theta, samples, carry)
    integrals = program.integrals(linearization.state)
    gradient = np.asarray(program.gradient(linearization, integrals))
    for keep in (True, False):
        slope = program.slope(case.theta, samples, keep)
        np.testing.assert_array_equal(slope.integrals, integrals)
        np.testing.assert_allclose(np.asarray(slope.gradient), gradient, rtol=1e-12, atol=1e-13)
        # Pieces that cut blocks, as one test has them, add up in another order.
        maps = slope.linearization, linearization
        again, metric = (np.asarray(m.metric(case.eta)) for m in maps)
        np.testing.assert_allclose(again, metric, rtol=1e-12, atol=1e-14)
    rng = np.random.default_rng(5)
    random = rng.standard_normal((2, case.theta.size))
    for direction in [*random, gradient]:
        unit = direction / np.linalg.norm(direction)
        steps = [energy(case.theta + k * 1e-3 * unit) * w for k, w in STENCIL]
        slope = sum(steps) / 1e-3
        assert slope == pytest.approx(
            gradient @ unit, rel=1e-7, abs=1e-7 * np.linalg.norm(gradient)
        )


STENCIL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
