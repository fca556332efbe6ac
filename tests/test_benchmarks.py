"""The benchmarks compute the same thing on every side, and their files and options hold up."""

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp

from pwgf_sym.__main__ import main
from pwgf_sym.benchmarks import command, ours, report, suites, targets, timing
from pwgf_sym.benchmarks.accuracy import true_residual
from pwgf_sym.benchmarks.cases import SHIFT, Case, PairCase, step_parameters
from pwgf_sym.benchmarks.counts import counts_of, pair_counts
from pwgf_sym.benchmarks.opponents.numpy_side import Ops
from pwgf_sym.benchmarks.opponents.passes import Columns, Rows
from pwgf_sym.benchmarks.opponents.stacked import Stacked
from pwgf_sym.benchmarks.options import PROBLEM_NAMES, BenchmarkOptions, parse_sizes
from pwgf_sym.benchmarks.problems import PROBLEMS
from pwgf_sym.benchmarks.threads import thread_counts
from pwgf_sym.errors import BenchmarkError, OptionError
from pwgf_sym.kernels.counts import formula_count
from pwgf_sym.kernels.energies import FormulaKernel
from pwgf_sym.runtime.cuda import toolkit

SIDES = ["numpy", "jax", "torch"]
SAMPLES = 160  # no multiple of all block sizes: the last block of a batch is a part of one


def side(name):
    module = importlib.import_module(f"pwgf_sym.benchmarks.opponents.{name}_side")
    if module.missing():
        pytest.skip(module.missing())
    return module


@pytest.fixture(scope="module")
def small():
    case = Case(2, 5, SAMPLES, steps=2)
    calls = ours.build(case)
    return case, {t.kernel: t.result() for t in calls}


def given(**changes):
    defaults = {
        "suite": "kernels",
        "size": "2/5",
        "samples": str(SAMPLES),
        "dtype": "float64",
        "against": "numpy",
        "targets": "cpu",
        "problem": "double_well",
        "dim": None,
        "width": None,
        "rounds": "2",
        "seconds": "0",
        "threads": "1",
        "clock": "",
    }
    return SimpleNamespace(**(defaults | changes))


# -- the sides ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIDES)
def test_opponents_agree_with_ours(small, name, monkeypatch):
    case, expected = small
    module = side(name)
    if name == "jax":  # a block that divides the batch, and the batch
        monkeypatch.setattr(module, "TRIED", ((Columns, 32), (Rows, None)))
    calls = module.build(case)
    assert {t.kernel for t in calls} == set(expected)
    timing.compare(calls, expected)
    for timed in calls:
        assert timed.error < 1e-10, (timed.kernel, timed.variant)


@pytest.mark.parametrize("name", SIDES)
@pytest.mark.parametrize("kind", ["quartic", "gaussian"])
def test_pairs_agree(name, kind):
    case = PairCase(3, SAMPLES)
    *others, mine = ours.build_pairs(case, kind)
    assert [t.variant for t in others] == (["moments"] if kind == "quartic" else [])
    for moments in others:
        assert timing.difference(moments.result(), mine.result()) < 1e-12
    calls = side(name).build_pairs(case, kind)
    timing.compare(calls, {kind: mine.result()})
    assert max(t.error for t in calls) < 1e-10


def test_float32_agrees_to_single_precision(small):
    case, expected = small
    calls = side("numpy").build(replace(case, dtype="float32"))
    timing.compare(calls, expected)
    assert 1e-9 < max(t.error for t in calls) < 1e-4


def field_value(p, x):
    return p["A"] @ x + p["b"] + p["W2"] @ np.tanh(p["W1"] @ x + p["c"])


def test_numpy_against_differences(small):
    """The hand-written passes against complex steps of the map, one sample at a time."""
    case, _ = small
    run = Stacked(Ops(np.dtype("float64")), case, 64, False)

    def push(theta, z):
        for p in step_parameters(theta, case.dim, case.width):
            z = z + field_value(p, z) / case.map.steps
        return z

    z = np.array([push(case.theta, row) for row in case.z])
    np.testing.assert_allclose(run.push()[0].T, z, rtol=1e-13)
    image = np.zeros(case.theta.size)
    for row in case.z:
        columns = [
            push(case.theta + 1e-30j * unit, row).imag / 1e-30 for unit in np.eye(case.theta.size)
        ]
        matrix = np.array(columns).T
        image += matrix.T @ (matrix @ case.eta) / case.samples
    run.prepare()
    np.testing.assert_allclose(run.product(case.eta), image, rtol=1e-12, atol=1e-14)


