"""Every error that a user can cause, and every warning, named in one place.

Each error names the argument, what was given, what is accepted and the nearest fix.  All of
them are raised before long work starts, except :class:`FlowError`, which a running flow raises.
Warnings say what a result is not good for, and what to do about it.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

__all__ = [
    "BenchmarkError",
    "CacheError",
    "CacheWarning",
    "CallError",
    "CoordinateError",
    "EnergyError",
    "FlowError",
    "FoldedMapWarning",
    "FormulaError",
    "InversionWarning",
    "LawError",
    "MapError",
    "MapWarning",
    "NumpyFunctionError",
    "OperationError",
    "OptionError",
    "ParameterError",
    "PictureWarning",
    "PwgfError",
    "PwgfWarning",
    "StoredSolutionError",
    "TargetError",
    "ToleranceWarning",
    "warn",
]


class PwgfError(ValueError):
    """Base of all errors of the package.

    Parameters
    ----------
    argument : str
        Name of the argument (or term) that is wrong.
    given : object
        What was given; its ``str`` goes into the message.
    accepted : str
        What would have been accepted.
    fix : str, optional
        The nearest fix, as an imperative sentence.
    """

    def __init__(self, argument: str, given: object, accepted: str, fix: str = "") -> None:
        self.argument, self.given, self.accepted, self.fix = argument, given, accepted, fix
        message = f"{argument}: got {given}; accepted: {accepted}."
        super().__init__(f"{message} {fix}".rstrip())

    def __reduce__(self) -> tuple[object, ...]:
        # The message is made already; what was given may be an object that cannot travel.
        state = self.__dict__ | {"given": str(self.given)}
        return _restored, (type(self), self.args, state)


def _restored(
    kind: type[PwgfError], args: tuple[object, ...], state: dict[str, object]
) -> PwgfError:
    """An error as it was, without being formatted again."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class PwgfWarning(UserWarning):
    """Base of all warnings of the package; each is said once a call."""


class CacheWarning(PwgfWarning):
    """The cache folder is not used, or not all of it: kernels are compiled more often."""


class EnergyError(PwgfError):
    """A term of the energy is not a functional of the density that the package can derive."""


class CoordinateError(EnergyError, IndexError):
    """There is no coordinate of that index."""


class NumpyFunctionError(EnergyError, TypeError):
    """A function of NumPy is called with a formula; SymPy's is wanted."""


class ParameterError(PwgfError):
    """A run-time parameter has no value, a non-finite value, or does not occur in the energy."""


class LawError(PwgfError):
    """An initial law is ill-defined: dimensions, covariance, radius, exponent."""


class MapError(PwgfError):
    """A map is ill-defined: dimension, width, steps, activation."""


class FormulaError(PwgfError):
    """A formula holds a function or object that no target can print."""


class OperationError(PwgfError, TypeError):
    """A tensor operation, one of the package or of yours, has no loops on a target."""

    @classmethod
    def of(cls, word: str, target: str, rule: str) -> OperationError:
        """An operation that is written ``word``, and where the target's ``rule`` is to be added."""
        given = f'{word}, for which target="{target}" has no loops'
        accepted = "sums, products, scalar functions, inverses and log-determinants"
        fix = "Write the method lowered, which says it by these, or add a case to "
        fix += f'{rule}, or use target="numpy".'
        return cls("tensor operation", given, accepted, fix)


class OptionError(PwgfError):
    """An option of ``solve``, ``compile`` or a method of the solution is not accepted."""


class CallError(OptionError, TypeError):
    """A public function lacks an argument, or gets one that it does not have."""


class CacheError(PwgfError):
    """A generated module cannot be written, or is not named by the hash of its text."""


class TargetError(PwgfError):
    """Kernels cannot run on the target here: no GPU, no driver, or a package is missing."""


class BenchmarkError(PwgfError):
    """Two sides of a benchmark compute different things."""


class StoredSolutionError(PwgfError):
    """A file is not a stored solution of a version that this package reads."""


class FlowError(PwgfError):
    """A running flow met a state that it cannot continue from.

    Attributes
    ----------
    step : int
        Number of the time step (0 is the first).
    time : float
        Time at which the step started.
    sample : int or None
        First offending sample.
    term : str or None
        Offending term of the energy, or kernel.
    solution : Solution or None
        The rows so far; None before the first.
    """

    #: Any and no Solution: the solver imports this module.
    solution: Any = None

    def __init__(
        self,
        given: object,
        accepted: str,
        fix: str,
        *,
        step: int,
        time: float,
        sample: int | None = None,
        term: str | None = None,
    ) -> None:
        self.step, self.time, self.sample, self.term = step, time, sample, term
        where = f"step {step} (t = {time:.6g})"
        if sample is not None:
            where += f", sample {sample}"
        if term is not None:
            where += f", term {term}"
        super().__init__(where, given, accepted, fix)


class ToleranceWarning(PwgfWarning):
    """A linear solve of a run missed its tolerance."""


class AccuracyWarning(PwgfWarning):
    """A run did not reach its ``tol``, by its own estimate of the error."""


class FoldedMapWarning(PwgfWarning):
    """The sign of det dT/dz changes: points have several preimages, and the log density of one."""


class MapWarning(PwgfWarning):
    """A map does not start at the identity, or has a parameter that nothing reads."""


class InversionWarning(PwgfWarning):
    """Newton's iteration found no preimage of some points."""


class PictureWarning(PwgfWarning):
    """A figure leaves points out."""


def warn(message: str, category: type[PwgfWarning]) -> None:
    """Warn at the line outside of the package that called it."""
    own, level = os.path.dirname(__file__) + os.sep, 2
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(own):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
