"""What a compiled problem keeps of the call that made it, and what it shows of itself."""

import pickle
import traceback

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as ps
from pwgf_sym import memory
from pwgf_sym.files import cache_folder
from pwgf_sym.targets import waiting

X = ps.coordinates(1)
RHO = ps.Density(X)
LAW = ps.Gaussian([0.5], 2.0)


def problem(integrand):
    return ps.GradientFlow(ps.integral(integrand, X), RHO, initial=LAW)


@pytest.fixture
def rough():
    """An energy whose first variation jumps: it has an energy form only."""
    return ps.compile(problem(sp.Abs(RHO - sp.Rational(2, 7))), ps.Affine(1))


def asked_for_velocity(program):
    with pytest.raises(ps.errors.EnergyError, match="first variation jumps") as caught:
        program.velocity(None, None)
    return caught.value


def test_an_error_is_made_anew_each_time(rough):
    """Its traceback neither grows nor holds what earlier calls had."""
    first, second = asked_for_velocity(rough), asked_for_velocity(rough)
    assert first is not second and str(first) == str(second) == str(rough.form.rough)
    frames = [len(traceback.extract_tb(error.__traceback__)) for error in (first, second)]
    assert frames[0] == frames[1]
    assert rough.form.rough.__traceback__ is None


def test_a_state_knows_its_samples():
    """Those of another run have no place beside it; integrals are found where none are given."""
    second = ps.integral(X[0] ** 2 * RHO, X)
    program = ps.compile(ps.GradientFlow(second**2, RHO, initial=LAW), ps.Affine(1))
    theta = np.array([1.0, 0.0])
    z = np.array([[1.0], [2.0], [-1.0]])
    samples, others = program.samples(z), program.samples(z + 1)
    state = program.push(theta, samples)
    assert state.samples is samples
    assert program.integrals(state).item() == pytest.approx(2.0)
    assert np.array_equal(program.integrals(state, samples), program.integrals(state))
    with pytest.raises(ps.errors.OptionError, match="other ones than the state's"):
        program.integrals(state, others)
    expected = -4 * 2.0 * z  # -d/dx of 2 I x^2, I the integral
    for velocity in (program.velocity(state), program.velocity(state, np.array([2.0]))):
        assert np.allclose(samples.unpack(velocity), expected, rtol=1e-14)
    state = program.linearize(theta, others).state
    assert state.samples is others and program.integrals(state).item() == pytest.approx(13 / 3)


def test_symbolic_code_of_a_flow_without_velocity(rough):
    text = rough.code_symbolic()
    assert "equation: drho/dt = div(rho grad(dE/drho))" in text and "kernel push" in text


def test_symbolic_code_states_the_equation():
    text = ps.compile(problem(X[0] ** 2 * RHO), ps.Affine(1)).code_symbolic()
    (line,) = (line for line in text.splitlines() if line.startswith("equation: "))
    assert line == "equation: drho/dt = div(rho grad(x0**2))"


def test_a_copy_goes_where_its_original_was_told_to(tmp_path, monkeypatch):
    """Without a folder, to the cache folder of the process that it comes to."""
    one, two = tmp_path / "one", tmp_path / "two"
    monkeypatch.setenv("PWGF_SYM_CACHE", str(one))
    program = ps.compile(problem(X[0] ** 2 * RHO), ps.Affine(1))
    given = ps.compile(problem(X[0] ** 2 * RHO), ps.Affine(1), folder=tmp_path / "given")
    sent = pickle.dumps([program, given])
    monkeypatch.setenv("PWGF_SYM_CACHE", str(two))
    again, again_given = pickle.loads(sent)
    assert program.path.parent == one and again.path.parent == two == cache_folder()
    assert again_given.path.parent == tmp_path / "given"
    assert program.in_single.path.parent == two


def test_stored_values_fit_in_a_container(tmp_path, monkeypatch):
    """A quarter of what this process may use, which may be less than the machine has."""
    monkeypatch.delenv("PWGF_SYM_STORAGE", raising=False)
    limit = tmp_path / "memory.max"
    limit.write_text(f"{3 << 26}\n")
    monkeypatch.setattr("pwgf_sym.memory._LIMITS_OF_A_CONTAINER", (str(limit),))
    assert memory.storage_limit() == 3 << 24
    limit.write_text("max\n")
    assert memory.storage_limit() > 3 << 24
    monkeypatch.setattr("pwgf_sym.memory.memory_limit", lambda: np.inf)
    assert memory.storage_limit() == 1 << 30


def test_the_text_of_waiting_is_that_of_the_package(monkeypatch):
    """Also where the package is in an archive, in which no path leads to the file."""
    kept = []
    monkeypatch.setattr(waiting, "__file__", "/nowhere/waiting.py")
    monkeypatch.setattr(waiting, "keep_function", lambda *given: kept.append(given))
    waiting.keep_waiting(waiting._watch)
    assert len(kept) == 1
