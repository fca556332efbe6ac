"""What all operations on tensors have in common.

A value is a :class:`Tensor`: an operation on named axes, either *per sample* (one value for every
sample, the sample axis is implicit) or *sample-invariant* (parameters and what is computed from
them alone).  Structurally equal tensors are one object, so common subexpressions are shared by
construction.

An operation is a class in a file of its own.  The class names its fields, and its methods are all
that is known of the operation: its derivatives, its operations, its value in NumPy, its text.
"""

from __future__ import annotations

import atexit
import math
import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .notation import Notation

__all__ = ["Array", "Axes", "Axis", "Labelled", "Rule", "Tensor", "count_uses", "node"]
__all__ += ["topological"]

Node = TypeVar("Node", bound="Tensor")


@dataclass(frozen=True)
class Axis:
    """A named axis with its length."""

    name: str
    size: int

    def __repr__(self) -> str:
        return f"{self.name}:{self.size}"

    @property
    def fresh(self) -> Axis:
        """An axis of the same length with another name."""
        return Axis(self.name + "_", self.size)


Axes = tuple[Axis, ...]
Array = NDArray[Any]
#: A tensor's value, of those of its operands.
Rule = Callable[..., Array]

_INTERNED: weakref.WeakValueDictionary[tuple[Any, ...], Any] = weakref.WeakValueDictionary()
atexit.register(_INTERNED.clear)  # while SymPy's numbers, which keys hold, still have hashes


class _Interning(type):
    """Makes calls of a class with equal arguments return one object."""

    __match_args__: tuple[str, ...]

    def __call__(cls, *args: Any, **named: Any) -> Any:
        made = super().__call__(*args, **named)
        key = (cls, *[getattr(made, field) for field in cls.__match_args__])
        return _INTERNED.setdefault(key, made)


