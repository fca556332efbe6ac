"""Krylov methods whose vectors and coefficients stay on the device.

The functions take and give what those of SciPy and of ``pwgf_sym.solver.lsmr`` do, with
:class:`.vectors.Vector` in place of arrays.  Between two products one or two kernels of one block
do all that an iteration does with vectors of parameters, its coefficients included; the host reads
what its stopping test needs, and nothing else.  While it waits for that, the device is at the next
product already: the last of these is for nothing.
"""

from __future__ import annotations

import math

import numpy as np

from ...runtime.cuda.blocks import block_sum
from ...runtime.cuda.toolkit import cuda, device
from .launch import launch
from .report import Report
from .vectors import Vector, block_dot, vector_threads

__all__ = ["cg", "lsmr", "minres"]

# Least diagonal of MINRES' triangular factor, as SciPy has it.
_EPS = float(np.finfo(np.float64).eps)


# -- conjugate gradients -----------------------------------------------------------------------


@device
def whole(shares, room):
    """Sum of what the blocks of a launch have found; all threads get it."""
    value = 0.0
    for k in range(cuda.threadIdx.x, shares.size, cuda.blockDim.x):
        value += shares[k]
    return block_sum(value, room)


@cuda.jit
def cg_direction(z, p, products, squares, rho, turn: int, size):
    """p = z + (rho / rho before) p, p = z in the first iteration, rho = r.z; |r|.

    Two numbers rho take turns: no block overwrites what another one has still to read.
    """
    room = cuda.shared.array(1024, np.float64)
    total, square = whole(products, room), whole(squares, room)
    ratio = total / rho[turn] if rho[turn] != 0.0 else 0.0
    for e in range(cuda.grid(1), z.size, cuda.gridsize(1)):
        p[e] = z[e] + ratio * p[e]
    if cuda.grid(1) == 0:
        rho[1 - turn], size[0] = total, math.sqrt(square)


@cuda.jit
def cg_step(p, q, products, rho, turn: int, x, r, squares):
    """alpha = rho / p.q;  x += alpha p;  r -= alpha q;  the block's share of r.r."""
    room = cuda.shared.array(1024, np.float64)
    alpha, value = rho[1 - turn] / whole(products, room), 0.0
    for e in range(cuda.grid(1), p.size, cuda.gridsize(1)):
        x[e] += alpha * p[e]
        r[e] -= alpha * q[e]
        value += np.float64(r[e]) * np.float64(r[e])
    total = block_sum(value, room)
    if cuda.threadIdx.x == 0:
        squares[cuda.blockIdx.x] = total


def cg(apply, right: Vector, *, rtol, atol=0.0, maxiter: int, M=None, callback=None):
    """Conjugate gradients from zero: the iterates of ``scipy.sparse.linalg.cg``.

    Parameters
    ----------
    apply, M : callable
        The operator and the preconditioner, (p,) -> (p,).
    right : Vector
        (p,) float64.
    rtol, atol, maxiter
        The end: |r| <= max(rtol |b|, atol), or so many iterations.
    callback : callable, optional
        Called with the iterate, which the next iteration overwrites.

    Returns
    -------
    x : Vector
    info : int
        0, or the iterations where they were not enough.
    """
    x, p = Vector.zeros(right.size, np.float64), Vector.zeros(right.size, np.float64)
    r, rho = right.copy(), Vector.zeros(2, np.float64)
    size, blocks, threads = math.sqrt(right.dot(right)), right.blocks, vector_threads()
    aim = max(rtol * size, atol)
    if size <= aim or maxiter < 1:
        return x, 0 if size <= aim else maxiter
    left, squares = Report.kept(1), r.shares(r)
    for iteration in range(maxiter):
        z, turn = r if M is None else M(r), iteration % 2
        products = squares if M is None else r.shares(z)
        launch(cg_direction, blocks, threads, z, p, products, squares, rho, turn, left.vector)
        left.sent()
        q = apply(p)
        size = left.read()[0]
        if size <= aim:
            break
        launch(cg_step, blocks, threads, p, q, p.shares(q), rho, turn, x, r, squares)
        if callback is not None:
            callback(x)
    else:
        size = math.sqrt(r.dot(r))
    left.give_back()
    return x, 0 if size <= aim else maxiter


# -- MINRES ------------------------------------------------------------------------------------

_ALFA, _BETA, _OLD_BETA, _DBAR, _EPSLN, _COS, _SIN, _PHIBAR = range(8)


@cuda.jit
def minres_lanczos(av, v, old, new, c):
    """old becomes A v - (beta / old beta) old - (alfa / beta) new, alfa = v.A v."""
    lane, threads = cuda.threadIdx.x, cuda.blockDim.x
    room = cuda.shared.array(1024, np.float64)
    beta = c[_BETA]
    ratio = beta / c[_OLD_BETA] if c[_OLD_BETA] != 0.0 else 0.0
    value = 0.0
    for e in range(lane, v.size, threads):
        old[e] = av[e] - ratio * old[e]
        value += v[e] * old[e]
    alfa = block_sum(value, room)
    ratio = alfa / beta if beta != 0.0 else 0.0
    for e in range(lane, v.size, threads):
        old[e] -= ratio * new[e]
    if lane == 0:
        c[_ALFA] = alfa


