"""Drawing actions from the actor's outputs with SB3's random stream, but without its objects."""

from collections.abc import Callable
from typing import Any

import torch as th
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    MultiCategoricalDistribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy

Sampler = Callable[[th.Tensor, th.Tensor], th.Tensor]
"""Maps outputs (n, …) of ``action_net`` and its inputs (n, units) to actions (n, …)."""
Noise = Callable[[th.Tensor], th.Tensor]
"""Draws standard normal noise of a tensor's shape, for one timestep after the other."""


def sampler_of(policy: ActorCriticPolicy) -> Sampler | None:
    """
    Return what draws actions as the policy's distribution would, at its parameters of the moment.

    :param policy: of a class of SB3's, unmodified
    :return: None where its distribution is none of SB3's five; what it draws has no graph if its
        inputs have none
    """
    distribution: Any = policy.action_dist  # its exact type decides
    kind = type(distribution)
    if kind is DiagGaussianDistribution:
        return gaussian_sampler(policy, th.randn_like)
    if kind is CategoricalDistribution:
        return categories_sampler([distribution.action_dim], is_vector=False)
    if kind is MultiCategoricalDistribution:
        return categories_sampler(list(distribution.action_dims), is_vector=True)
    if kind is BernoulliDistribution:
        return lambda outputs, _: outputs.sigmoid().bernoulli()
    if kind is StateDependentNoiseDistribution:
        return lambda outputs, latent: _explore(distribution, outputs, latent)
    return None


def gaussian_sampler(policy: ActorCriticPolicy, noise: Noise) -> Sampler:
    """
    Return what draws actions of a diagonal Gaussian.

    :param policy: with SB3's DiagGaussianDistribution
    :param noise: of a timestep
    :return: the sampler
    """
    log_std = policy.log_std.detach()  # follows every change that is made in place
    return lambda outputs, _: outputs.addcmul(noise(outputs), log_std.exp())


def categories_sampler(sizes: list[int], *, is_vector: bool) -> Sampler:
    """
    Return what draws one category, or one for each action of a vector.

    :param sizes: numbers of choices, their logits side by side in the outputs
    :param is_vector: draw (n, A); else (n,), from the only action
    :return: the sampler
    """

    def draw(outputs: th.Tensor, _: th.Tensor) -> th.Tensor:
        # Normalised first, as torch's Categorical does: a draw must not hang on a rounding.
        drawn = [
            part.softmax(dim=-1).multinomial(1, replacement=True)[:, 0]
            for part in normalised_logits(outputs, sizes).split_with_sizes(sizes, dim=1)
        ]
        return th.stack(drawn, dim=1) if is_vector else drawn[0]

    return draw


def normalised_logits(logits: th.Tensor, sizes: list[int]) -> th.Tensor:
    """
    Turn logits into log-probabilities.

    :param logits: (n, choices) of all actions side by side
    :param sizes: numbers of choices of each action
    :return: (n, choices)
    """
    parts = logits.split_with_sizes(sizes, dim=1)
    normalised = [part - part.logsumexp(dim=-1, keepdim=True) for part in parts]
    return normalised[0] if len(normalised) == 1 else th.cat(normalised, dim=1)


@th.no_grad()
def _explore(
    distribution: StateDependentNoiseDistribution, mean: th.Tensor, latent: th.Tensor
) -> th.Tensor:
    actions = mean + distribution.get_noise(latent)
    bijector = distribution.bijector
    return actions if bijector is None else bijector.forward(actions)
