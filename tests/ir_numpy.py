"""NumPy interpreter of the tensor IR: the slow reference that emitted code is compared with."""

import numpy as np
import sympy as sp
from flow_reference import erf
from scipy.special import expit

from pwgf_sym.lower import ir
from pwgf_sym.lower.ir import (
    Add,
    Constant,
    Delta,
    Elementwise,
    Input,
    Inverse,
    LogDet,
    Product,
    Zero,
    placeholder,
)


def sigmoid(u):
    """The logistic function, also of complex numbers, which SciPy's does not take."""
    return 1 / (1 + np.exp(-u)) if np.iscomplexobj(u) else expit(u)


def evaluate(outputs, values, count):
    """Values of tensors for given inputs; per-sample arrays have the sample axis first."""
    found = {}
    for tensor in ir.topological(outputs):
        found[tensor] = _value(tensor, [found[t] for t in tensor.operands], values, count)
    return [found[output] for output in outputs]


def _value(tensor, operands, values, count):
    match tensor:
        case Input(name):
            return np.asarray(values[name])
        case Constant(value):
            return np.asarray(float(value))
        case Delta(first):
            return np.eye(first.size)
        case Zero(axes):
            return np.zeros([axis.size for axis in axes])
        case Add(terms):
            return sum(_aligned(t, v, tensor) for t, v in zip(terms, operands, strict=True))
        case Elementwise(expression, inputs):
            symbols = [placeholder(k) for k in range(len(operands))]
            names = [{"erf": erf, "sigmoid": sigmoid}, "scipy", "numpy"]
            f = sp.lambdify(symbols, expression, names)
            return f(*[_aligned(t, v, tensor) for t, v in zip(inputs, operands, strict=True)])
        case Inverse():
            return np.linalg.inv(operands[0])
        case LogDet():
            return np.log(np.linalg.det(operands[0]))
        case Product():
            return _product(tensor, operands, count)
    raise TypeError(f"no value of {tensor.word}")


def _aligned(operand, value, tensor):
    """Insert axes so that an operand broadcasts against the result."""
    shape = [a.size if a in operand.axes else 1 for a in tensor.axes]
    order = [operand.axes.index(a) for a in tensor.axes if a in operand.axes]
    if operand.per_sample:
        return np.transpose(value, [0] + [1 + k for k in order]).reshape([len(value), *shape])
    value = np.transpose(value, order).reshape(shape)
    return value[None] if tensor.per_sample else value


def _product(tensor, operands, count):
    coefficient, labels = tensor.coefficient, tensor.labels
    letters = {}
    for axis in [a for ls in labels for a in ls] + list(tensor.axes):
        letters.setdefault(axis, chr(ord("a") + len(letters)))
    terms, arrays = [], []
    for operand, own, value in zip(tensor.operands, labels, operands, strict=True):
        terms.append(("Z" if operand.per_sample else "") + "".join(letters[a] for a in own))
        arrays.append(value)
    for axis in tensor.axes:  # an axis that no operand carries is a broadcast
        if not any(letters[axis] in term for term in terms):
            terms.append(letters[axis])
            arrays.append(np.ones(axis.size))
    out = ("Z" if tensor.per_sample else "") + "".join(letters[a] for a in tensor.axes)
    if tensor.per_sample and not any(t.per_sample for t in tensor.operands):
        terms.append("Z")
        arrays.append(np.ones(count))
    return float(coefficient) * np.einsum(",".join(terms) + "->" + out, *arrays)


def step_values(flow, theta, layer, prefix=""):
    """Parameters of one step, by name, as arrays."""
    size = {name: int(n) for name, n in flow.axes().items()}
    shapes = {n: tuple(size[a] for a in axes) for n, axes in flow.parameters().items()}
    per_step = sum(int(np.prod(s)) for s in shapes.values())
    at, found = layer * per_step, {}
    for name, shape in shapes.items():
        n = int(np.prod(shape))
        found[prefix + name] = theta[at : at + n].reshape(shape)
        at += n
    return found
