"""The kernel matrix J J^T of the samples from the factors of the sample Jacobian."""

from __future__ import annotations

import math

__all__ = ["kernel_matrix"]


# Up to so many parameters a step, forming J and one product of it is faster: an entry of J J^T then
# costs p multiply-adds, against a few passes over the matrix a step.
_FEW_PARAMETERS = 300


def kernel_matrix(linearization):
    """J J^T for J = dT/dtheta at all samples.

    Parameters
    ----------
    linearization : Linearization
        The map at its samples.

    Returns
    -------
    (d N, d N) array
        Component by component, in each sample by sample; not weighted.  An array of the map's
        ``algebra``.
    """
    call, samples = linearization.program.kernels, linearization.samples
    xp, together = linearization.algebra.xp, linearization.algebra.block
    if call.size <= _FEW_PARAMETERS * (call.size // call.emission.layout.size):
        return _from_rows(linearization)
    arrays = _factor_arrays(linearization)
    kernel, tiling = call.emission.kernels["factors"], call.emission.tiling
    steps = call.size // call.emission.layout.size
    basis = kernel.sweeps[-1].carries["u"].before.axes[0]
    size = samples.dim * samples.count
    total = xp.zeros((size, size), call.dtype)
    for step in range(steps):
        rows = {
            name: _rows(arrays[name], step, steps, axes, samples, tiling)
            for name, axes in kernel.stored.items()
        }
        gram = {
            name: rows[name] @ rows[name].T
            for name, axes in kernel.stored.items()
            if axes[:1] != (basis,)
        }
        for outputs, others in _terms(kernel, basis).items():
            scale = xp.zeros((samples.count, samples.count), call.dtype)
            for coefficient, names in others:
                square = call.dtype.type((float(coefficient) * linearization.unit) ** 2)
                scale += math.prod((gram[name] for name in names), start=square)
            factors = [_by_output(rows[name], samples.dim, xp) for name in outputs]
            _add_lower(total, factors, scale, together)
    for start in range(0, size, together):  # the upper half from the lower one
        own = slice(start, start + together)
        total[:start, own] = total[own, :start].T
        square = total[own, own]
        square[:] = xp.tril(square) + xp.tril(square, -1).T
    return total


def _from_rows(linearization):
    """The same from the rows of J."""
    samples, rows = linearization.samples, linearization.jacobian()
    xp = linearization.algebra.xp
    grid = rows.reshape(len(rows), samples.tiles, samples.dim, samples.lanes)
    grid = grid.transpose(0, 2, 1, 3).reshape(len(rows), samples.dim, -1)[:, :, : samples.count]
    flat = xp.ascontiguousarray(grid).reshape(len(rows), -1)
    return flat.T @ flat


def _by_output(rows, dim: int, xp):
    """(N, d * features) -> (d, N, features)."""
    grid = rows.reshape(len(rows), dim, -1)
    return xp.ascontiguousarray(grid.transpose(1, 0, 2))


def _add_lower(total, factors: list, scale, together: int) -> None:
    """Add the product of the factors' Gram matrices and the scale, at least below the diagonal."""
    dim, count, _ = factors[0].shape
    for output in range(dim):
        width = (output + 1) * count
        for start in range(0, count, together):
            window = slice(start, start + together)
            parts = [f[output, window] @ f.reshape(dim * count, -1)[:width].T for f in factors]
            block = math.prod(parts[1:], start=parts[0])
            block.reshape(len(block), -1, count)[:] *= scale[window, None, :]
            total[output * count : width][window, :width] += block


def _factor_arrays(linearization) -> dict:
    """Run the kernel of the factors; arrays by name."""
    call, samples = linearization.program.kernels, linearization.samples
    storage = call.storage(0, samples.tiles, "factors")
    storage.arrays.update(linearization.stored().arrays)
    call.run("factors", samples, linearization.theta, {}, None, lambda *edges: [(storage, *edges)])
    return {name: linearization.algebra.array(array) for name, array in storage.arrays.items()}


def _terms(kernel, basis) -> dict[tuple[str, ...], list]:
    """Factors with outputs -> (coefficient, the other factors) of every parameter that has them."""
    found: dict[tuple[str, ...], list] = {}
    for row in kernel.factors.values():
        outputs = tuple(name for name in row.names if kernel.stored[name][:1] == (basis,))
        rest = [name for name in row.names if name not in outputs]
        found.setdefault(outputs, []).append((row.coefficient, rest))
    return found


def _rows(array, step, steps, axes, samples, tiling):
    """A stored value at one step, (N, features)."""
    size = math.prod(a.size for a in axes)
    shape = (steps, samples.tiles, tiling.padded(size), samples.lanes)
    values = array.reshape(shape)[step, :, :size].transpose(0, 2, 1)
    return values.reshape(-1, size)[: samples.count]
