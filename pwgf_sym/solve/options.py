"""Options of a run: what each accepts, and the checks that run before any long work."""

from __future__ import annotations

import numbers
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from ..errors import OptionError
from .integrators import tableau

__all__ = ["FlowOptions", "LinearOptions", "check_names", "integer", "number", "time_grid"]

#: Accepted names of each option that takes a name; the first is the default.
NAMES = {
    "formulation": ("velocity", "energy"),
    "linear_solver": ("lsmr", "cg", "minres", "dense", "kernel"),
    "sampling": ("sobol", "random"),
    "target": ("cpu", "cuda"),
    "dtype": ("float64", "float32"),
}

_TOLERANCE = {"float64": 1e-4, "float32": 1e-3}
_CUTOFF = {"float64": 1e-10, "float32": 1e-6}
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
        determine are reached last.
    max_iterations : int
        Iteration limit of "lsmr", "cg" and "minres".
    shift : float
        Tikhonov shift, in units of G.  The default damps directions that the samples hardly
        determine; take 0 where the map represents the flow exactly and all digits are wanted.
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
    shift: float = 1e-5
    cutoff: float | None = None
    precision: str = "working"
    preconditioner: int = 0
    warm_start: bool = False

    def __post_init__(self):
        if self.precision not in ("working", "mixed"):
            raise OptionError("precision", repr(self.precision), '"working" or "mixed"')
        integer("preconditioner", self.preconditioner, 0)
        if not isinstance(self.warm_start, bool | np.bool_):
            raise OptionError("warm_start", repr(self.warm_start), "True or False")
        if self.tolerance is not None:
            number("tolerance", self.tolerance, above=0.0, below=1.0)
        integer("max_iterations", self.max_iterations, 1)
        number("shift", self.shift, least=0.0)
        if self.cutoff is not None:
            number("cutoff", self.cutoff, least=0.0, below=1.0)

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

    def for_dtype(self, dtype) -> LinearOptions:
        """The same options with the defaults of a dtype filled in."""
        name = np.dtype(dtype).name
        tolerance = _TOLERANCE[name] if self.tolerance is None else self.tolerance
        drops = self.cutoff is None and self.shift == 0  # a shift makes G + shift I regular
        cutoff = _CUTOFF[name] if drops else self.cutoff
        return replace(self, tolerance=tolerance, cutoff=cutoff)


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
    linear_solver: str = "lsmr"
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
        integer("samples", self.samples, 1)
        integer("seed", self.seed, 0)
        number("dt", self.dt, above=0.0)
        for name in ("resample", "progress", "energy_check"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise OptionError(name, repr(getattr(self, name)), "True or False")
        fresh = min(self.samples, 1024) if self.fresh_samples is None else self.fresh_samples
        object.__setattr__(self, "fresh_samples", integer("fresh_samples", fresh, 1))
        object.__setattr__(self, "linear", self.linear.for_dtype(self.dtype))

    def to_dict(self) -> dict:
        """Plain JSON-able form, the linear options among the others."""
        entries = asdict(self)
        entries.update(entries.pop("linear"))
        return {name: _plain(value) for name, value in entries.items()}


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
        given = getattr(options, option)
        if not isinstance(given, str) or given not in names:
            raise OptionError(option, repr(given), " or ".join(f'"{name}"' for name in names))
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
    wanted = np.array([end]) if save_at is None else _saved(save_at, start, end)
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


def _span(t_span) -> tuple[float, float]:
    try:
        start, end = (float(t) for t in t_span)
    except (TypeError, ValueError):
        raise OptionError("t_span", repr(t_span), "a pair (start, end) of times") from None
    if not (np.isfinite(start) and np.isfinite(end) and start < end):
        raise OptionError("t_span", repr(t_span), "finite times with start < end")
    return start, end


def _saved(save_at, start: float, end: float) -> np.ndarray:
    try:
        times = np.asarray(save_at, np.float64)
    except (TypeError, ValueError):
        raise OptionError("save_at", repr(save_at), "a sequence of times") from None
    if times.ndim != 1 or times.size == 0:
        raise OptionError("save_at", repr(save_at), "a non-empty sequence of times")
    if not np.all(np.diff(times) > 0):
        raise OptionError("save_at", repr(save_at), "increasing times", "Sort them.")
    if not (times[0] >= start and times[-1] <= end):
        raise OptionError("save_at", repr(save_at), f"times within t_span = ({start}, {end})")
    return times


def integer(name: str, value, least: int) -> int:
    """Return an integer of at least ``least``, or raise OptionError by the option's name."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise OptionError(name, repr(value), f"an integer of at least {least}")
    return int(value)


def number(name: str, value, *, above=-np.inf, least=-np.inf, below=np.inf) -> float:
    """Return a finite number within bounds, or raise OptionError by the option's name."""
    bounds = {"above": above, "of at least": least, "below": below}
    words = [f"{word} {bound:g}" for word, bound in bounds.items() if np.isfinite(bound)]
    numeric = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (numeric and np.isfinite(value) and above < value < below and value >= least):
        raise OptionError(name, repr(value), f"a finite number {' and '.join(words)}".rstrip())
    return float(value)


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value
