"""The peak rate of a GPU's multiply-adds, measured: chains of them in registers."""

from __future__ import annotations

import numpy as np

__all__ = ["multiply_add_call", "multiply_add_kernel"]

_BLOCKS, _THREADS, _TURNS, _CHAINS = 2048, 256, 512, 8


def multiply_add_kernel():
    """A kernel (out, factor, steps): eight independent chains of multiply-adds a thread."""
    from ...runtime.cuda.toolkit import cuda

    @cuda.jit
    def multiply_add(out, factor, steps: int):
        n, f = cuda.grid(1), factor[0]
        a, b, c, d = f + f, f * f, f - f * f, f * f * f
        e, g, h, i = -a, -b, -c, -d
        for _ in range(steps):
            a = a * f + f
            b = b * f + f
            c = c * f + f
            d = d * f + f
            e = e * f + f
            g = g * f + f
            h = h * f + f
            i = i * f + f
        out[n] = a + b + c + d + e + g + h + i

    return multiply_add


def multiply_add_call(dtype: str):
    """A launch that waits for its end, and its operations: (call, flops)."""
    from ...runtime.cuda.toolkit import cuda

    kernel = multiply_add_kernel()
    out = cuda.device_array(_BLOCKS * _THREADS, dtype)
    factor = cuda.to_device(np.array([0.5], dtype))

    def call() -> None:
        kernel[_BLOCKS, _THREADS](out, factor, _TURNS)
        cuda.synchronize()

    return call, 2.0 * _CHAINS * _TURNS * _BLOCKS * _THREADS
