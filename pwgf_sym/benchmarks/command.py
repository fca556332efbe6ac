"""``python -m pwgf_sym benchmark`` and ``profile``: options, and the runs behind them."""

from __future__ import annotations

import os
from dataclasses import asdict

from ..errors import OptionError
from ..targets.table import TARGETS
from .options import PROBLEM_NAMES, SIDES, SUITES, BenchmarkOptions
from .pinning import pin

__all__ = ["add_benchmark", "add_profile", "run", "run_benchmark", "run_profile"]


def _add_common(parser, sizes: str, dtypes: str) -> None:
    parser.add_argument("--size", default=sizes, help="dimension/width, separated by commas")
    parser.add_argument("--samples", default="4096", help="number of samples")
    parser.add_argument("--dtype", default=dtypes, help="float64, float32")
    parser.add_argument("--rounds", default="7", help="rounds that alternate over all calls")
    parser.add_argument("--seconds", default="0.2", help="time of a call in a round")
    parser.add_argument("--threads", default="1", help="threads of every side")
    parser.add_argument("--clock", default="", help="cpu (one thread's default) or wall")
    parser.add_argument("--dim", help="dimensions, in place of those of --size")
    parser.add_argument("--width", help="widths, in place of those of --size")


def add_benchmark(commands) -> None:
    """Add the subcommand ``benchmark``."""
    parser = commands.add_parser("benchmark", help="time the kernels beside NumPy, JAX, PyTorch")
    suite = "kernels,step,pairs, or targets with --targets or --problem"
    parser.add_argument("--suite", help=f"{', '.join(SUITES)} ({suite})")
    parser.add_argument("--against", default=",".join(SIDES), help="opponents, or none")
    _add_common(parser, "2/32,10/64,30/128", "float64,float32")
    parser.add_argument("--targets", help=f"{', '.join(TARGETS)}: side by side, in suite targets")
    parser.add_argument("--problem", help=f"of suite targets: {', '.join(PROBLEM_NAMES)}")
    parser.add_argument("--variants", action="store_true", help="list every variant")
    parser.add_argument("--json", help="file for all raw times")
    parser.add_argument("--plot", help="file for a figure")
    parser.set_defaults(run=run_benchmark)


def add_profile(commands) -> None:
    """Add the subcommand ``profile``."""
    parser = commands.add_parser("profile", help="rates of our kernels against the roofline")
    _add_common(parser, "10/64", "float64")
    parser.set_defaults(run=run_profile, suite="kernels", against="none")
    parser.set_defaults(targets="cpu", problem=PROBLEM_NAMES[0])


def run_benchmark(given) -> None:
    """Run the suites that the command line asked for, print the table and write the files."""
    named = given.targets or given.problem
    given.suite = given.suite or ("targets" if named else "kernels,step,pairs")
    given.targets = given.targets or "cpu,cuda"
    given.problem = given.problem or PROBLEM_NAMES[0]
    options = BenchmarkOptions.parse(given)
    for option in ("json", "plot"):
        _check_folder(f"--{option}", getattr(given, option))
    if "threads" not in options.suites:  # its processes pin themselves
        pin(options.threads)  # before anything heavy is imported
    from .report import block_text, head_text, latency_text, save_plot, save_report

    def show(report, block):
        """Each block as soon as it is there: a long run that is stopped has left something."""
        print(*([""] + block_text(block, given.variants)), sep="\n", flush=True)
        if given.json:
            save_report(report, given.json)

    report = run(options, show)
    print("", *latency_text(report["latency"]), *head_text(report), sep="\n")
    if given.json:
        save_report(report, given.json)
    if given.plot:
        save_plot(report, given.plot)


def _check_folder(option: str, path: str | None) -> None:
    """Refuse a path that could not be written after all the work."""
    if path and (os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or ".")):
        raise OptionError(option, repr(path), "a file in a folder that exists")


def run(options: BenchmarkOptions, show=None) -> dict:
    """The report of a run; see :func:`pwgf_sym.benchmarks.report.save_report`.

    ``show(report, rows)`` is called with every block of rows that is finished.
    """
    from . import machine, suites
    from .accuracy import run_accuracy
    from .latency import run_latency
    from .report import FORMAT
    from .targets import missing_targets, run_targets
    from .threads import run_threads

    sides, skipped = suites.opponents(options.against)
    runs = {
        "kernels": suites.run_kernels,
        "step": suites.run_step,
        "pairs": suites.run_pairs,
        "accuracy": run_accuracy,
        "threads": run_threads,
        "targets": run_targets,
    }
    report = {"format": FORMAT, "machine": machine.describe(), "options": asdict(options)}
    if "targets" in options.suites:
        skipped |= missing_targets(options.targets)
    report |= {"skipped": skipped, "results": [], "latency": None}
    for suite in options.suites:
        if suite == "latency":
            report["latency"] = run_latency()
            continue
        for rows in runs[suite](options, sides):
            report["results"] += rows
            if show:
                show(report, rows)
    return report


def run_profile(given) -> None:
    """Print the profile of every size and precision."""
    options = BenchmarkOptions.parse(given)
    pin(options.threads)
    from .cases import Case
    from .profile import profile, profile_table

    for dim, width in options.sizes:
        for dtype in options.dtypes:
            case = Case(dim, width, options.samples, dtype)
            timing = {"rounds": options.rounds, "seconds": options.seconds, "clock": options.clock}
            print(f"{case.name}  {dtype}  N = {case.samples}  {options.threads} thread(s)")
            print(profile_table(profile(case, **timing)))
