"""Forward substitution: a number that one later statement uses, once, stands right there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..nodes import (
    Accumulate,
    Apply,
    Assign,
    Binary,
    Call,
    Choice,
    Do,
    Each,
    Entry,
    Expression,
    For,
    Group,
    If,
    Let,
    Lets,
    Load,
    Local,
    Name,
    Negative,
    Node,
    Not,
    Number,
    Statement,
    Store,
    children,
    rebuilt,
    walk,
)
from ..scalars import Spelling

__all__ = ["forward"]

# Characters of a statement that takes another one's value; a number of operations would do, too.
_WIDTH = 88
_SUMS = ("+", "-", "and", "or", "==", "<", ">", "<=", ">=")  # bind less than a product
_PRODUCTS = ("*", "/", "//")

Body = tuple[Statement, ...]


def forward(body: Body, names: Iterable[str], spelling: Spelling) -> Body:
    """Statements without numbers that one statement uses.

    What a number is computed from stays the same until it is used, but for arrays that a statement
    between assigns to.

    Parameters
    ----------
    body : tuple of Statement
        Statements of a block.
    names : iterable of str
        Variables, in the order in which they are computed.
    spelling : Spelling
        Says how long statements are, and which arguments a text holds several times.
    """
    numbers = {node.name for node in walk(body) if isinstance(node, Let)}
    for name in dict.fromkeys(names):
        if name not in numbers:
            continue
        uses = sum(_counts(_own_parts(node), name, spelling) > 0 for node in _all(body))
        body = _in_block(body, name, spelling) if uses == 2 else body
    return body


def _in_block(body: Body, name: str, spelling: Spelling) -> Body:
    """A block, or a block inside it, without a number that two statements name."""
    first = next((k for k, node in enumerate(body) if _names(node, name, spelling)), None)
    if first is None:
        return body
    match body[first]:
        case Let(found, value) if found == name:
            return _moved(body, first, name, value, spelling)
        case For() | If() | Each() as inner:
            inside = replace(inner, body=_in_block(inner.body, name, spelling))
            return (*body[:first], inside, *body[first + 1 :])
    return body


def _moved(body: Body, first: int, name: str, value: Expression, spelling: Spelling) -> Body:
    """A block with a value where its name stands, if that is once and nothing changes between."""
    rest = range(first + 1, len(body))
    second = next((k for k in rest if _names(body[k], name, spelling)), None)
    if second is None:
        return body
    node = body[second]  # a loop does not name what only its body names
    assigned = {_assigned_array(n) for n in body[first + 1 : second]}
    read = {part.array for part in walk(value) if isinstance(part, (Entry, Load))}
    again = any(part == Name(name) for part in walk(value))
    once = _counts(_own_parts(node), name, spelling) == 1 and Name(name) in walk(node)
    if again or not once or _is_target(node, name) or assigned & read:
        return body
    found = _put(node, name, value, spelling)
    if _width(found, spelling) > _WIDTH:
        return body
    return (*body[:first], *body[first + 1 : second], found, *body[second + 1 :])


# -- where names stand ------------------------------------------------------------------------


def _all(body: Iterable[Statement]) -> Iterator[Statement]:
    """Statements, and those in their blocks."""
    return (node for node in walk(body) if isinstance(node, Statement))


def _own_parts(node: Statement) -> list[Node]:
    """The names and expressions of a statement, without the statements inside it."""
    own: list[Node] = [part for part in children(node) if isinstance(part, Expression)]
    match node:
        case Let(name) | Local(name):
            own.append(Name(name))
        case Lets(names) | Each(names):
            own += map(Name, names)
        case For(variable):
            own.append(Name(variable))
        case Store(array):
            own.append(Name(array))
    return own


def _names(node: Statement, name: str, spelling: Spelling) -> bool:
    """Whether a statement, or one inside it, names a variable."""
    return any(_counts(_own_parts(part), name, spelling) for part in _all([node]))


def _counts(parts: Iterable[Node], name: str, spelling: Spelling) -> int:
    """How often a variable stands in the text of some expressions."""
    return sum(_count(part, name, spelling) for part in parts)


def _count(node: Node, name: str, spelling: Spelling) -> int:
    match node:
        case Name(found):
            return int(found == name)
        case Entry(array) | Load(array):
            return int(array == name) + _counts(children(node), name, spelling)
        case Call(function, arguments) | Apply(function, arguments):
            again = spelling.repeated(function) or (False,) * len(arguments)
            pairs = zip(arguments, again, strict=True)
            return sum(_count(part, name, spelling) * (2 if twice else 1) for part, twice in pairs)
    return _counts(children(node), name, spelling)


def _assigned_array(node: Statement) -> str | None:
    """The array that a statement changes an entry of."""
    match node:
        case Assign(Entry(array)) | Accumulate(Entry(array)):
            return array
    return None


def _is_target(node: Statement, name: str) -> bool:
    """Whether a statement changes a variable, or names it in the place that it changes."""
    match node:
        case Let(found):
            return found == name
        case Assign(target) | Accumulate(target):
            return any(part == Name(name) for part in walk(target))
    return False


def _width(node: Statement, spelling: Spelling) -> int:
    """Characters of a statement."""
    match node:
        case Let(name, value):
            return len(name) + len(" = ") + spelling.length(value)
        case Assign(target, value):
            return spelling.length(target) + len(" = ") + spelling.length(value)
        case Accumulate(target, value):
            return spelling.length(target) + len(" += ") + spelling.length(value)
        case Do(call):
            return spelling.length(call)
    return _WIDTH + 1


# -- a value in place of its name -------------------------------------------------------------


def _put(node: Statement, name: str, value: Expression, spelling: Spelling) -> Statement:
    """A statement with a value in place of a name, in parentheses where it needs them."""
    loose = _begins_with_minus(value, spelling) or any(_is_loose(n, spelling) for n in walk(value))
    product = any(isinstance(n, Binary) and n.operator in _PRODUCTS for n in walk(value))
    plain, tight = (Group(value) if loose else value), (Group(value) if loose or product else value)

    def within(expression: Expression, own: Expression) -> Expression:
        """An expression with the value in it; ``own`` stands for the name itself."""
        match expression:
            case Name(found) if found == name:
                return own
            case Binary(operator, left, right):
                before = tight if operator in _PRODUCTS else plain
                after = tight if operator in (*_PRODUCTS, "-") else plain
                return Binary(operator, within(left, before), within(right, after))
            case Negative(part):
                return Negative(within(part, tight))
            case Group(part):
                return Group(within(part, value))
            case Call(_, (part,)):
                return Call(expression.function, (within(part, value),), expression.sizes)
            case Apply(function, (part,)):
                return Apply(function, (within(part, value),))
            case Entry(array, index):
                return Entry(array, within(index, value), expression.plain)
        with_it: Expression = rebuilt(
            expression, lambda part: None if part is expression else inside(part)
        )
        return with_it

    def inside(node: Node) -> Node | None:
        return within(node, plain) if isinstance(node, Expression) else None

    match node:
        case Let(target, own):
            return Let(target, within(own, value))
        case Assign(target, own):
            return Assign(target, within(own, value))
        case Accumulate(target, own):
            return Accumulate(target, within(own, value))
    statement: Statement = rebuilt(node, inside)
    return statement


def _is_loose(node: Node, spelling: Spelling) -> bool:
    """Whether an operator stands in the text of a node that binds less than a product."""
    match node:
        case Binary(operator):
            return operator in _SUMS
        case Choice() | Not():
            return True
        case Call(function) | Apply(function):
            return not spelling.is_call(function)
    return False


def _begins_with_minus(node: Expression, spelling: Spelling) -> bool:
    match node:
        case Negative():
            return True
        case Number():
            return spelling.leading_minus(node)
        case Binary(_, left):
            return _begins_with_minus(left, spelling)
    return False
