"""The Jacobian of a plain actor's distribution parameters: closed form up to the distribution."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, cast

import torch as th
from stable_baselines3.common.distributions import (
    DiagGaussianDistribution,
    Distribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy

from sb3_trpo.batch import ActorChunk, Batch
from sb3_trpo.distributions import DistributionMap
from sb3_trpo.mlp import MlpPass, PlainMlp, flat_observations
from sb3_trpo.optim.parameter_vector import ParameterVector


class Network(Protocol):
    """A network whose products with its Jacobian are in closed form."""

    @property
    def parameters(self) -> Sequence[th.Tensor]:
        """All that its outputs depend on."""
        ...


class NetworkPass(Protocol):
    """One forward pass of such a network over n samples."""

    outputs: th.Tensor
    """(n, outputs) of ``action_net``."""
    latent: th.Tensor
    """(n, units) its inputs."""

    def jvp(self, tangents: Sequence[th.Tensor]) -> th.Tensor:
        """Map changes of the network's parameters to that of the outputs."""
        ...

    def vjp(self, cotangent: th.Tensor) -> list[th.Tensor]:
        """Map u (n, outputs) to Jᵀu, shaped as the network's parameters."""
        ...


Head = Callable[[Batch, NetworkPass], Distribution]
"""The action distribution of some samples, from the network's pass over them."""


