"""First variations, velocities, equations and sample forms, against quadrature and closed forms.

Truth comes from outside: directional derivatives of the energy by central differences on a
Gauss-Legendre grid, first variations written by hand, and differences of the first variation.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import sympy as sp
from gallery_energies import BETA, GALLERY, MATRIX, Quadrature, aggregation, mixed, numeric
from hypothesis import given, settings
from hypothesis import strategies as st
from work import calls_of

from pwgf_sym.declare import Density, EnergyIntegral, coordinates, copy_of, integral
from pwgf_sym.derive import first_variation, pde, sample_form, velocity
from pwgf_sym.errors import EnergyError

X1, X2 = coordinates(1), coordinates(2)
Y1, Y2 = copy_of(X1), copy_of(X2)
RHO1, RHO2 = Density(X1), Density(X2)
POWER = sp.Symbol("m", positive=True)
VALUES = {BETA: 1.7, POWER: 2.5}


def gaussian(x, mean, variance):
    terms = [-((a - m) ** 2) / (2 * v) for a, m, v in zip(x, mean, variance)]
    return sp.exp(sum(terms)) / sp.sqrt(sp.prod([2 * sp.pi * v for v in variance]))


def formulas_1d():
    x, y = X1[0], Y1[0]
    return {
        "V": [x**4 / 4 - x**2, sp.cos(2 * x) * BETA, sp.exp(-(x**2)) + x / 3, x**2 / (1 + x**2)],
        "U": [
            RHO1 * sp.log(RHO1) / BETA,
            RHO1**2,
            RHO1**POWER / (POWER - 1),
            RHO1 * sp.log(1 + x**2 * RHO1),
            sp.sqrt(1 + RHO1**2) - 1,
            RHO1 ** sp.Rational(3, 2) * (2 + sp.sin(x)),
            RHO1 * sp.log(BETA * RHO1**POWER / 3) ** 2,
        ],
        "W": [
            (x - y) ** 2 / 2,
            sp.exp(-((x - y) ** 2)) * BETA,
            sp.cos(x - y),
            x * y**2,
            1 / (1 + (x - y) ** 2),
            sp.exp(-(x**2)) * sp.sin(y),
        ],
        "outer": [
            lambda a, b, c: a + b + c,
            lambda a, b, c: sp.sqrt(1 + a**2) + b * c,
            lambda a, b, c: sp.exp(-b / 4) * (3 + a) - c / BETA,
            lambda a, b, c: (a + 2 * b + c) ** 2 / 3 + 5,
        ],
    }


def random_energies():
    """Energies F(int V rho, int U(rho), int int W rho rho) on the line."""
    choices = formulas_1d()

    def build(picks):
        v, u, w, outer, swapped = picks
        copies = (Y1, X1) if swapped else (X1, Y1)
        pair = integral(w * RHO1 * RHO1.at(Y1), *copies)
        return outer(integral(v * RHO1, X1), integral(u, X1), pair)

    lists = [st.sampled_from(choices[key]) for key in ("V", "U", "W", "outer")]
    return st.tuples(*lists, st.booleans()).map(build)


# ---------------------------------------------------------------- directional derivatives


def gateaux_error(energy, rho, density, direction, half_width, order):
    """|dE(rho + eps chi)/d eps - int (dE/drho) chi| and the size of the derivative."""
    eps = 1e-4
    at = lambda e: Quadrature(rho, density + e * direction, half_width, order, VALUES)  # noqa: E731
    slope = (at(eps).energy(energy) - at(-eps).energy(energy)) / (2 * eps)
    here = at(0)
    variation = here.at(first_variation(energy, rho), here.points)
    chi = numeric(rho.args, direction)(*here.points)
    return abs(slope - here.integrate(variation * chi)), abs(slope)


@settings(max_examples=25, deadline=None)
@given(random_energies())
def test_first_variation_of_random_energies_is_the_directional_derivative(energy):
    density = gaussian(X1, [0.3], [0.8]) * 0.6 + gaussian(X1, [-1], [0.5]) * 0.4
    direction = density * (X1[0] - sp.Rational(1, 3) + sp.sin(X1[0]))
    error, size = gateaux_error(energy, RHO1, density, direction, 6.0, 120)
    assert error < 1e-6 * (1 + size)


PLANE = [name for name in GALLERY if name != "styblinski_tang"]


@pytest.mark.parametrize("name", PLANE)
def test_first_variation_of_the_gallery_is_the_directional_derivative(name):
    energy, rho = GALLERY[name]()
    density = gaussian(X2, [0.2, -0.1], [0.7, 0.5])
    direction = density * (1 + X2[0] - X2[1] ** 2 / 2)
    error, size = gateaux_error(energy, rho, density, direction, 5.0, 34)
    assert size > 1e-3 and error < 1e-6 * (1 + size)


# ---------------------------------------------------------------- closed forms


def test_first_variation_closed_forms():
    energy, rho = GALLERY["ornstein_uhlenbeck"]()
    x = sp.Matrix(X2)
    want = (x.T * MATRIX * x)[0] / 2 + (sp.log(rho) + 1) / BETA
    assert sp.expand(first_variation(energy, rho) - want) == 0
    energy, rho = GALLERY["porous_medium_m"]()
    assert first_variation(energy, rho) == POWER * rho ** (POWER - 1) / (POWER - 1)
    energy, rho = GALLERY["porous_medium_3"]()
    assert first_variation(energy, rho) == sp.Rational(3, 2) * rho**2
    energy, rho = GALLERY["square_of_well"]()
    root, _ = GALLERY["double_well"]()
    assert first_variation(energy, rho) == 2 * root * first_variation(root, rho)
    energy, rho = GALLERY["root_of_mixed"]()
    assert first_variation(energy, rho).has(1 / sp.sqrt(mixed()[0]))


def test_symmetric_kernels_print_as_one_convolution():
    energy, rho = aggregation()
    square = sum((a - b) ** 2 for a, b in zip(X2, Y2))
    variation = first_variation(energy, rho)
    assert isinstance(variation, EnergyIntegral) and variation.copies == (Y2,)
    kernel = variation.integrand / rho.at(Y2)
    assert sp.expand(kernel - (square**2 / 4 - square / 2)) == 0
    assert sp.count_ops(kernel) <= sp.count_ops(square**2 / 4 - square / 2) + 2
    gauss = sp.exp(-square)
    energy = integral(gauss * rho * rho.at(Y2) / 2, X2, Y2)
    assert first_variation(energy, rho) == EnergyIntegral(gauss * rho.at(Y2), Y2)


def test_asymmetric_kernels_are_symmetrized():
    energy = integral(X1[0] * Y1[0] ** 2 * RHO1 * RHO1.at(Y1), X1, Y1)
    kernel = X1[0] * Y1[0] ** 2 + Y1[0] * X1[0] ** 2
    got = first_variation(energy, RHO1)
    assert got.copies == (Y1,) and sp.expand(got.integrand - kernel * RHO1.at(Y1)) == 0
    antisymmetric = integral(sp.sin(X1[0] - Y1[0]) * RHO1 * RHO1.at(Y1), X1, Y1)
    assert first_variation(antisymmetric, RHO1) == 0


def test_names_of_the_integrated_copies_do_not_matter():
    z = coordinates(2, "z")
    square = sum((a - b) ** 2 for a, b in zip(Y2, z))
    elsewhere = integral(square**2 * RHO2.at(Y2) * RHO2.at(z), Y2, z)
    square = sum((a - b) ** 2 for a, b in zip(X2, z))
    here = integral(square**2 * RHO2 * RHO2.at(z), X2, z)
    assert first_variation(elsewhere, RHO2) == first_variation(here, RHO2)
    assert first_variation(integral(Y2[0] * RHO2.at(Y2) ** 2, Y2), RHO2) == 2 * X2[0] * RHO2


def test_velocity_closed_forms():
    energy, rho = GALLERY["ornstein_uhlenbeck"]()
    slopes = sp.Matrix([rho.diff(s) / (BETA * rho) for s in X2])
    want = -MATRIX * sp.Matrix(X2) - slopes
    assert (velocity(energy, rho) - want).expand() == sp.zeros(2, 1)
    energy, rho = GALLERY["porous_medium_2"]()
    assert velocity(energy, rho) == sp.Matrix([-2 * rho.diff(s) for s in X2])
    energy = integral(sp.exp(-((X1[0] - Y1[0]) ** 2)) * RHO1 * RHO1.at(Y1) / 2, X1, Y1)
    (component,) = velocity(energy, RHO1)
    (moved,) = component.atoms(EnergyIntegral)
    kernel = -2 * (X1[0] - Y1[0]) * sp.exp(-((X1[0] - Y1[0]) ** 2))
    assert component == -moved and sp.expand(moved.integrand - kernel * RHO1.at(Y1)) == 0


@pytest.mark.parametrize("name", ["mixed", "root_of_mixed", "porous_medium_m", "square_of_well"])
def test_velocity_is_minus_the_gradient_of_the_first_variation(name):
    energy, rho = GALLERY[name]()
    here = Quadrature(rho, gaussian(X2, [0.2, -0.1], [0.7, 0.5]), 5.0, 34, VALUES)
    points = np.random.default_rng(3).normal(size=(2, 5))
    for i, component in enumerate(velocity(energy, rho)):
        want = -central_difference(here, first_variation(energy, rho), points, i)
        assert here.at(component, points) == pytest.approx(want, rel=1e-6, abs=1e-7)


def central_difference(quadrature, expr, points, i, h=1e-4):
    """Derivative of the values of a first variation by coordinate i."""
    forward, backward = np.array(points), np.array(points)
    forward[i] += h
    backward[i] -= h
    return (quadrature.at(expr, forward) - quadrature.at(expr, backward)) / (2 * h)


# ---------------------------------------------------------------- the equation


def test_fokker_planck_and_porous_medium_equations():
    time_symbol = sp.Symbol("t", real=True)
    energy, rho = GALLERY["ornstein_uhlenbeck"]()
    now = rho.func(time_symbol, *X2)
    drift = MATRIX * sp.Matrix(X2)
    want = sum((now * f).diff(s) + now.diff(s, 2) / BETA for f, s in zip(drift, X2))
    equation = pde(energy, rho)
    assert equation.lhs == now.diff(time_symbol)
    assert sp.expand(equation.rhs.doit() - want) == 0
    energy, rho = GALLERY["porous_medium_3"]()
    want = sum((now**3).diff(s, 2) for s in X2)
    assert sp.expand(pde(energy, rho).rhs.doit() - want) == 0
    energy, rho = GALLERY["porous_medium_m"]()
    fluxes = {POWER * now ** (POWER - 1) * now.diff(s) for s in X2}
    assert {term.expr for term in pde(energy, rho).rhs.args} == fluxes


def test_heat_equation_reads_as_one():
    equation = pde(integral(RHO1 * sp.log(RHO1), X1), RHO1)
    assert str(equation) == "Eq(Derivative(rho(t, x0), t), Derivative(rho(t, x0), (x0, 2)))"


def test_equation_of_a_nonlocal_energy_has_the_time_under_the_integral():
    equation = pde(*aggregation())
    assert not equation.has(RHO2) and not equation.has(RHO2.at(Y2))
    assert equation.has(RHO2.func(sp.Symbol("t", real=True), *Y2))


@pytest.mark.parametrize("name", GALLERY)
def test_printing_of_what_is_derived(name):
    energy, rho = GALLERY[name]()
    for formula in (first_variation(energy, rho), velocity(energy, rho), pde(energy, rho)):
        assert str(formula) and sp.latex(formula)
        assert sp.pretty(formula) and sp.pretty(formula, use_unicode=False)
    assert r"\frac{\partial}{\partial t}" in sp.latex(pde(energy, rho))


# ---------------------------------------------------------------- the sample form


class OnSamples:
    """Values of a sample form at a density, with mean values by quadrature."""

    def __init__(self, form, quadrature):
        self.form, self.quadrature = form, quadrature
        self.x = list(form.coordinates)
        self.log_rho = sp.log(quadrature.formula)
        self.symbols, self.numbers = list(VALUES), list(VALUES.values())
        mass = quadrature.weights * self._given(quadrature.formula, quadrature.points)
        for term in form.integrals:
            if term.pair:
                self.numbers.append(mass @ self.kernel(term.density, quadrature.points) @ mass)
            else:
                self.numbers.append(float(mass @ self.local(term.density, quadrature.points)))
            self.symbols.append(term.symbol)
        self.mass = mass

    def _given(self, formula, points):
        return np.broadcast_to(numeric(tuple(self.x), formula)(*points), np.shape(points[0]))

    def local(self, expr, points):
        """Values at points (d arrays) of an expression in x, l, s, I and parameters."""
        slopes = [self._given(self.log_rho.diff(s), points) for s in self.x]
        carried = [self.form.log_density, *self.form.score]
        names = [*self.x, *carried, *self.symbols]
        arrays = [*points, self._given(self.log_rho, points), *slopes, *self.numbers]
        return np.broadcast_to(numeric(tuple(names), expr)(*arrays), np.shape(points[0]))

    def kernel(self, expr, points):
        """Values (points, nodes) of an expression in x, y, I and parameters."""
        names = [*self.x, *self.form.partners, *self.symbols]
        there = [np.asarray(p)[None, :] for p in self.quadrature.points]
        arrays = [*(np.asarray(p)[:, None] for p in points), *there, *self.numbers]
        shape = (len(points[0]), len(self.quadrature.points[0]))
        return np.broadcast_to(numeric(tuple(names), expr)(*arrays), shape)

    def value(self):
        return float(numeric(tuple(self.symbols), self.form.value)(*self.numbers))

    def velocity(self, points):
        rows = [self.local(w, points) for w in self.form.local_velocity]
        for weight, terms in self.form.pair_terms:
            pairs = [self.kernel(weight * w, points) @ self.mass for w in terms]
            rows = [a + b for a, b in zip(rows, pairs)]
        return np.array(rows)


def check_sample_form(energy, rho, density, half_width, order, points):
    quadrature = Quadrature(rho, density, half_width, order, VALUES)
    samples = OnSamples(sample_form(energy, rho), quadrature)
    assert samples.value() == pytest.approx(quadrature.energy(energy), rel=1e-9)
    got, variation = samples.velocity(points), first_variation(energy, rho)
    for i in range(len(points)):
        want = -central_difference(quadrature, variation, points, i)
        assert got[i] == pytest.approx(want, rel=1e-6, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(random_energies())
def test_sample_form_of_random_energies(energy):
    density = gaussian(X1, [0.3], [0.8])
    check_sample_form(energy, RHO1, density, 7.0, 100, np.array([[-1.2, -0.1, 0.4, 1.5]]))


@pytest.mark.parametrize("name", PLANE)
def test_sample_form_of_the_gallery(name):
    energy, rho = GALLERY[name]()
    points = np.random.default_rng(5).normal(size=(2, 6))
    check_sample_form(energy, rho, gaussian(X2, [0.2, -0.1], [0.7, 0.5]), 5.0, 34, points)


@settings(max_examples=25, deadline=None)
@given(random_energies())
def test_energy_form_is_the_velocity_form_integrated_by_parts(energy):
    # Moving samples by u changes l by -div u, and E by mean(e_x u - e_l div u) = -mean(w u).
    density = gaussian(X1, [0.3], [0.8])
    quadrature = Quadrature(RHO1, density, 8.0, 120, VALUES)
    samples = OnSamples(sample_form(energy, RHO1), quadrature)
    (by_x,), by_log = samples.form.local_gradient
    points = quadrature.points
    field, divergence = np.sin(points[0]), np.cos(points[0])
    change = samples.local(by_x, points) * field - samples.local(by_log, points) * divergence
    (local,) = samples.form.local_velocity
    want = -samples.mass @ (samples.local(local, points) * field)
    assert samples.mass @ change == pytest.approx(want, rel=1e-8, abs=1e-9)


def test_powers_of_the_density_have_one_exponent():
    factor = sp.Symbol("a", real=True)
    form = sample_form(integral(factor * RHO1**POWER / POWER, X1), RHO1)
    (s,), l = form.score, form.log_density  # noqa: E741
    assert form.local_velocity == (-factor * (POWER - 1) * sp.exp((POWER - 1) * l) * s,)
    assert form.integrals[0].density == factor * sp.exp((POWER - 1) * l) / POWER
    # Far out, where rho**(m - 2) overflows, the velocity is 0.
    value = form.local_velocity[0].subs({factor: 1.0, POWER: 1.5, l: -3000.0, s: 2.0})
    assert sp.lambdify([], value)() == 0
    plain = sample_form(integral(RHO1**2, X1), RHO1)
    assert plain.local_velocity == (-2 * sp.exp(l) * s,)
    assert plain.local_gradient == ((0,), sp.exp(l))
    for formula in (RHO1 * RHO1**POWER / RHO1**2, RHO1 ** (POWER - 1)):
        density = sample_form(integral(formula, X1), RHO1).integrals[0].density
        assert density == sp.exp((POWER - 2) * l)


def test_logarithms_of_the_density_become_l():
    form = sample_form(integral(RHO1 * sp.log(3 * RHO1**POWER / BETA), X1), RHO1)
    l = form.log_density  # noqa: E741
    assert l.is_real
    assert sp.expand(form.integrals[0].density - POWER * l - sp.log(3 / BETA)) == 0
    assert form.local_velocity == (-POWER * form.score[0],)
    entropy = sample_form(integral(RHO1 * sp.log(RHO1), X1), RHO1)
    assert entropy.integrals[0].density == l and entropy.local_gradient == ((0,), 1)
    mixed_form = sample_form(integral(RHO1**POWER * sp.log(RHO1) ** 2, X1), RHO1)
    assert mixed_form.integrals[0].density == sp.exp((POWER - 1) * l) * l**2


def test_potentials_that_are_not_smooth_everywhere():
    x = X1[0]
    huber = sp.Piecewise((x**2 / 2, sp.Abs(x) < 1), (sp.Abs(x) - sp.Rational(1, 2), True))
    (local,) = sample_form(integral(huber * RHO1, X1), RHO1).local_velocity
    for at, want in ((-3.0, 1.0), (-0.25, 0.25), (0.5, -0.5), (2.0, -1.0)):
        assert float(local.subs(x, at)) == want
    clipped = sp.sign(x) * x**2 + sp.Max(x, 1) * sp.Min(x, 2)
    (local,) = sample_form(integral(clipped * RHO1, X1), RHO1).local_velocity
    assert not local.has(sp.Derivative, sp.Subs)
    assert float(local.subs(x, 3.0)) == -8.0 and float(local.subs(x, -1.5)) == -4.0


def test_what_is_read_and_parts():
    potential = sample_form(integral(X2[0] ** 2 * RHO2, X2), RHO2)
    assert potential.reads == potential.velocity_reads == potential.energy_reads == ()
    assert potential.pair_terms == () and len(potential.partners) == 2
    entropy = sample_form(integral(RHO2 * sp.log(RHO2), X2), RHO2)
    assert entropy.velocity_reads == ("score",) and entropy.energy_reads == ("log_density",)
    assert entropy.reads == ("log_density", "score")
    square = sample_form(integral(RHO2**2, X2), RHO2)
    assert square.velocity_reads == ("log_density", "score")
    attraction = sample_form(*aggregation())
    assert attraction.local_velocity == (0, 0) and attraction.local_gradient == ((0, 0), 0)
    assert attraction.reads == ()
    form = sample_form(*mixed())
    assert [term.pair for term in form.integrals].count(True) == 1
    assert form.parameters == (BETA,) and form.partners == Y2
    assert all("∫" in term.label for term in form.integrals)
    square = sample_form(*GALLERY["square_of_well"]())
    assert square.value == square.integrals[0].symbol ** 2


def test_names_of_the_user_do_not_collide():
    names = ["l", "s0", "I_0", "I_1", "l_", "y0", "t", "rho"]
    clashing = [sp.Symbol(name) for name in names]
    z = coordinates(1, "z")
    energy = integral(sum(clashing) * X1[0] * RHO1 + RHO1**2, X1)
    energy += integral((X1[0] - z[0]) ** 2 * RHO1 * RHO1.at(z), X1, z)
    for value in (energy, energy.xreplace({s: sp.Integer(1) for s in clashing[2:]})):
        form = sample_form(value, RHO1)
        mine = [form.log_density, *form.score, *form.partners, *form.coordinates]
        mine += [term.symbol for term in form.integrals]
        everything = [s.name for s in (*mine, *form.parameters)]
        assert len(set(everything)) == len(everything)
        pairs = tuple(weight * w for weight, rows in form.pair_terms for w in rows)
        used = set().union(*(w.free_symbols for w in form.local_velocity + pairs))
        assert used | form.value.free_symbols <= {*mine, *form.parameters}
    assert pde(energy, RHO1).lhs.variables[0].name == "t_"
    # Coordinates called as the sample's own symbols.
    own = coordinates(2, "s")
    form = sample_form(integral(own[0] * Density(own) ** 2, own), Density(own))
    assert not set(form.score) & set(own)


def test_partners_avoid_parameters_of_the_same_name():
    plain = sp.Symbol("y0")
    pair = integral(plain * X1[0] * Y1[0] * RHO1 * RHO1.at(Y1), X1, Y1)
    for energy in (integral(plain * RHO1**2, X1), pair):
        form = sample_form(energy, RHO1)
        assert form.parameters == (plain,) and form.partners[0].name != "y0"
    ((weight, rows),) = form.pair_terms
    assert (weight, rows) == (1, (-2 * plain * form.partners[0],))


def test_names_do_not_depend_on_the_hash_seed():
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from gallery_energies import mixed, GALLERY\n"
        "from pwgf_sym.derive import pde, sample_form\n"
        "for make in (mixed, GALLERY['root_of_mixed'], GALLERY['styblinski_tang']):\n"
        "    print(sample_form(*make()), pde(*make()))\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root},
            cwd=root,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(printed) == 1


@pytest.mark.parametrize("derive", [first_variation, velocity, pde, sample_form])
@pytest.mark.parametrize("energy", [RHO2, [RHO2], integral(X2[0], X2), 3])
def test_what_is_no_energy_is_refused(derive, energy):
    with pytest.raises(EnergyError):
        derive(energy, RHO2)


def full_potential(dim):
    """A quadratic form with every term, and entropy; its density and matrix."""
    x = coordinates(dim)
    rho, matrix = Density(x), np.random.default_rng(0).normal(size=(dim, dim))
    column = sp.Matrix(x)
    potential = (column.T * sp.Matrix(matrix) * column)[0] / 2
    return integral(potential * rho + rho * sp.log(rho), x), rho, matrix


def test_thirty_dimensions():
    energy, rho, matrix = full_potential(30)
    form, flow, x = sample_form(energy, rho), velocity(energy, rho), rho.coordinates
    at = dict(zip(x, np.linspace(-1, 1, 30)))
    want = -(matrix + matrix.T) @ np.linspace(-1, 1, 30) / 2
    local = form.local_velocity[7].subs({**at, form.score[7]: 0})
    assert float(local) == pytest.approx(want[7], rel=1e-12)
    assert float(flow[7].subs(rho.diff(x[7]), 0).subs(at)) == pytest.approx(want[7], rel=1e-12)


def test_work_grows_with_the_number_of_terms():
    """Which is four times as large in twice the dimension."""

    def work(dim):
        energy, rho, _ = full_potential(dim)
        return calls_of(lambda: [derive(energy, rho) for derive in (velocity, sample_form)])

    assert work(20) < 6 * work(10)


def test_the_density_takes_the_place_of_a_symbol():
    r, a = sp.symbols("r a", positive=True)
    formula = r**a + 3 * r**2 + sp.log(r) * r
    assert formula.subs(r, RHO1) == RHO1**a + 3 * RHO1**2 + RHO1 * sp.log(RHO1)
