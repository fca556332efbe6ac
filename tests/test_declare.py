"""Declarations: coordinates, densities, energy integrals, their errors, and problems."""

import pickle
from types import SimpleNamespace

import pytest
import sympy as sp
from gallery_energies import BETA, GALLERY, double_well, mixed

from pwgf_sym.declare import (
    Coordinates,
    Density,
    EnergyIntegral,
    GradientFlow,
    check_energy,
    coordinates,
    copy_of,
    integral,
)
from pwgf_sym.declare.laws import Gaussian
from pwgf_sym.errors import EnergyError, LawError, ParameterError

X = coordinates(2)
Y = copy_of(X)
RHO = Density(X)


# ---------------------------------------------------------------- coordinates and the density


def test_coordinates_are_real_symbols():
    assert tuple(X) == sp.symbols("x0 x1", real=True)
    assert tuple(Y) == sp.symbols("y0 y1", real=True)
    assert copy_of(coordinates(2, "q")) == sp.symbols("q_copy0 q_copy1", real=True)
    assert X[-1] == sp.Symbol("x1", real=True) and X[:1] == (X[0],)
    assert X.dim == 2 and X.name == "x"


def test_coordinate_names_are_unambiguous():
    # x1 followed by 0 and x followed by 10 are different coordinates.
    assert not set(coordinates(2, "x1")) & set(coordinates(11, "x"))
    assert copy_of(coordinates(3, "x1")).name == "x1_copy"


def test_plain_real_symbols_serve_as_coordinates():
    a, b = sp.symbols("a b", real=True)
    rho = Density((a, b))
    assert rho == sp.Function("rho", positive=True)(a, b)
    assert copy_of((a, b)) == sp.symbols("a_copy b_copy", real=True)
    assert copy_of(sp.symbols("x0 x1", real=True)) == Y


@pytest.mark.parametrize("dim", [0, -1, 1.5, "2", True])
def test_wrong_dimension_is_named(dim):
    with pytest.raises(EnergyError, match="dim: got"):
        coordinates(dim)


@pytest.mark.parametrize("symbols", [sp.symbols("a b"), (X[0], X[0]), (), 3, "x", (X[0], 1)])
def test_wrong_coordinates_are_refused(symbols):
    with pytest.raises(EnergyError, match="distinct real SymPy symbols"):
        Density(symbols)


def test_density_is_a_positive_function_of_the_coordinates():
    assert RHO.is_positive and isinstance(RHO, Density) and RHO.args == X
    assert Density(X) == RHO and hash(Density(X)) == hash(RHO) and Density(X, "mu") != RHO
    assert RHO.at(Y).args == Y and RHO.at(Y).at(X) == RHO
    assert RHO.coordinates == X and RHO.coordinates.name == "x"
    assert isinstance(RHO.diff(X[0]), sp.Derivative)
    assert sp.log(sp.exp(RHO)) == RHO
    with pytest.raises(EnergyError, match="2 coordinates"):
        RHO.at(coordinates(3))


def test_long_densities_print_short():
    x = coordinates(10)
    rho = Density(x)
    assert str(rho) == "rho(x)" and sp.pretty(rho) == "ρ(x)"
    assert sp.latex(rho) == r"\rho{\left(x \right)}" and r"\rho^{2}" in sp.latex(rho**2)
    assert str(rho.func(sp.Symbol("t"), *x)) == "rho(t, x)"
    assert str(rho.at((1,) * 10)) == f"rho({', '.join('1' * 10)})"
    assert str(RHO) == "rho(x0, x1)"


def test_coordinates_survive_pickling():
    copy = pickle.loads(pickle.dumps(X))
    assert isinstance(copy, Coordinates) and copy == X and copy.name == "x"


# ---------------------------------------------------------------- integrals as expressions


def test_energies_are_ordinary_expressions():
    first, second = integral(X[0] ** 2 * RHO, X), integral(RHO**2 * BETA, X)
    assert first == integral(X[0] ** 2 * RHO, X) and hash(first) == hash(
        integral(X[0] ** 2 * RHO, X)
    )
    assert first.is_real and first.is_commutative and first.integrand == X[0] ** 2 * RHO
    assert first.copies == (X,)
    assert first + first == 2 * first and sp.sqrt(first) ** 2 == first and first - first == 0
    assert (first**2).diff(first) == 2 * first
    assert second.free_symbols == {BETA} and second.diff(BETA) == integral(RHO**2, X)
    assert second.diff(X[0]) == 0
    assert second.subs(BETA, 3) == integral(3 * RHO**2, X) and second.subs(BETA, 0) == 0
    assert "EnergyIntegral(" in sp.srepr(second)
    assert isinstance(sp.expand(first * (second + 1)), sp.Add)


