"""Exact and reference answers that tests and examples compare a flow with.

Closed forms where there are some, and two computed references whose errors are known: a
finite-volume solution of one-dimensional Fokker-Planck equations, and the radial map of the
aggregation equation.  Nothing here uses the rest of the package.
"""

from __future__ import annotations

import numpy as np

from .arguments import brief, checked_call, integer, number, real_array
from .errors import OptionError

# The aggregation equation's integrator takes steps in proportion to the time.
_LATEST = 1e4

__all__ = [
    "aggregation_minimum",
    "aggregation_radial",
    "barenblatt_scaling",
    "fokker_planck_1d",
    "ornstein_uhlenbeck",
    "quantiles",
    "w2_1d",
    "wasserstein_gaussian",
]


@checked_call
def ornstein_uhlenbeck(A, eps, mean0, cov0, t, b=0):
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
    mean0 = _vector("mean0", mean0)
    A, cov0 = _matrix("A", A, mean0.size), _matrix("cov0", cov0, mean0.size)
    times = _times(t)
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
def wasserstein_gaussian(mean1, cov1, mean2, cov2) -> float:
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
    mean1, mean2 = _vector("mean1", mean1), _vector("mean2", mean2)
    if mean1.shape != mean2.shape:
        raise OptionError("mean2", f"shape {mean2.shape}", f"the shape of mean1, {mean1.shape}")
    root1, root2 = _root("cov1", cov1, mean1.size), _root("cov2", cov2, mean1.size)
    left, _, right = np.linalg.svd(root2.T @ root1)
    return float(
        np.hypot(np.linalg.norm(mean1 - mean2), np.linalg.norm(root1 - root2 @ left @ right))
    )


@checked_call
def barenblatt_scaling(dim, m, t0, t1) -> float:
    """Factor (t1/t0)^beta, beta = 1/(d (m - 1) + 2), of the exact map x -> factor x.

    It carries the Barenblatt solution of d rho/dt = Laplace rho^m from time t0 to time t1
    (J. L. Vazquez, The Porous Medium Equation, Oxford University Press 2007, section 4.4).

    Raises
    ------
    OptionError
        If ``dim`` < 1 or ``m`` <= 1, or a time is not positive.
    """
    dim, m = integer("dim", dim, 1), number("m", m, above=1.0)
    t0, t1 = number("t0", t0, above=0.0), number("t1", t1, above=0.0)
    return (t1 / t0) ** (1 / (dim * (m - 1) + 2))


@checked_call
def aggregation_minimum(dim) -> float:
    """Least value -d/(8 (d + 1)) of E = 1/2 int int W(x, y) rho rho, W = |x-y|^4/4 - |x-y|^2/2.

    Reached exactly where |x - mean|^2 = d/(2 (d + 1)) almost surely and the covariance is
    isotropic: with M the covariance and z = x - mean,
    E = (2 E|z|^4 + 2 (tr M)^2 + 4 tr M^2)/8 - tr M/2, and E|z|^4 >= (tr M)^2, tr M^2 >= (tr M)^2/d.
    """
    dim = integer("dim", dim, 1)
    return -dim / (8 * (dim + 1))


