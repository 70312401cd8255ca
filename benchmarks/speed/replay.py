"""One rollout and one set of parameters, put into any model any number of times."""

import copy
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm


class Replay:
    """
    What an update starts from.

    Updates move parameters, and some flatten the buffer's arrays in place; so each starts from
    copies.

    :param model: with a full buffer
    """

    def __init__(self, model: OnPolicyAlgorithm) -> None:
        self._buffer = copy.deepcopy(model.rollout_buffer.__dict__)
        self._parameters = copy.deepcopy(model.policy.state_dict())

    def put_into(self, model: OnPolicyAlgorithm) -> None:
        """
        Give a model the rollout, the parameters, a new optimiser's state and the same seeds.

        :param model: with the same policy class and spaces; it may lie on another device
        """
        device = model.rollout_buffer.device
        model.rollout_buffer.__dict__.update(copy.deepcopy(self._buffer))
        model.rollout_buffer.device = device
        model.policy.load_state_dict(self._parameters)
        model.policy.optimizer.state.clear()
        _seed(0)

    def is_in(self, model: OnPolicyAlgorithm) -> bool:
        """Whether a model holds exactly this rollout and these parameters."""
        buffer: dict[str, Any] = model.rollout_buffer.__dict__
        arrays = {key: array for key, array in self._buffer.items() if _is_array(array)}
        state = model.policy.state_dict()
        return all(np.array_equal(array, buffer[key]) for key, array in arrays.items()) and all(
            th.equal(value, state[key].to(value.device)) for key, value in self._parameters.items()
        )


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _seed(seed: int) -> None:
    np.random.seed(seed)
    th.manual_seed(seed)
