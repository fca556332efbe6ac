"""A program at a time: the time is one more parameter whose value kernels read at run time."""

from __future__ import annotations

from functools import cached_property

from .program import Program
from .sums import SampleSum

__all__ = ["ProgramAtTime"]


def _of_whole(name: str) -> property:
    """What is made once, for all times."""
    return property(lambda self: getattr(self.whole, name), doc=f"``{name}`` of the program.")


class ProgramAtTime(Program):
    """A program whose energy, velocity and their derivatives are those of one time.

    Attributes
    ----------
    whole : Program
        The program of all times, which has the kernels.
    time : float
    """

    def __init__(self, whole: Program, time: float):
        self.__dict__.update(whole.__dict__)
        self.__dict__.pop("sums", None)
        self.whole, self.time = getattr(whole, "whole", whole), float(time)
        self.take({**whole.parameters, **dict.fromkeys(self._clock, self.time)})

    module, kernels, in_single, rest = map(_of_whole, ("module", "kernels", "in_single", "rest"))
    moments, local_jacobian = map(_of_whole, ("moments", "local_jacobian"))
    polynomials, value_symbols = map(_of_whole, ("polynomials", "value_symbols"))
    separable, _places, _constants = map(_of_whole, ("separable", "_places", "_constants"))
    _energy_of = _of_whole("_energy_of")
    _reading_more, _moved_by_pairs = map(_of_whole, ("_reading_more", "_moved_by_pairs"))

    @cached_property
    def sums(self) -> dict[str, SampleSum]:
        """What computes the sums, by name, with data of this time."""
        return {name: one.at(self.parameters) for name, one in self.whole.sums.items()}

    def __reduce__(self):
        return ProgramAtTime, (self.whole, self.time)
