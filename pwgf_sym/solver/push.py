"""The law that a map carries another one to: what a flow has reached, for the next to begin."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import brief, checked_call, dimension
from ..declare.energies import integral
from ..declare.law import Law
from ..declare.law_checks import checked_covariance, frozen, measurable, real_array
from ..declare.laws import law_from_dict
from ..declare.maps import Map, map_from_dict, parameter_count
from ..declare.problem import GradientFlow
from ..declare.registry import add_family, description
from ..declare.symbols import Density, coordinates
from ..errors import FoldedMapWarning, InversionWarning, LawError, TargetError, warn
from .compiler import build_program
from .folds import fold_text, folded_part, largest_part
from .option_fields import settled
from .preimages import preimages
from .sampling import draw
from .vectors import as_double

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .protocols import Program

__all__ = ["Push"]

# From so many points times parameters on, compiling kernels takes less time than it saves.
_COMPILED = 1 << 26
# Points whose origin is remembered: sets of them, and numbers of all.
_SETS, _NUMBERS = 4, 1 << 24
# Sobol points by which mean and covariance are estimated: numbers of all, and their seed.
_ESTIMATE, _FEWEST, _MOST, _SEED = 1 << 22, 1 << 10, 1 << 15, 20251130


class Push(Law):
    """The law of m + s T((z - m)/s) for z of a law with the mean m and the spread s.

    It is what a flow that begins with ``law`` has reached, with its map and its parameters, so that
    another flow can go on from there: ``Push(problem.initial, solution.map, solution.theta[-1])``,
    or ``solution.law()``.

    Parameters
    ----------
    law : Law
        On coordinates of the line; it may be a ``Push`` itself.
    map : Map
        Of the law's dimension.
    theta : (p,) array-like
        Its parameters.

    Raises
    ------
    LawError
        If ``law`` is none or has periods, ``map`` is none or has another dimension, or ``theta``
        does not have the map's number of finite parameters.

    Notes
    -----
    Points are those of ``law``, pushed.  The log density at given points is log lambda(z) -
    log|det dT/dz| at the z that the map carries there, which Newton's method finds; z of points
    that the law has drawn itself is remembered.  Mean and covariance are estimated once, and stored
    with the law: they are the units of the next map.

    Examples
    --------
    >>> from pwgf_sym import Affine, Gaussian
    >>> Push(Gaussian([0.0], 4.0), Affine(1), [0.5, 3.0]).sample(4, seed=0).shape
    (4, 1)
    """

    @checked_call
    def __init__(self, law: Law, map: Map, theta: ArrayLike) -> None:
        if not isinstance(law, Law):
            raise LawError("law", brief(law), "a law such as Gaussian(mean, cov)")
        dimension("dim", law.dim, error=LawError)
        if any(law.periods):
            fix = "Begin with the law at the start, and run over the whole time."
            raise LawError("law", f"{law.family}, which has periods", "a law of the line", fix)
        if not isinstance(map, Map):
            accepted = "a map such as NeuralFlow(dim=2, width=32)"
            raise LawError("map", brief(map), accepted, "The order is Push(law, map, theta).")
        if map.dim != law.dim:
            raise LawError("map", f"dimension {brief(map.dim)}", f"{law.dim}, the law's")
        theta, count = real_array("theta", theta), parameter_count(map)
        if theta.shape != (count,):
            raise LawError("theta", f"shape {theta.shape}", f"shape ({count},) for {map}")
        self.law, self.map, self.theta, self.dim = law, map, frozen(theta), law.dim
        self.jump, self.support = law.jump, law.support
        self._begin()

    def _begin(self) -> None:
        self._programs: dict[str, Program] = {}
        self._own: Program | None = None
        self._origins: deque[_Origin] = deque(maxlen=_SETS)

    @property
    def has_transform(self) -> bool:
        return self.law.has_transform

    @property
    def has_density(self) -> bool:
        return self.law.has_density

    @property
    def made_of(self) -> Sequence[Law]:
        return [self.law]

    def coordinates_apart(self) -> list[Law] | None:
        return [self] if self.dim == 1 else None

    @cached_property
    def _estimated(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        count = 1 << int(np.log2(np.clip(_ESTIMATE // self.dim, _FEWEST, _MOST)))
        points = self._push(draw(self.law, count, seed=_SEED))
        with np.errstate(all="ignore"):
            found = np.cov(points, rowvar=False, bias=True).reshape(self.dim, self.dim)
        given = f"parameters at which the points have the variances {brief(np.diag(found))}"
        return frozen(points.mean(axis=0)), frozen(measurable("theta", given, found))

    @property
    def _source(self) -> Law:
        return self.law._source

    def _from_source(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._remembered(self.law._from_source(z))

    def _from_source_of(self, law: Law, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where points of a law go that this one is pushed from, in one step or in several."""
        if self.law is not law and isinstance(self.law, Push):
            z = self.law._from_source_of(law, z)
        return self._push(z)

    def sampler(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return self._remembered(self.law._drawn(n, rng))

    def _transform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._remembered(self.law.transform(u))

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._carried(points)[0]

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._carried(points)[1]

    # -- the map --------------------------------------------------------------------------------

    def pushed_by(self, program: Program) -> Push:
        """The same law, whose points are pushed by kernels that are there, of a run that ended."""
        if program.dtype == np.float64 and program.map == self.map:
            self._own = program
        return self

    def _program(self, count: int) -> Program:
        """The map's kernels: a run's, else interpreted for few points and compiled for many."""
        if self._own is not None:
            return self._own
        target = "cpu" if count * self.theta.size >= _COMPILED else "numpy"
        if target not in self._programs:
            x = coordinates(self.dim)
            rho = Density(x)
            # Any energy that reads no density: only the map's own kernels are called.
            problem = GradientFlow(integral(x[0] * rho, x), rho, self.law)
            try:
                found = build_program(problem, self.map, target, "float64")
            except TargetError:  # Numba's compiler is switched off
                found = build_program(problem, self.map, "numpy", "float64")
            self._programs[target] = found
        return self._programs[target]

    def _push(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the map takes points of the law, without a look at densities."""
        program = self._program(len(z))
        samples = program.packed((z - self.law.mean) / self.law.spread)
        moved = samples.unpack(as_double(program.push(self.theta, samples).x))
        return np.asarray(self.law.mean + moved, np.float64)

    def _remembered(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """The pushed points, of which it is kept where they are from."""
        x = self._push(z) if len(z) else z
        self._keep(_Origin(x.copy(), z))
        return x

    def _keep(self, origin: _Origin) -> None:
        self._origins.append(origin)
        while len(self._origins) > 1 and sum(2 * o.x.size for o in self._origins) > _NUMBERS:
            self._origins.popleft()

    def _origin_of(self, points: NDArray[np.float64]) -> _Origin:
        """Where points are from: as it is remembered, else by inverting the map."""
        for origin in self._origins:
            if np.array_equal(origin.x, points):
                return origin
        z, finite = np.full(points.shape, np.nan), np.isfinite(points).all(axis=1)
        if finite.any():
            program = self._program(len(points))
            z[finite], _ = preimages(program, self.theta, points[finite], self.law)
        found = _Origin(points.copy(), z)
        lost = int(np.sum(np.isnan(z[finite]).any(axis=1)))
        if lost:
            text = f"Push has no density at {lost} of {len(points)} points: no preimage was found"
            warn(f"{text}.  They may be beyond what the map reaches.", InversionWarning)
        self._keep(found)
        return found

    def _carried(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Log density and score at points; NaN where no preimage was found."""
        if not self.has_density:
            self._lacks("it in the law that is pushed", "density")
        if self._folded:
            warn(f"log density of Push: {fold_text(self._folded)}", FoldedMapWarning)
        if not len(points):
            return np.empty(0), np.empty_like(points)
        origin = self._origin_of(points)
        if origin.carried is None:
            log_density, score = np.full(len(points), np.nan), np.full(points.shape, np.nan)
            log_density[np.isinf(points).any(axis=1) & ~np.isnan(points).any(axis=1)] = -np.inf
            good = np.isfinite(origin.z).all(axis=1)
            if good.any():
                program = self._program(len(points))
                samples = program.samples(origin.z[good])
                state = program.push(self.theta, samples, ("log_density", "score"))
                log_density[good] = samples.unpack_scalar(as_double(settled(state.log_density)))
                score[good] = samples.unpack(as_double(settled(state.score)))
            origin.carried = log_density, score
        return tuple(values.copy() for values in origin.carried)

    @cached_property
    def _folded(self) -> float | None:
        """Part of the law on which the map is folded."""
        return folded_part(self._program(1), self.theta)

    def folded_from(self, law: Law) -> float | None:
        """The largest part on which a map is folded, of those that carry ``law`` to this one."""
        if self.law is law or not isinstance(self.law, Push):
            return self._folded
        return largest_part(self._folded, self.law.folded_from(law))

    # -- the stored form ------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        moments = {"mean": self.mean.tolist(), "covariance": self.covariance.tolist()}
        parts = {"pushed": description(self.law), "map": description(self.map)}
        return {"law": "Push", **parts, "theta": self.theta.tolist()} | moments

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Law:
        pushed, carrier = law_from_dict(entries["pushed"]), map_from_dict(entries["map"])
        known = {"pushed", "map", "theta", "mean", "covariance"}
        if set(entries) != known:
            raise LawError("law", brief(sorted(map(str, entries))), f"the entries {sorted(known)}")
        moments = entries["mean"], entries["covariance"]
        return cls.with_moments(pushed, carrier, entries["theta"], *moments)

    @classmethod
    def with_moments(
        cls, law: Law, map: Map, theta: ArrayLike, mean: ArrayLike, covariance: ArrayLike
    ) -> Push:
        """The law, with moments that are known."""
        found = cls(law, map, theta)
        mean, covariance = real_array("mean", mean), real_array("covariance", covariance)
        if mean.shape != (law.dim,) or covariance.shape != (law.dim, law.dim):
            given = f"mean and covariance of shapes {mean.shape} and {covariance.shape}"
            raise LawError("law", given, f"those of dimension {law.dim}")
        found.mean = frozen(mean)
        found.covariance = frozen(checked_covariance(covariance, "covariance"))
        return found

    def __repr__(self) -> str:
        return f"Push({self.law!r}, {self.map!r}, theta of {self.theta.size} numbers)"

    def __getstate__(self) -> dict[str, object]:
        # Programs are made anew where they are needed.
        return self.__dict__ | {"_programs": {}, "_own": None, "_origins": deque(maxlen=_SETS)}


class _Origin:
    """Points x, the z that the map carries there, and once they are known log density and score."""

    carried: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def __init__(self, x: NDArray[np.float64], z: NDArray[np.float64]) -> None:
        self.x, self.z = x, z


add_family(Push)
