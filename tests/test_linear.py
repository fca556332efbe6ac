"""Linear solves with the pullback metric against dense linear algebra."""

import numpy as np
import pytest
import scipy.sparse.linalg
from matrix_map import MatrixMap

from pwgf_sym.errors import OptionError
from pwgf_sym.solver.linear import solve_metric
from pwgf_sym.solver.lsmr import lsmr
from pwgf_sym.solver.options import LinearOptions

METHODS = ("lsmr", "cg", "minres", "dense")
SHIFTED = (*METHODS, "kernel")


def matrix(rng, rows, columns, singular_values):
    """A random matrix with given singular values."""
    k = len(singular_values)
    left = np.linalg.qr(rng.standard_normal((rows, k)))[0]
    right = np.linalg.qr(rng.standard_normal((columns, k)))[0]
    return (left * singular_values) @ right.T


def scaled(a, count):
    """The matrix whose least-squares problem has the sample mean's weights."""
    return a / np.sqrt(count)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def solve(a, w, method, count=40, dtype="float64", right=None, **options):
    options = {"max_iterations": 4000, "cutoff": 1e-10, "shift": 0.0} | options
    program = MatrixMap(a, count, dtype)
    target = {"right": right} if w is None else {"field": program.samples.pack(w)}
    options = LinearOptions(**options)
    return solve_metric(program, **target, method=method, options=options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rank", [12, 7])
def test_velocity_form_is_the_least_squares_solution_of_least_norm(rng, method, rank):
    a = matrix(rng, 80, 12, np.linspace(1, 4, rank))
    w = rng.standard_normal(80)  # not in the range of a
    expected = np.linalg.lstsq(a, w, rcond=1e-10)[0]
    found = solve(a, w, method, tolerance=1e-11)
    np.testing.assert_allclose(found.eta, expected, rtol=0, atol=1e-9 * np.linalg.norm(expected))
    assert found.converged and found.residual < 1e-11
    assert found.rank == (rank if method == "dense" else None)
    # b . eta = mean <w, J eta>
    assert found.rate == pytest.approx(np.sum(w * (a @ expected)) / 40, rel=1e-9)


@pytest.mark.parametrize("method", SHIFTED)
@pytest.mark.parametrize("shift", [1e-3, 0.5])
def test_both_forms_solve_the_shifted_system(rng, method, shift):
    a = matrix(rng, 80, 12, np.geomspace(0.1, 4, 9))
    w = rng.standard_normal(80)
    metric, b = a.T @ a / 40, a.T @ w / 40
    expected = np.linalg.solve(metric + shift * np.eye(12), b)
    for given in ({"w": w}, {"w": None, "right": b}):
        found = solve(a, method=method, tolerance=1e-10, shift=shift, **given)
        np.testing.assert_allclose(found.eta, expected, atol=1e-7 * np.linalg.norm(expected))
        assert found.converged


@pytest.mark.parametrize("method", METHODS)
def test_energy_form_consistent_singular_system_gives_the_pseudo_inverse(rng, method):
    a = matrix(rng, 80, 12, np.linspace(1, 3, 7))
    metric = a.T @ a / 40
    b = metric @ rng.standard_normal(12)
    expected = np.linalg.pinv(metric, rcond=1e-10, hermitian=True) @ b
    found = solve(a, None, method, right=b, tolerance=1e-9)
    np.testing.assert_allclose(found.eta, expected, rtol=0, atol=1e-7)
    assert found.converged and found.residual < 1e-9


@pytest.mark.parametrize("method", METHODS)
def test_energy_form_inconsistent_singular_system(rng, method):
    """b out of the range of G: the iterative solvers must say that the residual stays.

    "lsmr" and "dense" give the pseudo-inverse solution all the same; CG diverges, and so does
    MINRES in the step after it has found the least-squares residual.
    """
    a = matrix(rng, 80, 12, np.linspace(1, 3, 7))
    metric, b = a.T @ a / 40, rng.standard_normal(12)
    expected = np.linalg.pinv(metric, rcond=1e-10, hermitian=True) @ b
    distance = np.linalg.norm(metric @ expected - b) / np.linalg.norm(b)
    found = solve(a, None, method, right=b, tolerance=1e-8, max_iterations=60)
    assert found.converged == (method == "dense")
    if method in ("lsmr", "dense"):
        assert found.residual == pytest.approx(distance, rel=1e-6)
        np.testing.assert_allclose(found.eta, expected, rtol=0, atol=1e-6)
    if method == "dense":
        assert found.rank == 7


@pytest.mark.parametrize("method", ["cg", "minres"])
@pytest.mark.parametrize("right", [[0.0, 0.0, 2.0], [0.5, 0.0, 2.0], [0.0, 3.0, 1e-3]])
def test_a_breakdown_of_the_iteration_is_no_answer(method, right):
    """G b is orthogonal to b, or zero: the first steps divide by nothing."""
    found = solve(np.diag([8.0, 0.0, 0.0]), None, method, right=np.array(right), tolerance=1e-8)
    assert not found.converged and np.isfinite(found.eta).all() and found.residual > 0.1


@pytest.mark.parametrize("method", ["lsmr", "cg", "minres"])
@pytest.mark.parametrize("form", ["velocity", "energy"])
def test_a_solver_stopped_early_says_so_and_reports_the_true_residual(rng, method, form):
    a = matrix(rng, 200, 60, np.geomspace(1e-4, 1, 60))
    w = rng.standard_normal(200)
    metric, b = a.T @ a / 40, a.T @ w / 40
    given = {"w": w} if form == "velocity" else {"w": None, "right": b}
    found = solve(a, method=method, tolerance=1e-8, max_iterations=8, **given)
    assert found.iterations == 8 and not found.converged
    true = np.linalg.norm(metric @ found.eta - b) / np.linalg.norm(b)
    assert found.residual == pytest.approx(true, rel=1e-9) and true > 1e-8


def test_minres_that_is_content_with_itself_is_not_believed(rng):
    """A huge solution passes SciPy's test |r| <= tol |G| |x| long before |r| <= tol |b|."""
    values = np.concatenate([np.ones(30), np.geomspace(1e-6, 1e-2, 30)])
    a = matrix(rng, 200, 60, np.sqrt(40 * values))
    metric = a.T @ a / 40
    b = np.linalg.eigh(metric)[1] @ np.ones(60)
    x, info = scipy.sparse.linalg.minres(metric, b, rtol=1e-6, maxiter=400)
    theirs = np.linalg.norm(metric @ x - b) / np.linalg.norm(b)
    assert info == 0 and theirs > 1e-2  # claims success
    found = solve(a, None, "minres", right=b, tolerance=1e-6, max_iterations=400)
    assert found.converged == (found.residual <= 1e-6)
    assert found.residual < 1e-2 * theirs


@pytest.mark.parametrize("method", ["lsmr", "cg", "minres", "dense"])
def test_residual_comes_from_the_kernels_and_not_from_the_recurrence(rng, method):
    """A metric kernel that disagrees with the Jacobian must show in the residual."""
    a = matrix(rng, 80, 12, np.linspace(1, 3, 12))
    program = MatrixMap(a, 40)
    b = a.T @ rng.standard_normal(80) / 40
    options = LinearOptions(shift=0.0, tolerance=1e-10)
    given = {"right": b, "options": options}
    found = solve_metric(program, **given, method="dense")
    assert found.residual < 1e-12
    program.broken = 1.5
    found = solve_metric(program, **given, method=method)
    right_for_the_kernel = np.linalg.norm(program.metric(found.eta) - b)
    assert found.residual == pytest.approx(right_for_the_kernel / np.linalg.norm(b), abs=1e-15)
    assert (found.residual > 0.4) == (method == "dense")


def test_lsmr_takes_the_iterates_of_scipy(rng):
    a, w = matrix(rng, 50, 20, np.geomspace(1e-2, 1, 20)), rng.standard_normal(50)
    weights = rng.uniform(0.5, 2, 50)
    root = np.sqrt(weights)[:, None]
    for damp in (0.0, 0.03):
        for steps in (1, 2, 4, 7):
            x, count, _ = lsmr(
                lambda v: a @ v,
                lambda u: a.T @ u,
                w,
                weights,
                damp=damp,
                tolerance=0.0,
                max_iterations=steps,
                eps=0.0,
            )
            theirs = scipy.sparse.linalg.lsmr(
                root * a, root[:, 0] * w, damp=damp, atol=0, btol=0, conlim=0, maxiter=steps
            )
            assert count == theirs[2] == steps
            np.testing.assert_allclose(x, theirs[0], rtol=0, atol=1e-10 * np.linalg.norm(x))


def test_lsmr_tolerance_is_that_of_the_normal_equation(rng):
    """Also where the field is nearly orthogonal to the range: SciPy's rule stops at once there."""
    a = matrix(rng, 300, 40, np.geomspace(1e-2, 1, 40))
    q = np.linalg.qr(a)[0]
    w = rng.standard_normal(300)
    w = (w - q @ (q.T @ w)) + 1e-7 * a @ rng.standard_normal(40)
    for tolerance in (1e-2, 1e-4):
        found = solve(a, w, "lsmr", tolerance=tolerance)
        metric, b = a.T @ a / 40, a.T @ w / 40
        true = np.linalg.norm(metric @ found.eta - b) / np.linalg.norm(b)
        assert found.converged and 0.02 * tolerance < true <= tolerance
        assert found.residual == pytest.approx(true, rel=1e-3)  # b itself has 8 digits


@pytest.mark.parametrize("seed", range(4))
def test_dense_velocity_form_keeps_the_digits_that_squaring_loses(seed):
    """cond(J) = 1e5: the normal equations have an error of about eps 1e10 = 1e-6; so has LSMR,
    which stops where round-off hides the gradient."""
    rng = np.random.default_rng(seed)
    a = matrix(rng, 300, 30, np.geomspace(1e-5, 1, 30))
    expected = rng.standard_normal(30)
    w = a @ expected

    def error(eta):
        return np.linalg.norm(eta - expected) / np.linalg.norm(expected)

    squared = error(np.linalg.solve(a.T @ a / 40, a.T @ w / 40))
    assert squared > 1e-8
    options = {"tolerance": 1e-13, "cutoff": 1e-13, "max_iterations": 20000}
    assert error(solve(a, w, "dense", **options).eta) < 2e-3 * squared
    assert error(solve(a, w, "lsmr", **options).eta) < 1e11 * np.finfo(float).eps


@pytest.mark.parametrize("method", METHODS)
def test_float32_kernels(rng, method):
    a = matrix(rng, 80, 12, np.linspace(1, 4, 12))
    w = rng.standard_normal(80)
    expected = np.linalg.lstsq(a, w, rcond=None)[0]
    found = solve(a, w, method, dtype="float32", cutoff=None)
    assert found.converged and found.eta.dtype == np.float64
    np.testing.assert_allclose(found.eta, expected, atol=2e-3 * np.linalg.norm(expected))


def test_dense_drops_the_modes_below_the_cutoff(rng):
    values = np.array([1.0, 0.5, 1e-3, 1e-7])
    a = matrix(rng, 60, 4, np.sqrt(40 * values))
    w = rng.standard_normal(60)
    metric, b = a.T @ a / 40, a.T @ w / 40
    for cutoff, rank in ((1e-5, 3), (1e-2, 2), (1e-9, 4)):
        found = solve(a, w, "dense", cutoff=cutoff)
        expected = np.linalg.pinv(metric, rcond=cutoff, hermitian=True) @ b
        assert found.rank == rank and found.converged
        np.testing.assert_allclose(found.eta, expected, rtol=1e-6)
        true = np.linalg.norm(metric @ found.eta - b) / np.linalg.norm(b)
        assert found.residual == pytest.approx(true, abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_zero_right_side(rng, method):
    found = solve(matrix(rng, 80, 12, np.ones(12)), np.zeros(80), method)
    assert found.converged and found.residual == 0 and not found.eta.any()


@pytest.mark.parametrize("method", METHODS)
def test_numbers_that_are_not_finite_come_out_as_such(rng, method):
    a = matrix(rng, 80, 12, np.ones(12))
    w = rng.standard_normal(80)
    w[17] = np.nan
    found = solve(a, w, method)
    assert not found.converged and np.isnan(found.eta).all() and np.isnan(found.residual)
    a[3, 4] = np.inf
    with np.errstate(invalid="ignore"):
        found = solve(a, None, "dense", right=np.ones(12))
    assert not found.converged and np.isnan(found.eta).all()


@pytest.mark.parametrize("method", ["kernel", "minres"])
def test_a_metric_that_is_not_positive_in_round_off(rng, method):
    """What LAPACK raises of it does not reach the caller; a preconditioner is damped."""
    a = matrix(rng, 40, 12, np.logspace(8, 0, 12))
    more = {"preconditioner": 40} if method == "minres" else {}
    found = solve(a, None, method, right=np.ones(12), dtype="float32", shift=1e-3, **more)
    assert not found.converged
    assert np.all(np.isfinite(found.eta) if method == "minres" else np.isnan(found.eta))


def test_wrong_calls_are_refused():
    program = MatrixMap(np.eye(4), 4)
    for given in ({}, {"field": np.ones(9), "right": np.ones(4)}):
        with pytest.raises(OptionError, match="exactly one"):
            solve_metric(program, **given)
    with pytest.raises(OptionError, match=r"linear_solver.*lsmr.*minres"):
        solve_metric(program, right=np.ones(4), method="gmres")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tolerance", 0.0),
        ("tolerance", 1.0),
        ("tolerance", "small"),
        ("max_iterations", 0),
        ("max_iterations", 2.5),
        ("shift", -1e-9),
        ("shift", np.nan),
        ("shift", True),
        ("cutoff", 1.0),
        ("cutoff", -0.1),
    ],
)
def test_linear_options_are_checked_by_name(name, value):
    with pytest.raises(OptionError) as raised:
        LinearOptions(**{name: value})
    assert raised.value.argument == name and repr(value) in str(raised.value)


