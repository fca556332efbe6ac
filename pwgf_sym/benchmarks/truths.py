"""Exact answers of the problems in `.exact_problems`: where each point is at a time.

A truth has ``positions(z, t)``, the exact Lagrangian map at points (N, d) of the initial law, and
``spread(t)``, the root mean variance of a coordinate of the law at t; truths of flows whose
coordinates do not see each other have ``quantiles(levels, t)`` of every marginal, too.  Nothing is
computed before it is asked for, and what took long is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .. import exact

__all__ = ["Affine", "Beside", "Deterministic", "Gathering", "Linear", "Plane", "Separable"]
__all__ += ["Wells"]


@dataclass(frozen=True)
class Affine:
    """An Ornstein-Uhlenbeck or linear McKean-Vlasov flow from a Gaussian."""

    A: np.ndarray
    eps: float
    mean: np.ndarray
    cov: np.ndarray
    attraction: np.ndarray | float = 0.0

    def positions(self, z, t):
        """Exact positions at time t of points (N, d)."""
        start = (self.A, self.eps, self.mean, self.cov)
        return exact.ornstein_uhlenbeck_map(z, *start, t, attraction=self.attraction)

    def moments(self, t):
        """Mean and covariance at time t."""
        start = (self.eps, self.mean, self.cov)
        return exact.mckean_vlasov(self.A, self.attraction, *start, t)

    def spread(self, t) -> float:
        """Root mean variance of a coordinate at time t."""
        cov = self.moments(t)[1]
        return float(np.sqrt(np.trace(cov) / len(cov)))

    def quantiles(self, levels, t):
        """Quantiles (n, d) of the marginals at time t."""
        from scipy.special import ndtri

        mean, cov = self.moments(t)
        return mean + np.sqrt(np.diag(cov)) * ndtri(levels)[:, None]


@dataclass(frozen=True)
class Linear:
    """The porous medium equation from a Barenblatt profile of its own time."""

    law: object

    def factor(self, t) -> float:
        """What points are multiplied by."""
        return exact.barenblatt_scaling(self.law.dim, self.law.m, self.law.t0, t)

    def positions(self, z, t):
        """Exact positions at time t of points (N, d)."""
        return self.factor(t) * z

    def spread(self, t) -> float:
        """Root mean variance of a coordinate at time t."""
        return self.factor(t) * self.law.spread


@dataclass(frozen=True)
class Gathering:
    """The aggregation |x - y|^4/4 - |x - y|^2/2 from a centred Gaussian."""

    variance: float

    def positions(self, z, t):
        """Exact positions at time t of points (N, d)."""
        return exact.aggregation_radial(z, t, self.variance)[0]

    def spread(self, t, dim: int = 2) -> float:
        """Root mean variance of a coordinate at time t."""
        moment = exact.aggregation_radial(np.zeros((1, dim)), t, self.variance)[1]
        return float(np.sqrt(moment / dim))


@dataclass(frozen=True)
class Deterministic:
    """A closed form of the flow x' = -V'(x), coordinate by coordinate, from N(0, I)."""

    move: Callable

    def positions(self, z, t):
        """Exact positions at time t of points (N, d)."""
        return self.move(z, t)

    def spread(self, t) -> float:
        """Standard deviation of a coordinate at time t, by the trapezoidal rule."""
        nodes = np.linspace(-10, 10, 8001)
        weights = np.exp(-(nodes**2) / 2)
        weights /= weights.sum()
        moved = self.move(nodes, t)
        return float(np.sqrt(weights @ (moved - weights @ moved) ** 2))

    def quantiles(self, levels, t):
        """Quantiles (n, 1) of the marginals at time t: ``move`` keeps the order of points."""
        from scipy.special import ndtri

        return self.move(ndtri(levels), t)[:, None]


@dataclass(frozen=True)
class Wells:
    """A potential of one coordinate, and entropy, from a centred Gaussian, on an interval."""

    potential: Callable
    eps: float
    deviation: float
    low: float
    high: float
    cells: int = 2000
    kept: dict = field(default_factory=dict, compare=False, repr=False)

    def at(self, t):
        """The exact map at time t, see :func:`pwgf_sym.exact.rearrangement_1d`."""
        if t not in self.kept:
            ends = (self.low, self.high)
            start = (self.potential, self.eps, self.density)
            self.kept[t] = exact.rearrangement_1d(*start, t, *ends, cells=self.cells)
        return self.kept[t]

    def density(self, q):
        """The initial density."""
        return np.exp(-((q / self.deviation) ** 2) / 2) / (self.deviation * np.sqrt(2 * np.pi))


@dataclass(frozen=True)
class Separable:
    """A potential that is a sum over the coordinates, and entropy: a `Wells` a coordinate."""

    parts: tuple[Wells, ...]

    def positions(self, z, t):
        """Exact positions at time t of points (N, d)."""
        return np.column_stack([w.at(t)(x) for w, x in zip(self.parts, z.T, strict=True)])

    def spread(self, t) -> float:
        """Root mean variance of a coordinate at time t."""
        return float(np.sqrt(np.mean([w.at(t).variance[0] for w in self.parts])))

    def quantiles(self, levels, t):
        """Quantiles (n, d) of the marginals at time t."""
        from scipy.special import ndtri

        return np.column_stack([w.at(t)(w.deviation * ndtri(levels)) for w in self.parts])


@dataclass(frozen=True)
class Plane:
    """A potential in the plane, and entropy with factor 1, from a centred Gaussian: two grids.

    Positions take the solution of the equation, tens of seconds for every set of points.
    """

    potential: Callable
    deviation: float
    box: tuple
    cells: tuple[int, int]
    steps: int
    kept: dict = field(default_factory=dict, compare=False, repr=False)

    def run(self, z, t):
        """What :func:`pwgf_sym.exact.fokker_planck_2d` finds for points at a time."""
        key = hashlib.sha256(np.ascontiguousarray(z, np.float64).tobytes()).hexdigest(), t
        if key not in self.kept:
            start = (self.potential, 1.0, self.density)
            found = exact.fokker_planck_2d(*start, t, self.box, self.cells, z, self.steps)
            self.kept[key], self.kept[t] = found, _spread(found)
        return self.kept[key]

    def density(self, x, y):
        """The initial density."""
        variance = self.deviation**2
        return np.exp(-(x**2 + y**2) / (2 * variance)) / (2 * np.pi * variance)

    def positions(self, z, t):
        """Exact positions at time t of points (N, 2)."""
        return self.run(z, t).points

    def uncertainty(self, z, t) -> float:
        """Estimated root mean square error of the finer grid's positions, over the spread."""
        return self.run(z, t).error / self.spread(t)

    def spread(self, t) -> float:
        """Root mean variance of a coordinate at time t."""
        if t not in self.kept:
            self.run(np.zeros((0, 2)), t)
        return self.kept[t]


@dataclass(frozen=True)
class Beside:
    """A flow in the plane, and one of the other coordinates that does not see it."""

    plane: Plane
    others: Affine

    def positions(self, z, t):
        """Exact positions at time t of points (N, d)."""
        return np.hstack([self.plane.positions(z[:, :2], t), self.others.positions(z[:, 2:], t)])

    def spread(self, t) -> float:
        """Root mean variance of a coordinate at time t."""
        both = [self.plane.spread(t) ** 2, self.others.spread(t) ** 2]
        return float(np.sqrt(np.average(both, weights=[2, len(self.others.mean)])))


def _spread(found) -> float:
    """Root mean variance of a coordinate of a density on a grid."""
    weights = found.density / found.density.sum()
    total = 0.0
    for axis, x in enumerate((found.x0, found.x1)):
        marginal = weights.sum(axis=1 - axis)
        total += marginal @ (x - marginal @ x) ** 2
    return float(np.sqrt(total / 2))
