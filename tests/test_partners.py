"""Random batches of partners: the kernels against the groups one by one, and against all pairs."""

import numpy as np
import pytest
import sympy as sp
from convolution_cases import convolution, copies, problem, square
from on_targets import program_on
from test_map_energies import check_energy_gradient

import pwgf_sym as pw
from pwgf_sym.errors import OptionError
from pwgf_sym.targets.partners import random_groups
from pwgf_sym.targets.program import compile_program

X, Y, RHO = copies(2)
LAW = pw.Gaussian([0.5, -1.0], [1.0, 2.0])


def energies():
    q = square(X, Y)
    mixed = sp.sqrt(1 + q) + X[0] * Y[1] ** 2 + sp.sin(X[1] - 2 * Y[0])
    return {
        "slanted": pw.integral(mixed * RHO * RHO.at(Y), X, Y),
        "radial": pw.integral(sp.exp(-q) * RHO * RHO.at(Y), X, Y) ** 2,
        "blob": pw.integral(RHO * sp.log(convolution(sp.exp(-q), RHO, Y)), X),
    }


@pytest.mark.parametrize(("count", "partners"), [(37, 7), (37, 1), (9, 8), (12, 3), (10, 5)])
def test_groups(count, partners):
    """Every sample has a group, of P + 1 members or more, as equal as they can be."""
    groups = [m for batch in random_groups(count, partners, 3) for m in batch.members]
    assert sorted(np.concatenate(groups)) == list(range(count))
    sizes = [len(m) for m in groups]
    assert min(sizes) >= partners + 1 and max(sizes) - min(sizes) <= 1
    assert len(sizes) == count // (partners + 1)
    other = random_groups(count, partners, 4)[0].members
    assert len(sizes) == 1 or not np.array_equal(other, groups[: len(other)])


@pytest.mark.parametrize("name", list(energies()))
@pytest.mark.parametrize("partners", [1, 7])
def test_a_group_is_alone(name, partners, target, tmp_path):
    """Integrals are means over the groups, velocities those of a group without the others."""
    given = pw.GradientFlow(energies()[name], RHO, LAW)
    # Moments take all partners.
    program = program_on(target, given, pw.Affine(2), tmp_path, moments=False)
    points = LAW.sample(19, seed=1)
    theta = program.map.initial_parameters(LAW.whitened)

    def at(samples, integrals=None):
        state = program.push(theta, samples, program.form.reads)
        found = program.integrals(state)
        velocity = program.velocity(state, found if integrals is None else integrals)
        return found, program.unpack(velocity, samples)

    samples = program.in_groups(program.samples(points), partners, seed=5)
    value, velocity = at(samples)
    mean, expected = 0.0, np.zeros_like(points)
    for members in [m for batch in samples.groups for m in batch.members]:
        part, expected[members] = at(program.samples(points[members]), value)
        mean = mean + len(members) / len(points) * part
    np.testing.assert_allclose(value, mean, rtol=1e-12)
    np.testing.assert_allclose(velocity, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", list(energies()))
def test_the_velocity_is_the_slope_of_the_groups_energy(name, target, tmp_path):
    flow = pw.NeuralFlow(2, width=2, steps=1)
    program = program_on(target, pw.GradientFlow(energies()[name], RHO, LAW), flow, tmp_path)
    plain = program.samples
    program.samples = lambda points: program.in_groups(plain(points), 3, seed=2)
    check_energy_gradient(program, 9)


def test_the_mean_over_groups_is_that_over_all_pairs():
    """Energy and velocity are unbiased, within five standard errors of 400 draws."""
    program = compile_program(problem(energies()["slanted"], 2), pw.Affine(2), "numpy")
    points = np.random.default_rng(2).normal(size=(40, 2))
    theta = program.map.initial_parameters(program.problem.initial.whitened)
    samples = program.samples(points)
    found = []
    for seed in [None, *range(400)]:
        own = samples if seed is None else program.in_groups(samples, 4, seed)
        state = program.push(theta, own, program.form.reads)
        velocity = program.unpack(program.velocity(state), own)
        found.append([*program.integrals(state), *velocity.ravel()])
    truth, found = np.array(found[0]), np.array(found[1:])
    error = found.std(0) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(0) - truth) < 5 * error)
    assert np.all(error > 0)


