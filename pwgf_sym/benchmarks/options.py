"""Options of the benchmark command, checked before anything is built."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import OptionError
from ..targets.table import TARGETS
from .pinning import usable_cores

__all__ = ["PROBLEM_NAMES", "SIDES", "SUITES", "BenchmarkOptions", "parse_sizes"]

SUITES = ("kernels", "step", "pairs", "accuracy", "latency", "threads", "targets")
SIDES = ("numpy", "jax", "torch")
_DTYPES = ("float64", "float32")
# Of suite "targets"; .problems has them as formulas, and SymPy with them.
PROBLEM_NAMES = ("double_well", "ornstein_uhlenbeck", "porous_medium", "aggregation", "repulsion")
_CLOCKS = ("cpu", "wall")


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is measured, and how long.

    Attributes
    ----------
    suites, dtypes, against, targets, problems : tuple of str
        Names from `SUITES`, precisions, opponents, targets, problems of suite "targets".
    sizes : tuple of (int, int)
        Dimension and width of the maps; pairs use the dimensions.
    counts : tuple of int
        Numbers of samples N; only suite "targets" takes several.
    rounds, threads : int
        Rounds that alternate over all calls, threads of every side.
    seconds : float
        Time a call gets in every round.
    clock : str
        "cpu": process time, which a busy machine disturbs less; "wall" for more than one thread.
    keep : float
        Variants slower than this many times their side's best in a first trial are not timed.
    """

    suites: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    counts: tuple[int, ...]
    dtypes: tuple[str, ...]
    against: tuple[str, ...]
    targets: tuple[str, ...]
    problems: tuple[str, ...]
    rounds: int
    seconds: float
    threads: int
    clock: str
    keep: float = 1.25

    @property
    def samples(self) -> int:
        """The number of samples of a suite that takes one."""
        return self.counts[0]

    @classmethod
    def parse(cls, given) -> BenchmarkOptions:
        """Check what the command line gave.

        Raises
        ------
        OptionError
            Naming the option, what was given and what is accepted.
        """
        threads = _number("--threads", given.threads, int, 1)
        suites = _names("--suite", given.suite, SUITES)
        counts = tuple(_number("--samples", n, int, 2) for n in str(given.samples).split(","))
        if len(counts) > 1 and suites != ("targets",):
            raise OptionError("--samples", repr(given.samples), "one number outside suite targets")
        if threads > usable_cores():
            raise OptionError("--threads", threads, f"at most the {usable_cores()} usable cores")
        clock = given.clock or ("cpu" if threads == 1 else "wall")
        return cls(
            suites=suites,
            sizes=_sizes(given),
            counts=counts,
            dtypes=_names("--dtype", given.dtype, _DTYPES),
            against=_names("--against", given.against, SIDES, none=True),
            targets=_names("--targets", given.targets, TARGETS),
            problems=_names("--problem", given.problem, PROBLEM_NAMES),
            rounds=_number("--rounds", given.rounds, int, 1),
            seconds=_number("--seconds", given.seconds, float, 0.0),
            threads=threads,
            clock=_names("--clock", clock, _CLOCKS)[0],
        )


def _sizes(given) -> tuple[tuple[int, int], ...]:
    """Sizes from --size, with --dim and --width in their place where they are given."""
    sizes = parse_sizes(given.size)
    if given.dim is None and given.width is None:
        return sizes
    dims = (given.dim or str(sizes[0][0])).split(",")
    widths = (given.width or str(sizes[0][1])).split(",")
    dims = [_number("--dim", d, int, 1) for d in dims]
    return tuple((d, _number("--width", m, int, 1)) for d in dims for m in widths)


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
