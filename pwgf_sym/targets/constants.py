"""Integrals of functions over the whole space: the constants that energies hold beside means.

An integral int f(x, rho) dx is a mean over samples and the constant int f(x, 0) dx, which is found
here once, before a run: in closed form for what is an exponential of a quadratic form, as a product
where the formula is one, by the trapezoidal rule in up to three dimensions, where it converges
exponentially, and beyond by importance sampling.  All come with an estimate of their error.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import sympy as sp

from ..errors import EnergyError
from ..functions import host_function

__all__ = ["energy_constants", "integral_over_space"]

# The largest error, relative to the integral of |f|, at which a number is taken for the integral.
_ACCURATE = 1e-3
# Points of the trapezoidal rule along an axis, by dimension; they lie at sinh(t), |t| <= _RANGE.
_POINTS, _RANGE = {1: 8001, 2: 801, 3: 201}, 30.0
# And of a period.
_POINTS_OF_PERIOD = {1: 4096, 2: 512, 3: 64}
# Quasi-random points of importance sampling, by which the centre of a function is found, too.
_DRAWS, _REPLICATES, _ROUNDS = 1 << 13, 8, 6
_TAIL = 3.0  # degrees of freedom of the law that is drawn from


def energy_constants(form, parameters: dict, law, periods=()) -> tuple[np.ndarray, str]:
    """What is to be added to the means of an energy's integrals, and what is not known.

    Parameters
    ----------
    form : SampleForm
        The energy in samples.
    parameters : dict of Symbol to float
    law : Law
        The initial law: where to look.
    periods : tuple of d floats or None
        Of the coordinates: their integrals are over one period.

    Returns
    -------
    constants : (K,) array
        0 where there is none, or where it is not known.
    unknown : str
        The integrals whose constant was not found, those marked that are known to be infinite;
        empty if there is none.

    Raises
    ------
    EnergyError
        Where such an integral stands inside of a function, so that the flow depends on its value.
    """
    found, unknown = np.zeros(len(form.integrals)), []
    center, spread = tuple(law.mean), tuple(np.sqrt(np.diag(law.covariance)))
    lengths = periods or (None,) * len(form.coordinates)
    line = [x for x, period in zip(form.coordinates, lengths, strict=True) if period is None]
    for k, integral in enumerate(form.integrals):
        value = sp.S.Zero if integral.vacuum == 0 else _at(integral.vacuum, parameters)
        if value == 0:
            continue
        moves = bool(value.free_symbols & set(form.parameters))  # with the time, which has no value
        number = None
        if any(periods) and not moves:
            number = integral_over_periods(value, form.coordinates, periods)
        elif not moves:
            number = integral_over_space(value, form.coordinates, center, spread)
        if number is not None:
            found[k] = number
            continue
        if any(integral.symbol in w.free_symbols for w in _weights(form)):
            raise _needed(integral.label, value, _is_infinite(value, line), moves)
        infinite = " (infinite)" if _is_infinite(value, line) else ""
        unknown.append(integral.label + infinite + " (which changes with the time)" * moves)
    return found, ", ".join(unknown)


def _is_infinite(value: sp.Expr, coordinates) -> bool:
    """Whether a formula is known to have no finite integral: it is constant along a coordinate."""
    return not set(coordinates) <= value.free_symbols


def _needed(label: str, value: sp.Expr, infinite: bool, moves: bool) -> EnergyError:
    """The error where the flow depends on the integral of a formula that is not known."""
    what = "is infinite" if infinite else f"was not found to a part of {_ACCURATE:g}"
    what = "changes with the time" if moves and not infinite else what
    given = f"{label} inside of a function; at rho = 0 it is that of {value}, which {what}"
    accepted = "there, integrals whose value at rho = 0 is finite"
    if not infinite and not moves:
        accepted += " and found by quadrature about the initial law"
    return EnergyError(
        "energy", given, accepted, "Subtract the integrand at rho = 0: it moves no mass."
    )


def _weights(form) -> list[sp.Expr]:
    """dE/dI of all integrals I."""
    return [form.value.diff(integral.symbol) for integral in form.integrals]


def _at(formula: sp.Expr, parameters: dict) -> sp.Expr:
    numbers = {s: sp.Float(v, 17) for s, v in parameters.items() if s in formula.free_symbols}
    return formula.xreplace(numbers)


def integral_over_periods(formula: sp.Expr, coordinates, periods) -> float | None:
    """The integral of a periodic formula over one period of each coordinate.

    By the trapezoidal rule, which converges exponentially there.  None where it was not found, in
    more than three dimensions, or on a space that has coordinates of the line, too.
    """
    if None in periods or len(coordinates) > 3:
        return None
    values, count = _function(formula, coordinates), _POINTS_OF_PERIOD[len(coordinates)]
    sides = [period * np.arange(count) / count for period in periods]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, len(periods))
    found = values(grid).reshape([count] * len(periods))
    coarse = found[(slice(None, None, 2),) * len(periods)]
    steady = abs(found.mean() - coarse.mean()) <= _ACCURATE * np.abs(found).mean()
    return float(found.mean() * np.prod(periods)) if steady else None


@lru_cache(maxsize=64)
def integral_over_space(formula: sp.Expr, coordinates, center, spread) -> float | None:
    """The integral of a formula over all of R^d, or None where it is not finite or not found.

    Parameters
    ----------
    formula : Expr
        In the coordinates alone.
    coordinates : tuple of d Symbols
    center, spread : tuple of d floats
        Where to begin to look for what the formula is about.
    """
    near = dict(zip(coordinates, zip(center, spread, strict=True), strict=True))
    # Without force, which takes coordinates as positive: log(x^2) is not 2 log(x).
    written_out = sp.expand_mul(sp.expand_log(formula), deep=False)
    total = 0.0
    for part in sp.Add.make_args(written_out):
        value = _of_product(part, near)
        if value is None:
            break
        total += value
    else:
        return total
    # Summands may cancel far away.
    fits = len(coordinates) <= 3 and written_out.is_Add
    return _of_group(formula, tuple(coordinates), near) if fits else None


def _of_product(part: sp.Expr, near: dict) -> float | None:
    """A product of functions of different coordinates; without one of them it is infinite."""
    if part == 0:
        return 0.0
    number, factors = _split(part)
    groups = _groups(factors)
    if set().union(*groups) != set(near):
        return None
    values = [_of_group(f, tuple(sorted(g, key=str)), near) for g, f in groups.items()]
    return None if None in values else float(number) * float(np.prod(values))


def _split(part: sp.Expr) -> tuple[sp.Expr, list[sp.Expr]]:
    """A number and factors, exponentials of sums as products of exponentials."""
    number, factors = sp.S.One, []
    for factor in sp.Mul.make_args(sp.powdenest(part)):
        exponents = ()
        if isinstance(factor, sp.exp):  # without multiplying squares out, which loses digits
            exponents = sp.Add.make_args(sp.expand_mul(factor.exp, deep=False))
        for piece in [sp.exp(e) for e in exponents] or [factor]:
            if piece.free_symbols:
                factors.append(piece)
            else:
                number *= piece
    return number, factors


def _groups(factors: list[sp.Expr]) -> dict[frozenset, sp.Expr]:
    """Factors multiplied together where they share coordinates."""
    groups: dict[frozenset, sp.Expr] = {}
    for factor in factors:
        symbols, product = frozenset(factor.free_symbols), factor
        for other in [g for g in groups if g & symbols]:
            product, symbols = product * groups.pop(other), symbols | other
        groups[symbols] = product
    return groups


def _of_group(formula: sp.Expr, symbols: tuple, near: dict) -> float | None:
    """The integral over the coordinates of one factor."""
    center, spread = (np.array([near[s][k] for s in symbols], float) for k in (0, 1))
    closed = _of_gaussian(formula, symbols, center, spread)
    if closed is not None:
        return closed
    values = _function(formula, symbols)
    with np.errstate(all="ignore"):
        center, factor = _located(values, center, spread)
        if len(symbols) in _POINTS:
            return _by_trapezoids(values, center, factor)
        return _by_sampling(values, center, factor)


def _function(formula: sp.Expr, symbols):
    """A formula of points (N, k) as numbers (N,); what is not finite counts as 0."""
    compiled = host_function(symbols, formula, "numpy")

    def values(points: np.ndarray) -> np.ndarray:
        found = np.broadcast_to(compiled(*points.T), points.shape[:1])
        return np.where(np.isfinite(found), found, 0.0).astype(float)

    return values


def _of_gaussian(formula: sp.Expr, symbols, center, spread) -> float | None:
    """c exp(-q(x)) with a quadratic form q: c (2 pi)^(k/2)/sqrt(det H) exp(-min q)."""
    number, factors = _split(formula)
    if not all(isinstance(f, sp.exp) for f in factors):
        return None
    exponent = sp.Add(*(f.exp for f in factors))
    # Values near the centre cannot tell: a second well or a spike may lie far from it.
    if _degree(exponent) > 2:
        return None
    compiled = host_function(symbols, exponent, "numpy")
    k, step = len(symbols), spread
    for _ in range(3):  # again around the maximum, where it is computed with all digits
        fit = _quadratic(compiled, center, step)
        if fit is None:
            return None
        value, slope, hessian = fit
        try:
            factor = np.linalg.cholesky(-hessian)
        except np.linalg.LinAlgError:
            return None
        move = np.linalg.solve(factor.T, np.linalg.solve(factor, slope))
        center, step = center + move, 1 / np.sqrt(-np.diag(hessian))
    log_value = value + slope @ move / 2 + k * np.log(2 * np.pi) / 2 - np.log(np.diag(factor)).sum()
    found = float(number) * np.exp(log_value) if log_value < 700 else np.inf
    return float(found) if np.isfinite(found) else None


def _degree(node: sp.Expr) -> float:
    """The degree of a polynomial without regard to what cancels; infinite for other formulas."""
    if not node.free_symbols:
        return 0
    if node.is_Symbol:
        return 1
    if node.is_Add:
        return max(map(_degree, node.args))
    if node.is_Mul:
        return sum(map(_degree, node.args))
    if node.is_Pow and node.exp.is_Integer and node.exp > 0:
        return int(node.exp) * _degree(node.base)
    return np.inf


def _quadratic(compiled, center, step):
    """Value, slope and Hessian of a function at a point if it is quadratic, else None."""
    k = len(center)
    unit = np.eye(k)
    pairs = list(itertools.combinations(range(k), 2))
    random = np.random.default_rng(0).normal(size=(8, k))
    moves = np.vstack([0 * unit[:1], unit, -unit, *(unit[i] + unit[j] for i, j in pairs), random])
    with np.errstate(all="ignore"):
        points = center + moves * step
        found = np.broadcast_to(compiled(*points.T), len(moves)).astype(float)
    value, plus, minus = found[0], found[1 : k + 1], found[k + 1 : 2 * k + 1]
    slope, hessian = (plus - minus) / 2, np.diag(plus + minus - 2 * value)
    for (i, j), both in zip(pairs, found[2 * k + 1 :], strict=False):
        hessian[i, j] = hessian[j, i] = both - plus[i] - plus[j] + value
    want = value + random @ slope + np.einsum("ni,ij,nj->n", random, hessian, random) / 2
    scale = np.abs(found).max()
    if not np.allclose(found[-8:], want, rtol=0, atol=1e-9 * scale):
        return None
    return value, slope / step, hessian / np.outer(step, step)


# ---------------------------------------------------------------- numbers


def _draws(center, factor, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Quasi-random points of a law with heavy tails, (N, k), and its density there."""
    from scipy.special import gammaln, ndtri
    from scipy.stats import chi2, qmc

    k = len(center)
    uniform = qmc.Sobol(k + 1, seed=seed).random(_DRAWS).clip(1e-12, 1 - 1e-12)
    normal = ndtri(uniform[:, :k]) / np.sqrt(chi2.ppf(uniform[:, k], _TAIL) / _TAIL)[:, None]
    logs = gammaln((_TAIL + k) / 2) - gammaln(_TAIL / 2) - k / 2 * np.log(_TAIL * np.pi)
    logs = logs - (_TAIL + k) / 2 * np.log1p((normal**2).sum(axis=1) / _TAIL)
    return center + normal @ factor.T, np.exp(logs) / abs(np.prod(np.diag(factor)))


