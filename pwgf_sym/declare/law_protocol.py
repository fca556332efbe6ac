"""Laws that users write: what a law says of itself is compared with its own points, once.

Right laws pass, whatever their tails: bounds are wide beside the noise of a few thousand points,
and a comparison is left out where points cannot tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from ..arguments import brief, choice, dimension, flag
from ..errors import LawError
from .law import Law, defines
from .law_checks import frozen
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
# Smirnov's statistic of two sets of points of a law is above this once in 3e7 times.
_UNLIKE = 3.0
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
    flag("jump", law.jump, error=LawError)
    choice("support", law.support, ("space", "bounded", "part"), error=LawError)
    sets = _points(law)
    if len(sets) == 2:
        _check_likeness(law, *sets.values())
    for hook, points in sets.items():
        _check_moments(law, points)
        if law.has_density:
            _check_log_density(law, points)
            scores = _array(law, "score", law.score, points)
            _check_score(law, points[:_SCORES], scores[:_SCORES])
            if not law.jump:
                _check_stein(law, hook, points, scores)
            if not any(law.periods):
                check_mass(law, points, hook)


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


def _points(law: Law) -> dict[str, NDArray[np.float64]]:
    """Points of the law by the hook that draws them: Sobol points take the other one."""
    count = int(np.clip(_NUMBERS // law.dim, _FEWEST, _POINTS))
    sets = {"sampler": law.sample(count, _SEED)}
    if not np.array_equal(law.sample(count, _SEED), sets["sampler"], equal_nan=True):
        fix = "Draw all random numbers from rng."
        _refuse(law, "sampler", "whose points differ for the same rng", "points of rng alone", fix)
    if law.has_transform and defines(law, "sampler"):
        u = np.maximum(np.random.default_rng(_SEED).random((count, law.dim)), 2.0**-54)
        sets["transform"] = law._returned("transform", law.transform(u), u.shape)
    for hook, points in sets.items():
        if not np.all(np.isfinite(points)):
            bad = points[np.argmin(np.isfinite(points).all(axis=1))]
            _refuse(law, hook, f"whose points are {brief(bad)}", "finite points")
    return sets


def _check_likeness(law: Law, drawn: NDArray[np.float64], moved: NDArray[np.float64]) -> None:
    """Whether both sets of points are of one law: N. Smirnov's test in every coordinate."""
    for i in range(law.dim):
        one, other = np.sort(drawn[:, i]), np.sort(moved[:, i])
        # Points that differ by rounding are the same: atoms are moved by it.
        at = np.concatenate([one, other]) + 1e-9 * np.abs(law.mean[i]) + 1e-9 * law.spread
        shares = [np.searchsorted(own, at, "right") / len(own) for own in (one, other)]
        off = np.abs(shares[0] - shares[1])
        if off.max() > _UNLIKE * np.sqrt(2 / len(one)):
            k = int(np.argmax(off))
            given = (
                f"of whose points the part {shares[1][k]:.3g} is below {at[k]:.6g} in coordinate"
            )
            accepted = f"{shares[0][k]:.3g}, as of its sampler(n, rng)"
            _refuse(law, "transform", f"{given} {i}", accepted, "Leave one of the two out.")


def _array(
    law: Law, what: str, method: Callable[..., NDArray[np.float64]], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    shape = (len(points),) if what == "log density" else points.shape
    return law._returned(what, method(points), shape)


def _check_moments(law: Law, points: NDArray[np.float64]) -> None:
    """Shapes of mean and covariance, and their values beside those of the points."""
    mean, covariance = law._stated("mean"), law._stated("covariance")
    for what, array in (("mean", mean), ("covariance", covariance)):
        if not isinstance(getattr(law, what), np.ndarray):  # a list, which others calculate with
            try:
                setattr(law, what, frozen(array))
            except AttributeError:
                _refuse(law, what, f"whose {what} is {brief(getattr(law, what))}", "an array")
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
    signs = np.random.default_rng(_SEED).choice([-1.0, 1.0], law.dim)
    for i in range(min(law.dim, _SCORES)):
        own = np.arange(i, law.dim, _SCORES)  # a coordinate, or a group of many
        one_only = len(own) == 1
        unit = scale[i] if one_only else 1.0
        along = np.ones(1) if one_only else signs[own] * scale[own]
        step = np.max(1e-7 * np.abs(points[:, own]) / np.abs(along), axis=1)
        step = np.maximum(1e-4 * unit, step)
        said = scores[:, own] @ along
        with np.errstate(all="ignore"):
            pairs = (_slopes(law, points, own, along, h) for h in (step, step / 2))
            (one, noise), (two, more) = pairs
            slope = (4 * two - one) / 3
            error = 10 * np.abs(two - one) + noise + more
            size = np.abs(slope) + np.abs(said) + 1 / unit
            told = np.isfinite(slope) & (error < 0.5 * size)
            wrong = told & ~(np.abs(slope - said) <= error + 1e-4 * size)
        if wrong.sum() > max(_KINKS * told.sum(), 1):
            k = int(np.argmax(wrong))
            where = f"in coordinate {i}" if one_only else f"along coordinates such as {own[:3]}"
            given = f"whose score is {said[k]:.6g} {where} at {brief(points[k])}"
            _refuse(law, "score", given, f"the gradient of its log density, there {slope[k]:.6g}")


def _slopes(
    law: Law,
    points: NDArray[np.float64],
    own: NDArray[np.intp],
    along: NDArray[np.float64],
    step: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Central differences of the log density along coordinates, and their round-off."""
    shift = np.zeros_like(points)
    shift[:, own] = step[:, None] * along
    above, below = law.log_density(points + shift), law.log_density(points - shift)
    return (above - below) / (2 * step), 1e-14 * (np.abs(above) + np.abs(below)) / step


def _check_stein(
    law: Law, hook: str, points: NDArray[np.float64], scores: NDArray[np.float64]
) -> None:
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
        fix = f"Set jump = True if the density jumps; else the {hook} is that of another density."
        _refuse(law, hook, f"{given} {i}", "-1, as for points of a continuous density", fix)
