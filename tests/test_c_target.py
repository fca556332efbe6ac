"""A target of some 300 lines that the package does not know, against complex steps in NumPy."""

import math
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
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)

    x = np.empty((COUNT, dim))
    call("push", theta, *call.table("push", theta), z, x, 0, COUNT, flow.steps)
    close(x, reference.push(theta, z))

    stored = {
        name: np.full(flow.steps * COUNT * math.prod(a.size for a in axes), np.nan)
        for name, axes in call.emitters["linearize"].kernel.stored.items()
    }
    where = (0, COUNT, 0, COUNT, flow.steps)
    x = np.empty((COUNT, dim))
    call("linearize", theta, *call.table("linearize", theta), *stored.values(), z, x, *where)
    close(x, reference.push(theta, z))

    dx = np.empty((COUNT, dim))
    paths = [stored[name] for name in call.emitters["jvp"].kernel.stored]
    call("jvp", theta, eta, *call.table("jvp", theta, eta), *paths, dx, *where)
    close(dx, np.tensordot(eta, truth, 1))

    emitter, gradient = call.emitters["vjp"], np.empty(theta.size)
    sums, table = np.zeros(flow.steps * emitter.sums_size), call.table("vjp", theta)
    paths = [stored[name] for name in emitter.kernel.stored]
    call("vjp", theta, *table, *paths, field, sums, *where)
    ordered = np.empty((flow.steps, emitter.sums_size))
    ordered[:, emitter.sums_order()] = sums.reshape(flow.steps, -1)
    call("vjp_finish", theta, *table, ordered.ravel(), gradient, flow.steps)
    close(gradient, np.tensordot(truth, field, 2))

    w = np.empty((COUNT, dim))
    call("velocity", x, score, np.zeros(1), w, 0, COUNT)
    close(w, -2 * x - score)
