"""The file of a stored solution: a zip archive of plain arrays, one of them a JSON text.

What NumPy's ``savez`` writes, read with suspicion: sizes are checked against the file's own size
before memory is taken, members are neither compressed nor do they overlap, and of the forms that an
array's header may have only the one that is written is read.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import StoredSolutionError
from ..files import write_atomically

__all__ = ["read_archive", "refused", "write_archive"]

_DESCRIPTION = "description"
# Characters of the description: formulas beyond it would take minutes to be built.
_LONGEST_TEXT = 1 << 22
_HEADER = re.compile(
    rb"\{'descr': '([<>|])([fibU])(\d{1,9})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18},? ?)*)\), \} *\n"
)
_MAGIC, _LENGTH = b"\x93NUMPY\x01\x00", 10
_FIX = "Save the solution again, with Solution.save."


def write_archive(
    path: str | Path, description: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    """Write a file whole or not at all.

    Raises
    ------
    OSError
        When it cannot be written.
    StoredSolutionError
        When the description is longer than what is read again.
    """
    text = np.array(json.dumps(description, allow_nan=False))
    if text.dtype.itemsize > 4 * _LONGEST_TEXT:
        given = f"a description of {text.dtype.itemsize // 4} characters"
        fix = "Do not multiply formulas out, and keep large arrays out of maps and laws."
        raise StoredSolutionError(
            "problem and map", given, f"at most {_LONGEST_TEXT} characters", fix
        )
    everything: dict[str, Any] = {_DESCRIPTION: text} | arrays  # savez has options of its own, too
    write_atomically(Path(path), lambda file: np.savez(file, **everything))


def read_archive(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Description and arrays of a file.

    Raises
    ------
    StoredSolutionError
        When it is no archive of plain arrays with a description.
    FileNotFoundError, OSError
        When it is not there, or cannot be read.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise refused(path, "no regular file")
            arrays = _members(file, status.st_size)
    except IsADirectoryError as error:
        raise refused(path, "a folder") from error
    except _BROKEN as error:
        if isinstance(error, StoredSolutionError):
            raise
        given = f"no .npz archive of plain arrays ({str(error)[:80]})"
        raise refused(path, given) from error
    return _description(path, arrays.pop(_DESCRIPTION, None)), arrays


def refused(path: str | Path, given: str, fix: str = "") -> StoredSolutionError:
    """The error for a file that is none of ours."""
    return StoredSolutionError(f"path {str(path)!r}", given, "a file of Solution.save", fix or _FIX)


# What Python's zip reader and the readers below raise for bytes that make no sense.
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError),
    *(RuntimeError, OverflowError, LookupError, TypeError),
)


def _without_waiting(name: str, flags: int) -> int:
    """Open a file; a pipe is not waited for."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _members(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    """All arrays of an archive of so many bytes."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [member.filename.removesuffix(".npy") for member in members]
        if len(set(names)) != len(names):
            raise ValueError("two arrays of one name")
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename[:40]!r} is compressed")
            if not 0 <= member.file_size == member.compress_size <= size - member.header_offset:
                raise ValueError(f"{member.filename[:40]!r} is longer than the file")
            if member.header_offset < 0:
                raise ValueError(f"{member.filename[:40]!r} begins before the file")
        # Members that overlap would take more memory than the file.
        if sum(member.file_size for member in members) > size:
            raise ValueError("arrays are longer than the file")
        data = {name: archive.read(member) for name, member in zip(names, members, strict=True)}
    return {name: _array(name, values) for name, values in data.items()}


def _array(name: str, data: bytes) -> np.ndarray:
    """The array of one member; of its header only the form that NumPy writes is read."""
    start = _LENGTH + int.from_bytes(data[8:_LENGTH], "little")
    found = _HEADER.fullmatch(data[_LENGTH:start])
    if data[:8] != _MAGIC or not found:
        raise ValueError(f"{name[:40]!r} is no array")
    order, kind, width, fortran, lengths = (group.decode() for group in found.groups())
    shape = tuple(int(length) for length in lengths.replace(",", " ").split())
    length = int(width) * (4 if kind == "U" else 1)
    if math.prod(shape) * length != len(data) - start:
        raise ValueError(f"{name[:40]!r} has another size than its shape")
    dtype = np.dtype(f"{order}{kind}{width}")
    if not dtype.itemsize:
        raise ValueError(f"{name[:40]!r} is empty")
    values = np.frombuffer(data, np.uint8 if dtype.kind == "b" else dtype, offset=start)
    if dtype.kind == "b":
        if np.any(values > 1):
            raise ValueError(f"{name[:40]!r} is not made of truth values")
        values = values.view(bool)
    array = values.reshape(shape, order="F" if fortran == "True" else "C")
    return array.astype(dtype.newbyteorder("="))  # a copy, which can be written to


def _description(path: str | Path, array: np.ndarray | None) -> dict[str, Any]:
    """The JSON text."""
    if array is None or array.dtype.kind != "U" or array.shape:
        raise refused(path, "a file without a description of a solution")
    if array.dtype.itemsize > 4 * _LONGEST_TEXT:
        raise refused(path, f"a description of {array.dtype.itemsize // 4} characters")
    try:
        found = json.loads(str(array), parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise refused(path, "a description that is no JSON text") from None
    if not isinstance(found, dict):
        raise refused(path, "a description that is no JSON object")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number without end")
    return value
