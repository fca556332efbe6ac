"""Whether a map is folded: the sign of det dT/dz changes, so that points have several preimages.

The log density of the push-forward at T(z) is then not log lambda(z) - log|det dT/dz|, but the
logarithm of a sum of such terms over all preimages.  Kernels carry log|det| only; its sign comes
from differences of the map itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .sampling import draw_with_tails, has_tails
from .vectors import as_double

if TYPE_CHECKING:
    from .protocols import Program

__all__ = ["fold_text", "folded_part", "largest_part", "worst_condition"]

_POINTS = 256
# Beyond this dimension the Jacobians of all points take too long.
_MOST_DIMENSIONS = 256
_SEED = 20240607
# Round-off of positions beyond this part of their spread hides the sign.
_MOST_ROUNDING = 1e-4


def folded_part(program: Program, theta: np.ndarray, carry: Sequence[str] = ()) -> float | None:
    """Part of the initial law on which det dT/dz has the rarer sign.

    Parameters
    ----------
    program : Program
    theta : (p,) array
        Parameters of the map.
    carry : sequence of str
        What the pushed samples carry beside their positions: something whose kernel is compiled.

    Returns
    -------
    float or None
        From 0 to 1/2, counted on independent points of the law; 0 for a map without folds there.
        None where it is not looked for: beyond 256 dimensions, and where round-off of positions is
        not far below their spread.
    """
    law = program.problem.initial
    if law.dim > _MOST_DIMENSIONS:
        return None
    points = law.sample(int(np.clip((1 << 22) // law.dim**2, 64, _POINTS)), _SEED)
    theta = np.asarray(theta).astype(program.dtype)
    # Errors of differences, round-off over the step and the step itself, are least together there.
    rounding = np.finfo(program.dtype).eps * max(
        _size_in_spreads(points), _size_in_spreads(_push(program, theta, points, carry))
    )
    if not rounding < _MOST_ROUNDING:
        return None
    step = np.sqrt(rounding) * _spread(points)

    def signs(z: np.ndarray, h: np.ndarray) -> np.ndarray:
        jacobians = _jacobians(program, theta, z, h, carry)
        finite = np.isfinite(jacobians).all(axis=(1, 2))
        return np.where(finite, np.linalg.slogdet(jacobians)[0], 0)

    with np.errstate(all="ignore"):
        found = signs(points, step)
        rarer = -1.0 if np.sum(found) > 0 else 1.0
        doubtful = points[found == rarer]
        if not len(doubtful):
            return 0.0
        # A determinant near 0 has no sign in round-off: it counts where both sides agree.
        return float(np.sum(signs(doubtful, -step) == rarer)) / len(points)


def largest_part(*parts: float | None) -> float | None:
    """Of maps one after the other: the largest, and None where one is not known and none folded."""
    largest = max((part for part in parts if part is not None), default=0.0)
    return None if None in parts and not largest else largest


def worst_condition(program: Program, theta: np.ndarray, carry: Sequence[str] = ()) -> float:
    """The largest condition number of dT/dz on points of the initial law and of its tails.

    Infinite where it is no number; arguments are those of :func:`folded_part`.
    """
    law = program.problem.initial
    count = int(np.clip((1 << 22) // law.dim**2, 64, _POINTS))
    if has_tails(law):
        points, _ = draw_with_tails(law, count, 2, sampling="random", seed=_SEED)
    else:
        points = law.sample(count, _SEED)
    theta = np.asarray(theta).astype(program.dtype)
    step = np.sqrt(np.finfo(program.dtype).eps * _size_in_spreads(points)) * _spread(points)
    with np.errstate(all="ignore"):
        jacobians = _jacobians(program, theta, points, step, carry)
        if not np.isfinite(jacobians).all():
            return np.inf
        values = np.linalg.svd(jacobians, compute_uv=False)
        found = float(np.max(values[:, 0] / values[:, -1]))
    return found if np.isfinite(found) else np.inf


def _jacobians(
    program: Program, theta: np.ndarray, z: np.ndarray, h: np.ndarray, carry: Sequence[str]
) -> np.ndarray:
    """dT/dz at points by differences of length h, transposed: (n, d, d)."""
    base = _push(program, theta, z, carry)
    rows = [_push(program, theta, z + shift, carry) - base for shift in np.diag(h)]
    return np.stack(rows, axis=1) / h[:, None]


def _push(
    program: Program, theta: np.ndarray, points: np.ndarray, carry: Sequence[str]
) -> np.ndarray:
    # Without the law's density, which would be found at every point by inverting maps before.
    law = program.problem.initial
    samples = program.packed((points - law.mean) / law.spread)
    state = program.push(theta, samples, carry)
    return np.asarray(law.mean + samples.unpack(as_double(state.x)), np.float64)


def _spread(points: np.ndarray) -> np.ndarray:
    """Unit of length in every coordinate."""
    spread = points.std(axis=0)
    return np.where(spread > 0, spread, 1.0)


def _size_in_spreads(points: np.ndarray) -> float:
    """How far from the origin the points are, in units of their spread."""
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return np.inf
    return max(1.0, float(np.max(np.abs(finite) / _spread(finite))))


def fold_text(part: float) -> str:
    """What a folded map means, in words."""
    return (
        f"det dT/dz has the other sign on {100 * part:.2g} % of the initial law: the map is folded "
        "there, points have several preimages, and rho is the sum over all of them"
    )
