"""Kernels of integrals inside integrals against double loops over samples, and flows.

Truth: NumPy's means over pairs, complex steps of these, and SciPy's particles.
"""

import numpy as np
import pytest
import sympy as sp
from convolution_cases import (
    cases,
    convolution,
    copies,
    descent,
    gauss,
    pairs,
    problem,
    slanted,
    square,
)
from on_targets import fewer, program_on
from scipy.integrate import solve_ivp
from scipy.special import erfinv
from test_map_energies import check_energy_gradient

import pwgf_sym as pw
from pwgf_sym.derive.structure import energy_structure
from pwgf_sym.errors import EnergyError, OptionError
from pwgf_sym.solver.theory import theory_of
from pwgf_sym.targets.program import compile_program

X, Y, RHO = copies(1)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("name", list(cases(1)))
def test_kernels_are_double_loops(name, dim, target, tmp_path):
    case = cases(dim)[name]
    program = program_on(target, problem(case.energy, dim), pw.Affine(dim), tmp_path)
    assert program.sums_pairs and not program.separable
    for count in fewer((7,), (7, 32, 40)):
        points = np.random.default_rng(count).normal(size=(count, dim))
        assert program.energy_at(points) == pytest.approx(case.mean(points), rel=1e-12)
        expected = descent(case.mean, points)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(program.velocity_at(points), expected, atol=1e-11 * scale)


def test_convolutions_of_one_sample_alone(target, tmp_path):
    """A sample is a partner of its own: K(x, x) is all there is."""
    case = cases(2)["asymmetric"]
    program = program_on(target, problem(case.energy, 2), pw.Affine(2), tmp_path)
    point = np.array([[0.3, -0.7]])
    assert program.energy_at(point) == pytest.approx(case.mean(point), rel=1e-13)
    np.testing.assert_allclose(program.velocity_at(point), descent(case.mean, point), rtol=1e-12)
    np.testing.assert_allclose(program.convolutions_at(point), [[slanted(*2 * [point[0]])]])


def gaussian_values(points):
    """rho and grad log rho of the standard Gaussian."""
    dim = points.shape[1]
    return np.exp(-(points**2).sum(1) / 2) / (2 * np.pi) ** (dim / 2), -points


def test_integrals_of_what_holds_no_density(target, tmp_path):
    """int c^2 is the mean of c^2/rho, and what moves a sample is what it does to others' c."""
    x, y, rho = copies(2)
    c = convolution(sp.exp(-square(x, y)), rho, y)
    program = program_on(target, problem(pw.integral(c**2, x), 2), pw.Affine(2), tmp_path)
    points = np.random.default_rng(3).normal(size=(fewer(7, 37), 2)) / 2
    density, _ = gaussian_values(points)
    kernel = pairs(points, gauss)
    value = kernel.mean(1)
    assert program.energy_at(points) == pytest.approx((value**2 / density).mean(), rel=1e-12)
    gap = points[:, None] - points[None]  # of n and m: x_n - x_m
    weight = 2 * value / density  # of the partner m
    expected = -np.mean(-2 * gap * (kernel * weight[None, :])[..., None], axis=1)
    np.testing.assert_allclose(program.velocity_at(points), expected, rtol=1e-11, atol=1e-11)
    assert program.form.velocity_reads == ("log_density",)


def test_a_function_of_the_density_and_a_convolution(target, tmp_path):
    x, y, rho = copies(2)
    c = convolution(sp.exp(-square(x, y)), rho, y)
    energy = pw.integral(rho**2 * sp.log(c), x)
    program = program_on(target, problem(energy, 2), pw.Affine(2), tmp_path)
    points = np.random.default_rng(4).normal(size=(fewer(7, 37), 2))
    density, score = gaussian_values(points)
    kernel, gap = pairs(points, gauss), points[:, None] - points[None]
    value = kernel.mean(1)
    slope = np.mean(-2 * gap * kernel[..., None], axis=1)
    partner = np.mean(-2 * gap * (kernel * (density / value)[None, :])[..., None], axis=1)
    local = 2 * density[:, None] * (slope / value[:, None] + np.log(value)[:, None] * score)
    assert program.energy_at(points) == pytest.approx((density * np.log(value)).mean(), rel=1e-12)
    expected = -local - partner
    np.testing.assert_allclose(program.velocity_at(points), expected, rtol=1e-11, atol=1e-11)


