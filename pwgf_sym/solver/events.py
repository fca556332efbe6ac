"""Events: times at which a function of the flow is zero, found on the dense output."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from ..arguments import brief, checked_call, flag, integer, number
from ..errors import OptionError
from .path import polynomial
from .vectors import as_double, like, norm

if TYPE_CHECKING:
    from .protocols import State, Vector
    from .right_side import RightSide
    from .steppers import Step

__all__ = ["Event", "Moment", "Watch", "events_of", "until_equilibrium"]


class Moment:
    """The flow at one time, as an event's function sees it; what is not asked for costs nothing.

    Attributes
    ----------
    t : float
        Time.
    theta : (p,) array
        Parameters of the map.
    energy : float
        Energy of samples that the run does not use; they are the same at all times.
    dissipation : float
        mean |w|^2 over them, w the target velocity.
    points : (N, d) array
        Where the map takes them.
    """

    def __init__(self, right: RightSide, t: float, theta: Vector) -> None:
        self._right, self.t = right, float(t)
        self._program = right.program.at(self.t)
        self._theta = like(theta, right.fresh.weights)

    @property
    def theta(self) -> np.ndarray:
        return np.array(self._theta, np.float64)

    @cached_property
    def _state(self) -> State:
        right, program = self._right, self._program
        return program.push(self._theta.astype(program.dtype), right.fresh, right.carry)

    @cached_property
    def _integrals(self) -> np.ndarray:
        return self._program.integrals(self._state)

    @cached_property
    def energy(self) -> float:
        return self._program.energy(self._integrals)

    @cached_property
    def dissipation(self) -> float:
        right = self._right
        w = as_double(self._program.velocity(self._state, self._integrals))
        return norm(w, as_double(right.fresh.weights) * w) ** 2

    @cached_property
    def points(self) -> np.ndarray:
        return np.array(self._right.fresh.unpack(self._state.x), np.float64)


class Event:
    """A function of the flow whose zeros are looked for, as SciPy's ``solve_ivp`` has them.

    Parameters
    ----------
    function : callable
        :class:`Moment` -> float.
    terminal : bool
        Whether the run ends at the first zero.
    direction : {0, 1, -1}
        Zeros that count: all, rising or falling ones.
    name : str
        For messages.
    """

    @checked_call
    def __init__(
        self,
        function: Callable[[Moment], float],
        terminal: bool = True,
        direction: int = 0,
        name: str = "",
    ) -> None:
        if not callable(function):
            raise OptionError("function", brief(function), "a function of a Moment")
        self.function, self.terminal = function, flag("terminal", terminal)
        self.direction = integer("direction", direction, -1)
        if self.direction > 1:
            raise OptionError("direction", brief(direction), "0, 1 or -1")
        self.name = name or getattr(function, "__name__", "event")

    #: Whether a run also ends where it starts, if the function is not above 0 there.
    at_once = False

    def __call__(self, moment: Moment) -> float:
        try:
            value = self.function(moment)
        except (TypeError, AttributeError, sp.SympifyError) as error:
            # A function of something else, such as sp.exp; what else it raises is its own affair.
            given = f"{self.name}, which ended in {type(error).__name__}: {error}"
            raise OptionError("events", given, "functions of a Moment") from error
        try:
            return float(value)
        except (TypeError, ValueError):
            raise OptionError("events", f"{brief(value)} from {self.name}", "a number") from None

    def counts(self, before: float, after: float) -> bool:
        """Whether values before and after a step have a zero between them that counts."""
        rises, falls = before < 0 <= after, before > 0 >= after
        return (rises and self.direction >= 0) or (falls and self.direction <= 0)

    def __repr__(self) -> str:
        return self.name


class _Equilibrium(Event):
    at_once = True


@checked_call
def until_equilibrium(dissipation: float = 1e-6) -> Event:
    """End a run when the dissipation mean |w|^2 = -dE/dt falls below a number.

    Where the problem depends on the time this may be a moment of rest, and no equilibrium.

    Parameters
    ----------
    dissipation : float
        Above 0.  On N samples the fit's own noise is a floor: at a run's ``tol`` it is reached
        down to about the squared ``defect``.

    Returns
    -------
    Event
        For ``solve(..., events=[...])``.
    """
    level = number("dissipation", dissipation, above=0.0)
    name = f"until_equilibrium({level:g})"
    return _Equilibrium(partial(_dissipation_above, level), True, -1, name)


def _dissipation_above(level: float, moment: Moment) -> float:
    """A function of the module, so that the event can go to another process."""
    return moment.dissipation - level


def events_of(given: Any) -> tuple[Event, ...]:
    """The events of an argument: one, or a sequence; functions become events as in SciPy.

    Raises
    ------
    OptionError
    """
    given = (given,) if callable(given) else given
    try:
        found = tuple(given if given is not None else ())
    except TypeError:
        raise OptionError("events", brief(given), "functions of a Moment") from None
    events = []
    for event in found:
        if not callable(event):
            raise OptionError("events", brief(event), "functions of a Moment")
        if not isinstance(event, Event):
            given = getattr(event, "terminal", False), getattr(event, "direction", 0)
            event = Event(event, *given)
        events.append(event)
    return tuple(events)


class Watch:
    """Looks for the zeros of events step by step.

    Attributes
    ----------
    times : list of list of float
        Zeros of each event.
    ended : Event or None
        The one that ended the run.
    """

    def __init__(self, events: tuple[Event, ...]):
        self.events = events
        self.times: list[list[float]] = [[] for _ in events]
        self.ended: Event | None = None
        self._before: list[float] = []

    def begins(self, t: float, theta: Vector, right: RightSide) -> bool:
        """Look at the start; whether the run ends there."""
        moment = Moment(right, t, theta)
        self._before = [event(moment) for event in self.events]
        for event, value, times in zip(self.events, self._before, self.times, strict=True):
            if event.at_once and event.terminal and value <= 0:
                times.append(t)
                self.ended = event
                return True
        return False

    def passed(
        self,
        t: float,
        after: float,
        theta: Vector,
        taken: Step,
        slope: Vector,
        right: RightSide,
    ) -> float | None:
        """Note the zeros within a step; the time of one that ends the run, else None.

        Parameters
        ----------
        t, after : float
            Ends of the step.
        theta : (p,) array
            Parameters at its start.
        taken : Step
            The step.
        slope : (p,) array
            The slope at its end.
        right : RightSide
            With the samples of the step.
        """
        if not self.events:
            return None
        end = Moment(right, after, taken.theta)
        values = [event(end) for event in self.events]
        signs = zip(self.events, self._before, values, strict=True)
        found = [k for k, (event, a, b) in enumerate(signs) if event.counts(a, b)]
        self._before = values
        if not found:
            return None
        coefficients, theta = np.asarray(taken.coefficients(slope)), np.asarray(theta)

        def at(time: float) -> Moment:
            s = (time - t) / (after - t)
            return Moment(right, time, polynomial(coefficients, theta, after - t, s))

        zeros = sorted((_zero(self.events[k], at, t, after), k) for k in found)
        for time, k in zeros:
            self.times[k].append(time)
            if self.events[k].terminal:
                self.ended = self.events[k]
                return time
        return None


def _zero(event: Event, at: Callable[[float], Moment], t: float, after: float) -> float:
    """The zero of an event's function within a step."""
    from scipy.optimize import brentq

    # On the samples of this step: on others the sign at its start may have been another.
    first, last = event(at(t)), event(at(after))
    if first * last > 0:
        return t if abs(first) < abs(last) else after
    return float(brentq(lambda time: event(at(time)), t, after, xtol=1e-6 * (after - t)))
