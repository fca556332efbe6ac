"""A new tensor operation is one class in one file, this one: a determinant."""

from itertools import combinations, permutations
from math import prod

import numpy as np
import pytest
import sympy as sp
from map_cases import entropy_problem
from test_written_maps import Written, check_values_and_derivatives

from pwgf_sym.errors import OperationError
from pwgf_sym.targets.program import compile_program
from pwgf_sym.tensors import Axis, Inverse, LogDet, Tensor, input_tensor, product, topological
from pwgf_sym.tensors.differentiate import jvp, vjp
from pwgf_sym.tensors.evaluate import evaluate
from pwgf_sym.tensors.passes import Lower, simplify
from pwgf_sym.tensors.product import pulled_through
from pwgf_sym.tensors.tensor import node


@node
class Determinant(Tensor):
    """The determinant of a square matrix."""

    matrix: Tensor

    def __post_init__(self):
        self._derive(axes=(), per_sample=self.matrix.per_sample, operands=(self.matrix,))

    def pushed(self, k, tangent, extra):
        """d det J = det J tr(J^-1 dJ)."""
        inverse, labels = Inverse(self.matrix), self.matrix.axes
        factors = [(self, ()), (inverse, inverse.axes), (tangent, labels + extra)]
        return product(1, factors, extra)

    def pulled(self, k, cotangent, extra, lift):
        """u det J J^-T."""
        inverse = Inverse(self.matrix)
        factors = [(cotangent, extra), (self, ()), (inverse, inverse.axes)]
        return pulled_through(self.matrix, 1, factors, extra, lift)

    def rebuilt(self, operands):
        return Determinant(*operands)

    def flops(self, dtype):
        return 2 * self.matrix.axes[0].size ** 3 // 3

    def of_arrays(self, dtype):
        return np.linalg.det

    def lowered(self):
        """Leibniz' formula."""
        places, M = range(self.matrix.axes[0].size), self.matrix
        terms = []
        for order in permutations(places):
            sign = (-1) ** sum(order[i] > order[j] for i, j in combinations(places, 2))
            terms.append(sign * prod(M[i, k] for i, k in enumerate(order)))
        return sum(terms)


@node
class Opaque(Tensor):
    """An operation that says nothing of itself but its value."""

    operand: Tensor

    def __post_init__(self):
        of = self.operand
        self._derive(axes=of.axes, per_sample=of.per_sample, operands=(of,))

    def pushed(self, k, tangent, extra):
        return Opaque(tangent)

    def pulled(self, k, cotangent, extra, lift):
        return pulled_through(self.operand, 1, [(Opaque(cotangent), cotangent.axes)], extra, lift)

    def rebuilt(self, operands):
        return Opaque(*operands)

    def of_arrays(self, dtype):
        return lambda values: values


ROW, COLUMN = Axis("i", 3), Axis("j", 3)
COUNT = 4
a = sp.Symbol("a", real=True)


def test_derivatives_and_passes():
    """Both modes, and the second derivative, against complex steps."""
    x, A = input_tensor("x", (ROW,), True), input_tensor("A", (ROW, COLUMN))
    outer = product(1, [(x, (ROW,)), (x, (COLUMN,))], (ROW, COLUMN))
    value = Determinant(outer + A)
    assert Determinant(outer + A) is value and value is not LogDet(outer + A)
    assert repr(value) == "<determinant[n; ] (add)>" and value.flops("float64") == 18
    rng = np.random.default_rng(0)
    values = {"x": rng.normal(size=(COUNT, 3)), "A": rng.normal(size=(3, 3))}
    values |= {"dx": rng.normal(size=(COUNT, 3)), "u": rng.normal(size=(COUNT, 3))}
    moved = values | {"x": values["x"] + 1e-30j * values["dx"]}
    dx, u = (input_tensor(name, (ROW,), True) for name in ("dx", "u"))
    (tangent,) = jvp([value], {x: dx})
    (slope,) = vjp({value: input_tensor("one", (), True)}, [x])
    (second,) = vjp({slope: u}, [x])
    values["one"] = moved["one"] = np.ones(COUNT)
    expected = [np.imag(v) * 1e30 for v in evaluate([value, slope], moved)]
    for outputs in ([tangent, slope, second], simplify([tangent, slope, second])):
        pushed, pulled, curved = evaluate(outputs, values)
        np.testing.assert_allclose(pushed, expected[0], rtol=1e-11)
        np.testing.assert_allclose(np.sum(pulled * values["dx"], axis=1), expected[0], rtol=1e-11)
        both = np.sum(values["u"] * expected[1], axis=1)
        np.testing.assert_allclose(np.sum(curved * values["dx"], axis=1), both, rtol=1e-10)


def volume(dim):
    """A x + det(diag(1 + x^2) A) c."""

    def step(op, p, x):
        matrix = op.einsum("i,ij->ij", op.apply(1 + a**2, x), p["A"])
        moved = op.einsum("ij,j->i", p["A"], x)
        return moved + op.einsum(",i->i", Determinant(matrix), p["c"])

    def formula(A, c, x):
        matrix = (1 + x**2)[:, :, None] * A
        return x @ A.T + np.linalg.det(matrix)[:, None] * c

    return Written(dim, {"A": "ij", "c": "i"}, step, formula)


@pytest.mark.parametrize("dim", [1, 3])
def test_maps_on_every_target(target, dim, tmp_path):
    """Every kernel of a map that uses it, and the text that is read in the place of code."""
    check_values_and_derivatives(volume(dim), target, tmp_path)


def test_lowering_keeps_the_values():
    """Those of NumPy, also of a determinant within a determinant."""
    A = input_tensor("A", (ROW, COLUMN), True)
    inner = Determinant(A)
    outer = Determinant(product(1, [(inner, ()), (A, (ROW, COLUMN))], (ROW, COLUMN)))
    (found,) = Lower().run([outer])
    assert not any(isinstance(t, Determinant) for t in topological([found]))
    values = {"A": np.random.default_rng(0).normal(size=(COUNT, 3, 3))}
    det = np.linalg.det(values["A"])
    np.testing.assert_allclose(evaluate([found], values)[0], det**4, rtol=1e-11)


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_target_without_loops_for_it(where, tmp_path):
    """The message names the operation, the target, and the place where loops are to be written."""
    flow = Written(2, {"b": "i"}, lambda op, p, x: x + Opaque(x * p["b"]), None)
    with pytest.raises(
        OperationError, match=f'opaque.*"{where}".*lowered.*loops/{where}/.*"numpy"'
    ):
        compile_program(entropy_problem(2), flow, target=where, folder=tmp_path)
