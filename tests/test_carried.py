"""What samples carry: one entry a quantity, of which kernels, samples and states are made."""

import numpy as np
import pytest
from energy_checks import carried as any_state
from map_cases import TANH, Case, neural
from on_targets import program_on
from sample_energies import Energy, R

from pwgf_sym.declare.maps import Affine
from pwgf_sym.errors import OptionError
from pwgf_sym.kernels import carried
from pwgf_sym.kernels.carried import Carried, kernel_name, level_of, levels
from pwgf_sym.tensors import product
from pwgf_sym.tensors.differentiate import jvp


def _tangent_after(step):
    (own,), (i, basis) = step.before["tangent"].axes, step.matrix.axes
    assert own == i
    return product(1, [(step.matrix, (i, basis)), (step.before["tangent"], (basis,))], (i,))


def _tangent_rate(rate):
    (moved,) = jvp([rate.velocity], {rate.now["x"]: rate.now["tangent"]})
    return moved


# (dT/dz) e_0: how a line along the first coordinate is stretched.
TANGENT = Carried(
    "tangent",
    "v = (dT/dz) e_0",
    axes="i",
    start="tangent_0",
    initial=lambda law, points: np.tile(np.eye(law.dim)[0], (len(points), 1)),
    step=_tangent_after,
    rate=_tangent_rate,
    length=1,
)


EXACT, TRACE = neural(2, 5, 2), neural(2, 3, 1, TANH, "rk4", "trace")


def test_a_new_quantity_is_one_entry(target, tmp_path, monkeypatch):
    """It is the derivative of the map by z, and the others are what they were."""
    for flow in (EXACT, TRACE):
        case = Case(flow, 7, noise=0.2)
        program = program_on(target, case.problem, flow, tmp_path)
        score = program.push(case.theta, program.samples(case.z), "score")
        with monkeypatch.context() as patch:
            patch.setattr(carried, "CARRIED", (*carried.CARRIED, TANGENT))
            program = program_on(target, case.problem, flow, tmp_path)
            samples = program.samples(case.z)
            state = program.push(case.theta, samples, "tangent")
        expected = case.reference.jacobian_z(case.theta, case.z)[:, :, 0]
        found = samples.unpack(state.carried["tangent"])
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
        assert list(state.carried) == ["x", "log_density", "score", "tangent"]
        for name, values in score.carried.items():
            other = np.asarray(state.carried[name])
            np.testing.assert_allclose(other, np.asarray(values), rtol=1e-12, atol=1e-12)


def test_a_linearized_map_carries_what_is_asked_for(target, tmp_path):
    """Values and products are those of one pass each, whatever else the pass has carried."""
    for flow in (EXACT, TRACE):
        case = Case(flow, 7, noise=0.2)
        program = program_on(target, case.problem, flow, tmp_path)
        case.prepare(program)
        for level in levels():
            carry = [c.name for c in level]
            linearized = program.linearize(case.theta, case.samples, carry)
            pushed = program.push(case.theta, case.samples, carry)
            assert list(linearized.state.carried) == list(pushed.carried) == carry
            for name, values in pushed.carried.items():
                found = np.asarray(linearized.state.carried[name])
                np.testing.assert_allclose(found, np.asarray(values), rtol=1e-12, atol=1e-13)
            moved = program.unpack(linearized.jvp(case.eta), case.samples)
            case.close(moved, case.pushed, case.tolerance)


def test_a_push_keeps_nothing_of_what_it_stores(tmp_path):
    """Room for one tile, however many there are; nothing beside it is written."""
    case = Case(EXACT, 5000)
    program = program_on("cpu", case.problem, EXACT, tmp_path)
    kernels, samples = program.kernels, program.samples(case.z)
    ((stored, first, last),) = kernels._forgotten("push_score", 7, 1000)
    assert (first, last, stored.extent) == (7, 1000, 0)
    assert sum(array.nbytes for array in stored.arrays.values()) == kernels.tile_bytes
    around = {}
    for name, array in stored.arrays.items():
        around[name] = whole = np.full(3 * array.size, 7.0)
        stored.arrays[name] = whole[array.size : 2 * array.size]
    pushed = program.push(case.theta, samples, "score")
    for whole in around.values():
        before, _, after = np.split(whole, 3)
        assert np.all(before == 7) and np.all(after == 7)
    assert not np.all(around["hidden_0"] == 7)  # it is the room that was used
    whole = program.linearize(case.theta, samples, "score").state
    for name, values in whole.carried.items():
        np.testing.assert_array_equal(values, pushed.carried[name])


def test_levels():
    names = [[c.name for c in level] for level in levels()]
    assert names == [["x"], ["x", "log_density"], ["x", "log_density", "score"]]
    assert [level_of(given)[-1].name for given in ("x", (), {"score"}, ["log_density", "x"])] == [
        *("x", "x", "score", "log_density")
    ]
    kernels = [kernel_name("push", level) for level in levels()]
    assert kernels == ["push", "push_log_density", "push_score"]
    with pytest.raises(OptionError, match=r"carry.*'hessian'.*\"x\", \"log_density\", \"score\""):
        level_of(["score", "hessian"])


def test_what_is_missing_is_named(target, tmp_path):
    """An energy of the density reads log densities, its velocity scores: a state may lack them."""
    problem = Energy(2, internal=R**2).problem()
    program = program_on(target, problem, Affine(2), tmp_path)
    samples, state = any_state(program, 5)
    theta = program.map.initial_parameters(None)
    with pytest.raises(OptionError, match=r'no log_density.*carry="log_density"'):
        program.integrals(program.push(theta, samples))
    with pytest.raises(OptionError, match=r'no score.*what velocity reads.*carry="score"'):
        program.velocity(program.push(theta, samples, "log_density"))
    assert np.isfinite(np.asarray(program.velocity(state))).all()
