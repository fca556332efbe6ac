"""A target of some 300 lines that the package does not know, against complex steps in NumPy."""

from pathlib import Path

import numpy as np
import pytest
from c_target.target import COMPILER, CKernels
from map_cases import SINE, SWISH, TANH, entropy_problem, neural, reference_of

from pwgf_sym.declare.maps import Affine

FOLDER = Path(__file__).parent / "c_target"
FLOWS = [
    neural(2, 5, 2, TANH),
    neural(3, 4, 1, SWISH),
    neural(1, 7, 3, SINE, "rk4", "trace"),
    Affine(4),
]
COUNT = 5


def test_it_takes_few_lines():
    lines = [line for file in FOLDER.glob("*.py") for line in file.read_text().splitlines()]
    assert 100 < len(lines) <= 500


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
@pytest.mark.parametrize("flow", FLOWS, ids=repr)
def test_kernels_in_c(flow, tmp_path):
    rng, dim = np.random.default_rng(1), flow.dim
    problem, reference = entropy_problem(dim), reference_of(flow)
    start = flow.initial_parameters(problem.initial.whitened, 0)
    theta = start + 0.2 * rng.standard_normal(start.size)
    eta = rng.standard_normal(theta.size)
    z, field, score = rng.standard_normal((3, COUNT, dim))
    call = CKernels(problem, flow, tmp_path)
    truth = reference.jacobian_theta(theta, z)

    def close(got, expected):
        np.testing.assert_allclose(got.reshape(expected.shape), expected, rtol=1e-12, atol=1e-12)

    close(call("push", COUNT, theta=theta, z=z)["x_out"], reference.push(theta, z))
    found = call("linearize", COUNT, theta=theta, z=z)
    close(found["x_out"], reference.push(theta, z))
    close(call("jvp", COUNT, **found, eta=eta)["dx_out"], np.tensordot(eta, truth, 1))

    summed, sums = call("vjp", COUNT, **found, field=field), call.signatures["vjp"]["sums"]
    ordered = np.empty((flow.steps, sums.numbers))
    ordered[:, sums.order] = summed["sums"].reshape(flow.steps, -1)
    gradient = call("vjp_finish", COUNT, **summed | {"sums": ordered.ravel()})["gradient"]
    close(gradient, np.tensordot(truth, field, 2))

    w = call("velocity", COUNT, x=found["x_out"], score=score, values=np.zeros(1))["velocity_out"]
    close(w, -2 * reference.push(theta, z) - score)
