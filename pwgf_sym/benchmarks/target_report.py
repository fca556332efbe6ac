"""What a run of suite "targets" found: a table for every block, a figure over the samples."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["draw_targets", "targets_grid"]

_HEAD = ["kernel", "target", "ms", "min", "max", "Msamples/s", "GFLOP/s", "GB/s", "of peak"]
_HEAD += ["cpu/this", "compile s", "warm s", "error"]


def targets_grid(rows: Sequence[dict]) -> list[list[str]]:
    """Head and lines of a block: times, rates from the IR's counts, compilation."""
    return [_HEAD, *map(_line, rows)]


def _line(row: dict) -> list[str]:
    def number(key, scale=1.0, form=".3g"):
        return "" if row.get(key) is None else format(scale * row[key], form)

    times = [number(k, 1e3, ".4g") for k in ("median", "min", "max")]
    peak = number("peak_fraction", 100, ".0f")
    rates = [number("samples_a_second", 1e-6), number("gflops"), number("gbytes")]
    tail = [number("ratio", 1, ".2f"), number("cold", 1, ".2f"), number("warm", 1, ".2f")]
    error = number("error", 1, ".1e")
    return [row["kernel"], row["side"], *times, *rates, peak and f"{peak} %", *tail, error]


def draw_targets(figure, rows: Sequence[dict]) -> None:
    """Time of every kernel against the number of samples, a line a target, problem and size."""
    kernels = list(dict.fromkeys(r["kernel"] for r in rows))
    columns = 2 if len(kernels) > 1 else 1
    lines = -(-len(kernels) // columns)
    figure.set_size_inches(4.0 * columns, 2.6 * lines)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, kernel in zip(grid, kernels, strict=False):
        own = [r for r in rows if r["kernel"] == kernel]
        for name in dict.fromkeys(map(_label, own)):
            series = sorted((r for r in own if _label(r) == name), key=lambda r: r["samples"])
            at = [r["samples"] for r in series]
            median = [1e3 * r["median"] for r in series]
            low = [1e3 * (r["median"] - r["min"]) for r in series]
            high = [1e3 * (r["max"] - r["median"]) for r in series]
            axes.errorbar(at, median, [low, high], marker="o", markersize=3, capsize=2, label=name)
        axes.set(xscale="log", yscale="log", title=kernel)
        axes.tick_params(which="both", labelsize=7)
        axes.set_xlabel("samples", fontsize=8)
        axes.set_ylabel("ms a call", fontsize=8)
        axes.legend(fontsize=6)
    for axes in grid[len(kernels) :]:
        axes.set_axis_off()


def _label(row: dict) -> str:
    return f"{row['side']}, {row['problem']} {row['size']} {row['dtype']}"
