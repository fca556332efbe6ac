"""Error bounds of a computed flow: which hold for its energy, and what they say.

A bound follows from the gap u - w between the velocity of the computed path and that of the flow
(:mod:`.bounds`), so that errors of projection and of time stepping are both in it, and from
constants that are read off the energy's formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np

from ..arguments import choice, integer, number
from ..errors import OptionError
from .gaps import Gaps, joined, measure, points_of, velocity_at
from .sampling import seed_for
from .theory import Theory, formulas_of, log_sobolev_of, theory_of

if TYPE_CHECKING:
    from .path import Curve
    from .protocols import Program
    from .theory import Choice

__all__ = ["DISTANCES", "ErrorBound", "all_bounds", "bounds_along", "bounds_over_time"]
__all__ += ["equilibrium_bound", "error_bound"]

DISTANCES = ("KL", "TV", "W1", "W2")

# A W1 bound says more than one on W2 where it is less than this part of it.
_MUCH_SMALLER = 0.5


class Effort(TypedDict, total=False):
    """Options of a measurement; :func:`all_bounds` says what they are."""

    seed: int
    accuracy: float
    evaluations: int


@dataclass(frozen=True)
class ErrorBound:
    """A bound on a distance between the computed law and that of the flow; ``float(b)`` is it.

    Attributes
    ----------
    value : float
    distance : {"KL", "TV", "W1", "W2"}
        KL(computed | flow), half of the L1 distance, and the distances of Wasserstein.
    status : {"proven", "conditional"}
        Whether the constants are proven, or found by a numerical search.  Also a proven bound is
        computed from means over samples and from an integral over time: see the errors.
    standard_error : float
        Of the value, from independent sets of samples; infinite gaps give infinite bounds.
    time_error : float
        What the last halving of the time steps of the integral changed, in the value's unit.
    reason : str
        The theorem and its constants.
    t : float
        The time.
    """

    value: float
    distance: str
    status: str
    standard_error: float
    time_error: float
    reason: str
    t: float

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        error = f"standard error {self.standard_error:.1g}"
        return f"{self.distance} <= {self.value:.4g} at t = {self.t:.6g} ({self.status}, {error})"


def error_bound(
    path: Curve,
    program: Program,
    t: float | None = None,
    distance: str | None = None,
    **options: Unpack[Effort],
) -> ErrorBound:
    """A bound on the distance between the computed law and the flow's at a time.

    Parameters
    ----------
    path : Curve
        The computed parameters.
    program : Program
    t : float, optional
        Within the path's times; its end.
    distance : {"KL", "TV", "W1", "W2"}, optional
        By default the one that says most, of those that are proven if there are any: the W2 bound,
        or the W1 bound where that is less than half of it (W1 <= W2, so that a W2 bound of like
        size says more); if it is larger than the spread of the initial law and so says little, the
        TV bound if that is below 1/2, or KL if TV is below 1; else the W2 or W1 bound again.
    **options
        Those of :func:`all_bounds`.

    Returns
    -------
    ErrorBound

    Raises
    ------
    OptionError
        If ``t`` is outside the path's times, the distance is unknown, or no bound on it holds for
        this energy; the message says why.
    """
    times = [float(path.t[-1]) if t is None else t]
    return bounds_along(path, program, times, distance, **options)[0]


def bounds_along(
    path: Curve,
    program: Program,
    times: Sequence[float],
    distance: str | None = None,
    before: Sequence[tuple[Curve, Program]] = (),
    **options: Unpack[Effort],
) -> list[ErrorBound]:
    """:func:`error_bound` at several times, all of one distance: by default the last one's.

    Parameters
    ----------
    path, program, distance
        As of :func:`error_bound`.
    times : sequence of float
    before
        As of :func:`bounds_over_time`.
    **options
        Its other ones.

    Returns
    -------
    list of ErrorBound

    Raises
    ------
    OptionError
        As of :func:`error_bound`.
    """
    if distance is not None:
        choice("distance", distance, DISTANCES)
    found = bounds_over_time(path, program, times, before, **options)
    if distance is None:
        _, first = [*before, (path, program)][0]
        distance = _chosen(found[-1], first.problem.initial.spread)
    return [_of_distance(bounds, distance) for bounds in found]


def _of_distance(found: dict[str, ErrorBound | str], distance: str) -> ErrorBound:
    """The bound on a distance, or an error that says why there is none."""
    bound = found[distance]
    if isinstance(bound, ErrorBound):
        return bound
    others = [d for d, other in found.items() if isinstance(other, ErrorBound)]
    accepted = f"one of {', '.join(others)}" if others else "no distance for this energy"
    raise OptionError("distance", f'"{distance}": {bound}', accepted)


def _chosen(found: dict[str, ErrorBound | str], spread: float) -> str:
    """The distance of the bound that says most."""
    best = _best(found, spread)
    if best is None:
        reasons = "; ".join(f"{d}: {why}" for d, why in found.items())
        accepted = "energies that are lambda-convex, or int V rho + sigma int rho log rho"
        raise OptionError("error_bound", f"an energy for which none holds ({reasons})", accepted)
    return best.distance


def all_bounds(
    path: Curve,
    program: Program,
    t: float | None = None,
    *,
    seed: int = 0,
    accuracy: float = 0.1,
    evaluations: int = 1 << 21,
) -> dict[str, ErrorBound | str]:
    """All bounds at a time, by distance; a text says why there is none.

    Parameters
    ----------
    path, program, t
        As of :func:`error_bound`.
    seed : int
        Of the samples, which are others than those of the run with the same seed.
    accuracy : float
        Samples are added until the standard error of the integral of E|u - w|^2 is at most this
        part of it.
    evaluations : int
        Limit of samples times nodes in time.

    Returns
    -------
    dict of str to ErrorBound or str
    """
    times = [float(path.t[-1]) if t is None else t]
    options: Effort = {"seed": seed, "accuracy": accuracy, "evaluations": evaluations}
    return bounds_over_time(path, program, times, **options)[0]


def bounds_over_time(
    path: Curve,
    program: Program,
    times: Sequence[float],
    before: Sequence[tuple[Curve, Program]] = (),
    *,
    seed: int = 0,
    accuracy: float = 0.1,
    evaluations: int = 1 << 21,
) -> list[dict[str, ErrorBound | str]]:
    """:func:`all_bounds` at several times, with one measurement of the gap.

    Parameters
    ----------
    times : sequence of float
        Of the path, or of those before it.
    before : sequence of (Curve, Program)
        Of the maps before a restart: the law that each of them ends with begins the next.

    Raises
    ------
    OptionError
        If an option is out of range, or there is no velocity: the first variation jumps, or the
        integrand holds derivatives of the density.
    """
    pieces = [*before, (path, program)]
    first, last = float(pieces[0][0].t[0]), float(path.t[-1])
    times = [_within(t, first, last) for t in times]
    seed, evaluations = integer("seed", seed, 0), integer("evaluations", evaluations, 1)
    accuracy = number("accuracy", accuracy, above=0.0)
    if rough := program.form.rough:
        fix = "Compare runs of two maps and tolerances; in the place of a jump write a smooth kink."
        raise OptionError(
            "error_bound", rough.given, "energies with a velocity to compare with", fix
        )
    theory = theory_of(program.problem, (first, max([first, *times])))
    moduli = None if isinstance(theory.one_sided, str) else theory.one_sided
    found = []
    for curve, kernels in pieces:
        within = [min(t, float(curve.t[-1])) for t in times if t >= curve.t[0]]
        found.append(
            measure(
                *(curve, kernels, within, moduli),
                seed=seed,
                accuracy=accuracy,
                evaluations=max(evaluations // len(pieces), 1),
            )
        )
    gaps = joined(found)
    return [_at(theory, gaps, first, t) for t in times]


def _within(t: float, first: float, last: float) -> float:
    """A time of the path; those beyond its ends by rounding are the ends."""
    found, slack = number("t", t), 1e-9 * (last - first)
    if not first - slack <= found <= last + slack:
        raise OptionError("t", f"{found:g}", f"times from {first:g} to {last:g}")
    return min(max(found, first), last)


def _at(theory: Theory, gaps: Gaps, first: float, t: float) -> dict[str, ErrorBound | str]:
    """The bounds at one time from the nodes before it."""
    formulas = formulas_of(theory)
    here = gaps.times < t
    gaps = replace(
        gaps,
        times=gaps.times[here],
        steps=gaps.steps[here],
        square=gaps.square[:, here],
        size=gaps.size[:, here],
        parts=gaps.parts[:, here],
        own=gaps.own[:, here],
        damped=gaps.damped[:, here],
    )
    found: dict[str, ErrorBound | str] = {}
    for distance in DISTANCES:
        choices = formulas[distance]
        if isinstance(choices, str):
            found[distance] = choices
            continue
        bounds = [_evaluated(choice, distance, gaps, first, t) for choice in choices]
        proven = [b for b in bounds if b.status == "proven"] or bounds
        found[distance] = min(proven, key=float)
    return found


def _evaluated(choice: Choice, distance: str, gaps: Gaps, first: float, t: float) -> ErrorBound:
    """A formula at the mean of all sets of points, and its error by leaving out one at a time."""
    formula, status, reason = choice
    sets = np.arange(len(gaps.square))
    value = float(formula(_mean(gaps, sets), gaps, first, t))
    if np.isfinite(value):
        others = [formula(_mean(gaps, np.delete(sets, k)), gaps, first, t) for k in sets]
        error = float(np.sqrt((sets.size - 1) * np.var(others)))
        error = float(np.hypot(error, value * gaps.largest))
    else:
        error = np.inf
    time_error = value * gaps.time_error if np.isfinite(value) else np.inf
    return ErrorBound(value, distance, status, error, time_error, reason, t)


def _mean(gaps: Gaps, sets: np.ndarray) -> dict[str, np.ndarray]:
    names = (
        "square",
        "size",
        "parts",
        "own",
        "damped",
        "start_square",
        "start_size",
        "start_parts",
        "start_own",
        "start_kl",
    )
    return {name: getattr(gaps, name)[sets].mean(axis=0) for name in names}


def _best(found: dict[str, ErrorBound | str], spread: float) -> ErrorBound | None:
    """The bound that says most; the rule stands in :func:`error_bound`."""
    bounds = {d: b for d, b in found.items() if isinstance(b, ErrorBound)}
    proven = {d: b for d, b in bounds.items() if b.status == "proven"}
    bounds = proven or bounds
    if not bounds:
        return None
    transport = bounds.get("W2", bounds.get("W1"))
    if transport is not None and float(bounds["W1"]) < _MUCH_SMALLER * float(transport):
        transport = bounds["W1"]
    if transport is not None and float(transport) <= spread:
        return transport
    if "TV" in bounds and float(bounds["TV"]) < 0.5:
        return bounds["TV"]
    if "TV" in bounds and (transport is None or float(bounds["TV"]) < 1):
        return bounds["KL"]
    return transport


# Distance to equilibrium.


def equilibrium_bound(
    program: Program,
    theta: np.ndarray,
    distance: str = "KL",
    *,
    seed: int = 0,
    samples: int = 1 << 15,
) -> ErrorBound:
    """A bound on the distance of the law of a map from equilibrium, pi = exp(-V/sigma)/Z.

    With the constant kappa of the logarithmic Sobolev inequality and w = -sigma grad log(rho/pi)

        KL(rho|pi) <= E|w|^2/(2 kappa sigma^2),   W2(rho, pi) <= sqrt(2 KL/kappa)

    (F. Otto and C. Villani, J. Funct. Anal. 173, 2000, for the second).

    Parameters
    ----------
    program : Program
    theta : (p,) array
    distance : {"KL", "TV", "W1", "W2"}
    seed, samples : int

    Returns
    -------
    ErrorBound
        At t = NaN.

    Raises
    ------
    OptionError
        If the distance is unknown, or the energy has no known constant.
    """
    choice("distance", distance, DISTANCES)
    seed, samples = integer("seed", seed, 0), integer("samples", samples, 16)
    structure = theory_of(program.problem).structure
    constant = log_sobolev_of(structure)
    if not constant.holds:
        accepted = "energies int V rho + sigma int rho log rho with a known log-Sobolev constant"
        raise OptionError("equilibrium_bound", f"an energy where {constant.reason}", accepted)
    sigma = float(structure.sigma)
    squares: list[float] = []
    for k in range(8):
        points = points_of(program, samples // 8, seed_for(seed, "equilibrium", k))
        w = velocity_at(program, theta, points)
        squares.append(points.weights @ np.sum(w**2, axis=1))
    kl = np.array(squares) / (2 * constant.value * sigma**2)
    mean, error = float(kl.mean()), float(kl.std(ddof=1) / np.sqrt(kl.size))
    value, slope = _from_entropy(distance, mean, constant.value)
    reason = f"logarithmic Sobolev inequality, kappa = {constant.value:.6g}: {constant.reason}"
    return ErrorBound(value, distance, constant.status, slope * error, 0.0, reason, np.nan)


def _from_entropy(distance: str, kl: float, kappa: float) -> tuple[float, float]:
    """The bound on a distance that one on KL gives, and its derivative by it."""
    if distance == "KL":
        return kl, 1.0
    factor = 0.5 if distance == "TV" else 2 / kappa
    value = float(np.sqrt(factor * kl))
    slope = factor / (2 * value) if value > 0 else 0.0
    return (min(value, 1.0) if distance == "TV" else value), slope
