"""Sums over integrals, Sum(F(int g rho)): values, velocities and gradients against NumPy's.

Truth: means over samples written in NumPy, their complex steps, and differences.
"""

import numpy as np
import pytest
import sympy as sp
from on_targets import fewer
from tile_numpy import interpret

import pwgf_sym as pw
from pwgf_sym.declare.energies import ordered_integrals
from pwgf_sym.derive.gather import derived_form
from pwgf_sym.derive.structure import energy_structure
from pwgf_sym.errors import EnergyError, ParameterError
from pwgf_sym.targets.program import compile_program

n, i = sp.symbols("n i", integer=True)
N = sp.Symbol("N", integer=True, positive=True)
A, b = sp.IndexedBase("A", shape=(N, 2)), sp.IndexedBase("b", shape=(N,))
lam = sp.Symbol("lam", positive=True)
x = pw.coordinates(3)
RHO = pw.Density(x)
ROWS = (n, 0, N - 1)
STEP = 1e-30
LINE = sp.Sum(A[n, i] * x[i], (i, 0, 1))


def mean(formula):
    return pw.integral(formula * RHO, x)


def _neurons(points, p):
    return points[:, 2:] * np.tanh(points[:, :2] @ p[A].T)


def _squares(points, p):
    return ((_neurons(points, p).mean(0) - p[b]) ** 2).sum() / (2 * len(p[b]))


def _robust(points, p):
    means = (_neurons(points, p) + p[b] / 7).mean(0)
    return np.sqrt(1 + np.log(1 + (means - p[b]) ** 2).mean()) + p[lam] * (points**2).sum(1).mean()


def _two(points, p):
    first = np.cos(points[:, :1] * p[A][:, 0]).mean(0)
    second = (p[b] * points[:, 1:2] ** 2 + np.exp(points[:, 2:] / 3) * p[A][:, 1] ** 2).mean(0)
    return (first * second + np.arange(len(p[b])) * first**2).sum()


def _waves(points, p):
    k = np.arange(1, 6)
    return sum((f(points[:, :1] * k).mean(0) ** 2 / k**2).sum() for f in (np.cos, np.sin))


WAVE = n * x[0]
CASES = {
    "squares": (sp.Sum((mean(x[2] * sp.tanh(LINE)) - b[n]) ** 2, ROWS) / (2 * N), _squares),
    "robust": (
        sp.sqrt(
            1 + sp.Sum(sp.log(1 + (mean(x[2] * sp.tanh(LINE) + b[n] / 7) - b[n]) ** 2), ROWS) / N
        )
        + lam * mean(sum(s**2 for s in x)),
        _robust,
    ),
    "two means": (
        sp.Sum(
            mean(sp.cos(A[n, 0] * x[0])) * mean(b[n] * x[1] ** 2 + sp.exp(x[2] / 3) * A[n, 1] ** 2)
            + n * mean(sp.cos(A[n, 0] * x[0])) ** 2,
            ROWS,
        ),
        _two,
    ),
    "mass": (
        sp.Sum((mean(b[n] / 2) - 3) ** 2, ROWS) / (9 * N) + mean(x[1] ** 2),
        lambda p, v: ((v[b] / 2 - 3) ** 2).mean() / 9 + (p[:, 1] ** 2).mean(),
    ),
    "waves": (
        sp.Sum((mean(sp.cos(WAVE)) ** 2 + mean(sp.sin(WAVE)) ** 2) / n**2, (n, 1, 5)),
        _waves,
    ),
}


def numbers(rows):
    rng = np.random.default_rng(rows)
    return {A: rng.normal(size=(rows, 2)), b: rng.normal(size=rows), lam: 0.3}


def problem(energy, values):
    used = {s: v for s, v in values.items() if energy.has(s)}
    return pw.GradientFlow(energy, RHO, pw.Gaussian([0.2, 0.0, 0.1], 0.7), used)


def compiled(target, energy, values, folder):
    program = compile_program(problem(energy, values), pw.Affine(3), target, "float64", folder)
    if target == "cpu":
        for owner in (program, *(m for s in program.sums.values() for m in (s.first, s.second))):
            interpret(owner)
    return program


def gradient(function, points, values):
    """(N, d): N times the derivative by every point, by complex steps."""
    found = np.zeros(points.shape)
    for place in np.ndindex(points.shape):
        moved = points.astype(complex)
        moved[place] += 1j * STEP
        found[place] = function(moved, values).imag / STEP * len(points)
    return found


def gap(found, truth):
    return np.abs(found - truth).max() / max(np.abs(truth).max(), 1e-300)


@pytest.mark.parametrize("rows", [1, 40, 150])
@pytest.mark.parametrize("name", CASES)
def test_a_function_of_means(name, rows, target, tmp_path):
    energy, function = CASES[name]
    values = numbers(rows)
    program = compiled(target, energy, values, tmp_path)
    points = np.random.default_rng(1).normal(size=(fewer(7, 19), 3))
    assert abs(program.energy_at(points) / function(points, values) - 1) < 1e-13
    assert gap(-program.velocity_at(points), gradient(function, points, values)) < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_of_the_energy_form(name, tmp_path):
    """By theta, against differences of the energy."""
    energy, _ = CASES[name]
    program = compile_program(problem(energy, numbers(70)), pw.Affine(3), "numpy")
    rng = np.random.default_rng(2)
    samples = program.samples(rng.normal(size=(30, 3)))
    theta = 0.2 * rng.normal(size=program.size)
    found = program.slope(theta, samples).gradient

    def value(theta):
        return program.energy(program.integrals(program.push(theta, samples)))

    for direction in np.eye(program.size)[::4]:
        step = 1e-5 * direction
        difference = (value(theta + step) - value(theta - step)) / 2e-5
        assert abs(found @ direction - difference) < 1e-9 * np.abs(found).max()


