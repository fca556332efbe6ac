"""Flows of the affine stand-in program: exact answers, guards, refusals."""

import numpy as np
import pytest
from fake_program import (
    CENTER,
    COV,
    ENTROPY,
    MEAN,
    STIFFNESS,
    AffineProgram,
    AffineState,
    exact_moments,
    fake_compiler,
    moments,
    problem,
    quadratic_problem,
    run,
)

from pwgf_sym.declare.laws import Gaussian, UniformBox
from pwgf_sym.declare.maps import Affine
from pwgf_sym.errors import FlowError, LawError, OptionError, ToleranceWarning
from pwgf_sym.solver.flow import solve
from pwgf_sym.solver.grid import time_grid

compiled = pytest.fixture(fake_compiler)


# The flow.


@pytest.mark.parametrize("linear_solver", ["lsmr", "cg", "minres", "dense"])
def test_gaussian_flow_is_exact_up_to_the_time_step(compiled, linear_solver):
    solution = run(linear_solver=linear_solver, dt=0.01, tolerance=1e-11, save_at=[0.25, 0.5])
    for t in (0.25, 0.5):
        mean, cov = exact_moments(t, MEAN, COV, STIFFNESS, CENTER, ENTROPY)
        np.testing.assert_allclose(moments(solution, t)[0], mean, atol=1e-8)
        np.testing.assert_allclose(moments(solution, t)[1], cov, atol=1e-8)
    assert solution.converged.all() and solution.residual.max() <= 1e-11
    assert solution.defect.max() < 1e-9  # the velocity is affine: the map represents it


@pytest.mark.parametrize(("integrator", "order"), [("euler", 1), ("heun", 2), ("rk4", 4)])
def test_time_error_has_the_order_of_the_integrator(compiled, integrator, order):
    mean, _ = exact_moments(0.8, MEAN, COV, STIFFNESS, CENTER, ENTROPY)
    steps = np.array([4, 8, 16, 32])
    errors = []
    for n in steps:
        options = {"integrator": integrator, "dt": 0.8 / n, "save_at": [0.8]}
        solution = run((0.0, 0.8), linear_solver="dense", **options)
        errors.append(np.linalg.norm(moments(solution)[0] - mean))
    assert -np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(order, abs=0.25)


def test_energy_and_dissipation_are_those_of_the_exact_flow(compiled):
    solution = run(samples=4096, dt=0.01, tolerance=1e-10)
    mean, cov = exact_moments(0.5, MEAN, COV, STIFFNESS, CENTER, ENTROPY)
    offset = mean - CENTER
    energy = (offset @ STIFFNESS @ offset + np.trace(STIFFNESS @ cov)) / 2
    energy -= ENTROPY * (np.log(np.linalg.det(cov)) / 2 + 1 + np.log(2 * np.pi))
    assert solution.energy[-1] == pytest.approx(energy, abs=5e-3)
    # E|w|^2 for w(x) = -K (x - m) + eps cov^-1 (x - mean)
    slope = -STIFFNESS + ENTROPY * np.linalg.inv(cov)
    drift = -STIFFNESS @ offset
    rate = drift @ drift + np.trace(slope @ cov @ slope.T)
    assert solution.dissipation[-1] == pytest.approx(rate, rel=5e-3)
    # and -dE/dt by central differences of the recorded energies
    differences = -(solution.energy[2:] - solution.energy[:-2]) / 0.02
    np.testing.assert_allclose(solution.dissipation[1:-1], differences, rtol=2e-2)


def test_energy_form_follows_the_sample_energy(compiled):
    solution = run(samples=4096, dt=0.01, formulation="energy", linear_solver="cg", tolerance=1e-9)
    differences = -(solution.energy[2:] - solution.energy[:-2]) / 0.02
    np.testing.assert_allclose(solution.dissipation[1:-1], differences, rtol=6e-4)
    mean, _ = exact_moments(0.5, MEAN, COV, STIFFNESS, CENTER, ENTROPY)
    np.testing.assert_allclose(moments(solution)[0], mean, atol=2e-2)
    assert 1e-5 < solution.defect[-1] < 0.05  # the sampling noise of the energy's gradient


