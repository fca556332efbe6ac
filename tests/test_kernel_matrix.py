"""The kernel matrix J J^T from factors, against the rows of J themselves."""

import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from map_cases import SWISH, Case, neural
from sample_energies import ENERGIES
from test_ir import activations
from test_new_maps import Squashed
from tile_numpy import interpreted

from pwgf_sym.declare.maps import Affine
from pwgf_sym.targets.kernel_matrix import kernel_matrix
from pwgf_sym.targets.program import compile_program

MAPS = {
    "affine": Affine(3),
    "euler": neural(2, 5, 3),
    "one dimension": neural(1, 4, 2),
    "runge-kutta": neural(2, 3, 2, substep="rk4"),
    "swish": neural(3, 4, 1, SWISH),
}


@pytest.fixture(autouse=True)
def always_from_factors(monkeypatch):
    """Maps of tests are small: without this their matrix would come from rows."""
    module = sys.modules[kernel_matrix.__module__]
    monkeypatch.setattr(module, "_FEW_PARAMETERS", 0)


def test_from_rows(mixed_program, monkeypatch):
    monkeypatch.undo()
    case = Case(mixed_program.map, 11)
    check(mixed_program, case.theta, case.z, 1e-13)


def check(program, theta, z, tolerance):
    samples = program.samples(z)
    linearization = program.linearize(theta, samples)
    # J from products with unit vectors: no kernel of rows, no factors.
    units = np.eye(theta.size, dtype=program.dtype)
    columns = [samples.unpack(linearization.jvp(unit)).T.ravel() for unit in units]
    expected = np.array(columns, float).T @ np.array(columns, float)
    found = linearization.kernel_matrix()
    assert found.shape == expected.shape and found.dtype == program.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("count", [1, 11])
@pytest.mark.parametrize("name", MAPS)
def test_kernel_matrix(name, count, tmp_path):
    case = Case(MAPS[name], count)
    check(interpreted(case.problem, case.flow, tmp_path), case.theta, case.z, 1e-13)


def test_a_map_that_users_write(tmp_path):
    """x' = tanh(A x + b): u tanh'(A x + b) is the factor of both parameters."""
    flow = Squashed()
    program = interpreted(ENERGIES["mixed"].problem(), flow, tmp_path)
    rng = np.random.default_rng(0)
    check(program, rng.standard_normal(program.size), rng.standard_normal((9, 2)), 1e-13)


def test_compiled_in_single_precision(mixed_program):
    program = compile_program(mixed_program.problem, mixed_program.map, dtype="float32")
    case = Case(mixed_program.map, 70)
    check(program, case.theta.astype(np.float32), case.z, 3e-6)
    factors = program.emission.kernels["factors"].factors
    assert set(factors["W1"].names) & set(factors["c"].names) and len(factors["W1"].names) == 2
    assert factors["W2"].names[1].startswith("hidden") and factors["A"].names[1] == "x"


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(activations())
def test_random_activations(tmp_path_factory, activation):
    case = Case(neural(2, 3, 2, activation), 5, noise=0.15)
    program = interpreted(case.problem, case.flow, tmp_path_factory.mktemp("random"))
    check(program, case.theta, case.z, 1e-11)
