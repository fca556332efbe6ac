"""Sums over an index that are easily read wrongly: the right numbers, or an error by name.

Truth: NumPy's sums, their complex steps, and central differences of these.
"""

import numpy as np
import pytest
import sympy as sp
from test_sums import gap, gradient, hessian

import pwgf_sym as pw
from pwgf_sym.errors import EnergyError, ParameterError
from pwgf_sym.solver.theory import theory_of
from pwgf_sym.targets.program import compile_program

n, m, k, i, j = sp.symbols("n m k i j", integer=True)
N, M = sp.symbols("N M", integer=True, positive=True)
A, b, w = sp.IndexedBase("A", shape=(N, 3)), *(sp.IndexedBase(s, shape=(N,)) for s in "bw")
x = pw.coordinates(3)
RHO = pw.Density(x)
ROWS = (n, 0, N - 1)
LINE = sp.Sum(A[n, i] * x[i], (i, 0, 2))
EXPS = sp.Sum(sp.exp(LINE), ROWS)
VALUES = np.random.default_rng(5).normal(size=(9, 3))
POINTS = np.random.default_rng(6).normal(size=(5, 3))


def program(formula, values, dtype="float64"):
    law = pw.Gaussian([0.0] * 3, 1.0)
    problem = pw.GradientFlow(pw.integral(formula * RHO, x), RHO, law, values)
    return compile_program(problem, pw.Affine(3), "numpy", dtype)


def check(formula, function, values):
    """Values and gradients of a formula are those of a function of NumPy's."""
    found = program(formula, values)
    slopes = gradient(lambda points, _: function(points), POINTS, None)
    assert gap(-found.velocity_at(POINTS), slopes) < 1e-12
    assert gap(found.energy_at(POINTS), function(POINTS).mean()) < 1e-13
    return found


def _exps(q):
    return np.exp(q @ VALUES.T).sum(-1)


@pytest.mark.parametrize(
    ("formula", "function"),
    [
        (sp.log(EXPS * (1 + EXPS)), lambda q: np.log(_exps(q) * (1 + _exps(q)))),
        (sp.log(EXPS * sp.exp(-EXPS / 100)), lambda q: np.log(_exps(q)) - _exps(q) / 100),
    ],
)
def test_a_sum_beside_itself_in_a_logarithm(formula, function):
    check(formula, function, {A: VALUES})


def test_sums_of_data_inside_terms():
    """What no sample changes is summed up where the data are packed."""
    lengths = sp.sqrt(1 + sp.Sum(A[n, j] ** 2 * A[m, 0], (j, 0, 2), (m, 1, N - 2)) ** 2)
    inner = np.sqrt(1 + ((VALUES**2).sum(1) * VALUES[1:-1, 0].sum()) ** 2)
    check(
        sp.Sum(sp.tanh(LINE + lengths), ROWS) + sp.Sum(lengths * x[1] ** 2, ROWS),
        lambda q: np.tanh(q @ VALUES.T + inner).sum(-1) + inner.sum() * q[..., 1] ** 2,
        {A: VALUES},
    )


def test_an_entry_that_no_index_runs_over():
    check(
        sp.Sum(b[2] * sp.tanh(A[n, 0] * x[0]), ROWS) + sp.Sum(b[1] * x[1] ** 2, ROWS),
        lambda q: 2.5 * np.tanh(VALUES[:, 0] * q[..., :1]).sum(-1) - 9 * 1.5 * q[..., 1] ** 2,
        {A: VALUES, b: np.array([0, -1.5, 2.5, *np.ones(6)])},
    )


@pytest.mark.parametrize("name", ["start", "place", "data_A", "x", "0"])
def test_names_of_arrays_and_indices(name):
    array, index = sp.IndexedBase(name, shape=(N, 3)), sp.Symbol(name + "_", integer=True)
    line = sp.Sum(array[index, i] * x[i], (i, 0, 2))
    check(
        sp.log(sp.Sum(array[index, 0] ** 2 * sp.exp(line), (index, 0, N - 1))),
        lambda q: np.log((VALUES[:, 0] ** 2 * np.exp(q @ VALUES.T)).sum(-1)),
        {array: VALUES},
    )


def test_an_index_named_place_and_one_with_a_range():
    row, ranged = sp.Symbol("place", integer=True), sp.Idx("n", (0, N - 1))
    values = VALUES[:, 1]
    check(
        sp.Sum(b[row] * x[sp.Mod(row, 3)] ** 2, (row, 0, N - 1))
        + sp.Sum(sp.sin(b[ranged] * x[0]), ranged),
        lambda q: (
            (values * q[..., np.arange(9) % 3] ** 2).sum(-1) + np.sin(values * q[..., :1]).sum(-1)
        ),
        {b: values},
    )


@pytest.mark.parametrize("rows", [slice(0, 64), slice(64, 128), slice(3, 5)])
def test_blocks_of_rows_without_weight(rows):
    rng = np.random.default_rng(3)
    data, weights = rng.normal(size=(150, 3)), rng.random(150) + 0.2
    weights[rows] = 0
    found = program(-sp.log(sp.Sum(w[n] * sp.exp(LINE), ROWS)), {A: data, w: weights})
    slopes = gradient(lambda q, _: np.log((weights * np.exp(q @ data.T)).sum(-1)), POINTS, None)
    assert gap(found.velocity_at(POINTS), slopes) < 1e-12


