"""Fokker-Planck equation with a Styblinski-Tang potential in the plane."""

import numpy as np
import sympy as sp
from schemes import compare

import pwgf_sym as pw

x = pw.coordinates(2)
rho = pw.Density(x)


def well(q):
    return (q**4 - 16 * q**2 + 5 * q) * 3 / 50


V = sum(well(q) for q in x)
problem = pw.GradientFlow(
    pw.integral(V * rho + rho * sp.log(rho), x), rho, initial=pw.Gaussian([0, 0], 1.0)
)


def exact(z, t=1.0):
    """On the line positions keep their order: quantiles of the start go to those at t."""
    from scipy.stats import norm

    grid, _, cdf = pw.exact.fokker_planck_1d(well, 1.0, norm.pdf, t, -8.0, 8.0)
    return np.stack([np.interp(norm.cdf(column), cdf, grid) for column in z.T], axis=1)


if __name__ == "__main__":
    compare(problem, pw.NeuralFlow(2, 16, 4), (0, 1), exact, "fokker_planck")
