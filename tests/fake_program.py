"""A NumPy stand-in for a compiled program: x = A z + b with a quadratic potential and entropy.

E = int (x - m)^T K (x - m)/2 rho dx + eps int rho log rho dx, theta = (A row by row, b).
Fields are packed in tiles of 8 samples with garbage in the padding, so that a solver that looks
past the weights is found out.
"""

import sys
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike

from pwgf_sym.declare import energies, symbols
from pwgf_sym.declare.law import Law
from pwgf_sym.declare.laws import Gaussian
from pwgf_sym.declare.maps import Affine, Map
from pwgf_sym.declare.problem import GradientFlow
from pwgf_sym.derive.sums import IndexedSum
from pwgf_sym.errors import EnergyError
from pwgf_sym.solver import protocols
from pwgf_sym.solver.flow import solve
from pwgf_sym.solver.protocols import Algebra
from pwgf_sym.solver.solution import Row, Solution
from pwgf_sym.targets.algebra import HostAlgebra

LANES = 8
GARBAGE = 7.0

# One problem for all tests: K, m, eps, and the initial Gaussian.
STIFFNESS = np.array([[1.0, 0.4], [0.4, 2.0]])
CENTER = np.array([0.5, -1.0])
ENTROPY = 0.7
MEAN, COV = np.array([1.0, 2.0]), np.array([[0.5, 0.2], [0.2, 1.5]])


