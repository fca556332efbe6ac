"""Drifts and mobilities: exact Gaussian flows, other spellings of one flow, what is refused."""

import numpy as np
import pytest
import sympy as sp
from on_targets import program_on
from scipy.linalg import expm, solve_continuous_lyapunov

import pwgf_sym as pw
from pwgf_sym.errors import EnergyError, OptionError, ParameterError
from pwgf_sym.solver.theory import theory_of

X = pw.coordinates(2)
RHO = pw.Density(X)
OMEGA = sp.Symbol("l", positive=True)  # the name that the log density has otherwise
MATRIX = np.array([[1.5, 0.25], [0.25, 0.75]])
START = pw.Gaussian([1.0, -0.5], [[0.5, 0.1], [0.1, 0.3]])


def energy(sigma=0.5):
    quadratic = sum(MATRIX[i, j] * X[i] * X[j] for i in range(2) for j in range(2)) / 2
    return pw.integral(quadratic * RHO + sp.Rational(sigma) * RHO * sp.log(RHO), X)


def turned(omega=2.0, law=START):
    """Ornstein-Uhlenbeck with circulation, and a constant wind."""
    drift = [OMEGA * X[1] + 0.25, -OMEGA * X[0]]
    return pw.GradientFlow(energy(), RHO, law, {OMEGA: omega}, drift=drift)


def moments(t, omega=2.0):
    """Mean and covariance of the exact flow: dX = (-(A - S) X + c) dt + sqrt(2 sigma) dB."""
    rate = -MATRIX + omega * np.array([[0.0, 1.0], [-1.0, 0.0]])
    wind, turn = np.array([0.25, 0.0]), expm(rate * t)
    rest = -np.linalg.solve(rate, wind)
    mean = rest + turn @ (START.mean - rest)
    limit = solve_continuous_lyapunov(rate, -np.eye(2))  # 2 sigma = 1
    return mean, limit + turn @ (START.covariance - limit) @ turn.T


def test_circulation_and_wind_to_the_exact_gaussian():
    solution = pw.solve(turned(), pw.Affine(2), (0, 1.5), tol=1e-6, target="numpy", samples=256)
    z = np.sqrt(2.0) * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])  # mean 0, covariance 1
    points = START.mean + z @ np.linalg.cholesky(START.covariance).T
    found = solution.push(points)
    mean, covariance = moments(1.5)
    assert np.abs(found.mean(axis=0) - mean).max() < 1e-6
    assert np.abs(np.cov(found.T, bias=True) - covariance).max() < 1e-6


def test_the_velocity_on_all_targets(target, tmp_path):
    program = program_on(target, turned(), pw.Affine(2), tmp_path)
    points = np.random.default_rng(0).normal(size=(9, 2))
    score = -np.linalg.solve(START.covariance, (points - START.mean).T).T
    truth = -points @ MATRIX - 0.5 * score
    truth += 2.0 * np.stack([points[:, 1], -points[:, 0]], axis=1) + [0.25, 0.0]
    np.testing.assert_allclose(program.velocity_at(points), truth, rtol=0, atol=1e-13)


