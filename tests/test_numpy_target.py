"""The target that compiles nothing: what it needs, and what its blocks of samples must not change.

That its kernels are right is seen by all tests that take the fixture ``target``.
"""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import sympy as sp
from gallery_flows import agree, double_well_agrees, gallery
from map_cases import SWISH, TANH, Case, neural
from sample_energies import ENERGIES, Energy

import pwgf_sym as pw
from pwgf_sym.errors import FormulaError, OptionError
from pwgf_sym.schedule.numpy import NumpyTiling

GALLERY = gallery()
CASES = [(name, "float64") for name in GALLERY]
CASES += [("mixed_energy", "float32"), ("aggregation", "float32")]


@pytest.mark.parametrize("name, dtype", CASES)
def test_gallery(name, dtype):
    """The flows of the gallery are those of the CPU, to 1e-10 in float64."""
    problem, flow = GALLERY[name]
    start = 1.0 if name.startswith("porous") else 0.0
    options = {"samples": 300, "shift": 0.1, "tolerance": 1e-13, "max_iterations": 100}
    options |= {"max_iterations": 3} if dtype == "float32" else {}
    span = (start, start + 0.02)
    agree(problem, flow, dtype, "numpy", t_span=span, dt=0.01, integrator="euler", **options)


SOLVERS = {
    "dense": {"linear_solver": "dense"},
    "kernel": {"linear_solver": "kernel"},
    "cg": {"linear_solver": "cg"},
    "mixed": {"linear_solver": "minres", "precision": "mixed", "preconditioner": 20},
    "energy form": {"linear_solver": "minres", "formulation": "energy"},
    "eigenvectors": {"linear_solver": "dense", "shift": 0.0, "cutoff": 1e-6},
    "rosenbrock": {"linear_solver": "dense", "integrator": "rosenbrock"},
}


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers(solver):
    """All linear solvers and the implicit steps, whose matrices are made of kernels' values."""
    options = {"samples": 300, "fresh_samples": 50} | SOLVERS[solver]
    double_well_agrees(0.03, 1e-9, "numpy", **options)


def a_problem():
    x = pw.coordinates(2)
    rho = pw.Density(x)
    energy = pw.integral((x[0] ** 2 + x[1] ** 2) / 2 * rho + rho * sp.log(rho), x)
    return pw.GradientFlow(energy, rho, initial=pw.Gaussian(mean=[1, 1], cov=0.5))


SMALL = """
import sys, time
import pwgf_sym as pw, sympy as sp
x = pw.coordinates(2)
rho = pw.Density(x)
energy = pw.integral((x[0]**2 + x[1]**2)/2*rho + rho*sp.log(rho), x)
problem = pw.GradientFlow(energy, rho, initial=pw.Gaussian(mean=[1, 1], cov=0.5))
begin = time.process_time()
found = pw.solve(problem, pw.NeuralFlow(2, 8, 1), (0, 0.1), target="numpy", samples=256)
print(found.status, time.process_time() - begin)
print([m for m in ("numba", "llvmlite") if m in sys.modules], found.program.path)
"""


