"""What every law offers: a density that can be sampled, evaluated and differentiated.

Every law has mass 1 and works in float64.  A law is a value: its arrays are read-only, it compares
by content, and ``to_dict`` stores it as plain JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..arguments import brief, checked_call, whole_seed
from ..errors import LawError
from ..memory import fitting
from .law_checks import frozen, integer_from, measurable, real_array
from .registry import Described

if TYPE_CHECKING:
    import sympy as sp
    from numpy.typing import ArrayLike, NDArray

    from .symbols import Coordinates

    #: A formula, and the values of its arrays.
    Formula = tuple[sp.Expr, dict[sp.Basic, Any]]

__all__ = ["ROUND_OFF", "Law", "WhitenedLaw", "defines"]

#: Mass that is none.
ROUND_OFF = 1e-18
# Standard deviations that a Gaussian has no mass beyond.
_DEVIATIONS = 9.0
# Samples by which moments are estimated where a law states none: numbers of all, and their seed.
_NUMBERS, _FEWEST, _MOST, _SEED = 1 << 24, 1 << 12, 1 << 16, 0


class Law(Described):
    """A probability density on R^d that samples can be drawn from.

    A law of your own is a subclass.  It sets ``dim`` and defines some of these, of which the public
    methods check the arguments:

    ``from_uniform(u)``
        Points (n, d) of the law from points (n, d) of the open unit cube.  Sobol points need it.
    ``sampler(n, rng)``
        n independent points (n, d), from a generator of NumPy.  One of these two is enough; a law
        with a sampler alone is drawn with independent points where Sobol points are asked for.
    ``log_density_at(points)``
        Log density (n,) at points (n, d), -inf outside the support.  A law without it has no
        density, and serves energies that read none: potentials and interactions.
    ``score_at(points)``
        Its gradient, (n, d).
    ``log_density_formula(x)``
        The log density as a formula, for :func:`pwgf_sym.fit`.
    ``to_dict()``
        What the law is stored by.

    It is checked once, when a :class:`~pwgf_sym.declare.problem.GradientFlow` first begins with it.
    A subclass also says what its density carries, by ``jump`` and ``support``.

    Attributes
    ----------
    dim : int
        Dimension d.
    mean : (d,) array
        Mean; estimated from samples of a fixed seed where a subclass sets none.
    covariance : (d, d) array
        Covariance, likewise.
    jump : bool
        Whether the density jumps at the boundary of its support.  The score of such a law is only
        the smooth part of the gradient of the log density, so no energy may read it.
    support : {"space", "bounded", "part"}
        Where the density is positive: everywhere, in a bounded set, or in another part of space.
    """

    _registered_as = "law"
    dim: int = 0
    jump: bool = False
    support: str = "space"

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean, estimated."""
        return self._estimated[0]

    @cached_property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance, estimated."""
        return self._estimated[1]

    @cached_property
    def _estimated(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        count = int(np.clip(_NUMBERS // self.dim, _FEWEST, _MOST))
        points = self.sample(count, _SEED)
        with np.errstate(all="ignore"):
            found = np.cov(points, rowvar=False).reshape(self.dim, self.dim)
        given = f"{self.family}, whose samples have the variances {brief(np.diag(found))}"
        return frozen(points.mean(axis=0)), frozen(measurable("sampler", given, found))

    @property
    def reach(self) -> NDArray[np.float64]:
        """How far from the mean the law has mass, but for round-off, in every coordinate."""
        return _DEVIATIONS * np.sqrt(np.diag(self.covariance))

    @property
    def has_transform(self) -> bool:
        """Whether points of the unit cube can be carried to the law, as Sobol points need it."""
        return defines(self, "_transform", "from_uniform")

    @property
    def has_density(self) -> bool:
        """Whether there is a log density."""
        return defines(self, "_log_density", "log_density_at")

    @property
    def made_of(self) -> Sequence[Law]:
        """The laws that this one is made of."""
        return ()

    @property
    def _source(self) -> Law:
        """The law whose points are carried to those of this one."""
        return self

    def _from_source(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where points of that law go, (n, d)."""
        return z

    @property
    def periods(self) -> tuple[float | None, ...]:
        """Periods of the density; None for coordinates of the line, which most laws are on."""
        return (None,) * self.dim

    @property
    def family(self) -> str:
        """What the law is called in messages."""
        return type(self).__name__

    def coordinates_apart(self) -> list[Law] | None:
        """The laws of the coordinates, if these are known to be independent."""
        return None

    @property
    def spread(self) -> float:
        """Root mean variance of a coordinate, sqrt(tr(covariance)/d): the unit of length."""
        return float(np.sqrt(np.trace(self.covariance) / self.dim))

    @property
    def whitened(self) -> WhitenedLaw:
        """Mean and covariance of (z - mean)/spread, the coordinates that maps see."""
        return WhitenedLaw(self)

    @checked_call
    def sample(self, n: int, seed: int | np.random.Generator | None) -> NDArray[np.float64]:
        """Draw ``n`` independent points; the same seed gives the same points.

        None draws a seed from fresh entropy, and a generator of NumPy gives its next number.

        Returns
        -------
        (n, d) array

        Raises
        ------
        LawError
            If ``n`` is no integer of at least 1, or ``seed`` no integer of at least 0, None or a
            generator.
        """
        n, seed = integer_from("n", n, 1), whole_seed("seed", seed, error=LawError)
        fitting("n", n, 16 * self.dim, "samples", error=LawError)
        return self._drawn(n, np.random.default_rng(seed))

    @checked_call
    def transform(self, u: ArrayLike) -> NDArray[np.float64]:
        """Map points of the open unit cube to the law; uniform points become points of the law.

        Parameters
        ----------
        u : (n, d) array
            Points with all coordinates strictly between 0 and 1.

        Returns
        -------
        (n, d) array

        Raises
        ------
        LawError
            If the shape is wrong, a coordinate is not strictly between 0 and 1, or the law has a
            sampler alone.
        """
        if not self.has_transform:
            fix = "Use sample(n, seed), or define from_uniform(u)."
            raise LawError("u", f"a call of {self.family}, which has a sampler alone", "none", fix)
        u = self._points("u", u)
        if u.size and not (u.min() > 0 and u.max() < 1):
            given, fix = f"coordinates from {u.min()} to {u.max()}", "Shift or clip the points."
            raise LawError("u", given, "numbers strictly between 0 and 1", fix)
        return self._transform(u)

    @checked_call
    def log_density(self, points: ArrayLike) -> NDArray[np.float64]:
        """Log density at (n, d) points, an (n,) array; -inf outside the support."""
        points = self._points("points", points)
        found = self._log_density(points)
        lost = np.isnan(points).any(axis=1)  # which is not known to be outside of the support
        return np.where(lost, np.nan, found) if lost.any() else found

    @checked_call
    def score(self, points: ArrayLike) -> NDArray[np.float64]:
        """Gradient of the log density at (n, d) points, an (n, d) array; NaN outside the support.

        On bounded supports this is the gradient inside; the jump at the boundary is not in it.
        """
        return self._score(self._points("points", points))

    def sampler(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Hook: ``n`` independent points; those of uniform points unless it is redefined."""
        # random() is uniform on multiples of 2^-53 and may return 0, where quantiles are infinite.
        return self._transform(np.maximum(rng.random((n, self.dim)), 2.0**-54))

    def from_uniform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Hook: points of the law from points of the open unit cube."""
        self._lacks("sampler(n, rng) or from_uniform(u)")

    def log_density_at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Hook: log density at points."""
        self._lacks("log_density_at(points)", "density")

    def score_at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Hook: gradient of the log density at points."""
        self._lacks("score_at(points)", "score")

    def log_density_formula(self, x: Coordinates) -> Formula | None:
        """Hook: the log density as a SymPy formula in coordinates, where there is one.

        Parameters
        ----------
        x : Coordinates
            As of ``pw.coordinates(d)``; ``x[i]`` also takes a symbolic index.

        Returns
        -------
        (Expr, dict) or None
            The formula, which is finite everywhere, and the values of its arrays, as
            :class:`~pwgf_sym.GradientFlow` takes them.
        """
        return None

    # What the methods above call, so that laws of the package keep their hooks to themselves.

    # They hand over copies: a hook that computes in place must not move anybody's points.  What
    # comes back is looked at: a column in place of a vector would be broadcast.

    def _transform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._returned("transform", self.from_uniform(u.copy()), u.shape)

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._returned("log density", self.log_density_at(points.copy()), points.shape[:1])

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._returned("score", self.score_at(points.copy()), points.shape)

    def _drawn(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        points = real_array("sampler", self.sampler(n, rng), finite=False)
        if points.shape != (n, self.dim):
            given = f"{self.family}'s points of shape {points.shape}"
            raise LawError("sampler", given, f"shape ({n}, {self.dim}) for n = {n}")
        return points

    def _returned(self, what: str, values: object, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """What a hook has given, as an array of its shape.

        Raises
        ------
        LawError
            If it is none.
        """
        found = real_array(what, values, finite=False)
        if found.shape != shape:
            given = f"{self.family}, whose {what} has the shape {found.shape} at {shape[0]} points"
            raise LawError(what, given, f"shape {shape}")
        return found

    def _stated(self, what: str) -> NDArray[np.float64]:
        """``"mean"`` or ``"covariance"``, which a subclass may have set to anything.

        Raises
        ------
        LawError
            If it is no finite array of its shape.
        """
        found = real_array(what, getattr(self, what))
        shape = (self.dim,) * (1 if what == "mean" else 2)
        if found.shape != shape:
            given = f"{self.family}, whose {what} has the shape {found.shape}"
            raise LawError(what, given, f"shape {shape}")
        return found

    def _lacks(self, hook: str, what: str = "sampler") -> NoReturn:
        accepted, fix = f"a law that has a {what}", f"Define {hook} in {type(self).__name__}."
        raise LawError("law", f"{self.family}, which has no {what}", accepted, fix)

    def _points(self, name: str, points: ArrayLike) -> NDArray[np.float64]:
        points = real_array(name, points, finite=False)
        if points.ndim != 2 or points.shape[1] != self.dim:
            given, fix = f"an array of shape {points.shape}", "Put one point in each row."
            raise LawError(name, given, f"shape (n, {self.dim})", fix)
        return points

    def __setstate__(self, state: dict[str, object]) -> None:
        # Arrays of a copy are as read-only as those of the law.
        self.__dict__.update(state)
        for value in state.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)


def defines(law: Law, *hooks: str) -> bool:
    """Whether the law's class has a hook of its own, by either name."""
    return any(getattr(type(law), hook) is not getattr(Law, hook) for hook in hooks)


class WhitenedLaw:
    """What a map may know of an initial law: the moments of (z - mean)/spread.

    A gradient flow that starts elsewhere or in other units is the same flow, moved and scaled, so
    that a map must not see where the law stands nor how wide it is.

    Attributes
    ----------
    dim : int
        Dimension d.
    mean : (d,) array
        Zero.
    covariance : (d, d) array
        Of trace d; the variance is 1 in coordinates that have none.
    """

    def __init__(self, law: Law) -> None:
        self.dim, self.mean = law.dim, frozen(np.zeros(law.dim))
        covariance = law.covariance / law.spread**2
        flat = np.flatnonzero(np.diag(covariance) == 0)  # where points of a set do not differ
        covariance[flat, flat] = 1.0
        self.covariance = frozen(covariance)
