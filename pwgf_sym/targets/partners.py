"""Random batches of partners: samples in groups, whose members alone are partners of each other.

Sums over all pairs cost N^2.  The random batch method (S. Jin, L. Li and J.-G. Liu, Journal of
Computational Physics 400 (2020) 108877) takes the means over the other members of a sample's group,
P or so of them, and costs N P.  Over random groups the mean is that over all partners, for energies
of pairs and their velocities.  Within a group every pair meets, so that forces are opposite, and
the velocity is the negative gradient of the energy of the groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .packing import Samples, State
from .threads import chunk_bounds, run_chunks

if TYPE_CHECKING:
    from .bound import BoundKernel

__all__ = ["Batch", "GroupCalls", "batches", "random_groups"]


@dataclass(frozen=True)
class Batch:
    """Groups of one size.

    Attributes
    ----------
    members : (groups, size) array of int
        The samples of every group.
    """

    members: np.ndarray

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.members)

    @property
    def size(self) -> int:
        """Members of a group."""
        return self.members.shape[1]

    def tiles(self, lanes: int) -> int:
        """Tiles that a group takes."""
        return -(-self.size // lanes)

    def state(self, state: State, names: Sequence[str]) -> State:
        """What samples carry, group by group, each padded to whole tiles by members of its own."""
        samples, lanes = state.samples, state.samples.lanes
        width = self.tiles(lanes) * lanes
        places = self.members[:, np.arange(width) % self.size].reshape(-1)
        weight = samples.rows(samples.weight)[places, 0]
        weight[np.tile(np.arange(width) >= self.size, self.groups)] = 0
        count, tiles = len(places), len(places) // lanes
        origin = np.zeros(1, weight.dtype)  # in the user's coordinates
        grouped = Samples(count, samples.dim, tiles, lanes, weight, weight, origin)
        carried = {n: grouped.pack(samples.rows(state.carried[n])[places]) for n in names}
        return State(grouped, **carried)

    def rows(self, values: np.ndarray, lanes: int) -> np.ndarray:
        """(groups * tiles * lanes, c) -> (groups * size, c), without padding."""
        grid = values.reshape(self.groups, self.tiles(lanes) * lanes, -1)[:, : self.size]
        return grid.reshape(self.groups * self.size, -1)


def random_groups(count: int, partners: int, seed: int) -> tuple[Batch, ...]:
    """Random groups of samples with so many partners for each, or a few more.

    Parameters
    ----------
    count : int
        Number N of samples.
    partners : int
        P, from 1 to N - 1.  There are as many groups of P + 1 samples or more as fit, and their
        sizes differ by one at most.
    seed : int

    Returns
    -------
    tuple of Batch
        The larger groups, and the smaller ones, if there are two sizes.
    """
    groups = max(1, count // (partners + 1))
    size, more = divmod(count, groups)
    order = np.random.default_rng(seed).permutation(count)
    larger = more * (size + 1)
    found = order[:larger].reshape(more, size + 1), order[larger:].reshape(groups - more, size)
    return tuple(Batch(members) for members in found if len(members))


def batches(samples: Samples, three: bool = False) -> Iterator[tuple[Batch, np.ndarray | None]]:
    """Groups of partners, all samples where there are none; with ``three`` for every third sample.

    A sum over three different samples x, y, z of a group is one over the pairs x, y of its other
    members for every member z: then come groups without a member, and that member of each.
    """
    for batch in samples.groups or (Batch(np.arange(samples.count)[None]),):
        if not three:
            yield batch, None
            continue
        for k in range(batch.size if batch.size > 2 else 0):
            yield Batch(np.delete(batch.members, k, axis=1)), batch.members[:, k]


class GroupCalls:
    """Calls of kernels of pairs where samples stand in groups, or pairs have a third."""

    def _in_groups(self, name: str, state: State) -> bool:
        """Whether a kernel sums over partners of groups, or over three samples."""
        formulas = self.emission.formulas[name]
        return bool(formulas.partners) and bool(state.samples.groups or formulas.thirds)

    def _batches(self, name: str, state: State) -> Iterator[tuple[Batch, State, float]]:
        """Groups, what their members carry, and their part of the mean over third samples."""
        formulas, samples = self.emission.formulas[name], state.samples
        names = [n for n in formulas.reads if n != "thirds"]
        names += ["partner_weights"] * bool(formulas.partner_weights)
        for batch, thirds in batches(samples, bool(formulas.thirds)):
            own = batch.state(state, names)
            if "thirds" in formulas.reads:
                width = own.samples.tiles * own.samples.lanes // batch.groups
                rows = samples.rows(state.x)[np.repeat(thirds, width)]
                own.carried["thirds"] = own.samples.pack(rows)
            yield batch, own, 1.0 if thirds is None else 1.0 / batch.size

    def _group_means(self, name: str, state: State, values) -> np.ndarray:
        total = np.zeros(len(self.emission.formulas[name].means))
        for batch, own, part in self._batches(name, state):
            total += part * self._means_of(batch, name, own, values)
        return total

    def _group_fields(self, name: str, state: State, values, out: dict) -> None:
        """Add to per-sample arrays what groups make of them."""
        samples, lanes = state.samples, state.samples.lanes
        components = {a.label: a.numbers for a in self.bound(name).signature.of("output")}
        found = {n: np.zeros((samples.count, size), self.dtype) for n, size in components.items()}
        for batch, own, share in self._batches(name, state):
            width = own.samples.tiles * lanes
            parts = {label: self.zeros(width * size) for label, size in components.items()}
            self._fields_of(batch, name, own, values, parts)
            for label, part in parts.items():
                rows = batch.rows(own.samples.rows(part), lanes)
                found[label][batch.members.reshape(-1)] += self.dtype.type(share) * rows
        for label, rows in found.items():
            out[label] += self.vector(label, samples.pack(rows), out[label].size)

    def _means_of(self, batch: Batch, name: str, state: State, values) -> np.ndarray:
        kernel = self.bound(name)
        sums = np.empty((batch.groups, kernel.sizes["sums"]), self.dtype)
        self._run_groups(kernel, batch, state, self._formula_values(kernel, state, values), sums)
        return np.add.reduce(sums.astype(float), axis=0)

    def _fields_of(self, batch: Batch, name: str, state: State, values, out: dict) -> None:
        kernel, samples = self.bound(name), state.samples
        given = self._field_values(kernel, state, values, out)
        back = given["back"] = np.zeros(samples.width, self.dtype)
        self._run_groups(kernel, batch, state, given)
        if "back" in kernel.signature:  # what partners took
            rows = back.reshape(batch.groups, samples.dim, -1).transpose(0, 2, 1)
            share = self.dtype.type(self._formulas(kernel).share(batch.size))
            (field,) = out.values()
            field += samples.pack(rows.reshape(-1, samples.dim) * share)

    def _run_groups(
        self, kernel: BoundKernel, batch: Batch, state: State, given: dict, sums=None
    ) -> None:
        """Call a kernel for one group after the other; ``sums`` has a row for each."""
        tiles, share = batch.tiles(state.samples.lanes), self._formulas(kernel).share(batch.size)
        given |= {"share": np.array([share], self.dtype), "number": batch.size}
        given |= {"first": 0, "last": tiles, "sums": None}
        width = tiles * state.samples.lanes
        each = {a.name: width * a.numbers for a in kernel.signature if "sample" in a.open}

        def run(chunk: int, first: int, last: int) -> None:
            for group in range(first, last):
                own = {n: given[n][group * k : (group + 1) * k] for n, k in each.items()}
                if sums is not None:
                    own["sums"] = sums[group]
                kernel(given | own)

        run_chunks(run, chunk_bounds(batch.groups, 1))
