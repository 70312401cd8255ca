"""VecNormalize's running statistics, kept common to all processes that learn together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize


class CommonStatistics:
    """
    The statistics that all processes had in common last, and how to get to the next ones.

    Within a rollout each process's statistics move with its own data. At its end what has come
    since is added up over the processes, onto the last common state: so no sample counts twice,
    and the statistics are those of all samples.

    :param env: the training environments, with or without ``VecNormalize``; the statistics are the
        same on all processes
    """

    def __init__(self, env: VecEnv) -> None:
        self._normaliser = unwrap_vec_normalize(env)
        self._running = _running_statistics(self._normaliser)
        self._common = {name: running.copy() for name, running in self._running.items()}

    def are_of(self, env: VecEnv) -> bool:
        """Tell whether these are the statistics of some environments."""
        return unwrap_vec_normalize(env) is self._normaliser

    def fingerprint(self) -> dict[str, Any]:
        """Return what must be equal on all processes at the start."""
        return {
            name: (float(common.count), common.mean.tobytes(), common.var.tobytes())
            for name, common in self._common.items()
        }

    def increments(self) -> dict[str, RunningMeanStd]:
        """Return the moments of this process's samples since the last common state."""
        return {name: _since(self._common[name], now) for name, now in self._running.items()}

    def take(self, increments: Sequence[dict[str, RunningMeanStd]]) -> None:
        """
        Move on to the next common state.

        :param increments: of all processes, by rank
        """
        for name, running in self._running.items():
            common = self._common[name]
            for increment in increments:
                if increment[name].count:  # not even a rounding, where the statistics are frozen
                    common.combine(increment[name])
            now = common.copy()
            running.mean, running.var, running.count = now.mean, now.var, now.count


def _since(earlier: RunningMeanStd, now: RunningMeanStd) -> RunningMeanStd:
    """Take the samples of an earlier state out again: ``RunningMeanStd.combine``, backwards."""
    new = RunningMeanStd(epsilon=0, shape=now.mean.shape)
    count = now.count - earlier.count
    if count > 0:
        new.mean = (now.count * now.mean - earlier.count * earlier.mean) / count
        between = (new.mean - earlier.mean) ** 2 * (earlier.count * count / now.count)
        squares = now.var * now.count - earlier.var * earlier.count - between
        new.var, new.count = np.maximum(squares / count, 0), count
    return new


def _running_statistics(normaliser: VecNormalize | None) -> dict[str, RunningMeanStd]:
    if normaliser is None:
        return {}
    running = {"rewards": normaliser.ret_rms}
    observations = getattr(normaliser, "obs_rms", None)  # none there without norm_obs
    if isinstance(observations, dict):
        running |= {f"observations[{key!r}]": value for key, value in observations.items()}
    elif observations is not None:
        running["observations"] = observations
    return running