def aggregation():
    """Attraction by log cosh against a repulsive Gaussian."""
    x, y, rho = copies(1)
    gap = x[0] - y[0]
    kernel = sp.log(sp.cosh(gap)) + sp.exp(-(gap**2) / 2)
    return pw.GradientFlow(pw.integral(kernel * rho * rho.at(y), x, y), rho, pw.Gaussian([1.0], 2))


def test_a_flow_ends_near_that_with_all_partners():
    flow = pw.NeuralFlow(1, width=6)
    options = {"target": "numpy", "samples": 512, "tol": 1e-2}
    points = np.linspace(-1.5, 3.5, 40)[:, None]
    found = []
    for partners in (None, 31):
        solution = pw.solve(aggregation(), flow, (0, 1.0), partners=partners, **options)
        assert solution.options["partners"] == partners
        found.append(solution.push(points, 1.0))
    assert np.sqrt(np.mean((found[0] - found[1]) ** 2)) < 0.03
    assert not np.array_equal(*found)


def test_runs_are_repeated_and_stored(tmp_path):
    """By the seed, with fixed samples, too: partners are drawn anew each step."""
    options = {"target": "numpy", "dt": 0.1, "integrator": "euler", "samples": 60, "partners": 9}
    one, other, third = (
        pw.solve(aggregation(), pw.Affine(1), (0, 0.5), seed=seed, **options) for seed in (1, 1, 2)
    )
    assert one.theta.tobytes() == other.theta.tobytes() != third.theta.tobytes()
    objects = {k: v for k, v in options.items() if k not in ("samples", "partners")}
    again = pw.Samples(60, partners=9)
    found = pw.solve(aggregation(), pw.Affine(1), (0, 0.5), seed=1, samples=again, **objects)
    assert found.theta.tobytes() == one.theta.tobytes()
    one.save(tmp_path / "run.npz")
    loaded = pw.load_solution(tmp_path / "run.npz")
    assert loaded.options == one.options
    # What is measured afterwards takes all pairs.
    assert loaded.energy_at(0.5) == one.energy_at(0.5)


def test_partners_change_with_the_step(monkeypatch):
    from pwgf_sym.targets import program

    seeds = []
    draw = program.random_groups
    monkeypatch.setattr(
        program, "random_groups", lambda *given: (seeds.append(given[2]), draw(*given))[1]
    )
    options = {"target": "numpy", "dt": 0.1, "integrator": "rk4", "samples": 60, "partners": 9}
    pw.solve(aggregation(), pw.Affine(1), (0, 0.3), resample=False, **options)
    assert len(seeds) == len(set(seeds)) == 4  # at the start, and after each of three steps


def test_all_partners_are_a_group():
    """N - 1 partners are all: the same flow but for round-off."""
    options = {"target": "numpy", "dt": 0.1, "integrator": "heun", "samples": 50}
    found = [
        pw.solve(aggregation(), pw.Affine(1), (0, 0.5), partners=partners, **options).theta[-1]
        for partners in (None, 49)
    ]
    np.testing.assert_allclose(*found, rtol=1e-10)


@pytest.mark.parametrize(
    ("partners", "message"),
    [
        (0, r"partners: got 0; accepted: an integer of at least 1"),
        (50, r"partners: got 50; accepted: an integer from 1 to 49, for 50 samples"),
        (2.5, r"partners: got 2\.5"),
    ],
)
def test_refused_numbers(partners, message, nothing_compiles):
    with pytest.raises(OptionError, match=message):
        pw.solve(aggregation(), pw.Affine(1), (0, 1), samples=50, dt=0.1, partners=partners)


def test_refused_energies(nothing_compiles):
    x, _, rho = copies(1)
    given = problem(pw.integral(rho * sp.log(rho) + x[0] ** 2 * rho, x), 1)
    with pytest.raises(OptionError, match="partners: got 8, for an energy without interactions"):
        pw.solve(given, pw.Affine(1), (0, 1), partners=8)
    with pytest.raises(OptionError, match=r"partners: got 8; accepted: None: .* never rest"):
        pw.equilibrium(aggregation(), pw.Affine(1), partners=8)
