"""Interactions over pairs of samples: radial ones, moments, symmetric halves, against NumPy."""

import numpy as np
import pytest
import sympy as sp
from on_targets import fewer, program_on
from tile_numpy import interpreted

import pwgf_sym as pw
from pwgf_sym.derive.copies import is_symmetric
from pwgf_sym.derive.samples import sample_form
from pwgf_sym.kernels.pairs import pair_parts
from pwgf_sym.targets.program import compile_program

A = sp.Symbol("a", positive=True)


def quartic(r2):
    return r2**2 / 4 - r2 / 2


# Of r2 = |x - y|^2, and by NumPy: W, and W' by r2.
KERNELS = {
    "quartic": (quartic, lambda q: q**2 / 4 - q / 2, lambda q: q / 2 - 0.5),
    "gaussian": (lambda q: sp.exp(-q / 2), lambda q: np.exp(-q / 2), lambda q: -np.exp(-q / 2) / 2),
    "both": (
        lambda q: A * q**2 + sp.exp(-q),
        lambda q: 0.3 * q**2 + np.exp(-q),
        lambda q: 0.6 * q - np.exp(-q),
    ),
    "logarithm": (lambda q: sp.log(q) / 2, lambda q: np.log(q) / 2, lambda q: 0.5 / q),
    "distance": (lambda q: sp.sqrt(q), np.sqrt, lambda q: 0.5 / np.sqrt(q)),
}


def problem(dim, function, parameters=None):
    x = pw.coordinates(dim)
    y = pw.copy_of(x)
    rho = pw.Density(x)
    r2 = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    energy = pw.integral(function(r2) * rho * rho.at(y), x, y) / 2
    initial = pw.Gaussian(mean=np.zeros(dim), cov=1.0)
    used = {A: 0.3} if A in energy.free_symbols else {}
    return pw.GradientFlow(energy, rho, initial=initial, parameters=used)


def truth(points, w, slope):
    """Energy and velocity by differences of all pairs, the sample itself left out."""
    count = len(points)
    gap = points[:, None, :] - points[None, :, :]
    q = np.sum(gap**2, axis=2)
    np.fill_diagonal(q, 1.0)
    value, factor = w(q), slope(q)
    np.fill_diagonal(value, 0.0)
    share = max(count - 1, 1)
    energy = np.sum(value) / (2 * count * share)
    return energy, -np.einsum("nm,nmi->ni", 2 * factor, gap) / share


def check(program, points, w, slope, tolerance):
    samples = program.samples(points)
    theta = program.map.initial_parameters(program.problem.initial)
    state = program.push(theta.astype(program.dtype), samples)
    integrals = program.integrals(state)
    energy, velocity = truth(points, w, slope)
    found = program.unpack(program.velocity(state, integrals), samples)
    scale = np.abs(velocity).max() + 1e-3
    np.testing.assert_allclose(found, velocity, rtol=0, atol=tolerance * scale)
    assert program.energy(integrals) == pytest.approx(energy, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 19])
@pytest.mark.parametrize("dim", [1, 2, 6])
@pytest.mark.parametrize("name", KERNELS)
def test_generated_text(name, dim, count, target, tmp_path):
    function, w, slope = KERNELS[name]
    points = np.random.default_rng(dim + count).standard_normal((count, dim))
    given = problem(dim, function)
    program = program_on(target, given, pw.Affine(dim), tmp_path)
    assert (program.moments is not None) == (name in ("quartic", "both"))
    check(program, points, w, slope, 1e-12)


def test_moments_and_pairs_compiled(target, tmp_path):
    """Far from the origin nothing cancels; the pairs themselves say the same."""
    _, w, slope = KERNELS["quartic"]
    points = np.random.default_rng(3).standard_normal((fewer(60, 300), 3))
    given = problem(3, quartic)
    for moments in (True, False):
        program = compile_program(given, pw.Affine(3), target, folder=tmp_path, moments=moments)
        check(program, points, w, slope, 1e-12)
        check(program, points + 1e4, w, slope, 1e-9)


@pytest.mark.parametrize("dim", [2, 7])
def test_partners_react(dim):
    """A pair of an expensive interaction is computed once, for both."""
    function, w, slope = KERNELS["gaussian"]
    points = np.random.default_rng(dim).standard_normal((333, dim))
    for dtype, tolerance in (("float64", 1e-12), ("float32", 3e-5)):
        program = compile_program(problem(dim, function), pw.Affine(dim), dtype=dtype)
        assert "back" in program.emission.signatures["pair_velocity"]
        check(program, points.astype(dtype), w, slope, tolerance)


def test_not_a_number_stays_visible():
    program = compile_program(problem(2, KERNELS["gaussian"][0]), pw.Affine(2))
    points = np.random.default_rng(0).standard_normal((40, 2))
    samples = program.samples(points)
    samples.z[3] = np.nan
    state = program.push(program.map.initial_parameters(program.problem.initial), samples)
    assert np.isnan(program.integrals(state)).all()
    velocity = program.unpack(program.velocity(state, np.zeros(1)), samples)
    assert np.isnan(velocity).all()  # every sample is its partner


def test_what_is_radial():
    x = pw.coordinates(2)
    y = pw.copy_of(x)
    rho = pw.Density(x)
    r2 = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))

    def parts(w, **options):
        return pair_parts(sample_form(pw.integral(w * rho * rho.at(y), x, y), rho), **options)

    q = parts(r2).distance
    assert parts(r2, moments=False).radial == -4 and parts(r2).radial == 0
    assert parts(sp.exp(-sp.expand(r2))).radial == 4 * sp.exp(-q)
    assert parts(r2**3, moments=False).radial == -12 * q**2 and parts(r2**3).radial == 0
    for w in (x[0] * y[0], (x[0] - y[0]) ** 2, r2 + sp.Rational(1, 10**6) * x[0], r2 * x[1] ** 2):
        assert parts(w, moments=False).radial == 0, w
    mixed = parts(r2**2 + sp.exp(-r2))
    assert mixed.means == [sp.exp(-q)] and set(mixed.moments.integrals) == {0}
    assert is_symmetric(sp.cos(x[0] - y[0]), x, y) and is_symmetric(x[0] * y[0], x, y)
    assert not is_symmetric(x[0] * y[1], x, y)


def test_asymmetric_interactions(tmp_path):
    """W(x, y) = x0 y1 and its mirror image: no half of the pairs is left out."""
    x = pw.coordinates(2)
    y = pw.copy_of(x)
    rho = pw.Density(x)
    energy = pw.integral(x[0] * sp.sin(y[1]) * rho * rho.at(y), x, y)
    given = pw.GradientFlow(energy, rho, initial=pw.Gaussian(mean=[0, 0], cov=1.0))
    program = interpreted(given, pw.Affine(2), tmp_path)
    points = np.random.default_rng(1).standard_normal((11, 2))
    samples = program.samples(points)
    state = program.push(program.map.initial_parameters(given.initial), samples)
    integrals = program.integrals(state)
    others = 1 - np.eye(11)
    expected = points[:, 0] @ others @ np.sin(points[:, 1]) / 110
    assert program.energy(integrals) == pytest.approx(expected, rel=1e-12)
    found = program.unpack(program.velocity(state, integrals), samples)
    first = -(others @ np.sin(points[:, 1])) / 10
    second = -np.cos(points[:, 1]) * (others @ points[:, 0]) / 10
    np.testing.assert_allclose(found, np.stack([first, second], axis=1), rtol=0, atol=1e-13)
