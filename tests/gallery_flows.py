"""Flows of the gallery on two targets, step by step the same."""

import runpy
from pathlib import Path

import numpy as np

import pwgf_sym as pw

EXAMPLES = Path(__file__).parent.parent / "examples"


def gallery():
    """(problem, map) of every example, by name."""
    return runpy.run_path(str(EXAMPLES / "emit_gallery.py"), run_name="gallery")["gallery"]()


def gaps(problem, flow, **options):
    """Relative differences of the CUDA flow from the CPU's, by what a row holds."""
    runs = [pw.solve(problem, flow, target=target, **options) for target in ("cpu", "cuda")]
    found = {}
    for name in ("theta", "energy", "dissipation", "defect"):
        expected, got = (np.asarray(getattr(run, name), float) for run in runs)
        found[name] = np.max(np.abs(got - expected)) / np.max(np.abs(expected))
    return found
