"""The arguments that a file may give to its policy: each is passed to a constructor."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from stable_baselines3.common.policies import BasePolicy

from sb3_trpo.safe_loading.allow_list import (
    ACTIVATIONS,
    EXTRACTORS,
    OPTIMIZERS,
    Vouched,
    name_of,
)
from sb3_trpo.safe_loading.limits import MAX_LAYERS, MAX_UNITS, Refused, printable

_FLAGS = (
    *("ortho_init", "use_sde", "full_std", "use_expln", "squash_output", "normalize_images"),
    *("share_features_extractor", "shared_lstm", "enable_critic_lstm"),
)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _counts(most: int) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        return is_whole and 1 <= value <= most

    return check


def _are_layers(value: Any) -> bool:
    is_short = isinstance(value, (list, tuple)) and len(value) <= MAX_LAYERS
    return is_short and all(_counts(MAX_UNITS)(units) for units in value)


def _is_net_arch(value: Any) -> bool:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]  # as SB3 < 1.8 wrote it; load() takes it out
    if isinstance(value, dict):
        return set(value) <= {"pi", "vf"} and all(_are_layers(part) for part in value.values())
    return value is None or _are_layers(value)


def _is_setting(value: Any) -> bool:
    parts = value if isinstance(value, (list, tuple)) and len(value) <= 8 else [value]
    return all(part is None or _is_number(part) for part in parts)


def _is_settings(value: Any) -> bool:
    is_dict = value is None or (isinstance(value, dict) and len(value) <= 32)
    return is_dict and all(
        isinstance(name, str) and _is_setting(setting) for name, setting in (value or {}).items()
    )


def _has_keys(**checks: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if value is None:
            return True
        is_known = isinstance(value, dict) and set(value) <= set(checks)
        return is_known and all(checks[name](part) for name, part in value.items())

    return check


_CHECKS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(_FLAGS, _is_bool),
    "net_arch": _is_net_arch,
    "log_std_init": _is_number,
    "optimizer_kwargs": _is_settings,
    "features_extractor_kwargs": _has_keys(
        features_dim=_counts(MAX_UNITS),
        cnn_output_dim=_counts(MAX_UNITS),
        normalized_image=_is_bool,
    ),
    "lstm_hidden_size": _counts(MAX_UNITS),
    "n_lstm_layers": _counts(MAX_LAYERS),
    "lstm_kwargs": _has_keys(bias=_is_bool, dropout=_is_number),
}
_CLASSES = {
    "activation_fn": ACTIVATIONS,
    "features_extractor_class": EXTRACTORS,
    "optimizer_class": OPTIMIZERS,
}
_OF_CLASSES = {"features_extractor_kwargs": "features_extractor_class"}
"""Arguments of a class: where the user vouched for it, they are what it takes."""


def check_policy_kwargs(kwargs: Any, vouched: Vouched) -> None:
    """
    Refuse arguments that a policy must not get from a file.

    :param kwargs: the file's ``policy_kwargs``
    :param vouched: what the user allows beyond the list
    :raises Refused: names the argument
    """
    if not isinstance(kwargs, dict):
        raise Refused(f"it must be a dict, got {type(kwargs).__name__}")
    for name, value in kwargs.items():
        if name in _CLASSES:
            is_listed = isinstance(value, type) and name_of(value) in _CLASSES[name]
            is_allowed = is_listed or vouched.knows(value)
        elif name in _CHECKS:
            cls = kwargs.get(_OF_CLASSES.get(name))
            is_allowed = _CHECKS[name](value) or (isinstance(value, dict) and vouched.knows(cls))
        elif vouched.has_a(BasePolicy):  # it may take anything that is on the list
            is_allowed = True
        else:
            raise Refused(f"policies of SB3 have no argument {printable(name)}")
        if not is_allowed:
            raise Refused(f"its {name} is not what a policy of SB3 takes")
