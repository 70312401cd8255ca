"""The attributes that a model may get from a file, and what each may be."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from sb3_trpo.arguments import check_value
from sb3_trpo.safe_loading.allow_list import BUFFERS, POLICIES, Vouched, name_of
from sb3_trpo.safe_loading.limits import Refused, printable
from sb3_trpo.safe_loading.plain_objects import SCHEDULES
from sb3_trpo.safe_loading.policy_arguments import check_policy_kwargs

Check = Callable[[Any, Vouched], bool]

WHOLE = (
    *("verbose", "num_timesteps", "_total_timesteps", "_num_timesteps_at_start"),
    *("_episode_num", "_stats_window_size", "_n_updates", "_n_skipped_updates"),
    *("n_envs", "n_steps", "batch_size", "sde_sample_freq", "cg_max_steps"),
    *("line_search_max_iter", "n_critic_updates", "sub_sampling_factor"),
)
WHOLE_OR_NONE = ("seed", "actor_batch_size")
REAL = (
    *("gamma", "gae_lambda", "ent_coef", "vf_coef", "cg_damping", "cg_relative_tolerance"),
    *("average_last", "line_search_shrinking_factor"),
    *("_current_progress_remaining", "start_time"),
)
TRUE_OR_FALSE = (
    *("use_sde", "normalize_advantage", "match_kl", "center_td_errors", "clipped_actions"),
)
NOT_TAKEN = ("lr_schedule", "tensorboard_log")
"""``_setup_model`` makes the first; the second is a folder of the machine that wrote the file."""
STATISTICS = ("ep_info_buffer", "ep_success_buffer")
OBSERVATIONS = ("_last_obs", "_last_original_obs", "_last_episode_starts")

_MOST_EPISODES = 1_000_000
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Rule:
    """
    What an attribute may be.

    :param accepts: the values
    :param allowed: the same in words
    :param can_be_left_out: a model does without the file's
    """

    accepts: Check
    allowed: str
    can_be_left_out: bool = False


def _is_whole(value: Any, _: Vouched) -> bool:
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return is_whole and abs(int(value)) < 2**63


def _is_real(value: Any, _: Vouched) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_bool(value: Any, _: Vouched) -> bool:
    return isinstance(value, (bool, np.bool_))


def _or_none(check: Check) -> Check:
    return lambda value, vouched: value is None or check(value, vouched)


def _is_rate(value: Any, vouched: Vouched) -> bool:
    return _is_real(value, vouched) or isinstance(value, SCHEDULES) or vouched.knows(value)


def _is_class_of(names: tuple[str, ...]) -> Check:
    def check(value: Any, vouched: Vouched) -> bool:
        return isinstance(value, type) and (name_of(value) in names or vouched.knows(value))

    return check


def _is_space(value: Any, _: Vouched) -> bool:
    return isinstance(value, spaces.Space)


def _is_none(value: Any, _: Vouched) -> bool:
    return value is None


def _is_buffer_kwargs(value: Any, vouched: Vouched) -> bool:
    # SB3's own buffers get all their arguments from the model.
    is_dict = value is None or isinstance(value, dict)
    return is_dict and (not value or vouched.has_a(RolloutBuffer))


def _is_arrays(value: Any, _: Vouched) -> bool:
    parts = value if isinstance(value, dict) else {"": value}
    return value is None or all(
        isinstance(name, str) and isinstance(part, np.ndarray) for name, part in parts.items()
    )


def _is_buffer_of(check: Callable[[Any], bool]) -> Check:
    def is_buffer(value: Any, _: Vouched) -> bool:
        is_short = isinstance(value, deque) and len(value) <= _MOST_EPISODES
        return value is None or (is_short and all(check(part) for part in value))

    return is_buffer


def _is_number(value: Any) -> bool:
    return isinstance(value, (Real, np.bool_))


def _is_episode(value: Any) -> bool:
    """Return and length are what ``learn`` logs."""
    return (
        isinstance(value, dict)
        and value.keys() >= {"r", "l"}
        and all(
            isinstance(name, str) and len(name) <= _LONGEST_NAME and _is_number(number)
            for name, number in value.items()
        )
    )


def _is_policy_kwargs(value: Any, vouched: Vouched) -> bool:
    check_policy_kwargs(value, vouched)
    return True


RULES: dict[str, Rule] = {
    **dict.fromkeys(WHOLE, Rule(_is_whole, "a whole number")),
    **dict.fromkeys(WHOLE_OR_NONE, Rule(_or_none(_is_whole), "a whole number or None")),
    **dict.fromkeys(REAL, Rule(_is_real, "a finite number")),
    **dict.fromkeys(TRUE_OR_FALSE, Rule(_is_bool, "a bool")),
    **dict.fromkeys(
        ("learning_rate", "target_kl", "noise_correlation"),
        Rule(_is_rate, "a finite number or one of SB3's schedules"),
    ),
    "max_grad_norm": Rule(_or_none(_is_real), "a finite number or None"),
    "policy_class": Rule(_is_class_of(POLICIES), "a policy class of SB3 or sb3_contrib"),
    "rollout_buffer_class": Rule(
        _or_none(_is_class_of(BUFFERS)), "None or a rollout buffer class of SB3 or sb3_contrib"
    ),
    "rollout_buffer_kwargs": Rule(_is_buffer_kwargs, "empty"),
    "policy_kwargs": Rule(_is_policy_kwargs, "arguments of a policy"),
    "action_noise": Rule(_is_none, "None"),
    **dict.fromkeys(("observation_space", "action_space"), Rule(_is_space, "a space")),
    "ep_info_buffer": Rule(_is_buffer_of(_is_episode), "episodes", can_be_left_out=True),
    "ep_success_buffer": Rule(_is_buffer_of(_is_number), "a deque", can_be_left_out=True),
    **dict.fromkeys(OBSERVATIONS, Rule(_is_arrays, "arrays", can_be_left_out=True)),
}


def check_name(name: str) -> None:
    """
    Refuse attributes of which nothing is made at all.

    :param name: of the attribute
    :raises Refused: TRPO has no such attribute, or makes its own
    """
    if name in NOT_TAKEN:
        raise Refused("it is not taken from files")
    if name not in RULES:
        raise Refused("TRPO has no such attribute")


def check_attribute(name: str, value: Any, vouched: Vouched) -> None:
    """
    Refuse what a model must not get from a file.

    :param name: one of the rules'
    :param value: from JSON, or made by the list
    :param vouched: what the user allows beyond the list
    :raises Refused: it may not be this
    """
    rule = RULES[name]
    try:
        is_accepted = rule.accepts(value, vouched)
    except OverflowError:  # an integer that is no float
        is_accepted = False
    if not is_accepted:
        shown = printable(repr(value)) if isinstance(value, (str, Real)) else type(value).__name__
        raise Refused(f"it must be {rule.allowed}, got {shown}")
    try:
        check_value(name, value)
    except ValueError as error:
        raise Refused(str(error)) from error
