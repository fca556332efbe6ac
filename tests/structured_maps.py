"""Steps whose Jacobians have a structure, or nearly have one, as tensors and in NumPy."""

import numpy as np
import sympy as sp
from test_written_maps import Written

from pwgf_sym.tensors import Axis, add, window

a = sp.Symbol("a", real=True)
TANH, EXP = sp.tanh(a), sp.exp(a)


def part(x, start, stop, letter):
    """x[start:stop] over an axis of its own."""
    return window(x, x.axes[0], Axis(letter, stop - start), start)


def concatenated(like, *parts):
    """Parts one behind the other along the axis of ``like``."""
    found, first = [], 0
    for one in parts:
        found.append(window(one, one.axes[0], like.axes[0], -first))
        first += one.axes[0].size
    return add(*found)


def coupling(dim, first, backward=False, permuted=False):
    """(x1, x2 exp(tanh(S x1)) + T x1); or x1 by x2; or the second before the first."""
    sizes = {"f": first, "h": dim - first}
    still, moved = ("h", "f") if backward else ("f", "h")
    across = f"{moved}{still},{still}->{moved}"

    def step(op, p, x):
        parts = {"f": part(x, 0, first, "f"), "h": part(x, first, dim, "h")}
        scales = op.apply(EXP, op.apply(TANH, op.einsum(across, p["S"], parts[still])))
        shift = op.einsum(across, p["T"], parts[still])
        parts[moved] = op.einsum(f"{moved},{moved}->{moved}", parts[moved], scales) + shift
        order = "hf" if permuted else "fh"
        return concatenated(x, *[parts[name] for name in order])

    def formula(S, T, x):
        parts = {"f": x[:, :first], "h": x[:, first:]}
        held = parts[still]
        parts[moved] = parts[moved] * np.exp(np.tanh(held @ S.T)) + held @ T.T
        return np.concatenate([parts[name] for name in ("hf" if permuted else "fh")], axis=1)

    return Written(dim, {"S": moved + still, "T": moved + still}, step, formula, sizes)


def both_halves(dim, first):
    """x1' = x1 exp(tanh(S x2)), then x2' = x2 + T sin(x1') of what has moved."""
    sizes = {"f": first, "h": dim - first}

    def step(op, p, x):
        low, high = part(x, 0, first, "f"), part(x, first, dim, "h")
        scales = op.apply(sp.exp(sp.tanh(a)), op.einsum("fh,h->f", p["S"], high))
        low = op.einsum("f,f->f", low, scales) + p["b"]
        high = high + op.einsum("hf,f->h", p["T"], op.apply(sp.sin(a), low))
        return concatenated(x, low, high)

    def formula(S, T, b, x):
        low, high = x[:, :first], x[:, first:]
        low = low * np.exp(np.tanh(high @ S.T)) + b
        return np.concatenate([low, high + np.sin(low) @ T.T], axis=1)

    return Written(dim, {"S": "fh", "T": "hf", "b": "f"}, step, formula, sizes)


def three_blocks():
    """Lengths 2, 1 and 3: the second reads the first, the third both, as one slice."""

    def step(op, p, x):
        one, two, three = part(x, 0, 2, "f"), part(x, 2, 3, "h"), part(x, 3, 6, "s")
        second = op.einsum("h,h->h", two, op.apply(EXP, op.einsum("hf,f->h", p["A"], one)))
        shift = op.einsum("sr,r->s", p["B"], op.apply(TANH, part(x, 0, 3, "r")))
        third = op.apply(a + sp.tanh(a) / 2, three) + shift
        return concatenated(x, op.apply(sp.sinh(a), one), second, third)

    def formula(A, B, x):
        one, two, three = x[:, :2], x[:, 2:3], x[:, 3:]
        third = three + np.tanh(three) / 2 + np.tanh(x[:, :3]) @ B.T
        return np.concatenate([np.sinh(one), two * np.exp(one @ A.T), third], axis=1)

    sizes = {"f": 2, "h": 1, "s": 3, "r": 3}
    return Written(6, {"A": "hf", "B": "sr"}, step, formula, sizes)


def permutation():
    """(x[3:5], -2 x[0:3])."""

    def step(op, p, x):
        return concatenated(x, part(x, 3, 5, "f") + p["b"], -2 * part(x, 0, 3, "h"))

    def formula(b, x):
        return np.concatenate([x[:, 3:] + b, -2 * x[:, :3]], axis=1)

    return Written(5, {"b": "f"}, step, formula, {"f": 2, "h": 3})


def elementwise(dim):
    """x + b tanh(a x) through two layers; one diagonal entry may be negative."""

    def step(op, p, x):
        inner = x + op.einsum("i,i->i", p["b"], op.apply(TANH, op.einsum("i,i->i", p["c"], x)))
        return op.apply(a + a**3 / 3, inner)

    def formula(b, c, x):
        inner = x + b * np.tanh(c * x)
        return inner + inner**3 / 3

    return Written(dim, {"b": "i", "c": "i"}, step, formula)


