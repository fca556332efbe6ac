"""Integrals over three copies: triple loops over samples, quadrature, closed forms, flows."""

import itertools

import numpy as np
import pytest
import sympy as sp
from convolution_cases import convolution, copies
from on_targets import fewer, program_on
from test_map_energies import STENCIL

import pwgf_sym as pw
from pwgf_sym.derive.structure import energy_structure
from pwgf_sym.errors import EnergyError, OptionError
from pwgf_sym.solver.theory import theory_of
from pwgf_sym.targets.program import compile_program


def three(dim):
    x, y, rho = copies(dim)
    return x, y, pw.coordinates(dim, "z"), rho


def kernels(x, y, z):
    """W(x, y, z) of sequences of coordinates: symmetric in all, in two, and in none."""
    spread = sum((a + b - 2 * c) ** 2 for a, b, c in zip(x, y, z, strict=True))
    product = sum(a * b * c for a, b, c in zip(x, y, z, strict=True))
    return {
        "spread": sp.sqrt(1 + spread),
        "product": sp.cos(product),
        "slanted": sp.sin(x[0] * y[-1] - 2 * z[0]) + sp.exp(-((x[-1] - z[-1]) ** 2)) * y[0] ** 2,
        "two of three": sp.exp(-((x[0] - z[0]) ** 2)) * x[-1],
        "third": z[0] ** 2,
    }


def energy(dim, name):
    x, y, z, rho = three(dim)
    return pw.integral(kernels(x, y, z)[name] * rho * rho.at(y) * rho.at(z), x, y, z)


def problem(formula, dim):
    law = pw.Gaussian(np.linspace(0.5, -1.0, dim), np.linspace(1.0, 2.0, dim))
    return pw.GradientFlow(formula, three(dim)[3], law)


def triple_loop(name, points):
    """Mean over three different samples; complex points give complex means."""
    dim = points.shape[1]
    x, y, z, _ = three(dim)
    formula = sp.lambdify([x, y, z], kernels(x, y, z)[name], "numpy")
    found = [formula(*points[list(of)]) for of in itertools.permutations(range(len(points)), 3)]
    return np.mean(found)


def descent(name, points):
    found = np.zeros(points.shape)
    for place in np.ndindex(*points.shape):
        moved = points.astype(complex)
        moved[place] += 1e-30j
        found[place] = -len(points) * triple_loop(name, moved).imag * 1e30
    return found


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("name", ["spread", "slanted", "two of three", "third", "product"])
def test_kernels_are_triple_loops(name, dim, target, tmp_path):
    program = program_on(target, problem(energy(dim, name), dim), pw.Affine(dim), tmp_path)
    assert program.sums_pairs and not program.separable
    for count in fewer((4,), (3, 9)):
        points = np.random.default_rng(count).normal(size=(count, dim))
        assert program.energy_at(points) == pytest.approx(triple_loop(name, points), rel=1e-12)
        expected = descent(name, points)
        np.testing.assert_allclose(program.velocity_at(points), expected, rtol=1e-11, atol=1e-12)


def test_less_than_three_samples(target, tmp_path):
    program = program_on(target, problem(energy(2, "slanted"), 2), pw.Affine(2), tmp_path)
    points = np.ones((2, 2))
    assert program.energy_at(points) == 0 and not program.velocity_at(points).any()


def beside_others():
    x, y, _, rho = three(2)
    blob = convolution(sp.exp(-((x[0] - y[0]) ** 2)), rho, y)
    rest = pw.integral(rho * sp.log(blob) + rho * sp.log(rho), x)
    pair = pw.integral(sp.cos(x[0] - y[1]) * rho * rho.at(y), x, y)
    return energy(2, "spread") ** 2 / (2 + energy(2, "third")) + rest + pair


@pytest.mark.parametrize("partners", [None, 3])
def test_the_gradient_is_that_of_the_energy(partners, target, tmp_path):
    flow = pw.NeuralFlow(2, width=2, steps=1)
    given = problem(beside_others(), 2)
    program = program_on(target, given, flow, tmp_path)
    rng = np.random.default_rng(3)
    theta = flow.initial_parameters(given.initial.whitened)
    theta = theta + 0.2 * rng.normal(size=theta.size)
    samples = program.samples(given.initial.sample(9, seed=1))
    samples = program.in_groups(samples, partners, seed=2) if partners else samples
    gradient = np.asarray(program.slope(theta, samples).gradient)

    def value(theta):
        state = program.push(theta, samples, program.form.energy_reads)
        return program.energy(program.integrals(state))

    for direction in (gradient, rng.normal(size=theta.size)):
        unit = direction / np.linalg.norm(direction)
        slope = sum(w * value(theta + k * 1e-3 * unit) for k, w in STENCIL) / 1e-3
        assert slope == pytest.approx(gradient @ unit, abs=1e-8 * np.linalg.norm(gradient))


