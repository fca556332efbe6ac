"""Integrals inside integrals as formulas, against quadrature on a grid, and what is refused.

Truth: a trapezoidal rule, which converges exponentially on Gaussians, and complex steps of it.
"""

import numpy as np
import pytest
import sympy as sp
from convolution_cases import BETA, STEP, convolution, copies, square

import pwgf_sym as pw
from pwgf_sym.derive.samples import sample_form
from pwgf_sym.errors import EnergyError

X, Y, RHO = copies(1)
GRID = np.linspace(-9.0, 9.0, 181)
SYMMETRIC = sp.exp(-square(X, Y))
ASYMMETRIC = sp.exp(-square(X, Y) - X[0] * Y[0] / 3 + Y[0] / 2) * (2 + sp.sin(Y[0] - 2 * X[0]))


def density(z):
    return np.exp(-((z - 0.3) ** 2) / 2) * (1 + z / 4 + z**2 / 9)


def bump(z):
    return np.exp(-((z + 0.4) ** 2)) * (z - 0.1)


def on_grid(formula, values, rho):
    """A formula, its integrals by the trapezoidal rule; an integral's grid is one axis more."""
    names, found = {}, dict(values)
    for number, part in enumerate(outermost(formula)):
        mark = names[part] = sp.Symbol(f"mark{number}")
        if isinstance(part, sp.Derivative):
            (place,) = part.expr.args
            found[mark] = np.imag(rho(values[place] + 1j * STEP)) / STEP
        elif isinstance(part, pw.Density):
            (place,) = part.args
            found[mark] = rho(values[place])
        else:
            ((place,),) = part.copies
            inner = {s: np.asarray(v)[..., None] for s, v in values.items()} | {place: GRID}
            integrand = on_grid(part.integrand, inner, rho)
            found[mark] = integrand.sum(-1) * (GRID[1] - GRID[0])
    symbols = list(found)
    function = sp.lambdify(symbols, formula.xreplace(names), "numpy")
    return function(*(found[s] for s in symbols))


def outermost(formula):
    kinds = (sp.Derivative, pw.Density, type(pw.integral(RHO, X)))
    if isinstance(formula, kinds):
        return {formula: None}
    return {part: None for arg in formula.args for part in outermost(arg)}


def integrands(kernel):
    c = convolution(kernel, RHO, Y)
    other = convolution(sp.cos(X[0] - 2 * Y[0]) + 2, RHO, Y)
    return {
        "rho log c": RHO * sp.log(c),
        "c^2": c**2,
        "rho sqrt c": RHO * sp.sqrt(c),
        "rho c": RHO * c,
        "rho^2 log c": RHO**2 * sp.log(1 + c) * sp.exp(-X[0]),
        "two": RHO * c * other + c**2 * other * RHO**2,
        "with the density": RHO * sp.log(RHO + c),
    }


NAMES = list(integrands(SYMMETRIC))


