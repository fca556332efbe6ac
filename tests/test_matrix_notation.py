"""Energies in matrix notation: against NumPy's products, and against sums that are written out."""

import pickle

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.errors import EnergyError, ParameterError

D, ROWS = 4, 7
x = pw.coordinates(D)
RHO, v = pw.Density(x), pw.vector(x)
n, i, j = sp.symbols("n i j", integer=True)
N = sp.Symbol("N", integer=True, positive=True)
Q, P, m = sp.MatrixSymbol("Q", D, D), sp.MatrixSymbol("P", D, D), sp.MatrixSymbol("m", D, 1)
A, c = sp.MatrixSymbol("A", N, D), sp.MatrixSymbol("c", N, 1)
b = sp.IndexedBase("b", shape=(N,))
RNG = np.random.default_rng(3)
FIXED, CENTER = RNG.integers(-3, 4, size=(D, D)), [1, -2, 0, 3]
VALUES = {
    Q: RNG.normal(size=(D, D)),
    P: RNG.normal(size=(D, D)),
    m: RNG.normal(size=D),
    A: RNG.normal(size=(ROWS, D)),
    c: RNG.normal(size=(ROWS, 1)),
    b: RNG.normal(size=ROWS),
}
q, p, mu, a, r = VALUES[Q], VALUES[P], VALUES[m], VALUES[A], VALUES[c][:, 0]
POINTS = RNG.normal(size=(5, D))


def quadratic(matrix, x):
    return np.einsum("...i,ij,...j->...", x, matrix, x)


# A formula, and the same as a function of points (..., D), complex too.
CASES = {
    "quadratic": ((v.T * Q * v)[0] / 2, lambda x: quadratic(q, x) / 2),
    "two indices": ((v.T * Q * v)[0, 0] ** 2, lambda x: quadratic(q, x) ** 2),
    "trace": (sp.Trace(Q * v * v.T), lambda x: quadratic(q, x)),
    "SymPy's product": (sp.Trace(sp.MatMul(v.T, Q, v)), lambda x: quadratic(q, x)),
    "centered": (((v - m).T * Q * (v - m))[0], lambda x: quadratic(q, x - mu)),
    "product": ((v.T * Q * P.T * v)[0], lambda x: quadratic(q @ p.T, x)),
    "powers": ((v.T * (P + Q) ** 2 * v)[0], lambda x: quadratic((p + q) @ (p + q), x)),
    "shifted": (
        (v.T * (Q + 3 * sp.Identity(D)) * v)[0],
        lambda x: quadratic(q + 3 * np.eye(D), x),
    ),
    "shifted at the end": (
        (m.T * (v * v.T) * (Q - sp.Identity(D) / 2) * m)[0],
        lambda x: (x @ mu) * (x @ (q - np.eye(D) / 2) @ mu),
    ),
    "diagonal": ((v.T * sp.DiagMatrix(m) * v)[0], lambda x: x**2 @ mu),
    "norms": (
        sp.sqrt(1 + (Q * v - m).norm() ** 2),
        lambda x: np.sqrt(1 + ((x @ q.T - mu) ** 2).sum(-1)),
    ),
    "inner products": (sp.cos(v.dot(m)) * v.T.dot(v), lambda x: np.cos(x @ mu) * (x**2).sum(-1)),
    "Frobenius": ((v * m.T + Q).norm() ** 2, lambda x: frobenius(x)),
    "logistic": (
        sp.Sum(sp.log(1 + sp.exp(-b[n] * (A * v)[n, 0])), (n, 0, N - 1)),
        lambda x: np.log(1 + np.exp(-VALUES[b] * (x @ a.T))).sum(-1),
    ),
    "least squares": ((A * v - c).norm() ** 2, lambda x: ((x @ a.T - r) ** 2).sum(-1)),
    "entries": (
        sp.Sum(Q[i, j] * x[i] * x[j], (i, 0, D - 1), (j, 0, D - 1)),
        lambda x: quadratic(q, x),
    ),
    "elementwise": (
        sp.Trace(sp.HadamardProduct(Q, P) * v * v.T),
        lambda x: quadratic(q * p, x),
    ),
    "rows": (
        -sp.log(sp.Sum(sp.exp(-((v - A[n, :].T).norm() ** 2) / 2), (n, 0, N - 1))),
        lambda x: -np.log(np.exp(-((x[..., None, :] - a) ** 2).sum(-1) / 2).sum(-1)),
    ),
    "blocks": (
        (v[1:3, :].T * Q[::2, 1:3].T * P[2:4, :] * v)[0] + (m[1:, :].T * v[:3, :])[0] ** 2,
        lambda x: (
            np.einsum("...i,ij,...j->...", x[..., 1:3], q[::2, 1:3].T @ p[2:4], x)
            + (x[..., :3] @ mu[1:]) ** 2
        ),
    ),
    "numbers": (
        ((v - sp.Matrix(CENTER)).T * FIXED * (v - sp.Matrix(CENTER)))[0],
        lambda x: quadratic(FIXED, x - np.array(CENTER)),
    ),
    "numbers and arrays": (
        ((v - np.array(CENTER)).T * Q * (FIXED @ v))[0] / 3,
        lambda x: np.einsum("...i,ij,...j->...", x - np.array(CENTER), q, x @ FIXED.T) / 3,
    ),
}


