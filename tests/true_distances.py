"""True distances of a computed law from that of a flow with an exact answer, from below.

W2 and W1 come from marginals along an orthonormal basis: W2^2 is at least the sum of their W2^2,
W1 at least the largest of their W1.  Both laws are seen at the same points z, whose noise they
share.  KL and TV are means of non-negative functions of the ratio r of both densities, which has
the mean 1 under the computed law: KL = E(r - 1 - log r), TV = E|r - 1|/2.
"""

import functools

import numpy as np
from scipy.interpolate import make_interp_spline

from pwgf_sym.benchmarks import truths
from pwgf_sym.exact import fokker_planck_1d

POINTS = 1 << 15


def true_distances(row, solution, t, seed=0):
    """Distances by name, and "map": that of the Lagrangian maps, which is at least W2."""
    z = row.points(POINTS, seed)
    mine, other = solution.push(z, t), row.exact(z, t)
    gap = mine - other
    found = {"map": np.sqrt(np.mean(np.sum(gap**2, axis=1)))}
    basis = np.linalg.eigh(gap.T @ gap)[1]
    apart = np.sort(mine @ basis, axis=0) - np.sort(other @ basis, axis=0)
    found["W2"] = np.sqrt(np.mean(np.sum(apart**2, axis=1)))
    found["W1"] = np.abs(apart).mean(axis=0).max()
    if row.sigma:
        program = solution.program
        samples = program.samples(z)
        state = program.push(solution.path(t), samples, "log_density")
        own = program.unpack_scalar(state.log_density, samples)
        log_ratio = log_density(row, mine, t) - own
        excess = np.expm1(log_ratio)
        found["KL"] = np.mean(excess - log_ratio)
        found["TV"] = np.mean(np.abs(excess)) / 2
    return found


def log_density(row, x, t):
    """Exact log densities at points (n, d)."""
    truth = row.truth
    if isinstance(truth, truths.Affine):
        mean, cov = truth.moments(t)
        gap = x - mean
        square = np.sum(gap * np.linalg.solve(cov, gap.T).T, axis=1)
        return -(square + np.linalg.slogdet(2 * np.pi * cov)[1]) / 2
    return sum(_line(part, t)(q) for part, q in zip(truth.parts, x.T, strict=True))


@functools.cache
def _line(part, t):
    """The log density of one coordinate; where it is not resolved it goes on like a Gaussian's."""
    x, density, _ = fokker_planck_1d(
        part.potential, part.eps, part.density, t, part.low, part.high, cells=4000, tol=1e-10
    )
    inside = density > 1e-9
    x, logs = x[inside], np.log(density[inside])
    assert np.diff(x).max() < 1.5 * np.diff(x).min()  # one interval
    spline = make_interp_spline(x, logs)
    return lambda q: spline(np.clip(q, x[0], x[-1]))
