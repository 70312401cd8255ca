"""The rollout as one flat batch of tensors, and slices of it as the actor step wants them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.type_aliases import PyTorchObs

from sb3_trpo.critic import Minibatch
from sb3_trpo.distributions import DistributionMap
from sb3_trpo.optim.precision import precise
from sb3_trpo.union import Deal


@dataclass(frozen=True)
class Batch:
    """
    N samples, rows in time order: all environments of one timestep, then those of the next.

    :param observations: (N, …), or a dict of such
    :param actions: (N, A), or (N,) if discrete
    :param advantages: (N,) float64
    :param returns: (N,)
    :param weights: (N,) of each sample in every mean; padding weighs 0
    """

    observations: PyTorchObs
    actions: th.Tensor
    advantages: th.Tensor
    returns: th.Tensor
    weights: th.Tensor

    def __len__(self) -> int:
        return len(self.actions)

    def rows(self, rows: slice | th.Tensor) -> "Batch":
        """
        Take some of the rows.

        :param rows: a slice (a view of this batch) or indices (a copy)
        :return: the smaller batch
        """
        observations = self.observations
        return replace(
            self,
            observations=(
                {key: value[rows] for key, value in observations.items()}
                if isinstance(observations, dict)
                else observations[rows]
            ),
            actions=self.actions[rows],
            advantages=self.advantages[rows],
            returns=self.returns[rows],
            weights=self.weights[rows],
        )

    def ends(self) -> tuple["Batch", "Batch"]:
        """
        Take a few samples to find out about the policy with.

        :return: the first two and the last two; not one, since some networks squeeze()
        """
        return self.rows(slice(0, 2)), self.rows(slice(-2, None))

    def thinned(self, kept: slice | np.ndarray) -> "Batch":
        """
        Keep some samples, for the Fisher-vector products.

        :param kept: rows; sequences, where the batch is made of those
        :return: the smaller batch
        """
        if isinstance(kept, slice):
            return self.rows(kept)
        return self.rows(th.as_tensor(kept, device=self.actions.device))

    def split(self, size: int | None) -> list["Batch"]:
        """
        Cut into consecutive pieces.

        :param size: most rows in a piece; None: one piece
        :return: views of this batch
        """
        size = len(self) if size is None else size
        return [self.rows(slice(start, start + size)) for start in range(0, len(self), size)]


FIELDS = ("observations", "actions", "advantages", "returns")
"""What every batch takes from a rollout buffer."""
BUFFERS: tuple[type[RolloutBuffer], ...] = (DictRolloutBuffer, RolloutBuffer)


def rollout_fields(
    buffer: RolloutBuffer,
    device: th.device,
    *,
    names: Sequence[str] = FIELDS,
    bases: Sequence[type[RolloutBuffer]] = BUFFERS,
) -> dict[str, Any]:
    """
    View a full rollout buffer as flat tensors; on the CPU nothing is copied.

    A buffer that overrides the way of reading samples is asked for all of them at once instead,
    which draws one permutation from NumPy's generator.

    :param buffer: full, advantages computed
    :param device: where the tensors shall lie
    :param names: of the fields, the same in the buffer and in its samples
    :param bases: the classes whose way of reading is known, subclasses first
    :return: (T·E, …) each; a dict of such for Dict observations
    """
    base = next(base for base in bases if isinstance(buffer, base))
    cls = type(buffer)
    if cls.get is not base.get or cls._get_samples is not base._get_samples:
        samples = next(buffer.get(batch_size=None))
        return {name: getattr(samples, name) for name in names}
    n_samples = buffer.buffer_size * buffer.n_envs

    def flat(stored: Any) -> Any:
        if isinstance(stored, dict):
            return {key: flat(value) for key, value in stored.items()}
        trailing = stored.shape[1:] if buffer.generator_ready else stored.shape[2:]
        return th.as_tensor(stored.reshape(n_samples, *trailing), device=device)

    return {name: flat(getattr(buffer, name)) for name in names}


def whole_rollout(fields: dict[str, Any], action_space: spaces.Space[Any]) -> Batch:
    """
    Make the batch of a whole rollout.

    :param fields: by the names of ``FIELDS``, as :func:`rollout_fields` returns them
    :param action_space: of the environment
    :return: T·E samples, advantages not normalised
    """
    # As SB3's samplers hand them out: whole numbers as float32, except for Discrete.
    is_discrete, actions = isinstance(action_space, spaces.Discrete), fields["actions"]
    actions = actions.long().reshape(-1) if is_discrete else actions.float()
    advantages = precise(fields["advantages"]).reshape(-1)
    returns = fields["returns"].reshape(-1)
    return Batch(fields["observations"], actions, advantages, returns, th.ones_like(advantages))


@dataclass(frozen=True)
class Spread:
    """
    How some advantages are spread.

    :param moments: their number, mean and variance
    :param least: of them
    :param greatest: of them
    """

    moments: RunningMeanStd
    least: float
    greatest: float

    def merged(self, other: "Spread") -> "Spread":
        """Return the spread of these advantages and of others together."""
        return Spread(
            combined(self.moments, other.moments),
            min(self.least, other.least),
            max(self.greatest, other.greatest),
        )


def moments_of(numbers: np.ndarray) -> RunningMeanStd:
    """
    Count some numbers, and take their mean and variance.

    :param numbers: of any shape; at least one
    :return: all three, in float64
    """
    moments = RunningMeanStd(epsilon=0)
    moments.update(numbers.reshape(-1).astype(np.float64))
    return moments


def combined(moments: RunningMeanStd, others: RunningMeanStd) -> RunningMeanStd:
    """Return the moments of two sets of numbers together; both stay as they are."""
    both = moments.copy()
    both.combine(others)
    return both


def spread_of_advantages(batch: Batch) -> Spread:
    """
    Measure the advantages.

    :param batch: at least one sample that is no padding
    :return: of those that are none
    """
    counted = batch.advantages[batch.weights > 0].cpu().numpy()
    return Spread(moments_of(counted), float(counted.min()), float(counted.max()))


def normalised_advantages(batch: Batch, spread: Spread) -> Batch:
    """
    Shift the advantages to mean 0 and scale them to standard deviation 1.

    :param batch: whose advantages
    :param spread: of all advantages, those of other processes too; at least two
    :return: the batch with normalised advantages; exact zeros where all were equal
    """
    if spread.least == spread.greatest:
        return replace(batch, advantages=th.zeros_like(batch.advantages))
    moments = spread.moments
    std = math.sqrt(moments.var * moments.count / (moments.count - 1))
    return replace(batch, advantages=(batch.advantages - float(moments.mean)) / (std + 1e-8))


class ActorChunk:
    """
    Some rows of a batch as the numerical core sees them (:class:`sb3_trpo.optim.Chunk`).

    :param batch: the rows
    :param distribution: the action distribution of these rows at the current network parameters
    :param distribution_map: between such distributions and their parameters
    :param ent_coef: weight of the entropy bonus in the surrogate
    """

    def __init__(
        self,
        batch: Batch,
        distribution: Callable[[], Distribution],
        distribution_map: DistributionMap,
        *,
        ent_coef: float,
    ) -> None:
        self.batch, self._distribution = batch, distribution
        self._map, self._ent_coef = distribution_map, ent_coef

    @property
    def weights(self) -> th.Tensor:
        """(n,) weight of each sample."""
        return self.batch.weights

    def dist_params(self) -> th.Tensor:
        """(n, K) at the current network parameters."""
        return self._map.read(self._distribution())

    def old_policy(self, dist_params: th.Tensor) -> "OldActor":
        """
        Fix the reference.

        :param dist_params: (n, K) of the old policy, without a graph, in the network's dtype
        :return: surrogate, KL and metric with respect to it
        """
        return OldActor(self.batch, dist_params, self._map, ent_coef=self._ent_coef)


class OldActor:
    """
    The old policy on some samples (:class:`sb3_trpo.optim.OldPolicy`).

    :param batch: the samples
    :param dist_params: (n, K) of the old policy, in the network's dtype
    :param distribution_map: between distributions and their parameters
    :param ent_coef: weight of the entropy bonus in the surrogate
    """

    def __init__(
        self,
        batch: Batch,
        dist_params: th.Tensor,
        distribution_map: DistributionMap,
        *,
        ent_coef: float,
    ) -> None:
        self._actions, self._advantages = batch.actions, batch.advantages
        self._map, self._ent_coef = distribution_map, ent_coef
        self._dist_params = precise(dist_params)
        self.metric = distribution_map.metric(dist_params)
        old = distribution_map.build(self._dist_params)
        self._log_prob = distribution_map.log_prob(old, self._actions)
        entropy = old.entropy()
        self.entropy = -self._log_prob if entropy is None else entropy

    def surrogate(self, dist_params: th.Tensor) -> th.Tensor:
        """(n,) ratio · advantage + ent_coef · entropy."""
        new = self._map.build(dist_params)
        log_prob = self._map.log_prob(new, self._actions)
        ratio = (log_prob - self._log_prob).exp()
        surrogate = ratio * self._advantages
        if self._ent_coef == 0:
            return surrogate
        entropy = new.entropy()
        if entropy is None:  # no closed form: an estimate by the old policy's samples
            entropy = -ratio * log_prob
        return surrogate + self._ent_coef * entropy

    def kl(self, dist_params: th.Tensor) -> th.Tensor:
        """(n,) joint KL(old ‖ new), in nats."""
        return self._map.kl(self._dist_params, dist_params)


def minibatches(batch: Batch, cards: Deal) -> Iterator[Minibatch[Batch]]:
    """
    Hand out the rows of the minibatches.

    :param batch: N samples
    :param cards: how they are shuffled and cut
    :return: the minibatches, each gathered when it is asked for
    """
    order = th.as_tensor(cards.order, device=batch.actions.device)
    return (
        Minibatch(_some_rows(batch, order[part], is_alone=size == 1), size)
        for part, size in zip(cards.parts, cards.sizes, strict=True)
    )


def _some_rows(batch: Batch, chosen: th.Tensor, *, is_alone: bool) -> Batch | None:
    """Take this process's rows of a minibatch; None if it has none."""
    if len(chosen) == 1 and not is_alone:
        # Twice, the second without weight: batch normalisation and squeeze() want more than one.
        twice = batch.rows(chosen.repeat(2))
        return replace(twice, weights=twice.weights * twice.weights.new_tensor([1, 0]))
    return batch.rows(chosen) if len(chosen) else None
