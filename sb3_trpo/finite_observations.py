"""Refusing observations that are not finite, before the policy sees them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn


@contextmanager
def finite_observations(env: VecEnv, timesteps: int) -> Iterator[None]:
    """
    Make the environments' ``step`` refuse observations that are not finite, inside the block.

    No wrapper: callbacks find the environments in ``locals["env"]`` and must get the real ones.

    :param env: the environments
    :param timesteps: how many have been collected before, for the message
    """
    step, is_patched = env.step, "step" in vars(env)

    def checked_step(actions: np.ndarray) -> VecEnvStepReturn:
        nonlocal timesteps
        observations, rewards, dones, infos = step(actions)
        timesteps += env.num_envs
        check_finite(observations, timesteps, env)
        check_terminal(dones, infos, timesteps)
        return observations, rewards, dones, infos

    try:
        env.step = checked_step  # type: ignore[method-assign]
        yield
    finally:
        if is_patched:  # by the user, on the instance
            env.step = step  # type: ignore[method-assign]
        else:
            vars(env).pop("step", None)


def check_finite(observations: Any, timestep: int, env: VecEnv) -> None:
    """
    Stop the run at an observation that is not finite, before the policy sees it.

    :param observations: (E, …), or a dict of such, as ``env`` returned them last
    :param timestep: how many timesteps have been collected, for the message
    :param env: the environments
    :raises ValueError: it holds NaN or infinity; names the environment and the step
    """
    if _bad_key(observations) is None:
        return
    normaliser, advice = unwrap_vec_normalize(env), ""
    if normaliser is not None:
        # One environment's NaN makes the statistics NaN, and with them all normalised observations.
        original = normaliser.get_original_obs()
        if _bad_key(original) is not None:
            observations = original
        advice = " VecNormalize may have taken it into its running statistics: make it anew."
    key = _bad_key(observations) or ""
    values = observations[key] if isinstance(observations, dict) else observations
    is_finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    index = int(np.flatnonzero(~is_finite)[0])
    raise ValueError(_message("an observation", key, index, timestep) + advice)


def check_terminal(dones: np.ndarray, infos: list[dict[str, Any]], timestep: int) -> None:
    """
    Stop the run at the end of an episode whose last observation is not finite.

    :param dones: (E,) whether an episode ended
    :param infos: of the environments, with ``terminal_observation`` where one did
    :param timestep: how many timesteps have been collected, for the message
    :raises ValueError: it holds NaN or infinity; names the environment and the step
    """
    for index in np.flatnonzero(dones):
        terminal = infos[index].get("terminal_observation")
        key = None if terminal is None else _bad_key(terminal)
        if key is not None:
            raise ValueError(_message("a terminal observation", key, int(index), timestep))


def _bad_key(observations: Any) -> str | None:
    """Return the key of the first part that is not finite; for arrays an empty string."""
    parts = observations.items() if isinstance(observations, dict) else [("", observations)]
    for key, values in parts:
        array = np.asarray(values)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return str(key)
    return None


def _message(kind: str, key: str, env_index: int, timestep: int) -> str:
    which = f" under key {key!r}" if key else ""
    return (
        f"Environment {env_index} returned {kind}{which} that is not finite at timestep "
        f"{timestep}. The policy is as it was after the last update."
    )
