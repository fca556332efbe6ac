"""The PTX of kernels, run on the CPU: the same numbers as the CPU's target, no fault of memory.

Every launch is watched: accesses outside of arrays, reads of what was never written, races within
blocks and between them, barriers that not all threads reach.
"""

import numpy as np
import pytest
import sympy as sp
from gallery_flows import double_well_agrees
from sample_energies import ENERGIES
from test_blocks import (  # noqa: F401 - those of blocks
    test_contractions,
    test_contractions_of_what_is_near,
    test_results_where_factors_were,
    test_sums_of_outer_products,
    test_sums_of_rows_and_products,
)
from test_vectors import (  # noqa: F401 - the simulator's tests of vectors run here, too
    system,
    test_a_matrix_on_some_entries,
    test_arithmetic_is_that_of_numpy,
    test_cg_ends_where_nothing_is_left,
    test_cg_stops_at_the_tolerance,
    test_iterates_are_those_of_scipy,
    test_lsmr_is_that_of_the_cpu,
    test_minres_goes_on_after_the_last_direction,
    test_preconditioner_is_that_of_the_cpu,
    test_what_is_not_finite_is_found,
)
from tile_numpy import interpreted

from pwgf_sym.declare.maps import (
    Affine,
    Chain,
    Coupling,
    NeuralFlow,
    Permute,
    RandomFeatures,
    TimeField,
)
from pwgf_sym.kernels.carried import level_of, levels
from pwgf_sym.schedule import cuda as schedule
from pwgf_sym.solver.lsmr import lsmr
from pwgf_sym.targets import kernel_matrix
from pwgf_sym.targets.cuda import caller, krylov
from pwgf_sym.targets.cuda.vectors import PlacesMatrix, Vector
from pwgf_sym.targets.program import compile_program

pytestmark = pytest.mark.usefixtures("machine")
TOLERANCE = 1e-12
MAPS = {
    "exact": lambda d: NeuralFlow(d, 9, steps=2),
    "trace": lambda d: NeuralFlow(d, 5, steps=2, log_determinant="trace"),
    "sigmoid": lambda d: NeuralFlow(d, 4, steps=1, activation=lambda u: 1 / (1 + sp.exp(-u))),
    "affine": Affine,
    "wide": lambda d: NeuralFlow(d, 37, steps=2, log_determinant="trace"),
    "wide exact": lambda d: NeuralFlow(d, 80, steps=2),
    "chain": lambda d: Chain([Coupling(d, 4), Permute(range(d)[::-1]), RandomFeatures(d, 3)]),
    "shared": lambda d: TimeField(d, 3, steps=2),
}
# Energy, map, precision, threads of a block, samples: they do not fill the last tile.
CASES = [
    ("mixed", "exact", "float64", 32, 70),
    ("mixed", "trace", "float32", 32, 70),
    ("double well", "exact", "float32", 128, 300),
    ("newtonian", "sigmoid", "float64", 32, 70),
    ("aggregation", "affine", "float32", 128, 300),
    ("mixed", "wide", "float64", 32, 70),
    ("mixed", "chain", "float64", 32, 70),
    ("mixed", "shared", "float64", 32, 70),
    ("double well", "wide exact", "float32", 128, 130),
]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


class Forgetful(dict):
    """Arrays that are made anew whenever they are asked for: nothing is left of another launch."""

    def __contains__(self, key):
        return False


class Case:
    """A problem and map on the CPU and on the machine, at the same samples and parameters."""

    def __init__(self, energy, kind, dtype, threads, count, folder):
        self.dtype, problem = dtype, ENERGIES[energy].problem()
        flow = MAPS[kind](problem.dim)
        self.truth = interpreted(problem, flow, folder, moments=False)
        self.cpu = interpreted(problem, flow, folder, dtype, moments=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PWGF_SYM_CUDA_THREADS", str(threads))
            self.gpu = compile_program(problem, flow, target="cuda", dtype=dtype, folder=folder)
            self.gpu.rest.kernels._room = Forgetful()
            self.gpu.kernels._room = Forgetful()
        numbers = np.random.default_rng(3)
        self.points = problem.initial.sample(count, 1)
        self.theta = flow.initial_parameters(problem.initial)
        self.theta = self.theta + 0.1 * numbers.normal(size=self.theta.size)
        self.eta = numbers.normal(size=self.theta.size)
        self.field = numbers.normal(size=self.points.shape)

    def compare(self, compute) -> None:
        """``compute(program, samples)`` gives arrays by name, which have to agree."""
        sides = [dict(compute(p, p.samples(self.points))) for p in (self.truth, self.cpu, self.gpu)]
        for name in sides[0]:
            truth, cpu, found = (np.asarray(side[name], float) for side in sides)
            assert np.all(np.isfinite(found)), name
            scale = max(float(np.abs(truth).max()), 1e-300)
            error, own = (float(np.abs(a - truth).max()) / scale for a in (found, cpu))
            bound = TOLERANCE if self.dtype == "float64" else 4 * own + 64 * 2.0**-24
            assert error <= bound, (name, error, own)


@pytest.fixture(scope="module", params=CASES, ids=["-".join(map(str, c)) for c in CASES])
def case(request, tmp_path_factory, machine):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caller.CudaCaller, "workspace", lambda own, size: own.empty(size))
        patch.setattr(caller, "_BLOCKS", 2)  # of three tiles a block takes two
        if "wide exact" not in request.param:
            most = 1600 if "wide" in request.param else 320
            patch.setattr(schedule, "_SHARED", most)  # weights come in several rounds
            patch.setattr(schedule, "_RESULTS", 8000)  # and so do rows of contractions
        yield Case(*request.param, tmp_path_factory.mktemp("modules"))


