"""The methods by name: one line makes a new one known everywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ...arguments import brief
from ...calls import nearest
from ...errors import OptionError
from .automatic import Automatic
from .chebyshev import Chebyshev
from .pairs import RungeKutta
from .protocol import Stepper
from .rosenbrock import Rosenbrock
from .tableaus import TABLEAUS, Tableau

__all__ = ["METHODS", "stepper_named"]

#: Name -> what makes the stepper of a run.
METHODS: dict[str, Callable[[], Stepper]] = {
    "auto": Automatic,
    **{name: partial(RungeKutta, method) for name, method in TABLEAUS.items()},
    "rkc": Chebyshev,
    "rosenbrock": Rosenbrock,
}


def stepper_named(given: object, tol: float | None = None, argument: str = "integrator") -> Stepper:
    """A stepper for a run with a tolerance, from a name or a stepper.

    ``argument`` is what the name was given as, for the message.

    Raises
    ------
    OptionError
        If the name is unknown, or the object no stepper.
    """
    if isinstance(given, Stepper):
        return given.fresh(tol)
    if not isinstance(given, str) or given not in METHODS:
        accepted = ", ".join(f'"{name}"' for name in METHODS) + ", or a Stepper"
        fix = f"Write {given.__name__}(...)." if isinstance(given, type) else ""
        fix = "Write RungeKutta(tableau)." if isinstance(given, Tableau) else fix
        fix = nearest(given, METHODS) if isinstance(given, str) else fix
        raise OptionError(argument, brief(given), accepted, fix)
    return METHODS[given]().fresh(tol)
