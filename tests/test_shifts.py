"""KL bounds that forget, beside a control problem solved by least squares, and Gaussians."""

import numpy as np
import pytest
import sympy as sp
from paths import Polygon
from scipy.integrate import solve_ivp
from scipy.optimize import nnls
from test_certificate import gaussian_kl, moments_of

import pwgf_sym as pw
from pwgf_sym.exact import ornstein_uhlenbeck, wasserstein_gaussian
from pwgf_sym.solver.bounds import contracted
from pwgf_sym.solver.certificate import bounds_over_time
from pwgf_sym.solver.shifts import shift_cost


def least_cost(start, sizes, step, modulus, parts=8):
    """min int v^2 with u' = -m u + g - v, u >= 0 and u = 0 at the end, v constant in cells."""
    gap, h = np.repeat(sizes, parts), step / parts
    kept = np.exp(-modulus * h)
    weight = h if modulus == 0 else (1 - kept) / modulus
    n = gap.size  # v_k = g_k - (u_(k+1) - kept u_k)/weight, unknowns u_1 to u_(n-1)
    matrix, right = np.zeros((n, n - 1)), gap.copy()
    right[0] += kept * start / weight
    matrix[np.arange(n - 1), np.arange(n - 1)] = 1 / weight
    matrix[np.arange(1, n), np.arange(n - 1)] = -kept / weight
    return h * nnls(matrix, right)[1] ** 2


@pytest.mark.parametrize(
    ("modulus", "start"), [(0.0, 0.0), (2.0, 0.3), (-1.5, 0.2), (3.0, 0.0), (-4.0, 0.0)]
)
def test_the_cost_is_the_least_of_all_controls(modulus, start):
    rng = np.random.default_rng(1)
    for _ in range(3):
        sizes = np.abs(rng.standard_normal(24)) * np.exp(-np.linspace(0, 2, 24))
        found = shift_cost(start, sizes, np.full(24, 1 / 16), modulus)
        assert found == pytest.approx(least_cost(start, sizes, 1 / 16, modulus), rel=0.01)
        if start == 0:
            assert found <= np.sum(sizes**2) / 16 * (1 + 1e-12)


def test_costs_in_closed_form():
    steps = np.full(200, 0.01)
    # A start alone, m = 0: v = u/t.
    assert shift_cost(0.3, np.zeros(200), steps, 0.0) == pytest.approx(0.3**2 / 2)
    # Stationary: int v^2 = 2 |g|^2/m, as the inequality of Bakry and Emery gives it.
    long = shift_cost(0.0, np.ones(4000), np.full(4000, 0.01), 1.0)
    assert long == pytest.approx(2.0, rel=1e-3)
    # A stiff direction, of which nodes see nothing between the last of them and the end.
    assert shift_cost(0.0, np.ones(200), steps, 1e6) == pytest.approx(2e-6, rel=1e-3)
    assert shift_cost(np.inf, np.ones(200), steps, 1.0) == np.inf
    assert shift_cost(0.1, np.zeros(0), np.zeros(0), 1.0) == np.inf
    assert shift_cost(0.0, np.zeros(0), np.zeros(0), 1.0) == 0


def test_contraction_of_a_stiff_direction():
    """Steps of 0.01 with a rate of 1e4: the truth is all younger than the last node."""
    nodes, weights = np.polynomial.legendre.leggauss(3)
    cells = 0.01 * np.arange(100)[:, None]
    times, steps = (cells + 0.005 * (nodes + 1)).ravel(), np.tile(0.005 * weights, 100)
    sizes = 1 + np.sin(3 * times)
    exact = solve_ivp(
        lambda t, y: -1e4 * y + 1 + np.sin(3 * t), (0, 1), [0.0], method="Radau", rtol=1e-9
    ).y[0, -1]
    found = contracted(1e4, 0.0, sizes, 1 - times, steps, 1.0)
    assert exact <= found * (1 + 1e-2) and found < 1.1 * exact


# A turned quadratic whose run is wrong by long steps: everything is Gaussian.


@pytest.fixture(scope="module")
def wrong():
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    stiffness = turn @ np.diag([1.0, 60.0]) @ turn.T
    x = pw.coordinates(2)
    rho = pw.Density(x)
    matrix = sp.Matrix(2, 2, lambda i, j: sp.Float(stiffness[i, j]))
    potential = (sp.Matrix(x).T * matrix * sp.Matrix(x))[0] / 2
    energy = pw.integral(potential * rho + rho * sp.log(rho), x)
    problem = pw.GradientFlow(energy, rho, pw.Gaussian([1, 2], [[0.5, 0.2], [0.2, 1.5]]))
    run = pw.solve(problem, pw.Affine(2), (0, 1), integrator="euler", dt=0.01, samples=1024)
    return stiffness, run


def test_a_turned_quadratic(wrong):
    """Bounds are above closed forms, and near: the stiff direction's gap is forgotten."""
    stiffness, run = wrong
    path, program, times = Polygon(run.t, run.theta), run.program, np.array([0.1, 0.5, 1.0])
    law = program.problem.initial
    means, covs = ornstein_uhlenbeck(stiffness, 1.0, law.mean, law.covariance, times)
    for t, mean, cov, found in zip(times, means, covs, bounds_over_time(path, program, times)):
        own = moments_of(program, path(t))
        w2, kl = wasserstein_gaussian(*own, mean, cov), gaussian_kl(*own, mean, cov)
        assert w2 <= float(found["W2"]) <= 2 * w2
        assert kl <= float(found["KL"]) <= 5 * kl
        assert all(b.status == "proven" and "direction" in b.reason for b in found.values())
