"""Every CUDA kernel beside its CPU twin: the same numbers, computed by threads and by tiles.

The twin is the CPU's generated text, run by NumPy.  Blocks have four threads here, and the samples
are no multiple of four; the simulator checks the bounds of every index.
"""

import numpy as np
import pytest
import sympy as sp
from gallery_flows import double_well_agrees
from sample_energies import ENERGIES
from tile_numpy import interpreted

from pwgf_sym.declare.maps import Affine, NeuralFlow
from pwgf_sym.kernels.carried import level_of, levels
from pwgf_sym.targets import kernel_matrix
from pwgf_sym.targets.program import compile_program

TOLERANCE = 1e-12
SAMPLES = 10
MAPS = {
    "exact": lambda d: NeuralFlow(d, 5, steps=1),
    "trace": lambda d: NeuralFlow(d, 5, steps=2, log_determinant="trace"),
    "rk4": lambda d: NeuralFlow(d, 3, steps=1, substep="rk4"),
    "sigmoid": lambda d: NeuralFlow(d, 4, steps=1, activation=lambda u: 1 / (1 + sp.exp(-u))),
    "affine": Affine,
}
CASES = [
    ("mixed", "exact"),
    ("double well", "trace"),
    ("double well", "rk4"),
    ("styblinski tang", "affine"),
    ("porous medium 2", "sigmoid"),
    ("aggregation", "trace"),
    ("ornstein uhlenbeck", "affine"),
]


def close(found, expected) -> bool:
    found, expected = np.asarray(found), np.asarray(expected)
    scale = max(float(np.abs(expected).max()), 1e-300)
    assert np.all(np.isfinite(found))
    return float(np.abs(found - expected).max()) <= TOLERANCE * scale


class Pair:
    """One problem and map on both targets, at the same samples and parameters."""

    def __init__(self, energy: str, kind: str, folder):
        problem = ENERGIES[energy].problem()
        flow = MAPS[kind](problem.dim)
        self.cpu = interpreted(problem, flow, folder, moments=False)
        self.gpu = compile_program(problem, flow, target="cuda", folder=folder)
        rng = np.random.default_rng(3)
        points = problem.initial.sample(SAMPLES, 1)
        self.theta = flow.initial_parameters(problem.initial)
        self.theta = self.theta + 0.1 * rng.normal(size=self.theta.size)
        self.eta = rng.normal(size=self.theta.size)
        self.field = rng.normal(size=(SAMPLES, problem.dim))
        self.both = [(p, p.samples(points)) for p in (self.cpu, self.gpu)]

    def compare(self, compute) -> None:
        """``compute(program, samples)`` gives arrays, which have to agree."""
        expected, found = (compute(*side) for side in self.both)
        for number, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert close(a, b), number


@pytest.fixture(scope="module", params=CASES, ids=["-".join(case) for case in CASES])
def pair(request, tmp_path_factory):
    return Pair(*request.param, tmp_path_factory.mktemp("modules"))


def test_push(pair):
    def compute(program, samples):
        for level in levels()[: len(level_of(program.form.reads))]:
            state = program.push(pair.theta, samples, level[-1].name)
            yield program.unpack(state.x, samples)
            if state.log_density is not None:
                yield program.unpack_scalar(state.log_density, samples)
            if state.score is not None:
                yield program.unpack(state.score, samples)

    pair.compare(lambda *side: list(compute(*side)))


def test_energy_and_velocity(pair):
    def compute(program, samples):
        state = program.push(pair.theta, samples, program.form.reads)
        integrals = program.integrals(state)
        velocity = program.velocity(state, integrals)
        return integrals, program.unpack(velocity, samples)

    pair.compare(compute)


def test_energy_gradient(pair):
    def compute(program, samples):
        return (program.slope(pair.theta, samples).gradient,)

    pair.compare(compute)


def test_derivatives_of_the_map(pair):
    def compute(program, samples):
        linearization = program.linearize(pair.theta, samples)
        packed = samples.pack(pair.field) * (np.asarray(samples.weights) > 0)
        yield program.unpack(linearization.jvp(pair.eta), samples)
        yield linearization.vjp(packed)
        yield linearization.metric(pair.eta)
        rows = linearization.jacobian()
        yield np.array([program.unpack(row, samples) for row in rows])

    pair.compare(lambda *side: list(compute(*side)))


def test_kernel_matrix(pair, monkeypatch):
    """From the factors of the rows, however few parameters there are."""
    monkeypatch.setattr(kernel_matrix, "_FEW_PARAMETERS", 0)
    pair.compare(lambda p, samples: [p.linearize(pair.theta, samples).kernel_matrix()])


def test_sums_are_the_same_to_the_bit_again(pair):
    (program, samples) = pair.both[1]
    once, again = (program.linearize(pair.theta, samples).metric(pair.eta) for _ in range(2))
    assert np.array_equal(np.asarray(once), np.asarray(again))


@pytest.mark.parametrize(
    "formulation, solver, more",
    [
        ("velocity", "lsmr", {}),
        ("energy", "cg", {}),
        ("energy", "lsmr", {}),
        ("energy", "minres", {"preconditioner": 5, "precision": "mixed", "tolerance": 1e-7}),
        ("velocity", "dense", {}),
        ("velocity", "kernel", {}),
    ],
)
def test_a_flow_is_that_of_the_cpu(formulation, solver, more, tmp_path, monkeypatch):
    """An Euler step of the double well in one dimension, beside the CPU's twin without compiler."""
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path))
    options = {"samples": 7, "fresh_samples": 3, "linear_solver": solver}
    options |= {"formulation": formulation, "beside": "numpy"} | more
    double_well_agrees(0.01, 1e-9, **options)