# ----------------------------------------------------- mixed precision, preconditioner, warm start
def stiff_system(rng):
    """Rows of 200 samples in the plane, 60 parameters, a metric of condition 1e6."""
    a = matrix(rng, 400, 60, np.geomspace(1e-3, 1, 60)) * np.sqrt(200)
    w = rng.standard_normal(400)
    metric = a.T @ a / 200 + 1e-6 * np.eye(60)
    return a, w, np.linalg.solve(metric, a.T @ w / 200)


@pytest.mark.parametrize("method", ["cg", "minres"])
@pytest.mark.parametrize("form", ["velocity", "energy"])
def test_mixed_precision_reaches_the_residual_of_float64(rng, method, form):
    a, w, expected = stiff_system(rng)
    program = MatrixMap(a, 200)
    given = {"field": program.samples.pack(w)} if form == "velocity" else {"right": a.T @ w / 200}
    options = LinearOptions(tolerance=1e-10, shift=1e-6, max_iterations=4000, precision="mixed")
    found = solve_metric(program, **given, method=method, options=options)
    assert found.converged and found.residual <= 1e-10
    np.testing.assert_allclose(found.eta, expected, rtol=0, atol=1e-5 * np.linalg.norm(expected))
    # The work is done in float32: a residual of 1e-10 is out of its reach, but not of the rounds.
    counts = program.applications
    assert counts["float32"] > 4 * counts["float64"] > 0


