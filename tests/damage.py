"""Damaged files of solutions, by seeded mutations: bytes, archives, headers, descriptions."""

import copy
import io
import json
import struct
import warnings
import zipfile
from types import SimpleNamespace

import numpy as np
import sympy as sp

from pwgf_sym.declare import energies, symbols
from pwgf_sym.declare.laws import Barenblatt, Gaussian, UniformBall, UniformBox
from pwgf_sym.declare.maps import Affine, NeuralFlow
from pwgf_sym.declare.problem import GradientFlow
from pwgf_sym.solver.history import Counts, History
from pwgf_sym.solver.options import FlowOptions
from pwgf_sym.solver.path import Path
from pwgf_sym.solver.solution import Row, Solution


def solution_of(problem, flow, size, rows=4, status="completed"):
    """A solution with numbers of no meaning; nothing is compiled."""
    rng = np.random.default_rng(size)
    found = [
        Row(0.25 * k, rng.standard_normal(size), -0.5 * k, 1.0, 0.1, 0.2, 1e-9, 7, True)
        for k in range(rows)
    ]
    steps = np.arange(2 * rows) / 8.0
    whole = np.arange(2 * rows)
    history = History(
        *(steps, -2 * steps, np.full(2 * rows, 0.125), 0 * steps + 2, steps, whole),
        *(0.01 * steps, whole + 3, whole + 1024, 1e-7 + steps),
    )
    path = Path(steps, rng.standard_normal((2 * rows, size)), rng.random((2 * rows - 1, 3, size)))
    program = SimpleNamespace(problem=problem, map=flow, unknown_constant="")
    options, counts = FlowOptions(samples=64).to_dict(), Counts(29, 7, 1, 29, 0, 28, 0.25)
    change = {"t": 0.5, "choice": "shift", "value": 1e-6, "reason": "steps stall"}
    more = {"path": path, "t_events": [[0.25], []], "statistics": {"changes": [change]}}
    ending = "reached t = 1", history, counts, 0.0
    return Solution(found, program, options, status, *ending, **more)


def solutions():
    """One of each kind of map, law and energy."""
    x, u = symbols.coordinates(1), symbols.coordinates(2)
    rho, mu = symbols.Density(x), symbols.Density(u, "mu")
    v = symbols.copy_of(u)
    beta = sp.Symbol("beta", positive=True)
    well = energies.integral((x[0] ** 2 - 2) ** 2 * rho + rho * sp.log(rho) / beta, x)
    pair = sp.exp(-sum((a - b) ** 2 for a, b in zip(u, v)))
    pairs = energies.integral(mu**2, u) + sp.Float("0.3") * energies.integral(
        pair * mu * mu.at(v), u, v
    )
    switch = sp.Piecewise((u[0] ** 2, u[0] > 1), (2 * u[0] - 1, True)) * sp.Rational(1, 3)
    bent = energies.integral(switch * mu, u)
    wells = GradientFlow(well, rho, Gaussian([0.5], 2.0), {beta: 1.5})
    return [
        solution_of(wells, NeuralFlow(1, 3, 2, activation=sp.atan), 22),
        solution_of(GradientFlow(pairs, mu, Barenblatt(2, 3, 1.0)), Affine(2), 6),
        solution_of(
            GradientFlow(bent, mu, UniformBox([0.0, 1.0], 3.0)), Affine(2), 6, 1, "stopped"
        ),
        solution_of(
            GradientFlow(bent, mu, UniformBall([0.0, 1.0], 3.0)), Affine(2), 6, 2, "failed"
        ),
    ]


VALUES = [
    *(None, True, False, 0, 1, -1, 2, 3.5, -0.5, 1e308, -1e-320, 2**31, 2**63, 2**70, 10**400),
    *("", "0", "x", "Integer", "pi", "cuda", "completed", "\ud800", "a" * 5000, "__import__('os')"),
    *(
        [],
        {},
        [[]],
        [None],
        {"map": "Affine"},
        ["pi"],
        ["Integer", "9" * 4000],
        ["Symbol", "x0", {}],
    ),
    *(
        ["Float", 0, "1", 10**9, 53],
        ["Rational", "1", "0"],
        ["Pow", ["Integer", "10"], ["Integer", "9" * 12]],
    ),
    *([0.0] * 3000, [[1.0]] * 3000, list(range(50)), ["Infinity"], ["Density", "rho", ["pi"]]),
]


def places(node, path=()):
    """Paths of all nodes of a JSON text."""
    yield path
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in items:
        yield from places(value, (*path, key))


def at(node, path):
    for key in path:
        node = node[key]
    return node


