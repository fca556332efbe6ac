"""Sums that are written out, gathered over an index: the same values, velocities, certificates.

Truth: the sums in NumPy, and formulas evaluated by a walk that knows sums over an index.
"""

import math
import pickle

import numpy as np
import pytest
import sympy as sp
from amounts import amount
from gallery_energies import GALLERY
from hypothesis import given, settings
from hypothesis import strategies as st

import pwgf_sym as pw
from pwgf_sym.derive import gather
from pwgf_sym.derive.gather import derived_form, gathered
from pwgf_sym.sharing import parts
from pwgf_sym.solver.theory import theory_of
from pwgf_sym.targets.program import compile_program

STEP = 1e-30


def rng(seed=0):
    return np.random.default_rng(seed)


def flow(potential, x, parameters=None):
    """The flow of int V rho, whose velocity is -grad V."""
    rho = pw.Density(x)
    energy = pw.integral(potential * rho, x)
    return pw.GradientFlow(energy, rho, pw.Gaussian([0.0] * len(x), 1.0), parameters or {})


def line(row, x):
    """a.x as it is written."""
    return sum(a * s for a, s in zip(row, x, strict=True))


def doubles(array):
    return np.asarray(array).astype(float).tolist()


def agree(problem, function, points, sums=1):
    """Compare energy and velocity with a function of (N, d) arrays; return the program."""
    program = compile_program(problem, pw.Affine(problem.dim), "numpy")
    assert len(program.sums) == sums
    truth = function(points)
    slopes = [function(points + 1j * STEP * e).imag / STEP for e in np.eye(problem.dim)]
    slopes = np.stack(slopes, axis=-1)
    found = program.velocity_at(points)
    assert np.abs(found + slopes).max() <= 1e-11 * np.abs(slopes).max()
    assert abs(program.energy_at(points) - truth.mean()) <= 1e-12 * np.abs(truth).max()
    return program


def log_sum(exponents):
    top = exponents.real.max(axis=-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(exponents - top).sum(axis=-1))


def square(x, means):
    return ((x[:, None, :] - means) ** 2).sum(-1)


def test_rows_of_a_logistic_regression():
    x, rows = pw.coordinates(5), rng().normal(size=(500, 5))
    potential = sp.Add(*(sp.log(1 + sp.exp(line(row, x))) for row in doubles(rows)))
    points = rng(1).normal(size=(4, 5))
    program = agree(flow(potential, x), lambda x: np.log(1 + np.exp(x @ rows.T)).sum(-1), points)
    far = 1e4 * points
    truth = -np.exp(-np.logaddexp(0, -far @ rows.T)) @ rows
    assert np.abs(program.velocity_at(far) - truth).max() < 1e-9 * np.abs(truth).max()
    assert program.problem.energy.has(x[0]) and not program.problem.energy.has(sp.Sum)
    assert len(program.emission.text) + len(program.sums["sum_0"].first.emission.text) < 30_000


@pytest.mark.parametrize("scale", [1.0, 40.0, 3000.0])
def test_components_of_a_mixture(scale):
    x, means = pw.coordinates(10), rng().normal(size=(100, 10))
    terms = [
        sp.exp(-sum((a - c) ** 2 for a, c in zip(x, mean, strict=True)) / 2)
        for mean in doubles(means)
    ]
    points = scale * rng(1).normal(size=(5, 10))
    agree(flow(-sp.log(sp.Add(*terms)), x), lambda x: -log_sum(-square(x, means) / 2), points)


