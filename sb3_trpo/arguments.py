"""Which arguments TRPO accepts; every refusal names the argument, its value and what is allowed."""

import inspect
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.preprocessing import is_image_space

from sb3_trpo.optim.checks import check, is_real, is_whole
from sb3_trpo.policies import kind_of

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: is_whole(value, least)


def _is_positive_or_schedule(value: Any) -> bool:  # any wrong type may come
    return callable(value) or (is_real(value) and value > 0)


def _is_rate_or_schedule(value: Any) -> bool:
    return callable(value) or (is_real(value) and value >= 0)


def _is_correlation(value: Any) -> bool:
    return is_real(value) and 0 <= value < 1


def _is_correlation_or_schedule(value: Any) -> bool:
    return callable(value) or _is_correlation(value)


def is_bool(value: object) -> bool:
    """Tell whether a value is a bool, Python's or NumPy's."""
    return isinstance(value, (bool, np.bool_))


def _is_seed(value: object) -> bool:
    return value is None or (is_whole(value, 0) and int(value) < 2**32)  # type: ignore[call-overload]


def _is_buffer_class_or_none(value: object) -> bool:
    return value is None or (isinstance(value, type) and issubclass(value, RolloutBuffer))


# name, accepts, what is allowed
_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("learning_rate", _is_rate_or_schedule, "a finite number >= 0 or a schedule"),
    ("n_steps", _whole(1), "a whole number >= 1"),
    ("batch_size", _whole(1), "a whole number >= 1"),
    ("gamma", lambda x: is_real(x) and 0 <= x <= 1, "in [0, 1]"),
    ("cg_max_steps", _whole(1), "a whole number >= 1"),
    ("cg_damping", lambda x: is_real(x) and x >= 0, "a finite number >= 0"),
    ("line_search_shrinking_factor", lambda x: is_real(x) and 0 < x < 1, "in (0, 1)"),
    ("line_search_max_iter", _whole(1), "a whole number >= 1"),
    ("n_critic_updates", _whole(0), "a whole number >= 0"),
    ("gae_lambda", lambda x: is_real(x) and 0 <= x <= 1, "in [0, 1]"),
    ("use_sde", is_bool, "a bool"),
    ("sde_sample_freq", _whole(-1), "a whole number >= -1"),
    ("normalize_advantage", is_bool, "a bool"),
    ("target_kl", _is_positive_or_schedule, "a finite number > 0 or a schedule"),
    ("sub_sampling_factor", _whole(1), "a whole number >= 1"),
    ("rollout_buffer_class", _is_buffer_class_or_none, "None or a subclass of RolloutBuffer"),
    ("rollout_buffer_kwargs", lambda x: isinstance(x, dict), "None or a dict"),
    ("verbose", lambda x: is_bool(x) or _whole(0)(x), "a whole number >= 0"),
    ("seed", _is_seed, "None or a whole number in [0, 2**32)"),
    ("tensorboard_log", lambda x: x is None or isinstance(x, (str, os.PathLike)), "None or a path"),
    ("_stats_window_size", _whole(1), "a whole number >= 1"),
    ("ent_coef", is_real, "a finite number"),
    ("max_grad_norm", lambda x: x is None or (is_real(x) and x >= 0), "None or a number >= 0"),
    ("cg_relative_tolerance", lambda x: is_real(x) and 0 <= x < 1, "in [0, 1)"),
    ("match_kl", is_bool, "a bool"),
    ("actor_batch_size", lambda x: x is None or _whole(1)(x), "None or a whole number >= 1"),
    ("center_td_errors", is_bool, "a bool"),
    ("clipped_actions", is_bool, "a bool"),
    ("noise_correlation", _is_correlation_or_schedule, "in [0, 1) or a schedule"),
    ("average_last", lambda x: is_real(x) and 0 <= x <= 1, "in [0, 1]"),
    ("distributed", is_bool, "a bool"),
)

# What the models themselves give.
_OF_POLICIES = frozenset(("observation_space", "action_space", "lr_schedule", "use_sde"))
_OF_BUFFERS = frozenset(
    ("buffer_size", "observation_space", "action_space", "device", "gae_lambda", "gamma", "n_envs")
)

