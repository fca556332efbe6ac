"""``pwgf-sym cache``: what the cache folder holds, and how to make it smaller.

Only files are touched that the package has written, which their names tell; links are not followed.
"""

from __future__ import annotations

import math
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import CacheError, OptionError
from ..files import VARIABLE, cache_folder, exposed
from ..targets.key import NAME
from ..targets.machine_code import FOLDER

__all__ = ["Kept", "add_cache", "clean", "kept", "limit", "report"]

_STEM = r"(?P<stem>\w+_d\d+_float(?:32|64)_[0-9a-f]{16}|waiting)"
_LEFT = r"\.[0-9a-f]{16}\.tmp"  # of a process that was killed
# Names by folder; the last is where earlier versions had Python and Numba keep machine code.
_NAMES = {
    ".": re.compile(rf"{_STEM}\.py|sobol_\d+_\d+_\d+_scipy[\w.+]+\.npy|{re.escape(NAME)}|{_LEFT}"),
    FOLDER: re.compile(rf"{_STEM}\.\w+-\d+\.py\d+(?:\.[0-9a-f]{{16}}\.nbc|\.nbi)|{_LEFT}"),
    "__pycache__": re.compile(rf"{_STEM}\.(?:[\w.]+-\d+\.py\w+(?:\.nbi|\.\d+\.nbc)|[\w-]+\.pyc)"),
}
_KEY = "key of machine code"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_DAY = 86400.0


@dataclass
class Kept:
    """Files that belong together: a module and its machine code, or stored points.

    Attributes
    ----------
    name : str
    files : list of path
    size : int
        Bytes.
    used : float
        Time when the youngest file was written, or a module was last loaded.
    """

    name: str
    files: list[Path]
    size: int = 0
    used: float = 0.0

    @property
    def age(self) -> float:
        """Days since it was used."""
        return max(time.time() - self.used, 0.0) / _DAY


def kept(folder: Path | None = None) -> list[Kept]:
    """What the cache folder holds, what was used last first.

    Raises
    ------
    CacheError
        When the folder cannot be read, or there is no home folder.
    """
    folder, found = folder or cache_folder(), {}
    for inside, names in _NAMES.items():
        try:
            with os.scandir(folder / inside) as entries:
                own = [e for e in entries if names.fullmatch(e.name) and _is_file(e)]
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _refused(folder, error) from error
        if inside != "." and (folder / inside).is_symlink():
            continue
        for entry in own:
            name = names.fullmatch(entry.name)["stem"] or _name(entry.name)
            group = found.setdefault(name, Kept(name, []))
            with suppress(FileNotFoundError):  # another process was first
                status = entry.stat(follow_symlinks=False)
                group.files.append(Path(entry.path))
                group.size += status.st_size
                group.used = max(group.used, status.st_mtime)
    if _KEY in found:  # without it machine code is worth nothing: it goes last
        found[_KEY].used = max(group.used for group in found.values())
    return sorted(found.values(), key=lambda group: (-group.used, group.name != _KEY))


def _name(file: str) -> str:
    """What a file is that belongs to no module."""
    if file == NAME:
        return _KEY
    return "points" if file.startswith("sobol") else "left half written"


def _is_file(entry: os.DirEntry) -> bool:
    with suppress(OSError):
        return entry.is_file(follow_symlinks=False)
    return False


def _refused(folder: Path, error: OSError) -> CacheError:
    fix = f"Set {VARIABLE} to another one."
    return CacheError("cache folder", f"{folder} ({error})", "a folder of your own", fix)


def _remove(groups: list[Kept], folder: Path | None) -> tuple[int, int]:
    """Remove files; how many, and their bytes."""
    folder = folder or cache_folder()
    for group in groups:
        for path in group.files:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _refused(folder, error) from error
    for inside in (FOLDER, "__pycache__"):
        with suppress(OSError):  # not there, or not empty
            (folder / inside).rmdir()
    return sum(len(group.files) for group in groups), sum(group.size for group in groups)


def clean(days: float = 0.0, folder: Path | None = None) -> tuple[int, int]:
    """Remove what was not used for so many days, all by default.

    Returns
    -------
    files, size : int
        How many files were removed, and their bytes.

    Raises
    ------
    CacheError
        When the folder cannot be read or written.
    """
    return _remove([group for group in kept(folder) if days == 0 or group.age > days], folder)


def limit(size: int, folder: Path | None = None) -> tuple[int, int]:
    """Remove what was not used for longest, until no more than so many bytes are left.

    Returns and raises as :func:`clean`.
    """
    groups, total, out = kept(folder), 0, []
    for group in groups:
        total += group.size
        if total > size:
            out.append(group)
    return _remove(out, folder)


def report(folder: Path | None = None) -> str:
    """A line for each module: files, bytes, days since it was used."""
    folder = folder or cache_folder()
    groups = kept(folder)
    wide = max([len(group.name) for group in groups] + [6])
    lines = [f"cache folder {folder}"]
    reason = exposed(folder) if folder.exists() else ""
    if reason:
        lines.append(f"It is not used: {reason}.")
    lines.append(f"{'module':<{wide}}  files        bytes  days")
    lines += [f"{g.name:<{wide}}  {len(g.files):5}  {g.size:11,}  {g.age:4.0f}" for g in groups]
    files, size = sum(len(g.files) for g in groups), sum(g.size for g in groups)
    return "\n".join([*lines, f"{'in all':<{wide}}  {files:5}  {size:11,}"])


# -- the command -----------------------------------------------------------------------------


def add_cache(commands) -> None:
    """Add the subcommand ``cache``."""
    parser = commands.add_parser("cache", help="list, clean or limit what is kept on disk")
    actions = parser.add_subparsers(dest="action", required=True)
    listed = actions.add_parser("list", help="files, bytes and days since use, by module")
    cleaned = actions.add_parser("clean", help="remove all, or what is older")
    cleaned.add_argument("--older", default="0", metavar="DAYS", help="not used for so many days")
    limited = actions.add_parser("limit", help="remove what was not used for longest")
    limited.add_argument("bytes", help="what is left at most, such as 200000000 or 200M")
    for action, run in ((listed, _list), (cleaned, _clean), (limited, _limit)):
        action.add_argument("--folder", help="that of compile(..., folder=...), in its place")
        action.set_defaults(run=run)


def _folder(given) -> Path | None:
    if given.folder is None:
        return None
    folder = Path(given.folder)
    if not folder.is_dir():
        raise OptionError("--folder", repr(given.folder), "a folder")
    return folder


def _list(given) -> None:
    print(report(_folder(given)))


def _clean(given) -> None:
    try:
        days = float(given.older)
    except ValueError:
        days = math.nan
    if not 0 <= days < math.inf:
        raise OptionError("--older", repr(given.older), "a number of days, at least 0")
    _say(clean(days, _folder(given)))


def _limit(given) -> None:
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?) ?([kmgt]?)b?", given.bytes.lower())
    if not found:
        raise OptionError(
            "bytes", repr(given.bytes), "a number of bytes, such as 200000000 or 200M"
        )
    _say(limit(int(float(found[1]) * _UNITS[found[2]]), _folder(given)))


def _say(removed: tuple[int, int]) -> None:
    print(f"removed {removed[0]} files, {removed[1]:,} bytes")
