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
        Count the parameters as they are; the mean starts anew where there are others than before.

        :param parameters: that train
        """
        before, count = self._means, self._count + 1
        if not self._is_of(parameters):
            before, count = [th.zeros_like(precise(parameter)) for parameter in parameters], 1
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
        Replace the parameters by their mean, all or none; leave them if they were not included.

        :param parameters: those that were included
        """
        if not self._is_of(parameters):
            return
        kept = [parameter.clone() for parameter in parameters]
        try:
            for parameter, mean in zip(parameters, self._means, strict=True):
                parameter.copy_(mean)
        except BaseException:
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)
            raise

    def _is_of(self, parameters: Sequence[th.Tensor]) -> bool:
        shapes = [[tensor.shape for tensor in tensors] for tensors in (parameters, self._means)]
        return self._count > 0 and shapes[0] == shapes[1]

    def state(self) -> tuple[int, list[np.ndarray]]:
        """Return what :meth:`restore` takes."""
        return self._count, [mean.cpu().numpy().copy() for mean in self._means]

    def restore(self, state: tuple[int, list[np.ndarray]], device: th.device) -> None:
        """
        Count on.

        :param state: of another mean
        :param device: of the parameters
        """
        dtype = precise(th.zeros(0, device=device)).dtype
        self._count = state[0]
        self._means = [th.tensor(mean, dtype=dtype, device=device) for mean in state[1]]
