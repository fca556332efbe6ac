"""Kernel distances, Stein discrepancies, and densities that are smoothed by a kernel."""

import numpy as np
import sympy as sp
from scipy.special import ndtr

import pwgf_sym as pw

from .checks import energy_is, gaussian, stationary, velocity_is
from .entry import entry

FAMILY = "Kernel distances and blobs"

DATA = np.array([[-1.0], [0.5], [0.75], [2.0]])


@entry(
    "Maximum mean discrepancy to a density",
    source="Arbel et al. 2019",
    exact=energy_is(
        "of N(1, 1) from N(0, 1): (1 - exp(-1/6))/sqrt(3)",
        lambda x: gaussian(x, 1, 1),
        (1 - np.exp(-1 / 6)) / np.sqrt(3),
    ),
)
def mmd_to_density(x, y, rho):
    """Half the squared distance, Gaussian kernel; its mean with the target N(0, I) is a formula."""
    d = len(x)
    k = sp.exp(-sum((a - b) ** 2 for a, b in zip(x, y)) / 2)
    with_target = sp.exp(-sum(s**2 for s in x) / 4) / sp.sqrt(2) ** d
    constant = sp.sqrt(sp.Rational(1, 3)) ** d / 2
    pairs = pw.integral(k * rho * rho.at(y), x, y) / 2
    return pairs - pw.integral(with_target * rho, x) + constant


@entry(
    "Maximum mean discrepancy to data",
    source="Arbel et al. 2019; Gretton et al. 2012",
    given={"D": DATA},
    exact=energy_is(
        "of N(0, 1), without the data's own term",
        lambda x: gaussian(x),
        1 / np.sqrt(12) - np.mean(np.exp(-(DATA**2) / 4)) / np.sqrt(2),
    ),
)
def mmd_to_data(x, y, rho):
    """The target is rows of data, given at run time."""
    n, N = sp.Symbol("n", integer=True), sp.Symbol("N", integer=True, positive=True)
    D = sp.IndexedBase("D", shape=(N, len(x)))
    k = sp.exp(-sum((a - b) ** 2 for a, b in zip(x, y)) / 2)
    to_row = sp.exp(-sum((s - D[n, i]) ** 2 for i, s in enumerate(x)) / 2)
    pairs = pw.integral(k * rho * rho.at(y), x, y) / 2
    return pairs - pw.integral(sp.Sum(to_row, (n, 0, N - 1)) / N * rho, x)


def folded(mean):
    """E |X - mean| of X in N(0, 1)."""
    return np.sqrt(2 / np.pi) * np.exp(-(mean**2) / 2) + mean * (2 * ndtr(mean) - 1)


@entry(
    "Energy distance to data",
    source="Szekely and Rizzo 2013; Hertrich et al. 2024",
    given={"D": DATA},
    breaks=tuple(DATA[:, 0]),
    exact=energy_is(
        "of N(0, 1), without the data's own term",
        lambda x: gaussian(x),
        np.mean(folded(DATA)) - 1 / np.sqrt(np.pi),
    ),
)
def energy_distance(x, y, rho):
    """The kernel -|x - y|, repulsion that is as strong far away as near by."""
    n, N = sp.Symbol("n", integer=True), sp.Symbol("N", integer=True, positive=True)
    D = sp.IndexedBase("D", shape=(N, len(x)))
    r = sp.sqrt(sum((a - b) ** 2 for a, b in zip(x, y)))
    to_row = sp.sqrt(sum((s - D[n, i]) ** 2 for i, s in enumerate(x)))
    attraction = pw.integral(sp.Sum(to_row, (n, 0, N - 1)) / N * rho, x)
    return attraction - pw.integral(r * rho * rho.at(y), x, y) / 2


@entry(
    "Kernel Stein discrepancy",
    source="Korba et al. 2021; Liu, Lee and Jordan 2016",
    exact=energy_is(
        "of N(1, 1) from N(0, 1): 1/sqrt(3) (score differences are constant)",
        lambda x: gaussian(x, 1, 1),
        1 / np.sqrt(3),
    ),
)
def kernel_stein(x, y, rho):
    """Langevin's Stein kernel of the target N(0, I) and a Gaussian kernel: an interaction."""
    square = sum((a - b) ** 2 for a, b in zip(x, y))
    k = sp.exp(-square / 2)
    stein = (sum(a * b for a, b in zip(x, y)) + len(x) - 2 * square) * k
    return pw.integral(stein * rho * rho.at(y), x, y)