def _located(values, center, spread) -> tuple[np.ndarray, np.ndarray]:
    """Mean and Cholesky factor of the covariance of |f|, by repeated importance sampling."""
    factor = np.diag(3 * spread)
    for turn in range(_ROUNDS):
        points, density = _draws(center, factor, turn)
        weights = np.abs(values(points)) / density
        weights = np.minimum(weights, np.quantile(weights, 0.999))
        if not weights.sum() > 0:
            return center, factor
        weights /= weights.sum()
        mean = weights @ points
        gap = points - mean
        covariance = np.einsum("n,ni,nj->ij", weights, gap, gap)
        try:
            factor = np.linalg.cholesky(covariance * (1.5 if turn < _ROUNDS - 1 else 1.0))
        except np.linalg.LinAlgError:
            return center, factor
        center = mean
    return center, factor


def _by_trapezoids(values, center, factor) -> float | None:
    """The trapezoidal rule in t with x = center + factor sinh(t), and with every second point."""
    k = len(center)
    count = _POINTS[k]
    t = np.linspace(-_RANGE, _RANGE, count)
    nodes, weights = np.sinh(t), np.cosh(t) * (t[1] - t[0])
    total, coarse, size, edge = 0.0, 0.0, 0.0, 0.0
    grid = itertools.product(range(count), repeat=k - 1)
    places = np.array(list(grid), int).reshape(count ** (k - 1), k - 1)
    rest, inner = nodes[places], np.prod(weights[places], axis=1)
    even = (places % 2 == 0).all(axis=1)
    border = ((places == 0) | (places == count - 1)).any(axis=1)
    for i, (node, weight) in enumerate(zip(nodes, weights, strict=True)):
        u = np.column_stack([np.full(len(rest), node), rest])
        terms = values(center + u @ factor.T) * inner * weight
        total += terms.sum()
        size += np.abs(terms).sum()
        coarse += terms[even].sum() * 2**k if i % 2 == 0 else 0.0
        ends = np.abs(terms) if i in (0, count - 1) else np.abs(terms[border])
        edge = max(edge, ends.max(initial=0.0))
    volume = abs(np.prod(np.diag(factor)))
    steady = abs(total - coarse) <= _ACCURATE * size and edge <= 1e-9 * size
    # A size of 0: every point missed the function.
    return float(total * volume) if steady and 0 < size < np.inf else None


def _by_sampling(values, center, factor) -> float | None:
    """Importance sampling, with the spread of several scrambled sets of points as the error."""
    means, sizes = [], []
    for seed in range(_REPLICATES):
        points, density = _draws(center, 1.2 * factor, 100 + seed)
        ratio = values(points) / density
        means.append(ratio.mean())
        sizes.append(np.abs(ratio).mean())
    error = np.std(means, ddof=1) / np.sqrt(_REPLICATES)
    size = np.mean(sizes)
    return float(np.mean(means)) if 0 < size < np.inf and error <= _ACCURATE * size else None
