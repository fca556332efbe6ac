"""The shape of the package: imports go one way, nothing evaluates text, importing is quick."""

import ast
import graphlib
import importlib
import inspect
import os
import pickle
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sympy as sp

import pwgf_sym

PACKAGE = Path(pwgf_sym.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))
ORDER = ["declare", "derive", "tensors", "kernels", "schedule", "loops", "printers", "emit"]
ORDER += ["targets", "solver", "look", "benchmarks"]
LEAVES = {"errors", "calls", "arguments", "memory", "exact", "functions", "special", "sharing"}
LEAVES |= {"runtime", "files"}
NAMES = [str(f.relative_to(PACKAGE)) for f in FILES]


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def own_imports(path):
    """Top-level parts of the package that a file imports, wherever the import stands."""
    where = path.relative_to(PACKAGE).with_suffix("").parts
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names = [a.name.split(".") for a in node.names]
            found |= {n[1] if len(n) > 1 else "" for n in names if n[0] == "pwgf_sym"}
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            if node.level:
                module = [*where[: len(where) - node.level], *module]
            elif module[0] == "pwgf_sym":
                module = module[1:]
            else:
                continue
            found |= {module[0]} if module else {a.name for a in node.names}
        elif isinstance(node, ast.Call):
            found |= named_import(node, where)
    return found


def named_import(call, where):
    """The part of the package that ``import_module("...")`` imports, where it is spelled out."""
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    if not name.endswith("import_module") or not isinstance(call.args[0], ast.Constant):
        return set()
    given = call.args[0].value
    level = len(given) - len(given.lstrip("."))
    module = given[level:].split(".")
    if level:
        return {[*where[: len(where) - level], *module][0]}
    return {module[1]} if module[0] == "pwgf_sym" else set()


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_go_one_way(path):
    """In the order of the folders; errors, exact and functions are leaves."""
    where = path.relative_to(PACKAGE).with_suffix("").parts
    if where in (("__init__",), ("__main__",)):
        return  # the public names, and a program that uses them
    found = own_imports(path)
    if where[0] in LEAVES:
        # The special functions are a part of the table of functions that has a file of its own.
        more = {
            "exact": {"arguments", "exact"},
            "functions": {"special", "sharing"},
            "memory": {"arguments"},
            "arguments": {"calls"},
        }
        if where[0] == "runtime":  # what generated modules import stands alone
            assert found <= {"runtime"}, f"{path} imports {found}"
            return
        assert found <= {"errors", *more.get(where[0], set())}
        return
    assert where[0] in ORDER, f"{path} stands outside the pipeline"
    leaves = {"errors", "calls", "arguments", "memory", "files", "functions", "sharing", "runtime"}
    allowed = {*ORDER[: ORDER.index(where[0]) + 1], *leaves}
    if where[0] in ("look", "benchmarks"):
        allowed |= {"exact"}  # solutions are shown beside exact ones
    assert found <= allowed, f"{path} imports {found - allowed}"


def test_the_solver_meets_the_compiler_in_one_place():
    """Elsewhere it knows protocols, of programs, maps, vectors and targets."""
    solver = [path for path in FILES if path.relative_to(PACKAGE).parts[0] == "solver"]
    meeting = [path.name for path in solver if "targets" in own_imports(path)]
    assert meeting == ["compiler.py"]


def test_the_check_of_imports_sees_all_forms(tmp_path, monkeypatch):
    folder = tmp_path / "pwgf_sym" / "declare"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "pwgf_sym")
    for line, expected in [
        ("import pwgf_sym.solver.flow", "solver"),
        ("from pwgf_sym.emit import module", "emit"),
        ("from pwgf_sym import look", "look"),
        ("from .. import targets", "targets"),
        ("from ..tensors.tensor import Axis", "tensors"),
        ("from .laws import Law", "declare"),
        ("def f():\n    from ..solver import flow", "solver"),
        ('import_module("..solver.flow", __package__)', "solver"),
        ('importlib.import_module("pwgf_sym.look.plots")', "look"),
    ]:
        (folder / "file.py").write_text(line)
        assert own_imports(folder / "file.py") == {expected}, line


def test_generated_modules_import_the_runtime_only():
    """What is printed on each target, and no more than what it calls."""
    x = pwgf_sym.coordinates(2)
    rho = pwgf_sym.Density(x)
    energy = pwgf_sym.integral(x[0] ** 2 * rho + rho * sp.log(rho), x)
    problem = pwgf_sym.GradientFlow(energy, rho, initial=pwgf_sym.Gaussian([0, 0], 1.0))
    for target in ("cpu", "cuda"):
        program = pwgf_sym.compile(problem, pwgf_sym.NeuralFlow(2, 3), target=target)
        tree = ast.parse(program.code_python())
        imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        ours = [n for n in imports if n.module.startswith("pwgf_sym")]
        assert ours and all(n.module.startswith(f"pwgf_sym.runtime.{target}.") for n in ours)
        assert {n.module for n in imports} - {n.module for n in ours} <= {"numba"}
        words = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert {a.name for n in imports for a in n.names} <= words


def test_no_folder_has_the_name_of_a_public_function():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert folders & set(pwgf_sym.__all__) <= {"exact"}  # a public folder


