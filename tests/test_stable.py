"""Stable forms of formulas: values and derivatives against mpmath, shared functions of derivatives.

Errors are absolute, in parts of the largest value among the arguments: a derivative's natural
scale.  An exponent v of size 1e4 is rounded to eps v: quotients of exponentials are right to
about 1e-12 in double and 1e-3 in single precision.
"""

import mpmath
import numpy as np
import pytest
import sympy as sp
from energy_checks import random
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import special

from pwgf_sym import integral
from pwgf_sym import tensors as ir
from pwgf_sym.declare.symbols import Density
from pwgf_sym.derive.calculus import Gradient
from pwgf_sym.derive.samples import sample_form
from pwgf_sym.functions import expm1, log1p, sigmoid
from pwgf_sym.kernels.operations import Formulas
from pwgf_sym.tensors.differentiate import vjp
from pwgf_sym.tensors.passes import ShareFunctions
from pwgf_sym.tensors.scalars.applications import is_function
from pwgf_sym.tensors.scalars.stable import smooth, stable

x, y = sp.symbols("x y", real=True)
LOGISTIC = 1 / (1 + sp.exp(-x))
CASES = {
    LOGISTIC: sigmoid(x),
    3 / (2 + 2 * sp.exp(-x * y)): sp.Rational(3, 2) * sigmoid(x * y),
    1 / (1 + sp.exp(x)): sigmoid(-x),
    x / (1 + sp.exp(-x)): x * sigmoid(x),
    sp.exp(x) / (1 + sp.exp(x)): sigmoid(x),
    LOGISTIC.diff(x): sigmoid(x) * sigmoid(-x),
    LOGISTIC.diff(x, 2): sigmoid(x) * sigmoid(-x) * (2 * sigmoid(-x) - 1),
    (1 + sp.exp(2 * x)) ** sp.Rational(-1, 2): sp.sqrt(sigmoid(-2 * x)),
    sp.log(1 + sp.exp(x)): log1p(sp.exp(x)),
    sp.log(1 + sp.exp(x)).diff(x): sigmoid(x),
    sp.log(1 + x**2 + y): log1p(x**2 + y),
    sp.exp(x * y) - 1: expm1(x * y),
    2 - 2 * sp.exp(x) + y: y - 2 * expm1(x),
    sp.Piecewise((sp.exp(x) - 1, x < 0), (x, True)): sp.Piecewise((expm1(x), x < 0), (x, True)),
}
UNCHANGED = [
    *(sp.log(x), sp.log(2 + x), sp.exp(x) - 2, sp.exp(x) - y, 1 + sp.exp(x)),
    *((1 + sp.exp(x)) ** 2, 1 / (2 + sp.exp(x)), 1 / (1 - sp.exp(x)) - 1, 1 / (x + sp.exp(x))),
    *(sp.tanh(x), sp.exp(x) * sigmoid(x), 1 / (1 + sp.exp(1)) + x),
]


@pytest.mark.parametrize("formula", list(CASES), ids=str)
def test_recognized(formula):
    assert sp.simplify(smooth(formula) - CASES[formula]) == 0
    assert not any(base.has(sp.exp) for base in smooth(formula).atoms(sp.Pow))
    assert smooth(smooth(formula)) == smooth(formula)


@pytest.mark.parametrize("form", [smooth, stable])
@pytest.mark.parametrize("formula", [*CASES, *UNCHANGED], ids=str)
def test_values_are_kept(formula, form):
    functions = {"sigmoid": lambda u: 1 / (1 + mpmath.exp(-u)), "Max": max}
    functions["erfcx"] = lambda u: mpmath.exp(u * u) * mpmath.erfc(u)
    before, after = (
        sp.lambdify((x, y), e, [functions, "mpmath"]) for e in (formula, form(formula))
    )
    for point in [(0.3, 0.7), (-1.2, 0.4), (2.5, 3.1)]:
        assert mpmath.almosteq(before(*point), after(*point), 1e-13)


