"""Parameters at which a map carries one law near another, by the gradient flow of a divergence.

* KL(rho | other) = int rho log rho - int rho log other, where ``other`` has a formula of its log
  density: the flow of a Fokker-Planck equation, which comes to rest at ``other``.
* The squared MMD with a Gaussian kernel k (A. Gretton et al., J. Mach. Learn. Res. 13 (2012)
  723-773), E k(x, x') - 2 E k(x, y) + E k(y, y'), where there are points y alone; its flow is that
  of M. Arbel et al. (NeurIPS 2019).

Both are followed to rest by :func:`pwgf_sym.equilibrium`'s steps, and what was reached is measured
on samples that the flow did not use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from ..arguments import brief, checked_call, integer, number
from ..declare.energies import integral
from ..declare.law_protocol import check_law_of_user
from ..declare.laws import Empirical, Law
from ..declare.maps import Map
from ..declare.problem import GradientFlow
from ..declare.symbols import Density, coordinates, copy_of
from ..errors import LawError, OptionError, ToleranceWarning, warn
from .equilibrium import DEFAULTS, come_to_rest
from .evidence import pushed
from .option_objects import FIELDS, RENAMED, LinearSolve, Samples, Steps
from .options import FlowOptions
from .push import Push
from .sampling import draw, seed_for
from .solution import Row, Solution
from .steppers import Stepper

if TYPE_CHECKING:
    from ..declare.law import Formula

__all__ = ["Fit", "fit"]

# Points of a law that has a sampler alone; of those, and of samples, by which the kernel's width is
# found; sets of samples that a divergence is measured on, and their sizes.
_POINTS, _MEDIAN, _SETS, _SIZES = 2048, 1024, 16, {"KL": 2048, "MMD^2": 1024}
# The flow ends at this part of the tolerance, as it sees it, so that fresh samples find it reached.
_MARGIN = 0.5
# Steps need not follow a smaller tolerance: only the end counts.
_FINEST = 1e-3
# Rest of the flow of an MMD: its velocity over the largest one.
_REST = 1e-3
# Standard errors by which the mean weight may be off 1 before it is taken for a missing part, and
# what it may be above 1 by the rounding of single precision.
_NOISE, _ROUNDING = 4.0, 1e-3
# Points at which a log density has to be finite where KL is to fall, and how far they are spread.
_TRIED, _WIDE = 256, 4.0


@dataclass(frozen=True, eq=False)
class Fit:
    """What :func:`fit` has found.

    Attributes
    ----------
    theta0 : (p,) array
        Parameters of the map, for ``solve(..., theta0=fit.theta0)``.
    kind : {"KL", "MMD^2"}
        Which divergence: KL(rho | other), or the squared MMD with a Gaussian kernel.
    divergence : float
        What was reached, on samples that the flow did not use; an MMD may come out below 0 by
        noise.
    error : float
        Its standard error.
    tol : float
        What was asked for.
    width : float or None
        The standard deviation of the MMD's kernel.
    solution : Solution
        The flow that led there.
    """

    theta0: np.ndarray
    kind: str
    divergence: float
    error: float
    tol: float
    width: float | None
    solution: Solution

    @property
    def reached(self) -> bool:
        """Whether the divergence is within ``tol``, of a map that is not folded."""
        return self.divergence <= self.tol and not self.solution.folded

    @cached_property
    def law(self) -> Push:
        """The law that the map carries ``law`` to."""
        return Push(self.solution.problem.initial, self.solution.map, self.theta0)

    def __repr__(self) -> str:
        found = f"{self.kind} = {self.divergence:.3g} +- {self.error:.1g}"
        return f"Fit({found}, tol={self.tol:g}, theta0 of {self.theta0.size} numbers)"


@checked_call(also=FIELDS, renamed=RENAMED)
def fit(
    map: Map,
    law: Law,
    to: Law,
    *,
    tol: float = 1e-2,
    max_steps: int = 1000,
    steps: str | Stepper | Steps | None = None,
    linear: str | LinearSolve | None = None,
    samples: int | Samples | None = None,
    target: str = "cpu",
    dtype: str = "float64",
    seed: int | np.random.Generator | None = 0,
    progress: bool = False,
    theta0: np.ndarray | None = None,
    callback: Callable[[Row], object] | None = None,
    **fields: object,
) -> Fit:
    """Find parameters at which a map carries a law near another one.

    A flow with this initial law and ``theta0=fit.theta0`` begins near the other law, and keeps the
    initial law's density and tails.

    Parameters
    ----------
    map : Map
        The family of maps.
    law : Law
        What the map pushes, the initial law of the flow to come.
    to : Law
        Where to.  If it has a formula of its log density, as :class:`~pwgf_sym.Gaussian`,
        :class:`~pwgf_sym.Mixture` and :class:`~pwgf_sym.Custom` have, and is positive everywhere,
        KL(rho | to) falls along the flow of int rho log rho - int rho log to; else, or where
        ``law`` has no density that can be read, the squared MMD between rho and points of ``to``
        falls along its own flow.
    tol : float
        The divergence that is enough, of either kind.
    max_steps, steps, linear, samples, target, dtype, seed, progress, theta0, callback, **fields
        As of :func:`pwgf_sym.equilibrium`.

    Returns
    -------
    Fit

    Warns
    -----
    ToleranceWarning
        If the divergence that was reached is above ``tol``: the map allows no less, or the flow
        came to rest elsewhere, as that of an MMD may.

    Raises
    ------
    OptionError
        When an option is not accepted.
    LawError
        When a law is none, has periods, or has another dimension; when a law of your own, or the
        density of ``to``, does not fit together.
    FlowError
        When a state of the flow is not finite.

    Notes
    -----
    The kernel of the MMD is exp(-|x - y|^2/(2 h^2)), h the median distance of the points of ``to``.
    Points of :class:`~pwgf_sym.Empirical` are taken all, and the divergence is that from them.
    """
    begin = perf_counter()
    _check(law, to)
    tol, max_steps = number("tol", tol, above=0), integer("max_steps", max_steps, 1)
    goal = _goal(law, to, seed_for(0, "fit"))
    rest = goal.rest(_MARGIN * tol)
    options = FlowOptions.of(
        fields,
        DEFAULTS | {"integrator": "auto"},
        tol=max(rest, _FINEST),
        steps=steps,
        linear=linear,
        samples=samples,
        target=target,
        dtype=dtype,
        seed=seed,
        progress=progress,
    )

    near = goal.near(_MARGIN * tol)
    how = max_steps, theta0, callback, begin, rest, near
    solution = come_to_rest(goal.problem, map, options, *how)
    theta = solution.theta[-1]
    divergence, error = goal.measured(solution, seed_for(options.seed, "fit"))
    found = Fit(theta, goal.kind, divergence, error, tol, goal.width, solution)
    if not found.reached and solution.status != "interrupted":
        why = f"; {solution.message}" if solution.folded else ""
        warn(
            f"fit reached {goal.kind} = {divergence:.3g} (standard error {error:.1g}) and not "
            f"tol={tol:g}{why}.  Use a wider map, more max_samples or max_steps, a law that is "
            "nearer to the other one, or a larger tol.",
            ToleranceWarning,
        )
    return found


def _check(law: object, to: object) -> None:
    for name, one in (("law", law), ("to", to)):
        if not isinstance(one, Law):
            accepted = "a law such as Gaussian(mean, cov)"
            raise LawError(name, brief(one), accepted, "The order is fit(map, law, to=other).")
        check_law_of_user(one)
        if any(one.periods):
            raise LawError(name, f"{one.family}, which has periods", "a law of the line")
    assert isinstance(law, Law) and isinstance(to, Law)
    if law.dim != to.dim:
        raise LawError("to", f"dimension {to.dim}", f"{law.dim}, that of the law")


def _goal(law: Law, to: Law, seed: int) -> _Entropy | _Points:
    """The divergence that these laws allow."""
    x = coordinates(law.dim)
    found = to.log_density_formula(x) if law.has_density and not law.jump else None
    if found is None or to.jump or not _positive(law, to):
        return _Points(law, to, seed)
    formula, arrays = found if isinstance(found, tuple) and len(found) == 2 else (found, {})
    if not isinstance(formula, sp.Expr):
        given = f"{to.family}, whose log_density_formula(x) is {brief(formula)}"
        raise LawError("to", given, "a SymPy formula, or it and the values of its arrays")
    return _Entropy(law, to, (formula, arrays))


def _positive(law: Law, to: Law) -> bool:
    """Whether a density has no border near either law, which a flow of KL would step over."""
    points = law.sample(_TRIED, 0)
    white = (points - law.mean) / law.spread
    wide = [one.mean + _WIDE * one.spread * white for one in (law, to)]
    tried = np.concatenate([points, to.mean + to.spread * white, *wide])
    with np.errstate(all="ignore"):
        return bool(np.all(np.isfinite(to.log_density(tried))))


class _Entropy:
    """KL(rho | other)."""

    kind, width = "KL", None

    def __init__(self, law: Law, to: Law, found: Formula) -> None:
        x, (formula, arrays) = coordinates(law.dim), found
        rho = Density(x)
        energy = integral(rho * sp.log(rho) - formula * rho, x)
        self.to, self.problem = to, GradientFlow(energy, rho, law, arrays)

    def rest(self, tol: float) -> float:
        """The tolerance of an equilibrium, which is the root of KL."""
        return float(np.sqrt(tol))

    def near(self, tol: float) -> None:
        """Nothing that the run does not see itself."""

    def measured(self, solution: Solution, seed: int) -> tuple[float, float]:
        """KL(rho | other) and its standard error.

        With the weights r = other/rho it is the mean of -log r, and that of r - 1 - log r, which
        has far less noise where r is near 1 and the mean of r is 1: where it is below, the map does
        not reach a part of the other law, and the mean of -log r knows of it.  It is not above.
        """
        logs, weights = np.empty(_SETS), np.empty(_SETS)
        law = self.problem.initial
        for k in range(_SETS):
            points = draw(law, _SIZES["KL"], seed=seed_for(seed, "KL", k))
            x, log_density = pushed(solution.program, solution.theta[-1], points, law)
            with np.errstate(all="ignore"):
                own = self.to.log_density(x) - log_density
                logs[k], weights[k] = -np.mean(own), np.mean(np.expm1(own))
        if not np.all(np.isfinite(logs)):
            return np.inf, np.nan
        mean, noise = _mean(weights)
        if mean > max(_NOISE * noise, _ROUNDING) and not solution.folded:
            given = f"{self.to.family}, whose density has at least the mass {1 + mean:.6g}"
            fix = "Subtract the logarithm of its mass from its log density."
            raise LawError("to", given, "a normalized density, of mass 1", fix)
        plain, less = _mean(logs), _mean(logs + weights)
        whole = np.isfinite(mean) and abs(mean) <= _NOISE * noise
        return less if whole and less[1] < plain[1] else plain


class _Points:
    """The squared MMD, in units in which points move their distances in times of about 1."""

    kind = "MMD^2"

    def __init__(self, law: Law, to: Law, seed: int) -> None:
        self.given = isinstance(to, Empirical)
        self.points = to.points if isinstance(to, Empirical) else to.sample(_POINTS, seed)
        self.width, count = _median(self.points), len(self.points)
        x, n = coordinates(law.dim), sp.Symbol("n", integer=True)
        rho, y = Density(x), copy_of(x)
        data = sp.IndexedBase("fit_points", shape=(count, law.dim))
        h = sp.Float(self.width)
        own = sp.exp(-sp.Add(*((a - b) ** 2 for a, b in zip(x, y, strict=True))) / (2 * h**2))
        gaps = (data[n, i] - s for i, s in enumerate(x))
        other = sp.exp(-sp.Add(*(gap**2 for gap in gaps)) / (2 * h**2))
        mean = sp.Sum(other, (n, 0, count - 1)) / count
        # Pairs of a point with itself count for given points, and not for points of a law.
        total = _pairs(self.points, self.points, self.width)
        self.constant = total if self.given else (count * total - 1) / (count - 1)
        energy = integral(own * rho * rho.at(y), x, y) - 2 * integral(mean * rho, x)
        self.problem = GradientFlow(h**2 * energy, rho, law, {data: self.points})

    def rest(self, tol: float) -> float:
        """The tolerance of an equilibrium, its velocity over the largest one."""
        return _REST

    def near(self, tol: float) -> Callable[[float, int], bool]:
        """Whether the divergence of so many samples with this energy is small.

        Evenly spread samples stand for the law with themselves as partners; the energy's sum over
        pairs leaves these out.
        """
        own = 1 - self.constant if self.problem.initial.has_transform else 0.0
        unit, constant = self.width**2, self.constant
        return lambda energy, count: bool(energy / unit + constant + own / count <= tol)

    def measured(self, solution: Solution, seed: int) -> tuple[float, float]:
        """The squared MMD of independent samples, without bias, and its standard error."""
        found, law, size = np.empty(_SETS), self.problem.initial, _SIZES["MMD^2"]
        for k in range(_SETS):
            points = draw(law, size, sampling="random", seed=seed_for(seed, "MMD", k))
            x = solution.push(points)
            own = (size * _pairs(x, x, self.width) - 1) / (size - 1)
            found[k] = own - 2 * _pairs(x, self.points, self.width) + self.constant
        return _mean(found)


def _pairs(x: np.ndarray, y: np.ndarray, width: float) -> float:
    """Mean of the kernel over all pairs."""
    total = 0.0
    for first in range(0, len(x), 256):
        total += float(np.exp(-_squares(x[first : first + 256], y) / (2 * width**2)).sum())
    return total / (len(x) * len(y))


def _squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared distances of all pairs."""
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(x, y, "sqeuclidean"))


def _median(points: np.ndarray) -> float:
    """The median distance of two different points."""
    chosen = points[:: -(-len(points) // _MEDIAN)]
    distances = np.sqrt(_squares(chosen, chosen))
    distances = distances[distances > 0]
    if not distances.size:
        raise OptionError("to", "points that are all the same", "at least two different points")
    return float(np.median(distances))


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of independent values."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
