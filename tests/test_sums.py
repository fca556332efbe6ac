"""Sums over an index against the functions that they are: values, gradients, second derivatives.

Truth: NumPy's sums, their complex steps, and central differences of these.
"""

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from on_targets import fewer
from sum_cases import CASES, PRODUCT, ROWS, A, N, b, beta, i, n, numbers, x
from tile_numpy import interpret

import pwgf_sym as pw
from pwgf_sym.errors import EnergyError, FormulaError, ParameterError
from pwgf_sym.solver.theory import theory_of
from pwgf_sym.targets.program import compile_program

RHO = pw.Density(x)
STEP = 1e-30


def problem(formula, values, law=None):
    """The flow of int S rho, whose velocity is -grad S."""
    energy = pw.integral(formula * RHO, x)
    used = {s for s in values if s in energy.free_symbols or energy.has(s)}
    if not any(
        isinstance(s, sp.IndexedBase) for s in used
    ):  # no array says how many rows there are
        values, used = {**values, N: len(values[b])}, {*used, N}
    law = pw.Gaussian([0.0] * 3, 1.0) if law is None else law
    return pw.GradientFlow(energy, RHO, law, {s: values[s] for s in used})


def compiled(target, formula, values, folder, dtype="float64"):
    """A program whose kernels are run by Python where they are the CPU's."""
    flow = pw.Affine(3)
    program = compile_program(problem(formula, values), flow, target, dtype, folder)
    if target == "cpu":
        for owner in (program, *(m for s in program.sums.values() for m in (s.first, s.second))):
            interpret(owner)
    return program


def gradient(function, points, values):
    """(N, d) by complex steps."""
    found = []
    for direction in np.eye(points.shape[1]):
        found.append(function(points + 1j * STEP * direction, values).imag / STEP)
    return np.stack(found, axis=-1)


def hessian(function, points, values, step=1e-5):
    """(N, d, d) by central differences of complex steps."""
    found = []
    for direction in np.eye(points.shape[1]) * step:
        far, near = points + direction, points - direction
        difference = gradient(function, far, values) - gradient(function, near, values)
        found.append(difference / (2 * step))
    return np.stack(found, axis=-1)


def gap(found, truth):
    return np.abs(found - truth).max() / max(np.abs(truth).max(), 1e-300)


@pytest.mark.parametrize("rows", [1, 16, 65])
@pytest.mark.parametrize("name", CASES)
def test_a_sum_is_its_function(name, rows, target, tmp_path):
    case = CASES[name]
    rows = max(rows, 2) if name == "shifted rows" else rows  # one row has no neighbour
    values = numbers(rows)
    program = compiled(target, case.formula, values, tmp_path)
    points = case.scale * np.random.default_rng(1).normal(size=(fewer(5, 11), 3))
    found = program.velocity_at(points)
    assert gap(-found, gradient(case.function, points, values)) < 2e-12
    assert gap(program.energy_at(points), case.function(points, values).mean()) < 1e-13
    theta = program.map.initial_parameters(program.problem.initial.whitened)
    state = program.push(theta, program.samples(points))
    second = program.velocity_jacobian(state, program.integrals(state))
    truth = hessian(case.function, points, values)
    second = second if second.ndim == 3 else np.einsum("ni,ij->nij", second, np.eye(3))
    assert gap(-second, truth) < 1e-6


@pytest.mark.parametrize("rows", [1, 40])
def test_a_product_over_rows(rows, target, tmp_path):
    values = numbers(rows)
    program = compiled(target, PRODUCT.formula, values, tmp_path)
    points = PRODUCT.scale * np.random.default_rng(1).normal(size=(fewer(5, 11), 3))
    truth = gradient(PRODUCT.function, points, values)
    assert gap(-program.velocity_at(points), truth) < 2e-12
    assert gap(program.energy_at(points), PRODUCT.function(points, values).mean()) < 1e-13


def test_rows_of_several_parts(target, tmp_path, monkeypatch):
    """What is shared by all samples is computed for some of the steps at a time."""
    monkeypatch.setattr("pwgf_sym.targets.sums._SHARED", 1)
    case, values = CASES["logistic"], numbers(200)
    program = compiled(target, case.formula, values, tmp_path)
    points = np.random.default_rng(1).normal(size=(3, 3))
    assert gap(-program.velocity_at(points), gradient(case.function, points, values)) < 1e-12


