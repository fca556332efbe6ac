"""Samples of a law for the solver: quasi-random or independent, and seeds for each purpose."""

from __future__ import annotations

import hashlib
import io
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..arguments import choice, integer, whole_seed
from ..declare.laws import Gaussian, Law
from ..errors import CacheError, OptionError
from ..files import own_folder, read_own, write_atomically
from ..memory import fitting

__all__ = ["draw", "draw_with_tails", "has_tails", "seed_for"]

# Sobol points are multiples of 2^-BITS; with 52 the midpoints k 2^-52 + 2^-53 are exact doubles.
_BITS = 52
# Points that are kept: at most so many numbers a file, and so many files.
_KEPT_NUMBERS, _KEPT_FILES = 1 << 19, 32
_SAMPLINGS = ("sobol", "random")


def draw(
    law: Law,
    n: int,
    *,
    sampling: str = "sobol",
    seed: int | np.random.Generator | None,
    keep: bool = False,
) -> np.ndarray:
    """Draw ``n`` points of a law.

    Parameters
    ----------
    law : Law
        One without ``transform`` is drawn with independent points.
    n : int
        Number of points, at least 1.  Sobol points are best balanced when it is a power of two.
    sampling : {"sobol", "random"}
        Scrambled Sobol points carried to the law, or independent points.
    seed : int, None or numpy.random.Generator
        Non-negative; the same seed gives the same points.  None draws one, and a generator gives
        its next number.
    keep : bool
        Whether Sobol points are kept in the cache folder: importing SciPy's generator takes longer
        than everything else before the first step of a run whose kernels are compiled.

    Returns
    -------
    (n, d) float64 array

    Raises
    ------
    OptionError
        If ``sampling`` is unknown, ``n`` or ``seed`` no integer in range, or the dimension is
        beyond that of the Sobol direction numbers.
    """
    choice("sampling", sampling, _SAMPLINGS)
    n, seed = integer("samples", n, 1), whole_seed("seed", seed)
    fitting("samples", n, 16 * law.dim, "samples", error=OptionError)
    if sampling == "random" or not law.has_transform:
        return law.sample(n, seed)
    return law.transform(_kept_sobol(n, law.dim, seed) if keep else _sobol(n, law.dim, seed))


def has_tails(law: Law) -> bool:
    """Whether :func:`draw_with_tails` knows a wider law."""
    return isinstance(law._source, Gaussian)


def draw_with_tails(
    law: Law, n: int, every: int, *, sampling: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points of a mixture of a Gaussian with a wider one, and the weights that take this back.

    Of a thousand points of a Gaussian a dozen lie beyond three standard deviations, where a least
    squares fit goes astray, and where the flow of a steep potential is fastest.  Weights are
    law/mixture (T. Hesterberg, Technometrics 37 (1995) 185-194): at most every/(every - 1).

    Parameters
    ----------
    law : Gaussian, or one that points of a Gaussian are carried to
    n : int
    every : int
        One point in so many is drawn from the wider law; at least 2.
    sampling, seed
        As of :func:`draw`.

    Returns
    -------
    points : (n, d) array
    weights : (n,) array
        Their sums with a function of the points are means over the law, on average.
    """
    whole, law = law, law._source
    # In many dimensions the radius is concentrated: the wider law must still reach where it is.
    factor = 1.0 + 1.3 / np.sqrt(law.dim)
    wide = Gaussian(law.mean, factor**2 * law.covariance)
    of_tails = np.arange(n) % every == every - 1
    points = np.empty((n, law.dim))
    for part, own, purpose in ((~of_tails, law, "near"), (of_tails, wide, "tails")):
        if part.any():
            own_seed = seed_for(seed, purpose)
            points[part] = draw(own, int(part.sum()), sampling=sampling, seed=own_seed)
    share = of_tails.mean()
    ratio = np.exp(np.minimum(wide.log_density(points) - law.log_density(points), 700.0))
    return whole._from_source(points), 1.0 / ((1.0 - share) + share * ratio) / n


def seed_for(seed: int, purpose: str, step: int = 0) -> int:
    """Derive an independent seed for a purpose ("samples", "defect", ...) and a time step.

    Parameters
    ----------
    seed : int
        Non-negative seed of the whole run.
    purpose : str
        What the numbers are for; different purposes give independent streams.
    step : int
        Non-negative counter within the purpose.

    Returns
    -------
    int
        Between 0 and 2^63 - 1, the same on every machine.

    Raises
    ------
    OptionError
        If ``seed`` or ``step`` is no integer of at least 0, or ``purpose`` is no string.
    """
    seed, step = integer("seed", seed, 0), integer("step", step, 0)
    if not isinstance(purpose, str):
        raise OptionError("purpose", repr(purpose), "a string")
    # A digest of fixed length, and not Python's hash, which differs from one process to the next.
    digest = hashlib.sha256(purpose.encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    state = np.random.SeedSequence(seed, spawn_key=(*words, step)).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def _kept_sobol(n: int, dim: int, seed: int) -> np.ndarray:
    """The same points, from the cache folder if they are there."""
    import scipy

    if n * dim > _KEPT_NUMBERS:
        return _sobol(n, dim, seed)
    name = f"sobol_{dim}_{n}_{seed}_scipy{scipy.__version__}.npy"
    try:
        path = own_folder() / name
        points = _read_points(path, (n, dim))
    except (OSError, ValueError, EOFError):  # no folder that can be written, or no points in it
        points = None
    if points is not None:
        return points
    points = _sobol(n, dim, seed)
    with suppress(OSError, CacheError):  # a folder that cannot be written costs time, nothing else
        content = _content(name, points)
        path = own_folder() / name
        write_atomically(path, lambda file: file.write(content), follow=False, mode=0o600)
        for old in sorted(path.parent.glob("sobol_*.npy"), key=_age)[:-_KEPT_FILES]:
            old.unlink()
    return points


def _content(name: str, points: np.ndarray) -> bytes:
    """Points as NumPy stores them, and a checksum of them and of the name that they go by."""
    buffer = io.BytesIO()
    np.save(buffer, points, allow_pickle=False)
    return buffer.getvalue() + hashlib.sha256(name.encode() + buffer.getvalue()).digest()


def _read_points(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Points from a file; None where it is not what was written under this name."""
    header = 1024  # more than NumPy's header and the checksum take
    data = read_own(path, 8 * shape[0] * shape[1] + header)
    body, checksum = data[:-32], data[-32:]
    if hashlib.sha256(path.name.encode() + body).digest() != checksum:
        return None
    points = np.load(io.BytesIO(body), allow_pickle=False)
    return points if points.shape == shape and points.dtype == np.float64 else None


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process was first
        return 0.0


def _sobol(n: int, dim: int, seed: int) -> np.ndarray:
    """Scrambled Sobol points of the open unit cube, (n, dim)."""
    from scipy.stats import qmc

    if dim > qmc.Sobol.MAXDIM:
        fix = 'Use sampling="random".'
        raise OptionError(
            "sampling", f'"sobol" in dimension {dim}', f"at most {qmc.Sobol.MAXDIM}", fix
        )
    engine = qmc.Sobol(dim, scramble=True, bits=_BITS, rng=np.random.default_rng(seed))
    with warnings.catch_warnings():
        # Any prefix of the sequence has low discrepancy and unbiased points; only the perfect
        # balance of a full net is lost.  The number of samples is the user's choice.
        warnings.filterwarnings("ignore", message="The balance properties of Sobol")
        points = engine.random(n)
    # Points are left ends of cells and may be 0; cell midpoints are never 0 or 1, and exact.
    points += 2.0 ** -(_BITS + 1)
    return points
