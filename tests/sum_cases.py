"""Sums over an index with the functions that they are, in NumPy, for arguments of any kind.

A function takes x (..., d), complex too, so that its derivative is a complex step's.
"""

from typing import NamedTuple

import numpy as np
import sympy as sp

from pwgf_sym.declare.symbols import coordinates

__all__ = ["CASES", "PRODUCT", "Case", "numbers"]

n, m, k, i, j = sp.symbols("n m k i j", integer=True)
N, K = sp.symbols("N K", integer=True, positive=True)
A, B = sp.IndexedBase("A", shape=(N, 3)), sp.IndexedBase("B", shape=(K, 3))
b, w, t = (sp.IndexedBase(name, shape=(N,)) for name in "bwt")
C, v = sp.IndexedBase("C", shape=(3, 3)), sp.IndexedBase("v", shape=(K,))
beta = sp.Symbol("beta", positive=True)
x = coordinates(3)
ROWS, PARTS = (n, 0, N - 1), (k, 0, K - 1)
LINE = sp.Sum(A[n, i] * x[i], (i, 0, 2))
PART = sp.Sum(B[k, i] * x[i], (i, 0, 2))
FAR = sp.Sum((x[i] - A[n, i]) ** 2, (i, 0, 2))


class Case(NamedTuple):
    """A formula S(x), and the same in NumPy; ``scale`` is the size of places where it is tried."""

    formula: sp.Expr
    function: object
    scale: float = 1.0


def numbers(rows, parts=5):
    """Values for all arrays and parameters."""
    rng = np.random.default_rng(rows)
    return {
        A: rng.normal(size=(rows, 3)),
        b: rng.normal(size=rows),
        w: rng.random(rows) + 0.1,
        t: np.linspace(0.0, 2.0, rows),
        B: rng.normal(size=(parts, 3)),
        v: rng.normal(size=parts),
        C: rng.normal(size=(3, 3)),
        beta: 1.75,
    }


def _line(x, p):
    return x @ p[A].T


def _log_sum(exponents):
    top = exponents.real.max(axis=-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(exponents - top).sum(axis=-1))


def _far(x, p):
    return ((x[..., None, :] - p[A]) ** 2).sum(-1)


def _parts(x, p):
    """log sum_k exp(B_k.x + t_n v_k), (..., N)."""
    inner = (x @ p[B].T)[..., None, :] + p[t][:, None] * p[v]
    return _log_sum(inner)


