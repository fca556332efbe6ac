"""Figures of a solution: the density at a few times, the energy, dissipation and defect.

matplotlib is imported inside the functions, so that importing this module costs nothing.
"""

from __future__ import annotations

import numpy as np

from ..arguments import brief, checked_call, choice, flag, integer, real_array, whole_seed
from ..errors import OptionError, PictureWarning, PwgfError, warn
from ..solver.certificate import DISTANCES
from ..solver.solution import Solution

__all__ = ["plot"]

# Colours that remain distinct under the common colour blindnesses: M. Okabe and K. Ito, "Color
# Universal Design", 2008.
_BLUE, _VERMILLION, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
_PANELS = 4
# Times of the curve of the bound; it has a logarithmic axis where its end is so many times its
# median, as of bounds that grow exponentially.
_BOUNDS, _STEEP = 25, 30
_DISTANCES = {"KL": "KL", "TV": "TV", "W1": "$W_1$", "W2": "$W_2$"}
_STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GREY,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlesize": "medium",
    "legend.frameon": False,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
}
# Part of the samples that the shown window may leave out on each side.
_TAIL = 2e-3
# Windows longer than this are not drawn to scale.
_LONG = 3.0


@checked_call
def plot(
    solution, path=None, *, times=None, samples: int = 4000, seed=0, density=None, bound=False
):
    """Draw a solution.

    In one dimension the densities at a few times share one panel; a periodic coordinate is shown
    from 0 to its period.  In two dimensions each time has
    its panel with the density.  Where the map cannot be inverted or is folded, and in more
    dimensions, the panels show samples in the first two coordinates.  Below are the energy, and the
    dissipation with the defect; beside them, when it is asked for, the bound on the distance of
    the computed law from the flow's over time, as a band that holds the true distance.

    Parameters
    ----------
    solution : Solution
        What to draw.
    path : str or Path, optional
        File to write, in place of showing the figure.
    times : sequence of float, optional
        Up to four stored times; by default four that are evenly spread over the stored rows.
    samples : int
        Number of samples that windows, histograms and points are taken from.
    seed : int, None or numpy.random.Generator
        Seed of these samples.
    density : bool, optional
        Whether to evaluate the density (True) or to draw samples (False); by default the density in
        one and two dimensions where it can be had.
    bound : bool or {"KL", "TV", "W1", "W2"}
        Whether to draw the error bound, or the distance whose bound to draw; with True the one that
        :meth:`Solution.error_bound` takes at the last time.

    Returns
    -------
    matplotlib.figure.Figure
        Without a path it is one of pyplot: a notebook shows it, in a script
        ``matplotlib.pyplot.show()`` does.

    Raises
    ------
    OptionError
        If a time is not stored, there are none or more than four, ``density=True`` is asked for
        in more than two dimensions, ``path`` cannot be written, or there is no bound.

    Warns
    -----
    PictureWarning
        Once, with the number of points that are left out as they have no finite value, or if the
        map is folded.
    """
    from .figures import check_path, close, new_figure, save

    if not isinstance(solution, Solution):
        raise OptionError("solution", brief(solution), "a Solution, as solve returns it")
    path = None if path is None else check_path("path", path)
    samples = integer("samples", samples, 1)
    density = None if density is None else flag("density", density)
    dim = solution.problem.dim
    if density and dim > 2:
        fix = "Leave density out: samples in the first two coordinates are drawn."
        raise OptionError("density", f"True in dimension {dim}", "at most two dimensions", fix)
    times, seed = _times(solution, times), whole_seed("seed", seed)
    bounds = _bounds(solution, bound)
    points = [solution.sample(samples, t=t, seed=seed) for t in times]
    notes = _notes_of_samples(points)
    periods = solution.problem.periods
    ranges = [_window(points, axis, periods[axis]) for axis in range(min(dim, 2))]
    count = 1 if dim == 1 else len(times)
    width = max(2.8 * count, 7.2 if bounds is None else 9.6)
    height = 3.0 if dim == 1 else np.clip(width / count * _shape(ranges), 1.8, 4.0)
    # Pyplot may select its backend here: outside of the style, which is put back.
    figure = new_figure(path, figsize=(width, height + 3.1), layout="constrained")
    try:
        _draw(figure, solution, times, points, ranges, (height, count), density, bounds, notes)
    except BaseException:
        close(figure)
        raise
    if path is not None:
        save(figure, path, dpi=160)
    if notes:
        warn(f"The figure leaves something out: {'; '.join(notes)}.", PictureWarning)
    return figure