def mixed(dim):
    x, y, rho = copies(dim)
    c = convolution(sp.exp(-square(x, y) / 4 + y[0] / 2), rho, y)
    inner = rho * sp.log(c) + rho**2 * sp.sqrt(c) + rho * sp.log(rho + c)
    pair = pw.integral(sp.cos(x[0] - y[0]) * rho * rho.at(y), x, y)
    return pw.integral(inner, x) + pw.integral(c**2 * rho, x) ** 2 + pair


@pytest.mark.parametrize("dim", [1, 2])
def test_the_gradient_is_that_of_the_energy(dim, target, tmp_path):
    flow = pw.NeuralFlow(dim, width=4, steps=2)
    program = program_on(target, problem(mixed(dim), dim), flow, tmp_path)
    check_energy_gradient(program, 9)


@pytest.mark.parametrize("name", ["asymmetric", "two", "beside an interaction"])
def test_both_forms_are_one_flow(name, target, tmp_path):
    """Of int rho g(x, c) the mean of J'w is -grad_theta E, exactly, for any samples."""
    flow = pw.NeuralFlow(2, width=4, steps=2)
    given = problem(cases(2)[name].energy, 2)
    program = program_on(target, given, flow, tmp_path)
    rng = np.random.default_rng(5)
    theta = flow.initial_parameters(given.initial.whitened)
    theta = theta + 0.2 * rng.normal(size=theta.size)
    samples = program.samples(rng.normal(size=(fewer(7, 33), 2)))
    slope = program.slope(theta, samples)
    state = program.push(theta, samples, program.form.reads)
    velocity = program.velocity(state)
    found = np.asarray(program.vjp(theta, samples, velocity * samples.weights))
    scale = np.abs(found).max()
    np.testing.assert_allclose(found, -np.asarray(slope.gradient), atol=1e-12 * scale)


def test_compiled_kernels(tmp_path):
    """The same text by Numba, in both precisions."""
    case = cases(2)["two"]
    points = np.random.default_rng(6).normal(size=(45, 2))
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-5)):
        given = problem(case.energy, 2)
        program = compile_program(given, pw.Affine(2), "cpu", dtype, tmp_path)
        expected = descent(case.mean, points)
        found = program.velocity_at(points)
        assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


def test_many_coordinates(target, tmp_path):
    """Beyond eight coordinates, where local formulas may be loops."""
    dim = 10
    x, y, rho = copies(dim)
    c = convolution(sp.exp(-square(x, y) / 8), rho, y)
    well = sum(s**2 for s in x)
    energy = pw.integral(rho * (well + sp.log(c)), x)
    program = program_on(target, problem(energy, dim), pw.Affine(dim), tmp_path)
    points = np.random.default_rng(7).normal(size=(7, dim))

    def mean(p):
        kernel = pairs(p, lambda x, y: np.exp(-((x - y) ** 2).sum(0) / 8))
        return ((p**2).sum(1) + np.log(kernel.mean(1))).mean()

    expected = descent(mean, points)
    np.testing.assert_allclose(program.velocity_at(points), expected, rtol=1e-10, atol=1e-11)
    assert program.energy_at(points) == pytest.approx(mean(points), rel=1e-12)


# ---------------------------------------------------------------- flows
WIDTH = 0.5


def blob():
    """1/2 int (K * rho) rho, K a Gaussian: a porous medium of blobs."""
    kernel = sp.exp(-square(X, Y) / (2 * WIDTH**2)) / sp.sqrt(2 * sp.pi * WIDTH**2)
    return pw.integral(RHO * convolution(kernel, RHO, Y), X) / 2


def particles(start, end):
    def velocity(_, places):
        gap = places[:, None] - places
        kernel = np.exp(-(gap**2) / (2 * WIDTH**2)) / np.sqrt(2 * np.pi * WIDTH**2)
        return (gap / WIDTH**2 * kernel).mean(1)

    return solve_ivp(velocity, (0, end), start, rtol=1e-8, atol=1e-8).y[:, -1]


@pytest.mark.parametrize("formulation", ["velocity", "energy"])
def test_a_porous_medium_of_blobs(formulation):
    """The map moves points as SciPy moves particles of the same law."""
    law = pw.Gaussian([0.0], 1.0)
    flow = pw.NeuralFlow(1, width=16)
    options = {"target": "numpy", "samples": 512, "formulation": formulation, "tol": 3e-3}
    solution = pw.solve(pw.GradientFlow(blob(), RHO, law), flow, (0, 2.0), **options)
    start = np.sort(law.sample(800, seed=1)[:, 0])
    quantiles = np.sqrt(2) * erfinv((np.arange(800) + 0.5) / 400 - 1)
    end = particles(quantiles, 2.0)
    expected = np.interp(start, quantiles, end)
    inside = np.abs(start) < 2.5
    found = solution.push(start[:, None], 2.0)[:, 0]
    assert np.sqrt(np.mean((found - expected)[inside] ** 2)) < 5e-3 * end.std()


