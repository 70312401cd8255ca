"""The critic's fit for a plain perceptron: closed-form gradients, all parameters one vector."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th

from sb3_trpo.batch import Batch, minibatch_slices
from sb3_trpo.critic import CriticResult
from sb3_trpo.mlp import PlainMlp
from sb3_trpo.optim import ParameterVector

# They treat each entry of a parameter alike, so that one vector steps as its parts would.
_ELEMENTWISE = (th.optim.Adam, th.optim.AdamW, th.optim.RMSprop, th.optim.SGD)


def steps_elementwise(optimizer: th.optim.Optimizer, parameters: Sequence[th.Tensor]) -> bool:
    """
    Tell whether an optimiser may step on some parameters joined to one vector.

    :param optimizer: any
    :param parameters: those that shall move
    :return: True for the optimisers known to treat entries alike, without hooks, and with all of
        ``parameters`` at the same count of steps
    """
    hooks = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    if type(optimizer) not in _ELEMENTWISE or len(optimizer.param_groups) != 1 or any(hooks):
        return False
    if any(optimizer.param_groups[0].get(name) for name in ("capturable", "differentiable")):
        return False
    states = [optimizer.state.get(parameter, {}) for parameter in parameters]
    counts = {tuple(sorted((k, float(x)) for k, x in s.items() if _is_count(x))) for s in states}
    return len(counts) == 1 and len({frozenset(state) for state in states}) == 1


def _is_count(value: Any) -> bool:
    return isinstance(value, th.Tensor) and value.dim() == 0


class _JoinedOptimizer:
    """
    An optimiser's twin on one vector, which takes its state over and gives it back.

    :param optimizer: satisfies :func:`steps_elementwise`
    :param parameters: those that shall move
    """

    def __init__(self, optimizer: th.optim.Optimizer, parameters: Sequence[th.Tensor]) -> None:
        self._optimizer, self._parameters = optimizer, ParameterVector(parameters)
        self.vector = th.nn.Parameter(self._parameters.read())
        accepted = inspect.signature(type(optimizer)).parameters
        options = {k: v for k, v in optimizer.param_groups[0].items() if k in accepted}
        options.pop("params")
        if isinstance(optimizer, th.optim.Adam):  # AdamW is one; 25 µs a step against 39
            options |= {"fused": True, "foreach": False}
        self._twin = type(optimizer)([self.vector], **options)
        states = [optimizer.state.get(parameter, {}) for parameter in parameters]
        for key, value in states[0].items():
            is_per_entry = isinstance(value, th.Tensor) and not _is_count(value)
            self._twin.state[self.vector][key] = (
                self._parameters.flatten([state[key] for state in states])
                if is_per_entry
                else value.clone()
                if isinstance(value, th.Tensor)
                else value
            )

    def step(self, gradient: th.Tensor) -> None:
        """Move the vector along a gradient (P,)."""
        self.vector.grad = gradient
        self._twin.step()

    def give_back(self) -> None:
        """Leave parameters and state as the optimiser's own steps would have."""
        self._parameters.write(self.vector.detach())
        for key, value in self._twin.state[self.vector].items():
            is_per_entry = isinstance(value, th.Tensor) and not _is_count(value)
            parts = self._parameters.split(value) if is_per_entry else None
            for i, parameter in enumerate(self._parameters.tensors):
                part = value if parts is None else parts[i]
                self._optimizer.state[parameter][key] = (
                    part.clone() if isinstance(part, th.Tensor) else part
                )


