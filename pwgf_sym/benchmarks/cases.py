"""The problems that every side of the benchmarks computes, as plain arrays.

Energy E = int V rho + rho log rho with V = sum_i (x_i^2 - 1)^2 / 4, reference N(0, I), and the flow

    x' = x + h v(x),  l' = l - h div v(x),  s' = s - h (grad div v + (grad v)^T s),   h = 1/8,

of eight fields v(x) = A x + b + W2 tanh(W1 x + c), with parameters theta = [A, b, W1, c, W2] a
step.  Pairs: E = 1/2 int int W(x - y) rho rho.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

__all__ = [
    "CG_ITERATIONS",
    "KERNELS",
    "PAIR_KERNELS",
    "SHIFT",
    "STEPS",
    "TRIAL_ITERATIONS",
    "Case",
    "PairCase",
    "step_parameters",
]

STEPS = 8
SHIFT = 1e-5
CG_ITERATIONS = 50
# Sides are compared after so many: rounding grows with the iterations, as it does between any two
# orders of summation.
TRIAL_ITERATIONS = 5
# "metric" computes everything from theta; "product" may use what it stored of (theta, samples)
# beforehand, as a Krylov solve does.
KERNELS = ("push", "push_log_density", "push_score", "gradient", "metric", "product")
PAIR_KERNELS = ("quartic", "gaussian")


def step_parameters(theta: np.ndarray, dim: int, width: int) -> list[dict[str, np.ndarray]]:
    """Parameters by step and name: views of ``theta`` (p,).

    Returns
    -------
    list of dict
        A (d, d), b (d,), W1 (m, d), c (m,), W2 (d, m) of every step.
    """
    shapes = {"A": (dim, dim), "b": (dim,), "W1": (width, dim), "c": (width,), "W2": (dim, width)}
    found, at = [], 0
    size = dim * dim + dim + 2 * dim * width + width
    for _ in range(theta.shape[0] // size):
        step = {}
        for name, shape in shapes.items():
            length = int(np.prod(shape))
            step[name] = theta[at : at + length].reshape(shape)
            at += length
        found.append(step)
    return found


@dataclass(frozen=True)
class Case:
    """One size of the map problem.

    Attributes
    ----------
    dim, width, samples : int
        Dimension d, hidden units m, number N of samples.
    dtype : str
        "float64" or "float32": the precision of every side.
    steps : int
        Steps of the map.
    start : (p,) array, optional
        Parameters; by default the identity, and a tenth of a standard normal vector.
    """

    dim: int
    width: int
    samples: int = 4096
    dtype: str = "float64"
    steps: int = STEPS
    start: np.ndarray | None = field(default=None, compare=False, repr=False)

    @cached_property
    def problem(self):
        """Energy and reference density as a user writes them."""
        import sympy as sp

        from ..declare.energies import integral
        from ..declare.laws import Gaussian
        from ..declare.problem import GradientFlow
        from ..declare.symbols import Density, coordinates

        x = coordinates(self.dim)
        rho = Density(x)
        potential = sum((a**2 - 1) ** 2 for a in x) / 4
        energy = integral(potential * rho + rho * sp.log(rho), x)
        return GradientFlow(energy, rho, Gaussian(mean=np.zeros(self.dim), cov=1.0))

    @cached_property
    def map(self):
        """The map of the problem."""
        import sympy as sp

        from ..declare.maps import NeuralFlow

        return NeuralFlow(self.dim, self.width, self.steps, sp.tanh, log_determinant="trace")

    @cached_property
    def theta(self) -> np.ndarray:
        """Parameters (p,)."""
        if self.start is not None:
            return self.start.astype(self.dtype)
        start = self.map.initial_parameters(self.problem.initial)
        return (start + 0.1 * self._random(1).standard_normal(start.size)).astype(self.dtype)

    @cached_property
    def eta(self) -> np.ndarray:
        """A direction (p,) for the metric product."""
        return self._random(2).standard_normal(self.theta.size).astype(self.dtype)

    @cached_property
    def z(self) -> np.ndarray:
        """Samples (N, d) of N(0, I)."""
        return self._random(3).standard_normal((self.samples, self.dim)).astype(self.dtype)

    @cached_property
    def log_density(self) -> np.ndarray:
        """log N(0, I) at the samples, (N,)."""
        z = self.z.astype(np.float64)
        constant = 0.5 * self.dim * np.log(2 * np.pi)
        return (-0.5 * np.sum(z * z, axis=1) - constant).astype(self.dtype)

    @property
    def name(self) -> str:
        return f"{self.dim}/{self.width}"

    def _random(self, stream: int):
        return np.random.default_rng([stream, self.dim, self.width])


@dataclass(frozen=True)
class PairCase:
    """All pairs of N points: energy 1/2 mean_{i != j} W(x_i - x_j) and velocity, by "kind".

    quartic: W = |x - y|^4/4 - |x - y|^2/2;  gaussian: W = exp(-|x - y|^2/2).
    """

    dim: int
    samples: int = 4096
    dtype: str = "float64"

    def problem(self, kind: str):
        """The energy as a user writes it."""
        import sympy as sp

        from ..declare.energies import integral
        from ..declare.laws import Gaussian
        from ..declare.problem import GradientFlow
        from ..declare.symbols import Density, coordinates, copy_of

        x = coordinates(self.dim)
        y = copy_of(x)
        rho = Density(x)
        square = sum((a - b) ** 2 for a, b in zip(x, y))
        w = square**2 / 4 - square / 2 if kind == "quartic" else sp.exp(-square / 2)
        energy = integral(w * rho * rho.at(y), x, y) / 2
        return GradientFlow(energy, rho, Gaussian(mean=np.zeros(self.dim), cov=1.0))

    @cached_property
    def z(self) -> np.ndarray:
        """Points (N, d)."""
        points = np.random.default_rng([4, self.dim]).standard_normal((self.samples, self.dim))
        return points.astype(self.dtype)

    @property
    def name(self) -> str:
        return f"{self.dim}"
