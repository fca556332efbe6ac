"""What the exact density of a map says about the equilibrium pi = exp(-V/sigma)/Z.

For samples x of the map with density rho, the weights w = exp(-V(x)/sigma)/rho(x) have the mean Z,
and self-normalized means with them are means over pi (A. B. Owen, Monte Carlo theory, methods and
examples, 2013, chapter 9).  KL(rho|pi) is log Z - E log w.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from ..arguments import brief, integer, number
from ..declare.periods import wrapped
from ..errors import OptionError
from ..functions import host_function
from ..sharing import symbols_of
from .option_fields import settled
from .sampling import draw, seed_for
from .theory import theory_of
from .vectors import as_double

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..declare.law import Law
    from .protocols import Program

    Logs = Callable[[np.ndarray, np.ndarray], np.ndarray]

__all__ = ["Diagnostics", "diagnostics", "log_weights"]

# Independently scrambled sets of points, whose scatter gives the errors.
_SETS = 16
# Where one sample brings more than this part of all weights, and so many times its share, larger
# ones were missed and sets agree by chance: errors by their scatter are then far too small
# (S. Chatterjee, P. Diaconis, Ann. Appl. Probab. 28 (2018) 1099-1135, take the same sign).
_MOST_OF_ONE, _SHARES_OF_ONE = 0.05, 20


@dataclass(frozen=True, eq=False, repr=False)
class Diagnostics:
    """A map's law beside the equilibrium of a Fokker-Planck energy.

    All errors are standard errors, and infinite where one sample brings more than a twentieth of
    all weights: the law is too far from equilibrium for them.  Weights know only of places that the
    map's law reaches: a mode that it misses is missing in all of these numbers.  With less than
    about half of the samples effective the errors are too small as well: tails that the samples
    seldom reach have the largest weights.

    Attributes
    ----------
    log_z, log_z_error : float
        Log of the integral of exp(-V/sigma), with V as the energy has it.
    kl_to_equilibrium, kl_error : float
        KL(rho|pi).
    effective_sample_size : float
        (sum w)^2/sum w^2, of `samples`.
    mean, standard_errors : (d,) arrays
        The mean of pi, and its errors; periodic coordinates are taken from 0 to the period.
    covariance, covariance_errors : (d, d) arrays
        The covariance of pi, and its errors.
    samples : int
        Number of samples.
    """

    log_z: float
    log_z_error: float
    kl_to_equilibrium: float
    kl_error: float
    effective_sample_size: float
    mean: np.ndarray
    standard_errors: np.ndarray
    covariance: np.ndarray
    covariance_errors: np.ndarray
    samples: int

    def __repr__(self) -> str:
        part = self.effective_sample_size / self.samples
        return "\n".join(
            [
                "Diagnostics against exp(-V/sigma)/Z",
                f"  log Z   {self.log_z:.6g} +- {self.log_z_error:.1g}",
                f"  KL      {self.kl_to_equilibrium:.4g} +- {self.kl_error:.1g}",
                f"  weights {self.effective_sample_size:.0f} effective of {self.samples} samples"
                f" ({100 * part:.3g} %)",
            ]
        )


def diagnostics(
    program: Program,
    theta: np.ndarray,
    law: Law | None = None,
    potential: sp.Expr | None = None,
    sigma: float | None = None,
    n: int = 1 << 15,
    seed: int = 0,
) -> Diagnostics:
    """Importance weights of a map's law against the equilibrium, and what follows from them.

    Parameters
    ----------
    program : Program
    theta : (p,) array
        Parameters of the map.
    law : Law, optional
        That the map pushes; the initial law of the program.
    potential : Expr, optional
        V in the problem's coordinates and numbers; that of the program's energy.
    sigma : float, optional
        Positive; the factor of the entropy of the program's energy.
    n : int
        Number of samples, at least 64; 16 sets of scrambled Sobol points.
    seed : int

    Returns
    -------
    Diagnostics

    Raises
    ------
    OptionError
        If the energy is not int V rho + sigma int rho log rho and no potential is given, or an
        argument is out of range.
    """
    n, seed = integer("n", n, 64), integer("seed", seed, 0)
    law = program.problem.initial if law is None else law
    potential_at, sigma = _target(program, potential, sigma)
    count = -(-n // _SETS)
    places, logs = [], []
    for k in range(_SETS):
        points = draw(law, count, seed=seed_for(seed, "evidence", k))
        x, log_density = pushed(program, theta, points, law)
        places.append(wrapped(x, program.problem.periods))
        logs.append(_log_weights(potential_at, sigma, x, log_density))
    return _summary(np.stack(places), np.stack(logs))


def log_weights(
    program: Program, theta: ArrayLike, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where a map takes points of the initial law, and the logs of their weights.

    Parameters
    ----------
    program : Program
        Of an energy int V rho + sigma int rho log rho.
    theta : (p,) array
    points : (n, d) array

    Returns
    -------
    x : (n, d) array
    log_weights : (n,) array
        -V(x)/sigma - log rho(x); their exponentials have the mean Z.
    """
    potential_at, sigma = _target(program, None, None)
    x, log_density = pushed(program, theta, points, program.problem.initial)
    return x, _log_weights(potential_at, sigma, x, log_density)