def test_bound_coordinates_are_not_substituted():
    energy = integral(X[0] ** 2 * RHO, X)
    assert energy.subs(X[0], 3) == energy and energy.xreplace({X[0]: sp.Integer(3)}) == energy
    assert (X[0] * energy).subs(X[0], 3) == 3 * energy


def test_substitution_does_not_capture():
    energy = integral(BETA * RHO, X)
    for captured in (energy.subs(BETA, X[0]), energy.xreplace({BETA: X[0]})):
        assert captured.free_symbols == {X[0]}
        assert X[0] not in captured.bound_symbols
    # The nonlocal term, an integral over y with x free, at x = y.
    nonlocal_term = EnergyIntegral((X[0] - Y[0]) ** 2 * RHO.at(Y), Y)
    assert nonlocal_term.free_symbols == {X[0]}
    assert nonlocal_term.subs(X[0], Y[0]).free_symbols == {Y[0]}


def test_density_is_substituted_at_every_copy():
    energy = integral(X[0] * Y[1] * RHO * RHO.at(Y), X, Y)
    formula = sp.exp(-(X[0] ** 2)) / (1 + X[1] ** 2)
    there = sp.exp(-(Y[0] ** 2)) / (1 + Y[1] ** 2)
    assert energy.subs(RHO, formula).integrand == X[0] * Y[1] * formula * there


def test_derivative_by_the_density_is_refused_rather_than_zero():
    with pytest.raises(EnergyError, match="first_variation"):
        integral(RHO**2, X).diff(RHO)


def test_sums_over_an_index_are_expanded():
    i, j = sp.symbols("i j", integer=True)
    x, scale = coordinates(3), sp.Symbol("scale")
    rho = Density(x)
    energy = integral(sp.Sum(scale * i * x[i] ** 2, (i, 0, 2)) * rho, x)
    assert energy.integrand == (scale * x[1] ** 2 + 2 * scale * x[2] ** 2) * rho
    nested = integral(sp.Sum(x[i] * x[j], (j, 0, i), (i, 0, 2)) * rho, x).integrand / rho
    want = sum(x[a] * x[b] for a in range(3) for b in range(a + 1))
    assert sp.expand(nested - want) == 0
    product = integral(sp.Product(x[i], (i, 0, 2)) * rho, x)
    assert product.integrand == x[0] * x[1] * x[2] * rho
    y = copy_of(x)
    pair = integral(sp.Sum((x[i] - y[i]) ** 2, (i, 0, 2)) * rho * rho.at(y), x, y)
    assert not pair.has(sp.Indexed) and pair.integrand.has((x[2] - y[2]) ** 2)


def test_indices_out_of_range_are_named():
    x, i = coordinates(3), sp.Symbol("i", integer=True)
    with pytest.raises(EnergyError, match=r"x\[3\]"):
        integral(sp.Sum(x[i], (i, 0, 3)) * Density(x), x)
    x, i = coordinates(30), sp.Symbol("i", integer=True)
    with pytest.raises(EnergyError, match=r"x\[i \+ 2\] with i = 28"):
        integral(sp.Sum(x[i + 2] * x[i], (i, 0, 28)) * Density(x), x)


@pytest.mark.parametrize("name", GALLERY)
def test_printing(name):
    energy, _ = GALLERY[name]()
    assert "∫" in str(energy) and r"int" in sp.latex(energy)
    assert "⌠" in sp.pretty(energy, use_unicode=True)
    assert " dx" in sp.pretty(energy, use_unicode=False, wrap_line=False)
    assert str(energy) == str(GALLERY[name]()[0])


