"""
Collecting a rollout with sb3_contrib's recurrent policies: the actor alone at each step.

The critic's LSTM goes through the rollout when it is whole, with features and heads in batches, or
as far as a callback asks. Actions, log-probabilities, values, returns, stored states and the state
of the random generators are those of ``sb3_contrib.RecurrentPPO``'s loop, to rounding; squashed
actions are rescaled to the space's bounds, as ``predict`` does, where that loop clips them.
``_last_lstm_states`` of the model is brought up to date when the rollout is whole.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch as th
from sb3_contrib.common.recurrent.buffers import RecurrentDictRolloutBuffer, RecurrentRolloutBuffer
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from sb3_trpo.lstm import States, plain_lstm
from sb3_trpo.mlp import MlpPass, plain_head_of_actor
from sb3_trpo.rollouts import ROWS_PER_PASS, Acted, FastRollout, map_arrays

if TYPE_CHECKING:
    from sb3_trpo.recurrent import RecurrentTRPO

Step = Callable[[th.Tensor, States], tuple[th.Tensor, States]]
"""Maps features (E, n) and states to the LSTM's outputs (E, units) and its new states."""


class RecurrentRollout(FastRollout):
    """One rollout of a policy with memory; the arguments are those of :class:`FastRollout`."""

    def __init__(
        self, model: "RecurrentTRPO", env: VecEnv, callback: BaseCallback, buffer: RolloutBuffer
    ) -> None:
        super().__init__(model, env, callback, buffer)
        self._recurrent: Any = model.policy
        self._begin()
        self._n_valued = 0
        recurrent = self._recurrent
        self._step_actor = _step_of(recurrent.lstm_actor)
        self._step_critic = _step_of(recurrent.lstm_critic) if recurrent.lstm_critic else None
        self._plain_head = plain_head_of_actor(self._policy)
        self._actor_units: list[th.Tensor] = []
        self._critic_units: list[th.Tensor] = []

    def _begin(self) -> None:
        # Before the timestep to come, and before that of _n_valued.
        last = cast(tuple[States, States], cast(Any, self._model)._last_lstm_states)
        self._states, self._critic_states = last

    @staticmethod
    def buffers() -> tuple[type[RolloutBuffer], ...]:
        """Return the classes of buffers that it knows how to fill."""
        return RecurrentRolloutBuffer, RecurrentDictRolloutBuffer

    def collect(self, n_steps: int) -> bool:
        """
        Fill the buffer.

        :param n_steps: timesteps per environment
        :return: False if the callback ended the rollout early
        :raises ValueError: an observation is not finite
        """
        try:
            return super().collect(n_steps)
        finally:  # wherever it ended, the states go with the last observation
            try:
                self._remember(self._buffer.pos)
            finally:
                self._hand_over()

    def _hand_over(self) -> None:
        model = cast("RecurrentTRPO", self._model)
        model._last_lstm_states = RNNStates(self._states, self._critic_states)

    def _finish(self, n_steps: int) -> th.Tensor:
        last_values = super()._finish(n_steps)
        self._hand_over()  # before callbacks see the rollout's end
        return last_values

    def _after(self, last_values: th.Tensor) -> dict[str, Callable[[], Any]]:  # noqa: ARG002
        return {}  # sb3_contrib's loop shows those of the last step

    @th.no_grad()
    def _act(self, observations: Any) -> Acted:
        starts = cast(np.ndarray, self._model._last_episode_starts)
        features = self._features(observations, self._policy.pi_features_extractor)
        units, self._next_states = self._step_actor(features, _resumed(self._states, starts))
        self._next_units = units
        if self._plain_head is not None:
            head = MlpPass(self._plain_head, units)
            outputs, latent = head.outputs, head.latent
        else:
            latent = self._policy.mlp_extractor.forward_actor(units)
            outputs = self._policy.action_net(latent)
        return Acted(self._sample(outputs, latent), latent)

    def _store(
        self, step: int, observations: Any, actions: np.ndarray, rewards: np.ndarray
    ) -> None:
        self._keep(step, "pi", self._states)
        self._actor_units.append(self._next_units)
        self._states = self._next_states
        super()._store(step, observations, actions, rewards)

    def _keep(self, step: int, whose: str, states: States) -> None:
        for part, state in zip(("hidden", "cell"), states, strict=True):
            getattr(self._buffer, f"{part}_states_{whose}")[step] = state.cpu().numpy()

    def _deferred(self, observations: Any, acted: Acted) -> dict[str, Callable[[], Any]]:
        starts = cast(np.ndarray, self._model._last_episode_starts)
        step, of_actor = self._buffer.pos, (self._next_units, self._next_states)

        def valued() -> tuple[th.Tensor, States]:
            self._remember(step)
            if step < self._n_valued:  # read after the step was stored
                return self._values_of(self._critic_units[step]), self._critic_states_after(step)
            units, states = self._step_critic_on(observations, starts, of_actor)
            return self._values_of(units), states

        return {
            **super()._deferred(observations, acted),
            "episode_starts": lambda: th.as_tensor(starts, dtype=th.float32, device=self._device),
            "values": lambda: valued()[0],
            "lstm_states": lambda: RNNStates(of_actor[1], valued()[1]),
        }

    @th.no_grad()
    def _step_critic_on(
        self, observations: Any, starts: np.ndarray, of_actor: tuple[th.Tensor, States]
    ) -> tuple[th.Tensor, States]:
        """Return the inputs (E, units) of the critic's head for one timestep, and new states."""
        units, states = of_actor
        if self._recurrent.shared_lstm:
            return units, states
        features = self._features(observations, self._policy.vf_features_extractor)
        if self._step_critic is None:
            return self._recurrent.critic(features), states
        return self._step_critic(features, _resumed(self._critic_states, starts))

    def _critic_states_after(self, step: int) -> States:
        """Return the critic's states (layers, E, units) after a timestep that it went through."""
        if step + 1 == self._n_valued:
            return self._critic_states
        hidden, cell = (
            th.as_tensor(getattr(self._buffer, f"{part}_states_vf")[step + 1], device=self._device)
            for part in ("hidden", "cell")
        )
        return hidden, cell

    @th.no_grad()
    def _remember(self, n_steps: int) -> None:
        """Take the critic through the stored timesteps before ``n_steps``."""
        first, buffer = self._n_valued, cast(Any, self._buffer)
        if n_steps <= first:
            return
        if self._step_critic is None:
            self._remember_without_lstm(first, n_steps)
            return
        features = self._stored_features(first, n_steps).view(n_steps - first, buffer.n_envs, -1)
        for step, rows in enumerate(features.unbind(), start=first):
            self._keep(step, "vf", self._critic_states)
            states = _resumed(self._critic_states, buffer.episode_starts[step])
            units, states = self._step_critic(rows, states)
            self._critic_units.append(units)
            self._critic_states, self._n_valued = states, step + 1

    def _remember_without_lstm(self, first: int, n_steps: int) -> None:
        for part in ("hidden", "cell"):  # its states are the actor's
            stored = getattr(self._buffer, f"{part}_states_pi")
            getattr(self._buffer, f"{part}_states_vf")[first:n_steps] = stored[first:n_steps]
        if self._recurrent.shared_lstm:
            self._critic_units += self._actor_units[first:n_steps]
        else:
            units = self._recurrent.critic(self._stored_features(first, n_steps))
            self._critic_units += units.split(self._buffer.n_envs)
        self._critic_states, self._n_valued = self._states, n_steps

    def _stored_features(self, first: int, n_steps: int) -> th.Tensor:
        """Features ((n_steps − first) · E, …) of the critic for stored timesteps."""
        stored = map_arrays(
            self._buffer.observations, lambda x: x[first:n_steps].reshape(-1, *x.shape[2:])
        )
        return self._features(stored, self._policy.vf_features_extractor)

    def _features(self, observations: Any, extractor: th.nn.Module) -> th.Tensor:
        """Features (n, …) of any number of observations, some at a time."""
        is_dict = isinstance(observations, dict)
        n_rows = len(next(iter(observations.values())) if is_dict else observations)
        found = []
        for start in range(0, n_rows, ROWS_PER_PASS):

            def part(array: Any, start: int = start) -> Any:
                return array[start : start + ROWS_PER_PASS]

            tensor = obs_as_tensor(map_arrays(observations, part), self._device)
            found.append(BaseModel.extract_features(self._policy, tensor, cast(Any, extractor)))
        return th.cat(found)

    @th.no_grad()
    def _values_of(self, units: th.Tensor) -> th.Tensor:
        values: th.Tensor = self._policy.value_net(self._policy.mlp_extractor.forward_critic(units))
        return values

    def _rollout_values(self, n_steps: int) -> th.Tensor:
        self._remember(n_steps)
        return self._values_of(th.cat(self._critic_units))

    def _terminal_values(self) -> th.Tensor:
        observations = self._terminal_observations()
        after = [self._critic_states_after(step) for step, *_ in self._truncated]
        indices = [index for _, index, _ in self._truncated]
        hidden, cell = (
            th.stack([states[part][:, i] for states, i in zip(after, indices, strict=True)], dim=1)
            for part in (0, 1)
        )
        going_on = th.zeros(len(indices), device=self._device)
        values = []
        for start in range(0, len(indices), ROWS_PER_PASS):
            rows = slice(start, start + ROWS_PER_PASS)

            def some(array: th.Tensor, rows: slice = rows) -> th.Tensor:
                return array[rows]

            states = hidden[:, rows].contiguous(), cell[:, rows].contiguous()
            few = map_arrays(observations, some)
            values.append(self._recurrent.predict_values(few, states, going_on[rows]))
        return th.cat(values)

    def _last_values(self) -> th.Tensor:
        observations = obs_as_tensor(cast(Any, self._model._last_obs), self._device)
        starts = cast(np.ndarray, self._model._last_episode_starts)
        values: th.Tensor = self._recurrent.predict_values(
            observations,
            self._critic_states,
            th.as_tensor(starts, dtype=th.float32, device=self._device),
        )
        return values


def _resumed(states: States, starts: np.ndarray) -> States:
    """Return the states (layers, E, units), zeros where an episode starts."""
    if not np.count_nonzero(starts):
        return states
    going_on = th.from_numpy(1 - starts.astype(np.float32)).to(states[0])[None, :, None]
    return states[0] * going_on, states[1] * going_on


def _step_of(module: Any) -> Step:
    """Return an LSTM for single timesteps; one layer takes a fifth of the time of its module."""
    plain = plain_lstm(module)
    if plain is None:

        def whole(features: th.Tensor, states: States) -> tuple[th.Tensor, States]:
            outputs, states = module(features[None], states)
            return outputs[0], states

        return whole
    weights = [parameter.detach() for parameter in plain.parameters]

    def cell(features: th.Tensor, states: States) -> tuple[th.Tensor, States]:
        hidden, memory = th.lstm_cell(features, (states[0][0], states[1][0]), *weights)
        return hidden, (hidden[None], memory[None])

    return cell
