"""Chains of maps and where they start, warnings, and errors of maps with their lines.

Truth: the parts one after the other in NumPy, and closed forms.
"""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import sympy as sp
from amounts import amount
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from language_maps import IN_NUMPY, Features, NeuralODE, Planes, RealNVP, TwoLayers
from map_cases import entropy_problem
from test_map_language import SIZES, Truth

import pwgf_sym as pw
from pwgf_sym.declare.maps import parameter_count
from pwgf_sym.errors import FormulaError, MapError, MapWarning, OptionError
from pwgf_sym.kernels.looped import Looped
from pwgf_sym.solver.compiler import displacement
from pwgf_sym.targets.program import compile_program


def chain_in_numpy(flow, theta, x):
    """The parts one after the other."""
    first = 0
    for part in flow.maps:
        if isinstance(part, pw.Permute):
            x = x[:, list(part.order)]
            continue
        size = parameter_count(part)
        x = IN_NUMPY[type(part)](part, theta[first : first + size], x)
        first += size
    return x


def sizes(flow):
    """Of the parameters, part by part."""
    counts = [parameter_count(part) for part in flow.maps]
    return np.repeat([0.5 * SIZES.get(type(part), 0.5) for part in flow.maps], counts)


PARTS = [
    lambda dim: Planes(dim, steps=1),
    lambda dim: Planes(dim, steps=2),
    lambda dim: TwoLayers(dim, 2, steps=1),
    lambda dim: NeuralODE(dim, 2, steps=2),
    lambda dim: Features(dim, 3),
    lambda dim: RealNVP(dim, steps=1),
    lambda dim: pw.Permute([(k + 1) % dim for k in range(dim)]),
]


