"""What an update may change, kept so that it can be put back."""

import copy

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy


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
            (module, name, buffer, buffer.detach().clone())
            for module in policy.modules()
            for name, buffer in module.named_buffers(recurse=False)
        ]
        self._optimizer_state = copy.deepcopy(policy.optimizer.state_dict())

    @th.no_grad()
    def restore_buffers(self) -> None:
        """Put the module buffers back (running statistics and the like)."""
        for module, name, buffer, value in self._buffers:
            setattr(module, name, buffer.copy_(value))

    @th.no_grad()
    def restore(self) -> None:
        """Put everything back, bit for bit and in place."""
        for parameter, value in self._parameters:
            parameter.copy_(value)
        self.restore_buffers()
        for module, mode in self._modes:
            module.training = mode
        self._policy.optimizer.load_state_dict(self._optimizer_state)
        self._policy.optimizer.zero_grad(set_to_none=True)
