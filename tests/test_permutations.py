"""Orders of coordinates in chains of maps, and parameters that steps share."""

import numpy as np
import pytest
from map_cases import entropy_problem

import pwgf_sym as pw
from pwgf_sym.declare.maps import parameter_count
from pwgf_sym.errors import MapError


class Scaled(pw.Map):
    """c x + b, where c is no parameter and may be set after the map is made."""

    def __init__(self, dim=2, steps=1):
        self.dim, self.steps, self.scale = dim, steps, 1.0

    def parameters(self):
        return {"b": "i"}

    def step(self, op, p, x):
        return self.scale * x + p["b"]

    def initial_parameters(self, law, seed=0):
        return np.zeros(self.dim * self.steps)


class Drift(pw.Map):
    """x + number a + b_number, a shared by all steps."""

    def __init__(self, dim=2, steps=3):
        self.dim, self.steps = dim, steps

    def shared(self):
        return {"a": "i"}

    def parameters(self):
        return {"b": "i"}

    def step(self, op, p, x):
        return x + op.number * p["a"] + p["b"]


def pushed(map, theta, z, where="numpy"):
    """T(z) in the coordinates of the map."""
    problem = entropy_problem(map.dim)
    law = problem.initial
    program = pw.compile(problem, map, target=where)
    assert program.size == theta.size == parameter_count(map)
    samples = program.samples(law.mean + law.spread * z)
    found = program.unpack(program.push(theta, samples).x, samples)
    return (found - law.mean) / law.spread


def test_parameters_of_the_map_stand_before_those_of_its_steps():
    chain = pw.Chain([Drift(), pw.Permute([1, 0]), Scaled()])
    theta, z = np.arange(10.0), np.array([[0.5, -1.0]])
    a, b, last = theta[:2], theta[2:8].reshape(3, 2), theta[8:]
    expected = (z + 3 * a + b.sum(axis=0))[:, ::-1] + last
    np.testing.assert_allclose(pushed(chain, theta, z), expected, rtol=1e-13)


@pytest.mark.parametrize("before, behind", [([1, 2, 0], [0, 1, 2]), ([2, 0, 1], [1, 0, 2])])
def test_an_affine_map_undoes_permutations_at_the_start(before, behind):
    parts = [pw.Permute(before), pw.Affine(3), pw.Coupling(3, 2), pw.Permute(behind)]
    chain, z = pw.Chain(parts), np.random.default_rng(0).normal(size=(4, 3))
    theta = chain.initial_parameters(entropy_problem(3).initial.whitened)
    np.testing.assert_allclose(pushed(chain, theta, z), z, atol=1e-13)


def test_the_right_one_of_two_maps_acts_first():
    chain, z = pw.Permute([1, 2, 0]) @ Scaled(3), np.array([[1.0, 2.0, 3.0]])
    theta = np.array([10.0, 20.0, 30.0])
    np.testing.assert_allclose(pushed(chain, theta, z), (z + theta)[:, [1, 2, 0]], rtol=1e-13)


@pytest.mark.parametrize("order", [[0, 0], [1, 2], [], "01", [0.5, 1], None, [0, 1, -1]])
def test_orders_that_are_no_permutations_are_refused(order):
    with pytest.raises(MapError, match="order: got"):
        pw.Permute(order)


@pytest.mark.parametrize("maps", [[], None, [1], pw.Affine(2), [pw.Affine(2), pw.Affine(3)]])
def test_chains_of_what_is_no_map_are_refused(maps):
    with pytest.raises(MapError, match="maps: got"):
        pw.Chain(maps)
