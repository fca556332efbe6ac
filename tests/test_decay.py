"""Decaying parts of matrices, and solves with them, against NumPy sample by sample."""

import numpy as np
import pytest

from pwgf_sym.errors import OptionError
from pwgf_sym.solver.decay import DecayingPart

RNG = np.random.default_rng(5)


def symmetric(count, dim, scale=1.0):
    """Indefinite matrices of all sizes."""
    matrices = RNG.normal(size=(count, dim, dim)) * scale * 10 ** RNG.uniform(-3, 3, (count, 1, 1))
    return matrices + matrices.transpose(0, 2, 1)


def blocks(count, dim):
    """Blocks of one, two and more coordinates, which do not stand side by side."""
    found, place = np.zeros((count, dim, dim)), RNG.permutation(dim)
    for own in np.split(place, [1, 3, 4]):
        found[:, own[:, None], own] = symmetric(count, len(own))
    return found


CASES = {
    "line": symmetric(9, 1),
    "plane": symmetric(200, 2),
    "space": symmetric(30, 3),
    "ten": symmetric(8, 10),
    "blocks": blocks(12, 9),
    "the same everywhere": np.repeat(symmetric(1, 7), 6, axis=0),
    "the same in the plane": np.repeat(symmetric(1, 2), 6, axis=0),
    "definite": -np.einsum("nij,nkj->nik", *[symmetric(5, 4)] * 2),
    "of rank one": -np.einsum("ni,nj->nij", *[RNG.normal(size=(7, 2))] * 2),
    "multiples of one": np.eye(2) * RNG.normal(size=(6, 1, 1)),
    "zero": np.zeros((4, 3, 3)),
    "nothing": np.zeros((0, 2, 2)),
    "nearly diagonal": np.eye(2) * [[[-1.0], [2.0]]] + 1e-9 * (1 - np.eye(2)),
    "huge": symmetric(5, 2, 1e150),
    "tiny": symmetric(5, 2, 1e-150),
}


def part(matrix):
    """The negative semidefinite part of one matrix by its singular values: (A - |A|)/2."""
    _, sizes, rows = np.linalg.svd(matrix)
    return (matrix - rows.T @ np.diag(sizes) @ rows) / 2


@pytest.mark.parametrize("name", CASES)
def test_part_and_solves(name):
    matrices = CASES[name]
    count, dim = matrices.shape[:2]
    decay, field = DecayingPart(matrices), RNG.normal(size=(count, dim))
    found, product = decay.matrices(), decay.product(field)
    solved = {factor: decay.solve(factor, field) for factor in (0.0, 1e-2, 30.0)}
    for n, matrix in enumerate(matrices):
        expected, size = part(matrix), np.abs(matrix).max()
        np.testing.assert_allclose(found[n], expected, atol=1e-14 * dim * size)
        np.testing.assert_allclose(product[n], expected @ field[n], atol=1e-13 * dim * size)
        rates = np.sort(np.maximum(-np.linalg.eigvalsh(matrix), 0))
        np.testing.assert_allclose(np.sort(decay.rates[n]), rates, atol=1e-14 * dim * size)
        for factor, k in solved.items():
            system = np.eye(dim) - factor * expected
            # Backward error: the residual, relative to the size of the system.
            gap = np.abs(system @ k[n] - field[n]).max()
            assert gap <= 1e-13 * dim * (1 + factor * size) * np.abs(k[n]).max()
            if factor * size < 1e3:
                exact = np.linalg.solve(system, field[n])
                np.testing.assert_allclose(k[n], exact, atol=1e-11 * np.abs(exact).max())


def test_diagonals():
    diagonals = 10 ** RNG.uniform(-3, 3, (50, 6)) * RNG.choice([-1, 1], (50, 6))
    decay, field = DecayingPart(diagonals), RNG.normal(size=(50, 6))
    as_matrices = DecayingPart(diagonals[:, :, None] * np.eye(6))
    for n in range(50):
        system = np.eye(6) - 0.3 * np.diag(np.minimum(diagonals[n], 0))
        exact = np.linalg.solve(system, field[n])
        for form in (decay, as_matrices):
            np.testing.assert_allclose(form.solve(0.3, field)[n], exact, rtol=1e-14)
    np.testing.assert_array_equal(decay.rates, np.maximum(-diagonals, 0))


def test_functions_of_the_part():
    """exp(h A_), which SciPy has for one matrix."""
    from scipy.linalg import expm

    matrices = symmetric(5, 4) / 100
    decay, field = DecayingPart(matrices), RNG.normal(size=(5, 4))
    found = decay.function(lambda values: np.exp(0.7 * values), field)
    for n, matrix in enumerate(matrices):
        expected = expm(0.7 * part(matrix)) @ field[n]
        np.testing.assert_allclose(found[n], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 2), (5, 2, 2), (5, 3, 3)])
def test_matrices_that_are_not_finite_count_as_zero(shape):
    jacobian = -np.ones(shape)
    jacobian[1].flat[0], jacobian[3].flat[-1] = np.nan, -np.inf
    decay, field = DecayingPart(jacobian), np.ones(shape[:2])
    solved = decay.solve(2.0, field)
    assert decay.ignored == 2 and np.isfinite(solved).all()
    np.testing.assert_array_equal(solved[[1, 3]], field[[1, 3]])
    assert (np.abs(solved - field)[[0, 2, 4]].max(axis=1) > 0.1).all()


def test_single_precision_is_computed_in_double():
    matrices = CASES["plane"].astype(np.float32)
    assert DecayingPart(matrices).solve(1.0, np.ones((200, 2), np.float32)).dtype == np.float64


@pytest.mark.parametrize("shape", [(3,), (3, 2, 4), (3, 2, 2, 2)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(OptionError, match="jacobian: got shape"):
        DecayingPart(np.zeros(shape))


def test_a_field_of_another_shape_is_refused():
    with pytest.raises(OptionError, match=r"field: got shape \(3, 3\)"):
        DecayingPart(np.zeros((3, 2))).solve(1.0, np.zeros((3, 3)))


@pytest.mark.parametrize("name", ["line", "plane", "blocks", "the same everywhere"])
def test_the_growing_part_too_where_it_is_asked_for(name):
    """exp(A) of indefinite matrices, by SciPy sample by sample."""
    from scipy.linalg import expm

    matrices = CASES[name]
    matrices = matrices / np.abs(matrices).max(axis=(1, 2), keepdims=True)
    field = RNG.normal(size=matrices.shape[:2])
    found = DecayingPart(matrices, whole=True).function(np.exp, field)
    exact = [expm(matrix) @ own for matrix, own in zip(matrices, field, strict=True)]
    np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-12)
    decaying = DecayingPart(matrices).function(np.exp, field)
    assert np.abs(decaying - exact).max() > 1e-3
