"""The benchmark of both targets, in the simulator at toy size."""

from types import SimpleNamespace

import pytest

from pwgf_sym.benchmarks import targets
from pwgf_sym.benchmarks.options import BenchmarkOptions


@pytest.mark.slow
def test_both_targets_compute_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path))
    for name in ("CG_ITERATIONS", "TRIAL_ITERATIONS"):
        monkeypatch.setattr(targets, name, 1)
    monkeypatch.setattr(targets, "compile_seconds", lambda *case: {})
    given = {"suite": "targets", "size": "1/2", "samples": "6", "dtype": "float64"}
    given |= {"targets": "cpu,cuda", "problem": "repulsion", "rounds": "1", "seconds": "0"}
    given |= {"dim": None, "width": None, "against": "none", "threads": "1", "clock": ""}
    options = BenchmarkOptions.parse(SimpleNamespace(**given))
    (rows,) = targets.run_targets(options, {})
    assert {r["side"] for r in rows} == {"cpu", "cuda"} and len(rows) == 14
    assert all(r["error"] < 1e-12 and r["ratio"] > 0 for r in rows)