@settings(
    max_examples=amount(10, 60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a smaller chain takes as long to find
)
@given(
    st.integers(2, 3),
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=3),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_random_chains(dim, kinds, turns, seed):
    flow = pw.Chain([kind(dim) for kind in kinds] * turns)
    assume(parameter_count(flow))
    program = compile_program(entropy_problem(dim), flow, target="numpy")
    assert program.emission.looped.steps % turns == 0
    truth = Truth(flow, program.problem.initial, chain_in_numpy)
    random = np.random.default_rng(seed)
    theta = random.normal(size=program.size) * sizes(flow)
    eta = random.normal(size=program.size)
    z = random.normal(size=(4, dim)) / 2
    samples = program.samples(z)
    state = program.push(theta, samples, "log_density")
    options = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(program.unpack(state.x, samples), truth.push(theta, z), **options)
    density = truth.law.log_density(z) - truth.volume(theta, z)
    found = program.unpack_scalar(state.log_density, samples)
    np.testing.assert_allclose(found, density, **options)
    moved = truth.push(theta + 1e-30j * eta, z).imag * 1e30
    found = program.unpack(program.jvp(theta, samples, eta), samples)
    np.testing.assert_allclose(found, moved, **options)


@pytest.mark.parametrize("kind", [Planes, RealNVP])
def test_a_chain_of_equal_parts_is_the_map_of_as_many_steps(kind):
    """One loop of three turns, the same numbers bit by bit."""
    problem = entropy_problem(3)
    chained = compile_program(problem, pw.Chain([kind(3, steps=1)] * 3), target="numpy")
    whole = compile_program(problem, kind(3, steps=3), target="numpy")
    assert chained.emission.looped.steps == whole.emission.looped.steps == 3
    theta = np.random.default_rng(0).normal(size=whole.size) / 3
    z = np.random.default_rng(1).normal(size=(5, 3))
    states = [p.push(theta, p.samples(z), "score") for p in (chained, whole)]
    for name in ("x", "log_density", "score"):
        assert np.array_equal(*[np.asarray(getattr(state, name)) for state in states])


class Scaled(pw.Map):
    """factor x + b, where the factor is no argument."""

    factor = 1.0

    def __init__(self, dim):
        self.dim = dim

    def parameters(self):
        return {"b": "i"}

    def step(self, op, p, x):
        return self.factor * x + p["b"]

    def initial_parameters(self, law, seed=0):
        return np.zeros(self.dim)


class ScaledAlike(Scaled):
    """The same of a parameter that all steps share."""

    def parameters(self):
        return {}

    def shared(self):
        return {"b": "i"}


@pytest.mark.parametrize("kind", [Scaled, ScaledAlike])
def test_parts_that_differ_in_what_they_do_are_no_turns_of_a_loop(kind):
    """They are equal by their arguments; an attribute was set later."""
    first, second = kind(2), kind(2)
    second.factor = 3.0
    assert first == second
    flow = pw.Chain([first, second])
    assert Looped(flow).steps == 1 and Looped(pw.Chain([first, first])).steps == 2
    program = compile_program(entropy_problem(2), flow, target="numpy")
    assert displacement(program, np.zeros(4)) > 1
    z = np.array([[0.5, -1.0]])
    samples = program.samples(z)
    law = program.problem.initial
    found = program.unpack(program.push(np.zeros(4), samples).x, samples)
    np.testing.assert_allclose(found, law.mean + 3 * (z - law.mean), rtol=1e-14)


class Laid(pw.Map):
    """x + a + tanh(b x), whose parameters stand in theta in any order."""

    dim, steps = 2, 2

    def __init__(self, shared, own):
        self.common, self.own = shared, own

    def shared(self):
        return dict.fromkeys(self.common, "i")

    def parameters(self):
        return dict.fromkeys(self.own, "i")

    def step(self, op, p, x):
        return x + p["a"] + op.apply(sp.tanh, p["b"] * x)


def laid_in_numpy(flow, theta, x):
    common, rest = theta[: 2 * len(flow.common)], theta[2 * len(flow.common) :]
    for part in rest.reshape(2, -1):
        both = [*common.reshape(-1, 2), *part.reshape(-1, 2)]
        p = dict(zip(flow.common + flow.own, both, strict=True))
        x = x + p["a"] + np.tanh(p["b"] * x)
    return x


@pytest.mark.parametrize("layouts", [[("", "ab"), ("", "ba")], [("a", "b"), ("b", "a")]])
def test_parts_of_one_formula_whose_parameters_stand_otherwise(layouts):
    parts = [Laid(*layout) for layout in layouts]
    program = compile_program(entropy_problem(2), pw.Chain(parts), target="numpy")
    law, size = program.problem.initial, program.size // 2
    theta = np.random.default_rng(0).normal(size=program.size)
    z = np.random.default_rng(1).normal(size=(5, 2))
    samples = program.samples(z)
    x = (z - law.mean) / law.spread
    for part, own in zip(parts, (theta[:size], theta[size:]), strict=True):
        x = laid_in_numpy(part, own, x)
    found = program.unpack(program.push(theta, samples).x, samples)
    np.testing.assert_allclose(found, law.mean + law.spread * x, rtol=1e-12)


def test_at_reads_as_mathematics_does():
    """(A @ B @ C)(z) = A(B(C(z)))."""
    inner, outer = pw.Permute([1, 2, 0]), pw.Permute([0, 2, 1])
    program = compile_program(entropy_problem(3), outer @ Scaled(3) @ inner, target="numpy")
    law = program.problem.initial
    samples = program.samples(np.array([[1.0, 2.0, 3.0]]) + law.mean)
    found = program.unpack(program.push(np.array([0.0, 0.0, 4.0]), samples).x, samples)
    expected = law.mean + [2.0, 1.0 + 4.0 * law.spread, 3.0]
    np.testing.assert_allclose(found, expected[None], rtol=1e-14)


def test_a_map_without_parameters_is_refused():
    with pytest.raises(MapError, match=r"Permute\(\[1, 0\]\) without parameters"):
        pw.compile(WELL, pw.Permute([1, 0]), target="numpy")


TURN = pw.Permute([1, 2, 0])
AT_THE_IDENTITY = {
    "undone by an affine map": [TURN, pw.Coupling(3, 2), pw.Affine(3)],
    "before and after it": [TURN, pw.Affine(3), pw.Coupling(3, 2), pw.Permute([0, 2, 1])],
    "by the last of two": [pw.Affine(3), TURN, pw.Affine(3), TURN],
    "they cancel": [TURN, pw.Coupling(3, 2), TURN, pw.Planar(3, 1), TURN],
}
FAMILIES = [
    pw.NeuralFlow(3, 2, steps=1, depth=2, skip=True),
    pw.TimeField(3, 2, steps=2),
    pw.Residual(3, 2, steps=1),
    pw.Coupling(3, 2, reverse=True),
    pw.Triangular(3, 2),
    pw.Monotone1D(3, 2),
    pw.GradientMap(3, 2),
    pw.RandomFeatures(3, 2),
]


def moved_at_the_start(flow):
    program = compile_program(entropy_problem(flow.dim), flow, target="numpy")
    return displacement(program, flow.initial_parameters(program.problem.initial.whitened, 0))


@pytest.mark.parametrize("parts", AT_THE_IDENTITY.values(), ids=AT_THE_IDENTITY)
def test_chains_start_at_the_identity(parts):
    assert moved_at_the_start(pw.Chain(parts)) < 1e-12


def test_families_start_at_the_identity():
    assert max(map(moved_at_the_start, FAMILIES)) < 1e-12


X = pw.coordinates(2)
RHO = pw.Density(X)
WELL = pw.GradientFlow(pw.integral(X[0] ** 2 * RHO, X), RHO, pw.Gaussian([0, 0], 1.0))
QUICK = {"target": "numpy", "dt": 0.1, "integrator": "euler", "samples": 64, "shift": 1e-8}


def test_a_start_that_is_not_the_identity_is_said():
    turned = pw.Chain([pw.Permute([1, 0]), pw.Coupling(2, 2)])
    with pytest.warns(MapWarning, match="does not start at the identity: it moves samples by"):
        solution = pw.solve(WELL, turned, (0, 0.1), **QUICK)
    assert solution.map == turned
    with warnings.catch_warnings():
        warnings.simplefilter("error", MapWarning)
        pw.solve(WELL, pw.Chain([pw.Permute([1, 0]), pw.Affine(2)]), (0, 0.1), **QUICK)


class Shear(pw.Map):
    """A map of the plane whose parts a test writes."""

    dim = 2

    def __init__(self, own=None, shared=None, step=None, start=None):
        self.own, self.common = own or {"theta": "i", "C": "ij"}, shared or {}
        self.formula, self.start = step or (lambda op, p, x: x + p["theta"]), start

    def parameters(self):
        return self.own

    def shared(self):
        return self.common

    def step(self, op, p, x):
        return self.formula(op, p, x)

    def initial_parameters(self, law, seed=0):
        return np.zeros(6) if self.start is None else self.start


def test_unused_parameters_are_named_as_the_map_names_them():
    for flow in (Shear(step=lambda op, p, x: p["C"] @ x), pw.Chain([Shear(), pw.Affine(2)])):
        unused = "theta" if isinstance(flow, Shear) else "C"
        with pytest.warns(MapWarning, match=f"reads {unused}: leave it out of"):
            pw.compile(WELL, flow, target="numpy")


HERE = r".* in '.*' \(test_map_chains.py, line \d+\)"
WRONG = {
    "a name": (
        lambda op, p, x: x + p["Q"],
        "parameter: got 'Q'" + HERE + r"; accepted: a name of parameters\(\) or .*: theta, C",
    ),
    "an operation": (lambda op, p, x: op.exp(x), "op.exp" + HERE + r".*op.apply\(sp.exp, x\)"),
    "a shape": (lambda op, p, x: p["C"] + x[:1] * p["theta"][:1], r"\(2, 2\) of the step of Shear"),
    "an array": (lambda op, p, x: np.ones(2), "of the step of Shear.*a tensor of shape"),
    "operands": (lambda op, p, x: p["C"] @ x[:1], r"'@' of shapes \(2, 2\) and \(1,\)" + HERE),
    "a number": (lambda op, p, x: x * float("inf"), r"inf beside '\*'" + HERE),
    "constants": (lambda op, p, x: x + op.constant([1.0, np.nan]), r"nan at \[1\]" + HERE),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_errors_of_a_step_name_its_line(case):
    step, message = case
    with pytest.raises(MapError, match=message):
        pw.compile(WELL, Shear(step=step), target="numpy")


def test_a_jump_is_named_with_its_line():
    flow = Shear(step=lambda op, p, x: x + op.apply(sp.floor, p["C"] @ x + p["theta"]))
    with pytest.raises(FormulaError, match="which jumps" + HERE):
        pw.compile(WELL, flow, target="numpy")


KINKS = {
    "abs": lambda op, p, y: op.sum(abs(y) * p["theta"]),
    "Max": lambda op, p, y: op.apply(lambda a: sp.Max(a, 0), p["theta"] @ y),
}


@pytest.mark.parametrize("potential", KINKS.values(), ids=KINKS)
def test_a_gradient_that_jumps_is_refused(potential):
    flow = Shear(step=lambda op, p, x: x + op.gradient(lambda y: potential(op, p, y), x))
    with pytest.raises(FormulaError, match="a gradient that jumps at _0 = 0," + HERE):
        pw.compile(WELL, flow, target="numpy")


def test_a_step_that_is_never_the_same_is_refused():
    random = np.random.default_rng(0)

    def step(op, p, x):
        return p["C"] @ x + p["theta"] + op.constant(random.normal(size=2))

    for flow in (Shear(step=step), pw.Chain([pw.Affine(2), Shear(step=step)])):
        with pytest.raises(MapError, match=r"another formula each time.*from a seed"):
            pw.compile(WELL, flow, target="numpy")


def along(scheme, factor=1):
    """A step along C x + theta, and that field times a factor."""

    def field(op, p, x):
        return factor * (p["C"] @ x + p["theta"])

    flow = Shear(step=lambda op, p, x: op.integrate(lambda y: p["C"] @ y + p["theta"], x, scheme))
    flow.log_determinant, flow.substep, flow.field = "trace", "rk4", field
    return flow


def test_a_trace_is_that_of_the_step():
    """Else samples that carry a density would move otherwise than those that carry none."""
    flow = along("rk4")
    program, theta = pw.compile(WELL, flow, target="numpy"), np.linspace(-0.3, 0.5, 6)
    samples = program.samples(np.array([[0.3, -0.2]]))
    alone, carrying = (program.push(theta, samples, c).x for c in ("x", "log_density"))
    np.testing.assert_allclose(alone, carrying, rtol=1e-14)
    for other in (along("midpoint"), along("rk4", factor=2)):
        with pytest.raises(MapError, match="whose step is not substep='rk4' along its field"):
            pw.compile(WELL, other, target="numpy")


def test_many_matrices_are_multiplied_one_after_the_other():
    """Orders of twelve factors are too many to compare all of them."""
    parts = [pw.Affine(2)] * 12 + [pw.Planar(2, steps=1)]
    program = pw.compile(WELL, pw.Chain(parts), target="numpy")
    theta = np.random.default_rng(0).normal(size=program.size) / 2
    z = np.array([[0.3, -0.5], [1.0, 0.2]])
    samples, volume = program.samples(z), 0
    x = z / WELL.initial.spread
    for A, b in ((row[:4].reshape(2, 2), row[4:]) for row in theta[:72].reshape(12, 6)):
        x, volume = x @ A.T + b, volume + np.linalg.slogdet(A)[1]
    u, w, b = theta[72:74], theta[74:76], theta[76]
    bend = np.tanh(x @ w + b)
    x = x + bend[:, None] * u
    volume = volume + np.log(np.abs(1 + (1 - bend**2) * (u @ w)))
    state = program.push(theta, samples, "log_density")
    np.testing.assert_allclose(
        program.unpack(state.x, samples), x * WELL.initial.spread, rtol=1e-11, atol=1e-13
    )
    found = program.unpack_scalar(state.log_density, samples)
    np.testing.assert_allclose(found, WELL.initial.log_density(z) - volume, rtol=1e-11)


def test_a_chain_has_the_exact_density_whatever_its_parts_have():
    parts = [pw.NeuralFlow(2, 3, steps=2, log_determinant="trace"), pw.Affine(2)]
    program = pw.compile(WELL, pw.Chain(parts), target="numpy")
    theta = np.random.default_rng(0).normal(size=program.size) / 3
    z = np.array([[0.3, -0.5], [1.0, 0.2]])

    def push(points):
        samples = program.samples(points)
        return program.unpack(program.push(theta, samples).x, samples)

    steps = 1e-5 * np.eye(2)
    columns = [(push(z + e) - push(z - e)) / 2e-5 for e in steps]
    volume = np.linalg.slogdet(np.stack(columns, axis=-1))[1]
    samples = program.samples(z)
    found = program.unpack_scalar(program.push(theta, samples, "log_density").log_density, samples)
    np.testing.assert_allclose(found, WELL.initial.log_density(z) - volume, rtol=1e-8)


@pytest.mark.parametrize("dim", [None, 2.0, "2", 3, "missing"])
def test_a_dimension_is_that_of_the_problem(dim):
    flow = pw.Map() if dim == "missing" else Shear()
    if dim != "missing":
        flow.dim = dim
    with pytest.raises(OptionError, match=r"a map of dimension .*; accepted: dimension 2"):
        pw.compile(WELL, flow, target="numpy")


@pytest.mark.parametrize("steps", [0, -1, 2.0, "2", None])
def test_steps_are_a_whole_number(steps):
    flow = Shear()
    flow.steps = steps
    with pytest.raises(MapError, match="steps: got"):
        pw.compile(WELL, flow, target="numpy")


def test_names_of_a_step_and_of_the_map_differ():
    flow = Shear(own={"A": "i"}, shared={"A": "i"}, step=lambda op, p, x: x + p["A"])
    with pytest.raises(MapError, match="'A' of a step and of the map"):
        pw.compile(WELL, flow, target="numpy")


@pytest.mark.parametrize("start", [np.zeros(5), np.full(6, np.nan), np.zeros((2, 3)), "zeros"])
def test_starts_that_do_not_fit(start):
    flow = Shear(step=lambda op, p, x: p["C"] @ x + p["theta"], start=start)
    with pytest.raises(MapError, match="initial_parameters of Shear"):
        pw.solve(WELL, flow, (0, 0.1), **QUICK)


@pytest.mark.parametrize("sizes", [(5, 7), (7, 5)])
def test_starts_of_parts_that_do_not_fit(sizes):
    """Their sum does."""
    starts = [np.zeros(size) for size in sizes]
    chain = pw.Chain(
        [Shear(step=lambda op, p, x: p["C"] @ x + p["theta"], start=start) for start in starts]
    )
    with pytest.raises(MapError, match=f"initial_parameters of Shear.*shape .{sizes[0]},."):
        pw.solve(WELL, chain, (0, 0.1), **QUICK)


class Unstarted(Shear):
    """A map that leaves its start to the call."""

    initial_parameters = pw.Map.initial_parameters


def test_a_start_of_the_call_needs_no_other():
    flow = Unstarted(step=lambda op, p, x: p["C"] @ x + p["theta"])
    start = np.array([0, 0, 1, 0, 0, 1.0])
    assert np.array_equal(pw.solve(WELL, flow, (0, 0.1), theta0=start, **QUICK).theta[0], start)
    with pytest.raises(MapError, match=r"without the method initial_parameters.*np.zeros\(6\)"):
        pw.solve(WELL, flow, (0, 0.1), **QUICK)


CALLED = {
    "step": lambda p, x: x,
    "initial_parameters": lambda law: np.zeros(6),
}


@pytest.mark.parametrize("name", CALLED)
def test_methods_that_take_other_arguments(name):
    flow = Shear(step=lambda op, p, x: p["C"] @ x + p["theta"])
    setattr(flow, name, CALLED[name])
    with pytest.raises(MapError, match=rf"{name}: got .*; accepted: {name}\(self, "):
        pw.solve(WELL, flow, (0, 0.1), **QUICK)


def test_numbers_in_formulas_leave_no_words_at_the_end():
    """SymPy's numbers cannot be hashed any more when Python forgets tensors."""
    code = "from pwgf_sym.tensors import Axis, input_tensor; x = input_tensor('x', (Axis('i', 2),))"
    code += "; import builtins; builtins.kept = 0.1*x + 0.7"  # what outlives the modules
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
