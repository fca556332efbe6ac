"""What a solution says of itself: success, counts, history, missed tolerances, folded maps."""

import gc
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from fake_program import (
    CENTER,
    ENTROPY,
    STIFFNESS,
    AffineProgram,
    fake_compiler,
    quadratic_problem,
    run,
)

import pwgf_sym as pw
from pwgf_sym.declare.laws import Gaussian, UniformBox
from pwgf_sym.errors import (
    AccuracyWarning,
    FlowError,
    FoldedMapWarning,
    InversionWarning,
    PictureWarning,
    PwgfWarning,
    ToleranceWarning,
)
from pwgf_sym.solver.flow import solve
from pwgf_sym.solver.folds import folded_part
from pwgf_sym.solver.linear import LinearSolution
from pwgf_sym.solver.loading import load_solution

compiled = pytest.fixture(fake_compiler)
ITERATED = {"linear_solver": "lsmr", "tolerance": 1e-9}


def test_a_good_run_is_a_success_and_counts_its_work(compiled):
    solution = run(**ITERATED, dt=0.05)
    assert solution.success is True and solution.message == "reached t = 0.5"
    assert (solution.nsteps, solution.nfev, solution.nsolves) == (10, 41, 41)
    assert solution.nmissed == 0 and solution.nit == solution.iterations.sum() > 41
    assert 0 < solution.wall_time < 60 and solution.folded == 0
    text = repr(solution)
    assert f"10 steps, 41 right-hand sides, {solution.nit} iterations" in text
    assert "success   True" in text
    assert run(integrator="euler", dt=0.1).nfev == 6


def test_missed_tolerances_are_said_once(compiled):
    few = ITERATED | {"max_iterations": 2, "energy_check": False, "dt": 0.1}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solution = run(**few)
    (warning,) = caught
    assert warning.category is ToleranceWarning and issubclass(ToleranceWarning, pw.PwgfWarning)
    assert "fake_program" in warning.filename  # where solve was called, not a line of the package
    for words in (f"{solution.nmissed} of 21 linear solves", "1e-09", "max_iterations", "dense"):
        assert words in str(warning.message)
    assert solution.success is False and solution.status == "completed"
    assert 0 < solution.nmissed <= 21
    assert f"{solution.nmissed} of 21 linear solves missed the tolerance" in repr(solution)
    # Where warnings are errors, nothing is lost.
    with warnings.catch_warnings(), pytest.raises(ToleranceWarning) as raised:
        warnings.simplefilter("error")
        run(**few)
    assert np.array_equal(raised.value.solution.theta, solution.theta)


def test_a_miss_after_the_last_stored_row_counts(compiled, monkeypatch):
    """The rows do not know of it; the totals do."""
    solution = run(**ITERATED, save_at=[0.0, 0.1])
    assert solution.success and solution.converged.all()
    solution.nmissed = 1
    assert solution.success is False


def test_the_history_is_kept_whatever_is_stored(compiled, tmp_path):
    every = run(**ITERATED, dt=0.04, integrator="heun")
    few = run(**ITERATED, dt=0.04, integrator="heun", save_at=[0.5])
    assert few.t.size == 1 and every.t.size == 14
    for solution in (every, few):
        history = solution.history
        assert np.array_equal(history.t, every.t) and np.array_equal(history.energy, every.energy)
        assert np.array_equal(history.dissipation, every.dissipation)
        assert history.step[0] == 0 and np.allclose(np.cumsum(history.step), every.t, rtol=1e-14)
        assert np.array_equal(history.iterations, every.iterations)
        assert np.array_equal(history.residual, every.residual)
        assert history.iterations.dtype == np.int64
    few.save(tmp_path / "a.npz")
    loaded = load_solution(tmp_path / "a.npz")
    for ours, theirs in zip(few.history, loaded.history, strict=True):
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    for name in ("nfev", "nsteps", "nsolves", "nmissed", "nit", "wall_time", "folded", "success"):
        assert getattr(loaded, name) == getattr(few, name)


def test_memory_does_not_grow_with_the_steps(compiled):
    """No direction of an earlier step is alive, however few rows are stored."""
    alive = []

    def count(row):
        gc.collect()
        alive.append(sum(type(o) is LinearSolution for o in gc.get_objects()))

    run(dt=0.005, save_at=[0.01, 0.5], callback=count)
    assert max(alive) <= 4