def test_printed_form():
    x = coordinates(1)
    rho = Density(x)
    assert str(integral(RHO**2, X)) == "∫(rho(x0, x1)**2) dx"
    assert str(integral(rho**2, x)) == "∫(rho(x0)**2) dx0"
    assert str(integral(RHO**2, X) ** 2) == "(∫(rho(x0, x1)**2) dx)**2"
    assert sp.latex(integral(rho**2, x)) == r"\int \rho^{2}{\left(x_{0} \right)}\, dx_{0}"
    assert sp.latex(integral(RHO * RHO.at(Y), X, Y)).startswith(r"\iint")


# ---------------------------------------------------------------- what is no energy


@pytest.mark.parametrize("name", GALLERY)
def test_gallery_is_accepted(name):
    check_energy(*GALLERY[name]())


def test_other_accepted_energies():
    free = integral(RHO * sp.log(RHO), X)
    well, kernel = integral(X[0] ** 4 * RHO, X), sp.cos(X[0] - Y[0])
    pair = integral(kernel * RHO * RHO.at(Y), X, Y)
    check_energy(free + 3, RHO)  # constants do not move mass
    check_energy(sp.exp(free) * well - BETA / (1 + pair**2), RHO)
    check_energy(integral(RHO.at(Y) ** 2, Y), RHO)  # any name for the integrated copy
    check_energy(integral((kernel * RHO + X[0] * RHO) * RHO.at(Y), X, Y), RHO)
    check_energy(integral((RHO + 1) * RHO.at(Y) - RHO.at(Y), X, Y), RHO)
    check_energy(integral(RHO, X), RHO)


Z = coordinates(2, "z")
F = sp.Function("f")
NO_ENERGIES = {
    "coordinate outside": (integral(RHO, X) + X[0] ** 2, r"x0\*\*2 with x0 outside"),
    "coordinate factor": (X[0] * integral(RHO**2, X), "with x0 outside an integral"),
    "density outside": (integral(RHO, X) + sp.log(RHO), "with rho.* outside an integral"),
    "no density": (
        integral(X[0] ** 2, X),
        r"∫\(x0\*\*2\) dx; accepted: integrals with the density",
    ),
    "no integral": (BETA**2, "at least one integral"),
    "number": (sp.Integer(3), "at least one integral"),
    "test function": (integral(RHO * RHO.at(Y), X), r"rho\(y0, y1\) used as a test function"),
    "density at a point": (integral(RHO * RHO.at((0, 0)), X), r"rho\(0, 0\) used as a test"),
    "another density": (integral(RHO * Density(X, "mu"), X), r"the density mu\(x0, x1\)"),
    "another dimension": (integral(Density(coordinates(3)), coordinates(3)), r"rho\(x0, x1, x2\)"),
    "not bilinear": (integral(X[0] * RHO**2 * Y[0], X, Y), r"x0\*y0\*rho\(x0, x1\)\*\*2.*double"),
    "one factor": (integral(RHO * RHO.at(Y) + X[1] * RHO, X, Y), r"got x1\*rho\(x0, x1\) in"),
    "log in a pair": (integral(RHO * sp.log(RHO.at(Y)), X, Y), r"log\(rho\(y0, y1\)\).*double"),
    "second derivative": (integral(RHO.diff(X[0], 2) ** 2, X), "the second derivative"),
    "gradient in a pair": (integral(RHO.diff(X[0]) * RHO.at(Y), X, Y), "in a double integral"),
    "undefined function": (integral(F(X[0]) * RHO, X), r"the undefined function f\(x0\)"),
    "undefined of density": (integral(F(RHO), X), r"the undefined function f\(rho"),
    "free copy": (integral(sp.exp(-Y[0]) * RHO, X), "free coordinate y0"),
    "free space": (integral(Z[0] * RHO, X) + integral(RHO.at(Z), Z), "free coordinate z0"),
    "nested": (
        integral(RHO * RHO.at(Z) * integral(RHO.at(Y), Y), X, Z),
        "inside a double integral",
    ),
    "imaginary": (integral(sp.I * RHO, X), "real, finite"),
    "imaginary factor": (sp.I * integral(RHO, X), "real, finite"),
    "infinite": (integral(RHO * sp.oo, X), "real, finite"),
    "no expression": ([integral(RHO, X)], "a SymPy expression of integrals"),
}


@pytest.mark.parametrize("name", NO_ENERGIES)
def test_what_is_no_energy_is_refused_by_name(name):
    energy, message = NO_ENERGIES[name]
    with pytest.raises(EnergyError, match=message):
        check_energy(energy, RHO)


