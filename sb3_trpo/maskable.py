"""TRPO for environments in which some actions are invalid."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import torch as th
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer, MaskableRolloutBuffer
from sb3_contrib.common.maskable.distributions import (
    MaskableCategoricalDistribution,
    MaskableDistribution,
)
from sb3_contrib.common.maskable.policies import (
    MaskableActorCriticCnnPolicy,
    MaskableActorCriticPolicy,
    MaskableMultiInputActorCriticPolicy,
)
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv

from sb3_trpo.arguments import buffer_class_for
from sb3_trpo.batch import FIELDS, Batch, rollout_fields, whole_rollout
from sb3_trpo.call_arguments import check_given
from sb3_trpo.mlp import MlpPass, plain_actor
from sb3_trpo.mlp_actor import PlainActor
from sb3_trpo.observations import check_masks, n_rows
from sb3_trpo.optim.checks import check
from sb3_trpo.rollouts import Acted, FastRollout
from sb3_trpo.samplers import Sampler, categories_sampler, normalised_logits
from sb3_trpo.trpo import TRPO

SelfMaskableTRPO = TypeVar("SelfMaskableTRPO", bound="MaskableTRPO")

_BUFFERS = (MaskableDictRolloutBuffer, MaskableRolloutBuffer)
_MASKED_LOGIT = -1e8  # sb3_contrib's


@dataclass(frozen=True)
class MaskedBatch(Batch):
    """
    A batch with the actions that were allowed.

    :param action_masks: (N, choices) nonzero where allowed
    """

    action_masks: th.Tensor

    def rows(self, rows: slice | th.Tensor) -> "MaskedBatch":
        """
        Take some of the rows.

        :param rows: a slice (a view of this batch) or indices (a copy)
        :return: the smaller batch
        """
        fewer = cast(MaskedBatch, super().rows(rows))
        return replace(fewer, action_masks=self.action_masks[rows])


class MaskedRollout(FastRollout):
    """One rollout of masked actions."""

    @staticmethod
    def buffers() -> tuple[type[RolloutBuffer], ...]:
        """Return the classes of buffers that it knows how to fill."""
        return _BUFFERS

    @staticmethod
    def sampler_of(policy: ActorCriticPolicy) -> Sampler | None:
        """Return what draws a policy's actions from masked logits; None where that is unknown."""
        sizes = _sizes(policy.action_dist)
        is_vector = not isinstance(policy.action_dist, MaskableCategoricalDistribution)
        return None if sizes is None else categories_sampler(sizes, is_vector=is_vector)

    def collect(self, n_steps: int) -> bool:
        """
        Fill the buffer.

        :param n_steps: timesteps per environment
        :return: False if the callback ended the rollout early
        :raises ValueError: an observation is not finite
        """
        self._uses_masks = cast(MaskableTRPO, self._model)._use_masking
        self._locals.update({"use_masking": self._uses_masks, "action_masks": None})
        return super().collect(n_steps)

    def _act(self, observations: Any) -> Acted:
        outputs, latent = self._actor(observations)
        if not self._uses_masks:
            return Acted(self._sample(outputs, latent), latent)
        masks = get_action_masks(self._env)
        sizes = cast(list[int], _sizes(self._policy.action_dist))
        allowed = th.as_tensor(masks, dtype=th.bool, device=outputs.device).reshape(outputs.shape)
        # Normalised first, as sb3_contrib does: a draw must not hang on a rounding.
        logits = normalised_logits(outputs, sizes).masked_fill(~allowed, _MASKED_LOGIT)
        self._locals.update({"action_masks": masks})
        return Acted(self._sample(logits, latent), latent, masks)

    def _store(
        self, step: int, observations: Any, actions: np.ndarray, rewards: np.ndarray
    ) -> None:
        masks, buffer = self._acted[-1].masks, cast(MaskableRolloutBuffer, self._buffer)
        if masks is not None:
            buffer.action_masks[step] = masks.reshape(buffer.action_masks.shape[1:])
        super()._store(step, observations, actions, rewards)


