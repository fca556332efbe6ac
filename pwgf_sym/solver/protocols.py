"""What the solver needs: of a program, a linearized map, samples, vectors and a target.

The solver's code is annotated with these protocols and knows no class of the compiler; the one
place where the two meet is :mod:`.compiler`.  What implements them inherits nothing: the compiler's
classes, and stand-ins of tests, have these attributes and methods.

A program takes back samples, states and linearized maps that it has made itself.  A protocol cannot
say that, so what comes from one program must not be handed to another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from ..declare.law import Law
    from ..declare.maps import Map
    from ..declare.problem import GradientFlow
    from ..derive.sums import IndexedSum
    from ..errors import EnergyError

__all__ = ["Algebra", "Apply", "Form", "Integral", "Linearized", "Program", "Samples", "Slope"]
__all__ += ["State", "Target", "Vector", "VectorSpace"]

#: A vector of parameters, or a packed field: NumPy's, or one on a device, which has its operators.
Vector = np.ndarray
#: A linear operator.
Apply = Callable[[Vector], Vector]


class Target(Protocol):
    """Where kernels run."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def on_host(self) -> bool:
        """Whether vectors and matrices are NumPy's."""

    def require_device(self) -> None:
        """Refuse to go on where kernels cannot run, by a TargetError."""


# -- vectors and matrices ----------------------------------------------------------------------


class VectorSpace(Protocol):
    """Where vectors are, and what they are asked there beside arithmetic.

    A vector on a device has its space in the attribute ``space``; NumPy's are on the host
    (:class:`.host.HostVectors`).
    """

    def zeros_like(self, u: Vector, /) -> Vector:
        """Zeros of a vector's length and precision."""

    def double(self, values: Any, /) -> Vector:
        """Numbers from anywhere as a vector of double precision."""

    def dot(self, u: Vector, v: Vector, /) -> float:
        """Sum of the products, in double precision and a fixed order."""

    def is_finite(self, u: Vector, /) -> bool:
        """Whether all entries are finite."""

    def cg(
        self,
        apply: Apply,
        right: Vector,
        /,
        *,
        rtol: float,
        atol: float,
        maxiter: int,
        M: Apply | None,
        callback: Callable[[Vector], None],
    ) -> Vector:
        """Conjugate gradients from zero; the end is |r| <= max(rtol |b|, atol), or ``maxiter``."""

    def minres(
        self,
        apply: Apply,
        right: Vector,
        /,
        *,
        rtol: float,
        maxiter: int,
        M: Apply | None,
        callback: Callable[[Vector], None],
    ) -> Vector:
        """MINRES from zero; raises ValueError for an indefinite preconditioner M."""

    def lsmr(
        self,
        forward: Apply,
        adjoint: Apply,
        target: Vector,
        weights: Vector | None,
        /,
        *,
        damp: float,
        tolerance: float,
        max_iterations: int,
        eps: float,
        by_residual: bool = False,
    ) -> tuple[Vector, int, float]:
        """A least-squares solution, iterations, and the round-off of its gap; see :mod:`.lsmr`.

        With ``by_residual`` the end is |A x - target| <= tolerance |target|, without weights.
        """

    def sample_operator(
        self, samples: Samples, roots: Any, solve: Callable[[Any], Any], algebra: Algebra, /
    ) -> Apply:
        """The operator field -> R K^-1 R field on packed fields, for a matrix K of the samples.

        K and R = diag(roots) go component by component, in each sample by sample; ``solve`` is
        b -> K^-1 b, for arrays of ``algebra``.
        """


class Algebra(Protocol):
    """Dense linear algebra near to where kernels run."""

    @property
    def xp(self) -> Any:
        """NumPy, or what has its functions for arrays elsewhere."""

    def calls(self) -> AbstractContextManager[Any]:
        """A context for the methods below."""

    def array(self, values: Any) -> Any:
        """An array of ``xp``."""

    def host(self, values: Any) -> np.ndarray:
        """The array as NumPy's."""

    def gram(self, rows: Any) -> Any:
        """rows rows^T, at least its lower half."""

    def cholesky(self, matrix: Any) -> Callable[[Any], Any]:
        """A function b -> matrix^-1 b; raises numpy.linalg.LinAlgError."""

    def eigh(self, matrix: Any) -> tuple[Any, Any]:
        """Eigenvalues, the least first, and eigenvectors."""


# -- samples -----------------------------------------------------------------------------------


class Samples(Protocol):
    """Points of the initial law, packed in tiles of samples, component by component.

    Attributes
    ----------
    count, dim : int
        N and d.
    tiles, lanes : int
        Number of tiles, and samples in a tile; the last ones may be padding.
    weight : (tiles * lanes,) vector
        A sample's part of a mean, and 0 at padding.
    weights : (M,) vector
        The same for every component.
    scratch : dict
        What callers keep with the samples.
    """

    count: int
    dim: int
    tiles: int
    lanes: int
    weight: Vector
    weights: Vector
    scratch: dict[Any, Any]

    @property
    def z(self) -> Vector:
        """The points in the coordinates that the map sees, packed (M,)."""

    @property
    def width(self) -> int:
        """M, the length of a packed field."""

    def unpack(self, values: Vector) -> np.ndarray:
        """A packed field (M,) as an array (N, d)."""

    def unpack_scalar(self, values: Vector) -> np.ndarray:
        """A packed scalar (tiles * lanes,) as an array (N,)."""

    def pack(self, values: np.ndarray) -> Vector:
        """An array (N, d) as a packed field (M,)."""


