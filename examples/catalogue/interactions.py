"""Double integrals of W(x, y) rho(x) rho(y): particles that attract and repel each other."""

from functools import cache

import numpy as np
import sympy as sp
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import iv, roots_hermite

import pwgf_sym as pw

from .checks import energy_is, gap, gaussian, moves, particles, stationary, velocity_is
from .entry import entry

FAMILY = "Interactions"


def mean_of_distances(function):
    """E W(|X - Y|) of independent standard Gaussians on the line, an integral over r = |X - Y|."""

    def weighted(r):
        return function(r) * np.exp(-(r**2) / 4) / np.sqrt(np.pi)

    pieces = ((0, 1), (1, 4), (4, 14))
    return sum(quad(weighted, a, b, epsabs=1e-14)[0] for a, b in pieces)


def spread_out(count):
    """Points (count, 1) of equal distances in (-1, 1)."""
    return np.arange(1 - count, count, 2)[:, None] / count


@entry(
    "Quadratic attraction",
    source="Carrillo, McCann and Villani 2003",
    exact=velocity_is(
        "the velocity at N(1/2, 7/10) is -(x - 1/2)(1 - 5/7)",
        lambda x: gaussian(x, sp.Rational(1, 2), sp.Rational(7, 10)),
        lambda x: -(x - 0.5) * (1 - 5 / 7),
    ),
)
def quadratic_attraction(x, y, rho):
    """A linear McKean-Vlasov equation; the solver takes moments in place of pairs."""
    W = sum((a - b) ** 2 for a, b in zip(x, y)) / 2
    return pw.integral(W * rho * rho.at(y), x, y) / 2 + pw.integral(rho * sp.log(rho), x) / 2


def well(x, m):
    """V + theta (x - m)^2/2 over sigma, for theta = 1 and sigma = 1/5."""
    return 5 * (x**4 / 4 - x**2 / 2 + (x - m) ** 2 / 2)


@cache
def magnetization():
    """The mean m > 0 of exp(-well(x, m)), 0.851479, and the mass of it."""

    def moment(power, m):
        return quad(lambda x: x**power * np.exp(-well(x, m)), -5, 5, epsabs=1e-15)[0]

    m = brentq(lambda m: moment(1, m) / moment(0, m) - m, 0.8, 0.9, xtol=1e-15)
    return m, moment(0, m)


def magnetized(x):
    m, mass = magnetization()
    return sp.exp(-well(x[0], sp.Float(m))) / sp.Float(mass)


@entry(
    "Desai-Zwanzig",
    source="Desai and Zwanzig 1978; Dawson 1983",
    given={"theta": 1.0, "sigma": 0.2},
    box=(-4, 4),
    exact=stationary(
        "the density of mean .851479 is stationary (theta = 1, sigma = 1/5)", magnetized
    ),
)
def desai_zwanzig(x, y, rho):
    """Wells with attraction to the mean: below a critical noise two phases are stable."""
    theta, sigma = sp.symbols("theta sigma", positive=True)
    V = x[0] ** 4 / 4 - x[0] ** 2 / 2
    W = theta * (x[0] - y[0]) ** 2 / 2
    local = pw.integral(V * rho + sigma * rho * sp.log(rho), x)
    return local + pw.integral(W * rho * rho.at(y), x, y) / 2


@entry(
    "Quartic aggregation",
    dim=2,
    source="Bertozzi, Laurent and Rosado 2011",
    exact=energy_is(
        "of N(0, I) in the plane: 6",
        lambda x: gaussian(x),
        32 / 4 - 4 / 2,
    ),
    box=(-9, 9),
)
def aggregation(x, y, rho):
    """|x - y|^4/4 - |x - y|^2/2: mass goes to a ring or to the corners of a simplex."""
    square = sum((a - b) ** 2 for a, b in zip(x, y))
    return pw.integral((square**2 / 4 - square / 2) * rho * rho.at(y), x, y)


@entry(
    "Power-law repulsion and attraction",
    source="Balague et al. 2013; Carrillo and Shu 2023",
    given={"a": 2.0, "b": 1.0},
    exact=moves(
        "points of equal distances in (-1, 1) rest for a = 2, b = 1",
        lambda z: np.zeros_like(z),
        points=spread_out(40),
    ),
)
def power_law(x, y, rho):
    """|r|^a/a - |r|^b/b with a > b."""
    a, b = sp.symbols("a b", positive=True)
    r = sp.sqrt(sum((p - q) ** 2 for p, q in zip(x, y)))
    return pw.integral((r**a / a - r**b / b) * rho * rho.at(y), x, y) / 2


