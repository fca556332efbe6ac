"""Options of a run: what each accepts, and the checks that run before any long work."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace

import numpy as np

from ..arguments import choice, flag, integer, number, whole_seed
from ..compile.targets import TARGETS
from ..errors import OptionError
from .steppers import Stepper, stepper_named

__all__ = ["FlowOptions", "LinearOptions", "check_names"]

#: Accepted names of each option that takes a name; the first is the default.
NAMES = {
    "formulation": ("velocity", "energy"),
    "linear_solver": ("auto", "dense", "lsmr", "cg", "minres", "kernel"),
    "sampling": ("sobol", "random"),
    "target": tuple(TARGETS),
    "dtype": ("float64", "float32"),
}

_TOLERANCE = {"float64": 1e-4, "float32": 1e-3}
#: The default shift, and that of a map that is linear in its parameters, in units of round-off.
SHIFT, LINEAR_SHIFT = 1e-5, 100.0
# Tolerance for such a map: its metric does not change, and the samples determine all parameters.
_LINEAR_TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
#: Parameters up to which "auto" takes the dense solver: with fixed steps, and with adaptive ones,
#: which beyond take "minres" with products in float32 and a preconditioner of so many samples.
MOST_DENSE, MOST_DENSE_ADAPTIVE, _PRECONDITIONER = 800, 1500, 64
# The same for parameters times dimensions, but for a map that is linear in its parameters, whose
# error is that of the solve, and for Rosenbrock steps, which need the matrix.  G takes p^2 d a
# sample, a product with it some 4 p: in 15 and 20 dimensions MINRES took a third of the time.
_MOST_DENSE_ROWS = 6000
#: Fixed steps: their length for methods without an estimate of the error, and their samples.
DT, SAMPLES = 0.01, 4096
#: Adaptive steps: the tolerance, and that of the steps of a map that is linear in its parameters,
#: which cost little; parts of it that the shift and the linear tolerance are.
TOL, LINEAR_STEP_TOL, _SHIFT_PART, _SOLVE_PART = 1e-3, 1e-7, 1e-4, 1e-2
# The part that the shift is in the energy form, whose right side holds noise of the samples that
# a small shift would blow up: with 1e-7 an Ornstein-Uhlenbeck flow took a hundred times the steps.
_ENERGY_SHIFT_PART = 0.1
# Samples at the start of an adaptive run, and from which tolerance on twice as many.
_ADAPTIVE_SAMPLES, _FINE = 1024, 2e-4
# Times as many an adaptive run takes at most, unless told otherwise: in stiff directions a large
# defect does no harm, and ever more samples would be drawn for it.
_MOST_DOUBLED = 4
_CUTOFF = {"float64": 1e-10, "float32": 1e-6}


@dataclass(frozen=True)
class LinearOptions:
    """Options of the linear solves.

    Attributes
    ----------
    tolerance : float, optional
        Largest relative residual |(G + shift I) eta - b| / |b| of a solve that counts as converged;
        1e-4 in float64, 1e-3 in float32.  It also regularizes: directions that the samples hardly
        determine are reached last.  For a map that is linear in its parameters 1e-10, 1e-5.
    max_iterations : int
        Iteration limit of "lsmr", "cg" and "minres".
    shift : float, optional
        Tikhonov shift, in units of the metric of whitened coordinates: what is added to G is
        ``shift`` times the squared spread of the initial law.  By default 1e-5, which damps
        directions that the samples hardly determine; take 0 where the map represents the flow
        exactly and all digits are wanted.  A map that is linear in its parameters, as an affine
        one, needs no damping: a long step leaves no region where a linearization holds.  Its
        default is 100 units of round-off.
    cutoff : float, optional
        "dense" drops eigenvalues of G below this fraction of the largest; without a shift 1e-10 in
        float64, 1e-6 in float32.  With a shift, by default, none is dropped.
    precision : {"working", "mixed"}
        "mixed": the products of "cg" and "minres" run in float32, and rounds of refinement bring
        the residual down to what float64 reaches.
    preconditioner : int
        Number of samples that the preconditioner of "cg" and "minres" is made of; 0 for none.
    warm_start : bool
        Whether "cg" and "minres" start from the direction of the stage before.
    """

    tolerance: float | None = None
    max_iterations: int = 500
    shift: float | None = None
    cutoff: float | None = None
    precision: str = "working"
    preconditioner: int = 0
    warm_start: bool = False

    def __post_init__(self):
        choice("precision", self.precision, ("working", "mixed"))
        _keep(self, "preconditioner", integer, least=0)
        _keep(self, "warm_start", flag)
        if self.tolerance is not None:
            _keep(self, "tolerance", number, above=0.0, below=1.0)
        _keep(self, "max_iterations", integer, least=1)
        if self.shift is not None:
            _keep(self, "shift", number, least=0.0)
        if self.cutoff is not None:
            _keep(self, "cutoff", number, least=0.0, below=1.0)

    def check_for(self, method: str) -> None:
        """Refuse what a linear solver would not look at, or cannot do without.

        Raises
        ------
        OptionError
            For an option of "cg" and "minres" given to another method, and for "kernel" without a
            shift: the kernel matrix is singular where samples share their rows.
        """
        if method == "kernel" and self.shift == 0:
            fix = 'Use shift=1e-5, or linear_solver="dense", which drops small modes.'
            raise OptionError("shift", "0", 'a shift above 0 for linear_solver="kernel"', fix)
        if method in ("cg", "minres"):
            return
        for name, default in (
            ("precision", "working"),
            ("preconditioner", 0),
            ("warm_start", False),
        ):
            if getattr(self, name) != default:
                accepted = f'{default!r} for linear_solver="{method}"'
                fix = 'Use linear_solver="minres" or "cg".'
                raise OptionError(name, repr(getattr(self, name)), accepted, fix)

    def following(self, tol: float, dtype, linear: bool, energy: bool) -> LinearOptions:
        """The same options where steps follow a tolerance, which shift and solves then follow.

        ``linear`` says whether the map is linear in its parameters, ``energy`` whether it is the
        energy form that is solved.
        """
        eps = float(np.finfo(dtype).eps)
        shift, tolerance = self.shift, self.tolerance
        if shift is None and not linear:
            most, part = (1e-3, _ENERGY_SHIFT_PART) if energy else (SHIFT, _SHIFT_PART)
            shift = min(max(part * tol, 100 * eps), most)
        if tolerance is None:
            tolerance = max(_SOLVE_PART * tol, 1e3 * eps)
            most = (_LINEAR_TOLERANCE if linear else _TOLERANCE)[np.dtype(dtype).name]
            tolerance = min(tolerance, most)
        return replace(self, shift=shift, tolerance=tolerance)

    def for_dtype(self, dtype, linear: bool = False) -> LinearOptions:
        """The same options with the defaults of a dtype filled in.

        ``linear`` says whether the map is linear in its parameters.
        """
        name = np.dtype(dtype).name
        shift = LINEAR_SHIFT * float(np.finfo(name).eps) if linear else SHIFT
        shift = shift if self.shift is None else self.shift
        tolerance = (_LINEAR_TOLERANCE if linear else _TOLERANCE)[name]
        tolerance = tolerance if self.tolerance is None else self.tolerance
        drops = self.cutoff is None and shift == 0  # a shift makes G + shift I regular
        cutoff = _CUTOFF[name] if drops else self.cutoff
        return replace(self, shift=shift, tolerance=tolerance, cutoff=cutoff)


@dataclass(frozen=True)
class FlowOptions:
    """Options of :func:`pwgf_sym.solve`, checked; its docstring says what they mean."""

    samples: int | None = None
    sampling: str = "sobol"
    seed: int = 0
    resample: bool | None = None
    tails: bool = True
    formulation: str = "velocity"
    integrator: str | Stepper = "auto"
    dt: float | None = None
    tol: float | None = None
    step_tol: float | None = None
    max_step: float | None = None
    max_samples: int | None = None
    dense_output: bool | None = None
    linear_solver: str = "auto"
    target: str = "cpu"
    dtype: str = "float64"
    progress: bool = False
    energy_check: bool = True
    fresh_samples: int | None = None
    linear: LinearOptions = field(default_factory=LinearOptions)
    chosen: tuple[str, ...] = ()

    def __post_init__(self):
        check_names(self)
        self.linear.check_for(self.linear_solver)
        _keep(self, "seed", whole_seed)
        for name in ("progress", "energy_check", "tails"):
            _keep(self, name, flag)
        for name in ("resample", "dense_output"):
            if getattr(self, name) is not None:
                _keep(self, name, flag)
        for name in ("dt", "tol", "step_tol", "max_step"):
            if getattr(self, name) is not None:
                _keep(self, name, number, above=0.0)
        self._check_method()
        for name in ("samples", "max_samples", "fresh_samples"):
            if getattr(self, name) is not None:
                _keep(self, name, integer, least=1)

    def _check_method(self) -> None:
        """Find out whether steps are fixed or follow a tolerance, and refuse a mixture of both."""
        stepper = stepper_named(self.integrator)
        if self.dt is None and stepper.controlled:
            return
        for name in ("tol", "max_step"):
            if getattr(self, name) is not None:
                how = "dt" if self.dt is not None else f'integrator="{stepper.name}"'
                given, fix = f"{getattr(self, name)!r} together with {how}", ""
                named = ", ".join(f'"{n}"' for n in ("auto", "rk23", "rk45", "rkc"))
                fix = f'Leave dt out, and use integrator={named} or "rosenbrock".'
                raise OptionError(name, given, "one of the two: fixed steps have no tolerance", fix)
        object.__setattr__(self, "dt", DT if self.dt is None else self.dt)
        if stepper.name == "auto":
            object.__setattr__(self, "integrator", "rk4")

    @property
    def on_host(self) -> bool:
        """Whether the target's vectors and matrices are NumPy's."""
        return TARGETS[self.target].on_host

    @property
    def adaptive(self) -> bool:
        """Whether the lengths of steps follow a tolerance."""
        return self.dt is None

    def for_map(self, map, parameters: int) -> FlowOptions:
        """The same options with the defaults for a map of so many parameters filled in."""
        # The compiler's half is imported only here, where a run begins.
        from ..lower.formulas import is_linear

        given = {name: getattr(self, name) for name in ("samples", "resample")}
        chosen = [name for name, value in given.items() if value is None]
        chosen += ["shift"] if self.linear.shift is None else []
        samples, resample, fresh = self.samples, self.resample, self.fresh_samples
        if samples is None:
            samples = min(self._samples(), self.max_samples or self._samples())
        most = _MOST_DOUBLED * samples if self.max_samples is None else self.max_samples
        resample = self.adaptive if resample is None else resample
        fresh = min(samples, 1024) if fresh is None else fresh
        tol = step_tol = (TOL if self.tol is None else self.tol) if self.adaptive else None
        if self.adaptive and self.tol is None and is_linear(map) and self.dtype == "float64":
            step_tol = LINEAR_STEP_TOL
        given = {"samples": samples, "resample": resample, "fresh_samples": fresh}
        given["max_samples"] = most
        found = replace(self, **given, tol=tol, step_tol=step_tol)
        found = found._with_solver(map, parameters, is_linear(map))
        # The kernel matrix is singular without a shift, whatever the map.
        linear = found.linear_solver != "kernel" and is_linear(map)
        energy = self.formulation == "energy"
        if self.adaptive:
            found = replace(
                found, linear=found.linear.following(step_tol, self.dtype, linear, energy)
            )
        options = found.linear.for_dtype(self.dtype, linear)
        found = replace(found, linear=options, chosen=tuple(chosen))
        stepper_named(found.integrator).check(found)
        return found

    def for_times(self, named: bool) -> FlowOptions:
        """The same options where the stored times are named, or every step is stored."""
        if self.dense_output is None:
            return replace(self, dense_output=self.adaptive or not named)
        return self

    def _samples(self) -> int:
        """Samples at the start of a run that may choose."""
        if not self.adaptive:
            return SAMPLES
        fine = self.tol is not None and self.tol <= _FINE
        return 2 * _ADAPTIVE_SAMPLES if fine else _ADAPTIVE_SAMPLES

    def _with_solver(self, map, parameters: int, linear: bool) -> FlowOptions:
        """The same options with a linear solver for so many parameters."""
        from ..compile.linearization import storage_limit

        if self.linear_solver != "auto":
            return self
        rows = parameters * self.samples * map.dim * np.dtype(self.dtype).itemsize
        most = MOST_DENSE_ADAPTIVE if self.adaptive else MOST_DENSE
        few = parameters * map.dim <= _MOST_DENSE_ROWS or not self.adaptive or linear
        few = few or stepper_named(self.integrator).name == "rosenbrock"
        if few and parameters <= most and rows <= storage_limit() and self.on_host:
            return replace(self, linear_solver="dense")
        if not self.adaptive or not self.on_host:
            return replace(self, linear_solver="lsmr")
        mixed = "mixed" if self.dtype == "float64" else "working"
        options = replace(self.linear, precision=mixed, preconditioner=_PRECONDITIONER)
        return replace(self, linear_solver="minres", linear=options)

    def to_dict(self) -> dict:
        """Plain JSON-able form, the linear options among the others."""
        entries = {f.name: getattr(self, f.name) for f in fields(self)}
        entries.update(asdict(entries.pop("linear")))
        if isinstance(self.integrator, Stepper):
            entries["integrator"] = self.integrator.name
        return entries | {"chosen": list(self.chosen)}


def _keep(options, name: str, check, **bounds) -> None:
    """Check an option and keep the plain value of it."""
    object.__setattr__(options, name, check(name, getattr(options, name), **bounds))


def check_names(options: FlowOptions) -> None:
    """Refuse an unknown name of any option that takes a name, and a target that is not there.

    Raises
    ------
    OptionError
        With the accepted names.
    TargetError
        With what is missing for the target, and the command that mends it.
    """
    for option, names in NAMES.items():
        choice(option, getattr(options, option), names)
    TARGETS[options.target].require_device()