def test_both_forms_are_one_flow(target, tmp_path):
    flow = pw.NeuralFlow(2, width=2, steps=1)
    given = problem(energy(2, "slanted"), 2)
    program = program_on(target, given, flow, tmp_path)
    rng = np.random.default_rng(5)
    theta = flow.initial_parameters(given.initial.whitened)
    theta = theta + 0.2 * rng.normal(size=theta.size)
    samples = program.in_groups(program.samples(rng.normal(size=(13, 2))), 4, seed=1)
    slope = program.slope(theta, samples)
    velocity = program.velocity(program.push(theta, samples, program.form.reads))
    found = np.asarray(program.vjp(theta, samples, velocity * samples.weights))
    scale = np.abs(found).max()
    np.testing.assert_allclose(found, -np.asarray(slope.gradient), atol=1e-12 * scale)


def test_compiled_kernels(tmp_path):
    """The same text by Numba, in both precisions."""
    points = np.random.default_rng(6).normal(size=(11, 2))
    expected = descent("slanted", points)
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-5)):
        given = problem(energy(2, "slanted"), 2)
        program = compile_program(given, pw.Affine(2), "cpu", dtype, tmp_path)
        found = program.velocity_at(points)
        assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


def test_groups_are_right_on_average():
    """Energy and velocity, within five standard errors of 300 draws."""
    program = compile_program(problem(energy(2, "slanted"), 2), pw.Affine(2), "numpy")
    points = np.random.default_rng(2).normal(size=(20, 2))
    theta = program.map.initial_parameters(program.problem.initial.whitened)
    samples, found = program.samples(points), []
    for seed in [None, *range(300)]:
        own = samples if seed is None else program.in_groups(samples, 4, seed)
        state = program.push(theta, own, program.form.reads)
        velocity = program.unpack(program.velocity(state), own)
        found.append([*program.integrals(state), *velocity.ravel()])
    truth, found = np.array(found[0]), np.array(found[1:])
    error = found.std(0) / np.sqrt(len(found))
    assert np.all(error > 0) and np.all(np.abs(found.mean(0) - truth) < 5 * error)


# ---------------------------------------------------------------- formulas


