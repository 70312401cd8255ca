"""EnvPool's environments, stepped in C++ threads, as a vectorised environment of SB3's."""

import time
from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from sb3_trpo.optim.checks import check, is_whole

_NO_PYTHON = (
    "EnvPool's environments live in C++: they have no {what} to reach from Python, got {name!r}"
)


class EnvPoolVecEnv(VecEnv):
    """
    Many environments of one EnvPool task, in this process.

    It keeps SB3's promises: an environment whose episode ends is reset within the same step, its
    last observation is ``infos[i]["terminal_observation"]``, ``"TimeLimit.truncated"`` tells a time
    limit from an end, and ``"episode"`` holds return, length and seconds since the start, as
    ``Monitor`` writes them: what ``VecNormalize`` on top makes of the rewards does not enter.

    ``seed(…)`` takes effect at the next ``reset()``, which then makes the environments anew:
    EnvPool seeds them when it makes them.

    :param task: id, one of ``envpool.list_all_envs()``
    :param num_envs: environments; at least 1
    :param seed: of the environments, in [0, 2**31)
    :param num_threads: threads that step them; 0: EnvPool's choice
    :param env_kwargs: options of the task (``max_episode_steps``, …), as ``envpool.make`` has them
    :raises ImportError: EnvPool is not installed
    :raises ValueError: an argument is out of range, or EnvPool does not know the task or an option
    """

    def __init__(
        self,
        task: str,
        num_envs: int,
        *,
        seed: int = 0,
        num_threads: int = 0,
        env_kwargs: dict[str, Any] | None = None,
    ) -> None:
        for name, value, least in (
            ("num_envs", num_envs, 1),
            ("num_threads", num_threads, 0),
            ("seed", seed, 0),
        ):
            is_right = is_whole(value, least) and value < 2**31
            check(name, value, f"a whole number in [{least}, 2**31)", is_right=is_right)
        is_right = env_kwargs is None or isinstance(env_kwargs, dict)
        check("env_kwargs", env_kwargs, "None or a dict", is_right=is_right)
        self._task, self._num_threads = task, num_threads
        self._env_kwargs = dict(env_kwargs or {})
        self._pool = self._make(num_envs, seed)
        self._action_dtype = self._pool.action_space.dtype
        self._started = time.time()
        self._returns, self._lengths = np.zeros(num_envs), np.zeros(num_envs, dtype=int)
        action_space = _as_gymnasium(self._pool.action_space)
        super().__init__(num_envs, self._pool.observation_space, action_space)

    def _make(self, num_envs: int, seed: int) -> Any:
        try:
            import envpool
        except ImportError as error:
            raise ImportError(
                'EnvPoolVecEnv needs EnvPool: pip install ".[envpool]" in a clone of sb3_trpo'
            ) from error
        known = envpool.list_all_envs()
        if self._task not in known:
            raise ValueError(
                f"task must be one of the {len(known)} of envpool.list_all_envs(), "
                f"got {self._task!r}"
            )
        try:
            return envpool.make(
                self._task,
                env_type="gymnasium",
                num_envs=num_envs,
                num_threads=self._num_threads,
                seed=seed,
                **self._env_kwargs,
            )
        except TypeError as error:
            raise ValueError(
                f"env_kwargs must be options that EnvPool knows of {self._task}, got "
                f"{self._env_kwargs}: {error}"
            ) from error

    def reset(self) -> VecEnvObs:
        """
        Begin an episode in every environment.

        :return: the first observations
        """
        first_seed = self._seeds[0]
        if first_seed is not None:
            self._pool.close()
            self._pool = self._make(self.num_envs, first_seed)
        self._reset_seeds()
        self._reset_options()
        observations, _ = self._pool.reset()
        self._returns[:], self._lengths[:] = 0, 0
        self.reset_infos = [{} for _ in range(self.num_envs)]
        result: VecEnvObs = observations
        return result

    def step_async(self, actions: np.ndarray) -> None:
        """
        Note the actions of the next step.

        :param actions: (num_envs, …)
        :raises ValueError: they are not of that shape
        """
        shape = (self.num_envs, *(self.action_space.shape or ()))
        try:
            self._actions = np.asarray(actions, dtype=self._action_dtype)
            is_right = self._actions.shape == shape
        except (ValueError, TypeError):
            is_right = False
        if not is_right:
            raise ValueError(f"actions must be an array of shape {shape}, got {actions!r}")

    def step_wait(self) -> VecEnvStepReturn:
        """
        Step all environments, and reset those whose episode is over.

        :return: observations, rewards, whether an episode ended, and infos
        """
        observations, rewards, terminated, truncated, info = self._pool.step(self._actions)
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        infos = _by_environment(info, self.num_envs)
        ended = np.flatnonzero(dones)
        if len(ended):
            self._note_ends(ended, observations, truncated & ~terminated, infos)
            fresh, _ = self._pool.reset(ended)
            _put(observations, ended, fresh)
        return observations, rewards.astype(np.float32, copy=False), dones, infos

    def _note_ends(
        self,
        ended: np.ndarray,
        observations: Any,
        timed_out: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        seconds = round(time.time() - self._started, 6)
        for i in ended:
            infos[i]["terminal_observation"] = _one(observations, i)
            infos[i]["TimeLimit.truncated"] = bool(timed_out[i])
            infos[i]["episode"] = {
                "r": round(float(self._returns[i]), 6),
                "l": int(self._lengths[i]),
                "t": seconds,
            }
        self._returns[ended], self._lengths[ended] = 0, 0

    def close(self) -> None:
        """End the threads."""
        self._pool.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """
        Tell the render mode, the one attribute there is.

        :param attr_name: ``"render_mode"``
        :param indices: of which environments; None: all
        :return: None for each: nothing is drawn
        :raises AttributeError: any other attribute is asked for
        :raises ValueError: there are no such environments
        """
        if attr_name == "render_mode":
            return [None for _ in self._rows(indices)]
        raise AttributeError(_NO_PYTHON.format(what="attributes", name=attr_name))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:  # noqa: ARG002
        """Refuse, with an AttributeError."""
        raise AttributeError(_NO_PYTHON.format(what="attributes", name=attr_name))

    def env_method(
        self,
        method_name: str,
        *method_args: Any,  # noqa: ARG002
        indices: VecEnvIndices = None,  # noqa: ARG002
        **method_kwargs: Any,  # noqa: ARG002
    ) -> list[Any]:
        """Refuse, with an AttributeError."""
        raise AttributeError(_NO_PYTHON.format(what="methods", name=method_name))

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """
        Tell whether it does what a wrapper does.

        :param wrapper_class: any
        :param indices: of which environments; None: all
        :return: True for ``Monitor``, whose statistics are there; else False
        :raises ValueError: it is no class, or there are no such environments
        """
        check("wrapper_class", wrapper_class, "a class", is_right=isinstance(wrapper_class, type))
        return [issubclass(wrapper_class, Monitor) for _ in self._rows(indices)]

    def _rows(self, indices: VecEnvIndices) -> list[int]:
        given = [indices] if indices is None or is_whole(indices, 0) else indices
        is_list = isinstance(given, Iterable) and not isinstance(given, str)
        rows = [*self._get_indices(indices)] if is_list else [-1]
        is_right = all(is_whole(row, 0) and row < self.num_envs for row in rows)
        allowed = f"None or indices of {self.num_envs} environments"
        check("indices", indices, allowed, is_right=is_right)
        return rows


def _as_gymnasium(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """Return an action space with gymnasium's precision: MuJoCo's are float64 in EnvPool."""
    if isinstance(space, spaces.Box) and space.dtype == np.float64:
        low, high = (bound.astype(np.float32) for bound in (space.low, space.high))
        return spaces.Box(low, high, dtype=np.float32)
    return space


def _by_environment(info: dict[str, Any], n_envs: int) -> list[dict[str, Any]]:
    """Turn columns into a dict per environment; what is no column is EnvPool's own."""
    columns = {
        name: column
        for name, column in info.items()
        if name != "env_id" and isinstance(column, np.ndarray) and len(column) == n_envs
    }
    if not columns:
        return [{} for _ in range(n_envs)]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _put(observations: Any, rows: np.ndarray, fresh: Any) -> None:
    if isinstance(observations, dict):
        for key, array in observations.items():
            array[rows] = fresh[key]
    else:
        observations[rows] = fresh


def _one(observations: Any, row: int) -> Any:
    if isinstance(observations, dict):
        return {key: array[row].copy() for key, array in observations.items()}
    return observations[row].copy()
