"""NumPy stand-in of the tile runtime: generated modules run as plain Python, without a compiler.

Slow, but no configuration costs compile time, and it is stricter than the machine: reads and
writes outside an array fail, and :func:`aligned` fills its arrays with NaN, so that a value that
is read before it is written comes out.
"""

import functools
import importlib.util
import re
import sys

import numpy as np
import scipy.special

from pwgf_sym.targets.program import compile_program


def njit(**options):
    """Instead of Numba's: the function itself, silent about numbers that masks take out."""

    def decorate(function):
        @functools.wraps(function)
        def silent(*args):
            with np.errstate(all="ignore"):
                return function(*args)

        return silent

    return decorate


def _entries(buffer, offset, stride, rows, lanes):
    found = offset + stride * np.arange(rows)[:, None] + np.arange(lanes)
    if found.min() < 0 or found.max() >= buffer.size:
        raise IndexError(f"entries {found.min()}..{found.max()} of an array of {buffer.size}")
    return found


def load(buffer, offset, stride, rows, lanes):
    return buffer[_entries(buffer, offset, stride, rows, lanes)]


def store(buffer, offset, stride, tile):
    assert tile.dtype == buffer.dtype, (tile.dtype, buffer.dtype)
    buffer[_entries(buffer, offset, stride, *tile.shape)] = tile


def zeros(like, rows, lanes):
    return np.zeros((rows, lanes), like.dtype)


def aligned(like, count):
    return np.full(count, np.nan, like.dtype)


def lane_index(like, start, lanes):
    return (start + np.arange(lanes, dtype=like.dtype))[None]


def spread(tile, lanes):
    assert tile.shape[1] in (1, lanes)
    return np.broadcast_to(tile, (len(tile), lanes)).copy()


def unit(like, k, rows):
    return (np.arange(rows) == k).astype(like.dtype)[:, None]


def fma(a, b, c):
    assert c.shape == np.broadcast_shapes(a.shape, b.shape, c.shape)
    return a * b + c


def outer(accumulated, a, b):
    products = a[:, None, :] * b[None, :, :]
    return accumulated + products.reshape(accumulated.shape)


def row_sum(tile):
    return tile.sum(axis=0, keepdims=True)


def add_lane_sums(buffer, offset, tile):
    buffer[_entries(buffer, offset, 1, len(tile), 1)[:, 0]] += tile.sum(axis=1)


def power(a, b):
    return np.power(a, b)


where, floor, ceil, sign, absolute = np.where, np.floor, np.ceil, np.sign, np.abs
exp, log, sqrt, maximum, minimum = np.exp, np.log, np.sqrt, np.maximum, np.minimum
sin, cos, tan, asin, acos, atan = np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan
sinh, cosh, tanh = np.sinh, np.cosh, np.tanh
expm1, log1p, sigmoid = np.expm1, np.log1p, scipy.special.expit


def _array_function(function):
    def of_array(target, to, source, at, count, lanes):
        rows = range(0, count, lanes)
        values = [function(load(source, at + n, 0, 1, lanes)) for n in rows]
        for n, value in zip(rows, values):
            store(target, to + n, 0, value)

    return of_array


exp_array, sigmoid_array, tanh_array = map(_array_function, (exp, sigmoid, tanh))


def prefetch(buffer, offset, count):
    assert buffer.ndim == 1 and isinstance(offset, int) and count > 0


asinh, acosh, atanh, atan2 = np.arcsinh, np.arccosh, np.arctanh, np.arctan2
erf, erfc, gamma, loggamma = (
    scipy.special.erf,
    scipy.special.erfc,
    scipy.special.gamma,
    scipy.special.gammaln,
)


def interpreted(problem, flow, folder, dtype="float64", **options):
    """A program whose kernels are the generated text, run by Python.

    Parameters
    ----------
    problem, flow, dtype
        As for ``pwgf_sym.compile``.
    folder : path
        Where the module and its rewritten copy are written.
    **options
        Handed to ``compile_program``.
    """
    program = compile_program(problem, flow, dtype=dtype, folder=folder, **options)
    interpret(program)
    return program


def _where(dtype):
    """A choice between two numbers has the precision of the module, which a mask does not tell."""

    def where(mask, a, b):
        found = np.where(mask, a, b)
        return found.astype(dtype) if isinstance(a, float) and isinstance(b, float) else found

    return where


def interpret(owner):
    """Have Python run the text of what has a ``path``, a ``dtype`` and a ``module``."""
    text = re.sub(
        r"from (numba|pwgf_sym\.runtime\.cpu\.\w+) import",
        "from tile_numpy import",
        owner.path.read_text(),
    )
    path = owner.path.with_suffix(".interpreted.py")
    path.write_text(text, encoding="utf-8")
    name = f"interpreted_{owner.path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    module.where = _where(owner.dtype)
    owner.__dict__["module"] = module  # in place of the cached property