@entry(
    "Morse potential",
    source="D'Orsogna et al. 2006",
    given={"C": 0.5, "L": 2.0},
    exact=energy_is(
        "of N(0, 1): by the law of the distance, C = 1/2, L = 2",
        lambda x: gaussian(x),
        mean_of_distances(lambda r: np.exp(-r) - np.exp(-r / 2) / 2) / 2,
    ),
)
def morse(x, y, rho):
    """Repulsion of range 1, attraction of range L and strength C: swarms."""
    C, L = sp.symbols("C L", positive=True)
    r = sp.sqrt(sum((p - q) ** 2 for p, q in zip(x, y)))
    W = sp.exp(-r) - C * sp.exp(-r / L)
    return pw.integral(W * rho * rho.at(y), x, y) / 2


def virial(entry, program):
    """2 mean x.w = -2 mean x.score - chi, for any particles that are no two the same."""
    z = entry.law.sample(50, seed=2)
    moved = 2 * np.mean(np.sum(z * program.velocity_at(z), axis=1))
    pressure = -2 * np.mean(np.sum(z * entry.law.score(z), axis=1))
    return gap(moved, pressure - entry.given["chi"])


@entry(
    "Keller-Segel in the plane",
    dim=2,
    source="Keller and Segel 1970; Blanchet, Dolbeault and Perthame 2006",
    given={"chi": 3.0},
    singular=True,
    box=(-7, 7),
    exact=particles("the virial law of particles, d E|x|^2/dt = 2 d - chi", virial),
)
def keller_segel(x, y, rho):
    """Cells that follow what they secrete: mass blows up for chi > 4."""
    chi = sp.Symbol("chi", positive=True)
    W = chi * sp.log(sum((p - q) ** 2 for p, q in zip(x, y))) / 2
    return pw.integral(rho * sp.log(rho), x) + pw.integral(W * rho * rho.at(y), x, y) / 2


@entry(
    "Newtonian attraction on the line",
    source="Bodnar and Velazquez 2006",
    given={"chi": 2.0},
    exact=stationary(
        "chi/8 sech(chi x/4)^2 is stationary", lambda x: sp.sech(x[0] / 2) ** 2 / 4, limit=1e-6
    ),
    box=(-40, 40),
    breaks=(-10, 10),
)
def newtonian(x, y, rho):
    """chi |x - y|/2 against diffusion; the kernel has a kink."""
    chi = sp.Symbol("chi", positive=True)
    W = chi * sp.Abs(x[0] - y[0]) / 2
    return pw.integral(rho * sp.log(rho), x) + pw.integral(W * rho * rho.at(y), x, y) / 2


@entry(
    "Log gas",
    source="Dyson 1962; Carrillo, Ferreira and Precioso 2012",
    singular=True,
    exact=moves(
        "roots of Hermite's polynomial over sqrt(N - 1) rest (Stieltjes)",
        lambda z: np.zeros_like(z),
        points=roots_hermite(24)[0][:, None] / np.sqrt(23),
    ),
)
def log_gas(x, y, rho):
    """Eigenvalues of random matrices: -log|x - y| in a trap, to Wigner's semicircle."""
    W = -sp.log(sp.Abs(x[0] - y[0]))
    return pw.integral(x[0] ** 2 / 2 * rho, x) + pw.integral(W * rho * rho.at(y), x, y) / 2


def homogeneous(degree):
    """mean x.w = -degree E for a kernel that is homogeneous of this degree (Euler)."""

    def error(entry, program):
        z = entry.law.sample(50, seed=2)
        moved = np.mean(np.sum(z * program.velocity_at(z), axis=1))
        return gap(moved, -degree * program.energy_at(z))

    return error


@entry(
    "Riesz repulsion",
    dim=2,
    source="Serfaty 2015; Chafai, Saff and Womersley 2022",
    singular=True,
    box=(-7, 7),
    exact=particles("Euler's relation of particles, mean x.w = E/2", homogeneous(-0.5)),
)
def riesz(x, y, rho):
    """|x - y|^(-1/2), without entropy."""
    square = sum((p - q) ** 2 for p, q in zip(x, y))
    return pw.integral(rho * rho.at(y) / square ** sp.Rational(1, 4), x, y) / 2


@entry(
    "Granular media",
    source="Benedetto, Caglioti and Pulvirenti 1997; Carrillo, McCann and Villani 2003",
    exact=energy_is("of N(0, 1): 4/(3 sqrt(pi))", lambda x: gaussian(x), 4 / (3 * np.sqrt(np.pi))),
)
def granular(x, y, rho):
    """|x - y|^3/3: grains that lose energy when they meet."""
    r = sp.sqrt(sum((p - q) ** 2 for p, q in zip(x, y)))
    return pw.integral(r**3 / 3 * rho * rho.at(y), x, y) / 2


