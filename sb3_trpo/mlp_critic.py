"""The critic's fit for a plain perceptron: closed-form gradients, all parameters one vector."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th

from sb3_trpo.batch import Batch, minibatch_slices
from sb3_trpo.critic import CriticResult
from sb3_trpo.mlp import MlpPass, PlainMlp
from sb3_trpo.optim import ParameterVector
from sb3_trpo.optim.precision import precise

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


@th.no_grad()
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

    :param mlp: the value function
    :param inputs: (N, features)
    :param batch: the same N samples
    :param n_epochs: passes over the data, each in an order of its own from NumPy's generator
    :param batch_size: rows of a minibatch
    :param optimizer: satisfies :func:`steps_elementwise` with the parameters of ``mlp``
    :param max_grad_norm: clip the gradient's norm to this; None or 0: no clipping
    :return: loss and state of the fit
    """
    joined = _JoinedOptimizer(optimizer, mlp.parameters)
    # The twin's vector, seen as the network's parameters.
    views = ParameterVector(mlp.parameters).split(joined.vector.detach())
    layers = PlainMlp(views, mlp.activation).layers()
    losses: list[th.Tensor] = []
    weights = batch.weights.to(inputs.dtype)
    for _ in range(n_epochs):
        order = th.as_tensor(np.random.permutation(len(batch)), device=inputs.device)
        shuffled = inputs[order], batch.returns[order], weights[order]
        for rows in minibatch_slices(len(batch), batch_size):
            x, returns, w = (tensor[rows] for tensor in shuffled)
            forward = MlpPass(mlp, layers, x)
            errors = forward.outputs[:, 0] - returns
            weighted = errors * (w / w.sum())
            losses.append(weighted @ errors)
            parts = forward.vjp(2 * weighted[:, None])
            gradient = th.cat([part.reshape(-1) for part in parts])
            if max_grad_norm:  # as torch.nn.utils.clip_grad_norm_
                gradient *= (max_grad_norm / (gradient.norm() + 1e-6)).clamp_(max=1.0)
            joined.step(gradient)
    if not losses:
        return CriticResult(None, 0, is_finite=True)
    joined.give_back()
    value_loss = precise(th.stack(losses)).mean().item()
    is_finite = math.isfinite(value_loss) and bool(th.isfinite(joined.vector).all())
    return CriticResult(value_loss, len(losses), is_finite)
