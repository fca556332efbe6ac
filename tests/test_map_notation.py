"""Operators, brackets and operations of maps against NumPy's, on random shapes.

Truth: NumPy itself, sample by sample, with the same operators; derivatives by complex steps.
"""

import math
import operator
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from amounts import amount
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pwgf_sym.declare.tableaus import TABLEAUS
from pwgf_sym.errors import MapError
from pwgf_sym.kernels.operations import Formulas
from pwgf_sym.tensors import Axis, input_tensor
from pwgf_sym.tensors.differentiate import jvp
from pwgf_sym.tensors.evaluate import evaluate
from pwgf_sym.tensors.passes import simplify

SAMPLES, STEP = 3, 1e-30
SIZES = {"i": 3, "j": 3, "k": 2, "l": 1, "m": 1, "r": 4}
AXES = {letter: Axis(letter, size) for letter, size in SIZES.items()}
OP = Formulas(AXES, count=4, place=1)
FEW = settings(
    max_examples=amount(60, 600),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class Pair:
    """A tensor, and its value in NumPy at every sample."""

    def __init__(self, tensor, values):
        self.tensor, self.values = tensor, values

    @property
    def shape(self):
        return self.values[0].shape

    def then(self, function, *others):
        """The same function of the tensors and of the values."""
        tensors = [self.tensor, *[other.tensor for other in others]]
        rows = zip(self.values, *[other.values for other in others], strict=True)
        return Pair(function(*tensors), [np.asarray(function(*row)) for row in rows])


@st.composite
def inputs(draw):
    """Inputs of random axes, one of them of the samples, and the arrays that they have."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    found, arrays = [], {}
    for n in range(3):
        letters = draw(st.lists(st.sampled_from("ijklmr"), unique=True, max_size=3))
        shape = tuple(SIZES[letter] for letter in letters)
        name, per_sample = f"a{n}", n == 0
        tensor = input_tensor(name, [AXES[letter] for letter in letters], per_sample=per_sample)
        array = random.uniform(-1.5, 1.5, (SAMPLES, *shape) if per_sample else shape)
        arrays[name] = array
        found.append(tensor)
    return found, arrays


def pairs_of(tensors, arrays):
    """Inputs and their values, which may be complex."""
    return [
        Pair(t, list(arrays[t.name]) if t.per_sample else [arrays[t.name]] * SAMPLES)
        for t in tensors
    ]


NUMBERS = [2, -0.5, 3, sp.Rational(1, 3), np.float64(1.25), np.int64(-2)]
SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
SIGNS |= {"**": operator.pow, "@": operator.matmul}


@st.composite
def keys(draw, shape):
    """What stands in brackets: integers, slices, one list, Ellipsis, None."""
    first = draw(st.integers(0, len(shape)))
    last = draw(st.integers(0, len(shape) - first)) if draw(st.booleans()) else None
    listed = draw(st.booleans())

    def one(size):
        nonlocal listed
        places = st.integers(-size, size - 1)
        ends = st.one_of(st.none(), st.integers(-size - 1, size + 1))
        kinds = [st.builds(slice, ends, ends, st.sampled_from([None, 1, -1, 2, -2]))]
        several = st.lists(places, min_size=1, max_size=4)
        kinds += [several, several.map(np.array)] if listed else [places]
        found = draw(st.one_of(*kinds))
        listed = listed and isinstance(found, slice)
        return found

    found = [one(size) for size in shape[:first]]
    if last is not None:
        found += [Ellipsis, *[one(size) for size in shape[len(shape) - last :]]]
    if all(isinstance(key, (slice, int, type(Ellipsis))) for key in found):
        for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
            found.insert(draw(st.integers(0, len(found))), None)
    return found[0] if len(found) == 1 else tuple(found)


@st.composite
def programs(draw):
    """A list of turns: each takes values made before and makes another one, or is refused."""
    turns = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["binary", "binary", "number", "item", "iterate"]))
        which = draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))
        sign = draw(st.sampled_from(list(SIGNS)))
        number, left = draw(st.sampled_from(NUMBERS)), draw(st.booleans())
        turns.append((kind, which, sign, number, left, draw(st.data())))
    return turns


def base(value):
    """Of the size 1, positive: what may be divided by, and raised to powers."""
    return value * value / 4 + 1


def turn(pool, kind, which, sign, number, left, data):
    """The next value; None where NumPy refuses, and tensors do."""
    first, second = (pool[w % len(pool)] for w in which)
    function = SIGNS[sign]
    if kind == "binary":
        first, second = (first.then(base), second) if sign == "**" else (first, second)
        second = second.then(base) if sign == "/" else second
        try:
            function(first.values[0], second.values[0])
        except (ValueError, TypeError):  # of two numbers
            with pytest.raises(MapError, match=r"of shapes .*\(test_map_notation.py, line \d+\)"):
                function(first.tensor, second.tensor)
            return None
        return first.then(function, second)
    if kind == "number":
        if sign == "@":
            return first.then(lambda v: -v)
        number = abs(number) if left and sign == "**" else number
        first = first.then(base) if sign in ("/", "**") else first
        value, own = float(number), first.tensor
        made = function(number, own) if left else function(own, number)
        arrays = [function(value, v) if left else function(v, value) for v in first.values]
        return Pair(made, [np.asarray(a) for a in arrays])
    if kind == "item":
        key = data.draw(keys(first.shape))
        if first.values[0][key].size == 0:
            with pytest.raises(MapError, match="no entries"):
                first.tensor[key]
            return None
        return first.then(lambda v: v[key])
    if not first.shape:
        return None
    parts, place = list(first.tensor), which[1] % first.shape[0]
    assert len(parts) == first.shape[0] == len(first.tensor)
    return Pair(parts[place], [list(v)[place] for v in first.values])


def check_values(pair, arrays):
    """Values are those of NumPy, before and after the simplifying passes."""
    assert pair.tensor.shape == pair.shape
    expected = np.array(pair.values)
    for form in ([pair.tensor], simplify([pair.tensor])):
        found = np.broadcast_to(evaluate(form, arrays)[0], expected.shape)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11 * scale)


@FEW
@given(inputs(), programs(), st.integers(0, 1000))
def test_operators_and_brackets_are_those_of_numpy(given_inputs, turns, seed):
    tensors, arrays = given_inputs
    random = np.random.default_rng(seed)
    slopes = {n: random.normal(size=a.shape) for n, a in arrays.items()}
    moved = {n: a + 1j * STEP * slopes[n] for n, a in arrays.items()}
    pool = pairs_of(tensors, moved)
    for one in turns:
        made = turn(pool, *one)
        if made is not None:
            pool.append(made)
    last = pool[-1]
    values = [np.real(v) for v in last.values]
    check_values(Pair(last.tensor, values), arrays)
    named = {t: input_tensor(f"d{t.name}", t.axes, t.per_sample) for t in tensors}
    (tangent,) = jvp([last.tensor], named)
    expected = np.imag(last.values) / STEP
    inputs_too = arrays | {f"d{n}": s for n, s in slopes.items()}
    found = np.broadcast_to(evaluate([tangent], inputs_too)[0], expected.shape)
    scale = np.abs(expected).max() + 1e-9
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * scale)


# ------------------------------------------------------------------------------- one at a time


def vector(name="x", letter="i", per_sample=True):
    return input_tensor(name, (AXES[letter],), per_sample=per_sample)


def matrix(name="A", letters="ij"):
    return input_tensor(name, [AXES[letter] for letter in letters])


X, A = vector(), matrix()
RANDOM = np.random.default_rng(0)
VALUES = {"x": RANDOM.normal(size=(SAMPLES, 3)), "A": RANDOM.normal(size=(3, 3))}


def test_functions_of_several_tensors_broadcast():
    found = OP.apply(lambda a, b: sp.exp(a) * sp.sin(b), A, X)
    expected = np.exp(VALUES["A"]) * np.sin(VALUES["x"])[:, None, :]
    np.testing.assert_allclose(evaluate([found], VALUES)[0], expected, rtol=1e-13)


def test_parts_one_after_the_other():
    found = OP.concatenate([X[1:], 2.5, A[0] @ X, X[:1], OP.sum(A)])
    x, first = VALUES["x"], VALUES["A"]
    columns = [x[:, 1:], np.full((SAMPLES, 1), 2.5), x @ first[:1].T, x[:, :1]]
    expected = np.hstack([*columns, np.full((SAMPLES, 1), first.sum())])
    np.testing.assert_allclose(evaluate([found], VALUES)[0], expected, rtol=1e-13)


SAME = {
    "arrays without axes": lambda x: np.array(3) * x + x * np.array(0.5) - x[np.array(-1)],
    "fractions": lambda x: Fraction(1, 3) * x - Fraction(1, 7),
    "signs": lambda x: -(+x),
    "outer": lambda x: (x[:, None] * x[None])[..., 1],
    "stacks": lambda x: x[None, None] @ (x[:, None] * x),
}


@pytest.mark.parametrize("formula", SAME.values(), ids=SAME)
def test_what_numpy_writes(formula):
    expected = np.array([formula(row) for row in VALUES["x"]], dtype=float)
    np.testing.assert_allclose(evaluate([formula(X)], VALUES)[0], expected, rtol=1e-13)


def test_constant_arrays_broadcast():
    numbers = np.arange(6.0).reshape(2, 3)
    found = OP.constant(numbers) * X + OP.constant([1.0, 2.0], "k") @ OP.constant(numbers)
    expected = numbers * VALUES["x"][:, None, :] + np.array([1.0, 2.0]) @ numbers
    np.testing.assert_allclose(evaluate([found], VALUES)[0], expected, rtol=1e-13)


def potential(op, y, weights):
    """log(1 + |A y|^2) + sum of y^3 A_0, in tensors, or in NumPy of one sample."""
    bent = weights @ y
    log = op.apply(sp.log, 1 + bent @ bent) if op else np.log(1 + bent @ bent)
    return log + (y**3) @ weights[0]


@pytest.mark.parametrize("at", [X, A[1], 2 * X + A[0]], ids=["sample", "parameter", "sum"])
def test_a_gradient_is_that_of_complex_steps(at):
    found = OP.gradient(lambda y: potential(OP, y, A), at)
    points = np.broadcast_to(evaluate([at], VALUES)[0], (SAMPLES, 3))
    unit = 1j * STEP * np.eye(3)
    slopes = [[potential(None, y + e, VALUES["A"]).imag / STEP for e in unit] for y in points]
    got = np.broadcast_to(evaluate([found], VALUES)[0], (SAMPLES, 3))
    np.testing.assert_allclose(got, slopes, rtol=1e-12, atol=1e-13)


def test_a_gradient_that_reads_the_point_is_partial():
    """The function's own argument alone is differentiated."""
    found = OP.gradient(lambda y: (y @ X) * (y @ y), X)
    x = VALUES["x"]
    norm = np.sum(x**2, axis=1, keepdims=True)
    np.testing.assert_allclose(evaluate([found], VALUES)[0], 3 * norm * x, rtol=1e-13)


ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "ralston": 2, "kutta3": 3, "ssprk3": 3}
ORDERS |= {"rk4": 4, "rk38": 4}


