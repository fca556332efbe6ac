"""Posteriors and losses with data, arrays that are given at run time, and networks."""

import numpy as np
import sympy as sp

import pwgf_sym as pw

from .checks import energy_is, gap, gaussian, moves, particles, stationary
from .entry import entry

FAMILY = "Data, posteriors and networks"

ROWS = np.array([[1.0, 0.5], [-0.5, 1.0], [0.25, -1.5], [1.0, 1.0], [-1.0, 0.25]])
LABELS = np.array([1.0, -1.0, 1.0, -1.0, 1.0])
VALUES = np.array([0.5, -0.25, 1.0, 1.5, -0.5])
COUNTS = np.array([2.0, 0.0, 1.0, 3.0, 1.0])


def slope_of(potential):
    """-V' of the potential of one point (d,), by complex steps, at points (n, d)."""

    def field(points):
        steps = 1e-30j * np.eye(points.shape[1])
        return np.array([[-potential(z + h).imag / 1e-30 for h in steps] for z in points])

    return field


def minus_score(potential):
    """Velocity of V with entropy: the slope of V, and minus the score of the initial law."""

    def error(entry, program):
        z = entry.law.sample(20, seed=4)
        return gap(program.velocity_at(z), slope_of(potential)(z) - entry.law.score(z))

    return error


POSTERIOR = "the velocity: score of the posterior, by complex steps, less that of the density"


@entry(
    "Logistic regression",
    dim=2,
    source="Liu and Wang 2016",
    given={"A": ROWS, "b": LABELS},
    exact=particles(
        POSTERIOR,
        minus_score(lambda z: np.sum(np.log(1 + np.exp(-LABELS * (ROWS @ z)))) + z @ z / 2),
    ),
)
def logistic_regression(x, y, rho):
    """Rows A, labels 1 and -1, prior N(0, I)."""
    n, i = sp.symbols("n i", integer=True)
    N = sp.Symbol("N", integer=True, positive=True)
    A = sp.IndexedBase("A", shape=(N, len(x)))
    b = sp.IndexedBase("b", shape=(N,))
    line = sp.Sum(A[n, i] * x[i], (i, 0, len(x) - 1))
    V = sp.Sum(sp.log(1 + sp.exp(-b[n] * line)), (n, 0, N - 1)) + sum(s**2 for s in x) / 2
    return pw.integral(V * rho + rho * sp.log(rho), x)


def bayes():
    """Mean, covariance and -log evidence of the linear model with noise 1 and prior N(0, I)."""
    precision = ROWS.T @ ROWS + np.eye(2)
    mean = np.linalg.solve(precision, ROWS.T @ VALUES)
    cov = np.linalg.inv(precision)
    least = np.sum((ROWS @ mean - VALUES) ** 2) / 2 + mean @ mean / 2
    return mean, cov, least - np.log(np.linalg.det(2 * np.pi * cov)) / 2


def correlated(mean, cov):
    """The density of N(mean, cov) as a formula."""
    precision = np.linalg.inv(cov)

    def density(x):
        away = [s - m for s, m in zip(x, mean)]
        square = sum(p * a * b for row, a in zip(precision, away) for p, b in zip(row, away))
        return sp.exp(-square / 2) / float(np.sqrt(np.linalg.det(2 * np.pi * cov)))

    return density


@entry(
    "Linear regression",
    dim=2,
    source="Bishop 2006",
    given={"A": ROWS, "b": VALUES},
    box=(-6, 6),
    exact=energy_is(
        "of the posterior: minus the logarithm of the evidence",
        lambda x: correlated(*bayes()[:2])(x),
        bayes()[2],
        limit=1e-8,
    ),
)
def linear_regression(x, y, rho):
    """Least squares with the prior N(0, I)."""
    n, i = sp.symbols("n i", integer=True)
    N = sp.Symbol("N", integer=True, positive=True)
    A = sp.IndexedBase("A", shape=(N, len(x)))
    b = sp.IndexedBase("b", shape=(N,))
    line = sp.Sum(A[n, i] * x[i], (i, 0, len(x) - 1))
    V = sp.Sum((line - b[n]) ** 2, (n, 0, N - 1)) / 2 + sum(s**2 for s in x) / 2
    return pw.integral(V * rho + rho * sp.log(rho), x)


