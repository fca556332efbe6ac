"""Checks that need a GPU: ``pytest -m gpu``.  Everything is left out where there is none."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from gallery_flows import agree, double_well_agrees, gallery

from pwgf_sym.runtime.cuda import toolkit
from pwgf_sym.targets.algebra import HostAlgebra
from pwgf_sym.targets.cuda import algebra, launch, memory
from pwgf_sym.targets.cuda.report import Report
from pwgf_sym.targets.cuda.vectors import Vector

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(toolkit.simulated() or not toolkit.available(), reason="no GPU"),
]
GALLERY = gallery()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", GALLERY)
def test_gallery(name, dtype):
    """Euler steps at full size.

    The shift is large, and solves go to the end or end early: else a solve magnifies round-off
    until two CPUs differ in the fourth digit.
    """
    problem, flow = GALLERY[name]
    iterations = 100 if dtype == "float64" else 3
    options = {"samples": 4096, "shift": 0.1, "tolerance": 1e-13, "max_iterations": iterations}
    agree(problem, flow, dtype, t_span=(0, 0.02), dt=0.01, integrator="euler", **options)


@pytest.mark.parametrize("where", ["host", "cupy"])
@pytest.mark.parametrize(
    "solver, more",
    [
        ("dense", {}),
        ("dense", {"shift": 0.0, "cutoff": 1e-6, "formulation": "velocity"}),
        ("kernel", {}),
        ("minres", {"preconditioner": 20}),
    ],
)
def test_matrices(solver, more, where, monkeypatch):
    """Solves that make matrices, with the algebra of the host and with CuPy's."""
    if where == "cupy":
        pytest.importorskip("cupy")
    else:
        monkeypatch.setattr(algebra, "algebra_of_device", HostAlgebra)
    options = {"samples": 300, "fresh_samples": 50, "linear_solver": solver}
    double_well_agrees(0.03, 1e-9, **{"formulation": "energy"} | options | more)


def test_launches_go_past_numba():
    """This Numba is the one we know, and the device writes to the host's memory."""
    double_well_agrees(0.03, 1e-9, formulation="energy", linear_solver="cg", samples=300)
    assert launch.refused == {}
    assert None not in launch._launchers.values() and len(launch._launchers) > 10
    assert any(kind is Report for kind, _ in memory.current_pool().kept)


def test_memory_stays_while_it_is_looked_at():
    values = np.arange(300.0)
    vector = Vector.of(values, np.float64)
    place, part = vector.pointer, vector.data[100:]
    del vector
    others = [Vector.zeros(300, np.float64) for _ in range(9)]
    assert place not in [other.pointer for other in others]
    assert np.array_equal(part.copy_to_host(), values[100:])
    del part
    assert Vector.zeros(300, np.float64).pointer == place


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_sanitizer(tool):
    """compute-sanitizer finds nothing in any kernel of the benchmark."""
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not on the path")
    calls = (
        "from pwgf_sym.benchmarks.targets import TargetCase, calls_of\n"
        "for name in ('double_well', 'repulsion'):\n"
        "    for timed in calls_of(TargetCase(name, 3, 20, 300, 'float64'), 'cuda'):\n"
        "        timed.call()\n"
    )
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", calls]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
