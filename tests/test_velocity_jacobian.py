"""The local Jacobian of the velocity against differences of the energy's own formulas in mpmath.

The truth knows f(x, r) of a single integral and W(x, y) of a double one as functions to be
evaluated with 50 digits: phi = df/dr, w_i = -dphi/dx_i - r dphi/dr s_i, and every derivative is a
central difference.
"""

from itertools import product

import mpmath
import numpy as np
import pytest
import sympy as sp
from amounts import amount
from energy_checks import carried
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from on_targets import fewer, program_on
from sample_energies import LOCAL, PAIR, R
from test_energy_kernels import KAPPA, THETA, energies
from tile_numpy import interpret

import pwgf_sym as pw
from pwgf_sym.declare.symbols import coordinates, copy_of
from pwgf_sym.errors import EnergyError
from pwgf_sym.targets.program import compile_program

STEP = mpmath.mpf(10) ** -8
X2, Y2 = coordinates(2), copy_of(coordinates(2))
H = sp.Heaviside


def function(formula, symbols, parameters):
    exact = {s: sp.Rational(v) for s, v in parameters.items()}
    names = {"Max": lambda *a: max(a), "Min": lambda *a: min(a)}
    names["Heaviside"] = lambda u, at: at if u == 0 else int(u > 0)
    return sp.lambdify(symbols, formula.subs(exact), [names, "mpmath"])


def difference(f, point, places):
    """The mixed derivative of f by the coordinates at these places, by central differences."""
    total = mpmath.mpf(0)
    for signs in product((1, -1), repeat=len(places)):
        moved = list(point)
        for place, sign in zip(places, signs, strict=True):
            moved[place] += sign * STEP
        total += mpmath.fprod(signs) * f(*moved)
    return total / (2 * STEP) ** len(places)


def truth(single, pair, dim, weights, parameters, x, log_density, score):
    """A at every sample, (N, d, d), by the definitions, with weights dF/dI of the integrals."""
    own, partner = coordinates(dim), copy_of(coordinates(dim))
    f = function(single, [*own, R], parameters)
    w = function(pair, [*own, *partner], parameters)
    found = np.zeros((len(x), dim, dim))
    with mpmath.workdps(50):
        for n, (p, r) in enumerate(zip(x.tolist(), log_density.tolist(), strict=True)):
            at = [*map(mpmath.mpf, p), mpmath.exp(r)]
            for i, j in product(range(dim), repeat=2):
                if single != 0:
                    mixed = at[-1] * difference(f, at, (dim, dim, j)) * score[n, i].item()
                    found[n, i, j] -= weights[0] * (difference(f, at, (dim, i, j)) + mixed)
                for q in np.delete(x, n, axis=0).tolist() if pair != 0 else ():
                    slopes = difference(w, [*at[:-1], *q], (i, j))
                    slopes += difference(w, [*q, *at[:-1]], (dim + i, dim + j))
                    found[n, i, j] -= weights[1] * slopes / (len(x) - 1)
    return (found + found.transpose(0, 2, 1)) / 2


def problem_of(single, pair, dim, outer, parameters):
    x = coordinates(dim)
    rho, y = pw.Density(x), copy_of(x)
    values = {LOCAL: sp.S.Zero, PAIR: sp.S.Zero}
    if single != 0:
        values[LOCAL] = pw.integral(single.subs(R, rho), x)
    if pair != 0:
        values[PAIR] = pw.integral(pair * rho * rho.at(y), x, y)
    energy = outer.subs(values)
    used = {s: v for s, v in parameters.items() if s in energy.free_symbols}
    return pw.GradientFlow(energy, rho, pw.Gaussian(np.zeros(dim), 1.0), used)


def full(program, found):
    """An answer as (N, d, d), of the shape that the pattern promises."""
    pattern = program.jacobian_pattern
    diagonal = not (pattern & ~np.eye(program.dim, dtype=bool)).any()
    assert found.ndim == (2 if diagonal else 3) and found.dtype == program.dtype
    if diagonal:
        found = found[:, :, None] * np.eye(program.dim, dtype=found.dtype)
    assert not found[:, ~pattern].any()
    assert np.array_equal(found, found.transpose(0, 2, 1), equal_nan=True)
    return found


def jacobian(program, count, spread=1.0, seed=0):
    """x, log density, score, integrals and Jacobian at random samples, as numbers."""
    samples, state = carried(program, count, seed, spread)
    integrals = program.integrals(state)
    found = full(program, program.velocity_jacobian(state, integrals))
    numbers = program.unpack(state.x, samples), program.unpack_scalar(state.log_density, samples)
    numbers = *numbers, program.unpack(state.score, samples)
    return *(a.astype(float) for a in numbers), integrals, found.astype(float)