def test_other_rows_are_the_same_module(tmp_path):
    case = CASES["mixture"]
    texts = set()
    for rows in (100, 1000, 65):
        values = numbers(rows)
        program = compile_program(problem(case.formula, values), pw.Affine(3), folder=tmp_path)
        texts.add((program.emission.text, program.sums["sum_0"].first.emission.text))
    assert len(texts) == 1


@st.composite
def terms(draw):
    """A term in A, b, the coordinates and beta, and the same as a function of NumPy's."""
    functions = {
        "tanh": np.tanh,
        "exp": lambda u: np.exp(u / 4),
        "sqrt": lambda u: np.sqrt(1 + u**2),
    }
    written = {"tanh": sp.tanh, "exp": lambda u: sp.exp(u / 4), "sqrt": lambda u: sp.sqrt(1 + u**2)}
    leaves = [
        (sp.Sum(A[n, i] * x[i], (i, 0, 2)), lambda x, p: x @ p[A].T),
        (b[n], lambda x, p: p[b] + 0 * x[..., :1]),
        (x[1], lambda x, p: x[..., 1:2] + 0 * p[b]),
        (
            sp.Sum(sp.sin(A[n, i] + x[i]), (i, 0, 2)),
            lambda x, p: np.sin(x[..., None, :] + p[A]).sum(-1),
        ),
        (beta, lambda x, p: p[beta] + 0 * p[b] + 0 * x[..., :1]),
    ]

    def grown(depth):
        if depth == 0:
            return leaves[draw(st.integers(0, len(leaves) - 1))]
        kind = draw(st.sampled_from(["+", "*", *functions]))
        first = grown(depth - 1)
        if kind in functions:
            f = functions[kind]
            return written[kind](first[0]), lambda x, p: f(first[1](x, p))
        second = grown(depth - 1)
        if kind == "+":
            return first[0] + second[0], lambda x, p: first[1](x, p) + second[1](x, p)
        return first[0] * second[0], lambda x, p: first[1](x, p) * second[1](x, p)

    formula, function = grown(draw(st.integers(1, 3)))
    return formula, lambda x, p: function(x, p).sum(-1)


@settings(max_examples=25, deadline=None)
@given(terms(), st.integers(1, 40))
def test_random_sums(case, rows):
    formula, function = case
    values = numbers(rows)
    sum_ = sp.Sum(formula, (n, 0, N - 1))
    program = compile_program(problem(sum_, values), pw.Affine(3), "numpy")
    points = np.random.default_rng(rows).normal(size=(4, 3))
    truth = gradient(function, points, values)
    assert np.abs(program.velocity_at(points) + truth).max() < 1e-11 * max(1, np.abs(truth).max())


@settings(max_examples=15, deadline=None)
@given(terms(), st.integers(1, 3))
def test_random_sums_at_fifty_digits(case, rows):
    """The sum written out, differentiated by SymPy, with exact numbers."""
    formula, _ = case
    values = numbers(rows)
    entries = {A[p, q]: values[A][p, q] for p in range(rows) for q in range(3)}
    entries |= {b[p]: values[b][p] for p in range(rows)} | {beta: values[beta]}
    exact = {entry: sp.Rational(float(value)) for entry, value in entries.items()}
    coordinates = {x.indexed_base[q]: x[q] for q in range(3)}
    written = sp.Sum(formula, (n, 0, rows - 1)).doit().xreplace(coordinates).xreplace(exact)
    point = np.random.default_rng(rows).normal(size=3)
    at = {symbol: sp.Rational(float(value)) for symbol, value in zip(x, point, strict=True)}
    truth = [float(written.diff(symbol).xreplace(at).evalf(50)) for symbol in x]
    program = compile_program(
        problem(sp.Sum(formula, (n, 0, N - 1)), values), pw.Affine(3), "numpy"
    )
    found = -program.velocity_at(point[None])[0]
    np.testing.assert_allclose(found, truth, rtol=1e-12, atol=1e-12 * np.abs(truth).max())