class MaskableTRPO(TRPO):
    """
    TRPO for environments in which some actions are invalid.

    They say which with a method ``action_masks()`` (``sb3_contrib.common.wrappers.ActionMasker``
    adds one). A masked action has probability zero before and after an update: the KL and the
    Fisher matrix are those of the masked distributions. Action spaces: Discrete, MultiDiscrete,
    MultiBinary. Source of the masking: Huang & Ontañón 2020 (arXiv:2006.14171), as in
    ``sb3_contrib.MaskablePPO``.

    The arguments are those of :class:`sb3_trpo.TRPO`, less ``use_sde``, ``sde_sample_freq``,
    ``noise_correlation`` and ``clipped_actions``.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MaskableActorCriticPolicy,
        "CnnPolicy": MaskableActorCriticCnnPolicy,
        "MultiInputPolicy": MaskableMultiInputActorCriticPolicy,
    }
    _policy_base = MaskableActorCriticPolicy
    _action_spaces = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    _rollout_class = MaskedRollout

    def __init__(
        self,
        policy: str | type[MaskableActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        n_steps: int = 2048,
        batch_size: int = 128,
        gamma: float = 0.99,
        cg_max_steps: int = 15,
        cg_damping: float = 0.1,
        line_search_shrinking_factor: float = 0.8,
        line_search_max_iter: int = 10,
        n_critic_updates: int = 10,
        gae_lambda: float = 0.95,
        rollout_buffer_class: type[RolloutBuffer] | None = None,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        normalize_advantage: bool = True,  # noqa: FBT001, FBT002  # order and names are TRPO's
        target_kl: float | Schedule = 0.01,
        sub_sampling_factor: int = 1,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,  # noqa: FBT001, FBT002
        *,
        ent_coef: float = 0.0,
        max_grad_norm: float | None = 0.5,
        cg_relative_tolerance: float = 1e-5,
        match_kl: bool = True,
        actor_batch_size: int | None = None,
        center_td_errors: bool = False,
        average_last: float = 0.0,
        distributed: bool = False,
    ) -> None:
        self._use_masking = True
        super().__init__(
            cast(Any, policy),
            env,
            learning_rate=learning_rate,
            n_steps=n_steps,
            batch_size=batch_size,
            gamma=gamma,
            cg_max_steps=cg_max_steps,
            cg_damping=cg_damping,
            line_search_shrinking_factor=line_search_shrinking_factor,
            line_search_max_iter=line_search_max_iter,
            n_critic_updates=n_critic_updates,
            gae_lambda=gae_lambda,
            rollout_buffer_class=rollout_buffer_class,
            rollout_buffer_kwargs=rollout_buffer_kwargs,
            normalize_advantage=normalize_advantage,
            target_kl=target_kl,
            sub_sampling_factor=sub_sampling_factor,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
            ent_coef=ent_coef,
            max_grad_norm=max_grad_norm,
            cg_relative_tolerance=cg_relative_tolerance,
            match_kl=match_kl,
            actor_batch_size=actor_batch_size,
            center_td_errors=center_td_errors,
            average_last=average_last,
            distributed=distributed,
        )

    def _make_policy_and_buffer(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        )
        self.policy = cast(Any, policy.to(self.device))
        self.rollout_buffer_class = buffer_class_for(self, *_BUFFERS)
        self.rollout_buffer = self.rollout_buffer_class(
            self.n_steps,
            cast(Any, self.observation_space),
            self.action_space,
            self.device,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            n_envs=self.n_envs,
            **self.rollout_buffer_kwargs,
        )

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_use_masking"]

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
        use_masking: bool | None = None,  # noqa: FBT001  # sb3_contrib's signature
    ) -> bool:
        """
        Fill the buffer with the current policy's experience.

        :param env: the training environments
        :param callback: called at each step, and at the rollout's start and end
        :param rollout_buffer: to fill
        :param n_rollout_steps: timesteps per environment
        :param use_masking: ask the environments which actions are valid; None: as ``learn`` was
            told
        :return: False if the callback ended the rollout early
        :raises ValueError: an observation is not finite, or the environments know no masks
        """
        check_given(use_masking=use_masking)
        check("env", env, "a VecEnv", is_right=isinstance(env, VecEnv))
        if use_masking is not None:
            self._use_masking = use_masking
        if self._use_masking and not is_masking_supported(env):
            raise ValueError(
                "Environment does not support action masking. Consider using ActionMasker wrapper"
            )
        return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)

    def _collect_generally(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_steps: int
    ) -> bool:
        collect = MaskablePPO.collect_rollouts  # which asks no more of a model than there is here
        return collect(cast(Any, self), env, callback, rollout_buffer, n_steps, self._use_masking)

    def _batch(self, buffer: RolloutBuffer) -> MaskedBatch:
        names = (*FIELDS, "action_masks")
        fields = rollout_fields(buffer, self.device, names=names, bases=_BUFFERS)
        batch = whole_rollout(fields, self.action_space)
        return MaskedBatch(**vars(batch), action_masks=fields["action_masks"])

    def _distribution(self, batch: Batch) -> MaskableDistribution:
        masks = cast(MaskedBatch, batch).action_masks
        policy = cast(MaskableActorCriticPolicy, self.policy)
        return policy.get_distribution(batch.observations, cast(Any, masks))

    def _plain_actor(self) -> PlainActor | None:
        mlp = plain_actor(self.policy)
        head = partial(_masked_distribution, self.policy)
        return None if mlp is None else PlainActor(self.policy, mlp, head)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,  # noqa: FBT001, FBT002
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """
        Choose actions.

        :param observation: of one environment or of several
        :param state: unused
        :param episode_start: unused
        :param deterministic: the likeliest actions instead of drawn ones
        :param action_masks: True where an action is allowed; None: all are
        :return: the actions, and ``state``
        :raises ValueError: an argument is not what is allowed
        """
        check_given(deterministic=deterministic)
        policy = cast(MaskableActorCriticPolicy, self.policy)
        sizes = _sizes(policy.action_dist)
        if sizes is not None:
            n_envs = n_rows(observation, self.observation_space)
            check_masks(action_masks, n_envs=n_envs, n_choices=sum(sizes))
        try:
            return policy.predict(
                observation, state, episode_start, deterministic, action_masks=action_masks
            )
        except Exception as error:
            self._explain(error, observation)
            raise

    def learn(  # type: ignore[override]  # sb3_contrib's signature
        self: SelfMaskableTRPO,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "MaskableTRPO",
        reset_num_timesteps: bool = True,  # noqa: FBT001, FBT002
        use_masking: bool = True,  # noqa: FBT001, FBT002
        progress_bar: bool = False,  # noqa: FBT001, FBT002
    ) -> SelfMaskableTRPO:
        """
        Train, as :meth:`sb3_trpo.TRPO.learn` does.

        :param total_timesteps: of all environments together; rounded up to whole rollouts
        :param callback: called at every step
        :param log_interval: updates between two dumps of the log
        :param tb_log_name: name of the run in TensorBoard
        :param reset_num_timesteps: count from zero
        :param use_masking: ask the environments which actions are valid
        :param progress_bar: show one (needs tqdm and rich)
        :return: self
        :raises ValueError: the environments know no masks, or an argument is not what is allowed
        """
        if use_masking is None:  # which collect_rollouts takes
            raise ValueError("use_masking must be a bool, got None")
        check_given(use_masking=use_masking)
        self._use_masking = use_masking
        return super().learn(
            total_timesteps,
            callback=callback,
            log_interval=log_interval,
            tb_log_name=tb_log_name,
            reset_num_timesteps=reset_num_timesteps,
            progress_bar=progress_bar,
        )


def _sizes(distribution: Any) -> list[int] | None:
    """Return the numbers of choices of each action; None for a distribution of the user's own."""
    if not type(distribution).__module__.startswith("sb3_contrib."):
        return None
    if isinstance(distribution, MaskableCategoricalDistribution):
        return [distribution.action_dim]
    return list(distribution.action_dims)


def _masked_distribution(policy: Any, batch: Batch, forward: MlpPass) -> MaskableDistribution:
    distribution: MaskableDistribution = policy.action_dist.proba_distribution(
        action_logits=forward.outputs
    )
    distribution.apply_masking(cast(MaskedBatch, batch).action_masks)
    return distribution