def frobenius(x):
    return ((x[..., :, None] * mu + q) ** 2).sum((-1, -2))


def problem(formula, given=None):
    """The flow of int V rho from a Gaussian."""
    energy = pw.integral(formula * RHO, x)
    names = {str(s) for s in energy.atoms(sp.IndexedBase)}
    values = {s: value for s, value in VALUES.items() if str(s) in names}
    law = pw.Gaussian([0.0] * D, 1.0)
    return pw.GradientFlow(energy, RHO, law, values if given is None else given)


@pytest.mark.parametrize("name", CASES)
def test_matrices_are_numpys(name):
    formula, function = CASES[name]
    program = pw.compile(problem(formula), pw.Affine(D), target="numpy")
    assert abs(program.energy_at(POINTS) / function(POINTS).mean() - 1) < 1e-12
    truth = [function(POINTS + 1e-30j * e).imag / 1e-30 for e in np.eye(D)]
    np.testing.assert_allclose(-program.velocity_at(POINTS), np.stack(truth, -1), atol=1e-11)


def test_the_same_graph_as_sums():
    array = sp.IndexedBase("A", shape=(N, D))
    line = sp.Sum(array[n, i] * x[i], (i, 0, D - 1))
    written = sp.Sum(sp.log(1 + sp.exp(-b[n] * line)), (n, 0, N - 1))
    assert pw.integral(CASES["logistic"][0] * RHO, x) == pw.integral(written * RHO, x)
    array = sp.IndexedBase("Q", shape=(D, D))
    written = sp.Sum(array[i, j] * x[i] * x[j], (i, 0, D - 1), (j, 0, D - 1)) / 2
    assert pw.integral(CASES["quadratic"][0] * RHO, x) == pw.integral(written * RHO, x)


def test_new_indices_have_names_of_their_own():
    """An index that is taken outside, or by a parameter, is not taken inside."""
    j_ = sp.Symbol("j", real=True)
    formula = sp.Sum(b[i] * (v.T * Q * v)[0], (i, 0, N - 1)) * j_
    (inner,) = (s for s in pw.integral(formula * RHO, x).atoms(sp.Sum) if len(s.limits) == 2)
    assert [str(limit[0]) for limit in inner.limits] == ["k", "l"]
    given = {Q: q, b: VALUES[b], j_: 2.0}
    found = pw.compile(problem(formula, given), pw.Affine(D), target="numpy").energy_at(POINTS)
    assert abs(found / (2 * VALUES[b].sum() * quadratic(q, POINTS).mean()) - 1) < 1e-12


