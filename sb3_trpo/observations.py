"""What is wrong with what ``predict`` was given."""

from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_trpo.optim.checks import shown


def n_rows(observation: Any, space: spaces.Space[Any]) -> int | None:
    """
    Count the environments that an observation is of.

    :param observation: as given to ``predict``
    :param space: of the model
    :return: their number; None where the observation is not one
    """
    if isinstance(space, spaces.Dict):
        key = next(iter(space.spaces))
        has_key = isinstance(observation, dict) and key in observation
        return n_rows(observation[key], space.spaces[key]) if has_key else None
    try:
        shape, n_axes = np.shape(observation), len(space.shape or ())
    except ValueError:
        return None
    if len(shape) not in (n_axes, n_axes + 1):
        return None
    return 1 if len(shape) == n_axes else shape[0]


def fault_of(observation: Any, space: spaces.Space[Any], name: str = "observation") -> str:
    """
    Say what is wrong with an observation that could not be used.

    :param observation: as given to ``predict``
    :param space: of the model
    :param name: of the argument, or of a part
    :return: a message; empty if nothing is known to be wrong
    """
    if isinstance(space, spaces.Dict):
        if not (isinstance(observation, dict) and observation.keys() >= space.spaces.keys()):
            return f"{name} must be a dict of {[*space.spaces]}, got {shown(observation)}"
        parts = (fault_of(observation[k], s, f"{name}[{k!r}]") for k, s in space.spaces.items())
        return next(filter(None, parts), "")
    if isinstance(observation, tuple) and observation and isinstance(observation[-1], dict):
        return (
            f"{name} must be an array, got a tuple: reset() of gymnasium returns observation and "
            "info, reset() of a VecEnv the observations alone"
        )
    try:
        array = np.asarray(observation)
    except (ValueError, TypeError):
        return f"{name} must be an array, got {shown(observation)}"
    if array.dtype.kind not in "biuf":
        return f"{name} must be numbers, got {shown(observation)}"
    n_axes = len(space.shape or ())
    # Images may have their channels in front or at the end.
    is_other = n_axes != 3 and array.shape[array.ndim - n_axes :] != space.shape
    if is_other or n_rows(array, space) is None:
        return f"{name} must be of shape {space.shape}, or several of them, got {array.shape}"
    return _fault_of_numbers(array, space, name)


def _fault_of_numbers(array: np.ndarray, space: spaces.Space[Any], name: str) -> str:
    if not np.isfinite(array).all():
        return f"{name} must be finite, got {array[~np.isfinite(array)][0]}"
    n = getattr(space, "nvec" if isinstance(space, spaces.MultiDiscrete) else "n", None)
    if n is not None and not ((array >= 0) & (array < n)).all():
        return f"{name} must be of {space}, got {array}"
    return ""


def check_state(
    state: Any, episode_start: Any, *, n_envs: int | None, shape: tuple[int, int, int]
) -> None:
    """
    Refuse states of another shape, which would be taken for a sequence.

    :param state: of a policy with memory; None: zeros
    :param episode_start: one for each environment; None: none
    :param n_envs: as many as the observation is of; None: not known
    :param shape: of a state of one environment, (layers, 1, hidden)
    :raises ValueError: one of them is not of that shape, or a state not finite
    """
    if n_envs is None:
        return
    expected = (shape[0], n_envs, shape[2])
    if state is not None:
        is_pair = isinstance(state, (tuple, list)) and len(state) == 2
        if not (is_pair and all(getattr(part, "shape", None) == expected for part in state)):
            raise ValueError(
                f"state must be None or two arrays of shape {expected}, got "
                f"{[getattr(part, 'shape', part) for part in state] if is_pair else repr(state)}"
            )
        if not all(np.isfinite(part).all() for part in state):
            raise ValueError("state must be finite, got one that is not")
    if episode_start is not None and np.shape(episode_start) != (n_envs,):
        raise ValueError(
            f"episode_start must be None or of shape ({n_envs},), got {episode_start!r}"
        )


def check_masks(action_masks: Any, *, n_envs: int | None, n_choices: int) -> None:
    """
    Refuse masks of another shape.

    :param action_masks: as given to ``predict``; None: none
    :param n_envs: as many as the observation is of; None: not known
    :param n_choices: of all actions together
    :raises ValueError: they are not of that shape, or not of zeros and ones
    """
    if action_masks is None or n_envs is None:
        return
    try:
        masks = np.asarray(action_masks)
    except ValueError:
        masks = np.empty(0)
    if masks.size != n_envs * n_choices:
        raise ValueError(
            f"action_masks must be of shape ({n_envs}, {n_choices}), got {action_masks!r}"
        )
    if masks.dtype.kind not in "biuf" or not ((masks == 0) | (masks == 1)).all():
        raise ValueError(f"action_masks must be of zeros and ones, got {action_masks!r}")
