"""What ends in a crash, a hang or a wrong number elsewhere is refused here, soon and by name."""

import inspect
import math
import pickle
import time
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as pw
from pwgf_sym import arguments
from pwgf_sym.compile.values import real_function
from pwgf_sym.declare.formula_checks import expanded_terms
from pwgf_sym.errors import (
    CallError,
    CoordinateError,
    EnergyError,
    FlowError,
    FormulaError,
    LawError,
    MapError,
    NumpyFunctionError,
    OptionError,
)
from pwgf_sym.solve.grid import time_grid

X = pw.coordinates(2)
Y = pw.copy_of(X)
RHO = pw.Density(X)
LAW = pw.Gaussian([0.5, -0.25], [1.5, 0.75])
ENERGY = pw.integral((X[0] ** 2 + 3 * X[1] ** 2) * RHO, X)
PROBLEM = pw.GradientFlow(ENERGY, RHO, LAW)
FLOW = pw.Affine(2)


@pytest.fixture
def soon():
    """The test takes less than two seconds of the processor."""
    start = time.process_time()
    yield
    assert time.process_time() - start < 2


@pytest.fixture
def nothing_compiles(monkeypatch):
    """A refusal comes before a program is built."""

    def build(*_):
        raise AssertionError("a program was built")

    monkeypatch.setattr("pwgf_sym.solve.flow.build_program", build)


def solve(problem=PROBLEM, flow=FLOW, t_span=(0.0, 0.3), **options):
    return pw.solve(problem, flow, t_span, **{"samples": 32, "dt": 0.1, **options})


# -- numbers ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "value",
    [
        *(0.375, Fraction(3, 8), Decimal("0.375"), sp.Rational(3, 8), sp.Float(0.375)),
        *(np.float32(0.375), np.longdouble(0.375), np.array(0.375), sp.sin(sp.asin(0.375))),
    ],
)
def test_numbers_of_any_kind_are_numbers(value):
    assert arguments.number("dt", value) == pytest.approx(0.375, rel=1e-15)
    assert arguments.real_array("cov", value) == pytest.approx(0.375, rel=1e-15)
    assert arguments.real_array("cov", [value, 1]).tolist() == pytest.approx([0.375, 1])


@pytest.mark.parametrize("value", [6, np.int16(6), sp.Integer(6), np.array(6), Fraction(12, 2)])
def test_integers_of_any_kind_are_integers(value):
    found = arguments.integer("samples", value, 1)
    assert found == 6 and type(found) is int
    assert type(arguments.number("dt", value)) is float


@pytest.mark.parametrize(
    "value",
    [
        *(True, np.bool_(False), np.array(True), "0.5", b"1", None, 1j, np.complex64(1), math.nan),
        *(math.inf, sp.I, sp.nan, sp.oo, sp.zoo, sp.Symbol("q"), -(10**400), Decimal("NaN"), [0.5]),
        *(np.array([0.5]), np.array("1"), object(), int, {}, np.datetime64("2020-01-01")),
    ],
)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(OptionError, match=r"^dt: got .*; accepted: a finite real number"):
        arguments.number("dt", value)
    with pytest.raises(OptionError, match=r"^samples: got .*; accepted: an integer of at"):
        arguments.integer("samples", value if value is not True else 2.5, 3)


def test_bounds_and_near_integers_are_named():
    for bounds in ({"above": 2}, {"least": 3}, {"below": 1.5}):
        with pytest.raises(LawError, match=r"(above 2|at least 3|below 1\.5)\.$"):
            arguments.number("radius", 2, error=LawError, **bounds)
    with pytest.raises(OptionError, match=r"Write 2000\.$"):
        arguments.integer("samples", 2e3, 1)


@pytest.mark.parametrize(
    "value",
    [["1", "2"], [True, False], [1, [2, 3]], [1j], [None], {1, 2}, "12", np.zeros(2, "M8[s]")],
)
def test_arrays_of_anything_else_are_refused(value):
    with pytest.raises(LawError, match="mean: got"):
        pw.Gaussian(value, 1.0)


