"""A new tensor operation is one class in one file, this one: a determinant."""

import numpy as np
import pytest
import sympy as sp
from map_cases import entropy_problem
from test_written_maps import Written, check_values_and_derivatives

from pwgf_sym.errors import OperationError
from pwgf_sym.targets.program import compile_program
from pwgf_sym.tensors import Axis, Inverse, LogDet, Tensor, input_tensor, product
from pwgf_sym.tensors.differentiate import jvp, vjp
from pwgf_sym.tensors.evaluate import evaluate
from pwgf_sym.tensors.passes import simplify
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


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_maps_on_the_numpy_target(dim, tmp_path):
    """Every kernel of a map that uses it, and the text that is read in the place of code."""
    check_values_and_derivatives(volume(dim), "numpy", tmp_path)


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_target_without_loops_for_it(where, tmp_path):
    """The message names the operation, the target, and the place where loops are to be written."""
    with pytest.raises(OperationError, match=f'determinant.*"{where}".*loops/{where}/.*"numpy"'):
        compile_program(entropy_problem(2), volume(2), target=where, folder=tmp_path)
