"""The command line: ``pwgf-sym`` or ``python -m pwgf_sym``, with a command."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout

_DESCRIPTION = "Wasserstein gradient flows of energies that are written as SymPy formulas."


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run a command.

    Returns
    -------
    int
        Exit status: 0, 2 for errors that a user can mend, 130 after Ctrl-C.
    """
    from .errors import PwgfError

    with _writable_streams():
        given = _parser().parse_args(arguments)
        try:
            given.run(given)
            sys.stdout.flush()
        except PwgfError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 2
        except BrokenPipeError:  # the reader, such as head, has seen enough
            # Python flushes once more at its end; that must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    from . import __version__
    from .benchmarks.command import add_benchmark, add_profile
    from .benchmarks.study_command import add_compare, add_families, add_study
    from .look.cache import add_cache

    as_module = os.path.basename(sys.argv[0]) == "__main__.py"
    name = "python -m pwgf_sym" if as_module else "pwgf-sym"
    parser = argparse.ArgumentParser(prog=name, description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"pwgf_sym {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="solve a double well and compare with the exact answer")
    demo.add_argument("--picture", default="demo.png", help="where the picture is saved")
    demo.set_defaults(run=_demo)
    doctor = commands.add_parser("doctor", help="say what was found and what is missing")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.set_defaults(run=_doctor)
    add_cache(commands)
    add_benchmark(commands)
    add_profile(commands)
    add_study(commands)
    add_families(commands)
    add_compare(commands)
    return parser


@contextmanager
def _writable_streams() -> Iterator[None]:
    """Standard streams that take every text: closed ones lead nowhere, others escape.

    A stream is None where its descriptor was closed (``>&-``) or where there is no console.
    """
    with ExitStack() as stack:
        for name, redirect in (("stdout", redirect_stdout), ("stderr", redirect_stderr)):
            stream = getattr(sys, name)
            if stream is None:
                nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.enter_context(redirect(nowhere))
            elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
                stack.callback(stream.reconfigure, errors="strict")
        yield


def _demo(given: argparse.Namespace) -> None:
    from .look.demo import run_demo

    run_demo(given.picture)


def _doctor(given: argparse.Namespace) -> None:
    import json

    from .look.doctor import examine, report

    found = examine()
    print(json.dumps(found, indent=1) if given.json else report(found))


if __name__ == "__main__":
    sys.exit(main())
