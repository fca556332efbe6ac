"""Memory of the machine: buffers far apart, and what is wrong about an access to them.

An access outside of a buffer or not aligned, a read of what was never written, and two threads at
one place without a barrier in between, one of them writing, are faults.  Threads of one warp are
ordered by the barriers of their warp, too.
"""

from __future__ import annotations

from itertools import count

import numpy as np

__all__ = ["Buffer", "DivergenceFault", "Fault", "Memory", "MemoryFault", "RaceFault"]
__all__ += ["UninitialisedFault"]

_WINDOW = 36  # bits of an address within the window of a buffer: 64 GiB apart
_START = 4096  # first address in the window, so that places before the buffer are no other's
_FIRST_GLOBAL = 4096  # windows of global memory; those below are of shared and local memory
_THREADS = 2048  # more than a block has: keys are epoch times this, plus the thread
_WARP = 32
_windows = count(_FIRST_GLOBAL)


class Fault(Exception):
    """Something that a kernel must not do."""


class MemoryFault(Fault):
    """An access outside of every buffer, or not aligned."""


class UninitialisedFault(Fault):
    """A read of memory that nothing was written to."""


class RaceFault(Fault):
    """Two threads at one place, one of them writing, and nothing orders them."""


class DivergenceFault(Fault):
    """A barrier that not all threads of a block reach."""


