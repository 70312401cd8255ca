"""The mean of a policy's parameters over the last updates of a training."""

from collections.abc import Sequence

import numpy as np
import torch as th

from sb3_trpo.optim.precision import precise


class ParameterMean:
    """A running mean of parameters, in float64 where the device has it."""

    def __init__(self) -> None:
        self._count = 0
        self._means: list[th.Tensor] = []

    @th.no_grad()
    def include(self, parameters: Sequence[th.Tensor]) -> None:
        """
        Count the parameters as they are.

        :param parameters: always the same ones
        """
        count = self._count + 1
        before = self._means or [th.zeros_like(precise(parameter)) for parameter in parameters]
        # Both at once, so that Ctrl-C leaves a mean.
        self._count, self._means = (
            count,
            [
                mean + (precise(parameter) - mean) / count
                for mean, parameter in zip(before, parameters, strict=True)
            ],
        )

    @th.no_grad()
    def put_into(self, parameters: Sequence[th.Tensor]) -> None:
        """
        Replace the parameters by their mean; leave them if none were included.

        :param parameters: those that were included
        """
        if self._count:
            for parameter, mean in zip(parameters, self._means, strict=True):
                parameter.copy_(mean)

    def state(self) -> tuple[int, list[np.ndarray]]:
        """Return what :meth:`restore` takes."""
        return self._count, [mean.cpu().numpy().copy() for mean in self._means]

    def restore(self, state: tuple[int, list[np.ndarray]], device: th.device) -> None:
        """
        Count on.

        :param state: of another mean
        :param device: of the parameters
        """
        self._count = state[0]
        self._means = [th.as_tensor(mean, device=device).clone() for mean in state[1]]
