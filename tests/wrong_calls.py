"""Random wrong calls of every public name: each ends in an error of the package or a right result.

    python tests/wrong_calls.py 1000        # so many calls; prints those that end otherwise
    python tests/wrong_calls.py 1000 7      # with another seed

A call starts from a right one.  Arguments are replaced by values of other types, shapes and sizes,
exchanged, left out, or given under the names of other packages.  The rule: a wrong call raises a
``PwgfError`` (also where an argument is missing or unknown: ``CallError``, which is a ``TypeError``
too); paths that the system refuses raise ``OSError``; nothing else escapes, nothing hangs, and what
is returned is finite.
"""

import contextlib
import datetime
import decimal
import inspect
import math
import os
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from fractions import Fraction

import numpy as np
import scipy.stats
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.solver.option_objects import FIELDS

# Seconds of the processor that a call may take, and one for which something is compiled.
SOON, COMPILED = 2.0, 10.0
NAMES = """
t_eval rtol atol n_samples method epochs lr sample integrater dT Seed sampels maxiter device
verbose mean0 covariance widht activations dimension law params T samplng targets progres
save_att shfit kernel path1 density1 timess foo self name_ X y0
""".split()  # noqa: SIM905


# Calls whose one argument is replaced, and no other.
SINGLE = {"Density.at", "Density()", "Coordinates[]", "Coordinates+", "Coordinates*"}
# Calls whose arguments are given by their places.
PLACES = {"integral", "logaddexp"}
SINGLE |= {"Coordinates**", "outer", "potential", "parameters"}
# Calls of methods that Python itself compares with their signatures.
PLAIN = {"program.samples", "program.push", "program.unpack", "program.jvp", "program.invert"}
PLAIN |= {"initial_parameters", "Chain.initial_parameters"}


def values(rng):
    """Values of many kinds, most of them wrong anywhere."""
    x, rho, energy, problem = parts()
    z = sp.Symbol("z")
    deep = z
    for _ in range(60):
        deep = sp.sin(deep + z)
    return [
        *(None, True, False, Ellipsis, NotImplemented, object(), int, pw.Affine, pw.Gaussian),
        *("", "2", "x**2", "tanh", "__import__('os').getcwd()", "é\ud800", b"1", bytearray(3)),
        *(-1, 0, 1, 2, 3, 7, 10**7, 10**400, -(10**30), 2**63, 2**64),
        *(0.0, -0.0, 0.5, -2.5, 1e-300, 1e300, 5e-324, math.nan, math.inf, -math.inf),
        *(1 + 2j, 1j, complex("nan"), np.complex128(1)),
        *(Fraction(1, 3), Fraction(4), decimal.Decimal("0.25"), decimal.Decimal("NaN")),
        *(np.float32(0.5), np.int8(2), np.bool_(True), np.longdouble(0.25), np.float64("nan")),
        *(np.array(0.5), np.array(2), np.array(True), np.array("a"), np.array(None)),
        *(np.zeros(0), np.zeros(3), np.zeros((2, 2)), np.zeros((2, 3, 4)), np.zeros((0, 2))),
        *(np.array([1.0, np.nan]), np.array([1 + 1j]), np.array(["1", "2"]), np.array([None, 1])),
        *(np.datetime64("2020-01-01"), datetime.datetime(2020, 1, 1), datetime.timedelta(1)),
        *([], [1], [0.1, 0.2], [1, [2, 3]], ["a"], [None], (0, 1), (1, 0), ((),), [[1.0]], [True]),
        *({}, {"a": 1}, {z: 1}, {1, 2}, frozenset(), range(3), slice(2), iter([1, 2]), zip()),
        *(sp.I, sp.nan, sp.oo, -sp.oo, sp.zoo, sp.pi, sp.Integer(2), sp.Rational(1, 3)),
        *(sp.Float("1e-400"), sp.Integer(10) ** 400, z, sp.Symbol("q", positive=True), sp.Dummy()),
        *(sp.Matrix([[1]]), sp.Matrix([[1, 2], [3, 4]]), sp.ImmutableMatrix([z]), sp.true, z > 0),
        *(sp.MatrixSymbol("M", 2, 2), sp.Tuple(z, 1), sp.Function("f")(z), sp.Integral(z, z)),
        *(sp.Derivative(sp.Function("f")(z), z), sp.Sum(z, (z, 0, 3)), sp.zeta(z), deep),
        *(z ** (10**9), sp.exp, sp.tanh, np.tanh, math.tanh, abs, len, print, lambda: 1),
        *(lambda a: 1, lambda a: a * sp.I, lambda a, b: a, lambda a: "tanh(a)", lambda a: 1 / 0),
        *(x, x[0], rho, rho.args, energy, problem, pw.Affine(1), pw.Affine(2), pw.errors, pw),
        *(pw.NeuralFlow(1, 2, 1), pw.Gaussian([0.0], 1.0), pw.Gaussian([0.0, 1.0], 1.0)),
        *(pw.Steps("rk4"), pw.Samples(9, max=7), pw.LinearSolve("minres", precision="mixed")),
        *(pw.coordinates(2), pw.Density(pw.coordinates(2)), pw.copy_of(x), rho**2, sp.log(rho)),
        *(rng.random(), rng.randint(-5, 5), rng.random() * 10 ** rng.randint(-320, 300)),
    ]


