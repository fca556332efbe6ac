"""Steps that follow a tolerance, on the affine stand-in program whose flow is known."""

import copy
import pickle

import numpy as np
import pytest
import sympy as sp
from fake_program import (
    CENTER,
    COV,
    ENTROPY,
    MEAN,
    STIFFNESS,
    AffineProgram,
    exact_moments,
    fake_compiler,
    moments,
    quadratic_problem,
    run,
)

import pwgf_sym as pw
from pwgf_sym.declare.laws import Gaussian
from pwgf_sym.declare.maps import Affine, NeuralFlow
from pwgf_sym.errors import AccuracyWarning, FlowError, OptionError
from pwgf_sym.solver.flow import solve
from pwgf_sym.solver.options import FlowOptions

compiled = pytest.fixture(fake_compiler)


def adaptive(t_span=(0.0, 0.5), **options):
    return run(t_span, **{"dt": None, "samples": None, "tolerance": None, "tol": 1e-3} | options)


def map_error(solution, t=None):
    """W2 distance of the found Gaussian from the exact one, over the spread of the exact one."""
    t = solution.t[-1] if t is None else t
    mean, cov = exact_moments(t, MEAN, COV, STIFFNESS, CENTER, ENTROPY)
    found = moments(solution, t)
    distance = pw.exact.wasserstein_gaussian(mean, cov, *found)
    return distance / np.sqrt(np.trace(cov))


@pytest.mark.parametrize("integrator", ["auto", "rk23", "rk45", "rkc"])
def test_the_error_follows_the_tolerance(compiled, integrator):
    steps = []
    tolerances = (1e-2, 1e-3, 1e-4, 1e-5)[: 3 if integrator == "rkc" else 4]  # of second order
    for tol in tolerances:
        solution = adaptive((0.0, 1.0), tol=tol, integrator=integrator)
        assert map_error(solution) < tol
        steps.append(solution.nsteps)
    assert all(a <= b for a, b in zip(steps, steps[1:])) and steps[0] < steps[-1]


def test_options_that_nothing_is_said_of(compiled):
    assert map_error(adaptive(tol=None)) < 1e-7  # an affine map: short steps cost nothing
    solution = adaptive()
    options = solution.options
    assert (
        options["tol"] == options["step_tol"] == 1e-3
        and options["dt"] is None
        and options["resample"]
    )
    assert set(options["chosen"]) == {"samples", "resample"}  # the shift was given
    assert map_error(solution) < 1e-3 and solution.success
    history = solution.history
    assert np.all(history.error[1:] <= 0.1e-3) and np.all(history.error[1:] > 0)
    np.testing.assert_allclose(np.cumsum(history.step), history.t, atol=1e-14)
    assert solution.nrejected >= 0 and f"{solution.nsteps} steps" in repr(solution)
    flow = FlowOptions().for_map(NeuralFlow(2, 8, 2), 84)
    weak = FlowOptions(formulation="energy").for_map(NeuralFlow(2, 8, 2), 84)
    assert flow.linear.shift == pytest.approx(1e-7) and weak.linear.shift == pytest.approx(1e-4)
    assert FlowOptions().for_map(Affine(17), 306).linear.method == "dense"
    assert FlowOptions().for_map(Affine(25), 650).linear.method == "lsmr"
    assert FlowOptions().for_map(NeuralFlow(25, 8, 2), 1268).linear.method == "minres"
    fixed = run(dt=0.05)
    assert fixed.options["integrator"] == "rk4" and fixed.options["tol"] is None


def test_an_affine_map_is_followed_no_closer_than_it_can_follow():
    """In a quartic it misses a tenth of the spread: steps follow a hundredth of that, not 1e-7."""
    x = pw.coordinates(1)
    rho = pw.Density(x)
    energy = pw.integral(x[0] ** 4 / 4 * rho + rho * sp.log(rho), x)
    problem = pw.GradientFlow(energy, rho, Gaussian([1.0], 0.8))
    with pytest.warns(AccuracyWarning):
        solution = solve(problem, pw.Affine(1), (0, 1), target="numpy", samples=256)
    largest = solution.history.error.max()
    assert 1e-6 < largest < 0.1 * 0.01 * 2 * solution.error_estimate and solution.nsteps < 200