@pytest.mark.parametrize(("power", "dt"), [(4, 0.19573205521949433), (6, 0.1520504691465817)])
def test_a_step_that_explodes_does_not_raise_its_own_allowance(power, dt):
    """|x|^p from N(0.7, 0.6), one step: stages reach four times E(0), the end 1.007 E(0)."""
    x = pw.coordinates(1)
    rho = pw.Density(x)
    potential = x[0] ** power / (6 if power == 6 else 1)
    flow = pw.GradientFlow(pw.integral(potential * rho, x), rho, initial=Gaussian([0.7], 0.6))
    options = {"dt": dt, "samples": 512, "integrator": "rk4", "linear_solver": "dense"}
    free = pw.solve(flow, pw.Affine(1), (0, dt), **options, energy_check=False)
    assert free.energy[1] == pytest.approx(1.007 * free.energy[0], rel=1e-3)
    with pytest.raises(FlowError, match="before the step") as raised:
        pw.solve(flow, pw.Affine(1), (0, dt), **options)
    assert raised.value.solution.history.energy[0] == free.energy[0]


def test_near_equilibrium_the_misfit_tells_what_the_relative_defect_cannot(compiled):
    """What the shift leaves over falls with the speed, not faster: their ratio tells nothing."""
    problem_, map_ = quadratic_problem(Gaussian([3.0, -2.0], 1.0), STIFFNESS, CENTER, ENTROPY)
    solution = solve(problem_, map_, (0, 12), dt=0.1, samples=64, shift=1e-3, linear_solver="dense")
    scale = solution.dissipation.max()
    np.testing.assert_allclose(solution.misfit, solution.defect**2 / scale, rtol=1e-14)
    assert solution.misfit[-1] < 1e-9 and solution.relative_defect[-1] > 1e-3
    text = repr(solution)
    assert f"{solution.misfit[-1]:.2g} of the largest dissipation" in text
    assert "relative_defect" in type(solution).__doc__ and "misfit" in type(solution).__doc__


def test_a_defect_that_cannot_be_measured_is_infinite(compiled, monkeypatch, tmp_path):
    velocity = AffineProgram.velocity

    def spoiled(self, state, integrals=None):
        found = velocity(self, state, integrals)
        return found * np.nan if state.samples.count == 99 else found

    monkeypatch.setattr(AffineProgram, "velocity", spoiled)
    solution = run(fresh_samples=99)
    assert np.all(solution.defect == np.inf) and np.all(solution.relative_defect == np.inf)
    assert solution.success is False and solution.status == "completed"
    solution.save(tmp_path / "a.npz")
    assert np.array_equal(load_solution(tmp_path / "a.npz").defect, solution.defect)


# Folds.


def stand_in(law, transport):
    """What :func:`folded_part` needs of a program whose map is a function."""
    return SimpleNamespace(
        problem=SimpleNamespace(initial=law),
        dtype=np.dtype(np.float64),
        packed=lambda z: SimpleNamespace(
            points=law.mean + law.spread * z, unpack=lambda x: x - law.mean
        ),
        push=lambda theta, samples, carry: SimpleNamespace(x=transport(samples.points)),
    )


def test_folds_are_counted_by_the_sign_of_the_determinant():
    unit, plane = Gaussian([0.0], 1.0), Gaussian([0.0, 0.0], [1.0, 9.0])
    theta = np.zeros(1)
    # det < 0 for |z| < 1, which has the probability erf(1/sqrt(2)) = 0.6827
    cubic = folded_part(stand_in(unit, lambda z: z**3 - 3 * z), theta)
    assert cubic == pytest.approx(1 - 0.6827, abs=0.09)
    # Reflections keep one sign; so do squares of complex numbers, det = 4 |z|^2.
    assert folded_part(stand_in(unit, lambda z: 5 - z), theta) == 0
    square = lambda z: np.stack([z[:, 0] ** 2 - z[:, 1] ** 2, 2 * z[:, 0] * z[:, 1]], axis=1)  # noqa: E731
    assert folded_part(stand_in(plane, square), theta) == 0
    # |z0| folds half of the plane, far from the origin as near to it.
    far = Gaussian([1e6, 0.0], 1e-6)
    half = lambda z: np.stack([np.abs(z[:, 0] - 1e6), z[:, 1]], axis=1)  # noqa: E731
    assert folded_part(stand_in(far, half), theta) == pytest.approx(0.5, abs=0.1)
    # Squeezed maps are not folded: a shear whose determinant is 1e-9.
    shear = lambda z: np.stack([z[:, 0], z[:, 0] + 1e-9 * z[:, 1]], axis=1)  # noqa: E731
    assert folded_part(stand_in(plane, shear), theta) < 0.02
    # Positions of a small spread far away: round-off is not taken for a fold.
    tiny = Gaussian([1e4, -2e4], 1e-8)
    for part in (tiny, Gaussian([3e5, 3e5], 1e-6)):
        turned = lambda z: z @ np.array([[0.6, 0.7], [-0.8, 0.4]])  # noqa: E731
        assert folded_part(stand_in(part, turned), theta) == 0
    assert folded_part(stand_in(Gaussian([1e9], 1e-12), lambda z: z), theta) is None
    box = UniformBox([0.0, 0.0, 0.0], 1.0)
    assert folded_part(stand_in(box, lambda z: z[:, ::-1]), theta) == 0


