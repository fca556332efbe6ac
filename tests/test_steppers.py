"""Methods in time against ordinary differential equations with known solutions, and SciPy's."""

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.integrate

from pwgf_sym.errors import OptionError
from pwgf_sym.solver.path import Path, cubic, polynomial, shortened
from pwgf_sym.solver.steppers import METHODS, Step, Stepper, Tableau, stepper_named, take_step
from pwgf_sym.solver.steppers.chebyshev import Chebyshev, _scheme
from pwgf_sym.solver.steppers.pairs import RungeKutta
from pwgf_sym.solver.steppers.tableaus import TABLEAUS

FIXED = ["euler", "heun", "rk4", "rk23", "rk45", "rkc"]


@dataclass
class PlainStage:
    """The right side of a system, where parameters are measured as they are."""

    theta: np.ndarray
    eta: np.ndarray
    spread: float = 1.0

    def length(self, vector):
        return float(np.linalg.norm(vector))


class Right:
    """A system as the steppers see it; counts what they evaluate."""

    def __init__(self, rhs):
        self.rhs, self.times = rhs, []

    def __call__(self, t, theta):
        self.times.append(t)
        return PlainStage(theta, self.rhs(t, theta))


def curved(t, y):
    """y' = y cos t, z' = -z + t: y = exp(sin t), z = t - 1 + 2 exp(-t) from (1, 1) at 0."""
    return np.array([y[0] * np.cos(t), t - y[1]])


def curve(t):
    return np.array([np.exp(np.sin(t)), t - 1 + 2 * np.exp(-t)])


def marched(name, count, end=2.0, rhs=curved):
    """The steps of a method of equal lengths, and the path that they make."""
    stepper, right, start = stepper_named(name), Right(rhs), curve(0.0)
    stage, step = right(0.0, start), end / count
    ends, polynomials, taken = [(0.0, start)], [], []
    for k in range(count):
        t = k * step
        stepper.allowed(right, t, stage, step)
        found = stepper.step(right, t, stage, step)
        stage = found.stage or right(t + step, found.theta)
        stepper.accepted(found)
        ends.append((t + step, stage.theta))
        polynomials.append(found.coefficients(stage.eta))
        taken.append(found)
    return Path.of_steps(ends, polynomials), taken, right


def slope_of(counts, errors):
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


@pytest.mark.parametrize("name", FIXED)
def test_order_of_convergence(name):
    order, counts = stepper_named(name).order, [40, 57, 80, 113, 160]
    errors = [np.linalg.norm(marched(name, n)[0].theta[-1] - curve(2.0)) for n in counts]
    assert slope_of(counts, errors) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("name", FIXED)
def test_dense_output_has_the_order_of_the_method(name):
    """At most its own error more: a step's polynomial errs as much as order 3 or 4 allows."""
    counts, times = [20, 28, 40, 57], np.linspace(0.013, 1.987, 47)
    errors = []
    for n in counts:
        path = marched(name, n)[0]
        errors.append(max(np.linalg.norm(path(t) - curve(t)) for t in times))
    assert slope_of(counts, errors) > min(stepper_named(name).order, 4) - 0.25


@pytest.mark.parametrize("name", ["rk23", "rk45", "rkc"])
def test_rates_are_the_derivative_of_the_path(name):
    path = marched(name, 9)[0]
    for t in (0.11, 0.9, 1.7):
        central = (path(t + 1e-5) - path(t - 1e-5)) / 2e-5
        np.testing.assert_allclose(path.rate(t), central, rtol=1e-8)
    assert np.linalg.norm(path.rate(1.7) - curved(1.7, curve(1.7))) < 0.02