def changed_description(rng, description):
    """A field of another type or value, gone, doubled, or put where another one was."""
    new = copy.deepcopy(description)
    for _ in range(rng.integers(1, 3)):
        every = list(places(new))[1:]
        path = every[rng.integers(len(every))]
        parent, key = at(new, path[:-1]), path[-1]
        match rng.integers(5):
            case 0:
                del parent[key]
            case 1:
                parent[key] = copy.deepcopy(at(new, every[rng.integers(len(every))]))
            case 2 if isinstance(parent[key], (int, float)) and parent[key] is not True:
                parent[key] = parent[key] * rng.choice([-1, 2, 1e9, 1e300])
            case _:
                parent[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
        if not new:
            break
    return new


def text_of(rng, description):
    """JSON of a description, at times with what JSON has beyond it, or too deep."""
    text = json.dumps(description)
    match rng.integers(12):
        case 0:
            return text.replace("1.5", "NaN").replace("0.5", "-Infinity").replace("64", "1e999")
        case 1:
            return text.replace("64", "9" * 6000)
        case 2:
            return text.replace('["pi"]', "[" * 100_000).replace(
                '"stopped"', "[" * 3000 + "]" * 3000
            )
        case 3:
            i = rng.integers(len(text))
            return text[:i] + str(rng.choice(list('{}[]",:0e-\x00\U0001f600'))) + text[i + 1 :]
    return text


def changed_array(rng, array):
    """Another shape, type or number."""
    array = np.array(array)
    match rng.integers(9):
        case 0:
            return array[: rng.integers(len(array) + 1)]
        case 1:
            return array[None]
        case 2:
            return array.astype(rng.choice(["f4", "i4", ">f8", "c16", "U3", "i8", "bool"]))
        case 3:
            return np.repeat(array, 2, axis=-1)
        case 4:
            return np.asfortranarray(array)[::-1]
        case 5:
            return np.zeros(())
    if array.size and array.dtype != bool:
        values = [np.nan, np.inf, -np.inf, -1.0, 1e308] if array.dtype.kind == "f" else [-1, 2**62]
        array.flat[rng.integers(array.size)] = rng.choice(values)
    return array


def archive(members, compression=zipfile.ZIP_STORED):
    """A zip archive of names and bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as zipped, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that is there twice
        for name, data in members:
            zipped.writestr(name, data)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def changed_member(rng, data):
    """The bytes of an .npy file with another header."""
    length = struct.unpack("<H", data[8:10])[0]
    header = data[10 : 10 + length].decode("latin1")
    match rng.integers(8):
        case 0:
            header = header.replace("(", f"({rng.choice([10**6, 10**12, 10**18, -1, 2])}, ", 1)
        case 1:
            header = header.replace(
                "<f8", str(rng.choice(["<f2", "|O", ">f8", "<U900000000", "|V8"]))
            )
        case 2:
            header = header.replace("False", str(rng.choice(["True", "1", "__import__('os')"])))
        case 3:
            header = "(" * 9000 + header
        case 4:
            header = header.replace("'shape'", "'shapes'")
        case 5:
            return data[:8] + struct.pack("<H", rng.integers(1 << 16)) + data[10:]
        case 6:
            return bytes([*data[:6], *rng.integers(0, 4, 2).tolist(), *data[8:]])
        case _:
            return data[: rng.integers(len(data) + 1)] + bytes(rng.integers(0, 200, dtype=np.uint8))
    return (
        data[:8]
        + struct.pack("<H", len(header) % 65536)
        + header.encode("latin1")
        + data[10 + length :]
    )


def damaged(rng, whole: bytes) -> bytes:
    """The bytes of one damaged file."""
    with np.load(io.BytesIO(whole)) as given:
        arrays = dict(given)
    description = json.loads(str(arrays["description"]))
    kind = rng.integers(10)
    if kind == 0:
        return whole[: rng.integers(len(whole))] + bytes(rng.integers(0, 30, dtype=np.uint8))
    if kind in (1, 2):
        data = np.frombuffer(whole, np.uint8).copy()
        # Half of them where the directory of the archive stands.
        low = 0 if kind == 1 else int(0.7 * data.size)
        for place in rng.integers(low, data.size, rng.integers(1, 5)):
            data[place] ^= 1 << rng.integers(8) if rng.random() < 0.5 else rng.integers(1, 256)
        return data.tobytes()
    names = list(arrays)
    if kind == 3:
        name = names[rng.integers(len(names))]
        if name != "description":
            arrays[name] = changed_array(rng, arrays[name])
    elif kind >= 6:
        arrays["description"] = np.array(text_of(rng, changed_description(rng, description)))
    members = [(f"{name}.npy", npy(array)) for name, array in arrays.items()]
    if kind == 4:
        k = rng.integers(len(members))
        members[k] = (members[k][0], changed_member(rng, members[k][1]))
    if kind == 5:
        a, b = rng.integers(len(members), size=2)
        match rng.integers(5):
            case 0:
                members[a], members[b] = (
                    (members[a][0], members[b][1]),
                    (members[b][0], members[a][1]),
                )
            case 1:
                del members[a]
            case 2:
                members.append((members[a][0], members[b][1]))
            case 3:
                members.append(("other.npy", members[a][1]))
            case _:
                return archive(members, zipfile.ZIP_DEFLATED)
    return archive(members)
