"""Dense linear algebra of both targets; CuPy's through a stand-in: it does nothing without a GPU.

The stand-in takes the arguments that CuPy 14 takes and no others, and its arrays refuse NumPy's
functions, as CuPy's do.
"""

import sys
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest
import scipy.linalg
from map_cases import Case, neural
from matrix_map import MatrixMap
from tile_numpy import interpreted

from pwgf_sym.look.doctor import _examine_cupy
from pwgf_sym.solver.dense import solve_dense
from pwgf_sym.solver.linear import System
from pwgf_sym.solver.options import LinearOptions
from pwgf_sym.solver.preconditioner import SamplePreconditioner
from pwgf_sym.targets.algebra import HostAlgebra
from pwgf_sym.targets.cuda import algebra as cuda_algebra
from pwgf_sym.targets.kernel_matrix import kernel_matrix


class DeviceArray(np.ndarray):
    """An array that no function of NumPy takes by accident."""

    def __array_function__(self, *_):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")


def given(array):
    """The numbers of a device array, for NumPy; nothing else is let in."""
    assert type(array) is DeviceArray
    return array.view(np.ndarray)


def on_device(function):
    """NumPy's function of one array, from device to device."""
    return lambda x, *rest: function(given(x), *rest).view(DeviceArray)


class Cupy(ModuleType):
    """What the package calls of CuPy."""

    def __init__(self):
        super().__init__("cupy")
        self.__spec__ = ModuleSpec("cupy", None)
        self.checked, self.freed = False, 0
        self.cuda = ModuleType("cupy.cuda")
        self.cuda.cusolver = ModuleType("cupy.cuda.cusolver")
        self.linalg = ModuleType("cupy.linalg")
        self.linalg.cholesky, self.linalg.eigh = self.cholesky, self.eigh
        for name in ("sqrt", "isfinite", "diag", "tril", "asfortranarray", "ascontiguousarray"):
            setattr(self, name, on_device(getattr(np, name)))
        self.diag_indices_from = lambda x: np.diag_indices_from(given(x))
        self.zeros = lambda shape, dtype: np.zeros(shape, dtype).view(DeviceArray)

    @staticmethod
    def asarray(values):
        return np.asarray(values).view(DeviceArray)

    def get_default_memory_pool(self):
        return self

    def free_all_blocks(self):
        self.freed += 1

    @staticmethod
    def asnumpy(values):
        return given(values).copy()

    def cholesky(self, a):
        if np.isnan(given(a)).any():  # no error: so does cuSOLVER
            return np.nan * a
        try:
            return np.linalg.cholesky(given(a)).view(DeviceArray)
        except np.linalg.LinAlgError:
            if self.checked:
                raise
            return np.nan * a

    @staticmethod
    def eigh(a, UPLO="L"):
        return tuple(part.view(DeviceArray) for part in np.linalg.eigh(given(a), UPLO))


@pytest.fixture
def cupy(monkeypatch):
    """CuPy's stand-in, imported as if it were installed."""
    found, beside = Cupy(), ModuleType("cupyx")
    triangular = ModuleType("cupyx.scipy.linalg")

    @contextmanager
    def errstate(*, linalg):
        before, found.checked = found.checked, linalg == "raise"
        try:
            yield
        finally:
            found.checked = before

    def solve_triangular(a, b, trans=0, lower=False):
        assert a.flags.f_contiguous  # else CuPy copies it in every call
        x = scipy.linalg.solve_triangular(given(a), given(b), trans, lower)
        return x.view(DeviceArray)

    beside.errstate, triangular.solve_triangular = errstate, solve_triangular
    modules = {"cupy": found, "cupyx": beside, "cupyx.scipy": ModuleType("cupyx.scipy")}
    for name, module in (modules | {"cupyx.scipy.linalg": triangular}).items():
        monkeypatch.setitem(sys.modules, name, module)
    return found


@pytest.fixture(params=["host", "cupy"])
def algebra(request):
    if request.param == "host":
        return HostAlgebra()
    request.getfixturevalue("cupy")
    return cuda_algebra.CupyAlgebra()


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def device_map(a, count, algebra):
    """The map of a matrix, with its Jacobian and its kernel matrix where the algebra has them."""
    found = MatrixMap(a, count)
    jacobian, kernel = found.jacobian, found.kernel_matrix
    found.jacobian = lambda: algebra.array(jacobian())
    found.kernel_matrix = lambda: algebra.array(kernel())
    found.algebra = algebra
    return found


def test_gram(algebra, rng):
    rows = rng.standard_normal((4, 9))
    found = algebra.host(algebra.gram(algebra.array(rows)))
    np.testing.assert_allclose(np.tril(found), np.tril(rows @ rows.T), atol=1e-14)


def test_factorizations_read_the_lower_half(algebra, rng):
    a = rng.standard_normal((5, 5))
    a = a @ a.T + np.eye(5)
    b, broken = rng.standard_normal(5), np.tril(a)
    with algebra.calls():
        solved = algebra.cholesky(algebra.array(broken.copy()))(algebra.array(b))
        values, modes = map(algebra.host, algebra.eigh(algebra.array(broken.copy())))
    np.testing.assert_allclose(a @ algebra.host(solved), b, atol=1e-13)
    np.testing.assert_allclose(a @ modes, values * modes, atol=1e-13)
    assert np.all(np.diff(values) > 0)


