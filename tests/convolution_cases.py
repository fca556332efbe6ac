"""Energies with integrals inside integrals, and the means over samples that they are, in NumPy.

Means take points (N, d), complex too, so that their derivatives are complex steps.
"""

from typing import NamedTuple

import numpy as np
import sympy as sp

import pwgf_sym as pw

STEP = 1e-30
BETA = sp.Symbol("beta", positive=True)


def copies(dim):
    x = pw.coordinates(dim)
    return x, pw.copy_of(x), pw.Density(x)


def square(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def convolution(kernel, rho, y):
    return pw.integral(kernel * rho.at(y), y)


class Case(NamedTuple):
    """An energy of rho, and of points (N, d) the mean that it is, complex too."""

    energy: object
    mean: object


def pairs(points, function):
    """K(x_n, x_m), (N, N); coordinates on the first axis."""
    return function(points.T[:, :, None], points.T[:, None, :])


def gauss(x, y):
    return np.exp(-((x - y) ** 2).sum(0))


def slanted(x, y):
    return np.exp(-((x - y) ** 2).sum(0) + y[0] / 2) * (2 + np.sin(y[0] - 2 * x[0]))


def cases(dim):
    x, y, rho = copies(dim)
    one = sp.exp(-square(x, y))
    other = sp.exp(-square(x, y) + y[0] / 2) * (2 + sp.sin(y[0] - 2 * x[0]))
    c, e = convolution(one, rho, y), convolution(other, rho, y)
    well = sum(s**2 for s in x) / 2
    cosine = pw.integral(sp.cos(x[0] - y[0]) * rho * rho.at(y), x, y)

    def apart(points):
        """Mean over pairs of different samples."""
        count = len(points)
        found = pairs(points, lambda x, y: np.cos(x[0] - y[0])).sum() - count
        return found / (count * (count - 1))

    def value(points, function):
        return pairs(points, function).mean(1)

    return {
        "log": Case(pw.integral(rho * sp.log(c), x), lambda p: np.log(value(p, gauss)).mean()),
        "asymmetric": Case(
            pw.integral(rho * sp.log(e), x), lambda p: np.log(value(p, slanted)).mean()
        ),
        "root": Case(
            pw.integral(rho * well * sp.sqrt(e), x),
            lambda p: ((p**2).sum(1) / 2 * np.sqrt(value(p, slanted))).mean(),
        ),
        "two": Case(
            pw.integral(rho * c * e, x) + pw.integral(rho * sp.log(c + 2 * e), x),
            lambda p: (
                value(p, gauss) * value(p, slanted)
                + np.log(value(p, gauss) + 2 * value(p, slanted))
            ).mean(),
        ),
        "function of integrals": Case(
            pw.integral(rho * sp.log(c), x) ** 2 * pw.integral(well * rho, x),
            lambda p: np.log(value(p, gauss)).mean() ** 2 * (p**2).sum(1).mean() / 2,
        ),
        "beside an interaction": Case(
            pw.integral(rho * c, x) / 2 + cosine,
            lambda p: value(p, gauss).mean() / 2 + apart(p),
        ),
        "parameter": Case(
            pw.integral(rho * sp.log(convolution(sp.exp(-BETA * square(x, y)), rho, y)), x),
            lambda p: np.log(value(p, lambda x, y: np.exp(-0.75 * ((x - y) ** 2).sum(0)))).mean(),
        ),
    }


def problem(energy, dim):
    used = {BETA: 0.75} if BETA in energy.free_symbols else {}
    return pw.GradientFlow(energy, copies(dim)[2], pw.Gaussian(np.zeros(dim), 1.0), used)


def descent(mean, points):
    """-N dE/dx_n by complex steps, (N, d)."""
    found = np.zeros_like(points)
    for place in np.ndindex(*points.shape):
        moved = points.astype(complex)
        moved[place] += 1j * STEP
        found[place] = -len(points) * mean(moved).imag / STEP
    return found
