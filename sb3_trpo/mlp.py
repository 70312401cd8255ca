"""
Plain multi-layer perceptrons in closed form: SB3's default networks without autograd.

At SB3's sizes (two layers of 64 units) most of a pass goes into bookkeeping: module calls, graph
nodes, a kernel per tensor. The formulas of a perceptron are short: what such a network is, and its
products with a Jacobian, stand here; actors, critics and rollouts use them. Whatever is not such a
network takes the general path, with the same result to rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor

from sb3_trpo.dense import tanh_, times_transpose
from sb3_trpo.policies import is_recurrent, is_unmodified

_ACTIVATIONS = (th.nn.Tanh, th.nn.ReLU)


@dataclass(frozen=True)
class PlainMlp:
    """
    Linear layers with one activation between them.

    :param parameters: weight (units, inputs) and bias (units,) of each layer in turn
    :param activation: the class of all activations
    """

    parameters: Sequence[th.Tensor]
    activation: type[th.nn.Module]

    def layers(self) -> list[tuple[th.Tensor, th.Tensor]]:
        """
        View the parameters, without graph.

        :return: weight (units, inputs) and bias (units,) of each layer; they follow every change of
            the parameters that is made in place
        """
        tensors = [parameter.detach() for parameter in self.parameters]
        return list(zip(tensors[::2], tensors[1::2], strict=True))

    def activate_(self, units: th.Tensor) -> th.Tensor:
        """Apply the activation, in place."""
        return tanh_(units) if self.activation is th.nn.Tanh else units.relu_()

    def slope(self, activated: th.Tensor) -> th.Tensor:
        """Return the activation's derivative, from its value."""
        if self.activation is th.nn.Tanh:
            return 1 - activated * activated
        return (activated > 0).to(activated.dtype)


class MlpPass:
    """
    One forward pass over a batch, kept for products with its Jacobian J.

    :param mlp: the network
    :param inputs: (n, features)
    """

    def __init__(self, mlp: PlainMlp, inputs: th.Tensor) -> None:
        self._mlp, self._layers, self._inputs = mlp, mlp.layers(), [inputs]
        for weight, bias in self._layers[:-1]:
            self._inputs.append(mlp.activate_(times_transpose(self._inputs[-1], weight, bias)))
        weight, bias = self._layers[-1]
        self.outputs = times_transpose(self._inputs[-1], weight, bias)
        self.latent = self._inputs[-1]

    # What the products need beyond the pass itself is made for the first of them.
    @cached_property
    def _slopes(self) -> list[th.Tensor]:
        return [self._mlp.slope(hidden) for hidden in self._inputs[1:]]

    @cached_property
    def _transposed_inputs(self) -> list[th.Tensor]:
        return [inputs.t().contiguous() for inputs in self._inputs]

    def jvp(self, tangents: Sequence[th.Tensor], of_inputs: th.Tensor | None = None) -> th.Tensor:
        """
        Multiply from the right.

        :param tangents: shaped as the network's parameters, in their order
        :param of_inputs: (n, features) change of the inputs; None: they are constants
        :return: (n, outputs) J v
        """
        change = times_transpose(self._inputs[0], tangents[0], tangents[1])
        if of_inputs is not None:
            change += times_transpose(of_inputs, self._layers[0][0])
        for i, (weight, _) in enumerate(self._layers[1:], start=1):
            carried = change.mul_(self._slopes[i - 1])
            change = times_transpose(self._inputs[i], tangents[2 * i], tangents[2 * i + 1])
            change += times_transpose(carried, weight)
        return change

    def vjp(self, cotangent: th.Tensor) -> list[th.Tensor]:
        """
        Multiply from the left.

        :param cotangent: (n, outputs)
        :return: Jᵀu, shaped as the network's parameters, in their order
        """
        return self._pull_back(cotangent)[0]

    def vjp_to_inputs(self, cotangent: th.Tensor) -> tuple[list[th.Tensor], th.Tensor]:
        """
        Multiply from the left, with J in the inputs, too.

        :param cotangent: (n, outputs)
        :return: Jᵀu, shaped as the network's parameters, in their order, and as the inputs
        """
        parts, of_first = self._pull_back(cotangent)
        return parts, times_transpose(of_first, self._layers[0][0].t())

    def _pull_back(self, cotangent: th.Tensor) -> tuple[list[th.Tensor], th.Tensor]:
        """Return Jᵀu, and the cotangent of what the first layer adds up."""
        parts: list[th.Tensor] = []
        for i in reversed(range(len(self._layers))):
            of_weight = times_transpose(self._transposed_inputs[i], cotangent.t()).t()
            parts += [cotangent.sum(dim=0), of_weight]
            if i > 0:
                cotangent = times_transpose(cotangent, self._layers[i][0].t())
                cotangent *= self._slopes[i - 1]
        return parts[::-1], cotangent


