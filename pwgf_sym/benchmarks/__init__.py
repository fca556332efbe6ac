"""Benchmarks: our kernels beside hand-written NumPy, JAX and PyTorch in one process."""
