"""Functions of the tile runtime against mpmath and, densely, float32 against float64."""

import math
from functools import cache

import mpmath
import numpy as np
import pytest
import scipy.special
from numba import njit

from pwgf_sym.runtime.cpu import tiles
from pwgf_sym.runtime.cpu.tiles import load, maximum, minimum, power, store

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
INF, NAN = math.inf, math.nan

# Vector code, and the library called lane by lane: bounds in units in the last place.
VECTOR = ["exp", "expm1", "sigmoid", "tanh", "log", "log1p", "sin", "cos", "erf"]
LIBRARY = ["tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "erfc"]
LIBRARY += ["gamma", "loggamma"]
EXACT = ["sqrt", "floor", "ceil", "sign", "absolute"]
BOUND = dict.fromkeys(VECTOR, 2.0) | dict.fromkeys(LIBRARY, 4.0) | dict.fromkeys(EXACT, 0.5)
BOUND |= {"exp": 1.2, "log": 1.0, "power": 4.0}

TRUTH = {name: getattr(mpmath, name, None) for name in VECTOR + LIBRARY + EXACT} | {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "log1p": lambda x: mpmath.log1p(x),
    "loggamma": lambda x: mpmath.re(mpmath.loggamma(x)),
    "absolute": abs,
}
DOMAIN = {
    "log": lambda x: x > 0,
    "sqrt": lambda x: x >= 0,
    "asin": lambda x: abs(x) <= 1,
    "acos": lambda x: abs(x) <= 1,
    "acosh": lambda x: x >= 1,
    "atanh": lambda x: abs(x) < 1,
    "log1p": lambda x: x > -1,
    # mpmath gives up on them, and they are exactly 0, 1 or infinite.
    "erf": lambda x: abs(x) < 30,
    "erfc": lambda x: abs(x) < 30,
    "exp": lambda x: abs(x) < 1e4,
    "expm1": lambda x: abs(x) < 1e4,
    "sigmoid": lambda x: abs(x) < 1e4,
    "tanh": lambda x: abs(x) < 1e4,
    "sinh": lambda x: abs(x) < 1e4,
    "cosh": lambda x: abs(x) < 1e4,
    # Next to its poles and zeros a gamma function of rounded arguments is a test of the argument.
    "gamma": lambda x: 0.01 < x < 30,
    "loggamma": lambda x: 0.01 < x < 1e5,
}
LN2 = math.log(2)
# Multiples of pi/4 (even ones: next to zeros), and the integers closest to multiples of pi.
ANGLES = [k * math.pi / 4 for k in (1, 2, 3, 4, 6, 710, 1420, 2**13 + 2, 2**17, 2**29 + 2, 10**9)]
ANGLES += [3, 22, 333, 355, 9563, 103993, 104348, 208341, 312689, 1146408, 80143857, 411557987]
# Where reductions change interval, results overflow, become subnormal or round to a constant.
CUTS = {
    "exp": [LN2 / 2, 1.5 * LN2, 88.7228, 709.7827, -87.3365, -103.9, -708.396, -745.13],
    "expm1": [LN2 / 2, -LN2 / 2, 1.5 * LN2, 88.7228, 709.7827, -17.3, -37.4, -44.0],
    "sigmoid": [LN2 / 2, -math.log(3), -math.log(7), 16.6, 36.7, 44.0, -87.3, -103.9, -745.13],
    "tanh": [math.atanh(0.25), 0.0624, 0.1733, 0.549, 0.6020, 9.01, 19.06, 10.0, 20.0],
    "log": [0.5**0.5, 2**0.5, 1.0, 2.0**-126, 2.0**-1022],
    "log1p": [0.5**0.5 - 1, 2**0.5 - 1, -1.0, 1.0, 2.0**24, 2.0**53],
    "sin": [*ANGLES, 2.0**14, 2.0**30],
    "cos": [*ANGLES, 2.0**14, 2.0**30],
    "erf": [1.0, 0.5, 0.25, 3.83, 3.92, 4.0, 5.86, 5.92, 5.95],
}


@cache
def compiled(name, lanes):
    """A kernel that applies one function to a whole array, by so many lanes."""
    function = getattr(tiles, name)

    @njit(fastmath={"contract"}, error_model="numpy", nogil=True)
    def run(x, y):
        for i in range(0, x.size, lanes):
            store(y, i, 0, function(load(x, i, 0, 1, lanes)))

    return run


def evaluate(name, x, lanes=8):
    padded = np.concatenate([x, np.ones(-len(x) % lanes, x.dtype)])
    y = np.full_like(padded, -7.0)
    compiled(name, lanes)(padded, y)
    return y[: len(x)]


def ulps(value, truth, dtype):
    """|value - truth| in units in the last place of the rounded truth; 0 for equal infinities."""
    with np.errstate(over="ignore"):
        rounded = dtype(float(truth))
    if np.isinf(rounded) or not np.isfinite(value):
        return 0.0 if value == rounded else math.inf
    return float(abs(mpmath.mpf(float(value)) - truth) / float(np.spacing(abs(rounded))))


def near(points, dtype):
    """Points, their closest neighbours, and others within 5 per cent; of both signs."""
    points = np.asarray(points, dtype)[:, None]
    steps = np.arange(-3, 4) * np.spacing(points)
    around = points * np.random.default_rng(1).uniform(0.95, 1.05, (len(points), 100))
    found = np.concatenate([(points + steps).ravel(), around.ravel()])
    return np.concatenate([found, -found]).astype(dtype)


def sample_points(dtype, count, seed=7):
    """Numbers of all binades, subnormal ones too, and more of those of moderate size."""
    rng = np.random.default_rng(seed)
    bits = np.uint64 if dtype is np.float64 else np.uint32
    every = rng.integers(0, np.iinfo(bits).max, count, bits, endpoint=True).view(dtype)
    widths = (0.3, 0.6, 1.0, 3.0, 25.0, 100.0, 760.0)
    points = [every[np.isfinite(every)]]
    points += [rng.uniform(-w, w, count).astype(dtype) for w in widths]
    points += [(s * 10.0 ** rng.uniform(-9, 2, count)).astype(dtype) for s in (-1, 1)]
    points += [(1 + s * 10.0 ** rng.uniform(-16, -0.5, count)).astype(dtype) for s in (-1, 1)]
    return np.concatenate(points)


def worst(name, x, dtype):
    x = np.array([p for p in x if DOMAIN.get(name, np.isfinite)(p)], dtype)
    assert len(x) > 60, name
    found = 0.0
    with mpmath.workdps(40):
        for point, value in zip(x, evaluate(name, x), strict=True):
            error = ulps(value, mpmath.mpf(TRUTH[name](mpmath.mpf(float(point)))), dtype)
            assert error <= BOUND[name], (name, point, value, error)
            found = max(found, error)
    return found


# ------------------------------------------------------------------------------ functions of x
@BOTH
@pytest.mark.parametrize("name", VECTOR)
def test_vector_functions_match_mpmath(name, dtype):
    points = np.concatenate([sample_points(dtype, 300), near(CUTS[name], dtype)])
    assert worst(name, points, dtype) > 0.3  # the comparison itself sees rounding


@BOTH
@pytest.mark.parametrize("name", LIBRARY + EXACT)
def test_library_functions_match_mpmath(name, dtype):
    points = sample_points(dtype, 30)
    if name == "tan":  # near its poles a test of the argument
        points = points[np.abs(points) < 1.5]
    worst(name, points, dtype)


REFERENCE = {name: getattr(np, name, None) for name in VECTOR} | {
    "sigmoid": scipy.special.expit,
    "erf": scipy.special.erf,
}


@pytest.mark.parametrize("name", VECTOR)
def test_float32_matches_float64_densely(name):
    x = np.concatenate([sample_points(np.float32, 20_000), near(CUTS[name], np.float32)])
    x = x[DOMAIN[name](x)] if name in ("log", "log1p") else x
    with np.errstate(all="ignore"):
        truth = REFERENCE[name](x.astype(np.float64))
        rounded = truth.astype(np.float32)
        error = np.abs(evaluate(name, x) - truth) / np.spacing(np.abs(rounded))
    error = np.where(np.isfinite(rounded), error, evaluate(name, x) != rounded)
    assert error.max() <= BOUND[name] + 1e-6, x[error.argmax()]


@BOTH
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_huge_angles(name, dtype):
    """Beyond the reduction by parts the library takes over, whatever the other lanes hold."""
    largest = float(np.finfo(dtype).max)
    huge = [2.0**30 * 1.001, 1e10, 1e22, 3.7e35, 1e15, 6381956970095103 * 2.0**30, largest, -2e20]
    mixed = np.array([v for h in huge for v in (h, 0.5, -1.0, 3.0)], dtype)
    with mpmath.workdps(40):
        for point, value in zip(mixed, evaluate(name, mixed), strict=True):
            with mpmath.workdps(360):
                truth = TRUTH[name](mpmath.mpf(float(point)))
            assert ulps(value, truth, dtype) <= BOUND[name], (name, point)


@BOTH
@pytest.mark.parametrize("name", VECTOR)
def test_lanes_do_not_change_results(name, dtype):
    x = np.concatenate([sample_points(dtype, 30), [NAN, INF, -INF, 0.0, -0.0]]).astype(dtype)
    expected = evaluate(name, x, 8)
    for lanes in (1, 2, 16):
        np.testing.assert_array_equal(evaluate(name, x, lanes), expected)


SPECIAL = [0.0, -0.0, INF, -INF, NAN, -1.0, 1.0, -NAN]
AT_SPECIAL = {
    "exp": [1, 1, INF, 0.0, NAN, None, None, NAN],
    "expm1": [0.0, -0.0, INF, -1, NAN, None, None, NAN],
    "sigmoid": [0.5, 0.5, 1, 0.0, NAN, None, None, NAN],
    "tanh": [0.0, -0.0, 1, -1, NAN, -math.tanh(1), math.tanh(1), NAN],
    "log": [-INF, -INF, INF, NAN, NAN, NAN, 0.0, NAN],
    "log1p": [0.0, -0.0, INF, NAN, NAN, -INF, None, NAN],
    "sin": [0.0, -0.0, NAN, NAN, NAN, None, None, NAN],
    "cos": [1, 1, NAN, NAN, NAN, None, None, NAN],
    "erf": [0.0, -0.0, 1, -1, NAN, None, None, NAN],
    "sqrt": [0.0, -0.0, INF, NAN, NAN, NAN, 1, NAN],
    "atanh": [0.0, -0.0, NAN, NAN, NAN, -INF, INF, NAN],
    "gamma": [INF, -INF, INF, NAN, NAN, NAN, 1, NAN],
    "loggamma": [INF, INF, INF, INF, NAN, INF, 0.0, NAN],
    "floor": [0.0, -0.0, INF, -INF, NAN, -1, 1, NAN],
    "sign": [0, 0, 1, -1, NAN, -1, 1, NAN],
    "absolute": [0.0, 0.0, INF, INF, NAN, 1, 1, NAN],
}


@BOTH
@pytest.mark.parametrize("name", VECTOR + LIBRARY + EXACT)
def test_functions_at_special_points(name, dtype):
    x = np.array(SPECIAL, dtype)
    y = evaluate(name, x)
    assert np.isnan(y[[4, 7]]).all()
    for given, value, truth in zip(x, y, AT_SPECIAL.get(name, []), strict=False):
        if truth is not None:
            np.testing.assert_allclose(value, truth, atol=1e-6, err_msg=f"{name}({given})")
            if isinstance(truth, float) and truth == 0:
                assert np.signbit(value) == np.signbit(truth), (name, given)


@BOTH
def test_odd_functions_and_bounds(dtype):
    """Odd functions are odd to the bit, and no function leaves its range."""
    x = sample_points(dtype, 3000)
    for name in ("tanh", "sin", "erf"):
        y = evaluate(name, x)
        np.testing.assert_array_equal(evaluate(name, -x), -y)
        assert np.abs(y).max() <= 1
    s = evaluate("sigmoid", x)
    assert s.min() >= 0 and s.max() <= 1
    assert evaluate("expm1", x).min() >= -1


# ------------------------------------------------------------------------ functions of two tiles
@njit(fastmath={"contract"}, error_model="numpy", nogil=True)
def two(x, z, n, y):
    for i in range(0, n, 4):
        a, b = load(x, i, 0, 1, 4), load(z, i, 0, 1, 4)
        store(y, i, 0, minimum(a, b))
        store(y, i + n, 0, maximum(a, b))
        store(y, i + 2 * n, 0, tiles.atan2(a, b))
        store(y, i + 3 * n, 0, power(a, 3))
        store(y, i + 4 * n, 0, power(a, -2))
        store(y, i + 5 * n, 0, power(a, 0))
        store(y, i + 6 * n, 0, power(a, 8))


@BOTH
def test_functions_of_two_tiles(dtype):
    rng = np.random.default_rng(3)
    special = [0.0, -0.0, INF, -INF, NAN, 1.5]
    x = np.concatenate([np.repeat(special, 6), rng.normal(size=40)]).astype(dtype)
    z = np.concatenate([np.tile(special, 6), rng.normal(size=40)]).astype(dtype)
    y = np.empty((7, len(x)), dtype)
    two(x, z, len(x), y.reshape(-1))
    with np.errstate(all="ignore"):
        wide, eps = x.astype(np.float64), np.finfo(dtype).eps
        truth = [np.minimum(x, z), np.maximum(x, z), np.arctan2(wide, z)]
        truth += [wide**3, 1 / wide**2, np.ones_like(x), wide**8]
        for row, expected in zip(y, truth, strict=True):
            np.testing.assert_allclose(row, expected.astype(dtype), rtol=4 * eps)


@cache
def powers(lanes):
    @njit(fastmath={"contract"}, error_model="numpy", nogil=True)
    def run(x, y, z):
        for i in range(0, x.size, lanes):
            store(z, i, 0, power(load(x, i, 0, 1, lanes), load(y, i, 0, 1, lanes)))

    return run


def raised(x, y, lanes=4):
    n = len(x)
    x, y = (np.concatenate([v, np.ones(-n % lanes, v.dtype)]) for v in (x, y))
    z = np.empty_like(x)
    powers(lanes)(x, y, z)
    return z[:n]


@BOTH
def test_power_matches_mpmath(dtype):
    """Bases of all binades; exponents up to where the result overflows or vanishes."""
    rng, largest = np.random.default_rng(5), (745 if dtype is np.float64 else 103)
    n = 400
    x = np.abs(sample_points(dtype, n, seed=11))
    x = x[(x > 0) & (x != 1)]
    logs = np.log(x.astype(np.longdouble)).astype(np.float64)
    with np.errstate(over="ignore"):
        y = (rng.uniform(-largest, largest, len(x)) / logs).astype(dtype)
        moderate = rng.random(len(x)) < 0.3
        y = np.where(moderate, rng.uniform(-3, 3, len(x)), y).astype(dtype)
        whole = rng.random(len(x)) < 0.2
        y = np.where(whole, np.rint(y), y).astype(dtype)
    x = np.where(whole, -x, x)[np.isfinite(y)]
    y = y[np.isfinite(y)]
    with mpmath.workdps(40):
        for a, b, value in zip(x, y, raised(x, y), strict=True):
            truth = mpmath.power(mpmath.mpf(float(a)), mpmath.mpf(float(b)))
            truth = mpmath.re(truth)
            assert ulps(value, truth, dtype) <= BOUND["power"], (a, b, value)


@BOTH
def test_power_special_cases(dtype):
    """Annex F of the C standard, through NumPy's power (the C library's)."""
    values = [0.0, -0.0, 1, -1, INF, -INF, NAN, 2, -2, 3, -3, 0.5, -0.5, 2.5, -2.5, 1e30, -1e30]
    values += [2.0**24 + 2, 2.0**53, -(2.0**53), np.finfo(dtype).tiny / 8, 1 + 2.0**-20]
    x = np.repeat(values, len(values)).astype(dtype)
    y = np.tile(values, len(values)).astype(dtype)
    with np.errstate(all="ignore"):
        truth = np.power(x.astype(np.float64), y.astype(np.float64)).astype(dtype)
    for lanes in (1, 4):
        found = raised(x, y, lanes)
        np.testing.assert_allclose(found, truth, rtol=4 * np.finfo(dtype).eps)
        zero = truth == 0
        np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(truth[zero]))
