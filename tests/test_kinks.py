"""Kinks are differentiated piece by piece, and jumps are refused, however they are spelled.

Truth: values of the formulas themselves in mpmath, by their definition, and central differences.
"""

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from pwgf_sym import Affine, Gaussian, GradientFlow, solve
from pwgf_sym.declare import Density, coordinates, copy_of, integral
from pwgf_sym.derive import borders, first_variation, pde, sample_form, velocity
from pwgf_sym.derive.borders import jump
from pwgf_sym.derive.calculus import RHO, Gradient
from pwgf_sym.derive.pieces import in_pieces
from pwgf_sym.errors import EnergyError
from pwgf_sym.targets.program import compile_program

X1, X2 = coordinates(1), coordinates(2)
Y1 = copy_of(X1)
RHO1, RHO2 = Density(X1), Density(X2)
(A,), (B, C) = X1, X2
Y = Y1[0]
K = sp.Symbol("k", positive=True)
R = sp.Symbol("r", positive=True)
NORMAL = Gaussian([0.0], 1.0)
PHASES = (Phase.explicit, Phase.generate)  # shrinking formulas takes minutes
SLOW = [HealthCheck.too_slow]
H, half, third = sp.Heaviside, sp.Rational(1, 2), sp.Rational(1, 3)
OUTSIDE = sp.Abs(A) - 2
TENT = ((1 - sp.Abs(B)) * (2 - sp.Abs(C)), sp.And(sp.Abs(B) < 1, sp.Abs(C) < 2))

# ---------------------------------------------------------------- which formulas jump

CONTINUOUS = [
    (A - 3) * H(A - 3),
    OUTSIDE * H(OUTSIDE),
    sp.Piecewise((A**3, A < 0), (sp.sin(A), True)),
    sp.Piecewise((sp.exp(A) - 1, A < 0), (A, A < 2), (A**2 / 2, True)),
    sp.Piecewise((sp.Piecewise((A, A < 1), (2 - A, True)), A > 0), (0, True)),
    sp.Piecewise(TENT, (0, True)),
    sp.Piecewise((0, sp.Not(sp.And(B > 0, C > 0))), (B * C, True)),
    sp.real_root(A, 5),
    sp.sign(A) * sp.Abs(A) ** sp.Rational(1, 7),
    sp.frac(2 * A) * (1 - sp.frac(2 * A)),
    sp.Mod(A, 3) * (3 - sp.Mod(A, 3)),
    sp.floor(A) * sp.sin(sp.pi * A),
    H(A - 1) + H(1 - A),
    sp.sign(A**2 + 1) + sp.sign((A - 2) ** 2),
    K * sp.Abs(B) - sp.Max(C, B, K) + sp.Min(B, -C) ** 2,
    sp.Piecewise((A**2 / 2, sp.Abs(A) < K), (K * sp.Abs(A) - K**2 / 2, True)),
    sp.Piecewise((1, sp.Eq(A, 0)), (sp.sin(A) / A, True)),
    sp.Max(A, 0) / (1 + sp.Abs(A)),
    sp.exp(-1 / A**2),
    sp.Abs(A) * sp.log(sp.Abs(A)),
    sp.Abs(A) ** 3 / A,
    sp.Piecewise((RHO**2, RHO < A**2), (A**2 * RHO, True)),
    sum(sp.Max(s, 0) ** 2 * sp.sign(s) for s in sp.symbols("z0:30", real=True)),
]
JUMPING = [
    (H(A - 3), 3),
    (sp.sign(A + 2) * A, -2),
    (sp.Piecewise((1, A > 1), (0, True)), 1),
    (sp.Piecewise((A, A < 4), (3, A <= 4), (A + 1, True)), 4),
    (sp.Piecewise((1, A > 2), (3, A <= 2)), 2),
    (A * sp.floor(A / 3), None),
    (sp.ceiling(A), None),
    (sp.frac(A), None),
    (sp.Mod(A, 2), None),
    ((A + sp.Abs(A)) / (2 * A), 0),
    (sp.Abs(A - 1) / (A - 1), 1),
    (sp.sqrt((A + 1) ** 2) / (A + 1), -1),
    (sp.Max(A, 0) / A, 0),
    (sp.atan(1 / (A - 2)), 2),
    (1 / (1 + sp.exp(1 / A)), 0),
    (A * H(A - 10**6), 10**6),
    (sp.Piecewise((1, sp.And(sp.Abs(B) < 1, sp.Abs(C) < 2)), (0, True)), None),
    (sp.Piecewise((1, sp.Not(sp.Or(B > 0, C > 1))), (B, True)), None),
    (sp.Piecewise((sp.Piecewise((1, C > 0), (2, True)), B > 0), (0, True)), None),
    (sp.Piecewise((A**2, sp.Abs(A) < K), (K * sp.Abs(A), True)) + H(A - K), None),
    (sp.exp(sp.sign(B)) + C**2, 0),
    (sp.atan2(B, C), None),
    (sp.Piecewise((RHO, RHO < A**2), (A * RHO, True)), None),
    (sum(sp.Abs(s) for s in sp.symbols("z0:30", real=True)) + H(A), 0),
]