ACTION_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_OBSERVATION_SPACES = (*ACTION_SPACES, spaces.Dict)


def check_value(name: str, value: Any) -> None:
    """
    Check a hyperparameter by itself.

    :param name: of the attribute; others than hyperparameters may be anything
    :param value: of the attribute
    :raises ValueError: it is out of range
    """
    for known, accepts, allowed in _RULES:
        if name.lstrip("_") == known.lstrip("_"):
            check(name.lstrip("_"), value, allowed, is_right=accepts(value))


def check_arguments(model: "TRPO") -> None:
    """
    Check a model's hyperparameters, before its networks are built.

    :param model: with all its hyperparameters set
    :raises ValueError: one is out of range
    """
    for name, _, _ in _RULES:
        check_value(name, getattr(model, name))
    optimizer_class = model.policy_kwargs.get("optimizer_class")
    if isinstance(optimizer_class, type):  # what a function makes is looked at when it is made
        check_optimizer(optimizer_class)
    _check_keys("policy_kwargs", model.policy_kwargs, model.policy_class, _OF_POLICIES)
    buffer_class = model.rollout_buffer_class or RolloutBuffer
    _check_keys("rollout_buffer_kwargs", model.rollout_buffer_kwargs, buffer_class, _OF_BUFFERS)
    n_envs = getattr(model, "n_envs", None)  # None: a model without environment, about to be loaded
    if n_envs is None:
        return
    n_samples = model.n_steps * n_envs
    sizes = f"n_steps={model.n_steps} and n_envs={n_envs}"
    if model.normalize_advantage and n_samples < 2:
        raise ValueError(
            f"n_steps * n_envs must be >= 2 to normalise advantages, got {n_samples} ({sizes})"
        )
    if model.sub_sampling_factor > n_samples:
        raise ValueError(
            f"sub_sampling_factor must be at most n_steps * n_envs = {n_samples} ({sizes}), "
            f"got {model.sub_sampling_factor}"
        )
    _check_action_space(model.action_space, model._action_spaces)
    _check_observation_space(model)


def _check_keys(name: str, kwargs: dict[str, Any], cls: type, given: frozenset[str]) -> None:
    """Refuse keyword arguments that a class does not take, or that it is given anyway."""
    parameters = inspect.signature(cls).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for key in kwargs:
        if key in given or not isinstance(key, str) or not (takes_any or key in parameters):
            raise ValueError(
                f"{name} must be further arguments of {cls.__name__}, which {key!r} is not, "
                f"got {kwargs!r}"
            )


def buffer_class_for(
    model: "TRPO", of_dicts: type[RolloutBuffer], of_arrays: type[RolloutBuffer]
) -> type[RolloutBuffer]:
    """
    Return the class of a variant's rollout buffer: the user's, or by the observation space.

    :param model: with all its hyperparameters set
    :param of_dicts: for Dict observations
    :param of_arrays: for all others
    :return: the class
    :raises ValueError: the user's is a subclass of neither
    """
    given: type[RolloutBuffer] | None = model.rollout_buffer_class
    if given is None:
        return of_dicts if isinstance(model.observation_space, spaces.Dict) else of_arrays
    if not issubclass(given, (of_dicts, of_arrays)):
        raise ValueError(
            f"rollout_buffer_class must be None or a subclass of {of_arrays.__name__} or "
            f"{of_dicts.__name__}, got {given!r}"
        )
    return given


def _check_observation_space(model: "TRPO") -> None:
    space, policy_class, kwargs = model.observation_space, model.policy_class, model.policy_kwargs
    if not isinstance(space, _OBSERVATION_SPACES):
        raise ValueError(
            "observation_space must be Box, Discrete, MultiDiscrete, MultiBinary or a Dict of "
            f"them, got {space}"
        )
    if "features_extractor_class" in kwargs:  # what it takes is its own affair
        return
    is_dict = isinstance(space, spaces.Dict)
    if kind_of(policy_class) == "multi_input" and not is_dict:
        raise ValueError(f"observation_space must be a Dict for MultiInputPolicy, got {space}")
    is_normalised = not kwargs.get("normalize_images", True) or kwargs.get(
        "features_extractor_kwargs", {}
    ).get("normalized_image", False)
    if kind_of(policy_class) == "cnn" and not is_image_space(
        space, check_channels=False, normalized_image=is_normalised
    ):
        raise ValueError(
            "observation_space must be an image for CnnPolicy (uint8 in [0, 255] and three axes, "
            f"unless normalize_images=False), got {space}"
        )


