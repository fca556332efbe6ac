"""Figures of solutions: what they hold, and what they refuse."""

import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from fake_program import AffineProgram, fake_compiler, run, still
from matplotlib import pyplot as plt

from pwgf_sym.errors import MapError, OptionError
from pwgf_sym.look.plots import plot

compiled = pytest.fixture(fake_compiler)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def drawn(figure):
    """All axes of a figure but colour bars, from the top left."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def test_one_dimension_shows_the_densities():
    figure = plot(still(1))
    curves = drawn(figure)[0].lines
    assert [line.get_label() for line in curves] == ["$t = 0$", "$t = 0.5$", "$t = 1$"]
    for line, width in zip(curves, (1.0, 1.5, 2.0), strict=True):
        x, y = line.get_data()
        expected = np.exp(-((x / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
        np.testing.assert_allclose(y, expected, rtol=1e-10)


def test_two_dimensions_show_one_panel_a_time():
    figure = plot(still(2), times=[0.0, 1.0])
    panels = drawn(figure)[:2]
    assert [axes.get_title() for axes in panels] == ["$t = 0$", "$t = 1$"]
    peaks = [np.max(axes.collections[0].get_array()) for axes in panels]
    assert peaks == pytest.approx([1 / (2 * np.pi), 1 / (8 * np.pi)], rel=1e-2)
    assert panels[0].get_xlabel() == "$x_{0}$" and panels[0].get_ylabel() == "$x_{1}$"
    assert len(figure.axes) == 5  # two panels, a colour bar, energy, rates


@pytest.mark.parametrize("dim", [2, 4])
def test_samples_are_shown_where_asked_for_or_needed(dim):
    figure = plot(still(dim), samples=50, density=None if dim > 2 else False)
    panels = drawn(figure)[:3]
    points = np.array([axes.lines[0].get_data() for axes in panels])
    assert points.shape == (3, 2, 50)
    np.testing.assert_allclose(points[2], 2 * points[0], rtol=1e-12)


def test_a_map_without_inverse_falls_back_to_samples(monkeypatch):
    def invert(*_):
        raise MapError("map", "one", "an invertible map")

    monkeypatch.setattr(AffineProgram, "invert", invert)
    assert drawn(plot(still(2)))[0].lines
    assert drawn(plot(still(1)))[0].patches
    with pytest.raises(MapError):
        plot(still(2), density=True)


def test_energy_dissipation_and_defect_are_drawn():
    solution = still(1)
    energy, rates = drawn(plot(solution))[1:]
    np.testing.assert_array_equal(energy.lines[0].get_ydata(), solution.energy)
    np.testing.assert_array_equal(rates.lines[0].get_ydata(), solution.dissipation)
    squared = np.where(solution.defect > 0, solution.defect**2, np.nan)
    np.testing.assert_array_equal(rates.lines[1].get_ydata(), squared)
    assert rates.get_yscale() == "log"
    labels = [axes.get_xlabel() and axes.get_ylabel() for axes in (energy, rates)]
    assert all(labels)


def test_the_method_of_the_solution_writes_a_file(compiled, tmp_path):
    solution = run(dt=0.25)
    before = plt.get_fignums()
    solution.plot(tmp_path / "run.png", times=[0.0, 0.5], samples=200)
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"times": []}, "times"),
        ({"times": [0.0, 0.5, 1.0, 0.0, 0.5]}, "times"),
        ({"times": [0.3]}, "t"),
        ({"samples": 0}, "samples"),
        ({"density": True}, "density"),
    ],
)
def test_options_are_refused_by_name(options, argument):
    with pytest.raises(OptionError) as raised:
        plot(still(3), **options)
    assert raised.value.argument == argument and not plt.get_fignums()


def test_matplotlib_is_loaded_only_to_draw():
    code = "import sys, pwgf_sym.look.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