@pytest.mark.parametrize("entry", [-1.0, np.nan])
def test_a_matrix_that_is_not_positive_is_an_error(algebra, entry):
    with algebra.calls(), pytest.raises(np.linalg.LinAlgError):
        algebra.cholesky(algebra.array(np.diag([1.0, entry])))


def test_memory_is_given_back(cupy, monkeypatch):
    """The package's own before CuPy's work, CuPy's after it."""
    algebra, order = cuda_algebra.CupyAlgebra(), []
    monkeypatch.setattr(cuda_algebra, "release", lambda: order.append("ours"))
    with algebra.calls():
        assert order == ["ours"] and cupy.freed == 0
    cupy.freed = 0
    with pytest.raises(ZeroDivisionError), algebra.calls():
        _ = 1 / 0
    assert cupy.freed == 1 and not cupy.checked


@pytest.mark.parametrize("form", ["velocity", "energy"])
@pytest.mark.parametrize("shift, cutoff", [(1e-3, None), (0.0, 1e-10)])
def test_dense_solves(algebra, rng, form, shift, cutoff):
    """Against NumPy's least squares, or its solution of the normal equations."""
    a, w = rng.standard_normal((60, 7)), rng.standard_normal(60)
    a[:, 6] = a[:, 5]  # a singular metric
    program = device_map(a, 30, algebra)
    right = a.T @ w / 30
    field, b = (program.samples.pack(w), None) if form == "velocity" else (None, right)
    system = System(program, field, b, shift)
    eta, kept, _, rank = solve_dense(system, LinearOptions(shift=shift, cutoff=cutoff))
    metric = a.T @ a / 30 + shift * np.eye(7)
    np.testing.assert_allclose(eta, np.linalg.pinv(metric, rcond=1e-12) @ right, atol=1e-9)
    assert type(eta) is np.ndarray and type(kept(eta)) is np.ndarray
    assert rank == (None if cutoff is None else 6)


def test_dense_of_a_metric_that_is_not_finite(algebra):
    program = device_map(np.full((4, 2), np.inf), 4, algebra)
    eta = solve_dense(System(program, None, np.ones(2), 0.1), LinearOptions())[0]
    assert np.isnan(eta).all()


@pytest.mark.parametrize("few", [0, 300])
def test_kernel_matrix(cupy, few, tmp_path, monkeypatch):
    """From factors and from rows, the same as the host's."""
    monkeypatch.setattr(sys.modules[kernel_matrix.__module__], "_FEW_PARAMETERS", few)
    case = Case(neural(2, 4, 2), 11)
    program = interpreted(case.problem, case.flow, tmp_path)
    samples, call = program.samples(case.z), program.kernels
    expected = program.linearize(case.theta, samples).kernel_matrix().copy()
    monkeypatch.setattr(call, "algebra", cuda_algebra.CupyAlgebra())
    rows = call.rows
    monkeypatch.setattr(call, "rows", lambda *given: call.algebra.array(rows(*given)))
    linearized = program.linearize(case.theta, samples)
    np.testing.assert_array_equal(linearized.algebra.host(linearized.kernel_matrix()), expected)
    assert type(program.jacobian(case.theta, samples)) is np.ndarray


def test_the_preconditioner_of_all_samples_is_the_inverse(rng):
    a, right = rng.standard_normal((20, 6)), rng.standard_normal(6)
    found = SamplePreconditioner(device_map(a, 10, HostAlgebra()), 10, 0.3)(right)
    np.testing.assert_allclose(found, np.linalg.solve(a.T @ a / 10 + 0.3 * np.eye(6), right))


def test_the_device_takes_cupy_where_it_is(cupy, monkeypatch):
    monkeypatch.setattr(cuda_algebra, "simulated", lambda: False)
    assert cuda_algebra.algebra_of_device().xp is cupy
    with monkeypatch.context() as broken:
        broken.setitem(sys.modules, "cupyx.scipy.linalg", None)  # as without cuBLAS
        with pytest.warns(RuntimeWarning, match="CuPy does not work.*host"):
            assert type(cuda_algebra.algebra_of_device()) is HostAlgebra
        assert "ModuleNotFoundError" in _examine_cupy()
    with monkeypatch.context() as broken:
        broken.delattr(cupy.cuda, "cusolver")
        with pytest.warns(RuntimeWarning, match="cusolver"):
            assert type(cuda_algebra.algebra_of_device()) is HostAlgebra
    with monkeypatch.context() as without:
        without.setattr(cuda_algebra, "find_spec", lambda name: None)
        assert type(cuda_algebra.algebra_of_device()) is HostAlgebra
    assert _examine_cupy() == "CuPy"
    monkeypatch.setattr(cuda_algebra, "simulated", lambda: True)
    assert type(cuda_algebra.algebra_of_device()) is HostAlgebra
