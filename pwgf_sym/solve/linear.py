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

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import OptionError
from .lsmr import lsmr, norm
from .options import LinearOptions

__all__ = ["LinearSolution", "solve_metric"]

# Recurred residuals drift from true ones by round-off: aim a little lower than is asked.
_MARGIN = 0.8
# MINRES returns no residual while it runs; it is computed afresh after so many iterations.
_MINRES_CHECK = 10
# A residual that falls by less than this factor between two checks has stopped falling.
_STAGNATION = 1 - 1e-6
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
        Number of modes kept by a dense solve.
    rate : float
        b . eta, the rate at which the energy falls.
    """

    eta: np.ndarray
    residual: float
    iterations: int
    converged: bool
    rank: int | None = None
    rate: float = 0.0


def solve_metric(
    linearization,
    *,
    field: np.ndarray | None = None,
    right: np.ndarray | None = None,
    method: str = "lsmr",
    options: LinearOptions | None = None,
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
    method : {"lsmr", "cg", "minres", "dense"}
        "lsmr": in the velocity form on J itself, which is never squared nor formed.  In the energy
        form on the symmetric operator G + mu I: the least-squares solution of least norm, hence
        G^+ b also where b is not in the range of G, at the price of squaring the condition number.
        "cg", "minres": SciPy's, on the operator G + mu I.  Where b may leave the range of G, as in
        the energy form on samples, both need a shift.
        "dense": G is formed; eigenvalues below ``cutoff`` times the largest are dropped.
    options : LinearOptions, optional
        Tolerance, iteration limit, shift, cutoff.

    Returns
    -------
    LinearSolution

    Raises
    ------
    OptionError
        If the method is unknown, or not exactly one of ``field`` and ``right`` is given.
    """
    if (field is None) == (right is None):
        raise OptionError("field, right", "both or none", "exactly one of the two")
    if method not in _METHODS:
        raise OptionError("linear_solver", repr(method), ", ".join(f'"{m}"' for m in _METHODS))
    options = (options or LinearOptions()).for_dtype(linearization.theta.dtype)
    system = System(linearization, field, right, options.shift)
    if system.right_norm == 0:
        return LinearSolution(np.zeros_like(system.right), 0.0, 0, True)
    if not np.isfinite(system.right_norm):
        return _not_a_number(system)
    return _METHODS[method](system, options)


def _not_a_number(system: System) -> LinearSolution:
    return LinearSolution(np.full_like(system.right, np.nan), np.nan, 0, False, None, np.nan)


class System:
    """(G + mu I) eta = b through the kernels; parameter vectors are float64 on this side."""

    def __init__(self, linearization, field, right, shift):
        self.map, self.samples = linearization, linearization.samples
        self.field, self.shift, self.dtype = field, shift, linearization.theta.dtype
        self.eps = float(np.finfo(self.dtype).eps)
        if field is not None:
            right = self.adjoint(self.samples.weights * field)
        self.right = np.asarray(right, np.float64)
        self.right_norm = norm(self.right)

    def jvp(self, eta: np.ndarray) -> np.ndarray:
        """J eta on the samples, (M,)."""
        return self.map.jvp(eta.astype(self.dtype))

    def adjoint(self, weighted: np.ndarray) -> np.ndarray:
        """J^T applied to a field that carries the weights already, (p,)."""
        return np.asarray(self.map.vjp(weighted), np.float64)

    def normal(self, eta: np.ndarray) -> np.ndarray:
        """(G + mu I) eta, (p,)."""
        return np.asarray(self.map.metric(eta.astype(self.dtype)), np.float64) + self.shift * eta

    def gap(self, eta: np.ndarray) -> np.ndarray:
        """b - (G + mu I) eta; in the velocity form from the field's own gap, which is exacter."""
        if self.field is None:
            return self.right - self.normal(eta)
        gap = self.field - self.jvp(eta)
        return self.adjoint(self.samples.weights * gap) - self.shift * eta

    def solution(self, eta, iterations, options, floor: float = 0.0) -> LinearSolution:
        """Measure the residual of an iterative solve; ``floor`` is round-off of |gap|."""
        gap = norm(self.gap(eta))
        converged = gap <= max(options.tolerance * self.right_norm, floor)
        rate = float(np.sum(self.right * eta))
        return LinearSolution(eta, gap / self.right_norm, iterations, bool(converged), None, rate)

    def operator(self):
        """The metric operator as SciPy takes it."""
        from scipy.sparse.linalg import LinearOperator

        size = self.right.size
        return LinearOperator(
            (size, size), matvec=self.normal, rmatvec=self.normal, dtype=np.float64
        )


def _solve_lsmr(system: System, options: LinearOptions) -> LinearSolution:
    tolerance = _MARGIN * options.tolerance
    if system.field is None:
        from scipy.sparse.linalg import lsmr as scipy_lsmr

        # With atol = conlim = 0 SciPy's rule is |r| <= btol |b|, or machine precision.
        limits = {"atol": 0.0, "btol": tolerance, "conlim": 0.0}
        eta, _, iterations, *_ = scipy_lsmr(
            system.operator(), system.right, maxiter=options.max_iterations, **limits
        )
        return system.solution(eta, iterations, options)
    eta, iterations, floor = lsmr(
        system.jvp,
        system.adjoint,
        system.field,
        system.samples.weights,
        damp=float(np.sqrt(system.shift)),
        tolerance=tolerance,
        max_iterations=options.max_iterations,
        eps=_ROUND_OFF * system.eps,
    )
    return system.solution(eta, iterations, options, floor)