@pytest.mark.parametrize("formula", CONTINUOUS, ids=str)
def test_kinks_are_no_jumps(formula):
    assert jump(in_pieces(formula)) is None


@pytest.mark.parametrize("formula, place", JUMPING, ids=str)
def test_jumps_are_found_with_their_border(formula, place):
    border = jump(in_pieces(formula))
    assert border is not None
    if place is not None:  # the border that is named holds the place
        (symbol,) = border.zero.free_symbols
        assert border.zero.subs(symbol, place) == 0


def test_smooth_formulas_are_not_searched(monkeypatch):
    monkeypatch.setattr(borders, "_compared", None)
    x = coordinates(40)
    formula = sum(sp.exp(-(s**2)) / (1 + s**2) + sp.tanh(s / (2 + s**4)) for s in x) * RHO
    assert jump(formula + RHO * sp.log(RHO)) is None
    assert jump(sum(sp.Abs(s) + sp.Max(s, 1) ** 3 for s in x)) is None


def test_equal_questions_are_asked_once():
    borders._compared.cache_clear()
    x = coordinates(60)
    assert jump(sum(sp.Piecewise((s**2, s < 1), (2 * s - 1, True)) for s in x)) is None
    assert borders._compared.cache_info().misses == 1


def test_a_sum_of_kinks_stays_a_sum():
    x = coordinates(30)
    rho = Density(x)
    form = sample_form(integral(sum(sp.Abs(s) + s * H(s) for s in x) * rho, x), rho)
    assert all(sp.count_ops(w) < 12 for w in form.local_velocity)
    assert sp.count_ops(form.integrals[0].density) < 400


# ---------------------------------------------------------------- derivatives


def value(formula, point):
    """A formula at numbers, by what its functions mean; written apart from the package."""
    known = {
        sp.Max: lambda *a: max(a), sp.Min: lambda *a: min(a), sp.Abs: abs,
        sp.sign: mpmath.sign, sp.floor: mpmath.floor, sp.ceiling: mpmath.ceil,
        sp.frac: lambda u: u - mpmath.floor(u), sp.exp: mpmath.exp, sp.sin: mpmath.sin,
        sp.Mod: lambda u, m: u - m * mpmath.floor(u / m), sp.log: mpmath.log,
        sp.tanh: mpmath.tanh, sp.cos: mpmath.cos,
        sp.Heaviside: lambda u, at: at if u == 0 else mpmath.mpf(u > 0),
        sp.Add: lambda *a: mpmath.fsum(a), sp.Mul: lambda *a: mpmath.fprod(a), sp.Pow: mpmath.power,
        sp.And: lambda *a: all(a), sp.Or: lambda *a: any(a), sp.Not: lambda a: not a,
        sp.ITE: lambda c, a, b: a if c else b,
        sp.StrictGreaterThan: lambda a, b: a > b, sp.StrictLessThan: lambda a, b: a < b,
        sp.GreaterThan: lambda a, b: a >= b, sp.LessThan: lambda a, b: a <= b,
    }  # fmt: skip
    if formula in point:
        return point[formula]
    if formula in (sp.true, sp.false):
        return bool(formula)
    if formula.is_number:
        return mpmath.mpf(formula.p) / formula.q
    if isinstance(formula, sp.Piecewise):
        return next(value(e, point) for e, c in formula.args if value(c, point))
    return known[formula.func](*(value(arg, point) for arg in formula.args))


