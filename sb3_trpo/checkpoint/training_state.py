"""All that a training consists of beside the model's zip, and how to put it back."""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_trpo.checkpoint import callback_states, environments
from sb3_trpo.checkpoint.environments import Beginning, LastStep
from sb3_trpo.checkpoint.random_states import generator_of, leaves, process_states, restore_process
from sb3_trpo.plain_data import is_plain
from sb3_trpo.resumable import ResumableAlgorithm
from sb3_trpo.version import __version__

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO

_COUNTERS = (
    "num_timesteps",
    "_total_timesteps",
    "_episode_num",
    "_n_updates",
    "_n_skipped_updates",
    "_current_progress_remaining",
    "_common_seed",
    "_run",
)
_WINDOWS = ("ep_info_buffer", "ep_success_buffer")
_SPACES = ("action_space", "observation_space")
_NOISE = ("exploration_mat", "exploration_matrices")


def captured(
    model: "TRPO", callback: BaseCallback, last_step: LastStep | None, n_iterations: int
) -> dict[str, Any]:
    """
    Describe a training between two rollouts.

    :param model: in training
    :param callback: the outermost
    :param last_step: of the rollout before
    :param n_iterations: rollouts of this training so far
    :return: for ``pack`` and :func:`restore`
    """
    env, logger = _env_of(model), model.logger
    values = {name: value for name, value in logger.name_to_value.items() if is_plain(value)}
    return {
        "class": type(model).__name__,
        "versions": _versions(),
        "ranks": model._processes.size,
        "n_iterations": n_iterations,
        "learn": {
            "log_interval": model._call.log_interval,
            "tb_log_name": model._call.tb_log_name,
            **({"use_masking": model._use_masking} if hasattr(model, "_use_masking") else {}),
        },
        "counters": {name: getattr(model, name) for name in _COUNTERS},
        "windows": {name: _plain_entries(getattr(model, name)) for name in _WINDOWS},
        "skips": model._skips.state(),
        "mean": model._parameter_mean.state(),
        "log": {
            "values": values,
            "counts": dict(logger.name_to_count),
            "excluded": {name: logger.name_to_excluded.get(name, ("",)) for name in values},
            # A logger of the user's own is the user's to make again.
            "folder": logger.dir if model.tensorboard_log and not model._custom_logger else None,
        },
        "random": process_states(),
        "spaces": {name: _space(getattr(model, name), getattr(env, name)) for name in _SPACES},
        "last": {
            "observations": model._last_obs,
            "episode_starts": model._last_episode_starts,
            "originals": model._last_original_obs,
        },
        "memory": [[th_to_np(x) for x in states] for states in _memory(model)],
        "noise": {name: th_to_np(value) for name, value in _noise(model).items()},
        "env": environments.captured(env, last_step),
        "callbacks": callback_states.captured(callback),
    }


def restore(model: "TRPO", stored: dict[str, Any]) -> None:
    """
    Put a training back into a model that was just loaded from the checkpoint's zip.

    :param model: with its environments, whose statistics are the checkpoint's
    :param stored: of :func:`captured`
    """
    for name, value in stored["counters"].items():
        setattr(model, name, value)
    for name, entries in stored["windows"].items():
        setattr(model, name, deque(entries, maxlen=model._stats_window_size))
    model._skips.restore(stored["skips"])
    last, env = stored["last"], _env_of(model)
    beginning = environments.restore(
        env, stored["env"], Beginning(last["observations"], last["episode_starts"])
    )
    model._last_obs, model._last_episode_starts = beginning.observations, beginning.episode_starts
    model._last_original_obs = last["originals"]
    for name in _SPACES:
        if stored["spaces"][name]["is_of_env"]:  # and not the file's copy: they share a generator
            setattr(model, name, getattr(env, name))
        _restore_space(getattr(model, name), stored["spaces"][name])
    if stored["memory"]:
        states: Any = model._last_lstm_states  # type: ignore[attr-defined]  # of RecurrentTRPO
        pairs = [tuple(_on_device(model, x) for x in pair) for pair in stored["memory"]]
        model._last_lstm_states = type(states)(*pairs)  # type: ignore[attr-defined]
    for name, value in stored["noise"].items():
        setattr(model.policy.action_dist, name, _on_device(model, value))
    model._continuation = Rest(stored)
    restore_process(stored["random"])


