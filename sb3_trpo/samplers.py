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
        log_std = policy.log_std.detach()  # follows every change that is made in place
        return lambda outputs, _: outputs.addcmul(th.randn_like(outputs), log_std.exp())
    if kind is CategoricalDistribution:
        return lambda outputs, _: _draw_category(outputs)
    if kind is MultiCategoricalDistribution:
        sizes = list(distribution.action_dims)
        return lambda outputs, _: th.stack(
            [_draw_category(part) for part in outputs.split_with_sizes(sizes, dim=1)], dim=1
        )
    if kind is BernoulliDistribution:
        return lambda outputs, _: outputs.sigmoid().bernoulli()
    if kind is StateDependentNoiseDistribution:
        return lambda outputs, latent: _explore(distribution, outputs, latent)
    return None


def _draw_category(logits: th.Tensor) -> th.Tensor:
    # Normalised first, as torch's Categorical does: a draw must not hang on a rounding.
    probs = (logits - logits.logsumexp(dim=-1, keepdim=True)).softmax(dim=-1)
    return probs.multinomial(1, replacement=True)[:, 0]


@th.no_grad()
def _explore(
    distribution: StateDependentNoiseDistribution, mean: th.Tensor, latent: th.Tensor
) -> th.Tensor:
    actions = mean + distribution.get_noise(latent)
    bijector = distribution.bijector
    return actions if bijector is None else bijector.forward(actions)
