"""Statements and expressions of kernels: what stands between the schedule and the text of a target.

A kernel is a :class:`Function` of statements; statements hold expressions.  All nodes are frozen,
so passes are functions from nodes to nodes.  Nothing here belongs to a target: a printer
(:mod:`pwgf_sym.printers`) has one rule a node, and spells functions as its target has them.

A value is a register tile: ``rows`` by ``lanes`` numbers, which on a target of single threads is
one number.  :class:`Load` and :class:`Store` say how a tile stands in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import ClassVar, overload

from .signature import Argument, KernelSignature

__all__ = [
    *("Accumulate", "Alias", "Apply", "Assign", "Barrier", "Binary", "Blank", "Call", "Choice"),
    *("Comment", "Declare", "Do", "Each", "Entry", "Expression", "For", "Function", "Group", "If"),
    *("Integer", "Let", "Lets", "Load", "Local", "Name", "Negative", "Node", "Not", "Number"),
    *("Statement", "Store", "Table", "Verbatim", "Zeros", "call", "children", "names_in"),
    *("product_of", "rebuilt", "sum_of", "walk"),
]


class Node:
    """Base of all nodes."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]]  # the names of its fields


class Expression(Node):
    """Base of what has a value."""

    __slots__ = ()


class Statement(Node):
    """Base of what does something."""

    __slots__ = ()


# -- expressions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number(Expression):
    """A number of the kernel's precision."""

    value: float


@dataclass(frozen=True, slots=True)
class Integer(Expression):
    """A whole number in an index or a length."""

    value: int


@dataclass(frozen=True, slots=True)
class Name(Expression):
    """A variable, an argument or an array."""

    name: str


@dataclass(frozen=True, slots=True)
class Binary(Expression):
    """``left operator right``: arithmetic, a comparison, ``and`` or ``or``."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Negative(Expression):
    """``-value``."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Not(Expression):
    """The negation of a condition."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Group(Expression):
    """Parentheses."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Call(Expression):
    """A function of the runtime, or of Python.

    ``sizes``: those that a function of the runtime is made for; None where it is there as it is.
    """

    function: str
    arguments: tuple[Expression, ...]
    sizes: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """The function's name in a module."""
        if self.sizes is None:
            return self.function
        return f"{self.function}_{'_'.join(map(str, self.sizes))}"


@dataclass(frozen=True, slots=True)
class Apply(Expression):
    """A scalar function of formulas, by the name of its entry in :mod:`pwgf_sym.functions`."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Choice(Expression):
    """``first`` where the condition holds, else ``second``.

    ``uniform``: the condition is one for all lanes.
    """

    condition: Expression
    first: Expression
    second: Expression
    uniform: bool = False


@dataclass(frozen=True, slots=True)
class Entry(Expression):
    """One number of an array.

    ``plain``: the index needs no sign that it is not negative, as in a local array.
    """

    array: str
    index: Expression
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Zeros(Expression):
    """A tile of zeros."""

    rows: int
    lanes: int


@dataclass(frozen=True, slots=True)
class Load(Expression):
    """A tile from an array: row k begins at ``index + k*stride``, its lanes are neighbours."""

    array: str
    index: Expression
    stride: Expression = Integer(0)
    rows: int = 1
    lanes: int = 1


# -- statements ------------------------------------------------------------------------------------

Body = tuple["Statement", ...]


@dataclass(frozen=True, slots=True)
class Let(Statement):
    """``name = value``."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Lets(Statement):
    """Several names that get their values in one statement."""

    names: tuple[str, ...]
    values: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Assign(Statement):
    """``array[index] = value``, one number."""

    target: Entry
    value: Expression


@dataclass(frozen=True, slots=True)
class Accumulate(Statement):
    """``target += value``; the target is a variable or an entry of an array."""

    target: Name | Entry
    value: Expression


@dataclass(frozen=True, slots=True)
class Store(Statement):
    """A tile to an array, at the places that :class:`Load` reads."""

    array: str
    index: Expression
    value: Expression
    stride: Expression = Integer(0)


@dataclass(frozen=True, slots=True)
class Do(Statement):
    """A call whose value is not used; ``remark`` stands behind it."""

    call: Call
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Declare(Statement):
    """Variables and arrays that do not depend on each other, at the top of a block."""

    items: tuple[Let | Local, ...]


@dataclass(frozen=True, slots=True)
class For(Statement):
    """A loop over ``range(start, stop, step)``.

    ``kind``: ``"serial"``; ``"rolled"``, not to be unrolled; ``"threads"``, shared by the threads
    of a block; ``"blocks"``, shared by the blocks.
    """

    variable: str
    stop: Expression
    body: Body
    start: Expression = Integer(0)
    step: int = 1
    kind: str = "serial"


@dataclass(frozen=True, slots=True)
class Each(Statement):
    """A loop over a few tuples of values, which get these names one after the other."""

    names: tuple[str, ...]
    items: tuple[tuple[Expression, ...], ...]
    body: Body


@dataclass(frozen=True, slots=True)
class If(Statement):
    """Statements where a condition holds."""

    condition: Expression
    body: Body


