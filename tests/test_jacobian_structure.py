"""The structure of a step's Jacobian: log|det J|, J^-1 and their derivatives, against NumPy."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from map_cases import entropy_problem
from on_targets import program_on
from structured_maps import STRUCTURED, concatenated
from test_written_maps import check_values_and_derivatives

import pwgf_sym as pw
from pwgf_sym.kernels.formulas import StepFormulas
from pwgf_sym.kernels.looped import Looped
from pwgf_sym.kernels.operations import Formulas
from pwgf_sym.kernels.structure import structure_of
from pwgf_sym.kernels.undivided import diagonal_of
from pwgf_sym.tensors import (
    Axis,
    Delta,
    add,
    apply,
    constant,
    input_tensor,
    placeholder,
    product,
    scale,
    window,
)
from pwgf_sym.tensors.differentiate import vjp
from pwgf_sym.tensors.evaluate import evaluate
from pwgf_sym.tensors.passes import simplify

COUNT = 4
# Of these texts are generated; quick tests take one in three.
KERNELS = ["permuted", "coupling", "backward", "planar", "residual", "three blocks", "permutation"]
KERNELS += ["dense block", "a circle and a block", "elementwise", "both halves", "shifted"]
KERNELS += ["triangle", "circle", "overlapping", "rotated", "one scale"]


def kind_of(structure):
    """Its class, and those of its blocks."""
    name = type(structure).__name__
    if name != "Triangular":
        return name
    return f"{name}: {', '.join(type(block).__name__ for block in structure.diagonal)}"


def jacobians(function, z):
    """d function / dz by complex steps, (n, i, j)."""
    unit = 1e-30j * np.eye(z.shape[1])
    return np.stack([function(z + e).imag * 1e30 for e in unit], axis=-1)


def differences(function, at, step=1e-4):
    """Derivatives by all entries, of fourth order, the entries last."""
    found = []
    for e in step * np.eye(at.size).reshape(at.size, *at.shape):
        near, far = function(at + e) - function(at - e), function(at + 2 * e) - function(at - 2 * e)
        found.append((8 * near - far) / (12 * step))
    return np.stack(found, axis=-1)


class Step:
    """One step of a map at random values."""

    def __init__(self, flow, seed=0):
        rng = np.random.default_rng(seed)
        self.flow, self.formulas = flow, StepFormulas(Looped(flow))
        self.x, self.right, self.pull = 0.8 * rng.normal(size=(3, COUNT, flow.dim))
        self.names = list(flow.parameters())
        shapes = [t.size for t in self.formulas.parameters.values()]
        self.theta, self.ends = 0.4 * rng.normal(size=sum(shapes)), np.cumsum(shapes)[:-1]
        x = self.formulas.x
        self.after = flow.step(
            Formulas(self.formulas.looped.stages[0].axes), self.formulas.parameters, x
        )
        self.structure = structure_of(self.after, x)
        self.r = input_tensor("r", x.axes, per_sample=True)

    def split(self, theta):
        parts = zip(np.split(theta, self.ends), self.formulas.parameters.values(), strict=True)
        return [part.reshape([a.size for a in t.axes]) for part, t in parts]

    def matrix(self, theta=None, x=None):
        own = self.split(self.theta if theta is None else theta)
        return jacobians(lambda z: self.flow.formula(*own, z), self.x if x is None else x)

    def evaluate(self, *tensors):
        inputs = {"x": self.x, "r": self.right, "u": self.pull}
        with np.errstate(all="ignore"):
            found = evaluate(
                tensors, inputs | dict(zip(self.names, self.split(self.theta), strict=True))
            )
        shapes = [(COUNT,) * (not t.per_sample) for t in tensors]
        return [np.broadcast_to(v, (*s, *v.shape)) for v, s in zip(found, shapes, strict=True)]


def check_solves(step, tolerance=1e-11):
    """log|det|, J^-1 r and J^-T r are those of the dense matrix."""
    matrix, structure = step.matrix(), step.structure
    tensors = structure.volume, structure.solve(step.r), structure.transposed_solve(step.r)
    assert all(t.axes in ((), step.r.axes) for t in tensors)
    volume, solved, transposed = step.evaluate(*tensors)
    scale = np.linalg.cond(matrix).max()
    np.testing.assert_allclose(volume, np.linalg.slogdet(matrix)[1], atol=tolerance * scale)
    for found, own in ((solved, matrix), (transposed, matrix.transpose(0, 2, 1))):
        expected = np.linalg.solve(own, step.right[..., None])[..., 0]
        np.testing.assert_allclose(found, expected, atol=tolerance * scale * np.abs(expected).max())


@pytest.mark.parametrize("name", STRUCTURED)
def test_solves(name):
    flow, kind = STRUCTURED[name]
    for seed in range(3):
        step = Step(flow, seed)
        assert kind_of(step.structure) == kind
        check_solves(step)


@pytest.mark.parametrize("name", STRUCTURED)
def test_derivatives_of_volumes_and_solves(name):
    """By x and by the parameters, as scores and gradients take them."""
    step = Step(STRUCTURED[name][0], 5)
    u = input_tensor("u", step.r.axes, per_sample=True)
    parameters = list(step.formulas.parameters.values())
    transposed = step.structure.transposed_solve(step.r)
    (by_x,) = vjp({step.structure.volume: constant(1)}, [step.formulas.x])
    rows = vjp({step.structure.volume: constant(1)}, parameters, lift=True)
    rows += vjp({transposed: u}, parameters, lift=True)
    by_x, *rows = step.evaluate(by_x, *rows)
    rows = [row.reshape(COUNT, -1) for row in rows]
    volumes, solves = (
        np.concatenate(part, 1) for part in (rows[: len(parameters)], rows[len(parameters) :])
    )

    def log_det(matrix):
        return np.linalg.slogdet(matrix)[1]

    def pulled(theta):
        own = step.matrix(theta).transpose(0, 2, 1)
        return np.einsum("ni,ni->n", np.linalg.solve(own, step.right[..., None])[..., 0], step.pull)

    def moved(shift):
        return log_det(step.matrix(x=step.x + shift))

    for found, expected in (
        (by_x, differences(moved, np.zeros(step.flow.dim))),
        (volumes, differences(lambda theta: log_det(step.matrix(theta)), step.theta)),
        (solves, differences(pulled, step.theta)),
    ):
        scale = 1 + np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=1e-8 * scale)


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_of_structures(name, target, tmp_path):
    """Values, derivatives, scores, gradients and inverses of programs."""
    flow = STRUCTURED[name][0]
    check_values_and_derivatives(flow, target, tmp_path)
    problem = entropy_problem(flow.dim)
    program, law = program_on(target, problem, flow, tmp_path), problem.initial
    spread = np.sqrt(np.trace(law.covariance) / law.dim)
    rng = np.random.default_rng(1)
    theta, z = 0.3 * rng.normal(size=program.size), 0.7 * rng.normal(size=(COUNT, flow.dim))
    samples = program.samples(z)

    def reference(theta, z):
        return law.mean + spread * flow.reference(theta, (z - law.mean) / spread)

    def log_density(z, theta=theta):
        by_z = jacobians(lambda p: reference(theta, p), z)
        return law.log_density(z) - np.linalg.slogdet(by_z)[1]

    def close(found, expected, tolerance=1e-8):
        scale = 1e-3 + np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=tolerance * scale)

    by_z = jacobians(lambda p: reference(theta, p), z)
    slope = differences(lambda shift: log_density(z + shift), np.zeros(flow.dim))
    score = np.linalg.solve(by_z.transpose(0, 2, 1), slope[..., None])[..., 0]
    state = program.push(theta, samples, "score")
    close(program.unpack(state.score, samples), score)
    back, log_det = program.invert(theta, reference(theta, z))
    np.testing.assert_allclose(reference(theta, back), reference(theta, z), atol=1e-10)
    at = jacobians(lambda p: reference(theta, p), back)
    close(log_det, np.linalg.slogdet(at)[1], 1e-10)
    field, scalar = rng.normal(size=z.shape), rng.normal(size=COUNT)

    def energy(theta):
        return np.sum(field * reference(theta, z)) + scalar @ log_density(z, theta)

    padded = np.zeros(np.asarray(samples.weights).size // flow.dim)
    padded[:COUNT] = scalar
    packed = samples.pack(field) * (np.asarray(samples.weights) > 0)
    found = np.asarray(program.linearize(theta, samples).gradient(packed, padded))
    directions = rng.normal(size=(3, theta.size))
    slopes = [differences(lambda s, e=e: energy(theta + s * e), np.zeros(1))[0] for e in directions]
    close(directions @ found, np.array(slopes))


@pytest.mark.parametrize("name", ["permuted", "planar", "both halves"])
def test_gradients_of_scores_of_structures(name, target, tmp_path):
    """The Fisher information by the parameters: second derivatives of volumes and solves."""
    flow = STRUCTURED[name][0]
    x = pw.coordinates(flow.dim)
    rho, law = pw.Density(x), pw.Gaussian(np.linspace(-0.2, 0.3, flow.dim), 0.7)
    fisher = pw.integral(sum(rho.diff(s) ** 2 for s in x) / rho, x)
    program = program_on(target, pw.GradientFlow(fisher, rho, law), flow, tmp_path)
    rng = np.random.default_rng(0)
    theta, samples = 0.2 * rng.normal(size=program.size), program.samples(law.sample(COUNT, 0))

    def energy(theta):
        return program.energy(program.integrals(program.push(theta, samples, "score"), samples))

    linearized = program.linearize(theta, samples, "score")
    integrals = program.integrals(linearized.state, samples)
    found = np.asarray(program.gradient(linearized, integrals))
    directions = rng.normal(size=(3, theta.size))
    slopes = [
        differences(lambda s, e=e: np.array(energy(theta + s * e)), np.zeros(1))[0]
        for e in directions
    ]
    np.testing.assert_allclose(directions @ found, slopes, atol=1e-9 * np.abs(slopes).max())


# ------------------------------------------------------------------------------------ single parts
ROW, COLUMN = Axis("i", 3), Axis("e", 3)
V, A = input_tensor("v", [ROW]), input_tensor("A", [ROW, COLUMN])
UNIT = Delta(ROW, COLUMN)


@pytest.mark.parametrize(
    "factors, diagonal",
    [
        ([(UNIT, (ROW, COLUMN))], True),
        ([(UNIT, (COLUMN, ROW)), (V, (COLUMN,))], True),
        ([(UNIT, (ROW, COLUMN)), (A, (ROW, COLUMN)), (V, (ROW,))], True),
        ([(UNIT, (ROW, COLUMN)), (A, (COLUMN, ROW))], True),
        ([(V, (ROW,)), (V, (COLUMN,))], False),
        ([(A, (ROW, COLUMN)), (V, (ROW,))], False),
        ([(add(UNIT, A), (ROW, COLUMN)), (V, (ROW,))], False),
        ([(add(UNIT, scale(2, UNIT)), (COLUMN, ROW)), (V, (COLUMN,))], True),
    ],
)
def test_diagonals_are_proved(factors, diagonal):
    matrix = product(3, factors, (ROW, COLUMN))
    found = diagonal_of(matrix, ROW, COLUMN)
    assert (found is not None) == diagonal
    if found is not None:
        rng = np.random.default_rng(0)
        values = {"v": rng.normal(size=3), "A": rng.normal(size=(3, 3))}
        found, matrix = evaluate([found, matrix], values)
        np.testing.assert_allclose(np.diag(found), matrix, rtol=1e-14)


def of_points(structure, points):
    """log|det| there."""
    with np.errstate(all="ignore"):
        (found,) = evaluate([structure.volume], {"x": points})
    return np.broadcast_to(found, len(points))


@pytest.mark.parametrize(
    "places, forms",
    [([0, 0], "ss"), ([0, 1], "sz"), ([1, 0], "qs"), ([0, 1], "qq")],
    ids=["one slice twice", "a block of zeros", "a slope of 0", "two slopes of 0"],
)
def test_a_singular_step_has_no_volume(places, forms):
    """log 0, as of the dense matrix: where blocks repeat a slice, read nothing, or do not move."""
    functions = {"s": placeholder(0), "z": 0 * placeholder(0), "q": placeholder(0) ** 2}
    x = input_tensor("x", [Axis("i", 4)], per_sample=True)
    parts = [window(x, x.axes[0], Axis("h", 2), 2 * place) for place in places]
    blocks = [
        product(0, (), one.axes) if form == "z" else apply(functions[form], one)
        for one, form in zip(parts, forms, strict=True)
    ]
    structure = structure_of(concatenated(x, *blocks), x)
    assert np.all(of_points(structure, np.zeros((3, 4))) == -np.inf)


def test_volumes_of_small_and_large_slopes():
    """The squares of the slopes 1e-200 and 1e200 are no numbers, and their logarithms are."""
    x = input_tensor("x", [Axis("i", 2)], per_sample=True)
    slopes = input_tensor("v", x.axes)
    step = product(1, [(x, x.axes), (slopes, x.axes)], x.axes)
    (volume,) = simplify([structure_of(step, x).volume])
    for size in (1e-200, 1e200):
        (found,) = evaluate([volume], {"v": np.array([size, -size])})
        np.testing.assert_allclose(found, 2 * np.log(size), rtol=1e-15)


# ---------------------------------------------------------------------------------- random blocks
@st.composite
def block_graphs(draw):
    """Sizes, and for each block a slice of that length, what is done to it, and what it reads."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    dim, order = sum(sizes), draw(st.permutations(range(len(sizes))))
    blocks, place = {}, 0
    in_order = draw(st.booleans())
    for k in order:
        size, start = sizes[k], place if draw(st.integers(0, 5)) else draw(st.integers(0, dim))
        start, place = min(start, dim - size), place + size
        slices = []
        for _ in range(draw(st.integers(0, 2))):
            first = draw(st.integers(0, dim - 1))
            last = draw(st.integers(first + 1, dim))
            if not in_order or last <= start:
                slices.append((first, last))
        form = draw(st.sampled_from(["same", "function", "scaled", "dense"]))
        blocks[k] = size, start, form, slices, draw(st.booleans())
    return dim, [blocks[k] for k in range(len(sizes))]


