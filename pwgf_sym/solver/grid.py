"""Times of a run: the span, stored times, and the grid of fixed steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arguments import brief, number, real_array
from ..errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["MOST_ROWS", "MOST_STEPS", "stops", "time_grid"]

#: Steps that a run takes at most: the quickest take a third of a millisecond each, an hour in all.
MOST_STEPS = 10**7
#: Times that a run stores at most.
MOST_ROWS = 10**6
# Fraction of dt below which a step is taken for round-off of the grid and merged.
_SLIVER = 1e-9


def time_grid(
    t_span: ArrayLike, dt: float, save_at: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Lay out the time steps.

    Between one wanted time and the next, steps of ``dt`` are taken and the last is shortened to end
    there exactly.  Wanted times are the ends of ``t_span``, or ``save_at``: nothing is computed
    beyond the last of them.

    Parameters
    ----------
    t_span : (float, float)
        Start and end.
    dt : float
        Longest step.
    save_at : sequence of float, optional
        Increasing times within ``t_span``.

    Returns
    -------
    times : (K + 1,) array
        Ends of the steps.
    stored : (K + 1,) bool array
        Whether a time is stored: ``save_at``, or else all.

    Raises
    ------
    OptionError
        If ``t_span`` is no increasing pair, or ``save_at`` is empty, not increasing or outside.
    """
    start, end = _span(t_span)
    dt = number("dt", dt, above=0.0)
    wanted = np.array([end]) if save_at is None else _saved(save_at, start, end)
    _check_steps(start, float(wanted[-1]), dt, wanted.size, save_at is None)
    pieces, a = [np.array([start])], start
    for b in wanted[wanted > start]:
        count = max(1, int(np.ceil((b - a) / dt - _SLIVER)))
        piece = a + dt * np.arange(1, count + 1)
        piece[-1] = b
        pieces.append(piece)
        a = b
    times = np.concatenate(pieces)
    stored = np.ones(times.size, bool) if save_at is None else np.isin(times, wanted)
    return times, stored


def _check_steps(start: float, end: float, dt: float, wanted: int, all_stored: bool) -> None:
    """Refuse steps that are lost in the times' own spacing, and more than can be taken or kept."""
    spacing = float(np.spacing(max(abs(start), abs(end))))
    if dt < 8 * spacing and dt < end - start:
        given = f"{dt:.6g}, where floating-point times near {end:.6g} are {spacing:.3g} apart"
        accepted = f"at least {8 * spacing:.3g} with this t_span"
        fix = "Count times from the start, t_span=(0, end - start): the flow does not depend on t."
        raise OptionError("dt", given, accepted, fix if dt > 8 * np.spacing(end - start) else "")
    steps = (end - start) / dt
    stored = steps + 1 if all_stored else wanted
    if stored > MOST_ROWS:
        fix = "Name the times to store: save_at=np.linspace(start, end, 101)."
        fix += " And take a larger dt." if steps > MOST_STEPS else ""
        raise OptionError("save_at", f"{stored:.0f} times to store", f"at most {MOST_ROWS}", fix)
    if steps > MOST_STEPS:
        given = f"{dt:.6g}, which makes {steps:.3g} steps from {start:.6g} to {end:.6g}"
        accepted = f"at most {MOST_STEPS} steps, a dt of {(end - start) / MOST_STEPS:.3g} or more"
        raise OptionError("dt", given, accepted, "Take a larger dt, or a shorter t_span.")


def _span(t_span: ArrayLike) -> tuple[float, float]:
    accepted = "a pair (start, end) of times with start < end"
    ends = real_array("t_span", t_span, accepted=accepted)
    if ends.shape != (2,):
        raise OptionError("t_span", brief(t_span), accepted, "Write t_span=(0, 1).")
    start, end = map(float, ends)
    if not start < end:
        fix = "Gradient flows run forward only."
        raise OptionError("t_span", brief(t_span), accepted, fix if end < start else "")
    return start, end


def _saved(save_at: ArrayLike, start: float, end: float) -> np.ndarray:
    accepted = "a non-empty sequence of increasing times"
    times = real_array("save_at", save_at, accepted=accepted)
    if times.ndim != 1 or times.size == 0:
        raise OptionError("save_at", brief(save_at), accepted)
    if not np.all(np.diff(times) > 0):
        raise OptionError("save_at", brief(save_at), "increasing times", "Sort them.")
    if not (times[0] >= start and times[-1] <= end):
        raise OptionError("save_at", brief(save_at), f"times within t_span = ({start}, {end})")
    return times


def stops(t_span: ArrayLike, save_at: ArrayLike | None = None) -> tuple[np.ndarray, bool]:
    """Times that adaptive steps end at: the start, and what is wanted.

    Parameters
    ----------
    t_span : (float, float)
        Start and end.
    save_at : sequence of float, optional
        Increasing times within ``t_span``.

    Returns
    -------
    times : (K + 1,) array
        The start and the stored times, or the end.
    first : bool
        Whether the start is stored.

    Raises
    ------
    OptionError
        If ``t_span`` is no increasing pair, or ``save_at`` is empty, not increasing or outside.
    """
    start, end = _span(t_span)
    if save_at is None:
        return np.array([start, end]), True
    wanted = _saved(save_at, start, end)
    if wanted.size > MOST_ROWS:
        given = f"{wanted.size} times to store"
        raise OptionError("save_at", given, f"at most {MOST_ROWS}", "Store fewer times.")
    return np.concatenate([[start], wanted[wanted > start]]), bool(wanted[0] == start)
