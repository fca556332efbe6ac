"""Passes on statements: what each of them may change, and what it has to leave."""

import pytest
from statement_text import PRINTER, statements, text

from pwgf_sym.loops.nodes import Binary, Comment, For, Group, Integer, Let, Name
from pwgf_sym.loops.passes.declared import declared
from pwgf_sym.loops.passes.forward import forward
from pwgf_sym.loops.passes.merging import goes_on, merged
from pwgf_sym.loops.passes.registers import numbers_of_one_loop


def lines(source):
    return text(statements(source))


# ------------------------------------------------------------------------- forward substitution
MOVED = {
    "the whole value": ("v = a + b\nx = v", "x = a + b"),
    "a sum in a sum": ("v = a + b\nx = c + v", "x = c + (a + b)"),
    "a product in a sum": ("v = a*b\nx = c + v", "x = c + a*b"),
    "a product in a product": ("v = a*b\nx = c*v", "x = c*(a*b)"),
    "a product before a product": ("v = a/b\nx = v*c", "x = (a/b)*c"),
    "a product taken away": ("v = a*b\nx = c - v", "x = c - (a*b)"),
    "a product that is lessened": ("v = a*b\nx = v - c", "x = a*b - c"),
    "a minus": ("v = -a\nx = c + v", "x = c + (-a)"),
    "a minus of a product": ("v = a*b\nx = -v", "x = -(a*b)"),
    "a choice": ("v = 1.0 if i == j else 0.0\nx = c + v", "x = c + ((1.0 if i == j else 0.0))"),
    "a choice by another sign": (
        "v = a if i != j else b\nx = c + v",
        "x = c + ((a if i != j else b))",
    ),
    "the only argument": ("v = a + b\nx = f(v)", "x = f(a + b)"),
    "one of two arguments": ("v = a + b\nx = f(v, c)", "x = f((a + b), c)"),
    "in parentheses": ("v = a + b\nx = c*(v + d)", "x = c*((a + b) + d)"),
    "to an entry": ("v = a*b\nx[at(i)] = v", "x[at(i)] = a*b"),
    "added to a number": ("v = a*b\nx += v", "x += a*b"),
    "past another statement": ("v = a*b\ny = c\nx = y + v", "y = c\nx = y + a*b"),
    "in a loop": (
        "for i in range(3):\n    v = a[at(i)]\n    x += v*v0",
        "for i in range(3):\n    x += a[at(i)]*v0",
    ),
    "the other half of an array": (
        "v = a[at(i)]\nb[at(i)] = c\nx = v",
        "b[at(i)] = c\nx = a[at(i)]",
    ),
}
LEFT = {
    "used twice": "v = a*b\nx = v + v",
    "used by two": "v = a*b\nx = v\ny = v",
    "used nowhere": "v = a*b\nx = c",
    "used in a loop": "v = a*b\nfor i in range(3):\n    x += v",
    "used after a loop": "for i in range(3):\n    v = a*b\nx = v",
    "changed before": "v = a\nv += b",
    "its entry changes": "v = a[at(i)]\na[at(j)] = c\nx = v",
    "its entry grows": "v = a[at(i)]\na[at(j)] += c\nx = v",
    "an argument that a text repeats": "v = a*b\nx = maximum(v, c)",
    "one of its own": "v = v*b\nx = v",
    "an array of that name": "v = a\nx = v[row]",
    "too long": f"v = {'a' * 50}\nx = {'b' * 40} + v",
}


def test_a_number_that_is_used_once_stands_there():
    for name, (before, after) in MOVED.items():
        assert text(forward(statements(before), ["v"], PRINTER)) == after.splitlines(), name


def test_parentheses_are_not_doubled():
    use = Let("x", Binary("*", Name("c"), Group(Name("v"))))
    assert text(forward((*statements("v = a + b"), use), ["v"], PRINTER)) == ["x = c*(a + b)"]


def test_what_is_not_moved():
    for name, source in LEFT.items():
        body = statements(source)
        assert forward(body, ["v"], PRINTER) == body, name