def test_true_residual_of_an_exact_solution(small):
    """G as a matrix, solved by NumPy, leaves no residual; zero leaves all of it."""
    case, _ = small
    run = Stacked(Ops(np.dtype("float64")), case, 64, True)
    right = -run.gradient()[1]
    run.prepare()
    matrix = np.array([run.product(unit) for unit in np.eye(right.size)])
    eta = np.linalg.solve(matrix + SHIFT * np.eye(right.size), right)
    assert true_residual(case, eta) < 1e-9
    assert true_residual(case, 0 * eta) == 1.0


# -- the harness ----------------------------------------------------------------------------------


def test_a_side_that_differs_is_refused(small):
    case, expected = small
    mine = [timing.Timed("push", "pwgf_sym", "tiles", lambda: expected["push"])]
    wrong = [timing.Timed("push", "numpy", "wrong", lambda: (expected["push"][0] + 1e-6,))]
    options = BenchmarkOptions.parse(given())
    with pytest.raises(BenchmarkError, match="numpy"):
        suites.timed_together("kernels", case, mine, wrong, {"push": (1.0, 1.0)}, options)


@pytest.mark.parametrize(
    ("found", "expected", "error"),
    [
        (np.ones(3), np.ones(3), 0.0),
        (np.array([1.0, 2.5]), np.array([1.0, 2.0]), 0.25),
        ((1.0, np.zeros(2)), (2.0, np.zeros(2)), 0.5),
        (np.ones(2), np.ones(3), np.inf),
    ],
)
def test_difference(found, expected, error):
    assert timing.difference(found, expected) == error


def test_difference_sees_nan():
    assert not timing.difference(np.array([np.nan, 1.0]), np.ones(2)) <= 1e-4


def test_rounds_alternate():
    order = []
    calls = [timing.Timed("k", "s", v, lambda v=v: order.append(v)) for v in "ab"]
    for timed in calls:
        timed.first = 1.0
    timing.measure(calls, rounds=3, seconds=0.0, clock="wall")
    assert "".join(order) == "ababab"
    assert all(len(t.times) == 3 for t in calls)


def test_ratios_are_taken_round_by_round():
    assert timing.median_ratio([2.0, 30.0, 4.0], [1.0, 10.0, 4.0]) == 2.0


def test_counts_grow_with_the_samples():
    program = ours.program_of(Case(2, 5, SAMPLES))
    for name in ("push", "push_log_density", "push_score", "gradient", "metric", "product"):
        flops, size = counts_of(program, name, 100)
        assert flops > 0 and size > 0
        more, larger = counts_of(program, name, 200)
        assert larger == 2 * size
        assert more == pytest.approx(2 * flops, rel=0.1)  # what samples share is counted once


def test_counts_by_hand():
    """One step, d = 2, m = 5, float64: W1 x + c, tanh, A x, W2 tanh, additions, and h."""
    program = ours.program_of(Case(2, 5, SAMPLES, steps=1))
    push = 5 * (4 + 34) + 2 * (3 + 1) + 2 * (9 + 1) + 2 * 2 - 2
    assert abs(counts_of(program, "push", 1)[0] - push) <= 4
    quartic = ours.pair_program(PairCase(2, 10), "quartic")
    # Differences, squares and their sum: 3 d; sums 2 d and 1; f and its slope: 1 to 4.
    flops = pair_counts(quartic, 10)[0] / 90
    assert (6 + 4 + 1) + (6 + 1 + 1) <= flops <= (6 + 4 + 4) + (6 + 1 + 4)


@pytest.fixture(scope="module")
def small_report():
    return command.run(BenchmarkOptions.parse(given(suite="kernels,step,pairs,accuracy")))


@pytest.mark.slow
def test_report_has_every_kernel(small_report):
    rows = small_report["results"]
    names = {r["kernel"] for r in rows}
    assert names == {"gemm", *suites.KERNELS, *suites.PAIR_KERNELS, "step"}
    for row in rows:
        if row["suite"] != "accuracy":
            assert row["flops"] > 0
        assert len(row["times"]) == 2 or row["note"]
    best = report.best_rows(rows)
    for kernel in suites.KERNELS:
        for name in ("pwgf_sym", "numpy"):
            assert best["kernels", "2/5", "float64", 1, None, kernel, name]["median"] > 0


