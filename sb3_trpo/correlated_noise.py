"""
Noise of actions that lasts longer than a timestep.

Independent noise averages out over the timesteps that a body takes to answer it; correlated noise
moves the body. Each action by itself is distributed as the policy says.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch as th
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule

from sb3_trpo.optim.checks import check


class CorrelatedNoise:
    """
    Noise ε_t = ρ ε_{t−1} + √(1 − ρ²) ξ_t with independent standard normal ξ and ε_0.

    So each ε_t is standard normal, and its correlation with ε_{t+k} is ρᵏ. Source: Korenkevych et
    al. 2019 (arXiv:1903.11524), their stationary process of order 1. That a policy gradient may
    take the probabilities of independent actions then: Hollenstein et al. 2024 (arXiv:2312.11091).

    :param correlation: ρ in [0, 1)
    """

    def __init__(self, correlation: float) -> None:
        self._rho, self._fresh = correlation, (1 - correlation**2) ** 0.5
        self._last: th.Tensor | None = None

    def __call__(self, like: th.Tensor) -> th.Tensor:
        """
        Draw the noise of the next timestep.

        :param like: (E, A), of the same shape at all timesteps
        :return: (E, A)
        """
        fresh = th.randn_like(like)
        last = self._last
        self._last = fresh if last is None else self._rho * last + self._fresh * fresh
        return self._last


def check_noise(policy: ActorCriticPolicy, correlation: float | Schedule) -> None:
    """
    Check that a policy draws the noise that can be correlated.

    :param policy: the model's
    :param correlation: of a timestep's noise with that of the one before, or a schedule of it
    :raises ValueError: it is not 0 and the policy's distribution is not SB3's diagonal Gaussian
    """
    kind = type(policy.action_dist)
    check(
        "noise_correlation",
        correlation,
        f"0 with a {kind.__name__} (other values need SB3's DiagGaussianDistribution)",
        is_right=correlation == 0 or kind is DiagGaussianDistribution,
    )


@contextmanager
def correlated_samples(
    policy: ActorCriticPolicy, correlation: float, n_envs: int
) -> Iterator[None]:
    """
    Make a policy's Gaussian draw correlated actions, for SB3's loop.

    :param policy: satisfies :func:`check_noise`
    :param correlation: of a timestep's noise with that of the one before
    :param n_envs: rows of the observations that belong to the rollout; a callback's
        predictions of others draw as always
    """
    if correlation == 0:
        yield
        return
    distribution: Any = policy.action_dist
    noise, independent = CorrelatedNoise(correlation), distribution.sample

    def sample() -> th.Tensor:
        gaussian = distribution.distribution
        if len(gaussian.loc) != n_envs:
            return independent()  # type: ignore[no-any-return]
        return gaussian.loc + gaussian.scale * noise(gaussian.loc)  # type: ignore[no-any-return]

    distribution.sample = sample
    try:
        yield
    finally:
        del distribution.sample
