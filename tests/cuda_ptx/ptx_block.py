"""A block that runs: threads that stand at one place go on together, least place first."""

from __future__ import annotations

import numpy as np
from ptx_memory import DivergenceFault, Fault, Memory
from ptx_text import PtxError

__all__ = ["Block"]

_WARP = 32
_LIMIT = 30_000_000  # instructions of a block: more is an endless loop at the sizes of tests


class Block:
    """A block that runs: its values, and which threads stand where."""

    def __init__(self, kernel, values, memory: Memory):
        self.kernel, self.values, self.memory = kernel, values, memory
        everybody = np.ones(kernel.threads, bool)
        self.ready, self.waiting, self.warps = {0: everybody}, {}, {}
        self.gone = ~everybody

    def run(self) -> int:
        """To the end of all threads."""
        done, pieces, whole = 0, self.kernel.pieces, self.kernel.own
        while self.ready or self.waiting or self.warps:
            if not self.ready:
                self._pass_barrier()
            at = min(self.ready)
            mask = self.ready.pop(at)
            lanes = whole if np.count_nonzero(mask) == whole.size else np.flatnonzero(mask)
            steps, end, _ = pieces[at]
            part = None if lanes is whole else mask
            for step, instruction in steps:
                try:
                    step(self.values, part, lanes, self.memory)
                except Fault as fault:
                    where = f"line {instruction.number}: {instruction.text}"
                    raise type(fault)(f"{where}: {fault}") from None
            done += len(steps) + 1
            if done > _LIMIT:
                raise PtxError(f"more than {_LIMIT} instructions in {self.kernel.name}")
            self._leave(at, mask, end)
        return done

    def _leave(self, at: int, mask, end) -> None:
        """Threads at the end of a piece go where it sends them."""
        what, predicate, negated, target = end or ("next", None, False, None)
        if what == "next":
            self._arrive(self.ready, at + 1, mask)
        elif what in ("ret", "exit"):
            self.gone = self.gone | mask
        elif what == "bar":
            self._arrive(self.waiting, at + 1, mask)
        elif what == "warp":
            self._arrive(self.warps, at + 1, mask)
            self._pass_warps(at + 1)
        elif predicate is None:
            self._arrive(self.ready, target, mask)
        else:
            taken = self.values[predicate]
            taken = mask & (~taken if negated else taken)
            self._arrive(self.ready, target, taken)
            self._arrive(self.ready, at + 1, mask & ~taken)

    def _arrive(self, where: dict, at: int | None, mask) -> None:
        if not np.count_nonzero(mask):
            return
        if at is None or at == len(self.kernel.pieces):
            raise PtxError(f"{self.kernel.name} goes on after its end")
        where[at] = where[at] | mask if at in where else mask

    def _pass_warps(self, at: int) -> None:
        """Warps of which all threads wait at a barrier of theirs go on."""
        mask = self.warps[at]
        for warp, first in enumerate(range(0, mask.size, _WARP)):
            own = slice(first, first + _WARP)
            if mask[own].all():
                self.memory.warp_barrier(warp)
                on = np.zeros(mask.size, bool)
                on[own] = True
                self._arrive(self.ready, at, on)
                mask = mask & ~on
        del self.warps[at]
        self._arrive(self.warps, at, mask)

    def _pass_barrier(self) -> None:
        """Nobody can go on: all threads wait, at one barrier, or something is wrong."""
        (at, mask), *others = [*self.waiting.items(), *self.warps.items()]
        if others or self.warps or np.count_nonzero(self.gone):
            instructions = self.kernel.entry.instructions
            held = {**self.warps, **self.waiting}
            lines = [instructions[self.kernel.starts[k] - 1].number for k in held]
            counts = [int(np.count_nonzero(m)) for m in held.values()]
            gone = int(np.count_nonzero(self.gone))
            text = f"{counts} threads wait at the barriers of lines {lines}, {gone} have returned"
            raise DivergenceFault(text)
        self.waiting = {}
        self.ready[at] = mask
        self.memory.barrier()
