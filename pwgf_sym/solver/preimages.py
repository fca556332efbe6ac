"""Where a map's points come from: Newton's iteration begins where the initial law has mass.

Far from the initial law a map is whatever its formula makes of it: it may fold there and carry
points back among those of the law.  Newton's iteration, which knows no law, then finds a preimage
far away, or none, of points that the law itself is carried to.  Where it does not lead images of
the law's own points back to them, preimages that are farther from points of the law than these are
from each other are looked for once more, from the point of the law whose image is nearest, and the
one that is nearer to the law's points stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from .vectors import as_double

if TYPE_CHECKING:
    from scipy.spatial import KDTree

    from ..declare.law import Law
    from .protocols import Program, Vector

__all__ = ["preimages"]

# Points of the law, and the part of them that is as lonely as a preimage that is looked for again.
_POINTS, _SEED, _LONELY = 4096, 20240611, 0.1
# Images that are tried, from the nearest on.
_TRIALS = 3
# A point of the law is led back where it is missed by no more than this part of the law's spread.
_SAME = 1e-3
# Of a program the last parameters and law, and whether the law's points were led back.
_LED_BACK: WeakKeyDictionary[Program, tuple[bytes, Law, bool]] = WeakKeyDictionary()


def preimages(
    program: Program, theta: Vector, points: np.ndarray, law: Law
) -> tuple[np.ndarray, np.ndarray]:
    """z with T(z) = points and log|det dT/dz| there, z where the law has mass if there is one.

    Parameters
    ----------
    program : Program
    theta : (p,) array
    points : (n, d) array
        Finite.
    law : Law
        That the map pushes.

    Returns
    -------
    z : (n, d) array
    log_det : (n,) array
        NaN in both where no preimage was found.
    """
    z, log_det = program.invert(theta, points)
    # On circles any of the images of a point is as good as the others.
    if any(law.periods) or _leads_back(program, theta, law):
        return z, log_det
    from scipy.spatial import KDTree

    own = law.sample(_POINTS, _SEED)
    unit = _unit(own)
    tree = KDTree(own / unit)
    # The nearest of a point of the law is itself.
    usual = np.quantile(tree.query(own / unit, k=2)[0][:, 1], 1 - _LONELY)
    away = _distances(tree, z, unit)
    doubtful = np.flatnonzero(~(away <= usual))
    if not doubtful.size:
        return z, log_det
    own, images = _images(program, theta, law, own)
    if len(images) < _TRIALS:
        return z, log_det
    unit_of_images = _unit(images)
    _, nearest = KDTree(images / unit_of_images).query(points[doubtful] / unit_of_images, _TRIALS)
    for trial in range(_TRIALS):
        begin = own[nearest[:, trial]]
        again, volume = program.invert(theta, points[doubtful], near=begin)
        distance = _distances(tree, again, unit)
        better = distance < away[doubtful]
        taken = doubtful[better]
        z[taken], log_det[taken], away[taken] = again[better], volume[better], distance[better]
    return z, log_det


def _unit(points: np.ndarray) -> np.ndarray:
    """Unit of length in every coordinate."""
    spread = points.std(axis=0)
    return np.where(np.isfinite(spread) & (spread > 0), spread, 1.0)


def _images(
    program: Program, theta: Vector, law: Law, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points of the law and where the map takes them, those that are taken somewhere."""
    samples = program.packed((own - law.mean) / law.spread)
    moved = program.push(theta, samples).x
    images = np.asarray(law.mean + samples.unpack(as_double(moved)), np.float64)
    good = np.isfinite(images).all(axis=1)
    return own[good], images[good]


def _leads_back(program: Program, theta: Vector, law: Law) -> bool:
    """Whether Newton's iteration leads images of all of the law's points back to these."""
    key, known = np.asarray(theta).tobytes(), _LED_BACK.get(program)
    if known is None or known[0] != key or known[1] is not law:
        own, images = _images(program, theta, law, law.sample(_POINTS, _SEED))
        found = len(own) == _POINTS
        if found:
            back, _ = program.invert(theta, images)
            found = bool(np.all(np.abs(back - own) <= _SAME * _unit(own)))
        known = _LED_BACK[program] = key, law, found
    return known[2]


def _distances(tree: KDTree, z: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """From the nearest point of the law, in these units; infinite where z is no number."""
    found = np.full(len(z), np.inf)
    good = np.isfinite(z).all(axis=1)
    if good.any():
        found[good] = tree.query(z[good] / unit)[0]
    return found
