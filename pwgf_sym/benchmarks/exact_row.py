"""A problem with an exact answer: what is solved, and how far a solution is from the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ..declare.laws import Law
from ..declare.maps import Map, NeuralFlow
from ..declare.problem import GradientFlow
from ..declare.symbols import Density, coordinates, copy_of
from ..errors import BenchmarkError
from ..solver.sampling import draw, seed_for

__all__ = ["ExactProblem"]


@dataclass(frozen=True)
class ExactProblem:
    """A gradient flow whose Lagrangian map is known.

    Attributes
    ----------
    name, formula : str
        Name in `.exact_problems`; the energy and the start in words.
    initial : Law
        The law at the start.
    energy : callable
        ``energy(x, y, rho)``: the energy for coordinates, a copy of them and a density.
    t_span : (float, float)
        Start and end.
    truth : object
        See `.truths`.
    map : Map
        Family of maps.
    sigma : float or None
        Factor of the entropy in a Fokker-Planck energy int V rho + sigma rho log rho; None for
        other energies.
    convexity : float or None
        Largest known lambda for which the energy is lambda-convex; None where there is none.
    """

    name: str
    formula: str
    initial: Law
    energy: Callable = field(repr=False)
    t_span: tuple[float, float]
    truth: object = field(repr=False)
    map: Map
    sigma: float | None
    convexity: float | None

    @property
    def dim(self) -> int:
        """Dimension d."""
        return self.initial.dim

    @cached_property
    def problem(self) -> GradientFlow:
        """The problem as a user writes it."""
        x = coordinates(self.dim)
        rho = Density(x)
        return GradientFlow(self.energy(x, copy_of(x), rho), rho, self.initial)

    def exact(self, z, t=None) -> np.ndarray:
        """Exact positions (N, d) of points z (N, d) of the start; at the end, if t is not given."""
        t = self._time(t)
        return np.array(z, np.float64) if t == self.t_span[0] else self.truth.positions(z, t)

    def spread(self, t=None) -> float:
        """Root mean variance of a coordinate of the exact law at a time, as `Law.spread`."""
        t = self._time(t)
        return self.initial.spread if t == self.t_span[0] else self.truth.spread(t)

    def points(self, n: int = 16384, seed: int = 0) -> np.ndarray:
        """Sobol points (n, d) of the initial law that no run with any seed has used."""
        return draw(self.initial, n, sampling="sobol", seed=seed_for(seed, "exact problems"))

    def error(self, solution, n: int = 16384, seed: int = 0, t=None) -> float:
        """Distance of a solution's map from the exact one, over the spread of the law.

        sqrt(mean |T_t(z) - exact(z, t)|^2) over n fresh points, |.| the Euclidean norm on R^d, over
        the root of the trace of the exact law's covariance at t, the solution's end by default: the
        error that the option ``tol`` of :func:`pwgf_sym.solve` is about.
        """
        t, z = self._time(t), self.points(n, seed)
        gap = solution.push(z, t) - self.exact(z, t)
        return float(
            np.sqrt(np.mean(np.sum(gap**2, axis=1))) / (self.spread(t) * np.sqrt(self.dim))
        )

    def marginal_errors(self, solution, n: int = 32768, seed: int = 0, t=None) -> np.ndarray:
        """W2 of every marginal (d,) of n points of the map from the exact one, in units of space.

        Raises
        ------
        BenchmarkError
            Where the exact marginals are not known.
        """
        if not hasattr(self.truth, "quantiles"):
            accepted = "a problem whose coordinates do not see each other"
            raise BenchmarkError("marginal_errors", self.name, accepted, "Use error(solution).")
        t = self._time(t)
        wanted = self.truth.quantiles((np.arange(n) + 0.5) / n, t)
        found = np.sort(solution.push(self.points(n, seed), t), axis=0)
        return np.sqrt(np.mean((found - wanted) ** 2, axis=0))

    def with_width(self, width: int) -> ExactProblem:
        """The same problem with a NeuralFlow of another width."""
        steps = getattr(self.map, "steps", 2)
        return replace(self, map=NeuralFlow(self.dim, width, steps))

    def _time(self, t) -> float:
        return float(self.t_span[1] if t is None else t)
