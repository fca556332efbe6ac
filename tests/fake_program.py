"""A NumPy stand-in for a compiled program: x = A z + b with a quadratic potential and entropy.

E = int (x - m)^T K (x - m)/2 rho dx + eps int rho log rho dx, theta = (A row by row, b).
Fields are packed in tiles of 8 samples with garbage in the padding, so that a solver that looks
past the weights is found out.
"""

import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace

import numpy as np
import sympy as sp

from pwgf_sym.declare import energies, symbols
from pwgf_sym.declare.laws import Gaussian
from pwgf_sym.declare.maps import Affine
from pwgf_sym.declare.problem import GradientFlow
from pwgf_sym.errors import EnergyError
from pwgf_sym.solver.flow import solve
from pwgf_sym.solver.solution import Row, Solution
from pwgf_sym.targets.algebra import HostAlgebra

LANES = 8
GARBAGE = 7.0

# One problem for all tests: K, m, eps, and the initial Gaussian.
STIFFNESS = np.array([[1.0, 0.4], [0.4, 2.0]])
CENTER = np.array([0.5, -1.0])
ENTROPY = 0.7
MEAN, COV = np.array([1.0, 2.0]), np.array([[0.5, 0.2], [0.2, 1.5]])


def quadratic_problem(initial, stiffness, center, entropy):
    """The problem that :class:`AffineProgram` solves, in symbols."""
    x = symbols.coordinates(initial.dim)
    rho = symbols.Density(x)
    offset = sp.Matrix(x) - sp.Matrix(np.asarray(center, float))
    potential = (offset.T * sp.Matrix(np.asarray(stiffness, float)) * offset)[0] / 2
    eps = sp.Symbol("eps", positive=True)
    energy = energies.integral(potential * rho + eps * rho * sp.log(rho), x)
    return GradientFlow(energy, rho, initial, parameters={eps: entropy}), Affine(initial.dim)


@dataclass
class AffineSamples:
    """Points of the initial law with their parts of a mean, and what a program packs them by."""

    points: np.ndarray
    weight: np.ndarray
    weights: np.ndarray
    log_density: np.ndarray
    score: np.ndarray

    @property
    def count(self):
        return len(self.points)

    def unpack(self, field):
        dim = self.points.shape[1]
        full = np.asarray(field).reshape(-1, dim, LANES).swapaxes(1, 2)
        return full.reshape(-1, dim)[: self.count]

    def unpack_scalar(self, values):
        return np.asarray(values)[: self.count]


@dataclass
class AffineState:
    """Pushed samples, and what they carry."""

    samples: AffineSamples
    x: np.ndarray
    log_density: np.ndarray | None = None
    score: np.ndarray | None = None


