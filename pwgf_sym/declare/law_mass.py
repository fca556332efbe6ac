"""Whether a log density in one or two dimensions is that of its points, by quadrature on cells.

Cells have points of the law as corners, so that they are small where the density is large,
whatever the law: sums over them miss about one part in the number of points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import LawError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .law import Law

__all__ = ["check_mass"]

# How far the mass may be from 1 in one and two dimensions, and standard errors of shares.
_TOLERANCE, _NOISE = {1: 0.03, 2: 0.15}, 4.0
# The part of the cells in whose middle there is less than half of what is at each corner: where it
# is larger, there are more modes than points tell; a smaller one adds to what is allowed.
_HOLLOW = 0.1
# Where the score allows a log density less than the first number between neighbours, a change that
# is off by more than the second is a jump.
_STEEP, _RISE = 0.05, 0.2
# Degree 5 rule on triangles (J. Radon, Monatsh. Math. 52 (1948) 286-300): barycentric, weights.
_ROOT = np.sqrt(15)
_A, _B = (6 - _ROOT) / 21, (6 + _ROOT) / 21
_CORNERS = np.array(
    [[1 / 3] * 3] + [np.roll([1 - 2 * a, a, a], k).tolist() for a in (_A, _B) for k in range(3)]
)
_WEIGHTS = np.array([9 / 40] + [(155 - _ROOT) / 1200] * 3 + [(155 + _ROOT) / 1200] * 3)


def check_mass(law: Law, points: NDArray[np.float64], hook: str = "sampler") -> None:
    """Check the mass of a density and, on the line, that points are shared as it says.

    Laws of more dimensions are not checked.

    Raises
    ------
    LawError
        If the mass is not near 1, or points are shared otherwise.
    """
    if law.dim > 2:
        return
    found = _of_line(law, points) if law.dim == 1 else _of_triangles(law, points)
    if found is None or found[1] > _HOLLOW:
        return
    mass, hollow = found
    total, beyond = float(mass.sum()), _beyond(law, points)
    if not beyond <= _TOLERANCE[law.dim] + hollow:
        given = f"{law.family}, whose density has the mass {beyond:.6g} beyond all its points"
        fix = "Let it be -inf outside of the support: -sp.oo in a piece of a formula."
        raise LawError("log density", given, "a density that is 0 where there are none", fix)
    if not abs(total - 1) <= _TOLERANCE[law.dim] + hollow:
        fix = f"Subtract {np.log(total):.6g} from it." if 0 < total < np.inf else ""
        given = f"{law.family}, whose density has the mass {total:.6g}"
        raise LawError("log density", given, "a normalized one, of mass 1", fix)
    if law.dim == 1 and not law.jump:
        _check_jumps(law, np.sort(points, axis=0))
    if law.dim == 1:
        below = (1 + np.cumsum(mass) * len(points)) / len(points)
        off = np.abs(below - np.arange(2, len(mass) + 2) / len(points))
        if off.max() > _NOISE / np.sqrt(len(points)) + 0.01 + hollow:
            at = np.sort(points[:, 0])[1 + int(np.argmax(off))]
            share = (int(np.argmax(off)) + 2) / len(points)
            given = f"{law.family}, of whose points the part {share:.3g} is below {at:.6g}"
            accepted = f"{below[np.argmax(off)]:.3g}, as its density says"
            raise LawError(hook, given, accepted)


def _density(law: Law, points: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        return np.exp(law.log_density(points))


def _check_jumps(law: Law, points: NDArray[np.float64]) -> None:
    """Refuse a log density that changes more between near neighbours than its score allows."""
    logs, scores = law.log_density(points), law.score(points)[:, 0]
    near = np.diff(points[:, 0])
    with np.errstate(all="ignore"):
        steep = np.maximum(np.abs(scores[1:]), np.abs(scores[:-1])) * near
        rise = np.diff(logs)
        off = np.abs(rise - near * (scores[1:] + scores[:-1]) / 2)
        jumps = np.flatnonzero((steep < _STEEP) & (off > _RISE))
    if jumps.size:
        k = int(jumps[0])
        given = f"{law.family}, whose log density changes by {rise[k]:.3g} from {points[k, 0]:.9g} "
        fix = "Set jump = True if the density jumps."
        accepted = f"about {near[k] * scores[k]:.3g}, as its score says"
        raise LawError("log density", f"{given}to {points[k + 1, 0]:.9g}", accepted, fix)


def _beyond(law: Law, points: NDArray[np.float64]) -> float:
    """The mass outside of a box around the points: of a right law about one part in their number.

    Cells grow with their distance from the box, up to a thousand times its sides.
    """
    nodes, weights = np.polynomial.legendre.leggauss(5 if law.dim == 1 else 3)
    grids, shares = [], []
    for low, high in zip(points.min(axis=0), points.max(axis=0), strict=True):
        far = (high - low) * np.concatenate([[0.0], 2.0 ** np.arange(-12, 11)])
        inner = np.linspace(low, high, 25 if law.dim == 2 else 2)
        ends = np.concatenate([low - far[:0:-1], inner, high + far[1:]])
        half = np.diff(ends)[:, None] / 2
        grids.append((ends[:-1, None] + half * (1 + nodes)).ravel())
        shares.append((half * weights).ravel())
    places = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, law.dim)
    area = np.prod(np.stack(np.meshgrid(*shares, indexing="ij"), axis=-1), axis=-1).ravel()
    outside = np.any((places < points.min(axis=0)) | (places > points.max(axis=0)), axis=1)
    with np.errstate(all="ignore"):
        return float(np.sum(_density(law, places[outside]) * area[outside]))


def _of_line(law: Law, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Masses between neighbours of the points in their order, and the part that is hollow."""
    ends = np.sort(points[:, 0])
    nodes, weights = np.polynomial.legendre.leggauss(3)
    half = np.diff(ends) / 2
    places = ends[:-1, None] + half[:, None] * (1 + nodes)
    values = _density(law, places.reshape(-1, 1)).reshape(places.shape)
    corners = _density(law, ends[:, None])
    hollow = _hollow(values[:, 1], np.stack([corners[1:], corners[:-1]], axis=1))
    return np.asarray(half * (values @ weights)), hollow


def _hollow(middle: NDArray[np.float64], corners: NDArray[np.float64]) -> float:
    """The part of the cells with a hole in their middle."""
    return float(np.mean(middle < corners.min(axis=1) / 2))


def _of_triangles(
    law: Law, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float] | None:
    """Masses of triangles between neighbours, and the part that is hollow; None on a line."""
    from scipy.spatial import Delaunay, QhullError

    center, covariance = points.mean(axis=0), np.cov(points, rowvar=False)
    try:
        factor = np.linalg.cholesky(covariance)
        white = np.linalg.solve(factor, (points - center).T).T
        own = Delaunay(white).simplices
    except (np.linalg.LinAlgError, QhullError):
        return None
    corners = white[own]
    sides = corners[:, 1:] - corners[:, :1]
    area = np.abs(np.linalg.det(sides)) / 2 * np.abs(np.linalg.det(factor))
    places = (_CORNERS @ corners) @ factor.T + center
    values = _density(law, places.reshape(-1, 2)).reshape(places.shape[:2])
    hollow = _hollow(values[:, 0], _density(law, points)[own])
    return np.asarray(area * (values @ _WEIGHTS)), hollow
