"""Timing: named calls in one process, in rounds that alternate over all of them.

Every number of a comparison comes from the same rounds, so a slow spell of the machine hits all
sides alike; ratios are taken round by round before their median is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["CLOCKS", "Timed", "compare", "difference", "measure", "median_ratio", "screen"]

CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}


def _unchanged(result):
    return result


@dataclass
class Timed:
    """One callable to time.

    Attributes
    ----------
    kernel, side, variant : str
        What is computed, by whom, and how.
    call : callable
        Does the work and returns when it is done.
    convert : callable
        Takes what ``call`` returned to NumPy arrays (N, ...) or (p,), or a tuple of them.
    times : list of float
        Seconds a call, one number a round.
    error : float
        Largest relative difference from the reference side.
    note : str
        Why a variant was not timed further.
    first : float
        Seconds of a first trial.
    trial : callable, optional
        A shorter run that is compared between the sides, and screened, instead of ``call``.
    """

    kernel: str
    side: str
    variant: str
    call: Callable[[], Any]
    convert: Callable[[Any], Any] = _unchanged
    times: list[float] = field(default_factory=list)
    error: float = 0.0
    note: str = ""
    first: float = 0.0
    trial: Callable[[], Any] | None = None

    def result(self) -> Any:
        """What is compared between the sides, in NumPy."""
        return self.convert((self.trial or self.call)())

    @property
    def median(self) -> float:
        return statistics.median(self.times)


def difference(found, expected) -> float:
    """Largest difference of arrays or tuples of arrays, relative to the largest entry expected."""
    if isinstance(expected, tuple):
        return max(difference(f, e) for f, e in zip(found, expected, strict=True))
    found, expected = (np.asarray(v, np.float64) for v in (found, expected))
    if found.shape != expected.shape:
        return float("inf")
    scale = float(np.max(np.abs(expected)))
    return float(np.max(np.abs(found - expected))) / (scale or 1.0)


def compare(calls: Sequence[Timed], reference: dict[str, Any]) -> None:
    """Keep the difference of every call's result from the reference of its kernel.

    This compiles whatever is compiled at the first call.
    """
    for timed in calls:
        timed.error = difference(timed.result(), reference[timed.kernel])


def screen(calls: Sequence[Timed], clock: str, factor: float) -> list[Timed]:
    """Time each call or its trial a few times; keep the variants that may be their side's best.

    Variants more than ``factor`` times slower than the best of their side and kernel get a note and
    are not timed further.
    """
    now = CLOCKS[clock]
    best: dict[tuple[str, str], float] = {}
    for timed in calls:
        for _ in range(3):
            start = now()
            (timed.trial or timed.call)()
            seconds = now() - start
            timed.first = min(timed.first or seconds, seconds)
        key = (timed.kernel, timed.side)
        best[key] = min(best.get(key, timed.first), timed.first)
    kept = []
    for timed in calls:
        if timed.first > factor * best[timed.kernel, timed.side]:
            timed.note = f"screened out at {1e3 * timed.first:.3g} ms"
        else:
            kept.append(timed)
    return kept


def measure(calls: Sequence[Timed], *, rounds: int, seconds: float, clock: str) -> None:
    """Time every call in ``rounds`` rounds of about ``seconds`` a call; fills ``times``."""
    now = CLOCKS[clock]
    for timed in calls:
        if not timed.first:
            start = now()
            timed.call()
            timed.first = now() - start
    for _ in range(rounds):
        for timed in calls:
            repeats = 1 if timed.trial else int(seconds / max(timed.first, 1e-7))
            repeats = max(1, min(10000, repeats))
            start = now()
            for _ in range(repeats):
                timed.call()
            timed.times.append((now() - start) / repeats)


def median_ratio(times: Sequence[float], base: Sequence[float]) -> float:
    """Median over the rounds of times / base."""
    return statistics.median(t / b for t, b in zip(times, base, strict=True))
