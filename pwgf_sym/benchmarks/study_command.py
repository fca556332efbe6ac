"""``pwgf-sym study``, ``compare`` and ``families``: errors on problems with exact answers."""

from __future__ import annotations

import os

from ..errors import OptionError

__all__ = ["add_compare", "add_families", "add_study", "run_compare", "run_families", "run_study"]


def add_study(commands) -> None:
    """Add the subcommand ``study``."""
    parser = commands.add_parser("study", help="error against tolerance, samples or width")
    parser.add_argument("--problems", default="double_well,quartic", help="names, or all")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--vary", default="tol", help="tol, samples or width")
    parser.add_argument("--values", help="values of it, separated by commas")
    parser.add_argument("--seeds", default="1", help="runs of every value")
    parser.add_argument("--points", default="16384", help="points an error is measured on")
    for option in ("--tol", "--samples", "--dt", "--shift"):
        parser.add_argument(option, help="of all runs, as in pwgf_sym.solve")
    parser.add_argument("--integrator", help="of all runs, as in pwgf_sym.solve")
    parser.add_argument("--json", help="file for all rows")
    parser.add_argument("--plot", help="file for a picture")
    parser.set_defaults(run=run_study)


def add_compare(commands) -> None:
    """Add the subcommand ``compare``."""
    parser = commands.add_parser("compare", help="our scheme beside the paper's, same map")
    parser.add_argument("--problems", default="double_well", help="names, or all")
    parser.add_argument("--schemes", default="auto,fixed,paper", help="names of schemes")
    parser.add_argument("--seed", default="0", help="of all runs")
    parser.add_argument("--json", help="file for all rows")
    parser.set_defaults(run=run_compare)


def add_families(commands) -> None:
    """Add the subcommand ``families``."""
    parser = commands.add_parser("families", help="families of maps side by side")
    parser.add_argument("--problems", help="names; by default those of the table")
    parser.add_argument("--maps", help="such as 'monotone 24,flow 16 4'; by default the table's")
    parser.add_argument("--seeds", default="1", help="runs of every map")
    parser.add_argument("--points", default="16384", help="points an error is measured on")
    for option in ("--tol", "--samples", "--max-samples", "--target"):
        parser.add_argument(option, help="of all runs, as in pwgf_sym.solve")
    parser.add_argument("--json", help="file for all rows")
    parser.set_defaults(run=run_families)


def run_families(given) -> None:
    """Run the families that the command line asked for, print the table, write the file."""
    from .families import TABLE, families

    if given.json:
        _check_file("--json", given.json)
    kinds = {"tol": float, "samples": int, "max_samples": int, "target": str}
    options = {
        name: _number(f"--{name.replace('_', '-')}", getattr(given, name), kind)
        for name, kind in kinds.items()
        if getattr(given, name) is not None
    }

    def say(row) -> None:
        errors = f"error {row.error:.2e}, W2 {row.marginal:.2e}, {row.seconds:.1f} s"
        print(f"{row.problem}  {row.family}  {errors}  {row.note}".rstrip(), flush=True)

    found = families(
        _parts(given.problems) if given.problems else tuple(TABLE),
        _parts(given.maps) if given.maps else None,
        seeds=_number("--seeds", given.seeds, int),
        points=_number("--points", given.points, int),
        show=say,
        **options,
    )
    print("", found, sep="\n")
    if given.json:
        found.save(given.json)


def run_compare(given) -> None:
    """Run the comparison that the command line asked for, print the table, write the file."""
    from .comparison import compare
    from .exact_problems import EXACT_PROBLEMS

    if given.json:
        _check_file("--json", given.json)
    names = list(EXACT_PROBLEMS) if given.problems == "all" else _parts(given.problems)

    def say(row) -> None:
        print(
            f"{row.problem}  {row.scheme}  error {row.error:.2e}, {row.seconds:.1f} s", flush=True
        )

    seed = _number("--seed", given.seed, int)
    found = compare(names, _parts(given.schemes), seed=seed, show=say)
    print("", found, sep="\n")
    if given.json:
        found.save(given.json)


def run_study(given) -> None:
    """Run the study that the command line asked for, print the table and write the files."""
    from ..look.figures import check_path
    from .exact_problems import EXACT_PROBLEMS, exact_problem
    from .study import study

    if given.list:
        for name in EXACT_PROBLEMS:
            print(f"{name:32s}{exact_problem(name).formula}")
        return
    for option in ("json", "plot"):
        if getattr(given, option):
            check = check_path if option == "plot" else _check_file
            check(f"--{option}", getattr(given, option))
    names = list(EXACT_PROBLEMS) if given.problems == "all" else _parts(given.problems)
    kinds = {"tol": float, "samples": int, "dt": float, "shift": float}
    options = {
        name: _number(f"--{name}", getattr(given, name), kind)
        for name, kind in kinds.items()
        if getattr(given, name) is not None
    }
    if given.integrator is not None:
        options["integrator"] = given.integrator
    kind = float if given.vary == "tol" else int
    values = given.values and [_number("--values", part, kind) for part in _parts(given.values)]
    found = study(
        names,
        given.vary,
        values,
        seeds=_number("--seeds", given.seeds, int),
        points=_number("--points", given.points, int),
        show=_say,
        **options,
    )
    print("", found, sep="\n")
    if given.json:
        found.save(given.json)
    if given.plot:
        found.plot(given.plot)


def _say(row) -> None:
    """A run as soon as it has ended: a long study that is stopped has left something."""
    error = f"error {row.error:.2e}, {row.seconds:.2f} s"
    print(f"{row.problem}  {row.vary} = {row.value:g}  {error}  {row.note}".rstrip(), flush=True)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(option: str, text: str, kind):
    try:
        return kind(text)
    except ValueError:
        noun = "an integer" if kind is int else "a number"
        raise OptionError(option, repr(text), noun) from None


def _check_file(option: str, path: str) -> None:
    """Refuse a file that could not be written after all the work."""
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
        raise OptionError(option, repr(path), "a file in a folder that exists")