def log_weight_of(program: Program) -> Logs | None:
    """A function of x (n, d) and log rho(x) (n,): logs of weights; None for other energies."""
    structure = theory_of(program.problem).structure
    if not structure.forgets_to_gibbs:
        return None
    potential_at, sigma = _target(program, None, None)
    return lambda x, log_density: _log_weights(potential_at, sigma, x, log_density)


def pushed(
    program: Program, theta: ArrayLike, points: np.ndarray, law: Law
) -> tuple[np.ndarray, np.ndarray]:
    """T(z) and log rho(T(z)) at points of a law, (n, d) and (n,)."""
    samples = program.samples(points)
    state = program.push(np.asarray(theta, float).astype(program.dtype), samples, "log_density")
    x = samples.unpack(as_double(state.x))
    logs = samples.unpack_scalar(as_double(settled(state.log_density)))
    if law is not program.problem.initial:
        logs = logs - program.problem.initial.log_density(points) + law.log_density(points)
    return np.asarray(x, float), np.asarray(logs, float)


def _target(
    program: Program, potential: sp.Expr | None, sigma: float | None
) -> tuple[Callable[..., Any], float]:
    """V as a function of d arrays, and sigma: what is given, else what the energy has."""
    structure = theory_of(program.problem).structure
    known = structure.is_fokker_planck and not structure.interactions and structure.transport.plain
    known = known and structure.transport.time is None
    if (potential is None or sigma is None) and not known:
        what = structure.other or "it has interactions, an internal energy, or no entropy"
        if not structure.transport.plain:
            what = "there is a drift or a mobility beside it"
        if structure.transport.time is not None:
            what = f"it depends on the time {structure.transport.time}"
        accepted = "an energy int V rho + sigma int rho log rho, or a potential and sigma"
        raise OptionError(
            "diagnostics", f"an energy that has no known equilibrium: {what}", accepted
        )
    if potential is None:
        potential = structure.potential
    x, sums = program.problem.coordinates, program.form.sums
    symbols = [one.symbol for one in sums]
    if not isinstance(potential, sp.Expr) or symbols_of(potential) - {*x, *symbols}:
        accepted = f"a formula in {', '.join(map(str, x))} and numbers"
        raise OptionError("potential", brief(potential), accepted)
    sigma = float(structure.sigma) if sigma is None else number("sigma", sigma, above=0.0)
    formula = host_function([*x, *symbols], potential, "numpy")
    if not sums:
        return formula, sigma

    def with_sums(*columns: np.ndarray) -> Any:
        values = program.sums_at(np.stack(columns, axis=-1))
        return formula(*columns, *(values[one.name] for one in sums))

    return with_sums, sigma


def _log_weights(
    potential_at: Callable[..., Any], sigma: float, x: np.ndarray, log_density: np.ndarray
) -> np.ndarray:
    with np.errstate(all="ignore"):
        value = np.broadcast_to(np.asarray(potential_at(*x.T), float), log_density.shape)
    logs = -value / sigma - log_density
    # Where V is infinite or has no value pi has no mass.
    return np.where(np.isnan(logs), -np.inf, logs)


def _summary(x: np.ndarray, logs: np.ndarray) -> Diagnostics:
    """From places (R, n, d) and log weights (R, n) of R sets; errors by the delta method."""
    sets, count = logs.shape
    largest = logs.max()
    w = np.exp(logs - largest)
    sums = w.mean(axis=1)  # one number a set, whose scatter is the error of their mean
    z = sums.mean()

    few = w.max() > max(_MOST_OF_ONE, _SHARES_OF_ONE / w.size) * w.sum()

    def error(values: np.ndarray) -> np.ndarray:
        found = values.std(axis=0, ddof=1) / np.sqrt(sets)
        return np.full_like(found, np.inf) if few else found

    mean = np.einsum("rn,rnd->d", w, x) / (sets * count * z)
    gap = x - mean
    first = np.einsum("rn,rnd->rd", w, gap) / count
    second = np.einsum("rn,rnd,rne->rde", w, gap, gap) / count
    covariance = second.mean(axis=0) / z
    log_means = logs.mean(axis=1)
    log_z = float(largest + np.log(z))
    return Diagnostics(
        log_z=log_z,
        log_z_error=float(error(sums) / z),
        kl_to_equilibrium=float(log_z - log_means.mean()),
        kl_error=float(error(sums / z - log_means)) if np.isfinite(log_means).all() else np.inf,
        effective_sample_size=float(w.sum() ** 2 / np.sum(w**2)),
        mean=mean,
        standard_errors=error(first) / z,
        covariance=covariance,
        covariance_errors=error(second - covariance * sums[:, None, None]) / z,
        samples=sets * count,
    )
