"""What a solution says of its own accuracy: error bounds, and evidence from its exact density."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from ..arguments import checked_call
from ..errors import FoldedMapWarning, OptionError, warn
from .certificate import Effort, ErrorBound, bounds_along
from .columns import Columns
from .evidence import Diagnostics, diagnostics
from .folds import fold_text

if TYPE_CHECKING:
    import numpy as np

    from .protocols import Program

__all__ = ["Assured"]


class Assured(Columns):
    """Methods of a :class:`~pwgf_sym.solver.solution.Solution`."""

    @property
    def error_estimate(self) -> float | None:
        """Estimate of the root mean square error of the map at the end, over the spread.

        Of a run that follows a tolerance; None of others, and where nothing is known of the error:
        of energies of the density's gradient, which have no velocity at a sample, and where that
        was not finite.  It is followed on samples that the run does not use, to first order
        (:mod:`pwgf_sym.solver.forecast`): an estimate, no bound.
        """
        found: float | None = self.statistics.get("estimate")
        return found

    @property
    def inaccurate(self) -> bool:
        """Whether the estimated error is above ``tol``."""
        estimate = self.error_estimate
        return estimate is not None and bool(estimate > self.options["tol"])

    if TYPE_CHECKING:

        @property
        def program(self) -> Program: ...

        def _piece(self, time: float) -> int: ...

        def _program_of(self, piece: int) -> Program: ...

        def _program_at(self, time: float) -> Program: ...

        def _at(self, t: float | None) -> tuple[float, np.ndarray]: ...

        def _folded(self, time: float, theta: np.ndarray) -> float | None: ...

    @checked_call
    def error_bound(
        self,
        t: float | None = None,
        distance: str | None = None,
        *,
        seed: int = 0,
        accuracy: float = 0.1,
        evaluations: int = 1 << 21,
    ) -> ErrorBound:
        """A bound on the distance between the computed law and the flow's.

        It follows from the gap u - w between the velocity of the computed path and that of the
        flow, measured on samples that the run did not use and at all times up to t, so that errors
        of the map, of samples and of time steps are in it: for a lambda-convex energy

            W2(t) <= int e^(-lambda (t-s)) (E|u - w|^2)^(1/2) ds,

        and for int V rho + sigma int rho log rho

            KL(computed | flow) <= int E|u - w|^2 / (4 sigma) ds;

        :mod:`pwgf_sym.solver.bounds` has all of them, and their sources.

        Parameters
        ----------
        t : float, optional
            A time of the run; the last by default.
        distance : {"KL", "TV", "W1", "W2"}, optional
            By default the one that says most, of those that are proven if there are any: W2, or W1
            where its bound is less than half of that on W2; where they are larger than the spread
            of the initial law, TV below 1/2, or KL.
        seed : int
            Of the samples.
        accuracy : float
            Samples are added until the standard error of the integral of E|u - w|^2 is at most
            this part of it.
        evaluations : int
            Limit of samples times nodes in time.

        Returns
        -------
        ErrorBound
            ``float(bound)`` is its value; ``distance``, ``status``, ``standard_error``, ``reason``.

        Raises
        ------
        OptionError
            If there is no dense output, ``t`` is no time of the run, or no bound holds on the
            distance: the message says why.

        Examples
        --------
        >>> bound = solution.error_bound(t=1.0)  # doctest: +SKIP
        >>> print(bound)  # doctest: +SKIP
        W2 <= 0.004126 at t = 1 (proven, standard error 6e-05)
        """
        options: Effort = {"seed": seed, "accuracy": accuracy, "evaluations": evaluations}
        return self._error_bounds([t], distance, **options)[0]

    def _error_bounds(
        self,
        times: Sequence[float | None],
        distance: str | None = None,
        **options: Unpack[Effort],
    ) -> list[ErrorBound]:
        """Bounds at some times, all of one distance; None is the last stored time."""
        if self.path is None:
            fix = "Solve with dense_output=True, which keeps the parameters at all times."
            raise OptionError("error_bound", "a run without dense output", "one with it", fix)
        # Log densities, which the velocity reads, are not those of the law where a map is folded.
        places = [self._at(t) for t in times]
        folded = self._folded(*max(places, key=lambda p: p[0])) if self.reads_density else None
        if folded:
            fix = "Use a wider map, a smaller tol or a larger shift."
            raise OptionError("error_bound", fold_text(folded), "maps without folds", fix)
        wanted = [t for t, _ in places]
        pieces = self.path.pieces()[: self._piece(max(wanted)) + 1]
        paths = [(path, self._program_of(k)) for k, path in enumerate(pieces)]
        return bounds_along(*paths[-1], wanted, distance, before=paths[:-1], **options)

    @checked_call
    def diagnostics(
        self, t: float | None = None, *, n: int = 1 << 15, seed: int = 0
    ) -> Diagnostics:
        """What the exact density of rho_t says about the equilibrium pi = exp(-V/sigma)/Z.

        For energies int V rho + sigma int rho log rho.  Samples x of rho_t have the importance
        weights exp(-V(x)/sigma)/rho_t(x), whose mean is Z; means with them are means over pi.

        Parameters
        ----------
        t : float, optional
            A time of the run; the last by default.
        n : int
            Number of samples, at least 64.
        seed : int
            Of these samples.

        Returns
        -------
        Diagnostics
            ``log_z``, ``log_z_error``, ``kl_to_equilibrium``, ``effective_sample_size``, and
            ``mean``, ``covariance`` of pi with ``standard_errors``, ``covariance_errors``.

        Raises
        ------
        OptionError
            If ``t`` is no time of the run, or the energy is of another kind.

        Warns
        -----
        FoldedMapWarning
            If the map is folded: weights then know one preimage of each point.
        """
        time, theta = self._at(t)
        found = diagnostics(self._program_at(time), theta, n=n, seed=seed)
        folded = self._folded(time, theta)
        if folded:
            warn(f"diagnostics at t = {time:.6g}: {fold_text(folded)}", FoldedMapWarning)
        return found
