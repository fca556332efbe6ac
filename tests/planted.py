"""Files as a stranger would plant them: their payload leaves a mark where it runs."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import sympy as sp

import pwgf_sym as ps
from pwgf_sym import files
from pwgf_sym.targets import machine_code
from pwgf_sym.targets.key import NAME, seal_of

__all__ = ["STRANGER", "Cache", "Payload", "as_index"]

STRANGER = 54321


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def as_index(entries: dict[str, str], key: bytes) -> bytes:
    """An index of machine code, sealed with a key."""
    lines = [machine_code._FIRST, *(f"{one} {other}" for one, other in entries.items())]
    text = "\n".join(lines)
    return f"{text}\n{seal_of(key, text.encode())}\n".encode()


class Cache:
    """A cache folder with a small program in it, and what a stranger can do there.

    Attributes
    ----------
    folder, mark : path
        The cache folder, and the file that payloads touch.
    path : path
        The generated module.
    """

    def __init__(self, folder: Path, mark: Path):
        self.folder, self.mark = folder, mark
        x = ps.coordinates(1)
        rho = ps.Density(x)
        energy = ps.integral((x[0] - sp.Rational(3, 11)) ** 2 * rho, x)
        self.problem = ps.GradientFlow(energy, rho, initial=ps.Gaussian([0.5], 2.0))
        self.flow, self.given = ps.Affine(1), None
        self.program = ps.compile(self.problem, self.flow, folder=folder)
        self.path = self.program.path

    def run(self) -> np.ndarray:
        """Numbers from kernels, as in a process that has not seen the module."""
        sys.modules.pop(f"pwgf_sym_generated.{self.path.stem}", None)
        files._said.clear()
        program = ps.compile(self.problem, self.flow, folder=self.given)
        samples = program.samples(np.array([[0.25], [-1.0], [3.0]]))
        state = program.push(np.array([2.0, 0.5]), samples)
        values = program.unpack(np.asarray(state.x), samples)
        self.program = program
        return np.append(values.ravel(), program.integrals(state))

    @property
    def code(self) -> Path:
        return self.folder / machine_code.FOLDER

    def files(self, suffix: str) -> list[Path]:
        return sorted(self.code.glob(f"*{suffix}"))

    @property
    def pickled(self) -> bytes:
        return pickle.dumps(Payload(self.mark))

    @property
    def key(self) -> bytes:
        """The user's, which no stranger has."""
        return (self.folder / NAME).read_bytes()

    def plant_code(self, key: bytes | None = None) -> list[Path]:
        """Payloads in place of all machine code, sealed with the user's key or another."""
        found, key = [], key or self.key
        for index in self.files(".nbi"):
            checksum = f"{seal_of(key, self.pickled)}-{len(self.pickled)}"
            entries = dict(line.split() for line in index.read_text().split("\n")[1:-2])
            index.write_bytes(as_index(dict.fromkeys(entries, checksum), key))
            data = index.with_name(f"{index.name[:-4]}.{checksum[:16]}.nbc")
            data.write_bytes(self.pickled)
            found += [index, data]
        assert found
        return found

    def give_away(self, *paths: Path) -> None:
        """Make files a stranger's."""
        for path in paths:
            os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