def test_where_samples_of_the_tails_are_taken(compiled):
    """Nowhere else than where the docstring says so; in the energy form weights must be equal."""
    from pwgf_sym.solver import right_side

    taken = []

    class Watched(right_side.RightSide):
        def __init__(self, *given):
            super().__init__(*given)
            shares = self.samples.unpack_scalar(self.samples.weight)
            assert shares.sum() == pytest.approx(1)
            taken.append((self.tails, len(set(shares)) > 1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pwgf_sym.solver.flow.RightSide", Watched)
        adaptive()
        for options in ({"tails": False}, {"formulation": "energy"}, {"dt": 0.05, "tol": None}):
            adaptive(**options)
    assert taken == [(True, True)] + [(False, False)] * 3


def test_steps_end_at_stored_times_and_are_no_longer_than_allowed(compiled):
    times = [0.1, 0.1234, 0.5]
    solution = adaptive(save_at=times, max_step=0.03)
    assert list(solution.t) == times and solution.history.step.max() <= 0.03 + 1e-15
    assert set(times) <= set(solution.history.t)
    free = adaptive(save_at=times)
    assert free.history.step.max() > 0.03
    for t in (0.05, 0.1234, 0.3):
        assert map_error(free, t) < 1e-3


def test_the_dense_output_follows_the_tolerance(compiled):
    for integrator in ("rk23", "rk45", "rkc"):
        solution = adaptive((0.0, 1.0), tol=1e-4, integrator=integrator)
        errors = [map_error(solution, t) for t in np.linspace(0.01, 0.99, 23)]
        assert max(errors) < 1.5e-4


def test_equal_calls_are_equal_and_samples_are_new_each_step(compiled):
    first, second = adaptive(seed=3), adaptive(seed=3)
    np.testing.assert_array_equal(first.theta, second.theta)
    np.testing.assert_array_equal(first.path.coefficients, second.path.coefficients)
    assert not np.array_equal(first.theta, adaptive(seed=4).theta)
    frozen = adaptive(resample=False)
    assert "noise" in first.statistics and "noise" not in frozen.statistics


def test_methods_are_not_changed_to_and_fro():
    """Where one is stable and the other exact enough for no longer steps, one is kept."""
    rates = (1.0, 20.0, 60.0, 200.0)
    x = pw.coordinates(len(rates))
    rho = pw.Density(x)
    potential = sum(rate * s**2 for rate, s in zip(rates, x, strict=True)) / 2
    energy = pw.integral((potential + sp.log(rho)) * rho, x)
    law = pw.Gaussian([0.5] * len(rates), 1.0)
    options = {"target": "numpy", "samples": 64}
    found = pw.solve(pw.GradientFlow(energy, rho, law), pw.Affine(len(rates)), (0, 0.5), **options)
    changes = [c for c in found.statistics["changes"] if c["choice"] == "integrator"]
    assert len(changes) <= 8
    mean = found.push(law.sample(2**14, seed=1)).mean(axis=0)
    np.testing.assert_allclose(mean, 0.5 * np.exp(-0.5 * np.array(rates)), atol=0.02)


def test_a_stiff_flow_takes_stabilized_steps(compiled):
    """Rates 1 and 3000: explicit steps of order 4 would have to be shorter than 1e-3."""
    stiff = np.diag([1.0, 3000.0])
    law = Gaussian([1.0, 0.05], np.diag([0.5, 4e-4]))
    problem_, map_ = quadratic_problem(law, stiff, [0.0, 0.0], 1.0)

    def compile_(problem, map, target, dtype):
        return AffineProgram(problem, map, stiff, [0.0, 0.0], dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pwgf_sym.solver.flow.build_program", compile_)
        solution = solve(problem_, map_, (0.0, 2.0), tol=1e-3)
    (change, *_) = solution.statistics["changes"]
    assert change["choice"] == "integrator" and change["value"] == "rkc"
    assert "stiff" in change["reason"] and change["t"] < 0.1
    assert solution.nfev < 1500
    assert solution.nrejected > 0 and np.all(solution.history.error <= 0.1e-3)
    theta = solution.theta[-1]
    mean = theta[:4].reshape(2, 2) @ law.mean + theta[4:]
    np.testing.assert_allclose(mean, [np.exp(-2.0), 0.0], atol=1e-3)


def test_a_run_that_cannot_go_on_says_so(compiled, monkeypatch):
    """A velocity that is no number where samples go: steps shorten until there are none."""
    velocity = AffineProgram.velocity

    def broken(self, state, integrals=None):
        field = velocity(self, state, integrals)
        mean = state.samples.unpack(state.x).mean(axis=0)
        return field if mean[0] > 0.9 else field * np.nan

    monkeypatch.setattr(AffineProgram, "velocity", broken)
    with pytest.raises(FlowError, match="finite") as raised:
        adaptive((0.0, 5.0))
    rows = raised.value.solution
    assert rows.status == "failed" and 0 < rows.t[-1] < 0.5 and rows.nrejected > 5


@pytest.mark.parametrize("shift", [0.03, 0.1, 0.3])
def test_the_estimated_error_is_that_of_the_map(compiled, shift):
    """A large shift slows the flow down: the error is known, and far above the tolerance."""
    with pytest.warns(AccuracyWarning, match="above tol = 0.001") as caught:
        solution = adaptive((0.0, 1.0), shift=shift)
    error, found = map_error(solution), solution.error_estimate
    assert 0.5 * error < found < 2 * error and error > 5e-3
    assert solution.inaccurate and not solution.success and len(caught) == 1
    assert "estimated error" in solution.message and f"about {found:.2g}" in repr(solution)
    if shift == 0.3:  # and what is far away by now is forgotten where the flow contracts
        with pytest.warns(AccuracyWarning):
            longer = adaptive((0.0, 3.0), shift=shift)
        missed = longer.statistics["missed"]
        assert longer.error_estimate < 3 * map_error(longer) and missed > longer.error_estimate


# Events.


def test_a_run_ends_at_equilibrium(compiled):
    """The dissipation of the exact flow falls through 0.1 at a time that bisection finds."""

    def dissipation(t):
        mean, cov = exact_moments(t, MEAN, COV, STIFFNESS, CENTER, ENTROPY)
        slope = -STIFFNESS + ENTROPY * np.linalg.inv(cov)
        drift = -STIFFNESS @ (mean - CENTER)
        return drift @ drift + np.trace(slope @ cov @ slope.T)

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if dissipation(middle) > 0.1 else (low, middle)
    event = pw.until_equilibrium(0.1)
    for options in ({"dt": None, "samples": 4096}, {"dt": 0.05, "samples": 4096}):
        solution = run((0.0, 50.0), **options, events=[event])
        assert solution.t[-1] == pytest.approx(low, abs=5e-3)
        assert solution.status == "stopped" and solution.success
        assert "until_equilibrium(0.1)" in solution.message
        np.testing.assert_array_equal(solution.t_events[0], [solution.t[-1]])
        assert solution.path.t[-1] == solution.t[-1]
        assert map_error(solution) < 1e-3
    at_rest = run((0.0, 1.0), dt=None, events=pw.until_equilibrium(1e9))
    assert list(at_rest.t) == [0.0] and at_rest.status == "stopped"


def test_events_are_zeros_of_functions_as_in_scipy(compiled):
    def crossing(moment):
        return moment.points[:, 0].mean() - 0.8

    def never(moment):
        return moment.energy + 1e6

    def rising(moment):
        return moment.points[:, 0].mean() - 0.8

    rising.direction = 1
    solution = adaptive((0.0, 1.0), events=[crossing, never, rising], tol=1e-5)
    assert solution.status == "completed" and [len(t) for t in solution.t_events] == [1, 0, 0]
    mean, _ = exact_moments(solution.t_events[0][0], MEAN, COV, STIFFNESS, CENTER, ENTROPY)
    assert mean[0] == pytest.approx(0.8, abs=2e-3)
    crossing.terminal = True
    ended = adaptive((0.0, 1.0), events=crossing, tol=1e-5)
    assert ended.t[-1] == pytest.approx(solution.t_events[0][0], abs=1e-4)
    with pytest.raises(OptionError, match="a number"):
        adaptive(events=lambda moment: "zero")


@pytest.mark.parametrize("function", [sp.exp, np.exp, len, lambda: 0.0, lambda moment: moment.mean])
def test_events_that_are_functions_of_something_else(function):
    x = pw.coordinates(1)
    rho = pw.Density(x)
    flow = pw.GradientFlow(pw.integral(x[0] ** 2 * rho, x), rho, pw.Gaussian([1.0], 1.0))
    with pytest.raises(OptionError, match=r"^events: got .*Error.*functions of a Moment") as caught:
        pw.solve(flow, pw.Affine(1), (0, 0.1), target="numpy", samples=8, events=function)
    assert caught.value.__cause__ is not None


def test_what_an_event_raises_on_purpose_is_what_comes():
    class Enough(Exception):
        pass

    def function(moment):
        raise Enough

    x = pw.coordinates(1)
    rho = pw.Density(x)
    flow = pw.GradientFlow(pw.integral(x[0] ** 2 * rho, x), rho, pw.Gaussian([1.0], 1.0))
    with pytest.raises(Enough):
        pw.solve(flow, pw.Affine(1), (0, 0.1), target="numpy", samples=8, events=function)


def test_what_the_run_chose_travels_with_the_solution(compiled, tmp_path):
    solution = adaptive((0.0, 1.0), events=[lambda moment: moment.points[:, 0].mean() - 0.8])
    solution.save(tmp_path / "flow.npz")
    again = pw.load_solution(tmp_path / "flow.npz")
    assert again.statistics == solution.statistics and again.options == solution.options
    np.testing.assert_array_equal(again.t_events[0], solution.t_events[0])
    for t in (0.1234, 0.77):
        np.testing.assert_array_equal(again.path(t), solution.path(t))
    for ours, theirs in zip(solution.history, again.history, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_until_equilibrium_goes_to_another_process():
    event = pickle.loads(pickle.dumps(pw.until_equilibrium(3e-4)))
    moment = type("Moment", (), {"dissipation": 5e-4})
    assert event.at_once and event.terminal and event.direction == -1
    assert repr(event) == "until_equilibrium(0.0003)"
    assert event(moment) == pytest.approx(2e-4) and copy.deepcopy(event)(moment) == event(moment)