def test_defect_is_measured_on_samples_that_the_flow_does_not_use(compiled):
    """With as many samples as unknowns the fit is exact on them and only on them."""
    problem_, map_ = quadratic_problem(UniformBox([0, 0], [1, 1]), STIFFNESS, CENTER, ENTROPY)
    solution = solve(problem_, map_, (0, 0.01), dt=0.01, samples=3, fresh_samples=512)
    assert solution.defect.shape == (2,)
    program = compiled[0]
    rng = np.random.default_rng(0)
    fresh = program.samples(rng.random((4096, 2)))
    state = program.push(solution.theta[0], fresh, "score")
    w = fresh.unpack(program.velocity(state))
    speed = np.sqrt(np.mean(np.sum(w**2, axis=1)))
    expected = solution.defect[0] / solution.relative_defect[0]
    assert expected == pytest.approx(speed, rel=0.02)


def test_stored_times_are_hit_exactly(compiled):
    solution = run((0.1, 0.5), dt=0.15)
    np.testing.assert_allclose(solution.t, [0.1, 0.25, 0.4, 0.5], rtol=1e-15)
    assert solution.t[-1] == 0.5
    saved = run((0.1, 0.5), dt=0.15, save_at=[0.2, 0.3, 0.45])
    assert list(saved.t) == [0.2, 0.3, 0.45]
    again = run((0.1, 0.5), dt=0.15, save_at=[0.1, 0.5])
    assert np.array_equal(again.theta, solution.theta[[0, -1]])
    lengths = {len(getattr(saved, name)) for name in ("theta", "energy", "defect", "converged")}
    assert lengths == {3}


@pytest.mark.parametrize(
    ("t_span", "dt", "save_at", "expected"),
    [
        ((0, 1), 0.25, None, [0, 0.25, 0.5, 0.75, 1]),
        ((0, 1), 0.3, None, [0, 0.3, 0.6, 0.9, 1]),
        ((0, 0.3), 0.1, None, [0, 0.1, 0.2, 0.3]),  # 0.3 / 0.1 = 2.9999999999999996
        ((0, 2.1), 0.7, None, [0, 0.7, 1.4, 2.1]),  # 2.1 / 0.7 = 3.0000000000000004
        ((0, 1), 5.0, None, [0, 1]),
        ((0, 1), 0.4, [0, 0.5], [0, 0.4, 0.5]),
        ((0, 1), 0.4, [0.5, 1], [0, 0.4, 0.5, 0.9, 1]),
    ],
)
def test_time_grid(t_span, dt, save_at, expected):
    times, stored = time_grid(t_span, dt, save_at)
    np.testing.assert_allclose(times, expected, rtol=1e-14)
    assert times[-1] == expected[-1]
    if save_at is None:
        assert stored.all()
    else:
        assert list(times[stored]) == save_at


def test_linear_statistics_cover_the_steps_between_stored_times(compiled):
    iterated = {"integrator": "heun", "tolerance": 1e-9, "linear_solver": "lsmr"}
    every, ends = run(**iterated), run(**iterated, save_at=[0.0, 0.5])
    assert ends.iterations[1] == every.iterations[1:].sum()
    assert ends.residual[1] == every.residual[1:].max()
    few = {"linear_solver": "lsmr", "max_iterations": 1, "energy_check": False}
    with pytest.warns(ToleranceWarning, match="41 of 41 linear solves missed"):
        short = run(**few, save_at=[0.0, 0.5])
    assert not short.converged.any() and short.residual.max() > 1e-3
    assert "tolerance missed in 2 rows" in repr(short)


