"""Schemes side by side: the errors are those of runs with their options."""

import json

import numpy as np
import pytest

import pwgf_sym as pw
from pwgf_sym.__main__ import main
from pwgf_sym.benchmarks import comparison
from pwgf_sym.benchmarks.exact_problems import exact_problem
from pwgf_sym.errors import BenchmarkError, FlowError, OptionError

NAME = "ornstein_uhlenbeck_2_affine"


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    monkeypatch.setitem(comparison.SCHEMES["paper"], "samples", 500)


def test_the_paper_is_forward_euler_in_the_energy_form(tmp_path, capsys, monkeypatch):
    assert comparison._STEPS["paper"](2.0) == 2.0 / 1000  # a hundred will do here
    monkeypatch.setitem(comparison._STEPS, "paper", lambda span: span / 100)
    file = tmp_path / "a.json"
    given = ["--problems", NAME, "--schemes", "auto,paper", "--json", str(file)]
    assert main(["compare", *given]) == 0
    assert capsys.readouterr().out.count(NAME) == 4
    ours, paper = json.loads(file.read_text())["rows"]
    row = exact_problem(NAME)
    assert (paper["steps"], paper["samples"], paper["parameters"]) == (100, 500, 6)
    own = pw.solve(row.problem, row.map, row.t_span, dt=0.01, **comparison.SCHEMES["paper"])
    assert own.options["integrator"] == "euler" and own.options["formulation"] == "energy"
    assert paper["error"] == pytest.approx(row.error(own), rel=1e-6)
    assert ours["error"] < 1e-2 * paper["error"]
    for found in (ours, paper):  # the map's error is at least W2
        assert found["distance"] == "W2" and found["effectivity"] > 1
        size = found["error"] * row.spread() * np.sqrt(2)
        assert found["bound"] == pytest.approx(found["effectivity"] * size)


def test_a_run_that_fails_is_a_row_with_a_note(tmp_path, monkeypatch):
    def failing(*_, **options):
        raise FlowError("an infinite energy", "a finite one", "Take care.", step=3, time=0.1)

    monkeypatch.setattr("pwgf_sym.benchmarks.study.solve", failing)
    found = comparison.compare([NAME], ["fixed"])
    found.save(tmp_path / "a.json")
    (row,) = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert row["error"] is None and "infinite energy" in row["note"] and "nan" in str(found)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: comparison.compare(["no_well"]), BenchmarkError, "double_well"),
        (lambda: comparison.compare("double_well"), OptionError, "list of names"),
        (lambda: comparison.compare([NAME], "paper"), OptionError, "list of names"),
        (lambda: comparison.compare([NAME], ["jko"]), OptionError, "paper"),
        (lambda: comparison.compare([NAME], seed=-1), OptionError, "at least 0"),
    ],
)
def test_wrong_comparisons_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
