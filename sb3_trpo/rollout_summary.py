"""What an update must know of a whole rollout, those of other processes included."""

import math
from dataclasses import dataclass

import numpy as np
import torch as th
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.running_mean_std import RunningMeanStd

from sb3_trpo.batch import Batch, Spread, combined, moments_of, spread_of_advantages


@dataclass(frozen=True)
class RolloutSummary:
    """
    Rollouts in a few numbers.

    :param fault: why there must be no update; empty if there may
    :param advantages: their spread; means nothing where there is a fault, as do the others
    :param returns: their moments
    :param errors: the moments of returns − values
    """

    fault: str
    advantages: Spread
    returns: RunningMeanStd
    errors: RunningMeanStd

    @property
    def explained_variance(self) -> float:
        """1 − Var(returns − values) / Var(returns); NaN where all returns are equal."""
        total = float(self.returns.var)
        return 1 - float(self.errors.var) / total if total else math.nan

    def merged(self, other: "RolloutSummary") -> "RolloutSummary":
        """Return the summary of these rollouts and of the next ranks'."""
        return RolloutSummary(
            self.fault or other.fault,
            self.advantages.merged(other.advantages),
            combined(self.returns, other.returns),
            combined(self.errors, other.errors),
        )


@np.errstate(all="ignore")  # the fault says so
def summary_of(buffer: RolloutBuffer, batch: Batch) -> RolloutSummary:
    """
    Look at this process's rollout before the update.

    :param buffer: full
    :param batch: the same rollout
    :return: its summary
    """
    fault = ""
    if not th.isfinite(th.as_tensor(buffer.rewards)).all():
        fault = "non-finite reward"
    elif not (th.isfinite(batch.advantages).all() and th.isfinite(batch.returns).all()):
        fault = "non-finite advantage"
    return RolloutSummary(
        fault,
        spread_of_advantages(batch),
        moments_of(buffer.returns),
        moments_of(buffer.returns - buffer.values),
    )
