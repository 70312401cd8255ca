"""Fitting the value function, without touching what the action distribution depends on."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch as th
from torch.nn.modules.module import register_module_forward_pre_hook

from sb3_trpo.distributed import Processes, summed_where_any
from sb3_trpo.optim.precision import precise


class ValueSamples(Protocol):
    """What a fit needs of some samples, beside the prediction on them."""

    @property
    def returns(self) -> th.Tensor:
        """(B,) regression targets."""
        ...

    @property
    def weights(self) -> th.Tensor:
        """(B,) weight of each sample; padding weighs 0."""
        ...


Samples = TypeVar("Samples", bound=ValueSamples)


@dataclass(frozen=True)
class Minibatch(Generic[Samples]):
    """
    A minibatch of the samples of all processes.

    :param samples: those of this process; None: it has none of them
    :param total_weight: of all its samples
    """

    samples: Samples | None
    total_weight: float


@dataclass(frozen=True)
class CriticResult:
    """
    What a fit did.

    :param value_loss: mean squared error over all minibatches, None if there were none
    :param steps: optimiser steps taken
    :param is_finite: whether loss and parameters are finite; if not, the caller restores them
    """

    value_loss: float | None
    steps: int
    is_finite: bool


def fit_value_function(
    predict: Callable[[Samples], th.Tensor],
    epochs: Iterable[Iterable[Minibatch[Samples]]],
    *,
    optimizer: th.optim.Optimizer,
    parameters: list[th.nn.Parameter],
    max_grad_norm: float | None,
    group: Processes,
) -> CriticResult:
    """
    Regress the values on the returns.

    Parameters that get no gradient have ``grad`` None, never zero, so that no optimiser decays or
    moves them.

    :param predict: values (B,) of some samples, with their graph
    :param epochs: the passes over the data
    :param optimizer: steps without a closure; may hold more than ``parameters``
    :param parameters: those that may move; others, and those that the values do not depend on,
        stay
    :param max_grad_norm: clip the gradient's norm to this; None or 0: no clipping
    :param group: the processes that share the minibatches
    :return: loss and state of the fit, the same on each process
    """
    optimizer.zero_grad(set_to_none=True)
    losses: list[th.Tensor] = []
    for minibatches in epochs if parameters else ():
        for minibatch in minibatches:
            loss, parts = _loss_and_gradient(predict, minibatch, parameters)
            losses.append(loss)
            grads = summed_where_any(group, parts, parameters)
            if all(grad is None for grad in grads):
                continue
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = grad
            if max_grad_norm:
                th.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if not losses:
        return CriticResult(None, 0, is_finite=True)
    value_loss = group.sum(precise(th.stack(losses))).mean().item()
    is_finite = math.isfinite(value_loss) and all(
        bool(th.isfinite(parameter).all()) for parameter in parameters
    )
    return CriticResult(value_loss, len(losses), is_finite)


def _loss_and_gradient(
    predict: Callable[[Samples], th.Tensor],
    minibatch: Minibatch[Samples],
    parameters: list[th.nn.Parameter],
) -> tuple[th.Tensor, Sequence[th.Tensor | None]]:
    """Return this process's part of the mean squared error, and of its gradient."""
    samples, nothing = minibatch.samples, [None] * len(parameters)
    if samples is None:
        return parameters[0].new_zeros(()), nothing
    errors = (predict(samples) - samples.returns) ** 2
    loss = (samples.weights.to(errors.dtype) * errors).sum() / minibatch.total_weight
    if not loss.requires_grad:
        return loss, nothing
    return loss.detach(), th.autograd.grad(loss, parameters, allow_unused=True)


def modules_reached(module: th.nn.Module, forward: Callable[[], object]) -> set[th.nn.Module]:
    """
    Find which submodules a computation calls.

    :param module: the root
    :param forward: runs the computation
    :return: the submodules that were called
    """
    seen: set[th.nn.Module] = set()

    def note(called: th.nn.Module, _: object) -> None:
        seen.add(called)

    # One hook for all modules: an exception at any moment leaves none of many behind.
    with register_module_forward_pre_hook(note), th.no_grad():
        forward()
    return seen & set(module.modules())
