"""Kernels of maps against plain NumPy: values, log density, score and all derivatives.

Most configurations run the generated text as plain Python (tile_numpy); some run compiled.  The
truth is flow_reference: complex steps, accurate to round-off.
"""

import numpy as np
import pytest
import sympy as sp
from amounts import amount
from flow_reference import complex_step
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from map_cases import ERF, SINE, SWISH, TANH, Case, neural
from on_targets import fewer, program_on
from sample_energies import ENERGIES, Energy, R
from test_ir import activations
from tile_numpy import interpreted

from pwgf_sym.declare.laws import Gaussian
from pwgf_sym.declare.maps import Affine, NeuralFlow
from pwgf_sym.schedule.cpu import Machine
from pwgf_sym.targets import kernels, machine
from pwgf_sym.targets.program import compile_program
from pwgf_sym.targets.threads import chunk_bounds

CASES = [
    (neural(1, 5, 1), 7),
    (neural(2, 10, 3), 100),
    (neural(3, 6, 3, SWISH), 64),
    (neural(5, 3, 1, SINE), 1),
    (neural(2, 8, 1, ERF), 7),
    (neural(1, 3, 3, SWISH, "rk4"), 64),
    (neural(2, 7, 3, TANH, "rk4"), 7),
    (neural(3, 5, 1, ERF, "rk4"), 1),
    (neural(5, 2, 1, SINE, "rk4"), 100),
    (neural(1, 1, 3, TANH, "rk4", "trace"), 1),
    (neural(2, 6, 3, ERF, "rk4", "trace"), 100),
    (neural(3, 4, 1, SWISH, "rk4", "trace"), 7),
    (neural(5, 9, 1, TANH, "rk4", "trace"), 64),
    (neural(1, 5, 3, SINE, "euler", "trace"), 100),
    (neural(3, 10, 3, TANH, "euler", "trace"), 64),
    (neural(5, 6, 1, ERF, "euler", "trace"), 7),
    (Affine(1), 1),
    (Affine(2), 100),
    (Affine(3), 64),
    (Affine(5), 7),
]


def name_of(flow):
    if isinstance(flow, Affine):
        return f"affine-{flow.dim}"
    activation = str(flow.activation).split("(")[0].replace("a/", "swish")
    return (
        f"{flow.substep}-{flow.log_determinant}-{flow.dim}-{flow.width}-{flow.steps}-{activation}"
    )


def test_the_reference_itself():
    """Its closed forms (Jacobian of the map, divergence, its gradient) against complex steps."""
    for substep in ("euler", "rk4"):
        case = Case(neural(3, 5, 2, SWISH, substep), 6)
        reference, theta, z = case.reference.inner, case.theta, case.z
        score = case.problem.initial.score(z)
        own = reference.step_parameters(theta, 1)

        def slopes(function, z=z):
            return np.stack([complex_step(function, z, e) for e in np.eye(3)], axis=-1)

        def rates(p, reference=reference, own=own, score=score):
            return reference.joint_field(own, [p, 0, score])

        _, minus_divergence, change = rates(z)
        jacobian = slopes(lambda p, rates=rates: rates(p)[0])  # (n, i, j)
        np.testing.assert_allclose(-minus_divergence, np.einsum("nii->n", jacobian), rtol=1e-12)
        gradient = slopes(lambda p, rates=rates: -rates(p)[1])
        expected = -gradient - np.einsum("nij,ni->nj", jacobian, score)
        np.testing.assert_allclose(change, expected, rtol=1e-11)
        expected = slopes(lambda p, at=theta, inner=reference: inner.push(at, p))
        np.testing.assert_allclose(reference.jacobian_z(theta, z), expected, rtol=1e-12)
        volume = np.linalg.slogdet(expected)[1]
        np.testing.assert_allclose(reference.log_det(theta, z), volume, rtol=1e-12)


@pytest.mark.parametrize("flow, count", CASES, ids=[f"{name_of(f)}-N{n}" for f, n in CASES])
def test_generated_text(flow, count, target, tmp_path):
    case = Case(flow, min(count, fewer(20, count)))
    case.check(program_on(target, case.problem, flow, tmp_path))


@pytest.mark.parametrize("bits", [128, 512])
def test_other_vector_widths(bits, tmp_path, monkeypatch):
    """Other machines get other tiles: their kernels hold the same numbers."""
    monkeypatch.setattr(machine, "this_machine", lambda: Machine(bits))
    for flow in (neural(5, 7, 2, SWISH), neural(3, 5, 1, TANH, "rk4", "trace")):
        case = Case(flow, 40)
        program = interpreted(case.problem, flow, tmp_path)
        assert program.emission.tiling.vector_bits == bits
        case.check(program)


