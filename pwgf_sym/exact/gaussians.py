"""Flows that keep Gaussians, and the distance of two Gaussians."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arguments import brief, checked_call, number, real_array
from ..errors import OptionError
from .checks import checked_matrix, checked_times, checked_vector, square_root

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "mckean_vlasov",
    "ornstein_uhlenbeck",
    "ornstein_uhlenbeck_map",
    "wasserstein_gaussian",
]


@checked_call
def ornstein_uhlenbeck(
    A: ArrayLike,
    eps: float,
    mean0: ArrayLike,
    cov0: ArrayLike,
    t: ArrayLike,
    b: ArrayLike = 0,
) -> tuple[Floats, Floats]:
    """Mean and covariance of a Gaussian under a quadratic potential and entropy.

    Exact for E = int (x - b)' A (x - b)/2 rho + eps rho log rho dx, whose flow
    d rho/dt = div(rho A (x - b)) + eps Laplace rho keeps Gaussians:
    mean' = -A (mean - b),  cov' = -A cov - cov A + 2 eps I
    (H. Risken, The Fokker-Planck Equation, Springer 1989, section 6.5).

    Parameters
    ----------
    A : number, (d,) or (d, d) array-like
        Symmetric; a vector is a diagonal.  Eigenvalues may be negative or 0.
    eps : float
        Weight of the entropy, at least 0.
    mean0 : (d,) array-like
        Initial mean.
    cov0 : number, (d,) or (d, d) array-like
        Initial covariance.
    t : float or (T,) array-like
        Strictly ascending times, at least 0.
    b : number or (d,) array-like
        Centre of the potential.

    Returns
    -------
    mean : (d,) or (T, d) array
    covariance : (d, d) or (T, d, d) array

    Raises
    ------
    OptionError
        If shapes disagree, ``A`` or ``cov0`` is not symmetric, or ``t`` or ``eps`` is negative.
    """
    mean0 = checked_vector("mean0", mean0)
    A, cov0 = checked_matrix("A", A, mean0.size), checked_matrix("cov0", cov0, mean0.size)
    times = checked_times(t)
    eps, b = number("eps", eps, least=0.0), real_array("b", b)
    if b.shape not in ((), mean0.shape):
        raise OptionError("b", f"shape {b.shape}", f"a number or shape {mean0.shape}")
    rates, basis = np.linalg.eigh(A)
    offset = basis.T @ (mean0 - b)
    with np.errstate(all="ignore"):
        mean = (np.exp(-np.multiply.outer(times, rates)) * offset) @ basis.T + b
        sums = rates[:, None] + rates[None, :]
        cov = np.exp(-np.multiply.outer(times, sums)) * (basis.T @ cov0 @ basis)
        # eps (1 - exp(-2 a t))/a, whose limit at a = 0 is 2 eps t.
        safe = np.where(rates == 0, 1.0, rates)
        grown = -np.expm1(-2 * np.multiply.outer(times, rates)) / safe
        grown = eps * np.where(rates == 0, 2 * times[..., None], grown)
        cov = basis @ (cov + grown[..., None] * np.eye(rates.size)) @ basis.T
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(cov))):
        given = f"eigenvalues of A from {rates[0]:.6g} to {rates[-1]:.6g} at t = {brief(t)}"
        raise OptionError("t", given, "a flow that stays within double precision")
    return mean, (cov + np.swapaxes(cov, -1, -2)) / 2


@checked_call
def mckean_vlasov(
    A: ArrayLike,
    attraction: ArrayLike,
    eps: float,
    mean0: ArrayLike,
    cov0: ArrayLike,
    t: ArrayLike,
    b: ArrayLike = 0,
) -> tuple[Floats, Floats]:
    """Mean and covariance of a Gaussian under quadratic V and W and entropy.

    Exact for E = int (x - b)' A (x - b)/2 rho + 1/2 int int (x - y)' K (x - y)/2 rho rho
    + eps int rho log rho, K = ``attraction``.  The velocity -A (x - b) - K (x - mean) is affine:
    mean' = -A (mean - b), and the covariance is that of :func:`ornstein_uhlenbeck` with A + K,
    since the centre of the attraction is the mean itself.

    Parameters
    ----------
    A, eps, mean0, cov0, t, b
        As for :func:`ornstein_uhlenbeck`.
    attraction : number, (d,) or (d, d) array-like
        The symmetric matrix K.

    Returns
    -------
    mean : (d,) or (T, d) array
    covariance : (d, d) or (T, d, d) array

    Raises
    ------
    OptionError
        As :func:`ornstein_uhlenbeck`, or if ``attraction`` is not symmetric.
    """
    total = _sum("A", A, attraction, checked_vector("mean0", mean0).size)
    mean, _ = ornstein_uhlenbeck(A, eps, mean0, cov0, t, b)
    return mean, ornstein_uhlenbeck(total, eps, mean0, cov0, t)[1]


def _sum(name: str, A: ArrayLike, attraction: ArrayLike, dim: int) -> Floats:
    """The matrix A + K by which fluctuations about the mean decay."""
    return checked_matrix(name, A, dim) + checked_matrix("attraction", attraction, dim)


@checked_call
def wasserstein_gaussian(
    mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike
) -> float:
    """Wasserstein-2 distance of two Gaussians, the Bures-Wasserstein distance.

    W2^2 = |mean1 - mean2|^2 + tr(cov1 + cov2 - 2 (cov1^1/2 cov2 cov1^1/2)^1/2)
    (D. C. Dowson and B. V. Landau, J. Multivariate Anal. 12, 1982).  The trace is computed as the
    least |S1 - S2 U|_F^2 over orthogonal U, with Si Si' = covi, so that equal laws give 1e-15 and
    not the square root of round-off.

    Parameters
    ----------
    mean1, mean2 : (d,) array-like
    cov1, cov2 : number, (d,) or (d, d) array-like
        Symmetric and non-negative; singular covariances are allowed.

    Raises
    ------
    OptionError
        If shapes disagree or a covariance is not symmetric or has a negative eigenvalue.
    """
    mean1, mean2 = checked_vector("mean1", mean1), checked_vector("mean2", mean2)
    if mean1.shape != mean2.shape:
        raise OptionError("mean2", f"shape {mean2.shape}", f"the shape of mean1, {mean1.shape}")
    root1, root2 = square_root("cov1", cov1, mean1.size), square_root("cov2", cov2, mean1.size)
    left, _, right = np.linalg.svd(root2.T @ root1)
    return float(
        np.hypot(np.linalg.norm(mean1 - mean2), np.linalg.norm(root1 - root2 @ left @ right))
    )


@checked_call
def ornstein_uhlenbeck_map(
    points: ArrayLike,
    A: ArrayLike,
    eps: float,
    mean0: ArrayLike,
    cov0: ArrayLike,
    t: ArrayLike,
    b: ArrayLike = 0,
    attraction: ArrayLike = 0,
) -> Floats:
    """Carry points along the velocity of an Ornstein-Uhlenbeck or linear McKean-Vlasov flow.

    The velocity of the flow of :func:`mckean_vlasov` is affine, so that its Lagrangian map is
    x -> mean(t) + M(t) (x - mean0) with

        M' = (-(A + K) + eps cov^-1) M,  M(0) = I,

    which is the optimal map between the two laws only where A + K and ``cov0`` commute; then
    M = cov^1/2 cov0^-1/2.  Otherwise the equation for M is integrated to 1e-12.

    Parameters
    ----------
    points : (n, d) array-like
        Points at time 0.
    A, eps, mean0, cov0, t, b, attraction
        As for :func:`mckean_vlasov`; ``cov0`` positive definite where ``eps`` is not 0.

    Returns
    -------
    (n, d) or (T, n, d) array

    Raises
    ------
    OptionError
        As :func:`mckean_vlasov`, or if ``points`` has another dimension or ``cov0`` is singular.
    """
    mean, _ = mckean_vlasov(A, attraction, eps, mean0, cov0, t, b)
    points, mean0 = real_array("points", points), checked_vector("mean0", mean0)
    dim, eps = mean0.size, number("eps", eps, least=0.0)
    if points.ndim != 2 or points.shape[1] != dim:
        raise OptionError("points", f"shape {points.shape}", f"shape (n, {dim})")
    rates, basis = np.linalg.eigh(_sum("A", A, attraction, dim))
    start = basis.T @ checked_matrix("cov0", cov0, dim) @ basis
    if eps and np.linalg.eigvalsh(start)[0] <= 0:
        raise OptionError("cov0", "a singular matrix", "a positive definite one where eps > 0")
    times = checked_times(t)
    maps = _deformations(rates, eps, start, np.atleast_1d(times))
    moved = ((points - mean0) @ basis) @ np.swapaxes(basis @ maps, -1, -2)
    return moved + mean[:, None] if times.ndim else moved[0] + mean


def _deformations(rates: Floats, eps: float, start: Floats, times: Floats) -> Floats:
    """M(t) in the basis where A + K is diagonal, a (T, d, d) array."""
    from scipy.integrate import solve_ivp

    dim, diagonal = rates.size, np.diag(start)
    apart = np.abs(start - np.diag(diagonal)).max()
    if not eps:
        return np.exp(-np.multiply.outer(times, rates))[:, :, None] * np.eye(dim)
    if apart <= 1e-14 * diagonal.max():
        variances = np.stack([np.diag(_variances(rates, eps, start, s)) for s in times])
        return np.sqrt(variances / diagonal)[:, :, None] * np.eye(dim)

    def rate(time: float, state: Floats) -> Floats:
        state = state.reshape(dim, dim)
        growth = np.linalg.solve(_variances(rates, eps, start, time), state)
        return (eps * growth - rates[:, None] * state).ravel()

    span = (0.0, times[-1] or 1.0)
    options = {"method": "DOP853", "t_eval": times, "rtol": 1e-12, "atol": 1e-14}
    run = solve_ivp(rate, span, np.eye(dim).ravel(), **options)
    return run.y.T.reshape(-1, dim, dim)


def _variances(rates: Floats, eps: float, start: Floats, time: float) -> Floats:
    """Covariance at a time in the basis where A + K is diagonal, a (d, d) array."""
    decay = np.exp(-rates * time)
    safe = np.where(rates == 0, 1.0, rates)
    grown = np.where(rates == 0, 2 * time, -np.expm1(-2 * rates * time) / safe)
    return decay[:, None] * start * decay + eps * np.diag(grown)
