"""Options of a run: what each accepts, and the checks that run before any long work."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

import numpy as np

from ..arguments import brief, choice, flag, integer, number, real_array, whole_seed
from ..errors import OptionError
from .integrators import tableau

__all__ = ["FlowOptions", "LinearOptions", "check_names", "time_grid"]

#: Accepted names of each option that takes a name; the first is the default.
NAMES = {
    "formulation": ("velocity", "energy"),
    "linear_solver": ("auto", "dense", "lsmr", "cg", "minres", "kernel"),
    "sampling": ("sobol", "random"),
    "target": ("cpu", "cuda"),
    "dtype": ("float64", "float32"),
}

_TOLERANCE = {"float64": 1e-4, "float32": 1e-3}
#: The default shift, and that of a map that is linear in its parameters, in units of round-off.
SHIFT, LINEAR_SHIFT = 1e-5, 100.0
# Tolerance for such a map: its metric does not change, and the samples determine all parameters.
_LINEAR_TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
#: Parameters up to which "auto" takes the dense solver.
MOST_DENSE = 800
_CUTOFF = {"float64": 1e-10, "float32": 1e-6}
#: Steps that a run takes at most: the quickest take a third of a millisecond each, an hour in all.
MOST_STEPS = 10**7
#: Times that a run stores at most.
MOST_ROWS = 10**6
# Fraction of dt below which a step is taken for round-off of the grid and merged.
_SLIVER = 1e-9


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

    samples: int = 4096
    sampling: str = "sobol"
    seed: int = 0
    resample: bool = False
    formulation: str = "velocity"
    integrator: str = "rk4"
    dt: float = 0.01
    linear_solver: str = "auto"
    target: str = "cpu"
    dtype: str = "float64"
    progress: bool = False
    energy_check: bool = True
    fresh_samples: int | None = None
    linear: LinearOptions = field(default_factory=LinearOptions)

    def __post_init__(self):
        check_names(self)
        tableau(self.integrator)
        self.linear.check_for(self.linear_solver)
        _keep(self, "samples", integer, least=1)
        _keep(self, "seed", whole_seed)
        _keep(self, "dt", number, above=0.0)
        for name in ("resample", "progress", "energy_check"):
            _keep(self, name, flag)
        fresh = min(self.samples, 1024) if self.fresh_samples is None else self.fresh_samples
        object.__setattr__(self, "fresh_samples", integer("fresh_samples", fresh, 1))

    def for_map(self, map, parameters: int) -> FlowOptions:
        """The same options with the defaults for a map of so many parameters filled in."""
        # The compiler's half is imported only here, where a run begins.
        from ..compile.linearization import storage_limit
        from ..lower.formulas import is_linear

        solver = self.linear_solver
        if solver == "auto":
            rows = parameters * self.samples * map.dim * np.dtype(self.dtype).itemsize
            fits = parameters <= MOST_DENSE and rows <= storage_limit()
            solver = "dense" if fits and self.target == "cpu" else "lsmr"
        # The kernel matrix is singular without a shift, whatever the map.
        linear = self.linear.for_dtype(self.dtype, solver != "kernel" and is_linear(map))
        return replace(self, linear_solver=solver, linear=linear)

    def to_dict(self) -> dict:
        """Plain JSON-able form, the linear options among the others."""
        entries = asdict(self)
        entries.update(entries.pop("linear"))
        return entries


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
        With what is missing for ``target="cuda"``, and the command that mends it.
    """
    for option, names in NAMES.items():
        choice(option, getattr(options, option), names)
    if options.target == "cuda":
        from ..compile.cuda.toolkit import require  # only where it is asked for

        require()


def time_grid(t_span, dt: float, save_at=None) -> tuple[np.ndarray, np.ndarray]:
    """Lay out the time steps.

    Between one wanted time and the next, steps of ``dt`` are taken and the last is shortened to end
    there exactly.  Wanted times are the ends of ``t_span``, or ``save_at``: nothing is computed
    beyond the last of them.

    Parameters
    ----------
    t_span : (float, float)
        Start and end.
    dt : float
        Longest step.
    save_at : sequence of float, optional
        Increasing times within ``t_span``.

    Returns
    -------
    times : (K + 1,) array
        Ends of the steps.
    stored : (K + 1,) bool array
        Whether a time is stored: ``save_at``, or else all.

    Raises
    ------
    OptionError
        If ``t_span`` is no increasing pair, or ``save_at`` is empty, not increasing or outside.
    """
    start, end = _span(t_span)
    dt = number("dt", dt, above=0.0)
    wanted = np.array([end]) if save_at is None else _saved(save_at, start, end)
    _check_steps(start, float(wanted[-1]), dt, wanted.size, save_at is None)
    pieces, a = [np.array([start])], start
    for b in wanted[wanted > start]:
        count = max(1, int(np.ceil((b - a) / dt - _SLIVER)))
        piece = a + dt * np.arange(1, count + 1)
        piece[-1] = b
        pieces.append(piece)
        a = b
    times = np.concatenate(pieces)
    stored = np.ones(times.size, bool) if save_at is None else np.isin(times, wanted)
    return times, stored


def _check_steps(start: float, end: float, dt: float, wanted: int, all_stored: bool) -> None:
    """Refuse steps that are lost in the times' own spacing, and more than can be taken or kept."""
    spacing = float(np.spacing(max(abs(start), abs(end))))
    if dt < 8 * spacing and dt < end - start:
        given = f"{dt:.6g}, where floating-point times near {end:.6g} are {spacing:.3g} apart"
        accepted = f"at least {8 * spacing:.3g} with this t_span"
        fix = "Count times from the start, t_span=(0, end - start): the flow does not depend on t."
        raise OptionError("dt", given, accepted, fix if dt > 8 * np.spacing(end - start) else "")
    steps = (end - start) / dt
    stored = steps + 1 if all_stored else wanted
    if stored > MOST_ROWS:
        fix = "Name the times to store: save_at=np.linspace(start, end, 101)."
        fix += " And take a larger dt." if steps > MOST_STEPS else ""
        raise OptionError("save_at", f"{stored:.0f} times to store", f"at most {MOST_ROWS}", fix)
    if steps > MOST_STEPS:
        given = f"{dt:.6g}, which makes {steps:.3g} steps from {start:.6g} to {end:.6g}"
        accepted = f"at most {MOST_STEPS} steps, a dt of {(end - start) / MOST_STEPS:.3g} or more"
        raise OptionError("dt", given, accepted, "Take a larger dt, or a shorter t_span.")


def _span(t_span) -> tuple[float, float]:
    accepted = "a pair (start, end) of times with start < end"
    ends = real_array("t_span", t_span, accepted=accepted)
    if ends.shape != (2,):
        raise OptionError("t_span", brief(t_span), accepted, "Write t_span=(0, 1).")
    start, end = map(float, ends)
    if not start < end:
        fix = "Gradient flows run forward only."
        raise OptionError("t_span", brief(t_span), accepted, fix if end < start else "")
    return start, end


def _saved(save_at, start: float, end: float) -> np.ndarray:
    accepted = "a non-empty sequence of increasing times"
    times = real_array("save_at", save_at, accepted=accepted)
    if times.ndim != 1 or times.size == 0:
        raise OptionError("save_at", brief(save_at), accepted)
    if not np.all(np.diff(times) > 0):
        raise OptionError("save_at", brief(save_at), "increasing times", "Sort them.")
    if not (times[0] >= start and times[-1] <= end):
        raise OptionError("save_at", brief(save_at), f"times within t_span = ({start}, {end})")
    return times