@entry(
    "Poisson regression",
    dim=2,
    source="Nelder and Wedderburn 1972",
    given={"A": ROWS, "b": COUNTS},
    exact=energy_is(
        "of N(0, I): sum exp(|a|^2/2) + 1 - log(2 pi e)",
        lambda x: gaussian(x),
        np.sum(np.exp(np.sum(ROWS**2, axis=1) / 2)) + 1 - np.log(2 * np.pi * np.e),
    ),
)
def poisson_regression(x, y, rho):
    """Counts b of intensity exp(A x), prior N(0, I)."""
    n, i = sp.symbols("n i", integer=True)
    N = sp.Symbol("N", integer=True, positive=True)
    A = sp.IndexedBase("A", shape=(N, len(x)))
    b = sp.IndexedBase("b", shape=(N,))
    line = sp.Sum(A[n, i] * x[i], (i, 0, len(x) - 1))
    V = sp.Sum(sp.exp(line) - b[n] * line, (n, 0, N - 1)) + sum(s**2 for s in x) / 2
    return pw.integral(V * rho + rho * sp.log(rho), x)


@entry(
    "Robust regression",
    dim=2,
    source="Lange, Little and Taylor 1989",
    given={"A": ROWS, "b": VALUES},
    exact=particles(
        POSTERIOR,
        minus_score(lambda z: 2 * np.sum(np.log(1 + (ROWS @ z - VALUES) ** 2 / 3)) + z @ z / 2),
    ),
)
def robust_regression(x, y, rho):
    """Noise of Student's t with three degrees of freedom."""
    n, i = sp.symbols("n i", integer=True)
    N = sp.Symbol("N", integer=True, positive=True)
    A = sp.IndexedBase("A", shape=(N, len(x)))
    b = sp.IndexedBase("b", shape=(N,))
    line = sp.Sum(A[n, i] * x[i], (i, 0, len(x) - 1))
    V = 2 * sp.Sum(sp.log(1 + (line - b[n]) ** 2 / 3), (n, 0, N - 1)) + sum(s**2 for s in x) / 2
    return pw.integral(V * rho + rho * sp.log(rho), x)


PLACES = np.array([-0.5, 1.0])
GRAM = np.exp(-((PLACES[:, None] - PLACES) ** 2) / 2)
PRECISION = np.linalg.inv(GRAM)
OBSERVED = np.array([0.5, -1.0])


@entry(
    "Gaussian process regression",
    dim=2,
    source="Rasmussen and Williams 2006",
    given={"P": PRECISION, "b": OBSERVED},
    box=(-6, 6),
    exact=energy_is(
        "of the posterior, covariance (P + 4 I)^-1, in closed form",
        lambda x: correlated(
            np.linalg.solve(PRECISION + 4 * np.eye(2), 4 * OBSERVED),
            np.linalg.inv(PRECISION + 4 * np.eye(2)),
        )(x),
        2 * OBSERVED @ OBSERVED
        - 8 * OBSERVED @ np.linalg.solve(PRECISION + 4 * np.eye(2), OBSERVED)
        - np.log(np.linalg.det(2 * np.pi * np.linalg.inv(PRECISION + 4 * np.eye(2)))) / 2,
        limit=1e-8,
    ),
)
def gaussian_process(x, y, rho):
    """Values of a function at places, P the inverse of the kernel's Gram matrix, noise 1/2."""
    n, m = sp.symbols("n m", integer=True)
    d = len(x)
    P, b = sp.IndexedBase("P", shape=(d, d)), sp.IndexedBase("b", shape=(d,))
    prior = sp.Sum(x[n] * P[n, m] * x[m], (m, 0, d - 1), (n, 0, d - 1)) / 2
    V = prior + 2 * sp.Sum((x[n] - b[n]) ** 2, (n, 0, d - 1))
    return pw.integral(V * rho + rho * sp.log(rho), x)


EFFECTS, ERRORS = np.array([28.0, 8.0]) / 10, np.array([15.0, 10.0]) / 10


def schools(z):
    """Minus the log posterior of mu, log tau and the schools' effects."""
    mu, log_tau, effects = z[0], z[1], z[2:]
    found = np.sum((EFFECTS - effects) ** 2 / ERRORS**2) / 2 + mu**2 / 2 + log_tau**2 / 2
    return found + np.sum((effects - mu) ** 2) * np.exp(-2 * log_tau) / 2 + len(effects) * log_tau


@entry(
    "Eight schools",
    dim=4,
    source="Rubin 1981; Gelman et al. 2013",
    law=pw.Gaussian([0.5, 0.0, 1.0, 0.5], 0.3),
    given={"a": EFFECTS, "s": ERRORS},
    exact=particles(
        POSTERIOR,
        minus_score(schools),
    ),
)
def eight_schools(x, y, rho):
    """A hierarchy, centred: x = (mu, log tau, effects); here with two schools, in units of 10."""
    j, J = sp.Symbol("j", integer=True), sp.Symbol("J", integer=True, positive=True)
    a, s = sp.IndexedBase("a", shape=(J,)), sp.IndexedBase("s", shape=(J,))
    mu, log_tau, schools = x[0], x[1], len(x) - 2
    likelihood = sp.Sum((a[j] - x[j + 2]) ** 2 / s[j] ** 2, (j, 0, schools - 1)) / 2
    spread = sp.Sum((x[j + 2] - mu) ** 2, (j, 0, schools - 1)) * sp.exp(-2 * log_tau) / 2
    V = likelihood + spread + schools * log_tau + mu**2 / 2 + log_tau**2 / 2
    return pw.integral(V * rho + rho * sp.log(rho), x)