@dataclass(frozen=True, slots=True)
class Local(Statement):
    """An array of the function's own: ``size`` numbers in local or shared memory.

    ``boundary``: bytes of which its place is a multiple; 0 where that does not matter.
    """

    name: str
    size: Expression
    space: str = "local"
    boundary: int = 0


@dataclass(frozen=True, slots=True)
class Barrier(Statement):
    """All threads of a block meet."""


@dataclass(frozen=True, slots=True)
class Comment(Statement):
    """The formula that the statements below compute."""

    text: str


@dataclass(frozen=True, slots=True)
class Function(Statement):
    """A function of the module: a kernel or a part of one.

    ``block``: tiles of samples that it computes at a time.
    """

    name: str
    arguments: tuple[Argument, ...]
    summary: str
    body: Body
    block: int = 1

    @property
    def names(self) -> str:
        """Names of the arguments."""
        return ", ".join(argument.name for argument in self.arguments)

    @property
    def signature(self) -> KernelSignature:
        """What a caller must know of it."""
        return KernelSignature(self.name, self.arguments, self.block)


@dataclass(frozen=True, slots=True)
class Alias(Statement):
    """A function that is another one under a name of its own."""

    name: str
    of: str


@dataclass(frozen=True, slots=True)
class Table(Statement):
    """An array of numbers of the module, written a row a line, or ``short`` in one line."""

    name: str
    rows: tuple[tuple[float, ...], ...]
    short: bool = False


@dataclass(frozen=True, slots=True)
class Blank(Statement):
    """Empty lines of the module."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class Verbatim(Statement):
    """Functions of the module that are written as text of the target, and what they call."""

    text: str
    calls: tuple[Call, ...] = ()
    names: tuple[str, ...] = ()
    signatures: tuple[KernelSignature, ...] = ()  # of those that callers call


# -- looking at nodes and making new ones ----------------------------------------------------------


def _parts(value: object) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _parts(part)


_READERS: dict[type[Node], Callable[[Node], object]] = {}


def _fields(node: Node) -> object:
    """The field of a node, several as a tuple; a module has tens of thousands of nodes."""
    kind = type(node)
    if kind not in _READERS:
        names = kind.__match_args__
        _READERS[kind] = attrgetter(*names) if names else lambda _: ()
    return _READERS[kind](node)


def children(node: Node) -> Iterator[Node]:
    """The nodes that a node holds, in the order of its fields."""
    return _parts(_fields(node))


def walk(node: Node | Iterable[Node]) -> Iterator[Node]:
    """A node, or several, and all nodes below, from the outside in."""
    stack: list[object] = []
    stack += [node] if isinstance(node, Node) else [*node][::-1]
    while stack:
        found = stack.pop()
        if isinstance(found, Node):
            yield found
            stack.append(_fields(found))
        elif isinstance(found, tuple):
            stack.extend(found[::-1])


def names_in(node: Node | Iterable[Node]) -> set[str]:
    """Variables and arrays that a node reads or writes."""
    found: set[str] = set()
    for part in walk(node):
        match part:
            case Name(name) | Let(name) | Local(name):
                found.add(name)
            case Load(array) | Entry(array) | Store(array):
                found.add(array)
            case Lets(names) | Each(names):
                found.update(names)
            case For(variable):
                found.add(variable)
    return found


Change = Callable[[Node], Node | None]


@overload
def rebuilt(node: Expression, change: Change) -> Expression: ...
@overload
def rebuilt(node: Statement, change: Change) -> Statement: ...
@overload
def rebuilt(node: Body, change: Change) -> Body: ...
def rebuilt(node: object, change: Change) -> object:
    """A node, or a tuple of nodes, with every part for which ``change`` gives another one.

    ``change`` is asked from the outside in; what it gives is not looked into again, and of the same
    kind: an expression for an expression, a statement for a statement.
    """
    if isinstance(node, tuple):
        found = tuple(rebuilt(part, change) for part in node)
        return found if any(a is not b for a, b in zip(found, node, strict=True)) else node
    if not isinstance(node, Node):
        return node
    changed = change(node)
    if changed is not None:
        return changed
    old = [getattr(node, name) for name in node.__match_args__]
    new = [rebuilt(value, change) for value in old]
    same = all(a is b for a, b in zip(old, new, strict=True))
    kind: Callable[..., Node] = type(node)
    return node if same else kind(*new)


def call(
    function: str, *arguments: Expression | int | str, sizes: tuple[int, ...] | None = None
) -> Call:
    """A call; whole numbers and names of variables may be given as they are."""
    return Call(function, tuple(map(_expression, arguments)), sizes)


def _expression(value: Expression | int | str) -> Expression:
    if isinstance(value, str):
        return Name(value)
    return Integer(value) if isinstance(value, int) else value


def sum_of(terms: Iterable[Expression]) -> Expression:
    """``a + b + ...``, from the left."""
    first, *rest = terms
    for term in rest:
        first = Binary("+", first, term)
    return first


def product_of(factors: Iterable[Expression]) -> Expression:
    """``a*b*...``, from the left; sums among several factors in parentheses."""
    given = list(factors)
    first, *rest = map(_grouped, given) if len(given) > 1 else given
    for factor in rest:
        first = Binary("*", first, factor)
    return first


def _grouped(factor: Expression) -> Expression:
    return Group(factor) if isinstance(factor, Binary) and factor.operator in "+-" else factor
