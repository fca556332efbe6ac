"""What the printers of targets that Numba compiles have in common: Python's statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..loops.nodes import (
    Accumulate,
    Alias,
    Assign,
    Binary,
    Blank,
    Call,
    Choice,
    Comment,
    Declare,
    Do,
    Each,
    Expression,
    For,
    Function,
    Group,
    If,
    Integer,
    Let,
    Lets,
    Local,
    Name,
    Negative,
    Statement,
    Table,
    Verbatim,
)

__all__ = ["PythonPrinter"]

_TIGHT = ("*", "/", "//")
_INDENT = "    "
# Characters of a line, and variables that a line declares at most.  Python hands three values on
# as they are; of four it makes a tuple, which costs Numba time.
_WIDTH, _AT_ONCE = 88, 3


class PythonPrinter:
    """Python text of nodes; a target says how it spells what is its own.

    Attributes
    ----------
    decorator : str
        What stands above a function.
    """

    decorator = ""

    # -- expressions ---------------------------------------------------------------------------

    def text(self, node: Expression) -> str:
        """Text of an expression."""
        match node:
            case Name(name):
                return name
            case Integer(value):
                return str(value)
            case Binary(operator, left, right):
                space = "" if operator in _TIGHT else " "
                sign = f"{space}{self.operator(operator)}{space}"
                return self.text(left) + sign + self.text(right)
            case Negative(value):
                return "-" + self.text(value)
            case Group(value):
                return f"({self.text(value)})"
            case Call(_, arguments):
                return self.called(node.name, arguments)
            case Choice(condition, first, second, True):
                return f"{self.text(first)} if {self.text(condition)} else {self.text(second)}"
        return self.own(node)

    def own(self, node: Expression) -> str:
        """Text of an expression that each target spells in its own way."""
        raise NotImplementedError(type(node).__name__)

    def operator(self, operator: str) -> str:
        """Text of an operator."""
        return operator

    def called(self, function: str, arguments: tuple[Expression, ...]) -> str:
        """Text of a call of a function of the runtime."""
        return f"{function}({', '.join(map(self.text, arguments))})"

    # -- what formulas ask of a target's spelling ------------------------------------------------

    def length(self, node: Expression) -> int:
        """Characters of an expression."""
        return len(self.text(node))

    def calls(self, node: Expression) -> bool:
        """Whether an expression calls functions."""
        text = self.text(node)
        opened = (k for k, sign in enumerate(text) if sign == "(")
        return any(_ends_in_a_name(text[:k]) for k in opened)

    # -- statements ----------------------------------------------------------------------------

    def lines(self, node: Statement) -> Iterator[str]:
        """Lines of a statement."""
        match node:
            case Let(name, value):
                yield f"{name} = {self.text(value)}"
            case Lets(names, values):
                yield f"{', '.join(names)} = {', '.join(map(self.text, values))}"
            case Assign(target, value):
                yield f"{self.text(target)} = {self.text(value)}"
            case Accumulate(target, value):
                yield f"{self.text(target)} += {self.text(value)}"
            case Do(call, remark):
                yield self.text(call) + (f"  # {remark}" if remark else "")
            case Declare(items):
                yield from self.packed(map(self.declared, items))
            case Comment(text):
                yield f"# {text}"
            case For():
                yield from self._block(f"for {node.variable} in {self.range(node)}", node.body)
            case Each(names, items, body):
                tuples = [f"({', '.join(map(self.text, item))})" for item in items]
                found = f"({', '.join(tuples)}{',' if len(tuples) == 1 else ''})"
                yield from self._block(f"for {', '.join(names)} in {found}", body)
            case If(condition, body):
                yield from self._block(f"if {self.text(condition)}", body)
            case Function():
                yield from self.function(node)
            case Alias(name, of):
                yield from (f"{name} = {of}", "", "")
            case Table():
                yield from self.table(node)
            case Blank(count):
                yield from [""] * count
            case Verbatim(text):
                yield from text.splitlines()
            case Local(name):
                yield f"{name} = {self.array(node)}"
            case _:
                yield from self.own_lines(node)

    def own_lines(self, node: Statement) -> Iterator[str]:
        """Lines of a statement that each target spells in its own way."""
        raise NotImplementedError(type(node).__name__)

    def declared(self, node: Let | Local) -> tuple[str, str]:
        """A name and what it gets."""
        match node:
            case Let(name, value):
                return name, self.text(value)
        return node.name, self.array(node)

    def array(self, node: Local) -> str:
        """Text of an array of the function's own."""
        raise NotImplementedError(type(node).__name__)

    @staticmethod
    def packed(variables: Iterable[tuple[str, str]]) -> list[str]:
        """Assignments of (name, text) pairs, a few a line."""
        lines: list[list[tuple[str, str]]] = []
        for pair in variables:
            line = [*lines[-1], pair] if lines else [pair]
            if lines and len(line) <= _AT_ONCE and len(_assignment(line)) <= _WIDTH:
                lines[-1] = line
            else:
                lines.append([pair])
        return [_assignment(line) for line in lines]

    def range(self, loop: For) -> str:
        """What a loop runs over."""
        start, stop = self.text(loop.start), self.stop(loop)
        if loop.step != 1:
            return f"range({start}, {stop}, {loop.step})"
        return f"range({stop})" if start == "0" else f"range({start}, {stop})"

    def stop(self, loop: For) -> str:
        """Where a loop ends."""
        return self.text(loop.stop)

    def function(self, node: Function) -> Iterator[str]:
        """Lines of a function, and two blank ones."""
        yield self.decorator
        yield f"def {node.name}({node.names}):"
        first, *more = node.summary.split("\n")
        yield f'{_INDENT}"""{first}' + ("" if more else '"""')
        yield from (_INDENT + line if line else "" for line in more)
        yield from [f'{_INDENT}"""'] * bool(more)
        for statement in node.body:
            yield from self._indented(self.lines(statement))
        yield from ("", "")

    def table(self, node: Table) -> Iterator[str]:
        """Lines of an array of the module, its rows one after the other."""
        rows = [", ".join(map(repr, row)) for row in node.rows]
        if node.short:
            yield f"{node.name} = np.array([{', '.join(rows)}], dtype=DTYPE)"
            return
        yield f"{node.name} = np.array(["
        yield from (f"{_INDENT}{row}," for row in rows)
        yield "], dtype=DTYPE)"

    def _block(self, header: str, body: Iterable[Statement]) -> Iterator[str]:
        yield header + ":"
        for statement in body:
            yield from self._indented(self.lines(statement))

    @staticmethod
    def _indented(lines: Iterable[str]) -> Iterator[str]:
        return (_INDENT + line if line else "" for line in lines)

    def module(self, statements: Iterable[Statement]) -> str:
        """Text of statements of a module."""
        return "".join(f"{line}\n" for node in statements for line in self.lines(node))


def _assignment(pairs: list[tuple[str, str]]) -> str:
    names, texts = zip(*pairs, strict=True)
    return f"{', '.join(names)} = {', '.join(texts)}"


def _ends_in_a_name(text: str) -> bool:
    """Whether a text ends in a word that has a small letter, as names of functions have."""
    word = len(text)
    while word and (text[word - 1].isalnum() or text[word - 1] == "_"):
        word -= 1
    return any(sign.islower() for sign in text[word:])
