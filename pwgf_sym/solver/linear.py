"""Linear solves with the pullback metric G = E_z[J^T J], J = dT/dtheta.

Two systems, one interface (:func:`solve_metric`), for a Tikhonov shift mu >= 0:

* velocity form: eta = argmin  mean |J eta - w|^2 + mu |eta|^2, a least-squares problem;
* energy form:   (G + mu I) eta = b,  b = -grad_theta E.

Both obey (G + mu I) eta = b, with b = mean J^T w in the velocity form, and of all solutions the
one of least norm is meant.  Every method ends with the residual |(G + mu I) eta - b| / |b|
computed afresh with the kernels, and success is judged on that number alone: the recurrences
and the stopping rules of iterative methods can both be too optimistic (SciPy's MINRES stops on
|r| <= tol |G| |eta|, which a huge eta passes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import OptionError
from .dense import solve_dense, solve_kernel
from .krylov import refined
from .option_fields import settled
from .option_objects import LinearSolve
from .vectors import as_double, dot, is_finite, norm, space_of, zeros_like

if TYPE_CHECKING:
    from .protocols import Algebra, Apply, Linearized, Vector

__all__ = ["LinearSolution", "solve_metric"]

# Recurred residuals drift from true ones by round-off: aim a little lower than is asked.
_MARGIN = 0.8
# Round-off of a mean of products, in units of the dtype's eps.
_ROUND_OFF = 8.0


@dataclass(frozen=True)
class LinearSolution:
    """What a linear solve found.

    Attributes
    ----------
    eta : (p,) float64 array
        The solution.
    residual : float
        |(G + mu I) eta - b| / |b|, computed with the kernels from ``eta``; 0 where b = 0.
    iterations : int
        Iterations taken; 1 for a dense solve.
    converged : bool
        Whether the residual is within the tolerance.  A dense solve is judged on the modes that
        it kept, as it drops the others on purpose.
    rank : int or None
        Number of modes kept by a dense solve by eigenvectors.
    rate : float
        b . eta, the rate at which the energy falls.
    """

    eta: Vector
    residual: float
    iterations: int
    converged: bool
    rank: int | None = None
    rate: float = 0.0


def solve_metric(
    linearization: Linearized,
    *,
    field: Vector | None = None,
    right: Vector | None = None,
    method: str | None = None,
    options: LinearSolve | None = None,
    guess: Vector | None = None,
) -> LinearSolution:
    """Solve for the direction eta in the velocity form (``field``) or the energy form (``right``).

    Parameters
    ----------
    linearization : Linearization
        Products with J at the parameters and the samples.
    field : (M,) array, optional
        Target velocity w on the samples, packed: the velocity form.
    right : (p,) array, optional
        Right side b = -grad_theta E: the energy form.  Exactly one of the two is given.
    method : {"lsmr", "cg", "minres", "dense", "kernel"}, optional
        By default that of the options; "auto" is "lsmr" here.
        "lsmr": in the velocity form on J itself, which is never squared nor formed.  In the energy
        form on the symmetric operator G + mu I: the least-squares solution of least norm, hence
        G^+ b also where b is not in the range of G, at the price of squaring the condition number.
        "cg", "minres": SciPy's, on the operator G + mu I.  Where b may leave the range of G, as in
        the energy form on samples, both need a shift.
        "dense": G is formed, and factorized by Cholesky; without a shift, or with a ``cutoff``, its
        eigenvalues below ``cutoff`` times the largest are dropped.
        "kernel": the same through the kernel matrix J J^T of the samples, N d by N d, formed from
        the layers' Kronecker structure; for fewer samples than parameters.  Needs a shift.
    options : LinearSolve, optional
        Tolerance, iteration limit, shift, cutoff, precision, preconditioner.
    guess : (p,) array, optional
        Where "cg" and "minres" start, for instance the last step's direction; 0 by default.

    Returns
    -------
    LinearSolution

    Raises
    ------
    OptionError
        If the method is unknown, if not exactly one of ``field`` and ``right`` is given, or if an
        option is not for the method.
    """
    if (field is None) == (right is None):
        raise OptionError("field, right", "both or none", "exactly one of the two")
    options = options or LinearSolve()
    method = options.method if method is None else method
    method = "lsmr" if method == "auto" else method
    if method not in _METHODS:
        raise OptionError("linear_solver", repr(method), ", ".join(f'"{m}"' for m in _METHODS))
    options = options if method == options.method else replace(options, method=method)
    options.check_method()
    options = options.for_dtype(linearization.theta.dtype)
    shift = settled(options.shift) * linearization.unit**2
    system = System(linearization, field, right, shift, guess)
    if system.right_norm == 0:
        return LinearSolution(zeros_like(system.right), 0.0, 0, True)
    if not np.isfinite(system.right_norm):
        return _not_a_number(system)
    try:
        return _METHODS[method](system, options)
    except np.linalg.LinAlgError:  # G + mu I is not positive definite in round-off
        return _not_a_number(system)


def _not_a_number(system: System) -> LinearSolution:
    return LinearSolution(np.nan * system.right, np.nan, 0, False, None, np.nan)


class System:
    """(G + mu I) eta = b through the kernels; parameter vectors are float64 on this side."""

    def __init__(
        self,
        linearization: Linearized,
        field: Vector | None,
        right: Vector | None,
        shift: float,
        guess: Vector | None = None,
    ) -> None:
        self.map, self.samples = linearization, linearization.samples
        self.field, self.shift, self.dtype = field, shift, linearization.theta.dtype
        self.eps = float(np.finfo(self.dtype).eps)
        if field is not None:
            right = self.adjoint(self.samples.weights * field)
        self.right = as_double(settled(right))
        self.right_norm = norm(self.right)
        self.start = zeros_like(self.right) if guess is None else as_double(guess)

    @property
    def algebra(self) -> Algebra:
        """Dense linear algebra where the map's kernels run."""
        return self.map.algebra

    def in_single(self) -> System:
        """The same metric in float32, for an inner solve in the energy form."""
        return System(self.map.in_single(), None, self.right, self.shift)

    def jvp(self, eta: Vector) -> Vector:
        """J eta on the samples, (M,)."""
        return self.map.jvp(eta.astype(self.dtype))

    def adjoint(self, weighted: Vector) -> Vector:
        """J^T applied to a field that carries the weights already, (p,)."""
        return as_double(self.map.vjp(weighted))

    def normal(self, eta: Vector) -> Vector:
        """(G + mu I) eta, (p,)."""
        return as_double(self.map.metric(eta.astype(self.dtype))) + self.shift * eta

    def gap(self, eta: Vector) -> Vector:
        """b - (G + mu I) eta; in the velocity form from the field's own gap, which is exacter."""
        if self.field is None:
            return self.right - self.normal(eta)
        gap = self.field - self.jvp(eta)
        return self.adjoint(self.samples.weights * gap) - self.shift * eta

    def solution(
        self,
        eta: Vector,
        iterations: int,
        options: LinearSolve,
        floor: float = 0.0,
        kept: Apply | None = None,
        rank: int | None = None,
        gap: Vector | None = None,
    ) -> LinearSolution:
        """Measure the residual of a solve.

        ``floor`` is round-off of |gap|; ``kept`` takes the part of it that the solve answers for;
        ``gap`` is handed over by methods that have computed it afresh themselves.
        """
        gap = self.gap(eta) if gap is None else gap
        judged = norm(gap if kept is None else kept(gap))
        converged = judged <= max(settled(options.tolerance) * self.right_norm, floor)
        rate = dot(self.right, eta)
        residual = norm(gap) / self.right_norm
        return LinearSolution(eta, residual, iterations, bool(converged), rank, rate)


