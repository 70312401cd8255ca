"""Which arguments methods and functions accept beside the hyperparameters."""

import inspect
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import Any

import gymnasium as gym
import torch as th
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv

from sb3_trpo.arguments import check_value, is_bool
from sb3_trpo.optim.checks import check, is_whole


def _is_number_of_steps(value: Any) -> bool:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and float(value) >= 0  # 1e6 and inf, too


def _is_callback(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(one, BaseCallback) for one in value)
    is_class = isinstance(value, type) and issubclass(value, BaseCallback)
    return value is None or isinstance(value, BaseCallback) or (callable(value) and not is_class)


def _is_interval(value: Any) -> bool:
    return value is None or is_whole(value, 1)


def _is_dict_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(isinstance(k, str) for k in value))


def _are_names_or_none(value: Any) -> bool:
    if isinstance(value, (str, bytes)) or not isinstance(value, (Iterable, type(None))):
        return False
    return value is None or all(isinstance(name, str) for name in value)


_BOOL = (is_bool, "a bool")
_NAMES = (_are_names_or_none, "None or a list of attributes' names")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(
        (
            *("_init_setup_model", "reset_num_timesteps", "progress_bar", "deterministic"),
            *("exact_match", "force_reset", "print_system_info", "trusted", "training"),
        ),
        _BOOL,
    ),
    "use_masking": (lambda x: x is None or is_bool(x), "None or a bool"),
    "total_timesteps": (_is_number_of_steps, "a number >= 0"),
    "callback": (_is_callback, "None, a function, a BaseCallback or a list of BaseCallback"),
    "iteration": (lambda x: is_whole(x, 0), "a whole number >= 0"),
    "log_interval": (_is_interval, "None or a whole number >= 1"),
    "tb_log_name": (lambda x: isinstance(x, (str, os.PathLike)), "a str"),
    "custom_objects": (_is_dict_or_none, "None or a dict from names of attributes"),
    "exclude": _NAMES,
    "include": _NAMES,
    "logger": (lambda x: isinstance(x, Logger), "a Logger (stable_baselines3.common.logger)"),
}


def check_given(**given: Any) -> None:
    """
    Check arguments by themselves, hyperparameters among them, by their names.

    :raises ValueError: one is not what is allowed
    """
    for name, value in given.items():
        if name in _RULES:
            accepts, allowed = _RULES[name]
            check(name, value, allowed, is_right=accepts(value))
        else:
            check_value(name, value)


def check_device(device: th.device | str) -> None:
    """
    Refuse a device that torch does not know or cannot use.

    :param device: as given to a model
    :raises ValueError: a tensor cannot be made there
    """
    try:
        th.empty(0, device=get_device(device))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise ValueError(
            f"device must be one that torch can use here, got {device!r}: {error}"
        ) from error


def check_env(env: Any, *, may_be_id: bool = False) -> None:
    """
    Refuse what is no environment.

    :param env: as given
    :param may_be_id: whether an id will do
    :raises ValueError: it is none
    """
    # Those of the old gym inherit from nothing that is known here, and SB3 takes them.
    looks_like_one = not isinstance(env, type) and all(
        hasattr(env, name) for name in ("reset", "step", "action_space", "observation_space")
    )
    is_one = isinstance(env, (gym.Env, VecEnv)) or looks_like_one
    allowed = "an environment or its id" if may_be_id else "an environment"
    check("env", env, allowed, is_right=is_one or (may_be_id and isinstance(env, str)))


@contextmanager
def env_named() -> Iterator[None]:
    """Let SB3's refusals of environments that do not fit a model name the argument."""
    try:
        yield
    except (AssertionError, ValueError) as error:
        of_spaces = ("Observation spaces do not match", "Action spaces do not match")
        of_number = "The number of environments to be set"
        if str(error).startswith((*of_spaces, of_number)):
            raise ValueError(f"env must fit the model. {error}") from error
        raise


def check_file(name: str, path: Any, *, method: str) -> None:
    """
    Refuse what is neither a path nor an open file.

    :param name: of the argument
    :param path: as given
    :param method: of the file that is needed, ``"read"`` or ``"write"``
    :raises ValueError: it is neither
    """
    is_file = hasattr(path, method) and not isinstance(path, (type, io.TextIOBase))
    is_path = isinstance(path, (str, os.PathLike)) and str(path) != ""
    check(name, path, "a path or an open binary file", is_right=is_path or is_file)


def check_rollout(
    env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
) -> None:
    """
    Check the arguments of ``collect_rollouts``.

    :param env: as given
    :param callback: as given
    :param rollout_buffer: as given
    :param n_rollout_steps: as given
    :raises ValueError: one is not what is allowed
    """
    check("env", env, "a VecEnv", is_right=isinstance(env, VecEnv))
    check("callback", callback, "a BaseCallback", is_right=isinstance(callback, BaseCallback))
    is_right = isinstance(rollout_buffer, RolloutBuffer)
    check("rollout_buffer", rollout_buffer, "a RolloutBuffer", is_right=is_right)
    size = rollout_buffer.buffer_size
    is_right = is_whole(n_rollout_steps, 1) and n_rollout_steps <= size
    check("n_rollout_steps", n_rollout_steps, f"a whole number in [1, {size}]", is_right=is_right)


def check_load(path: Any, env: Any, device: th.device | str, **given: Any) -> None:
    """
    Check the arguments of ``load``, of which the last are what :func:`check_given` takes.

    :param path: as given
    :param env: as given
    :param device: as given
    :raises ValueError: one is not what is allowed
    """
    check_file("path", path, method="read")
    if env is not None:
        check_env(env)
    check_device(device)
    check_given(**given)


def check_replacements(
    given: Mapping[str, Any], header: Mapping[str, Any], algorithm: type
) -> None:
    """
    Refuse a misspelt argument of ``load``, for SB3 makes an attribute of any.

    With ``trust=False`` a stranger's file would be loaded with trust.

    :param given: further keyword arguments of ``load``
    :param header: attributes of the file
    :param algorithm: class of the model
    :raises ValueError: one is neither an attribute of the file nor of the class nor an argument of
        a constructor
    """
    constructors = [base.__init__ for base in algorithm.__mro__]  # type: ignore[misc]  # of classes
    arguments = {name for each in constructors for name in inspect.signature(each).parameters}
    of_class = {name for name in given if hasattr(algorithm, name)}  # excluded from files, say
    for name in sorted(given.keys() - header.keys() - arguments - of_class):
        raise ValueError(
            f"{name} must be an argument of load() or an attribute of the file or of "
            f"{algorithm.__name__}, got {name}={given[name]!r}"
        )
