"""Pages of docs run as they stand, and print what they show.

Python blocks of a page run in order in one namespace, from the root of a checkout.  What follows a
block as a text block is what it prints.  Blocks of other languages are only shown.  Where sections
stand for themselves, each begins with the names of what stands before the first of them.
The blocks of catalogue.md are run by tests/test_catalogue.py, which writes the page anew.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXISTS = {page.name for page in (ROOT / "docs").glob("*.md")}
PAGES = [
    page
    for page in ("walkthrough.md", "extending.md", "data.md", "laws.md", "maps.md")
    if page in EXISTS
]
MARK = "~ end of a block ~"
#: Pages whose sections need the introduction only, and what begins a section.
APART = {"extending.md"}
RESTART = (
    "_above = globals().setdefault('_above', dict(globals())); "
    "[globals().pop(name) for name in globals().keys() - _above - {'_above'}]; "
    "globals().update(_above)"
)
#: Pages that are read in an editor, too: their lines are shorter, but for tables and links.
NARROW = sorted(EXISTS & {*PAGES, "architecture.md", "glossary.md", "internals.md"})
WIDTH = 110


def blocks_of(page):
    """Python blocks: how many lines are above, the code, and the output that is shown or None."""
    found, end, waiting = [], 0, False
    for block in re.finditer(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        language, inside = block.groups()
        follows = waiting and not page[end : block.start()].strip()
        if language == "python":
            found.append((page[: block.start(2)].count("\n"), inside, None))
        elif language == "text" and follows:
            found[-1] = (*found[-1][:2], inside)
        end, waiting = block.end(), language == "python"
    return found


def script_of(page, apart):
    """One script whose lines have the numbers that they have on the page."""
    lines, shown = [], page.splitlines()
    for start, code, _ in blocks_of(page):
        begins = [apart and line.startswith("## ") for line in shown[len(lines) : start]]
        lines += [RESTART if new else "" for new in begins]
        lines += [*code.splitlines(), f"print({MARK!r})"]
    return "\n".join(lines) + "\n"


def outputs_of(page, folder, apart=False):
    """What each python block of a page prints."""
    path = folder / "page.py"
    path.write_text(script_of(page, apart), encoding="utf-8")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
    command = [sys.executable, str(path)]
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", timeout=600
    )
    assert run.returncode == 0, run.stdout[-1000:] + run.stderr
    return run.stdout.split(f"{MARK}\n")[:-1]


def compared(text):
    """Text without what an editor takes away: blanks at the ends of lines, blank lines around."""
    return re.sub(r"[ \t]+$", "", text, flags=re.M).strip("\n")


@pytest.mark.parametrize("name", PAGES)
def test_page_prints_what_it_shows(name, tmp_path):
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    blocks, outputs = blocks_of(page), outputs_of(page, tmp_path, name in APART)
    assert len(outputs) == len(blocks) and any(shown for _, _, shown in blocks)
    for (start, _, shown), printed in zip(blocks, outputs, strict=True):
        if shown is not None:
            assert compared(printed) == compared(shown), f"docs/{name}, line {start}"


@pytest.mark.parametrize("name", NARROW)
def test_lines_are_short(name):
    lines = (ROOT / "docs" / name).read_text(encoding="utf-8").splitlines()
    long = [n for n, line in enumerate(lines, 1) if len(line) >= WIDTH and line[0] != "|"]
    assert not [n for n in long if "](" not in lines[n - 1]], f"long lines of docs/{name}: {long}"


@pytest.mark.parametrize("path", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=str)
def test_no_merge_is_half_done(path):
    marks = ("<<<<<<< ", "=======", ">>>>>>> ")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line.startswith(marks)]