def _solve_cg(system: System, options: LinearOptions) -> LinearSolution:
    from scipy.sparse.linalg import cg

    watch = _Watch(system, 0.0, every=0)
    eta, _ = cg(
        system.operator(),
        system.right,
        rtol=_MARGIN * options.tolerance,
        atol=0.0,
        maxiter=options.max_iterations,
        callback=watch,
    )
    return system.solution(eta, watch.count, options)


def _solve_minres(system: System, options: LinearOptions) -> LinearSolution:
    from scipy.sparse.linalg import minres

    watch = _Watch(system, options.tolerance * system.right_norm, every=_MINRES_CHECK)
    # rtol=0 leaves only SciPy's tests at machine precision; the watch stops on ours.
    limits = {"rtol": 0.0, "maxiter": options.max_iterations}
    with suppress(_Enough):
        eta, _ = minres(system.operator(), system.right, callback=watch, **limits)
        watch.check(eta)
    return system.solution(watch.best, watch.count, options)


class _Enough(Exception):
    """Leaves SciPy's loop."""


class _Watch:
    """Callback that counts iterations and, every few of them, computes the residual afresh.

    It raises :class:`_Enough` when the residual is small enough, or has stopped falling.
    """

    def __init__(self, system: System, aim: float, every: int):
        self.system, self.aim, self.every = system, aim, every
        self.count, self.lowest, self.best = 0, np.inf, np.zeros_like(system.right)

    def __call__(self, eta: np.ndarray) -> None:
        self.count += 1
        if self.every and self.count % self.every == 0:
            self.check(eta)

    def check(self, eta: np.ndarray) -> None:
        """Keep the best iterate; raise when it is good enough or no better than before."""
        before, gap = self.lowest, norm(self.system.gap(eta))
        if gap < before:
            self.lowest, self.best = gap, eta.copy()
        if gap <= self.aim or not gap < _STAGNATION * before:
            raise _Enough


def _solve_dense(system: System, options: LinearOptions) -> LinearSolution:
    """G^+ b by the eigenvectors of G, with one step of iterative refinement.

    The refinement takes its gap from J, not from the squared matrix: the corrected seminormal
    equations, A. Bjorck, Linear Algebra Appl. 88/89 (1987) 31-48, about as exact as a QR
    factorization of J at a tenth of its cost.

    BLAS runs on one thread: its waiting threads take the processor from the kernels' own, and its
    sums depend on how many there are.
    """
    with _blas().limit(limits=1, user_api="blas"):
        return _dense(system, options)


@lru_cache(maxsize=1)
def _blas():
    """The BLAS libraries of this process; finding them takes milliseconds."""
    import scipy.linalg.blas  # noqa: F401  (a library must be loaded to be found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _dense(system: System, options: LinearOptions) -> LinearSolution:
    rows, values, modes = _spectrum(system)
    if modes is None:
        return _not_a_number(system)
    keep = values > options.cutoff * values[-1]
    modes, inverse = modes[:, keep], 1.0 / (values[keep] + system.shift)

    def gap(eta):
        image = eta.astype(rows.dtype) @ rows
        if system.field is None:
            return system.right - (rows @ image).astype(np.float64) - system.shift * eta
        left = np.sqrt(system.samples.weights) * system.field - image
        return (rows @ left).astype(np.float64) - system.shift * eta

    eta = np.zeros_like(system.right)
    left = system.right
    for _ in range(2):
        eta = eta + modes @ (inverse * (modes.T @ left))
        left = gap(eta)
    floor = _ROUND_OFF * system.eps * float(np.sqrt(np.sum(values))) * _length(system)
    converged = norm(modes.T @ left) <= max(options.tolerance * system.right_norm, floor)
    residual = norm(system.gap(eta)) / system.right_norm
    rate = float(np.sum(system.right * eta))
    return LinearSolution(eta, residual, 1, bool(converged), int(keep.sum()), rate)


def _spectrum(system: System):
    """sqrt(weights) J^T (p, M), and eigenvalues (ascending) and eigenvectors of G.

    The last two are None where G is not finite, which LAPACK must not see.
    """
    from scipy.linalg import eigh
    from scipy.linalg.blas import get_blas_funcs

    rows = np.ascontiguousarray(system.map.jacobian())
    rows *= np.sqrt(system.samples.weights)
    # The transpose of a C-ordered array is what Fortran wants: syrk reads it without a copy.
    syrk = get_blas_funcs("syrk", (rows,))
    metric = syrk(1.0, rows.T, trans=1, lower=1).astype(np.float64)
    if not np.all(np.isfinite(np.diag(metric))):
        return rows, None, None
    values, modes = eigh(metric, lower=True, driver="evd", overwrite_a=True, check_finite=False)
    return rows, values, modes


def _length(system: System) -> float:
    """Norm of the target field, or in the energy form 0: b is exact there."""
    if system.field is None:
        return 0.0
    return norm(system.field, system.samples.weights * system.field)


_METHODS = {
    "lsmr": _solve_lsmr,
    "cg": _solve_cg,
    "minres": _solve_minres,
    "dense": _solve_dense,
}
