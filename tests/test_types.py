"""What mypy leaves out: a list of modules that only shrinks, and no line without a reason."""

import ast
import io
import re
import tokenize
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import pwgf_sym

PACKAGE = Path(pwgf_sym.__file__).resolve().parent
SETTINGS = PACKAGE.parent / "pyproject.toml"
# Modules that may stand in the list of pyproject.toml.  Delete what became clean; add nothing.
NOT_CHECKED = {
    "pwgf_sym.benchmarks.*",
    "pwgf_sym.targets.*",
    "pwgf_sym.look.*",
    "pwgf_sym.runtime.*",
}
# "type: ignore[code]", and why.
REASONED = re.compile(r"#\s*type:\s*ignore\[[a-z-]+\]\s+#\s*\S.+")


def modules():
    paths = (path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return {".".join(path.parts).removesuffix(".__init__") for path in paths}


def matched(pattern):
    """Modules of a pattern, as mypy has it: of ``a.*`` the package a and what is in it."""
    return {m for m in modules() if fnmatchcase(m, pattern) or f"{m}.*" == pattern}


def new_entries(listed):
    """Modules of a list that NOT_CHECKED does not hold."""
    allowed = set().union(*map(matched, NOT_CHECKED))
    return set().union(*map(matched, listed)) - allowed


def overrides():
    settings = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))["tool"]["mypy"]
    for entry in settings["overrides"]:
        names = entry.pop("module")
        yield ([names] if isinstance(names, str) else names), entry


@pytest.mark.skipif(not SETTINGS.exists(), reason="an installed package has no settings")
def test_the_list_of_modules_without_a_check_only_shrinks():
    ours = [(n, e) for n, e in overrides() if any(name.startswith("pwgf_sym") for name in n)]
    ((listed, options),) = ours
    assert options == {"ignore_errors": True}
    assert not new_entries(listed)
    for name in [*listed, *NOT_CHECKED]:
        assert matched(name), f"{name} is no module: take it off the list"


def test_a_longer_list_is_noticed():
    assert new_entries(["pwgf_sym.errors"]) == {"pwgf_sym.errors"}
    assert "pwgf_sym.errors" in new_entries(["pwgf_sym.*"])
    assert new_entries(["pwgf_sym.targets.*"]) == set()


@pytest.mark.skipif(not SETTINGS.exists(), reason="an installed package has no settings")
def test_the_checks_are_strict():
    settings = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))["tool"]["mypy"]
    stand_ins = ["tests/fake_program.py", "tests/matrix_map.py"]
    assert settings["strict"] is True and settings["files"] == ["pwgf_sym", *stand_ins]
    weaker = {name for name, value in settings.items() if value is False}
    # What SymPy, SciPy and Numba, which have no types, cannot pass.
    assert weaker <= {"disallow_subclassing_any", "disallow_untyped_calls", "warn_return_any"}
    others = [e for names, e in overrides() if not any(n.startswith("pwgf_sym") for n in names)]
    assert all(entry == {"ignore_missing_imports": True} for entry in others)


def without_reason(text):
    """Comments that switch the check off without saying which error and why."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [t.string for t in tokens if t.type == tokenize.COMMENT]
    return [
        c for c in comments if re.search(r"#\s*(type:\s*ignore|mypy:)", c) and not REASONED.match(c)
    ]


def test_comments_that_switch_the_check_off_say_why():
    assert without_reason("x = f()  # type: ignore\n") and without_reason("# mypy: ignore-errors\n")
    assert without_reason("x = f()  # type: ignore[misc]\n")
    assert not without_reason("x = f()  # type: ignore[misc]  # SymPy's own class\n")
    found = {p: without_reason(p.read_text(encoding="utf-8")) for p in PACKAGE.rglob("*.py")}
    assert not {name: comments for name, comments in found.items() if comments}


def exported(text):
    """Names of ``__all__`` that a type checker sees: those that are written out."""
    found = []
    for line in ast.parse(text).body:
        target = getattr(line, "targets", [getattr(line, "target", None)])[0]
        if isinstance(target, ast.Name) and target.id == "__all__":
            found += ast.literal_eval(line.value)
    return found


def test_public_names_are_exported_for_type_checkers():
    """A strict checker takes no other import in a package for an export: without, every
    ``pw.solve`` of a user is an error."""
    found = exported(Path(pwgf_sym.__file__).read_text(encoding="utf-8"))
    assert found == pwgf_sym.__all__ == [*pwgf_sym._PUBLIC, "__version__"]


USER = """
import numpy as np
import pwgf_sym as pw


class Shift(pw.Map):
    dim, steps = 1, 1


def run(problem: pw.GradientFlow, map: pw.Map) -> tuple[float, np.ndarray]:
    solution: pw.Solution = pw.solve(problem, map, (0, 1), steps=pw.Steps("rk4", dt=0.1))
    program = pw.compile(problem, Shift() @ map)
    try:
        print(float(solution.error_bound()), program, pw.exact.aggregation_minimum(2))
    except pw.PwgfError as error:
        print(error.fix)
    return solution.energy_at(0.5), solution.sample(3, seed=1)


run(3, pw.Affine(1))
"""


@pytest.mark.slow
def test_a_strict_check_of_a_script(tmp_path, monkeypatch):
    api = pytest.importorskip("mypy.api")
    monkeypatch.setenv("MYPYPATH", str(PACKAGE.parent))
    (tmp_path / "user.py").write_text(USER, encoding="utf-8")
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path}", "--ignore-missing-imports"]
    text, errors, _ = api.run([*options, str(tmp_path / "user.py")])
    assert not errors
    found = [line for line in text.splitlines() if "user.py" in line]
    assert len(found) == 1 and '"run" has incompatible type "int"' in found[0], text
