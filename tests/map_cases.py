"""Maps, references and samples on which kernels of maps are checked."""

from functools import cached_property

import numpy as np
import sympy as sp
from flow_reference import (
    AffineReference,
    FlowReference,
    InUnits,
    from_formula,
    tanh_derivatives,
)
from sample_energies import Energy, R

from pwgf_sym.declare.laws import Gaussian
from pwgf_sym.declare.maps import Affine, NeuralFlow

a = sp.Symbol("a", real=True)
SWISH, SINE, ERF = a / (1 + sp.exp(-a)), sp.sin(a), sp.erf(a)
TANH = sp.tanh(a)


def entropy_problem(dim, spread=0.5):
    """Potential and entropy; a correlated law, so that scores mix the coordinates."""
    root = np.tril(np.full((dim, dim), 0.3)) + np.diag(np.full(dim, spread))
    law = Gaussian(mean=np.linspace(-0.2, 0.3, dim), cov=root @ root.T)
    energy = Energy(dim, internal=R * sp.log(R))
    return Energy(dim, sum(c**2 for c in energy.x), R * sp.log(R)).problem(law)


class Case:
    """A map, its reference and samples."""

    def __init__(self, flow, count, noise=0.15, seed=0):
        self.flow, self.count = flow, count
        self.problem = entropy_problem(flow.dim)
        rng = np.random.default_rng(seed)
        self.theta = flow.initial_parameters(self.problem.initial, seed)
        self.theta = self.theta + noise * rng.standard_normal(self.theta.size)
        self.z = self.problem.initial.sample(count, seed)
        self.eta = rng.standard_normal(self.theta.size)
        self.field = rng.standard_normal((count, flow.dim))
        self.scalar = rng.standard_normal(count)

    @property
    def reference(self):
        """The map between the user's coordinates."""
        law = self.problem.initial
        spread = np.sqrt(np.trace(law.covariance) / law.dim)
        return InUnits(reference_of(self.flow), law.mean, spread)

    def check(self, program, tolerance=1e-12, second=1e-11):
        """All kernels of the map; ``second`` is for kernels of second derivatives."""
        self.prepare(program, tolerance, second)
        self.check_push()
        self.check_jvp()
        self.check_vjp()
        self.check_metric()
        self.check_jacobian()
        self.check_gradient()

    def prepare(self, program, tolerance=1e-12, second=1e-11):
        self.program, self.samples = program, program.samples(self.z)
        self.tolerance, self.second = tolerance, second

    def close(self, got, expected, tolerance):
        scale = np.max(np.abs(expected)) + 1e-3
        got = np.asarray(got)
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * scale)

    def check_push(self, carried=("x", "log_density", "score")):
        program, samples, reference = self.program, self.samples, self.reference
        law, theta, z = self.problem.initial, self.theta, self.z
        for carry in carried:
            state = program.push(theta, samples, carry)
            assert state.x.dtype == program.dtype
            x = program.unpack(state.x, samples)
            self.close(x, reference.push(theta, z), self.tolerance)
            if carry != "x":
                expected = reference.log_density(theta, z, law.log_density(z))
                got = program.unpack_scalar(state.log_density, samples)
                self.close(got, expected, self.tolerance)
            if carry == "score":
                expected = reference.score(theta, z, law.score(z))
                self.close(program.unpack(state.score, samples), expected, self.second)

    @cached_property
    def columns(self):
        """dT/dtheta, (p, n, d)."""
        return self.reference.jacobian_theta(self.theta, self.z)

    @property
    def pushed(self):
        return np.tensordot(self.eta, self.columns, 1)

    def check_jvp(self):
        got = self.program.jvp(self.theta, self.samples, self.eta)
        self.close(self.program.unpack(got, self.samples), self.pushed, self.tolerance)

    def check_vjp(self):
        packed = self.samples.pack(self.field) * (np.asarray(self.samples.weights) > 0)
        got = self.program.vjp(self.theta, self.samples, packed)
        self.close(got, np.tensordot(self.columns, self.field, 2), self.tolerance)

    def check_metric(self):
        got = self.program.metric(self.theta, self.samples, self.eta)
        expected = np.tensordot(self.columns, self.pushed, 2) / self.count
        self.close(got, expected, self.tolerance)

    def check_jacobian(self):
        program, samples = self.program, self.samples
        rows = program.jacobian(self.theta, samples)
        assert rows.shape == (program.size, samples.width)
        unpacked = np.stack([program.unpack(row, samples) for row in rows])
        self.close(unpacked, self.columns, self.tolerance)

    def check_gradient(self):
        """sum (dx/dtheta)^T field + (dl/dtheta)^T scalar."""
        program, samples = self.program, self.samples
        start = self.problem.initial.log_density(self.z)
        by_log = self.reference.log_density_theta(self.theta, self.z, start)
        expected = np.tensordot(self.columns, self.field, 2) + by_log @ self.scalar
        scalar = np.zeros(samples.weight.size, program.dtype)
        scalar[: self.count] = self.scalar
        field = samples.pack(self.field) * (np.asarray(samples.weights) > 0)
        got = program.linearize(self.theta, samples).gradient(field, scalar)
        self.close(got, expected, self.second)


def reference_of(flow):
    if isinstance(flow, Affine):
        return AffineReference(flow.dim)
    sigma = tanh_derivatives() if flow.activation == TANH else from_formula(flow.activation)
    trace = flow.log_determinant == "trace"
    return FlowReference(flow.dim, flow.width, flow.steps, sigma, flow.substep, trace)


def neural(dim, width, steps, activation=TANH, substep="euler", log_determinant="exact"):
    return NeuralFlow(
        dim, width, steps, lambda s: activation.xreplace({a: s}), substep, log_determinant
    )