def test_weights_of_a_mixture_and_its_factors():
    """Weights of all kinds, means with zeros, a factor of the sum, a quotient in a logarithm."""
    x, means, weights = pw.coordinates(3), rng().integers(-1, 2, (90, 3)), rng(1).random(90)
    means = means + np.arange(90)[:, None] // 20 * rng(2).normal(size=(90, 3)).round(2)
    numbers = [sp.Rational(1, 2) if w > 0.5 else float(w) for w in weights]
    weights = np.array(numbers, float)
    terms = [
        w * sp.exp(-sum((a - c) ** 2 for a, c in zip(x, mean, strict=True)) / sp.Integer(2))
        for w, mean in zip(numbers, doubles(means), strict=True)
    ]
    rho = pw.Density(x)
    energy = pw.integral(rho * sp.log(rho / (0.01 * sp.Add(*terms))), x)
    form, arrays = gathered(energy, rho)
    assert len(arrays) == 2 and form.has(sp.Sum)
    (density,) = form.atoms(pw.Density)
    point = (0.3, -1.0, 2.0)
    known = {**dict(zip(x, point, strict=True)), x.indexed_base: np.array(point), **arrays}
    known |= lengths(arrays)
    one, other = (e.integrand.xreplace({density: sp.Rational(3, 4)}) for e in (energy, form))
    assert value(other, known) == pytest.approx(value(one, known), rel=1e-13)
    potential = -sp.log(0.01 * sp.Add(*terms))
    points = 30 * rng(1).normal(size=(5, 3))
    logs = np.log(0.01 * weights)
    agree(flow(potential, x), lambda x: -log_sum(logs - square(x, means) / 2), points)


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_components_of_several_kinds(scale):
    """Components with and without a correlation, and one that is like no other."""
    x, means = pw.coordinates(2), 3 * rng().normal(size=(120, 2))
    slopes = np.where(np.arange(120) < 60, 0.0, rng(1).random(120) - 0.5)
    exponents = [
        -((x[0] - a) ** 2) / 2 - (x[1] - b) ** 2 / 2 + c * (x[0] - a) * (x[1] - b)
        for (a, b), c in zip(doubles(means), slopes.tolist(), strict=True)
    ]
    potential = -sp.log(sp.Add(*map(sp.exp, exponents), sp.exp(-sp.sqrt(1 + x[0] ** 2)) / 2))

    def function(x):
        gap = x[:, None, :] - means
        found = slopes * gap[..., 0] * gap[..., 1] - (gap**2).sum(-1) / 2
        other = np.log(0.5) - np.sqrt(1 + x[:, :1] ** 2)
        return -log_sum(np.concatenate([found, other], axis=1))

    agree(flow(potential, x), function, scale * rng(2).normal(size=(6, 2)), sums=2)


def test_bumps_of_different_widths_and_heights():
    x, means = pw.coordinates(2), 2 * rng().normal(size=(40, 2))
    heights, widths = rng(1).normal(size=40), rng(2).random(40) + 0.3
    potential = sp.Add(
        *(
            h * sp.exp(-((x[0] - a) ** 2 + (x[1] - b) ** 2) / (2 * w**2))
            for h, w, (a, b) in zip(heights.tolist(), widths.tolist(), doubles(means), strict=True)
        )
    )

    def function(x):
        return np.exp(-square(x, means) / (2 * widths**2)) @ heights

    agree(flow(potential + line([1, 2], x) ** 2, x), lambda x: function(x) + (x @ [1, 2]) ** 2,
          rng(3).normal(size=(6, 2)))  # fmt: skip


def test_rows_with_zeros_and_ones():
    """SymPy writes 1*x as x, leaves 0*x out, and takes exp(0.3) out of exp(x + 0.3)."""
    x, beta = pw.coordinates(4), sp.Symbol("beta", positive=True)
    rows = rng().integers(-1, 2, size=(150, 4))
    rows[:4] = np.eye(4)
    rows = rows[np.abs(rows).sum(1) > 0]
    shifts = [(sp.Integer(0), 0.3, sp.Rational(1, 3), 1)[k % 4] for k in range(len(rows))]
    potential = sp.Add(
        *(
            sp.log(1 + sp.exp(-line(row, x) + c)) + sp.sqrt(1 + (line(row, x) - c) ** 2 / beta)
            for row, c in zip(rows.tolist(), shifts, strict=True)
        )
    )
    b = np.array(shifts, float)

    def function(x):
        lines = x @ rows.T
        return (np.log(1 + np.exp(b - lines)) + np.sqrt(1 + (lines - b) ** 2 / 1.5)).sum(-1)

    agree(flow(potential, x, {beta: 1.5}), function, rng(1).normal(size=(5, 4)), sums=2)