def test_sums_that_cancel_are_zero():
    """As in the gradient of int rho log(2 + |grad rho|^2/rho^2), rho = exp(x)."""
    inside = (y**2 * sp.exp(2 * x) + 3 * sp.exp(2 * x)) * sp.exp(-2 * x)
    zero = (3 * y**2 * sp.exp(x) + sp.exp(x)) * sp.exp(-2 * x)
    zero += (-3 * y**2 * sp.exp(2 * x) - sp.exp(2 * x)) * sp.exp(-3 * x)
    test_values_are_kept(y + zero * sp.exp(x) / (inside + 2) * sp.exp(y), stable)


TAILS = [
    sp.erfc(y) / (1 + sp.exp(x)) - sp.erfc(y) / (1 + sp.exp(x)) ** 2,
    y * sp.erfc(x) * sp.exp(2 * x) / (2 + sp.exp(x)) ** 3 + sp.exp(y) / 3,
    sp.erfc(x - y) * (sp.exp(x) - sp.exp(y)) / (sp.exp(x) + sp.exp(y)),
    sp.log(3 + sp.erfc(x) * (2 + sp.exp(y)) / 5),
    1 / (1 + (1 + sp.erf(y)) * (1 + sp.exp(x))),
]


@pytest.mark.parametrize("formula", TAILS, ids=str)
def test_tails_of_erfc_are_kept(formula):
    test_values_are_kept(formula, stable)


@pytest.mark.parametrize("form", [smooth, stable])
@pytest.mark.parametrize("formula", [e for e in UNCHANGED if not e.has(1 - sp.exp(x))], ids=str)
def test_left_alone(formula, form):
    assert form(formula) == formula


@pytest.mark.parametrize(
    "formula",
    [
        *(sp.exp(-(x**2) / 2), sp.exp(-(x**2)) * sp.cos(x), 1 / sp.cosh(x), sp.cosh(x) ** -2),
        *(sp.exp(x) + y * sp.exp(-x), x**2 * sp.exp(-x), 1 / (sp.exp(x) + sp.exp(-x))),
    ],
    ids=str,
)
def test_what_is_right_as_it_stands_is_left_alone(formula):
    assert stable(formula) == formula


def test_derivatives_read_the_stored_sigmoid():
    """Reverse mode through a swish: one function in all, and no exponential."""
    axis = ir.Axis("k", 3)
    a, ct = (ir.input_tensor(n, (axis,), per_sample=True) for n in ("a", "ct"))
    value = Formulas.apply(x / (1 + sp.exp(-x)), a)
    (slope,) = vjp({value: ct}, [a])
    (curvature,) = vjp({slope: ct}, [a])
    outputs = ShareFunctions().run([value, slope, curvature])
    formulas = [t.expression for t in ir.topological(outputs) if isinstance(t, ir.Elementwise)]
    assert [type(formula) for formula in formulas if is_function(formula)] == [sigmoid]


def test_numbers_are_worked_out():
    assert sigmoid(sp.Integer(0)) == sp.Rational(1, 2)
    assert float(sigmoid(sp.Float(2.0))) == pytest.approx(1 / (1 + np.exp(-2.0)), rel=1e-15)
    assert sigmoid(x).diff(x) == sigmoid(x) * (1 - sigmoid(x))
    assert sigmoid(x).is_positive


