"""The package leaves the process as it found it, and works from a zip file and without streams."""

import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

import pwgf_sym

TESTS = Path(__file__).parent
PACKAGE = Path(pwgf_sym.__file__).resolve().parent

FLOW = """
import sympy as sp, pwgf_sym as pw
x = pw.coordinates(1)
rho = pw.Density(x)
energy = pw.integral(x[0] ** 2 / 2 * rho + rho * sp.log(rho), x)
problem = pw.GradientFlow(energy, rho, initial=pw.Gaussian(mean=[1], cov=0.5))
def solve(**options):
    options = dict(samples=64, dt=0.05) | options
    return pw.solve(problem, pw.Affine(1), (0, 0.1), **options)
"""


def python(code, folder, *arguments, path=None, shell="", **variables):
    """Run code in a fresh process in a folder; the shell may close its streams."""
    (Path(folder) / "program.py").write_text(textwrap.dedent(code), encoding="utf-8")
    path = os.pathsep.join([str(path or PACKAGE.parent), str(TESTS)])
    variables = os.environ | {"PYTHONPATH": path, "MPLBACKEND": "Agg"} | variables
    command = f"'{sys.executable}' program.py {' '.join(arguments)} {shell}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=variables,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )


CHANGES = """
import contextlib
from process_state import changed, snapshot
before = snapshot()
{imports}
def stop(row):
    raise KeyboardInterrupt
def fail(row):
    raise LookupError
steps = dict(
    derive=lambda: (pw.first_variation(energy, rho), pw.velocity(energy, rho), pw.pde(energy, rho)),
    solve=lambda: solve(progress=True, linear_solver="dense"),
    lsmr=lambda: solve(formulation="energy", linear_solver="lsmr", sampling="random"),
    resample=lambda: solve(resample=True, dtype="float32"),
    text=lambda: solve().program.code_symbolic(),
    machine=lambda: solve().program.code_llvm("push"),
    picture=lambda: solve().plot("a.png"),
    refused=lambda: solve(dt=-1),
    interrupted=lambda: solve(callback=stop),
    failed=lambda: solve(callback=fail),
    unstable=lambda: pw.solve(problem, pw.Affine(1), (0, 90), dt=30, samples=64, shift=0),
    save=lambda: solve().save("a.npz"),
    load=lambda: pw.load_solution("a.npz").sample(10),
    density=lambda: pw.load_solution("a.npz").log_density([[0.5]]),
)
for name, step in dict(imports=lambda: None, **steps).items():
    with contextlib.suppress(pw.PwgfError, LookupError, KeyboardInterrupt):
        step()
    found = changed(before, snapshot())
    assert not found, (name, found)
print("the same")
"""


def test_the_process_stays_as_it_was(tmp_path):
    done = python(CHANGES.format(imports=FLOW), tmp_path)
    assert done.returncode == 0 and done.stdout == "the same\n", done.stderr[-3000:]


CHANGED = [
    ("import numpy; numpy.seterr(all='ignore')", "numpy.geterr"),
    ("import numpy; numpy.random.seed(1)", "numpy.random"),
    ("import matplotlib; matplotlib.rcParams['axes.grid'] = True", "matplotlib.rcParams"),
    ("import warnings; warnings.simplefilter('ignore')", "warnings.filters"),
    ("import os; os.environ['OMP_NUM_THREADS'] = '3'", "environ"),
    ("import sys; sys.setrecursionlimit(5000)", "recursion"),
    ("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)", "signals"),
    ("import numba; numba.config.DEBUG = 1", "numba.config"),
    ("import sympy; sympy.init_printing(pretty_print=False, order='none')", "sympy.printers"),
]


def test_changes_would_be_seen(tmp_path):
    """One after the other in one process: each is all that changes."""
    code = f"""
    from process_state import changed, snapshot
    for change, name in {CHANGED}:
        before = snapshot()
        exec(change)
        print(name in changed(before, snapshot()), name)
    """
    done = python(code, tmp_path)
    expected = [f"True {name}" for _, name in CHANGED]
    assert done.stdout.splitlines() == expected, done.stderr[-3000:]


@pytest.mark.slow
def test_the_demo_leaves_the_process_as_it_was(tmp_path):
    code = """
    from process_state import changed, snapshot
    before = snapshot()
    from pwgf_sym.__main__ import main
    assert main(["demo", "--picture", "demo.png"]) == 0
    found = changed(before, snapshot())
    assert not found, found
    """
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("shell", "variables"),
    [
        ("2>&-", {}),
        (">&- 2>&- <&-", {}),
        ("2>/dev/full", {}),
        ("", {"PYTHONIOENCODING": "ascii"}),
        ("", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    ],
)
def test_a_run_needs_no_streams(shell, variables, tmp_path):
    """A bar, pictures and texts where streams are closed, full or plain ASCII."""
    code = f"""
{FLOW}
solution = solve(progress=True)
print(solution, energy, problem, sp.pretty(energy))
solution.plot("a.png")
open("status", "w").write(solution.status)
"""
    done = python(code, tmp_path, shell=shell, **variables)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "status").read_text() == "completed"
    assert "Traceback" not in done.stderr


def test_no_console(tmp_path):
    """As under pythonw: the streams are None."""
    code = f"import sys\nsys.stdout = sys.stderr = None\n{FLOW}\nprint(solve(progress=True))"
    assert python(code, tmp_path).returncode == 0


def test_from_a_zip_file(tmp_path):
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(PACKAGE.rglob("*")):
            if path.suffix in (".py", ".typed"):
                file.write(path, path.relative_to(PACKAGE.parent))
    code = f"""
{FLOW}
solution = solve()
solution.plot("a.png")
solution.save("a.npz")
print(pw.__file__, pw.load_solution("a.npz").status, len(solution.program.code_python()))
print(len(pw.compile(problem, pw.Affine(1), target="cuda").code_python()))
"""
    done = python(code, tmp_path, path=archive)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith(f"{archive}{os.sep}pwgf_sym") and " completed " in done.stdout
