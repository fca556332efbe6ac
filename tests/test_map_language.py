"""Maps written in few lines, on all targets: values, densities, scores, inverses, derivatives.

Truth: the same maps in NumPy, determinants and derivatives by complex steps, scores by differences.
"""

import inspect

import numpy as np
import pytest
from amounts import amount
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from language_maps import (
    IN_NUMPY,
    Bends,
    Features,
    NeuralODE,
    Planes,
    Polynomial,
    RealNVP,
    TwoLayers,
)
from map_cases import entropy_problem
from on_targets import program_on

#: What is small enough that every map is one to one, beside parameters of the size 1.
SIZES = {Polynomial: 0.06, TwoLayers: 0.3, Features: 0.15, Bends: 0.2}
CASES = {
    "bends": (Bends, 3),
    "planes": (Planes, 3),
    "two layers": (TwoLayers, 2, 3),
    "RealNVP": (RealNVP, 3),
    "neural ODE": (NeuralODE, 2, 3),
    "features": (Features, 2, 5),
    "polynomial": (Polynomial, 2),
}


class Truth:
    """A map between the user's coordinates, in NumPy, and what follows by numbers."""

    def __init__(self, flow, law, formula=None):
        self.flow, self.law = flow, law
        self.formula = formula or IN_NUMPY[type(flow)]
        self.spread = np.sqrt(np.trace(law.covariance) / law.dim)

    def push(self, theta, z):
        whitened = (z - self.law.mean) / self.spread
        return self.law.mean + self.spread * self.formula(self.flow, theta, whitened)

    def by_z(self, theta, z):
        """dT/dz, (n, d, d)."""
        unit = 1e-30j * np.eye(self.flow.dim)
        return np.stack([self.push(theta, z + e).imag * 1e30 for e in unit], axis=-1)

    def volume(self, theta, z):
        return np.linalg.slogdet(self.by_z(theta, z))[1]

    def score(self, theta, z):
        """The gradient of the log density at T(z), by central differences of the volume."""
        step = 1e-5 * np.eye(self.flow.dim)
        slopes = [self.volume(theta, z + e) - self.volume(theta, z - e) for e in step]
        before = self.law.score(z) - np.stack(slopes, axis=-1) / 2e-5
        transposed = np.swapaxes(self.by_z(theta, z), 1, 2)
        return np.linalg.solve(transposed, before[..., None])[..., 0]

    def volume_by_theta(self, theta, z, weights):
        """The gradient of the sum of weighted volumes, by central differences of fourth order."""

        def slope(h):
            steps = h * np.eye(len(theta))
            sums = [(self.volume(theta + e, z), self.volume(theta - e, z)) for e in steps]
            return np.array([(a - b) @ weights / (2 * h) for a, b in sums])

        return (4 * slope(1e-4) - slope(2e-4)) / 3

    def by_theta(self, theta, z):
        """dT/dtheta, (p, n, d)."""
        unit = 1e-30j * np.eye(len(theta))
        return np.array([self.push(theta + e, z).imag * 1e30 for e in unit])


def parameters(flow, size, seed):
    """Parameters at which the map is one to one."""
    theta = np.random.default_rng([seed, 7]).normal(size=size) * SIZES.get(type(flow), 0.5)
    if isinstance(flow, Planes):  # u.w > -1
        rows = theta.reshape(flow.steps, -1)
        rows[:, : flow.dim] = 0.8 * rows[:, flow.dim : -1]
    return theta


def check(flow, target, folder, seed=0, count=5):
    """All that a program computes of a map, beside numbers of its own."""
    problem = entropy_problem(flow.dim)
    program = program_on(target, problem, flow, folder)
    truth = Truth(flow, problem.initial)
    random = np.random.default_rng(seed)
    theta = parameters(flow, program.size, seed)
    z, u = 0.6 * random.normal(size=(2, count, flow.dim))
    samples = program.samples(z)
    state = program.push(theta, samples, "score")

    def close(found, expected, tolerance):
        scale = np.abs(expected).max() + 1e-3
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)

    moved = program.unpack(state.x, samples)
    close(moved, truth.push(theta, z), 1e-12)
    volume = truth.volume(theta, z)
    density = program.unpack_scalar(state.log_density, samples)
    close(density, problem.initial.log_density(z) - volume, 1e-9)
    close(program.unpack(state.score, samples), truth.score(theta, z), 1e-6)
    back, log_det = program.invert(theta, moved)
    close(back, z, 1e-10)
    close(log_det, volume, 1e-9)
    rows, linearized = truth.by_theta(theta, z), program.linearize(theta, samples)
    close(np.array([program.unpack(r, samples) for r in linearized.jacobian()]), rows, 1e-10)
    eta = random.normal(size=program.size)
    close(program.unpack(linearized.jvp(eta), samples), np.tensordot(eta, rows, 1), 1e-10)
    field = samples.pack(u) * (np.asarray(samples.weights) > 0)
    close(linearized.vjp(field), np.einsum("pni,ni->p", rows, u), 1e-10)
    weights = np.zeros(samples.weight.size)
    weights[:count] = u[:, 0]
    slopes = truth.volume_by_theta(theta, z, u[:, 0])
    close(linearized.gradient(0 * field, weights), -slopes, 1e-7)


@pytest.mark.parametrize("name", CASES)
def test_a_map_of_few_lines(name, target, tmp_path):
    kind, *arguments = CASES[name]
    check(kind(*arguments), target, tmp_path)


# What kernels call arrays, inputs, functions and variables of their own.
NAMES = [("field", "scalar", "pull"), ("spread", "U", "range"), ("unit", "exp", "count")]
NAMES += [("b_i", "V1", "fma"), ("eta_b", "b", "x_out"), ("own_b", "b", "__debug__")]


@pytest.mark.parametrize("names", NAMES, ids="-".join)
def test_parameters_have_any_names(names, target, tmp_path):
    check(Bends(2, steps=1, names=names), target, tmp_path)


def test_the_maps_are_short():
    for kind in IN_NUMPY:
        lines = [line for line in inspect.getsource(kind).splitlines() if line.strip()]
        assert len(lines) <= 20, kind.__name__


@st.composite
def random_maps(draw):
    """A map of any of the kinds, of random lengths."""
    kind = draw(st.sampled_from(list(IN_NUMPY)))
    dim = draw(st.integers(2 if kind is RealNVP else 1, 4))
    width = [draw(st.integers(1, 5))] if kind in (TwoLayers, NeuralODE, Features) else []
    steps = {} if kind is Features else {"steps": draw(st.integers(1, 3))}
    return kind(dim, *width, **steps)


@settings(
    max_examples=amount(12, 60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(random_maps(), st.integers(0, 1000))
def test_maps_of_random_lengths(tmp_path, flow, seed):
    check(flow, "numpy", tmp_path, seed, count=3)