def test_numbers_of_any_kind_reach_a_run(soon):
    options = {"shift": Fraction(1, 1000), "samples": sp.Integer(16), "dt": Decimal("0.1")}
    checked = pw.solve.__wrapped__.__globals__["FlowOptions"](
        samples=options["samples"],
        dt=options["dt"],
        linear=pw.solve.__wrapped__.__globals__["LinearOptions"](shift=options["shift"]),
    )
    entries = checked.to_dict()
    assert [entries[k] for k in ("samples", "dt", "shift")] == [16, 0.1, 0.001]
    assert entries.pop("chosen") == []
    assert all(type(v) in (int, float, str, bool, type(None)) for v in entries.values())
    beta = sp.Symbol("beta")
    problem = pw.GradientFlow(beta * ENERGY, RHO, LAW, {beta: np.float32(0.5)})
    assert problem.parameters == {beta: 0.5}


# -- times -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("t_span", "dt", "save_at", "message"),
    [
        ((0, 30_000), Fraction(1, 400), None, "save_at: got 12000001 times to store.*save_at=np"),
        ((0, 5), 1e-11, [5], "dt: got 1e-11, which makes 5e[+]11 steps"),
        ((3e15, 3e15 + 7), 0.25, None, "are 0.5 apart.*Count times from the start"),
        ((2.5e9, 2.5e9 + 3), 1e-7, [2.5e9 + 3], "4.77e-07 apart"),
        ("03", 0.1, None, "a pair"),
        (None, 0.1, None, "a pair"),
        ((0, 1j), 0.1, None, "a pair"),
        ((0, "1"), 0.1, None, "a pair"),
        ((4, 3), 0.1, None, "forward only"),
        ((0, 1), 0.1, ["0.5"], "increasing"),
        ((0, 1), 0.1, [0.5, sp.I], "increasing"),
    ],
)
def test_times_that_cannot_be_are_refused(t_span, dt, save_at, message, soon, nothing_compiles):
    with pytest.raises(OptionError, match=message):
        solve(t_span=t_span, dt=dt, save_at=save_at)


def test_times_of_any_kind_and_far_from_zero():
    times, stored = time_grid(
        (Fraction(1, 4), sp.Integer(1)), np.float32(0.25), [sp.Rational(3, 4)]
    )
    assert times.tolist() == [0.25, 0.5, 0.75] and stored.tolist() == [False, False, True]
    start = 8.5e9
    times, _ = time_grid((start, start + 1), 0.125)
    assert np.all(np.diff(times) == 0.125)


def test_stored_times_are_told_apart_by_their_distance():
    start = 6.4e9
    solution = solve(t_span=(start, start + 0.25), dt=0.125, samples=16, dense_output=False)
    moved = [solution.push(LAW.mean[None], t=t) for t in solution.t]
    assert len({m.tobytes() for m in moved}) == 3
    for k, t in enumerate([start, start + 0.125, start + 0.25]):
        assert np.array_equal(solution.push(LAW.mean[None], t=t), moved[k])
    for t in (start + 0.05, start + 1e-4, start + 0.26, "0", True, 1j):
        with pytest.raises(OptionError, match=r"^t: got"):
            solution.push([[1, 1]], t=t)
    near = solve(t_span=(0, 3e-12), dt=1e-12, samples=16, dense_output=False)
    with pytest.raises(OptionError, match=r"^t: got"):
        near.push([[1, 1]], t=1.4e-12)