def slope(formula, point, symbol):
    """Central difference of fourth order, and whether it is far enough from every border."""
    h = mpmath.mpf(10) ** -8

    def at(step):
        return value(formula, point | {symbol: point[symbol] + step})

    near = (8 * (at(h) - at(-h)) - at(2 * h) + at(-2 * h)) / (12 * h)
    wide = (at(1e-4) - at(-1e-4)) / mpmath.mpf(2e-4)
    return near, abs(near - wide) < 1e-3 * (1 + abs(near))


def huber(u):
    return sp.Piecewise((u**2 / 2, sp.Abs(u) < 1), (sp.Abs(u) - half, True))


def quadrant(u, v):
    return sp.Piecewise((u * v, sp.And(u > 0, v > 0)), (0, True))


def kinked(symbols):
    """Random continuous formulas with kinks in some symbols."""
    atom = st.sampled_from([*symbols, symbols[0] - 1, symbols[-1] / 2 + third, 1 - 2 * symbols[0]])
    numbers = st.sampled_from([sp.S.Zero, sp.S.One, half, -third])

    def more(inner):
        return st.one_of(
            st.builds(sp.Max, inner, numbers),
            st.builds(sp.Min, inner, inner),
            st.builds(sp.Abs, inner),
            st.builds(lambda u: u * H(u), inner),
            st.builds(lambda u: u**2 * sp.sign(u), inner),
            st.builds(lambda u, v: u * sp.tanh(v), inner, inner),
            st.builds(lambda u: sp.frac(u) * (1 - sp.frac(u)), inner),
            st.builds(lambda u, v: sp.Piecewise((u, u > v), (v, True)), inner, inner),
            st.builds(huber, inner),
            st.builds(lambda u: sp.Piecewise((sp.exp(u) - 1, u < 0), (u, True)), inner),
            st.builds(lambda u: sp.Max(u, 0) ** 3 - sp.Max(-u, 0) ** 2, inner),
            st.builds(quadrant, inner, inner),
            st.builds(sp.Add, inner, inner),
        )  # fmt: skip

    return st.recursive(atom, more, max_leaves=4)


@settings(
    max_examples=25, deadline=None, derandomize=True, phases=PHASES, suppress_health_check=SLOW
)
@given(kinked([B, C, RHO]), st.integers(0, 10**6))
def test_random_kinks_have_the_slopes_of_their_pieces(formula, seed):
    rng = np.random.default_rng(seed)
    pieces = in_pieces(sp.sympify(formula))
    assert jump(pieces) is None
    slopes = Gradient([B, C, RHO])(pieces)
    with mpmath.workdps(40):
        for _ in range(4):
            b, c, r = rng.normal(size=2).tolist() + [rng.uniform(0.1, 3)]
            point = {B: mpmath.mpf(b), C: mpmath.mpf(c), RHO: mpmath.mpf(r)}
            for symbol, found in zip((B, C, RHO), slopes, strict=True):
                want, smooth = slope(formula, point, symbol)
                if smooth:
                    assert abs(value(found, point) - want) < 1e-9 * (1 + abs(want))


@settings(
    max_examples=12, deadline=None, derandomize=True, phases=PHASES, suppress_health_check=SLOW
)
@given(kinked([A]), kinked([A]), st.sampled_from([-2, sp.Rational(-1, 5), third, 3]))
def test_random_jumps_are_refused(formula, other, at):
    """A continuous formula times a step, where the formula does not vanish, jumps."""
    here, gap = (value(sp.sympify(f), {A: mpmath.mpf(at.p) / at.q if hasattr(at, "p") else at})
                 for f in (formula, 1 + other**2))  # fmt: skip
    assume(abs(here) > 1e-6)
    for step in (H(A - at), sp.Piecewise((1, at < A), (0, True)), sp.sign(A - at) * (1 + other**2)):
        with pytest.raises(EnergyError, match="jumps"):
            velocity(integral(formula * step * RHO1, X1), RHO1)
    assert gap > 0


