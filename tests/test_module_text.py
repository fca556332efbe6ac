"""What generated modules say of themselves, and that they say nothing twice."""

from types import SimpleNamespace

import pytest
import sympy as sp
from sample_energies import ENERGIES, LOCAL, Energy, R

from pwgf_sym.compile.program import compile_program
from pwgf_sym.declare.maps import Affine, NeuralFlow
from pwgf_sym.declare.symbols import coordinates
from pwgf_sym.emit.map_kernels import KernelEmitter
from pwgf_sym.emit.writer import Writer
from pwgf_sym.errors import FormulaError


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

    class Emitter(KernelEmitter):
        table = ()

        def __init__(self, name, fails):
            self.kernel = SimpleNamespace(name=name, has_gradient=True)
            self.fails = fails

        def _emit_samples(self, write):
            write.append([f"def {self.kernel.name}():", "    pass", "", ""])

        def _emit_finish(self, write):
            if self.fails:
                raise FormulaError("activation", "a kink", "none")
            write.append([f"def {self.kernel.name}_finish():", "    return 1", "", ""])

    printed, part = {}, Writer()
    with pytest.raises(FormulaError):
        Emitter("first", True).emit(part, printed)
    for name in ("second", "third"):
        Emitter(name, False).emit(part, printed)
    written = [line for line in part.lines if line]
    assert written[:4] == ["def second():", "    pass", "def second_finish():", "    return 1"]
    assert written[4:] == ["third = second", "third_finish = second_finish"]


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
