"""A notebook shows each picture once, and its own figures as before."""

import os
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: .[notebook]")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: .[notebook]")

PICTURE = "image/png"
START = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from fake_program import still
solution = still(2)
"""
CELLS = {
    "the last line": ("solution.plot(samples=50)", 1),
    "not the last line": ("solution.plot(samples=50)\nx = 1", 1),
    "with a name": ("figure = solution.plot(samples=50)", 1),
    "again by its name": ("figure", 1),
    "two": ("solution.plot(samples=50); solution.plot(samples=60)", 2),
    "by display": ("display(solution.plot(samples=50))", 1),
    "to a file, and shown": ("solution.plot('a.png', samples=50)", 1),
    "to a file": ("kept = solution.plot('b.png', samples=50)", 0),
    "a figure of the user's": ("from matplotlib import pyplot as plt\nplt.plot([1, 2]);", 1),
    "nothing is left": ("plt.get_fignums(), plt.isinteractive(), plt.get_backend()", 0),
}


def run_cells(sources, folder, **variables):
    """Outputs of every cell of a notebook that runs in a folder."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=os.environ | variables)
    return [cell.outputs for cell in notebook.cells]


@pytest.fixture(autouse=True)
def no_backend_of_the_tests(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)


def test_pictures_are_shown_once(tmp_path):
    outputs = run_cells([START, *(source for source, _ in CELLS.values())], tmp_path)
    assert outputs[0] == []
    for (name, (_, count)), found in zip(CELLS.items(), outputs[1:], strict=True):
        assert sum(PICTURE in o.get("data", {}) for o in found) == count, (name, found)
        assert not any(o.output_type in ("error", "stream") for o in found), (name, found)
    (last,) = outputs[-1]
    assert last["data"]["text/plain"].startswith("([], True, ")
    assert "inline" in last["data"]["text/plain"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.slow
def test_a_notebook_with_a_bar_and_formulas(tmp_path):
    """A run from the formula, as a reader of the README types it."""
    source = """
import sympy as sp, pwgf_sym as pw
x = pw.coordinates(1)
rho = pw.Density(x)
energy = pw.integral(x[0] ** 2 / 2 * rho + rho * sp.log(rho), x)
problem = pw.GradientFlow(energy, rho, initial=pw.Gaussian(mean=[1], cov=0.5))
solution = pw.solve(problem, pw.Affine(1), (0, 0.1), samples=64, dt=0.05, progress=True)
"""
    outputs = run_cells([source, "solution", "pw.first_variation(energy, rho)"], tmp_path)
    assert not any(o.output_type == "error" for found in outputs for o in found)
    assert "completed" in outputs[1][0]["data"]["text/plain"]
    assert "log" in outputs[2][0]["data"]["text/plain"]
