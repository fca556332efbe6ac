"""What belongs together among the options of `solve`: time steps, linear solves, samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial

import numpy as np

from ..arguments import choice, flag, integer, number
from ..errors import OptionError
from .option_fields import OptionObject, option, option_object
from .steppers import Stepper, stepper_named

__all__ = ["FIELDS", "OBJECTS", "RENAMED", "LinearSolve", "Samples", "Steps"]

_TOLERANCE = {"float64": 1e-4, "float32": 1e-3}
#: The default shift, and that of a map that is linear in its parameters, in units of round-off.
SHIFT, LINEAR_SHIFT = 1e-5, 100.0
# Tolerance for such a map: its metric does not change, and the samples determine all parameters.
_LINEAR_TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
# Parts of the tolerance of adaptive steps that the shift and the linear tolerance are.
_SHIFT_PART, _SOLVE_PART = 1e-4, 1e-2
# The part that the shift is in the energy form, whose right side holds noise of the samples that
# a small shift would blow up: with 1e-7 an Ornstein-Uhlenbeck flow took a hundred times the steps.
_ENERGY_SHIFT_PART = 0.1
_CUTOFF = {"float64": 1e-10, "float32": 1e-6}

_positive, _count = partial(number, above=0.0), partial(integer, least=1)


def _method(name: str, value: object) -> object:
    """A name of a method in time, or a stepper."""
    stepper_named(value, argument=name)
    return value


def _one_of(*names: str) -> Callable[[str, object], str]:
    return partial(choice, names=names)


@option_object
@dataclass(frozen=True, repr=False)
class Steps(OptionObject):
    """Time steps, for ``solve(steps=...)``.

    Parameters
    ----------
    method : {"auto", "rk23", "rk45", "rkc", "rosenbrock", "euler", "heun", "rk4"} or Stepper
        Method in time, the keyword ``integrator`` of `solve`; by default "auto", and "rkc" in
        :func:`pwgf_sym.equilibrium`.  "auto" takes embedded steps of order 3(2), "rk23", until the
        flow is stiff, and stabilized Chebyshev steps of order 2, "rkc", as long as it is.  Where
        those would take more than six stages it takes linearly implicit steps of order 2,
        "rosenbrock", if solves are dense, not on a GPU, in the velocity form, and the velocity has
        a Jacobian.
    dt : float, optional
        Fixed steps of this length, without a tolerance; "auto" is "rk4" then.  "euler", "heun" and
        "rk4" have no estimate of their error and take 0.01 where none is given.  Steps are
        shortened to end exactly at stored times.
    max_step : float, optional
        Longest step that follows the tolerance.
    energy_check : bool
        Whether to refuse steps that raise the energy of their own samples by more than
        (1e-3 + 1/N) times the largest |E| at the start of this step and of those before.  The
        second term covers the noise of N samples.  A fixed step that does ends the run, one that
        follows the tolerance is shortened.
    """

    method: str | Stepper | None = option(None, _method, "integrator")
    _: KW_ONLY
    dt: float | None = option(None, _positive)
    max_step: float | None = option(None, _positive)
    energy_check: bool = option(True, flag)


@option_object
@dataclass(frozen=True, repr=False)
class Samples(OptionObject):
    """Samples of the initial law, for ``solve(samples=...)``.

    Parameters
    ----------
    number : int, optional
        Number N of samples; a number in the place of the object is this.  By default 4096 for
        fixed steps; else 1024, or 2048 below tol = 2e-4, and doubled when the defect on fresh
        samples asks for more.
    max : int, optional
        Where doubling ends, the keyword ``max_samples`` of `solve`; by default at four times as
        many as in the beginning, and 16384 in :func:`pwgf_sym.equilibrium`.
    sampling : {"sobol", "random"}
        Scrambled Sobol points carried to the law, or independent points.
    resample : bool, optional
        Whether each time step draws new samples; by default steps that follow a tolerance do.
    tails : bool
        Whether every fourth sample is drawn from a wider law, and all are weighted, so that the map
        is fitted where samples are few.  Only steps that follow a tolerance do, of energies
        without interactions, in the velocity form, from a Gaussian.
    fresh : int, optional
        Number of samples, drawn apart, on which the defect is measured, the keyword
        ``fresh_samples`` of `solve`; by default as many as the others, but at most 1024.
    partners : int, optional
        Number of partners of a sample in sums over pairs, at most N - 1; by default all others.
        Each step puts the samples into random groups of so many and one, or a few more where N is
        no multiple of that, and a sample meets the others of its group: a pass costs
        O(N partners) instead of O(N^2).  Energies and velocities of pairs are right on average,
        a function of a convolution is off by O(1/partners).  Defects and bounds are measured over
        all pairs of their own samples.
    """

    number: int | None = option(None, _count, "samples")
    _: KW_ONLY
    max: int | None = option(None, _count, "max_samples")
    sampling: str = option("sobol", _one_of("sobol", "random"))
    resample: bool | None = option(None, flag)
    tails: bool = option(True, flag)
    fresh: int | None = option(None, _count, "fresh_samples")
    partners: int | None = option(None, _count)


@option_object
@dataclass(frozen=True, repr=False)
class LinearSolve(OptionObject):
    """Linear solves with the metric, for ``solve(linear=...)``.

    Parameters
    ----------
    method : {"auto", "dense", "lsmr", "cg", "minres", "kernel"}
        The keyword ``linear_solver`` of `solve`; :func:`pwgf_sym.solver.linear.solve_metric` says
        what each is.  "auto" is "dense" on the CPU up to 1500 parameters and 6000 over the
        dimension, else "minres" with products in float32 and a preconditioner of 64 samples, or for
        a map that is linear in its parameters "lsmr"; with fixed steps "dense" up to 800, else
        "lsmr".
    tolerance : float, optional
        Largest relative residual |(G + shift I) eta - b| / |b| of a solve that counts as converged;
        1e-4 in float64, 1e-3 in float32.  It also regularizes: directions that the samples hardly
        determine are reached last.  For a map that is linear in its parameters 1e-10, 1e-5.  Where
        steps follow a tolerance ``tol`` at most 1e-2 ``tol``.
    max_iterations : int
        Iteration limit of "lsmr", "cg" and "minres".
    shift : float, optional
        Tikhonov shift, in units of the metric of whitened coordinates: what is added to G is
        ``shift`` times the squared spread of the initial law.  By default 1e-5, which damps
        directions that the samples hardly determine; take 0 where the map represents the flow
        exactly and all digits are wanted.  Where steps follow a tolerance it is 1e-4 ``tol``, and
        raised where steps stall.  A map that is linear in its parameters, as an affine
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

    method: str = option(
        "auto", _one_of("auto", "dense", "lsmr", "cg", "minres", "kernel"), "linear_solver"
    )
    _: KW_ONLY
    tolerance: float | None = option(None, partial(number, above=0.0, below=1.0))
    max_iterations: int = option(500, _count)
    shift: float | None = option(None, partial(number, least=0.0))
    cutoff: float | None = option(None, partial(number, least=0.0, below=1.0))
    precision: str = option("working", _one_of("working", "mixed"))
    preconditioner: int = option(0, partial(integer, least=0))
    warm_start: bool = option(False, flag)

    def check_method(self) -> None:
        """Refuse what the method would not look at, or cannot do without.

        Raises
        ------
        OptionError
            For an option of "cg" and "minres" given to another method, and for "kernel" without a
            shift: the kernel matrix is singular where samples share their rows.
        """
        if self.method == "kernel" and self.shift == 0:
            fix = 'Use shift=1e-5, or linear_solver="dense", which drops small modes.'
            raise OptionError("shift", "0", 'a shift above 0 for linear_solver="kernel"', fix)
        if self.method in ("cg", "minres"):
            return
        for name in ("precision", "preconditioner", "warm_start"):
            given, default = getattr(self, name), self.__dataclass_fields__[name].default
            if given != default:
                accepted = f'{default!r} for linear_solver="{self.method}"'
                fix = 'Use linear_solver="minres" or "cg".'
                raise OptionError(name, repr(given), accepted, fix)

    def following(
        self, tol: float, dtype: str | np.dtype, linear: bool, energy: bool
    ) -> LinearSolve:
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

    def for_dtype(self, dtype: str | np.dtype, linear: bool = False) -> LinearSolve:
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
        if (shift, tolerance, cutoff) == (self.shift, self.tolerance, self.cutoff):
            return self  # as in every right-hand side of a run
        return replace(self, shift=shift, tolerance=tolerance, cutoff=cutoff)


#: Argument of `solve` -> the object that it takes.
OBJECTS: dict[str, type[OptionObject]] = {"steps": Steps, "linear": LinearSolve, "samples": Samples}
#: Keywords of `solve` for single fields; the number of samples is the argument ``samples`` itself.
FIELDS = tuple(k for kind in OBJECTS.values() for k in kind.keywords() if k not in OBJECTS)
#: Fields whose keyword of `solve` has another name, and that name; "method" is one of two objects.
RENAMED = {f: k for kind in OBJECTS.values() for k, f in kind.keywords().items() if f != k}
del RENAMED["method"]
