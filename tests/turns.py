"""Threads of Numba's simulator take turns: each runs to its next barrier, then another one does.

Numba's own run at the same time and are watched by a thread that never sleeps, and all of them want
the interpreter: most of the time goes into that.  Here one runs at a time.  In what order is drawn
anew between any two barriers, from one seed, so that a barrier that is missing shows.
"""

import random
import threading
from functools import partial

import numpy as np

from pwgf_sym.runtime.cuda.toolkit import part

kernel = part("simulator.kernel")
NUMBAS = kernel.BlockManager


class TurnThread(kernel.BlockThread):
    """A thread that waits for its turn."""

    def __init__(self, *given):
        super().__init__(*given)
        self.turn, self.ended = threading.Semaphore(0), False

    def run(self):
        self.turn.acquire()
        if not self.abort:
            super().run()
        self.ended = True
        self._manager.back.release()

    def syncthreads(self):
        self._manager.back.release()
        self.turn.acquire()
        if self.abort:
            raise RuntimeError("another thread of the block has failed")


class TurnManager(NUMBAS):
    """Runs a block; who fails ends all others, and who has ended is not waited for."""

    order = random.Random(0)

    def run(self, grid_point, *given):
        self.back, failure = threading.Semaphore(0), None
        function, places = partial(self._f, *given), np.ndindex(*self._block_dim)
        live = [TurnThread(function, self, grid_point, place, self._debug) for place in places]
        for thread in live:
            thread.start()
        while live:
            self.order.shuffle(live)
            for thread in live:
                thread.abort = failure is not None
                thread.turn.release()
                self.back.acquire()
                failure = failure or thread.exception
            live = [thread for thread in live if not thread.ended]
        if failure:
            raise failure[0].with_traceback(failure[1])


def take_turns() -> None:
    """From now on."""
    kernel.BlockManager = TurnManager
