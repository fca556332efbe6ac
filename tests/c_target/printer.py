"""Kernels in C: a third target, made of the statements that the package has for register tiles.

A tile is one number: a row of one sample.  So there is no vector type to spell, and every statement
has one line of C.
"""

import itertools

from pwgf_sym import functions
from pwgf_sym.loops.nodes import (
    Accumulate,
    Alias,
    Apply,
    Assign,
    Binary,
    Call,
    Choice,
    Comment,
    Do,
    Entry,
    Expression,
    For,
    Function,
    Group,
    If,
    Integer,
    Let,
    Lets,
    Load,
    Local,
    Name,
    Negative,
    Not,
    Number,
    Statement,
    Store,
    Zeros,
    walk,
)

__all__ = ["CPrinter"]

_OPERATORS = {"and": "&&", "or": "||", "//": "/"}
_ALL = {
    "Abs": "fabs({})",
    "sign": "(({0} > 0) - ({0} < 0))",
    "sigmoid": "(1/(1 + exp(-({}))))",
}
_FUNCTIONS = """#include <math.h>

static inline double maximum(double a, double b) { return a > b || a != a ? a : b; }
static inline double minimum(double a, double b) { return a < b || a != a ? a : b; }
"""


class CPrinter:
    """Prints statements as C99, and says what formulas ask of a target's spelling."""

    # -- expressions ---------------------------------------------------------------------------

    def text(self, node: Expression) -> str:
        """Text of an expression."""
        match node:
            case Number(value):
                return repr(value)
            case Integer(value):
                return str(value)
            case Name(name):
                return name
            case Group(value):
                return f"({self.text(value)})"
            case Negative(value):
                return f"-{self.text(value)}"
            case Not(value):
                return f"!({self.text(value)})"
            case Binary(operator, left, right):
                sign = _OPERATORS.get(operator, operator)
                return f"{self.text(left)} {sign} {self.text(right)}"
            case Choice(condition, first, second):
                found = map(self.text, (condition, first, second))
                return "({} ? {} : {})".format(*found)
            case Load(array, index, _, 1, 1) | Entry(array, index):
                return f"{array}[{self.text(index)}]"
            case Zeros(1, 1):
                return "0.0"
            case Apply(function, arguments):
                entry = functions.entry_of(function)
                spelled = _ALL.get(function, f"{entry.cpu}({', '.join(['{}'] * len(arguments))})")
                return spelled.format(*map(self.text, arguments))
            case Call(function, arguments):
                return self._call(function, list(map(self.text, arguments)))
        raise TypeError(f"no C for {node}")

    def _call(self, function: str, found: list[str]) -> str:
        """A function of the runtime, for one number."""
        match function, found:
            case "spread" | "row_sum", [value, *_]:
                return value
            case "unit", [_, apart, _]:
                return f"({apart} == 0 ? 1.0 : 0.0)"
            case "outer", [sums, first, second]:
                return f"fma({first}, {second}, {sums})"
            case "power", _:
                return f"pow({', '.join(found)})"
            case "min", [a, b]:
                return f"({a} < {b} ? {a} : {b})"
        return f"{function}({', '.join(found)})"

    def length(self, node: Expression) -> int:
        """Characters of an expression."""
        return len(self.text(node))

    def calls(self, node: Expression) -> bool:
        """Whether an expression calls functions."""
        return any(isinstance(part, Apply | Call) for part in walk(node))

    def repeated(self, function: str) -> tuple[bool, ...]:
        """Arguments that a function's text holds several times."""
        return (True,) if function == "sign" else ()

    def is_call(self, function: str) -> bool:
        """Whether a function's text is a call."""
        return function not in _ALL

    def leading_minus(self, number: Number) -> bool:
        """Whether the text of a number begins with a minus."""
        return number.value < 0

    # -- statements ----------------------------------------------------------------------------

    def lines(self, node: Statement):
        """Lines of a statement."""
        match node:
            case Let(name, value):
                yield f"{name} = {self.text(value)};"
            case Lets(names, values):
                for name, value in zip(names, values, strict=True):
                    yield f"{name} = {self.text(value)};"
            case Accumulate(target, value):
                yield f"{self.text(target)} += {self.text(value)};"
            case Assign(target, value):
                yield f"{self.text(target)} = {self.text(value)};"
            case Store(array, index, value):
                yield f"{array}[{self.text(index)}] = {self.text(value)};"
            case Local(name, size):
                yield f"double {name}[{self.text(size)}];"
            case Do(Call("prefetch", _)):
                return
            case Do(Call("add_lane_sums", (sums, place, value))):
                yield f"{self.text(sums)}[{self.text(place)}] += {self.text(value)};"
            case Do(Call(function, arguments)) if function.endswith("_array"):
                yield from self._array(function.removesuffix("_array"), arguments)
            case Comment(text):
                yield f"// {text}"
            case For(variable, stop, body, start, step):
                ends = f"long {variable} = {self.text(start)}; {variable} < {self.text(stop)}"
                yield from self._block(f"for ({ends}; {variable} += {step})", body)
            case If(condition, body):
                yield from self._block(f"if ({self.text(condition)})", body)
            case Function():
                yield from self._function(node)
            case _:
                raise TypeError(f"no C for {node}")

    def _array(self, function: str, arguments):
        target, at, source, begin, count, _ = map(self.text, arguments)
        value = self.text(Apply(function, (Name(f"{source}[{begin} + n]"),)))
        yield f"for (long n = 0; n < {count}; n++) {target}[{at} + n] = {value};"

    def _block(self, header: str, body):
        yield header + " {"
        for line in itertools.chain.from_iterable(map(self.lines, body)):
            yield f"    {line}"
        yield "}"

    def _function(self, node: Function):
        kinds = (f"{'double *' if a.dimensions else 'long '}{a.name}" for a in node.arguments)
        declared = [f"{kind} {', '.join(names)};" for kind, names in self._variables(node) if names]
        header, *lines = self._block(f"void {node.name}({', '.join(kinds)})", node.body)
        about = (f"// {line}".rstrip() for line in node.summary.splitlines())
        yield from ("", *about, header, *(f"    {line}" for line in declared), *lines)

    def _variables(self, node: Function):
        """Variables of a function: a number is one that is computed from numbers."""
        lets = [part for part in walk(node) if isinstance(part, Let | Lets)]
        pairs = [
            (n, v)
            for let in lets
            if isinstance(let, Lets)
            for n, v in zip(let.names, let.values, strict=True)
        ]
        pairs += [(let.name, let.value) for let in lets if isinstance(let, Let)]
        numbers: set[str] = set()
        kinds = (Number, Load, Zeros, Apply, Entry)
        while True:
            found = {
                name
                for name, value in pairs
                for part in walk(value)
                if isinstance(part, kinds) or (isinstance(part, Name) and part.name in numbers)
            }
            if found == numbers:
                break
            numbers = found
        names = dict.fromkeys(name for name, _ in pairs)
        yield "double", [name for name in names if name in numbers]
        yield "long", [name for name in names if name not in numbers]

    def module(self, statements) -> str:
        """A whole file; a function under a second name is a macro."""
        lines = []
        for node in statements:
            if isinstance(node, Alias):
                lines.append(f"#define {node.name} {node.of}")
            else:
                lines += self.lines(node)
        return _FUNCTIONS + "\n".join(lines) + "\n"
