"""What an update may change, kept so that it can be put back."""

import copy

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy


class Snapshot:
    """
    Parameters, module buffers and optimiser state of a policy at one moment.

    :param policy: the policy; its ``optimizer`` is included
    """

    def __init__(self, policy: ActorCriticPolicy) -> None:
        self._policy = policy
        self._parameters = [(p, p.detach().clone()) for p in policy.parameters()]
        self._buffers = [(b, b.detach().clone()) for b in policy.buffers()]
        self._optimizer_state = copy.deepcopy(policy.optimizer.state_dict())

    @th.no_grad()
    def restore_buffers(self) -> None:
        """Put the module buffers back (running statistics and the like)."""
        for buffer, value in self._buffers:
            buffer.copy_(value)

    @th.no_grad()
    def restore(self) -> None:
        """Put everything back, bit for bit and in place."""
        for parameter, value in self._parameters:
            parameter.copy_(value)
        self.restore_buffers()
        self._policy.optimizer.load_state_dict(self._optimizer_state)
        self._policy.optimizer.zero_grad(set_to_none=True)