def _draw(figure, solution, times, points, ranges, shape, density, bounds, notes) -> None:
    """Panels of the density above; energy, dissipation and defect, and the bound below."""
    from matplotlib import rc_context

    height, count = shape
    with rc_context(_STYLE):
        # Rows of their own, so that labels below do not push panels above apart.
        above, below = figure.subfigures(2, 1, height_ratios=(height + 0.5, 2.6))
        panels = above.subplots(1, count, squeeze=False)[0]
        if solution.problem.dim == 1:
            _curves(panels[0], solution, times, points, ranges[0], density, notes)
        else:
            _panels(panels, solution, times, points, ranges, density, notes)
        axes = below.subplots(1, 2 if bounds is None else 3)
        _energy(axes[0], solution)
        _rates(axes[1], solution)
        if bounds is not None:
            _band(axes[2], bounds)
        # Constrained layout takes a few passes around axes of fixed aspect.
        for _ in range(4):
            figure.draw_without_rendering()


def _notes_of_samples(points: list[np.ndarray]) -> list[str]:
    """What is to be said of samples that cannot be drawn."""
    lost = sum(int(np.sum(~np.isfinite(p).all(axis=1))) for p in points)
    total = sum(len(p) for p in points)
    fix = "the map has left the range of numbers, use a smaller dt"
    return [f"{lost} of {total} samples are not finite ({fix})"] if lost else []


def _times(solution, times) -> list[float]:
    """The times to draw, all of them stored."""
    if times is None:
        rows = np.linspace(0, solution.t.size - 1, min(_PANELS, solution.t.size))
        return [float(solution.t[row]) for row in np.unique(np.round(rows).astype(int))]
    accepted = f"one to {_PANELS} stored times"
    chosen = np.atleast_1d(real_array("times", times, accepted=accepted))
    if chosen.ndim != 1 or not 1 <= chosen.size <= _PANELS:
        raise OptionError("times", brief(times), accepted)
    return [float(t) for t in chosen]


def _window(points: list[np.ndarray], axis: int, period: float | None) -> tuple[float, float]:
    """Range of a coordinate that holds nearly all samples of all times, with a margin; a period."""
    if period is not None:
        return 0.0, period
    values = np.concatenate([p[:, axis] for p in points])
    low, high = np.quantile(values[np.isfinite(values)], [_TAIL, 1 - _TAIL])
    margin = 0.08 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def _shape(ranges) -> float:
    """Height over width of a panel: that of the window, unless it is too long to draw so."""
    (left, right), (low, high) = ranges
    ratio = (high - low) / (right - left)
    return ratio if 1 / _LONG < ratio < _LONG else 1.0


def _densities(solution, times, grid: np.ndarray, wanted, notes) -> list[np.ndarray] | None:
    """Densities on a grid (n, d) at the times, or None where samples are to be drawn.

    NaN where there is no finite value; what is to be said of it is added to the notes.
    """
    if wanted is False:
        return None
    rows = [solution._at(t) for t in times]
    try:
        with np.errstate(all="ignore"):
            found = [np.exp(solution._log_density(grid, *row)) for row in rows]
        folded = [t for t, row in zip(times, rows, strict=True) if solution._folded(*row)]
    except (PwgfError, NotImplementedError, ArithmeticError):
        if wanted:
            raise
        return None
    if folded:
        shown = "densities are those of one preimage" if wanted else "samples are drawn instead"
        at = ", ".join(f"{t:.4g}" for t in folded)
        notes.append(f"the map is folded at t = {at}, where densities are not defined: {shown}")
        if not wanted:
            return None
    lost = sum(int(np.sum(~np.isfinite(values))) for values in found)
    if lost:
        total, fix = len(found) * len(grid), "density=False draws samples"
        notes.append(f"{lost} of {total} points have no preimage that was found ({fix})")
    return [np.where(np.isfinite(values), values, np.nan) for values in found]


def _curves(axes, solution, times, points, window, wanted, notes) -> None:
    """Densities of a one-dimensional flow in one panel, from light to dark over time."""
    from matplotlib import colormaps

    grid = np.linspace(*window, 400)[:, None]
    densities = _densities(solution, times, grid, wanted, notes)
    shades = colormaps["viridis"](np.linspace(0.85, 0.1, len(times)))
    for k, t in enumerate(times):
        style = {"color": shades[k], "lw": 1.8, "label": f"$t = {t:.4g}$"}
        if densities is None:
            bins = np.linspace(*window, 61)
            axes.hist(points[k][:, 0], bins, density=True, histtype="step", **style)
        else:
            axes.plot(grid[:, 0], densities[k], **style)
    axes.set(xlabel=_name(solution, 0), ylabel="density", xlim=window)
    axes.set_ylim(bottom=0)
    axes.legend()


