"""Flows of the gallery on two targets, step by step the same."""

import runpy
from pathlib import Path

import numpy as np

import pwgf_sym as pw

EXAMPLES = Path(__file__).parent.parent / "examples"


def gallery():
    """(problem, map) of every example, by name."""
    return runpy.run_path(str(EXAMPLES / "emit_gallery.py"), run_name="gallery")["gallery"]()


def gaps(problem, flow, *sides, **options):
    """Relative differences of two flows, each a (target, dtype), by what a row holds."""
    runs = [pw.solve(problem, flow, target=t, dtype=dtype, **options) for t, dtype in sides]
    found = {}
    for name in ("theta", "energy", "dissipation", "defect"):
        expected, got = (np.asarray(getattr(run, name), float) for run in runs)
        found[name] = np.max(np.abs(got - expected)) / np.max(np.abs(expected))
    return found


def agree(problem, flow, dtype, **options) -> None:
    """Both targets give the same flow, as far as its precision goes.

    In float64 to 1e-10.  In float32 to a few times what the round-off of float32 does to the flow
    on one target: the flow magnifies the unit round-off, by how much depends on the problem.
    """
    found = gaps(problem, flow, ("cpu", dtype), ("cuda", dtype), **options)
    if dtype == "float64":
        assert max(found.values()) < 1e-10, found
        return
    rounding = gaps(problem, flow, ("cpu", "float64"), ("cpu", dtype), **options)
    least = 64 * np.finfo(np.float32).eps
    for name, gap in found.items():
        assert gap < 8 * rounding[name] + least, (name, found, rounding)