def test_push_and_energy(case):
    def compute(program, samples):
        for level in levels()[: len(level_of(program.form.reads))]:
            state = program.push(case.theta, samples, level[-1].name)
        yield "x", program.unpack(state.x, samples)
        if state.log_density is not None:
            yield "log density", program.unpack_scalar(state.log_density, samples)
        if state.score is not None:
            yield "score", program.unpack(state.score, samples)
        integrals = program.integrals(state)
        yield "integrals", integrals
        yield "velocity", program.unpack(program.velocity(state, integrals), samples)

    case.compare(compute)


def test_gradient(case):
    def compute(program, samples):
        yield "gradient", program.slope(case.theta, samples).gradient

    case.compare(compute)


def test_derivatives_of_the_map(case):
    def compute(program, samples):
        linearization = program.linearize(case.theta, samples)
        packed = samples.pack(case.field) * (np.asarray(samples.weights) > 0)
        yield "jvp", program.unpack(linearization.jvp(case.eta), samples)
        yield "vjp", linearization.vjp(packed)
        yield "metric", linearization.metric(case.eta)
        rows = linearization.jacobian()
        yield "jacobian", np.array([program.unpack(row, samples) for row in rows])

    case.compare(compute)


def test_inverse_map(case):
    def compute(program, samples):
        points, logarithms = program.invert(case.theta, case.points[:40])
        yield "points", points
        yield "logarithms", logarithms

    case.compare(compute)


def test_kernel_matrix(case, monkeypatch):
    monkeypatch.setattr(kernel_matrix, "_FEW_PARAMETERS", 0)

    def compute(program, samples):
        yield "matrix", program.linearize(case.theta, samples).kernel_matrix()

    case.compare(compute)


# -- vectors of several blocks -----------------------------------------------------------------


def test_vectors_of_several_blocks(rng):
    a, b = rng.normal(size=(2, 2500))
    u, v, single = Vector.of(a, np.float64), Vector.of(b, np.float64), Vector.of(a, np.float32)
    assert u.dot(v) == pytest.approx(a @ b, rel=1e-13)
    low = a.astype(np.float32)
    assert single.dot(v) == pytest.approx(low.astype(float) @ b, rel=1e-13)
    assert np.array_equal(np.asarray(u + v), a + b)
    assert np.array_equal(np.asarray(u * v), a * b)
    assert np.array_equal(np.asarray(single + v), low + b)
    # One third is rounded once, not first to single precision.
    assert np.array_equal(np.asarray(single / 3.0), (low.astype(float) * (1 / 3.0)).astype("f4"))


def test_a_matrix_of_several_rounds(rng):
    """More columns than threads of a block; the vector in either precision."""
    matrix, places = rng.normal(size=(300, 300)), rng.permutation(400)[:300]
    x = rng.normal(size=400)
    for dtype, bound in ((np.float64, 1e-12), (np.float32, 1e-4)):
        expected = np.zeros(400)
        expected[places] = matrix @ x[places]
        found = PlacesMatrix(matrix, places)(Vector.of(x, dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_lsmr_of_several_blocks(rng, dtype):
    """Samples and parameters are more than the threads of a block."""
    rows, weights = 0.02 * rng.normal(size=(2100, 1100)), rng.uniform(0.1, 1, 2100)
    target = rng.normal(size=2100)
    target, weights = target.astype(dtype), weights.astype(dtype)
    options = {"damp": 0.1, "tolerance": 1e-6, "max_iterations": 6, "eps": 1e-15}
    x, *_ = lsmr(
        lambda v: (rows @ v).astype(dtype), lambda u: rows.T @ u, target, weights, **options
    )

    def forward(v):
        return Vector.of(rows @ np.asarray(v), dtype)

    def adjoint(u):
        return Vector.of(rows.T @ np.asarray(u), np.float64)

    given = (Vector.of(v, dtype) for v in (target, weights))
    found = np.asarray(krylov.lsmr(forward, adjoint, *given, **options)[0])
    bound = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(found, x, rtol=0, atol=bound * np.abs(x).max())


# -- flows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "formulation, solver, more",
    [
        ("velocity", "minres", {}),
        ("energy", "minres", {"preconditioner": 5, "precision": "mixed", "tolerance": 1e-7}),
        ("velocity", "lsmr", {}),
    ],
)
def test_a_flow_is_that_of_the_cpu(formulation, solver, more, monkeypatch):
    monkeypatch.setenv("PWGF_SYM_CUDA_THREADS", "32")
    options = {"samples": 70, "fresh_samples": 40, "linear_solver": solver}
    double_well_agrees(0.02, 1e-10, formulation=formulation, **options, **more)
