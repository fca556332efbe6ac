"""Time steppers against ordinary differential equations with known solutions."""

import numpy as np
import pytest

from pwgf_sym.errors import OptionError
from pwgf_sym.solve.integrators import TABLEAUS, explicit_step, tableau


def error_at_two(method, steps):
    """Error at t = 2 of a linear system with a solution in closed form.

    y' = y cos t, z' = -z + t has y = exp(sin t), z = t - 1 + 2 exp(-t) from (1, 1).
    """
    y, dt = np.array([1.0, 1.0]), 2.0 / steps

    def rhs(t, y):
        return np.array([y[0] * np.cos(t), t - y[1]])

    for k in range(steps):
        y, _ = explicit_step(method, rhs, k * dt, y, dt)
    return np.linalg.norm(y - [np.exp(np.sin(2.0)), 1 + 2 * np.exp(-2.0)])


@pytest.mark.parametrize("name", TABLEAUS)
def test_order_of_convergence(name):
    method = TABLEAUS[name]
    steps = np.array([20, 40, 80, 160, 320])
    errors = [error_at_two(method, int(n)) for n in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert -slope == pytest.approx(method.order, abs=0.12)


@pytest.mark.parametrize("name", TABLEAUS)
def test_tableau_satisfies_the_row_and_quadrature_conditions(name):
    method = TABLEAUS[name]
    b, c = np.array(method.b), np.array(method.c)
    assert [len(row) for row in method.a] == list(range(len(b)))
    np.testing.assert_allclose([sum(row) for row in method.a], c, atol=1e-15)
    # sum b_i c_i^(q-1) = 1/q up to the order: the method integrates polynomials in t exactly.
    for q in range(1, method.order + 1):
        assert np.sum(b * c ** (q - 1)) == pytest.approx(1 / q, abs=1e-15)


def test_step_uses_the_first_stage_that_it_is_given():
    calls = []

    def rhs(t, theta):
        calls.append(t)
        return -theta

    theta = np.array([1.0, -2.0])
    free, first = explicit_step(TABLEAUS["rk4"], rhs, 0.5, theta, 0.1)
    assert calls == [0.5, 0.55, 0.55, 0.6]
    given, again = explicit_step(TABLEAUS["rk4"], rhs, 0.5, theta, 0.1, first)
    assert len(calls) == 7
    assert np.array_equal(free, given) and again is first
    assert np.array_equal(theta, [1.0, -2.0])
    # The Taylor polynomial of exp(-0.1) of degree 4: any method of order 4 with 4 stages gives it.
    assert free[0] == pytest.approx(1 - 0.1 + 0.005 - 1e-3 / 6 + 1e-4 / 24, rel=1e-15)


@pytest.mark.parametrize("name", ["adaptive", "rk45", None, 4, ["rk4"]])
def test_unknown_integrators_are_refused_by_name(name):
    with pytest.raises(OptionError, match=r"integrator.*euler.*heun.*rk4") as raised:
        tableau(name)
    assert raised.value.argument == "integrator"
    assert ("later work" in str(raised.value)) == (name == "adaptive")
