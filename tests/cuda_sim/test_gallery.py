"""The gallery with ``target="cuda"`` in the simulator at toy size, against NumPy's target.

That one gives the CPU's flows of the gallery: ``tests/test_numpy_target.py``.
"""

import pytest
from gallery_flows import agree, gallery
from sample_energies import full_quadratic

import pwgf_sym as pw

GALLERY = gallery()
# Its formulas are loops over the coordinates from nine dimensions on, as they are in thirty.
GALLERY["ornstein_uhlenbeck"] = (full_quadratic(9).problem(), pw.Affine(9))
CASES = [(name, "float64") for name in GALLERY]
CASES += [("mixed_energy", "float32"), ("aggregation", "float32")]


@pytest.mark.parametrize("name, dtype", CASES)
def test_gallery(name, dtype, tmp_path, monkeypatch):
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path))
    problem, flow = GALLERY[name]
    if isinstance(flow, pw.NeuralFlow):
        # An exact log-determinant eliminates a matrix a thread, in five dimensions as in ten.
        kind = "exact" if flow.dim < 9 else "trace"
        flow = pw.NeuralFlow(dim=flow.dim, width=2, steps=1, log_determinant=kind)
    # Three iterations of the linear solver, whether they are enough or not.
    samples = {"samples": 6 if flow.dim < 9 else 3, "fresh_samples": 2}
    options = {"dt": 0.01, **samples, "shift": 1e-3, "max_iterations": 3}
    more = {"t_span": (0, 0.01), "integrator": "euler"} | options
    agree(problem, flow, dtype, beside="numpy", **more)
