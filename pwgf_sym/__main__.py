"""``python -m pwgf_sym demo``, ``doctor``, ``benchmark`` and ``profile``."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run a command; exit status 2 for errors that a user can mend."""
    from .benchmarks.command import add_benchmark, add_profile
    from .errors import PwgfError

    parser = argparse.ArgumentParser(prog="python -m pwgf_sym", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="solve a double well and compare with the exact answer")
    demo.add_argument("--picture", default="demo.png", help="where the picture is saved")
    demo.set_defaults(run=_demo)
    doctor = commands.add_parser("doctor", help="say what was found and what is missing")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.set_defaults(run=_doctor)
    add_benchmark(commands)
    add_profile(commands)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except PwgfError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def _demo(given) -> None:
    from .look.demo import run_demo

    run_demo(given.picture)


def _doctor(given) -> None:
    import json

    from .look.doctor import examine, report

    found = examine()
    print(json.dumps(found, indent=1) if given.json else report(found))


if __name__ == "__main__":
    sys.exit(main())
