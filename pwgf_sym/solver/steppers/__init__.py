"""Methods in time: the protocol, one file a family, and the table of their names."""

from .names import METHODS, stepper_named
from .protocol import Step, Stepper

__all__ = ["METHODS", "Step", "Stepper", "stepper_named"]