class State(Protocol):
    """Pushed samples, and what they carry."""

    @property
    def samples(self) -> Samples:
        """The samples that were pushed."""

    @property
    def x(self) -> Vector:
        """Positions, packed (M,)."""

    @property
    def log_density(self) -> Vector | None:
        """Log densities, packed (tiles * lanes,), where they are carried."""

    @property
    def score(self) -> Vector | None:
        """Scores, packed (M,), where they are carried."""


# -- the program -------------------------------------------------------------------------------


class Integral(Protocol):
    """One integral of an energy."""

    @property
    def label(self) -> str:
        """The integral as text."""


class Form(Protocol):
    """An energy in what samples carry."""

    @property
    def integrals(self) -> Sequence[Integral]:
        """Its integrals."""

    @property
    def rough(self) -> EnergyError | None:
        """Why there is no velocity, where there is none."""

    @property
    def reads(self) -> tuple[str, ...]:
        """What energy and velocity read of a sample beside x."""

    @property
    def sums(self) -> Sequence[IndexedSum]:
        """Sums over an index."""

    @property
    def velocity_reads(self) -> tuple[str, ...]:
        """What the velocity reads of a sample beside x."""

    @property
    def energy_reads(self) -> tuple[str, ...]:
        """What the energy reads of a sample beside x."""


class Linearized(Protocol):
    """The map at one theta, for products with J = dT/dtheta at samples."""

    @property
    def theta(self) -> Vector:
        """Parameters, in the program's precision."""

    @property
    def samples(self) -> Samples:
        """The samples."""

    @property
    def state(self) -> State:
        """What the samples carry at theta."""

    @property
    def unit(self) -> float:
        """Length of the map's unit; the shift of a linear solve is in units of its square."""

    @property
    def algebra(self) -> Algebra:
        """Dense linear algebra, near to where kernels run."""

    def jvp(self, eta: Vector) -> Vector:
        """J eta at the samples, packed (M,)."""

    def vjp(self, field: Vector) -> Vector:
        """Sum over the samples of J^T field, (p,)."""

    def metric(self, eta: Vector) -> Vector:
        """Weighted sum over the samples of J^T J eta, (p,)."""

    def jacobian(self) -> Any:
        """J, transposed: (p, M), an array of ``algebra``; the next call overwrites it."""

    def kernel_matrix(self) -> Any:
        """J J^T, (d N, d N), component by component: an array of ``algebra``."""

    def on_first(self, count: int) -> Linearized:
        """The same map at the first samples only."""

    def in_single(self) -> Linearized:
        """The same map at the same samples in float32."""


class Slope(Protocol):
    """An energy's gradient, and what was computed on the way."""

    @property
    def linearization(self) -> Linearized:
        """The map at theta."""

    @property
    def integrals(self) -> np.ndarray:
        """The energy's integrals on the samples, (K,)."""

    @property
    def gradient(self) -> Vector:
        """grad_theta of the energy of the samples, (p,)."""


class Program(Protocol):
    """A problem and a map, compiled."""

    @property
    def problem(self) -> GradientFlow:
        """Energy, initial law, parameters."""

    @property
    def map(self) -> Map:
        """The map."""

    @property
    def dim(self) -> int:
        """d."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Precision of the kernels."""

    @property
    def form(self) -> Form:
        """The energy in what samples carry."""

    @property
    def separable(self) -> bool:
        """Whether the energy's slope at a sample needs nothing of the other samples."""

    @property
    def sums_pairs(self) -> bool:
        """Whether the velocity is a sum over all pairs of samples."""

    @property
    def unknown_constant(self) -> str:
        """Integrals that are known up to a constant; empty if there are none."""

    def at(self, time: float, /) -> Program:
        """The program at a time; itself where nothing depends on the time."""

    def beginning_with(self, initial: Law) -> Program:
        """The same kernels for the same flow from another initial law."""

    @property
    def local_jacobian(self) -> Any:
        """What computes ``velocity_jacobian``; raises where there is none."""

    def samples(self, points: np.ndarray, shares: np.ndarray | None = None) -> Samples:
        """Pack points (N, d) of the initial law; ``shares`` (N,) are their parts of a mean."""

    def in_groups(self, samples: Samples, partners: int, seed: int) -> Samples:
        """The same samples, whose partners in sums over pairs are those of a random group."""

    def packed(self, points: np.ndarray) -> Samples:
        """Pack points (N, d) in the map's coordinates, without the law's density at them."""

    def push(self, theta: Vector, samples: Samples, carry: str | Collection[str] = "x") -> State:
        """x = T(z), and what else ``carry`` names."""

    def integrals(self, state: State) -> np.ndarray:
        """Values of the energy's integrals, (K,) float64."""

    def sums_at(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """Values of the energy's sums over an index at points (N, d), (N,) each, by name."""

    def energy(self, integrals: np.ndarray) -> float:
        """The energy, from its integrals; NaN where its formula has no value."""

    def velocity(self, state: State, integrals: np.ndarray | None = None) -> Vector:
        """w = -grad dE/drho at the pushed samples, packed (M,)."""

    def velocity_jacobian(self, state: State, integrals: np.ndarray) -> np.ndarray:
        """dw/dx at every sample: (N, d, d), or (N, d) where it is diagonal."""

    def slope(self, theta: Vector, samples: Samples) -> Slope:
        """Integrals and gradient of the energy at theta, with the linearized map."""

    def linearize(
        self, theta: Vector, samples: Samples, carry: str | Collection[str] = "x"
    ) -> Linearized:
        """The map at theta, for products with J; its state is that of ``push``."""

    def invert(
        self, theta: Vector, points: np.ndarray, *, near: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """z (N, d) with T(z) = points, and log|det dT/dz|, (N,); NaN where it is not found.

        It is looked for from ``near`` on, where that is given.
        """
