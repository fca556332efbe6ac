"""``python -m pwgf_sym demo``: see :mod:`pwgf_sym.look.demo`."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run the demo; exit status 2 for errors that a user can mend."""
    parser = argparse.ArgumentParser(prog="python -m pwgf_sym", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="solve a double well and compare with the exact answer")
    demo.add_argument("--picture", default="demo.png", help="where the picture is saved")
    given = parser.parse_args(arguments)

    from .errors import PwgfError
    from .look.demo import run_demo

    try:
        run_demo(given.picture)
    except PwgfError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