@checked_call
def aggregation_radial(points, t, variance=1.0, quadrature=None):
    """Map points along the aggregation equation from a radially symmetric initial law.

    For W = |x-y|^4/4 - |x-y|^2/2 and a law symmetric about the origin the velocity is
    r' = r (1 - (1 + 2/d) m2 - r^2), m2 = E|x|^2.  Given m2(t) this is a Bernoulli equation, so
    |x(t)|^2 = r^2 A/(1 + r^2 B) with A' = 2 (1 - (1 + 2/d) m2) A and B' = 2 A, where r = |x(0)|
    and m2 = E[r^2 A/(1 + r^2 B)] closes the system: two ordinary differential equations whatever
    the number of points.

    Parameters
    ----------
    points : (n, d) array-like
        Points at time 0, d at least 1.  They are test points; they do not define the law.
    t : float or (T,) array-like
        Strictly ascending times, at least 0.
    variance : float
        The initial law is N(0, variance I), unless ``quadrature`` is given.
    quadrature : (radii, weights), optional
        Another radial initial law: nodes and weights of the law of |x|, weights of sum 1.

    Returns
    -------
    mapped : (n, d) or (T, n, d) array
    second_moment : float or (T,) array
        E|x|^2 of the exact solution, relative error about 1e-12.

    Raises
    ------
    OptionError
        If shapes are wrong, or ``t``, ``variance`` or ``quadrature`` is out of range.
    """
    points = real_array("points", points)
    if points.ndim != 2 or points.shape[1] < 1:
        raise OptionError("points", f"shape {points.shape}", "shape (n, d)")
    times, dim = _times(t), points.shape[1]
    if times.max() > _LATEST:
        fix = "The flow has come to rest in double precision long before."
        raise OptionError("t", brief(t), f"times up to {_LATEST:g}", fix)
    if quadrature is None:
        square, weights = _gaussian_radii(dim, number("variance", variance, above=0.0))
    else:
        if not isinstance(quadrature, tuple | list) or len(quadrature) != 2:
            raise OptionError("quadrature", brief(quadrature), "a pair (radii, weights)")
        radii, weights = (real_array("quadrature", entry) for entry in quadrature)
        square = radii**2
        if radii.ndim != 1 or radii.shape != weights.shape or abs(weights.sum() - 1) > 1e-8:
            given = f"shapes {radii.shape}, {weights.shape}, sum of weights {weights.sum()}"
            raise OptionError("quadrature", given, "two vectors of one length, weights of sum 1")
    growth = _aggregation_growth(dim, square, weights, np.atleast_1d(times))
    squares = np.sum(points**2, axis=1)
    mapped = np.stack([np.sqrt(_contract(*g, squares))[:, None] * points for g in growth])
    moment = np.array([weights @ (square * _contract(*g, square)) for g in growth])
    return (mapped, moment) if times.ndim else (mapped[0], float(moment[0]))


def _contract(log_a, log_b, square):
    """A/(1 + r^2 B) from log A and log(1 + B), which stay finite at all times."""
    # The floor keeps 0 * A = 0 at the origin when A overflows; elsewhere it is invisible.
    floor = np.maximum(np.exp(-log_b), np.finfo(float).tiny)
    return np.exp(log_a - log_b) / (floor - square * np.expm1(-log_b))


def _aggregation_growth(dim, square, weights, times):
    """(log A, log(1 + B)) at the times, a (T, 2) array."""
    from scipy.integrate import solve_ivp

    def rate(_, state):
        moment = weights @ (square * _contract(*state, square))
        return [2 - 2 * (1 + 2 / dim) * moment, 2 * np.exp(state[0] - state[1])]

    run = solve_ivp(
        rate,
        (0.0, times[-1] or 1.0),
        [0.0, 0.0],
        method="DOP853",
        t_eval=times,
        rtol=1e-12,
        atol=1e-13,
    )
    found = np.asarray(run.y).T
    if not run.success or found.shape != (times.size, 2) or not np.all(np.isfinite(found)):
        given = f"an initial law with E|x|^2 = {weights @ square:.6g}"
        raise OptionError("variance", given, "a law of moderate size", "Rescale the points.")
    return found


def _gaussian_radii(dim, variance):
    """Nodes of |x|^2 and weights for N(0, variance I): |x|^2 = 2 variance s, s ~ Gamma(d/2).

    The trapezoidal rule in log s.  Integrands 1/(1 + s B) are singular at distance pi from the
    real line for every B, so that the error stays at round-off at late times, where polynomial
    quadrature fails.
    """
    from scipy.special import gammaln

    shape = dim / 2
    step = min(0.25, 0.7 / np.sqrt(shape))
    low, high = -(42 / shape + 1), np.log1p(42 / shape) + np.sqrt(84 / shape)
    u = np.arange(low, high, step) + np.log(shape)
    weights = step * np.exp(shape * u - np.exp(u) - gammaln(shape))
    return 2 * variance * np.exp(u), weights / weights.sum()


