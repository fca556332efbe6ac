"""Restarts: a fresh map takes over from the law reached, and densities stay exact through all."""

import gc
import pickle
import warnings
import weakref
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp
from scipy.stats import norm

import pwgf_sym as pw
from pwgf_sym.errors import (
    AccuracyWarning,
    FoldedMapWarning,
    MapWarning,
    OptionError,
    StoredSolutionError,
)
from pwgf_sym.solver import push, restarts
from pwgf_sym.solver.steppers import Step, Stepper
from pwgf_sym.targets import packing
from pwgf_sym.targets.program import compile_program

SIGMA, MEAN, VARIANCE = 0.5, np.array([1.0, -2.0]), 0.3
X = pw.coordinates(2)
RHO = pw.Density(X)
ENERGY = pw.integral((X[0] ** 2 + X[1] ** 2) / 2 * RHO + SIGMA * RHO * sp.log(RHO), X)
OU = pw.GradientFlow(ENERGY, RHO, initial=pw.Gaussian(MEAN, VARIANCE))
RUN = {"target": "numpy", "restart": "auto", "samples": 128}
CHEAP = {"distance": "W2", "evaluations": 1 << 14}


def moments(t):
    """Mean and variance of the Ornstein-Uhlenbeck flow."""
    return np.exp(-t) * MEAN, np.exp(-2 * t) * VARIANCE + (1 - np.exp(-2 * t)) * SIGMA


def make_eager(patch):
    """Restarts every sixth step, whether they are better or not."""
    patch.setattr(restarts, "_PATIENCE", 6)
    patch.setattr(restarts, "_MATTERS", -1.0)
    patch.setattr(restarts, "_BETTER", np.inf)


@pytest.fixture
def eager(monkeypatch):
    make_eager(monkeypatch)


@pytest.fixture(scope="module")
def restarted():
    with pytest.MonkeyPatch.context() as patch:
        make_eager(patch)
        return pw.solve(OU, pw.Affine(2), (0, 1), **RUN)


@pytest.fixture(scope="module")
def stored(restarted, tmp_path_factory):
    path = tmp_path_factory.mktemp("restarts") / "run.npz"
    restarted.save(path)
    with np.load(path) as file:
        return dict(file)


class Shifted(pw.Map):
    """x + b + 1."""

    def __init__(self, dim):
        self.dim = dim

    def parameters(self):
        return {"b": "i"}

    def initial_parameters(self, law, seed=0):
        return np.zeros(self.dim)

    def step(self, op, p, x):
        return x + p["b"] + 1


def test_the_solution_is_exact_at_any_time_through_all_maps(restarted):
    assert len(restarted.restarts) >= 3
    assert "restarts" in repr(restarted)
    changes = [c["t"] for c in restarted.statistics["changes"] if c["choice"] == "map"]
    times = [restart.t for restart in restarted.restarts]
    assert changes == times
    z, start = np.random.default_rng(3).normal(size=(50, 2)), OU.initial.sample(64, 5)
    for t in (0.0, 0.01, *times, 0.37, 0.81, 1.0):
        mean, variance = moments(t)
        scale = np.sqrt(variance / VARIANCE)
        assert np.abs(restarted.push(z, t) - (mean + scale * (z - MEAN))).max() < 2e-6
        expected = norm.logpdf(z, mean, np.sqrt(variance)).sum(axis=1)
        assert np.abs(restarted.log_density(z, t) - expected).max() < 5e-6
        law = restarted.law(t)
        assert np.abs(law.log_density(z) - expected).max() < 5e-6
        assert np.abs(law.score(z) + (z - mean) / variance).max() < 2e-5
        assert np.array_equal(law.sample(64, 5), restarted.sample(64, t, seed=5))
        assert np.array_equal(restarted.push(start, t), restarted.sample(64, t, seed=5))
        entropy = -np.log(2 * np.pi * np.e * variance)
        energy = variance + mean @ mean / 2 + SIGMA * entropy
        assert abs(restarted.energy_at(t) - energy) < 0.02