@pytest.mark.slow
@settings(
    max_examples=amount(fewer(3, 6), 12),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    activations(),
    st.sampled_from([("euler", "exact"), ("euler", "trace"), ("rk4", "exact"), ("rk4", "trace")]),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(1, 9),
)
def test_random_maps(target, tmp_path_factory, activation, scheme, dim, width, steps, count):
    flow = neural(dim, width, steps, activation, *scheme)
    case = Case(flow, count, noise=0.15)
    program = program_on(target, case.problem, flow, tmp_path_factory.mktemp("random"))
    case.check(program, 1e-11, 1e-9)


@pytest.mark.parametrize("flow", [neural(3, 6, 2, SWISH), neural(2, 5, 2, TANH, "rk4", "trace")])
def test_generated_text_in_single_precision(flow, target, tmp_path):
    """float32 kernels: 1e3 units of its round-off; inputs are rounded, too."""
    case = Case(flow, 20, noise=0.15)
    case.theta, case.z = (v.astype(np.float32).astype(float) for v in (case.theta, case.z))
    case.check(program_on(target, case.problem, flow, tmp_path, "float32"), 1e-4, 1e-4)


# --------------------------------------------------------------------------------- compiled code
def test_compiled_euler_exact(mixed_program):
    case = Case(mixed_program.map, 100)
    case.problem = mixed_program.problem
    case.check(mixed_program)


@pytest.fixture(scope="session")
def single_program():
    return compile_program(ENERGIES["mixed"].problem(), neural(2, 6, 2, SWISH), dtype="float32")


@pytest.mark.slow
def test_compiled_single_precision(single_program):
    case = Case(single_program.map, 70, noise=0.15)
    case.problem = single_program.problem
    case.theta, case.z = (v.astype(np.float32).astype(float) for v in (case.theta, case.z))
    case.check(single_program, 1e-4, 1e-4)


def test_compiled_affine():
    flow = Affine(5)
    case = Case(flow, 7)
    case.prepare(compile_program(case.problem, flow))
    case.check_push(["score"])
    case.check_metric()
    case.check_jacobian()
    case.check_gradient()


@pytest.mark.slow
def test_compiled_runge_kutta_trace():
    flow = neural(3, 5, 2, TANH, "rk4", "trace")
    case = Case(flow, 64)
    case.prepare(compile_program(case.problem, flow))
    case.check_push(["score"])
    case.check_jvp()


def test_compiled_runge_kutta_exact():
    flow = neural(2, 3, 1, ERF, "rk4")
    case = Case(flow, 64)
    case.prepare(compile_program(case.problem, flow))
    case.check_push(["log_density"])
    case.check_metric()


def test_metric_is_symmetric_and_nonnegative(mixed_program):
    case = Case(mixed_program.map, 33)
    samples = mixed_program.samples(case.z)
    rng = np.random.default_rng(2)
    directions = rng.standard_normal((4, case.theta.size))
    images = [mixed_program.metric(case.theta, samples, v) for v in directions]
    gram = np.array([[u @ g for u in directions] for g in images])
    np.testing.assert_allclose(gram, gram.T, rtol=1e-12, atol=1e-13 * np.abs(gram).max())
    assert np.linalg.eigvalsh(gram).min() > 0
    # G = J^T diag(weights) J, from the other two kernels.
    for v, image in zip(directions, images, strict=True):
        pushed = mixed_program.jvp(case.theta, samples, v) * samples.weights
        np.testing.assert_allclose(
            mixed_program.vjp(case.theta, samples, pushed), image, rtol=1e-12, atol=1e-14
        )
        rows = mixed_program.jacobian(case.theta, samples)
        np.testing.assert_allclose(rows @ pushed, image, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("count", [1, 7, 64, 100])
def test_padding_changes_nothing(mixed_program, count):
    """The first samples of a longer run have the same bits; padding has no weight in sums."""
    case = Case(mixed_program.map, 100)
    whole, part = mixed_program.samples(case.z), mixed_program.samples(case.z[:count])
    for carry in ("x", "score"):
        long = mixed_program.push(case.theta, whole, carry)
        short = mixed_program.push(case.theta, part, carry)
        expected = mixed_program.unpack(long.x, whole)[:count]
        np.testing.assert_array_equal(mixed_program.unpack(short.x, part), expected)
    pushed = mixed_program.unpack(mixed_program.jvp(case.theta, part, case.eta), part)
    got = case.eta @ mixed_program.metric(case.theta, part, case.eta)
    np.testing.assert_allclose(got, np.mean(np.sum(pushed**2, axis=1)), rtol=1e-12)
    assert part.weights.sum() == pytest.approx(2, rel=1e-14)


# --------------------------------------------------------- log density, score, inverse: the maths
def test_log_density_is_the_log_determinant_of_the_map(tmp_path):
    """Default steps, width 32: to 1e-12 in exact mode, off by O(h^4) in trace mode."""
    case = Case(NeuralFlow(2, 32), 30, noise=0.1)
    program = interpreted(case.problem, case.flow, tmp_path)
    samples = program.samples(case.z)
    start = case.problem.initial.log_density(case.z)
    got = program.unpack_scalar(
        program.push(case.theta, samples, "log_density").log_density, samples
    )
    expected = start - case.reference.log_det(case.theta, case.z)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)

    case = Case(NeuralFlow(2, 32, substep="rk4", log_determinant="trace"), 30, noise=0.1)
    program = interpreted(case.problem, case.flow, tmp_path)
    got = program.unpack_scalar(
        program.push(case.theta, samples, "log_density").log_density, samples
    )
    defect = np.abs(got - start + case.reference.log_det(case.theta, case.z)).max()
    assert 0 < defect < 2e-3, defect


