"""Whether a model of a file's sizes can be made: found out before its memory is taken."""

import copy
import inspect
import math
import warnings
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import ConstantSchedule
from torch.overrides import TorchFunctionMode

from sb3_trpo.distributions import unvalidated
from sb3_trpo.safe_loading.allow_list import ACTIVATIONS, EXTRACTORS, OPTIMIZERS, POLICIES, name_of
from sb3_trpo.safe_loading.limits import MAX_BUFFER_BYTES, Refused, printable, reason
from sb3_trpo.safe_loading.tensors import Tensor

_FLOAT_BYTES = 4
_OWN_COLUMNS = 6  # rewards, returns, episode starts, values, log-probabilities, advantages


def check_buffer(attributes: dict[str, Any], n_envs: int) -> None:
    """
    Refuse a rollout buffer that is larger than any we know of.

    :param attributes: of the model
    :param n_envs: environments that it will have
    :raises Refused: says which attribute to replace
    """
    n_steps = int(attributes["n_steps"])
    if n_steps < 1 or n_envs < 1:
        return  # the model's own check of its arguments says so
    kwargs = attributes["policy_kwargs"]
    n_bytes = _bytes_of(attributes["observation_space"])
    n_bytes += _FLOAT_BYTES * (_OWN_COLUMNS + _columns_of(attributes["action_space"]))
    if _is_recurrent(attributes["policy_class"]):
        n_units = kwargs.get("lstm_hidden_size", 256) * kwargs.get("n_lstm_layers", 1)
        n_bytes += 4 * _FLOAT_BYTES * int(n_units)
    n_bytes *= n_steps * n_envs
    if n_bytes > MAX_BUFFER_BYTES:
        raise Refused(
            f"n_steps={n_steps} with {n_envs} environments takes a rollout buffer of "
            f"{n_bytes:,} bytes, of {MAX_BUFFER_BYTES:,} allowed: pass a smaller n_steps"
        )


def _is_recurrent(policy_class: type) -> bool:
    return policy_class.__module__.startswith("sb3_contrib.common.recurrent")


def _bytes_of(space: spaces.Space[Any]) -> int:
    if isinstance(space, spaces.Dict):
        return sum(_bytes_of(part) for part in space.spaces.values())
    itemsize = np.dtype(space.dtype).itemsize if space.dtype is not None else 8
    return math.prod(space.shape or (1,)) * itemsize


def _columns_of(space: spaces.Space[Any]) -> int:
    """Count actions, and choices that a mask may forbid."""
    if isinstance(space, spaces.Discrete):
        return 1 + int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return math.prod(space.nvec.shape) + sum(int(n) for n in space.nvec.flat)
    return 3 * math.prod(space.shape or (1,))


def check_parameters(
    attributes: dict[str, Any], policy: dict[Any, Any], optimizer: dict[Any, Any] | None
) -> None:
    """
    Refuse parameters that are not those of the file's own policy.

    The policy is made without memory (on torch's device ``meta``): what the file says of its layers
    is not believed before its tensors are as large.

    :param attributes: of the model
    :param policy: the tensors of ``policy.pth``
    :param optimizer: those of ``policy.optimizer.pth``
    :raises Refused: names the first parameter that does not fit
    """
    try:
        outline = _outline(attributes)
    except Exception as error:
        if not _is_of_the_list(attributes):
            return  # it is the user's own class that cannot be made without memory
        raise Refused(f"its policy cannot be made: {reason(error)}") from error
    expected = {name: tuple(tensor.shape) for name, tensor in outline.state_dict().items()}
    found = {name: t.shape for name, t in policy.items() if isinstance(t, Tensor)}
    if len(found) != len(policy):
        raise Refused("policy.pth holds something that is no tensor")
    for name in sorted(expected.keys() | found.keys(), key=str):
        if expected.get(name) != found.get(name):
            raise Refused(
                f"policy.pth does not fit the policy: {printable(name)} must be "
                f"{expected.get(name, 'missing')}, got {found.get(name, 'none')}"
            )
    if optimizer is not None:
        _check_optimizer(outline, optimizer)