def test_terms_that_may_be_negative_have_no_logarithm():
    places = np.array([[3.0, -0.1, 2.0], [0.0, -0.2, 4.0]])
    formula = sp.log(sp.Sum(x[i] * sp.exp(A[n, i] * x[i]), (i, 0, 2), ROWS))

    def function(q, _):
        q = q[..., None, :]
        return np.log((q * np.exp(VALUES * q)).sum((-1, -2)))

    found = program(formula, {A: VALUES}).velocity_at(places)
    assert gap(-found, gradient(function, places, None)) < 1e-12


def test_second_derivatives_of_terms_with_kinks():
    formula = sp.Sum(sp.Max(0, 1 - LINE) ** 2 + sp.Abs(LINE - b[n]), ROWS)
    values = VALUES[:, 2]

    def function(q, _):
        line = q @ VALUES.T
        hinge = np.where(line.real < 1, (1 - line) ** 2, 0)
        return (hinge + np.where(line.real > values, 1, -1) * (line - values)).sum(-1)

    found = program(formula, {A: VALUES, b: values})
    theta = found.map.initial_parameters(found.problem.initial.whitened)
    state = found.push(theta, found.samples(POINTS))
    second = found.velocity_jacobian(state, found.integrals(state))
    assert gap(-second, hessian(function, POINTS, None)) < 1e-6


@pytest.mark.parametrize(
    ("formula", "values", "match"),
    [
        (sp.Sum(b[n] * x[n] ** 2, ROWS), {b: np.ones(4)}, "^n: got the coordinate of index n"),
        (
            sp.Sum(A[n, 0] * x[i + k] ** 2, (i, 0, 2), (k, 0, 1), ROWS),
            {A: VALUES},
            r"^i \+ k: .*from 0 to 3",
        ),
        (sp.Sum(b[n / 2] * x[0], ROWS), {b: np.ones(4)}, "^n/2: .*whole numbers"),
        (
            sp.log(sp.Sum(w[n] * sp.exp(x[0] * n), ROWS)),
            {w: np.zeros(3)},
            "^w: .*weights that are all 0",
        ),
        (sp.Sum(sp.log(w[n]) * x[0], ROWS), {w: np.arange(3.0)}, "^w: .*no value"),
    ],
)
def test_data_that_do_not_fit(formula, values, match):
    with pytest.raises(ParameterError, match=match):
        program(formula, values).velocity_at(POINTS)


def test_data_beyond_single_precision():
    found = program(sp.Sum(b[n] * x[0], ROWS), {b: np.array([1.0, 1e39])}, "float32")
    with pytest.raises(ParameterError, match=r"^b: got b\[n\] up to 1e\+39; .*float32"):
        found.velocity_at(POINTS)


@pytest.mark.parametrize(
    ("assumption", "values", "match"),
    [
        ("positive", [1.0, -2.0], "^c: got an array with -2; accepted: values that are positive"),
        ("integer", [1.0, 0.5], "^c: got an array with 0.5; accepted: values that are integer"),
    ],
)
def test_arrays_are_what_they_were_declared(assumption, values, match):
    array = sp.IndexedBase("c", shape=(N,), **{assumption: True})
    with pytest.raises(ParameterError, match=match):
        program(sp.Sum(sp.sqrt(array[n] ** 2) * x[0] ** 2, ROWS), {array: values})


def test_lengths_in_shapes():
    """A length that no limit reads is no parameter, and N + 1 is one more than N."""
    array, longer = sp.IndexedBase("A", shape=(N, M)), sp.IndexedBase("c", shape=(N + 1,))
    formula = sp.Sum(array[n, i] * longer[n + 1] * x[i] ** 2, (i, 0, 2), ROWS)
    values = np.arange(10.0)
    found = check(
        formula,
        lambda q: ((VALUES * values[1:, None]).sum(0) * q**2).sum(-1),
        {array: VALUES, longer: values},
    )
    assert list(found.problem.parameters) == [N]
    with pytest.raises(ParameterError, match=r"^c: got shape \(12,\); accepted: 10 on axis 0"):
        program(formula, {array: VALUES, longer: np.ones(12)})


@pytest.mark.parametrize(
    ("formula", "match"),
    [
        (A[0, 1] * x[0], r"A\[0, 1\] outside of a sum"),
        (A[0, 1] * EXPS, r"A\[0, 1\] outside of a sum"),
        (
            sp.Sum(x[0] * sp.Symbol("q", positive=True), (sp.Symbol("q", positive=True), 0, N - 1)),
            "declared as positive",
        ),
    ],
)
def test_what_has_no_value(formula, match):
    with pytest.raises(EnergyError, match=match):
        pw.integral(formula * RHO, x)


@pytest.mark.parametrize("factor", [sp.Sum(b[n], ROWS), b[0]])
def test_data_outside_of_integrals(factor):
    with pytest.raises(EnergyError, match="outside an integral; accepted: sums and arrays"):
        pw.first_variation(factor * pw.integral(x[0] ** 2 * RHO, x), RHO)


def test_the_density_in_a_logarithm_of_a_sum():
    formula = RHO * sp.log(sp.Sum(sp.exp(b[n] * RHO * x[0]), ROWS))
    with pytest.raises(EnergyError, match="the density out of the sum"):
        pw.first_variation(pw.integral(formula, x), RHO)


def test_a_convex_sum_times_a_function_is_not_convex():
    formula = sp.exp(x[0]) * sp.Sum(sp.log(1 + sp.exp(LINE)), ROWS) + 3 * sum(s**2 for s in x)
    energy = pw.integral(formula * RHO + RHO * sp.log(RHO), x)
    law = pw.Gaussian([0.0] * 3, 1.0)
    theory = theory_of(pw.GradientFlow(energy, RHO, law, {A: VALUES}))
    assert not theory.modulus.holds
