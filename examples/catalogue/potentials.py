"""Potentials with and without entropy: smooth, with kinks, in valleys."""

import numpy as np
import sympy as sp

import pwgf_sym as pw

from .checks import energy_is, flows, gaussian, moves, stationary
from .entry import entry

FAMILY = "Potentials and Fokker-Planck equations"

A, MEAN, COV = np.array([[2, 0.5], [0.5, 1]]), np.array([1.0, -1.0]), np.diag([0.5, 1.5])


@entry(
    "Ornstein-Uhlenbeck",
    dim=2,
    source="Ornstein and Uhlenbeck 1930",
    law=pw.Gaussian(MEAN, COV),
    exact=flows(
        "the Lagrangian map to t = 1",
        lambda z: pw.exact.ornstein_uhlenbeck_map(z, A, 1.0, MEAN, COV, 1.0),
        limit=1e-6,
    ),
)
def ornstein_uhlenbeck(x, y, rho):
    """A quadratic potential with entropy: Gaussians stay Gaussians."""
    A = sp.Matrix([[2, sp.Rational(1, 2)], [sp.Rational(1, 2), 1]])
    V = (sp.Matrix(x).T * A * sp.Matrix(x))[0] / 2
    return pw.integral(V * rho + rho * sp.log(rho), x)


@entry(
    "Transport down a quartic",
    source="Ambrosio, Gigli and Savare 2008",
    exact=moves("points move by dx/dt = -x^3, x = z/sqrt(1 + 2 t z^2)", lambda z: -(z**3)),
)
def quartic(x, y, rho):
    """No entropy: every point goes down on its own."""
    return pw.integral(sum(s**4 for s in x) / 4 * rho, x)


@entry(
    "Double well",
    source="Kramers 1940; Arnold et al. 2001",
    exact=stationary(
        "exp(-4 (x^2 - 1)^2) is stationary", lambda x: sp.exp(-4 * (x[0] ** 2 - 1) ** 2)
    ),
    given={"beta": 4.0},
)
def double_well(x, y, rho):
    """Metastable wells at the inverse temperature beta."""
    beta = sp.Symbol("beta", positive=True)
    V = (x[0] ** 2 - 1) ** 2
    return pw.integral(V * rho + rho * sp.log(rho) / beta, x)


@entry(
    "Laplace target",
    source="Salim, Korba and Luise 2020",
    breaks=(0,),
    box=(-40, 40),
    exact=energy_is("of exp(-|x|)/2: -log 2", lambda x: sp.exp(-sp.Abs(x[0])) / 2, -np.log(2)),
)
def laplace(x, y, rho):
    """A potential with a kink."""
    return pw.integral(sum(sp.Abs(s) for s in x) * rho + rho * sp.log(rho), x)


def huber_density(x):
    core = sp.Piecewise((x[0] ** 2 / 2, sp.Abs(x[0]) <= 1), (sp.Abs(x[0]) - 0.5, True))
    return sp.exp(-core)


@entry(
    "Huber potential",
    source="Huber 1964",
    breaks=(-1, 1),
    exact=stationary("exp(-V) is stationary", huber_density, width=0.99),
)
def huber(x, y, rho):
    """Quadratic inside, linear outside."""
    r = sp.Abs(x[0])
    V = sp.Piecewise((r**2 / 2, r <= 1), (r - sp.Rational(1, 2), True))
    return pw.integral(V * rho + rho * sp.log(rho), x)


@entry(
    "Soft wall",
    source="Peyre 2015 (obstacles)",
    breaks=(1,),
    exact=moves("points beyond 1 move by -10 (x - 1)", lambda z: -10 * np.maximum(z - 1, 0)),
    law=pw.Gaussian([0.8], 0.7),
)
def soft_wall(x, y, rho):
    """A wall at 1 that gives way like a spring."""
    return pw.integral(5 * sp.Max(x[0] - 1, 0) ** 2 * rho, x)