def test_terms_that_fit_beside_some_that_do_not():
    """Other functions, other exponents and other parameters stay; names are not used twice."""
    x = pw.coordinates(3)
    n, c0, N0, i = sp.symbols("n c0 N0 i", real=True)
    rows = rng().normal(size=(50, 3))
    data = sp.IndexedBase("c1", shape=(sp.Symbol("N1", integer=True, positive=True),))
    k = sp.Symbol("k", integer=True)
    own = sp.Sum(sp.cos(data[k] * x[0]), (k, 0, data.shape[0] - 1))
    potential = own + n * x[0] ** 4 + sp.sin(c0 * x[1]) + N0 * sp.tanh(3 * x[2] - i) + x[0] * x[1]
    potential += sp.Add(*(sp.tanh(line(row, x)) ** 2 * n for row in doubles(rows)))
    potential += sp.Add(*(sp.tanh(line(row, x)) ** 4 for row in doubles(rows[:3])))
    values = {n: 0.5, c0: 1.5, N0: 2.0, i: 0.25, data: np.array([1.0, 2.0])}

    def function(x):
        found = np.cos(x[:, :1] * values[data]).sum(-1) + 0.5 * x[:, 0] ** 4
        found += np.sin(1.5 * x[:, 1]) + 2 * np.tanh(3 * x[:, 2] - 0.25) + x[:, 0] * x[:, 1]
        lines = np.tanh(x @ rows.T)
        return found + 0.5 * (lines**2).sum(-1) + (lines[:, :3] ** 4).sum(-1)

    problem = flow(potential, x, values)
    agree(problem, function, rng(1).normal(size=(5, 3)), sums=2)
    used = {s for s in parts(derived_form(problem).energy) if s.is_Symbol and s != k}
    assert len({s.name for s in used}) == len(used)


def test_conditions_on_residuals():
    """Huber's loss, whose pieces meet at a number that all rows share."""
    x, rows, b = pw.coordinates(3), rng().normal(size=(40, 3)), rng(1).normal(size=40)
    residuals = [line(row, x) - c for row, c in zip(doubles(rows), b.tolist(), strict=True)]
    huber = [
        sp.Piecewise((r**2 / 2, sp.Abs(r) < 1), (sp.Abs(r) - sp.Rational(1, 2), True))
        for r in residuals
    ]

    def function(x):
        r = x @ rows.T - b
        r = np.where(r.real < 0, -r, r)
        return np.where(r.real < 1, r**2 / 2, r - 0.5).sum(-1)

    agree(flow(sp.Add(*huber), x), function, rng(2).normal(size=(5, 3)))


def test_a_density_in_front_of_every_term():
    x, rows = pw.coordinates(3), rng().normal(size=(50, 3))
    rho = pw.Density(x)
    terms = [sp.sqrt(1 + line(row, x) ** 2) for row in doubles(rows)]
    whole = pw.integral(rho * sp.Add(*terms) + rho * sp.log(rho), x)
    spread = pw.integral(sp.Add(*(rho * term for term in terms)) + rho * sp.log(rho), x)
    one, other = (gathered(energy, rho) for energy in (whole, spread))
    assert one[0] == other[0] and one[0].has(sp.Sum)
    ((first,), (second,)) = (arrays.values() for _, arrays in (one, other))
    assert np.array_equal(first, second) and first.shape == (50, 3)


def test_convexity_of_rows_is_proven():
    x, rows = pw.coordinates(3), rng().normal(size=(50, 3))
    rho = pw.Density(x)
    potential = sp.Add(*(sp.log(1 + sp.exp(line(row, x))) for row in doubles(rows)))
    energy = pw.integral(rho * (potential + line(x, x) / 2) + rho * sp.log(rho), x)
    problem = pw.GradientFlow(energy, rho, pw.Gaussian([0.0] * 3, 1.0))
    modulus = theory_of(problem).modulus
    assert modulus.status == "proven" and modulus.value == pytest.approx(1)


