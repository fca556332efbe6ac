"""How much memory there is, and what does not fit into it."""

from __future__ import annotations

import math
import os
from decimal import Decimal

from .arguments import brief
from .errors import OptionError, PwgfError

__all__ = ["fitting", "memory_limit", "storage_limit"]

# Bytes of stored values where the size of the memory is not known.
_STORAGE = 1 << 30

_LIMITS_OF_A_CONTAINER = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def memory_limit() -> float:
    """Bytes of memory that this process may use; infinity where the system does not tell."""
    found = [math.inf]
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _LIMITS_OF_A_CONTAINER:
        try:
            with open(path, encoding="ascii") as file:
                text = file.read().strip()
        except OSError:
            continue
        found += [int(text)] if text.isdecimal() else []
    return min(found)


def storage_limit() -> int:
    """Bytes that stored values may take: ``PWGF_SYM_STORAGE``, else a quarter of the memory."""
    given = os.environ.get("PWGF_SYM_STORAGE")
    if given:
        if not given.isdecimal():
            raise OptionError("PWGF_SYM_STORAGE", given, "a number of bytes")
        return int(given)
    limit = memory_limit()
    return int(limit) // 4 if math.isfinite(limit) else _STORAGE


def fitting(
    name: str,
    count: int,
    each: int,
    what: str,
    fix: str = "",
    *,
    error: type[PwgfError] = OptionError,
) -> int:
    """A number of things of so many bytes each, or an error where memory cannot hold them.

    Parameters
    ----------
    name : str
        The argument, for the message.
    count, each : int
        How many there are, and the bytes of one.
    what : str
        What they are, in the plural.
    fix : str
        What to do.
    error : subclass of PwgfError
        What is raised.

    Returns
    -------
    int
        The number.

    Raises
    ------
    PwgfError
        Of the given class, with the bytes that are needed and those that there are.
    """
    limit = memory_limit()
    if count * each > limit:
        fix = fix or "Use fewer."
        given = f"{brief(count)} {what}, which take {Decimal(count * each) / 2**30:.3g} GiB"
        raise error(name, given, f"what fits into the {limit / 2**30:.3g} GiB of memory", fix)
    return count
