"""Double integrals of functions of the density at both copies: loops, quadrature, flows."""

import numpy as np
import pytest
import sympy as sp
from convolution_cases import copies
from on_targets import fewer, program_on
from test_map_energies import STENCIL

import pwgf_sym as pw
from pwgf_sym.derive.structure import energy_structure
from pwgf_sym.errors import EnergyError, LawError
from pwgf_sym.targets.program import compile_program


def kernel(x, y, exp=sp.exp):
    return exp(-((x[0] - y[0]) ** 2)) + x[-1] ** 2 * y[0] / 4


def functions(x, y, here, there, f=sp):
    """f(x, y, rho(x), rho(y)) with SymPy, or with NumPy."""
    w = kernel(x, y, f.exp)
    root = f.sqrt(here) if f is np else sp.sqrt(here)
    return {
        "products": w * here**2 * there,
        "slanted": w * f.log(1 + here) * there**2,
        "together": w * here * there / (1 + here + there),
        "entropic": w * here * f.log(here) * root * there,
    }


NAMES = list(functions(*copies(1)[:2], *sp.symbols("a b", positive=True)))


def energy(dim, name):
    x, y, rho = copies(dim)
    return pw.integral(functions(x, y, rho, rho.at(y))[name], x, y)


def problem(formula, dim):
    law = pw.Gaussian(np.linspace(0.5, -0.5, dim), np.linspace(0.3, 0.6, dim))
    return pw.GradientFlow(formula, copies(dim)[2], law)


def gaussian(law, x):
    """The density at points (d, ...), complex ones too."""
    gap = x - np.reshape(law.mean, (-1,) + (1,) * (x.ndim - 1))
    variance = np.reshape(np.diag(law.covariance), gap.shape[:1] + (1,) * (x.ndim - 1))
    return np.exp(-(gap**2 / variance).sum(0) / 2) / np.sqrt(
        np.prod(2 * np.pi * np.diag(law.covariance))
    )


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_kernels_are_double_loops(name, dim, target, tmp_path):
    """The energy, and the velocity as the slope of the first variation at every sample."""
    given = problem(energy(dim, name), dim)
    program = program_on(target, given, pw.Affine(dim), tmp_path)
    assert program.sums_pairs and not program.separable
    count, law = fewer(4, 11), given.initial
    points = law.sample(count, seed=2)
    density = gaussian(law, points.T)
    pairs = functions(points.T[:, :, None], points.T[:, None], density[:, None], density, np)[name]
    pairs = pairs / (density[:, None] * density)
    np.fill_diagonal(pairs, 0)
    assert program.energy_at(points) == pytest.approx(
        pairs.sum() / (count * (count - 1)), rel=1e-11
    )

    def variation(x, others):
        """The mean over partners of (f_1 + f_2)/rho(y), by complex steps in the densities."""
        here, there, h = gaussian(law, x), gaussian(law, others), 1e-25
        mine, others_ = x[:, None] + 0 * others, others + 0 * x[:, None]
        first = functions(mine, others_, here + 1j * h, there, np)[name].imag / h
        second = functions(others_, mine, there, here + 1j * h, np)[name].imag / h
        return np.mean((first + second) / there)

    expected = np.zeros_like(points)
    for n, i in np.ndindex(*points.shape):
        others, step = np.delete(points, n, axis=0).T, np.eye(dim)[i] * 1e-3
        slopes = [w * variation(points[n] + k * step, others) for k, w in STENCIL]
        expected[n, i] = -sum(slopes) / 1e-3
    scale = np.abs(expected).max()
    np.testing.assert_allclose(program.velocity_at(points), expected, atol=1e-7 * scale)