# ------------------------------------------------------------- against mpmath, far out and near 0
E, A, B = sp.exp, *sp.symbols("a b", positive=True)
FAR = [
    *(sp.log(1 + E(x)), sp.log(5 + E(-3 * x)), sp.log(sp.cosh(2 * x)), sp.log(E(x / 3) + E(-x))),
    *(sp.log(1 + A * E(70 * x)) / 70, sp.log(1 + 4 * E(x) + 3 * E(2 * x)), sp.log(sp.sech(x))),
    *(sp.log(1 + sp.log(2 + E(x))), sp.log(sp.cosh(x) + B), sp.log(3**x + sp.pi**-x)),
    *(sp.log((3 + x**2) * E(x) + E(-x)), sp.log(E(x) / (E(x) + A)), sp.log(1 + E(-(x**2)))),
    *(1 / (E(x) + E(-x)), sp.sech(x), sp.sech(x) ** 2, 1 / sp.cosh(x / 2) ** 3),
    *((E(x) - E(-x)) / (E(x) + E(-x)), (E(6 * x) - 1) / (E(6 * x) + 1), sp.sinh(x) / sp.cosh(x)),
    *(sp.sinh(3 * x) / sp.cosh(3 * x) ** 2, 1 / (1 + E(-x)) ** 3, (2 + E(4 * x)) ** -0.5),
    *(E(2 * x) / (1 + E(2 * x)) ** 2, E(x) / (A * E(x) + 2 * E(-x) + 3), x / (1 + E(-x))),
    *(x * sp.tanh(sp.log(1 + E(x))), E(-(x**2)) * sp.cosh(x), sp.sech(x) ** 3 * E(2 * x)),
    *(sp.sqrt(E(x) + E(-x)) * E(-2 * sp.sqrt(1 + x**2)), E(-(x**2) / 2) * (1 + E(x))),
    *(sp.cosh(3 * x) / sp.cosh(4 * x), (2 * E(x) + E(-x)) / (E(x) + 7 * E(-x))),
]
PARAMETERS = {A: sp.Rational(5, 8), B: sp.Rational(13, 4)}
TOLERANCE = {"float64": 4e-12, "float32": 1.5e-3}
RANGE = {"float64": 1e290, "float32": 1e36}
EXACT = {"sigmoid": lambda u: 1 / (1 + mpmath.exp(-u))}


def rounded(formula, symbols, points, dtype):
    """A formula in NumPy's functions and a precision."""
    known = {"sigmoid": special.expit, "expm1": np.expm1, "log1p": np.log1p}
    known |= {name: getattr(special, name) for name in ("erf", "erfc", "erfcx")}
    function = sp.lambdify(symbols, formula, [known, "numpy"], cse=True)
    with np.errstate(all="ignore"):
        found = function(*(column.astype(dtype) for column in points.T))
    return np.broadcast_to(np.asarray(found, float), len(points))


def exact(formula, symbols, points, digits=60):
    """The same in so many digits."""
    function = sp.lambdify(symbols, formula, [EXACT, "mpmath"])
    with mpmath.workdps(digits):
        return np.array([float(function(*map(mpmath.mpf, point))) for point in points])


def compare(formula, symbols, points, orders, tolerance, digits=60):
    """A formula and its derivatives by the first symbol in both precisions."""
    derivative = Gradient(symbols[:1])
    for order in range(orders + 1):
        for dtype in ("float64", "float32"):
            at = points.astype(dtype).astype(float)
            true = exact(formula, symbols, at, digits)
            got = rounded(stable(formula), symbols, at, dtype)
            held = np.abs(true) < RANGE[dtype]
            assert np.isfinite(got[held]).all(), (order, dtype, formula)
            error = np.abs(got[held] - true[held]).max() / np.abs(true[held]).max()
            assert error <= tolerance[dtype], (order, dtype, error, formula)
        (formula,) = derivative(formula)
        if formula.is_number:
            return


@pytest.mark.parametrize("formula", FAR, ids=str)
def test_far_out_and_near_zero(formula):
    """Arguments to 1e4 in double and single precision, up to the third derivative."""
    sizes = np.logspace(-4, 4, 25)
    points = np.concatenate([-sizes[::-1], [0.0], sizes])[:, None]
    compare(formula.xreplace(PARAMETERS), (x,), points, 3, TOLERANCE)