def planar(dim):
    """x + u tanh(w . x + b)."""

    def step(op, p, x):
        inner = op.einsum("i,i->", p["w"], x) + p["b"]
        return x + op.einsum("i,->i", p["a"], op.apply(TANH, inner))

    def formula(u, w, b, x):
        return x + np.tanh(x @ w + b)[:, None] * u

    return Written(dim, {"a": "i", "w": "i", "b": ""}, step, formula)


def radial(dim):
    """x + (x - c) b/(1 + |x - c|^2): the number before 1 is of the sample."""

    def step(op, p, x):
        away = x - p["c"]
        near = op.apply(1 / (1 + a), op.einsum("i,i->", away, away))
        return x + op.einsum(",,i->i", p["b"], near, away)

    def formula(c, b, x):
        away = x - c
        return x + b * away / (1 + np.sum(away**2, axis=1, keepdims=True))

    return Written(dim, {"c": "i", "b": ""}, step, formula)


def residual(dim, width, layers=1):
    """2 x + B tanh(A x); with two layers (2 + ...)(x + u tanh(w . x))."""

    def step(op, p, x):
        if layers == 2:
            x = x + op.einsum("i,->i", p["a"], op.apply(TANH, op.einsum("i,i->", p["w"], x)))
        hidden = op.apply(TANH, op.einsum("ki,i->k", p["A"], x))
        return 2 * x + op.einsum("ik,k->i", p["B"], hidden)

    def formula(A, B, *others):
        *outer, x = others
        if outer:
            u, w = outer
            x = x + np.tanh(x @ w)[:, None] * u
        return 2 * x + np.tanh(x @ A.T) @ B.T

    shapes = {"A": "ki", "B": "ik"} | ({"a": "i", "w": "i"} if layers == 2 else {})
    return Written(dim, shapes, step, formula, {"k": width})


def triangle(dim):
    """A concatenation of entries (x_k + sin(x_k)/2) exp(A_k . tanh(x[:k]))."""
    names = "fhklmstuv"

    def step(op, p, x):
        found = [op.apply(a + sp.sin(a) / 2, part(x, 0, 1, "r"))]
        for k in range(1, dim):
            before = op.apply(TANH, part(x, 0, k, names[k]))
            inner = op.einsum(f"{names[k]},{names[k]}->", p[f"A{k}"], before)
            own = op.apply(a + sp.sin(a) / 2, part(x, k, k + 1, "r"))
            found.append(op.einsum("r,->r", own, op.apply(EXP, inner)))
        return concatenated(x, *found)

    def formula(*values):
        *rows, x = values
        scales = [np.exp(np.tanh(x[:, : k + 1]) @ row) for k, row in enumerate(rows)]
        return (x + np.sin(x) / 2) * np.stack([np.ones(len(x)), *scales], axis=1)

    shapes = {f"A{k}": names[k] for k in range(1, dim)}
    return Written(dim, shapes, step, formula, {names[k]: k for k in range(1, dim)} | {"r": 1})


def dense_block():
    """(x1, A x2 + tanh(x1)), with an inner block without a structure."""

    def step(op, p, x):
        one, two = part(x, 0, 3, "f"), part(x, 3, 6, "h")
        moved = op.einsum("hs,s->h", p["A"], two) + op.einsum(
            "hf,f->h", p["B"], op.apply(TANH, one)
        )
        return concatenated(x, one, moved)

    def formula(A, B, x):
        one, two = x[:, :3], x[:, 3:]
        return np.concatenate([one, two @ A.T + np.tanh(one) @ B.T], axis=1)

    return Written(6, {"A": "hs", "B": "hf"}, step, formula, {"f": 3, "h": 3, "s": 3})


def swapped_circle():
    """Two blocks in a circle before a third one that reads them and the other way round."""

    def step(op, p, x):
        one, two, three = part(x, 0, 1, "f"), part(x, 1, 2, "h"), part(x, 2, 4, "s")
        first = one + op.einsum("fh,h->f", p["A"], op.apply(sp.sin(a), two))
        second = two + op.einsum("fh,f->h", p["A"], op.apply(TANH, one))
        third = op.einsum("s,h->s", three, op.apply(EXP, second)) + op.einsum("s,f->s", p["b"], one)
        return concatenated(x, second, third, first)

    def formula(A, b, x):
        one, two, three = x[:, :1], x[:, 1:2], x[:, 2:]
        second = two + np.tanh(one) @ A
        third = three * np.exp(second) + b * one
        return np.concatenate([second, third, one + np.sin(two) @ A.T], axis=1)

    return Written(4, {"A": "fh", "b": "s"}, step, formula, {"f": 1, "h": 1, "s": 2})


def shifted(dim):
    """x_i + tanh(c_i x_(i-1)): a window that is moved by one, and zero before the first."""

    def step(op, p, x):
        before = window(x, x.axes[0], x.axes[0], -1)
        return x + op.apply(TANH, op.einsum("i,i->i", p["c"], before))

    def formula(c, x):
        before = np.concatenate([0 * x[:, :1], x[:, :-1]], axis=1)
        return x + np.tanh(c * before)

    return Written(dim, {"c": "i"}, step, formula)