@pytest.mark.parametrize("method", ["cg", "minres"])
def test_preconditioner_saves_iterations(rng, method):
    a, w, expected = stiff_system(rng)
    options = {"tolerance": 1e-8, "shift": 1e-6, "max_iterations": 4000}
    counts = []
    for samples in (0, 100, 1000):  # more than there are means all
        program = MatrixMap(a, 200)
        found = solve_metric(
            program,
            field=program.samples.pack(w),
            method=method,
            options=LinearOptions(**options, preconditioner=samples),
        )
        assert found.converged
        scale = np.linalg.norm(expected)
        np.testing.assert_allclose(found.eta, expected, rtol=0, atol=1e-3 * scale)
        counts.append(found.iterations)
    assert counts[1] < counts[0] / 2 and counts[2] < counts[0] / 2, counts


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_few_samples_are_trusted_as_far_as_they_go(rng, scale):
    """40 rows say little of 60 directions: undamped they take more iterations than none do."""
    a, w, _ = stiff_system(rng)
    a *= scale
    given = {"right": a.T @ w / 200, "method": "minres"}
    options = {"tolerance": 1e-2, "shift": 1e-6 * scale**2, "max_iterations": 400}
    counts = [
        solve_metric(
            MatrixMap(a, 200), options=LinearOptions(**options, preconditioner=n), **given
        ).iterations
        for n in (0, 20)
    ]
    assert counts[1] < counts[0], counts


