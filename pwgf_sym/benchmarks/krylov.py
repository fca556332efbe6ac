"""Conjugate gradients with a fixed number of iterations, for the full step of every side."""

from __future__ import annotations

__all__ = ["conjugate_gradients"]


def conjugate_gradients(apply, right, iterations: int):
    """Run ``iterations`` of CG from zero, without a stopping rule; ``apply`` is the product.

    Vectors may be NumPy arrays or PyTorch tensors.
    """
    eta = 0 * right
    residual, direction = right + 0, right + 0
    square = residual @ residual
    for _ in range(iterations):
        image = apply(direction)
        length = square / (direction @ image)
        eta += length * direction
        residual -= length * image
        before, square = square, residual @ residual
        direction = residual + (square / before) * direction
    return eta