def _outline(attributes: dict[str, Any]) -> Any:
    policy_class = attributes["policy_class"]
    kwargs = dict(attributes["policy_kwargs"])
    net_arch = kwargs.get("net_arch")
    if isinstance(net_arch, list) and net_arch and isinstance(net_arch[0], dict):
        kwargs["net_arch"] = net_arch[0]  # as load() does
    if "use_sde" in inspect.signature(policy_class.__init__).parameters:
        kwargs["use_sde"] = attributes.get("use_sde", False)
    if name_of(policy_class) in POLICIES:
        kwargs["ortho_init"] = False  # there are no numbers to initialise
    # Copies of the spaces, and a fork: neither generator may notice.
    space = copy.deepcopy((attributes["observation_space"], attributes["action_space"]))
    with (
        th.random.fork_rng(devices=[]),
        th.device("meta"),
        _StayThere(),
        unvalidated(),  # there are no numbers to look at
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        return policy_class(*space, ConstantSchedule(0.0), **kwargs)


class _StayThere(TorchFunctionMode):
    """Tensors stay on their device, and are not initialised: SB3 moves parts of a policy."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is th.Tensor.to:
            return args[0]
        return function(*args, **(kwargs or {}))


def _is_of_the_list(attributes: dict[str, Any]) -> bool:
    listed = (*POLICIES, *EXTRACTORS, *ACTIVATIONS, *OPTIMIZERS)
    values = [attributes["policy_class"], *attributes["policy_kwargs"].values()]
    return all(not callable(value) or name_of(value) in listed for value in values)


def _check_optimizer(outline: Any, saved: dict[Any, Any]) -> None:
    """Refuse moments of other shapes than their parameters: torch would notice in training."""
    groups, state = saved.get("param_groups"), saved.get("state")
    if set(saved) != {"param_groups", "state"} or not isinstance(state, dict):
        raise Refused("policy.optimizer.pth is not the state of an optimiser")
    own = outline.optimizer.param_groups
    if not isinstance(groups, list) or len(groups) != len(own):
        raise Refused("policy.optimizer.pth has other groups of parameters than the policy")
    shapes: dict[Any, tuple[int, ...]] = {}
    for group, mine in zip(groups, own, strict=True):
        indices = group.get("params") if isinstance(group, dict) else None
        if not isinstance(indices, list) or len(indices) != len(mine["params"]):
            raise Refused("policy.optimizer.pth is of another number of parameters")
        if not all(type(index) is int for index in indices):
            raise Refused("policy.optimizer.pth names parameters by what is no number")
        _check_settings(group, mine)
        shapes.update(zip(indices, (tuple(p.shape) for p in mine["params"]), strict=True))
    for index, moments in state.items():
        if index not in shapes or not isinstance(moments, dict):
            raise Refused(f"policy.optimizer.pth has a state of no parameter: {printable(index)}")
        for name, value in moments.items():
            fits = isinstance(value, Tensor) and value.shape in ((), (1,), shapes[index])
            if not (fits or _is_plain(value)):
                raise Refused(
                    f"policy.optimizer.pth does not fit the policy: {printable(name)} of "
                    f"parameter {index} must be of shape {shapes[index]}"
                )


def _check_settings(group: dict[Any, Any], mine: dict[str, Any]) -> None:
    for name, value in group.items():
        parts = value if isinstance(value, (list, tuple)) else (value,)
        is_plain = all(map(_is_plain, parts))
        if name != "params" and not (isinstance(name, str) and is_plain):
            raise Refused(f"policy.optimizer.pth has a setting {printable(name)} that is no number")
    for name, value in mine.items():
        if _kind(value) == "other" or name == "params":  # flags, which have defaults
            continue
        if _kind(group.get(name)) != _kind(value):
            raise Refused(f"policy.optimizer.pth must have a setting {name} like {value}")


def _is_plain(value: Any) -> bool:
    return value is None or (isinstance(value, (bool, int, float)) and math.isfinite(value))


def _kind(setting: Any) -> Any:
    """Tell numbers, pairs of them and what is neither apart."""
    if isinstance(setting, (list, tuple)):
        return [_kind(part) for part in setting]
    is_number = isinstance(setting, (int, float)) and not isinstance(setting, bool)
    return "number" if is_number else "other"
