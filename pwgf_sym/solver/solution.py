"""The result of a run: rows over time, the map at each of them, and its stored form."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import brief, checked_call, file_path, integer, number, real_array
from ..declare.periods import wrapped
from ..errors import FoldedMapWarning, InversionWarning, OptionError, warn
from ..memory import fitting
from .assured import Assured
from .columns import COLUMNS, STEPS, Restart, Row
from .compiler import build_program
from .described import describe
from .folds import fold_text, folded_part, largest_part
from .history import Counts, History
from .path import Path
from .preimages import preimages
from .push import Push
from .sampling import draw, seed_for
from .stored import write_archive
from .stored_restarts import as_arrays
from .summary import summary

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import ArrayLike

    from .protocols import Program

__all__ = ["COLUMNS", "STEPS", "Row", "Solution"]

# Two times closer than this part of the distance between stored times, or so many units in the
# last place, are the same stored time.
_SAME_TIME, _ROUNDING = 1e-9, 8


class Solution(Assured):
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
        Of an energy that holds the time, less its partial derivative by it.
    defect : (K,) array
        delta = sqrt(mean |u - w|^2), u the velocity of the map's samples and w the target
        velocity, on samples that the flow does not use.  Means over pairs of samples are taken
        over these, with their sampling noise.  Infinite where it has no finite value, and NaN
        where there is no w: the first variation jumps, or the integrand holds derivatives of the
        density.
    relative_defect : (K,) array
        ``defect`` over sqrt(mean |w|^2).  Near equilibrium w tends to 0 and this to 1 or beyond,
        however good the map is: what a misfit costs there is seen in ``misfit``.
    residual, iterations, converged : (K,) arrays
        Worst relative residual, number of iterations, and success of all linear solves since the
        row before.
    history : History
        Time, energy and length of every step, whatever was stored.
    status : {"completed", "stopped", "interrupted", "failed"}
        How the run ended; "failed" only on the ``solution`` of an exception.
    message : str
        The same in words, with what is wrong.
    folded : float or None
        Part of the initial law on which det dT/dz has the rarer sign at the last stored time: 0 for
        a map without folds.  None where it was not looked for, as after an interruption.
    unknown_constant : str
        Integrals of the energy that are known up to a constant; empty if there are none.
    reads_density : bool
        Whether the energy or its velocity reads log densities of samples, which mean nothing where
        the map is folded.
    nfev, nsteps, nsolves, nmissed, nit : int
        Right-hand sides, time steps, linear solves, those that missed their tolerance, iterations
        of all of them.  None on a solution of an older file.
    nrejected : int
        Steps that were tried and not taken.
    wall_time : float
        Seconds of the run, compilation included.
    path : Path or None
        Dense output: the parameters of the map at any time of the run.
    t_events : list of arrays
        Times of each event.
    statistics : dict
        ``changes``: what the run chose anew on its way, each with time and reason; ``estimate``:
        the error at the end; ``noise`` and ``missed``: how far noise of the samples and limits of
        the map have moved the samples from the flow, if it forgot nothing.
    restarts : tuple of Restart
        Times ``t`` at which a fresh map took over, and the laws ``law`` that it began with:
        parameters of later times are those of maps that act on these.
    problem, map, options
        What was solved: the problem, the map, and a dict of the options.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        program: Program,
        options: dict[str, Any],
        status: str,
        message: str = "",
        history: History | None = None,
        counts: Counts | None = None,
        folded: float | None = None,
        reads_density: bool = True,
        *,
        path: Path | None = None,
        t_events: list[list[float]] | None = None,
        statistics: dict[str, Any] | None = None,
        restarts: Sequence[Restart] = (),
    ) -> None:
        columns = zip(*rows, strict=True)
        for name, column in zip(Row._fields, columns, strict=True):
            setattr(self, name, np.array(column, dtype=COLUMNS[name]))
        self.problem, self.map = program.problem, program.map
        self.options, self.status, self.message = options, status, message
        self.history = History.empty() if history is None else history
        self.__dict__.update((counts or Counts())._asdict())
        self.folded, self.reads_density = folded, reads_density
        self.unknown_constant = program.unknown_constant
        self.path, self.statistics = path, statistics or {}
        self.t_events = [np.array(times, float) for times in t_events or []]
        self.restarts = tuple(restarts)
        self._folds, self._programs = {}, {0: program}

    def __getstate__(self) -> dict[str, Any]:
        # Machine code does not travel: it is found in the cache, or made again, when it is needed.
        return self.__dict__ | {"_programs": {}, "options": dict(self.options)}

    @property
    def success(self) -> bool:
        """Whether the run ended as it was asked to, and its numbers can be relied on.

        That is: it reached its end or was stopped by the callback or an event, the estimated error
        is within ``tol``, or the distance to equilibrium where that was asked for, every linear
        solve met its tolerance, no defect is infinite, and the map is not folded at the end of a
        flow that reads densities.
        """
        ended = self.status in ("completed", "stopped")
        solved = not self.nmissed and bool(np.all(self.converged))
        sound = not (self.folded and self.reads_density) and not np.any(np.isinf(self.defect))
        arrived = self.statistics.get("equilibrium", {}).get("reached", True)
        return ended and solved and sound and arrived and not self.inaccurate

    @property
    def misfit(self) -> np.ndarray:
        """Squared defect over the largest dissipation of the run, (K,).

        Both are energy per time: the energy that flows in a direction that the map cannot follow,
        beside the energy that flowed when the flow was fastest.  Unlike ``relative_defect`` it
        tends to 0 with the defect as the flow comes to rest.
        """
        scale = max(float(np.max(self.dissipation)), 0.0)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            square = self.defect**2
            return np.where(square == 0, 0.0, square / scale)

    @property
    def program(self) -> Program:
        """The compiled program; a loaded solution compiles it when it is first needed.

        It is that of the initial law, before any restart.
        """
        return self._program_of(0)

    def _program_of(self, piece: int) -> Program:
        """The program of the map after so many restarts."""
        if piece not in self._programs:
            if piece:
                found = self.program.beginning_with(self.restarts[piece - 1].law)
            else:
                target, dtype = self.options["target"], self.options["dtype"]
                found = build_program(self.problem, self.map, target, dtype)
            self._programs[piece] = found
        return self._programs[piece]

    def _piece(self, time: float) -> int:
        """Restarts before a time."""
        return sum(restart.t < time for restart in self.restarts)

    def _program_at(self, time: float) -> Program:
        """The program of the map that the solution has at a time."""
        return self._program_of(self._piece(time))

    @checked_call
    def sample(
        self,
        n: int,
        t: float | None = None,
        *,
        seed: int | np.random.Generator | None = 0,
        sampling: str = "random",
    ) -> np.ndarray:
        """Draw samples of rho_t.

        Parameters
        ----------
        n : int
            Number of samples.
        t : float, optional
            A time of the run; the last by default.
        seed : int, None or numpy.random.Generator
            The same integer gives the same samples; None and a generator give new ones.
        sampling : {"random", "sobol"}
            Independent or quasi-random points of the initial law.

        Returns
        -------
        (n, d) array
            In periodic coordinates from 0 to the period.

        Raises
        ------
        OptionError
            If ``t`` is no time of the run, or another argument is not accepted.
        """
        n = integer("n", n, 1)
        fitting("n", n, 16 * self.problem.dim, "samples", error=OptionError)
        time, theta = self._at(t)
        problem = self._program_at(time).problem
        x = self._push(draw(problem.initial, n, sampling=sampling, seed=seed), time, theta)
        return wrapped(x, problem.periods)

    @checked_call
    def push(self, z: ArrayLike, t: float | None = None) -> np.ndarray:
        """Map points of the initial law's space by T_theta(t).

        Parameters
        ----------
        z : (n, d) array
            Points.
        t : float, optional
            A time of the run; the last by default.

        Returns
        -------
        (n, d) array
            Periodic coordinates are not taken modulo the period: points go continuously.

        Raises
        ------
        OptionError
            If ``t`` is no time of the run or ``z`` has another shape.
        """
        points, (time, theta) = self._points("z", z), self._at(t)
        piece = self._piece(time)
        if piece:
            points = self.restarts[piece - 1].law._from_source_of(self.problem.initial, points)
        return self._push(points, time, theta)

    @checked_call
    def log_density(self, points: ArrayLike, t: float | None = None) -> np.ndarray:
        """Logarithm of the density at given points.

        log rho_t(x) = log lambda(z) - log|det dT/dz (z)| with z = T^-1(x), lambda the initial law.
        In periodic coordinates it is the density on the circle.

        Parameters
        ----------
        points : (n, d) array
            Points x.
        t : float, optional
            A time of the run; the last by default.

        Returns
        -------
        (n,) array
            -inf outside the support, and NaN where no z was found.

        Raises
        ------
        OptionError
            If ``t`` is no time of the run or ``points`` has another shape.

        Warns
        -----
        FoldedMapWarning
            If the map is folded: the density at x is then a sum over several z, of which the value
            holds one.
        InversionWarning
            If Newton's iteration found no z for some points, though no fold was found.
        """
        time, theta = self._at(t)
        values = self._log_density(self._points("points", points), time, theta)
        lost, folded = int(np.sum(np.isnan(values))), self._folded(time, theta)
        where = f"log_density at t = {time:.6g}: "
        nan = f"it is NaN at {lost} of {len(values)} points, of which no preimage was found"
        if folded:
            fix = "Values are of one preimage each.  Use sample() and an estimate from samples."
            more = f"; {nan}" if lost else ""
            warn(f"{where}{fold_text(folded)}{more}.  {fix}", FoldedMapWarning)
        elif lost:
            fix = "Points far from the samples may have none; leave them out, or use sample()."
            warn(f"{where}{nan}.  {fix}", InversionWarning)
        return values

    @checked_call
    def law(self, t: float | None = None) -> Push:
        """The law rho_t, which another flow can begin with.

        Parameters
        ----------
        t : float, optional
            A time of the run; the last by default.

        Returns
        -------
        Push
            Its density is exact: that of the initial law, through the map.

        Raises
        ------
        OptionError
            If ``t`` is no time of the run.
        LawError
            If the problem has periodic coordinates.
        """
        time, theta = self._at(t)
        return Push(self._program_at(time).problem.initial, self.map, theta)

    def _log_density(self, points: np.ndarray, time: float, theta: np.ndarray) -> np.ndarray:
        """The values, NaN where no preimage was found, and not a word."""
        program = self._program_at(time)
        law, periods = program.problem.initial, self.problem.periods
        # The image that is near the law: rounding grows with the distance from it.
        half = np.array([0.0 if p is None else p / 2 for p in periods])
        points = wrapped(points, periods, law.mean - half)
        z, logdet = preimages(program, theta.astype(program.dtype), points, law)
        return law.log_density(z) - np.asarray(logdet, np.float64)

    def _folded(self, time: float, theta: np.ndarray) -> float | None:
        """Part of the initial law on which the map is folded at a time."""
        if time not in self._folds:
            found, piece = folded_part(self._program_at(time), theta), self._piece(time)
            if piece and not self.reads_density:  # else no map was folded where the next took over
                law = self.restarts[piece - 1].law
                found = largest_part(found, law.folded_from(self.problem.initial))
            self._folds[time] = found
        return self._folds[time]

    @checked_call
    def energy_at(self, t: float | None = None) -> float:
        """Energy at a time, on samples of the number and seed that the run began with.

        With ``partners`` they meet those that they met then.

        Parameters
        ----------
        t : float, optional
            A time of the run; the last by default.

        Returns
        -------
        float

        Raises
        ------
        OptionError
            If ``t`` is no time of the run.
        """
        time, theta = self._at(t)
        program, options = self._program_at(time).at(time), self.options
        points = draw(
            program.problem.initial,
            options["samples"],
            sampling=options["sampling"],
            seed=seed_for(options["seed"], "samples"),
        )
        samples = program.samples(points)
        if options.get("partners"):
            seed = seed_for(options["seed"], "partners")
            samples = program.in_groups(samples, options["partners"], seed)
        state = program.push(theta.astype(program.dtype), samples, program.form.energy_reads)
        return program.energy(program.integrals(state))

    @checked_call
    def save(self, path: str | PathLike[str]) -> None:
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
        path = file_path("path", path)
        arrays = {name: getattr(self, name) for name in Row._fields}
        arrays |= {f"{STEPS}{name}": array for name, array in self.history._asdict().items()}
        if self.path is not None:
            arrays |= {f"path_{name}": array for name, array in self.path.arrays().items()}
        data = self.problem.arrays.values()
        arrays |= {f"data_{number}": array for number, array in enumerate(data)}
        arrays |= as_arrays(self.restarts)
        write_archive(path, describe(self), arrays)

    @checked_call
    def plot(self, path: str | PathLike[str] | None = None, **options: Any) -> Any:
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
        return summary(self)

    def _push(self, z: np.ndarray, time: float, theta: np.ndarray) -> np.ndarray:
        program = self._program_at(time)
        samples = program.samples(z)
        state = program.push(theta.astype(program.dtype), samples)
        return np.array(samples.unpack(state.x), np.float64)

    def _points(self, name: str, points: ArrayLike) -> np.ndarray:
        dim = self.problem.dim
        array = real_array(name, points, accepted=f"an array of shape (n, {dim})")
        if array.ndim != 2 or array.shape[1] != dim:
            given, fix = f"an array of shape {array.shape}", "Put one point in each row."
            raise OptionError(name, given, f"shape (n, {dim})", fix)
        return array

    def _at(self, t: float | None) -> tuple[float, np.ndarray]:
        """A time of the run, and the parameters there: those stored, or the dense output's."""
        if t is None:
            return float(self.t[-1]), self.theta[-1]
        time = number("t", t)
        nearest = int(np.argmin(np.abs(self.t - time)))
        beside = np.diff(self.t[max(nearest - 1, 0) : nearest + 2])
        apart = beside.min() if beside.size else 0.0
        rounding = _ROUNDING * np.spacing(max(abs(self.t[0]), abs(self.t[-1])))
        if abs(self.t[nearest] - time) <= max(rounding, _SAME_TIME * apart):
            return float(self.t[nearest]), self.theta[nearest]
        if self.path is not None and self.path.covers(time):
            return time, self.path(time)
        if self.path is not None:
            accepted = f"a time from {self.path.t[0]:.6g} to {self.path.t[-1]:.6g}"
            raise OptionError("t", brief(t), accepted, "Run longer: t_span ends there.")
        fix = f"The nearest is t={float(self.t[nearest])!r}; store others with save_at=[...], or "
        fix += "every time with dense_output=True."
        raise OptionError("t", brief(t), f"one of the {self.t.size} stored times", fix)
