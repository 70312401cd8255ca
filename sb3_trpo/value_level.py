"""
The level of the values: shift them by a constant, so that TD errors are 0 in the mean.

A critic fitted on bootstrapped returns finds the differences between states within a few updates.
Its level it finds as slowly as 1 / (1 − γ) timesteps pass through the λ of GAE, and until then all
TD errors hold one constant. Normalised advantages keep it: those of a rollout's last timesteps are
sums of fewer terms. With γ = 0.9999 that outweighs what the actions did. But it can be solved for.
"""

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch as th
from stable_baselines3.common.buffers import RolloutBuffer

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO


@dataclass(frozen=True)
class Continuations:
    """
    Which timesteps of a rollout something follows.

    :param going_on: (T, E) 1 where the episode goes on
    :param bootstrapped: (T, E) 1 where the next state's value counts: there, and at time limits
    :param advantages: (T, E) the array that they belong to; another one is another rollout's
    """

    going_on: np.ndarray
    bootstrapped: np.ndarray
    advantages: np.ndarray

    def sensitivities(self, gamma: float) -> np.ndarray:
        """Return (T, E) by how much each TD error falls when all values rise by 1."""
        return 1 - gamma * self.bootstrapped.astype(np.float64)


def value_shift(model: "TRPO") -> float:
    """
    Estimate what is missing in the values of the rollout in the model's buffer, all alike.

    Values raised by c have TD errors δ − c·u, u = 1 − γ where the next value counts and 1 where it
    does not; ĉ = mean(δ) / mean(u) is LSTD's solution for a constant feature (Bradtke and Barto
    1996, Machine Learning 22). TD errors of a right critic are uncorrelated, hence the standard
    error s = std(δ − ĉu) / (√N · mean(u)), and the estimate is shrunk to ĉ · max(0, 1 − s²/ĉ²)
    (empirical Bayes: Morris 1983, JASA 78), which is 0 as long as ĉ may be chance.

    :param model: with a full buffer; all processes of its group must ask
    :return: the shift; 0 where the rollout is not one that :class:`FastRollout` collected, the
        value network has no bias that learns, or the estimate is not finite
    """
    continuations = _known(model)
    here = [0.0] * 6 if continuations is None else _sums(model.rollout_buffer, continuations)
    vector = th.tensor([*here, float(continuations is None)], dtype=th.float64)
    *sums, n_unknown = model._processes.sum(vector).tolist()
    return 0.0 if n_unknown else _shrunk(*sums)


def centred(model: "TRPO", shift: float) -> RolloutBuffer:
    """
    Give the model's rollout the advantages and returns that shifted values have.

    :param model: with a full buffer, which stays as it is
    :param shift: of all values
    :return: a shallow copy of the buffer
    """
    buffer, continuations = model.rollout_buffer, _known(model)
    if continuations is None or shift == 0:
        return buffer
    sums = np.empty(buffer.advantages.shape)  # of later sensitivities, as GAE's of TD errors
    later = np.zeros(buffer.n_envs)
    decay = buffer.gamma * buffer.gae_lambda * continuations.going_on
    own = continuations.sensitivities(buffer.gamma)
    for total, here, factor in zip(sums[::-1], own[::-1], decay[::-1], strict=True):
        np.multiply(factor, later, out=total)
        total += here
        later = total
    moved = copy.copy(buffer)
    moved.advantages = (buffer.advantages - shift * sums).astype(np.float32)
    moved.values = (buffer.values + shift).astype(np.float32)
    moved.returns = moved.advantages + moved.values
    return moved


@th.no_grad()
def shift_values(model: "TRPO", shift: float) -> None:
    """
    Raise all values of the critic.

    :param model: whose critic ends in a linear layer, unless the shift is 0
    :param shift: by how much
    """
    if shift:
        model.policy.value_net.bias.add_(shift)


def _known(model: "TRPO") -> Continuations | None:
    """Return where the buffer's episodes go on, if that is known and the critic can be shifted."""
    continuations, last = model._continuations, getattr(model.policy, "value_net", None)
    is_shiftable = (
        isinstance(last, th.nn.Linear) and last.bias is not None and last.bias.requires_grad
    )
    if continuations is None or not is_shiftable:
        return None
    is_this_rollouts = continuations.advantages is model.rollout_buffer.advantages
    return continuations if is_this_rollouts else None


@np.errstate(all="ignore")  # the shift is 0 where they are not finite
def _sums(buffer: RolloutBuffer, continuations: Continuations) -> list[float]:
    """Return N and the sums of δ, u, δ², δu and u²."""
    advantages = buffer.advantages.astype(np.float64)
    errors = advantages.copy()  # δ, back from the sums that GAE made of them
    decay = buffer.gamma * buffer.gae_lambda * continuations.going_on
    errors[:-1] -= decay[:-1] * advantages[1:]
    falls = continuations.sensitivities(buffer.gamma)
    products = (errors, falls, errors * errors, errors * falls, falls * falls)
    return [errors.size, *(float(product.sum()) for product in products)]


def _shrunk(n: float, d: float, u: float, dd: float, du: float, uu: float) -> float:
    """Return the estimate from the sums of :func:`_sums`."""
    if not u > 0:  # γ = 1, and no episode ended: every level is as good
        return 0.0
    estimate = d / u
    variance = (dd - 2 * estimate * du + estimate**2 * uu) / n
    squared_error = variance * n / u**2
    if estimate == 0 or not math.isfinite(squared_error):
        return 0.0
    return estimate * max(0.0, 1 - squared_error / estimate**2)