@pytest.mark.slow
def test_report_can_be_read_back(small_report, tmp_path):
    path = tmp_path / "report.json"
    report.save_report(small_report, path)
    found = report.load_report(path)
    assert found == json.loads(json.dumps(small_report))
    machine = found["machine"]
    assert {"cpu", "cores", "vector_bits", "load_average", "versions", "blas"} <= set(machine)
    assert {"python", "numba", "llvmlite", "numpy", "scipy", "jax", "torch"} <= set(
        machine["versions"]
    )
    text = report.table(found, every_variant=True)
    assert "push_score" in text and "to the residual" in text and "1 thread" in text
    report.save_plot(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


@pytest.mark.slow
def test_accuracy_reaches_the_goal(small_report):
    rows = [r for r in small_report["results"] if r["suite"] == "accuracy"]
    details = list(dict.fromkeys(r["detail"] for r in rows))
    later = [d for d in details if "later" in d]
    assert len(later) == 1 and details[-1] == later[0] and len(details) <= 3
    for detail in details:
        own = [r for r in rows if r["detail"] == detail]
        good = [r for r in own if r["side"] == "pwgf_sym to r" and not r["note"]]
        assert good and all(r["residual"] <= r["goal"] * 1.00001 for r in good)
        assert sum(r["best"] for r in own) == 1
        assert any("warm start" in r["variant"] for r in own) == (detail in later)


def test_a_guess_saves_iterations(small):
    """At the same parameters the last direction is a solution already: MINRES has nothing to do."""
    asked = {"method": "minres", "tolerance": 1e-8}
    case, _ = small
    eta = ours.solver_call(case, asked)()
    again = ours.solver_call(case, asked | {"max_iterations": 1}, eta)()
    np.testing.assert_array_equal(again, eta)


def test_no_report(tmp_path):
    path = tmp_path / "report.json"
    for text in ("{", "[]", '{"format": 1}'):
        path.write_text(text)
        with pytest.raises(OptionError, match="report"):
            report.load_report(path)
    with pytest.raises(OptionError, match="json"):
        report.save_report({}, tmp_path / "nowhere" / "report.json")


def test_missing_opponents_are_said(monkeypatch):
    module = importlib.import_module("pwgf_sym.benchmarks.opponents.jax_side")
    monkeypatch.setitem(sys.modules, "jax", None)
    assert module.missing() == "jax is not installed"
    found, skipped = suites.opponents(["numpy", "jax"])
    assert list(found) == ["numpy"] and skipped == {"jax": "jax is not installed"}


# -- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("suite", "kernel"),
        ("size", "10x64"),
        ("size", "0/64"),
        ("size", "10/00"),
        ("samples", "1"),
        ("samples", "many"),
        ("dtype", "float16"),
        ("against", "tensorflow"),
        ("targets", "tpu"),
        ("problem", "heat"),
        ("dim", "0"),
        ("rounds", "0"),
        ("seconds", "-1"),
        ("seconds", "nan"),
        ("threads", "100000"),
        ("clock", "sun"),
        ("json", "no/such/folder/r.json"),
        ("plot", "."),
    ],
)
def test_bad_options(option, value, capsys):
    assert main(["benchmark", f"--{option}", value]) == 2
    message = capsys.readouterr().err
    assert message.startswith("OptionError: ") and f"--{option}" in message


def test_options():
    assert parse_sizes("2/32, 10/64,2/32") == ((2, 32), (10, 64))
    options = BenchmarkOptions.parse(given(against="none", dtype="float32,float64"))
    assert options.against == () and options.dtypes == ("float32", "float64")
    assert options.clock == "cpu"


def test_dimensions_and_widths_take_the_place_of_sizes():
    sizes = [BenchmarkOptions.parse(given(**g)).sizes for g in ({"dim": "3"}, {"width": "7,8"})]
    assert sizes == [((3, 5),), ((2, 7), (2, 8))]


def test_profile_profiles_the_sizes_that_were_asked_for(monkeypatch, capsys):
    profiled = []
    module = importlib.import_module("pwgf_sym.benchmarks.profile")
    monkeypatch.setattr(module, "profile", lambda case, **_: profiled.append(case.name))
    monkeypatch.setattr(module, "profile_table", str)
    monkeypatch.setattr(command, "pin", lambda threads: None)
    assert main(["profile", "--dim", "3,4", "--width", "7"]) == 0
    assert profiled == ["3/7", "4/7"]
    assert "3/7  float64" in capsys.readouterr().out
    assert main(["profile", "--dim", "three"]) == 2
    assert "--dim: got 'three'" in capsys.readouterr().err