def _panels(panels, solution, times, points, ranges, wanted, notes) -> None:
    """A panel a time in the first two coordinates: densities on a common scale, or samples."""
    densities = None
    if solution.problem.dim == 2:
        sides = [np.linspace(*r, 121) for r in ranges]
        grid = np.stack(np.meshgrid(*sides), axis=-1)
        densities = _densities(solution, times, grid.reshape(-1, 2), wanted, notes)
    if densities is not None:
        _images(panels, [np.nan_to_num(values) for values in densities], grid)
    equal = 1 / _LONG < np.ptp(ranges[1]) / np.ptp(ranges[0]) < _LONG
    for k, axes in enumerate(panels):
        if densities is None:
            x, y = points[k][:, :2].T
            axes.plot(x, y, ".", ms=2.5, mew=0, alpha=0.35, color=_BLUE, rasterized=True)
        axes.set(xlim=ranges[0], ylim=ranges[1], aspect="equal" if equal else "auto")
        axes.set(xlabel=_name(solution, 0), title=f"$t = {times[k]:.4g}$")
        axes.tick_params(labelleft=k == 0)
    panels[0].set_ylabel(_name(solution, 1))


def _images(panels, densities, grid: np.ndarray) -> None:
    """Densities as images with one colour bar; the square root shows tails beside peaks."""
    from matplotlib.colors import PowerNorm

    norm = PowerNorm(0.5, vmin=0, vmax=max(np.max(values) for values in densities) or 1.0)
    for axes, values in zip(panels, densities, strict=True):
        axes.grid(False)
        image = axes.pcolormesh(
            grid[..., 0],
            grid[..., 1],
            values.reshape(grid.shape[:2]),
            norm=norm,
            cmap="Blues",
            shading="gouraud",
            rasterized=True,
        )
    bar = panels[0].figure.colorbar(image, ax=list(panels), fraction=0.05, pad=0.01)
    bar.set_label("density")
    bar.outline.set_visible(False)


def _energy(axes, solution) -> None:
    axes.plot(solution.t, solution.energy, color=_BLUE, **_marks(solution))
    axes.set(xlabel="$t$", ylabel="energy  $E$")


def _rates(axes, solution) -> None:
    """Dissipation and squared defect: the two share a unit, and their ratio is the misfit."""
    curves = (
        (solution.dissipation, "dissipation  $-dE/dt$", _BLUE, "-"),
        (solution.defect**2, r"defect  $\delta^2 = \mathbb{E}|u - w|^2$", _VERMILLION, "--"),
    )
    positive = False
    for values, label, colour, line in curves:
        shown = np.where((values > 0) & (values < np.inf), values, np.nan)
        positive |= bool(np.isfinite(shown).any())
        lost = int(np.sum(np.isnan(shown)))
        label += f" ({lost} off the axis)" if lost else ""  # logarithmic: not above 0
        axes.plot(solution.t, shown, line, color=colour, label=label, **_marks(solution))
    axes.set(xlabel="$t$", ylabel="energy per time", yscale="log" if positive else "linear")
    axes.legend()


def _bounds(solution, wanted) -> list | None:
    """Bounds over time of one distance; None where none are asked for."""
    name = isinstance(wanted, str)
    wanted = choice("bound", wanted, DISTANCES) if name else flag("bound", wanted)
    if wanted is False:
        return None
    times = np.linspace(solution.t[0], solution.t[-1], _BOUNDS)
    return solution._error_bounds(times, wanted if name else None)


def _band(axes, bounds: list) -> None:
    """Where the distance to the flow can be, under the bound; with the errors of the bound."""
    t, values = np.array([b.t for b in bounds]), np.array([b.value for b in bounds])
    errors = np.array([b.standard_error + b.time_error for b in bounds])
    finite, kind = np.isfinite(values), _DISTANCES[bounds[-1].distance]
    shown = np.where(finite, values, np.nan)
    positive = shown[finite & (values > 0)]
    steep = positive.size > 0 and positive.max() > _STEEP * np.median(positive)
    low = positive.min() / 10 if steep else 0.0
    shown = np.maximum(shown, low)
    proven = all(b.status == "proven" for b in bounds)
    label = f"bound ({'proven' if proven else 'conditional'})"
    axes.plot(t, shown, color=_GREEN, lw=1.6, label=label)
    low_error = np.maximum(shown - errors, low)
    axes.fill_between(t, low_error, shown + errors, color=_GREEN, alpha=0.35, lw=0)
    label = f"{kind} of the computed law\nfrom the flow is here"
    axes.fill_between(t, low, shown, color=_GREEN, alpha=0.12, lw=0, label=label)
    axes.set(xlabel="$t$", ylabel=f"error bound, {kind}", yscale="log" if steep else "linear")
    if positive.size:
        axes.set_ylim(low, (positive.max() + errors[finite].max()) * (3 if steep else 1.45))
    axes.legend(loc="upper left")


def _marks(solution) -> dict:
    """Points where there are few stored times, which a line alone would not show."""
    return {"marker": "o", "ms": 3.5, "lw": 1.6} if solution.t.size <= 12 else {"lw": 1.6}


def _name(solution, axis: int) -> str:
    """The coordinate's own name, as mathematics."""
    import sympy as sp

    return f"${sp.latex(solution.problem.coordinates[axis])}$"
