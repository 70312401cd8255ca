"""
Actions as the environment gets them: clipped to the Box, and how probable those are.

A Gaussian reaches beyond a Box, and SB3 clips its samples before the environment sees them. All
that lie beyond a bound are one action then, and which of them was drawn is noise in the gradient.
"""

from typing import TYPE_CHECKING, Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution

from sb3_trpo.distributions import DistributionMap

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO


class ClippedGaussianMap(DistributionMap):
    """
    Between a Gaussian and ``dist_params``, with the probabilities of its clipped samples.

    :param example: a distribution as the policy returns it; of any batch size
    :param box: what actions are clipped to
    """

    def __init__(self, example: DiagGaussianDistribution, box: spaces.Box) -> None:
        super().__init__(example)
        self._low, self._high = (
            th.as_tensor(bound, dtype=th.float64).flatten() for bound in (box.low, box.high)
        )

    def log_prob(self, distribution: Distribution, actions: th.Tensor) -> th.Tensor:
        """
        Compute the joint log-probability of the clipped actions.

        A dimension counts with its density between the bounds, and with the whole probability
        beyond a bound (Fujita and Maeda 2018, arXiv:1802.07564). The ratio of two such is the mean
        of the plain ratio over all samples that are clipped to the same action.

        :param distribution: as returned by :meth:`build`
        :param actions: (N, A), as sampled
        :return: (N,) nats
        :raises ValueError: the actions are not of that shape
        """
        self._check_actions(distribution, actions)
        gaussian: Any = distribution.distribution
        low, high = self._low.to(gaussian.loc), self._high.to(gaussian.loc)
        is_low = actions <= low
        is_clipped = is_low | (actions >= high)
        outwards = th.where(is_low, low - gaussian.loc, gaussian.loc - high)
        # 0 within: at a bound that is far away the gradient would be NaN, chosen or not.
        outwards = th.where(is_clipped, outwards, 0.0)
        beyond = th.special.log_ndtr(outwards / gaussian.scale)
        return th.where(is_clipped, beyond, gaussian.log_prob(actions)).sum(dim=1)


def distribution_map_of(model: "TRPO", example: Distribution) -> DistributionMap:
    """
    Make the map of a policy's distributions.

    :param model: whose policy
    :param example: a distribution as the policy returns it; of any batch size
    :return: with the probabilities of clipped actions if ``clipped_actions`` asks for them and the
        distribution is SB3's diagonal Gaussian
    :raises ValueError: its parameters are not known and cannot be found, or its KL has no formula
    """
    box = model.action_space
    # Not a subclass, whose log_prob is the user's; nor gSDE, whose samples share their noise, so
    # that how far one lies beyond a bound tells of later actions.
    if (
        model.clipped_actions
        and type(example) is DiagGaussianDistribution
        and isinstance(box, spaces.Box)
        and not model.policy.squash_output
    ):
        return ClippedGaussianMap(example, box)
    return DistributionMap(example)
