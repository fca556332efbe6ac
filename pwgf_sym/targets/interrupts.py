"""Ctrl-C while Numba compiles, but not between LLVM and llvmlite.

llvmlite notes that LLVM has taken a module over after the call that hands it over.  An interruption
between the two frees the module twice, and Python crashes: 4 of 1,200 interruptions did.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["LaterSignals"]


class LaterSignals:
    """Signals that end work wait while llvmlite runs.

    Parameters
    ----------
    keep : callable
        Takes what is to be called when llvmlite has ended, and says whether it will be.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, keep: Callable[[Callable[[], None]], bool]):
        self._keep, self._before = keep, {}

    def begin(self) -> None:
        """From now on; nothing in a thread other than the main one, which gets no signals."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self.SIGNALS:
            before = signal.getsignal(number)
            if callable(before) and before != self._handle:
                self._before[number] = before
                signal.signal(number, self._handle)

    def end(self) -> None:
        """Put back the handlers that nobody has replaced meanwhile."""
        if threading.current_thread() is not threading.main_thread():
            return  # ours do what those before them did: the main thread will put them back
        for number, before in list(self._before.items()):
            if signal.getsignal(number) == self._handle:
                signal.signal(number, before)
            self._before.pop(number, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        before = self._before.get(number, signal.default_int_handler)
        if not (_in_llvmlite(frame) and self._keep(lambda: before(number, None))):
            before(number, frame)


def _in_llvmlite(frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == "llvmlite":
            return True
        frame = frame.f_back
    return False
