"""What a VecNormalize knows and does."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

OPTIONS: dict[str, type | tuple[type, ...]] = {
    "training": bool,
    "norm_obs": bool,
    "norm_reward": bool,
    "clip_obs": (int, float),
    "clip_reward": (int, float),
    "gamma": (int, float),
    "epsilon": (int, float),
    "norm_obs_keys": (list, type(None)),
}
_WHOLE = ""  # the name of observations that are no Dict


@dataclass(frozen=True)
class Statistics:
    """
    What a VecNormalize knows and does.

    :param options: the arguments of its constructor
    :param rewards: mean, variance and count of the discounted returns
    :param observations: the same of each part of Dict observations; of others under ``""``; empty
        without ``norm_obs``
    """

    options: dict[str, Any]
    rewards: tuple[np.ndarray, np.ndarray, float]
    observations: dict[str, tuple[np.ndarray, np.ndarray, float]]

    @classmethod
    def of(cls, normaliser: VecNormalize) -> "Statistics":
        """
        Take note of what a VecNormalize has.

        :param normaliser: any
        :return: its statistics
        """
        options = {name: getattr(normaliser, name) for name in OPTIONS}
        keys = options["norm_obs_keys"]
        options["norm_obs_keys"] = None if keys is None else list(keys)  # SB3 takes tuples, too
        running = running_observations(normaliser)
        return cls(
            {k: v.item() if isinstance(v, np.generic) else v for k, v in options.items()},
            _moments(normaliser.ret_rms),
            {key: _moments(running[key]) for key in running},
        )

    def give_to(self, normaliser: VecNormalize) -> None:
        """
        Set the statistics and options of a VecNormalize.

        :param normaliser: just made with these options, or to be overwritten
        :raises ValueError: it normalises other observations
        """
        running = running_observations(normaliser)
        shapes = {key: np.shape(mean) for key, (mean, _, _) in self.observations.items()}
        own = {key: running[key].mean.shape for key in running}
        if own != shapes:
            raise ValueError(
                "the observations that VecNormalize normalises must be those of the file, "
                f"{_shown(shapes)}, got {_shown(own)}"
            )
        for name, value in self.options.items():
            setattr(normaliser, name, value)
        _set(normaliser.ret_rms, self.rewards)
        for key, moments in self.observations.items():
            _set(running[key], moments)


def running_observations(normaliser: VecNormalize) -> dict[str, RunningMeanStd]:
    """
    Return the statistics of the parts of an observation.

    :param normaliser: any
    :return: under ``""`` where observations are no Dict; empty without ``norm_obs``
    """
    running = getattr(normaliser, "obs_rms", None) if normaliser.norm_obs else None
    if running is None:
        return {}
    return running if isinstance(running, dict) else {_WHOLE: running}


def _moments(running: RunningMeanStd) -> tuple[np.ndarray, np.ndarray, float]:
    return np.asarray(running.mean), np.asarray(running.var), float(running.count)


def _set(running: RunningMeanStd, moments: tuple[np.ndarray, np.ndarray, float]) -> None:
    mean, var, running.count = moments
    running.mean, running.var = mean.copy(), var.copy()


def _shown(shapes: dict[str, tuple[int, ...]]) -> str:
    if _WHOLE in shapes:
        return f"of shape {shapes[_WHOLE]}"
    return f"{shapes}" if shapes else "none"


def checked(found: Any) -> Statistics:
    """
    Build statistics from what a stranger may have written.

    :param found: anything
    :return: the statistics, if that is what it was
    :raises ValueError: it is something else
    """
    match found:
        case {"options": dict(options), "rewards": rewards, "observations": dict(observations)} if (
            options.keys() >= OPTIONS.keys()
            and all(_is_option(name, options[name]) for name in OPTIONS)
            and all(map(_are_moments, [rewards, *observations.values()]))
            and rewards[0].shape == ()
        ):
            return Statistics({name: options[name] for name in OPTIONS}, rewards, observations)
    raise ValueError("not as save() writes them")


def _are_moments(value: Any) -> bool:
    match value:
        case (np.ndarray() as mean, np.ndarray() as var, float(count)):
            return mean.shape == var.shape and mean.dtype == var.dtype == np.float64 and count > 0
    return False


def _is_option(name: str, value: Any) -> bool:
    if OPTIONS[name] is bool:
        return isinstance(value, bool)
    if name == "norm_obs_keys":
        return value is None or (
            isinstance(value, list) and all(isinstance(key, str) for key in value)
        )
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and not math.isnan(value)