@pytest.mark.parametrize("kernel", [SYMMETRIC, ASYMMETRIC], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize("name", NAMES)
def test_first_variation_and_velocity_on_the_line(name, kernel):
    integral = pw.integral(integrands(kernel)[name], X)
    for energy in (integral, integral**2 + sp.exp(-integral)):
        moved = on_grid(energy, {}, lambda z: density(z) + 1j * STEP * bump(z))
        variation = pw.first_variation(energy, RHO)
        found = on_grid(variation, {X[0]: GRID}, density) * bump(GRID)
        gateaux = moved.imag / STEP
        assert found.sum() * (GRID[1] - GRID[0]) == pytest.approx(gateaux, rel=1e-9)
        places = np.array([-1.1, 0.2, 0.9])
        moving = on_grid(variation, {X[0]: places + 1j * STEP}, density)
        velocity = on_grid(pw.velocity(energy, RHO)[0], {X[0]: places}, density)
        np.testing.assert_allclose(velocity, -np.imag(moving) / STEP, rtol=1e-9)


def test_printing_keeps_integrals_inside():
    energy = pw.integral(RHO * sp.log(convolution(SYMMETRIC, RHO, Y)), X)
    z = pw.coordinates(1, "z")
    at_x = convolution(SYMMETRIC, RHO, Y)
    at_y = pw.integral(sp.exp(-square(Y, z)) * RHO.at(z), z)
    turned = sp.exp(-square(Y, X))
    expected = sp.log(at_x) + pw.integral(turned * RHO.at(Y) / at_y, Y)
    assert pw.first_variation(energy, RHO) == expected
    equation = pw.pde(energy, RHO)
    assert equation.has(sp.Derivative) and "rho(t, z0)" in str(equation)


def test_names_of_copies_may_change_places():
    """Outside over y, inside over x: the same energy."""
    kernel = ASYMMETRIC
    swapped = kernel.xreplace({X[0]: Y[0], Y[0]: X[0]})
    one = pw.integral(RHO * sp.log(convolution(kernel, RHO, Y)), X)
    other = pw.integral(RHO.at(Y) * sp.log(pw.integral(swapped * RHO, X)), Y)
    assert sample_form(one, RHO).local_velocity == sample_form(other, RHO).local_velocity
    assert not one.free_symbols and not other.free_symbols
    gaussian = sp.exp(-(X[0] ** 2))
    assert not other.subs(RHO, gaussian).has(pw.Density)
    assert not one.subs(RHO, gaussian).has(pw.Density)


def test_what_a_partner_does_not_change_is_taken_out():
    kernel = BETA * sp.exp(-X[0]) * SYMMETRIC
    energy = pw.integral(RHO * convolution(kernel, RHO, Y), X)
    (found,) = sample_form(energy, RHO).convolutions
    assert found.kernel == SYMMETRIC


def test_sums_over_coordinates_are_written_out():
    i = sp.Symbol("i", integer=True)
    x, y, rho = copies(3)
    kernel = sp.exp(-sp.Sum((x[i] - y[i]) ** 2, (i, 0, 2)))
    energy = pw.integral(rho * sp.log(convolution(kernel, rho, y)), x)
    assert energy == pw.integral(rho * sp.log(convolution(sp.exp(-square(x, y)), rho, y)), x)


# ---------------------------------------------------------------- what is refused
N = sp.Symbol("N", integer=True, positive=True)
n = sp.Symbol("n", integer=True)
Z = pw.coordinates(1, "z")
DATA = sp.Sum(sp.IndexedBase("b", shape=(N,))[n] * (X[0] - Y[0]) ** 2, (n, 0, N - 1))
C = convolution(SYMMETRIC, RHO, Y)
REFUSED = {
    "deeper": (
        pw.integral(RHO * convolution(pw.integral(RHO.at(Z) * sp.exp(Z[0] * Y[0]), Z), RHO, Y), X),
        "nested deeper than one level",
    ),
    "in a pair": (pw.integral(RHO * RHO.at(Z) * C, X, Z), "an integral inside a double integral"),
    "three copies": (
        pw.integral(RHO * pw.integral(X[0] * RHO.at(Y) * RHO.at(Z), Y, Z), X),
        "a double integral inside an integral",
    ),
    "the same copy": (
        pw.integral(RHO * pw.integral(RHO * X[0] ** 2, X), X),
        r"both integrals over the same coordinates.*copy_of\(x\)",
    ),
    "outer density": (
        pw.integral(pw.integral(sp.exp(-RHO * Y[0] ** 2) * RHO.at(Y), Y) * RHO, X),
        "the density of the outer copy inside.*Take it out",
    ),
    "not linear": (
        pw.integral(RHO * convolution(SYMMETRIC * RHO.at(Y), RHO, Y), X),
        r"rho\(y0\)\*\*2.*inside of an integral, integrals of K\*rho\(y0\)",
    ),
    "no density": (
        pw.integral(RHO * pw.integral(SYMMETRIC, Y), X),
        "an inner integral without the density",
    ),
    "data": (
        pw.integral(RHO * convolution(DATA, RHO, Y), X),
        "an inner integral with a sum over an index",
    ),
    "a free copy": (
        pw.integral(RHO * convolution(sp.exp(-Z[0] * Y[0]), RHO, Y), X) + pw.integral(RHO.at(Z), Z),
        "with the free coordinate z0",
    ),
    "a slope outside": (
        pw.integral(RHO.diff(X[0]) ** 2 * C, X),
        "with an integral inside and the density's gradient; .*Write two integrals",
    ),
    "a slope inside": (
        pw.integral(RHO * pw.integral(SYMMETRIC * RHO.at(Y).diff(Y[0]), Y), X),
        "a derivative inside the inner integral.*Integrate by parts",
    ),
    "a jump": (
        pw.integral(RHO * convolution(sp.Heaviside(X[0] - Y[0]), RHO, Y), X),
        "the kernel Heaviside.*jumps",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_convolution_is_refused_by_name(name):
    energy, message = REFUSED[name]
    with pytest.raises(EnergyError, match=message):
        pw.first_variation(energy, RHO)
