"""A request of the system to end (SIGTERM) ends a run as Ctrl-C does, so that nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "termination_interrupts"]


class Terminated(KeyboardInterrupt):
    """The process was asked to end while a flow ran."""


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """While inside, SIGTERM raises :class:`Terminated` in the main thread.

    A handler that the program has set is called first, and is put back at the end.  Where the
    signal is ignored, or the code runs in another thread, nothing is changed.
    """
    previous = signal.getsignal(signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    if not main or previous is None or previous == signal.SIG_IGN:
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        if callable(previous):
            previous(number, frame)
        raise Terminated("asked to end by SIGTERM")

    signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        # Who set another handler meanwhile, a callback say, keeps it.
        if signal.getsignal(signal.SIGTERM) is handler:
            signal.signal(signal.SIGTERM, previous)