def parts():
    x = pw.coordinates(1)
    rho = pw.Density(x)
    energy = pw.integral(x[0] ** 2 * rho + rho * sp.log(rho), x)
    return x, rho, energy, pw.GradientFlow(energy, rho, initial=pw.Gaussian([0.0], 1.0))


def of_potential(f):
    """A problem of the potential f, where f is a formula or a number."""
    x, rho, _, problem = parts()
    product = f * rho if isinstance(f, sp.Expr | int | float) and not isinstance(f, bool) else f
    return pw.GradientFlow(pw.integral(product, x), rho, problem.initial)


class Calls:
    """Right calls by name: a function, its arguments, and whether it may compile something."""

    def __init__(self, folder: str):
        self.folder = folder
        x, rho, energy, problem = parts()
        flow = pw.Affine(1)
        options = {"samples": 16, "dt": 0.1, "linear_solver": "dense"}
        solution = pw.solve(problem, flow, (0.0, 0.2), **options)
        law, path = pw.Gaussian([0.0], 1.0), os.path.join(folder, "a.npz")
        solution.save(path)
        flat = [[0.1], [0.2]]
        exact, grid, angle = pw.exact, [0.0, 1.0, 2.0], pw.coordinates(1, period=1)
        profile = (lambda s: s**2, 1.0, lambda s: np.exp(-(s**2) / 2) / math.sqrt(2 * math.pi))
        plane = lambda a, b: profile[2](a) * profile[2](b)  # noqa: E731
        program = pw.compile(problem, flow)
        theta, packed = solution.theta[-1], program.samples(flat)
        neural, chain = pw.NeuralFlow(1, 2, 1), pw.Chain([pw.Planar(1, 2), pw.Triangular(1, 2)])
        self.calls = {
            "coordinates": (pw.coordinates, {"dim": 2, "name": "x", "period": [1.0, None]}),
            "copy_of": (pw.copy_of, {"x": x}),
            "vector": (pw.vector, {"x": x}),
            "Density": (lambda x=0, name="rho", **o: pw.Density(x, name=name, **o), {"x": x}),
            "Density.at": (rho.at, {"y": pw.copy_of(x)}),
            "Density()": (rho, {"y": x}),
            "Coordinates[]": (lambda i: x[i], {"i": 0}),
            "Coordinates+": (lambda s: x + s, {"s": 1}),
            "Coordinates*": (lambda s: x * s, {"s": 1}),
            "Coordinates**": (lambda s: x**s, {"s": 1}),
            "integral": (pw.integral, {"expr": x[0] * rho, "x": x}),
            "outer": (lambda f: pw.compile(pw.GradientFlow(f, rho, law), flow), {"f": energy}),
            "potential": (lambda f: pw.compile(of_potential(f), flow), {"f": x[0]}),
            "GradientFlow": (pw.GradientFlow, {"energy": energy, "rho": rho, "initial": law}),
            "parameters": (
                lambda v: pw.GradientFlow(sp.Symbol("beta") * energy, rho, law, v),
                {"v": {sp.Symbol("beta"): 1}},
            ),
            "Gaussian": (pw.Gaussian, {"mean": [0.0], "cov": 1.0}),
            "UniformBox": (pw.UniformBox, {"low": [0.0], "high": 1.0}),
            "UniformBall": (pw.UniformBall, {"center": [0.0], "radius": 1.0}),
            "Barenblatt": (pw.Barenblatt, {"dim": 1, "m": 2.0, "t0": 1.0, "center": [0.0]}),
            "Circle": (pw.Circle, {"density": 2 + sp.cos(2 * sp.pi * angle[0]), "x": angle}),
            "Mixture": (
                pw.Mixture,
                {"weights": [1.0, 2.0], "means": [[0.0], [1.0]], "covs": [1.0, 2.0]},
            ),
            "Product": (pw.Product, {"laws": [law, law]}),
            "Empirical": (pw.Empirical, {"points": flat}),
            "Custom": (
                pw.Custom,
                {"log_density": -(x[0] ** 2) / 2 - sp.log(2 * sp.pi) / 2, "coordinates": x}
                | {"sampler": lambda n, rng: rng.normal(size=(n, 1))}
                | {"mean": [0.0], "covariance": [[1.0]], "jump": False},
            ),
            "from_scipy": (pw.from_scipy, {"distribution": scipy.stats.t(df=5)}),
            "law.sample": (law.sample, {"n": 3, "seed": 0}),
            "law.transform": (law.transform, {"u": [[0.5]]}),
            "law.log_density": (law.log_density, {"points": flat}),
            "law.score": (law.score, {"points": flat}),
            "Affine": (pw.Affine, {"dim": 1}),
            "NeuralFlow": (
                pw.NeuralFlow,
                {"dim": 1, "width": 2, "steps": 1, "activation": sp.tanh, "substep": "euler"}
                | {"log_determinant": "exact", "period": [1.0], "depth": 2, "skip": True},
            ),
            "Chain": (pw.Chain, {"maps": [pw.Affine(1), pw.Monotone1D(1, 2)]}),
            "Permute": (pw.Permute, {"order": [1, 0]}),
            "Coupling": (pw.Coupling, {"dim": 2, "width": 2, "reverse": True}),
            "Triangular": (pw.Triangular, {"dim": 2, "width": 2}),
            "Monotone1D": (pw.Monotone1D, {"dim": 1, "width": 2, "steps": 1}),
            "GradientMap": (pw.GradientMap, {"dim": 1, "width": 2, "steps": 1}),
            "Planar": (pw.Planar, {"dim": 1, "steps": 1}),
            "RandomFeatures": (pw.RandomFeatures, {"dim": 1, "count": 2, "seed": 0}),
            "Residual": (
                pw.Residual,
                {"dim": 1, "width": 2, "steps": 1, "activation": sp.tanh},
            ),
            "TimeField": (
                pw.TimeField,
                {"dim": 1, "width": 2, "steps": 1, "activation": sp.tanh, "substep": "euler"},
            ),
            "logaddexp": (pw.logaddexp, {"a": x[0], "b": 1}),
            "first_variation": (pw.first_variation, {"energy": energy, "rho": rho}),
            "velocity": (pw.velocity, {"energy": energy, "rho": rho}),
            "pde": (pw.pde, {"energy": energy, "rho": rho}),
            "compile": (pw.compile, {"problem": problem, "flow": flow, "dtype": "float64"}),
            "solve": (
                pw.solve,
                {"problem": problem, "map": flow, "t_span": (0.0, 0.2), **options},
            ),
            "solve2": (pw.solve, {"problem": problem, "map": flow, "t_span": (0.0, 0.2)} | options),
            "solution.sample": (solution.sample, {"n": 3, "t": 0.2, "seed": 0}),
            "solution.push": (solution.push, {"z": flat, "t": 0.0}),
            "solution.log_density": (solution.log_density, {"points": flat, "t": 0.1}),
            "solution.save": (solution.save, {"path": os.path.join(folder, "b.npz")}),
            "solution.plot": (solution.plot, {"path": os.path.join(folder, "b.png"), "samples": 9}),
            "plot": (pw.plot, {"solution": solution, "times": [0.1], "samples": 9, "seed": 1}),
            "equilibrium": (
                pw.equilibrium,
                {"problem": problem, "map": flow, "tol": 0.5, "max_steps": 3, "samples": 16},
            ),
            "fit": (
                pw.fit,
                {"map": flow, "law": law, "to": law, "tol": 0.5, "max_steps": 3, "samples": 16}
                | {"target": "numpy"},
            ),
            "Push": (pw.Push, {"law": law, "map": flow, "theta": solution.theta[-1]}),
            "solution.law": (solution.law, {"t": 0.1}),
            "solution.error_bound": (
                solution.error_bound,
                {"t": 0.1, "distance": "W2", "seed": 1, "evaluations": 1 << 12},
            ),
            "solution.diagnostics": (solution.diagnostics, {"t": 0.1, "n": 64, "seed": 1}),
            "Steps": (pw.Steps, {"method": "rk4", "dt": 0.1}),
            "LinearSolve": (pw.LinearSolve, {"method": "cg", "shift": 0.1}),
            "Samples": (pw.Samples, {"number": 16, "sampling": "random"}),
            "until_equilibrium": (pw.until_equilibrium, {"dissipation": 1e-6}),
            "Event": (pw.Event, {"function": abs, "terminal": True, "direction": 1, "name": "e"}),
            "load_solution": (pw.load_solution, {"path": path}),
            "code_native": (program.code_native, {"kernel": "push"}),
            "code_symbolic": (program.code_symbolic, {"kernel": "push"}),
            "program.samples": (program.samples, {"points": flat}),
            "program.push": (
                program.push,
                {"theta": theta, "samples": packed, "carry": "x"},
            ),
            "program.unpack": (
                program.unpack,
                {"values": packed.z, "samples": packed},
            ),
            "program.jvp": (
                program.jvp,
                {"theta": theta, "samples": packed, "eta": theta},
            ),
            "program.invert": (
                lambda theta, points: len(program.invert(theta, points)),
                {"theta": theta, "points": flat},
            ),
            "program.velocity_at": (program.velocity_at, {"points": flat, "theta": theta}),
            "program.energy_at": (program.energy_at, {"points": flat}),
            "initial_parameters": (
                neural.initial_parameters,
                {"law": law, "seed": 0},
            ),
            "Chain.initial_parameters": (
                chain.initial_parameters,
                {"law": law, "seed": 0},
            ),
            "ornstein_uhlenbeck": (
                exact.ornstein_uhlenbeck,
                {"A": 1.0, "eps": 0.5, "mean0": [0.0], "cov0": 1.0, "t": 1.0, "b": 0.0},
            ),
            "wasserstein_gaussian": (
                exact.wasserstein_gaussian,
                {"mean1": [0.0], "cov1": 1.0, "mean2": [1.0], "cov2": 2.0},
            ),
            "barenblatt_scaling": (
                exact.barenblatt_scaling,
                {"dim": 1, "m": 2, "t0": 1.0, "t1": 2.0},
            ),
            "aggregation_minimum": (exact.aggregation_minimum, {"dim": 2}),
            "aggregation_radial": (
                exact.aggregation_radial,
                {"points": [[0.1, 0.2]], "t": 0.5, "variance": 1.0},
            ),
            "fokker_planck_1d": (
                exact.fokker_planck_1d,
                dict(zip(("potential", "eps", "density0"), profile, strict=True))
                | {"t": 0.1, "low": -6.0, "high": 6.0, "cells": 64, "tol": 1e-3},
            ),
            "mckean_vlasov": (
                exact.mckean_vlasov,
                {"A": 1.0, "attraction": 0.5, "eps": 0.5, "mean0": [0.0], "cov0": 1.0, "t": 1.0}
                | {"b": 0.0},
            ),
            "ornstein_uhlenbeck_map": (
                exact.ornstein_uhlenbeck_map,
                {"points": flat, "A": 1.0, "eps": 0.5, "mean0": [0.0], "cov0": 1.0, "t": 1.0}
                | {"b": 0.0, "attraction": 0.5},
            ),
            "rearrangement_1d": (
                exact.rearrangement_1d,
                dict(zip(("potential", "eps", "density0"), profile, strict=True))
                | {"t": 0.1, "low": -6.0, "high": 6.0, "cells": 64, "tol": 1e-3},
            ),
            "Rearrangement()": (
                exact.rearrangement_1d(*profile, 0.1, -6.0, 6.0, 64),
                {"points": flat},
            ),
            "fokker_planck_2d": (
                exact.fokker_planck_2d,
                {"potential": lambda a, b: a**2 + b**2, "eps": 1.0, "density0": plane, "t": 0.01}
                | {
                    "box": ((-6.0, 6.0), (-6.0, 6.0)),
                    "cells": 32,
                    "points": [[0.1, 0.2]],
                    "steps": 8,
                },
            ),
            "quantiles": (exact.quantiles, {"x": grid, "cdf": [0, 0.5, 1], "levels": [0.2]}),
            "w2_1d": (exact.w2_1d, {"samples": [0.1, 0.4], "x": grid, "cdf": [0, 0.5, 1]}),
        }

    def options_of(self, name: str) -> list[str]:
        """Names of all arguments of a function."""
        names = [n for n in inspect.signature(self.calls[name][0]).parameters if n != "self"]
        return [*names[:-1], *FIELDS] if names[-1:] == ["fields"] else names


