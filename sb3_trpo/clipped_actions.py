"""
Actions as the environment gets them: clipped to the Box, and how probable those are.

A Gaussian reaches beyond a Box, and SB3 clips its samples before the environment sees them. All
that lie beyond a bound are one action then, and which of them was drawn is noise in the gradient.
"""

from typing import TYPE_CHECKING, Any, cast

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    DiagGaussianDistribution,
    Distribution,
    StateDependentNoiseDistribution,
)

from sb3_trpo.distributions import DistributionMap

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO


class ClippedGaussianMap(DistributionMap):
    """
    The same for one of SB3's Gaussians whose samples are clipped.

    :param example: a distribution as the policy returns it; of any batch size
    :param box: what actions are clipped to
    """

    def __init__(self, example: Distribution, box: spaces.Box) -> None:
        super().__init__(example)
        self._low, self._high = (
            th.as_tensor(bound, dtype=th.float64).flatten() for bound in (box.low, box.high)
        )

    def log_prob(self, distribution: Distribution, actions: th.Tensor) -> th.Tensor:
        """
        Compute the joint log-probability of the clipped actions.

        A dimension counts with its density between the bounds, and with the whole probability
        beyond a bound (Fujita and Maeda 2018, arXiv:1802.07564). Ratios of that are the
        plain ratios' mean over all samples that are the same to the environment: equally right, of
        lower variance.

        :param distribution: as returned by :meth:`build`
        :param actions: (N, A), as sampled
        :return: (N,) nats
        :raises ValueError: the actions are not of that shape
        """
        self._check_actions(distribution, actions)
        gaussian: Any = distribution.distribution
        low, high = self._low.to(gaussian.loc), self._high.to(gaussian.loc)
        is_low, is_high = actions <= low, actions >= high
        # 0 within: at a bound that is far away the gradient would be NaN, chosen or not.
        outwards = th.where(is_low, low - gaussian.loc, gaussian.loc - high)
        outwards = outwards.where(is_low | is_high, th.zeros_like(outwards))
        beyond = th.special.log_ndtr(outwards / gaussian.scale)
        within = gaussian.log_prob(actions)
        return th.where(is_low | is_high, beyond, within).sum(dim=1)


def distribution_map_of(model: "TRPO", example: Distribution) -> DistributionMap:
    """
    Make the map of a policy's distributions.

    :param model: whose policy
    :param example: a distribution as the policy returns it; of any batch size
    :return: with ``clipped_actions``, one that knows of the clipping if there is any
    :raises ValueError: its parameters are not known and cannot be found, or its KL has no formula
    """
    # Not of subclasses, whose log_prob is the user's.
    is_gaussian = type(example) in (DiagGaussianDistribution, StateDependentNoiseDistribution)
    if model.clipped_actions and is_gaussian and not model.policy.squash_output:
        return ClippedGaussianMap(example, cast(spaces.Box, model.action_space))
    return DistributionMap(example)
