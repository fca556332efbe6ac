"""A compiled problem: the kernels that the solver calls, on packed samples."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..arguments import brief, checked_call, choice, file_path, flag, number
from ..declare.flow_checks import check_flow, check_precision, periodic
from ..declare.formula_checks import within_depth
from ..derive.gather import derived_form
from ..derive.samples import check_law
from ..emit.module import Emission, emit_module
from ..errors import OptionError
from ..kernels.carried import kernel_name, level_of
from ..kernels.constant_arrays import check_constants
from .constants import energy_constants
from .convolutions import ConvolutionMethods
from .features import MomentMethods
from .inspection import Inspection
from .jacobian import JacobianMethods
from .kernels import KernelCaller
from .linearization import Linearization
from .packing import Samples, State, Units
from .partners import random_groups
from .periods import check_displacement
from .points import PointMethods
from .sample_methods import SampleMethods
from .slope import Slope, slope
from .sums import SumMethods
from .table import TARGETS
from .values import real_function
from .written_maps import warn_of_unused

__all__ = ["Program", "compile_program"]

#: Names of what samples carry, one or several.
Carry = str | Collection[str]


@checked_call(renamed={"map": "flow"})
@within_depth
def compile_program(
    problem,
    flow,
    target: str = "cpu",
    dtype: str = "float64",
    folder: Path | str | None = None,
    moments: bool = True,
    kernels: Collection[str] | None = None,
) -> Program:
    """Generate, write and load the kernels of a problem and a map.

    Kernels are compiled to machine code when they are first called, and cached on disk.

    Parameters
    ----------
    problem : GradientFlow
        Energy, initial law, parameters.
    flow : Map
        The map T_theta.
    target : {"cpu", "cuda", "numpy"}
        Where kernels run.  Modules for "cuda" are generated without a GPU, too; kernels run where
        there is one, or in Numba's simulator.  "numpy" generates and compiles nothing: NumPy
        interprets the kernels' formulas, slower, but at once.
    dtype : {"float64", "float32"}
        Precision of all numbers.
    folder : path, optional
        Where the module is written; the user's cache folder if not given.
    moments : bool
        Whether interactions that are polynomials of |x - y|^2 are computed from moments of the
        samples, in O(N d^2); False sums over all pairs.
    kernels : collection of str, optional
        Names of the kernels to generate; the others come in a module of their own, that of
        ``Program.rest``, when they are first called.  By default all on the CPU, and on CUDA those
        of a flow in the velocity form, so that a module stays short.

    Raises
    ------
    OptionError, EnergyError, FormulaError, CacheError, TargetError
        When an option is not accepted, the module cannot be generated or written, or Numba's
        compiler is switched off.
    """
    choice("target", target, tuple(TARGETS))
    choice("dtype", dtype, ("float64", "float32"))
    moments = flag("moments", moments)
    if kernels is not None and not _are_names(kernels):
        raise OptionError("kernels", brief(kernels), "a collection of names of kernels")
    folder = None if folder is None else Path(file_path("folder", folder))
    host = TARGETS[target]
    host.require_compiler()
    check_flow(problem, flow, "flow")
    flow = periodic(problem, flow)
    if dtype == "float32":
        check_precision(problem, flow)
    Units.of(problem.initial).check(dtype)
    how = host.printed(dtype, moments)
    energy = derived_form(problem).energy
    emission = emit_module(energy, problem.density, flow, how, kernels, problem.transport)
    check_law(emission.form, problem.initial)
    warn_of_unused(emission.looped)
    check_constants(emission.kernels["push"].sweeps[0].outputs(), dtype)
    name = f"{type(flow).__name__.lower()}_d{flow.dim}_{dtype}"
    path = host.write(emission.text, name, folder)
    program = Program(problem, flow, dtype, emission, path, target, kernels, folder)
    program.check_value()
    if any(problem.periods):
        check_displacement(program)
    return program


def _are_names(kernels) -> bool:
    collection = isinstance(kernels, Collection) and not isinstance(kernels, str | bytes)
    return collection and all(isinstance(name, str) for name in kernels)


class Program(
    Inspection,
    SampleMethods,
    JacobianMethods,
    PointMethods,
    ConvolutionMethods,
    SumMethods,
    MomentMethods,
):
    """Kernels of one problem and one map.

    Fields and vectors of parameters go in as NumPy arrays and come out as such; on the target
    "cuda" they come out as vectors on the device, which go in again, and ``numpy.asarray`` copies.

    Attributes
    ----------
    problem, map
        What was compiled.
    dtype : numpy.dtype
        Precision.
    path : pathlib.Path or None
        The generated module; None where nothing is generated.
    dim, size : int
        Dimension d, and number p of parameters ``theta``.
    derived : DerivedForm
        The energy that all of it is derived from, with arrays and parameters.
    form : SampleForm
        The energy in samples.
    folder : pathlib.Path or None
        Where modules are written, if not into the cache.
    units : Units
        The coordinates that the map sees; states and fields are in the user's.
    parameters : dict of Symbol to float
        Values of parameters and lengths; that of the time is NaN but in :meth:`at`.
    time : float or None
        The time of :meth:`at`.
    target : {"cpu", "cuda", "numpy"}
        Where kernels run.
    host : TargetHost
        The host's side of the target.
    """

    time: float | None = None

    def __init__(
        self,
        problem,
        flow,
        dtype: str,
        emission: Emission,
        path: Path | None,
        target="cpu",
        kernels=None,
        folder: Path | None = None,
    ):
        self.target, self._wanted, self.folder = target, kernels, folder
        self.host = TARGETS[target]
        self.problem, self.map, self.path, self.emission = problem, flow, path, emission
        self.dtype, self.form = np.dtype(dtype), emission.form
        self.dim, self.size = flow.dim, emission.layout.size * emission.looped.steps
        self.units = Units.of(problem.initial)
        self.derived = derived_form(problem)
        # A time that nobody has said is no number, so that no value is that of a wrong time.
        self.take({**self.derived.parameters, **dict.fromkeys(self._clock, np.nan)})

    def take(self, parameters: dict) -> None:
        """Compute with these values of parameters, the time among them."""
        self.parameters = parameters
        self._parameters = [float(parameters[s]) for s in self.form.parameters]

    @property
    def _clock(self) -> tuple:
        """The symbol of time, where there is one."""
        return () if self.problem.time is None else (self.problem.time,)

    def at(self, time: float) -> Program:
        """This program at a time: the same kernels, with the time as one more parameter.

        It is the program itself where nothing depends on the time.
        """
        from .timed import ProgramAtTime

        return ProgramAtTime(self, number("time", time)) if self._clock else self

    def beginning_with(self, initial) -> Program:
        """The same kernels for the same flow from another initial law, which is checked."""
        problem = self.problem.beginning_with(initial)
        Units.of(problem.initial).check(self.dtype)
        check_law(self.form, problem.initial)
        how = self.target, self._wanted, self.folder
        found = Program(problem, self.map, self.dtype.name, self.emission, self.path, *how)
        found.__dict__["kernels"] = self.kernels
        return found

    @cached_property
    def module(self):
        """The generated module, imported."""
        return self.host.load(self.path, self.emission.text)

    @cached_property
    def kernels(self) -> KernelCaller:
        """Calls of the generated kernels by name."""
        caller = self.host.caller()
        return caller(self.module, self.emission, self.dtype, self.size, lambda: self.rest)

    @cached_property
    def in_single(self) -> Program:
        """The same problem and map in float32, compiled when it is first asked for."""
        return self._again("float32", self._wanted)

    @cached_property
    def rest(self) -> Program | None:
        """The same program with those kernels of the map that this one leaves out, if any."""
        missing = self.emission.left_out
        return self._again(self.dtype.name, missing) if missing else None

    def __repr__(self) -> str:
        start = f", {self.problem.initial}" if self.time is None else f", t = {self.time:g}"
        size = f"{self.size} parameters, {self.dtype.name}"
        return f'Program({self.map}{start}, {size}, target="{self.target}")'

    def __reduce__(self):
        # A copy, or the program in another process, finds its machine code in the cache: that of
        # the process, unless a folder was given.
        return compile_program, self._call(self.dtype.name, self._wanted)

    def _again(self, dtype: str, kernels) -> Program:
        return compile_program(*self._call(dtype, kernels))

    def _call(self, dtype: str, kernels) -> tuple:
        """What compiles this problem and map again, as this program was."""
        moments = self.uses_moments
        return self.problem, self.map, self.target, dtype, self.folder, moments, kernels

    def in_groups(self, samples: Samples, partners: int, seed: int) -> Samples:
        """The same samples, whose partners in sums over pairs are those of a random group.

        ``partners`` is from 1 to N - 1; see :func:`.partners.random_groups`.
        """
        self._check_packed(samples)
        return replace(samples, groups=random_groups(samples.count, partners, seed), scratch={})

    def push(self, theta: np.ndarray, samples: Samples, carry: Carry = "x") -> State:
        """x = T(z), and what else the samples carry.

        Parameters
        ----------
        theta : (p,) array
        samples : Samples
        carry : str or collection of str
            What the state has to hold beside x: "log_density", log rho(x), and "score", its
            gradient (:mod:`pwgf_sym.kernels.carried`).

        Raises
        ------
        OptionError
            If there is no such quantity, or theta has not p entries.
        """
        self._check_packed(samples)
        kernel = kernel_name("push", level_of(carry))
        found = self.kernels.run(kernel, samples, theta, samples.starts)
        return self.units.bring_out(State(samples, **found))

    # -- energy -------------------------------------------------------------------------------

    def integrals(self, state: State, samples: Samples | None = None) -> np.ndarray:
        """Values of the energy's integrals on the samples, (K,) float64.

        After them stand the means of its sums over integrals, if it has any.  ``samples`` need not
        be given: they are the state's.

        Raises
        ------
        OptionError
            If other samples are given than the state's.
        """
        if samples is not None and samples is not state.samples:
            raise OptionError("samples", "other ones than the state's", "those that were pushed")
        found = np.zeros(len(self.form.integrals))
        means = self._add_families(found, state)
        kernels = ("integrals", "pair_integrals", "triple_integrals", "density_pair_integrals")
        for kernel, places in zip(kernels, self._places, strict=True):
            if places and kernel in self.emission.formulas:
                self._carry_read(state, kernel, None)
                with self._partners_know(kernel, state):
                    found[places] = self.kernels.means(kernel, state, self.values(None))
        if self.moments is not None:
            self.moments.add_integrals(found, self._places[1], state, self._parameters)
        if self.polynomials is not None:
            self.polynomials.add_integrals(found, self._places[1], state, self._parameters)
        found += self._constants[0]
        return np.concatenate([found, *means]) if means else found

    @property
    def unknown_constant(self) -> str:
        """Integrals that are known up to a constant, int f(x, 0) dx; empty if there are none."""
        return self._constants[1]

    @cached_property
    def _constants(self) -> tuple[np.ndarray, str]:
        """int f(x, 0) dx of every integral, which means over samples leave out."""
        problem, parameters = self.problem, self.derived.parameters
        return energy_constants(self.form, parameters, problem.initial, problem.periods)

    @cached_property
    def _places(self) -> tuple[list[int], ...]:
        """Places of single, double and triple integrals, and of those of both densities."""
        found: tuple[list[int], ...] = [], [], [], []
        for k, integral in enumerate(self.form.integrals):
            if integral.family is None:
                found[3 if integral.dense else integral.copies - 1].append(k)
        return found

    def energy(self, integrals: np.ndarray) -> float:
        """The energy, from its integrals; NaN where its formula has no value."""
        own = integrals[: len(self.form.integrals)]
        return self._energy_of(*self._parameters, *map(float, own))

    def check_value(self) -> None:
        """Refuse an energy whose value cannot be computed from its integrals."""
        self._energy_of  # noqa: B018 -- it is made here, before anything runs

    @cached_property
    def _energy_of(self):
        symbols = [*self.form.parameters, *(i.symbol for i in self.form.integrals)]
        return real_function(symbols, self.form.value)

    def velocity(self, state: State, integrals: np.ndarray | None = None) -> np.ndarray:
        """w = -grad dE/drho at the pushed samples, packed (M,).

        ``integrals`` are those of :meth:`integrals`, computed where they are not given.

        Raises
        ------
        EnergyError
            Where the first variation jumps, so that there is no velocity.
        """
        if self.form.rough:
            raise copy(self.form.rough)  # the form is shared, and what is raised takes a traceback
        if integrals is None and not self.separable:
            integrals = self.integrals(state)
        out = self.kernels.zeros(state.samples.width)
        if "velocity" in self.emission.formulas:
            self._carry_read(state, "velocity", integrals)
            values = self.values(integrals, state)
            self.kernels.fields("velocity", state, values, {"velocity": out})
        if self._moved_by_pairs:
            self._pair_velocity(out, state, integrals)
            self._density_pairs("velocity", state, integrals, {"velocity": out})
        return out

    def gradient(self, linearization: Linearization, integrals: np.ndarray) -> np.ndarray:
        """grad_theta of the energy of the samples, (p,), where the map was linearized."""
        state = linearization.state
        samples = state.samples
        zeros, values = self.kernels.zeros, self.values(integrals, state)
        field_, scalar = zeros(samples.width), zeros(samples.width // self.dim)
        pull = zeros(samples.width) if self.form.score_gradient else None
        self._pair_velocity(field_, state, integrals)
        if "slopes" in self.emission.formulas:
            local = zeros(samples.width)
            self._carry_read(state, "slopes", integrals)
            found = {"field": local, "scalar": scalar}
            found |= {} if pull is None else {"pull": pull}
            self.kernels.fields("slopes", state, values, found)
            field_ = local - field_
        else:
            field_ = -field_
        self._density_pairs("slopes", state, integrals, {"field": field_})
        self._density_pairs("pulls", state, integrals, {"scalar": scalar})
        field_ = field_ * samples.weights
        if not self.form.energy_reads:
            return linearization.vjp(field_)
        if pull is not None:
            pull = pull * samples.weights
        return linearization.gradient(field_, scalar * samples.weight, pull)

    @property
    def sums_pairs(self) -> bool:
        """Whether the velocity is a sum over all pairs of samples."""
        kernels = {"pair_velocity", "convolutions", "triple_velocity", "density_pair_integrals"}
        return not kernels.isdisjoint(self.emission.formulas)

    @cached_property
    def separable(self) -> bool:
        """Whether the energy's slope at a sample needs nothing of the other samples."""
        symbols = {integral.symbol for integral in self.form.integrals}
        rows, by_log = self.form.local_gradient
        coupled = any(e.free_symbols & symbols for e in (*rows, by_log, *self.form.score_gradient))
        alone = all(integral.single for integral in self.form.integrals)
        return alone and not coupled and not self.form.convolutions and not self.form.families

    def slope(self, theta, samples: Samples, keep: bool = True) -> Slope:
        """Integrals and gradient of the energy at theta, with the linearized map.

        Parameters
        ----------
        theta : (p,) array
        samples : Samples
        keep : bool
            Whether the linearization keeps the map's stored values, for products that follow.

        Returns
        -------
        Slope
            With ``linearization``, ``integrals`` (K,) float64 and ``gradient`` (p,).
        """
        self._check_packed(samples)
        return slope(self, theta, samples, keep)

    # -- the map's derivative -----------------------------------------------------------------

    def linearize(self, theta, samples: Samples, carry: Carry = "x") -> Linearization:
        """The map at theta, for products with J = dT/dtheta.

        Its ``state`` is that of :meth:`push` with this ``carry``, from the same forward pass.
        """
        self._check_packed(samples)
        return Linearization(self, theta, samples, carry)

    def jvp(self, theta, samples: Samples, eta) -> np.ndarray:
        """(dT/dtheta) eta at the samples, packed (M,)."""
        return self.linearize(theta, samples).jvp(eta)

    def vjp(self, theta, samples: Samples, field_) -> np.ndarray:
        """sum_n (dT/dtheta)(z_n)^T field_n, (p,)."""
        return self.linearize(theta, samples).vjp(field_)

    def metric(self, theta, samples: Samples, eta) -> np.ndarray:
        """G eta = mean of (dT/dtheta)^T (dT/dtheta) eta, (p,)."""
        return self.linearize(theta, samples).metric(eta)

    def jacobian(self, theta, samples: Samples) -> np.ndarray:
        """dT/dtheta at the samples, transposed: (p, M); the next call overwrites it."""
        linearized = self.linearize(theta, samples)
        return linearized.algebra.host(linearized.jacobian())

    def invert(
        self,
        theta,
        points: np.ndarray,
        tolerance: float | None = None,
        iterations: int = 60,
        near: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """z with T(z) = points, and log|det dT/dz| there.

        Steps are undone from the last to the first, each by a damped Newton iteration that
        starts from the step taken backward, or from where points ``near`` z, (N, d), are then.

        Returns
        -------
        z : (N, d)
        log_det : (N,)
            NaN in both where the iteration did not converge.
        """
        from .inversion import invert

        return invert(self, theta, points, near, tolerance, iterations)
