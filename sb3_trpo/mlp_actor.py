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
from sb3_trpo.mlp import MlpPass, PlainMlp, flat_observations, plain_actor
from sb3_trpo.optim.fisher import ReverseLinearisation
from sb3_trpo.optim.parameter_vector import ParameterVector


class PlainActorLinearisation:
    """
    J of ``dist_params`` for a plain network (:class:`sb3_trpo.optim.fisher.Linearisation`).

    The network's own part is in closed form; what the distribution makes of its outputs and of
    ``log_std`` is a few operations on (n, A), which autograd does.

    :param policy: of a class of SB3's, unmodified
    :param mlp: its actor
    :param observations: (n, …)
    :param distribution_map: of the policy's distribution
    :param parameters: what J is with respect to: those of ``mlp``, and ``log_std`` if it trains
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        mlp: PlainMlp,
        observations: PyTorchObs,
        distribution_map: DistributionMap,
        parameters: ParameterVector,
    ) -> None:
        self._parameters = parameters
        place = {id(tensor): i for i, tensor in enumerate(parameters.tensors)}
        self._network_places = [place.pop(id(parameter)) for parameter in mlp.parameters]
        self._head_places = list(place.values())
        self._pass = MlpPass(mlp, mlp.layers(), flat_observations(policy)(observations))
        outputs = self._pass.outputs.requires_grad_()
        head = [outputs, *(parameters.tensors[i] for i in self._head_places)]
        distribution = _distribution(policy, outputs, self._pass.latent)
        self._head_parameters = ParameterVector(head)
        self._head = ReverseLinearisation(
            distribution_map.read(distribution), self._head_parameters
        )

    def jvp(self, vector: th.Tensor) -> th.Tensor:
        """Map v (P,) to J v (n, K)."""
        tangents = self._parameters.split(vector)
        change = self._pass.jvp([tangents[i] for i in self._network_places])
        rest = [tangents[i] for i in self._head_places]
        return self._head.jvp(self._head_parameters.flatten([change, *rest]))

    def vjp(self, cotangent: th.Tensor) -> th.Tensor:
        """Map u (n, K) to Jᵀu (P,)."""
        of_outputs, *rest = self._head_parameters.split(self._head.vjp(cotangent))
        parts: list[th.Tensor | None] = [None] * len(self._parameters.tensors)
        for i, part in zip(self._network_places, self._pass.vjp(of_outputs), strict=True):
            parts[i] = part
        for i, part in zip(self._head_places, rest, strict=True):
            parts[i] = part
        return self._parameters.flatten(parts)


def linearise_plain_actor(
    policy: ActorCriticPolicy,
    distribution_map: DistributionMap,
    chunk: ActorChunk,
    parameters: ParameterVector,
) -> PlainActorLinearisation | None:
    """
    Return J in closed form, if the actor is plain and all of it trains.

    :param policy: any
    :param distribution_map: of its distribution
    :param chunk: of the batch
    :param parameters: what J is with respect to
    :return: None where autograd has to do it
    """
    mlp = plain_actor(policy)
    if mlp is None or not {id(p) for p in mlp.parameters} <= {id(p) for p in parameters.tensors}:
        return None
    observations = chunk.batch.observations
    return PlainActorLinearisation(policy, mlp, observations, distribution_map, parameters)


def _distribution(policy: ActorCriticPolicy, outputs: th.Tensor, latent: th.Tensor) -> Distribution:
    distribution = policy.action_dist
    if isinstance(distribution, DiagGaussianDistribution):
        return distribution.proba_distribution(outputs, policy.log_std)
    if isinstance(distribution, StateDependentNoiseDistribution):
        return distribution.proba_distribution(outputs, policy.log_std, latent)
    return distribution.proba_distribution(action_logits=outputs)