def test_density_argument_is_checked():
    with pytest.raises(EnergyError, match="a Density"):
        check_energy(integral(RHO, X), X[0])


@pytest.mark.parametrize(
    "arguments",
    [
        (RHO,),
        (RHO, X, Y, Z, coordinates(2, "u")),
        (RHO, X, X),
        (RHO, X, coordinates(3, "y")),
        (RHO, sp.symbols("a b")),
        ("x0**2", X),
        (sp.Eq(X[0], 1), X),
        (None, X),
    ],
)
def test_malformed_integrals_are_refused(arguments):
    with pytest.raises(EnergyError):
        integral(*arguments)


def test_messages_about_huge_energies_are_short_and_quick():
    x = coordinates(30)
    rho = Density(x)
    products = [(a * b + 1) * x[a] * x[b] for a in range(30) for b in range(30)]
    potential = sp.Add(*products)
    with pytest.raises(EnergyError, match="the second derivative") as error:
        check_energy(integral(potential * rho.diff(x[0], 2) * rho, x), rho)
    assert len(str(error.value)) < 600


# ---------------------------------------------------------------- problems

LAW = Gaussian([0.0, 0.0], 1.0)


def test_problem_holds_its_parts_with_sorted_parameters():
    alpha, count = sp.Symbol("alpha"), sp.Symbol("a_count", integer=True)
    energy = integral((alpha + BETA * X[0] ** 2 + count) * RHO, X)
    values = {BETA: sp.Rational(1, 2), alpha: -1, count: 3.0}
    problem = GradientFlow(energy, RHO, LAW, values)
    assert list(problem.parameters.items()) == [(count, 3.0), (alpha, -1.0), (BETA, 0.5)]
    assert all(type(value) is float for value in problem.parameters.values())
    assert problem.energy is energy and problem.density is RHO and problem.initial is LAW
    assert problem.coordinates == X and problem.dim == 2
    assert "beta=0.5" in repr(problem)


def test_problem_without_parameters():
    assert GradientFlow(integral(RHO**2, X), RHO, initial=LAW).parameters == {}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (None, "beta: got no value"),
        ({}, "beta: got no value"),
        ({sp.Symbol("beta"): 1.0}, "use the same Symbol object"),
        ({"beta": 1.0}, "Use the Symbol as the key"),
        ({BETA: float("nan")}, "beta: got nan; accepted: a finite real number"),
        ({BETA: float("inf")}, "finite real number"),
        ({BETA: "2"}, "finite real number"),
        ({BETA: True}, "finite real number"),
        ({BETA: 1j}, "finite real number"),
        ({BETA: sp.Symbol("q")}, "finite real number"),
        ({BETA: -1.0}, "a value that is positive"),
        ({BETA: 1.0, sp.Symbol("gamma"): 2.0}, "symbols of the energy: beta.*Remove gamma"),
        ([1.0], "a dict of Symbol to number"),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    energy, rho = double_well()
    with pytest.raises(ParameterError, match=message):
        GradientFlow(energy, rho, LAW, parameters)


def test_names_that_are_used_twice_are_refused():
    twice = integral((BETA + sp.Symbol("beta")) * RHO, X)
    with pytest.raises(ParameterError, match="distinct names"):
        GradientFlow(twice, RHO, LAW, {BETA: 1, sp.Symbol("beta"): 1})
    with pytest.raises(ParameterError, match="coordinate"):
        GradientFlow(integral(sp.Symbol("x0") * RHO, X), RHO, LAW, {sp.Symbol("x0"): 1})


@pytest.mark.parametrize(
    "law", [Gaussian([0] * 3, 1), Gaussian, SimpleNamespace(dim=2), None, object()]
)
def test_initial_law_is_checked(law):
    with pytest.raises(LawError, match="initial: got"):
        GradientFlow(integral(RHO, X), RHO, law)


def test_problem_checks_the_energy_first():
    with pytest.raises(EnergyError):
        GradientFlow(mixed()[0] + X[0], RHO, None)


def test_a_density_in_place_of_a_symbol():
    """SymPy calls what takes the place of a power's base, where it can be called."""
    s, rho = sp.Symbol("s", positive=True), Density(coordinates(2))
    assert (s**2 + s ** sp.Rational(3, 2)).subs(s, rho) == rho**2 + rho ** sp.Rational(3, 2)