# -- formulas --------------------------------------------------------------------------------------
def nested(function, depth, start=X[0]):
    for _ in range(depth):
        start = function(start)
    return start


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (lambda: X[0] ** (3 * 10**8), "exponent 300000000"),
        (lambda: (X[0] - X[1]) ** -123456, "exponent -123456"),
        (lambda: X[0] ** sp.Float("1e300"), "exponent"),
        (lambda: sp.Integer(3) ** 900 * X[0], "larger than 1.8e308"),
        (lambda: sp.Float("2e-320") * X[0], "smaller than 2.2e-308"),
        (lambda: X[0] + sp.exp(sp.Integer(750)), "larger than 1.8e308"),
        (lambda: nested(sp.sin, 170), "more than 150 nested parts"),
        (lambda: nested(lambda e: sp.exp(-e), 100), "more than 150 nested parts"),
        (lambda: sp.Sum(X[0], (sp.Symbol("k"), 1, 10**7)), "of 10000000 terms"),
        (lambda: sp.Matrix([X[0], X[1]]), "matrix of shape"),
        (lambda: sp.MatrixSymbol("M", 3, 3)[1, 2] * X[0], "the matrix M"),
        (lambda: sp.MatrixSymbol("M", 1, 1), "the matrix M"),
        (lambda: sp.Tuple(X[0]), "a SymPy expression"),
        (lambda: X[0] > X[1], "Write sp.Piecewise"),
        (lambda: sp.false, "Write sp.Piecewise"),
        (lambda: "x[0]**2 + 1", "Texts are not evaluated"),
        (lambda: np.array([X[0], X[1]]), "a SymPy expression"),
        (lambda: sp.Symbol("A", commutative=False), "a SymPy expression"),
    ],
)
def test_formulas_beyond_the_limits_are_refused(formula, message):
    formula = formula()
    start = time.process_time()
    with pytest.raises(EnergyError, match=message):
        pw.integral(formula, X)
    assert time.process_time() - start < 2


def test_formulas_of_many_parts_are_refused(monkeypatch):
    monkeypatch.setattr("pwgf_sym.declare.formula_checks.MOST_PARTS", 400)
    pw.integral(sp.Add(*(sp.sin(k * X[0]) for k in range(90))), X)
    with pytest.raises(EnergyError, match="at most 400 different parts"):
        pw.integral(sp.Add(*(sp.sin(k * X[0]) for k in range(200))), X)


def test_formulas_that_double_at_every_step_are_refused():
    doubled = nested(lambda e: (e + 1) * (e / 3 + 2), 24)
    with pytest.raises(EnergyError, match="a formula of too many parts"):
        pw.integral(doubled * RHO, X)


def test_formulas_within_the_limits_are_accepted():
    square = sp.Matrix(X).T * sp.Matrix(X)
    assert pw.integral(square * RHO, X) == pw.integral((X[0] ** 2 + X[1] ** 2) * RHO, X)
    assert pw.integral(sp.ImmutableMatrix([[X[0] * RHO]]), X).integrand == X[0] * RHO
    ratio = sp.Rational(7 * 10**500 + 1, 3 * 10**500)
    assert pw.integral(ratio * X[0], X).integrand == ratio * X[0]
    pw.integral(nested(sp.sin, 100) * RHO + (X[0] + 1) ** 10_000, X)


def test_powers_of_sums_are_not_multiplied_out():
    """A bound from above, by the multinomial theorem, without expanding."""
    a, b, c = sp.symbols("a b c")
    for expr in ((a + b) ** 5 * (a - c), (a + b + c) ** 7, a * (b + (a + c) ** 3) ** 2, a**9):
        terms = len(sp.Add.make_args(sp.expand(expr)))
        assert terms <= expanded_terms(expr) <= 3 * terms
    assert expanded_terms((a + b + 1) ** 1000) == 10_000
    start = time.process_time()
    kernel = (X[0] - 2 * Y[0] + 1) ** 900 + (X[1] - Y[1] + 3) ** 700
    pw.first_variation(pw.integral(kernel * RHO * RHO.at(Y), X, Y), RHO)
    assert time.process_time() - start < 5


ASSUMED = ["positive", "negative", "nonnegative", "nonzero", "integer", "rational", "even"]


@pytest.mark.parametrize("assumption", ASSUMED)
def test_coordinates_with_assumptions_are_refused(assumption):
    symbols = (X[0], sp.Symbol("w", real=True, **{assumption: True}))
    for call in (pw.Density, pw.copy_of, lambda s: pw.integral(1, s)):
        with pytest.raises(EnergyError, match=r"Write sp.Symbol\('w', real=True\)"):
            call(symbols)


