"""Explicit Runge-Kutta methods in time for d theta/dt = eta(t, theta).

A method is its Butcher tableau (a, b, c): with k_i = eta(t + c_i dt, theta + dt sum_j a_ij k_j),
theta(t + dt) = theta + dt sum_i b_i k_i.  One function, :func:`explicit_step`, takes a step of any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import OptionError

__all__ = ["TABLEAUS", "Tableau", "explicit_step", "tableau"]


@dataclass(frozen=True)
class Tableau:
    """Butcher tableau of an explicit Runge-Kutta method.

    Attributes
    ----------
    name : str
        Name of the method, as in ``solve(integrator=...)``.
    order : int
        Order of convergence.
    a : tuple of tuples of float
        Row i holds a_i0 ... a_i(i-1).
    b : tuple of float
        Weights; they sum to 1.
    c : tuple of float
        Times of the stages; c_i is the sum of row i of ``a``.
    source : str
        Where the constants are from.
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    source: str


#: The methods by name.
TABLEAUS = {
    method.name: method
    for method in (
        Tableau(
            "euler", 1, ((),), (1.0,), (0.0,), "L. Euler, Institutiones calculi integralis, 1768"
        ),
        Tableau(
            "heun",
            2,
            ((), (1.0,)),
            (1 / 2, 1 / 2),
            (0.0, 1.0),
            "K. Heun, Z. Math. Phys. 45 (1900) 23-38",
        ),
        Tableau(
            "rk4",
            4,
            ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
            (1 / 6, 1 / 3, 1 / 3, 1 / 6),
            (0.0, 1 / 2, 1 / 2, 1.0),
            "W. Kutta, Z. Math. Phys. 46 (1901) 435-453",
        ),
    )
}


def tableau(name: str) -> Tableau:
    """Return the method of a name.

    Raises
    ------
    OptionError
        If the name is unknown, or is that of a method that this version does not have.
    """
    accepted = ", ".join(f'"{known}"' for known in TABLEAUS)
    if name == "adaptive":
        fix = 'The adaptive pair comes with later work: use integrator="rk4" with dt=...'
        raise OptionError("integrator", '"adaptive"', accepted, fix)
    if not isinstance(name, str) or name not in TABLEAUS:
        raise OptionError("integrator", repr(name), accepted)
    return TABLEAUS[name]


def explicit_step(
    method: Tableau,
    rhs: Callable[[float, np.ndarray], np.ndarray],
    t: float,
    theta: np.ndarray,
    dt: float,
    first: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Take one step of an explicit Runge-Kutta method.

    Parameters
    ----------
    method : Tableau
        The method.
    rhs : callable
        eta(t, theta), a (p,) array.
    t : float
        Time at the start of the step.
    theta : (p,) array
        Parameters at the start of the step; not changed.
    dt : float
        Length of the step.
    first : (p,) array, optional
        eta(t, theta) where the caller has it, which saves the first evaluation.

    Returns
    -------
    theta_new : (p,) array
        Parameters at ``t + dt``.
    first : (p,) array
        eta(t, theta).
    """
    slopes = [rhs(t, theta) if first is None else first]
    for row, c in zip(method.a[1:], method.c[1:], strict=True):
        slopes.append(rhs(t + c * dt, theta + dt * _combine(row, slopes)))
    return theta + dt * _combine(method.b, slopes), slopes[0]


def _combine(weights: tuple[float, ...], slopes: list[np.ndarray]) -> np.ndarray:
    """Sum of weights, not all of them zero, times slopes in a fixed order."""
    first, *others = [w * slope for w, slope in zip(weights, slopes, strict=True) if w]
    return sum(others, first)
