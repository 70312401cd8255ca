"""A recurrent policy's actor in closed form: an LSTM, then a perceptron."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch as th
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy

from sb3_trpo.batch import Batch
from sb3_trpo.lstm import LstmPass, PlainLstm, States, plain_lstm
from sb3_trpo.mlp import MlpPass, PlainMlp, has_flat_features, plain_head_of_actor
from sb3_trpo.mlp_actor import PlainActor
from sb3_trpo.sequences import SequenceBatch


@dataclass(frozen=True)
class RecurrentNetwork:
    """
    A perceptron on an LSTM's outputs.

    :param lstm: the LSTM
    :param mlp: the perceptron
    """

    lstm: PlainLstm
    mlp: PlainMlp

    @property
    def parameters(self) -> list[th.Tensor]:
        """Those of the LSTM, then those of the perceptron."""
        return [*self.lstm.parameters, *self.mlp.parameters]


def recurrent_network(policy: ActorCriticPolicy) -> RecurrentNetwork | None:
    """
    Return the network from flat observations to the input of the action distribution.

    :param policy: with memory
    :return: None if it is anything but a plain LSTM and a plain perceptron in a policy of
        sb3_contrib's, or not all of it trains
    """
    if not has_flat_features(policy, "pi_features_extractor"):
        return None
    lstm, mlp = plain_lstm(cast(Any, policy.lstm_actor)), plain_head_of_actor(policy)
    return None if lstm is None or mlp is None else RecurrentNetwork(lstm, mlp)


class RecurrentPass:
    """
    One forward pass over sequences, kept for products with its Jacobian.

    :param network: the network
    :param inputs: (S · L, features), one sequence after the other, constants
    :param states: that the sequences begin with, (1, S, units) each
    """

    def __init__(self, network: RecurrentNetwork, inputs: th.Tensor, states: States) -> None:
        self._n_sequences = states[0].shape[1]
        self._lstm = LstmPass(network.lstm, self._by_timestep(inputs), states)
        self._mlp = MlpPass(network.mlp, self._by_sequence(self._lstm.outputs))
        self.outputs, self.latent = self._mlp.outputs, self._mlp.latent
        self._n_of_lstm = len(network.lstm.parameters)

    def jvp(self, tangents: Sequence[th.Tensor]) -> th.Tensor:
        """
        Multiply from the right.

        :param tangents: shaped as the network's parameters, in their order
        :return: (S · L, outputs) J v
        """
        of_lstm, of_mlp = tangents[: self._n_of_lstm], tangents[self._n_of_lstm :]
        return self._mlp.jvp(of_mlp, self._by_sequence(self._lstm.jvp(of_lstm)))

    def vjp(self, cotangent: th.Tensor) -> list[th.Tensor]:
        """
        Multiply from the left.

        :param cotangent: (S · L, outputs)
        :return: Jᵀu, shaped as the network's parameters, in their order
        """
        of_mlp, of_units = self._mlp.vjp_to_inputs(cotangent)
        return [*self._lstm.vjp(self._by_timestep(of_units)), *of_mlp]

    def _by_timestep(self, rows: th.Tensor) -> th.Tensor:
        return rows.view(self._n_sequences, -1, rows.shape[1]).transpose(0, 1).contiguous()

    def _by_sequence(self, steps: th.Tensor) -> th.Tensor:
        return steps.transpose(0, 1).reshape(-1, steps.shape[2])


class PlainRecurrentActor(PlainActor):
    """
    A recurrent policy's actor where its network is plain.

    :param policy: of a class of sb3_contrib's, unmodified
    :param network: its actor
    :param evaluate: the distribution of some sequences by the policy's own modules
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        network: RecurrentNetwork,
        evaluate: Callable[[Batch], Distribution],
    ) -> None:
        super().__init__(policy, network.mlp)
        self._network, self._evaluate = network, evaluate

    @th.no_grad()
    def distribution(self, batch: Batch) -> Distribution:
        """
        Return the action distribution at the current parameters, without graph.

        :param batch: sequences
        :return: the policy's own object, as its ``get_distribution`` does
        """
        return self._evaluate(batch)  # torch's LSTM, which keeps nothing: a quarter of the time

    def _pass(self, batch: Batch) -> RecurrentPass:
        inputs = self._flatten(batch.observations)
        network = cast(RecurrentNetwork, self._network)
        return RecurrentPass(network, inputs, cast(SequenceBatch, batch).actor_states)
