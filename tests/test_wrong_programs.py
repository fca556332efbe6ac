"""What a program, a map's start and a chain answer to what they cannot take."""

import numpy as np
import pytest
import scipy.stats
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.errors import MapError, OptionError

X = pw.coordinates(2)
RHO = pw.Density(X)
PROBLEM = pw.GradientFlow(
    pw.integral((X[0] ** 2 + X[1] ** 4) * RHO + RHO * sp.log(RHO), X),
    RHO,
    pw.Gaussian([0.3, -0.2], 0.8),
)
MAP = pw.Residual(2, 3, 1)


@pytest.fixture(scope="module", params=["cpu", "numpy"])
def program(request):
    return pw.compile(PROBLEM, MAP, target=request.param)


def test_what_is_no_packed_sample(program):
    theta, points = np.zeros(program.size), np.ones((5, 2))
    for call in (program.push, program.linearize, program.slope, program.jacobian):
        with pytest.raises(OptionError, match=r"samples: got .* program.samples\(points\)"):
            call(theta, points)
    for call in (program.unpack, program.unpack_scalar):
        with pytest.raises(OptionError, match="samples: got"):
            call(theta, points)
    with pytest.raises(OptionError, match="samples: got"):
        program.in_groups(points, 1, 0)
    with pytest.raises(OptionError, match="samples: got"):
        program.again(None)


def test_samples_of_another_layout_are_not_read(program):
    """Kernels do not check bounds: they would read beyond what other programs have packed."""
    x = pw.coordinates(3)
    rho = pw.Density(x)
    other = pw.GradientFlow(pw.integral(x[0] ** 2 * rho, x), rho, pw.Gaussian([0.0] * 3, 1.0))
    foreign = pw.compile(other, pw.Affine(3), target=program.target).samples(np.ones((5, 3)))
    with pytest.raises(OptionError, match="dimension 3 in tiles"):
        program.push(np.zeros(program.size), foreign)
    with pytest.raises(OptionError, match="dimension 3 in tiles"):
        program.unpack(np.zeros(foreign.width), foreign)
    target = {"cpu": "numpy", "numpy": "cpu"}[program.target]
    tiles = pw.compile(PROBLEM, MAP, target=target).samples(np.ones((5, 2)))
    with pytest.raises(OptionError, match="in tiles of"):
        program.linearize(np.zeros(program.size), tiles)
    again = program.again(tiles)
    np.testing.assert_allclose(program.unpack(again.z, again), tiles.unpack(tiles.z))


def test_what_is_no_vector(program):
    samples = program.samples([[0, 1], [1, 0], [2, 2]])
    for theta in ("theta", ["a"] * program.size, None, np.zeros(program.size, complex)):
        with pytest.raises(OptionError, match="theta: got"):
            program.push(theta, samples)
    for theta in (0.5, np.zeros(2), "theta", [[0.0] * program.size]):
        with pytest.raises(OptionError, match="theta: got"):
            program.invert(theta, [[0.0, 1.0]])
    state = program.push([0] * program.size, samples)
    for values in (state, np.zeros(5), [1, [2]], None):
        with pytest.raises(OptionError, match="values: got"):
            program.unpack(values, samples)
        with pytest.raises(OptionError, match="values: got"):
            program.unpack_scalar(values, samples)
    for points in ("points", None, [["1", "2"]], object(), [[1j, 0]]):
        with pytest.raises(OptionError, match="points: got"):
            program.samples(points)
    for shares in ("a", [0.5, 0.5], [0.5, 0.25, np.nan]):
        with pytest.raises(OptionError, match="shares: got"):
            program.samples(np.ones((3, 2)), shares)
    for carry in (None, 3, np.array(True), ["x", None], [["x"]]):
        with pytest.raises(OptionError, match='"x", "log_density", "score"'):
            program.push(np.zeros(program.size), samples, carry)


def test_names_that_are_near(program):
    with pytest.raises(OptionError, match=r"Did you mean velocity\?"):
        program.code_symbolic("vlocity")
    with pytest.raises(OptionError, match=r"Did you mean rosenbrock\?"):
        pw.solve(PROBLEM, MAP, (0, 1), integrator="rosenbroc")
    with pytest.raises(OptionError) as caught:  # "cpu" is near, and meant by nobody
        pw.compile(PROBLEM, MAP, target="gpu")
    assert caught.value.fix == ""
    for name, meant in [
        ("NeuralFLow", "NeuralFlow"),
        ("Gausian", "Gaussian"),
        ("solver_", "solve"),
    ]:
        with pytest.raises(AttributeError, match=rf"no attribute '{name}'. Did you mean {meant}\?"):
            getattr(pw, name)
    assert not hasattr(pw, "__wrapped__")
    with pytest.raises(OptionError) as caught:
        program.code_statements("?" * 10**6)
    assert caught.value.fix == ""


@pytest.mark.parametrize("n", ["10", 7.0, 0, 10**13, None])
def test_the_number_of_samples_is_called_n(n):
    solution = pw.solve(PROBLEM, pw.Affine(2), (0, 0.1), samples=64, dt=0.02, target="numpy")
    with pytest.raises(OptionError, match=r"^n: got"):
        solution.sample(n)