def test_texts_are_in_indices():
    """What is derived is written with indices, and does not grow with d."""
    texts = set()
    for dim in (10, 40):
        y = pw.coordinates(dim)
        w, rho, matrix = pw.vector(y), pw.Density(y), sp.MatrixSymbol("Q", dim, dim)
        form = (w.T * matrix * w)[0]
        assert str(form) == "(x.T*Q*x)[0, 0]"
        energy = pw.integral(form * rho / 2, y)
        text = str(pw.first_variation(energy, rho))
        last = dim - 1
        assert text == f"Sum(Q[i, j]*x[i]*x[j], (i, 0, {last}), (j, 0, {last}))/2"
        texts.add(str(pw.velocity(energy, rho)[0]).replace(str(last), "d - 1"))
    assert len(texts) == 1


def test_interactions_of_vectors():
    """|x - y|**2 of two copies, in few coordinates and in many: W is convolved by a mean."""
    for dim in (2, 12):
        s = pw.coordinates(dim)
        t = pw.copy_of(s)
        gap, rho = pw.vector(s) - pw.vector(t), pw.Density(s)
        energy = pw.integral((gap.T * gap)[0] / 2 * rho * rho.at(t), s, t)
        flow = pw.GradientFlow(energy, rho, pw.Gaussian([0.0] * dim, 1.0))
        points = RNG.normal(size=(6, dim))
        found = pw.compile(flow, pw.Affine(dim), target="numpy").velocity_at(points)
        assert np.abs(found + 2 * 6 / 5 * (points - points.mean(0))).max() < 1e-13


def test_coordinates_of_other_names_and_drifts():
    s = sp.symbols("a b", real=True)
    w, rho = pw.vector(s), pw.Density(s)
    turn = sp.Matrix([[0, -3], [3, 0]])
    matrix = np.array([[2.0, 1.0], [1.0, 4.0]])
    energy = pw.integral((w.T @ matrix @ w)[0] / 2 * rho, s)
    law = pw.Gaussian([0.0, 0.0], 1.0)
    flow = pw.GradientFlow(energy, rho, law, drift=turn * w)
    points = RNG.normal(size=(3, 2))
    found = pw.compile(flow, pw.Affine(2), target="numpy").velocity_at(points)
    truth = points @ (np.array([[0.0, -3.0], [3.0, 0.0]]) - matrix).T
    np.testing.assert_allclose(found, truth, atol=1e-14)


def test_matrix_formulas_are_sympys():
    form = (v.T * Q * v)[0]
    assert pickle.loads(pickle.dumps(form)) == form
    assert form.subs(x[0], 2).subs(dict(zip(x[1:], (0, 0, 0), strict=True))).doit() == 4 * Q[0, 0]
    assert v[2, 0] == x[2] and v[i, 0] == x[i] and v.shape == (D, 1)
    assert (v.T * v)[0].doit().diff(x[1]) == 2 * x[1]
    assert (v.T.T, (v - v).shape, v[1]) == (v, (D, 1), x[1])
    assert sp.latex((v.T * Q * v)[0]) and sp.pretty(form) and sp.latex(v) == "x"


def test_stored_solutions_have_the_arrays(tmp_path):
    energy = pw.integral(CASES["least squares"][0] * RHO + RHO * sp.log(RHO), x)
    flow = pw.GradientFlow(energy, RHO, pw.Gaussian([0.0] * D, 1.0), {A: a, c: r})
    options = {"integrator": "euler", "dt": 0.01, "samples": 64, "target": "numpy"}
    solution = pw.solve(flow, pw.Affine(D), (0, 0.02), **options)
    solution.save(tmp_path / "run.npz")
    loaded = pw.load_solution(tmp_path / "run.npz")
    assert loaded.problem.energy == energy
    assert loaded.energy_at(0.02) == solution.energy_at(0.02)