def logistic(scheme, count):
    """y' = y (1 - y) (1 + t) from 0.3, over the unit interval, step by step."""
    y, k = sp.Rational(3, 10), vector("y", "l", per_sample=False)
    value = np.array([float(y)])
    for place in range(count):
        op = Formulas(AXES, count, place)
        moved = op.integrate(lambda u, t: u * (1 - u) * (1 + t), k, scheme, time=op.time)
        (value,) = evaluate([moved], {"y": value})
    return value[0]


@pytest.mark.parametrize("scheme", TABLEAUS)
def test_methods_have_their_orders(scheme):
    exact = 1 / (1 + (1 / 0.3 - 1) * np.exp(-1.5))
    errors = [abs(logistic(scheme, count) - exact) for count in (16, 32)]
    assert abs(np.log2(errors[0] / errors[1]) - ORDERS[scheme]) < 0.3
    assert set(ORDERS) == set(TABLEAUS)


def test_several_states_are_integrated_together():
    """A rotation, whose fourth-order step is the series of its exponential."""
    op = Formulas(AXES, 4, 0)
    found = op.integrate(lambda y: [y[1], -y[0]], [X, A[0]])
    turn = np.array([[0, 1], [-1, 0]]) / 4
    series = sum(np.linalg.matrix_power(turn, n) / sp.factorial(n) for n in range(5))
    both = np.stack([VALUES["x"], np.broadcast_to(VALUES["A"][0], (SAMPLES, 3))])
    expected = np.einsum("ab,bni->ani", np.array(series, float), both)
    for one, truth in zip(evaluate(list(found), VALUES), expected, strict=True):
        np.testing.assert_allclose(one, truth, rtol=1e-13)


