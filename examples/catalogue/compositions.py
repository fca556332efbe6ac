"""Functions of several integrals, and flows with a drift or a mobility."""

import numpy as np
import sympy as sp

import pwgf_sym as pw

from .checks import energy_is, flows, gaussian, moves, stationary, velocity_is
from .entry import entry

FAMILY = "Functions of integrals, drifts, mobilities"


@entry(
    "Determinant of the covariance",
    dim=2,
    box=(-8, 10),
    source="Garbuno-Inigo et al. 2020; Burger et al. 2024",
    exact=velocity_is(
        "the velocity at N(1, diag(1, 1/2)) is -C^-1 (x - 1)",
        lambda x: gaussian(x, 1, [1, sp.Rational(1, 2)]),
        lambda z: -(z - 1) * np.array([1, 2]),
    ),
)
def log_det(x, y, rho):
    """Half the logarithm of det C."""
    m = [pw.integral(s * rho, x) for s in x]
    C = sp.Matrix(2, 2, lambda i, j: pw.integral(x[i] * x[j] * rho, x) - m[i] * m[j])
    return sp.log(C[0, 0] * C[1, 1] - C[0, 1] ** 2) / 2


@entry(
    "Negentropy",
    box=(-14, 16),
    source="Hyvarinen and Oja 2000; Toscani 1999",
    exact=stationary("every Gaussian is stationary", lambda x: gaussian(x, 1, 2)),
)
def negentropy(x, y, rho):
    """Entropy relative to the Gaussian of the same moments."""
    mean = pw.integral(x[0] * rho, x)
    variance = pw.integral(x[0] ** 2 * rho, x) - mean**2
    return pw.integral(rho * sp.log(rho), x) + sp.log(variance) / 2


@entry(
    "Kurtosis",
    source="Hyvarinen and Oja 2000",
    exact=velocity_is(
        "the velocity at N(0, 1) is -4 x^3 + 12 x",
        lambda x: gaussian(x),
        lambda x: -4 * x**3 + 12 * x,
    ),
)
def kurtosis(x, y, rho):
    """A quotient of integrals."""
    return pw.integral(x[0] ** 4 * rho, x) / pw.integral(x[0] ** 2 * rho, x) ** 2


@entry(
    "Matching of moments",
    source="Hansen 1982",
    exact=energy_is("of N(2, 1): (2 - 1)^2 + (5 - 2)^2", lambda x: gaussian(x, 2, 1), 10.0),
)
def moments(x, y, rho):
    """Squares of integrals."""
    first, second = pw.integral(x[0] * rho, x), pw.integral(x[0] ** 2 * rho, x)
    return (first - 1) ** 2 + (second - 2) ** 2


@entry(
    "Entropic risk",
    source="Foellmer and Schied 2016",
    given={"lambda": 0.5},
    exact=energy_is("of N(1, 1), lambda = 1/2: 1 + 1/4", lambda x: gaussian(x, 1, 1), 1.25),
)
def entropic_risk(x, y, rho):
    """log E exp(lambda x)/lambda."""
    aversion = sp.Symbol("lambda", positive=True)
    return sp.log(pw.integral(sp.exp(aversion * x[0]) * rho, x)) / aversion


@entry(
    "Renyi entropy",
    source="Renyi 1961",
    exact=energy_is(
        "of N(0, 1), order 2: -log(4 pi)/2", lambda x: gaussian(x), -np.log(4 * np.pi) / 2
    ),
)
def renyi_entropy(x, y, rho):
    """log int rho^2: porous medium flow with a clock of its own."""
    return sp.log(pw.integral(rho**2, x))


@entry(
    "Root of an interaction",
    source="Szekely and Rizzo 2013 (the distance, not its square)",
    exact=energy_is("of N(0, 1): 3^(-1/4)", lambda x: gaussian(x), 3**-0.25),
)
def root(x, y, rho):
    """The norm that a kernel gives a density: sqrt of a double integral."""
    k = sp.exp(-sum((a - b) ** 2 for a, b in zip(x, y)) / 2)
    return sp.sqrt(pw.integral(k * rho * rho.at(y), x, y))


def turned(z):
    """The Lagrangian map from N((2, 0), I/2) to t = 1/2, a turn by 3/2."""
    c, s = np.cos(1.5), np.sin(1.5)
    wider = np.sqrt(2 - np.exp(-1))
    return (np.exp(-0.5) * np.array([2, 0]) + wider * (z - [2, 0])) @ np.array([[c, s], [-s, c]])


@entry(
    "Circulation",
    dim=2,
    source="Lelievre, Nier and Pavliotis 2013",
    law=pw.Gaussian([2.0, 0.0], 0.5),
    exact=flows(
        "the Lagrangian map to t = 1/2: the mean turns, the variance goes to 1",
        turned,
        end=0.5,
        limit=1e-6,
    ),
)
def circulation(x, y, rho):
    """Ornstein-Uhlenbeck with the drift (-3 x1, 3 x0), which is no gradient."""
    E = pw.integral(sum(s**2 for s in x) / 2 * rho + rho * sp.log(rho), x)
    return E, {"drift": [-3 * x[1], 3 * x[0]]}


@entry(
    "Exclusion",
    source="Burger, Di Francesco, Pietschmann and Schlake 2010",
    exact=moves(
        "with this entropy the velocity is that of the heat equation",
        lambda z: (z - 0.3) / 0.7,
    ),
)
def exclusion(x, y, rho):
    """The mobility rho (1 - rho): particles leave no room for others."""
    E = pw.integral(rho * sp.log(rho) + (1 - rho) * sp.log(1 - rho), x)
    return E, {"mobility": rho * (1 - rho)}


@entry(
    "Nonlinear mobility",
    source="Dolbeault, Nazaret and Savare 2009",
    exact=moves(
        "grad rho over sqrt(rho): the velocity is (x - m) sqrt(rho)/v",
        lambda z: (z - 0.3) / 0.7 * np.sqrt(np.exp(-((z - 0.3) ** 2) / 1.4) / np.sqrt(1.4 * np.pi)),
    ),
)
def nonlinear_mobility(x, y, rho):
    """Half int rho^2 with the mobility sqrt(rho): a porous medium equation with m = 3/2."""
    return pw.integral(rho**2, x) / 2, {"mobility": sp.sqrt(rho)}
