"""The Jacobian of a plain actor's distribution parameters: closed form up to the distribution."""

import torch as th
from stable_baselines3.common.distributions import (
    DiagGaussianDistribution,
    Distribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs

from sb3_trpo.batch import ActorChunk
from sb3_trpo.distributions import DistributionMap
from sb3_trpo.mlp import MlpPass, PlainMlp, flat_observations
from sb3_trpo.optim.parameter_vector import ParameterVector


class PlainActorLinearisation:
    """
    J of ``dist_params`` for a plain network (:class:`sb3_trpo.optim.problem.FastLinearisation`).

    The network's own part is in closed form; what the distribution makes of its outputs and of
    ``log_std`` is a few operations on (n, A), which autograd does, reverse over reverse.

    :param policy: of a class of SB3's, unmodified
    :param mlp: its actor
    :param inputs: (n, features) flat observations
    :param distribution_map: of the policy's distribution
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        mlp: PlainMlp,
        inputs: th.Tensor,
        distribution_map: DistributionMap,
    ) -> None:
        self._pass = MlpPass(mlp, inputs)
        log_std = getattr(policy, "log_std", None)
        own = [log_std] if log_std is not None and log_std.requires_grad else []
        place = {id(parameter): i for i, parameter in enumerate(policy.parameters())}
        ordered = sorted([*mlp.parameters, *own], key=lambda tensor: place[id(tensor)])
        self.parameters = ParameterVector(ordered)
        place = {id(parameter): i for i, parameter in enumerate(ordered)}
        self._network_places = [place[id(parameter)] for parameter in mlp.parameters]
        self._own_places = [place[id(parameter)] for parameter in own]
        head = _GaussianHead if type(policy.action_dist) is DiagGaussianDistribution else _AnyHead
        self._head = head(policy, self._pass, own, distribution_map)
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

    :param policy: whose distribution it is
    :param forward: the network's pass
    :param own: ``log_std`` if there is one that trains
    :param distribution_map: of the distribution
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        forward: MlpPass,
        own: list[th.nn.Parameter],
        distribution_map: DistributionMap,
    ) -> None:
        self._inputs = [forward.outputs.requires_grad_(), *own]
        distribution = _distribution(policy, forward.outputs, forward.latent)
        self._dist_params = distribution_map.read(distribution)
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

    :param policy: whose distribution it is
    :param forward: the network's pass
    :param own: ``log_std`` if it trains
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        forward: MlpPass,
        own: list[th.nn.Parameter],
        _: DistributionMap,
    ) -> None:
        loc = forward.outputs
        self._trains_std, self._std = bool(own), policy.log_std.detach().exp()
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
    """

    def __init__(self, policy: ActorCriticPolicy, mlp: PlainMlp) -> None:
        self._policy, self._mlp = policy, mlp
        self._flatten = flat_observations(policy)

    def distribution(self, observations: PyTorchObs) -> Distribution:
        """
        Return the action distribution at the current parameters, without graph.

        :param observations: (n, …)
        :return: the policy's own object, as :meth:`get_distribution` does
        """
        forward = MlpPass(self._mlp, self._flatten(observations))
        return _distribution(self._policy, forward.outputs, forward.latent)

    def linearise(
        self, distribution_map: DistributionMap, chunk: ActorChunk
    ) -> PlainActorLinearisation:
        """
        Linearise at the current parameters.

        :param distribution_map: of the policy's distribution
        :param chunk: of the batch
        :return: J on these samples
        """
        inputs = self._flatten(chunk.batch.observations)
        return PlainActorLinearisation(self._policy, self._mlp, inputs, distribution_map)


def _distribution(policy: ActorCriticPolicy, outputs: th.Tensor, latent: th.Tensor) -> Distribution:
    distribution = policy.action_dist
    if isinstance(distribution, DiagGaussianDistribution):
        return distribution.proba_distribution(outputs, policy.log_std)
    if isinstance(distribution, StateDependentNoiseDistribution):
        return distribution.proba_distribution(outputs, policy.log_std, latent)
    return distribution.proba_distribution(action_logits=outputs)