@cuda.jit
def minres_step(r, y, v, w_old, w, x, c):
    """Next beta, rotation and direction, which takes the place of w_old;  x += phi w;  next v."""
    lane, threads = cuda.threadIdx.x, cuda.blockDim.x
    room = cuda.shared.array(1024, np.float64)
    total = block_dot(r, y, room)
    beta = math.sqrt(total) if total > 0.0 else 0.0 * total  # NaN stays visible
    old_eps, dbar, cos, sin = c[_EPSLN], c[_DBAR], c[_COS], c[_SIN]
    delta = cos * dbar + sin * c[_ALFA]
    gbar = sin * dbar - cos * c[_ALFA]
    gamma = max(math.sqrt(gbar * gbar + beta * beta), _EPS)
    phi = gbar / gamma * c[_PHIBAR]
    scale = 1.0 / beta if beta != 0.0 else 0.0
    for e in range(lane, r.size, threads):
        direction = (v[e] - old_eps * w_old[e] - delta * w[e]) / gamma
        w_old[e] = direction
        x[e] += phi * direction
        v[e] = scale * y[e]
    cuda.syncthreads()  # all have read the coefficients
    if lane == 0:
        c[_OLD_BETA], c[_BETA] = c[_BETA], beta
        c[_EPSLN], c[_DBAR] = sin * beta, -cos * beta
        c[_COS], c[_SIN], c[_PHIBAR] = gbar / gamma, beta / gamma, beta / gamma * c[_PHIBAR]


def minres(apply, right: Vector, *, rtol: float = 0.0, maxiter: int, M=None, callback=None):
    """MINRES from zero: the iterates of ``scipy.sparse.linalg.minres``; ``callback`` stops it.

    C. C. Paige and M. A. Saunders, SIAM J. Numer. Anal. 12 (1975) 617-629.  ``rtol`` is there for
    the interface: no residual is looked at.  Arguments and results as of :func:`cg`.
    """
    size, threads = right.size, vector_threads()
    x, w_old, w = (Vector.zeros(size, np.float64) for _ in range(3))
    old, new = Vector.zeros(size, np.float64), right.copy()
    y = new if M is None else M(new)
    beta = math.sqrt(new.dot(y))
    v, c = y / beta, np.zeros(8)
    c[_BETA], c[_COS], c[_PHIBAR] = beta, -1.0, beta
    c = Vector.of(c, np.float64)
    for _ in range(maxiter):
        launch(minres_lanczos, 1, threads, apply(v), v, old, new, c)
        old, new = new, old
        y = new if M is None else M(new)
        launch(minres_step, 1, threads, new, y, v, w_old, w, x, c)
        w_old, w = w, w_old
        if callback is not None:
            callback(x)
    return x, maxiter


# -- LSMR --------------------------------------------------------------------------------------

_L_ALPHA, _L_BETA, _ALPHABAR, _L_RHO, _RHOBAR, _CBAR, _SBAR, _ZETABAR, _SIZE2 = range(9)


@cuda.jit
def lsmr_left(u, image, weights, weighted, sums, c):
    """u = A v - (alpha / beta) u, not of length one; w u; the block's share of |u|_w^2."""
    room = cuda.shared.array(1024, np.float64)
    ratio, value = c[_L_ALPHA] / c[_L_BETA], 0.0
    for e in range(cuda.grid(1), u.size, cuda.gridsize(1)):
        u[e] = image[e] - ratio * u[e]
        weighted[e] = weights[e] * u[e]
        value += np.float64(u[e]) * np.float64(weighted[e])
    total = block_sum(value, room)
    if cuda.threadIdx.x == 0:
        sums[cuda.blockIdx.x] = total


