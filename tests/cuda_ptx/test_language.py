"""Energies with data, convolutions, pairs, drifts and gradients: their PTX, run on the CPU.

One problem of each kind, against the text of the CPU at the same samples and parameters.
"""

import numpy as np
import pytest
import sympy as sp
from tile_numpy import interpret, interpreted

import pwgf_sym as pw
from pwgf_sym.targets.cuda import caller
from pwgf_sym.targets.program import compile_program

pytestmark = pytest.mark.usefixtures("machine")
COUNT, THREADS = 40, 32  # the last tile is not full
n, k, i = sp.symbols("n k i", integer=True)
N = sp.Symbol("N", integer=True, positive=True)
x = pw.coordinates(2)
y = pw.copy_of(x)
rho = pw.Density(x)
RNG = np.random.default_rng(7)


def posterior():
    """A logistic likelihood in matrix notation, and a mixture in a logarithm."""
    v, A = pw.vector(x), sp.MatrixSymbol("A", N, 2)
    b, w = sp.IndexedBase("b", shape=(N,)), sp.IndexedBase("w", shape=(N,))
    rows = sp.Sum(sp.log(1 + sp.exp(-b[n] * (A * v)[n, 0])), (n, 0, N - 1))
    far = sum((x[j] - A[k, j]) ** 2 for j in range(2))
    mixture = -sp.log(sp.Sum(w[k] * sp.exp(-far), (k, 0, N - 1)))
    energy = pw.integral((rows + mixture) * rho + rho * sp.log(rho), x)
    values = {A: RNG.normal(size=(70, 2)), b: RNG.normal(size=70), w: RNG.random(70) + 0.1}
    return energy, {"parameters": values}


def blob():
    """A function of a convolution with a kernel that is not symmetric."""
    kernel = sp.exp(-((x[0] - y[0]) ** 2) - (x[1] - y[1]) ** 2 + y[0] / 2)
    inner = pw.integral(kernel * rho.at(y), y)
    return pw.integral(rho * sp.log(inner) + rho**2 * sp.sqrt(inner), x), {}


def transport():
    """A drift that is no gradient, and a mobility."""
    energy = pw.integral((x[0] ** 2 + x[1] ** 4 / 2) * rho + rho * sp.log(rho), x)
    return energy, {"drift": [-3 * x[1], sp.sin(x[0])], "mobility": rho / (1 + rho)}


def fisher():
    """Fisher information in a well."""
    return pw.integral(sum(rho.diff(s) ** 2 for s in x) / rho + x[0] ** 4 * rho, x), {}


def densities():
    """An interaction, and a function of the density at two points."""
    both = sp.exp(-((x[0] - y[0]) ** 2)) * rho * rho.at(y) ** 2 / (1 + rho)
    return pw.integral(both, x, y) + pw.integral(sp.cos(x[0] * y[1]) * rho * rho.at(y), x, y), {}


KINDS = {f.__name__: f for f in (posterior, blob, transport, fisher, densities)}
CASES = [
    ("posterior", "float64"),
    ("blob", "float32"),
    ("transport", "float32"),
    ("fisher", "float64"),
    ("densities", "float64"),
]


def results(program, points):
    """What a right-hand side is made of, by name."""
    flow = program.map
    theta = flow.initial_parameters(program.problem.initial.whitened)
    theta = theta + 0.1 * np.random.default_rng(3).normal(size=theta.size)
    samples = program.samples(points)
    yield "energy", program.energy_at(points)
    if program.form.local_velocity:
        yield "velocity", program.velocity_at(points)
    if not program.problem.transport.formulas:
        yield "gradient", program.slope(theta, samples).gradient
    if program.sums_pairs:
        groups = program.in_groups(samples, 6, seed=1)
        yield "gradient of groups", program.slope(theta, groups).gradient


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_the_numbers_of_the_cpu(kind, dtype, tmp_path, monkeypatch):
    monkeypatch.setenv("PWGF_SYM_CUDA_THREADS", str(THREADS))
    monkeypatch.setattr(caller, "_BLOCKS", 2)
    energy, given = KINDS[kind]()
    problem = pw.GradientFlow(energy, rho, pw.Gaussian([0.3, -0.2], 0.8), **given)
    flow = pw.NeuralFlow(2, width=3, steps=1)
    cpu = interpreted(problem, flow, tmp_path, moments=False)
    for one in cpu.sums.values():
        for module in (one.first, one.second):
            interpret(module)
    gpu = compile_program(problem, flow, target="cuda", dtype=dtype, folder=tmp_path)
    points = problem.initial.sample(COUNT, 1)
    expected, bound = dict(results(cpu, points)), 1e-12 if dtype == "float64" else 3e-5
    for name, found in results(gpu, points):
        scale = np.abs(expected[name]).max()
        gap = np.abs(np.asarray(found, float) - expected[name]).max() / scale
        assert gap < bound, (name, gap)
