"""Runs a kernel's PTX on NumPy arrays: a block at a time, an entry of the arrays a thread.

All threads that stand at one place go on together, those at the least place first, so that they
meet again where branches end.  A barrier is passed when all threads of the block wait at it, or of
the warp.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import product

import numpy as np
from ptx_arithmetic import DTYPES, operation
from ptx_block import Block
from ptx_memory import Buffer, Fault, Memory
from ptx_steps import (
    aligned,
    calculation,
    commit,
    constant,
    fetch,
    join,
    load,
    not_run,
    one_by_one,
    seen_as,
    split,
    store,
    stride,
    wait,
)
from ptx_text import Entry, Instruction, PtxError, parse, width_of

__all__ = ["Kernel"]

_SPECIAL = re.compile(r"%(tid|ntid|ctaid|nctaid)\.([xyz])$")
_REGISTER = re.compile(r"%\w+")
_ADDRESS = re.compile(r"\[([^+\]\s]+)\s*(?:\+\s*(-?\d+))?\]$")
# Slow paths of trigonometric functions, for arguments beyond 1e5: read, but not run.
_NOT_RUN = re.compile(r"call$|(mad|madc|add|addc|sub|subc)\.(.*\.)?cc\.|(madc|addc|subc)\.")
_BRANCHES = ("bra", "ret", "exit", "bar")
_POISON = {"f": np.nan, "i": -0x2152411021524111, "u": 0xDEADBEEFDEADBEEF, "b": True}


class Kernel:
    """A kernel that is read once and run at many launches with blocks of one size.

    Parameters
    ----------
    text : str
        Its PTX.
    threads : int
        Of a block.
    name : str, optional
        What messages call it; the entry's by default.

    Raises
    ------
    PtxError
        Where the text holds what the machine does not know, with the line.
    """

    def __init__(self, text: str, threads: int, name: str | None = None):
        self.entry, self.threads = parse(text), threads
        self.name = name or self.entry.name
        self.slots: dict[str, int] = {}
        self.initial: list[np.ndarray] = []
        self.own = np.arange(threads)
        self.windows = {name: k for k, name in enumerate(self.entry.memory, 1)}
        instructions = self.entry.instructions
        self.mentions = Counter(w for i in instructions for w in _REGISTER.findall(i.text))
        starts = {0, *self.entry.labels.values()}
        starts |= {k + 1 for k, i in enumerate(instructions) if i.parts[0] in _BRANCHES}
        self.starts = sorted(k for k in starts if k < len(instructions))
        number = {start: k for k, start in enumerate(self.starts)}
        self.targets = {label: number.get(k) for label, k in self.entry.labels.items()}
        self.pieces = [self._piece(a, b) for a, b in zip(self.starts, [*self.starts[1:], None])]
        self.written = _written_parameters(self.entry)

    # -- reading -------------------------------------------------------------------------------

    def _piece(self, start: int, end: int | None):
        """Steps of instructions between two places that are branched to, and how they end."""
        own, last = self.entry.instructions[start:end], None
        if own[-1].parts[0] in _BRANCHES:
            last = self._known(self._end, own[-1])
            own = own[:-1]
        return [(self._known(self._step, i), i) for i in own], last, own

    @staticmethod
    def _known(read, instruction: Instruction):
        try:
            return read(instruction)
        except (PtxError, ValueError, KeyError) as error:
            where = f"line {instruction.number}: {instruction.text}"
            raise PtxError(f"{where}: {error}") from None

    def _end(self, instruction: Instruction):
        """A branch, barrier or return: (what, predicate, negated, target)."""
        name, guard = instruction.parts[0], instruction.guard
        if (instruction.opcode, instruction.operands) == ("bar.warp.sync", ("-1",)):
            name = "warp"
        elif name == "bar" and (instruction.opcode, instruction.operands) != ("bar.sync", ("0",)):
            raise PtxError("a barrier of another kind")
        if guard is not None and name != "bra":
            raise PtxError("only branches depend on a predicate")
        target = self.targets[instruction.operands[0]] if name == "bra" else None
        if guard is None:
            return name, None, False, target
        return name, self._slot(guard.lstrip("!")), guard.startswith("!"), target

    def _slot(self, name: str, value=None) -> int:
        """Place of a register, parameter or constant among the values of a block."""
        if name not in self.slots:
            if value is None:
                dtype = DTYPES[self.entry.kind(name)]
                value = np.array(_POISON[dtype.kind]).astype(dtype)
            self.slots[name] = len(self.initial)
            self.initial.append(np.broadcast_to(value, self.threads).copy())
        return self.slots[name]

    def _source(self, text: str, kind: str):
        """The slot of an operand, and the type as which it is read where that is another."""
        dtype = DTYPES[kind]
        if text in self.windows:
            return self._slot(text, self._addresses(text)), None
        if _SPECIAL.match(text):
            return self._slot(text, np.zeros(self.threads, np.int32)), seen_as(np.int32, dtype)
        if text.startswith("%"):
            return self._slot(text), seen_as(DTYPES[self.entry.kind(text)], dtype)
        return self._slot(f"{kind} {text}", constant(text, dtype)), None

    def _addresses(self, name: str) -> np.ndarray:
        """Of shared memory, or of every thread's own."""
        space, _, size = self.entry.memory[name]
        base = np.int64(Buffer(0, 1, space, self.windows[name]).base)
        return base + (self.own * stride(size) if space == "local" else 0 * self.own)

    def _step(self, instruction: Instruction):
        if instruction.guard is not None:
            raise PtxError("only branches depend on a predicate")
        name, operands = instruction.parts[0], instruction.operands
        if _NOT_RUN.match(instruction.opcode):
            return not_run(instruction)
        if name in ("ld", "st"):
            return self._access(instruction)
        if name == "cp":
            return self._fetch(instruction)
        if name == "mov":
            return self._move(instruction)
        if name == "cvta":
            return self._set(operands[0], *self._source(operands[1], "b64"))
        function, kinds, result = operation(instruction.opcode, len(operands))
        if len(kinds) != len(operands) - 1:
            raise PtxError(f"{len(operands) - 1} operands, not {len(kinds)}")
        target = self._slot(operands[0])
        as_type = seen_as(DTYPES[result], DTYPES[self.entry.kind(operands[0])])
        sources = [self._source(o, k) for o, k in zip(operands[1:], kinds)]
        return calculation(function, target, as_type, sources)

    def _move(self, instruction: Instruction):
        """Also between one wide register and two narrow ones."""
        to, source = instruction.operands
        kind = instruction.parts[1]
        if to.startswith("{"):
            parts = to[1:-1].replace(",", " ").split()
            wide, _ = self._source(source, kind)
            narrow = DTYPES[self.entry.kind(parts[0])]
            return split([self._slot(p) for p in parts], wide, narrow)
        if source.startswith("{"):
            parts = [self._slot(p) for p in source[1:-1].replace(",", " ").split()]
            return join(self._slot(to), parts, DTYPES[self.entry.kind(to)])
        return self._set(to, *self._source(source, kind))

    def _set(self, to: str, source: int, as_type):
        target = self._slot(to)
        held, own = self.initial[source].dtype, DTYPES[self.entry.kind(to)]
        as_type = own if held != own else None
        return calculation(lambda a: a, target, None, [(source, as_type)])

    def _access(self, instruction: Instruction):
        """A load or a store of one number, or of a few that stand side by side."""
        name, space, *more, kind = instruction.parts
        to, place = instruction.operands[:: 1 if name == "ld" else -1]
        base, offset = _ADDRESS.match(place).groups()
        if space == "param" and not more:
            return self._parameter(to, base, offset, kind)
        more = [m for m in more if m != "nc"]
        registers = to.strip("{}").replace(",", " ").split()
        if (
            space not in ("global", "shared", "local")
            or more != [f"v{len(registers)}"][: len(more)]
        ):
            raise PtxError("an access of another kind")
        address, width = self._source(base, "b64")[0], width_of(kind)
        steps = [] if not more else [aligned(address, int(offset or 0), width * len(registers))]
        for k, own in enumerate(registers):
            if more and name == "ld" and self.mentions[own] == 1:
                continue  # of numbers read together NVVM leaves some alone
            register = self.entry.kind(own) if own.startswith("%") else kind
            if width != width_of(register):
                raise PtxError(f"{kind} and a register of {register}")
            made = load if name == "ld" else store
            value = self._slot(own) if name == "ld" else self._source(own, kind)[0]
            steps.append(
                made(value, address, int(offset or 0) + k * width, DTYPES[register], space)
            )
        return steps[0] if len(steps) == 1 else one_by_one(steps)

    def _fetch(self, instruction: Instruction):
        """A copy to shared memory that nobody waits for at once, or the wait for such."""
        name, operands = instruction.opcode.removeprefix("cp.async."), instruction.operands
        if name in ("wait_all", "wait_group"):
            return wait(int(operands[0]) if operands else None)
        if name == "commit_group":
            return commit
        *places, width = operands[:3]
        if name != "ca.shared.global" or int(width) not in (4, 8, 16):
            raise PtxError("a copy of another kind")
        places, width = [self._source(_ADDRESS.match(p)[1], "b64")[0] for p in places], int(width)
        size = self._source(operands[3], "u32")[0] if len(operands) > 3 else None
        if width < 16:
            return fetch(*places, DTYPES[f"b{8 * width}"], size=size)
        halves = [fetch(*places, DTYPES["b64"], offset, size) for offset in (0, 8)]
        return one_by_one([*(aligned(place, 0, width) for place in places), *halves])

    def _parameter(self, to: str, base: str, offset, kind: str):
        number = [p for p, _ in self.entry.parameters].index(base)
        own = self.entry.parameters[number][1]
        if offset or width_of(kind) != width_of(own):
            raise PtxError("part of a parameter")
        return self._set(to, self._slot(f"parameter {number}", DTYPES[own].type(0)), None)

    # -- running -------------------------------------------------------------------------------

    def launch(self, grid, arguments, initialised: bool = True) -> int:
        """Run all blocks, one after the other; gives the number of instructions that were run.

        Parameters
        ----------
        grid : tuple of int
            Blocks in x, y, z.
        arguments : list
            A value, or a pair of a value and the :class:`Buffer` it is the address of, for every
            parameter.
        initialised : bool
            Whether reads of what was never written are faults.

        Raises
        ------
        Fault
            At the first thing that the kernel must not do.
        """
        if len(arguments) != len(self.entry.parameters):
            expected = len(self.entry.parameters)
            raise PtxError(f"{len(arguments)} arguments for {expected} parameters")
        buffers, values = [], list(self.initial)
        for number, value in enumerate(arguments):
            if isinstance(value, tuple):
                value, buffer = value
                buffer.name = f"argument {number}"
                buffers.append(buffer)
                buffer.traced = buffer.traced and buffer in buffers[:-1]
                if number in self.written:
                    buffer.trace()
            slot = self.slots.get(f"parameter {number}")
            if slot is not None:
                values[slot] = np.full(self.threads, value).astype(self.initial[slot].dtype)
        memory, done = Memory([*buffers, *self._tables()], initialised), 0
        with np.errstate(all="ignore"):
            for z, y, x in product(*map(range, reversed(grid))):
                done += self._block((x, y, z), grid, list(values), memory)
        return done

    def _tables(self):
        for name, values in self.entry.tables.items():
            table = Buffer(len(values), 1, "global", self.windows[name])
            table.fill(np.frombuffer(values, np.uint8))
            table.name = name
            yield table

    def _block(self, place, grid, values, memory: Memory) -> int:
        memory.begin()
        for name, (space, align, size) in self.entry.memory.items():
            if space == "global":
                continue
            whole = stride(size) * self.threads if space == "local" else size
            grain = align if align <= 8 else 4  # a boundary for wide reads
            buffer = Buffer(whole, grain, space, self.windows[name])
            buffer.name = name
            memory.buffers[buffer.window] = buffer
        block = (self.threads, 1, 1)
        for name, slot in self.slots.items():
            if special := _SPECIAL.match(name):
                axis = "xyz".index(special[2])
                of = {"ntid": block, "ctaid": place, "nctaid": grid}
                tid = self.own if axis == 0 else 0 * self.own
                number = tid if special[1] == "tid" else of[special[1]][axis]
                values[slot] = np.full(self.threads, number, np.int32)
        try:
            return Block(self, values, memory).run()
        except Fault as fault:
            raise type(fault)(f"{self.name}, block {place}: {fault}") from None


def _written_parameters(entry: Entry) -> set[int]:
    """Numbers of the parameters from which addresses of stores to global memory are computed."""
    names = {name: number for number, (name, _) in enumerate(entry.parameters)}
    origin: dict[str, set] = {}
    stores = set()
    for instruction in entry.instructions:
        words = re.findall(r"%[\w.]+|[\w$]+_param_\d+", " ".join(instruction.operands[1:]))
        first = instruction.operands[0] if instruction.operands else ""
        if instruction.opcode.startswith("st.global"):
            stores.add(_ADDRESS.match(first)[1])
        elif instruction.opcode.startswith("ld.param") or instruction.parts[0] not in ("ld", "st"):
            origin.setdefault(first, set()).update(words)
    seen, left = set(), list(stores)
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += origin.get(name, ())
    return {names[name] for name in seen if name in names}