class Buffer:
    """Memory of its own window of addresses.

    Parameters
    ----------
    nbytes, grain : int
        Its size, and that of its elements, for which it is known whether they are written and who
        touched them.
    space : {"global", "shared", "local"}
    window : int, optional
        Of its address; a new one by default.
    """

    def __init__(self, nbytes: int, grain: int, space: str = "global", window: int | None = None):
        self.nbytes, self.grain, self.space = nbytes, grain, space
        self.window = next(_windows) if window is None else window
        self.base = (self.window << _WINDOW) + _START
        # All ones are NaN: who reads them without the check finds them in the results.
        self.bytes = np.full(-(-nbytes // 8) * 8, 255, np.uint8)
        self.written = np.zeros(-(-nbytes // grain), bool)
        self.views, self.name, self.traced = {}, space, space != "global"
        if self.traced:
            self.trace()

    def view(self, dtype) -> np.ndarray:
        """All of it as numbers of a type."""
        if dtype not in self.views:
            self.views[dtype] = self.bytes.view(dtype)
        return self.views[dtype]

    def trace(self) -> None:
        """Keep from now on who touches what: the last writer, readers by warp and by block."""
        self.traced = True
        if not hasattr(self, "writer"):
            self.readers: dict[int, np.ndarray] = {}
            names = ("writer", "writing_block", "reading_block")
            for name in names:
                setattr(self, name, np.full(self.written.size, -1))

    def readers_of(self, warp: int) -> np.ndarray:
        """By element: the last and the first of a warp's threads that read it lately."""
        if warp not in self.readers:
            self.readers[warp] = np.full((2, self.written.size), -1)
        return self.readers[warp]

    def fill(self, values: np.ndarray) -> None:
        """Put a host array there."""
        self.bytes[: self.nbytes] = np.ascontiguousarray(values).view(np.uint8)
        self.written[:] = True


class Memory:
    """Buffers of a launch, and accesses to them by the threads of one block at a time.

    Parameters
    ----------
    buffers : iterable of Buffer
    initialised : bool
        Whether reads of what was never written are faults.
    """

    _epochs, _stamps = count(1), count(1)

    def __init__(self, buffers, initialised: bool = True):
        self.buffers = {buffer.window: buffer for buffer in buffers}
        self.initialised = initialised
        self.first = next(self._stamps)
        self.block = self.epoch = 0
        self.now = np.zeros(_THREADS, np.int64)  # of every thread, since the last barrier
        self.coming, self.groups = [], np.zeros(_THREADS, np.int64)

    def begin(self) -> None:
        """The next block."""
        self.block = next(self._stamps)
        self.coming = []
        self.groups[:] = 0
        self.barrier()

    def barrier(self) -> None:
        """What comes now is ordered after what came before, within the block."""
        self.epoch = next(self._epochs) * _THREADS
        self.now[:] = self.epoch

    def warp_barrier(self, warp: int) -> None:
        """The same within a warp."""
        self.now[warp * _WARP : (warp + 1) * _WARP] = next(self._epochs) * _THREADS

    # -- addresses -----------------------------------------------------------------------------

    def _find(self, address, lanes, dtype, space):
        """The buffer of all addresses, and the places in it."""
        buffer, width = self.buffers.get(int(address[0]) >> _WINDOW), dtype.itemsize
        offset = address - (buffer.base if buffer is not None else 0)
        outside = buffer is None or offset.view(np.uint64) > buffer.nbytes - width
        if np.count_nonzero(outside) or buffer.space != space:
            place = int(np.argmax(outside)) if buffer is not None else 0
            raise MemoryFault(self._outside(int(address[place]), lanes[place], width, space))
        if np.count_nonzero(offset & (width - 1)):
            place = int(np.argmax(offset & (width - 1)))
            at = hex(int(address[place]))
            raise MemoryFault(f"thread {lanes[place]}: {at} is not a multiple of {width}")
        if width < buffer.grain:
            raise MemoryFault(f"{width} bytes of an element of {buffer.grain} in {buffer.name}")
        return buffer, offset

    def _outside(self, address: int, thread: int, width: int, space: str) -> str:
        near = self.buffers.get(address >> _WINDOW)
        where = "no buffer is near"
        if near is not None:
            where = f"byte {address - near.base} of {near.name}, which has {near.nbytes}"
        return f"thread {thread}: {width} bytes at {hex(address)} in {space} memory: {where}"

    @staticmethod
    def _grains(buffer, offset, dtype):
        """Elements of the buffer under every access."""
        first = offset // buffer.grain
        return [first + k for k in range(dtype.itemsize // buffer.grain)]

    # -- accesses ------------------------------------------------------------------------------

    def load(self, address, lanes, dtype, space):
        """Numbers at addresses, read by the threads ``lanes``."""
        if space != "shared" and not self._in_one_window(address):
            return self._load_apart(address, lanes, dtype, space)
        buffer, offset = self._find(address, lanes, dtype, space)
        for grain in self._grains(buffer, offset, dtype):
            if self.initialised and np.count_nonzero(buffer.written[grain]) < grain.size:
                place = int(np.argmin(buffer.written[grain]))
                text = f"thread {lanes[place]} reads element {grain[place]} of {buffer.name}"
                raise UninitialisedFault(f"{text}, which nothing was written to")
            if buffer.traced:
                self._reads(buffer, grain, lanes)
        return buffer.view(dtype)[offset // dtype.itemsize]

    @staticmethod
    def _in_one_window(address) -> bool:
        return not np.count_nonzero((address ^ address[0]) >> _WINDOW)

    def _load_apart(self, address, lanes, dtype, space):
        """Where threads read different buffers."""
        found, windows = np.empty(address.size, dtype), address >> _WINDOW
        for window in np.unique(windows):
            own = windows == window
            found[own] = self.load(address[own], lanes[own], dtype, space)
        return found

    def store(self, address, lanes, values, space) -> None:
        """Numbers to addresses, by the threads ``lanes``."""
        if space != "shared" and not self._in_one_window(address):
            windows = address >> _WINDOW
            for window in np.unique(windows):
                own = windows == window
                self.store(address[own], lanes[own], values[own], space)
            return
        buffer, offset = self._find(address, lanes, values.dtype, space)
        if not buffer.traced:
            raise MemoryFault(f"a write to {buffer.name}, which no write was expected to reach")
        for grain in self._grains(buffer, offset, values.dtype):
            self._writes(buffer, grain, lanes)
            buffer.written[grain] = True
        buffer.view(values.dtype)[offset // values.dtype.itemsize] = values

    def fetch(self, source, target, lanes, dtype, there=None) -> None:
        """Numbers from global to shared memory; they are there when their threads have waited.

        Zeros for threads that are not ``there``.
        """
        values = np.zeros(lanes.size, dtype)
        if there is None:
            there = np.ones(lanes.size, bool)
        if there.any():
            values[there] = self.load(source[there], lanes[there], dtype, "global")
        self.coming.append((target, lanes, values, self.groups[lanes]))

    def commit(self, lanes) -> None:
        """What the threads ``lanes`` fetch from now on is another group."""
        self.groups[lanes] += 1

    def wait(self, lanes, but: int | None = None) -> None:
        """What the threads ``lanes`` have fetched is there, or all ``but`` the last groups."""
        left, last = [], np.full(_THREADS, -1)
        last[lanes] = _THREADS**2 if but is None else self.groups[lanes] - but - 1
        for target, own, values, group in self.coming:
            here = group <= last[own]
            if here.any():
                self.store(target[here], own[here], values[here], "shared")
            if not here.all():
                left.append((target[~here], own[~here], values[~here], group[~here]))
        self.coming = left

    # -- races ---------------------------------------------------------------------------------

    def _unordered(self, key, lanes):
        """Accesses of other threads that no barrier has ordered before those of ``lanes``."""
        other = key % _THREADS
        ordered = (other // _WARP == lanes // _WARP) & (key < self.now[lanes])
        return (key >= self.epoch) & (other != lanes) & ~ordered

    def _reads(self, buffer, grain, lanes) -> None:
        last = buffer.writer[grain]
        bad = self._unordered(last, lanes)
        if np.count_nonzero(bad):
            self._race(buffer, grain, lanes, bad, last, "reads", "wrote")
        ends = np.flatnonzero(np.diff(lanes // _WARP)) + 1
        for own, place in zip(np.split(lanes, ends), np.split(grain, ends)):
            last_reader, first_reader = buffer.readers_of(int(own[0]) // _WARP)
            now = self.now[own]
            np.maximum.at(last_reader, place, now + own)
            np.maximum.at(first_reader, place, now + _THREADS - 1 - own)
        if buffer.space == "global":
            self._other_block(buffer, grain, lanes, buffer.writing_block, "reads", "wrote")
            first = buffer.reading_block[grain]
            buffer.reading_block[grain] = np.where(first < self.first, self.block, first)

    def _writes(self, buffer, grain, lanes) -> None:
        key, last = self.now[lanes] + lanes, buffer.writer[grain]
        bad = self._unordered(last, lanes)
        buffer.writer[grain] = key
        now = buffer.writer[grain]
        if np.count_nonzero(bad) or np.count_nonzero(now != key):
            last = np.where(bad, last, now)
            self._race(buffer, grain, lanes, bad | (now != key), last, "writes", "wrote")
        for last_reader, first_reader in buffer.readers.values():
            high, low = last_reader[grain], first_reader[grain]
            low = np.where(low < 0, low, low + _THREADS - 1 - 2 * (low % _THREADS))
            for reader in (high, low):
                bad = self._unordered(reader, lanes)
                if np.count_nonzero(bad):
                    self._race(buffer, grain, lanes, bad, reader, "writes", "read")
        if buffer.space == "global":
            self._other_block(buffer, grain, lanes, buffer.writing_block, "writes", "wrote")
            self._other_block(buffer, grain, lanes, buffer.reading_block, "writes", "read")
            buffer.writing_block[grain] = self.block

    def _race(self, buffer, grain, lanes, bad, last, does, did) -> None:
        place = int(np.argmax(bad))
        other = int(last[place]) % _THREADS
        text = f"thread {lanes[place]} {does} element {grain[place]} of {buffer.name}"
        raise RaceFault(f"{text}, which thread {other} {did} since the last barrier")

    def _other_block(self, buffer, grain, lanes, blocks, does, did) -> None:
        last = blocks[grain]
        bad = (last >= self.first) & (last != self.block)
        if np.count_nonzero(bad):
            place = int(np.argmax(bad))
            text = f"thread {lanes[place]} {does} element {grain[place]} of {buffer.name}"
            other = int(last[place]) - self.first - 1
            raise RaceFault(f"{text}, which block {other} {did} in the same launch")