def written_blocks(dim, blocks):
    """y_k = f(x[start:]) + the sum of W tanh(x[slice]), and M sin(y_(k-1)) of the block before."""
    values = {}
    for k, (size, _, _, slices, chained) in enumerate(blocks):
        values |= {f"S{k}": (size,), f"A{k}": (size, size)}
        values |= {f"W{k}_{j}": (size, last - first) for j, (first, last) in enumerate(slices)}
        if chained and k:
            values[f"C{k}"] = size, blocks[k - 1][0]
    rng = np.random.default_rng(dim)
    numbers = {name: rng.normal(size=shape) for name, shape in values.items()}
    names = {n: [Axis(f"{n.lower()}{j}", m) for j, m in enumerate(s)] for n, s in values.items()}
    inputs = {name: input_tensor(name, axes) for name, axes in names.items()}

    def of_tensors(x):
        found = []
        for k, (size, start, form, slices, chained) in enumerate(blocks):
            own, before = Axis(f"y{k}", size), found[-1:]
            main = window(x, x.axes[0], own, start)
            if form == "function":
                main = apply(sp.sinh(placeholder(0)), main)
            if form == "scaled":
                main = product(1, [(main, (own,)), (inputs[f"S{k}"], (own,))], (own,))
            if form == "dense":
                main = multiplied(inputs[f"A{k}"], main, own)
            for j, (first, last) in enumerate(slices):
                part = window(x, x.axes[0], Axis(f"s{k}_{j}", last - first), first)
                part = apply(sp.tanh(placeholder(0)), part)
                main = add(main, multiplied(inputs[f"W{k}_{j}"], part, own))
            if chained and before:
                part = apply(sp.sin(placeholder(0)), before[0])
                main = add(main, multiplied(inputs[f"C{k}"], part, own))
            found.append(main)
        return concatenated(x, *found)

    def of_arrays(x):
        found = []
        for k, (size, start, form, slices, chained) in enumerate(blocks):
            main = x[:, start : start + size]
            main = np.sinh(main) if form == "function" else main
            main = main * numbers[f"S{k}"] if form == "scaled" else main
            main = main @ numbers[f"A{k}"].T if form == "dense" else main
            for j, (first, last) in enumerate(slices):
                main = main + np.tanh(x[:, first:last]) @ numbers[f"W{k}_{j}"].T
            if chained and k:
                main = main + np.sin(found[-1]) @ numbers[f"C{k}"].T
            found.append(main)
        return np.concatenate(found, axis=1)

    return of_tensors, of_arrays, numbers


