"""The matrix that a Rosenbrock step solves with, in the metric of the map.

With J = dT/dtheta on the samples and the shift mu of the linear solves,

    M = mean J^T J + mu I,     K = mean J^T A_ J - sigma mean S^T S,

A_ the decaying part of the velocity's Jacobian at each sample (:mod:`.decay`), S v the symmetric
part of the gradient in x of the field J v, sigma the factor of an entropy sigma int rho log rho.
M eta = mean J^T w, so that d theta/dt = eta(theta) has about the Jacobian B = M^-1 K, and

    (I - c B)^-1 v = (M - c K)^-1 M v.

A moves the velocity of a sample where its density is held fixed; the entropy's part is

    d^2/dh^2 int rho log rho at (id + h v)_# rho = int rho tr(grad v grad v),

which is int rho |S v|^2 where v is a gradient, as velocities of gradient flows are, and is less for
fields that turn (C. Villani, Topics in Optimal Transportation, 2003, section 9.1).  Without it what
is left out is as stiff as what is kept: near a Gaussian equilibrium A alone misses n - 1 parts of n
of the rate of a mode of degree n.

Both parts of K are negative semidefinite, so that M - c K is positive definite for every c >= 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from ..derive.gather import derived_form
from ..derive.structure import energy_structure
from ..errors import EnergyError, FlowError, FormulaError, OptionError
from ..sharing import replaced
from .decay import DecayingPart
from .option_fields import settled

if TYPE_CHECKING:
    from ..declare.problem import GradientFlow
    from .options import FlowOptions
    from .protocols import Linearized, Program, Samples, Vector
    from .right_side import Stage

__all__ = ["StageOperator", "check_implicit", "check_jacobian", "entropy_factor"]

# Difference quotients of J take steps of this length in the map's coordinates.
_MOVE = {"float64": 1e-6, "float32": 1e-3}
# Parameters that are worked on together: their rows stay in the cache.
_BLOCK = 16
_STABILIZED = 'Use integrator="rkc", or "auto", which takes it where the flow is stiff.'


def check_implicit(options: FlowOptions) -> None:
    """Refuse options that the matrix cannot be made with.

    Raises
    ------
    OptionError
        With the option in the way, and the method that does without.
    """
    for name, given, value in (
        ("formulation", options.formulation, "velocity"),
        ("linear_solver", options.linear.method, "dense"),
        ("target", "cpu" if options.on_host else options.target, "cpu"),
    ):
        if given != value:
            given = f'"{given}" together with integrator="rosenbrock"'
            raise OptionError(name, given, f'"{value}"', _STABILIZED)
    shift, cutoff = settled(options.linear.shift), options.linear.cutoff
    if shift == 0 or cutoff is not None:
        given = f"{shift:g} with cutoff={cutoff}, for rosenbrock"
        accepted = "a shift above 0 and no cutoff: the step's matrix is factorized by Cholesky"
        raise OptionError("shift", given, accepted, _STABILIZED)


def check_jacobian(program: Program) -> None:
    """Refuse an energy whose velocity has no local Jacobian; derives and writes its kernels.

    Raises
    ------
    OptionError
        With the reason, and the method that does without.
    """
    try:
        program.local_jacobian  # noqa: B018 -- it is made here
    except (EnergyError, FormulaError) as error:
        accepted = f"an energy whose velocity has a local Jacobian ({error})"
        raise OptionError("integrator", '"rosenbrock"', accepted, _STABILIZED) from error


def entropy_factor(problem: GradientFlow, t: float = 0.0) -> float:
    """sigma of an entropy sigma int rho log rho; 0 where the energy is no sum that holds one."""
    form = derived_form(problem)
    structure = energy_structure(form.energy, problem.density)
    values = {s: sp.Rational(v) for s, v in form.parameters.items()}
    if problem.time is not None:
        values[problem.time] = sp.Rational(t)
    return 0.0 if structure.other else max(float(replaced(structure.sigma, values)), 0.0)


class StageOperator:
    """(I - c B)^-1 at one stage: M - c K, factorized.

    Parameters
    ----------
    stage : Stage
        A stage of the velocity form with a shift above 0, on the host.
    factor : float
        c >= 0, a part of the step.
    sigma : float
        Factor of the entropy, >= 0.

    Raises
    ------
    FlowError
        If the matrix is not finite, or in round-off not positive definite.
    """

    def __init__(self, stage: Stage, factor: float, sigma: float = 0.0) -> None:
        program, samples = stage.program, stage.samples
        self._map = stage.linearized()
        self._shift = stage.shift * self._map.unit**2
        self._algebra = self._map.algebra
        local = program.velocity_jacobian(stage.state, stage.integrals)
        with self._algebra.calls(), np.errstate(invalid="ignore", over="ignore"):
            rows = weighted_rows(self._map, DecayingPart(local), factor)
            matrix = self._algebra.gram(rows).astype(np.float64)
            if sigma * factor > 0:
                rows = strain_rows(program, samples, self._map.theta)
                matrix += (factor * sigma) * self._algebra.gram(rows)
            matrix[np.diag_indices_from(matrix)] += self._shift
            try:
                if not np.isfinite(matrix.diagonal()).all():  # libraries must not see anything else
                    raise np.linalg.LinAlgError("the matrix is not finite")
                self._inverse = self._algebra.cholesky(matrix)
            except np.linalg.LinAlgError as error:
                given, accepted = f"a step's matrix with c = {factor:.3g}: {error}", "a finite one"
                fix = "Use more samples or a larger shift."
                raise FlowError(given, accepted, fix, step=stage.step, time=stage.time) from error

    def __call__(self, v: Vector) -> Vector:
        """(I - c B)^-1 v, (p,)."""
        metric = self._map.metric(v.astype(self._map.theta.dtype)).astype(np.float64)
        with self._algebra.calls():
            return self._inverse(metric + self._shift * v)


def weighted_rows(map: Linearized, decaying: DecayingPart, factor: float) -> np.ndarray:
    """Rows (p, M) whose products are mean J^T (I - c A_) J, in the place of ``map.jacobian()``.

    By the Cholesky factors L of the samples' own matrices, small and positive definite: J^T L L^T J
    = (L^T J)^T (L^T J).
    """
    samples, rows = map.samples, np.asarray(map.jacobian())
    d, roots = samples.dim, np.sqrt(samples.weights)
    matrices = np.eye(d) - factor * decaying.matrices()
    if not matrices[:, np.eye(d) == 0].any():
        rows *= roots * samples.pack(np.sqrt(matrices[:, range(d), range(d)]))
        return rows
    rows *= roots
    # L by entries: (d, d, tiles, lanes), as rows are.
    places = np.arange(samples.tiles * samples.lanes) % samples.count
    factors = np.linalg.cholesky(matrices).astype(rows.dtype)[places].transpose(1, 2, 0)
    L = np.ascontiguousarray(factors).reshape(d, d, samples.tiles, samples.lanes)
    coupled = np.asarray(L.any(axis=(2, 3)))
    for first in range(0, len(rows), _BLOCK):
        block = rows[first : first + _BLOCK].reshape(-1, samples.tiles, d, samples.lanes)
        for i in range(d):  # row i of L^T needs rows from i on, which are as they were
            found = L[i, i] * block[:, :, i]
            for j in np.flatnonzero(coupled[i + 1 :, i]) + i + 1:
                found += L[j, i] * block[:, :, j]
            block[:, :, i] = found
    return rows


def strain_rows(program: Program, samples: Samples, theta: np.ndarray) -> np.ndarray:
    """Rows (p, n d (d + 1)/2) whose products are mean S^T S over the first n samples.

    n = 2 N/(d + 1), so that there are as many rows as of J.  Gradients are difference quotients of
    J in the coordinates of the start, and by (dx/dz)^-1 those in x: a W-method does not ask for
    more digits.
    """
    d, p = samples.dim, theta.size
    n = max(1, 2 * samples.count // (d + 1))
    near = _neighbours(program, samples, n)
    map = program.linearize(theta, near)
    x = near.unpack(map.state.x).astype(np.float64).reshape(d + 1, n, d)
    # x[1 + a] - x[0] = (dx/dz) e_a times the step, which cancels with that of J's differences.
    shares = samples.unpack_scalar(samples.weight)[:n].astype(np.float64)
    roots = np.sqrt(shares / shares.sum())[:, None, None]
    inverse = np.linalg.pinv((x[1:] - x[0]).transpose(1, 2, 0)) * roots
    inverse = np.ascontiguousarray(inverse.transpose(1, 2, 0)).astype(theta.dtype)  # (a, j, n)
    J = map.jacobian().reshape(p, near.tiles, d, near.lanes)
    found = np.empty((p, d * (d + 1) // 2, n), J.dtype)
    for first in range(0, p, _BLOCK):
        block = slice(first, first + _BLOCK)
        values = J[block].transpose(0, 2, 1, 3).reshape(-1, d, near.tiles * near.lanes)
        values = values[:, :, : (d + 1) * n].reshape(-1, d, d + 1, n)
        _strain(values[:, :, 1:] - values[:, :, :1], inverse, found[block])
    return found.reshape(p, -1)


def _neighbours(program: Program, samples: Samples, n: int) -> Samples:
    """The first n samples, and those moved along each of the map's coordinates; packed once."""
    key = ("neighbours", n)
    if key not in samples.scratch:
        z, move = samples.unpack(samples.z)[:n], _MOVE[program.dtype.name]
        points = [z, *(z + move * axis for axis in np.eye(samples.dim, dtype=z.dtype))]
        samples.scratch[key] = program.packed(np.concatenate(points))
    return samples.scratch[key]


def _strain(change: np.ndarray, inverse: np.ndarray, out: np.ndarray) -> None:
    """Entries of (grad v + grad v^T)/2 from dv (., i, a); those off the diagonal times sqrt(2)."""
    d, place = change.shape[1], 0
    for i in range(d):
        for j in range(i, d):
            entry = sum(change[:, i, a] * inverse[a, j] for a in range(d))
            if i != j:
                entry += sum(change[:, j, a] * inverse[a, i] for a in range(d))
                entry *= np.sqrt(0.5)
            out[:, place] = entry
            place += 1
