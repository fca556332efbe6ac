"""Integrals inside integrals against what they are: quadrature on a grid, means over samples.

Truth: for formulas a trapezoidal rule, which converges exponentially on Gaussians, and complex
steps of it; for kernels NumPy's means over pairs, complex steps of these, and SciPy's particles.
"""

from typing import NamedTuple

import numpy as np
import pytest
import sympy as sp
from on_targets import fewer, program_on
from scipy.integrate import solve_ivp
from scipy.special import erfinv
from test_map_energies import check_energy_gradient

import pwgf_sym as pw
from pwgf_sym.derive.samples import sample_form
from pwgf_sym.derive.structure import energy_structure
from pwgf_sym.errors import EnergyError, OptionError
from pwgf_sym.solver.theory import theory_of
from pwgf_sym.targets.program import compile_program

STEP = 1e-30
BETA = sp.Symbol("beta", positive=True)


def copies(dim):
    x = pw.coordinates(dim)
    return x, pw.copy_of(x), pw.Density(x)


def square(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def convolution(kernel, rho, y):
    return pw.integral(kernel * rho.at(y), y)


# ---------------------------------------------------------------- formulas, on the line
X, Y, RHO = copies(1)
GRID = np.linspace(-9.0, 9.0, 181)
SYMMETRIC = sp.exp(-square(X, Y))
ASYMMETRIC = sp.exp(-square(X, Y) - X[0] * Y[0] / 3 + Y[0] / 2) * (2 + sp.sin(Y[0] - 2 * X[0]))


def density(z):
    return np.exp(-((z - 0.3) ** 2) / 2) * (1 + z / 4 + z**2 / 9)


def bump(z):
    return np.exp(-((z + 0.4) ** 2)) * (z - 0.1)


def on_grid(formula, values, rho):
    """A formula, its integrals by the trapezoidal rule; an integral's grid is one axis more."""
    names, found = {}, dict(values)
    for number, part in enumerate(outermost(formula)):
        mark = names[part] = sp.Symbol(f"mark{number}")
        if isinstance(part, sp.Derivative):
            (place,) = part.expr.args
            found[mark] = np.imag(rho(values[place] + 1j * STEP)) / STEP
        elif isinstance(part, pw.Density):
            (place,) = part.args
            found[mark] = rho(values[place])
        else:
            ((place,),) = part.copies
            inner = {s: np.asarray(v)[..., None] for s, v in values.items()} | {place: GRID}
            integrand = on_grid(part.integrand, inner, rho)
            found[mark] = integrand.sum(-1) * (GRID[1] - GRID[0])
    symbols = list(found)
    function = sp.lambdify(symbols, formula.xreplace(names), "numpy")
    return function(*(found[s] for s in symbols))


def outermost(formula):
    kinds = (sp.Derivative, pw.Density, type(pw.integral(RHO, X)))
    if isinstance(formula, kinds):
        return {formula: None}
    return {part: None for arg in formula.args for part in outermost(arg)}


def integrands(kernel):
    c = convolution(kernel, RHO, Y)
    other = convolution(sp.cos(X[0] - 2 * Y[0]) + 2, RHO, Y)
    return {
        "rho log c": RHO * sp.log(c),
        "c^2": c**2,
        "rho sqrt c": RHO * sp.sqrt(c),
        "rho c": RHO * c,
        "rho^2 log c": RHO**2 * sp.log(1 + c) * sp.exp(-X[0]),
        "two": RHO * c * other + c**2 * other * RHO**2,
        "with the density": RHO * sp.log(RHO + c),
    }


NAMES = list(integrands(SYMMETRIC))


@pytest.mark.parametrize("kernel", [SYMMETRIC, ASYMMETRIC], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize("name", NAMES)
def test_first_variation_and_velocity_on_the_line(name, kernel):
    integral = pw.integral(integrands(kernel)[name], X)
    for energy in (integral, integral**2 + sp.exp(-integral)):
        moved = on_grid(energy, {}, lambda z: density(z) + 1j * STEP * bump(z))
        variation = pw.first_variation(energy, RHO)
        found = on_grid(variation, {X[0]: GRID}, density) * bump(GRID)
        gateaux = moved.imag / STEP
        assert found.sum() * (GRID[1] - GRID[0]) == pytest.approx(gateaux, rel=1e-9)
        places = np.array([-1.1, 0.2, 0.9])
        moving = on_grid(variation, {X[0]: places + 1j * STEP}, density)
        velocity = on_grid(pw.velocity(energy, RHO)[0], {X[0]: places}, density)
        np.testing.assert_allclose(velocity, -np.imag(moving) / STEP, rtol=1e-9)


def test_printing_keeps_integrals_inside():
    energy = pw.integral(RHO * sp.log(convolution(SYMMETRIC, RHO, Y)), X)
    z = pw.coordinates(1, "z")
    at_x = convolution(SYMMETRIC, RHO, Y)
    at_y = pw.integral(sp.exp(-square(Y, z)) * RHO.at(z), z)
    turned = sp.exp(-square(Y, X))
    expected = sp.log(at_x) + pw.integral(turned * RHO.at(Y) / at_y, Y)
    assert pw.first_variation(energy, RHO) == expected
    equation = pw.pde(energy, RHO)
    assert equation.has(sp.Derivative) and "rho(t, z0)" in str(equation)


def test_names_of_copies_may_change_places():
    """Outside over y, inside over x: the same energy."""
    kernel = ASYMMETRIC
    swapped = kernel.xreplace({X[0]: Y[0], Y[0]: X[0]})
    one = pw.integral(RHO * sp.log(convolution(kernel, RHO, Y)), X)
    other = pw.integral(RHO.at(Y) * sp.log(pw.integral(swapped * RHO, X)), Y)
    assert sample_form(one, RHO).local_velocity == sample_form(other, RHO).local_velocity
    assert not one.free_symbols and not other.free_symbols
    gaussian = sp.exp(-(X[0] ** 2))
    assert not other.subs(RHO, gaussian).has(pw.Density)
    assert not one.subs(RHO, gaussian).has(pw.Density)


def test_what_a_partner_does_not_change_is_taken_out():
    kernel = BETA * sp.exp(-X[0]) * SYMMETRIC
    energy = pw.integral(RHO * convolution(kernel, RHO, Y), X)
    (found,) = sample_form(energy, RHO).convolutions
    assert found.kernel == SYMMETRIC


def test_sums_over_coordinates_are_written_out():
    i = sp.Symbol("i", integer=True)
    x, y, rho = copies(3)
    kernel = sp.exp(-sp.Sum((x[i] - y[i]) ** 2, (i, 0, 2)))
    energy = pw.integral(rho * sp.log(convolution(kernel, rho, y)), x)
    assert energy == pw.integral(rho * sp.log(convolution(sp.exp(-square(x, y)), rho, y)), x)


# ---------------------------------------------------------------- kernels, over samples
class Case(NamedTuple):
    """An energy of rho, and of points (N, d) the mean that it is, complex too."""

    energy: object
    mean: object


def pairs(points, function):
    """K(x_n, x_m), (N, N); coordinates on the first axis."""
    return function(points.T[:, :, None], points.T[:, None, :])


def gauss(x, y):
    return np.exp(-((x - y) ** 2).sum(0))


def slanted(x, y):
    return np.exp(-((x - y) ** 2).sum(0) + y[0] / 2) * (2 + np.sin(y[0] - 2 * x[0]))


def cases(dim):
    x, y, rho = copies(dim)
    one = sp.exp(-square(x, y))
    other = sp.exp(-square(x, y) + y[0] / 2) * (2 + sp.sin(y[0] - 2 * x[0]))
    c, e = convolution(one, rho, y), convolution(other, rho, y)
    well = sum(s**2 for s in x) / 2
    cosine = pw.integral(sp.cos(x[0] - y[0]) * rho * rho.at(y), x, y)

    def apart(points):
        """Mean over pairs of different samples."""
        count = len(points)
        found = pairs(points, lambda x, y: np.cos(x[0] - y[0])).sum() - count
        return found / (count * (count - 1))

    def value(points, function):
        return pairs(points, function).mean(1)

    return {
        "log": Case(pw.integral(rho * sp.log(c), x), lambda p: np.log(value(p, gauss)).mean()),
        "asymmetric": Case(
            pw.integral(rho * sp.log(e), x), lambda p: np.log(value(p, slanted)).mean()
        ),
        "root": Case(
            pw.integral(rho * well * sp.sqrt(e), x),
            lambda p: ((p**2).sum(1) / 2 * np.sqrt(value(p, slanted))).mean(),
        ),
        "two": Case(
            pw.integral(rho * c * e, x) + pw.integral(rho * sp.log(c + 2 * e), x),
            lambda p: (
                value(p, gauss) * value(p, slanted)
                + np.log(value(p, gauss) + 2 * value(p, slanted))
            ).mean(),
        ),
        "function of integrals": Case(
            pw.integral(rho * sp.log(c), x) ** 2 * pw.integral(well * rho, x),
            lambda p: np.log(value(p, gauss)).mean() ** 2 * (p**2).sum(1).mean() / 2,
        ),
        "beside an interaction": Case(
            pw.integral(rho * c, x) / 2 + cosine,
            lambda p: value(p, gauss).mean() / 2 + apart(p),
        ),
        "parameter": Case(
            pw.integral(rho * sp.log(convolution(sp.exp(-BETA * square(x, y)), rho, y)), x),
            lambda p: np.log(value(p, lambda x, y: np.exp(-0.75 * ((x - y) ** 2).sum(0)))).mean(),
        ),
    }


def problem(energy, dim):
    used = {BETA: 0.75} if BETA in energy.free_symbols else {}
    return pw.GradientFlow(energy, copies(dim)[2], pw.Gaussian(np.zeros(dim), 1.0), used)


def descent(mean, points):
    """-N dE/dx_n by complex steps, (N, d)."""
    found = np.zeros_like(points)
    for place in np.ndindex(*points.shape):
        moved = points.astype(complex)
        moved[place] += 1j * STEP
        found[place] = -len(points) * mean(moved).imag / STEP
    return found


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


# ---------------------------------------------------------------- what is refused
N = sp.Symbol("N", integer=True, positive=True)
n = sp.Symbol("n", integer=True)
Z = pw.coordinates(1, "z")
DATA = sp.Sum(sp.IndexedBase("b", shape=(N,))[n] * (X[0] - Y[0]) ** 2, (n, 0, N - 1))
C = convolution(SYMMETRIC, RHO, Y)
REFUSED = {
    "deeper": (
        pw.integral(RHO * convolution(pw.integral(RHO.at(Z) * sp.exp(Z[0] * Y[0]), Z), RHO, Y), X),
        "nested deeper than one level",
    ),
    "in a pair": (pw.integral(RHO * RHO.at(Z) * C, X, Z), "an integral inside a double integral"),
    "three copies": (
        pw.integral(RHO * pw.integral(X[0] * RHO.at(Y) * RHO.at(Z), Y, Z), X),
        "a double integral inside an integral",
    ),
    "the same copy": (
        pw.integral(RHO * pw.integral(RHO * X[0] ** 2, X), X),
        r"both integrals over the same coordinates.*copy_of\(x\)",
    ),
    "outer density": (
        pw.integral(pw.integral(sp.exp(-RHO * Y[0] ** 2) * RHO.at(Y), Y) * RHO, X),
        "the density of the outer copy inside.*Take it out",
    ),
    "not linear": (
        pw.integral(RHO * convolution(SYMMETRIC * RHO.at(Y), RHO, Y), X),
        r"rho\(y0\)\*\*2.*inside of an integral, integrals of K\*rho\(y0\)",
    ),
    "no density": (
        pw.integral(RHO * pw.integral(SYMMETRIC, Y), X),
        "an inner integral without the density",
    ),
    "data": (
        pw.integral(RHO * convolution(DATA, RHO, Y), X),
        "an inner integral with a sum over an index",
    ),
    "a free copy": (
        pw.integral(RHO * convolution(sp.exp(-Z[0] * Y[0]), RHO, Y), X) + pw.integral(RHO.at(Z), Z),
        "with the free coordinate z0",
    ),
    "a slope outside": (
        pw.integral(RHO.diff(X[0]) ** 2 * C, X),
        "with an integral inside and the density's gradient; .*Write two integrals",
    ),
    "a slope inside": (
        pw.integral(RHO * pw.integral(SYMMETRIC * RHO.at(Y).diff(Y[0]), Y), X),
        "a derivative inside the inner integral.*Integrate by parts",
    ),
    "a jump": (
        pw.integral(RHO * convolution(sp.Heaviside(X[0] - Y[0]), RHO, Y), X),
        "the kernel Heaviside.*jumps",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_convolution_is_refused_by_name(name):
    energy, message = REFUSED[name]
    with pytest.raises(EnergyError, match=message):
        pw.first_variation(energy, RHO)
