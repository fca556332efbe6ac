"""Counts what the warps of a block do in the kernels of a flow: no time, but what takes it.

    python tests/cuda_ptx/traffic.py [DIM] [WIDTH] [float32|float64] [trace|exact]

A multiprocessor of an H100 or A100 issues four instructions of warps a cycle, of which all may be
multiply-adds in float32, and moves one wavefront: 128 bytes of global memory next to each other, or
one word of every bank of shared memory.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import ptx_machine  # noqa: E402
from on_machine import Machine, on_machine  # noqa: E402
from ptx_text import width_of  # noqa: E402

from pwgf_sym.benchmarks.problems import problem_named  # noqa: E402
from pwgf_sym.declare.maps import NeuralFlow  # noqa: E402
from pwgf_sym.targets.program import compile_program  # noqa: E402

_WARP, _BANKS, _LINE = 32, 32, 128


def wavefronts(address: np.ndarray, lanes: np.ndarray, space: str, width: int) -> int:
    """Of an access of one warp.

    Of shared memory a warp reads 8 bytes a thread half by half, 16 bytes quarter by quarter, unless
    every other thread, or every other pair, has the addresses of its neighbours: then two halves,
    or the two quarters of a half, are one.  (Nvidia's documents say nothing of it; one of its
    engineers has, in its forum, topic 77228.)
    """
    if space == "global":
        return np.unique(address // _LINE).size
    together = _WARP if width <= 8 else _WARP // 2
    found = 0
    for half in range(0, _WARP, together):
        own = (lanes % _WARP >= half) & (lanes % _WARP < half + together)
        found += _together(address[own], lanes[own] % _WARP, width, together)
    return found


def _together(address, lanes, width: int, count: int) -> int:
    """Of threads whose accesses may be one."""
    if not address.size:
        return 0
    whole = np.full(_WARP, -1)
    whole[lanes] = address
    alike = any(
        np.all((whole == other) | (whole < 0) | (other < 0))
        for other in (whole[np.arange(_WARP) ^ 1], whole[np.arange(_WARP) ^ 2])
    )
    if width == 4 or alike:
        return _conflicts(address, width)
    parts = lanes // (count // 2)
    return sum(_conflicts(address[parts == part], width) for part in np.unique(parts))


def _conflicts(address, width: int) -> int:
    """Most different words of a bank."""
    words = np.unique(address[:, None] // 4 + np.arange(width // 4))
    return int(np.bincount(words % _BANKS).max())


class CountingKernel(ptx_machine.Kernel):
    """A kernel that counts while it runs, by its name."""

    all_counts: ClassVar[dict[str, Counter]] = {}

    def launch(self, *given) -> int:
        self.counts = self.all_counts[self.name] = Counter()
        return super().launch(*given)

    def _step(self, instruction):
        step, parts = super()._step(instruction), instruction.parts
        moves = parts[0] in ("ld", "st") and parts[1] in ("global", "shared")
        access = self._place(instruction) if moves else None

        def counted(values, part, lanes, memory):
            warps = lanes // _WARP
            number = np.unique(warps).size
            self.counts["instructions"] += number
            self.counts["multiply-adds"] += number * (parts[0] == "fma")
            if access is not None:
                slot, offset, width = access
                places = (values[slot] + offset)[lanes]
                for warp in np.unique(warps):
                    own = warps == warp
                    found = wavefronts(places[own], lanes[own], parts[1], width)
                    self.counts[f"{parts[1]} wavefronts"] += found
            return step(values, part, lanes, memory)

        return counted

    def _place(self, instruction):
        """Slot of an address, what is added to it, and bytes of an access."""
        to, place = instruction.operands[:: 1 if instruction.parts[0] == "ld" else -1]
        base, offset = ptx_machine._ADDRESS.match(place).groups()
        count = len(to.strip("{}").replace(",", " ").split())
        width = width_of(instruction.parts[-1]) * count
        return self._source(base, "b64")[0], int(offset or 0), width


def main(dim: int, width: int, dtype: str, log_determinant: str) -> None:
    """Print the counts for one tile of 128 samples and one step of the map."""
    machine = Machine(initialised=False)
    machine.kind = CountingKernel
    problem = problem_named("double_well", dim)
    flow = NeuralFlow(dim, width, steps=1, log_determinant=log_determinant)
    with on_machine(machine), tempfile.TemporaryDirectory() as folder:
        program = compile_program(problem, flow, target="cuda", dtype=dtype, folder=folder)
        random = np.random.default_rng(0)
        theta = 0.1 * random.normal(size=program.size)
        samples = program.samples(random.normal(size=(128, dim)))
        linearized = program.linearize(theta, samples, "log_density")
        for carry in ("x", "log_density", "score"):
            program.push(theta, samples, carry)
        linearized.jvp(theta)
        linearized.vjp(samples.z)
        linearized.gradient(samples.z, samples.log_density)
    found = CountingKernel.all_counts
    print(f"{'':18s}" + "".join(f"{key:>22s}" for key in found["push"]))
    for name in ("push", "push_log_density", "push_score", "jvp", "vjp", "gradient"):
        print(f"{name:18s}" + "".join(f"{found[name][key]:22,d}" for key in found["push"]))


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    main(
        int(given.get(0, 30)),
        int(given.get(1, 128)),
        given.get(2, "float32"),
        given.get(3, "trace"),
    )