@pytest.mark.parametrize("substep, order", [("euler", 1), ("rk4", 4)])
def test_trace_mode_converges_to_the_flow(substep, order, tmp_path):
    """More steps of one field: x, l and s approach the exact flow at the order of the scheme."""
    from scipy.integrate import solve_ivp

    one = Case(neural(2, 6, 1, TANH, substep, "trace"), 6, noise=0.3)
    law, reference = one.problem.initial, one.reference.inner
    origin, spread = one.reference.origin, one.reference.spread
    own = reference.step_parameters(one.theta, 0)
    shapes = (6, 2), (6,), (6, 2)
    start = [(one.z - origin) / spread, law.log_density(one.z), spread * law.score(one.z)]

    def unflatten(y):
        return [p.reshape(s) for p, s in zip(np.split(y, [12, 18]), shapes, strict=True)]

    def rates(_, y):
        return np.concatenate([k.ravel() for k in reference.joint_field(own, unflatten(y))])

    joined = np.concatenate([p.ravel() for p in start])
    solution = solve_ivp(rates, (0, 1), joined, method="DOP853", rtol=1e-12, atol=1e-12)
    x, log_density, score = unflatten(solution.y[:, -1])
    exact = [origin + spread * x, log_density, score / spread]
    errors = []
    for steps in (8, 16):
        flow = neural(2, 6, steps, TANH, substep, "trace")
        program = interpreted(one.problem, flow, tmp_path)
        samples = program.samples(one.z)
        state = program.push(np.tile(one.theta, steps), samples, "score")
        got = [program.unpack(state.x, samples), program.unpack_scalar(state.log_density, samples)]
        got.append(program.unpack(state.score, samples))
        errors.append([np.abs(g - e).max() for g, e in zip(got, exact, strict=True)])
    rate = np.log2(np.array(errors[0]) / np.array(errors[1]))
    assert np.all(rate > order - 0.35), (errors, rate)
    assert np.all(rate < order + 0.7), (errors, rate)


def test_score_is_the_gradient_of_the_log_density(mixed_program):
    """Differences of l along the map: dl(T(z))/dz = J^T s."""
    case = Case(mixed_program.map, 40, noise=0.2)
    case.problem, program = mixed_program.problem, mixed_program
    samples = program.samples(case.z)
    score = program.unpack(program.push(case.theta, samples, "score").score, samples)
    pulled = np.einsum("nij,ni->nj", case.reference.jacobian_z(case.theta, case.z), score)
    for k, unit in enumerate(np.eye(2)):

        def log_density(z):
            moved = program.samples(z)
            return program.unpack_scalar(
                program.push(case.theta, moved, "log_density").log_density, moved
            )

        slope = (log_density(case.z + 1e-5 * unit) - log_density(case.z - 1e-5 * unit)) / 2e-5
        scale = np.abs(pulled).max()
        np.testing.assert_allclose(slope, pulled[:, k], rtol=1e-6, atol=1e-7 * scale)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "flow",
    [neural(3, 6, 3, SWISH), neural(2, 5, 2, TANH, "rk4", "trace"), Affine(5), neural(1, 4, 2)],
    ids=name_of,
)
def test_inverse(flow, dtype, tmp_path):
    case = Case(flow, 50, noise=0.1)
    program = interpreted(case.problem, flow, tmp_path, dtype)
    eps = np.finfo(dtype).eps
    theta = case.theta.astype(dtype).astype(float)
    x = case.reference.push(theta, case.z).astype(dtype).astype(float)
    z, log_det = program.invert(theta, x)
    assert z.shape == case.z.shape and log_det.shape == (50,)
    condition = np.linalg.norm(np.linalg.inv(case.reference.jacobian_z(theta, z)), 2, axis=(1, 2))
    miss = np.abs(case.reference.push(theta, z) - x).max(axis=1)
    assert np.all(miss <= 1e3 * eps * (1 + np.abs(x).max())), miss.max() / eps
    quick, _ = program.invert(theta, x, iterations=8)  # Newton: digits double
    np.testing.assert_array_equal(quick, z)
    error = np.abs(z - case.z).max(axis=1)
    assert np.all(error <= 2e3 * eps * condition * (1 + np.abs(x).max())), error.max() / eps
    np.testing.assert_allclose(log_det, case.reference.log_det(theta, z), rtol=0, atol=4e3 * eps)


