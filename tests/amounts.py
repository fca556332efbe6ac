"""How much the tests do: with PWGF_SYM_TESTS=all every case and all random examples.

Else they take fewer seeds and random examples, and of two slow cases of one kind one.
"""

import os

ALL = os.environ.get("PWGF_SYM_TESTS") == "all"


def amount(few, all_of_them):
    """A number of seeds or of random examples."""
    return all_of_them if ALL else few
