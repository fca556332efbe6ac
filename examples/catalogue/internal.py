"""Functions of the density, and divergences from a target."""

import numpy as np
import sympy as sp

import pwgf_sym as pw

from .checks import T, energy_is, gaussian, solves, stationary, velocity_is
from .entry import entry

FAMILY = "Internal energies and divergences"


def barenblatt(m):
    """The self-similar solution of the porous medium equation on the line, inside its support."""
    m = sp.nsimplify(m)
    power = 1 / (m + 1)
    k = power * (m - 1) / (2 * m)

    def density(x):
        return T**-power * (1 - k * x[0] ** 2 * T ** (-2 * power)) ** (1 / (m - 1))

    return density


@entry(
    "Boltzmann entropy",
    source="Jordan, Kinderlehrer and Otto 1998",
    exact=solves("N(0, 1 + 2 t) solves the equation", lambda x: gaussian(x, 0, 1 + 2 * T)),
)
def boltzmann(x, y, rho):
    """The heat equation."""
    return pw.integral(rho * sp.log(rho), x)


@entry(
    "Porous medium, m = 2",
    source="Otto 2001",
    exact=solves("Barenblatt's profile solves the equation", barenblatt(2)),
)
def porous_medium_2(x, y, rho):
    """Tsallis' entropy, d rho/dt = Laplace rho^2."""
    return pw.integral(rho**2, x)


@entry(
    "Porous medium, m = 3",
    source="Otto 2001",
    exact=solves("Barenblatt's profile solves the equation", barenblatt(3)),
)
def porous_medium_3(x, y, rho):
    """d rho/dt = Laplace rho^3."""
    return pw.integral(rho**3 / 2, x)


@entry(
    "Fast diffusion, m = 1/2",
    source="Otto 2001; Carrillo and Vazquez 2003",
    exact=solves("the profile with heavy tails solves the equation", barenblatt(0.5)),
)
def fast_diffusion(x, y, rho):
    """d rho/dt = Laplace sqrt(rho): mass spreads faster than heat."""
    m = sp.Rational(1, 2)
    return pw.integral(rho**m / (m - 1), x)


@entry(
    "Kullback-Leibler divergence",
    source="Jordan, Kinderlehrer and Otto 1998",
    exact=energy_is(
        "of N(1, 1/2) from N(0, 1): log(2)/2 + 1/4",
        lambda x: gaussian(x, 1, sp.Rational(1, 2)),
        np.log(2) / 2 + 0.25,
    ),
)
def kullback_leibler(x, y, rho):
    """KL(rho | pi), the Fokker-Planck equation of pi."""
    pi = sp.exp(-sum(s**2 for s in x) / 2) / sp.sqrt(2 * sp.pi) ** len(x)
    return pw.integral(rho * sp.log(rho / pi), x)


@entry(
    "Reverse Kullback-Leibler divergence",
    source="Minka 2001; Amari 2016",
    law=pw.Gaussian([0.3], 1.8),
    exact=energy_is(
        "of N(1, 2) from N(0, 1): log(2)/2",
        lambda x: gaussian(x, 1, 2),
        np.log(2) / 2 + (1 + 1) / 4 - 0.5,
    ),
)
def reverse_kullback_leibler(x, y, rho):
    """KL(pi | rho), the forward divergence of expectation propagation."""
    pi = sp.exp(-sum(s**2 for s in x) / 2) / sp.sqrt(2 * sp.pi) ** len(x)
    return pw.integral(pi * sp.log(pi / rho), x)


@entry(
    "Chi-squared divergence",
    source="Chewi et al. 2020 (Laplacian adjusted Wasserstein)",
    exact=energy_is(
        "of N(1, 1/2) from N(0, 1): 2 exp(2/3)/sqrt(3) - 1",
        lambda x: gaussian(x, 1, sp.Rational(1, 2)),
        2 * np.exp(2 / 3) / np.sqrt(3) - 1,
    ),
)
def chi_squared(x, y, rho):
    """int rho^2/pi - 1."""
    pi = sp.exp(-sum(s**2 for s in x) / 2) / sp.sqrt(2 * sp.pi) ** len(x)
    return pw.integral(rho**2 / pi, x) - 1