def covariance(s):
    """The covariance of the density, a matrix of integrals."""
    rho = pw.Density(s)
    mean = [pw.integral(c * rho, s) for c in s]
    return sp.Matrix(
        len(s),
        len(s),
        lambda k, l: pw.integral(s[k] * s[l] * rho, s) - mean[k] * mean[l],  # noqa: E741
    )


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_the_determinant_of_a_covariance(dim):
    """E = -log det C / 2, whose velocity is C^-1 (x - m)."""
    s = pw.coordinates(dim)
    energy = -sp.log(sp.Determinant(covariance(s))) / 2
    flow = pw.GradientFlow(energy, pw.Density(s), pw.Gaussian([0.0] * dim, 1.0))
    points = RNG.normal(size=(40, dim)) * np.arange(1, dim + 1)
    program = pw.compile(flow, pw.Affine(dim), target="numpy")
    cov = np.cov(points.T, bias=True)
    truth = (points - points.mean(0)) @ np.linalg.inv(cov)
    np.testing.assert_allclose(program.velocity_at(points), truth, atol=1e-12)
    assert abs(program.energy_at(points) + np.linalg.slogdet(cov)[1] / 2) < 1e-12


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_the_determinant_of_a_covariance_far_from_the_origin(dim):
    """E x^2 - (E x)^2 loses six digits at 1000; multiplied out it would lose twelve or more."""
    s = pw.coordinates(dim)
    energy = sp.log(sp.Determinant(covariance(s)))
    flow = pw.GradientFlow(energy, pw.Density(s), pw.Gaussian([1e3] * dim, 1.0))
    points = 1e3 + np.random.default_rng(4).normal(size=(30, dim))
    program = pw.compile(flow, pw.Affine(dim), target="numpy")
    cov = np.cov(points.T, bias=True)
    truth = -2 * (points - points.mean(0)) @ np.linalg.inv(cov)
    np.testing.assert_allclose(program.velocity_at(points), truth, atol=1e-7)
    assert abs(program.energy_at(points) - np.linalg.slogdet(cov)[1]) < 1e-7


def unsymmetric(size, angle):
    """Functions of x, the first of which has the mean 0 over symmetric points."""

    def entry(row, column):
        if row == column == 0:
            return angle
        return (row + 2 * column + 1) * angle**2 if (row + column) % 2 else angle**3 - row + column

    return [[entry(row, column) for column in range(size)] for row in range(size)]


@pytest.mark.parametrize("size", [3, 4, 6])
@pytest.mark.parametrize("shift", [0.0, 1e-13])
def test_determinants_whose_first_pivot_vanishes_in_numbers(size, shift):
    """d det = det tr(M^-1 dM), against linear algebra of NumPy."""
    s = pw.coordinates(1)
    rho = pw.Density(s)
    rows = [[pw.integral(f * rho, s) for f in row] for row in unsymmetric(size, s[0] + 0)]
    rows[-1][-1] += 3
    flow = pw.GradientFlow(sp.Determinant(sp.Matrix(rows)), rho, pw.Gaussian([0.0], 1.0))
    points = np.array([1.0, -1.0, 2.0, -2.0 + shift, 0.5, -0.5])
    values = np.array([[np.mean(f + 0 * points) for f in r] for r in unsymmetric(size, points)])
    values[-1, -1] += 3
    step = 1e-20j  # derivatives by a complex step
    slopes = np.array(unsymmetric(size, points[1] + step)).imag / step.imag
    adjugate = np.array(
        [
            [
                (-1) ** (i + j) * np.linalg.det(np.delete(np.delete(values, j, axis=0), i, axis=1))
                for j in range(size)
            ]
            for i in range(size)
        ]
    )
    program = pw.compile(flow, pw.Affine(1), target="numpy")
    size_of_terms = np.abs(adjugate).max() * np.abs(values).max()
    found = program.energy_at(points[:, None])
    assert abs(found - np.linalg.det(values)) < 1e-12 * size_of_terms
    velocity = program.velocity_at(points[:, None])[1, 0]
    truth = -np.trace(adjugate @ slopes)
    assert truth != 0 and abs(velocity - truth) < 1e-10 * size_of_terms


def test_determinants_without_a_first_pivot():
    """Rows are exchanged; the sign is that of the permutation."""
    entries = sp.Matrix([[0, 0, 0, x[0]], [x[1], 1, 0, 0], [0, 2, x[2], 0], [0, 0, 0, 0]])
    entries[3, :] = sp.Matrix([[0, 1, 3, x[3]]])
    assert pw.integral(sp.Determinant(entries) * RHO, x).integrand.expand() == (
        (entries.det() * RHO).expand()
    )