def test_a_flow_without_a_compiler(tmp_path, monkeypatch):
    """Numba may be switched off, is not even imported, nothing is written; about a second."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    monkeypatch.setenv("PWGF_SYM_CACHE", str(cache))
    done = subprocess.run([sys.executable, "-c", SMALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (status, seconds), rest = done.stdout.splitlines()[0].split(), done.stdout.splitlines()[1]
    assert status == "completed" and rest == "[] None"
    assert float(seconds) < 4  # under a second where the processor has nothing else to do
    assert not list(cache.rglob("*.py"))


def on_blocks(program, **sizes):
    """The program with blocks of other sizes."""
    program.emission.tiling = NumpyTiling(**sizes)
    program.__dict__.pop("kernels", None)
    return program


@pytest.mark.parametrize("flow", [neural(2, 6, 3, SWISH), neural(3, 5, 2, TANH, "rk4", "trace")])
def test_blocks_of_samples(flow, monkeypatch):
    """Blocks, and pieces whose stored values are computed again, change round-off only."""
    case = Case(flow, 50, noise=0.15)
    program = pw.compile(case.problem, flow, "numpy")
    samples = program.samples(case.z)
    rng = np.random.default_rng(3)
    field, scalar = rng.standard_normal(samples.width), rng.standard_normal(50)

    def values():
        linearized = program.linearize(case.theta, samples, "log_density")
        state = program.push(case.theta, samples, "score")
        yield from (state.x, state.log_density, state.score, linearized.state.log_density)
        yield from (linearized.jvp(case.eta), linearized.vjp(field), linearized.metric(case.eta))
        yield from (linearized.gradient(field, scalar), linearized.jacobian().copy())
        yield from (linearized.kernel_matrix(), program.slope(case.theta, samples).gradient)

    whole = list(values())
    piece = 17 * program.kernels.tile_bytes
    program = on_blocks(program, numbers=7 * 60, at_once=9, piece_bytes=piece)
    for stored in ("1000000000", "0"):
        monkeypatch.setenv("PWGF_SYM_STORAGE", stored)
        for found, expected in zip(values(), whole, strict=True):
            size = np.abs(expected).max()
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13 * size)


@pytest.mark.parametrize("own, partners", [(4, 7), (7, 4), (3, 100)])
def test_blocks_of_pairs(own, partners):
    """No pair is lost, and none is taken of a sample with itself, where blocks meet."""
    x, y = pw.coordinates(2), pw.copy_of(pw.coordinates(2))
    square = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    pair = sp.exp(-square) + sp.sin(x[0] * y[1]) / (1 + square)
    problem = Energy(2, pair=pair).problem()
    program = pw.compile(problem, pw.Affine(2), "numpy")
    program = on_blocks(program, own=own, partners=partners)
    points = np.random.default_rng(2).standard_normal((19, 2))
    theta = pw.Affine(2).initial_parameters(problem.initial)
    state = program.push(theta, program.samples(points))
    w = np.vectorize(sp.lambdify([*x, *y], pair))
    a, b = points[:, None], points[None]
    others = ~np.eye(19, dtype=bool)
    mean = w(a[..., 0], a[..., 1], b[..., 0], b[..., 1])[others].mean()
    assert program.integrals(state)[0] == pytest.approx(mean, rel=1e-12)
    both = pair + pair.xreplace(dict(zip([*x, *y], [*y, *x], strict=True)))
    slopes = [np.vectorize(sp.lambdify([*x, *y], -both.diff(c))) for c in x]
    exact = [
        np.where(others, f(a[..., 0], a[..., 1], b[..., 0], b[..., 1]), 0).sum(axis=1) / 18
        for f in slopes
    ]
    velocity = program.unpack(program.velocity(state), state.samples)
    np.testing.assert_allclose(velocity, np.transpose(exact), rtol=1e-11, atol=1e-13)


def test_what_is_shown():
    """Formulas in place of code; machine code is refused with what there is instead."""
    program = pw.compile(ENERGIES["mixed"].problem(), pw.NeuralFlow(2, 4), target="numpy")
    text = program.code_python()
    assert "No code is generated" in text and "target: numpy, float64" in text
    assert "v4[k] = tanh(v3[k])" in text and "jvp: dx = (dT/dtheta) eta" in text
    for show in (program.code_llvm, program.code_native, program.code_ptx):
        with pytest.raises(OptionError, match=r'target.*"numpy".*code_python\(\)'):
            show("push")
    assert "kernel push" in program.code_symbolic()
    assert program.cache_statistics() == {"compiled": 0, "loaded": 0} and program.path is None


def test_programs_and_solutions_are_copied_and_stored(tmp_path):
    found = pw.solve(a_problem(), pw.Affine(2), (0, 0.1), target="numpy", samples=64)
    points = np.random.default_rng(0).standard_normal((5, 2))
    found.save(tmp_path / "flow.npz")
    for other in (
        pw.load_solution(tmp_path / "flow.npz"),
        pickle.loads(pickle.dumps(found)),
        copy.copy(found),
    ):
        assert other.program.target == "numpy"
        np.testing.assert_array_equal(other.push(points), found.push(points))
    assert pickle.loads(pickle.dumps(found.program)).target == "numpy"


def test_kernels_that_an_activation_has_not():
    """A ReLU pushes samples; its density jumps, so that no kernel carries it."""
    kinked = pw.NeuralFlow(2, 4, activation=lambda a: sp.Max(a, 0))
    x = pw.coordinates(2)
    rho = pw.Density(x)
    still = pw.GradientFlow(
        pw.integral(x[0] ** 2 * rho, x), rho, initial=pw.Gaussian(mean=[0, 0], cov=1.0)
    )
    program = pw.compile(still, kinked, target="numpy")
    theta = kinked.initial_parameters(still.initial, 0)
    samples = program.samples(np.ones((3, 2)))
    assert np.isfinite(program.push(theta, samples).x).all()
    with pytest.raises(FormulaError, match="without the kernel push_score"):
        program.push(theta, samples, "score")
    with pytest.raises(FormulaError, match="derivative jumps"):
        pw.compile(a_problem(), kinked, target="numpy")


def test_wrong_calls():
    program = pw.compile(a_problem(), pw.Affine(2), target="numpy")
    samples = program.samples(np.ones((3, 2)))
    with pytest.raises(OptionError, match=r"theta.*shape \(6,\)"):
        program.push(np.zeros(5), samples)
    state = program.push(np.zeros(6), samples)
    with pytest.raises(OptionError, match=r'no log_density.*Push with carry="log_density"'):
        program.integrals(state)
    with pytest.raises(OptionError, match=r'accepted: "cpu" or "cuda" or "numpy"\.'):
        pw.compile(a_problem(), pw.Affine(2), target="np")