def _check_action_space(
    space: spaces.Space[Any], allowed: tuple[type[spaces.Space[Any]], ...]
) -> None:
    if not isinstance(space, allowed):
        *names, last = [kind.__name__ for kind in allowed]
        raise ValueError(f"action_space must be {', '.join(names)} or {last}, got {space}")
    if isinstance(space, spaces.MultiBinary) and len(space.shape) != 1:
        raise ValueError(f"action_space MultiBinary must have one dimension, got {space}")
    if isinstance(space, spaces.MultiDiscrete) and len(space.nvec.shape) != 1:
        raise ValueError(f"action_space MultiDiscrete must have one dimension, got {space}")


def check_policy(
    policy: Any, aliases: dict[str, type[BasePolicy]], base: type[BasePolicy]
) -> type[BasePolicy]:
    """
    Find the class of a policy that an algorithm can train, before SB3 builds anything.

    :param policy: as given by the user
    :param aliases: the names that may stand for a class
    :param base: what the class must inherit from
    :return: the class
    :raises ValueError: it is not an actor and a critic of that kind
    """
    policy_class = aliases.get(policy) if isinstance(policy, str) else policy
    if not (isinstance(policy_class, type) and issubclass(policy_class, base)):
        raise ValueError(
            f"policy must be a subclass of {base.__name__} or one of {', '.join(aliases)}, "
            f"got {policy!r}"
        )
    takes_states = "lstm_states" in inspect.signature(policy_class.forward).parameters
    if base is ActorCriticPolicy and takes_states:  # sb3_contrib's recurrent ones inherit from it
        raise ValueError(
            f"policy must have no recurrent state (RecurrentTRPO takes one), got {policy!r}"
        )
    return policy_class


@contextmanager
def refusals_of_sb3(env: Any) -> Iterator[None]:
    """
    Let SB3's and gymnasium's refusals of environments be ValueErrors, which name the argument.

    :param env: as given to the constructor
    """
    try:
        yield
    except (AssertionError, NotImplementedError) as error:  # how SB3 refuses spaces
        raise ValueError(str(error)) from error
    except gym.error.Error as error:
        if not isinstance(env, str) or isinstance(error, gym.error.DependencyNotInstalled):
            raise
        raise ValueError(
            f"env must be an environment or the id of a registered one, got {env!r}: {error}"
        ) from error


_SCHEDULED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "target_kl": (is_real, "finite numbers"),
    "noise_correlation": (_is_correlation, "numbers in [0, 1)"),
}


def scheduled(name: str, value: Any, progress_remaining: float) -> float:
    """
    Return what a hyperparameter is now.

    :param name: ``"target_kl"`` or ``"noise_correlation"``
    :param value: as given: a number or a schedule
    :param progress_remaining: from 1 to 0
    :return: the number
    :raises ValueError: the schedule returns what is not allowed
    """
    now = value(progress_remaining) if callable(value) else value
    accepts, allowed = _SCHEDULED[name]
    if not accepts(now):
        raise ValueError(f"{name} must be a schedule of {allowed}, got {now!r}")
    return float(now)


def check_learning_rate(optimizer: th.optim.Optimizer) -> None:
    """
    Refuse what a schedule of the learning rate must not return.

    :param optimizer: after its rate was set for the update
    :raises ValueError: the rate is negative or not finite
    """
    for group in optimizer.param_groups:
        if not 0 <= group["lr"] < math.inf:
            raise ValueError(
                f"learning_rate must be a schedule of finite numbers >= 0, got {group['lr']}"
            )


def check_optimizer(optimizer_class: type[th.optim.Optimizer]) -> None:
    """
    Refuse optimisers that want to evaluate the loss themselves.

    :param optimizer_class: as in ``policy_kwargs``
    :raises ValueError: its ``step`` needs a closure
    """
    closure = inspect.signature(optimizer_class.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            "optimizer_class must be an optimiser whose step() needs no closure, got "
            f"{optimizer_class.__name__}"
        )
