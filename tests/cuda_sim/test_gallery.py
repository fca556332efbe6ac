"""The gallery with ``target="cuda"`` in the simulator at toy size, against the CPU."""

import pytest
from gallery_flows import agree, gallery

import pwgf_sym as pw

GALLERY = gallery()
CASES = [(name, "float64") for name in GALLERY]
CASES += [("mixed_energy", "float32"), ("aggregation", "float32")]


@pytest.mark.parametrize("name, dtype", CASES)
def test_gallery(name, dtype, tmp_path, monkeypatch):
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path))
    problem, flow = GALLERY[name]
    if isinstance(flow, pw.NeuralFlow):
        flow = pw.NeuralFlow(dim=flow.dim, width=2, steps=1)
    # Three iterations of the linear solver, whether they are enough or not.
    samples = {"samples": 6 if flow.dim < 9 else 3, "fresh_samples": 2}
    options = {"dt": 0.01, **samples, "shift": 1e-3, "max_iterations": 3}
    agree(problem, flow, dtype, t_span=(0, 0.01), integrator="euler", **options)