def test_a_copy_of_a_program_is_the_same_module():
    x, rows = pw.coordinates(3), rng().normal(size=(50, 3))
    problem = flow(sp.Add(*(sp.cosh(line(row, x)) for row in doubles(rows))), x)
    program = compile_program(problem, pw.Affine(3), "numpy")
    again = pickle.loads(pickle.dumps(program))
    points = rng(1).normal(size=(4, 3))
    assert again.emission.text == program.emission.text
    assert np.array_equal(again.velocity_at(points), program.velocity_at(points))
    assert again.problem.energy == problem.energy


def test_what_is_served_already_stays():
    """Loops over coordinates, quadratic forms, a few terms, exponentials in other functions."""
    x, d = pw.coordinates(30), 30
    matrix = rng().normal(size=(d, d))
    rows = doubles(rng(1).normal(size=(40, 2)))
    y = pw.coordinates(2)
    many = [sp.exp(line(row, y)) for row in doubles(rng(2).normal(size=(120, 2)))]
    pairs = [(i, j) for i in range(d) for j in range(i)]
    formulas = [
        (sp.Add(*((s**2 - 1) ** 2 + sp.cos(k * s) for k, s in enumerate(x))), x),
        (sp.Add(*(matrix[i, j] * x[i] * x[j] for i in range(d) for j in range(d))), x),
        (sp.Add(*(sp.exp(-((matrix[i, j] - x[i] + x[j]) ** 2)) for i, j in pairs)), x),
        (sp.Add(*(sp.log(1 + sp.exp(line(row, y))) for row in rows[:15])), y),
        (sp.Add(*(sp.cos(float(k) * y[0]) for k in range(1, 30))), y),
        (sp.sqrt(1 + sp.Add(*many)), y),
        (line([1, 2], y) / sp.Add(*many), y),
        (sp.log(sp.Add(*many[1:], -many[0] / 1000)), y),
    ]
    for potential, copy in formulas:
        rho = pw.Density(copy)
        energy = pw.integral(rho * potential, copy)
        assert gathered(energy, rho) == (energy, {})


@pytest.mark.parametrize("name", GALLERY)
def test_energies_of_the_gallery_stay(name):
    energy, rho = GALLERY[name]()
    assert gathered(energy, rho) == (energy, {})


def value(node, known):
    """The value of a formula with sums over an index; ``known`` has arrays, and values by name."""
    if isinstance(node, sp.Sum):
        *inner, (index, first, last) = node.limits
        terms = sp.Sum(node.function, *inner) if inner else node.function
        places = range(int(value(first, known)), int(value(last, known)) + 1)
        return math.fsum(value(terms, known | {index: k}) for k in places)
    if isinstance(node, sp.Indexed):
        return known[node.base][tuple(int(value(k, known)) for k in node.indices)]
    if isinstance(node, sp.Piecewise):
        return next(value(e, known) for e, holds in node.args if value(holds, known))
    if node.is_Symbol:
        return known[node]
    if not node.args:
        return bool(node) if isinstance(node, sp.logic.boolalg.BooleanAtom) else float(node)
    args = [value(arg, known) for arg in node.args]
    if node.is_Add or node.is_Mul:
        return math.fsum(args) if node.is_Add else math.prod(args)
    plain = {sp.Pow: pow, sp.Abs: abs, sp.Max: max, sp.Min: min, sp.exp: math.exp}
    plain |= {sp.StrictLessThan: lambda a, b: a < b, sp.StrictGreaterThan: lambda a, b: a > b}
    plain |= {sp.ITE: lambda a, b, c: b if a else c, sp.Not: lambda a: not a}
    plain |= {sp.And: lambda *a: all(a), sp.Or: lambda *a: any(a)}
    plain |= {sp.LessThan: lambda a, b: a <= b, sp.GreaterThan: lambda a, b: a >= b}
    return plain.get(node.func, getattr(math, node.func.__name__, None))(*args)


