"""Fitting the value function, without touching what the action distribution depends on."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch as th

from sb3_trpo.optim.precision import precise


class ValueMinibatch(Protocol):
    """What a fit needs of a minibatch, beside the prediction on it."""

    @property
    def returns(self) -> th.Tensor:
        """(B,) regression targets."""
        ...

    @property
    def weights(self) -> th.Tensor:
        """(B,) weight of each sample; padding weighs 0."""
        ...


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


Minibatch = TypeVar("Minibatch", bound=ValueMinibatch)


def fit_value_function(
    predict: Callable[[Minibatch], th.Tensor],
    epochs: Iterable[Iterable[Minibatch]],
    *,
    optimizer: th.optim.Optimizer,
    parameters: list[th.nn.Parameter],
    max_grad_norm: float | None,
) -> CriticResult:
    """
    Regress the values on the returns.

    Parameters that get no gradient have ``grad`` None, never zero, so that no optimiser decays or
    moves them.

    :param predict: values (B,) of a minibatch, with their graph
    :param epochs: the passes over the data
    :param optimizer: steps without a closure; may hold more than ``parameters``
    :param parameters: those that may move; others, and those that the values do not depend on,
        stay
    :param max_grad_norm: clip the gradient's norm to this; None or 0: no clipping
    :return: loss and state of the fit
    """
    optimizer.zero_grad(set_to_none=True)
    losses: list[th.Tensor] = []
    for minibatches in epochs if parameters else ():
        for minibatch in minibatches:
            errors = (predict(minibatch) - minibatch.returns) ** 2
            weights = minibatch.weights.to(errors.dtype)
            loss = (weights * errors).sum() / weights.sum()
            losses.append(loss.detach())
            if not loss.requires_grad:
                continue
            grads = th.autograd.grad(loss, parameters, allow_unused=True)
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = grad
            if max_grad_norm:
                th.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if not losses:
        return CriticResult(None, 0, is_finite=True)
    value_loss = precise(th.stack(losses)).mean().item()
    is_finite = math.isfinite(value_loss) and all(
        bool(th.isfinite(parameter).all()) for parameter in parameters
    )
    return CriticResult(value_loss, len(losses), is_finite)


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

    handles = [part.register_forward_pre_hook(note) for part in module.modules()]
    try:
        with th.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return seen