def test_potentials_and_pairs_piece_by_piece():
    """Slopes of potentials and pair kernels in the sample form, in closed form."""
    cases = [
        (OUTSIDE * H(OUTSIDE), lambda x: np.sign(x) * (abs(x) > 2)),
        (sp.Piecewise((A**2, A > 0), (0, True)), lambda x: 2 * x * (x > 0)),
        (sp.real_root(A, 3), lambda x: abs(x) ** (-2 / 3) / 3),
        (sp.frac(A) * (1 - sp.frac(A)), lambda x: 1 - 2 * (x - np.floor(x))),
        (sp.sqrt(sp.Max(A, 0)), lambda x: (x > 0) / (2 * np.sqrt(abs(x)))),
        (sp.Max(A, -A, 1) ** 2, lambda x: 2 * x * (abs(x) > 1)),
    ]
    for potential, want in cases:
        (local,) = sample_form(integral(potential * RHO1, X1), RHO1).local_velocity
        for x in (-3.3, -1.7, -0.4, 0.25, 1.3, 2.6):
            assert float(local.subs(A, x)) == pytest.approx(-want(x), rel=1e-12, abs=1e-14)
    pair = integral(sp.Max(1 - (A - Y) ** 2, 0) * RHO1 * RHO1.at(Y1), X1, Y1)
    ((_, (drift,)),) = sample_form(pair, RHO1).pair_terms
    for x, y in ((0.2, 0.9), (0.2, 1.9), (-2.0, 0.1)):
        want = 4 * (x - y) * (abs(x - y) < 1)
        assert float(drift.subs({A: x, Y: y})) == pytest.approx(want, abs=1e-14)


# ---------------------------------------------------------------- refusals, and what works

STEPS = [
    H(A - 1),
    sp.sign(A),
    sp.floor(2 * A),
    sp.Mod(A, 3),
    sp.Piecewise((1, A > K), (0, True)),
    (A + sp.Abs(A)) / (2 * A),
    A**2 / sp.Abs(A) ** 2 * sp.Abs(A) / A,
]


@pytest.mark.parametrize("step", STEPS, ids=str)
@pytest.mark.parametrize("formulation", ["velocity", "energy"])
def test_a_potential_or_a_pair_that_jumps_is_refused(step, formulation):
    values = dict.fromkeys(step.free_symbols & {K}, 0.7)
    moved = step.subs(A, A - Y) * RHO1 * RHO1.at(Y1)
    for energy in (integral(step * RHO1 + RHO1 * sp.log(RHO1), X1), integral(moved, X1, Y1)):
        for derive in (velocity, pde, sample_form, first_variation):
            with pytest.raises(EnergyError, match=r"jumps (at|where)"):
                derive(energy, RHO1)
        problem = GradientFlow(energy, RHO1, initial=NORMAL, parameters=values)
        with pytest.raises(EnergyError, match=r"jumps (at|where)"):
            solve(problem, Affine(1), (0, 0.1), samples=16, dt=0.05, formulation=formulation)