def test_real_symbols_of_ones_own_are_coordinates():
    u, v = sp.symbols("u v", real=True)
    assert pw.Density([u, v]).coordinates == (u, v)
    assert pw.Density((sp.Symbol("u", real=True, finite=True), v)).coordinates == (u, v)


# -- functions of integrals ------------------------------------------------------------------------
S = sp.Symbol("s")


@pytest.mark.parametrize(
    "outer",
    [
        *(sp.Si, sp.fresnelc, sp.zeta, sp.airyai, sp.elliptic_k, sp.Chi, sp.erfi, sp.floor),
        *(lambda e: sp.Integral(sp.exp(-e * S), (S, 0, 2)), lambda e: sp.Heaviside(e - 2)),
        *(lambda e: sp.Sum(e**S, (S, 0, 5)), lambda e: sp.Derivative(e**3, e), sp.Function("g")),
        *(lambda e: sp.I * e, lambda e: e + sp.oo, lambda e: sp.Mod(e, 3), sp.DiracDelta),
    ],
)
def test_functions_of_integrals_without_a_value_are_refused(outer, soon):
    with pytest.raises((EnergyError, FormulaError)):
        pw.compile(pw.GradientFlow(outer(ENERGY), RHO, LAW), FLOW)


def test_values_of_formulas_are_numbers_or_nan():
    a, b = sp.symbols("sqrt b")  # a symbol may have the name of a function
    assert real_function([a, b], sp.sqrt(a) * b)(4.0, 3.0) == 6.0
    for formula in (
        sp.sqrt(-a),
        sp.log(-a),
        1 / (a - 4),
        sp.exp(900 * a),
        (-a) ** sp.Rational(1, 3),
    ):
        assert math.isnan(real_function([a], formula)(4.0))
    for formula in (sp.Ei(a), sp.besselk(1, a), sp.Derivative(sp.floor(a), a)):
        with pytest.raises(FormulaError):
            real_function([a], formula)


@pytest.mark.parametrize(
    ("outer", "value"),
    [(sp.sqrt, np.sqrt), (sp.log, np.log), (lambda e: e ** sp.Rational(2, 5), lambda e: e**0.4)],
)
def test_roots_of_moments_have_values(outer, value):
    """Of I = int int |x - y|^2 rho rho, whose kernel is summed by moments: the chain rule."""
    distance = (X[0] - Y[0]) ** 2 + (X[1] - Y[1]) ** 2
    pair = pw.integral(distance * RHO * RHO.at(Y), X, Y)
    solutions = [
        solve(pw.GradientFlow(e, RHO, LAW), samples=64, linear_solver="dense", shift=0)
        for e in (pair, outer(pair))
    ]
    plain, curved = (s.energy[0] for s in solutions)
    assert curved == pytest.approx(value(plain), rel=1e-12)
    step = 1e-6 * plain
    slope = (value(plain + step) - value(plain - step)) / (2 * step)
    rates = [s.dissipation[0] for s in solutions]
    assert rates[1] == pytest.approx(slope**2 * rates[0], rel=1e-6)


def test_an_energy_without_a_value_is_named():
    for outer in (lambda e: sp.sqrt(e - 50), lambda e: sp.acos(e), lambda e: sp.log(-e)):
        with pytest.raises(FlowError, match="the energy has no finite real value"):
            solve(pw.GradientFlow(outer(ENERGY), RHO, LAW))