@pytest.mark.parametrize(("name", "order"), [("rk23", 3), ("rk45", 5), ("rkc", 3)])
def test_estimates_of_the_error_fall_as_they_say(name, order):
    counts = [20, 40, 80]
    errors = [np.linalg.norm(marched(name, n)[1][n // 2].error) for n in counts]
    stepper = stepper_named(name)
    assert stepper.controlled and stepper.error_order + 1 == order
    assert slope_of(counts, errors) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize(("name", "peer"), [("rk23", "RK23"), ("rk45", "RK45")])
def test_pairs_are_those_of_scipy(name, peer):
    ours, peer = TABLEAUS[name], getattr(scipy.integrate, peer)
    for row, expected in zip(ours.a, peer.A, strict=True):
        np.testing.assert_allclose(row, expected[: len(row)], rtol=1e-14)
    np.testing.assert_allclose(ours.b, peer.B, rtol=1e-14)
    np.testing.assert_allclose(ours.error, peer.E, rtol=1e-13)
    if ours.dense:
        np.testing.assert_allclose(ours.dense, peer.P, rtol=1e-13)


@pytest.mark.parametrize("name", TABLEAUS)
def test_tableau_satisfies_the_row_and_quadrature_conditions(name):
    method = TABLEAUS[name]
    b, c = np.array(method.b), np.array(method.c)
    assert [len(row) for row in method.a] == list(range(len(b)))
    np.testing.assert_allclose([sum(row) for row in method.a], c, atol=1e-14)
    # sum b_i c_i^(q-1) = 1/q up to the order: the method integrates polynomials in t exactly.
    for q in range(1, method.order + 1):
        assert np.sum(b * c ** (q - 1)) == pytest.approx(1 / q, abs=1e-14)


def test_step_uses_the_first_stage_that_it_is_given():
    right, theta = Right(lambda t, y: -y), np.array([1.0, -2.0])
    stage = right(0.5, theta)
    step = RungeKutta(TABLEAUS["rk4"]).step(right, 0.5, stage, 0.1)
    np.testing.assert_allclose(right.times, [0.5, 0.55, 0.55, 0.6])
    assert step.stage is None and np.array_equal(theta, [1.0, -2.0])
    # The Taylor polynomial of exp(-0.1) of degree 4: any method of order 4 with 4 stages gives it.
    assert step.theta[0] == pytest.approx(1 - 0.1 + 0.005 - 1e-3 / 6 + 1e-4 / 24, rel=1e-15)


@pytest.mark.parametrize("stages", [2, 3, 7, 20])
def test_chebyshev_is_stable_on_its_interval_and_of_order_two(stages):
    """R(z) = 1 + z + z^2/2 + O(z^3), and |R| < 1 from z = 0 down to .65 s^2."""

    def growth(z):
        right = Right(lambda t, y: z * y)
        stepper = Chebyshev()
        stepper.stages = lambda step: stages
        return stepper.step(right, 0.0, right(0.0, np.ones(1)), 1.0).theta[0]

    for z in -np.linspace(0.01, 0.65 * (stages**2 - 1), 60):
        assert abs(growth(z)) < 1
    assert abs(growth(-0.9 * stages**2)) > 1  # and not much further
    errors = [abs(growth(z) - np.exp(z)) for z in (-0.02, -0.01)]
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.1)
    assert _scheme(stages)[2][-1] == pytest.approx(1, abs=1e-12)  # the last stage is the end


def test_chebyshev_finds_the_rate_and_takes_the_stages_that_it_needs():
    rates = np.array([1.0, 30.0, 4000.0])
    right, stepper = Right(lambda t, y: -rates * y), Chebyshev()
    stage = right(0.0, np.ones(3))
    assert stepper.allowed(right, 0.0, stage, 0.1) == 0.1
    need = np.sqrt(1 + 0.1 * 4000 / 0.653)
    assert need <= stepper.stages(0.1) <= 1.25 * need
    step = stepper.step(right, 0.0, stage, 0.1)
    assert abs(step.theta[2]) < 1 and step.theta[0] == pytest.approx(np.exp(-0.1), abs=3e-3)
    few = Chebyshev(most_stages=5)
    assert few.allowed(right, 0.0, stage, 0.1) < 0.653 * 24 / 4000


def test_the_automatic_method_leaves_the_explicit_one_when_the_flow_is_stiff():
    """A fast mode that has died down: only stability limits the explicit steps."""
    rates = np.array([0.3, 500.0])
    stepper, right = stepper_named("auto"), Right(lambda t, y: -rates * y)
    stage, t, step, names = right(0.0, np.array([1.0, 1e-9])), 0.0, 1e-3, []
    while len(names) < 60:
        found = stepper.step(right, t, stage, stepper.allowed(right, t, stage, step))
        error = np.linalg.norm(found.error) / 1e-6
        if error <= 1:
            stepper.accepted(found)
            stage, t = found.stage, t + step
            names.append(stepper.chosen)
        else:
            stepper.rejected()
        step *= min(2.0, max(0.2, 0.9 * error ** (-1 / 3)))
    assert names[0] == "rk23" and names[-1] == "rkc"
    (count, name, why), *_ = stepper.switches
    assert count <= 30 and name == "rkc" and "stiff" in why
    assert stage.theta[0] == pytest.approx(np.exp(-0.3 * t), rel=1e-2)
    soft, right = stepper_named("auto"), Right(lambda t, y: -0.3 * y)
    for _ in range(10):
        stage = right(0.0, np.ones(2))
        soft.accepted(soft.step(right, 0.0, stage, soft.allowed(right, 0.0, stage, 0.5)))
    assert soft.chosen == "rk23" and not soft.switches


def test_polynomials_of_steps():
    theta, after = np.array([1.0, 2.0]), np.array([1.5, 1.0])
    coefficients = cubic(theta, after, np.array([2.0, 0.0]), np.array([-1.0, 3.0]), 0.25)
    np.testing.assert_allclose(polynomial(coefficients, theta, 0.25, 1.0), after)
    np.testing.assert_allclose(coefficients[0], [2.0, 0.0])
    np.testing.assert_allclose(coefficients.T @ [1, 2, 3], [-1.0, 3.0])
    half = shortened(coefficients, 0.5)
    for s in (0.2, 0.7, 1.0):
        whole = polynomial(coefficients, theta, 0.25, s / 2)
        np.testing.assert_allclose(polynomial(half, theta, 0.125, s), whole)
    path = Path([1.0, 1.25], [theta, after], coefficients[None])
    cut = path.until(1.1)
    assert cut.t[-1] == 1.1 and np.allclose(cut(1.05), path(1.05))
    assert path.covers(1.25) and not path.covers(1.3)
    np.testing.assert_array_equal(path(1.25), after)


@pytest.mark.parametrize("name", ["adaptive", "RK45", None, 4, ["rk4"]])
def test_unknown_integrators_are_refused_by_name(name):
    with pytest.raises(OptionError, match=r"integrator.*euler.*heun.*rk4.*rkc") as raised:
        stepper_named(name)
    assert raised.value.argument == "integrator"


def test_a_stepper_of_ones_own_is_taken_as_it_is():
    class Own(Stepper):
        name = "own"

    own = Own()
    assert stepper_named(own) is own and set(FIXED) < set(METHODS)


def test_what_is_no_stepper_is_told_what_makes_one():
    with pytest.raises(OptionError, match=r"Write Chebyshev\(\.\.\.\)\."):
        stepper_named(Chebyshev)
    ralston = Tableau("ralston", 2, ((), (2 / 3,)), (1 / 4, 3 / 4), (0, 2 / 3), "A. Ralston, 1962")
    with pytest.raises(OptionError, match=r"Write RungeKutta\(tableau\)\."):
        stepper_named(ralston, argument="steps")
    assert stepper_named(RungeKutta(ralston)).name == "ralston"


@pytest.mark.parametrize("name", TABLEAUS)
def test_stages_are_the_right_sides_of_a_step_with_that_at_its_end(name):
    _, found, right = marched(name, 7)
    assert len(right.times) - 1 == sum(step.stages for step in found)


@pytest.mark.parametrize(
    ("found", "controlled"),
    [
        (None, False),
        ((1.0, None), False),
        (Step(np.ones(2), None, np.ones(2), None, 1), True),
        (Step(np.ones(2), PlainStage(np.ones(2), np.ones(2)), None, None, 1), True),
    ],
)
def test_a_step_that_lacks_something_is_refused(found, controlled):
    class Own(Stepper):
        def step(self, right, t, stage, step):
            return found

    own = Own()
    own.controlled = controlled
    with pytest.raises(OptionError, match=r"step of Own: .*controlled"):
        take_step(own, None, 0.0, None, 0.1)