@checked_call
def fokker_planck_1d(potential, eps, density0, t, low, high, cells=4000, tol=1e-9):
    """Solve d rho/dt = (rho V')' + eps rho'' on [low, high] without flux through the ends.

    Space: the Scharfetter-Gummel scheme on cell centres, which keeps mass and sign and has the
    exact steady state exp(-V/eps); second order in the cell width
    (D. L. Scharfetter and H. K. Gummel, IEEE Trans. Electron Devices 16, 1969; for this equation
    J. S. Chang and G. Cooper, J. Comput. Phys. 6, 1970).
    Time: backward Euler with 2, 4, 8, ... steps, extrapolated in Romberg's scheme.  Every backward
    Euler step is positive and does not increase the L1 norm, and the extrapolation weights have
    absolute sum below 8.3: no oscillation grows, however stiff the potential.  Steps are doubled
    until the last two extrapolates differ by less than ``tol`` in L1.

    Parameters
    ----------
    potential, density0 : callable
        Vectorized functions of an array of positions.  ``density0`` has mass 1 on [low, high] up
        to 1e-4, and is normalized there.  Put jumps of it on cell faces.
    eps : float
        Diffusion, positive.
    t : float or (T,) array-like
        Strictly ascending times, at least 0.
    low, high : float
        Ends of the interval; the density should be negligible there.
    cells : int
        Number of cells, at least 8.
    tol : float
        Bound on the estimated time error in L1, of each interval between given times.

    Returns
    -------
    x : (cells,) array
        Cell centres.
    density, cdf : (cells,) or (T, cells) arrays
        Density and cumulative distribution at ``x``.

    Raises
    ------
    OptionError
        If an argument is out of range, ``potential`` or ``density0`` is not finite on the grid,
        ``density0`` has not mass 1 there, or ``tol`` cannot be reached.
    """
    low = number("low", low)
    high = number("high", high, above=low)
    eps, tol = number("eps", eps, above=0.0), number("tol", tol, above=0.0)
    cells, times = integer("cells", cells, 8), _times(t)
    width = (high - low) / cells
    x = low + width * (np.arange(cells) + 0.5)
    density = _on_grid("density0", density0, x)
    mass = density.sum() * width
    if density.min() < 0 or abs(mass - 1) > 1e-4:
        given = f"least value {density.min():.6g}, mass {mass:.6g} on [{low}, {high}]"
        fix = "Normalize it, or widen the interval."
        raise OptionError("density0", given, "a density of mass 1", fix)
    generator = _generator(_on_grid("potential", potential, x), eps, width)
    rows, now, density = [], 0.0, density / mass
    for time in np.atleast_1d(times):
        if time > now:
            density, now = _propagate(generator, density, time - now, width, tol), time
        rows.append(density)
    density = np.stack(rows) if times.ndim else rows[0]
    return x, density, width * (np.cumsum(density, axis=-1) - density / 2)


def _generator(potential, eps, width):
    """Lower, main and upper diagonal of the Scharfetter-Gummel operator with closed ends."""
    jump = np.diff(potential) / eps
    up, down = (eps / width**2 * _bernoulli(z) for z in (jump, -jump))
    main = np.zeros_like(potential)
    main[:-1] -= up
    main[1:] -= down
    return up, main, down


def _bernoulli(z):
    """z/(exp(z) - 1), 1 at 0."""
    with np.errstate(over="ignore"):
        return np.where(z == 0, 1.0, z / np.where(z == 0, 1.0, np.expm1(z)))


def _propagate(generator, density, duration, width, tol):
    """Density after ``duration``: backward Euler, extrapolated until the change is below tol."""
    rows, change = [], np.inf
    for level in range(1, 14):
        row = [_backward_euler(generator, density, duration, 2**level)]
        for order, coarse in enumerate(rows, start=1):
            row.append(row[-1] + (row[-1] - coarse) / (2**order - 1))
        if rows:
            change = np.abs(row[-1] - rows[-1]).sum() * width
        if change < tol:
            # Extrapolation leaves negative values of the size of its error in empty tails.
            positive = np.maximum(row[-1], 0.0)
            return positive / (positive.sum() * width)
        rows = row
    fix = "Give intermediate times, a larger tol, or a narrower interval."
    raise OptionError("tol", tol, f"at least the error reached, {change:.3g}", fix)


def _backward_euler(generator, density, duration, steps):
    """Backward Euler on times duration (k/steps)^2: short steps first, where modes are fast."""
    from scipy.linalg.lapack import dgtsv

    lower, main, upper = generator
    for k in range(1, steps + 1):
        dt = duration * (2 * k - 1) / steps**2
        *_, density, failed = dgtsv(-dt * lower, 1 - dt * main, -dt * upper, density)
        if failed:
            raise OptionError("potential", "a singular time step", "a finite potential")
    return density