def lengths(arrays):
    """What the shapes of arrays name."""
    pairs = [pair for a, v in arrays.items() for pair in zip(a.shape, v.shape, strict=True)]
    return {symbol: length for symbol, length in pairs if symbol.is_Symbol}


NUMBERS = [
    0,
    1,
    -1,
    2,
    sp.Rational(1, 3),
    sp.Rational(-5, 2),
    0.3,
    -1.0,
    1.0,
    2.5,
    sp.sqrt(2),
    -0.7,
]


@st.composite
def templates(draw):
    """A function of a row of numbers that gives a formula in x and beta, and how many it takes."""
    x, beta = pw.coordinates(draw(st.integers(1, 4))), sp.Symbol("beta", positive=True)
    d = len(x)
    functions = [sp.tanh, sp.cos, sp.Abs, lambda u: sp.exp(u / 8), lambda u: sp.Max(u, 0.5)]
    functions += [lambda u: sp.log(1 + sp.exp(u / 4)), lambda u: u**2, lambda u: 1 / (9 + u**2)]
    functions += [lambda u: sp.Piecewise((u**2, u < 1), (2 * u - 1, True)), lambda u: beta * u]
    leaves = [
        (d, lambda a: line(a, x)),
        (d, lambda a: sum((s - c) ** 2 for s, c in zip(x, a, strict=True))),
        (d, lambda a: sum(c * sp.sin(s) for s, c in zip(x, a, strict=True))),
        (2 * d, lambda a: sum(c * sp.cos(s - b) for s, c, b in zip(x, a, a[d:], strict=False))),
        (1, lambda a: x[0] - a[0]),
        (2, lambda a: a[0] * x[-1] ** 3 + a[1] * x[0]),
    ]

    def grown(depth):
        if depth == 0:
            return draw(st.sampled_from(leaves))
        kind = draw(st.sampled_from(["+", "*", *functions]))
        count, first = grown(depth - 1)
        if kind in functions:
            return count + 1, lambda a: kind(first(a[1:]) + a[0])
        more, second = grown(depth - 1)
        if kind == "+":
            return count + more, lambda a: first(a[:count]) + second(a[count:])
        return count + more, lambda a: first(a[:count]) * second(a[count:])

    count, formula = grown(draw(st.integers(1, 3)))
    return x, beta, count, formula


