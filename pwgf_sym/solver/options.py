"""Options of a run: what each accepts, and the checks that run before any long work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np

from ..arguments import choice, flag, number, whole_seed
from ..declare.maps import Map
from ..errors import OptionError
from ..memory import storage_limit
from .compiler import TARGETS
from .option_fields import OptionObject, combined, option
from .option_objects import FIELDS, OBJECTS, LinearSolve, Samples, Steps
from .steppers import Stepper, stepper_named

__all__ = ["FlowOptions", "LinearOptions"]

#: The class by its former name.
LinearOptions = LinearSolve

#: Accepted names of each option that takes a name; the first is the default.
NAMES = {
    "formulation": ("velocity", "energy"),
    "target": tuple(TARGETS),
    "dtype": ("float64", "float32"),
}

#: Parameters up to which "auto" takes the dense solver: with fixed steps, and with adaptive ones,
#: which beyond take "minres" with products in float32 and a preconditioner of so many samples.
MOST_DENSE, MOST_DENSE_ADAPTIVE, _PRECONDITIONER = 800, 1500, 64
# The same for parameters times dimensions, but for Rosenbrock steps, which need the matrix.  G
# takes p^2 d a sample, a product with it some 4 p: in 15 and 20 dimensions MINRES took a third of
# the time, and LSMR with an affine map in 25 a fiftieth.
_MOST_DENSE_ROWS = 6000
#: Fixed steps: their length for methods without an estimate of the error, and their samples.
DT, SAMPLES = 0.01, 4096
#: Adaptive steps: the tolerance, and that of the steps of a map that is linear in its parameters,
#: which cost little.
TOL, LINEAR_STEP_TOL = 1e-3, 1e-7
# Samples at the start of an adaptive run, and from which tolerance on twice as many.
_ADAPTIVE_SAMPLES, _FINE = 1024, 2e-4
# Times as many an adaptive run takes at most, unless told otherwise: in stiff directions a large
# defect does no harm, and ever more samples would be drawn for it.
_MOST_DOUBLED = 4
# Samples that the defect is measured on, at most, unless told otherwise.
_MOST_FRESH = 1024


def _target(name: str, value: object) -> str:
    """The name of a target that is there."""
    found = choice(name, value, TARGETS)
    TARGETS[found].require_device()
    return found


def _object(argument: str) -> Any:
    """A field for an option object, made of whatever `solve` takes in its argument."""
    kind = OBJECTS[argument]
    return option(kind(), lambda name, value: combined(kind, name, value, {}, {}))


def _name(argument: str) -> Any:
    names = NAMES[argument]
    return option(names[0], partial(choice, names=names))


_positive = partial(number, above=0.0)


@dataclass(frozen=True, repr=False)
class FlowOptions(OptionObject):
    """Options of a run, checked; :func:`pwgf_sym.solve` says what they mean.

    Attributes
    ----------
    step_tol : float or None
        The tolerance that steps follow; None for fixed steps.
    chosen : tuple of str
        What was left to the run, by the keywords of `solve`.
    """

    steps: Steps = _object("steps")
    linear: LinearSolve = _object("linear")
    samples: Samples = _object("samples")
    formulation: str = _name("formulation")
    target: str = option(NAMES["target"][0], _target)
    dtype: str = _name("dtype")
    seed: int = option(0, whole_seed)
    progress: bool = option(False, flag)
    dense_output: bool | None = option(None, flag)
    restart: str | None = option(None, partial(choice, names=("auto",)))
    tol: float | None = option(None, _positive)
    step_tol: float | None = option(None, _positive)
    chosen: tuple[str, ...] = option((), lambda name, value: tuple(value))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.linear.check_method()
        object.__setattr__(self, "steps", self._settled_steps())

    @classmethod
    def of(
        cls,
        keywords: Mapping[str, object],
        defaults: Mapping[str, object] = {},
        **given: Any,
    ) -> FlowOptions:
        """The options of a call.

        Parameters
        ----------
        keywords : mapping
            Single fields of the objects, by the keywords of `solve`.
        defaults : mapping
            The same, for fields that are None in the end.
        **given
            The arguments: objects, or what stands for them, and the other options.

        Raises
        ------
        OptionError
            By the name that was given.
        """
        for argument, kind in OBJECTS.items():
            value = given.get(argument)
            given[argument] = combined(kind, argument, value, keywords, defaults)
        return cls(**given)

    def _settled_steps(self) -> Steps:
        """Steps that are fixed or follow a tolerance; a mixture of both is refused."""
        steps = self.steps if self.steps.method is not None else replace(self.steps, method="auto")
        stepper = stepper_named(steps.method)
        if steps.dt is None and stepper.controlled:
            return steps
        needing = {"tol": self.tol, "max_step": steps.max_step, "restart": self.restart}
        for name, value in needing.items():
            if value is not None:
                how = "dt" if steps.dt is not None else f'integrator="{stepper.name}"'
                given = f"{value!r} together with {how}"
                named = ", ".join(f'"{n}"' for n in ("auto", "rk23", "rk45", "rkc"))
                fix = f'Leave dt out, and use integrator={named} or "rosenbrock".'
                raise OptionError(name, given, "one of the two: fixed steps have no tolerance", fix)
        method = "rk4" if stepper.name == "auto" else steps.method
        return replace(steps, method=method, dt=DT if steps.dt is None else steps.dt)

    @property
    def on_host(self) -> bool:
        """Whether the target's vectors and matrices are NumPy's."""
        return TARGETS[self.target].on_host

    @property
    def adaptive(self) -> bool:
        """Whether the lengths of steps follow a tolerance."""
        return self.steps.dt is None

    def for_map(self, map: Map, parameters: int) -> FlowOptions:
        """The same options with the defaults for a map of so many parameters filled in."""
        # The compiler's half is imported only here, where a run begins.
        from ..kernels.formulas import is_linear

        linear = is_linear(map)
        left = ("samples", "resample", "shift")
        given = (self.samples.number, self.samples.resample, self.linear.shift)
        chosen = tuple(name for name, value in zip(left, given, strict=True) if value is None)
        tol = step_tol = (TOL if self.tol is None else self.tol) if self.adaptive else None
        if self.adaptive and self.tol is None and linear and self.dtype == "float64":
            step_tol = LINEAR_STEP_TOL
        found = replace(
            self, samples=self._settled_samples(), tol=tol, step_tol=step_tol, chosen=chosen
        )
        found = found._with_solver(map, parameters, linear)
        # The kernel matrix is singular without a shift, whatever the map.
        linear = linear and found.linear.method != "kernel"
        solves, energy = found.linear, self.formulation == "energy"
        if step_tol is not None:
            solves = solves.following(step_tol, self.dtype, linear, energy)
        found = replace(found, linear=solves.for_dtype(self.dtype, linear))
        stepper_named(found.steps.method).check(found)
        return found

    def for_times(self, named: bool) -> FlowOptions:
        """The same options where the stored times are named, or every step is stored."""
        if self.dense_output is None:
            return replace(self, dense_output=self.adaptive or not named)
        return self

    @property
    def number(self) -> int:
        """Number of samples at the start."""
        if self.samples.number is not None:
            return self.samples.number
        fine = self.tol is not None and self.tol <= _FINE
        adaptive = 2 * _ADAPTIVE_SAMPLES if fine else _ADAPTIVE_SAMPLES
        chosen = adaptive if self.adaptive else SAMPLES
        return min(chosen, self.samples.max or chosen)

    def _settled_samples(self) -> Samples:
        """Samples with nothing left open."""
        number, given = self.number, self.samples
        if given.partners is not None and given.partners >= number:
            accepted = f"an integer from 1 to {number - 1}, for {number} samples"
            fix = "Leave partners out, for all of them."
            raise OptionError("partners", str(given.partners), accepted, fix)
        most = _MOST_DOUBLED * number if given.max is None else given.max
        fresh = min(number, _MOST_FRESH) if given.fresh is None else given.fresh
        resample = self.adaptive if given.resample is None else given.resample
        return replace(given, number=number, max=most, resample=resample, fresh=fresh)

    def _with_solver(self, map: Map, parameters: int, linear: bool) -> FlowOptions:
        """The same options with a linear solver for so many parameters."""
        if self.linear.method != "auto":
            return self
        rows = parameters * self.number * map.dim * np.dtype(self.dtype).itemsize
        most = MOST_DENSE_ADAPTIVE if self.adaptive else MOST_DENSE
        few = parameters * map.dim <= _MOST_DENSE_ROWS or not self.adaptive
        few = few or stepper_named(self.steps.method).name == "rosenbrock"
        if few and parameters <= most and rows <= storage_limit() and self.on_host:
            return replace(self, linear=replace(self.linear, method="dense"))
        # A linear map's metric is that of the initial law, the unit matrix or nearly so where the
        # map is affine: a few products with J take less than to form it, and need no shift.
        if linear or not self.adaptive or not self.on_host:
            return replace(self, linear=replace(self.linear, method="lsmr"))
        mixed = "mixed" if self.dtype == "float64" else "working"
        options = replace(
            self.linear, method="minres", precision=mixed, preconditioner=_PRECONDITIONER
        )
        return replace(self, linear=options)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form, by the keywords of `solve`."""
        entries: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            entries |= value.by_keyword() if entry.name in OBJECTS else {entry.name: value}
        if isinstance(self.steps.method, Stepper):
            entries["integrator"] = self.steps.method.name
        return entries | {"chosen": list(self.chosen)}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> FlowOptions:
        """The inverse of :meth:`to_dict`; entries may lack.

        Raises
        ------
        OptionError
            For a name that is no option, and for a value that is not accepted.
        """
        own = {entry.name for entry in fields(cls)} - OBJECTS.keys() | {"samples"}
        unknown = entries.keys() - own - set(FIELDS)
        if unknown:
            raise OptionError(min(unknown), "no option of a run", "the keywords of solve")
        keywords = {name: value for name, value in entries.items() if name in FIELDS}
        return cls.of(keywords, **{n: v for n, v in entries.items() if n not in keywords})