def test_inverse_says_where_it_failed(tmp_path):
    """NaN where no point is mapped to the target, and only there."""
    flow = neural(1, 1, 1, TANH)
    theta = np.array([-1.0, 0.0, 1.0, 0.0, 2.0])  # T(z) = 2 tanh(z): nothing beyond 2
    problem = Energy(1, internal=R * sp.log(R)).problem(Gaussian([0.0], 1.0))
    program = interpreted(problem, flow, tmp_path)
    back, log_det = program.invert(theta, np.array([[1.5], [2.5], [-3.0]]))
    np.testing.assert_allclose(back[0], np.arctanh(0.75), rtol=1e-12)
    np.testing.assert_allclose(log_det[0], np.log(2 * (1 - 0.75**2)), rtol=1e-12)
    assert np.isnan(back[1:]).all() and np.isnan(log_det[1:]).all()


def test_not_a_number_stays_with_its_sample(mixed_program):
    """NaN and infinity in one sample come out there, and change no bit of the others."""
    case = Case(mixed_program.map, 20)
    clean, dirty = mixed_program.samples(case.z), mixed_program.samples(case.z)
    lanes = dirty.lanes
    dirty.z[3] = np.nan  # sample 3, coordinate 0
    dirty.z[lanes + 5] = np.inf  # sample 5, coordinate 1
    expected = mixed_program.push(case.theta, clean, "score")
    state = mixed_program.push(case.theta, dirty, "score")
    x, before = (mixed_program.unpack(s.x, clean) for s in (state, expected))
    assert np.isnan(x[3]).all() and not np.isfinite(x[5]).any()
    log_density = mixed_program.unpack_scalar(state.log_density, dirty)
    assert np.isnan(log_density[3])
    others = [n for n in range(20) if n not in (3, 5)]
    np.testing.assert_array_equal(x[others], before[others])
    np.testing.assert_array_equal(
        log_density[others], mixed_program.unpack_scalar(expected.log_density, clean)[others]
    )
    integrals = mixed_program.integrals(state)
    assert np.isnan(integrals).all() and np.isnan(mixed_program.energy(integrals))
    single = mixed_program.emission.formulas["velocity"]
    assert single.partners == ()
    assert np.isnan(mixed_program.metric(case.theta, dirty, case.eta)).any()
    velocity = mixed_program.unpack(mixed_program.velocity(state, integrals), dirty)
    assert np.isnan(velocity[3]).all()


def test_products_without_storage_have_the_same_bits(mixed_program, monkeypatch):
    """Where the forward pass does not fit in memory it is computed again, piece by piece."""
    monkeypatch.setattr(kernels, "_PIECES", (16,))  # a block; chunks have more
    case = Case(mixed_program.map, 200 * mixed_program.emission.tiling.samples)
    samples = mixed_program.samples(case.z)
    assert max(b - a for a, b in chunk_bounds(samples.tiles, 1)) > 16
    rng = np.random.default_rng(4)
    field = rng.standard_normal(samples.width) * (samples.weights > 0)
    scalar = rng.standard_normal(samples.weight.size) * (samples.weight > 0)

    def products():
        linearization = mixed_program.linearize(case.theta, samples, "log_density")
        state = linearization.state
        yield from (state.x, state.log_density, linearization.jvp(case.eta))
        yield from (linearization.vjp(field), linearization.metric(case.eta))
        yield from (linearization.gradient(field, scalar), linearization.jacobian().copy())

    stored = list(products())
    monkeypatch.setenv("PWGF_SYM_STORAGE", "0")
    again = list(products())
    assert mixed_program.linearize(case.theta, samples)._stored is None
    for first, second in zip(stored, again, strict=True):
        np.testing.assert_array_equal(first, second)


def test_two_linearizations_at_once_do_not_share_storage(mixed_program):
    case = Case(mixed_program.map, 40)
    samples = mixed_program.samples(case.z)
    first = mixed_program.linearize(case.theta, samples)
    expected = first.jvp(case.eta)
    second = mixed_program.linearize(case.theta + 0.1, samples)
    assert not np.array_equal(second.jvp(case.eta), expected)
    np.testing.assert_array_equal(first.jvp(case.eta), expected)
    del second  # its arrays are free now, and used again
    third = mixed_program.linearize(case.theta - 0.1, samples)
    assert not np.array_equal(third.jvp(case.eta), expected)
    np.testing.assert_array_equal(first.jvp(case.eta), expected)