def test_equal_runs_are_bitwise_equal_and_seeds_matter(compiled):
    first, second, other = run(seed=4), run(seed=4), run(seed=5)
    for name in ("theta", "energy", "dissipation", "defect", "residual", "iterations"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert not np.array_equal(first.energy, other.energy)


def test_resampling_draws_new_samples_each_step(compiled):
    fixed, fresh, again = run(), run(resample=True), run(resample=True)
    assert np.array_equal(fixed.theta[0], fresh.theta[0]) and fixed.energy[0] == fresh.energy[0]
    assert np.array_equal(fresh.energy, again.energy)
    assert abs(fresh.energy[1] - fixed.energy[1]) > 1e-6
    mean, _ = exact_moments(0.5, MEAN, COV, STIFFNESS, CENTER, ENTROPY)
    np.testing.assert_allclose(moments(fresh)[0], mean, atol=1e-3)


def test_float32_kernels_with_float64_parameters(compiled):
    single, double = run(dtype="float32", tolerance=None), run(tolerance=None)
    assert compiled[0].dtype == np.float32 and single.theta.dtype == np.float64
    np.testing.assert_allclose(single.theta, double.theta, atol=2e-3)
    assert single.sample(5).dtype == np.float64
    assert single.options["tolerance"] > double.options["tolerance"]


def test_start_parameters_can_be_given(compiled):
    theta0 = np.array([1.1, 0.2, 0.0, 0.9, -1.0, 1.0])
    assert np.array_equal(run(theta0=theta0).theta[0], theta0)


# Guards.


def test_unstable_step_is_stopped_by_the_energy(compiled):
    with pytest.raises(
        FlowError, match=r"energy .* before the step .* after.*smaller dt"
    ) as raised:
        run((0.0, 60.0), dt=1.5, integrator="euler")
    error = raised.value
    assert error.step == 0 and error.time == 0
    assert error.solution.status == "failed" and error.solution.t[-1] == error.time
    assert run((0.0, 6.0), dt=1.5, integrator="euler", energy_check=False).t.size == 5


def test_slow_instability_is_stopped_too(compiled):
    """dt = 1 is just above 2 over the largest eigenvalue of K, from close to the equilibrium."""
    law = Gaussian(CENTER + 1e-3, ENTROPY * np.linalg.inv(STIFFNESS))
    problem_, map_ = quadratic_problem(law, STIFFNESS, CENTER, ENTROPY)
    with pytest.raises(FlowError, match="before the step") as raised:
        solve(problem_, map_, (0, 100), dt=1.0, integrator="euler", samples=128)
    assert raised.value.step > 5 and raised.value.time == raised.value.step


@pytest.mark.parametrize("resample", [False, True])
def test_stationary_samples_do_not_trip_the_energy_check(compiled, resample):
    limit = ENTROPY * np.linalg.inv(STIFFNESS)
    problem_, map_ = quadratic_problem(Gaussian(CENTER, limit), STIFFNESS, CENTER, ENTROPY)
    options = {"samples": 16, "sampling": "random", "resample": resample, "dt": 0.05}
    solution = solve(problem_, map_, (0, 5), **options)
    assert solution.status == "completed" and solution.defect.max() < 1e-6


@pytest.mark.parametrize(
    ("kernel", "bad", "term", "sample", "words"),
    [
        ("push", "x", None, 5, "position x"),
        ("push", "log_density", None, 5, "log density"),
        ("velocity", None, None, 5, "target velocity"),
        ("integrals", None, "entropy", None, "finite energy"),
        ("jvp", None, None, None, "direction eta"),
    ],
)
def test_numbers_that_are_not_finite_stop_the_run(
    compiled, monkeypatch, kernel, bad, term, sample, words
):
    """From time 0.1 on, sample 5 goes wrong in one kernel; step, time and sample are named."""
    kernels = {"count": 0}
    original = getattr(AffineProgram, kernel)

    def spoil(self, first, *rest, **options):
        result = original(self, first, *rest, **options)
        samples = first.samples if isinstance(first, AffineState) else rest[0]
        if samples.count != 128:
            return result
        kernels["count"] += 1
        if kernels["count"] < kernels["from"]:
            return result
        if bad is not None:
            width = 2 if bad == "x" else 1
            values = getattr(result, bad).reshape(-1, width, 8)
            values[0, :, 5] = np.inf
        elif kernel == "velocity":
            result.reshape(-1, 2, 8)[0, 1, 5] = np.nan
        elif kernel == "integrals":
            result[1] = np.inf
        else:
            result[:] = np.nan
        return result

    # Count the calls up to the second step, then spoil from the third on.
    kernels["from"] = np.inf
    monkeypatch.setattr(AffineProgram, kernel, spoil)
    run((0.0, 0.1), integrator="euler")
    kernels["from"], kernels["count"] = kernels["count"] + 1, 0
    with np.errstate(invalid="ignore"), pytest.raises(FlowError, match=words) as raised:
        run((0.0, 0.5), integrator="euler", max_iterations=5)
    error = raised.value
    assert error.term == term and error.sample == sample
    assert error.step in (1, 2) and error.time == pytest.approx(0.05 * error.step)
    assert error.fix and len(error.solution.t) >= 2


def test_initial_data_that_is_not_finite_is_refused_before_any_step(compiled, monkeypatch):
    monkeypatch.setattr(Gaussian, "_transform", lambda self, u: np.where(u > 0.99, np.nan, u))
    with pytest.raises(LawError, match=r"sample \d+ = \[.*nan"):
        run()
    assert not compiled


def test_interruption_returns_the_rows_so_far(compiled):
    def stop(row):
        if row.t > 0.17:
            raise KeyboardInterrupt

    solution = run(callback=stop)
    assert solution.status == "interrupted" and "t = " in solution.message
    whole = run()
    assert np.array_equal(solution.theta, whole.theta[: len(solution.t)]) and len(solution.t) == 5
    assert "interrupted" in repr(solution)


def test_interruption_before_the_first_row_is_passed_on(compiled, monkeypatch):
    def push(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(AffineProgram, "push", push)
    with pytest.raises(KeyboardInterrupt):
        run()


def test_callback_stops_the_run(compiled):
    rows = []
    solution = run(callback=lambda row: rows.append(row) or row.t >= 0.2)
    assert solution.status == "stopped" and solution.t[-1] == pytest.approx(0.2)
    assert [row.t for row in rows] == list(solution.t)


def test_nothing_is_printed_unless_asked(compiled, capfd):
    run()
    assert capfd.readouterr() == ("", "")
    run(progress=True)
    out, err = capfd.readouterr()
    assert out == "" and "energy" in err and "residual" in err and "10/10" in err


# Refusals.


@pytest.mark.parametrize(
    ("argument", "given", "words"),
    [
        ("samples", 0, "at least 1"),
        ("samples", 10.5, "integer"),
        ("sampling", "halton", "sobol"),
        ("seed", -1, "at least 0"),
        ("resample", "yes", "True or False"),
        ("formulation", "weak", "velocity"),
        ("integrator", "adaptive", "rk45"),
        ("integrator", "RK45", "rk45"),
        ("max_step", -1.0, "above 0"),
        ("max_samples", 0, "least 1"),
        ("events", 3, "functions"),
        ("events", [3], "functions"),
        ("dt", 0.0, "above 0"),
        ("dt", np.inf, "finite"),
        ("dt", "small", "finite"),
        ("linear_solver", "gmres", "lsmr"),
        ("target", "tpu", "cpu"),
        ("dtype", "float16", "float32"),
        ("dtype", np.float32, '"float32"'),
        ("progress", 2, "True or False"),
        ("save_at", [], "non-empty"),
        ("save_at", [0.2, 0.1], "increasing"),
        ("save_at", [0.2, 0.7], "within"),
        ("save_at", [0.2, np.nan], "increasing"),
        ("save_at", "end", "sequence"),
        ("t_span", (0.5, 0.5), "start < end"),
        ("t_span", (0.0, np.inf), "finite"),
        ("t_span", 2.0, "pair"),
        ("t_span", (0.0, 1.0, 2.0), "pair"),
        ("tolerance", 0.0, "above 0"),
        ("max_iterations", 0, "at least 1"),
        ("shift", -1.0, "at least 0"),
        ("cutoff", 1.0, "below 1"),
        ("theta0", np.zeros(5), "shape"),
        ("theta0", np.full(6, np.nan), "finite"),
        ("theta0", "zero", "6 numbers"),
        ("fresh_samples", 0, "at least 1"),
        ("energy_check", None, "True or False"),
        ("callback", "print", "function"),
        ("tol", 0.0, "above 0"),
        ("tol", 1e-3, "no tolerance"),
        ("max_step", 0.1, "no tolerance"),
    ],
)
def test_options_are_refused_by_name_before_compiling(compiled, argument, given, words):
    with pytest.raises(OptionError, match=words) as raised:
        run(**{argument: given})
    assert raised.value.argument == argument
    assert not compiled


def test_problem_and_map_are_checked(compiled):
    problem_, map_ = problem()
    for arguments, name in (
        ((problem_.energy, map_), "problem"),
        ((problem_, "affine"), "map"),
        ((problem_, Affine(3)), "map"),
    ):
        with pytest.raises(OptionError) as raised:
            solve(*arguments, (0, 1))
        assert raised.value.argument == name
    with pytest.raises(TypeError, match="step_size"):
        solve(problem_, map_, (0, 1), step_size=0.1)
    assert not compiled