def run(code, **environment):
    command = [sys.executable, "-c", code]
    variables = os.environ | {"PYTHONPATH": str(PACKAGE.parent)} | environment
    result = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_loads_nothing_heavy():
    """Nor does looking at what there is: names are imported when they are first used."""
    code = """
import sys, pwgf_sym
dir(pwgf_sym)
own = [m for m in sys.modules if m.startswith("pwgf_sym.")]
print(own, [m for m in ("sympy", "numpy", "numba", "scipy", "matplotlib") if m in sys.modules])
"""
    assert run(code).strip() == "[] []"


def test_declaring_and_deriving_needs_no_compiler():
    """Neither Numba nor SciPy's statistics nor plots for the symbolic half."""
    code = """
import sys
import sympy as sp, pwgf_sym as pw
x = pw.coordinates(2)
rho = pw.Density(x)
energy = pw.integral(x[0]**2*rho + rho*sp.log(rho), x)
pw.first_variation(energy, rho), pw.velocity(energy, rho), pw.pde(energy, rho)
pw.NeuralFlow(2, 8), pw.Affine(2)
print([m for m in ("numba", "llvmlite", "scipy.stats", "matplotlib") if m in sys.modules])
"""
    assert run(code).strip() == "[]"


FORBIDDEN = {"eval", "exec", "compile", "parse_expr", "__import__", "pickle", "marshal", "shelve"}
# sympify of SymPy objects or numbers, never of text: (file, function).
SYMPIFY = {
    ("declare/energies.py", "__new__"),
    ("declare/formula_checks.py", "scalar_expression"),
    ("functions.py", "__new__"),
    ("declare/tree.py", "to_tree"),
    ("tensors/leaves.py", "constant"),
    ("tensors/product.py", "scale"),
    ("tensors/product.py", "product"),
}


def calls(tree):
    """(name called, enclosing function) of every call by a plain name or an attribute."""
    found = []

    def visit(node, function):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
        if isinstance(node, ast.Call):
            target = node.func
            module = getattr(getattr(target, "value", None), "id", None)
            if isinstance(target, ast.Name):
                found.append((target.id, None, function))
            elif isinstance(target, ast.Attribute):
                found.append((target.attr, module, function))
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(tree, "")
    return found


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_text_is_evaluated(path):
    tree, name = tree_of(path), path.relative_to(PACKAGE).as_posix()
    imported = {
        a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names
    }
    imported |= {
        n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module
    }
    allowed = {"pickle"} if name == "targets/machine_code.py" else set()  # of checked files
    assert not imported & {"pickle", "marshal", "shelve", "dill", "joblib"} - allowed
    for function, module, inside in calls(tree):
        if function in ("sympify", "S"):
            assert (name, inside) in SYMPIFY, f"sympify in {inside}"
        if module is None:
            # The text that was generated in this process, and no file.
            generated = (name, inside) == ("targets/store.py", "_run")
            assert function not in FORBIDDEN or generated, f"{function} in {inside}"
        assert function not in ("parse_expr", "exec_module")
        if function == "load" and module in ("np", "numpy"):
            assert "allow_pickle=True" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_cuda_package_is_named_in_one_place(path):
    """So that another one can take its place."""
    found = re.findall(r"numba[._-]cuda", path.read_text(encoding="utf-8"))
    assert bool(found) == (path.relative_to(PACKAGE).as_posix() == "runtime/cuda/toolkit.py")


@pytest.mark.parametrize("name", [n for n in pwgf_sym.__all__ if n != "__version__"])
def test_public_names(name):
    value = getattr(pwgf_sym, name)
    assert inspect.getdoc(value), f"{name} has no docstring"
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__module__.startswith("pwgf_sym")
    assert name in dir(pwgf_sym)


def test_a_name_that_there_is_not():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pwgf_sym.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["compile", "solve"])
def test_functions_are_described(name):
    function = getattr(pwgf_sym, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert next(iter(inspect.signature(function).parameters)) == "problem"
    text = pydoc.render_doc(function, renderer=pydoc.plaintext)
    assert text.startswith("Python Library Documentation: function ") and "Raises" in text


def test_type_checkers_see_the_public_names():
    tree = tree_of(PACKAGE / "__init__.py")
    (branch,) = (n for n in tree.body if isinstance(n, ast.If))
    seen = {
        a.asname or a.name: f"{n.module or a.name}.{a.name}" if n.module else a.name
        for n in branch.body
        for a in n.names
    }
    for name, module in pwgf_sym._PUBLIC.items():
        where = f"{module}.{pwgf_sym._RENAMED.get(name, name)}"
        assert seen.pop(name) == (name if name == module else where)
    assert not seen and (PACKAGE / "py.typed").exists()


def test_exported_names_exist():
    """__all__ of every module, and a docstring for every public function and class in it."""
    for path in FILES:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        module = importlib.import_module(".".join(["pwgf_sym", *parts]))
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                assert inspect.getdoc(value), f"{path}: {name} has no docstring"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def test_benchmarks_import_each_other_in_no_circle():
    """graphlib finds circles; imports inside of functions count."""
    folder = PACKAGE / "benchmarks"
    files = {path.stem: path for path in folder.glob("*.py")}
    graph = {}
    for name, path in files.items():
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.level == 1]
        modules = {n.module.split(".")[0] for n in found if n.module}
        modules |= {alias.name for n in found if not n.module for alias in n.names}
        graph[name] = modules & files.keys()
    assert graph["targets"]
    graphlib.TopologicalSorter(graph).prepare()
