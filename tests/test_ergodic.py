"""Constants of inequalities that hold for all densities, tried on densities."""

from functools import lru_cache

import numpy as np
import pytest
import sympy as sp
from scipy.linalg import eigh_tridiagonal

import pwgf_sym as pw
from pwgf_sym.derive.ergodic import log_sobolev, reflection_coupling
from pwgf_sym.derive.structure import energy_structure
from pwgf_sym.exact import fokker_planck_1d

X = pw.coordinates(1)
A = X[0]
WELL = (A**2 - 1) ** 2
WELLS = [(WELL, 1), (WELL, 0.5), (A**4 / 4, 1), (WELL + A / 2, 1), ((A - 1) ** 6 / 6 - A**2, 1)]


def structure(potential, sigma=1, x=X):
    rho = pw.Density(x)
    energy = pw.integral(potential * rho + sigma * rho * sp.log(rho), x)
    return energy_structure(energy, rho).with_values({})


@lru_cache
def coupling_of(potential, sigma=1):
    (coupling,) = reflection_coupling(structure(potential, sigma))
    return coupling


def numbers(potential):
    return sp.lambdify(A, potential, "numpy")


def spectral_gap(potential, sigma, size=6.0, n=2000):
    """Of L f = sigma f'' - V' f' by symmetric finite volumes, over sigma: Var <= I/gap."""
    x = np.linspace(-size, size, n + 1)
    middle = (x[1:] + x[:-1]) / 2
    v = numbers(potential)(middle) / sigma
    v -= v.min()
    keep = v < 60
    v, h = v[keep], x[1] - x[0]
    flow = np.exp(-(v[1:] + v[:-1]) / 2)
    weight = np.exp(-v)
    diagonal = (np.append(flow, 0) + np.append(0, flow)) / weight / h**2
    off = -flow / np.sqrt(weight[1:] * weight[:-1]) / h**2
    return eigh_tridiagonal(diagonal, off, select="i", select_range=(0, 1))[0][1]


@pytest.mark.parametrize(("potential", "sigma"), WELLS, ids=str)
def test_log_sobolev_constants_are_below_the_spectral_gap(potential, sigma):
    found = log_sobolev(structure(potential, sigma))
    assert found.status == "proven" and found.value > 0
    assert found.value <= spectral_gap(potential, sigma) <= 40 * found.value


@pytest.mark.parametrize(("potential", "sigma"), WELLS, ids=str)
def test_the_inequality_holds(potential, sigma):
    """KL <= I/(2 kappa) for translates, tilts and mixtures, by quadrature."""
    kappa = log_sobolev(structure(potential, sigma)).value
    x = np.linspace(-4, 5, 9001)
    h = x[1] - x[0]
    log_pi = -numbers(potential)(x) / sigma
    log_pi -= np.log(np.exp(log_pi).sum() * h)
    for shape in (0.3 * x, np.tanh(3 * x), -np.cos(2 * x), -(x**2), -2 * (x - 1) ** 2):
        ratio = shape - np.log(np.sum(np.exp(log_pi + shape)) * h)
        p = np.exp(log_pi + ratio)
        information = np.sum(p * np.gradient(ratio, h) ** 2) * h
        assert np.sum(p * ratio) * h <= information / (2 * kappa)


def test_a_gaussian_has_its_own_constant():
    assert log_sobolev(structure(3 * A**2 / 2, sp.Rational(1, 2))).value == pytest.approx(6)


def test_holley_and_stroock_by_hand():
    """For (x^2 - 1)^2: kappa = max over m of m exp(-(1 + m/4)^2), at m = sqrt(12) - 2."""
    m = np.sqrt(12) - 2
    expected = m * np.exp(-((1 + m / 4) ** 2))
    assert log_sobolev(structure(WELL)).value == pytest.approx(expected, rel=1e-6)


def test_sums_have_the_least_constant_and_others_none():
    x = pw.coordinates(2)
    both = structure(WELL.subs(A, x[0]) + x[1] ** 2 / 20, 1, x)
    assert log_sobolev(both).value == pytest.approx(0.1)
    mixed = structure((x[0] ** 2 - 1) ** 2 + x[0] * x[1] + x[1] ** 2 / 20, 1, x)
    assert not log_sobolev(mixed).holds


# Reflection coupling.


def w1(x, density, other):
    h = x[1] - x[0]
    return np.abs(np.cumsum(density - other)).sum() * h * h


@pytest.mark.parametrize(("potential", "sigma"), WELLS[:4], ids=str)
def test_two_solutions_contract_as_promised(potential, sigma):
    coupling = coupling_of(potential, sigma)
    times = np.array([0.05, 0.3, 1.0, 3.0])
    solutions = []
    for mean in (-1.5, 1.0):

        def start(x, mean=mean):
            return np.exp(-((x - mean) ** 2) / 0.08) / np.sqrt(0.08 * np.pi)

        x, density, _ = fokker_planck_1d(
            numbers(potential), sigma, start, times, -5, 5, 800, tol=1e-6
        )
        solutions.append(density)
    for t, a, b in zip(times, *solutions):
        bounds = coupling.factors * np.exp(-coupling.rates * t) * 2.5
        assert w1(x, a, b) <= bounds.min()


@pytest.mark.parametrize(("potential", "sigma"), WELLS[:4], ids=str)
def test_a_constant_force_moves_the_equilibrium_as_promised(potential, sigma):
    coupling = coupling_of(potential, sigma)
    x = np.linspace(-5, 5, 20001)
    laws = []
    for force in (0.0, 0.05):
        density = np.exp(-(numbers(potential)(x) - force * x) / sigma)
        laws.append(density / density.sum() / (x[1] - x[0]))
    moved = w1(x, *laws)
    assert moved <= 0.05 * coupling.total
    assert coupling.total < 100


def test_the_constants_of_the_double_well():
    """c = 0.321 and C/c = 11.9 by the f of Eberle's theorem; ours solves the equation itself."""
    coupling = coupling_of(WELL)
    order = np.argsort(coupling.rates)
    factor = np.interp(0.321, coupling.rates[order], coupling.factors[order])
    assert 0.95 * 11.9 <= factor / 0.321 <= 11.9
    assert coupling.total < 11.9


def test_a_convex_potential_couples_as_its_modulus():
    (coupling,) = reflection_coupling(structure(A**2))
    assert coupling.total == pytest.approx(0.5) and coupling.rates.max() >= 2
    assert coupling.factors.min() == 1


@pytest.mark.parametrize("potential", [-(A**2), A**3, sp.cos(A), A], ids=str)
def test_what_does_not_confine_has_no_coupling(potential):
    assert isinstance(reflection_coupling(structure(potential)), str)
