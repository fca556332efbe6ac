"""Every energy of docs/catalogue.md: derivatives, gradients, both forms, exact answer, page.

The first variation is compared with the Gateaux quotient of the energy by quadrature, the velocity
with differences of the first variation, the energy form with differences of the energy of samples,
and with the velocity form.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.targets.program import compile_program

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))

from catalogue.checks import gap, gaussian, points_of  # noqa: E402
from catalogue.families import ENTRIES  # noqa: E402
from catalogue.page import page  # noqa: E402
from catalogue.quadrature import Quadrature, gateaux, pairing  # noqa: E402

ALL = pytest.mark.parametrize("name", ENTRIES)


def density_and_direction(one):
    """A density that is no Gaussian, and a perturbation of it."""
    x = one.x
    density = gaussian(x, 0.2, 0.9) * (1 + sp.tanh(x[0]) / 5)
    direction = x[0] * sp.exp(-sum((s - sp.Rational(1, 2)) ** 2 for s in x))
    return density, direction * (1 + x[-1] / 3)


def options_of(one):
    """Of quadratures of that density: a box in which it does not vanish."""
    return {**one.options, "box": (-8, 8) if one.dim == 1 else (-6, 6)}


def differences(function, at, h=1e-3):
    """Central differences of a function of arrays (n, d) in every coordinate, extrapolated."""
    rows = []
    for step in h * np.eye(at.shape[1]):
        near, far = (
            (function(at + k * step) - function(at - k * step)) / (2 * k * h) for k in (1, 2)
        )
        rows.append((4 * near - far) / 3)
    return np.stack(rows, axis=-1)


@ALL
def test_exact_answer(name):
    one = ENTRIES[name]
    assert one.exact.error(one) < one.exact.limit


@ALL
def test_first_variation_is_the_gateaux_derivative(name):
    one = ENTRIES[name]
    density, direction = density_and_direction(one)
    options = options_of(one)
    truth = gateaux(one.energy, one.rho, density, direction, **options)
    variation = pw.first_variation(one.energy, one.rho)
    found = pairing(variation, one.rho, density, direction, **options)
    assert abs(truth) > 1e-3  # else the test would see nothing
    assert abs(found - truth) < 1e-8 * abs(truth)


@pytest.mark.parametrize("name", [n for n, one in ENTRIES.items() if not one.singular])
def test_velocity_is_minus_the_gradient(name):
    one = ENTRIES[name]
    made = Quadrature(one.rho, density_and_direction(one)[0], **options_of(one))
    points = points_of(one, count=5)
    variation = pw.first_variation(one.energy, one.rho)
    truth = -differences(lambda at: made(variation, at), points)
    found = np.stack([made(row, points) for row in pw.velocity(one.energy, one.rho)], axis=-1)
    assert gap(found, truth) < 1e-8


def small_program(one, flow):
    program = compile_program(one.problem, flow, "numpy")
    theta = program.map.initial_parameters(one.law.whitened)
    return program, theta + 0.1 * np.random.default_rng(0).normal(size=program.size)


@pytest.mark.parametrize("name", [n for n, one in ENTRIES.items() if one.has_energy_form])
def test_gradient_by_the_parameters(name):
    one = ENTRIES[name]
    program, theta = small_program(one, pw.NeuralFlow(one.dim, 2, 1))
    samples = program.samples(one.law.sample(7, seed=1))
    found = np.asarray(program.slope(theta, samples).gradient)

    def energy(rows):
        states = (program.push(row, samples, program.form.energy_reads) for row in rows)
        return np.array([program.energy(program.integrals(state)) for state in states])

    truth = differences(energy, theta[None])[0]
    assert np.abs(found - truth).max() < 1e-7 * max(np.abs(truth).max(), 1e-2)


def both_forms(one, program, theta, count, seed):
    """E J'w and -grad_theta E on so many samples."""
    samples = program.samples(one.law.sample(count, seed=seed))
    slope = program.slope(theta, samples)
    state = program.push(theta, samples, program.form.reads)
    field = program.velocity(state) * samples.weights
    return np.asarray(program.vjp(theta, samples, field)), -np.asarray(slope.gradient)


@pytest.mark.parametrize(
    "name", [n for n, one in ENTRIES.items() if one.has_velocity_form and one.has_energy_form]
)
def test_both_forms_agree(name):
    """Exactly where no density is read, else in expectation, to the standard error."""
    one = ENTRIES[name]
    program, theta = small_program(one, pw.NeuralFlow(one.dim, 2, 1))
    if not program.form.reads:
        velocity, energy = both_forms(one, program, theta, 60, 0)
        assert gap(velocity, energy) < 1e-10
        return
    runs = [both_forms(one, program, theta, 500, seed) for seed in range(16)]
    apart = np.array([velocity - energy for velocity, energy in runs])
    error = apart.std(axis=0, ddof=1) / np.sqrt(len(runs))
    scale = max(np.abs(runs[0][1]).max(), 0.1)  # Gaussians may be at rest
    assert np.all(error < 0.3 * scale)  # else the test would see little
    assert np.all(np.abs(apart.mean(axis=0)) < 4.5 * error + 1e-10 * scale)


def test_the_page_is_what_the_entries_make():
    committed = (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8")
    assert committed == page(), "run python examples/catalogue"


@ALL
def test_the_page_builds_the_energy(name):
    """The lines of the page as a user would run them."""
    one = ENTRIES[name]
    names = {"pw": pw, "sp": sp, "np": np, "x": one.x, "y": one.y, "rho": one.rho}
    exec(compile(one.code, name, "exec"), names)
    assert names["energy"] == one.energy and names.get("transport", {}) == one.transport


def test_the_picture_is_there_and_small():
    size = (ROOT / "docs" / "catalogue.png").stat().st_size
    assert 50_000 < size < 400_000
