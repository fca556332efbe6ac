"""The study and its command: errors of other runs of the package, slopes of known powers."""

import json

import numpy as np
import pytest

import pwgf_sym as pw
from pwgf_sym.__main__ import main
from pwgf_sym.benchmarks import study as study_module
from pwgf_sym.benchmarks.exact_problems import EXACT_PROBLEMS, exact_problem
from pwgf_sym.benchmarks.families import families
from pwgf_sym.benchmarks.study import Study, StudyRow, study
from pwgf_sym.errors import BenchmarkError, FlowError, OptionError
from pwgf_sym.look import demo


def made(values, errors, name="double_well", vary="samples"):
    rest = {"seed": 0, "seconds": 1.0, "cpu_seconds": 0.5, "parameters": 6, "samples": 8}
    rest |= {"steps": 3, "evaluations": 4, "note": ""}
    rows = zip(values, errors, strict=True)
    rows = tuple(StudyRow(problem=name, vary=vary, value=v, error=e, **rest) for v, e in rows)
    return Study(rows, vary, {})


def test_slope_of_a_power():
    values = [10, 100, 1000]
    assert made(values, [3 * v**-0.75 for v in values]).slope("double_well") == pytest.approx(-0.75)
    assert np.isnan(made([10], [1.0]).slope("double_well"))
    # Of several seeds the root mean square is taken, and runs that failed are left out.
    found = made([10, 10, 10, 100], [3.0, 4.0, np.nan, 0.125**0.5])
    assert found.slope("double_well") == pytest.approx(np.log10((1 / 8 / 12.5) ** 0.5))


def test_a_study_runs_solve_and_measures_its_error():
    options = {"dt": 0.05, "integrator": "heun"}
    seen = []
    name = "ornstein_uhlenbeck_2_affine"
    found = study([name], "samples", [4, 64], points=512, show=seen.append, **options)
    assert tuple(seen) == found.rows and found.options == options
    row = exact_problem(name)
    for run, samples in zip(found.rows, (4, 64), strict=True):
        own = pw.solve(row.problem, row.map, (0, 1), samples=samples, save_at=[0, 1], **options)
        gap = own.push(row.points(512), 1.0) - row.exact(row.points(512), 1.0)
        error = np.sqrt(np.mean(np.sum(gap**2, axis=1))) / (np.sqrt(2) * row.spread(1.0))
        assert run.error == pytest.approx(error, rel=1e-6)
        assert (run.samples, run.parameters, run.evaluations) == (samples, 6, own.nfev)
        assert run.seconds > 0 and run.cpu_seconds > 0


def test_runs_that_fail_are_rows_with_a_note(tmp_path, monkeypatch):
    def failing(*_, **options):
        raise FlowError("an infinite energy", "a finite one", "Take care.", step=3, time=0.1)

    monkeypatch.setattr(study_module, "solve", failing)
    found = study(["quadratic_1e4_affine"], "samples", [64], points=64)
    (row,) = found.rows
    assert np.isnan(row.error) and "infinite energy" in row.note and row.steps == 0
    found.save(tmp_path / "a.json")
    found.plot(tmp_path / "a.png")
    data = json.loads((tmp_path / "a.json").read_text())
    assert data["rows"][0]["error"] is None and data["slopes"] == {row.problem: None}
    assert "quadratic_1e4_affine" in str(found) and "nan" in str(found)


def test_an_interruption_ends_a_table_and_is_no_row():
    """Its last row, that of the start, was compared with the answer at the end."""
    seen, options = [], {"dt": 0.1, "integrator": "euler", "samples": 64, "points": 64}

    def interrupted(row):
        if row.t > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="interrupted in step"):
        families(["double_well"], ["affine"], show=seen.append, callback=interrupted, **options)
    assert not seen


@pytest.mark.slow
def test_width_is_that_of_the_map():
    (row,) = study(
        ["deep_well"], "width", [2], points=64, dt=0.02, integrator="rk4", samples=64
    ).rows
    assert row.parameters == 4 * (1 + 1 + 2 + 2 + 2) and row.value == 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: study(["no_well"]), BenchmarkError, "double_well"),
        (lambda: study("double_well"), OptionError, "list of names"),
        (lambda: study(["double_well"], "seed"), OptionError, '"samples"'),
        (lambda: study(["double_well"], "samples", [0.5]), OptionError, "integer"),
        (lambda: study(["double_well"], "tol", [0]), OptionError, "above 0"),
        (lambda: study(["double_well"], "tol", []), OptionError, "positive"),
        (lambda: study(["double_well"], "tol", 3), OptionError, "positive"),
        (lambda: study(["double_well"], tol=1e-3), OptionError, "values="),
        (lambda: study(["double_well"], seed=3), OptionError, "seeds="),
        (lambda: study(["double_well"], seeds=0), OptionError, "at least 1"),
        (lambda: study(["double_well"], points=0), OptionError, "at least 1"),
    ],
)
def test_wrong_studies_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_command(tmp_path, capsys):
    picture, file = tmp_path / "study.png", tmp_path / "study.json"
    given = ["--problems", "ornstein_uhlenbeck_2_affine", "--vary", "samples", "--values", "8,64"]
    given += [
        "--integrator",
        "rk4",
        "--dt",
        "0.1",
        "--points",
        "256",
        "--plot",
        str(picture),
        "--json",
        str(file),
    ]
    assert main(["study", *given]) == 0
    text = capsys.readouterr().out
    assert text.count("ornstein_uhlenbeck_2_affine") == 4 and "slope" in text
    assert picture.read_bytes()[:4] == b"\x89PNG"
    data = json.loads(file.read_text())
    assert [row["value"] for row in data["rows"]] == [8, 64] and data["options"] == {
        "dt": 0.1,
        "integrator": "rk4",
    }
    assert main(["study", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*EXACT_PROBLEMS]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--values", "a"], "--values"),
        (["--vary", "samples", "--values", "1.5"], "--values"),
        (["--seeds", "x"], "--seeds"),
        (["--problems", "no_well"], "no_well"),
        (["--json", "/nowhere/a.json"], "--json"),
        (["--plot", "/nowhere/a.png"], "--plot"),
        (["--vary", "nothing"], "vary"),
    ],
)
def test_the_command_names_what_is_wrong(given, named, capsys):
    assert main(["study", *given]) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (study_module, ["study", "--problems", "quartic", "--vary", "samples", "--values", "64"]),
        (study_module, ["compare", "--problems", "ornstein_uhlenbeck_2"]),
        (demo, ["demo"]),
    ],
    ids=["study", "compare", "demo"],
)
def test_ctrl_c_in_a_run_ends_the_command(module, arguments, monkeypatch, tmp_path, capsys):
    """`solve` returns the rows so far; a command that needs all of them ends, too."""

    def stop(row):
        if row.t > 0:
            raise KeyboardInterrupt

    own = module.solve
    monkeypatch.setattr(module, "solve", lambda *a, **k: own(*a, **k, callback=stop))
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted"
