"""Check every exact answer, write docs/catalogue.md, and with --picture docs/catalogue.png."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from catalogue.families import ENTRIES
from catalogue.page import page

DOCS = Path(__file__).parents[2] / "docs"


def main():
    for one in ENTRIES.values():
        error = one.exact.error(one)
        print(f"{one.name:40} {error:.1e} (limit {one.exact.limit:.0e})")
        if not error < one.exact.limit:
            sys.exit(f"{one.name}: the error {error:.1e} is above its limit")
    (DOCS / "catalogue.md").write_text(page(), encoding="utf-8")
    if "--picture" in sys.argv:
        from catalogue.pictures import contact_sheet

        contact_sheet(DOCS / "catalogue.png")


if __name__ == "__main__":
    main()