def test_rows_events_and_bounds_know_nothing_of_the_restarts(eager):
    seen = []
    event = lambda moment: moment.points.mean(axis=0)[0] - 0.5  # noqa: E731
    run = pw.solve(
        OU, pw.Affine(2), (0, 1), events=event, save_at=[0.0, 0.3, 1.0], callback=seen.append, **RUN
    )
    assert run.restarts and run.status == "completed" and not run.folded
    assert [row.t for row in seen] == [0.0, 0.3, 1.0] == list(run.t)
    assert run.t_events[0] == pytest.approx([np.log(2.0)], abs=5e-3)
    assert np.all(np.diff(run.history.t) > 0) and run.history.t[-1] == 1.0
    assert run.error_estimate < 1e-4
    for t in (run.restarts[0].t / 2, run.restarts[0].t, 0.5, 1.0):
        bound = run.error_bound(t, **CHEAP)
        assert bound.status == "proven" and float(bound) < 1e-4
    diagnosis = run.diagnostics()
    assert abs(diagnosis.log_z - np.log(2 * np.pi * SIGMA)) < 5 * diagnosis.log_z_error < 0.02


def test_a_bound_adds_up_over_the_maps_as_over_one(eager):
    # Long steps, whose errors the bound must hold.
    options = {"tol": 0.05, "integrator": "rk23", "samples": 256, "target": "numpy"}
    run = pw.solve(OU, pw.Affine(2), (0, 1), restart="auto", **options)
    assert run.restarts
    z = np.random.default_rng(3).normal(MEAN, np.sqrt(VARIANCE), size=(4096, 2))
    for t in (0.2, 0.6, 1.0):
        mean, variance = moments(t)
        true = mean + np.sqrt(variance / VARIANCE) * (z - MEAN)
        error = np.sqrt(np.mean(np.sum((run.push(z, t) - true) ** 2, axis=1)))
        assert error <= float(run.error_bound(t, **CHEAP)) < 30 * error + 1e-7


def test_it_is_stored_and_copied_whole(restarted, tmp_path):
    restarted.save(tmp_path / "run.npz")
    z = np.random.default_rng(3).normal(size=(20, 2))
    for other in (pw.load_solution(tmp_path / "run.npz"), pickle.loads(pickle.dumps(restarted))):
        assert [r.t for r in other.restarts] == [r.t for r in restarted.restarts]
        for t in (0.1, restarted.restarts[1].t, 0.9):
            assert np.array_equal(other.push(z, t), restarted.push(z, t))
            assert np.array_equal(other.sample(16, t), restarted.sample(16, t))
            assert np.allclose(other.log_density(z, t), restarted.log_density(z, t), atol=1e-12)
        assert other.error_bound(0.7, **CHEAP) == restarted.error_bound(0.7, **CHEAP)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.pop("restart_mean"),
        lambda file: file.update(restart_t=file["restart_t"][::-1]),
        lambda file: file.update(restart_t=file["restart_t"] + 5),
        lambda file: file.update(restart_theta=file["restart_theta"][:, :-1]),
        lambda file: file.update(restart_covariance=-file["restart_covariance"]),
        lambda file: file.update(path_restarts=file["path_restarts"] + 1),
        lambda file: file.update(path_restarts=file["path_restarts"] * 1.0),
        lambda file: file.update(path_starts=file["path_starts"][:-1]),
        lambda file: file.update(path_starts=file["path_starts"] * np.nan),
        lambda file: [file.pop(name) for name in list(file) if name.startswith("restart_")],
    ],
)
def test_damaged_files_are_refused(stored, tmp_path, damage):
    path, arrays = tmp_path / "run.npz", dict(stored)
    damage(arrays)
    np.savez(path, **arrays)
    with pytest.raises(StoredSolutionError, match=r"restart|start"):
        pw.load_solution(path)


@pytest.mark.parametrize("dense", [True, False])
def test_an_interrupted_run_is_stored_with_restarts_after_its_last_row(eager, tmp_path, dense):
    def stops(moment):
        if moment.t > 0.4:
            raise KeyboardInterrupt
        return 1.0

    run = pw.solve(
        *(OU, pw.Affine(2), (0, 1)),
        **(RUN | {"events": stops, "save_at": [0.0, 0.05, 1.0], "dense_output": dense}),
    )
    assert run.status == "interrupted" and run.restarts[-1].t > run.t[-1] == 0.05
    run.save(tmp_path / "run.npz")
    again = pw.load_solution(tmp_path / "run.npz")
    assert [r.t for r in again.restarts] == [r.t for r in run.restarts]
    z = np.random.default_rng(3).normal(size=(20, 2))
    for t in (0.05, *([0.3] if dense else [])):
        assert np.array_equal(again.push(z, t), run.push(z, t))


