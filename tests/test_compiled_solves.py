"""Linear solves on compiled kernels, against dense linear algebra on columns of J."""

import numpy as np
import pytest
from map_cases import Case
from sample_energies import ENERGIES

from pwgf_sym.declare.maps import NeuralFlow
from pwgf_sym.errors import OptionError
from pwgf_sym.solver import flow as flow_module
from pwgf_sym.solver.flow import solve
from pwgf_sym.solver.linear import solve_metric
from pwgf_sym.solver.options import LinearOptions
from pwgf_sym.targets.program import compile_program

SHIFT = 1e-3


@pytest.fixture(scope="module", params=["equal", "weighted"])
def system(mixed_program, request):
    """Linearization, packed target, and the solution by NumPy from products with unit vectors."""
    case = Case(mixed_program.map, 50)
    shares = np.full(50, 1 / 50)
    if request.param == "weighted":
        shares = np.random.default_rng(5).uniform(0.1, 1.3, 50)
        shares /= shares.sum()
    samples = mixed_program.samples(case.z, None if request.param == "equal" else shares)
    linearization = mixed_program.linearize(case.theta, samples)
    units = np.eye(case.theta.size)
    rows = np.array([samples.unpack(linearization.jvp(u)).ravel() for u in units])
    weighted = rows * np.repeat(shares, 2)
    right = weighted @ case.field.ravel()
    expected = np.linalg.solve(weighted @ rows.T + SHIFT * np.eye(len(rows)), right)
    return linearization, samples.pack(case.field), right, expected


@pytest.mark.parametrize("form", ["velocity", "energy"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("dense", {}),
        ("kernel", {}),
        ("minres", {"precision": "mixed"}),
        ("minres", {"precision": "mixed", "preconditioner": 16}),
        ("cg", {"preconditioner": 16}),
        ("cg", {"precision": "mixed", "preconditioner": 50}),
    ],
)
def test_all_ways_lead_to_the_same_direction(system, form, method, options):
    linearization, field, right, expected = system
    given = {"field": field} if form == "velocity" else {"right": right}
    linear = LinearOptions(tolerance=1e-9, shift=SHIFT, max_iterations=3000, **options)
    found = solve_metric(linearization, **given, method=method, options=linear)
    assert found.converged and found.residual < 1e-9
    # An error of the residual grows by at most |G|/shift.
    np.testing.assert_allclose(found.eta, expected, rtol=0, atol=1e-5 * np.linalg.norm(expected))


def test_two_programs_on_the_same_samples(mixed_program):
    """Storage that one program has given back does not fit another one."""
    other = compile_program(mixed_program.problem, NeuralFlow(2, 10, steps=4))
    small = Case(mixed_program.map, 40)
    samples = mixed_program.samples(small.z)
    big = Case(other.map, 40)
    expected = other.linearize(big.theta, other.samples(big.z)).jvp(big.eta)
    mixed_program.linearize(small.theta, samples)  # its arrays are free at once
    np.testing.assert_array_equal(other.linearize(big.theta, samples).jvp(big.eta), expected)


def test_a_flow_refuses_options_before_it_compiles(monkeypatch):
    def build_program(*args):
        raise AssertionError("compiled before the options were checked")

    monkeypatch.setattr(flow_module, "build_program", build_program)
    problem, flow = ENERGIES["mixed"].problem(), NeuralFlow(2, 10, steps=3)
    for options in ({"precision": "mixed"}, {"linear_solver": "kernel", "shift": 0.0}):
        with pytest.raises(OptionError, match=r"precision|shift"):
            solve(problem, flow, (0, 1), samples=8, **options)


RUN = {"samples": 64, "integrator": "euler", "shift": SHIFT, "max_iterations": 3000}


def test_a_flow_in_mixed_precision_takes_the_trajectory_of_a_direct_solve(mixed_program):
    run = {"problem": mixed_program.problem, "map": mixed_program.map, "t_span": (0, 0.1)}
    run |= RUN | {"dt": 0.02, "tolerance": 1e-9}
    exact = solve(**run, linear_solver="dense")
    for warm in (False, True):
        found = solve(**run, linear_solver="minres", precision="mixed", warm_start=warm)
        np.testing.assert_allclose(found.theta, exact.theta, rtol=0, atol=1e-6)


def test_warm_starts_save_iterations_where_steps_are_short(mixed_program):
    """The last direction is nearer than the tolerance asks for, most of the time."""
    run = {"problem": mixed_program.problem, "map": mixed_program.map, "t_span": (0, 0.01)}
    run |= RUN | {"dt": 0.001, "tolerance": 1e-2, "linear_solver": "cg"}
    cold, warm = solve(**run), solve(**run, warm_start=True)
    assert cold.converged.all() and warm.converged.all()
    assert warm.iterations.sum() < cold.iterations.sum() / 2
