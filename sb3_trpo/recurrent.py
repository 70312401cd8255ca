"""TRPO for policies with memory."""

from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import torch as th
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.buffers import RecurrentDictRolloutBuffer, RecurrentRolloutBuffer
from sb3_contrib.common.recurrent.policies import (
    RecurrentActorCriticCnnPolicy,
    RecurrentActorCriticPolicy,
    RecurrentMultiInputActorCriticPolicy,
)
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_trpo.arguments import buffer_class_for
from sb3_trpo.batch import Batch
from sb3_trpo.critic import Minibatch
from sb3_trpo.lstm import States
from sb3_trpo.lstm_actor import PlainRecurrentActor, recurrent_network
from sb3_trpo.mlp_actor import PlainActor
from sb3_trpo.observations import check_state, n_rows
from sb3_trpo.optim.precision import precise
from sb3_trpo.recurrent_rollouts import RecurrentRollout
from sb3_trpo.sequences import Rollout, SequenceBatch
from sb3_trpo.trpo import TRPO
from sb3_trpo.union import Union

SelfRecurrentTRPO = TypeVar("SelfRecurrentTRPO", bound="RecurrentTRPO")

_BUFFERS = (RecurrentDictRolloutBuffer, RecurrentRolloutBuffer)
_CRITIC_SEQUENCE = 32
"""Steps through which the critic's LSTM is differentiated; it starts from the stored states."""