# -- sizes -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: pw.coordinates(10**6), EnergyError, "the dimension 1000000; accepted: at most"),
        (lambda: pw.Gaussian(np.zeros(4000), 1.0), LawError, "the dimension 4000"),
        (lambda: pw.UniformBox(np.zeros(3000), 1.0), LawError, "the dimension 3000"),
        (lambda: pw.Barenblatt(10**5, 2, 1), LawError, "the dimension 100000"),
        (lambda: pw.Affine(10**5), MapError, "the dimension 100000"),
        (lambda: pw.NeuralFlow(3, 10**10), MapError, "280000000048 parameters, which take .* GiB"),
        (lambda: pw.NeuralFlow(3, 64, 10**9), MapError, "GiB"),
        (lambda: LAW.sample(10**12, 0), LawError, "GiB"),
        (lambda: solve(samples=10**11), OptionError, "samples: .* GiB"),
        (
            lambda: solve(flow=pw.NeuralFlow(2, 10**5), linear_solver="dense"),
            OptionError,
            'linear_solver: got .* in matrices of "dense", which take .* GiB',
        ),
        (
            lambda: solve(samples=2 * 10**6, linear_solver="kernel", shift=0.1),
            OptionError,
            'linear_solver: got .* in matrices of "kernel", which take .* GiB',
        ),
        (
            lambda: solve(flow=pw.NeuralFlow(2, 20_000), t_span=(0, 9e4)),
            OptionError,
            "save_at: got 900001 stored times of .* GiB",
        ),
    ],
)
def test_sizes_beyond_memory_are_refused(call, kind, message, soon, nothing_compiles):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: pw.UniformBall([0.0], 1e200),
        lambda: pw.UniformBox([0.0], 1e-170),
        lambda: pw.UniformBox([-1e308], 1e308),
        lambda: pw.Gaussian([0.0], 1e-315),
        lambda: pw.exact.aggregation_radial([[0.3]], 2e4),
        lambda: pw.exact.ornstein_uhlenbeck(-500.0, 1.0, [1.0], 1.0, 2.0),
    ],
)
def test_sizes_beyond_double_precision_are_refused(call, soon):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((LawError, OptionError)):
            call()


# -- what a newcomer writes ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "written"),
    [
        (lambda: np.exp(X[0]), "sp.exp"),
        (lambda: np.exp(-(X[0] ** 2) / 2), "sp.exp"),
        (lambda: np.log(RHO), "sp.log"),
        (lambda: np.sqrt(ENERGY), "sp.sqrt"),
        (lambda: np.arctan(X[1] + 1), "sp.atan"),
        (lambda: np.tanh(X), "sp.tanh"),
        (lambda: np.cosh(np.array([X[0], 1.0])), "sp.cosh"),
        (lambda: np.log1p(X[0] * X[1]), r"sp.log\(1"),
        (lambda: np.linalg.norm(X), "sp.sqrt"),
        (lambda: np.hypot(X[0], X[1]), "sp.sqrt"),
    ],
)
def test_functions_of_numpy_say_what_to_write(call, written):
    with pytest.raises(NumpyFunctionError, match=f"Write {written}") as caught:
        call()
    assert isinstance(caught.value, TypeError)


def test_numpy_and_sympy_work_together_as_before():
    z = sp.Symbol("z_of_another_package")
    with pytest.raises(TypeError, match="no callable tan method") as caught:
        np.tan(z)
    assert not isinstance(caught.value, pw.PwgfError)
    assert np.float64(2) * X[0] == 2.0 * X[0] and (np.float64(2) < z) == (z > 2.0)
    assert (np.array([1, 2]) * X[0]).tolist() == [X[0], 2 * X[0]]
    assert (np.float64(2) == z) is False and (z**3).exp == 3
    assert np.dot([1, 2], X) == X[0] + 2 * X[1] and np.sum([z, z]) == 2 * z


@pytest.mark.parametrize(
    "call",
    [
        *(lambda: X**2, lambda: X * 3, lambda: 2 * X, lambda: X + 1, lambda: X - Y, lambda: -X),
        *(lambda: RHO * X, lambda: X / 2, lambda: np.float64(3) * X, lambda: np.ones(2) + X),
        *(lambda: X @ X, lambda: abs(X), lambda: X + Y),
    ],
)
def test_arithmetic_with_all_coordinates_is_refused(call):
    with pytest.raises(EnergyError, match=r"Write [xy]\[0\]\*\*2, or sum"):
        call()


