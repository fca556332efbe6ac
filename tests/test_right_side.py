"""How often a right side runs the map forward, and what it keeps of the last time."""

import numpy as np
import pytest
from fake_program import CENTER, STIFFNESS, AffineProgram, problem

from pwgf_sym.solver.history import Record
from pwgf_sym.solver.option_objects import LinearSolve, Samples
from pwgf_sym.solver.options import FlowOptions
from pwgf_sym.solver.right_side import RightSide


def right_side(formulation="velocity"):
    given = problem()
    program = AffineProgram(*given, STIFFNESS, CENTER)
    options = FlowOptions(
        steps="euler",
        linear=LinearSolve("dense", shift=0.0),
        samples=Samples(64, fresh=32),
        formulation=formulation,
    )
    points = given[0].initial.sample(64, 1)
    return RightSide(program, options, points, Record())


THETA = np.array([1.1, 0.2, -0.1, 0.9, 0.3, -0.2])


@pytest.mark.parametrize("formulation", ["velocity", "energy"])
def test_a_right_side_is_one_pass(formulation):
    """Its state and its products are of the same pass, and so are those that a step asks for."""
    right = right_side(formulation)
    passes = right.program.calls
    stage = right(0.0, THETA)
    assert passes["push"] == 1
    speed = stage.length(stage.eta)
    assert passes["push"] == 1
    right(0.0, THETA + 0.1)
    assert stage.length(stage.eta) == speed  # of the stage's own parameters, in a pass of its own
    assert passes["push"] == 3


def test_a_measurement_is_one_pass():
    """Another direction at the same parameters takes none."""
    right = right_side()
    passes, stage = right.program.calls, right(0.0, THETA)
    before = passes["push"]
    gap = right.gap(0.0, stage.theta, stage.eta)
    assert passes["push"] == before + 1 and right.gap(0.0, stage.theta, stage.eta) is gap
    other = right.gap(0.0, stage.theta, 2 * stage.eta)
    assert passes["push"] == before + 1
    moved = gap.moved(stage.eta)
    np.testing.assert_allclose(other.field, gap.field + moved, rtol=1e-12, atol=1e-12)
    points, matrix = right.fresh.points, stage.eta[:4].reshape(2, 2)
    np.testing.assert_allclose(moved, points @ matrix.T + stage.eta[4:], rtol=1e-12)
    size = np.sqrt(np.mean(np.sum(other.field**2, axis=1)))
    assert (other.defect, other.speed) == pytest.approx((size, gap.speed))


def test_methods_may_write_into_their_own_array():
    """What a stage says is of the parameters that it was made at."""
    right, theta = right_side(), THETA.copy()
    stage = right(0.0, theta)
    gap = right.gap(0.0, stage.theta, stage.eta)
    theta += 0.5
    moved = right(0.0, theta)
    np.testing.assert_array_equal(stage.theta, THETA)
    other = right.gap(0.0, moved.theta, moved.eta)
    assert np.abs(other.velocity - gap.velocity).max() > 1e-3
