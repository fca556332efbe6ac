"""The inverse of a map: its steps undone one by one, by Newton's method on every sample."""

from __future__ import annotations

import numpy as np

from ..kernels.kernels import newton_names
from .kernels import checked_vector
from .packing import Samples, pack_samples

__all__ = ["invert"]


def invert(program, theta, points, near, tolerance, iterations):
    """z with T(z) = points and log|det dT/dz|; see :meth:`Program.invert`."""
    lanes, units = program.emission.tiling.samples, program.units
    samples = pack_samples(points, None, units, program.dtype, lanes)
    if tolerance is None:
        tolerance = 64 * float(np.finfo(program.dtype).eps)
    theta = checked_vector("theta", theta, program.size, program.dtype)
    size = program.emission.layout.size
    target, total = samples.z, np.zeros(samples.tiles * samples.lanes)
    good = np.ones(samples.tiles * samples.lanes, bool)
    names = newton_names(program.emission.looped)
    steps = [theta[k * size : (k + 1) * size] for k in range(program.emission.looped.steps)]
    stages = [(name, own) for own in steps for name in names]
    starts = [None] * len(stages)
    if near is not None:
        starts = _on_the_way(program, stages, pack_samples(near, None, units, program.dtype, lanes))
    for (name, own), start in zip(reversed(stages), reversed(starts), strict=True):
        found = _invert_step(program, name, own, samples, target, start, tolerance, iterations)
        target, volume, done = found
        total += volume
        good &= done
    z, log_det = units.outward(samples.unpack(target).astype(float)), total[: samples.count]
    bad = ~good[: samples.count]
    z[bad], log_det[bad] = np.nan, np.nan
    return z, log_det


def _on_the_way(program, stages, samples):
    """Where the map has points before each of its stages."""
    found, x, nowhere = [], samples.z, np.zeros_like(samples.z)
    for name, theta in stages:
        found.append(x)
        moved = program.kernels.run(name, samples, theta, {"z": x, "target": nowhere})
        x = np.asarray(moved["miss"])  # of the place 0
    return found


def _norms(values: np.ndarray, samples: Samples) -> np.ndarray:
    """Largest component of every sample, (tiles, lanes)."""
    return np.abs(values.reshape(samples.tiles, samples.dim, samples.lanes)).max(axis=1)


def _invert_step(program, name, theta, samples, target, start, tolerance, iterations):
    """Newton's steps of a stage, halved where the miss does not shrink."""

    def newton(x):
        inputs = {"z": x, "target": target}
        found = program.kernels.run(name, samples, theta, inputs)
        return [np.asarray(found[key]) for key in ("x", "miss", "log_det")]

    scale = 1.0 + _norms(target, samples)
    # The step taken backward, to first order.
    x = target - newton(target)[1] if start is None else start
    proposed, miss, volume = newton(x)
    size = _norms(miss, samples)
    damping = np.ones_like(size)
    shape = (samples.tiles, samples.dim, samples.lanes)
    for _ in range(iterations):
        if np.all(size <= tolerance * scale):
            break
        move = (proposed - x).reshape(shape) * damping[:, None, :]
        trial = (x.reshape(shape) + move).reshape(-1).astype(program.dtype)
        next_proposed, next_miss, next_volume = newton(trial)
        next_size = _norms(next_miss, samples)
        better = (next_size < size) | (size <= tolerance * scale)
        damping = np.where(better, np.minimum(1.0, 2 * damping), damping / 4)
        keep = np.broadcast_to(better[:, None, :], shape).reshape(-1)
        x, miss = np.where(keep, trial, x), np.where(keep, next_miss, miss)
        proposed = np.where(keep, next_proposed, proposed)
        volume = np.where(better.reshape(-1), next_volume, volume)
        size = np.where(better, next_size, size)
    # Round-off of the step's own evaluation bounds what can be asked for.
    done = size <= 1e3 * tolerance * scale
    return x, volume.astype(float), done.reshape(-1)
