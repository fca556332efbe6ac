"""Flows of the gallery on two targets, step by step the same."""

import runpy
import warnings
from pathlib import Path

import numpy as np
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.errors import ToleranceWarning

EXAMPLES = Path(__file__).parent.parent / "examples"


def gallery():
    """(problem, map) of every example, by name."""
    return runpy.run_path(str(EXAMPLES / "emit_gallery.py"), run_name="gallery")["gallery"]()


def gaps(problem, flow, *sides, **options):
    """Relative differences of two flows, each a (target, dtype), by what a row holds."""
    options = {"linear_solver": "lsmr"} | options  # what "auto" takes depends on the target
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ToleranceWarning)  # of few iterations, which will do here
        runs = [pw.solve(problem, flow, target=t, dtype=dtype, **options) for t, dtype in sides]
    found = {}
    for name in ("theta", "energy", "dissipation", "defect"):
        expected, got = (np.asarray(getattr(run, name), float) for run in runs)
        found[name] = np.max(np.abs(got - expected)) / np.max(np.abs(expected))
    return found


def agree(problem, flow, dtype, target="cuda", beside="cpu", **options) -> None:
    """The CPU and another target give the same flow, as far as its precision goes.

    In float64 to 1e-10.  In float32 to a few times what the round-off of float32 does to the flow
    on one target: the flow magnifies the unit round-off, by how much depends on the problem.  Where
    NumPy's target is known to give the CPU's flows, ``beside`` may name it: it compiles nothing.
    """
    found = gaps(problem, flow, (beside, dtype), (target, dtype), **options)
    if dtype == "float64":
        assert max(found.values()) < 1e-10, found
        return
    rounding = gaps(problem, flow, (beside, "float64"), (beside, dtype), **options)
    least = 64 * np.finfo(np.float32).eps
    for name, gap in found.items():
        assert gap < 8 * rounding[name] + least, (name, found, rounding)


def double_well_agrees(end, least, target="cuda", beside="cpu", **options) -> None:
    """Steps of the double well in one dimension, and what a user asks of the solution."""
    x = pw.coordinates(1)
    rho = pw.Density(x)
    energy = pw.integral((x[0] ** 2 - 1) ** 2 / 4 * rho + rho * sp.log(rho), x)
    problem = pw.GradientFlow(energy, rho, initial=pw.Gaussian(mean=[0], cov=0.5))
    given = {"dt": 0.01, "integrator": "euler", "tolerance": 1e-12, "shift": 1e-2}
    given |= {"linear_solver": "lsmr"} | options
    known, other = (
        pw.solve(problem, pw.NeuralFlow(1, 2, steps=1), (0.0, end), target=where, **given)
        for where in (beside, target)
    )
    bound = max(least, 10 * given["tolerance"])
    for name in ("theta", "energy", "dissipation", "defect"):
        expected, found = getattr(known, name), getattr(other, name)
        assert np.abs(found - expected).max() <= bound * np.abs(expected).max(), name
    points = known.sample(5, seed=1)
    assert np.abs(other.sample(5, seed=1) - points).max() < bound
    assert np.abs(other.log_density(points) - known.log_density(points)).max() < bound