def test_calls_of_the_density_and_wrong_indices_say_what_to_write():
    for arguments_ in (tuple(Y), (X,), (Y,), ()):
        with pytest.raises(EnergyError, match=r"rho\.at\(y\) for y = copy_of\(x\)"):
            RHO(*arguments_)
    with pytest.raises(CoordinateError, match=r"indices 0 to 1"):
        X[2]
    for index in ("__import__('os')", 0.5, None, sp.Rational(1, 2)):
        with pytest.raises(EnergyError, match="index: got"):
            X[index]
    assert list(X) == [X[0], X[-1]] and X[:1] == (X[0],)


@pytest.mark.parametrize(
    ("name", "here"),
    [
        *(
            ("t_eval", "save_at"),
            ("atol", "tol"),
            ("first_step", "dt"),
            ("scheme", "integrator"),
        ),
        *(("num_samples", "samples"), ("learning_rate", "dt"), ("random_state", "seed")),
        *(("smaples", "samples"), ("Dt", "dt"), ("linear_solvr", "linear_solver")),
        *(("energy_chek", "energy_check"), ("formulaton", "formulation"), ("device", "target")),
    ],
)
def test_unknown_options_are_named_with_the_nearest(name, here, nothing_compiles):
    with pytest.raises(
        CallError, match=rf"^{name}: .*(Use {here}:|Did you mean {here}\?)"
    ) as caught:
        solve(**{name: 1})
    assert isinstance(caught.value, OptionError) and isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pw.NeuralFlow(2, 8, hidden=3), "Use width"),
        (lambda: pw.NeuralFlow(2, 8, activaton=sp.sin), "Did you mean activation"),
        (lambda: pw.Gaussian(loc=0, cov=1), "Use mean"),
        (lambda: pw.Gaussian([0], sigma=1), "Use cov"),
        (lambda: pw.UniformBall([0], raduis=1), "Did you mean radius"),
        (lambda: pw.GradientFlow(ENERGY, RHO, law=LAW), "Use initial"),
        (lambda: pw.GradientFlow(ENERGY, initial=LAW), "missing a required argument: 'rho'"),
        (lambda: pw.solve(PROBLEM, FLOW), "missing a required argument: 't_span'"),
        (lambda: pw.compile(PROBLEM, FLOW, dtpye="float32"), "Did you mean dtype"),
        (lambda: pw.coordinates(2, nmae="z"), "Did you mean name"),
        (lambda: pw.pde(ENERGY), "missing"),
        (lambda: pw.load_solution(), "missing"),
        (lambda: pw.exact.quantiles([0, 1], [0, 1]), "missing"),
        (lambda: LAW.sample(4, sede=1), "Did you mean seed"),
        (lambda: pw.plot(None, tmes=1), "Did you mean times"),
    ],
)
def test_calls_that_do_not_fit_name_what_does(call, message):
    with pytest.raises(CallError, match=message):
        call()


def test_signatures_stay_introspectable():
    assert list(inspect.signature(pw.solve).parameters)[:3] == ["problem", "map", "t_span"]
    assert inspect.signature(pw.solve).parameters["dt"].default is None
    assert list(inspect.signature(pw.Gaussian).parameters) == ["mean", "cov"]
    assert pw.compile.__module__ == "pwgf_sym.compile.program" and pw.compile.__doc__