class RecurrentTRPO(TRPO):
    """
    TRPO for policies with memory: an LSTM between features and heads.

    The actor's step runs over whole sequences, from the start of an episode or of the rollout (with
    the state stored there) to their end; padding weighs nothing. Policies are those of
    ``sb3_contrib.RecurrentPPO``, ``policy_kwargs`` too (``lstm_hidden_size``, ``shared_lstm``,
    ``enable_critic_lstm``).

    The arguments are those of :class:`sb3_trpo.TRPO`; ``actor_batch_size`` counts padded rows, and
    ``sub_sampling_factor`` keeps every k-th sequence.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpLstmPolicy": RecurrentActorCriticPolicy,
        "CnnLstmPolicy": RecurrentActorCriticCnnPolicy,
        "MultiInputLstmPolicy": RecurrentMultiInputActorCriticPolicy,
    }
    _policy_base = RecurrentActorCriticPolicy
    _rollout_class = RecurrentRollout

    def _make_policy_and_buffer(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        policy = self.policy_class(
            self.observation_space,
            self.action_space,
            self.lr_schedule,
            use_sde=self.use_sde,
            **self.policy_kwargs,
        )
        self.policy = cast(Any, policy.to(self.device))
        lstm = cast(RecurrentActorCriticPolicy, self.policy).lstm_actor
        self.rollout_buffer_class = buffer_class_for(self, *_BUFFERS)
        self.rollout_buffer = cast(Any, self.rollout_buffer_class)(
            self.n_steps,
            self.observation_space,
            self.action_space,
            (self.n_steps, lstm.num_layers, self.n_envs, lstm.hidden_size),
            self.device,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            n_envs=self.n_envs,
            **self.rollout_buffer_kwargs,
        )

        def zeros() -> States:
            shape = (lstm.num_layers, self.n_envs, lstm.hidden_size)
            return th.zeros(shape, device=self.device), th.zeros(shape, device=self.device)

        self._last_lstm_states = RNNStates(zeros(), zeros())

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_last_lstm_states"]

    def _collect_generally(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_steps: int
    ) -> bool:
        if getattr(self.policy, "squash_output", False):
            raise ValueError(
                "squash_output must be False for a recurrent policy that is modified, got True: "
                "sb3_contrib's loop would clip its actions where predict() rescales them"
            )
        collect = RecurrentPPO.collect_rollouts  # which asks no more of a model than there is here
        return collect(cast(Any, self), env, callback, rollout_buffer, n_steps)

    def _batch(self, buffer: RolloutBuffer) -> SequenceBatch:
        return self._rollout(buffer).cut()

    def _rollout(self, rollout_buffer: RolloutBuffer) -> Rollout:
        buffer = cast(Any, rollout_buffer)
        if buffer.generator_ready:
            raise ValueError("the rollout buffer must not have been sampled from before the update")

        def flat(array: Any) -> Any:
            if isinstance(array, dict):
                return {key: flat(value) for key, value in array.items()}
            return th.as_tensor(buffer.swap_and_flatten(array), device=self.device)

        def states(name: str) -> States:
            # (T, layers, E, units) to (layers, E·T, units)
            hidden, cell = (
                flat(getattr(buffer, f"{part}_states_{name}").swapaxes(1, 2)).transpose(0, 1)
                for part in ("hidden", "cell")
            )
            return hidden, cell

        is_discrete = isinstance(self.action_space, spaces.Discrete)
        actions = flat(buffer.actions)
        return Rollout(
            {
                "observations": flat(buffer.observations),
                "actions": actions.long().reshape(-1) if is_discrete else actions.float(),
                "advantages": precise(flat(buffer.advantages)).reshape(-1),
                "returns": flat(buffer.returns).reshape(-1),
            },
            states("pi"),
            states("vf"),
            buffer.swap_and_flatten(buffer.episode_starts).reshape(-1) > 0,
            buffer.buffer_size,
        )

    def _distribution(self, batch: Batch) -> Distribution:
        sequences = cast(SequenceBatch, batch)
        policy = cast(RecurrentActorCriticPolicy, self.policy)
        going_on = th.zeros(len(batch), device=self.device)  # the states know of episode starts
        observations = cast(th.Tensor, batch.observations)
        return policy.get_distribution(observations, sequences.actor_states, going_on)[0]

    def _plain_actor(self) -> PlainActor | None:
        network = recurrent_network(self.policy)
        if network is None:
            return None
        return PlainRecurrentActor(self.policy, network, self._distribution)

    def _values(self, batch: Batch) -> th.Tensor:
        sequences = cast(SequenceBatch, batch)
        policy = cast(RecurrentActorCriticPolicy, self.policy)
        going_on = th.zeros(len(batch), device=self.device)
        observations = cast(th.Tensor, batch.observations)
        return policy.predict_values(observations, sequences.critic_states, going_on).flatten()

    def _union(self, batch: Batch) -> Union:
        sizes = self._processes.exchange(len(cast(SequenceBatch, batch).starts))
        return Union.in_rank_order(sizes, self._processes.rank)

    def _epochs(self, batch: Batch) -> Iterator[Iterator[Minibatch[SequenceBatch]]]:
        has_memory = self.policy.lstm_critic is not None or self.policy.shared_lstm
        longest = min(_CRITIC_SEQUENCE, self.batch_size) if has_memory else 1
        cut = cast(SequenceBatch, batch).rollout.cut(longest)
        lengths = self._processes.exchange(cut.lengths)
        union = Union.in_rank_order([len(part) for part in lengths], self._processes.rank)
        shared, permutation = np.concatenate(lengths), self._permutation()
        for _ in range(self.n_critic_updates):
            yield cut.minibatches(self.batch_size, union, shared, permutation)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,  # noqa: FBT001, FBT002  # SB3's signature
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """
        Choose actions.

        :param observation: of one environment or of several
        :param state: as the last call returned it; None: zeros
        :param episode_start: whether the observations open an episode, which begins with zeros
        :param deterministic: the likeliest actions instead of drawn ones
        :return: the actions, and the next state
        :raises ValueError: an argument is not what is allowed
        """
        shape = cast(RecurrentActorCriticPolicy, self.policy).lstm_hidden_state_shape
        n_envs = n_rows(observation, self.observation_space)
        check_state(state, episode_start, n_envs=n_envs, shape=shape)
        return super().predict(observation, state, episode_start, deterministic)

    def learn(
        self: SelfRecurrentTRPO,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "RecurrentTRPO",
        reset_num_timesteps: bool = True,  # noqa: FBT001, FBT002  # SB3's signature
        progress_bar: bool = False,  # noqa: FBT001, FBT002
    ) -> SelfRecurrentTRPO:
        """
        Train, as :meth:`sb3_trpo.TRPO.learn` does.

        :param total_timesteps: of all environments together; rounded up to whole rollouts
        :param callback: called at every step
        :param log_interval: updates between two dumps of the log
        :param tb_log_name: name of the run in TensorBoard
        :param reset_num_timesteps: count from zero
        :param progress_bar: show one (needs tqdm and rich)
        :return: self
        """
        return super().learn(
            total_timesteps,
            callback=callback,
            log_interval=log_interval,
            tb_log_name=tb_log_name,
            reset_num_timesteps=reset_num_timesteps,
            progress_bar=progress_bar,
        )