@pytest.mark.parametrize("precision", ["working", "mixed"])
@pytest.mark.parametrize("samples", [10, 40])
def test_a_residual_may_rise_for_a_while(precision, samples):
    """With a preconditioner that of MINRES does: a solve that ended there missed its tolerance."""
    options = {"tolerance": 1e-3, "shift": 1e-6, "max_iterations": 4000}
    options |= {"preconditioner": samples, "precision": precision}
    for seed in range(6):
        a, w, _ = stiff_system(np.random.default_rng(seed))
        found = solve(a, None, "minres", right=a.T @ w / 200, count=200, **options)
        assert found.converged and found.iterations < 200


def test_samples_that_say_nothing_do_no_harm(rng):
    """J is zero at the preconditioner's samples, and there is no shift."""
    a, w, _ = stiff_system(rng)
    a[:40] = 0.0
    found = solve(a, None, "minres", right=a.T @ w / 200, count=200, shift=0.0, preconditioner=20)
    assert found.converged


@pytest.mark.parametrize("method", ["cg", "minres"])
def test_a_good_guess_saves_iterations(rng, method):
    a, w, expected = stiff_system(rng)
    program = MatrixMap(a, 200)
    options = LinearOptions(tolerance=1e-6, shift=1e-6, max_iterations=4000)
    given = {"field": program.samples.pack(w), "method": method, "options": options}
    cold = solve_metric(program, **given)
    warm = solve_metric(program, **given, guess=expected * (1 + 1e-5 * rng.standard_normal(60)))
    exact = solve_metric(program, **given, guess=expected)
    assert cold.converged and warm.converged and exact.converged
    assert warm.iterations < cold.iterations and exact.iterations == 0


def test_kernel_form_needs_a_shift(rng):
    a, w, _ = stiff_system(rng)
    with pytest.raises(OptionError, match=r"shift.*kernel"):
        solve(a, w, "kernel", count=200, shift=0.0)


def test_options_of_the_iteration_are_checked():
    for name, value in (("precision", "half"), ("preconditioner", -1), ("warm_start", 2)):
        with pytest.raises(OptionError, match=name):
            LinearOptions(**{name: value})


@pytest.mark.parametrize("method", ["lsmr", "dense", "kernel"])
def test_options_that_a_method_would_ignore_are_refused(rng, method):
    a, w, _ = stiff_system(rng)
    for name, value in (("precision", "mixed"), ("preconditioner", 8), ("warm_start", True)):
        with pytest.raises(OptionError, match=rf"{name}.*{method}"):
            solve(a, w, method, count=200, shift=1e-3, **{name: value})
