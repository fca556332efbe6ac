"""What instructions do, as functions of the values of a block's threads.

A step is called with the values of all registers, the mask of the threads that are there (None for
all), their numbers, and the memory.
"""

from __future__ import annotations

import struct

import numpy as np
from ptx_memory import MemoryFault
from ptx_text import PtxError

__all__ = [
    "aligned",
    "calculation",
    "commit",
    "constant",
    "fetch",
    "join",
    "load",
    "not_run",
    "one_by_one",
    "seen_as",
]
__all__ += ["split", "store", "stride", "wait"]


def seen_as(held, wanted):
    """The type to look at bits as, where it is another than they are held as."""
    return None if np.dtype(held) == wanted else np.dtype(wanted)


def stride(size: int) -> int:
    """Bytes of a thread's local memory, with some at its end that nobody writes."""
    return -(-size // 16) * 16 + 64


def constant(text: str, dtype) -> np.ndarray:
    """A number that stands in the text."""
    if text[:2] in ("0d", "0D", "0f", "0F"):
        form = "!d" if text[1] in "dD" else "!f"
        return np.array(struct.unpack(form, bytes.fromhex(text[2:]))[0], dtype)
    if dtype.kind == "f":
        raise PtxError(f"the number {text}")
    number = int(text.rstrip("U"), 0)
    if dtype.kind == "b":
        return np.array(bool(number))
    return np.array(number % 2 ** (8 * dtype.itemsize), f"u{dtype.itemsize}").view(dtype)


def calculation(function, target: int, result, sources):
    """Set a register of the threads that are there."""
    if all(as_type is None for _, as_type in sources):
        slots = [slot for slot, _ in sources]
        match slots:
            case [a]:
                found = lambda v: function(v[a])  # noqa: E731
            case [a, b]:
                found = lambda v: function(v[a], v[b])  # noqa: E731
            case _:
                found = lambda v: function(*[v[s] for s in slots])  # noqa: E731
    else:

        def found(values):
            own = [values[s] if t is None else values[s].view(t) for s, t in sources]
            return function(*own)

    def step(values, part, lanes, memory):
        value = found(values)
        if result is not None:
            value = value.view(result)
        values[target] = value if part is None else np.where(part, value, values[target])

    return step


def not_run(instruction):
    def step(values, part, lanes, memory):
        raise PtxError(f"line {instruction.number}: {instruction.text}: it is not run")

    return step


def one_by_one(steps):
    def step(*given):
        for one in steps:
            one(*given)

    return step


def aligned(address: int, offset: int, width: int):
    """Numbers side by side have to stand at a multiple of what they take together."""

    def step(values, part, lanes, memory):
        place = (values[address] + offset)[lanes]
        if np.count_nonzero(place & (width - 1)):
            raise MemoryFault(f"an address is not a multiple of {width}")

    return step


def split(targets, source: int, narrow):
    def step(values, part, lanes, memory):
        halves = np.ascontiguousarray(values[source]).view(narrow).reshape(-1, len(targets))
        for k, target in enumerate(targets):
            half = halves[:, k].copy()
            values[target] = half if part is None else np.where(part, half, values[target])

    return step


def join(target: int, sources, wide):
    def step(values, part, lanes, memory):
        value = np.stack([values[s] for s in sources], axis=-1).view(wide).reshape(-1)
        values[target] = value if part is None else np.where(part, value, values[target])

    return step


def load(target: int, address: int, offset: int, dtype, space: str):
    def step(values, part, lanes, memory):
        place = values[address] + offset
        if part is None:
            values[target] = memory.load(place, lanes, dtype, space)
        else:
            found = values[target].copy()
            found[lanes] = memory.load(place[lanes], lanes, dtype, space)
            values[target] = found

    return step


def store(source: int, address: int, offset: int, dtype, space: str):
    def step(values, part, lanes, memory):
        place, value = values[address] + offset, values[source]
        if part is not None:
            place, value = place[lanes], value[lanes]
        memory.store(place, lanes, value.view(dtype), space)

    return step


def fetch(target: int, source: int, dtype, offset: int = 0, size: int | None = None):
    """A copy from global to shared memory that a thread does not wait for.

    ``size`` holds the bytes that there are to copy, all or none: the others are zeros.
    """

    def step(values, part, lanes, memory):
        there = None if size is None else values[size][lanes] != 0
        places = [values[place][lanes] + offset for place in (source, target)]
        memory.fetch(*places, lanes, dtype, there)

    return step


def commit(values, part, lanes, memory):
    """What the threads have fetched is a group."""
    memory.commit(lanes)


def wait(but: int | None):
    """For all that the threads have fetched, or for all but the last groups."""

    def step(values, part, lanes, memory):
        memory.wait(lanes, but)

    return step
