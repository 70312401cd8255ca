"""Which arguments TRPO accepts; every refusal names the argument, its value and what is allowed."""

import inspect
import math
import warnings
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.preprocessing import is_image_space

from sb3_trpo.policies import kind_of

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO


def _is_real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _whole(least: int) -> Callable[[Any], bool]:
    def accepts(value: object) -> bool:
        is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        return is_whole and int(value) >= least  # type: ignore[call-overload]  # it is whole

    return accepts


def _is_positive_or_schedule(value: Any) -> bool:  # any wrong type may come
    return callable(value) or (_is_real(value) and value > 0)


def _is_rate_or_schedule(value: Any) -> bool:
    return callable(value) or (_is_real(value) and value >= 0)


def _is_bool(value: object) -> bool:
    return isinstance(value, (bool, np.bool_))


def _is_seed(value: object) -> bool:
    return value is None or (_whole(0)(value) and int(value) < 2**32)  # type: ignore[call-overload]


def _is_buffer_class_or_none(value: object) -> bool:
    return value is None or (isinstance(value, type) and issubclass(value, RolloutBuffer))


# name, accepts, what is allowed
_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("learning_rate", _is_rate_or_schedule, "a finite number >= 0 or a schedule"),
    ("n_steps", _whole(1), "a whole number >= 1"),
    ("batch_size", _whole(1), "a whole number >= 1"),
    ("gamma", lambda x: _is_real(x) and 0 <= x <= 1, "in [0, 1]"),
    ("cg_max_steps", _whole(1), "a whole number >= 1"),
    ("cg_damping", lambda x: _is_real(x) and x >= 0, "a finite number >= 0"),
    ("line_search_shrinking_factor", lambda x: _is_real(x) and 0 < x < 1, "in (0, 1)"),
    ("line_search_max_iter", _whole(1), "a whole number >= 1"),
    ("n_critic_updates", _whole(0), "a whole number >= 0"),
    ("gae_lambda", lambda x: _is_real(x) and 0 <= x <= 1, "in [0, 1]"),
    ("use_sde", _is_bool, "a bool"),
    ("sde_sample_freq", _whole(-1), "a whole number >= -1"),
    ("normalize_advantage", _is_bool, "a bool"),
    ("target_kl", _is_positive_or_schedule, "a finite number > 0 or a schedule"),
    ("sub_sampling_factor", _whole(1), "a whole number >= 1"),
    ("rollout_buffer_class", _is_buffer_class_or_none, "None or a subclass of RolloutBuffer"),
    ("rollout_buffer_kwargs", lambda x: isinstance(x, dict), "None or a dict"),
    ("verbose", lambda x: _is_bool(x) or _whole(0)(x), "a whole number >= 0"),
    ("seed", _is_seed, "None or a whole number in [0, 2**32)"),
    ("_stats_window_size", _whole(1), "a whole number >= 1"),
    ("ent_coef", _is_real, "a finite number"),
    ("max_grad_norm", lambda x: x is None or (_is_real(x) and x >= 0), "None or a number >= 0"),
    ("cg_relative_tolerance", lambda x: _is_real(x) and 0 <= x < 1, "in [0, 1)"),
    ("match_kl", _is_bool, "a bool"),
    ("actor_batch_size", lambda x: x is None or _whole(1)(x), "None or a whole number >= 1"),
    ("distributed", _is_bool, "a bool"),
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
        if name == known and not accepts(value):
            raise ValueError(f"{name.lstrip('_')} must be {allowed}, got {value!r}")


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
        raise ValueError(f"policy must have no recurrent state, got {policy!r}")
    return policy_class


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


def warn_of_truncated_minibatches(model: "TRPO") -> None:
    """
    Say where the last minibatch of the value function's fit is smaller than the others.

    :param model: a model under construction; one without environment has no rollouts yet
    """
    if model.env is None:
        return
    n_samples = model._crew.n_samples
    rest = n_samples % model.batch_size
    if not rest:
        return
    ranks = "" if model._processes.size == 1 else f" of {model._processes.size} ranks"
    rollout = f"a rollout{ranks} (n_steps={model.n_steps}, n_envs={model.n_envs})"
    if n_samples < model.batch_size:
        says = f"is larger than {rollout}, whose {n_samples} samples are one minibatch"
    else:
        says = (
            f"does not divide the {n_samples} samples of {rollout}, so that the last minibatch of "
            f"the value function's fit has {rest}. A batch_size that is a factor of them is "
            "recommended"
        )
    warnings.warn(f"batch_size={model.batch_size} {says}.", stacklevel=3)


def warn_of_shared_extractor(policy: ActorCriticPolicy) -> None:
    """
    Say what a features extractor costs that actor and critic share.

    :param policy: just built
    """
    extractor = getattr(policy, "features_extractor", None)
    shares = getattr(policy, "share_features_extractor", False)
    if shares and extractor is not None and any(True for _ in extractor.parameters()):
        warnings.warn(
            "Actor and critic share a features extractor. It learns from the actor alone, since "
            "the critic must not move what the trust region has fixed, and so the critic's fit is "
            "usually worse. policy_kwargs=dict(share_features_extractor=False) gives each its own.",
            stacklevel=3,
        )
