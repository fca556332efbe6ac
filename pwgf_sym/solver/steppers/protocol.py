"""What a method in time is to a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...arguments import brief
from ...errors import OptionError

if TYPE_CHECKING:
    from ..options import FlowOptions
    from ..right_side import RightSide, Stage

    #: (t, theta) -> the right side there.
    Right = Callable[[float, np.ndarray], Stage]

__all__ = ["Step", "Stepper", "take_step"]


class Step(NamedTuple):
    """What a step found.

    Attributes
    ----------
    theta : (p,) array
        Parameters at its end.
    stage : Stage or None
        The right side there, where the method has looked at it; a method with an estimate has.
    error : (p,) array or None
        Estimate of the local error of the parameters; a run measures how far it moves the samples.
        None for a method without one.
    coefficients : callable
        Slope at the end -> (m, p) array, the polynomial of the step
        (:mod:`pwgf_sym.solver.path`).
    stages : int
        Right-hand sides that it took: with that at its end, without that at its beginning.
    """

    theta: np.ndarray
    stage: Stage | None
    error: np.ndarray | None
    coefficients: Callable[[np.ndarray], np.ndarray]
    stages: int


class Stepper:
    """A method for d theta/dt = eta(t, theta); a new one is a subclass with ``step``.

    Attributes
    ----------
    name : str
        As in ``solve(integrator=...)``.
    order : int
        Order of convergence.
    controlled : bool
        Whether steps have an estimate of their error, so that a run may choose their length.
    error_order : int
        The estimate of a step of length h falls as h^(error_order + 1).
    chosen : str
        Name of the method that takes the next step: another one where a method chooses.
    """

    name: str = ""
    order: int = 0
    controlled: bool = False
    error_order: int = 0

    def fresh(self, tol: float | None = None) -> Stepper:
        """The same method for a run with a tolerance; what a run learns stays with it."""
        return self

    @property
    def chosen(self) -> str:
        """Name of the method of the next step."""
        return self.name

    def check(self, options: FlowOptions) -> None:
        """Refuse options of a run that the method cannot work with; before anything is compiled.

        Raises
        ------
        OptionError
        """

    def begins(self, right: RightSide) -> None:
        """Refuse a run that the method cannot work with; before its first step.

        Raises
        ------
        OptionError
        """

    def restarted(self, right: RightSide, tol: float | None = None) -> Stepper:
        """The method once a fresh map has taken over: what it learned was of other parameters."""
        found = self.fresh(tol)
        found.begins(right)
        return found

    def allowed(self, right: RightSide, t: float, stage: Stage, step: float) -> float:
        """The longest step, at most ``step``, that the method can take from a stage."""
        return step

    def step(self, right: Right, t: float, stage: Stage, step: float) -> Step:
        """Take a step.

        Parameters
        ----------
        right : callable
            (t, theta) -> Stage.
        t : float
            Where the step begins.
        stage : Stage
            The right side there.
        step : float
            Its length.

        Returns
        -------
        Step
        """
        raise NotImplementedError(f"{type(self).__name__} has no method step")

    def accepted(self, step: Step) -> None:
        """Learn that a step was accepted."""

    def rejected(self) -> None:
        """Learn that a step was rejected, or could not be evaluated."""

    def to_dict(self) -> dict[str, str]:
        """Plain JSON-able form."""
        return {"integrator": self.name}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def take_step(stepper: Stepper, right: Right, t: float, stage: Stage, step: float) -> Step:
    """What a stepper's step found, with what a run reads of it.

    Raises
    ------
    OptionError
        If it gave back something else.
    """
    found = stepper.step(right, t, stage, step)
    full = isinstance(found, Step)
    if full and not (stepper.controlled and (found.stage is None or found.error is None)):
        return found
    given = "a Step without stage or error" if full else brief(found)
    accepted = "a Step, with stage and error where controlled is set"
    raise OptionError(f"step of {type(stepper).__name__}", given, accepted)