def check(program, single, pair=sp.S.Zero, outer=LOCAL + PAIR, parameters=None, **how):
    parameters = parameters or {}
    x, log_density, score, integrals, found = jacobian(program, **how)
    values = {LOCAL: 0.0, PAIR: 0.0} | {
        (PAIR if i.pair else LOCAL): v
        for i, v in zip(program.form.integrals, integrals, strict=True)
    }
    weights = [float(outer.diff(s).subs(parameters).subs(values)) for s in (LOCAL, PAIR)]
    expected = truth(single, pair, program.dim, weights, parameters, x, log_density, score)
    assert np.isfinite(expected).all()
    scale = 1 + np.abs(expected).max(axis=(1, 2), keepdims=True)
    eps = 1e-9 if program.dtype == np.float64 else 3e-4
    np.testing.assert_array_less(np.abs(found - expected) / scale, eps)
    return found


def text_of(target, problem, folder, dtype="float64", **options):
    """The program and its Jacobian as text that Python runs, or on a GPU."""
    program = program_on(target, problem, pw.Affine(problem.dim), folder, dtype, **options)
    if target == "cpu" and program.local_jacobian.path is not None:
        interpret(program.local_jacobian)
    return program


# ------------------------------------------------------------------------------ random formulas
@pytest.mark.parametrize(
    "examples", [4, pytest.param(amount(20, 60), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_random_energies(target, tmp_path_factory, examples):
    @settings(
        max_examples=fewer(examples // 4, examples),
        deadline=None,
        derandomize=True,
        phases=(Phase.generate,),  # shrinking formulas takes minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(energies(), st.integers(1, 4), st.integers(0, 99), st.booleans(), st.booleans())
    def run(energy, count, seed, single, moments):
        folder = tmp_path_factory.mktemp("random")
        dtype = "float32" if single else "float64"
        program = text_of(target, energy.problem(), folder, dtype, moments=moments)
        local = energy.potential * R + energy.internal
        how = {"outer": energy.outer, "parameters": energy.parameters}
        check(program, local, energy.pair, **how, count=count, seed=seed)

    run()


# ------------------------------------------------------------------- formulas of x and rho, kinks
A = X2[0]
X3 = coordinates(3)
HUBER = sp.Piecewise((A**2 / 2, sp.Abs(A) < 1), (sp.Abs(A) - sp.Rational(1, 2), True))
FORMULAS = {  # of x and r; parameters; dimension
    "weighted": ((1 + A**2) * R**2 + sp.cos(A) * R * sp.log(R), {}, 1),
    "coupled": ((1 + A * X2[1]) ** 2 * R**THETA + A * X2[1] ** 3 * R, {THETA: 1.375}, 2),
    "three": (sp.exp(-X3[0] * X3[1]) * R**2 / KAPPA + sp.sin(X3[1] - X3[2]) * R, {KAPPA: 0.75}, 3),
    "abs": ((sp.Abs(A) ** 3 + sp.Abs(A - 1) * A**2) * R, {}, 1),
    "max": (sp.Max(A, X2[1], 0) ** 2 * R + sp.Min(A * X2[1], 1) ** 3 * R, {}, 2),
    "huber": ((HUBER + X2[1] * H(X2[1]) * A) * R + R * sp.log(R), {}, 2),
    "hinge": (sp.Max(X3[0] + X3[1], 0) ** 3 * R + sp.Max(R - sp.exp(-X3[2]), 0) ** 2, {}, 3),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_of_position_and_density(name, dtype, target, tmp_path):
    single, parameters, dim = FORMULAS[name]
    problem = problem_of(single, sp.S.Zero, dim, LOCAL + PAIR, parameters)
    program = text_of(target, problem, tmp_path, dtype)
    found = check(program, single, parameters=parameters, count=fewer(3, 9))
    assert np.ptp(found, axis=0).any()  # it differs from sample to sample


@pytest.mark.parametrize("name, dtype", [("coupled", "float64"), ("max", "float32")])
def test_machine_code(name, dtype):
    single, parameters, dim = FORMULAS[name]
    pair = sp.exp(-sum((a - b) ** 2 for a, b in zip(X2, Y2, strict=True)))
    problem = problem_of(single, pair, dim, LOCAL + PAIR, parameters)
    program = compile_program(problem, pw.Affine(dim), dtype=dtype)
    check(program, single, pair, parameters=parameters, count=5)


# ------------------------------------------------------------------------------------ interactions
Q2 = sum((a - b) ** 2 for a, b in zip(X2, Y2, strict=True))
PAIRS = {
    "quadratic": Q2,
    "quartic": Q2**2 / 4 - Q2 / 2,
    "mixture": KAPPA * Q2**2 - sp.log(Q2) / 2,
    "asymmetric": A**2 * Y2[1] ** 4 + X2[1] * Y2[0],
    "weighted": (A + 1) * Q2,
    "of the partner": A**2 * sp.exp(Y2[0]),
    "constant": A * X2[1] + sp.sin(Y2[0]),
    "quadrant": sp.Max(A - Y2[0], 0) ** 2 * sp.Abs(X2[1] - Y2[1]),
}


@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize("name", PAIRS)
def test_interactions(name, count, target, tmp_path):
    """By moments and by all pairs, of one sample (which has no partner) and of several tiles."""
    parameters, outer = {KAPPA: 0.75}, LOCAL + KAPPA * (PAIR + 1) ** 2
    problem = problem_of(sp.S.Zero, PAIRS[name], 2, outer, parameters)
    polynomial = name in ("quadratic", "quartic", "mixture")
    for moments in (True, False)[: 1 + polynomial]:
        program = text_of(target, problem, tmp_path, moments=moments)
        check(program, sp.S.Zero, PAIRS[name], outer, parameters, count=count)


def test_moments_need_no_kernel_in_any_dimension():
    x, y = coordinates(12), copy_of(coordinates(12))
    q = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    program = compile_program(problem_of(sp.S.Zero, q**2, 12, PAIR, {}), pw.Affine(12))
    points, _, _, _, found = jacobian(program, 6)
    gap = points[:, None] - points
    expected = 4 * np.einsum("nm,ij->nij", np.sum(gap**2, axis=2), np.eye(12))
    expected = -2 * (expected + 8 * np.einsum("nmi,nmj->nij", gap, gap)) / 5
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    assert program.local_jacobian.emission is None and program.jacobian_pattern.all()


def test_interactions_of_too_many_entries_are_left_out():
    x, y = coordinates(13), copy_of(coordinates(13))
    q = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    well, pairs = sum(c**4 for c in x) * R, sp.exp(-q)
    program = compile_program(problem_of(well, pairs, 13, LOCAL + PAIR, {}), pw.Affine(13))
    points, _, _, _, found = jacobian(program, 4)
    np.testing.assert_allclose(np.einsum("nii->ni", found), -12 * points**2, rtol=1e-14)
    assert not program.local_jacobian.complete


# ---------------------------------------------------------------------------------- many dimensions
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_separable_in_ten_dimensions(dtype, target, tmp_path):
    """Styblinski-Tang: a diagonal, written once for all coordinates."""
    x = coordinates(10)
    tang = sum(sp.Rational(3, 50) * (c**4 - 16 * c**2 + 5 * c) for c in x) * R
    problem = problem_of(tang + R * sp.log(R), sp.S.Zero, 10, LOCAL, {})
    program = text_of(target, problem, tmp_path, dtype)
    samples, state = carried(program, fewer(5, 19))
    found = program.velocity_jacobian(state, program.integrals(state))
    points = program.unpack(state.x, samples).astype(float)
    relative = 64 * np.finfo(dtype).eps
    np.testing.assert_allclose(found, -0.06 * (12 * points**2 - 32), rtol=relative, atol=relative)
    assert np.array_equal(program.jacobian_pattern, np.eye(10, dtype=bool))
    assert program.local_jacobian.form.kernels["velocity_jacobian"].rolled is not None


def test_a_full_quadratic_is_numbers():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(12, 12))
    matrix = matrix @ matrix.T
    column = sp.Matrix(coordinates(12))
    potential = sp.expand((column.T * sp.Matrix(matrix) * column)[0] / 2) * KAPPA
    problem = problem_of(potential * R, sp.S.Zero, 12, LOCAL**2, {KAPPA: 0.5})
    program = compile_program(problem, pw.Affine(12))
    _, _, _, (integral,), found = jacobian(program, 3)
    np.testing.assert_allclose(found, np.tile(-integral * matrix, (3, 1, 1)), rtol=1e-12)
    assert program.local_jacobian.emission is None


@pytest.mark.parametrize("coupled", [False, True])
def test_a_chain(coupled, target, tmp_path):
    """Neighbours are coupled: what differs from sample to sample is a loop, and a few corners."""
    x = coordinates(12)
    links = [(b - a) ** 2 for a, b in zip((0, *x), (*x, 0), strict=True)]
    bonds = sum(sp.sin(x[i] * x[i + 1]) for i in (3, 7)) if coupled else 0
    potential = sum(links) + sum((1 - c**2) ** 2 for c in x) / 4
    problem = problem_of((potential + bonds) * R, sp.S.Zero, 12, LOCAL, {})
    program = text_of(target, problem, tmp_path)
    points, *_, found = jacobian(program, fewer(3, 11))
    expected = np.zeros((len(points), 12, 12))
    for i in range(12):
        expected[:, i, i] = -(4 + 3 * points[:, i] ** 2 - 1)
        for j in (i - 1, i + 1):
            if 0 <= j < 12:
                expected[:, i, j] = 2
    for i in (3, 7) if coupled else ():
        a, b = points[:, i], points[:, i + 1]
        expected[:, i, i] += b**2 * np.sin(a * b)
        expected[:, i + 1, i + 1] += a**2 * np.sin(a * b)
        expected[:, i, i + 1] += a * b * np.sin(a * b) - np.cos(a * b)
        expected[:, i + 1, i] = expected[:, i, i + 1]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert program.jacobian_pattern.sum() == 34


def test_every_pair_of_ten_coordinates(target, tmp_path):
    x = coordinates(10)
    problem = problem_of(sp.log(1 + sum(c**2 for c in x)) * R, sp.S.Zero, 10, LOCAL, {})
    points, *_, found = jacobian(text_of(target, problem, tmp_path), 5)
    size = 1 + np.sum(points**2, axis=1)[:, None, None]
    outer = points[:, :, None] * points[:, None]
    np.testing.assert_allclose(found, 4 * outer / size**2 - 2 * np.eye(10) / size, atol=1e-13)


def test_too_many_entries_are_refused():
    x = coordinates(13)
    problem = problem_of(sp.log(1 + sum(c**2 for c in x)) * R, sp.S.Zero, 13, LOCAL, {})
    program = compile_program(problem, pw.Affine(13))
    with pytest.raises(EnergyError, match=r"one in 13 coordinates.*at most 64 entries above"):
        program.jacobian_pattern  # noqa: B018


# --------------------------------------------------------------------------------------- the module
def mixture():
    """-log of a mixture of nine Gaussians of variance 1/10 on a grid, and its Hessian by NumPy."""
    centers = np.array(list(product((-2.0, 0.0, 2.0), repeat=2)))
    terms = [
        sp.exp(-5 * sum((s - c) ** 2 for s, c in zip(X2, center, strict=True)))
        for center in centers.tolist()
    ]

    def hessian(x):
        gap = x[:, None] - centers
        exponents = -5 * np.sum(gap**2, axis=2)
        weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        mean = np.einsum("nk,nki->ni", weights, gap)
        moved = gap - mean[:, None]
        return 10 * np.eye(2) - 100 * np.einsum("nk,nki,nkj->nij", weights, moved, moved)

    return -sp.log(sp.Add(*terms)) * R + R * sp.log(R), hessian


@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_a_mixture_also_where_its_density_underflows(spread):
    single, hessian = mixture()
    program = compile_program(problem_of(single, sp.S.Zero, 2, LOCAL, {}), pw.Affine(2))
    points, *_, found = jacobian(program, 50, spread)
    np.testing.assert_allclose(found, -hessian(points), rtol=1e-10, atol=1e-9 * spread)


def test_it_is_made_when_it_is_first_called_and_shared_by_maps():
    single, _ = mixture()
    problem = problem_of(single, sp.S.Zero, 2, LOCAL, {})
    one, two = (compile_program(problem, m) for m in (pw.Affine(2), pw.NeuralFlow(2, 4, steps=1)))
    assert "jacobian" not in one.emission.formulas and "velocity_jacobian" not in one.emission.text
    assert not {"local_jacobian"} & {*vars(one), *vars(two)}
    assert one.local_jacobian.path == two.local_jacobian.path


def test_in_the_coordinates_of_the_user():
    """The map's own are centred and scaled by the initial law."""
    x = coordinates(1)
    rho = pw.Density(x)
    law = pw.Gaussian([3.0], 0.25)
    problem = pw.GradientFlow(pw.integral(x[0] ** 4 * rho, x), rho, initial=law)
    program = compile_program(problem, pw.Affine(1))
    samples = program.samples(law.sample(7, 0))
    state = program.push(program.map.initial_parameters(law), samples)
    found = program.velocity_jacobian(state, program.integrals(state))
    np.testing.assert_allclose(found, -12 * law.sample(7, 0) ** 2, rtol=1e-12)


def test_without_a_local_part():
    """Entropy alone: its force is a function of the score."""
    program = compile_program(problem_of(R * sp.log(R), sp.S.Zero, 1, LOCAL, {}), pw.Affine(1))
    *_, found = jacobian(program, 3)
    assert not program.jacobian_pattern.any() and not found.any()


def test_without_a_velocity():
    rough = problem_of(sp.Abs(R - sp.Rational(1, 5)) * R, sp.S.Zero, 1, LOCAL, {})
    with pytest.raises(EnergyError, match="first variation jumps"):
        compile_program(rough, pw.Affine(1)).velocity_jacobian(None, None)
