"""Options of the benchmark command, checked before anything is built."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import OptionError
from .pinning import usable_cores

__all__ = ["SIDES", "SUITES", "BenchmarkOptions", "parse_sizes"]

SUITES = ("kernels", "step", "pairs", "accuracy", "latency", "threads")
SIDES = ("numpy", "jax", "torch")
_DTYPES = ("float64", "float32")
_TARGETS = ("cpu",)
_CLOCKS = ("cpu", "wall")


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is measured, and how long.

    Attributes
    ----------
    suites, dtypes, against, targets : tuple of str
        Names from `SUITES`, precisions, opponents, targets.
    sizes : tuple of (int, int)
        Dimension and width of the maps; pairs use the dimensions.
    samples, rounds, threads : int
        Samples N, rounds that alternate over all calls, threads of every side.
    seconds : float
        Time a call gets in every round.
    clock : str
        "cpu": process time, which a busy machine disturbs less; "wall" for more than one thread.
    keep : float
        Variants slower than this many times their side's best in a first trial are not timed.
    """

    suites: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    samples: int
    dtypes: tuple[str, ...]
    against: tuple[str, ...]
    targets: tuple[str, ...]
    rounds: int
    seconds: float
    threads: int
    clock: str
    keep: float = 1.25

    @classmethod
    def parse(cls, given) -> BenchmarkOptions:
        """Check what the command line gave.

        Raises
        ------
        OptionError
            Naming the option, what was given and what is accepted.
        """
        threads = _number("--threads", given.threads, int, 1)
        if threads > usable_cores():
            raise OptionError("--threads", threads, f"at most the {usable_cores()} usable cores")
        clock = given.clock or ("cpu" if threads == 1 else "wall")
        return cls(
            suites=_names("--suite", given.suite, SUITES),
            sizes=parse_sizes(given.size),
            samples=_number("--samples", given.samples, int, 2),
            dtypes=_names("--dtype", given.dtype, _DTYPES),
            against=_names("--against", given.against, SIDES, none=True),
            targets=_names("--targets", given.targets, _TARGETS),
            rounds=_number("--rounds", given.rounds, int, 1),
            seconds=_number("--seconds", given.seconds, float, 0.0),
            threads=threads,
            clock=_names("--clock", clock, _CLOCKS)[0],
        )


def _names(option: str, text: str, accepted, none: bool = False) -> tuple[str, ...]:
    if none and text in ("", "none"):
        return ()
    found = tuple(part.strip() for part in text.split(","))
    for name in found:
        if name not in accepted:
            choices = ", ".join(accepted) + (", none" if none else "")
            raise OptionError(option, repr(name), f"names of {choices}, separated by commas")
    return tuple(dict.fromkeys(found))


def parse_sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Read "2/32,10/64" as pairs of dimension and width."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)/(\d+)\s*", part)
        if not match or "0" in (match[1].lstrip("0") or "0", match[2].lstrip("0") or "0"):
            raise OptionError("--size", repr(part), "dimension/width, as in 2/32,10/64")
        found.append((int(match[1]), int(match[2])))
    return tuple(dict.fromkeys(found))


def _number(option: str, text, kind, least):
    try:
        value = kind(text)
    except (TypeError, ValueError):
        value = None
    if value is None or not least <= value < float("inf"):
        noun = "an integer" if kind is int else "a finite number"
        raise OptionError(option, repr(text), f"{noun} of at least {least}")
    return value
