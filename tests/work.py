"""How much work a call is, as a number that no other process changes."""

import sys


def calls_of(function) -> int:
    """Number of calls of Python functions that a call makes."""
    made = 0

    def count(frame, event, argument):
        nonlocal made
        made += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return made
