"""The result of a run: rows over time, the map at each of them, and its stored form."""

from __future__ import annotations

import importlib
import json
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..arguments import brief, checked_call, number, real_array
from ..compile.store import write_atomically
from ..declare.laws import law_from_dict
from ..declare.maps import map_from_dict
from ..declare.problem import GradientFlow
from ..declare.tree import from_tree, to_tree
from ..errors import OptionError, PwgfError, StoredSolutionError
from .sampling import draw

__all__ = ["Row", "Solution", "build_program", "load_solution"]

_SCHEMA, _VERSION = "pwgf_sym.solution", 1
# Two times closer than this part of the distance between stored times, or so many units in the
# last place, are the same stored time.
_SAME_TIME, _ROUNDING = 1e-9, 8


class Row(NamedTuple):
    """What a run records at a stored time.

    ``residual``, ``iterations`` and ``converged`` are the worst, the sum and the conjunction over
    all linear solves since the row before, those between stored times included.
    """

    t: float
    theta: np.ndarray
    energy: float
    dissipation: float
    defect: float
    relative_defect: float
    residual: float
    iterations: int
    converged: bool


_DTYPES = dict.fromkeys(Row._fields, np.float64) | {"iterations": np.int64, "converged": bool}


def build_program(problem: GradientFlow, map, target: str, dtype: str):
    """Compile a problem with a map; the compiler is imported only here, when it is needed."""
    from ..compile.program import compile_program

    return compile_program(problem, map, target=target, dtype=dtype)