class PlainActorLinearisation:
    """
    J of ``dist_params`` for a plain network (:class:`sb3_trpo.optim.problem.FastLinearisation`).

    The network's own part is in closed form; what the distribution makes of its outputs and of
    ``log_std`` is a few operations on (n, A), which autograd does, reverse over reverse.

    :param policy: of a class of SB3's, unmodified
    :param network: its actor
    :param forward: its pass over the samples
    :param head: the distribution, from the pass
    :param distribution_map: of the distribution
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        network: Network,
        forward: NetworkPass,
        head: Callable[[NetworkPass], Distribution],
        distribution_map: DistributionMap,
    ) -> None:
        self._pass = forward
        log_std = getattr(policy, "log_std", None)
        own = [log_std] if log_std is not None and log_std.requires_grad else []
        place = {id(parameter): i for i, parameter in enumerate(policy.parameters())}
        ordered = sorted([*network.parameters, *own], key=lambda tensor: place[id(tensor)])
        self.parameters = ParameterVector(ordered)
        place = {id(parameter): i for i, parameter in enumerate(ordered)}
        self._network_places = [place[id(parameter)] for parameter in network.parameters]
        self._own_places = [place[id(parameter)] for parameter in own]
        self._head: _GaussianHead | _AnyHead = (
            _GaussianHead(forward, policy.log_std, own)
            if type(policy.action_dist) is DiagGaussianDistribution
            else _AnyHead(forward, own, head, distribution_map)
        )
        self.outputs = self._head.outputs

    def jvp(self, vector: th.Tensor) -> th.Tensor:
        """Map v (P,) to J v (n, K)."""
        tangents = self.parameters.split(vector)
        change = self._pass.jvp([tangents[i] for i in self._network_places])
        return self._head.jvp(change, *(tangents[i] for i in self._own_places))

    def vjp(self, cotangent: th.Tensor) -> th.Tensor:
        """Map u (n, K) to Jᵀu (P,)."""
        of_outputs, *own = self._head.vjp(cotangent)
        parts: list[th.Tensor | None] = [None] * len(self.parameters.tensors)
        places = [*self._network_places, *self._own_places]
        for i, part in zip(places, [*self._pass.vjp(of_outputs), *own], strict=True):
            parts[i] = part
        return self.parameters.flatten(parts)


class _AnyHead:
    """
    From the network's outputs and ``log_std`` to ``dist_params``, by reverse over reverse.

    :param forward: the network's pass
    :param own: ``log_std`` if there is one that trains
    :param head: the distribution, from the pass
    :param distribution_map: of the distribution
    """

    def __init__(
        self,
        forward: NetworkPass,
        own: list[th.nn.Parameter],
        head: Callable[[NetworkPass], Distribution],
        distribution_map: DistributionMap,
    ) -> None:
        self._inputs = [forward.outputs.requires_grad_(), *own]
        self._dist_params = distribution_map.read(head(forward))
        self.outputs = self._dist_params.detach()
        self._cotangent = th.zeros_like(self.outputs, requires_grad=True)
        self._pullback = th.autograd.grad(
            self._dist_params, self._inputs, self._cotangent, create_graph=True
        )

    def jvp(self, *changes: th.Tensor) -> th.Tensor:
        """Map changes of outputs and ``log_std`` to that of ``dist_params``."""
        return th.autograd.grad(self._pullback, self._cotangent, changes, retain_graph=True)[0]

    def vjp(self, cotangent: th.Tensor) -> tuple[th.Tensor, ...]:
        """Map u (n, K) to its products with the derivatives in outputs and ``log_std``."""
        return th.autograd.grad(self._dist_params, self._inputs, cotangent, retain_graph=True)


class _GaussianHead:
    """
    The same for a diagonal Gaussian, written out: ``loc`` are the outputs, ``scale`` exp(log_std).

    :param forward: the network's pass
    :param log_std: the policy's
    :param own: ``log_std`` if it trains
    """

    def __init__(
        self, forward: NetworkPass, log_std: th.nn.Parameter, own: list[th.nn.Parameter]
    ) -> None:
        loc = forward.outputs
        self._trains_std, self._std = bool(own), log_std.detach().exp()
        self.outputs = th.cat([loc, self._std.expand_as(loc)], dim=1)

    def jvp(self, change: th.Tensor, *own: th.Tensor) -> th.Tensor:
        """Map changes of outputs and ``log_std`` to that of ``dist_params``."""
        of_scale = self._std * own[0] if own else th.zeros_like(self._std)
        return th.cat([change, of_scale.expand_as(change)], dim=1)

    def vjp(self, cotangent: th.Tensor) -> tuple[th.Tensor, ...]:
        """Map u (n, K) to its products with the derivatives in outputs and ``log_std``."""
        of_loc, of_scale = cotangent.chunk(2, dim=1)
        of_loc = of_loc.contiguous()  # once, for the products to come
        if not self._trains_std:
            return (of_loc,)
        return of_loc, self._std * of_scale.sum(dim=0)


class PlainActor:
    """
    A policy's actor where it is a plain network: what an update asks of it, in closed form.

    :param policy: of a class of SB3's, unmodified
    :param mlp: its actor, see :func:`sb3_trpo.mlp.plain_actor`
    :param head: what makes the distribution of the network's outputs; None: SB3's
    """

    def __init__(self, policy: ActorCriticPolicy, mlp: PlainMlp, head: Head | None = None) -> None:
        self._policy = policy
        self._network: Network = mlp
        self._head = head or partial(_sb3_distribution, policy)
        self._flatten = flat_observations(policy)

    def distribution(self, batch: Batch) -> Distribution:
        """
        Return the action distribution at the current parameters, without graph.

        :param batch: the samples
        :return: the policy's own object, as its ``get_distribution`` does
        """
        return self._head(batch, self._pass(batch))

    def linearise(
        self, distribution_map: DistributionMap, chunk: ActorChunk
    ) -> PlainActorLinearisation:
        """
        Linearise at the current parameters.

        :param distribution_map: of the policy's distribution
        :param chunk: of the batch
        :return: J on these samples
        """
        head = partial(self._head, chunk.batch)
        forward = self._pass(chunk.batch)
        return PlainActorLinearisation(self._policy, self._network, forward, head, distribution_map)

    def _pass(self, batch: Batch) -> NetworkPass:
        return MlpPass(cast(PlainMlp, self._network), self._flatten(batch.observations))


def _sb3_distribution(policy: ActorCriticPolicy, _: Batch, forward: NetworkPass) -> Distribution:
    distribution = policy.action_dist
    if isinstance(distribution, DiagGaussianDistribution):
        return distribution.proba_distribution(forward.outputs, policy.log_std)
    if isinstance(distribution, StateDependentNoiseDistribution):
        return distribution.proba_distribution(forward.outputs, policy.log_std, forward.latent)
    return distribution.proba_distribution(action_logits=forward.outputs)