CASES = {
    "logistic": Case(
        sp.Sum(sp.log(1 + sp.exp(-b[n] * LINE)), ROWS),
        lambda x, p: np.log(1 + np.exp(-p[b] * _line(x, p))).sum(-1),
    ),
    "least squares": Case(
        beta * sp.Sum(w[n] * (b[n] - LINE) ** 2, ROWS) / 2,
        lambda x, p: p[beta] * (p[w] * (p[b] - _line(x, p)) ** 2).sum(-1) / 2,
    ),
    "counts": Case(
        sp.Sum(sp.exp(LINE / beta) - b[n] * LINE, ROWS),
        lambda x, p: (np.exp(_line(x, p) / p[beta]) - p[b] * _line(x, p)).sum(-1),
    ),
    "curve": Case(
        sp.Sum((b[n] - x[0] * sp.exp(-x[1] * t[n]) - x[2]) ** 2, ROWS),
        lambda x, p: ((p[b] - x[..., :1] * np.exp(-x[..., 1:2] * p[t]) - x[..., 2:]) ** 2).sum(-1),
    ),
    "Student": Case(
        sp.Sum(sp.log(1 + (b[n] - LINE) ** 2 / beta), (n, 0, N - 1)),
        lambda x, p: np.log(1 + (p[b] - _line(x, p)) ** 2 / p[beta]).sum(-1),
    ),
    "quadratic": Case(
        sp.Sum(x[i] * C[i, j] * x[j], (i, 0, 2), (j, 0, 2)),
        lambda x, p: np.einsum("...i,ij,...j->...", x, p[C], x),
    ),
    "mixture": Case(
        -sp.log(sp.Sum(w[n] * sp.exp(-FAR / (2 * w[n] ** 2)), ROWS)),
        lambda x, p: -_log_sum(np.log(p[w]) - _far(x, p) / (2 * p[w] ** 2)),
        30.0,
    ),
    "mixture of one width": Case(
        -sp.log(sp.Sum(w[n] * sp.exp(-FAR / (2 * beta)), ROWS)),
        lambda x, p: -_log_sum(np.log(p[w]) - _far(x, p) / (2 * p[beta])),
        30.0,
    ),
    "heavy tails": Case(
        sp.log(beta * sp.Sum(sp.exp(-sp.sqrt(1 + FAR)) / (1 + FAR), ROWS)),
        lambda x, p: np.log(p[beta]) + _log_sum(-np.sqrt(1 + _far(x, p)) - np.log(1 + _far(x, p))),
        300.0,
    ),
    "far from all of a quotient": Case(
        sp.log((1 + x[1] ** 2) / sp.Sum(w[n] * sp.exp(b[n] - 2 * FAR), ROWS) ** 3) / 2,
        lambda x, p: (
            (np.log(1 + x[..., 1] ** 2) - 3 * _log_sum(np.log(p[w]) + p[b] - 2 * _far(x, p))) / 2
        ),
        30.0,
    ),
    "classes": Case(
        sp.Sum(w[n] * sp.log(sp.Sum(sp.exp(PART + t[n] * v[k]), PARTS)), ROWS),
        lambda x, p: (p[w] * _parts(x, p)).sum(-1),
        40.0,
    ),
    "neighbours": Case(
        sp.Sum(w[n] * (x[i + 1] - x[i]) ** 4, (i, 0, 1), ROWS),
        lambda x, p: p[w].sum() * ((x[..., 1:] - x[..., :-1]) ** 4).sum(-1),
    ),
    "slices": Case(
        sp.Sum(sp.cos(x[i + 1]) * A[n, i], (i, 0, 1), ROWS)
        + sp.Sum(w[n] * x[i + 1], (i, 0, 1), ROWS),
        lambda x, p: np.cos(x[..., 1:]) @ p[A][:, :2].sum(0) + p[w].sum() * x[..., 1:].sum(-1),
    ),
    "circle": Case(
        sp.Sum(w[n] * (x[sp.Mod(i + 2, 3)] - x[i] ** 2) ** 2, (i, 0, 2), ROWS),
        lambda x, p: p[w].sum() * ((np.roll(x, -2, axis=-1) - x**2) ** 2).sum(-1),
    ),
    "shifted rows": Case(
        sp.Sum(sp.tanh(A[n - 1, 0] * x[0] - A[n, 1] * x[2]) * n, (n, 1, N - 1)),
        lambda x, p: (
            np.tanh(p[A][:-1, 0] * x[..., :1] - p[A][1:, 1] * x[..., 2:]) * np.arange(1, len(p[A]))
        ).sum(-1),
    ),
    "two sums": Case(
        sp.Sum(sp.sqrt(1 + LINE**2), ROWS) + beta * sp.log(sp.Sum(sp.exp(PART), PARTS)) + x[0] ** 2,
        lambda x, p: (
            np.sqrt(1 + _line(x, p) ** 2).sum(-1) + p[beta] * _log_sum(x @ p[B].T) + x[..., 0] ** 2
        ),
    ),
    "polynomial of the index": Case(
        sp.Sum(n**2 * x[1] + sp.cos(n * x[0]), ROWS),
        lambda x, p: (
            np.arange(len(p[b])) ** 2 * x[..., 1:2] + np.cos(np.arange(len(p[b])) * x[..., :1])
        ).sum(-1),
    ),
    "logarithm of a product": Case(
        sp.log(sp.Product(1 + (b[n] - LINE) ** 2, ROWS)),
        lambda x, p: np.log(1 + (p[b] - _line(x, p)) ** 2).sum(-1),
        30.0,
    ),
    "sum of products": Case(
        sp.Sum(w[n] * sp.Product(sp.cosh(A[n, i] * x[i] / 3), (i, 0, 2)), ROWS),
        lambda x, p: (p[w] * np.cosh(p[A] * x[..., None, :] / 3).prod(-1)).sum(-1),
    ),
}
# A function of a sum over rows: of no velocity's Jacobian.
PRODUCT = Case(
    sp.Product((1 + w[n] ** 2 * LINE**2) * sp.exp(b[n] * x[1] / 9), ROWS) / 100,
    lambda x, p: np.exp(
        np.log(1 + (p[w] * _line(x, p)) ** 2).sum(-1) + p[b].sum() * x[..., 1] / 9 - np.log(100)
    ),
    0.1,
)