def test_functions_of_the_density():
    r = sp.Symbol("r", positive=True)
    level = sp.Rational(3, 10)
    smooth = {
        sp.Max(RHO1 - level, 0) ** 2: lambda v: 2 * max(v - 0.3, 0),
        RHO1 * sp.Max(RHO1 - level, 0): lambda v: (2 * v - 0.3) * (v > 0.3),
        sp.Piecewise((RHO1**2, level > RHO1), (2 * level * RHO1 - level**2, True)): (
            lambda v: 2 * min(v, 0.3)
        ),
    }
    rough = [sp.Abs(RHO1 - level), sp.Min(RHO1, level) ** 2, RHO1 * sp.Max(RHO1 - K, 0) / RHO1]
    for formula, want in list(smooth.items())[:1] + list(smooth.items())[2:]:
        energy = integral(formula, X1)
        found = first_variation(energy, RHO1)
        for v in (0.1, 0.29, 0.31, 2.0):
            assert float(found.subs(RHO1, r).subs(r, v)) == pytest.approx(want(v), abs=1e-14)
        assert not velocity(energy, RHO1).has(sp.DiracDelta, sp.Derivative(sp.Max(r, 0), r))
    for formula in [*rough, RHO1 * sp.Max(RHO1 - level, 0)]:
        energy = integral(formula, X1)
        for derive in (velocity, pde):
            with pytest.raises(EnergyError, match=r"first variation jumps at .*rho\(x0\)"):
                derive(energy, RHO1)
        assert sample_form(energy, RHO1).local_velocity == ()
    with pytest.raises(EnergyError, match=r"jumps at rho\(x0\) = 3/10"):
        velocity(integral(H(RHO1 - level) * RHO1, X1), RHO1)


def test_a_rough_function_of_the_density_runs_in_the_energy_form_only():
    energy = integral(RHO1 * sp.log(RHO1) + sp.Abs(RHO1 - sp.Rational(1, 5)) * RHO1, X1)
    problem = GradientFlow(energy, RHO1, initial=NORMAL)
    options = {"samples": 256, "dt": 0.05, "linear_solver": "dense"}
    with pytest.raises(EnergyError, match='formulation="energy"'):
        solve(problem, Affine(1), (0, 0.1), formulation="velocity", **options)
    solution = solve(problem, Affine(1), (0, 0.1), formulation="energy", **options)
    assert solution.energy[-1] < solution.energy[0] and np.isnan(solution.defect).all()
    assert (solution.theta[-1] != solution.theta[0]).any()


def test_branches_that_are_not_taken_do_no_harm():
    """Both branches of a choice are computed; what overflows in the other one must not show."""
    edge = sp.Rational(1, 4)
    bent = [
        sp.Min(sp.exp(1000 * A), 5),
        sp.Piecewise((sp.log(A) ** 2 + A, A > 1), (A**2, True)),
        sp.Piecewise(((A - edge) ** sp.Rational(3, 2), edge < A), (0, True)),
        (A - edge) ** sp.Rational(5, 2) * H(A - edge),
        sp.sqrt(sp.Max(A, 0)),
        sp.Max(A, 0) ** sp.Rational(3, 2),
        sp.Piecewise((sp.exp(1000 * A) - 1, A < 0), (1000 * A, True)),
    ]
    energy = integral(sum(bent) * RHO1, X1)
    problem = GradientFlow(energy, RHO1, initial=NORMAL)
    clean = [in_pieces(formula) for formula in bent]  # `value` takes one branch
    points = np.linspace(-3, 3, 97)[:, None] + 1e-3
    for dtype, accuracy in (("float64", 1e-9), ("float32", 1e-3)):
        program = compile_program(problem, Affine(1), dtype=dtype)
        samples = program.samples(points)
        state = program.push(np.array([1.0, 0.0], dtype), samples)
        integrals = program.integrals(state)
        found = program.unpack(program.velocity(state, integrals), samples)[:, 0]
        with mpmath.workdps(40):
            slopes = [
                [slope(f, {A: mpmath.mpf(x)}, A)[0] for f in clean] for (x,) in points.tolist()
            ]
            want = [-float(mpmath.fsum(row)) for row in slopes]
        assert np.allclose(found, want, rtol=accuracy, atol=accuracy)
        assert np.isfinite(program.energy(integrals))


def test_printed_equations_can_be_read():
    level = sp.Rational(1, 5)
    energy = integral(sp.Max(RHO1 - level, 0) ** 2 + A * H(A) * RHO1, X1)
    assert str(first_variation(energy, RHO1)) == (
        "Piecewise((x0, x0 > 0), (0, True)) + 2*Max(0, rho(x0) - 1/5)"
    )
    for formula in (velocity(energy, RHO1), pde(energy, RHO1)):
        assert "Dirac" not in str(formula) and len(str(formula)) < 300
        assert sp.latex(formula) and sp.pretty(formula)
