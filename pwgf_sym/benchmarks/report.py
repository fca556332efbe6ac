"""What a run found: aligned tables, a JSON file, a figure."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import OptionError
from .target_report import draw_targets, targets_grid

__all__ = [
    "OURS",
    "best_rows",
    "block_text",
    "head_text",
    "latency_text",
    "load_report",
    "save_plot",
    "save_report",
    "table",
]

OURS = "pwgf_sym"
FORMAT = 1
_KEYS = {"format", "machine", "options", "skipped", "results", "latency"}


def best_rows(rows: Sequence[dict]) -> dict[tuple, dict]:
    """The variant with the least median of every block, kernel and side."""
    best: dict[tuple, dict] = {}
    for row in rows:
        if row["median"] is None:
            continue
        key = (*_block(row), row["kernel"], row["side"])
        if key not in best or row["median"] < best[key]["median"]:
            best[key] = row
    return best


def _grid(lines: list[list[str]]) -> list[str]:
    """Columns of equal width: the first two to the left, numbers to the right."""
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    text = []
    for line in lines:
        cells = [c.ljust(w) if k in (0, 1, 2) else c.rjust(w) for k, (c, w) in _pairs(line, widths)]
        text.append("  ".join(cells).rstrip())
    return text


def _pairs(line, widths):
    return enumerate(zip(line, widths, strict=True))


def block_text(rows: Sequence[dict], every_variant: bool = False) -> list[str]:
    """Lines of a table of rows of one suite, size, precision and number of threads.

    Parameters
    ----------
    rows : sequence of dict
    every_variant : bool
        Whether all variants are listed, else the best of each side.
    """
    lines = [_title(_block(rows[0]))]
    if rows[0]["suite"] == "targets":
        return lines + _grid(targets_grid(rows))
    shown = list(rows) if every_variant else list(best_rows(rows).values())
    return lines + _grid([_HEAD, *(_line(r) for r in sorted(shown, key=_order(shown)))])


def table(report: dict, every_variant: bool = False) -> str:
    """A whole report, as `load_report` gives it, as plain text."""
    rows, text = report["results"], head_text(report)
    for key in dict.fromkeys(map(_block, rows)):
        text += ["", *block_text([r for r in rows if _block(r) == key], every_variant)]
    return "\n".join([*text, *latency_text(report["latency"])])


def head_text(report: dict) -> list[str]:
    """Lines about the machine, and about opponents that could not run."""
    machine = report["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    load = machine["load_average"]
    busy = f", load {load[0]:.1f}" if load else ""
    cores = f"{machine['usable_cores']} of {machine['cores']} cores"
    lines = [f"{machine['cpu']}, {machine['vector_bits']} bits, {cores}{busy}", versions]
    return lines + [f"{side}: {reason}" for side, reason in report["skipped"].items()]


def latency_text(latency: dict | None) -> list[str]:
    """Lines of the latencies, none if they were not measured."""
    if latency is None:
        return []
    lines = [["latency (s)", *latency["cold"]]]
    for name in ("cold", "warm"):
        lines.append([name, *(f"{v:.2f}" for v in latency[name].values())])
    return [*_grid(lines), f"compilation: {latency['compile']:.2f} s"]


def _title(key: tuple) -> str:
    suite, size, dtype, threads, detail = key
    more = f"  {detail}" if detail else ""
    return f"{suite}  {size}  {dtype}  {threads} thread{'s' * (threads > 1)}{more}"


_HEAD = ["kernel", "side", "variant", "ms", "min", "max", "ratio", "GFLOP/s", "of gemm", "error"]


def _block(row: dict) -> tuple:
    return (*(row[k] for k in ("suite", "size", "dtype", "threads")), row.get("detail"))


def _order(block: list[dict]):
    kernels = list(dict.fromkeys(r["kernel"] for r in block))
    sides = [OURS, *dict.fromkeys(r["side"] for r in block)]
    return lambda r: (kernels.index(r["kernel"]), sides.index(r["side"]), r["median"] or 1e99)


def _line(row: dict) -> list[str]:
    def number(key, scale=1.0, form=".3g"):
        return "" if row.get(key) is None else format(scale * row[key], form)

    times = [number(k, 1e3, ".4g") for k in ("median", "min", "max")]
    error = f"r = {row['residual']:.2g}" if "residual" in row else number("error", 1, ".1e")
    fraction = number("peak_fraction", 100, ".0f")
    tail = [number("gflops"), fraction and f"{fraction} %", row["note"] or error]
    return [row["kernel"], row["side"], row["variant"], *times, number("ratio", 1, ".2f"), *tail]


def save_report(report: dict, path: str | Path) -> None:
    """Write a report as JSON, whole or not at all."""
    path = Path(path)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise OptionError("--json", f"{path} ({error.strerror})", "a file in a folder") from None


def load_report(path: str | Path) -> dict:
    """Read a report that `save_report` wrote.

    Raises
    ------
    OptionError
        If the file is no report.
    """
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError("report", f"{path} ({error})", "a file of --json") from None
    if not isinstance(report, dict) or set(report) != _KEYS or report["format"] != FORMAT:
        raise OptionError("report", str(path), f"a report of format {FORMAT}")
    return report


def save_plot(report: dict, path: str | Path) -> None:
    """Draw the time of every kernel by side, one panel a suite, size and precision.

    Of a run of suite "targets" alone: against the number of samples, one panel a kernel.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [r for r in best_rows(report["results"]).values() if r["kernel"] != "gemm"]
    blocks = list(dict.fromkeys(_block(r) for r in rows))
    if not blocks:
        raise OptionError("--plot", str(path), "a suite with timed kernels")
    figure = Figure(figsize=(7.0, 2.6 * len(blocks)), layout="constrained")
    FigureCanvasAgg(figure)
    if all(row["suite"] == "targets" for row in rows):
        draw_targets(figure, rows)
    else:
        _draw_sides(figure, rows, blocks)
    figure.savefig(path, dpi=150)


def _draw_sides(figure, rows, blocks) -> None:
    sides = list(dict.fromkeys(r["side"] for r in rows))
    for axes, key in zip(figure.subplots(len(blocks), squeeze=False)[:, 0], blocks, strict=True):
        _panel(axes, key, [r for r in rows if _block(r) == key], sides)


def _panel(axes, key, rows, sides) -> None:
    kernels = list(dict.fromkeys(r["kernel"] for r in rows))
    height = 0.8 / len(sides)
    for n, side in enumerate(sides):
        own = [r for r in rows if r["side"] == side]
        at = [kernels.index(r["kernel"]) + n * height for r in own]
        median = [1e3 * r["median"] for r in own]
        low = [1e3 * (r["median"] - r["min"]) for r in own]
        high = [1e3 * (r["max"] - r["median"]) for r in own]
        color = f"C{n}"
        axes.barh(at, median, height, xerr=[low, high], color=color, label=side, ecolor="0.4")
    axes.set_yticks([k + 0.4 - height / 2 for k in range(len(kernels))], kernels)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_title(_title(key), fontsize=9)
    axes.set_xlabel("ms a call (bars: median, lines: least and most)", fontsize=8)
    axes.legend(fontsize=7)
