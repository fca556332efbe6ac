"""What a sample carries from step to step of a map: one entry for each quantity.

How it changes is derived from the map's own formula (design: Jin et al., arXiv 2404.19133, and the
change of variables), for both kinds of maps:

    exact    l' = l - log|det J|,  s' = J^-T (s - grad log|det J|),   J the step's Jacobian
    trace    dl/dtau = -div v,     ds/dtau = -grad div v - (grad v)^T s,  integrated with x

An entry may read the entries before it.  So kernels carry a *level*: the entries from the first up
to one of them, whose name the kernel has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

from ..arguments import brief
from ..declare.law import Law
from ..errors import OptionError
from ..tensors import Tensor, add, constant, scale
from ..tensors.differentiate import jacobian, trace_of_jacobian, vjp
from ..tensors.tensor import Array
from .structure import Structure, structure_of

__all__ = ["CARRIED", "Carried", "ExactStep", "Level", "Pullback", "Rate"]
__all__ += ["differentiable_levels", "kernel_name", "level_of", "levels", "pullbacks"]


class ExactStep:
    """A step of a map with its Jacobian.

    Attributes
    ----------
    before : dict of str to Tensor
        What a sample carries before the step, by name.
    after : Tensor
        x after the step.
    """

    def __init__(self, before: dict[str, Tensor], after: Tensor):
        self.before, self.after = before, after

    @cached_property
    def matrix(self) -> Tensor:
        """The step's Jacobian, (i, basis)."""
        return jacobian(self.after, self.before["x"])

    @cached_property
    def structure(self) -> Structure:
        """Its structure, by which it is inverted."""
        return structure_of(self.after, self.before["x"])

    @property
    def volume(self) -> Tensor:
        """log|det| of it."""
        return self.structure.volume


class Rate:
    """A step of a map along a field v, of whose Jacobian only the trace is formed.

    Attributes
    ----------
    now : dict of str to Tensor
        What a sample carries, by name.
    velocity : Tensor
        v(x).
    """

    def __init__(self, now: dict[str, Tensor], velocity: Tensor):
        self.now, self.velocity = now, velocity

    @cached_property
    def divergence(self) -> Tensor:
        """div v."""
        return trace_of_jacobian(self.velocity, self.now["x"])


@dataclass(frozen=True)
class Pullback:
    """The kernel that takes cotangents of a level, of every sample, to the parameters.

    Attributes
    ----------
    kernel, summary : str
        Its name and one-line mathematics.
    cotangent : str
        The input with the cotangents of the level's last quantity; those of the others are theirs.
    rare : bool
        Whether it is derived for energies alone that read the quantity.
    """

    kernel: str
    summary: str
    cotangent: str
    rare: bool = False


@dataclass(frozen=True)
class Carried:
    """A quantity that a sample carries.

    Attributes
    ----------
    name : str
        Name of its arrays, in kernels and in the states of a program.
    formula : str
        What it is, for summaries.
    axes : str
        Letters of its axes: "i" runs over the coordinates.
    start : str
        The input of kernels with its values at the samples of the initial law.
    initial : callable
        (law, points (N, d)) -> these values, (N, ...), in the user's coordinates; those of x are
        the points.
    step : callable
        :class:`ExactStep` -> its value after the step.
    rate : callable
        :class:`Rate` -> its derivative by tau.
    length : int
        Its unit is this power of a length: the map works in a unit of its own.
    pullback : Pullback or None
        The kernel of the derivative by theta of what is carried up to here.  With None no energy's
        gradient reads the quantity.
    """

    name: str
    formula: str
    axes: str
    start: str
    initial: Callable[[Law, Array], Array]
    step: Callable[[ExactStep], Tensor]
    rate: Callable[[Rate], Tensor]
    length: int = 0
    pullback: Pullback | None = None

    @property
    def cotangent(self) -> str:
        """Name of its cotangents within kernels."""
        return "u" if self.name == "x" else f"u_{self.name}"


Level = tuple[Carried, ...]


def pullbacks(level: Level) -> list[Pullback]:
    """Those of a level's quantities, as far as there are any."""
    return [c.pullback for c in level if c.pullback is not None]


def _score_after(step: ExactStep) -> Tensor:
    (gradient,) = vjp({step.volume: constant(1)}, [step.before["x"]])
    return step.structure.transposed_solve(step.before["score"] - gradient)


def _score_rate(rate: Rate) -> Tensor:
    # (grad v)^T s + grad div v: one reverse sweep, so that what they share is added early.
    seeds = {rate.velocity: rate.now["score"], rate.divergence: constant(1)}
    (gradient,) = vjp(seeds, [rate.now["x"]])
    return scale(-1, gradient)


#: Every quantity, in the order in which they read each other.
CARRIED: Level = (
    Carried(
        "x",
        "x = T(z)",
        axes="i",
        start="z",
        initial=lambda law, points: points,
        step=lambda step: step.after,
        rate=lambda rate: rate.velocity,
        length=1,
        pullback=Pullback("vjp", "sum over samples of (dT/dtheta)^T field", "field"),
    ),
    Carried(
        "log_density",
        "l = log rho(x)",
        axes="",
        start="log_density_0",
        initial=lambda law, points: law.log_density(points),
        step=lambda step: add(step.before["log_density"], scale(-1, step.volume)),
        rate=lambda rate: scale(-1, rate.divergence),
        pullback=Pullback(
            "gradient",
            "sum over samples of (dx/dtheta)^T field + (dl/dtheta)^T scalar",
            "scalar",
        ),
    ),
    Carried(
        "score",
        "s = grad l",
        axes="i",
        start="score_0",
        initial=lambda law, points: law.score(points),
        step=_score_after,
        rate=_score_rate,
        length=-1,
        pullback=Pullback(
            "gradient_score",
            "sum over samples of (dx/dtheta)^T field + (dl/dtheta)^T scalar + (ds/dtheta)^T pull",
            "pull",
            rare=True,
        ),
    ),
)


def levels() -> list[Level]:
    """All levels, the lowest first."""
    return [CARRIED[: n + 1] for n in range(len(CARRIED))]


def differentiable_levels(read: Level = ()) -> list[Level]:
    """Those whose derivative by theta has a kernel, where energies read a level."""
    found = [level for level in levels() if level[-1].pullback is not None]
    return [x for x in found if len(x) <= len(read) or not pullbacks(x)[-1].rare]


def level_of(names: str | Collection[str]) -> Level:
    """The lowest level that carries a quantity, or several.

    Raises
    ------
    OptionError
        If a name is no quantity's.
    """
    try:
        left: set[object] = {names} if isinstance(names, str) else set(names)
    except (TypeError, ValueError):  # no collection of names
        left = {None}
    for count, quantity in enumerate(CARRIED, 1):
        left.discard(quantity.name)
        if not left:
            return CARRIED[:count]
    known = ", ".join(f'"{quantity.name}"' for quantity in CARRIED)
    given = names if None in left else min(left, key=str)
    raise OptionError("carry", brief(given), known)


def kernel_name(stem: str, level: Level) -> str:
    """The name of a kernel that carries a level: "push", "push_log_density", ..."""
    return stem if len(level) == 1 else f"{stem}_{level[-1].name}"