@entry(
    "Squared Hellinger distance",
    source="Amari 2016",
    exact=energy_is(
        "of N(1, 1) and N(0, 1): 2 - 2 exp(-1/8)",
        lambda x: gaussian(x, 1, 1),
        2 - 2 * np.exp(-1 / 8),
    ),
)
def hellinger(x, y, rho):
    """int (sqrt(rho) - sqrt(pi))^2."""
    pi = sp.exp(-sum(s**2 for s in x) / 2) / sp.sqrt(2 * sp.pi) ** len(x)
    return pw.integral((sp.sqrt(rho) - sp.sqrt(pi)) ** 2, x)


@entry(
    "Jensen-Shannon divergence",
    source="Goodfellow et al. 2014; Gao et al. 2019",
    exact=velocity_is(
        "the velocity at N(1, 1) is -1/2/(1 + exp(x - 1/2))",
        lambda x: gaussian(x, 1, 1),
        lambda x: -0.5 / (1 + np.exp(x - 0.5)),
    ),
)
def jensen_shannon(x, y, rho):
    """Half the divergences of rho and of pi from their mean."""
    pi = sp.exp(-sum(s**2 for s in x) / 2) / sp.sqrt(2 * sp.pi) ** len(x)
    mean = (rho + pi) / 2
    return pw.integral(rho * sp.log(rho / mean) + pi * sp.log(pi / mean), x) / 2


@entry(
    "Alpha divergence",
    source="Amari 2016; Ansari, Ang and Soh 2021",
    exact=energy_is(
        "of N(1, 1) from N(0, 1), alpha = 3/2: (exp(3/8) - 1)/(3/4)",
        lambda x: gaussian(x, 1, 1),
        (np.exp(0.375) - 1) / 0.75,
    ),
    given={"alpha": 1.5},
)
def alpha_divergence(x, y, rho):
    """A parameter alpha, given with the problem, goes from reverse KL to chi squared."""
    alpha = sp.Symbol("alpha", positive=True)
    pi = sp.exp(-sum(s**2 for s in x) / 2) / sp.sqrt(2 * sp.pi) ** len(x)
    return (pw.integral(rho**alpha * pi ** (1 - alpha), x) - 1) / (alpha * (alpha - 1))


@entry(
    "Renyi divergence",
    source="Renyi 1961; Vempala and Wibisono 2019",
    exact=energy_is("of N(1, 1) from N(0, 1), order 2: 1", lambda x: gaussian(x, 1, 1), 1.0),
)
def renyi_divergence(x, y, rho):
    """A logarithm of an integral; order 2."""
    pi = sp.exp(-sum(s**2 for s in x) / 2) / sp.sqrt(2 * sp.pi) ** len(x)
    return sp.log(pw.integral(rho**2 / pi, x))


@entry(
    "Squared L2 distance",
    source="Craig et al. 2023",
    exact=energy_is(
        "of N(1, 1) and N(0, 1): (1 - exp(-1/4))/sqrt(4 pi)",
        lambda x: gaussian(x, 1, 1),
        (1 - np.exp(-0.25)) / np.sqrt(4 * np.pi),
    ),
)
def squared_l2(x, y, rho):
    """Half int (rho - pi)^2."""
    pi = sp.exp(-sum(s**2 for s in x) / 2) / sp.sqrt(2 * sp.pi) ** len(x)
    return pw.integral((rho - pi) ** 2, x) / 2


@entry(
    "Fermi-Dirac statistics",
    source="Kaniadakis and Quarati 1993",
    exact=stationary(
        "1/(1 + exp(x^2/2 + 1/2)) is stationary",
        lambda x: 1 / (1 + sp.exp(x[0] ** 2 / 2 + sp.Rational(1, 2))),
    ),
)
def fermi_dirac(x, y, rho):
    """The density stays below 1, in a trap."""
    entropy = rho * sp.log(rho) + (1 - rho) * sp.log(1 - rho)
    return pw.integral(rho * sum(s**2 for s in x) / 2 + entropy, x)


@entry(
    "Bose-Einstein statistics",
    source="Kaniadakis and Quarati 1993; Carrillo, Di Francesco and Toscani 2013",
    exact=stationary(
        "1/(exp(x^2/2 + 1) - 1) is stationary",
        lambda x: 1 / (sp.exp(x[0] ** 2 / 2 + 1) - 1),
    ),
)
def bose_einstein(x, y, rho):
    """Mass condenses, in a trap."""
    entropy = rho * sp.log(rho) - (1 + rho) * sp.log(1 + rho)
    return pw.integral(rho * sum(s**2 for s in x) / 2 + entropy, x)
