"""The tensor IR: what a map is made of between its formula and its loops.

Every operation is one class, in a file of its own:

:class:`Input`        a parameter, a state or a stored value, by name
:class:`Delta`        the identity matrix over two axes
:class:`Constant`     one number
:class:`ConstantArray`  numbers over axes
:class:`Zero`         zeros over any axes, which sums and products absorb
:class:`Product`      an einsum: coefficient times a product of tensors, summed over the axes that
                      the result does not carry, and over the samples if ``sum_samples`` is set
:class:`Add`          a sum of tensors of equal axes
:class:`Elementwise`  a SymPy scalar expression applied entry by entry
:class:`Inverse`      inverse of a square matrix over its two axes (axes swapped)
:class:`LogDet`       log |det| of a square matrix
:class:`Window`       entries along an axis from another place on, zeros outside
:class:`Largest`      the largest entry along axes, a constant to derivatives

The functions :func:`add`, :func:`product`, :func:`einsum`, :func:`scale` and :func:`apply` bring an
operation to its simplest form; the classes of these operations take it as it stands.
"""

from .add import Add, add
from .elementwise import Elementwise, apply, between_jumps, placeholder
from .inverse import Inverse
from .largest import Largest
from .leaves import (
    Constant,
    ConstantArray,
    Delta,
    Input,
    Zero,
    constant,
    constant_array,
    input_tensor,
)
from .logdet import LogDet
from .product import Product, einsum, filled, product, scale
from .tensor import Axes, Axis, Labelled, Tensor, count_uses, topological
from .window import Window, window

__all__ = ["Add", "Axes", "Axis", "Constant", "ConstantArray", "Delta", "Elementwise", "Input"]
__all__ += [
    "Inverse",
    "Labelled",
    "Largest",
    "LogDet",
    "Product",
    "Tensor",
    "Zero",
    "add",
    "apply",
    "between_jumps",
    "constant",
    "constant_array",
]
__all__ += ["count_uses", "einsum", "filled", "input_tensor", "placeholder", "product", "scale"]
__all__ += ["Window", "topological", "window"]
