"""What every law offers: a density that can be sampled, evaluated and differentiated.

Every law has mass 1 and works in float64.  A law is a value: its arrays are read-only, it compares
by content, and ``to_dict`` stores it as plain JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arguments import checked_call, whole_seed
from ..errors import LawError
from ..memory import fitting
from .law_checks import frozen, integer_from, real_array
from .registry import Described

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Law", "WhitenedLaw"]


class Law(Described):
    """A probability density on R^d that samples can be drawn from.

    Subclasses set ``dim``, ``mean`` and ``covariance`` and define ``_transform``,
    ``_log_density`` and ``_score``; the public methods here check arguments and hand on float64
    arrays.
    A subclass also says what its density carries, by ``jump`` and ``support``.

    Attributes
    ----------
    dim : int
        Dimension d.
    mean : (d,) array
        Exact mean.
    covariance : (d, d) array
        Exact covariance.
    jump : bool
        Whether the density jumps at the boundary of its support.  The score of such a law is only
        the smooth part of the gradient of the log density, so no energy may read it.
    support : {"space", "bounded"}
        Where the density is positive: everywhere, or in a bounded set.
    """

    _registered_as = "law"
    dim: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    jump: bool = False
    support: str = "space"

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
        u = np.random.default_rng(seed).random((n, self.dim))
        # random() is uniform on multiples of 2^-53 and may return 0, where quantiles are infinite.
        return self._transform(np.maximum(u, 2.0**-54))

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
            If the shape is wrong or a coordinate is not strictly between 0 and 1.
        """
        u = self._points("u", u)
        if u.size and not (u.min() > 0 and u.max() < 1):
            given, fix = f"coordinates from {u.min()} to {u.max()}", "Shift or clip the points."
            raise LawError("u", given, "numbers strictly between 0 and 1", fix)
        return self._transform(u)

    @checked_call
    def log_density(self, points: ArrayLike) -> NDArray[np.float64]:
        """Log density at (n, d) points, an (n,) array; -inf outside the support."""
        return self._log_density(self._points("points", points))

    @checked_call
    def score(self, points: ArrayLike) -> NDArray[np.float64]:
        """Gradient of the log density at (n, d) points, an (n, d) array; NaN outside the support.

        On bounded supports this is the gradient inside; the jump at the boundary is not in it.
        """
        return self._score(self._points("points", points))

    def _transform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

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
        Of trace d.
    """

    def __init__(self, law: Law) -> None:
        self.dim, self.mean = law.dim, frozen(np.zeros(law.dim))
        self.covariance = frozen(law.covariance / law.spread**2)