def rotated():
    """Slices of what is concatenated, across where that is put together."""

    def step(op, p, x):
        low = op.apply(a + sp.tanh(a) / 2, part(x, 0, 2, "f"))
        high = op.einsum("h,h->h", part(x, 2, 5, "h"), p["b"])
        both = concatenated(x, low, high)
        return concatenated(x, part(both, 1, 4, "s"), part(both, 4, 5, "r"), part(both, 0, 1, "r"))

    def formula(b, x):
        both = np.concatenate([x[:, :2] + np.tanh(x[:, :2]) / 2, x[:, 2:] * b], axis=1)
        return np.roll(both, -1, axis=1)

    return Written(5, {"b": "h"}, step, formula, {"f": 2, "h": 3, "s": 3, "r": 1})


def one_scale():
    """(x1, x2 exp(w . x1) c): numbers that a block's entries share."""

    def step(op, p, x):
        one, two = part(x, 0, 2, "f"), part(x, 2, 5, "h")
        scale = op.apply(EXP, op.einsum("f,f->", p["w"], one))
        return concatenated(x, one, op.einsum("h,,->h", two, scale, p["c"]))

    def formula(w, c, x):
        return np.concatenate([x[:, :2], x[:, 2:] * np.exp(x[:, :2] @ w)[:, None] * c], axis=1)

    return Written(5, {"w": "f", "c": ""}, step, formula, {"f": 2, "h": 3})


# ------------------------------------------------------------------------------ without structure
def circle():
    """Both blocks read the other one as it was before."""

    def step(op, p, x):
        one, two = part(x, 0, 2, "f"), part(x, 2, 4, "h")
        first = one + op.einsum("fh,h->f", p["A"], op.apply(TANH, two))
        second = two + op.einsum("fh,f->h", p["A"], op.apply(sp.sin(a), one))
        return concatenated(x, first, second)

    def formula(A, x):
        one, two = x[:, :2], x[:, 2:]
        return np.concatenate([one + np.tanh(two) @ A.T, two + np.sin(one) @ A], axis=1)

    return Written(4, {"A": "fh"}, step, formula, {"f": 2, "h": 2})


def overlapping():
    """(x[0:3] + b x[1:4], x[3] + b x[0]), entry by entry, of slices that overlap."""

    def step(op, p, x):
        low = part(x, 0, 3, "f") + op.einsum("f,f->f", p["b"], part(x, 1, 4, "f"))
        last = part(x, 3, 4, "h") + op.einsum("f,h->h", p["b"], part(x, 0, 1, "h"))
        return concatenated(x, low, last)

    def formula(b, x):
        last = x[:, 3:] + np.sum(b) * x[:, :1]
        return np.concatenate([x[:, :3] + b * x[:, 1:], last], axis=1)

    return Written(4, {"b": "f"}, step, formula, {"f": 3, "h": 1})


def mixed_by_entry(dim):
    """A_ij x_i tanh(x_j) summed over j, plus x: a diagonal and more."""

    def step(op, p, x):
        inner = op.einsum("ij,j->i", p["A"], op.apply(TANH, x))
        return x + op.einsum("i,i->i", x, inner)

    def formula(A, x):
        return x + x * (np.tanh(x) @ A.T)

    return Written(dim, {"A": "ij"}, step, formula)


#: Name, step, the kind of its structure and those of its blocks, first to last.
STRUCTURED = {
    "coupling": (coupling(5, 2), "Triangular: Diagonal, Diagonal"),
    "backward": (coupling(3, 2, backward=True), "Triangular: Diagonal, Diagonal"),
    "permuted": (coupling(5, 3, permuted=True), "Triangular: Diagonal, Diagonal"),
    "both halves": (both_halves(5, 2), "Triangular: Diagonal, Diagonal"),
    "three blocks": (three_blocks(), "Triangular: Diagonal, Diagonal, Diagonal"),
    "permutation": (permutation(), "Triangular: Diagonal, Diagonal"),
    "elementwise": (elementwise(3), "Diagonal"),
    "planar": (planar(4), "LowRank"),
    "residual": (residual(7, 2), "LowRank"),
    "two layers": (residual(7, 2, layers=2), "LowRank"),
    "triangle": (triangle(4), "Triangular: Diagonal, Diagonal, Diagonal, Diagonal"),
    "dense block": (dense_block(), "Triangular: Diagonal, Dense"),
    "a circle and a block": (swapped_circle(), "Triangular: Dense, Diagonal"),
    "shifted": (shifted(4), "Triangular: Diagonal, Diagonal, Diagonal, Diagonal"),
    "rotated": (rotated(), "Triangular: Diagonal, Diagonal, Diagonal, Diagonal"),
    "one scale": (one_scale(), "Triangular: Diagonal, Diagonal"),
    "circle": (circle(), "Dense"),
    "overlapping": (overlapping(), "Dense"),
    "a diagonal and more": (mixed_by_entry(3), "Dense"),
    "radial": (radial(4), "Dense"),
}