def test_options_of_targets():
    options = BenchmarkOptions.parse(
        given(suite="targets", dim="2,3", width="16", samples="64,128", targets="cpu,cuda")
    )
    assert options.sizes == ((2, 16), (3, 16)) and options.counts == (64, 128)
    assert options.targets == ("cpu", "cuda") and options.samples == 64
    assert set(PROBLEM_NAMES) == set(PROBLEMS)
    with pytest.raises(OptionError, match="--samples"):
        BenchmarkOptions.parse(given(samples="64,128"))


@pytest.mark.skipif(toolkit.available(), reason="a GPU")
def test_cuda_alone_without_a_gpu(capsys):
    assert main(["benchmark", "--targets", "cuda"]) == 2
    assert capsys.readouterr().err.startswith('TargetError: target="cuda"')


def test_targets_of_this_machine(tmp_path, monkeypatch):
    """A whole run of suite targets; without a GPU it says so and goes on."""
    for name in ("CG_ITERATIONS", "TRIAL_ITERATIONS"):
        monkeypatch.setattr(targets, name, 2)
    size = {"dim": "1", "width": "2", "samples": "20,40", "problem": "repulsion"}
    options = BenchmarkOptions.parse(given(suite="targets", targets="cpu,cuda", **size))
    found = command.run(options)
    rows = [r for r in found["results"] if r["side"] == "cpu"]
    names = ["push", "energy gradient", "pairs", "jvp", "vjp", "metric", "step"]
    assert [(r["kernel"], r["samples"]) for r in rows] == [(k, n) for n in (20, 40) for k in names]
    assert all(r["flops"] > 0 and len(r["times"]) == 2 and r["ratio"] == 1 for r in rows)
    assert all(min(r["cold"], r["warm"]) > 0 for r in rows if r["kernel"] in ("push", "metric"))
    assert "cuda" in found["skipped"] or any(r["side"] == "cuda" for r in found["results"])
    text = report.table(found)
    assert "repulsion, N = 40" in text and "cpu/this" in text
    report.save_plot(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


class AnotherSide:
    """Steps as an opponent takes them, by NumPy, off by a factor."""

    def __init__(self, factor: float):
        self.factor = factor

    def build_steps(self, case):
        module = importlib.import_module("pwgf_sym.benchmarks.opponents.numpy_side")
        (step, *_) = (t for t in module.build(case) if t.kernel == "step")
        trial = step.trial
        step.trial = lambda: self.factor * trial()
        return [step]


@pytest.mark.slow
def test_targets_beside_an_opponent(monkeypatch):
    """The step of the problem that opponents are written for; not of others."""
    monkeypatch.setattr(targets, "compile_seconds", lambda *case: {})  # in processes of their own
    size = {"dim": "2", "width": "5", "samples": "160", "dtype": "float64", "rounds": "1"}
    names = {"suite": "targets", "targets": "cpu"}
    ours = BenchmarkOptions.parse(given(problem="double_well,repulsion", **names, **size))
    blocks = list(targets.run_targets(ours, {"jax": AnotherSide(1.0)}))
    steps = [[(r["side"], r["error"] < 1e-10) for r in b if r["kernel"] == "step"] for b in blocks]
    assert steps == [[("cpu", True), ("numpy", True)], [("cpu", True)]]
    with pytest.raises(BenchmarkError, match="step"):
        list(targets.run_targets(ours, {"jax": AnotherSide(1.01)}))


def test_counts_of_a_formula():
    """x^2 weighted and averaged: a square, and a multiply-add; x and the weight are read."""
    x = sp.Symbol("x0", real=True)
    kernel = FormulaKernel("integrals", "", {"x": (x,)}, (), (), means=(x**2,))
    count = formula_count(kernel, 10, "float32")
    assert (count.flops, count.bytes) == (10 * 3, 10 * 2 * 4)


@pytest.mark.parametrize(("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6])])
def test_thread_counts(cores, counts):
    assert thread_counts(cores) == counts


def test_the_command_in_a_process_of_its_own(tmp_path):
    """Pinning changes the process, so it has one: benchmark, then profile."""
    root = str(Path(command.__file__).resolve().parents[2])
    variables = os.environ | {"PYTHONPATH": root}
    head = [sys.executable, "-m", "pwgf_sym"]
    size = ["--size", "2/5", "--samples", "160", "--rounds", "1", "--seconds", "0"]
    size += ["--dtype", "float64"]
    where = tmp_path / "r.json"
    files = ["--against", "none", "--json", str(where)]
    done = subprocess.run(
        [*head, "benchmark", "--suite", "kernels", *size, *files],
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "gemm" in done.stdout
    assert report.load_report(where)["options"]["threads"] == 1
    done = subprocess.run(
        [*head, "profile", *size], env=variables, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "push_score" in done.stdout and "of roof" in done.stdout