coordinates9 = pw.coordinates(9)
RHO9 = pw.Density(coordinates9)
WRONG = sp.MatrixSymbol("W", D + 1, D)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: v + 1, r"^matrix: got 1 added to the matrix x of shape \(4, 1\)"),
        (lambda: (v.T * Q * v) + sp.log(RHO), r"Take the entry: \(v\.T\*Q\*v\)\[0\]"),
        (lambda: sp.log(RHO) + (v.T * Q * v), r"Take the entry"),
        (lambda: v.T * WRONG * v, r"x\.T of shape \(1, 4\) and W of shape \(5, 4\).*\.T"),
        (lambda: v * v, "matrices whose shapes fit"),
        (lambda: v**2, "matrices whose shapes fit"),
        (lambda: v + v.T, r"x of shape \(4, 1\) and x.T of shape \(1, 4\)"),
        (lambda: 1 / (v.T * v), r"a division by the matrix x\.T\*x"),
        (lambda: v / v, "a division by the matrix x"),
        (lambda: v.T * np.ones((60, 60)), r'60 x 60 numbers.*MatrixSymbol\("Q", 60, 60\)'),
        (lambda: v.T * np.full((D, D), np.nan), "^matrix: .*finite"),
        (lambda: v.T * "Q", "^matrix: got 'Q'"),
        (lambda: (v.T * Q * v)[0].diff(x[0]), r"^\(x\.T\*Q\*x\)\[0, 0\]: got a derivative by x0"),
        (lambda: pw.integral(RHO * (Q * v), x), r"a matrix of shape \(4, 1\)|of shape \(4, 1\)"),
        (lambda: pw.integral(RHO * sp.log(Q * v), x), "the matrix Q.x of shape .4, 1..*entry"),
        (lambda: pw.integral(RHO * (v.T * Q.I * v)[0], x), "Inverse.*Pass the inverse"),
        (lambda: pw.integral(RHO * (sp.Matrix(FIXED) * v)[i, 0], x), "an index that is no number"),
        (lambda: pw.integral(RHO * Q[0, 1], x), r"Q\[0, 1\] outside of a sum"),
        (lambda: pw.integral(RHO * sp.det(Q) * v.dot(v), x), "the determinant of Q"),
        (
            lambda: pw.first_variation(sp.log(sp.Determinant(covariance(coordinates9))), RHO9),
            "a determinant of 9 x 9; accepted: at most 8 x 8",
        ),
        (
            lambda: pw.integral(RHO * sp.Determinant(sp.Matrix(8, 8, lambda k, n: x[0] + k)), x),
            "a determinant of 8 x 8, of rows that are not symmetric; accepted: at most 7 x 7",
        ),
        (lambda: pw.vector("x"), "^x: got 'x'"),
        (
            lambda: pw.GradientFlow(
                pw.integral(RHO, x), RHO, pw.Gaussian([0.0] * D, 1.0), drift=Q * v
            ),
            "sp.Matrix of numbers",
        ),
    ],
)
def test_matrices_that_say_nothing(make, match):
    with pytest.raises(EnergyError, match=match):
        make()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({Q: None}, "^Q: got no value; accepted: an array of finite numbers"),
        ({Q: np.eye(D + 1)}, r"^Q: got shape \(5, 5\); accepted: shape \(4, 4\)"),
        ({Q: np.full((D, D), np.inf)}, "^Q: .*finite"),
        ({Q: "numbers"}, "^Q: "),
        ({Q: np.ones(D)}, r"^Q: got shape \(4,\)"),
        ({m: np.ones(D + 1)}, r"^m: got shape \(5, 1\)"),
        ({m: np.ones((1, D))}, r"^m: got shape \(1, 4\)"),
        ({sp.MatrixSymbol("Q", D, 2): q}, "^parameters: got Q.*the same object"),
        ({sp.IndexedBase("Q", shape=(D, D)): q}, "^Q: got two values"),
        ({P: p}, "^parameters: got P.*arrays of the energy: Q, m"),
    ],
)
def test_values_that_do_not_fit(change, match):
    given = {s: value for s, value in ({Q: q, m: mu} | change).items() if value is not None}
    with pytest.raises(ParameterError, match=match):
        problem(((v - m).T * Q * v)[0], given)