def test_numbers_move_in_their_order():
    body = statements("v = a*b\nw = v + c\nx = w*d")
    assert text(forward(body, ["v", "w"], PRINTER)) == ["x = (a*b + c)*d"]
    assert text(forward(body, ["w"], PRINTER)) == ["v = a*b", "x = (v + c)*d"]


# --------------------------------------------------------------------- numbers and local arrays
ONE_LOOP = "for row in range(3):\n    v[row] = a[at(row)]\n    v[row] += b\n    w[row] = v[row]"
TWO_LOOPS = f"{ONE_LOOP}\nfor row in range(3):\n    x[at(row)] = w[row]"


def test_what_one_loop_uses_is_a_number():
    body, arrays = numbers_of_one_loop(statements(TWO_LOOPS), ["v", "w", "v"], "row")
    loop = "for row in range(3):"
    inside = ["    v = a[at(row)]", "    v += b", "    w[row] = v"]
    assert text(body) == [loop, *inside, loop, "    x[at(row)] = w[row]"]
    assert arrays == ["w"]


@pytest.mark.parametrize("use", ["store(x, w)", "y = w[0]"])
def test_what_is_taken_whole_is_an_array(use):
    body = statements(f"{ONE_LOOP}\n{use}")
    assert numbers_of_one_loop(body, ["w"], "row") == (body, ["w"])


# ------------------------------------------------------------------------------ loops that go on
FIRST = "for entry in range(lane, 6, threads):\n    a[at(p + 6 + entry)] = b[at(entry)]"


def test_which_loops_follow_each_other():
    for line, joined in [
        ("a[at(p + 12 + entry)] = b[at(5 + entry)]", False),  # b begins elsewhere
        ("a[at(p + 12 + entry)] = 2*b[at(6 + entry)]", False),
        ("a[at(p + 13 + entry)] = b[at(6 + entry)]", False),  # one is left out
        ("a[at(p + 12 + entry)] = b[at(6 + entry//3)]", False),
        ("c[at(p + 12 + entry)] = b[at(6 + entry)]", False),
        ("a[at(q + 12 + entry)] = b[at(6 + entry)]", False),
        ("a[at(p + 12 + entry)] = b[at(6 + entry)]", True),
    ]:
        (first,) = statements(FIRST)
        (second,) = statements(f"for entry in range(lane, 4, threads):\n    {line}")
        assert goes_on(first, second) == joined, line
        found = merged([Comment("one"), first, Comment("two"), second])
        sizes = [node.stop for node in found if isinstance(node, For)]
        assert sizes == ([Integer(10)] if joined else [Integer(6), Integer(4)])
        kinds = [type(node) for node in found]
        assert kinds == ([Comment, Comment, For] if joined else [Comment, For, Comment, For])


def test_the_entry_itself_is_no_place():
    """What depends on the number of an entry is another thing for the entries after it."""
    loops = [
        f"for entry in range(lane, {size}, threads):\n    a[at({at}entry)] = f(entry)"
        for size, at in ((6, ""), (4, "6 + "))
    ]
    body = statements("\n".join(loops))
    assert merged(body) == list(body)


@pytest.mark.parametrize("between", ["meet()", "if lane == 0:\n    c = 1"])
def test_loops_with_something_between_stay_two(between):
    second = FIRST.replace("6, threads", "4, threads").replace("p + 6", "p + 12")
    second = second.replace("b[at(entry)]", "b[at(6 + entry)]")
    assert len(merged(statements(f"{FIRST}\n{second}"))) == 1
    body = statements(f"{FIRST}\n{between}\n{second}")
    assert merged(body) == list(body)


# ------------------------------------------------------------------------------------- declared
def test_what_a_block_reads_is_declared():
    places = {name: Name(f"{name}_there") for name in "pqrs"}
    body = statements("for i in range(3):\n    x[at(p + i)] = f(s[at(q)])")
    assert text(declared(places, body)) == [
        "p, q, s = p_there, q_there, s_there",
        *text(body),
    ]
    assert declared(places, statements("x = 1")) == statements("x = 1")
