"""Restarts: the law that a run has reached becomes the initial law of a fresh map.

A map that has moved far may be worn: what its parameters still change is not where the flow goes.
The flow's law at that time is then taken as the reference of the same map at its own start, the
identity, and log densities stay exact through all maps.  Whether that pays is not guessed: where
the defect has grown, or steps lead nowhere, a fresh map is tried on the same samples, and it takes
over if the velocity that it is able to follow is nearer to the flow's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..declare.problem import GradientFlow
from ..errors import FlowError, LawError, OptionError
from .columns import Restart
from .compiler import displacement
from .folds import folded_part, largest_part, worst_condition
from .history import Record
from .option_fields import settled
from .push import Push
from .right_side import RightSide, Stage, drawn
from .start import start_of
from .vectors import like

if TYPE_CHECKING:
    from .protocols import Program

__all__ = ["Restarts", "check_restarts"]

# A fresh map is tried where the defect, if it stayed, would move samples until the end by more than
# this part of the tolerance; after so many steps, and twice as many after one in vain, up to these.
_MATTERS, _PATIENCE, _LONGEST = 0.3, 8, 64
# So many restarts at most: every sample passes all maps, and a law calls the one before it.
_MOST = 32
# It takes over where its defect is at most this part of the worn map's, or not larger where dT/dz
# has such a condition: a map near a fold is followed by ever shorter steps.
_BETTER, _CONDITION = 0.5, 30.0
# Spreads of the law by which a fresh map may move samples, in units of round-off at least: the law
# jumps by as much at every restart, which no error bound knows of.
_AT_START, _ROUNDING = 1e-10, 8


def check_restarts(problem: GradientFlow, restart: str | None) -> None:
    """Refuse restarts of a flow on circles; before anything is compiled.

    Raises
    ------
    OptionError
    """
    if restart is not None and any(problem.periods):
        given = f'"{restart}" for a problem with periodic coordinates'
        raise OptionError("restart", given, "None: laws on circles cannot be pushed on")


class Restarts:
    """Restarts of a run.

    Parameters
    ----------
    right : RightSide
        That of the first map.
    end : float
        Where the run ends.

    Attributes
    ----------
    found : list of Restart
    first : Program
        Of the first map.
    """

    def __init__(self, right: RightSide, end: float) -> None:
        self.right, self.end, self.options = right, end, right.options
        self.first: Program = right.program
        self.found: list[Restart] = []
        self.active = self.options.restart is not None
        if self.active:
            self._check_start(right.program)
        self.steps, self.patience = 0, _PATIENCE

    def _check_start(self, program: Program) -> None:
        """Refuse a map that does not start at the identity: the law would jump."""
        theta = start_of(program.problem, program.map, None, self.options.seed)
        moved = displacement(program, theta)
        if not moved <= _allowed(program):
            given = f'"auto" for a map that at its start moves samples by {moved:.2g} spreads'
            fix = "Give initial_parameters() at which T(z) = z."
            raise OptionError("restart", given, "None, or a map that starts at the identity", fix)

    def due(self, t: float, stage: Stage, stalls: bool) -> str:
        """Why a fresh map should be tried after a step, if it should."""
        if not self.active or t >= self.end or len(self.found) >= _MOST:
            return ""
        self.steps += 1
        if stalls:
            return "steps led nowhere"
        defect = self.defect(stage)
        matters = defect * (self.end - t) > _MATTERS * settled(self.options.tol) * stage.spread
        if self.steps < self.patience or not matters:
            return ""
        return f"the defect was {defect:.2g}"

    def defect(self, stage: Stage) -> float:
        """On samples that the flow does not use; NaN where there is no target velocity."""
        return stage.right.defect(stage.t, stage.theta, stage.eta)[0]

    def tried(self, t: float, stage: Stage, step: int) -> tuple[Stage, float] | None:
        """A fresh map at the law of a stage, and its defect; None where it would not be better."""
        worn = self.defect(stage)
        self.steps, self.patience = 0, min(2 * self.patience, _LONGEST)
        record = self.right.record
        try:
            found = self._fresh(t, stage, step)
        except (FlowError, LawError, OptionError):  # the last where the law is too narrow
            return None
        if found is None:
            return None
        law, new = found
        better = self.defect(new)
        taken = better <= _BETTER * worn or (better <= worn and self._nearly_folds(stage))
        if not (taken and np.isfinite(better)):
            record.tried(new.linear)
            return None
        record.solved(new.linear)
        new.right.record = record
        self.found.append(Restart(t, law))
        self.right, self.patience = new.right, _PATIENCE
        return new, better

    def folded(self, last: float | None) -> float | None:
        """Part on which maps are folded, the largest of all; that of the last one is given."""
        if not self.found or self.right.carry:  # then none before it is
            return last
        return largest_part(last, self.found[-1].law.folded_from(self.first.problem.initial))

    def _nearly_folds(self, stage: Stage) -> bool:
        right, theta = self.right, np.asarray(stage.theta)
        return worst_condition(right.program, theta, right.carry) >= _CONDITION

    def _fresh(self, t: float, stage: Stage, step: int) -> tuple[Push, Stage] | None:
        """The law of a stage, and a map at its start that acts on it."""
        right, options = self.right, self.options
        program = right.program
        if right.carry and folded_part(program, np.asarray(stage.theta), right.carry):
            return None  # log densities would be wrong from here on
        law = Push(program.problem.initial, program.map, np.asarray(stage.theta, np.float64))
        law.pushed_by(program)
        fresh = program.beginning_with(law)
        problem = fresh.problem
        theta = start_of(problem, program.map, None, options.seed)
        if not displacement(fresh, theta) <= _allowed(fresh):
            return None  # a map may start at the identity of some laws alone
        points = drawn(problem, options, "samples", 0, options.number)
        # With a record of its own: a map that is not taken is no part of the run.
        new = RightSide(fresh, options, points, Record()).follows(right, step)
        return law, new(t, like(theta, new.samples.weights))


def _allowed(program: Program) -> float:
    """Spreads of the law by which a map may move samples at its start."""
    return max(_AT_START, _ROUNDING * float(np.finfo(program.dtype).eps))