@settings(max_examples=amount(20, 60), deadline=None)
@given(templates(), st.data())
def test_random_sums(case, data):
    """Any sum has the same value when it is gathered, whatever its numbers are."""
    x, beta, count, formula = case
    rows = data.draw(st.lists(st.lists(st.sampled_from(NUMBERS), min_size=count, max_size=count),
                              min_size=16, max_size=24))  # fmt: skip
    potential = sp.Add(*map(formula, rows))
    rho = pw.Density(x)
    energy = pw.integral(rho * potential, x)
    places = data.draw(st.lists(st.floats(-2, 2), min_size=len(x), max_size=len(x)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "SMALLEST", 1)
        patch.setattr(gather, "FEWEST", 4)
        found, arrays = gather.gathered.__wrapped__(energy, rho)
    known = {**dict(zip(x, places, strict=True)), beta: 1.5, **arrays}
    known |= {x.indexed_base: np.array(places)}
    known |= lengths(arrays)
    terms = [value(sp.sympify(term), known) for term in map(formula, rows)]
    if energy == 0:
        return
    (density,) = energy.integrand.atoms(pw.Density)
    before = value(energy.integrand.xreplace({density: sp.S.One}), known)
    after = value(found.integrand.xreplace({density: sp.S.One}), known)
    assert abs(after - before) <= 1e-11 * max(1, math.fsum(map(abs, terms)))


def test_rows_of_random_numbers_are_one_sum():
    """SymPy's order of summands and factors depends on the numbers, and hides some of them."""
    x = pw.coordinates(3)
    rows = [[NUMBERS[k] for k in row] for row in rng().choice(len(NUMBERS), size=(200, 4))]
    rows = [row for row in rows if any(row[:3])]
    numbers = [(-1, 2, 1, 0.5)[k % 4] for k in range(len(rows))]
    makers = [
        lambda u, a: sp.tanh(u),
        lambda u, a: sp.sqrt(9 + a * sp.sin(u) + 2 * sp.cos(3 * u) / a),
        lambda u, a: (x[0] - a) * (x[1] + u) * sp.exp(-(u**2)),
        lambda u, a: sp.cos(sp.Abs(u) * u**2 + a * u),
    ]
    for make in makers:
        lines = [line(row[:3], x) + row[3] for row in rows]
        potential = sp.Add(*(make(u, a) for u, a in zip(lines, numbers, strict=True)))
        found, arrays = gathered(pw.integral(pw.Density(x) * potential, x), pw.Density(x))
        outer = [s for s in found.atoms(sp.Sum) if s.limits[0][2].has(sp.Symbol)]
        assert len(outer) == 1
        count = next(values for array, values in arrays.items() if len(array.shape) == 2).shape[0]
        assert count >= 0.99 * len(potential.args)


def test_the_form_of_a_problem_has_values_for_all_that_it_holds():
    x, rows = pw.coordinates(3), rng().normal(size=(50, 3))
    problem = flow(sp.Add(*(sp.sqrt(1 + line(row, x) ** 2) for row in doubles(rows))), x)
    form = derived_form(problem)
    assert {str(s): v for s, v in form.parameters.items()} == {"N0": 50.0}
    ((array, values),) = form.arrays.items()
    assert sorted(map(tuple, np.abs(values))) == sorted(map(tuple, np.abs(rows)))
    assert array.shape[1] == 3 and not values.flags.writeable
    assert problem.parameters == {} and problem.arrays == {}


@pytest.mark.parametrize("center", [7e3, 3e7])
def test_rows_far_from_the_origin_lose_no_digits(center):
    """u = a.(x - c) + b near c: gathered where that costs nothing, else left where it was."""
    x = pw.coordinates(2)
    rho = pw.Density(x)
    rng = np.random.default_rng(3)
    rows, places = rng.integers(1, 9, size=(40, 2)), center + rng.integers(0, 5, size=(40, 2))
    terms = []
    for row, place in zip(rows, places, strict=True):
        line = sum(int(a) * (s - int(c)) for a, s, c in zip(row, x, place, strict=True))
        terms.append(sp.log(1 + sp.exp(line)))
    problem = pw.GradientFlow(pw.integral(sum(terms) * rho, x), rho, pw.Gaussian([center] * 2, 1.0))
    points = center + rng.normal(size=(5, 2))
    found = pw.compile(problem, pw.Affine(2), target="numpy").velocity_at(points)
    u = ((points[:, None] - places) * rows).sum(-1)
    truth = -np.einsum("nk,ki->ni", 1 / (1 + np.exp(-u)), rows)
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-9 * np.abs(truth).max())


def test_a_coordinate_that_stands_twice():
    """SymPy keeps x + sqrt(3)*x as two summands; both numbers count."""
    x = pw.coordinates(2)
    rho = pw.Density(x)
    rows = [sp.Add(x[0], sp.sqrt(3) * x[0], k * x[1]) for k in range(2, 162)]
    energy = pw.integral(sum(sp.log(1 + sp.exp(row)) for row in rows) * rho, x)
    found, arrays = gather.gathered(energy, rho)
    assert found != energy and arrays
    problem = pw.GradientFlow(energy, rho, pw.Gaussian([0.0, 0.0], 1.0))
    points = np.random.default_rng(0).normal(size=(6, 2))
    velocity = pw.compile(problem, pw.Affine(2), target="numpy").velocity_at(points)
    slopes = np.stack([np.full(160, 1 + np.sqrt(3)), np.arange(2, 162)], axis=-1)
    truth = -np.einsum("nk,ki->ni", 1 / (1 + np.exp(-points @ slopes.T)), slopes)
    np.testing.assert_allclose(velocity, truth, rtol=0, atol=1e-12 * np.abs(truth).max())