def test_the_first_variation_keeps_the_sum():
    energy = pw.integral(RHO * CASES["logistic"].formula + RHO * sp.log(RHO), x)
    variation = pw.first_variation(energy, RHO)
    assert variation == CASES["logistic"].formula + sp.log(RHO) + 1
    values = numbers(4)
    four, own = A.subs(N, 4), b.subs(N, 4)
    names = {four[p, q]: values[A][p, q] for p in range(4) for q in range(3)}
    names |= {own[p]: values[b][p] for p in range(4)}
    places = dict(zip(x, (0.3, -0.2, 0.7), strict=True))
    truth = gradient(CASES["logistic"].function, np.array([[0.3, -0.2, 0.7]]), values)[0]
    velocity = pw.velocity(pw.integral(RHO * CASES["logistic"].formula, x), RHO)
    for component, slope in zip(velocity, truth, strict=True):
        entries = {x.indexed_base[q]: x[q] for q in range(3)}
        written = component.subs(N, 4).doit().xreplace(entries).doit()
        written = written.xreplace(names).xreplace(places)
        assert abs(float(written) + slope) < 1e-12


def flow(formula, values, density=None):
    """The problem of a formula times the density."""
    energy = pw.integral(formula * (RHO if density is None else density), x)
    return pw.GradientFlow(energy, RHO, pw.Gaussian([0.0] * 3, 1.0), values)


LOGISTIC = CASES["logistic"].formula
R, S = sp.IndexedBase("R", shape=(N, 3)), sp.IndexedBase("S")
HALF = sp.Symbol("m", integer=True)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({b: None}, "^b: got no value; accepted: an array of finite numbers"),
        ({b: np.ones(5)}, r"^b: got shape \(5,\); accepted: 4 there, as A has N = 4"),
        ({b: np.ones((4, 1))}, r"^b: got shape \(4, 1\); accepted: an array with 1 axis"),
        ({A: np.ones((4, 2))}, r"^A: got shape \(4, 2\); accepted: shape \(N, 3\)"),
        ({A: np.full((4, 3), np.nan)}, "^A: .*finite"),
        ({b: ["a"] * 4}, "^b: "),
        ({R: np.ones((4, 3))}, "^parameters: got R.*arrays of the energy: A, b"),
        ({N: 5}, "^N: got 5; accepted: 4, the length that the arrays have"),
        ({beta: 1.0}, "^parameters: got beta"),
    ],
)
def test_arrays_that_do_not_fit(change, match):
    values = {key: v for key, v in (numbers(4) | change).items() if key in {A, b, *change}}
    with pytest.raises(ParameterError, match=match):
        flow(LOGISTIC, {key: v for key, v in values.items() if v is not None})


@pytest.mark.parametrize(
    ("formula", "match"),
    [
        (A[n, 0] * x[0], "the index n in A.n, 0., which no sum binds"),
        (
            sp.Sum(A[n, 0] * sp.Sum(b[n] * x[0], (n, 0, 3)), (n, 0, N - 1)),
            "the index n, bound by a sum",
        ),
        (sp.Sum(A[n, i] * x[i], (i, 0, n), (n, 0, N - 1)), "limits that are numbers"),
        (sp.Sum(A[b[n], 0] * x[0], (n, 0, N - 1)), "indices in bound symbols and numbers"),
        (sp.Sum(x[i] * A[0, i + 1] * x[i + 1], (i, 0, 2)), r"x\[i \+ 1\] with i = 2"),
    ],
)
def test_sums_that_say_nothing(formula, match):
    with pytest.raises(EnergyError, match=match):
        pw.first_variation(pw.integral(formula * RHO, x), RHO)


@pytest.mark.parametrize(
    ("formula", "values", "error", "match"),
    [
        (
            sp.Sum(b[n + 1] * x[0], (n, 0, N - 1)),
            {b: np.ones(4)},
            ParameterError,
            r"^b: .*b\[n \+ 1\]",
        ),
        (
            sp.log(sp.Sum(b[n] * sp.exp(A[n, 0] * x[0]), (n, 0, N - 1))),
            {b: -np.ones(4), A: np.ones((4, 3))},
            ParameterError,
            "^b: got log.b.n.., which has no value",
        ),
        (sp.Sum(S[n] * x[0], (n, 0, HALF)), {S: np.ones(4), HALF: -1}, ParameterError, "^n: "),
        (sp.Product(1 + b[n] * x[0] ** 2, (n, 0, N - 1)), {b: np.ones(4)}, EnergyError, "negative"),
        (sp.Sum(sp.sign(b[n] - x[0]), (n, 0, N - 1)), {b: np.ones(4)}, EnergyError, "jumps"),
        (
            sp.Sum(sp.exp(b[n] * RHO), (n, 0, N - 1)),
            {b: np.ones(4)},
            EnergyError,
            "the density out",
        ),
        (sp.Sum(sp.airyai(b[n] * x[0]), (n, 0, N - 1)), {b: np.ones(4)}, FormulaError, "airyai"),
    ],
)
def test_sums_that_cannot_be_computed(formula, values, error, match):
    with pytest.raises(error, match=match):
        pw.compile(flow(formula, values), pw.Affine(3), target="numpy").velocity_at(np.ones((2, 3)))