@entry(
    "Student's t",
    source="Lange, Little and Taylor 1989",
    given={"nu": 3.0},
    exact=stationary("(1 + x^2/3)^-2 is stationary", lambda x: (1 + x[0] ** 2 / 3) ** -2),
)
def student(x, y, rho):
    """Heavy tails; the potential is no convex function."""
    nu = sp.Symbol("nu", positive=True)
    V = (nu + 1) / 2 * sp.log(1 + x[0] ** 2 / nu)
    return pw.integral(V * rho + rho * sp.log(rho), x)


@entry(
    "Styblinski-Tang",
    dim=2,
    source="Styblinski and Tang 1990",
    exact=energy_is(
        "of N(0, I): 3/25 (3 - 16) - log(2 pi) - 1",
        lambda x: gaussian(x),
        2 * 3 / 50 * (3 - 16) - np.log(2 * np.pi) - 1,
    ),
)
def styblinski_tang(x, y, rho):
    """A sum over coordinates, two wells in each; the same line for any dimension."""
    i = sp.Symbol("i", integer=True)
    term = x[i] ** 4 - 16 * x[i] ** 2 + 5 * x[i]
    V = sp.Sum(sp.Rational(3, 50) * term, (i, 0, len(x) - 1))
    return pw.integral(V * rho + rho * sp.log(rho), x)


@entry(
    "Banana",
    dim=2,
    source="Haario, Saksman and Tamminen 1999",
    exact=stationary(
        "the law of (z0, (z0^2 - 1)/sqrt(2) + z1/2) is stationary",
        lambda x: gaussian((x[0], 2 * (x[1] - (x[0] ** 2 - 1) / sp.sqrt(2)))),
    ),
)
def banana(x, y, rho):
    """A bent valley."""
    V = x[0] ** 2 / 2 + 2 * (x[1] - (x[0] ** 2 - 1) / sp.sqrt(2)) ** 2
    return pw.integral(V * rho + rho * sp.log(rho), x)


@entry(
    "Rosenbrock's valley",
    dim=2,
    source="Rosenbrock 1960; Pagani, Wiegand and Nadarajah 2022",
    exact=stationary(
        "exp(-V) is stationary",
        lambda x: sp.exp(-((1 - x[0]) ** 2) - 5 * (x[1] - x[0] ** 2) ** 2),
    ),
)
def rosenbrock(x, y, rho):
    """A narrow curved valley."""
    V = (1 - x[0]) ** 2 + 5 * (x[1] - x[0] ** 2) ** 2
    return pw.integral(V * rho + rho * sp.log(rho), x)


@entry(
    "Mueller-Brown",
    dim=2,
    source="Mueller and Brown 1979",
    exact=moves(
        "the three minima of the literature do not move",
        lambda z: np.zeros_like(z),
        points=np.array([[-0.55822, 1.44173], [0.62350, 0.02804], [-0.05001, 0.46669]]),
        limit=1e-3,
    ),
)
def mueller_brown(x, y, rho):
    """A reaction path of chemistry, in units of 200."""
    rows = [
        (-200, -1, 0, -10, 1, 0),
        (-100, -1, 0, -10, 0, sp.Rational(1, 2)),
        (-170, sp.Rational(-13, 2), 11, sp.Rational(-13, 2), sp.Rational(-1, 2), sp.Rational(3, 2)),
        (15, sp.Rational(7, 10), sp.Rational(3, 5), sp.Rational(7, 10), -1, 1),
    ]
    V = 0
    for A, a, b, c, u, v in rows:
        p, q = x[0] - u, x[1] - v
        V += sp.Rational(A, 200) * sp.exp(a * p**2 + b * p * q + c * q**2)
    return pw.integral(V * rho, x)


@entry(
    "Neal's funnel",
    dim=2,
    source="Neal 2003",
    box=((-12, 12), (-200, 200)),
    exact=stationary(
        "N(x0; 0, 9) N(x1; 0, exp(x0)) is stationary",
        lambda x: gaussian((x[0],), 0, 9) * gaussian((x[1],), 0, sp.exp(x[0])),
    ),
)
def funnel(x, y, rho):
    """The width of x1 is exp(x0/2)."""
    V = x[0] ** 2 / 18 + sum(s**2 for s in x[1:]) * sp.exp(-x[0]) / 2 + (len(x) - 1) * x[0] / 2
    return pw.integral(V * rho + rho * sp.log(rho), x)