class Whitened(pw.Map):
    """C x + b: the identity for laws of covariance 1 alone, as it begins with their covariance."""

    def __init__(self, dim):
        self.dim = dim

    def parameters(self):
        return {"C": "ij", "b": "i"}

    def initial_parameters(self, law, seed=0):
        return np.concatenate([np.ravel(law.covariance), np.zeros(self.dim)])

    def step(self, op, p, x):
        return p["C"] @ x + p["b"]


def test_no_map_takes_over_that_starts_elsewhere(eager):
    # Variances become different, so that the map would move the law where it takes over.
    energy = pw.integral((X[0] ** 2 + 4 * X[1] ** 2) / 2 * RHO, X)
    problem = pw.GradientFlow(energy, RHO, initial=pw.Gaussian(MEAN, VARIANCE))
    run = pw.solve(problem, Whitened(2), (0, 0.3), tol=1e-2, **RUN)
    assert run.restarts == () and run.nsteps > 6
    z = np.random.default_rng(3).normal(size=(50, 2))
    assert np.abs(run.push(z) - z * np.exp([-0.3, -1.2])).max() < 1e-2


def test_a_law_that_is_too_narrow_for_a_restart_ends_no_run(eager, monkeypatch):
    # As in single precision 8,000 spreads from the origin: here 51 of them are too many.
    monkeypatch.setattr(packing, "_COARSEST", 51 * np.finfo(float).eps)
    energy = pw.integral(2 * ((X[0] - 5) ** 2 + (X[1] - 5) ** 2) * RHO, X)
    problem = pw.GradientFlow(energy, RHO, initial=pw.Gaussian([50.0, 50.0], 1.0))
    with pytest.raises(OptionError, match="spreads"):
        pw.solve(problem.beginning_with(pw.Gaussian([52.0, 50.0], 1.0)), pw.Affine(2), (0, 1))
    run = pw.solve(problem, pw.RandomFeatures(2, 4), (0, 0.3), max_step=0.02, **RUN)
    assert run.status == "completed" and run.nsteps > 12


def test_a_map_that_is_tried_in_vain_is_no_part_of_the_run(eager, monkeypatch):
    plain = pw.solve(OU, pw.Affine(2), (0, 1), **RUN | {"restart": None})
    monkeypatch.setattr(restarts, "_BETTER", -1.0)
    missed = lambda linear: linear.__class__(**vars(linear) | {"converged": False})  # noqa: E731
    fresh = restarts.Restarts._fresh

    def tried(self, t, stage, step):
        law, new = fresh(self, t, stage, step)
        return law, replace(new, linear=missed(new.linear))

    monkeypatch.setattr(restarts.Restarts, "_fresh", tried)
    run = pw.solve(OU, pw.Affine(2), (0, 1), **RUN)
    assert run.success and run.nmissed == 0 and not run.restarts
    assert np.array_equal(run.iterations, plain.iterations) and run.nsolves > plain.nsolves


def test_folds_of_maps_before_are_told(eager, monkeypatch):
    energy = pw.integral(X[0] ** 2 * RHO, X)
    problem = pw.GradientFlow(energy, RHO, initial=pw.Gaussian(MEAN, VARIANCE))
    options = RUN | {"tol": 1e-2, "max_step": 0.02}
    monkeypatch.setattr(push, "folded_part", lambda *_: 0.25)
    run = pw.solve(problem, pw.Affine(2), (0, 0.2), **options)
    assert run.restarts and run.folded == 0.25 and "folded" in run.message
    first = run.restarts[0].t
    with pytest.warns(FoldedMapWarning, match="the map is folded"):
        run.log_density(MEAN[None], run.restarts[0].t + 1e-3)
    assert run._folded(first / 2, run._at(first / 2)[1]) == 0


def test_there_is_an_end_to_restarts(eager, monkeypatch):
    monkeypatch.setattr(restarts, "_MOST", 2)
    assert len(pw.solve(OU, pw.Affine(2), (0, 1), **RUN).restarts) == 2


def test_no_map_takes_over_whose_defect_is_infinite(eager, monkeypatch):
    monkeypatch.setattr(restarts.Restarts, "defect", lambda self, stage: np.inf)
    assert pw.solve(OU, pw.Affine(2), (0, 1), **RUN).restarts == ()