@checked_call
def quantiles(x, cdf, levels):
    """Quantiles of a distribution given by its cumulative distribution at ascending positions.

    Linear interpolation; levels beyond the given range get the first or last position.

    Parameters
    ----------
    x, cdf : (k,) array-like
        Strictly ascending positions and non-descending values.
    levels : array-like
        Probabilities, any shape.

    Returns
    -------
    array of the shape of ``levels``
    """
    x, cdf, levels = real_array("x", x), real_array("cdf", cdf), real_array("levels", levels)
    if (
        not x.size
        or x.ndim != 1
        or x.shape != cdf.shape
        or np.any(np.diff(x) <= 0)
        or np.any(np.diff(cdf) < 0)
    ):
        given = f"shapes {x.shape} and {cdf.shape}"
        raise OptionError("x, cdf", given, "ascending positions and non-descending values at them")
    return np.interp(levels, cdf, x)


@checked_call
def w2_1d(samples, x, cdf) -> float:
    """Wasserstein-2 distance of a sample from a distribution on the line, by quantiles.

    W2^2 = int_0^1 (F^-1 - G^-1)^2 (C. Villani, Topics in Optimal Transportation, AMS 2003,
    theorem 2.18) with the midpoint rule at levels (i - 1/2)/n: the i-th smallest sample is
    compared with the quantile there, so that a sample of exact quantiles gives 0.

    Parameters
    ----------
    samples : (n,) array-like
        In any order.
    x, cdf : (k,) array-like
        As :func:`fokker_planck_1d` returns them.

    Raises
    ------
    OptionError
        If shapes are wrong, or ``x`` or ``cdf`` does not ascend.
    """
    samples = real_array("samples", samples)
    if samples.ndim != 1 or not samples.size:
        raise OptionError("samples", f"shape {samples.shape}", "shape (n,), n at least 1")
    samples = np.sort(samples)
    levels = (np.arange(samples.size) + 0.5) / samples.size
    return float(np.sqrt(np.mean((samples - quantiles(x, cdf, levels)) ** 2)))


def _on_grid(name, function, x):
    accepted = "a vectorized function of an array of positions"
    if not callable(function):
        raise OptionError(name, brief(function), accepted)
    try:
        values = function(x)
    except Exception as error:  # what was given is anybody's function
        raise OptionError(name, f"a function that raises {error!r}", accepted) from error
    values = real_array(name, values, finite=False, accepted=f"{accepted}, real")
    if values.shape not in ((), x.shape):
        raise OptionError(name, f"a function with values of shape {values.shape}", accepted)
    values = np.broadcast_to(values, x.shape)
    if not np.all(np.isfinite(values)):
        where = x[np.argmin(np.isfinite(values))]
        raise OptionError(name, f"a value that is not finite at {where:.6g}", "a finite function")
    return values


def _times(t):
    times = real_array("t", t)
    if (
        times.ndim > 1
        or not times.size
        or times.min() < 0
        or np.any(np.diff(np.atleast_1d(times)) <= 0)
    ):
        raise OptionError(
            "t", brief(t), "a finite time of at least 0, or a strictly ascending list"
        )
    return times


def _vector(name, value):
    vector = np.atleast_1d(real_array(name, value))
    if vector.ndim != 1 or not vector.size:
        raise OptionError(name, f"shape {vector.shape}", "shape (d,), d at least 1")
    return vector


def _matrix(name, value, dim):
    matrix = real_array(name, value)
    if matrix.ndim < 2 and matrix.shape in ((), (dim,)):
        matrix = np.diag(np.broadcast_to(matrix, (dim,)))
    if matrix.shape != (dim, dim):
        raise OptionError(name, f"shape {matrix.shape}", f"a number, ({dim},) or ({dim}, {dim})")
    if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-10 * np.max(np.abs(matrix))):
        raise OptionError(name, "a matrix that is not symmetric", "a finite symmetric matrix")
    return (matrix + matrix.T) / 2


def _root(name, cov, dim):
    """A square root S with S S' = cov of a non-negative matrix."""
    values, basis = np.linalg.eigh(_matrix(name, cov, dim))
    if values[0] < -1e-12 * max(abs(values[-1]), 1e-300):
        raise OptionError(name, f"smallest eigenvalue {values[0]:.6g}", "a non-negative matrix")
    return basis * np.sqrt(np.maximum(values, 0.0))