def flat_observations(policy: ActorCriticPolicy) -> Callable[[Any], th.Tensor]:
    """
    Return what turns observations into the inputs of a plain network.

    :param policy: with a ``FlattenExtractor``
    :return: maps observations (n, …) to float32 (n, features)
    """
    space, normalize_images = policy.observation_space, policy.normalize_images
    if isinstance(space, spaces.Box) and not (normalize_images and is_image_space(space)):
        return lambda observations: observations.float().flatten(1)

    def preprocessed(observations: Any) -> th.Tensor:
        features: Any = preprocess_obs(observations, space, normalize_images=normalize_images)
        return cast(th.Tensor, features.flatten(1))

    return preprocessed


def plain_actor(policy: ActorCriticPolicy) -> PlainMlp | None:
    """
    Return the network from flat observations to the input of the action distribution.

    :param policy: any
    :return: None if it is anything but a plain perceptron in a policy of SB3's, or not all of it
        trains
    """
    return _plain(policy, "pi_features_extractor", "policy_net", "action_net")


def plain_critic(policy: ActorCriticPolicy) -> PlainMlp | None:
    """
    Return the network from flat observations to values.

    :param policy: any
    :return: None if it is anything but a plain perceptron of the critic's own in a policy of SB3's,
        or not all of it trains
    """
    critic = _plain(policy, "vf_features_extractor", "value_net", "value_net")
    if critic is None:
        return None
    actors = {*policy.mlp_extractor.policy_net.parameters(), *policy.action_net.parameters()}
    return None if actors.intersection(critic.parameters) else critic


def _plain(policy: ActorCriticPolicy, extractor: str, hidden: str, head: str) -> PlainMlp | None:
    if is_recurrent(type(policy)) or not has_flat_features(policy, extractor):
        return None
    return _plain_head(policy, hidden, head)


def has_flat_features(policy: ActorCriticPolicy, extractor: str) -> bool:
    """
    Tell whether the features of a policy are its flat observations.

    :param policy: any
    :param extractor: name of the features extractor
    :return: False where anything but that may be computed
    """
    return is_unmodified(policy) and type(getattr(policy, extractor)) is FlattenExtractor


def plain_head_of_actor(policy: ActorCriticPolicy) -> PlainMlp | None:
    """
    Return the network from features, or an LSTM's outputs, to the input of the distribution.

    :param policy: unmodified
    :return: None if it is anything but a plain perceptron, or not all of it trains
    """
    return _plain_head(policy, "policy_net", "action_net")


def _plain_head(policy: ActorCriticPolicy, hidden: str, head: str) -> PlainMlp | None:
    # Exact types throughout: a subclass or a parametrisation may compute something else.
    if type(policy.mlp_extractor) is not MlpExtractor:
        return None
    modules = list(getattr(policy.mlp_extractor, hidden))
    layers = [*modules[::2], getattr(policy, head)]
    activations = {type(module) for module in modules[1::2]}
    if len(activations) > 1 or not activations.issubset(_ACTIVATIONS):
        return None
    parameters: list[th.Tensor] = []
    for layer in layers:
        if type(layer) is not th.nn.Linear or layer.bias is None:
            return None
        parameters += [layer.weight, layer.bias]
    is_whole = all(p.requires_grad for p in parameters) and len(set(parameters)) == len(parameters)
    return (
        PlainMlp(parameters, activations.pop() if activations else th.nn.Tanh) if is_whole else None
    )