@pytest.mark.parametrize(
    "formula",
    [sp.log(1 + E(x)), sp.log(1 + 7 * E(x) + E(2 * x)), sp.log(1 + E(x) / 9), E(x) / (2 + E(x))]
    + [sp.log(1 - E(x)), sp.sech(x), sp.log(sp.cosh(x) - 1)],
    ids=str,
)
def test_tails_keep_their_digits(formula):
    """Where a value underflows slowly it is right to rounding itself, not beside 1."""
    points = -np.linspace(5, 600, 50)[:, None]
    derivative = Gradient([x])
    for _ in range(2):
        got, true = (
            rounded(stable(formula), [x], points, "float64"),
            exact(formula, [x], points, 600),
        )
        np.testing.assert_allclose(got, true, rtol=1e-12)
        (formula,) = derivative(formula)


U, V = x / sp.sqrt(2), (x - 2) / 5
ERRORS = [sp.log(sp.erfc(x)), sp.log((1 + sp.erf(U)) / 2), sp.log(1 - sp.erf(3 * V))]
ERRORS += [E(x**2 / 3) * sp.erfc(x), E(-(x**2) / 2) / (1 + sp.erf(U)), sp.erfc(x) / sp.erfc(x + 2)]
ERRORS += [sp.log(sp.erfc(V) + 3 * E(-(x**2))), sp.log(sp.erfc(-U) * E(x)), x * (1 + sp.erf(U))]


@pytest.mark.parametrize("formula", ERRORS, ids=str)
def test_normal_distribution(formula):
    """Values and slopes of logarithms and quotients of erfc, where it underflows, too."""
    sizes = np.logspace(-3, 1.5, 16)
    points = np.concatenate([-sizes[::-1], [0.0], sizes])[:, None]
    tolerance = {"float64": 1e-12, "float32": 1e-4}
    compare(formula, (x,), points, 1, tolerance, digits=700)


@pytest.mark.parametrize("size", [2000.0, -2000.0, 1e4, -1e4])
def test_normal_distribution_far_out(size):
    """log erfc(u) is -u^2 - log(u sqrt(pi)) + log(1 - 1/(2 u^2) + 3/(4 u^4)) there."""
    formula, point = sp.log(sp.erfc(-x)), np.array([[size]])
    u, value = -size, np.log(2)
    if u > 0:
        value = -(u**2) - np.log(u * np.sqrt(np.pi)) + np.log1p(-1 / (2 * u**2) + 3 / (4 * u**4))
    slope = 2 * u + 1 / u - 1 / u**3 if u > 0 else 0.0
    for dtype, relative in (("float64", 1e-14), ("float32", 1e-6)):
        got = rounded(stable(formula), (x,), point, dtype)
        assert got[0] == pytest.approx(value, rel=relative)
        got = rounded(stable(formula.diff(x)), (x,), point, dtype)
        assert got[0] == pytest.approx(slope, rel=relative)


RHO = Density((x,))
GAUSSIAN = sp.exp(-((x - 6) ** 2) / 2) / sp.sqrt(2 * sp.pi)
ENTROPIES = {
    "Kullback-Leibler": RHO * sp.log(RHO / GAUSSIAN),
    "Jensen-Shannon": RHO * sp.log(2 * RHO / (RHO + GAUSSIAN))
    + GAUSSIAN * sp.log(2 * GAUSSIAN / (RHO + GAUSSIAN)),
    "logarithm of a mixture": RHO * sp.log(3 * RHO / (RHO + 2 * GAUSSIAN)),
    "quotient": RHO**3 / (RHO + GAUSSIAN) ** 2,
    "Bose": (1 + RHO) * sp.log(1 + RHO) - RHO * sp.log(RHO),
    "logarithm": sp.log(1 + 3 * RHO) / 2,
    "weighted": RHO * sp.log(1 + sp.exp(-3 * x) * RHO**2),
}


