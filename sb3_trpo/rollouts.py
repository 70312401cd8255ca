"""Collecting a rollout: SB3's own loop, over environments whose observations are checked."""

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

Observations = np.ndarray | dict[str, np.ndarray]


class CheckedEnv:
    """
    A vectorised environment whose ``step`` refuses observations that are not finite.

    Not a VecEnvWrapper: it lives for one rollout, and everything but ``step`` is the environment's.

    :param env: the environment
    :param first_step: the number of timesteps collected before, for the message
    """

    def __init__(self, env: VecEnv, first_step: int) -> None:
        self._env = env
        self._timestep = first_step

    def __getattr__(self, name: str) -> Any:  # whatever the environment has
        return getattr(self._env, name)

    def step(self, actions: np.ndarray) -> VecEnvStepReturn:
        """
        Step all environments.

        :param actions: (E, …)
        :return: what the environment returned
        :raises ValueError: an observation holds NaN or infinity
        """
        observations, rewards, dones, infos = self._env.step(actions)
        self._timestep += self._env.num_envs
        check_finite(observations, self._timestep)
        for index in np.flatnonzero(dones):
            terminal = infos[index].get("terminal_observation")
            if terminal is not None:
                check_finite(terminal, self._timestep, env_index=int(index))
        return observations, rewards, dones, infos


def check_finite(observations: Any, timestep: int, env_index: int | None = None) -> None:
    """
    Stop the run at an observation that is not finite, before the policy sees it.

    :param observations: (E, …), or a dict of such; of one environment if ``env_index`` is given
    :param timestep: how many timesteps have been collected, for the message
    :param env_index: the environment that a single observation is from
    :raises ValueError: it holds NaN or infinity; names the environment and the step
    """
    parts = observations.items() if isinstance(observations, dict) else [("", observations)]
    for key, values in parts:
        array = np.asarray(values)
        if not np.issubdtype(array.dtype, np.floating) or np.isfinite(array).all():
            continue
        bad = env_index
        if bad is None:
            bad = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
        which = f" under key {key!r}" if key else ""
        kind = "observation" if env_index is None else "terminal observation"
        raise ValueError(
            f"Environment {bad} returned a {kind}{which} that is not finite at timestep "
            f"{timestep}. The policy is as it was after the last update."
        )