def test_a_mobility_is_another_energy(target, tmp_path):
    """div(rho^2 grad rho): of int rho^3/6, and of int rho^2/2 with the mobility rho^2."""
    law = pw.Barenblatt(2, m=3, t0=0.5)
    plain = pw.GradientFlow(pw.integral(RHO**3 / 6, X), RHO, law)
    other = pw.GradientFlow(pw.integral(RHO**2 / 2, X), RHO, law, mobility=RHO**2)
    points = law.sample(7, seed=1)
    found = [
        program_on(target, problem, pw.Affine(2), tmp_path).velocity_at(points)
        for problem in (plain, other)
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


def test_mobility_and_drift_together(tmp_path):
    """w = -(1 - rho) rho grad(dE/drho)/rho + b, the second derivative of E by hand."""
    drift = [sp.sin(X[1]), X[0] ** 2]
    flow = pw.GradientFlow(
        pw.integral(RHO * sp.log(RHO), X), RHO, START, drift=drift, mobility=RHO * (1 - RHO)
    )
    points = np.random.default_rng(0).normal(size=(5, 2))
    density = np.exp(START.log_density(points))[:, None]
    truth = -(1 - density) * START.score(points)
    truth += np.stack([np.sin(points[:, 1]), points[:, 0] ** 2], axis=1)
    program = pw.compile(flow, pw.Affine(2), target="numpy")
    np.testing.assert_allclose(program.velocity_at(points), truth, rtol=0, atol=1e-13)


def test_bounds_hold_with_a_drift():
    """W2 at most the bound; a drift that pulls apart takes its part of lambda."""
    modulus = theory_of(turned()).modulus
    assert modulus.value == pytest.approx(np.linalg.eigvalsh(MATRIX)[0], rel=1e-9)
    apart = pw.GradientFlow(energy(), RHO, START, drift=[X[0] / 2, sp.Integer(0)])
    pulled = MATRIX - np.diag([0.5, 0.0])
    assert theory_of(apart).modulus.value == pytest.approx(np.linalg.eigvalsh(pulled)[0], rel=1e-9)
    bent = pw.GradientFlow(energy(), RHO, START, drift=[X[1] ** 2, sp.Integer(0)])
    assert not theory_of(bent).modulus.holds
    options = {"integrator": "euler", "dt": 0.1, "target": "numpy", "samples": 256}
    solution = pw.solve(turned(), pw.Affine(2), (0, 1.0), **options)
    mean, covariance = moments(1.0)
    z = np.sqrt(2.0) * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    found = solution.push(START.mean + z @ np.linalg.cholesky(START.covariance).T)
    truth = pw.exact.wasserstein_gaussian(
        found.mean(axis=0), np.cov(found.T, bias=True), mean, covariance
    )
    assert truth > 1e-3
    for distance in ("W2", "KL"):
        bound = solution.error_bound(t=1.0, distance=distance)
        assert distance == "KL" or truth <= float(bound) < 20 * truth
    with pytest.raises(OptionError, match="a drift or a mobility"):
        solution.diagnostics(t=1.0)


def test_files_and_pickles_keep_drift_and_mobility(tmp_path):
    import pickle

    flow = pw.GradientFlow(
        energy(), RHO, START, {OMEGA: 2.0}, drift=[OMEGA, X[0]], mobility=RHO / (1 + RHO)
    )
    options = {"integrator": "euler", "dt": 0.01, "target": "numpy", "samples": 64}
    solution = pw.solve(flow, pw.Affine(2), (0, 0.02), **options)
    solution.save(tmp_path / "run.npz")
    loaded = pw.load_solution(tmp_path / "run.npz")
    again = pickle.loads(pickle.dumps(flow))
    assert loaded.problem.transport == again.transport == flow.transport
    assert "drift" in repr(flow) and "mobility" in solution.program.code_symbolic()


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"drift": [X[0]]}, EnergyError, "^drift: got 1 formulas; accepted: 2 formulas"),
        ({"drift": X[0]}, EnergyError, "^drift: got x0"),
        ({"drift": "x0"}, EnergyError, "^drift: got 'x0'"),
        ({"drift": [RHO, X[0]]}, EnergyError, "^drift: .*belongs into the energy"),
        ({"drift": [OMEGA, X[0]]}, ParameterError, "^l: got no value"),
        ({"mobility": X[0] * RHO}, EnergyError, "^mobility: .*x0"),
        ({"mobility": RHO.diff(X[0])}, EnergyError, "^mobility: "),
    ],
)
def test_what_is_no_drift_and_no_mobility(given, error, match):
    with pytest.raises(error, match=match):
        pw.GradientFlow(energy(), RHO, START, **given)


def test_no_energy_form_with_a_drift():
    with pytest.raises(OptionError, match=r"^formulation: .*velocity"):
        pw.solve(turned(), pw.Affine(2), (0, 1), formulation="energy", target="numpy")
    with pytest.raises(OptionError, match=r"^problem: got a problem with a drift"):
        pw.equilibrium(turned(), pw.Affine(2))
    y = pw.copy_of(X)
    pair = pw.integral(RHO * RHO.at(y) * (X[0] - y[0]) ** 2, X, y)
    flow = pw.GradientFlow(pair, RHO, START, mobility=RHO**2)
    with pytest.raises(EnergyError, match=r"^mobility: .*interaction"):
        pw.compile(flow, pw.Affine(2), target="numpy")