class _NumpyMlp:
    """
    A perceptron with one output, whose gradient is written where the optimiser reads it.

    NumPy, because half of a minibatch's time in torch goes into dispatching the small operations.

    :param mlp: the network
    :param vector: its parameters (P,), followed as they change
    :param gradient: (P,), to write to
    """

    def __init__(self, mlp: PlainMlp, vector: np.ndarray, gradient: np.ndarray) -> None:
        shapes = [tuple(parameter.shape) for parameter in mlp.parameters]
        cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
        theta = [part.reshape(s) for part, s in zip(np.split(vector, cuts), shapes, strict=True)]
        slots = [part.reshape(s) for part, s in zip(np.split(gradient, cuts), shapes, strict=True)]
        self._layers = list(zip(theta[::2], theta[1::2], slots[::2], slots[1::2], strict=True))
        self._is_tanh = mlp.activation is th.nn.Tanh

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Map inputs (B, features) to values (B,)."""
        self._inputs = [inputs]
        for weight, bias, *_ in self._layers[:-1]:
            units = self._inputs[-1] @ weight.T
            units += bias
            np.tanh(units, out=units) if self._is_tanh else np.maximum(units, 0, out=units)
            self._inputs.append(units)
        weight, bias, *_ = self._layers[-1]
        values: np.ndarray = self._inputs[-1] @ weight[0] + bias
        return values

    def pull_back(self, cotangent: np.ndarray) -> None:
        """Write the gradient of ``cotangentᵀ values``, at the inputs last predicted on."""
        cotangent = cotangent[:, None]
        for i in reversed(range(len(self._layers))):
            weight, _, weight_slot, bias_slot = self._layers[i]
            np.matmul(cotangent.T, self._inputs[i], out=weight_slot)
            cotangent.sum(axis=0, out=bias_slot)
            if i > 0:
                cotangent = cotangent @ weight
                cotangent *= self._slope(self._inputs[i])

    def _slope(self, activated: np.ndarray) -> np.ndarray:
        if not self._is_tanh:
            return activated > 0
        slope = activated * activated
        np.subtract(1, slope, out=slope)
        return np.asarray(slope)


@np.errstate(over="ignore", invalid="ignore")  # the result says so
def fit_plain_value_function(
    mlp: PlainMlp,
    inputs: th.Tensor,
    batch: Batch,
    *,
    n_epochs: int,
    batch_size: int,
    optimizer: th.optim.Optimizer,
    max_grad_norm: float | None,
) -> CriticResult:
    """
    Regress a perceptron's values on the returns, as :func:`sb3_trpo.critic.fit_value_function`.

    :param mlp: the value function, on the CPU
    :param inputs: (N, features)
    :param batch: the same N samples
    :param n_epochs: passes over the data, each in an order of its own from NumPy's generator
    :param batch_size: rows of a minibatch
    :param optimizer: satisfies :func:`steps_elementwise` with the parameters of ``mlp``
    :param max_grad_norm: clip the gradient's norm to this; None or 0: no clipping
    :return: loss and state of the fit
    """
    joined = _JoinedOptimizer(optimizer, mlp.parameters)
    gradient = np.empty_like(joined.vector.detach().numpy())
    network = _NumpyMlp(mlp, joined.vector.detach().numpy(), gradient)
    data = inputs.numpy(), batch.returns.numpy(), batch.weights.to(inputs.dtype).numpy()
    losses = []
    for _ in range(n_epochs):
        order = np.random.permutation(len(batch))
        shuffled = [array[order] for array in data]
        for rows in minibatch_slices(len(batch), batch_size):
            x, returns, weights = (array[rows] for array in shuffled)
            errors = network.predict(x) - returns
            weighted = errors * (weights / weights.sum())
            losses.append(float(weighted @ errors))
            network.pull_back(2 * weighted)
            if max_grad_norm:  # as torch.nn.utils.clip_grad_norm_
                norm = math.sqrt(gradient @ gradient)
                if norm + 1e-6 > max_grad_norm:
                    gradient *= max_grad_norm / (norm + 1e-6)
            joined.step(th.from_numpy(gradient))
    if not losses:
        return CriticResult(None, 0, is_finite=True)
    joined.give_back()
    value_loss = float(np.mean(losses))
    is_finite = math.isfinite(value_loss) and bool(th.isfinite(joined.vector).all())
    return CriticResult(value_loss, len(losses), is_finite)