class AffineProgram:
    """The Program interface for the affine map; see the module's docstring."""

    def __init__(self, problem, map, stiffness, center, dtype="float64"):
        self.problem, self.map, self.dtype = problem, map, np.dtype(dtype)
        self.dim = map.dim
        self.size = self.dim**2 + self.dim
        self.stiffness, self.center = np.asarray(stiffness), np.asarray(center)
        (self.entropy,) = problem.parameters.values()
        self.unknown_constant = ""
        self.separable = True
        self.form = SimpleNamespace(
            rough=False,
            reads=("log_density", "score"),
            velocity_reads=("score",),
            energy_reads=("log_density",),
            integrals=(SimpleNamespace(label="potential"), SimpleNamespace(label="entropy")),
        )
        self.calls = {"push": 0, "jvp": 0, "metric": 0}

    @property
    def local_jacobian(self):
        raise EnergyError("energy", "the stand-in", "a compiled energy")

    # Packing.

    def samples(self, points, shares=None):
        points = np.asarray(points, float)
        law = self.problem.initial
        count = len(points)
        shares = np.full(count, 1 / count) if shares is None else shares
        weights = self._pack(np.tile(shares, (self.dim, 1)).T, 0.0)
        return AffineSamples(points, shares, weights, law.log_density(points), law.score(points))

    def _pack(self, field, padding=GARBAGE):
        field = np.asarray(field, float)
        tiles = -(-len(field) // LANES)
        full = np.full((tiles * LANES, self.dim), padding)
        full[: len(field)] = field
        return full.reshape(tiles, LANES, self.dim).swapaxes(1, 2).ravel().astype(self.dtype)

    def unpack(self, field, samples):
        return samples.unpack(field)

    def unpack_scalar(self, values, samples):
        return samples.unpack_scalar(values)

    # Kernels.

    def _parts(self, theta):
        theta = np.asarray(theta, float)
        d = self.dim
        return theta[: d * d].reshape(d, d), theta[d * d :]

    def push(self, theta, samples, carry="x"):
        self.calls["push"] += 1
        matrix, shift = self._parts(theta)
        state = AffineState(samples, self._pack(samples.points @ matrix.T + shift))
        if "score" in carry or "log_density" in carry:
            values = samples.log_density - np.linalg.slogdet(matrix)[1]
            padded = np.full(len(state.x) // self.dim, GARBAGE)
            padded[: samples.count] = values
            state.log_density = padded.astype(self.dtype)
        if "score" in carry:
            state.score = self._pack(np.linalg.solve(matrix.T, samples.score.T).T)
        return state

    def integrals(self, state):
        samples = state.samples
        offset = samples.unpack(state.x) - self.center
        potential = np.einsum("ni,ij,nj->n", offset, self.stiffness, offset) / 2
        logs = samples.unpack_scalar(state.log_density)
        return np.array([samples.weight @ potential, samples.weight @ logs], float)

    def energy(self, integrals):
        return float(integrals[0] + self.entropy * integrals[1])

    def velocity(self, state, integrals=None):
        offset = state.samples.unpack(state.x) - self.center
        score = state.samples.unpack(state.score)
        return self._pack(-offset @ self.stiffness - self.entropy * score)

    def velocity_jacobian(self, state, integrals):
        return np.broadcast_to(-self.stiffness, (state.samples.count, self.dim, self.dim))

    def linearize(self, theta, samples, carry="x"):
        return AffineLinearization(self, theta, samples, self.push(theta, samples, carry))

    def gradient(self, linearization, integrals):
        state = linearization.state
        samples = state.samples
        matrix, _ = self._parts(linearization.theta)
        force = (samples.unpack(state.x) - self.center) @ self.stiffness
        by_matrix = force.T @ samples.points / samples.count
        by_matrix -= self.entropy * np.linalg.inv(matrix).T
        return np.concatenate([by_matrix.ravel(), force.mean(axis=0)]).astype(self.dtype)

    def slope(self, theta, samples):
        linearization = self.linearize(theta, samples, "log_density")
        integrals = self.integrals(linearization.state)
        gradient = self.gradient(linearization, integrals)
        return SimpleNamespace(linearization=linearization, integrals=integrals, gradient=gradient)

    def jvp(self, theta, samples, eta):
        self.calls["jvp"] += 1
        matrix, shift = self._parts(eta)
        return self._pack(samples.points @ matrix.T + shift)

    def invert(self, theta, points):
        matrix, shift = self._parts(theta)
        z = np.linalg.solve(matrix, (np.asarray(points) - shift).T).T
        return z, np.full(len(z), np.linalg.slogdet(matrix)[1])


class AffineLinearization:
    """Products with the derivative of the affine map, which does not depend on theta."""

    algebra, unit = HostAlgebra(), 1.0

    def __init__(self, program, theta, samples, state):
        self.program, self.samples, self.state = program, samples, state
        self.theta = np.asarray(theta, program.dtype)

    def jvp(self, eta):
        return self.program.jvp(self.theta, self.samples, eta)

    def vjp(self, field):
        field = self.samples.unpack(field).astype(float)
        parts = [(field.T @ self.samples.points).ravel(), field.sum(axis=0)]
        return np.concatenate(parts).astype(self.program.dtype)

    def metric(self, eta):
        self.program.calls["metric"] += 1
        return self.vjp(self.jvp(eta)) / self.samples.count

    def jacobian(self):
        return np.stack([self.jvp(unit) for unit in np.eye(self.program.size)])


def exact_moments(t, mean, cov, stiffness, center, entropy):
    """Mean and covariance at time t of the flow from N(mean, cov), for an invertible K.

    mean' = -K (mean - m), cov' = -K cov - cov K + 2 eps I, so cov(t) - eps K^-1 decays as exp(-K t)
    from both sides.
    """
    from scipy.linalg import expm

    decay = expm(-t * np.asarray(stiffness))
    limit = entropy * np.linalg.inv(stiffness)
    center = np.asarray(center)
    return center + decay @ (np.asarray(mean) - center), limit + decay @ (cov - limit) @ decay.T


def still(dim):
    """A solution in some dimension: a Gaussian that is scaled by two from time 0 to 1."""
    problem, flow = quadratic_problem(Gaussian(np.zeros(dim), 1.0), np.eye(dim), np.zeros(dim), 0.5)
    program = AffineProgram(problem, flow, np.eye(dim), np.zeros(dim))
    rows = []
    for t in (0.0, 0.5, 1.0):
        theta = np.concatenate([(1 + t) * np.eye(dim).ravel(), np.zeros(dim)])
        rows.append(Row(t, theta, 1 - t, 1.0, 0.1 * t, 0.1, 1e-9, 3, True))
    return Solution(rows, program, {"target": "cpu", "dtype": "float64"}, "completed")


def fake_compiler(monkeypatch):
    """Put the stand-in where ``solve`` looks for the compiler; gives the programs it builds."""
    built = []

    def compile_program(problem, map, *, target, dtype):
        assert target == "cpu"
        built.append(AffineProgram(problem, map, STIFFNESS, CENTER, dtype))
        return built[-1]

    module = ModuleType("pwgf_sym.targets.program")
    module.compile_program = compile_program
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return built


def problem():
    """Problem and map of all tests."""
    return quadratic_problem(Gaussian(MEAN, COV), STIFFNESS, CENTER, ENTROPY)


def run(t_span=(0.0, 0.5), **options):
    """Solve it, with few samples and steps and without regularization unless asked otherwise."""
    options = {"samples": 128, "dt": 0.05, "tolerance": 1e-6, "shift": 0.0} | options
    return solve(*problem(), t_span, **options)


def moments(solution, t=None):
    """Mean and covariance of the push-forward of the initial law, exact for an affine map."""
    theta = solution._at(t)[1]
    matrix, shift = theta[:4].reshape(2, 2), theta[4:]
    return matrix @ MEAN + shift, matrix @ COV @ matrix.T
