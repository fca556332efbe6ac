"""The local Jacobian of the velocity at every sample, by kernels of a module of their own."""

from __future__ import annotations

from copy import copy
from functools import cached_property

import numpy as np

from ..emit.jacobian import emit_jacobian
from ..kernels.jacobian import JacobianForm, jacobian_form
from ..kernels.pairs import pair_parts
from .packing import State
from .values import real_function

__all__ = ["JacobianMethods", "LocalJacobian"]


class JacobianMethods:
    """Methods of a program about the Jacobian of its velocity."""

    @cached_property
    def local_jacobian(self) -> LocalJacobian:
        """What computes :meth:`velocity_jacobian`: pattern, formulas and module."""
        return LocalJacobian(self)

    @property
    def jacobian_pattern(self) -> np.ndarray:
        """Where the velocity's local Jacobian may be other than zero, (d, d) bool."""
        return self.local_jacobian.pattern

    def velocity_jacobian(self, state: State, integrals: np.ndarray) -> np.ndarray:
        """The local Jacobian A = dw/dx of the velocity at every pushed sample, symmetric.

        Log density, score, integrals and partners are held fixed: A is -Hess V of a potential V,
        the symmetric part of -grad(d phi/dx + (rho d phi/d rho) s) of any first variation phi(x,
        rho), and the mean over y of -Hess_x (W(x, y) + W(y, x)) of an interaction, by moments or by
        a sum over all pairs as the velocity's.  An interaction that is no polynomial of |x - y|^2,
        and has more than 64 entries off the diagonal, is left out
        (``local_jacobian.complete`` is then False).

        Returns
        -------
        (N, d) array where ``jacobian_pattern`` is diagonal: the diagonals; else (N, d, d)
            NumPy's on every target, NaN or infinite where a second derivative is.

        Raises
        ------
        EnergyError
            If there is no velocity, or more than 64 entries above the diagonal differ from sample
            to sample.
        FormulaError
            If a second derivative holds a function that no target prints.
        """
        jacobian = self.local_jacobian  # or why there is none
        self._at_own_time(state)
        return jacobian(state, integrals, self)


class LocalJacobian:
    """A = dw/dx of a program's velocity, derived and compiled when it is first asked for.

    Attributes
    ----------
    form : JacobianForm
        The entries as formulas.
    dtype : numpy.dtype
        Precision.
    pattern : (d, d) bool array
        Where A may be other than zero.
    complete : bool
        Whether all interactions are in it.
    emission : Emission or None
        The module's text; None where no entry differs from sample to sample by a formula.
    path : pathlib.Path or None
        The generated module, if there is one.

    Raises
    ------
    EnergyError
        If there is no velocity, or too many entries.
    FormulaError
        If a second derivative holds a function that no target prints.
    """

    def __init__(self, program):
        if program.form.rough:
            raise copy(program.form.rough)
        self.program, emission, self.dtype = program, program.emission, program.dtype
        parts = pair_parts(program.form, program.uses_moments)
        self.form: JacobianForm = jacobian_form(program.form, parts)
        self.complete = self.form.complete
        self._rows, self._columns = np.array(self.form.places, int).reshape(-1, 2).T
        self._column = {place: n for n, place in enumerate(self.form.places)}
        self.pattern = np.zeros((self.form.dim, self.form.dim), bool)
        self.pattern[self._rows, self._columns] = self.pattern[self._columns, self._rows] = True
        self.pattern.flags.writeable = False
        self.emission = self.path = None
        if self.form.kernels:
            energy = program.derived.energy
            self.emission = emit_jacobian(energy, program.problem.density, self.form, emission)
            name = f"jacobian_d{program.dim}_{program.dtype.name}"
            self.path = program.host.write(self.emission.text, name, program.folder)

    @cached_property
    def module(self):
        """The generated module, imported."""
        return self.program.host.load(self.path, self.emission.text)

    @cached_property
    def kernels(self):
        """Calls of its kernels by name."""
        program = self.program
        kind = type(program.kernels)
        return kind(self.module, self.emission, program.dtype, program.size, lambda: None)

    def __call__(self, state: State, integrals: np.ndarray, program=None) -> np.ndarray:
        """See :meth:`.program.Program.velocity_jacobian`; ``program`` has the parameters."""
        found = self._entries(state, integrals, self.program if program is None else program)
        count, d = state.samples.count, self.form.dim
        if self.form.diagonal:
            result = np.zeros((count, d), found.dtype)
            result[:, self._rows] = found
            return result
        result = np.zeros((count, d, d), found.dtype)
        result[:, self._rows, self._columns] = found
        result[:, self._columns, self._rows] = found
        return result

    def _entries(self, state: State, integrals, program) -> np.ndarray:
        """The entries at the form's places, (N, number of places)."""
        samples = state.samples
        values = program.values(integrals, state)
        numbers = values.astype(float).tolist()
        found = np.zeros((samples.count, len(self.form.places)), self.dtype)
        for name, places in self.form.fields.items():
            out = self.kernels.zeros(samples.tiles * samples.lanes * len(places))
            self.kernels.fields(name, state, values, {"jacobian": out})
            grid = np.asarray(out).reshape(samples.tiles, len(places), samples.lanes)
            rows = grid.transpose(0, 2, 1).reshape(-1, len(places))[: samples.count]
            found[:, [self._column[p] for p in places]] += rows
        paired = float(samples.count > 1)  # a mean over the partners, of whom one sample has none
        for functions, share in zip(self._fixed, (1.0, paired), strict=True):
            for place, function in functions.items():
                found[:, self._column[place]] += share * function(*numbers)
        for name, factor in self._factors.items():
            hessians = program.sums[name].hessians(state, integrals)
            found += factor(*numbers) * hessians[:, self._rows, self._columns]
        if self.form.moments is not None:
            moments = self.program.polynomials
            places = self._rows, self._columns
            found += moments.velocity_jacobian(state, numbers, *places).astype(found.dtype)
        return found

    @cached_property
    def _factors(self) -> dict:
        """Functions of parameters and integrals: the factors of sums over an index."""
        symbols = self.program.value_symbols
        return {name: real_function(symbols, factor) for name, factor in self.form.sums.items()}

    @cached_property
    def _fixed(self) -> list[dict]:
        """Functions of parameters and integrals by place: local ones, those of every pair."""
        symbols = self.program.value_symbols
        return [
            {place: real_function(symbols, entry) for place, entry in entries.items()}
            for entries in (self.form.fixed, self.form.pair_fixed)
        ]
