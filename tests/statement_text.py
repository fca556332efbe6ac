"""Statements from Python text, and back: what tests of passes are written in.

``a[at(i)]`` is an entry, ``a[row]`` one of a local array; ``range(lane, n, threads)`` is shared by
threads; ``maximum(a, b)`` a call; parentheses stand where Python needs them.
"""

import ast

from pwgf_sym.loops.nodes import (
    Accumulate,
    Assign,
    Binary,
    Call,
    Choice,
    Do,
    Entry,
    For,
    Group,
    If,
    Integer,
    Let,
    Name,
    Negative,
    Number,
)
from pwgf_sym.printers.cuda import CudaPrinter

__all__ = ["PRINTER", "statements", "text"]

PRINTER = CudaPrinter("float64", 128)
_SIGNS = {
    **{ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//"},
    **{ast.Mod: "%", ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.Gt: ">"},
}


def text(body) -> list[str]:
    """Lines of statements."""
    return [line for node in body for line in PRINTER.lines(node)]


def statements(source: str):
    """The statements of a text."""
    return tuple(map(_statement, ast.parse(source).body))


def _statement(node):
    match node:
        case ast.Assign([target], value):
            target = _expression(target)
            if isinstance(target, Name):
                return Let(target.name, _expression(value))
            return Assign(target, _expression(value))
        case ast.AugAssign(target, ast.Add(), value):
            return Accumulate(_expression(target), _expression(value))
        case ast.Expr(value):
            return Do(_expression(value))
        case ast.If(condition, body):
            return If(_expression(condition), tuple(map(_statement, body)))
        case ast.For(ast.Name(variable), ast.Call(_, ends), body):
            body, ends = tuple(map(_statement, body)), list(map(_expression, ends))
            if ends[0] == Name("lane"):
                return For(variable, ends[1], body, kind="threads")
            return For(variable, ends[0], body)
    raise TypeError(ast.dump(node))


def _expression(node):
    match node:
        case ast.Name(name):
            return Name(name)
        case ast.Constant(bool() as value):
            return Name(str(value))
        case ast.Constant(value):
            return Integer(value) if isinstance(value, int) else Number(value)
        case ast.UnaryOp(ast.USub(), value):
            return Negative(_part(value, _product))
        case ast.BinOp(left, sign, right):
            sign = _SIGNS[type(sign)]
            tight = _sum if sign in "+-" else _product
            return Binary(sign, _part(left, tight), _part(right, _product))
        case ast.Compare(left, [sign], [right]):
            return Binary(_SIGNS[type(sign)], _expression(left), _expression(right))
        case ast.IfExp(condition, first, second):
            return Choice(_expression(condition), _expression(first), _expression(second))
        case ast.Call(ast.Name(function), arguments):
            return Call(function, tuple(map(_expression, arguments)))
        case ast.Subscript(ast.Name(array), ast.Call(ast.Name("at"), [index])):
            return Entry(array, _expression(index))
        case ast.Subscript(ast.Name(array), index):
            return Entry(array, _expression(index), plain=True)
    raise TypeError(ast.dump(node))


def _sum(node) -> bool:
    return isinstance(node, ast.Compare)


def _product(node) -> bool:
    return isinstance(node, ast.Compare | ast.UnaryOp) or (
        isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub)
    )


def _part(node, loose):
    found = _expression(node)
    return Group(found) if loose(node) else found
