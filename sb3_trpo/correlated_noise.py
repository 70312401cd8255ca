"""
Noise of actions that lasts longer than a timestep.

Independent noise averages out over the timesteps that a body takes to answer it; correlated noise
moves the body. Each action by itself is distributed as the policy says.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch as th
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule

from sb3_trpo.arguments import scheduled
from sb3_trpo.optim.checks import check

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO

Correlation = float | Schedule | Sequence[float | Schedule]
"""``noise_correlation`` as a user may give it."""


class CorrelatedNoise:
    """
    Noise ε_t = ρ ε_{t−1} + √(1 − ρ²) ξ_t with independent standard normal ξ and ε_0.

    So each ε_t is standard normal, and its correlation with ε_{t+k} is ρᵏ. Source: Korenkevych et
    al. 2019 (arXiv:1903.11524), their stationary process of order 1. That a policy gradient may
    take the probabilities of independent actions then: Hollenstein et al. 2024 (arXiv:2312.11091).

    :param correlations: ρ in [0, 1) of each environment
    """

    def __init__(self, correlations: Sequence[float]) -> None:
        self._rho = th.tensor(correlations, dtype=th.float64)[:, None]
        self._fresh = (1 - self._rho**2).sqrt()
        self._last: th.Tensor | None = None

    def __call__(self, like: th.Tensor) -> th.Tensor:
        """
        Draw the noise of the next timestep.

        :param like: (E, A), of the same shape at all timesteps
        :return: (E, A)
        """
        fresh = th.randn_like(like)
        if self._last is None:
            self._rho, self._fresh = self._rho.to(like), self._fresh.to(like)
            self._last = fresh
        else:
            self._last = self._rho * self._last + self._fresh * fresh
        return self._last


def correlations_now(model: "TRPO") -> list[float]:
    """
    Deal the values of ``noise_correlation`` to the environments, in turn.

    :param model: about to collect; of several processes, all environments count, by rank
    :return: of each of the model's environments
    :raises ValueError: a schedule returns what is not allowed
    """
    given, progress = model.noise_correlation, model._current_progress_remaining
    values = given if isinstance(given, (list, tuple)) else [given]
    now = [scheduled("noise_correlation", value, progress) for value in values]
    first = model._crew.first_env
    return [now[(first + i) % len(now)] for i in range(model.n_envs)]


def check_noise(policy: ActorCriticPolicy, correlation: Correlation) -> None:
    """
    Check that a policy draws the noise that can be correlated.

    :param policy: the model's
    :param correlation: as given to the model
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
def correlated_samples(policy: ActorCriticPolicy, correlations: Sequence[float]) -> Iterator[None]:
    """
    Make a policy's Gaussian draw correlated actions, for SB3's loop.

    :param policy: satisfies :func:`check_noise`
    :param correlations: of a timestep's noise with that of the one before, for each environment;
        a callback's predictions of other numbers of rows draw as always
    """
    if not any(correlations):
        yield
        return
    distribution: Any = policy.action_dist
    noise, independent = CorrelatedNoise(correlations), distribution.sample

    def sample() -> th.Tensor:
        gaussian = distribution.distribution
        if len(gaussian.loc) != len(correlations):
            return independent()  # type: ignore[no-any-return]
        return gaussian.loc + gaussian.scale * noise(gaussian.loc)  # type: ignore[no-any-return]

    distribution.sample = sample
    try:
        yield
    finally:
        del distribution.sample