class Solution:
    """A flow over time: one row a stored time.

    Attributes
    ----------
    t : (K,) array
        Stored times.
    theta : (K, p) array
        Parameters of the map.
    energy : (K,) array
        Energy of the run's samples.
    dissipation : (K,) array
        -dE/dt: mean <w, u> = mean |u|^2 in the velocity form, -grad E . eta in the energy form.
    defect : (K,) array
        delta = sqrt(mean |u - w|^2), u the velocity of the map's samples and w the target
        velocity, on samples that the flow does not use.  Means over pairs of samples are taken
        over these, with their sampling noise.
    relative_defect : (K,) array
        ``defect`` over sqrt(mean |w|^2).
    residual, iterations, converged : (K,) arrays
        Worst relative residual, number of iterations, and success of all linear solves since the
        row before.
    status : {"completed", "stopped", "interrupted", "failed"}
        How the run ended; "failed" only on the ``solution`` of a FlowError.
    message : str
        Detail of the status.
    problem, map, options
        What was solved: the problem, the map, and a dict of the options.
    """

    def __init__(self, rows, program, options: dict, status: str, message: str = ""):
        columns = zip(*rows, strict=True)
        for name, column in zip(Row._fields, columns, strict=True):
            setattr(self, name, np.array(column, dtype=_DTYPES[name]))
        self.problem, self.map = program.problem, program.map
        self.options, self.status, self.message = options, status, message
        self._program = program

    @property
    def program(self):
        """The compiled program; a loaded solution compiles it when it is first needed."""
        if self._program is None:
            target, dtype = self.options["target"], self.options["dtype"]
            self._program = build_program(self.problem, self.map, target, dtype)
        return self._program

    @property
    def error_bound(self):
        """Reserved: the bound on the distance to the exact flow."""
        fix = "It comes with later work; solution.defect holds its integrand."
        raise OptionError("error_bound", "a request", "nothing in this version", fix)

    @checked_call
    def sample(self, n: int, t: float | None = None, *, seed: int = 0, sampling: str = "random"):
        """Draw samples of rho_t.

        Parameters
        ----------
        n : int
            Number of samples.
        t : float, optional
            A stored time; the last by default.
        seed : int
            The same seed gives the same samples.
        sampling : {"random", "sobol"}
            Independent or quasi-random points of the initial law.

        Returns
        -------
        (n, d) array

        Raises
        ------
        OptionError
            If ``t`` is no stored time, or another argument is not accepted.
        """
        index = self._index(t)
        return self._push(draw(self.problem.initial, n, sampling=sampling, seed=seed), index)

    @checked_call
    def push(self, z, t: float | None = None) -> np.ndarray:
        """Map points of the initial law's space by T_theta(t).

        Parameters
        ----------
        z : (n, d) array
            Points.
        t : float, optional
            A stored time; the last by default.

        Returns
        -------
        (n, d) array

        Raises
        ------
        OptionError
            If ``t`` is no stored time or ``z`` has another shape.
        """
        return self._push(self._points("z", z), self._index(t))

    @checked_call
    def log_density(self, points, t: float | None = None) -> np.ndarray:
        """Logarithm of the density at given points.

        log rho_t(x) = log lambda(z) - log|det dT/dz (z)| with z = T^-1(x), lambda the initial law.

        Parameters
        ----------
        points : (n, d) array
            Points x.
        t : float, optional
            A stored time; the last by default.

        Returns
        -------
        (n,) array
            -inf outside the support.

        Raises
        ------
        OptionError
            If ``t`` is no stored time or ``points`` has another shape.
        """
        index, points = self._index(t), self._points("points", points)
        program = self.program
        z, logdet = program.invert(self.theta[index].astype(program.dtype), points)
        return self.problem.initial.log_density(z) - np.asarray(logdet, np.float64)

    @checked_call
    def save(self, path) -> None:
        """Store the solution in one .npz file, written whole or not at all.

        Parameters
        ----------
        path : str or Path
            The file; its name is taken as it is.

        Notes
        -----
        Arrays by their names, and ``description``, a JSON string of the problem, map and options.
        Nothing is pickled.  :func:`load_solution` reads it.
        """
        arrays = {name: getattr(self, name) for name in Row._fields}
        description = json.dumps(_describe(self))
        description = np.array(description)
        write_atomically(Path(path), lambda file: np.savez(file, description=description, **arrays))

    @checked_call
    def plot(self, path=None, **options):
        """Draw densities and energy over time; see :func:`pwgf_sym.look.plots.plot`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        # The stages import to their left only and plots stand to the right of the solver, so the
        # module is found by its name, as pandas finds its plotting backend: no import of it is
        # needed to solve, and matplotlib is loaded only here.
        plots = importlib.import_module(f"{__package__.rpartition('.')[0]}.look.plots")
        return plots.plot(self, path, **options)

    def __repr__(self) -> str:
        first, last = self.t[0], self.t[-1]
        missed = int(np.sum(~self.converged))
        solves = "all solves converged" if missed == 0 else f"tolerance missed in {missed} rows"
        lines = {
            "status": self.status + (f": {self.message}" if self.message else ""),
            "map": f"{self.map}, {self.theta.shape[1]} parameters",
            "times": f"{self.t.size} stored, {first:.6g} to {last:.6g}",
            "energy": f"{self.energy[0]:.6g} to {self.energy[-1]:.6g}",
            "defect": f"{self.defect[0]:.3g} to {self.defect[-1]:.3g}, "
            f"relative {self.relative_defect[0]:.3g} to {self.relative_defect[-1]:.3g}",
            "residual": f"at most {np.max(self.residual):.1e}, {solves}",
        }
        return "Solution\n" + "\n".join(f"  {name:<9} {text}" for name, text in lines.items())

    def _push(self, z: np.ndarray, index: int) -> np.ndarray:
        program = self.program
        samples = program.samples(z)
        state = program.push(self.theta[index].astype(program.dtype), samples, order=0)
        return np.array(program.unpack(state.x, samples), np.float64)

    def _points(self, name: str, points) -> np.ndarray:
        dim = self.problem.dim
        array = real_array(name, points, accepted=f"an array of shape (n, {dim})")
        if array.ndim != 2 or array.shape[1] != dim:
            given, fix = f"an array of shape {array.shape}", "Put one point in each row."
            raise OptionError(name, given, f"shape (n, {dim})", fix)
        return array

    def _index(self, t: float | None) -> int:
        """Row of a stored time."""
        if t is None:
            return self.t.size - 1
        time = number("t", t)
        nearest = int(np.argmin(np.abs(self.t - time)))
        beside = np.diff(self.t[max(nearest - 1, 0) : nearest + 2])
        apart = beside.min() if beside.size else 0.0
        rounding = _ROUNDING * np.spacing(max(abs(self.t[0]), abs(self.t[-1])))
        if abs(self.t[nearest] - time) > max(rounding, _SAME_TIME * apart):
            fix = f"The nearest is t={float(self.t[nearest])!r}; store others with save_at=[...]."
            raise OptionError("t", brief(t), f"one of the {self.t.size} stored times", fix)
        return nearest


def _describe(solution: Solution) -> dict:
    """Everything but the arrays, as JSON-able data."""
    problem = solution.problem
    return {
        "schema": _SCHEMA,
        "version": _VERSION,
        "energy": to_tree(problem.energy),
        "density": to_tree(problem.density),
        "initial": problem.initial.to_dict(),
        "parameters": [[to_tree(symbol), value] for symbol, value in problem.parameters.items()],
        "map": solution.map.to_dict(),
        "options": solution.options,
        "status": solution.status,
        "message": solution.message,
    }


@checked_call
def load_solution(path) -> Solution:
    """Read a solution that :meth:`Solution.save` wrote.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Solution
        Equal in all arrays; its program is compiled when it is first needed.

    Raises
    ------
    StoredSolutionError
        If the file is no stored solution, is damaged, or is of a version that this one does not
        read.  A file that is not there raises FileNotFoundError.
    """
    arrays = _read(path)
    try:
        description = json.loads(str(arrays.pop("description")))
        found = description["schema"], description["version"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise _wrong(path, "a file without a description of a solution") from None
    if found != (_SCHEMA, _VERSION):
        fix = "Read it with the version of the package that wrote it."
        raise _wrong(path, f"a file of schema {found[0]!r} version {found[1]!r}", fix)
    _check_arrays(path, arrays)
    try:
        solution = Solution.__new__(Solution)
        solution._program = None
        solution.problem, solution.map = _restore(description)
        solution.options = dict(description["options"])
        solution.status, solution.message = description["status"], description["message"]
        missing = {"target", "dtype"} - set(solution.options)
        if missing:  # the program will ask for them, later on
            raise KeyError(*missing)
    except (PwgfError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _wrong(path, f"a description that cannot be read ({error})") from error
    for name, array in arrays.items():
        setattr(solution, name, array)
    return solution


def _read(path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file; objects are refused."""
    broken = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, TypeError)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (*broken, AttributeError) as error:
        raise _wrong(path, f"no .npz archive of plain arrays ({error})") from error


def _check_arrays(path, arrays: dict[str, np.ndarray]) -> None:
    """Names, shapes and types of the rows."""
    if set(arrays) != set(Row._fields):
        names = ", ".join(sorted(set(arrays) ^ set(Row._fields)))
        raise _wrong(path, f"missing or unknown arrays: {names}")
    rows = arrays["t"].shape[0] if arrays["t"].ndim == 1 else 0
    for name, array in arrays.items():
        ndim = 2 if name == "theta" else 1
        if array.dtype != _DTYPES[name] or array.ndim != ndim or array.shape[0] != rows or not rows:
            raise _wrong(path, f"array {name} of type {array.dtype} and shape {array.shape}")


def _restore(description: dict) -> tuple[GradientFlow, object]:
    """Problem and map of a description."""
    parameters = {from_tree(tree): value for tree, value in description["parameters"]}
    energy, rho = from_tree(description["energy"]), from_tree(description["density"])
    initial = law_from_dict(description["initial"])
    return GradientFlow(energy, rho, initial, parameters), map_from_dict(description["map"])


def _wrong(path, given: str, fix: str = "") -> StoredSolutionError:
    return StoredSolutionError(f"path {str(path)!r}", given, "a file of Solution.save", fix)