def test_second_derivatives_at_fixed_means():
    """What a Rosenbrock step reads is the Hessian of the first variation."""
    energy, _ = CASES["squares"]
    values = numbers(70)
    program = compile_program(problem(energy, values), pw.Affine(3), "numpy")
    points = np.random.default_rng(1).normal(size=(9, 3))
    samples = program.samples(points)
    theta = program.map.initial_parameters(program.problem.initial.whitened)
    state = program.push(theta, samples)
    integrals = program.integrals(state)
    found = program.velocity_jacobian(state, integrals)
    weights = (_neurons(points, values).mean(0) - values[b]) / len(values[b])

    def slope(points):
        u = np.tanh(points[:, :2] @ values[A].T) * weights
        inner = points[:, 2:] * (1 - np.tanh(points[:, :2] @ values[A].T) ** 2) * weights
        return np.concatenate([inner @ values[A], u.sum(1, keepdims=True)], axis=1)

    for k, direction in enumerate(np.eye(3)):
        truth = slope(points + 1j * STEP * direction).imag / STEP
        np.testing.assert_allclose(-found[:, :, k], truth, atol=1e-12)


def test_a_network_of_the_mean_field(tmp_path):
    """The risk falls, and the solution is stored and loaded."""
    energy = CASES["squares"][0]
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(60, 2))
    values = {A: rows, b: 0.4 * np.tanh(rows @ [1.0, -0.5])}
    flow = problem(energy, values)
    options = {"target": "numpy", "samples": 64, "tol": 5e-2}
    solution = pw.solve(flow, pw.NeuralFlow(3, width=4), (0, 1), **options)
    assert solution.energy_at(0) > 1.5 * solution.energy_at(1) > 0
    solution.save(tmp_path / "network.npz")
    again = pw.load_solution(tmp_path / "network.npz")
    assert again.problem.energy == energy
    assert again.energy_at(1) == solution.energy_at(1)


def _written_out(count):
    """A risk that is a sum in Python, and the same in NumPy."""
    values = numbers(count)
    risks = [
        (mean(x[2] * sp.tanh(float(u) * x[0] + float(v) * x[1])) - float(y)) ** 2
        for (u, v), y in zip(values[A], values[b], strict=True)
    ]
    return sum(risks) / (2 * count), lambda points: _squares(points, values)


@pytest.mark.parametrize("count", [17, 65])
def test_a_sum_in_python_is_gathered(count):
    energy, function = _written_out(count)
    flow = pw.GradientFlow(energy, RHO, pw.Gaussian([0.2, 0.0, 0.1], 0.7))
    derived = derived_form(flow)
    assert (count == 17) or len(ordered_integrals(derived.energy)) == 1
    program = compile_program(flow, pw.Affine(3), "numpy")
    points = np.random.default_rng(1).normal(size=(11, 3))
    truth = gradient(lambda points, _: function(points), points, None)
    assert gap(-program.velocity_at(points), truth) < 1e-12
    assert abs(program.energy_at(points) / function(points) - 1) < 1e-13


def test_potentials_in_many_integrals_stay_a_potential():
    parts = [mean(sp.log(1 + sp.exp(k * x[0] - x[1] / (k + 1)))) / 3 for k in range(20)]
    energy = sum(parts) + mean(sp.log(RHO)) + mean(x[0]) ** 2
    flow = pw.GradientFlow(energy, RHO, pw.Gaussian([0.2, 0.0, 0.1], 0.7))
    assert derived_form(flow).energy == energy


def test_there_is_no_bound_of_the_error():
    structure = energy_structure(CASES["squares"][0] + mean(sp.log(RHO)), RHO)
    assert "many integrals" in structure.other and not structure.is_fokker_planck
    assert energy_structure(CASES["robust"][0], RHO).other


@pytest.mark.parametrize(
    ("energy", "match"),
    [
        (sp.Product(1 + mean(A[n, 0] * x[0]) ** 2, ROWS), "product over integrals"),
        (mean(A[n, 0] * x[0]), "index n in A.n, 0., which no sum binds"),
        (sp.Sum(mean(A[n, 0] * RHO), ROWS), "linear|integrals of h"),
        (sp.Sum(sp.sign(mean(A[n, 0] * x[0])), ROWS), "jumps"),
        (sp.Sum(mean(x[0]) * x[1] * b[n], ROWS), "x1 outside an integral"),
        (sp.Sum(mean(x[0]) ** 2 * b[i], ROWS), "index i in b.i., which no sum binds"),
        (sp.Sum(sp.Sum(mean(x[0]) * b[n], ROWS) ** 2 * A[i, 0], (i, 0, 2)), "inside of another"),
        (sp.Sum(mean(x[0]) * A[n, i], (i, 0, 1), ROWS), "two indices"),
    ],
)
def test_sums_that_are_refused(energy, match):
    with pytest.raises(EnergyError, match=match):
        pw.first_variation(energy, RHO)


def test_more_terms_than_memory_holds():
    law, many = pw.Gaussian([0.2, 0.0, 0.1], 0.7), sp.Sum(mean(sp.cos(WAVE)) ** 2, (n, 0, 10**11))
    with pytest.raises(ParameterError, match=r"n: got 100000000001 values .* GiB of memory"):
        compile_program(pw.GradientFlow(many, RHO, law), pw.Affine(3), "numpy").velocity_at(
            [[0] * 3]
        )
