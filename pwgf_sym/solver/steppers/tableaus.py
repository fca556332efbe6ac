"""Butcher tableaus of explicit Runge-Kutta methods."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TABLEAUS", "Tableau"]


@dataclass(frozen=True)
class Tableau:
    """Butcher tableau of an explicit Runge-Kutta method.

    With k_i = eta(t + c_i dt, theta + dt sum_j a_ij k_j) the step ends at
    theta + dt sum_i b_i k_i.

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
    error : tuple of float
        The embedded method's weights less ``b``, with one more for the slope at the end of the
        step; empty where there is none.
    dense : tuple of tuples of float
        Row i holds the coefficients of s, s^2, ... with which k_i, and at last the slope at the
        end, enter theta(t + s dt); empty where the cubic of both ends has the method's order.
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    source: str
    error: tuple[float, ...] = ()
    dense: tuple[tuple[float, ...], ...] = ()


_EULER = Tableau(
    "euler", 1, ((),), (1.0,), (0.0,), "L. Euler, Institutiones calculi integralis, 1768"
)
_HEUN = Tableau(
    "heun",
    2,
    ((), (1.0,)),
    (1 / 2, 1 / 2),
    (0.0, 1.0),
    "K. Heun, Z. Math. Phys. 45 (1900) 23-38",
)
_RK4 = Tableau(
    "rk4",
    4,
    ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    (0.0, 1 / 2, 1 / 2, 1.0),
    "W. Kutta, Z. Math. Phys. 46 (1901) 435-453",
)
_RK23 = Tableau(
    "rk23",
    3,
    ((), (1 / 2,), (0.0, 3 / 4)),
    (2 / 9, 1 / 3, 4 / 9),
    (0.0, 1 / 2, 3 / 4),
    "P. Bogacki, L. F. Shampine, Appl. Math. Lett. 2 (1989) 321-325",
    error=(5 / 72, -1 / 12, -1 / 9, 1 / 8),
)
_RK45 = Tableau(
    "rk45",
    5,
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0),
    "J. R. Dormand, P. J. Prince, J. Comput. Appl. Math. 6 (1980) 19-26; its polynomial of order "
    "4: L. F. Shampine, Math. Comp. 46 (1986) 135-150",
    error=(-71 / 57600, 0.0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40),
    dense=(
        (
            1.0,
            -8048581381 / 2820520608,
            8663915743 / 2820520608,
            -12715105075 / 11282082432,
        ),
        (0.0, 0.0, 0.0, 0.0),
        (
            0.0,
            131558114200 / 32700410799,
            -68118460800 / 10900136933,
            87487479700 / 32700410799,
        ),
        (
            0.0,
            -1754552775 / 470086768,
            14199869525 / 1410260304,
            -10690763975 / 1880347072,
        ),
        (
            0.0,
            127303824393 / 49829197408,
            -318862633887 / 49829197408,
            701980252875 / 199316789632,
        ),
        (0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844),
        (0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423),
    ),
)

#: The methods by name.
TABLEAUS = {method.name: method for method in (_EULER, _HEUN, _RK4, _RK23, _RK45)}
