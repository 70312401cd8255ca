"""The critic's fit for a plain perceptron: closed-form gradients, all parameters one vector."""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch as th
from torch.optim.adam import adam

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

    def stepper(self, gradient: th.Tensor) -> Callable[[], None]:
        """
        Return what moves the vector along a gradient.

        :param gradient: (P,), as it will be at each step
        :return: takes one step
        """
        self.vector.grad = gradient
        state = self._twin.state[self.vector]
        if not isinstance(self._twin, th.optim.Adam) or not state:
            return self._twin.step
        # What step() calls in the end; its wrappers cost as much again.
        group = self._twin.param_groups[0]
        names = ("lr", "eps", "weight_decay", "maximize", "amsgrad")
        return partial(
            adam,
            [self.vector.detach()],
            [gradient],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [state["max_exp_avg_sq"]] if group["amsgrad"] else [],
            [state["step"]],
            fused=True,
            decoupled_weight_decay=group["decoupled_weight_decay"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            **{name: group[name] for name in names},
        )

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


class _Network:
    """
    A perceptron with one output, whose gradient is written where the optimiser reads it.

    torch multiplies matrices (NumPy's threads would not heed ``torch.set_num_threads``), NumPy does
    the rest in the same memory, since for so small arrays torch's dispatching costs more.

    :param mlp: the network
    :param vector: its parameters (P,), followed as they change
    :param gradient: (P,), to write to
    """

    def __init__(self, mlp: PlainMlp, vector: th.Tensor, gradient: th.Tensor) -> None:
        shapes = ParameterVector(mlp.parameters)
        theta, slots = shapes.split(vector), shapes.split(gradient)
        self._layers = list(zip(theta[::2], theta[1::2], slots[::2], slots[1::2], strict=True))
        self._is_tanh = mlp.activation is th.nn.Tanh
        self._hidden: list[tuple[th.Tensor, np.ndarray]] = []  # units, and the same memory in NumPy

    def predict(self, inputs: th.Tensor) -> np.ndarray:
        """Map inputs (B, features) to values (B,)."""
        self._make_room(len(inputs))
        self._inputs = [inputs, *(units for units, _ in self._hidden)]
        for i, (units, array) in enumerate(self._hidden):
            weight, bias, *_ = self._layers[i]
            th.addmm(bias, self._inputs[i], weight.t(), out=units)
            np.tanh(array, out=array) if self._is_tanh else np.maximum(array, 0, out=array)
        weight, bias, *_ = self._layers[-1]
        values: np.ndarray = th.addmm(bias, self._inputs[-1], weight.t()).numpy()[:, 0]
        return values

    def pull_back(self, cotangent: np.ndarray) -> None:
        """Write the gradient of ``cotangentᵀ values``, at the inputs last predicted on."""
        back = th.from_numpy(cotangent[:, None])
        for i in reversed(range(len(self._layers))):
            weight, _, weight_slot, bias_slot = self._layers[i]
            th.mm(back.t(), self._inputs[i], out=weight_slot)
            th.sum(back, 0, out=bias_slot)
            if i > 0:
                back = back @ weight
                array = back.numpy()
                array *= self._slope(self._hidden[i - 1][1])

    def _slope(self, activated: np.ndarray) -> np.ndarray:
        """Return the activation's derivative from its value, which may be overwritten."""
        if not self._is_tanh:
            return np.asarray(activated > 0)
        np.multiply(activated, activated, out=activated)
        return np.asarray(np.subtract(1, activated, out=activated))

    def _make_room(self, n_rows: int) -> None:
        if self._hidden and len(self._hidden[0][0]) == n_rows:
            return
        tensors = [bias.new_empty(n_rows, len(bias)) for _, bias, *_ in self._layers[:-1]]
        self._hidden = [(tensor, tensor.numpy()) for tensor in tensors]


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
    gradient = th.empty_like(joined.vector.detach())
    slope, take_step = gradient.numpy(), joined.stepper(gradient)
    network = _Network(mlp, joined.vector.detach(), gradient)
    weights = batch.weights.to(inputs.dtype)
    losses = []
    for _ in range(n_epochs):
        order = th.as_tensor(np.random.permutation(len(batch)))
        x, w = inputs[order], weights[order].numpy()
        returns = batch.returns[order].to(inputs.dtype).numpy()
        for rows in minibatch_slices(len(batch), batch_size):
            errors = network.predict(x[rows]) - returns[rows]
            weighted = errors * (w[rows] / w[rows].sum())
            losses.append(float((weighted * errors).sum()))
            network.pull_back(2 * weighted)
            if max_grad_norm:  # as torch.nn.utils.clip_grad_norm_
                norm = th.dot(gradient, gradient).sqrt().item()
                if norm + 1e-6 > max_grad_norm:
                    slope *= max_grad_norm / (norm + 1e-6)
            take_step()
    if not losses:
        return CriticResult(None, 0, is_finite=True)
    joined.give_back()
    value_loss = float(np.mean(losses))
    is_finite = math.isfinite(value_loss) and bool(th.isfinite(joined.vector).all())
    return CriticResult(value_loss, len(losses), is_finite)
