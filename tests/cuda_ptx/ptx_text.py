"""The text of a kernel in PTX, taken apart: parameters, memory, registers, instructions.

It reads what NVVM writes for one entry; a line that it does not know is an error.  Functions are
left out: a call is one instruction, which nothing knows how to run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Entry", "Instruction", "PtxError", "parse"]

_WIDTHS = {"8": 1, "16": 2, "32": 4, "64": 8}
_IGNORED = (
    ".version",
    ".target",
    ".address_size",
    ".pragma",
    ".maxntid",
    ".minnctapersm",
    ".common",
)
_MEMORY = re.compile(
    r"(?:\.visible |\.extern )*\.(shared|local) \.align (\d+) \.b8 (\S+)\[(\d+)\]$"
)
_TABLE = re.compile(r"\.(?:global|const) \.align (\d+) \.b8 (\S+)\[(\d+)\] = \{([\d, ]+)\}$")
_FUNCTION = re.compile(r"^\.func.*?^[;}]", re.MULTILINE | re.DOTALL)
_CALL = re.compile(r"\{ // callseq.*?call\S*.*?,\s*(\w+).*?\} // callseq[ \d]*", re.DOTALL)
_PARAMETER = re.compile(r"\.param \.([usbf]\d+) (\S+)$")
_REGISTERS = re.compile(r"\.reg \.(\w+) (%[\w$]+?)(?:<\d+>)?$")


class PtxError(ValueError):
    """Text that the machine cannot read, or does not know how to run."""


@dataclass(frozen=True)
class Instruction:
    """One instruction; ``guard`` is the predicate before it, with "!" where it is negated."""

    number: int  # line of the text
    text: str
    opcode: str
    operands: tuple[str, ...]
    guard: str | None = None

    @property
    def parts(self) -> list[str]:
        return self.opcode.split(".")


@dataclass
class Entry:
    """One kernel.

    Attributes
    ----------
    name : str
    parameters : list of (name, type)
        In the order of the call.
    memory : dict
        Name to (space, alignment, bytes) of shared and local memory, and of tables.
    tables : dict
        Name to the bytes of a table in global memory.
    registers : dict
        Name, or name without its number, to the type.
    instructions : list of Instruction
    labels : dict
        Name to the index of the instruction that follows.
    """

    name: str = ""
    parameters: list = field(default_factory=list)
    memory: dict = field(default_factory=dict)
    tables: dict = field(default_factory=dict)
    registers: dict = field(default_factory=dict)
    instructions: list = field(default_factory=list)
    labels: dict = field(default_factory=dict)

    def kind(self, register: str) -> str:
        """Type of a register."""
        found = self.registers.get(register) or self.registers.get(register.rstrip("0123456789"))
        if found is None:
            raise PtxError(f"register {register} is not declared")
        return found

    def declare(self, kind: str, name: str) -> None:
        if self.registers.setdefault(name, kind) != kind:
            raise PtxError(f"register {name} is of two types")


def parse(text: str) -> Entry:
    """Take the text of one kernel apart.

    Parameters
    ----------
    text : str
        PTX with one entry.

    Raises
    ------
    PtxError
        Where a line is not understood, or there is no entry or more than one.
    """
    entry = Entry()
    text = _FUNCTION.sub(lambda m: "\n" * m[0].count("\n"), text)
    text = _CALL.sub(lambda m: f"call {m[1]};" + "\n" * m[0].count("\n"), text)
    for number, line in enumerate(text.splitlines(), 1):
        for statement in _statements(line):
            try:
                _take(entry, statement, number)
            except PtxError as error:
                raise PtxError(f"line {number}: {line.strip()}: {error}") from None
    if not entry.name:
        raise PtxError("there is no entry")
    return entry


def _statements(line: str) -> list[str]:
    """Statements of a line, in one form: single spaces, no semicolon; braces of scopes left out."""
    line = " ".join(line.split("//")[0].split())
    found = []
    for statement in line.split(";"):
        statement = statement.strip()
        if statement.startswith("{"):  # a scope; operands with braces never come first
            statement = statement[1:].strip()
        if statement not in ("", "}", ")", "("):
            found.append(statement)
    return found


def _take(entry: Entry, statement: str, number: int) -> None:
    """One statement into the entry."""
    if statement.startswith(_IGNORED):
        return
    if statement.startswith(".visible .entry"):
        if entry.name:
            raise PtxError("a second entry")
        entry.name = statement.split()[2].split("(")[0]
    elif match := _PARAMETER.match(statement.rstrip(",")):
        entry.parameters.append((match[2], match[1]))
    elif match := _MEMORY.match(statement):
        entry.memory[match[3]] = (match[1], int(match[2]), int(match[4]))
    elif match := _TABLE.match(statement):
        entry.memory[match[2]] = ("global", int(match[1]), int(match[3]))
        entry.tables[match[2]] = bytes(map(int, match[4].split(",")))
    elif match := _REGISTERS.match(statement):
        entry.declare(match[1], match[2])
    elif statement.endswith(":"):
        entry.labels[statement[:-1]] = len(entry.instructions)
    elif statement[0] in "@" or statement[0].isalpha():
        entry.instructions.append(_instruction(statement, number))
    else:
        raise PtxError("a statement that is not known")


def _instruction(text: str, number: int) -> Instruction:
    guard, rest = None, text
    if text.startswith("@"):
        guard, rest = text[1:].split(" ", 1)
    opcode, _, operands = rest.partition(" ")
    return Instruction(number, text, opcode, tuple(_operands(operands)), guard)


def _operands(text: str) -> list[str]:
    """Operands between commas that are not in braces."""
    pieces = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*", text)
    return [piece.strip() for piece in pieces]


def width_of(kind: str) -> int:
    """Bytes of a type."""
    return _WIDTHS[kind[1:]]