def test_a_program_says_what_it_is(program):
    text = repr(program)
    assert text.startswith("Program(Residual(dim=2, width=3, steps=1")
    assert text.endswith(
        f"Gaussian(mean=[0.3, -0.2], cov=[0.8, 0.8]), {program.size} parameters, "
        f'float64, target="{program.target}")'
    )
    t = sp.Symbol("t")
    moving = pw.GradientFlow(pw.integral((X[0] - t) ** 2 * RHO, X), RHO, PROBLEM.initial, time=t)
    timed = pw.compile(moving, pw.Affine(2), target="numpy").at(0.25)
    assert "t = 0.25" in repr(timed)


STARTS = (
    pw.NeuralFlow(2, 3, 1),
    pw.Residual(2, 3),
    pw.TimeField(2, 3),
    pw.Planar(2, 3),
    pw.GradientMap(2, 3),
    pw.Coupling(2, 3),
    pw.Triangular(2, 3),
    pw.Chain([pw.Affine(2), pw.Planar(2, 3)]),
)


@pytest.mark.parametrize("map", STARTS, ids=lambda map: type(map).__name__)
def test_starts_of_what_is_no_law(map):
    law = pw.Gaussian([1.0, 2.0], [0.5, 1.5])
    for wrong in (0, None, pw.Gaussian, pw.Gaussian([0.0], 1.0), "law", np.eye(2)):
        with pytest.raises(MapError, match=r"law: got .*problem.initial.whitened"):
            map.initial_parameters(wrong)
    for wrong in ("seed", -3, 0.5, [1, "a"], law):
        with pytest.raises(MapError, match="seed: got"):
            map.initial_parameters(law, wrong)
    theta = map.initial_parameters(law.whitened, 7)
    assert np.array_equal(theta, map.initial_parameters(law.whitened, np.int32(7)))
    assert theta.shape == map.initial_parameters(law, None).shape


def test_a_chain_has_no_step_of_its_own():
    for call in (STARTS[-1].parameters, lambda: STARTS[-1].step(None, {}, None)):
        with pytest.raises(MapError, match=r"chain.parts\(\)"):
            call()


class Own(pw.Map):
    """x + u, or what a test puts in the place of it."""

    dim = 2

    def __init__(self, terms, shared=(), step=None):
        self.given, self.common, self.formula = terms, {} if shared == () else shared, step

    def parameters(self):
        return self.given

    def shared(self):
        return self.common

    def step(self, op, p, x):
        return x + p["u"] if self.formula is None else self.formula(p, x)

    def initial_parameters(self, law, seed=0):
        return [0.0, 0.0]


@pytest.mark.parametrize("wrong", [["u"], None, 3, {"u": 2}, {"u": None}, {"u": "ik"}, {"u": "I"}])
def test_parameters_that_are_no_names_of_axes(wrong):
    """They are counted before the formula is looked at."""
    for map in (Own(wrong), Own({"u": "i"}, wrong)):
        with pytest.raises(MapError, match=r"parameter.*accepted: (a dictionary|the map's axes)"):
            pw.solve(PROBLEM, map, (0, 1))
        with pytest.raises(MapError):
            pw.Chain([map, pw.Affine(2)])


def test_a_parameter_as_an_attribute():
    with pytest.raises(MapError, match=r'p\.u in .*Write p\["u"\]'):
        pw.compile(PROBLEM, Own({"u": "i"}, step=lambda p, x: x + p.u), target="numpy")
    Own({"u": "i"}, step=lambda p, x: x + p["u"])


def test_the_class_of_the_object_is_named():
    solution = pw.solve(PROBLEM, pw.Affine(2), (0, 0.1), samples=64, dt=0.02, target="numpy")
    for call, name in [
        (lambda: solution.diagnostics(0.1, 100), "Solution.diagnostics"),
        (lambda: solution.program.velocity_at(), "Program.velocity_at"),
        (lambda: PROBLEM.initial.sample(3), "Gaussian.sample"),
        (lambda: pw.Push(PROBLEM.initial), r"Push\(law, map, theta\)"),
    ]:
        with pytest.raises(pw.errors.CallError, match=name):
            call()


def test_what_is_no_law_of_ours():
    energy = PROBLEM.energy
    for wrong, fix in [
        (scipy.stats.norm(), "from_scipy"),
        (scipy.stats.multivariate_normal([0.0, 1.0]), "from_scipy"),
        (np.zeros((7, 2)), "Empirical"),
        ("normal", "Gaussian"),
    ]:
        with pytest.raises(pw.errors.LawError, match=f"Write initial={fix}"):
            pw.GradientFlow(energy, RHO, wrong)


def test_a_program_at_what_is_no_time():
    t = sp.Symbol("t")
    moving = pw.GradientFlow(pw.integral((X[1] - t) ** 2 * RHO, X), RHO, PROBLEM.initial, time=t)
    timed = pw.compile(moving, pw.Affine(2), target="numpy")
    for wrong in ("0.5", None, np.nan, [0.5], 1j):
        with pytest.raises(OptionError, match="time: got"):
            timed.at(wrong)
    assert timed.at(np.float32(0.5)).time == 0.5


def test_compile_calls_the_map_flow():
    with pytest.raises(pw.errors.CallError, match=r"map: got .* Use flow\."):
        pw.compile(PROBLEM, map=MAP)