@cuda.jit
def lsmr_right(image, v, h, hbar, x, sums, c, seen, damp: float):
    """Next beta, v = A^T u / beta - beta v, alpha, the three rotations, and the iterate.

    The coefficients go to ``seen``, too.
    """
    lane, threads = cuda.threadIdx.x, cuda.blockDim.x
    room = cuda.shared.array(1024, np.float64)
    beta = 0.0
    for block in range(sums.size):
        beta += sums[block]
    beta, value = math.sqrt(beta), 0.0
    if beta != 0.0:
        for e in range(lane, v.size, threads):
            v[e] = image[e] / beta - beta * v[e]
            value += v[e] * v[e]
    alpha = math.sqrt(block_sum(value, room))
    rho_old, rhobar_old, zetabar = c[_L_RHO], c[_RHOBAR], c[_ZETABAR]
    alphahat = math.sqrt(c[_ALPHABAR] * c[_ALPHABAR] + damp * damp)
    rho = math.sqrt(alphahat * alphahat + beta * beta)
    theta, alphabar = beta / rho * alpha, alphahat / rho * alpha
    theta_bar, turned = c[_SBAR] * rho, c[_CBAR] * rho
    rhobar = math.sqrt(turned * turned + theta * theta)
    cbar, sbar = turned / rhobar, theta / rhobar
    back = theta_bar * rho / (rho_old * rhobar_old)
    for e in range(lane, v.size, threads):
        if alpha != 0.0:
            v[e] /= alpha
        hbar[e] = h[e] - back * hbar[e]
        x[e] += cbar * zetabar / (rho * rhobar) * hbar[e]
        h[e] = v[e] - theta / rho * h[e]
    cuda.syncthreads()  # all have read the coefficients
    if lane == 0:
        c[_L_ALPHA], c[_L_BETA], c[_ALPHABAR] = alpha, beta, alphabar
        c[_L_RHO], c[_RHOBAR], c[_CBAR], c[_SBAR] = rho, rhobar, cbar, sbar
        c[_ZETABAR], c[_SIZE2] = -sbar * zetabar, c[_SIZE2] + alpha * alpha + beta * beta
        for k in range(c.size):
            seen[k] = c[k]


class _Residual:
    """|b - A x| of LSMR's iterates without damping, from its coefficients.

    D. C.-L. Fong and M. A. Saunders, SIAM J. Sci. Comput. 33 (2011) 2950-2971, section 5.
    """

    def __init__(self, beta: float):
        self.turned, self.kept, self.zeta = beta, 0.0, 0.0
        self.rho, self.theta, self.tau = 1.0, 0.0, 0.0

    def next(self, before: np.ndarray, now: np.ndarray) -> float:
        """The norm after an iteration, from the coefficients before and after it."""
        rho, bar, theta = now[_L_RHO], now[_RHOBAR], self.theta
        hat, self.turned = before[_ALPHABAR] / rho * self.turned, -now[_L_BETA] / rho * self.turned
        over = before[_SBAR] * rho
        length = math.hypot(self.rho, over)
        cos, sin = self.rho / length, over / length
        self.theta, self.rho = sin * bar, cos * bar
        self.kept = cos * hat - sin * self.kept
        self.tau = (self.zeta - theta * self.tau) / length
        self.zeta = now[_CBAR] * before[_ZETABAR]
        missed = self.kept - (self.zeta - self.theta * self.tau) / self.rho
        return math.hypot(missed, self.turned)


def lsmr(
    forward,
    adjoint,
    target: Vector,
    weights: Vector | None,
    *,
    damp,
    tolerance,
    max_iterations,
    eps,
    by_residual: bool = False,
):
    """Minimize |A x - target|_w^2 + damp^2 |x|^2 from x = 0; see :func:`pwgf_sym.solver.lsmr.lsmr`.

    Without ``weights`` all are 1.  With ``by_residual``, which takes no damping, the tolerance is
    that of |target - A x|_w, as in ``scipy.sparse.linalg.lsmr`` with a tolerance for b alone.

    Returns
    -------
    x : Vector
        (p,) float64.
    iterations : int
    floor : float
    """
    weights = Vector.full(target.size, 1.0, target.dtype) if weights is None else weights
    u, weighted = target.copy(), weights * target
    length = beta = math.sqrt(u.dot(weighted))
    v = adjoint(weighted) / beta
    alpha = math.sqrt(v.dot(v))
    v /= alpha
    x, h, hbar = Vector.zeros(v.size, np.float64), v.copy(), Vector.zeros(v.size, np.float64)
    start, c = alpha * beta, np.zeros(9)
    c[[_L_ALPHA, _L_BETA, _ALPHABAR, _ZETABAR, _SIZE2]] = alpha, beta, alpha, start, alpha * alpha
    c[[_L_RHO, _RHOBAR, _CBAR]] = 1.0
    now, residual, report = c, _Residual(beta), Report.kept(9)
    c = Vector.of(c, np.float64)
    blocks, threads = u.blocks, vector_threads()
    sums = Vector.zeros(blocks, np.float64)

    def enough() -> bool:
        """Whether the iteration whose coefficients come next is the last."""
        nonlocal now, floor
        before, now = now, report.read()
        size, gradient = math.sqrt(now[_SIZE2]), abs(now[_ZETABAR])
        floor = eps * size * length
        if not by_residual:
            return gradient <= max(tolerance * start, floor)
        left = residual.next(before, now)
        return left <= tolerance * length or gradient <= eps * size * left

    iteration, floor = 0, 0.0
    while iteration < max_iterations:
        image = forward(v)
        if iteration and enough():
            break
        launch(lsmr_left, blocks, threads, u, image, weights, weighted, sums, c)
        image = adjoint(weighted)
        launch(lsmr_right, 1, threads, image, v, h, hbar, x, sums, c, report.vector, damp)
        report.sent()
        iteration += 1
    else:
        if iteration:
            enough()
    report.give_back()
    return x, iteration, floor