@pytest.mark.parametrize(
    "activation",
    [
        *("tanh", "relu", np.sinh, math.atan, lambda a: math.exp(a), lambda a: 2.5, lambda: 1),
        *(lambda a, b: a * b, lambda a: sp.I * sp.sin(a), lambda a: "sin(a)", lambda a: a / 0),
        *(lambda a: [a], lambda a: a < 1, lambda a: sp.Symbol("c") * a, lambda a: np.cos(a)),
        *(lambda a: a ** (10**7), lambda a: {}[a], sp.cos(sp.Symbol("b")), 3, None),
    ],
)
def test_activations_that_are_no_formula_are_refused(activation, soon):
    with pytest.raises(MapError, match=r"activation: got .*(Write activation=sp\.|Write it as sp)"):
        pw.NeuralFlow(2, 4, 1, activation=activation)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: pw.solve(FLOW, PROBLEM, (0, 1)), OptionError, "Exchange the two"),
        (lambda: solve(flow=pw.NeuralFlow), OptionError, r"Write Affine\(2\)"),
        (lambda: solve(problem=pw.GradientFlow), OptionError, r"Write GradientFlow\("),
        (lambda: pw.compile(PROBLEM, pw.Affine), OptionError, r"Write Affine\(2\)"),
        (lambda: pw.compile(FLOW, PROBLEM), OptionError, "Exchange the two"),
        (lambda: pw.GradientFlow(ENERGY, RHO, pw.Gaussian), LawError, r"Write initial=Gaussian"),
        (lambda: pw.GradientFlow(ENERGY, RHO, FLOW), LawError, "a law such as"),
        (lambda: pw.GradientFlow(ENERGY, RHO, pw.Gaussian([1.0], 1)), LawError, "dimension 2"),
        (lambda: pw.GradientFlow("rho**2", RHO, LAW), EnergyError, "a SymPy expression"),
        (lambda: pw.GradientFlow(ENERGY, X, LAW), EnergyError, r"Write rho = Density\(x\)"),
        (lambda: pw.Gaussian("1, 2", 1.0), LawError, "mean: got"),
        (lambda: pw.Gaussian([0, 1], "1"), LawError, "cov: got"),
        (lambda: solve(theta0="theta"), OptionError, "theta0: got"),
        (lambda: solve(callback=3), OptionError, "callback: got"),
        (lambda: solve(target=np.array(["cpu", "cuda"])), OptionError, "target: got"),
    ],
)
def test_other_things_in_the_place_of_arguments(call, kind, message, soon, nothing_compiles):
    with pytest.raises(kind, match=message):
        call()


def test_numbers_beyond_single_precision_are_refused_there():
    for factor in (sp.Float("3e40"), sp.Rational(1, 10**39)):
        problem = pw.GradientFlow(factor * ENERGY, RHO, LAW)
        with pytest.raises(FormulaError, match=r'does not hold the number.*dtype="float64"'):
            solve(problem, dtype="float32")
    beta = sp.Symbol("beta")
    with pytest.raises(FormulaError, match="dtype: got float32"):
        pw.compile(pw.GradientFlow(beta * ENERGY, RHO, LAW, {beta: 1e39}), FLOW, dtype="float32")


def test_laws_of_numbers_of_any_kind():
    half = [Fraction(1, 2), sp.Rational(-1, 4)]
    cov = sp.Matrix([[2, 1], [1, 3]])
    assert pw.Gaussian(half, cov) == pw.Gaussian([0.5, -0.25], [[2, 1], [1, 3]])
    assert pw.UniformBall(half, Decimal("1.5")) == pw.UniformBall([0.5, -0.25], 1.5)
    assert pw.UniformBox(half, np.float32(2)) == pw.UniformBox([0.5, -0.25], 2.0)
    assert pw.Barenblatt(np.int8(2), Fraction(5, 2), sp.Integer(1)) == pw.Barenblatt(2, 2.5, 1.0)
    assert pw.NeuralFlow(sp.Integer(2), np.int64(3), np.array(2)) == pw.NeuralFlow(2, 3, 2)


def test_errors_of_two_kinds_travel():
    for kind, other in ((CallError, TypeError), (CoordinateError, IndexError)):
        error = pickle.loads(pickle.dumps(kind("a", "b", "c", "d")))
        assert isinstance(error, other) and str(error) == "a: got b; accepted: c. d"


def test_formulas_that_cannot_be_stored_are_refused_before_a_run(nothing_compiles):
    unknown = type("unknown", (sp.Function,), {})
    problem = pw.GradientFlow(pw.integral(unknown(X[0]) * RHO, X), RHO, LAW)
    with pytest.raises(FormulaError, match="unknown"):
        solve(problem)