def test_no_certificate_and_no_jacobian(tmp_path):
    energy = blob() + pw.integral(RHO * X[0] ** 2, X)
    given = pw.GradientFlow(energy, RHO, pw.Gaussian([0.0], 1.0))
    assert "holds an integral inside" in energy_structure(energy, RHO).other
    assert not theory_of(given).modulus.holds
    program = compile_program(given, pw.Affine(1), "numpy")
    with pytest.raises(EnergyError, match=r"an integral inside an integral.*reads no Jacobian"):
        program.local_jacobian  # noqa: B018
    with pytest.raises(OptionError, match="rosenbrock"):
        pw.solve(given, pw.Affine(1), (0, 0.1), integrator="rosenbrock", target="numpy")


def test_solutions_are_stored(tmp_path):
    given = pw.GradientFlow(blob(), RHO, pw.Gaussian([0.0], 1.0))
    options = {"integrator": "euler", "dt": 0.05, "samples": 64, "target": "numpy"}
    solution = pw.solve(given, pw.Affine(1), (0, 0.1), **options)
    solution.save(tmp_path / "run.npz")
    loaded = pw.load_solution(tmp_path / "run.npz")
    assert loaded.problem.energy == blob()
    assert loaded.energy_at(0.1) == solution.energy_at(0.1)


def test_a_drift_beside_convolutions(target, tmp_path):
    """The drift is added; a parameter of it may be called as a convolution is."""
    name = sp.Symbol("C0", real=True, positive=True)
    x, y, rho = copies(2)
    energy = pw.integral(convolution(sp.exp(-square(x, y)), rho, y) ** 2, x)
    law, points = pw.Gaussian([0.0, 0.0], 1.0), np.random.default_rng(8).normal(size=(7, 2))
    found = []
    for more in ({}, {"drift": [-name * x[1], name * x[0]], "parameters": {name: 3.0}}):
        given = pw.GradientFlow(energy, rho, law, **more)
        program = program_on(target, given, pw.Affine(2), tmp_path)
        found.append(program.velocity_at(points))
        assert program.form.velocity_reads == ("log_density",)
    drift = 3 * points[:, ::-1] * [-1, 1]
    np.testing.assert_allclose(found[1], found[0] + drift, rtol=1e-12, atol=1e-12)


def test_gathered_sums_beside_convolutions():
    """Many like terms, each times a convolution: the sum over an index is of these terms alone."""
    rows = np.random.default_rng(9).normal(size=(80, 2))
    x, y, rho = copies(2)
    c = convolution(sp.exp(-square(x, y)), rho, y)
    terms = [sp.log(1 + sp.exp(a * x[0] + b * x[1])) for a, b in rows.tolist()]
    points = np.random.default_rng(10).normal(size=(7, 2))

    def mean(p):
        return (np.log(1 + np.exp(p @ rows.T)).sum(1) * pairs(p, gauss).mean(1)).mean()

    for energy in (sum(rho * c * t for t in terms), rho * c * sum(terms)):
        given = problem(pw.integral(energy, x), 2)
        program = compile_program(given, pw.Affine(2), "numpy")
        assert program.form.sums
        expected = descent(mean, points)
        np.testing.assert_allclose(program.velocity_at(points), expected, rtol=1e-11, atol=1e-11)


def test_the_gradient_beside_that_of_the_density(target, tmp_path):
    x, y, rho = copies(2)
    fisher = pw.integral(sum(rho.diff(s) ** 2 for s in x) / rho, x)
    c = convolution(sp.exp(-square(x, y) / 4), rho, y)
    energy = fisher / 10 + pw.integral(rho * sp.log(rho + c), x)
    flow = pw.NeuralFlow(2, width=3, steps=1)
    check_energy_gradient(program_on(target, problem(energy, 2), flow, tmp_path), 9)


def test_no_mobility_beside_convolutions():
    given = pw.GradientFlow(blob(), RHO, pw.Gaussian([0.0], 1.0), mobility=RHO**2)
    with pytest.raises(EnergyError, match="a mobility beside an integral inside an integral"):
        pw.compile(given, pw.Affine(1), target="numpy")