@pytest.mark.parametrize("name", ENTROPIES)
def test_densities_that_underflow(name):
    """Densities of energies and derivatives by x and l, for l = log rho from -900 to 150."""
    form = sample_form(integral(ENTROPIES[name], (x,)), RHO)
    (at,), log_density, (s,) = form.coordinates, form.log_density, form.score
    points = [(p, v, 0.75) for p in (-25.0, 0.5, 6.25, 30.0) for v in (-900.0, -60, -0.5, 2, 150)]
    points = np.array(points)
    formulas = [form.integrals[0].density, *form.local_velocity, *form.local_gradient[0]]
    size = 1 + np.abs(points).sum(1) + points[:, 0] ** 2
    for formula in [*formulas, form.local_gradient[1]]:
        true = exact(formula, (at, log_density, s), points, 900)
        held = np.abs(true) < 1e280
        got = rounded(stable(formula), (at, log_density, s), points, "float64")
        gap, scale = np.abs(got[held] - true[held]), np.abs(true[held]) + size[held]
        assert (gap <= 1e-13 * scale).all(), formula


GATES = {
    (x - 2) ** 2 * sp.Heaviside(x - 2) * sp.exp(x**2): lambda u: u > 2,
    sp.Max(0, -x) ** 3 * sp.exp(-x) / 7: lambda u: u < 0,
    sp.Piecewise((x**2, x > 1), (0, True)) / (1 - sp.exp(x)): lambda u: u > 1,
    sp.Max(0, x - 1) ** 2 * sp.sinh(x): lambda u: u > 1,
}


@pytest.mark.parametrize("formula", list(GATES), ids=str)
def test_zero_times_infinity(formula):
    """A factor that is zero in a branch keeps the infinity of another one out of it."""
    points = np.array([-600.0, -30.0, -1.5, 0.5, 1.25, 3.0, 20.0])
    inside = GATES[formula](points)
    got = rounded(stable(formula), (x,), points[:, None], "float64")
    assert (got[~inside] == 0).all()
    held = inside & (np.abs(points) < 25)
    with np.errstate(over="ignore"):
        true = sp.lambdify(x, formula, ["numpy", {"Heaviside": np.heaviside}])(points[held])
    np.testing.assert_allclose(got[held], true, rtol=1e-12)


def test_weights_near_one_keep_their_logarithm():
    formula, points = sp.log(E(-x) / (3 * E(x) + E(-x))), -np.linspace(5, 300, 50)[:, None]
    got = rounded(stable(formula), [x], points, "float64")
    np.testing.assert_allclose(got, exact(formula, [x], points, 600), rtol=1e-12)


@st.composite
def exponential_sums(draw):
    """Sums of weighted exponentials of polynomials: their logarithms, quotients and powers."""

    def exponent():
        p, q = draw(st.tuples(*2 * [st.integers(-3, 3)]))
        return sp.Rational(p, 2) * x + q * y / 3 - draw(st.sampled_from([0, 1, x**2 / 8, y]))

    def total(size):
        weights = [sp.Rational(1, 3), sp.Integer(2), 1 + x**2 / 9, A, sp.sqrt(2), sp.S.One]
        return sp.Add(*(draw(st.sampled_from(weights)) * E(exponent()) for _ in range(size)))

    below, above = total(draw(st.integers(2, 4))), total(draw(st.integers(1, 3)))
    kind = draw(st.sampled_from(["log", "weights", "log of quotient", "root", "power"]))
    if kind == "weights":  # of a softmax, and what it is a mean of
        terms = below.args if below.is_Add else (below,)
        return sp.Add(*(draw(st.integers(1, 4)) * t for t in terms[:-1])) / below
    if kind == "root":
        return sp.log(sp.sqrt(below) * above + E(y))
    if kind == "power":
        return sp.log(below**2 + above * below + 1) / 4
    return sp.log(below) if kind == "log" else sp.log(above / below)


@random(12)
@given(exponential_sums(), st.integers(0, 99))
def test_random_sums(formula, seed):
    """Values and two derivatives at points of all sizes to 3,000."""
    assume(formula.free_symbols)
    rng = np.random.default_rng(seed)
    sizes = np.array([0.1, 1, 10, 100, 1000])[:, None, None]
    points = (sizes * rng.uniform(-3, 3, (5, 6, 2))).reshape(-1, 2)
    tolerance = {"float64": 1e-9, "float32": 0.2} if formula.has(x**2) else TOLERANCE
    compare(formula.xreplace(PARAMETERS), (x, y), points, 2, tolerance)
