"""Laws that users write: what a law says of itself is compared with its own points, once.

Right laws pass, whatever their tails: bounds are wide beside the noise of a few thousand points,
and a comparison is left out where points cannot tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from ..arguments import brief, dimension, real_array
from ..errors import LawError
from .law import Law
from .law_mass import check_mass

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["check_law_of_user", "check_protocol"]

# Points that moments are compared on, at most so many numbers; those of the score; their seed.
_POINTS, _NUMBERS, _FEWEST, _SCORES, _SEED = 4096, 1 << 20, 256, 64, 20240419
# Standard errors that are noise; kurtosis beyond which points do not tell the variance; how far a
# stated variance may be above and below that of points.
_NOISE, _HEAVY, _ABOVE, _BELOW = 10.0, 10.0, 10.0, 2.0
# Part of the points that may be on the border of the support by rounding, or at a kink.
_FEW, _KINKS = 0.01, 0.1
# Where (x - mean) . score is -1 on average, how far it may be from it beside noise.
_STEIN = 0.5


def check_law_of_user(law: Law) -> None:
    """Check a law, and those that it is made of, if users wrote them and they are not yet checked.

    Raises
    ------
    LawError
        Naming what is off.
    """
    for part in law.made_of:
        check_law_of_user(part)
    own = type(law).__module__.partition(".")[0] == __name__.partition(".")[0]
    if not own and not law.__dict__.get("_checked"):
        check_protocol(law)
        law.__dict__["_checked"] = True


def check_protocol(law: Law) -> None:
    """Compare all that a law says of itself with its points.

    Raises
    ------
    LawError
        Naming what is off.
    """
    _check_names(law)
    law.dim = dimension("dim", getattr(law, "dim", None), error=LawError)
    points = _points(law)
    _check_moments(law, points)
    if law.has_density:
        _check_log_density(law, points)
        scores = _array(law, "score", law.score, points)
        _check_score(law, points[:_SCORES], scores[:_SCORES])
        if not law.jump:
            _check_stein(law, points, scores)
        if not any(law.periods):
            check_mass(law, points)


def _refuse(law: Law, what: str, given: str, accepted: str, fix: str = "") -> NoReturn:
    raise LawError(what, f"{law.family}, {given}", accepted, fix)


def _check_names(law: Law) -> None:
    """Refuse methods that were meant as hooks."""
    hooks = {"transform": "from_uniform", "sample": "sampler"}
    hooks |= {"log_density": "log_density_at", "score": "score_at"}
    for method, hook in hooks.items():
        if getattr(type(law), method) is not getattr(Law, method):
            fix = f"Rename it {hook}."
            _refuse(law, method, f"which redefines {method}", "laws that define hooks", fix)


def _points(law: Law) -> NDArray[np.float64]:
    """Points of the law, the same for the same generator, and those of the cube."""
    count = int(np.clip(_NUMBERS // law.dim, _FEWEST, _POINTS))
    points = law.sample(count, _SEED)
    if not np.all(np.isfinite(points)):
        bad = points[np.argmin(np.isfinite(points).all(axis=1))]
        _refuse(law, "sampler", f"whose points are {brief(bad)}", "finite points")
    if not np.array_equal(law.sample(count, _SEED), points):
        fix = "Draw all random numbers from rng."
        _refuse(law, "sampler", "whose points differ for the same rng", "points of rng alone", fix)
    if law.has_transform:
        u = (np.arange(1, 9)[:, None] * np.sqrt(np.arange(2.0, law.dim + 2)) + 0.25) % 1.0
        moved = real_array("transform", law.transform(np.clip(u, 1e-9, 1 - 1e-9)), error=LawError)
        if moved.shape != (8, law.dim):
            given = f"whose transform has the shape {moved.shape} of 8 points"
            _refuse(law, "transform", given, f"shape (8, {law.dim})")
    return points


def _array(
    law: Law, what: str, method: Callable[..., NDArray[np.float64]], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    values = real_array(what, method(points), finite=False, error=LawError)
    shape = (len(points),) if what == "log density" else points.shape
    if values.shape != shape:
        given = f"whose {what} has the shape {values.shape} at {len(points)} points"
        _refuse(law, what, given, f"shape {shape}")
    return values


def _check_moments(law: Law, points: NDArray[np.float64]) -> None:
    """Shapes of mean and covariance, and their values beside those of the points."""
    mean = real_array("mean", law.mean, error=LawError)
    covariance = real_array("covariance", law.covariance, error=LawError)
    for what, array, shape in (
        ("mean", mean, (law.dim,)),
        ("covariance", covariance, (law.dim, law.dim)),
    ):
        if array.shape != shape:
            _refuse(law, what, f"whose {what} has the shape {array.shape}", f"shape {shape}")
    stated = np.diag(covariance)
    if not (np.all(stated >= 0) and np.any(stated > 0)) or not np.allclose(
        covariance, covariance.T, rtol=1e-8, atol=1e-10 * stated.max()
    ):
        _refuse(law, "covariance", f"whose covariance is {brief(covariance)}", "one of a law")
    center = points.mean(axis=0)
    found = np.mean((points - center) ** 2, axis=0)
    fourth = np.mean((points - center) ** 4, axis=0)
    light = fourth <= _HEAVY * found**2
    noise = np.sqrt(np.maximum(fourth - found**2, 0) / len(points))
    off = np.abs(center - mean) > _NOISE * np.sqrt(np.maximum(stated, found) / len(points))
    off &= np.abs(center - mean) > 1e-9 * np.abs(mean)
    if np.any(off):
        i = int(np.argmax(off))
        given = f"whose points have the mean {center[i]:.6g} in coordinate {i}"
        _refuse(law, "mean", given, f"about {mean[i]:.6g}, as its mean says", _LEAVE)
    off = found > _BELOW * stated + _NOISE * noise
    off |= light & (stated > _ABOVE * found + _NOISE * noise)
    if np.any(off):
        i = int(np.argmax(off))
        given = f"whose points have the variance {found[i]:.6g} in coordinate {i}"
        _refuse(law, "covariance", given, f"about {stated[i]:.6g}, as its covariance says", _LEAVE)
    _check_correlations(law, points - center, covariance, light & (found > 0))


def _check_correlations(
    law: Law, gap: NDArray[np.float64], covariance: NDArray[np.float64], told: NDArray[np.bool_]
) -> None:
    """Correlations of coordinates whose variances points tell."""
    own = gap[:, told] / np.sqrt(np.mean(gap[:, told] ** 2, axis=0))
    scale = np.sqrt(np.diag(covariance)[told])
    off = np.abs(own.T @ own / len(gap) - covariance[np.ix_(told, told)] / np.outer(scale, scale))
    if off.size and off.max() > 0.25 + _NOISE * np.sqrt(_HEAVY / len(gap)):
        i, j = np.flatnonzero(told)[list(np.unravel_index(np.argmax(off), off.shape))]
        given = f"whose points have other correlations of the coordinates {i} and {j}"
        _refuse(law, "covariance", given, "those of its covariance", _LEAVE)


_LEAVE = "Leave mean and covariance out to have them estimated."


def _check_log_density(law: Law, points: NDArray[np.float64]) -> None:
    values = _array(law, "log density", law.log_density, points)
    bad = ~np.isfinite(values)
    if bad.mean() > _FEW:
        at = points[np.argmax(bad)]
        given = f"whose log density is {values[np.argmax(bad)]} at {brief(at)}, a point of it"
        _refuse(law, "log density", given, "finite values where the law has points")


def _check_score(law: Law, points: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
    """The score beside differences of the log density, whose own error is the tolerance."""
    scale = np.sqrt(np.diag(law.covariance))
    scale = np.where(scale > 0, scale, law.spread)
    for i in range(min(law.dim, _SCORES)):
        step = np.maximum(1e-4 * scale[i], 1e-7 * np.abs(points[:, i]))
        with np.errstate(all="ignore"):
            (one, noise), (two, more) = (_slopes(law, points, i, h) for h in (step, step / 2))
            slope = (4 * two - one) / 3
            error = 10 * np.abs(two - one) + noise + more
            size = np.abs(slope) + np.abs(scores[:, i]) + 1 / scale[i]
            told = np.isfinite(slope) & (error < 0.5 * size)
            wrong = told & ~(np.abs(slope - scores[:, i]) <= error + 1e-4 * size)
        if wrong.sum() > max(_KINKS * told.sum(), 1):
            k = int(np.argmax(wrong))
            given = f"whose score is {scores[k, i]:.6g} in coordinate {i} at {brief(points[k])}"
            _refuse(law, "score", given, f"the gradient of its log density, there {slope[k]:.6g}")


def _slopes(
    law: Law, points: NDArray[np.float64], i: int, step: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Central differences of the log density along a coordinate, and their round-off."""
    shift = np.zeros_like(points)
    shift[:, i] = step
    above, below = law.log_density(points + shift), law.log_density(points - shift)
    return (above - below) / (2 * step), 1e-14 * (np.abs(above) + np.abs(below)) / step


def _check_stein(law: Law, points: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
    """E[(x - mean) score] = -1 in every coordinate, if points and density are of one law.

    It holds by partial integration where nothing is left at the border of the support, so that it
    finds jumps, too (C. Stein, Proc. Sixth Berkeley Symposium 2 (1972) 583-602).
    """
    inside = np.isfinite(scores).all(axis=1)
    products = ((points - points.mean(axis=0)) * scores)[inside]
    if any(law.periods) or not len(products):
        return
    found, noise = products.mean(axis=0), products.std(axis=0) / np.sqrt(len(products))
    off = np.abs(found + 1) > _STEIN + _NOISE * noise
    if np.any(off):
        i = int(np.argmax(off))
        given = f"whose mean of (x - mean) score over its points is {found[i]:.3g} in coordinate"
        fix = "Set jump = True if the density jumps; else the sampler is that of another density."
        _refuse(law, "sampler", f"{given} {i}", "-1, as for points of a continuous density", fix)
