"""The critic's fit for a plain perceptron: closed-form gradients, all parameters one vector."""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch as th

from sb3_trpo.batch import Batch
from sb3_trpo.critic import CriticResult
from sb3_trpo.distributed import Processes
from sb3_trpo.mlp import PlainMlp
from sb3_trpo.optim import ParameterVector
from sb3_trpo.union import Deal

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
        self._kernel: Callable[[], None] | None = None
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

    def step(self) -> None:
        """Move the vector along its gradient."""
        if self._kernel is None:
            self._twin.step()
            if isinstance(self._twin, th.optim.Adam):  # AdamW is one
                self._kernel = self._adam_kernel()
        else:
            self._kernel()

    def _adam_kernel(self) -> Callable[[], None]:
        """Return what step() reaches in the end: 4 µs, and 25 with all that is around it."""
        group, state = self._twin.param_groups[0], self._twin.state[self.vector]
        names = ("lr", "eps", "weight_decay", "maximize", "amsgrad")
        move = partial(
            th._fused_adamw_ if group["decoupled_weight_decay"] else th._fused_adam_,
            [self.vector.detach()],
            [self.vector.grad],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [state["max_exp_avg_sq"]] if group["amsgrad"] else [],
            [state["step"]],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            **{name: group[name] for name in names},
        )

        def count_and_move() -> None:
            state["step"].add_(1)
            move()

        return count_and_move

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
        *self._weights, last = theta[::2]
        *self._biases, self._last_bias = theta[1::2]
        self._transposed = [weight.t() for weight in self._weights]
        self._last_weight, self._last_row = last[0], last[0].numpy()
        *self._weight_slots, last_slot = slots[::2]
        *self._bias_slots, last_bias_slot = slots[1::2]
        self._last_slot, self._last_bias_slot = last_slot[0], last_bias_slot.numpy()
        self._is_tanh = mlp.activation is th.nn.Tanh
        self._rooms: dict[int, list[_Units]] = {}

    def predict(self, inputs: th.Tensor) -> np.ndarray:
        """Map inputs (B, features) to values (B,)."""
        self._inputs = inputs
        self._hidden = self._rooms.get(len(inputs)) or self._make_room(len(inputs))
        below = inputs
        for bias, weight, units in zip(self._biases, self._transposed, self._hidden, strict=True):
            th.addmm(bias, below, weight, out=units.tensor)
            array, below = units.array, units.tensor
            np.tanh(array, out=array) if self._is_tanh else np.maximum(array, 0, out=array)
        values: np.ndarray = th.addmv(self._last_bias, below, self._last_weight).numpy()
        return values

    def pull_back(self, cotangent: np.ndarray) -> None:
        """Write the gradient of ``cotangentᵀ values``, at the inputs last predicted on."""
        below = self._hidden[-1].tensor if self._hidden else self._inputs
        th.mv(below.t(), th.from_numpy(cotangent), out=self._last_slot)
        self._last_bias_slot[0] = cotangent.sum()
        for i in reversed(range(len(self._hidden))):
            units = self._hidden[i]
            if units is self._hidden[-1]:
                np.multiply(cotangent[:, None], self._last_row, out=units.back_array)
            else:
                th.mm(self._hidden[i + 1].back, self._weights[i + 1], out=units.back)
            units.back_array *= self._slope(units.array)
            below = self._hidden[i - 1].tensor if i > 0 else self._inputs
            th.mm(units.back_transposed, below, out=self._weight_slots[i])
            th.sum(units.back, 0, out=self._bias_slots[i])

    def _slope(self, activated: np.ndarray) -> np.ndarray:
        """Return the activation's derivative from its value, which may be overwritten."""
        if not self._is_tanh:
            return np.asarray(activated > 0)
        np.multiply(activated, activated, out=activated)
        return np.asarray(np.subtract(1, activated, out=activated))

    def _make_room(self, n_rows: int) -> "list[_Units]":
        self._rooms[n_rows] = [_Units(bias.new_empty(n_rows, len(bias))) for bias in self._biases]
        return self._rooms[n_rows]


class _Units:
    """
    A hidden layer's memory: its units and what is pulled back to them, for torch and for NumPy.

    :param tensor: (B, units)
    """

    def __init__(self, tensor: th.Tensor) -> None:
        self.tensor, self.back = tensor, th.empty_like(tensor)
        self.array, self.back_array = self.tensor.numpy(), self.back.numpy()
        self.back_transposed = self.back.t()


@np.errstate(over="ignore", invalid="ignore")  # the result says so
def fit_plain_value_function(
    mlp: PlainMlp,
    inputs: th.Tensor,
    batch: Batch,
    *,
    epochs: Iterable[Deal],
    optimizer: th.optim.Optimizer,
    max_grad_norm: float | None,
    group: Processes,
) -> CriticResult:
    """
    Regress a perceptron's values on the returns, as :func:`sb3_trpo.critic.fit_value_function`.

    :param mlp: the value function, on the CPU
    :param inputs: (N, features)
    :param batch: the same N samples, each of weight 1
    :param epochs: how they are shuffled and cut in each pass over them
    :param optimizer: satisfies :func:`steps_elementwise` with the parameters of ``mlp``
    :param max_grad_norm: clip the gradient's norm to this; None or 0: no clipping
    :param group: the processes that share the minibatches
    :return: loss and state of the fit, the same on each process
    """
    joined = _JoinedOptimizer(optimizer, mlp.parameters)
    gradient = th.empty_like(joined.vector.detach())
    joined.vector.grad, slope = gradient, gradient.numpy()
    network = _Network(mlp, joined.vector.detach(), gradient)
    losses: list[float] = []
    for cards in epochs:
        order = th.as_tensor(cards.order)
        x, returns = inputs[order], batch.returns[order].to(inputs.dtype).numpy()
        for rows, size in zip(cards.parts, cards.sizes, strict=True):
            if rows.start < rows.stop:
                errors = network.predict(x[rows]) - returns[rows]
                losses.append(float(errors @ errors) / size)
                network.pull_back(errors * (2 / size))
            else:  # all rows are other processes'
                losses.append(0.0)
                gradient.zero_()
            if group.size > 1:
                gradient.copy_(group.sum(gradient))
            if max_grad_norm:  # as torch.nn.utils.clip_grad_norm_
                norm = math.sqrt(th.dot(gradient, gradient).item())
                if norm + 1e-6 > max_grad_norm:
                    slope *= max_grad_norm / (norm + 1e-6)
            joined.step()
    if not losses:
        return CriticResult(None, 0, is_finite=True)
    joined.give_back()
    value_loss = group.sum(th.tensor(losses, dtype=th.float64)).mean().item()
    is_finite = math.isfinite(value_loss) and bool(th.isfinite(joined.vector).all())
    return CriticResult(value_loss, len(losses), is_finite)