@pytest.mark.parametrize("partners", [None, 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_the_energy(name, partners, target, tmp_path):
    x, y, rho = copies(2)
    rest = pw.integral(rho * sp.log(rho), x) + pw.integral(
        sp.cos(x[0] - y[1]) * rho * rho.at(y), x, y
    )
    flow = pw.NeuralFlow(2, width=2, steps=1)
    given = problem(energy(2, name) ** 2 + rest, 2)
    program = program_on(target, given, flow, tmp_path)
    rng = np.random.default_rng(3)
    theta = flow.initial_parameters(given.initial.whitened)
    theta = theta + 0.1 * rng.normal(size=theta.size)
    samples = program.samples(given.initial.sample(fewer(5, 9), seed=1))
    samples = program.in_groups(samples, partners, seed=2) if partners else samples
    gradient = np.asarray(program.slope(theta, samples).gradient)

    def value(theta):
        state = program.push(theta, samples, program.form.energy_reads)
        return program.energy(program.integrals(state))

    for direction in (gradient, rng.normal(size=theta.size)):
        unit = direction / np.linalg.norm(direction)
        slope = sum(w * value(theta + k * 1e-3 * unit) for k, w in STENCIL) / 1e-3
        assert slope == pytest.approx(gradient @ unit, abs=1e-7 * np.linalg.norm(gradient))


@pytest.mark.parametrize("name", NAMES)
def test_first_variation_by_quadrature(name):
    """dE/drho against the Gateaux quotient on a grid; both are sums over its points."""
    x, _, rho = copies(1)
    grid = np.linspace(-4, 4, 81)
    step = grid[1] - grid[0]
    first, second = (
        np.exp(-((grid - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
        for m, v in ((0.3, 0.8), (-0.4, 1.1))
    )

    def value(density):
        found = functions(grid[None, :, None], grid[None, None], density[:, None], density, np)
        return found[name].sum() * step**2

    change = second - first
    quotient = sum(w * value(first + k * 1e-3 * change) for k, w in STENCIL) / 1e-3
    (term,) = pw.first_variation(energy(1, name), rho).atoms(type(energy(1, name)))
    a, b = sp.symbols("a b", positive=True)
    inner = term.integrand.xreplace({rho: a, rho.at(term.copies[0]): b})
    inner = sp.lambdify([x[0], term.copies[0][0], a, b], inner, "numpy")
    slope = (inner(grid[:, None], grid, first[:, None], first) * change[:, None]).sum() * step**2
    assert slope == pytest.approx(quotient, rel=1e-7)
    assert "Derivative(rho(t, x0), x0)" in str(pw.pde(energy(1, name), rho))


def test_both_formulations_give_one_flow():
    """From a Gaussian, by an affine map: mean and variance at the end."""
    x, y, rho = copies(1)
    both = sp.exp(-((x[0] - y[0]) ** 2)) * rho**2 * rho.at(y)
    formula = pw.integral(both, x, y) + pw.integral(rho * x[0] ** 2 / 2, x)
    given = pw.GradientFlow(formula, rho, pw.Gaussian([1.0], 0.5))
    options = {"target": "numpy", "samples": 512, "dt": 0.1, "integrator": "heun"}
    points = given.initial.sample(500, seed=1)
    ends = [
        pw.solve(given, pw.Affine(1), (0, 1.0), formulation=form, **options).push(points)
        for form in ("velocity", "energy")
    ]
    assert np.abs(ends[0] - ends[1]).max() < 0.05
    assert ends[0].mean() == pytest.approx(np.exp(-1) * points.mean(), abs=0.03)
    plain = pw.GradientFlow(pw.integral(rho * x[0] ** 2 / 2, x), rho, given.initial)
    other = pw.solve(plain, pw.Affine(1), (0, 1.0), **options).push(points)
    assert ends[0].std() > 1.1 * other.std()  # what is added spreads mass


def test_compiled_kernels(tmp_path):
    """The same text by Numba, in both precisions."""
    given = problem(energy(2, "slanted"), 2)
    points = given.initial.sample(21, seed=4)
    expected = compile_program(given, pw.Affine(2), "numpy").velocity_at(points)
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-5)):
        program = compile_program(given, pw.Affine(2), "cpu", dtype, tmp_path)
        found = program.velocity_at(points)
        assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


def test_what_is_known_and_refused():
    x, y, rho = copies(1)
    given = problem(energy(1, "products"), 1)
    assert "at two points" in energy_structure(given.energy, given.density).other
    assert not compile_program(given, pw.Affine(1), "numpy").local_jacobian.complete
    gap = sp.exp(-((x[0] - y[0]) ** 2)) * (rho - rho.at(y)) ** 2
    with pytest.raises(EnergyError, match=r"double integrals of W\*rho"):
        pw.first_variation(pw.integral(gap, x, y), rho)
    for grows in (rho * sp.log(rho.at(y)), rho.at(y) / rho**2, rho * sp.log(rho)):
        with pytest.raises(EnergyError, match=r"double integrals of (W\*rho|f\(x, y)"):
            pw.first_variation(pw.integral(sp.exp(-((x[0] - y[0]) ** 2)) * grows, x, y), rho)
    mixed = rho * sp.log(rho) * rho.at(y) + rho.at(y) ** 2
    with pytest.raises(EnergyError, match=r"of which .* is left without one density"):
        pw.first_variation(pw.integral(sp.exp(-((x[0] - y[0]) ** 2)) * mixed, x, y), rho)
    kink = sp.Abs(rho - 1) - 1
    rough = pw.integral(kink * rho * rho.at(y) ** 2, x, y)
    with pytest.raises(EnergyError, match="jumps"):
        pw.velocity(rough, rho)
    with pytest.raises(EnergyError, match="mobility: got a mobility beside an interaction"):
        law = pw.Gaussian([0.0], 1.0)
        other = pw.GradientFlow(given.energy, rho, law, mobility=rho * (1 - rho))
        compile_program(other, pw.Affine(1), "numpy")
    with pytest.raises(LawError, match="whose density jumps"):
        flat = pw.GradientFlow(given.energy, rho, pw.UniformBall([0.0], 1.0))
        compile_program(flat, pw.Affine(1), "numpy")
