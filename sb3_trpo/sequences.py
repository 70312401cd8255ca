"""The rollout as sequences for recurrent policies, padded to one length where a pass needs it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import torch as th

from sb3_trpo.batch import Batch
from sb3_trpo.critic import Minibatch
from sb3_trpo.lstm import States
from sb3_trpo.optim.precision import precise
from sb3_trpo.union import Permutation, Union, minibatch_slices


@dataclass(frozen=True)
class Rollout:
    """
    A whole rollout, one environment after the other, each in time order.

    :param rows: observations, actions, advantages, returns of all samples, (E·T, …) each
    :param actor_states: of the actor's LSTM before each sample, (layers, E·T, units)
    :param critic_states: of the critic's, likewise
    :param episode_starts: (E·T,) True where the observation opens an episode
    :param n_steps: T
    """

    rows: dict[str, Any]
    actor_states: States
    critic_states: States
    episode_starts: np.ndarray
    n_steps: int

    def cut(self, longest: int | None = None) -> "SequenceBatch":
        """
        Cut at episode starts and at the rollout's edges.

        :param longest: further cuts leave no sequence longer than this, each with the state that
            was stored there; None: no further cuts
        :return: all samples
        """
        time = np.arange(len(self.episode_starts)) % self.n_steps
        opens = self.episode_starts | (time == 0)
        if longest is not None:
            begun = np.maximum.accumulate(np.where(opens, np.arange(len(opens)), 0))
            opens |= (np.arange(len(opens)) - begun) % longest == 0
        starts = np.flatnonzero(opens)
        return self.padded(starts, np.diff(starts, append=len(opens)))

    def padded(self, starts: np.ndarray, lengths: np.ndarray) -> "SequenceBatch":
        """
        Put some sequences side by side.

        :param starts: (S,) rows that they begin at
        :param lengths: (S,) their numbers of rows
        :return: S · L rows, L the greatest length, one sequence after the other; padding repeats
            the first row of its sequence and weighs 0
        """
        offsets = np.arange(lengths.max())
        inside = offsets < lengths[:, None]
        order = th.from_numpy((starts[:, None] + np.where(inside, offsets, 0)).reshape(-1))
        weights = precise(th.from_numpy(inside.reshape(-1).astype(np.float32)))
        rows = {name: _take(value, order) for name, value in self.rows.items()}
        device = rows["actions"].device
        return SequenceBatch(
            **rows, weights=weights.to(device), rollout=self, starts=starts, lengths=lengths
        )

    def states_at(self, starts: np.ndarray, states: States) -> States:
        """
        Look up the states that some sequences begin with: zeros at the start of an episode.

        :param starts: (S,) rows that they begin at
        :param states: of actor or critic
        :return: (layers, S, units) each
        """
        going_on = th.from_numpy(~self.episode_starts[starts]).to(states[0])[None, :, None]
        hidden, cell = (state[:, th.from_numpy(starts)] * going_on for state in states)
        return hidden.contiguous(), cell.contiguous()


def _take(values: Any, order: th.Tensor) -> Any:
    if isinstance(values, dict):
        return {key: value[order] for key, value in values.items()}
    return values[order]


@dataclass(frozen=True)
class SequenceBatch(Batch):
    """
    Sequences, padded to one length: rows of the first, then of the second, and so on.

    :param rollout: where they are from
    :param starts: (S,) rows of the rollout that they begin at
    :param lengths: (S,) their numbers of rows
    """

    rollout: Rollout
    starts: np.ndarray
    lengths: np.ndarray

    @property
    def actor_states(self) -> States:
        """What the actor's LSTM begins each sequence with."""
        return self.rollout.states_at(self.starts, self.rollout.actor_states)

    @property
    def critic_states(self) -> States:
        """What the critic's LSTM begins each sequence with."""
        return self.rollout.states_at(self.starts, self.rollout.critic_states)

    def rows(self, rows: slice | th.Tensor) -> NoReturn:
        """Refuse: a row means nothing without those before it."""
        raise TypeError(f"sequences have no rows of their own, got {rows!r}")

    def sequences(self, chosen: slice | np.ndarray) -> "SequenceBatch":
        """
        Take some of the sequences, padded no further than they need.

        :param chosen: a slice or indices
        :return: the smaller batch, with this one's advantages
        """
        taken = self.rollout.padded(self.starts[chosen], self.lengths[chosen])
        length = int(self.lengths.max())
        kept = int(taken.lengths.max())
        places = np.arange(len(self.starts))[chosen][:, None] * length + np.arange(kept)
        return replace(taken, advantages=self.advantages[th.from_numpy(places.reshape(-1))])

    def ends(self) -> tuple["SequenceBatch", "SequenceBatch"]:
        """
        Take a few samples to find out about the policy with.

        :return: the first two steps of the first sequence, and of the last
        """
        short = np.minimum(self.lengths, 2)
        return (
            self.rollout.padded(self.starts[:1], short[:1]),
            self.rollout.padded(self.starts[-1:], short[-1:]),
        )

    def thinned(self, kept: slice | np.ndarray) -> "SequenceBatch":
        """
        Keep some sequences, for the Fisher-vector products.

        :param kept: which
        :return: the smaller batch
        """
        return self.sequences(kept)

    def split(self, size: int | None) -> list["SequenceBatch"]:  # type: ignore[override]  # a list of its own kind
        """
        Cut into groups of sequences, those of like length together.

        :param size: most rows in a group, padding included, unless one sequence alone is longer;
            None: one group
        :return: the groups
        """
        if size is None:
            return [self]
        groups: list[list[int]] = []
        for index in np.argsort(self.lengths, kind="stable"):
            length = self.lengths[index]  # the longest so far
            if not groups or (len(groups[-1]) + 1) * length > size:
                groups.append([])
            groups[-1].append(int(index))
        return [self.sequences(np.array(group)) for group in groups]

    def minibatches(
        self, batch_size: int, union: Union, lengths: np.ndarray, permutation: Permutation
    ) -> Iterator[Minibatch["SequenceBatch"]]:
        """
        Shuffle the sequences and deal them out once.

        :param batch_size: rows of a minibatch, about
        :param union: of the sequences of all processes
        :param lengths: (total,) theirs
        :param permutation: the shuffling
        :return: the minibatches, each padded when it is asked for
        """
        order = permutation(union.total)
        own, counts = union.own(order)
        n_rows = np.cumsum(lengths[order])
        cuts = minibatch_slices(int(n_rows[-1]), batch_size)
        edges = np.unique(np.searchsorted(n_rows, [rows.stop for rows in cuts]) + 1)
        n_rows = np.concatenate([[0], n_rows])
        return (
            Minibatch(
                self._padded_if_any(own[counts[start] : counts[end]]),
                float(n_rows[end] - n_rows[start]),
            )
            for start, end in zip([0, *edges[:-1]], edges, strict=True)
        )

    def _padded_if_any(self, chosen: np.ndarray) -> "SequenceBatch | None":
        if not len(chosen):  # all are other processes'
            return None
        return self.rollout.padded(self.starts[chosen], self.lengths[chosen])