CENTRES, SHARES = np.array([[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5]]), np.array([0.5, 0.3, 0.2])


@entry(
    "Mixture of Gaussians",
    dim=2,
    source="Mokrov et al. 2021",
    given={"c": CENTRES, "w": SHARES},
    exact=stationary(
        "the mixture is stationary",
        lambda x: sum(float(w) * gaussian(x, list(c)) for w, c in zip(SHARES, CENTRES)),
    ),
)
def mixture(x, y, rho):
    """Any number of components by one sum: a logarithm of a sum of exponentials."""
    k, K = sp.Symbol("k", integer=True), sp.Symbol("K", integer=True, positive=True)
    c, w = sp.IndexedBase("c", shape=(K, len(x))), sp.IndexedBase("w", shape=(K,))
    square = sum((s - c[k, i]) ** 2 for i, s in enumerate(x))
    V = -sp.log(sp.Sum(w[k] * sp.exp(-square / 2), (k, 0, K - 1)))
    return pw.integral(V * rho + rho * sp.log(rho), x)


@entry(
    "Lattice phi^4",
    dim=2,
    source="Gabrie, Rotskoff and Vanden-Eijnden 2022",
    given={"a": 0.1},
    exact=moves(
        "forces on two sites, by complex steps in NumPy",
        slope_of(
            lambda z: (
                0.1 * (z[0] ** 2 + (z[1] - z[0]) ** 2 + z[1] ** 2) + np.sum((1 - z**2) ** 2) / 0.8
            )
        ),
    ),
    law=pw.Gaussian([0.2, -0.1], 0.5),
)
def lattice(x, y, rho):
    """A chain of wells, zero at both ends; without entropy the solver sees the forces alone."""
    a, i, d = sp.Symbol("a", positive=True), sp.Symbol("i", integer=True), len(x)
    bonds = x[0] ** 2 + sp.Sum((x[i + 1] - x[i]) ** 2, (i, 0, d - 2)) + x[d - 1] ** 2
    wells = sp.Sum((1 - x[i] ** 2) ** 2, (i, 0, d - 1))
    U = a * d / 2 * bonds + wells / (4 * a * d)
    return pw.integral(U * rho, x)


@entry(
    "Mean-field neural network",
    dim=2,
    source="Mei, Montanari and Nguyen 2018; Chizat and Bach 2018",
    exact=energy_is(
        "of neurons N(1, 1) x N(0, 1), whose outputs are exp(-r^2/2)",
        lambda x: gaussian(x, [1, 0]),
        sum((np.exp(-(r**2) / 2) - v) ** 2 for r, v in ((-1, 0.5), (0.5, 1), (2, -0.25))) / 2,
    ),
)
def neural_network(x, y, rho):
    """Neurons x0 cos(x1 r): half the squared errors of their mean at three inputs r."""
    rows = [(-1, sp.Rational(1, 2)), (sp.Rational(1, 2), 1), (2, -sp.Rational(1, 4))]
    outputs = [(pw.integral(x[0] * sp.cos(x[1] * r) * rho, x), v) for r, v in rows]
    return sum((output - v) ** 2 for output, v in outputs) / 2


@entry(
    "Noisy neural network",
    dim=2,
    source="Hu, Ren, Siska and Szpruch 2021",
    exact=energy_is(
        "of neurons N(0, I), whose outputs are zero",
        lambda x: gaussian(x),
        (0.25 + 1) / 2 + 0.01 - 0.01 * np.log(2 * np.pi * np.e),
    ),
)
def noisy_network(x, y, rho):
    """With weight decay and entropy: the flow ends at a Gibbs measure of its own potential."""
    rows = [(-1, sp.Rational(1, 2)), (sp.Rational(1, 2), 1)]
    outputs = [(pw.integral(x[0] * sp.tanh(x[1] * r) * rho, x), v) for r, v in rows]
    decay = pw.integral(sum(s**2 for s in x) / 2 * rho + rho * sp.log(rho), x) / 100
    return sum((output - v) ** 2 for output, v in outputs) / 2 + decay
