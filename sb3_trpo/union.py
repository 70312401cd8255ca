"""Where this process's samples lie among those of all, and dealing them out together."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Permutation = Callable[[int], np.ndarray]
"""Maps n to a random order of 0 … n − 1, the same on each process."""


@dataclass(frozen=True)
class Union:
    """
    The samples of all processes in one order, and which of them are here.

    :param places: (n,) of this process's samples, ascending
    :param total: number of all
    """

    places: np.ndarray
    total: int

    @classmethod
    @functools.lru_cache(maxsize=4)  # the shapes stay
    def in_time_order(cls, shapes: tuple[tuple[int, int], ...], rank: int) -> "Union":
        """
        Order rollouts as one process with all the environments would have them.

        :param shapes: (T, E) of each process's rollout
        :param rank: of this process
        :return: all environments of one timestep, by rank, then those of the next
        """
        times = [np.repeat(np.arange(n_steps), n_envs) for n_steps, n_envs in shapes]
        sizes = [len(time) for time in times]
        order = np.argsort(np.concatenate(times), kind="stable")
        first = sum(sizes[:rank])
        is_here = (order >= first) & (order < first + sizes[rank])
        return cls(np.flatnonzero(is_here), len(order))

    @classmethod
    def in_rank_order(cls, sizes: Sequence[int], rank: int) -> "Union":
        """
        Order samples by rank.

        :param sizes: number of each process's samples
        :param rank: of this process
        :return: all of rank 0, then those of rank 1, and so on
        """
        first = sum(sizes[:rank])
        return cls(np.arange(first, first + sizes[rank]), sum(sizes))

    def thinned(self, k: int, offset: int) -> slice | np.ndarray:
        """
        Keep one sample of the union in k, without random numbers.

        :param k: at least 1
        :param offset: the first kept has place ``offset % k``, or less in a smaller union
        :return: those of this process's samples that are kept: a slice where all are here
        """
        first = offset % min(k, self.total)
        if len(self.places) == self.total:
            return slice(first, None, k)
        return np.flatnonzero(self.places % k == first)

    def own(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Find this process's samples in an order of all.

        :param order: (total,) of places
        :return: (n,) indices of this process's samples in that order, and (total + 1,) how many of
            them are among the first 0, 1, …, total
        """
        if len(self.places) == self.total:
            return order, np.arange(self.total + 1)
        index = np.full(self.total, -1)
        index[self.places] = np.arange(len(self.places))
        found = index[order]
        is_here = found >= 0
        return found[is_here], np.concatenate([[0], np.cumsum(is_here)])


@dataclass(frozen=True)
class Deal:
    """
    One shuffled pass over the samples of all processes, cut into minibatches.

    :param order: (n,) this process's samples
    :param parts: where those of each minibatch lie in ``order``; some may be empty
    :param sizes: of the minibatches, over all processes
    """

    order: np.ndarray
    parts: list[slice]
    sizes: list[int]


def deal(union: Union, batch_size: int, permutation: Permutation) -> Deal:
    """
    Shuffle all samples and deal them out once.

    :param union: of all samples
    :param batch_size: of a minibatch over all processes
    :param permutation: the shuffling
    :return: this process's part
    """
    cuts = minibatch_slices(union.total, batch_size)
    sizes = [rows.stop - rows.start for rows in cuts]
    order = permutation(union.total)
    if len(union.places) == union.total:
        return Deal(order, cuts, sizes)
    own, counts = union.own(order)
    parts = [slice(int(counts[rows.start]), int(counts[rows.stop])) for rows in cuts]
    return Deal(own, parts, sizes)


def minibatch_slices(n_samples: int, batch_size: int) -> list[slice]:
    """
    Cut shuffled samples into minibatches.

    :param n_samples: N
    :param batch_size: rows of a minibatch; a last one of a single row joins the one before
    :return: consecutive slices of N rows
    """
    starts = list(range(0, n_samples, batch_size))
    if len(starts) > 1 and n_samples - starts[-1] == 1:
        starts.pop()
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], n_samples], strict=True)]