def test_no_sums_over_data_in_double_integrals():
    y = pw.copy_of(x)
    kernel = sp.Sum(b[n] * (x[0] - y[0]) ** 2, (n, 0, N - 1))
    with pytest.raises(EnergyError, match="a double integral with a sum over data"):
        pw.first_variation(pw.integral(kernel * RHO * RHO.at(y), x, y), RHO)


def test_arrays_go_through_files(tmp_path):
    values = numbers(20)
    energy = pw.integral(LOGISTIC * RHO + RHO * sp.log(RHO), x)
    initial = pw.Gaussian([0.0] * 3, 1.0)
    problem = pw.GradientFlow(energy, RHO, initial, {A: values[A], b: values[b]})
    options = {"integrator": "euler", "dt": 0.01, "samples": 64, "target": "numpy"}
    solution = pw.solve(problem, pw.Affine(3), (0, 0.02), **options)
    solution.save(tmp_path / "run.npz")
    loaded = pw.load_solution(tmp_path / "run.npz")
    assert loaded.problem.energy == energy
    np.testing.assert_array_equal(loaded.problem.arrays[A], values[A])
    assert loaded.energy_at(0.01) == solution.energy_at(0.01)


def test_convex_sums_bound_the_hessian():
    """lambda is that of the prior beside sums of convex functions of lines, else there is none."""
    prior = 3 * sum(s**2 for s in x) / 2
    values = numbers(5)
    convex = {
        "logistic": 3,
        "least squares": None,
        "classes": None,
        "Student": None,
        "mixture": None,
    }
    convex |= {"counts": 3}
    for name, modulus in convex.items():
        formula = CASES[name].formula + prior
        energy = pw.integral(formula * RHO + RHO * sp.log(RHO), x)
        used = {s: v for s, v in values.items() if s in energy.free_symbols or energy.has(s)}
        theory = theory_of(pw.GradientFlow(energy, RHO, pw.Gaussian([0.0] * 3, 1.0), used))
        assert theory.modulus.holds == (modulus is not None), name
        assert modulus is None or abs(theory.modulus.value - modulus) < 1e-12


def test_the_evidence_of_a_linear_model():
    """Z of a Gaussian posterior, against its closed form; the map's end is the posterior."""
    values = numbers(12)
    line = sp.Sum(A[n, i] * x[i], (i, 0, 2))
    formula = sp.Sum((b[n] - line) ** 2, (n, 0, N - 1)) / 2 + sum(s**2 for s in x) / 2
    energy = pw.integral(formula * RHO + RHO * sp.log(RHO), x)
    matrix, right = values[A], values[b]
    precision = matrix.T @ matrix + np.eye(3)
    covariance = np.linalg.inv(precision)
    mean = covariance @ matrix.T @ right
    law = pw.Gaussian([0.0] * 3, 1.0)
    problem = pw.GradientFlow(energy, RHO, law, {A: matrix, b: right})
    solution = pw.solve(problem, pw.Affine(3), (0, 8.0), target="numpy", samples=512)
    found = solution.diagnostics(t=8.0)
    least = (right @ right - mean @ precision @ mean) / 2
    log_z = 1.5 * np.log(2 * np.pi) - np.linalg.slogdet(precision)[1] / 2 - least
    assert abs(found.log_z - log_z) < 1e-3
    assert np.abs(found.mean - mean).max() < 1e-3
    assert np.abs(found.covariance - covariance).max() < 1e-3


def test_a_continuous_term_whose_parts_jump_is_refused():
    """By an error of the package, for the second derivative, too."""
    part = sp.frac(x[0] + b[n])
    formula = sp.Sum(1 / (2 + (1 - part) ** 2 * part**2), ROWS)
    program = compile_program(problem(formula, numbers(3)), pw.Affine(3), "numpy")
    with pytest.raises(FormulaError, match="derivative of a formula"):
        program.velocity_at([[0.1, 0.2, 0.3]])