@entry(
    "Kernel Stein discrepancy, inverse multiquadric",
    source="Gorham and Mackey 2017",
    exact=stationary("the target exp(-x^4/4) is stationary", lambda x: sp.exp(-(x[0] ** 4) / 4)),
    box=(-6, 6),
)
def kernel_stein_imq(x, y, rho):
    """Any target by its score, here of exp(-x^4/4): SymPy derives the Stein kernel."""
    k = 1 / sp.sqrt(1 + (x[0] - y[0]) ** 2)
    s = -(x[0] ** 3), -(y[0] ** 3)
    stein = s[0] * s[1] * k + s[0] * k.diff(y[0]) + s[1] * k.diff(x[0]) + k.diff(x[0], y[0])
    return pw.integral(stein * rho * rho.at(y), x, y)


@entry(
    "Blob Kullback-Leibler",
    source="Carrillo, Craig and Patacchini 2019; Craig et al. 2023",
    exact=energy_is(
        "of N(0, 1), blobs of variance 1/4: 1/10 - log(5/2 pi)/2",
        lambda x: gaussian(x),
        0.5 - np.log(2 * np.pi * 1.25) / 2 - 1 / 2.5,
    ),
)
def blob_entropy(x, y, rho):
    """rho log(K*rho): an entropy of particles that have no density."""
    K = sp.exp(-2 * sum((a - b) ** 2 for a, b in zip(x, y))) * sp.sqrt(2 / sp.pi) ** len(x)
    smooth = pw.integral(K * rho.at(y), y)
    return pw.integral(rho * sp.log(smooth) + rho * sum(s**2 for s in x) / 2, x)


@entry(
    "Blob porous medium, m = 2",
    source="Lions and Mas-Gallic 2001; Craig and Bertozzi 2016",
    exact=velocity_is(
        "the velocity at N(0, 1), by the density of N(0, 5/4)",
        lambda x: gaussian(x),
        lambda x: 2 * x / 1.25 * np.exp(-(x**2) / 2.5) / np.sqrt(2 * np.pi * 1.25),
    ),
)
def blob_porous_medium(x, y, rho):
    """int rho (K*rho), an interaction."""
    K = sp.exp(-2 * sum((a - b) ** 2 for a, b in zip(x, y))) * sp.sqrt(2 / sp.pi) ** len(x)
    return pw.integral(K * rho * rho.at(y), x, y)


@entry(
    "Blob porous medium, m = 3",
    source="Carrillo, Craig and Patacchini 2019",
    exact=energy_is(
        "of N(0, 1), blobs of variance 1/4: 1/(5 pi sqrt(13/5))",
        lambda x: gaussian(x),
        1 / (2 * np.pi * 1.25) / np.sqrt(2.6) / 2,
    ),
)
def blob_porous_medium_3(x, y, rho):
    """Half int rho (K*rho)^2."""
    K = sp.exp(-2 * sum((a - b) ** 2 for a, b in zip(x, y))) * sp.sqrt(2 / sp.pi) ** len(x)
    smooth = pw.integral(K * rho.at(y), y)
    return pw.integral(rho * smooth**2, x) / 2


@entry(
    "Saturating attraction",
    source="Topaz, Bertozzi and Lewis 2006; Burger, Capasso and Morale 2007",
    exact=energy_is(
        "of N(0, 1), blobs of variance 1/4: 1/(5/2 pi sqrt(13/5)) - 1/sqrt(9/2 pi)",
        lambda x: gaussian(x),
        1 / (2.5 * np.pi * np.sqrt(2.6)) - 1 / np.sqrt(4.5 * np.pi),
    ),
)
def saturating(x, y, rho):
    """Cells that follow a smoothed density until it is crowded: c^2 - c of c = K*rho."""
    K = sp.exp(-2 * sum((a - b) ** 2 for a, b in zip(x, y))) * sp.sqrt(2 / sp.pi) ** len(x)
    smooth = pw.integral(K * rho.at(y), y)
    return pw.integral(rho * (smooth**2 - smooth), x)


@entry(
    "Nonparametric maximum likelihood",
    source="Kiefer and Wolfowitz 1956; Yan, Wang and Rigollet 2024",
    exact=energy_is(
        "of N(0, 1): minus the mean log density of N(0, 2) at the data",
        lambda x: gaussian(x),
        np.log(4 * np.pi) / 2 + np.mean(np.array([-1.0, 0.5, 2.0]) ** 2) / 4,
    ),
)
def maximum_likelihood(x, y, rho):
    """The mixing law of Gaussians that makes three observations likely: logarithms of integrals."""
    likelihoods = [
        pw.integral(sp.exp(-((x[0] - r) ** 2) / 2) / sp.sqrt(2 * sp.pi) * rho, x)
        for r in (-1, sp.Rational(1, 2), 2)
    ]
    return -sum(sp.log(p) for p in likelihoods) / 3