def test_a_map_that_reflects_is_no_fold(compiled):
    solution = run(theta0=np.array([-1.0, 0, 0, 1, 0, 0]))
    assert solution.success and solution.folded == 0


@pytest.fixture(scope="module")
def folded():
    """(x^2 - 2)^2/2 without entropy: the wells pull samples apart, and the fit folds the map."""
    x = pw.coordinates(1)
    rho = pw.Density(x)
    energy = pw.integral((x[0] ** 2 - 2) ** 2 / 2 * rho, x)
    flow = pw.GradientFlow(energy, rho, initial=Gaussian([0.1], 1.5))
    options = {"dt": 0.02, "samples": 512, "save_at": [0.0, 1.5]}
    return pw.solve(flow, pw.NeuralFlow(1, 6, steps=2), (0, 1.5), **options)


def test_a_folded_map_is_said(folded):
    assert folded.folded > 0 and "the map is folded on" in folded.message
    # The energy reads no density: samples are right, and so is the energy.
    assert folded.success is True and not folded.reads_density
    points = folded.sample(200, seed=5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        values = folded.log_density(points)
    (warning,) = caught
    assert warning.category is FoldedMapWarning and warning.filename == __file__
    lost = int(np.isnan(values).sum())
    assert "several preimages" in str(warning.message) and "sample()" in str(warning.message)
    assert (f"NaN at {lost} of 200 points" in str(warning.message)) == (lost > 0)
    # At the start the map is the identity, and nothing is said.
    law = folded.problem.initial
    np.testing.assert_allclose(folded.log_density(points, t=0.0), law.log_density(points))


def test_pictures_of_a_folded_map_say_so(folded, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    for density, words in ((None, "samples are drawn"), (True, "of one preimage")):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            folded.plot(tmp_path / "a.png", samples=300, density=density)
        (warning,) = caught
        assert warning.category is PictureWarning and warning.filename == __file__
        assert words in str(warning.message) and "t = 1.5" in str(warning.message)


def test_a_fold_under_an_energy_of_the_density_is_no_success(compiled, monkeypatch):
    monkeypatch.setattr("pwgf_sym.solver.flow.folded_part", lambda *_: 0.125)
    with pytest.warns(FoldedMapWarning, match=r"12 % of the initial law.*smaller dt"):
        solution = run()
    assert solution.success is False and "folded on 12 %" in solution.message


def test_points_without_preimage_are_said(compiled, monkeypatch, tmp_path):
    invert = AffineProgram.invert

    def some(self, theta, points, **near):
        z, logdet = invert(self, theta, points, **near)
        return np.where(points > 3.0, np.nan, z), logdet

    solution = run()
    monkeypatch.setattr(AffineProgram, "invert", some)
    points = np.array([[0.0, 0.0], [3.5, 0.0], [0.0, 1.0], [4.0, 4.0]])
    with pytest.warns(InversionWarning, match="NaN at 2 of 4 points"):
        values = solution.log_density(points)
    assert list(np.isnan(values)) == [False, True, False, True]
    pytest.importorskip("matplotlib").use("Agg")
    with pytest.warns(PictureWarning, match=r"\d+ of \d+ points have no preimage"):
        solution.plot(tmp_path / "a.png", samples=500)


def test_pictures_say_which_samples_are_lost(compiled, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    solution = run(dt=0.25)
    push = AffineProgram.push

    def lossy(self, theta, samples, carry="x"):
        state = push(self, theta, samples, carry)
        state.x[:1] = np.nan
        return state

    monkeypatch.setattr(AffineProgram, "push", lossy)
    with pytest.warns(PictureWarning, match="3 of 300 samples are not finite"):
        solution.plot(tmp_path / "a.png", samples=100, density=False)


def test_warnings_are_of_one_class():
    classes = (
        AccuracyWarning,
        ToleranceWarning,
        FoldedMapWarning,
        InversionWarning,
        PictureWarning,
    )
    assert all(issubclass(kind, PwgfWarning) for kind in classes)
    assert issubclass(PwgfWarning, UserWarning) and pw.PwgfWarning is PwgfWarning


def test_an_energy_without_velocity_has_no_defect(compiled, monkeypatch, tmp_path):
    """In the energy form the first variation may jump: there is nothing to measure against."""
    start = AffineProgram.__init__

    def rough(self, *arguments):
        start(self, *arguments)
        self.form.rough = "jumps"

    monkeypatch.setattr(AffineProgram, "__init__", rough)
    solution = run(formulation="energy", shift=1e-6, samples=2048)
    assert np.isnan(solution.defect).all() and np.isnan(solution.relative_defect).all()
    assert solution.success is True and "none: no velocity to compare with" in repr(solution)
    solution.save(tmp_path / "a.npz")
    assert np.isnan(load_solution(tmp_path / "a.npz").misfit).all()