@pytest.mark.parametrize("name", ["spread", "slanted", "two of three", "third", "product"])
def test_first_variation_by_quadrature(name):
    """dE/drho against the Gateaux quotient on a grid, which the trapezoidal rule integrates."""
    x, y, z, rho = three(1)
    grid = np.linspace(-7, 7, 61)
    step = grid[1] - grid[0]
    first, second = (
        np.exp(-((grid - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
        for m, v in ((0.3, 0.8), (-0.4, 1.1))
    )
    change, found = second - first, pw.first_variation(energy(1, name), rho)
    formula = sp.lambdify([x[0], y[0], z[0]], kernels(x, y, z)[name], "numpy")
    cube = np.broadcast_to(formula(*np.meshgrid(grid, grid, grid, indexing="ij")), (61,) * 3)

    def value(density):
        return np.einsum("abc,a,b,c->", cube, density, density, density) * step**3

    h = 1e-3  # of a cubic: the central difference less its third derivative is exact
    coarse = (value(first + 2 * h * change) - value(first - 2 * h * change)) / (4 * h)
    fine = (value(first + h * change) - value(first - h * change)) / (2 * h)
    quotient = (4 * fine - coarse) / 3
    (term,) = found.atoms(type(energy(1, name)))
    assert found == term and len(term.copies) == 2
    inner = term.integrand.xreplace({rho.at(copy): sp.S.One for copy in term.copies})
    inner = sp.lambdify([x[0], *(copy[0] for copy in term.copies)], inner, "numpy")
    cube_of = np.broadcast_to(inner(*np.meshgrid(grid, grid, grid, indexing="ij")), (61,) * 3)
    slope = np.einsum("abc,a,b,c->", cube_of, change, first, first) * step**3
    assert slope == pytest.approx(quotient, rel=1e-7, abs=1e-9)


def test_a_third_copy_by_any_name():
    """Copies may be called otherwise and stand in any order."""
    x, y, z, rho = three(1)
    a, b, c = sp.symbols("a b c", real=True)
    other = pw.integral(
        sp.sin(a - 2 * b + 3 * c) * rho.at([a]) * rho.at([b]) * rho.at([c]), [a], [b], [c]
    )
    own = pw.integral(sp.sin(x[0] - 2 * y[0] + 3 * z[0]) * rho * rho.at(y) * rho.at(z), x, y, z)
    points = np.random.default_rng(1).normal(size=(7, 1))
    found = []
    for formula in (own, other, own + other):
        program = compile_program(problem(formula, 1), pw.Affine(1), "numpy")
        found.append((program.energy_at(points), program.velocity_at(points)))
    for k in range(2):
        np.testing.assert_allclose(found[0][k], found[1][k], rtol=1e-12)
        np.testing.assert_allclose(found[2][k], 2 * found[0][k], rtol=1e-12)
    assert str(pw.pde(own, rho)).count("rho(t, z0)") == str(pw.velocity(own, rho)).count("rho(z0)")


@pytest.mark.parametrize("formulation", ["velocity", "energy"])
def test_six_variances(formulation):
    """|x + y - 2 z|^2 has the mean 6 Var, and of N samples the flow contracts by exp(-12 s t).

    s is N/(N - 1): a sample is drawn to the mean of the others.
    """
    x, y, z, rho = three(1)
    kernel = (x[0] + y[0] - 2 * z[0]) ** 2
    law = pw.Gaussian([1.0], 0.5)
    given = pw.GradientFlow(pw.integral(kernel * rho * rho.at(y) * rho.at(z), x, y, z), rho, law)
    options = {"target": "numpy", "samples": 40, "formulation": formulation, "dt": 0.01}
    solution = pw.solve(given, pw.Affine(1), (0, 0.1), integrator="rk4", **options)
    points = law.sample(2000, seed=1)
    shrunk = solution.push(points, 0.1).std() / points.std()
    assert shrunk == pytest.approx(np.exp(-12 * 40 / 39 * 0.1), rel=1e-5)
    np.testing.assert_allclose(
        solution.energy / solution.energy[0], shrunk ** (20 * solution.t), rtol=1e-4
    )
    rows = [solution.push(law.transform(np.arange(1, 40)[:, None] / 40), t=t) for t in (0, 0.1)]
    own = [pw.compile(given, pw.Affine(1), target="numpy").energy_at(points) for points in rows]
    np.testing.assert_allclose(own, [6 * points.var(ddof=1) for points in rows], rtol=1e-12)


def test_a_flow_with_few_partners_ends_near_that_with_all():
    given = problem(energy(1, "spread"), 1)
    options = {"target": "numpy", "integrator": "heun", "dt": 0.1, "resample": True}
    points = np.linspace(-1.0, 2.0, 30)[:, None]
    found = [
        pw.solve(given, pw.Affine(1), (0, 0.3), **options, **more).push(points)
        for more in ({"samples": 96}, {"samples": 512, "partners": 7})
    ]
    assert np.abs(found[0] - found[1]).max() < 0.03


def test_solutions_are_stored(tmp_path):
    given = problem(energy(1, "spread"), 1)
    options = {"integrator": "euler", "dt": 0.05, "samples": 24, "target": "numpy", "partners": 5}
    solution = pw.solve(given, pw.Affine(1), (0, 0.1), **options)
    assert solution.options["fresh_samples"] == 24
    solution.save(tmp_path / "run.npz")
    loaded = pw.load_solution(tmp_path / "run.npz")
    assert loaded.problem.energy == given.energy
    assert loaded.energy_at(0.1) == solution.energy_at(0.1)


def test_no_certificate():
    given = problem(energy(1, "spread"), 1)
    assert "three copies" in energy_structure(given.energy, given.density).other
    assert not theory_of(given).modulus.holds
    program = compile_program(given, pw.Affine(1), "numpy")
    assert not program.local_jacobian.complete


# ---------------------------------------------------------------- refusals


def test_refused_formulas():
    x, y, z, rho = three(1)
    both = rho * rho.at(y)
    with pytest.raises(EnergyError, match=r"triple integrals of W\*.*all factors"):
        pw.first_variation(pw.integral(both * z[0] * x[0] ** 2, x, y, z), rho)
    with pytest.raises(EnergyError, match=r"Use y = copy_of\(x\), and z = copy_of\(y\)"):
        pw.integral(both, x, y, y)
    with pytest.raises(EnergyError, match="4 copies"):
        pw.integral(both, x, y, z, pw.coordinates(1, "u"))
    inside = pw.integral(sp.exp(-((x[0] - y[0]) ** 2)) * rho.at(y) * rho.at(z), y, z)
    with pytest.raises(EnergyError, match="a double integral inside an integral"):
        pw.first_variation(pw.integral(rho * inside, x), rho)
    n, count = sp.Symbol("n", integer=True), sp.Symbol("N", integer=True, positive=True)
    rows = sp.IndexedBase("A", shape=(count,))
    data = sp.Sum(sp.exp(-rows[n] * x[0]), (n, 0, count - 1)) * both * rho.at(z) * z[0] ** 2
    with pytest.raises(EnergyError, match="a triple integral with a sum over data"):
        pw.first_variation(pw.integral(data, x, y, z), rho)
    with pytest.raises(EnergyError, match="mobility: got a mobility beside an interaction"):
        law = pw.Gaussian([0.0], 1.0)
        given = pw.GradientFlow(energy(1, "third"), rho, law, mobility=rho * (1 - rho))
        compile_program(given, pw.Affine(1), "numpy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"partners: got None.*1\.1e\+09 triples of 1024 samples.*Use partners=32"),
        ({"samples": 257}, r"partners: got None.*at most 256 samples.*partners=256 takes all"),
        ({"partners": 1}, r"partners: got 1, .* three copies; accepted: an integer of at least 2"),
        ({"samples": 2}, r"samples: got 2, for an integral over 3 copies.*at least 3"),
        ({"partners": 8, "fresh_samples": 300}, r"fresh_samples: got 300.*at most 256"),
    ],
)
def test_refused_costs(options, message, nothing_compiles):
    with pytest.raises(OptionError, match=message):
        pw.solve(problem(energy(1, "spread"), 1), pw.Affine(1), (0, 1), **options)