class TwoSteps(Stepper):
    """Adams-Bashforth of order 2: it goes on with the slope of the step before."""

    name, order, controlled, error_order = "two steps", 2, True, 1

    def __init__(self):
        self.size, self.before, self.now = 0, None, None

    def fresh(self, tol=None):
        return TwoSteps()

    def step(self, right, t, stage, h):
        theta, slope, (length, last) = stage.theta, stage.eta, self.before or (h, stage.eta)
        after = theta + h * (slope + h / (2 * length) * (slope - last))
        end = right(t + h, after)
        self.now = h, slope, theta
        return Step(after, end, h * (end.eta - slope) / 2, lambda s: s[None], 1)

    def accepted(self, step):
        if self.before:
            # A slope of another map would not be that at the start of the step before.
            seen.append(np.abs(self.now[2] - self.end).max())
        self.before, self.end = self.now[:2], step.theta


seen = []


def test_a_method_of_several_steps_begins_anew(eager):
    seen.clear()
    run = pw.solve(OU, pw.Affine(2), (0, 0.2), steps=TwoSteps(), tol=1e-2, **RUN)
    assert len(run.restarts) >= 2 and max(seen) == 0


def test_samples_are_gone_when_nobody_has_them():
    program = compile_program(OU, pw.Affine(2), target="numpy")
    samples = program.samples(OU.initial.sample(64, 0))
    gone = weakref.ref(samples.starts)
    assert samples.z.size and samples.score.size
    gc.disable()
    try:
        del samples
        assert gone() is None
    finally:
        gc.enable()


def test_a_run_that_does_not_need_them_has_none():
    plain = pw.solve(OU, pw.Affine(2), (0, 1), **RUN | {"restart": None})
    asked = pw.solve(OU, pw.Affine(2), (0, 1), **RUN)
    assert asked.restarts == plain.restarts == ()
    assert np.array_equal(asked.theta, plain.theta)


def test_what_cannot_restart_is_refused():
    with pytest.raises(OptionError, match='"auto"'):
        pw.solve(OU, pw.Affine(2), (0, 1), restart="always", target="numpy")
    with pytest.raises(OptionError, match="fixed steps"):
        pw.solve(OU, pw.Affine(2), (0, 1), restart="auto", dt=0.1, target="numpy")
    with warnings.catch_warnings(), pytest.raises(OptionError, match="moves samples"):
        warnings.simplefilter("ignore", MapWarning)
        pw.solve(OU, Shifted(2), (0, 1), restart="auto", target="numpy")
    angle = pw.coordinates(1, period=2 * sp.pi)
    rho = pw.Density(angle)
    energy = pw.integral(sp.cos(angle[0]) * rho, angle)
    circle = pw.GradientFlow(energy, rho, initial=pw.Gaussian([0.0], 0.1))
    with pytest.raises(OptionError, match="periodic"):
        pw.solve(circle, pw.NeuralFlow(1, 4), (0, 1), restart="auto", target="numpy")


@pytest.mark.slow
def test_random_features_follow_a_stirred_flow_three_times_nearer():
    # Points turn about the origin, the inner ones faster, and sink: w = b(x) - x/10.
    radius = X[0] ** 2 + X[1] ** 2
    turn = 2 * sp.exp(-radius / 4)
    energy = pw.integral(radius / 20 * RHO, X)
    law = pw.Gaussian([1.0, 0.0], 0.25)
    problem = pw.GradientFlow(energy, RHO, initial=law, drift=[-turn * X[1], turn * X[0]])

    def field(t, y):
        p = y.reshape(2, -1)
        return (2 * np.exp(-(p**2).sum(0) / 4) * np.stack([-p[1], p[0]]) - p / 10).ravel()

    z = law.sample(4096, 77)
    path = solve_ivp(field, (0, 4), z.T.ravel(), rtol=1e-8, atol=1e-8)
    true = path.y[:, -1].reshape(2, -1).T
    errors = {}
    for restart in (None, "auto"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AccuracyWarning)
            run = pw.solve(problem, pw.RandomFeatures(2, 128), (0, 4), tol=1e-2, restart=restart)
        errors[restart] = np.sqrt(np.mean(np.sum((run.push(z) - true) ** 2, axis=1)))
    assert run.restarts
    assert errors["auto"] < errors[None] / 3
