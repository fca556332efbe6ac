"""What generated modules say of themselves, and that they say nothing twice."""

from types import SimpleNamespace

import pytest
import sympy as sp
from sample_energies import ENERGIES, LOCAL, Energy, R

from pwgf_sym.compile.program import compile_program
from pwgf_sym.declare.maps import Affine, NeuralFlow
from pwgf_sym.declare.symbols import coordinates
from pwgf_sym.errors import FormulaError
from pwgf_sym.loops.kernels import KernelBuilder
from pwgf_sym.loops.nodes import Alias, Call, Do, Function


def test_equal_functions_are_written_once(tmp_path):
    """Tables of an exact log-determinant are the same products of weights for every kernel."""
    problem = ENERGIES["double well"].problem()
    program = compile_program(problem, NeuralFlow(2, 5), folder=tmp_path)
    text = program.code_python()
    assert [line for line in text.splitlines() if line.startswith("def") and "_table(" in line] == [
        "def push_log_density_table(theta, table, steps):"
    ]
    assert program.module.gradient_table is program.module.push_log_density_table
    assert program.emission.emitters["push_score"].table_size == 2 * 5 * 2


def test_a_kernel_that_cannot_be_printed_lends_no_function():
    """What was written of it is not in the module, so that no other kernel may refer to it."""

    class Builder(KernelBuilder):
        table = ()

        def __init__(self, name, fails):
            self.kernel = SimpleNamespace(name=name, has_gradient=True)
            self.fails = fails

        def _samples_function(self):
            return Function(self.kernel.name, (), "", (Do(Call("one", ())),))

        def _finish_function(self):
            if self.fails:
                raise FormulaError("activation", "a kink", "none")
            return Function(f"{self.kernel.name}_finish", (), "", (Do(Call("two", ())),))

    Builder.__abstractmethods__ = frozenset()  # nothing else is asked for here
    printed = {}
    with pytest.raises(FormulaError):
        Builder("first", True).statements(printed)
    second, third = (Builder(name, False).statements(printed) for name in ("second", "third"))
    assert [node.name for node in second] == ["second", "second_finish"]
    assert second[0].body == (Do(Call("one", ())),)
    assert third == [Alias("third", "second"), Alias("third_finish", "second_finish")]


@pytest.mark.parametrize("dim", [3, 9])
def test_a_header_to_read(dim, tmp_path):
    """A sum over many coordinates is a sum over i there, also inside an integral."""
    x = coordinates(dim)
    wells = sum((c**2 - 1) ** 2 for c in x)
    energy = Energy(dim, wells + x[0] ** 6, R * sp.log(R), outer=sp.sqrt(1 + LOCAL**2))
    program = compile_program(energy.problem(), Affine(dim), folder=tmp_path)
    text = program.code_python().split('"""')[1]
    assert ("sum_i((x_i**2 - 1)**2)" in text) == (dim == 9)
    assert ("(x2**2 - 1)**2" in text) == (dim == 3)
    assert "x0**6" in text
    assert ("equation: drho/dt = div(rho grad(dE/drho))" in text) == (dim == 9)
