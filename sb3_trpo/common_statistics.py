"""VecNormalize's running statistics, kept common to all processes that learn together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize

from sb3_trpo.moments import Moments


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
        self._common = self._now()

    def _now(self) -> dict[str, Moments]:
        return {
            name: Moments(x.count, x.mean.copy(), x.var * x.count)
            for name, x in self._running.items()
        }

    def are_of(self, env: VecEnv) -> bool:
        """Tell whether these are the statistics of some environments."""
        return unwrap_vec_normalize(env) is self._normaliser

    def fingerprint(self) -> dict[str, Any]:
        """Return what must be equal on all processes at the start."""
        return {
            name: (float(moments.count), moments.mean.tobytes(), np.asarray(moments.m2).tobytes())
            for name, moments in self._common.items()
        }

    def increments(self) -> dict[str, Moments]:
        """Return the moments of this process's samples since the last common state."""
        return {name: now.less(self._common[name]) for name, now in self._now().items()}

    def take(self, increments: Sequence[dict[str, Moments]]) -> None:
        """
        Move on to the next common state.

        :param increments: of all processes, by rank
        """
        for name, running in self._running.items():
            total = self._common[name]
            new = [increment[name] for increment in increments if increment[name].count]
            if not new:  # frozen: not even a rounding
                continue
            for increment in new:
                total = total.merged(increment)
            self._common[name] = total
            running.count, running.mean, running.var = total.count, total.mean, total.variance


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