def _solve_lsmr(system: System, options: LinearSolve) -> LinearSolution:
    solve = partial(
        space_of(system.right).lsmr,
        tolerance=_MARGIN * settled(options.tolerance),
        max_iterations=options.max_iterations,
        eps=_ROUND_OFF * system.eps,
    )
    if system.field is None:
        operator = system.normal, system.normal
        eta, iterations, _ = solve(*operator, system.right, None, damp=0.0, by_residual=True)
        return system.solution(eta, iterations, options)
    given = system.jvp, system.adjoint, system.field, system.samples.weights
    eta, iterations, floor = solve(*given, damp=float(np.sqrt(system.shift)))
    return system.solution(eta, iterations, options, floor)


def _solve_refined(method: str, system: System, options: LinearSolve) -> LinearSolution:
    eta, iterations, gap = refined(system, options, method)
    return system.solution(eta, iterations, options, gap=gap)


def _solve_dense(system: System, options: LinearSolve) -> LinearSolution:
    eta, kept, floor, rank = solve_dense(system, options)
    if not is_finite(eta):
        return _not_a_number(system)
    return system.solution(eta, 1, options, floor, kept, rank)


def _solve_kernel(system: System, options: LinearSolve) -> LinearSolution:
    return system.solution(solve_kernel(system), 1, options)


_METHODS: dict[str, Callable[[System, LinearSolve], LinearSolution]] = {
    "lsmr": _solve_lsmr,
    "cg": partial(_solve_refined, "cg"),
    "minres": partial(_solve_refined, "minres"),
    "dense": _solve_dense,
    "kernel": _solve_kernel,
}
