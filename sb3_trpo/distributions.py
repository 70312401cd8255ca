"""
SB3's action distributions as the core sees them: parameters as one tensor, joint KL, metric.

An SB3 distribution holds one torch distribution, or a list of independent ones. Each of these is
described by a :class:`sb3_trpo.families.Family`; their parameters stand side by side in
``dist_params`` (N, K), their KLs add up to the joint one, and their metrics act on their own
columns.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch as th
from stable_baselines3.common.distributions import Distribution
from torch.distributions import Bernoulli
from torch.distributions import Distribution as TorchDistribution

from sb3_trpo.components import Component, Metric
from sb3_trpo.families import register_distribution
from sb3_trpo.optim.checks import check, is_floating, shown
from sb3_trpo.optim.precision import precise

__all__ = ["DistributionMap", "check_log_prob", "register_distribution", "unvalidated"]


class DistributionMap:
    """
    Between one policy's SB3 distribution objects and ``dist_params`` (N, K).

    :param example: a distribution as the policy returns it; of any batch size
    :raises ValueError: its parameters are not known and cannot be found, or its KL has no formula
    """

    def __init__(self, example: Distribution) -> None:
        # sb3_contrib's masked distribution of several actions keeps its list under another name.
        self._name = "distributions" if hasattr(example, "distributions") else "distribution"
        is_right = not isinstance(example, type) and hasattr(example, self._name)
        check("example", example, "a Distribution of SB3", is_right=is_right)
        # A shallow copy: policies rewrite their distribution object in place.
        self._template = copy.copy(example)
        self._is_list = isinstance(getattr(example, self._name), list)
        self._components = [Component(part) for part in self._parts("example", example)]
        self._widths = [component.width for component in self._components]
        self._check_kl(example)

    def _parts(self, argument: str, distribution: Distribution) -> list[TorchDistribution]:
        kind = type(self._template)
        is_right = isinstance(distribution, kind)
        check(argument, distribution, f"a {kind.__name__}, as the example is", is_right=is_right)
        held = getattr(distribution, self._name, None)  # None: no state was given to it yet
        parts: list[Any] = held if isinstance(held, list) else [held]
        for part in parts:
            if not isinstance(part, TorchDistribution):
                raise ValueError(
                    f"{argument}: {kind.__name__}.{self._name} must hold torch distributions, "
                    f"got {type(part).__name__}"
                )
        return parts

    def _check_actions(self, distribution: Distribution, actions: th.Tensor) -> None:
        parts = self._parts("distribution", distribution)
        shape = (*parts[0].batch_shape, *parts[0].event_shape)
        if self._is_list:  # one action of each
            shape = (*parts[0].batch_shape, len(parts))
        if not isinstance(actions, th.Tensor) or actions.shape != shape:
            raise ValueError(f"actions must be of shape {shape}, got {shown(actions)}")

    def _check_params(self, name: str, dist_params: th.Tensor) -> None:
        width = sum(self._widths)
        if not is_floating(dist_params, 2) or dist_params.shape[1] != width:
            raise ValueError(
                f"{name} must be dist_params of shape (N, {width}), got {shown(dist_params)}"
            )

    def _check_kl(self, example: Distribution) -> None:
        dist_params = self.read(example)[:1].detach()
        try:
            self.kl(dist_params, dist_params)
        except NotImplementedError as error:
            name = type(self._parts("example", example)[0]).__name__
            raise ValueError(
                f"torch.distributions.kl_divergence has no formula for the action distribution "
                f"{name}. Register one with torch.distributions.register_kl({name}, {name})."
            ) from error

    def read(self, distribution: Distribution) -> th.Tensor:
        """
        Return the parameters of a distribution.

        :param distribution: of the policy this map was made for
        :return: (N, K), with their graph
        """
        parts = zip(self._components, self._parts("distribution", distribution), strict=True)
        columns = [component.read(part) for component, part in parts]
        return columns[0] if len(columns) == 1 else th.cat(columns, dim=1)

    def build(self, dist_params: th.Tensor) -> Distribution:
        """
        Make the SB3 distribution with the given parameters.

        :param dist_params: (N, K), of any floating dtype
        :return: a new object; the policy's own is not touched
        :raises ValueError: they are not of that shape
        """
        self._check_params("dist_params", dist_params)
        parts = zip(
            self._components, dist_params.split_with_sizes(self._widths, dim=1), strict=True
        )
        built = [component.build(columns) for component, columns in parts]
        distribution = copy.copy(self._template)
        setattr(distribution, self._name, built if self._is_list else built[0])
        return distribution

    def log_prob(self, distribution: Distribution, actions: th.Tensor) -> th.Tensor:
        """
        Compute the joint log-probability, in the precision of the distribution's parameters.

        :param distribution: as returned by :meth:`build`
        :param actions: (N, A), or (N,) if discrete, as sampled
        :return: (N,) nats
        :raises ValueError: the actions are not of that shape
        """
        self._check_actions(distribution, actions)
        held = getattr(distribution, self._name)
        if isinstance(held, Bernoulli):
            # Its log_prob takes the dtype of the actions. Elsewhere they promote, and must not be
            # widened before: the inverse of a squashing clips by the epsilon of their dtype.
            actions = actions.to(held.logits.dtype)
        return distribution.log_prob(actions)

    def kl(self, old: th.Tensor, new: th.Tensor) -> th.Tensor:
        """
        Compute KL(old ‖ new) of the joint action distribution.

        :param old: (N, K)
        :param new: (N, K)
        :return: (N,) nats, summed over action dimensions
        :raises ValueError: one of them is not of that shape
        """
        self._check_params("old", old)
        self._check_params("new", new)
        if len(new) != len(old):
            raise ValueError(f"new must be of {len(old)} states, as old is, got {len(new)}")
        kls = [
            component.kl(p, q)
            for component, p, q in zip(
                self._components,
                old.split_with_sizes(self._widths, dim=1),
                new.split_with_sizes(self._widths, dim=1),
                strict=True,
            )
        ]
        return th.stack(kls).sum(dim=0)

    def metric(self, dist_params: th.Tensor) -> Metric:
        """
        Return the product with the Fisher matrix M of the distributions, in ``dist_params``.

        :param dist_params: (N, K)
        :return: maps (N, K) to (N, K)
        :raises ValueError: they are not of that shape
        """
        self._check_params("dist_params", dist_params)
        metrics = [
            component.metric(columns)
            for component, columns in zip(
                self._components, dist_params.split_with_sizes(self._widths, dim=1), strict=True
            )
        ]
        if len(metrics) == 1:
            return metrics[0]

        def product(vectors: th.Tensor) -> th.Tensor:
            parts = zip(metrics, vectors.split_with_sizes(self._widths, dim=1), strict=True)
            return th.cat([metric(columns) for metric, columns in parts], dim=1)

        return product


def check_log_prob(
    distribution_map: DistributionMap, distribution: Distribution, actions: th.Tensor
) -> None:
    """
    Refuse a distribution of the user's own that is more than the torch distribution it holds.

    The surrogate is computed from the parameters alone; what ``log_prob`` takes from elsewhere (an
    attribute set for each state, a learnt one) would be wrong there, or not learnt.

    :param distribution_map: made from the distribution of other states
    :param distribution: as the policy returns it, with its graph
    :param actions: of the same states
    :raises ValueError: its log-probability is not a function of the parameters and the action
    """
    is_map = isinstance(distribution_map, DistributionMap)
    check("distribution_map", distribution_map, "a DistributionMap", is_right=is_map)
    distribution_map._check_actions(distribution, actions)
    if type(distribution).__module__.startswith(("stable_baselines3.", "sb3_contrib.")):
        return
    dist_params = distribution_map.read(distribution)
    own = distribution.log_prob(actions)
    rebuilt = distribution_map.log_prob(distribution_map.build(dist_params), actions)
    # Squashing and the like lose some digits in float32; a wrong state is off by far more.
    same = th.allclose(precise(own), precise(rebuilt), rtol=1e-3, atol=1e-3, equal_nan=True)
    if not same or not _leaves(own) <= _leaves(dist_params):
        raise ValueError(
            f"The log-probability of the action distribution {type(distribution).__name__} depends "
            "on more than the parameters of the torch distribution that it holds. Give all of it "
            "to that (torch.distributions.TransformedDistribution, or a class of your own)."
        )


def _leaves(tensor: th.Tensor) -> set[th.Tensor]:
    """Find the parameters that a tensor was computed from."""
    seen, found, pending = set(), set(), [tensor.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(node.variable)
        pending += [parent for parent, _ in node.next_functions]
    return found


@contextmanager
def unvalidated() -> Iterator[None]:
    """
    Let torch distributions be built from any numbers inside the block.

    A trial of the line search may go so far that the network's outputs are not finite. That is a
    figure to decide on, not an error, and checking costs time at every construction.
    """
    before = TorchDistribution._validate_args
    try:
        TorchDistribution.set_default_validate_args(False)
        yield
    finally:
        TorchDistribution.set_default_validate_args(before)