def multiplied(matrix, vector, own):
    inner = vector.axes[0].fresh
    return product(1, [(matrix, (own, inner)), (vector, (inner,))], (own,))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(block_graphs())
def test_random_blocks(graph):
    dim, blocks = graph
    of_tensors, of_arrays, numbers = written_blocks(dim, blocks)
    axis = Axis("i", dim)
    x, r = (input_tensor(name, [axis], per_sample=True) for name in "xr")
    points, right = np.random.default_rng(1).normal(size=(2, COUNT, dim))
    structure, matrix = structure_of(of_tensors(x), x), jacobians(of_arrays, points)
    with np.errstate(all="ignore"):
        known = {"x": points, "r": right, **numbers}
        tensors = structure.volume, structure.solve(r), structure.transposed_solve(r)
        volume, solved, transposed = evaluate(tensors, known)
        condition = np.linalg.cond(matrix)
    if condition.max() > 1e8:  # a singular matrix, up to round-off: its solves mean nothing
        assert np.all(np.linalg.slogdet(matrix)[1] < -10) or np.all(np.isfinite(condition))
        return
    close_to = 1e-13 * condition[:, None]
    assert np.all(abs(volume - np.linalg.slogdet(matrix)[1]) <= 10 * close_to[:, 0])
    for found, own in ((solved, matrix), (transposed, matrix.transpose(0, 2, 1))):
        expected = np.linalg.solve(own, right[..., None])[..., 0]
        assert np.all(abs(found - expected) <= close_to * abs(expected).max() * 10)