@dataclass(frozen=True)
class Rest:
    """
    What can be put back only when ``learn`` has begun.

    :param stored: of :func:`captured`
    """

    stored: dict[str, Any]

    @property
    def n_iterations(self) -> int:
        """Rollouts before the checkpoint."""
        return int(self.stored["n_iterations"])

    @property
    def learn_arguments(self) -> dict[str, Any]:
        """How ``learn`` was called."""
        names = ("log_interval", "tb_log_name", "use_masking")
        return {n: self.stored["learn"][n] for n in names if n in self.stored["learn"]}

    @property
    def log_folder(self) -> str | None:
        """Where the log was written."""
        folder: str | None = self.stored["log"]["folder"]
        return folder

    def begin(self, model: ResumableAlgorithm, callback: BaseCallback) -> None:
        """Put back what callbacks count, what the log is about to show, and the generators."""
        callback_states.restore(callback, self.stored["callbacks"])
        if model._total_timesteps == self.stored["counters"]["_total_timesteps"]:
            # Else this is not the rest of that training, and its end will be another one.
            cast("TRPO", model)._parameter_mean.restore(self.stored["mean"], model.device)
        log, logger = self.stored["log"], model.logger
        logger.name_to_value.update(log["values"])
        logger.name_to_count.update(log["counts"])
        logger.name_to_excluded.update(log["excluded"])
        # Again: callbacks, evaluations and the like may have drawn since the model was loaded.
        restore_process(self.stored["random"])


def th_to_np(tensor: th.Tensor) -> np.ndarray:
    """Copy a tensor to where NumPy can read it."""
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array


def _on_device(model: "TRPO", array: np.ndarray) -> th.Tensor:
    return th.as_tensor(array, device=model.device)


def _env_of(model: "TRPO") -> VecEnv:
    assert model.env is not None  # learn() has asked for it
    return model.env


def _versions() -> dict[str, str]:
    modules = {"torch": th, "numpy": np, "gymnasium": gym, "stable_baselines3": stable_baselines3}
    return {"sb3_trpo": __version__, **{n: str(m.__version__) for n, m in modules.items()}}


def _plain_entries(window: "deque[Any] | None") -> list[Any]:
    """Leave out what an environment put into its infos that is no number or text."""
    entries: list[Any] = []
    for entry in window or ():
        if isinstance(entry, dict):
            entries.append({name: value for name, value in entry.items() if is_plain(value)})
        elif is_plain(entry):
            entries.append(entry)
    return entries


def _memory(model: "TRPO") -> Any:
    return getattr(model, "_last_lstm_states", ())


def _noise(model: "TRPO") -> dict[str, th.Tensor]:
    """Return the exploration matrices of gSDE."""
    distribution = getattr(model.policy, "action_dist", None)
    return {name: getattr(distribution, name) for name in _NOISE if hasattr(distribution, name)}


def _space(space: gym.Space[Any], of_env: gym.Space[Any]) -> dict[str, Any]:
    generators = {name: generator_of(leaf) for name, leaf in leaves(space, "")}
    return {
        "is": repr(space),
        "is_of_env": space is of_env,
        "states": {n: g.bit_generator.state for n, g in generators.items() if g is not None},
    }


def _restore_space(space: gym.Space[Any], stored: dict[str, Any]) -> None:
    for name, leaf in leaves(space, ""):
        if name in stored["states"]:
            leaf.np_random.bit_generator.state = stored["states"][name]