def test_where_a_step_stands():
    assert (OP.number, OP.time, OP.length) == (1, sp.Rational(1, 4), sp.Rational(1, 4))


HERE = r".* in '.*' \(test_map_notation.py, line \d+\)"
REFUSED = {
    "shapes": (lambda: A[:2] + A, r"'\+' of shapes \(2, 3\) and \(3, 3\)" + HERE),
    "matrices": (lambda: A @ A[:2], "'@' of shapes" + HERE),
    "numbers": (lambda: OP.sum(A) @ X, "'@' of shapes" + HERE),
    "an array": (lambda: X + np.ones(3), r"\[1.0, 1.0, 1.0\] beside '\+'" + HERE),
    "an array first": (lambda: np.ones(3) * X, r"an array of shape \(3,\) beside a tensor" + HERE),
    "not finite": (lambda: X * float("nan"), r"nan beside '\*'" + HERE),
    "too large": (lambda: X * 10**400, r"beside '\*'" + HERE),
    "complex": (lambda: X - 1j, "beside '-'" + HERE),
    "a symbol": (lambda: sp.Symbol("q") * X, r"q beside '\*'" + HERE),
    "zero": (lambda: X / 0, "a division by 0" + HERE),
    "a negative base": (lambda: (-2) ** X, "a power of -2" + HERE),
    "a place": (lambda: X[3], "the index 3 of an axis of length 3" + HERE),
    "a sum of NumPy": (lambda: np.sum(X), r"np.sum of a tensor" + HERE + r".*op\.sum\(x\)"),
    "a row of NumPy": (lambda: np.concatenate([X, X]), "np.concatenate of a tensor" + HERE),
    "an array of tensors": (lambda: np.array([X[0], X[1]]), "an array made of tensors" + HERE),
    "a constant of tensors": (lambda: OP.constant([X[0], 1]), "an array made of tensors" + HERE),
    "a reduction": (lambda: np.add.reduce(X), r"np.add.reduce\(x\) of a tensor" + HERE),
    "a place for results": (lambda: np.add(X, 1, where=[True]), r"np.add\(x, where=...\)" + HERE),
    "a method": (lambda: X.sum(), r"'sum' of a tensor" + HERE + r".*op\.sum\(x\)"),
    "an attribute": (lambda: X.exp, r"'exp' of a tensor" + HERE + r".*op.apply\(sp.exp, x\)"),
    "a function of numbers": (lambda: math.exp(X[0]), "a tensor as a number" + HERE),
    "a remainder": (lambda: X % 1, "a tensor as a number" + HERE),
    "a slice of floats": (lambda: X[0.5:], r"slice\(0.5, None, None\): .*" + HERE),
    "a slice without steps": (lambda: X[::0], "slice step cannot be zero" + HERE),
    "a number alone": (lambda: OP.concatenate(5), "op.concatenate of 5" + HERE),
    "letters that are none": (lambda: OP.constant([1, 2], 3), "constant: got axes 3" + HERE),
    "a float": (lambda: X[1.0], "the index 1.0" + HERE),
    "booleans": (lambda: X[[True, False, True]], "the index True" + HERE),
    "many": (lambda: X[0, 0], "2 indices of a tensor" + HERE),
    "two lists": (lambda: A[[0, 1], [0, 1]], "the indices" + HERE),
    "a list apart": (lambda: matrix("B", "ijk")[0, :, [0, 1]], "the indices" + HERE),
    "another one": (lambda: matrix("B", "ijkr")[:, [0, 1], :, 0], "the indices" + HERE),
    "two dots": (lambda: A[..., ...], "the index Ellipsis" + HERE),
    "letters": (lambda: OP.einsum("ij,k->ij", A), r"op.einsum\('ij,k->ij'\)" + HERE),
    "lengths": (lambda: OP.einsum("ij,j->i", A, A[0, :2]), "op.einsum" + HERE),
    "a function": (lambda: OP.apply(np.tanh, X), "op.apply of <ufunc 'tanh'>" + HERE),
    "two arguments": (lambda: OP.apply(sp.tanh, X, X), "op.apply of tanh" + HERE),
    "a number": (lambda: OP.apply(lambda a: 1, X), "of the value 1" + HERE),
    "SymPy": (lambda: sp.tanh(X), r"a tensor in SymPy.*Write op.apply\(sp.tanh, x\)"),
    "an operation": (lambda: OP.tanh(X), r"op.tanh" + HERE + r".*Write op.apply\(sp.tanh, x\)"),
    "a matrix in a row": (lambda: OP.concatenate([A, X]), r"op.concatenate of \(3, 3\), \(3,\)"),
    "a text in a row": (lambda: OP.concatenate([X, "a"]), "op.concatenate of" + HERE),
    "a sum": (lambda: OP.sum(3), "op.sum of 3" + HERE),
    "no number": (lambda: OP.gradient(lambda y: 2 * y, X), r"op.gradient of \(3,\)" + HERE),
    "a field": (lambda: OP.integrate(lambda y: y[:2], X), r"a field of \(2,\)" + HERE),
    "a field without time": (
        lambda: OP.integrate(lambda y: y, X, time=OP.time),
        r"field: got <lambda>\(y\); accepted: field\(x, t\) where time is given",
    ),
    "a field that is none": (lambda: OP.integrate(X, X), "field: got .*; accepted: field"),
    "states": (lambda: OP.integrate(lambda y: y, 3), "op.integrate of 3" + HERE),
    "a gradient at a list": (lambda: OP.gradient(OP.sum, [1, 2]), "op.gradient" + HERE),
    "a field's number": (lambda: OP.integrate(lambda y: 2, X), "a field of 2" + HERE),
    "two fields": (lambda: OP.integrate(lambda y: [y[0]] * 2, [X]), "a field of" + HERE),
    "a scheme": (lambda: OP.integrate(lambda y: y, X, "rk5"), "'rk5'; accepted: \"euler\""),
    "no steps": (lambda: OP.integrate(lambda y: y, X, steps=0), "steps: got 0"),
    "constants": (lambda: OP.constant([1, np.inf]), r"got inf at \[1\]" + HERE),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_named_with_its_line(case):
    wrong, message = case
    with pytest.raises(MapError, match=message):
        wrong()
