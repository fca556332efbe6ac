"""Orthogonal directions in which a polynomial is a sum: V(x) = sum_k f_k(q_k . x).

Then Hess V(x) = sum_k f_k''(q_k . x) q_k q_k^T everywhere, so that the q_k are eigenvectors of the
Hessian at any place where its eigenvalues differ: there is nothing else to try.  Of a quadratic
they are those of its matrix.  Of others the mixed derivatives have to vanish; they are polynomials,
and one that is not zero is not zero at a random place, either.

Directions and coefficients are doubles, right to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sympy as sp

__all__ = ["Separation", "separation"]

# Places where mixed derivatives are looked at, and how small they are beside both second ones.
_PLACES, _SMALL = 3, 1e-9
# A coefficient that is this part of what cancelled in it is rounding.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Separation:
    """Directions and slopes of a polynomial that is a sum over them.

    Attributes
    ----------
    frame : (d, d) array
        Rows are the orthonormal q_k; the identity where coordinates will do.
    slopes : tuple of d tuples of float
        Coefficients of f_k', the constant first; the last is not zero, or the only one.
    """

    frame: np.ndarray
    slopes: tuple[tuple[float, ...], ...]


def separation(potential: sp.Expr, coordinates: Sequence[sp.Symbol]) -> Separation | str:
    """Directions in which a polynomial is a sum, or why there are none.

    Parameters
    ----------
    potential : Expr
        With numbers for its parameters.
    coordinates : sequence of d Symbols

    Returns
    -------
    Separation or str
    """
    potential = sp.expand(potential)
    if not potential.is_polynomial(*coordinates):
        return "V is no polynomial"
    poly = sp.Poly(potential, *coordinates)
    if not all(c.is_number for c in poly.coeffs()):
        return "V has parameters without values"
    powers = np.array(poly.monoms())
    factors = np.array([float(c) for c in poly.coeffs()])
    if ((powers > 0).sum(axis=1) <= 1).all():
        return _along(np.eye(len(coordinates)), powers, factors)
    places = np.random.default_rng(0).standard_normal((_PLACES + 1, len(coordinates)))
    found = _along(np.linalg.eigh(_hessian(powers, factors, places[0]))[1].T, powers, factors)
    if powers.sum(axis=1).max() > 2:
        for x in places[1:]:
            if not _is_diagonal(found, _hessian(powers, factors, x), x):
                return "V is no sum of functions of orthogonal directions"
    return found


def _hessian(powers: np.ndarray, factors: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Second derivatives of sum_m c_m x^m at a place."""
    found = np.zeros((x.size, x.size))
    for power, factor in zip(powers, factors, strict=True):
        here = np.flatnonzero(power)  # few of many coordinates
        p, place = power[here], x[here]
        for a, i in enumerate(here):
            for b, j in enumerate(here):
                times = p[a] * (p[b] - (a == b))
                if times:
                    left = p - (np.arange(p.size) == a) - (np.arange(p.size) == b)
                    found[i, j] += factor * times * np.prod(place**left)
    return found


def _along(frame: np.ndarray, powers: np.ndarray, factors: np.ndarray) -> Separation:
    """The slopes of s -> V(s q) for the rows q of a frame."""
    degrees = powers.sum(axis=1)
    slopes = []
    for q in frame:
        values = factors * np.prod(q**powers, axis=1)
        own = [0.0] * max(int(degrees.max()), 1)
        for n in range(1, len(own) + 1):
            here = values[degrees == n]
            if abs(here.sum()) > _ROUNDING * np.abs(here).sum():
                own[n - 1] = float(n * here.sum())
        while len(own) > 1 and own[-1] == 0:
            own.pop()
        slopes.append(tuple(own))
    return Separation(frame, tuple(slopes))


def _is_diagonal(found: Separation, hessian: np.ndarray, x: np.ndarray) -> bool:
    """Whether mixed derivatives in the frame are small beside what the f_k'' are made of."""
    turned = found.frame @ hessian @ found.frame.T
    sizes = np.array(
        [
            np.polynomial.polynomial.polyval(abs(y), np.abs(np.arange(1, len(own)) * own[1:]))
            if len(own) > 1
            else 0.0
            for own, y in zip(found.slopes, found.frame @ x, strict=True)
        ]
    )
    rounding = 8 * np.finfo(float).eps * np.abs(hessian).max()
    allowed = _SMALL * np.sqrt(np.outer(sizes, sizes)) + rounding
    return bool((np.abs(turned - np.diag(np.diag(turned))) <= allowed).all())
