"""The command line: its names, its exit status, and standard streams of every kind."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import pwgf_sym
from pwgf_sym import __main__ as console
from pwgf_sym.errors import OptionError

ROOT = Path(pwgf_sym.__file__).resolve().parents[1]
VARIABLES = os.environ | {"PYTHONPATH": str(ROOT)}


def shell(command, **variables):
    """A line of the shell, with python for this interpreter."""
    line = command.replace("python", f"'{sys.executable}'")
    environment = VARIABLES | variables
    return subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=300
    )


def test_version_and_name(monkeypatch, capsys):
    for path, name in (("/x/pwgf_sym/__main__.py", "python -m pwgf_sym"), ("x/y", "pwgf-sym")):
        monkeypatch.setattr(sys, "argv", [path])
        with pytest.raises(SystemExit) as left:
            console.main(["--help"])
        assert left.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: {name} ")
    with pytest.raises(SystemExit) as left:
        console.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"pwgf_sym {pwgf_sym.__version__}\n"


def test_the_script_is_declared():
    """Of the installed package, where it is installed."""
    scripts = [e for e in metadata.entry_points(group="console_scripts") if e.name == "pwgf-sym"]
    if not scripts:
        pytest.skip("pwgf_sym is not installed")
    assert all(entry.load() is console.main for entry in scripts)


def test_version_of_the_metadata():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{pwgf_sym.__version__}"\n' in text
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {pwgf_sym.__version__}\n" in cited


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (OptionError("--x", "1", "2"), 2, "OptionError: --x: got 1; accepted: 2.\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_status(raised, status, said, monkeypatch, capsys):
    def fail(given):
        raise raised

    monkeypatch.setattr(console, "_doctor", fail)
    assert console.main(["doctor"]) == status
    assert capsys.readouterr().err == said


def test_streams_are_put_back(monkeypatch, tmp_path):
    with open(tmp_path / "out", "w", encoding="ascii") as file:
        monkeypatch.setattr(sys, "stdout", file)
        monkeypatch.setattr(sys, "stderr", None)
        monkeypatch.setattr(console, "_doctor", lambda given: print("\N{INTEGRAL}"))
        assert console.main(["doctor"]) == 0
        assert sys.stdout is file and sys.stderr is None and file.errors == "strict"
    assert (tmp_path / "out").read_text(encoding="ascii") == "\\u222b\n"


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&- <&-", "| true"])
def test_closed_streams(streams):
    done = shell(f"set -o pipefail; python -m pwgf_sym doctor {streams}")
    assert done.returncode == 0 and "Traceback" not in done.stderr


SHOWN = """
import sympy as sp, pwgf_sym as pw
x = pw.coordinates(2)
rho, y = pw.Density(x), pw.copy_of(x)
W = (x[0] - y[0]) ** 2
energy = pw.integral(rho * sp.log(rho), x) + pw.integral(W * rho * rho.at(y) / 2, x, y)
for shown in (energy, pw.first_variation(energy, rho), pw.pde(energy, rho)):
    print(shown)
    print(sp.pretty(shown))
try:
    pw.first_variation(pw.integral(x[0], x), rho)
except pw.PwgfError as error:
    print(error)
problem = pw.GradientFlow(energy, rho, initial=pw.Gaussian(mean=[0, 0], cov=1))
program = pw.compile(problem, pw.Affine(2))
print(problem, problem.initial, program.map, program.code_symbolic(), program.path)
print(program.code_python())
"""


def test_an_ascii_output_takes_all_texts(tmp_path):
    """And what is generated is the same: a second process finds the module."""
    done = []
    for encoding in ("ascii", "utf-8"):
        done.append(
            subprocess.run(
                [sys.executable, "-c", SHOWN],
                env=VARIABLES | {"PYTHONIOENCODING": encoding, "PWGF_SYM_CACHE": str(tmp_path)},
                capture_output=True,
                encoding="utf-8",
                timeout=300,
            )
        )
        assert done[-1].returncode == 0, done[-1].stderr
    plain, signs = (run.stdout for run in done)
    assert plain.isascii() and "int (rho(x0, x1)*log(rho(x0, x1))) dx + int int (" in plain
    assert "∫(rho(x0, x1)*log(rho(x0, x1))) dx + ∫∫(" in signs
    (module,) = tmp_path.glob("*.py")
    assert str(module) in plain and str(module) in signs
