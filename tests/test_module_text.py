"""What generated modules say of themselves, and that they say nothing twice."""

from types import SimpleNamespace

import pytest
import sympy as sp
from sample_energies import ENERGIES, LOCAL, Energy, R

from pwgf_sym.declare.maps import Affine, NeuralFlow
from pwgf_sym.declare.symbols import coordinates
from pwgf_sym.errors import FormulaError, OptionError
from pwgf_sym.loops.kernels import KernelBuilder
from pwgf_sym.loops.nodes import Alias, Call, Do, Function
from pwgf_sym.targets.program import compile_program


def test_equal_functions_are_written_once(tmp_path):
    """Tables of an exact log-determinant are the same products of weights for every kernel."""
    problem = ENERGIES["double well"].problem()
    program = compile_program(problem, NeuralFlow(2, 5), folder=tmp_path)
    text = program.code_python()
    assert [line for line in text.splitlines() if line.startswith("def") and "_table(" in line] == [
        "def push_log_density_table(theta, table, steps):"
    ]
    assert program.module.gradient_table is program.module.push_log_density_table
    assert program.emission.signatures["push_score_table"]["table"].numbers == 2 * 5 * 2


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
    equation = text[text.index("equation: ") :]
    assert equation.startswith("equation: drho/dt = div(rho grad(")
    assert ("sum_i" in equation) == (dim == 9)


def test_a_table_of_kernels():
    """A line each, and in every kernel's docstring its formula and the shapes of its arguments."""
    program = compile_program(ENERGIES["double well"].problem(), NeuralFlow(2, 5))
    _, header, _ = program.code_python().split('"""', 2)
    rows = {row.split()[0]: row for row in header.splitlines() if row.startswith("  ")}
    assert rows["push"].split(maxsplit=1)[1] == "x = T(z) -> x (N, 2)"
    assert rows["jvp"].endswith("dx = (dT/dtheta) eta -> dx (N, 2)")
    kernels = {program.emission.signatures[name].name for name in program.emission.kernels}
    assert set(rows) == {*kernels, *program.emission.formulas}
    assert set(program.emission.kernels) - kernels == {"linearize_score"}  # which is push_score
    for name in rows:
        doc = getattr(program.module, name).py_func.__doc__
        assert rows[name].split(" -> ")[-1] in doc or name == "factors"
    assert "theta (p,), eta (p,) -> dx (N, 2)" in program.module.jvp.py_func.__doc__


def test_one_kernel_and_what_it_calls():
    program = compile_program(ENERGIES["double well"].problem(), NeuralFlow(2, 5))
    lanes = program.emission.tiling.samples

    def functions(text):
        return [line[4 : line.index("(")] for line in text.splitlines() if line.startswith("def ")]

    assert functions(program.code_python("velocity")) == ["velocity"]
    assert functions(program.code_python("vjp")) == ["vjp", "vjp_finish"]
    found = functions(program.code_python("push_score"))
    assert found[0] == f"invert_{lanes}" and "push_score" in found and "push" not in found
    assert program.code_python("linearize_score") == program.code_python("push_score")
    namespace = {"njit": lambda **_: lambda f: f, "OPTIONS": {}}
    exec(program.code_python("velocity"), namespace)
    assert namespace["velocity"].__doc__.startswith("w = -grad dE/drho")
    statements = program.code_statements("velocity")
    assert statements.startswith("velocity(x, score") and "njit" not in statements
    assert "kernel velocity" in program.code_symbolic("velocity")
    assert "jvp" not in program.code_symbolic("velocity")
    for show in (program.code_python, program.code_statements, program.code_symbolic):
        with pytest.raises(OptionError, match="push_score"):
            show("pusch")


@pytest.mark.parametrize("kind", ["cuda", "numpy"])
def test_one_kernel_on_other_targets(kind):
    flow = NeuralFlow(2, 5)
    program = compile_program(ENERGIES["double well"].problem(), flow, target=kind)
    for name in ("velocity", "push", "metric" if kind == "numpy" else "jvp"):
        assert name in program.code_python(name) and name in program.code_symbolic(name)


def test_code_shows_itself_in_colours(monkeypatch):
    pytest.importorskip("pygments")
    code = compile_program(ENERGIES["double well"].problem(), Affine(2)).code_python("push")
    html = code._repr_html_()
    assert "<span" in html and "push" in html
    assert repr(code) == repr(str(code))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True))
    assert "\x1b[" in repr(code)
