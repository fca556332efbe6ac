"""A linearized map that is a matrix: what linear solves are tested with."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from pwgf_sym.solver import protocols
from pwgf_sym.solver.protocols import Algebra
from pwgf_sym.targets.algebra import HostAlgebra

GARBAGE = 11.0


@dataclass
class MatrixSamples:
    """Samples of equal weights, sample by sample, with padding that holds garbage."""

    count: int
    rows: int
    padding: int
    dtype: np.dtype[Any]
    scratch: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dim, self.tiles, self.lanes = self.rows // self.count, self.count, 1
        self.width = self.rows + self.padding
        self.weight = np.full(self.count, 1 / self.count)
        own = np.full(self.rows, 1 / self.count)
        self.weights = np.append(own, np.zeros(self.padding)).astype(self.dtype)

    @property
    def z(self) -> np.ndarray:
        return self.pack(np.zeros(self.rows))

    def pack(self, values: np.ndarray) -> np.ndarray:
        return np.append(np.ravel(values), np.full(self.padding, GARBAGE)).astype(self.dtype)

    def unpack(self, values: np.ndarray) -> np.ndarray:
        return values[: self.rows].reshape(self.count, -1)

    def unpack_scalar(self, values: np.ndarray) -> np.ndarray:
        return values[: self.count]


class MatrixMap:
    """Products with a given Jacobian (M, p), with a tail of padding that holds garbage."""

    unit = 1.0
    state: Any = None

    def __init__(
        self, jacobian: np.ndarray, count: int, dtype: DTypeLike = "float64", padding: int = 5
    ) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.theta, self.size = np.zeros(1, self.dtype), jacobian.shape[1]
        self.jacobian_ = jacobian
        tail = np.full((padding, self.size), 3.0)
        self.full = np.concatenate([jacobian, tail]).astype(self.dtype)
        self.samples = MatrixSamples(count, len(jacobian), padding, self.dtype)
        self.algebra: Algebra = HostAlgebra()
        self.broken = 1.0
        self.applications = {"float64": 0, "float32": 0}

    def jvp(self, eta: np.ndarray) -> np.ndarray:
        self.applications[self.dtype.name] += 1
        return (self.full.astype(float) @ eta).astype(self.dtype)

    def vjp(self, field: np.ndarray) -> np.ndarray:
        return (self.full.astype(float).T @ field).astype(self.dtype)

    def metric(self, eta: np.ndarray) -> np.ndarray:
        self.applications[self.dtype.name] += 1
        weighted = self.samples.weights * (self.full.astype(float) @ eta)
        return self.broken * (self.full.astype(float).T @ weighted).astype(self.dtype)

    def jacobian(self) -> np.ndarray:
        return np.ascontiguousarray(self.full.T)

    def in_single(self) -> "MatrixMap":
        count, padding = self.samples.count, self.samples.padding
        single = MatrixMap(self.jacobian_, count, "float32", padding + 3)
        single.applications = self.applications
        return single

    def on_first(self, count: int) -> "MatrixMap":
        rows = self.samples.dim * count
        return MatrixMap(self.jacobian_[:rows], count, self.dtype, self.samples.padding)

    def kernel_matrix(self) -> np.ndarray:
        grid = self.full[: len(self.jacobian_)].reshape(self.samples.count, -1, self.size)
        rows = grid.swapaxes(0, 1).reshape(-1, self.size)  # component by component
        return rows @ rows.T


if TYPE_CHECKING:  # a type checker sees whether the stand-in is what the solver asks for

    def is_a_linearized_map(stand_in: MatrixMap) -> protocols.Linearized:
        return stand_in
