"""Methods in time: the protocol, one file a family, and the table of their names."""

from .names import METHODS, stepper_named
from .pairs import RungeKutta
from .protocol import Step, Stepper, take_step
from .tableaus import Tableau

__all__ = ["METHODS", "RungeKutta", "Step", "Stepper", "Tableau", "stepper_named", "take_step"]
