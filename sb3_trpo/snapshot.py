"""What an update may change, kept so that it can be put back."""

import copy
from collections.abc import Container
from typing import Any

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.distributions import Distribution


class Snapshot:
    """
    Parameters, module buffers, train/eval modes and optimiser state of a policy at one moment.

    :param policy: the policy; its ``optimizer`` is included
    """

    def __init__(self, policy: ActorCriticPolicy) -> None:
        self._policy = policy
        self._parameters = [(p, p.detach().clone()) for p in policy.parameters()]
        self._modes = [(module, module.training) for module in policy.modules()]
        # With their places: a module may assign a new tensor instead of writing into the old one.
        self._buffers = [
            (module, name, buffer, _copy(buffer))
            for module in policy.modules()
            for name, buffer in module._buffers.items()
        ]
        self._validate_args = Distribution._validate_args
        # Not by state_dict(): loading one casts the state to the parameters' dtype.
        optimizer = policy.optimizer
        self._state = {p: _copy_all(state) for p, state in optimizer.state.items()}
        self._groups = [_copy_all(group, leave="params") for group in optimizer.param_groups]

    @th.no_grad()
    def restore_buffers(self, modules: Container[th.nn.Module] | None = None) -> None:
        """
        Put the module buffers back (running statistics and the like).

        :param modules: only theirs; None: all
        """
        for module, name, buffer, value in self._buffers:
            if modules is None or module in modules:
                module._buffers[name] = buffer if buffer is None else buffer.copy_(value)

    @th.no_grad()
    def restore(self) -> None:
        """Put everything back, bit for bit and parameters in place."""
        for parameter, value in self._parameters:
            parameter.copy_(value)
        self.restore_buffers()
        for module, mode in self._modes:
            module.training = mode
        # torch's flag, which an exception at the very end of unvalidated() leaves as it was inside.
        Distribution.set_default_validate_args(self._validate_args)
        optimizer = self._policy.optimizer
        optimizer.zero_grad(set_to_none=True)
        optimizer.state.clear()
        optimizer.state.update({p: _copy_all(state) for p, state in self._state.items()})
        for group, saved in zip(optimizer.param_groups, self._groups, strict=True):
            group.update(_copy_all(saved))


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, th.Tensor) else copy.deepcopy(value)


def _copy_all(values: dict[str, Any], leave: str = "") -> dict[str, Any]:
    return {key: _copy(value) for key, value in values.items() if key != leave}