@entry(
    "Bounded confidence",
    reach=1,
    source="Hegselmann and Krause 2002; Motsch and Tadmor 2014",
    exact=moves(
        "opinions that are 1 or more apart do not move each other",
        lambda z: np.zeros_like(z),
        points=np.linspace(-5, 5, 11)[:, None],
    ),
)
def bounded_confidence(x, y, rho):
    """Agents agree with those whose opinion is nearer than 1: clusters."""
    square = sum((p - q) ** 2 for p, q in zip(x, y))
    return pw.integral(-(sp.Max(1 - square, 0) ** 2) * rho * rho.at(y), x, y) / 4


@entry(
    "Kuramoto",
    source="Kuramoto 1975; Bertini, Giacomin and Pakdaman 2010",
    given={"K": 2.0},
    exact=velocity_is(
        "the velocity at N(1/2, 1) is -K exp(-1/2) sin(x - 1/2) + x - 1/2",
        lambda x: gaussian(x, sp.Rational(1, 2)),
        lambda x: -2 * np.exp(-0.5) * np.sin(x - 0.5) + (x - 0.5),
    ),
)
def kuramoto(x, y, rho):
    """Noisy phases that synchronize; here on the line, without wrapping."""
    K = sp.Symbol("K", positive=True)
    W = -K * sp.cos(x[0] - y[0])
    return pw.integral(W * rho * rho.at(y), x, y) / 2 + pw.integral(rho * sp.log(rho), x)


@cache
def synchrony():
    """The order r > 0 of exp(3 r cos x), r = I1(3 r)/I0(3 r): 0.724159."""
    return brentq(lambda r: iv(1, 3 * r) / iv(0, 3 * r) - r, 0.6, 0.8, xtol=1e-15)


def von_mises(x):
    r = synchrony()
    return sp.exp(3 * sp.Float(r) * sp.cos(x[0])) / (2 * sp.pi * sp.Float(iv(0, 3 * r)))


@entry(
    "Kuramoto on the circle",
    source="Kuramoto 1975; Bertini, Giacomin and Pakdaman 2010",
    given={"K": 3.0},
    period=2 * sp.pi,
    box=(-np.pi, np.pi),
    exact=stationary("the density of order .724159 is stationary for K = 3", von_mises),
)
def kuramoto_on_the_circle(x, y, rho):
    """Noisy phases on a circle: after a full turn a phase is where it was."""
    K = sp.Symbol("K", positive=True)
    W = -K * sp.cos(x[0] - y[0])
    return pw.integral(W * rho * rho.at(y), x, y) / 2 + pw.integral(rho * sp.log(rho), x)


@entry(
    "Gaussian attraction",
    dim=2,
    source="Topaz, Bertozzi and Lewis 2006",
    box=(-8, 8),
    exact=velocity_is(
        "the velocity at N(0, I) is -x exp(-|x|^2/4)/4",
        lambda x: gaussian(x),
        lambda z: -z * np.exp(-np.sum(z**2, axis=1, keepdims=True) / 4) / 4,
    ),
)
def gaussian_attraction(x, y, rho):
    """A short-ranged, smooth kernel."""
    W = -sp.exp(-sum((p - q) ** 2 for p, q in zip(x, y)) / 2)
    return pw.integral(W * rho * rho.at(y), x, y) / 2


@entry(
    "Attraction that is not mutual",
    source="Carrillo, Fornasier, Toscani and Vecil 2010",
    exact=energy_is(
        "of N(0, 1): E exp(X) (X - Y)^2 = 3 exp(1/2)", lambda x: gaussian(x), 3 * np.exp(0.5)
    ),
    box=(-12, 12),
)
def asymmetric(x, y, rho):
    """A kernel that is no function of the distance: what a particle feels depends on its place."""
    return pw.integral(sp.exp(x[0]) * (x[0] - y[0]) ** 2 * rho * rho.at(y), x, y)


@entry(
    "Three-body interaction",
    source="Axilrod and Teller 1943",
    exact=energy_is("of N(0, 1): -1/4", lambda x: gaussian(x), -0.25),
)
def three_body(x, y, rho):
    """Particles that meet in threes: an integral over three copies of the space."""
    z = pw.coordinates(len(x), "z")
    square = sum((a - b) ** 2 + (b - c) ** 2 + (c - a) ** 2 for a, b, c in zip(x, y, z))
    return pw.integral(-sp.exp(-square / 2) * rho * rho.at(y) * rho.at(z), x, y, z)