class Tensor(metaclass=_Interning):
    """One value.

    Attributes
    ----------
    axes : tuple of Axis
        Axes of the value, without that of the samples.
    per_sample : bool
        Whether every sample has a value of its own.
    operands : tuple of Tensor
        What it is computed from.
    """

    #: Whether derivatives by the value are of use: there are none by numbers.
    varies: ClassVar[bool] = True
    #: Whether its trace is more than a product with two equal labels.
    splits_trace: ClassVar[bool] = False
    #: Whether it is computed by a call, or by loops of its own, and lives in memory.
    alone: ClassVar[bool] = False
    #: Whether its formula stands in a product without parentheses.
    binds: ClassVar[bool] = False

    axes: Axes
    per_sample: bool
    operands: tuple[Tensor, ...]

    def _derive(self, **attributes: Any) -> None:
        """Set attributes that follow from the fields; these and the fields never change."""
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    # -- what an operation says of itself ------------------------------------------------------

    def pushed(self, k: int, tangent: Tensor, extra: Axes) -> Tensor:
        """The part of the tangent that comes from the tangent of operand ``k``.

        A tangent of a tensor with axes ``a`` has axes ``a + extra``.
        """
        raise TypeError(f"no forward rule for {self.word}")

    def pulled(self, k: int, cotangent: Tensor, extra: Axes, lift: bool) -> Tensor:
        """What the cotangent contributes to the cotangent of operand ``k``.

        A cotangent of a tensor with axes ``a`` has axes ``extra + a``.  That of an invariant
        operand is summed over the samples, except when ``lift`` is set.
        """
        raise TypeError(f"no reverse rule for {self.word}")

    def traced(self, first: Axis, second: Axis) -> list[Tensor]:
        """Terms whose sum is the trace over two of the axes."""
        from .product import product

        labels = tuple(first if axis == second else axis for axis in self.axes)
        return [product(1, [(self, labels)], ())]

    def rebuilt(self, operands: Sequence[Tensor]) -> Tensor:
        """The same operation on other operands."""
        raise TypeError(f"{self.word} has no operands")

    def with_operands(self, operands: tuple[Tensor, ...]) -> Tensor:
        """The same operation on operands that may be the same."""
        return self if operands == self.operands else self.rebuilt(operands)

    def flops(self, dtype: str) -> int:
        """Operations to compute it from its operands, of one sample if it is per sample."""
        return 0

    def lowered(self) -> Tensor | None:
        """The same value by other operations, with the same axes; None where it has loops.

        Kernels are made of these: derivatives are the operation's own all the same.
        """
        return None

    def of_arrays(self, dtype: np.dtype[Any]) -> Rule:
        """Its value in NumPy as a function of the operands' values.

        Values of samples have the sample axis first.  Numbers that stand in formulas have the
        given precision.
        """
        raise TypeError(f"no value of {self.word}")

    def symbol(self, names: Callable[[Tensor], str]) -> str:
        """What it is called in formulas; ``names`` are the names in a kernel."""
        return names(self)

    def formula(self, write: Notation) -> str:
        """An entry in index notation."""
        return f"{self.word}({', '.join(write.entry(t, t.axes) for t in self.operands)})"

    def aligned(self) -> set[Tensor]:
        """Operands of which an entry needs the same entry only."""
        return set()

    def as_they_stand(self) -> set[Tensor]:
        """Operands whose entries are read under the names of their own axes."""
        return set(self.operands)

    def text(self) -> str:
        """One line that says how it is computed."""
        return f"({self.operand_names})"

    # -- arithmetic, as maps write it ----------------------------------------------------------

    def __array_ufunc__(self, function: Any, method: str, *values: Any, **how: Any) -> Tensor:
        from .arithmetic import numpy_function

        return numpy_function(function, method, values, how)

    def __array_function__(self, function: Any, *how: Any) -> Any:
        from .arithmetic import numpy_call

        raise numpy_call(function)

    def __array__(self, *how: Any, **named: Any) -> Any:
        from .arithmetic import refused

        raise refused("an array made of tensors", "Write op.concatenate([x[:1], y]).")

    def __getattr__(self, name: str) -> Any:
        from .arithmetic import numpy_attribute

        raise AttributeError(name) if name.startswith("_") else numpy_attribute(name)

    def _sympy_(self) -> Any:
        from .arithmetic import InFormula

        raise InFormula

    def __add__(self, other: object) -> Tensor:
        from .arithmetic import plus

        return plus(self, other)

    __radd__ = __add__

    def __sub__(self, other: object) -> Tensor:
        from .arithmetic import minus

        return minus(self, other)

    def __rsub__(self, other: object) -> Tensor:
        return -self + other

    def __neg__(self) -> Tensor:
        return self * -1

    def __pos__(self) -> Tensor:
        return self

    def __mul__(self, factor: object) -> Tensor:
        from .arithmetic import times

        return times(self, factor)

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> Tensor:
        from .arithmetic import divided

        return divided(self, other)

    def __rtruediv__(self, other: object) -> Tensor:
        from .arithmetic import divided

        return divided(other, self)

    def __pow__(self, other: object) -> Tensor:
        from .arithmetic import power

        return power(self, other)

    def __rpow__(self, other: object) -> Tensor:
        from .arithmetic import power

        return power(other, self)

    def __matmul__(self, other: object) -> Tensor:
        from .arithmetic import matrix_product

        return matrix_product(self, other)

    __rmatmul__ = __matmul__

    def __getitem__(self, key: Any) -> Tensor:
        from .arithmetic import item

        return item(self, key)

    def __len__(self) -> int:
        return self.axes[0].size if self.axes else 1

    def __iter__(self) -> Iterator[Tensor]:
        return (self[k] for k in range(len(self)))

    def _compared(self, other: object = None) -> bool:
        from .arithmetic import refused

        fix = "Write op.apply(lambda a: sp.Piecewise((f, a > 0), (g, True)), x)."
        raise refused("the truth of a tensor, which has no value yet", fix)

    __bool__ = __lt__ = __le__ = __gt__ = __ge__ = _compared

    def _is_no_number(self, *other: object) -> Any:
        from .arithmetic import refused

        fix = "Write op.apply(sp.exp, x) of a continuous function."
        raise refused("a tensor as a number, which it is not yet", fix)

    __float__ = __int__ = __complex__ = __round__ = _is_no_number
    __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = __divmod__ = _is_no_number

    def __setitem__(self, key: object, value: object) -> None:
        from .arithmetic import refused

        raise refused("an assignment to entries", "Write op.concatenate([x[:1], y]).")

    def __abs__(self) -> Tensor:
        from .arithmetic import elementwise
        from .elementwise import placeholder

        return elementwise("abs", abs(placeholder(0)), self)

    @property
    def T(self) -> Tensor:
        """The axes in the opposite order."""
        from .product import product

        return product(1, [(self, self.axes)], self.axes[::-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(axis.size for axis in self.axes)

    # -- names and sizes -----------------------------------------------------------------------

    def __repr__(self) -> str:
        axes = ", ".join(map(str, self.axes))
        return f"<{self.word}[{'n; ' if self.per_sample else ''}{axes}] {self.text()}>"

    @property
    def word(self) -> str:
        """The operation in one word."""
        return type(self).__name__.lower()

    @property
    def short_name(self) -> str:
        """What it is called in the text of what is computed from it."""
        return self.word

    @property
    def operand_names(self) -> str:
        """Short names of the operands."""
        return ", ".join(operand.short_name for operand in self.operands)

    @property
    def size(self) -> int:
        """Number of entries, of one sample if it is per sample."""
        return math.prod(axis.size for axis in self.axes)


Labelled = tuple[Tensor, Axes]


@dataclass_transform(eq_default=False, frozen_default=True)
def node(cls: type[Node]) -> type[Node]:
    """A class of tensors with these fields; equality is identity, since equal tensors are one."""
    return dataclass(frozen=True, eq=False, repr=False)(cls)


def topological(outputs: Iterable[Tensor], known: Container[Tensor] = ()) -> Iterator[Tensor]:
    """Every tensor that the outputs depend on, operands first, in a fixed order.

    What only ``known`` tensors depend on is left out.
    """
    seen: set[Tensor] = set()
    stack = [(tensor, False) for tensor in reversed(list(outputs))]
    while stack:
        tensor, expanded = stack.pop()
        if expanded:
            yield tensor
        elif tensor not in seen:
            seen.add(tensor)
            stack.append((tensor, True))
            if tensor not in known:
                stack += [(operand, False) for operand in reversed(tensor.operands)]


def count_uses(outputs: Iterable[Tensor]) -> dict[Tensor, int]:
    """How often each tensor is an operand or an output."""
    outputs = list(outputs)
    count = dict.fromkeys(topological(outputs), 0)
    for tensor in list(count):
        for operand in tensor.operands:
            count[operand] += 1
    for tensor in outputs:
        count[tensor] += 1
    return count