def wrong_call(calls: Calls, rng: random.Random):
    """A name, a function, and arguments that were made wrong."""
    name = rng.choice(list(calls.calls))
    function, right = calls.calls[name]
    given, pool = dict(right), values(rng)
    if name in SINGLE:
        return name, function, (rng.choice(pool),), {}
    for _ in range(rng.choice([1, 1, 1, 2])):
        kind = rng.choice(["value"] * 6 + ["option"] * 3 + ["missing", "unknown", "swap"])
        kind = rng.choice(["value", "swap"]) if name in PLAIN else kind
        key = rng.choice(list(given)) if given else "x"
        if kind == "value" and given:
            given[key] = rng.choice(pool)
        elif kind == "option":
            given[rng.choice(calls.options_of(name) or ["x"])] = rng.choice(pool)
        elif kind == "missing":
            given.pop(key, None)
        elif kind == "unknown":
            given[rng.choice(NAMES)] = rng.choice(pool)
        elif kind == "swap" and len(given) > 1:
            other = rng.choice(list(given))
            given[key], given[other] = given[other], given[key]
    if name in PLACES:
        return name, function, tuple(given.values()), {}
    return name, function, (), given


class TooLong(BaseException):
    """A call that took more of the processor than it may."""


@contextlib.contextmanager
def limited(seconds: float):
    """Raise TooLong after so many seconds of the processor."""

    def stop(*_):
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def limited_memory(more: int):
    """Let this process take so many bytes more, so that a large allocation fails at once."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


COMPILING = {"solve", "solve2", "compile", "solution", "plot", "outer", "potential"}
COMPILING |= {"code_native", "load_solution"}


def outcome(name: str, function, args, kwargs) -> str:
    """What a call ends in: "" where it is as it should be, else what is wrong."""
    compiles = name.split(".")[0] in COMPILING
    paths = name in ("load_solution", "solution.save", "solution.plot", "plot")
    start, start_wall = time.process_time(), time.monotonic()
    try:
        with limited(COMPILED if compiles else SOON), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function(*args, **kwargs)
    except pw.PwgfError as error:
        text = str(error)
        wrong = "" if len(text) < 3000 and error.argument else "a poor message"
    except TooLong:
        wrong = "takes too long"
    except OSError as error:
        wrong = "" if paths else f"{type(error).__name__}: {error}"
    except Exception as error:
        wrong = f"{type(error).__name__}: {str(error)[:200]}"
    else:
        wrong = "" if is_sound(result) else f"returned {str(result)[:100]}"
    took = time.process_time() - start
    if not wrong and took > (COMPILED if compiles else SOON):
        wrong = f"took {took:.1f} s ({time.monotonic() - start_wall:.1f} s)"
    return wrong


def is_sound(result) -> bool:
    """Whether a result holds no NaN."""
    if isinstance(result, tuple) and not hasattr(result, "name"):
        return all(is_sound(r) for r in result)
    if isinstance(result, sp.Number):
        return True  # NaN of NaN
    if isinstance(result, float | np.ndarray):
        return not np.isnan(np.asarray(result, float)).any()
    if isinstance(result, pw.Solution):
        return bool(np.isfinite(result.theta).all() and np.isfinite(result.energy).all())
    return not isinstance(result, sp.Matrix | sp.Eq) or not result.has(sp.nan)


def run(count: int, seed: int, report=None) -> list[str]:
    """Make so many wrong calls; returns a line for each that ends otherwise than it should."""
    import matplotlib

    matplotlib.use("Agg")
    rng, found = random.Random(seed), []
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        calls = Calls(folder)
        os.chdir(folder)  # names of files that are no paths end here
        try:
            with limited_memory(8 << 30):
                for number in range(count):
                    name, function, args, kwargs = wrong_call(calls, rng)
                    wrong = outcome(name, function, args, kwargs)
                    if wrong:
                        shown = ", ".join(
                            [*map(short, args), *(f"{k}={short(v)}" for k, v in kwargs.items())]
                        )
                        found.append(f"{number}: {name}({shown}): {wrong}")
                        if report:
                            report(found[-1])
                    close_figures()
        finally:
            os.chdir(here)
    return found


def close_figures():
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot:
        pyplot.close("all")


def short(value) -> str:
    """A value in a line of the report."""
    with contextlib.suppress(Exception):
        return " ".join(repr(value).split())[:60]
    return type(value).__name__


if __name__ == "__main__":
    total, start = [*map(int, sys.argv[1:]), 0][:2] if len(sys.argv) > 1 else (1000, 0)
    wrong = run(total, start, lambda line: print(line, flush=True))
    print(f"{len(wrong)} of {total} calls end otherwise than they should")
    sys.exit(bool(wrong))