def quadratic_problem(
    initial: Law, stiffness: ArrayLike, center: ArrayLike, entropy: float
) -> tuple[GradientFlow, Affine]:
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
    """Points of the initial law with their parts of a mean, and how fields at them are packed."""

    points: np.ndarray
    weight: np.ndarray
    dtype: np.dtype[Any]
    log_density: np.ndarray
    score: np.ndarray
    scratch: dict[Any, Any] = field(default_factory=dict)
    lanes: int = LANES

    def __post_init__(self) -> None:
        self.count, self.dim = self.points.shape
        self.tiles = -(-self.count // LANES)
        self.width = self.tiles * LANES * self.dim
        self.weights = self.pack(np.tile(self.weight, (self.dim, 1)).T, 0.0)

    @property
    def z(self) -> np.ndarray:
        return self.pack(self.points)

    def pack(self, values: np.ndarray, padding: float = GARBAGE) -> np.ndarray:
        full = np.full((self.tiles * LANES, self.dim), padding)
        full[: self.count] = values
        packed = full.reshape(self.tiles, LANES, self.dim).swapaxes(1, 2).ravel()
        return packed.astype(self.dtype)

    def unpack(self, values: np.ndarray) -> np.ndarray:
        full = np.asarray(values).reshape(-1, self.dim, LANES).swapaxes(1, 2)
        return full.reshape(-1, self.dim)[: self.count]

    def unpack_scalar(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(values)[: self.count]


@dataclass
class AffineState:
    """Pushed samples, and what they carry."""

    samples: AffineSamples
    x: np.ndarray
    log_density: np.ndarray | None = None
    score: np.ndarray | None = None


@dataclass
class Label:
    """An integral."""

    label: str


@dataclass
class AffineForm:
    """What the energy reads."""

    integrals: Sequence[Label] = (Label("potential"), Label("entropy"))
    rough: EnergyError | None = None
    reads: tuple[str, ...] = ("log_density", "score")
    velocity_reads: tuple[str, ...] = ("score",)
    energy_reads: tuple[str, ...] = ("log_density",)
    sums: tuple[IndexedSum, ...] = ()


class AffineProgram:
    """A ``pwgf_sym.solver.protocols.Program`` of the affine map: see the docstring above."""

    unknown_constant, separable, sums_pairs = "", True, False

    def __init__(
        self,
        problem: GradientFlow,
        map: Map,
        stiffness: ArrayLike,
        center: ArrayLike,
        dtype: str = "float64",
    ) -> None:
        self.problem, self.map, self.form = problem, map, AffineForm()
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.dim = map.dim
        self.size = self.dim**2 + self.dim
        self.stiffness, self.center = np.asarray(stiffness), np.asarray(center)
        (self.entropy,) = problem.parameters.values()
        self.calls = {"push": 0, "jvp": 0, "metric": 0}

    def at(self, time: float, /) -> "AffineProgram":
        return self

    def beginning_with(self, initial: Law) -> "AffineProgram":
        raise NotImplementedError("no run on it restarts")

    @property
    def local_jacobian(self) -> None:
        raise EnergyError("energy", "the stand-in", "a compiled energy")

    def samples(self, points: np.ndarray, shares: np.ndarray | None = None) -> AffineSamples:
        points = np.asarray(points, float)
        law, count = self.problem.initial, len(points)
        shares = np.full(count, 1 / count) if shares is None else shares
        carried = law.log_density(points), law.score(points)
        return AffineSamples(points, shares, self.dtype, *carried)

    def in_groups(self, samples: Any, partners: int, seed: int) -> AffineSamples:
        raise NotImplementedError  # no sample has partners

    def packed(self, points: np.ndarray) -> AffineSamples:
        return self.samples(points)  # the map's coordinates are the user's

    # Kernels.

    def _parts(self, theta: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        theta = np.asarray(theta, float)
        d = self.dim
        return theta[: d * d].reshape(d, d), theta[d * d :]

    def push(
        self, theta: np.ndarray, samples: Any, carry: str | Collection[str] = "x"
    ) -> AffineState:
        self.calls["push"] += 1
        matrix, shift = self._parts(theta)
        state = AffineState(samples, samples.pack(samples.points @ matrix.T + shift))
        if "score" in carry or "log_density" in carry:
            values = samples.log_density - np.linalg.slogdet(matrix)[1]
            padded = np.full(len(state.x) // self.dim, GARBAGE)
            padded[: samples.count] = values
            state.log_density = padded.astype(self.dtype)
        if "score" in carry:
            state.score = samples.pack(np.linalg.solve(matrix.T, samples.score.T).T)
        return state

    def integrals(self, state: Any) -> np.ndarray:
        samples = state.samples
        offset = samples.unpack(state.x) - self.center
        potential = np.einsum("ni,ij,nj->n", offset, self.stiffness, offset) / 2
        logs = samples.unpack_scalar(state.log_density)
        return np.array([samples.weight @ potential, samples.weight @ logs], float)

    def sums_at(self, points: np.ndarray) -> dict[str, np.ndarray]:
        return {}

    def energy(self, integrals: np.ndarray) -> float:
        return float(integrals[0] + self.entropy * integrals[1])

    def velocity(self, state: Any, integrals: np.ndarray | None = None) -> np.ndarray:
        offset = state.samples.unpack(state.x) - self.center
        score = state.samples.unpack(state.score)
        found: np.ndarray = state.samples.pack(-offset @ self.stiffness - self.entropy * score)
        return found

    def velocity_jacobian(self, state: Any, integrals: np.ndarray) -> np.ndarray:
        return np.broadcast_to(-self.stiffness, (state.samples.count, self.dim, self.dim))

    def linearize(
        self, theta: np.ndarray, samples: Any, carry: str | Collection[str] = "x"
    ) -> "AffineLinearization":
        return AffineLinearization(self, theta, self.push(theta, samples, carry))

    def slope(self, theta: np.ndarray, samples: Any) -> "AffineSlope":
        linearization = self.linearize(theta, samples, "log_density")
        state, (matrix, _) = linearization.state, self._parts(theta)
        force = (samples.unpack(state.x) - self.center) @ self.stiffness
        by_matrix = force.T @ samples.points / samples.count
        by_matrix -= self.entropy * np.linalg.inv(matrix).T
        gradient = np.concatenate([by_matrix.ravel(), force.mean(axis=0)]).astype(self.dtype)
        return AffineSlope(linearization, self.integrals(state), gradient)

    def jvp(self, theta: np.ndarray, samples: AffineSamples, eta: np.ndarray) -> np.ndarray:
        self.calls["jvp"] += 1
        matrix, shift = self._parts(eta)
        return samples.pack(samples.points @ matrix.T + shift)

    def invert(
        self, theta: np.ndarray, points: np.ndarray, *, near: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        matrix, shift = self._parts(theta)
        z = np.linalg.solve(matrix, (np.asarray(points) - shift).T).T
        return z, np.full(len(z), np.linalg.slogdet(matrix)[1])


class AffineLinearization:
    """Products with the derivative of the affine map, which does not depend on theta."""

    unit = 1.0

    def __init__(self, program: AffineProgram, theta: np.ndarray, state: AffineState) -> None:
        self.program, self.samples, self.state = program, state.samples, state
        self.theta = np.asarray(theta, program.dtype)
        self.algebra: Algebra = HostAlgebra()

    def jvp(self, eta: np.ndarray) -> np.ndarray:
        return self.program.jvp(self.theta, self.samples, eta)

    def vjp(self, field: np.ndarray) -> np.ndarray:
        values = self.samples.unpack(field).astype(float)
        parts = [(values.T @ self.samples.points).ravel(), values.sum(axis=0)]
        return np.concatenate(parts).astype(self.program.dtype)

    def metric(self, eta: np.ndarray) -> np.ndarray:
        self.program.calls["metric"] += 1
        return self.vjp(self.jvp(eta)) / self.samples.count

    def jacobian(self) -> np.ndarray:
        return np.stack([self.jvp(unit) for unit in np.eye(self.program.size)])

    def kernel_matrix(self) -> np.ndarray:
        rows = [self.samples.unpack(row).T.ravel() for row in self.jacobian()]
        return np.transpose(rows) @ np.array(rows)

    def on_first(self, count: int) -> "AffineLinearization":
        samples = self.program.samples(self.samples.points[:count])
        return self.program.linearize(self.theta, samples)

    def in_single(self) -> "AffineLinearization":
        program = copy(self.program)
        program.dtype = np.dtype("float32")
        return program.linearize(self.theta, program.samples(self.samples.points))


@dataclass
class AffineSlope:
    """The energy's gradient, with the linearized map."""

    linearization: AffineLinearization
    integrals: np.ndarray
    gradient: np.ndarray


if TYPE_CHECKING:  # a type checker sees whether the stand-ins are what the solver asks for

    def is_a_program(stand_in: AffineProgram) -> protocols.Program:
        return stand_in

    def is_a_linearized_map(stand_in: AffineLinearization) -> protocols.Linearized:
        return stand_in


def exact_moments(
    t: float,
    mean: ArrayLike,
    cov: np.ndarray,
    stiffness: ArrayLike,
    center: ArrayLike,
    entropy: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance at time t of the flow from N(mean, cov), for an invertible K.

    mean' = -K (mean - m), cov' = -K cov - cov K + 2 eps I, so cov(t) - eps K^-1 decays as exp(-K t)
    from both sides.
    """
    from scipy.linalg import expm

    decay = expm(-t * np.asarray(stiffness))
    limit = entropy * np.linalg.inv(np.asarray(stiffness))
    center = np.asarray(center)
    return center + decay @ (np.asarray(mean) - center), limit + decay @ (cov - limit) @ decay.T


def still(dim: int) -> Solution:
    """A solution in some dimension: a Gaussian that is scaled by two from time 0 to 1."""
    problem, flow = quadratic_problem(Gaussian(np.zeros(dim), 1.0), np.eye(dim), np.zeros(dim), 0.5)
    program = AffineProgram(problem, flow, np.eye(dim), np.zeros(dim))
    rows = []
    for t in (0.0, 0.5, 1.0):
        theta = np.concatenate([(1 + t) * np.eye(dim).ravel(), np.zeros(dim)])
        rows.append(Row(t, theta, 1 - t, 1.0, 0.1 * t, 0.1, 1e-9, 3, True))
    return Solution(rows, program, {"target": "cpu", "dtype": "float64"}, "completed")


def fake_compiler(monkeypatch: Any) -> list[AffineProgram]:
    """Put the stand-in where ``solve`` looks for the compiler; gives the programs it builds."""
    built: list[AffineProgram] = []

    def compile_program(
        problem: GradientFlow, map: Map, *, target: str, dtype: str
    ) -> AffineProgram:
        assert target == "cpu"
        built.append(AffineProgram(problem, map, STIFFNESS, CENTER, dtype))
        return built[-1]

    module = ModuleType("pwgf_sym.targets.program")
    setattr(module, "compile_program", compile_program)  # noqa: B010 -- a module takes any name
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return built


def problem() -> tuple[GradientFlow, Affine]:
    """Problem and map of all tests."""
    return quadratic_problem(Gaussian(MEAN, COV), STIFFNESS, CENTER, ENTROPY)


def run(t_span: tuple[float, float] = (0.0, 0.5), **options: Any) -> Solution:
    """Solve it, with few samples and steps and without regularization unless asked otherwise."""
    options = {"samples": 128, "dt": 0.05, "tolerance": 1e-6, "shift": 0.0} | options
    return solve(*problem(), t_span, **options)


def moments(solution: Solution, t: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the push-forward of the initial law, exact for an affine map."""
    theta = solution._at(t)[1]
    matrix, shift = theta[:4].reshape(2, 2), theta[4:]
    return matrix @ MEAN + shift, matrix @ COV @ matrix.T
