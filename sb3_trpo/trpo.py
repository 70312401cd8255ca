"""Trust Region Policy Optimization."""

import time
from collections.abc import Iterator
from functools import partial, reduce
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    ConvertCallback,
    ProgressBarCallback,
)
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv

from sb3_trpo.actor_step import actor_problem
from sb3_trpo.advice import warn_of_shared_extractor, warn_of_truncated_minibatches
from sb3_trpo.arguments import (
    ACTION_SPACES,
    check_arguments,
    check_learning_rate,
    check_optimizer,
    check_policy,
    refusals_of_sb3,
    scheduled,
)
from sb3_trpo.averaging import ParameterMean
from sb3_trpo.batch import Batch, minibatches, normalised_advantages, rollout_fields, whole_rollout
from sb3_trpo.call_arguments import (
    check_device,
    check_env,
    check_given,
    check_rollout,
)
from sb3_trpo.callback_locals import SharedLocals
from sb3_trpo.correlated_noise import check_noise, correlated_samples
from sb3_trpo.critic import Minibatch
from sb3_trpo.critic_step import critic_step
from sb3_trpo.distributed import processes
from sb3_trpo.distributions import unvalidated
from sb3_trpo.finite_observations import check_finite, finite_observations
from sb3_trpo.joint_learning import (
    Crew,
    JointLearning,
    check_same_parameters,
    seed_apart,
    share_buffers,
    start_alike,
)
from sb3_trpo.mlp import plain_actor
from sb3_trpo.mlp_actor import PlainActor
from sb3_trpo.optim import (
    JacobianForm,
    TrustRegionResult,
    backtracking_search,
    kl_matching_search,
    trust_region_step,
)
from sb3_trpo.out_of_memory import in_chunks_that_fit
from sb3_trpo.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, with_separate_extractors
from sb3_trpo.rank_callbacks import JointProgressBar, RankCallbacks, called_here
from sb3_trpo.records import actor_figures, critic_figures
from sb3_trpo.resumable import ResumableAlgorithm
from sb3_trpo.rollout_summary import RolloutSummary, summary_of
from sb3_trpo.rollouts import FastRollout, collects_fast
from sb3_trpo.skips import SkipCounter
from sb3_trpo.snapshot import Snapshot
from sb3_trpo.union import Deal, Permutation, Union, deal
from sb3_trpo.value_level import Continuations, centred, shift_values, value_shift

SelfTRPO = TypeVar("SelfTRPO", bound="TRPO")


class TRPO(ResumableAlgorithm):
    """
    Trust Region Policy Optimization (TRPO).

    Each update maximises the surrogate objective E[A · π(a|s) / π_old(a|s)] subject to a bound on
    the mean KL(π_old ‖ π) of the joint action distribution, by a natural-gradient step and a line
    search on the measured KL; then it fits the value function.
    Source: Schulman et al. 2015 (arXiv:1502.05477); advantages by GAE (arXiv:1506.02438).

    :param policy: the policy to use (``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or a
        class)
    :param env: the environment to learn from (its id, if registered)
    :param learning_rate: of the value function alone (the actor's step has no learning rate): a
        number or a schedule of the remaining progress, from 1 to 0
    :param n_steps: timesteps per environment and update
    :param batch_size: samples in a minibatch of the value function's fit
    :param gamma: discount factor
    :param cg_max_steps: most conjugate gradient iterations per update
    :param cg_damping: λ in (F + λI) x = g, with F the Fisher matrix of the joint distribution
    :param line_search_shrinking_factor: how much shorter the next trial is
    :param line_search_max_iter: most trials per update
    :param n_critic_updates: epochs of the value function's fit per update; 0 for none
    :param gae_lambda: trade-off of bias and variance in GAE
    :param use_sde: generalised state-dependent exploration (gSDE) instead of action noise
    :param sde_sample_freq: steps between new noise matrices of gSDE; -1: one per rollout
    :param rollout_buffer_class: None: chosen by the observation space
    :param rollout_buffer_kwargs: further arguments of the buffer
    :param normalize_advantage: to mean 0 and standard deviation 1, per update
    :param target_kl: δ, the bound on the mean KL(π_old ‖ π) per update, in nats, summed over action
        dimensions: a number or a schedule of the remaining progress
    :param sub_sampling_factor: every k-th sample enters the Fisher-vector products; gradient,
        scale, KL and acceptance use all
    :param stats_window_size: episodes in the logged means
    :param tensorboard_log: folder of the TensorBoard log; None for none
    :param policy_kwargs: further arguments of the policy
    :param verbose: 0: nothing, 1: info, 2: debug
    :param seed: of all pseudo-random generators
    :param device: where the networks live; ``"auto"``: a GPU if there is one
    :param _init_setup_model: whether to build the networks now
    :param ent_coef: weight of an entropy bonus in the surrogate
    :param max_grad_norm: clips the value function's gradient; None or 0: no clipping
    :param cg_relative_tolerance: conjugate gradient stops at this ‖b − A x‖ / ‖b‖
    :param match_kl: search for the step whose measured KL is close to δ, longer ones included;
        False: backtracking from the full step, as in the paper
    :param actor_batch_size: samples per pass of the actor's step, which bounds its memory; None:
        all at once
    :param center_td_errors: before each update, shift all values by the constant that their TD
        errors have in common, which a critic learns only slowly where γ is near 1. It
        can keep an agent from finding a goal (measured on Acrobot). Nothing is shifted where a
        policy or rollout buffer class of one's own makes SB3's loop collect
    :param clipped_actions: take the probabilities of actions as the environment gets them, after
        SB3 has clipped them to the Box, instead of those of the samples: a gradient with the same
        mean and no higher variance. Of SB3's diagonal Gaussian alone; with gSDE and other
        distributions nothing changes
    :param noise_correlation: correlation, in [0, 1), of the noise of an environment's successive
        actions: exploration that moves slow bodies, while each action by itself is distributed as
        the policy says: a number or a schedule of the remaining progress. SB3's diagonal Gaussian
        alone has it. 0: independent noise
    :param average_last: share of a training, at its end, over whose updates the policy's parameters
        are averaged. The last update of :meth:`learn` then ends with their mean, unless a callback
        stops it before: with several calls that go on from each other, each of them. 0: no mean
    :param distributed: learn together with the other processes of the initialised
        ``torch.distributed`` group: each collects with environments of its own, and all make one
        update of the union of their rollouts. ``batch_size``, ``num_timesteps`` and
        ``total_timesteps`` count the samples of all; the first alone logs, evaluates and saves.
        Not saved with the model
    :raises ValueError: an argument is out of range
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    # What the variants replace, beside the methods from _batch() to _plain_actor().
    _policy_base: ClassVar[type[BasePolicy]] = ActorCriticPolicy
    _action_spaces: ClassVar[tuple[type[spaces.Space[Any]], ...]] = ACTION_SPACES
    _rollout_class: ClassVar[type[FastRollout]] = FastRollout

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
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
        use_sde: bool = False,  # noqa: FBT001, FBT002  # order and names are sb3_contrib's
        sde_sample_freq: int = -1,
        rollout_buffer_class: type[RolloutBuffer] | None = None,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        normalize_advantage: bool = True,  # noqa: FBT001, FBT002
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
        clipped_actions: bool = False,
        noise_correlation: float | Schedule = 0.0,
        average_last: float = 0.0,
        distributed: bool = False,
    ) -> None:
        policy_class = check_policy(policy, self.policy_aliases, self._policy_base)
        if env is not None or _init_setup_model:
            check_env(env, may_be_id=True)
        check_device(device)
        check_given(verbose=verbose, use_sde=use_sde, stats_window_size=stats_window_size)
        check_given(_init_setup_model=_init_setup_model)
        with refusals_of_sb3(env):
            super().__init__(
                policy,
                env,
                learning_rate=learning_rate,
                n_steps=n_steps,
                gamma=gamma,
                gae_lambda=gae_lambda,
                ent_coef=ent_coef,
                vf_coef=0.0,  # the value function is fitted on its own
                max_grad_norm=max_grad_norm,  # type: ignore[arg-type]  # SB3 only stores it
                use_sde=use_sde,
                sde_sample_freq=sde_sample_freq,
                rollout_buffer_class=rollout_buffer_class,
                rollout_buffer_kwargs=rollout_buffer_kwargs,
                stats_window_size=stats_window_size,
                tensorboard_log=tensorboard_log,
                policy_kwargs=with_separate_extractors(policy_class, policy_kwargs),
                verbose=verbose,
                seed=seed,
                device=device,
                _init_setup_model=False,
            )
        self.batch_size = batch_size
        self.cg_max_steps = cg_max_steps
        self.cg_damping = cg_damping
        self.line_search_shrinking_factor = line_search_shrinking_factor
        self.line_search_max_iter = line_search_max_iter
        self.n_critic_updates = n_critic_updates
        self.normalize_advantage = normalize_advantage
        self.target_kl = target_kl
        self.sub_sampling_factor = sub_sampling_factor
        self.cg_relative_tolerance = cg_relative_tolerance
        self.match_kl = match_kl
        self.actor_batch_size = actor_batch_size
        self.center_td_errors = center_td_errors
        self.clipped_actions = clipped_actions
        self.noise_correlation = noise_correlation
        self.average_last = average_last
        self.distributed = distributed
        self._n_skipped_updates = 0
        check_arguments(self)
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        check_arguments(self)  # load() sets attributes without the constructor
        self._processes = processes(distributed=self.distributed)
        self._crew = Crew.of(self)
        self._common_seed: int | None = None
        warn_of_truncated_minibatches(self)
        self._joint: JointLearning | None = None
        self._continuations: Continuations | None = None
        self._make_policy_and_buffer()
        self._statistics = start_alike(self)
        check_optimizer(type(self.policy.optimizer))
        check_noise(self.policy, self.noise_correlation)
        self._jacobian_form: JacobianForm | None = None
        self._skips = SkipCounter()
        self._parameter_mean = ParameterMean()
        warn_of_shared_extractor(self.policy)

    def _make_policy_and_buffer(self) -> None:
        super()._setup_model()

    def _excluded_save_params(self) -> list[str]:
        derived = ["_jacobian_form", "_skips", "_common_seed", "_continuations", "_parameter_mean"]
        of_the_group = ["distributed", "_processes", "_crew", "_joint", "_statistics"]
        return [*super()._excluded_save_params(), *derived, *of_the_group]

    def set_random_seed(self, seed: int | None = None) -> None:
        """
        Seed all pseudo-random generators; those of several processes apart.

        :param seed: common to all processes; None: leave the generators
        :raises ValueError: it is out of range
        """
        check_given(seed=seed)
        if self._processes.size == 1 or seed is None:
            super().set_random_seed(seed)
        else:
            self._common_seed = seed
            seed_apart(self, seed, super().set_random_seed)

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        # Whole rollouts overshoot total_timesteps; schedules are not made for negative progress.
        self._current_progress_remaining = max(self._current_progress_remaining, 0.0)

    def _init_callback(
        self,
        callback: MaybeCallback,
        progress_bar: bool = False,  # noqa: FBT001, FBT002
    ) -> BaseCallback:
        if isinstance(callback, list):
            callback = CallbackList(callback)
        if not isinstance(callback, BaseCallback):
            callback = ConvertCallback(callback)
        bar = ProgressBarCallback if self._joint is None else JointProgressBar
        callbacks = [callback, bar()] if progress_bar else [callback]
        if self._joint is None:
            return super()._init_callback(SharedLocals(callbacks))
        here = called_here(callbacks, self._processes.rank)
        return super()._init_callback(RankCallbacks(here, self._crew.n_other_envs))

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,  # noqa: FBT001, FBT002  # SB3's signature
        tb_log_name: str = "run",
        progress_bar: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[int, BaseCallback]:
        # Before the reset, which VecNormalize counts already.
        if self._processes.size > 1 and self.env is not None:
            self._joint = JointLearning(self, self.env, total_timesteps)
        self._parameter_mean = ParameterMean()
        return super()._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """
        Fill the buffer with the current policy's experience.

        :param env: the training environments
        :param callback: called at each step, and at the rollout's start and end
        :param rollout_buffer: to fill
        :param n_rollout_steps: timesteps per environment
        :return: False if the callback ended the rollout early
        :raises ValueError: an observation is not finite, or an argument not what is allowed
        """
        check_rollout(env, callback, rollout_buffer, n_rollout_steps)
        self._at_boundary(callback)
        started = time.perf_counter()
        collect = partial(self._collect, env, callback, rollout_buffer, n_rollout_steps)
        go_on = collect() if self._joint is None else self._joint.collect(collect, callback)
        self.logger.record("time/rollout_s", time.perf_counter() - started)
        return go_on

    def _collect(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_steps: int
    ) -> bool:
        check_finite(self._last_obs, self.num_timesteps, env)
        correlation = self._current("noise_correlation")
        if correlation > 0:
            self.logger.record("rollout/noise_correlation", correlation)
        if collects_fast(self, rollout_buffer):
            return self._rollout_class(self, env, callback, rollout_buffer).collect(n_steps)
        noise = correlated_samples(self.policy, correlation, env.num_envs)
        with finite_observations(env, self.num_timesteps), noise:
            return self._collect_generally(env, callback, rollout_buffer, n_steps)

    def _collect_generally(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_steps: int
    ) -> bool:
        return super().collect_rollouts(env, callback, rollout_buffer, n_steps)

    def train(self) -> None:
        """Update policy and value function from the current rollout: wholly, or not at all."""
        before, n_updates = Snapshot(self.policy), self._n_updates
        try:
            skip_reason = self._update(before)
            if skip_reason:
                before.restore()
        except BaseException:
            before.restore()
            self._n_updates = n_updates
            raise
        self._n_skipped_updates += bool(skip_reason)
        self.logger.record("train/update_skipped", self._n_skipped_updates)
        if skip_reason:
            self.logger.record("train/skip_reason", skip_reason)
        self._skips.count(skip_reason)
        self._average()

    def _average(self) -> None:
        """Count the parameters in their mean, and end the training with it."""
        if not self.average_last:
            return
        parameters = [p for p in self.policy.parameters() if p.requires_grad]
        # SB3's 1 − 9/10 is a little less than 0.1.
        if self._current_progress_remaining < self.average_last - 1e-9:
            self._parameter_mean.include(parameters)
        if self._current_progress_remaining <= 0:
            self._parameter_mean.put_into(parameters)

    def _update(self, before: Snapshot) -> str:
        """Do one update; return why it must be undone, or an empty string."""
        self._update_learning_rate(self.policy.optimizer)
        check_learning_rate(self.policy.optimizer)
        centers = self.center_td_errors and self.n_critic_updates > 0
        shift = value_shift(self) if centers else 0.0
        buffer = centred(self, shift)
        batch = self._batch(buffer)
        summaries = self._processes.exchange(summary_of(buffer, batch))
        rollouts: RolloutSummary = reduce(RolloutSummary.merged, summaries)
        if rollouts.fault:
            return rollouts.fault
        if self.normalize_advantage:
            batch = normalised_advantages(batch, rollouts.advantages)

        started = time.perf_counter()
        actor = self._policy_step(batch, before)
        before.restore_buffers()
        if actor.outcome == "skipped":
            return actor.reason
        actor_done = time.perf_counter()
        shift_values(self, shift)
        critic = critic_step(self, batch, actor.parameters, before)
        if not critic.is_finite:
            return "non-finite value loss"
        share_buffers(self.policy, self._processes)
        check_same_parameters(self.policy, self._processes)
        self._n_updates += 1
        figures = {
            **actor_figures(actor, self.policy),
            **critic_figures(critic, rollouts.explained_variance),
            "time/policy_step_s": actor_done - started,
            "time/critic_step_s": time.perf_counter() - actor_done,
        }
        if centers:
            figures["train/value_shift"] = shift
        if self.actor_batch_size is not None:
            figures["train/actor_batch_size"] = self.actor_batch_size
        for key, value in figures.items():
            self.logger.record(key, value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        return ""

    def _batch(self, buffer: RolloutBuffer) -> Batch:
        """Return a rollout as a batch; the methods below are asked about parts of it."""
        return whole_rollout(rollout_fields(buffer, self.device), self.action_space)

    def _distribution(self, batch: Batch) -> Distribution:
        """Return the action distribution of some samples at the current parameters."""
        return self.policy.get_distribution(batch.observations)

    def _values(self, batch: Batch) -> th.Tensor:
        """Return the values (N,) of some samples at the current parameters."""
        return self.policy.predict_values(batch.observations).flatten()

    def _union(self, batch: Batch) -> Union:
        """Return where the batch's samples lie among those of all processes."""
        group = self._processes
        if group.size == 1:
            return Union.in_rank_order([len(batch)], 0)
        return Union.in_time_order(self._crew.shapes, group.rank)

    def _permutation(self) -> Permutation:
        """Return what shuffles the samples: NumPy, as in SB3; the same on all processes."""
        if self._common_seed is None:
            return np.random.permutation
        return np.random.RandomState([self._common_seed, self._n_updates]).permutation

    def _deals(self, batch: Batch) -> Iterator[Deal]:
        """Shuffle and cut the samples, anew for each epoch of the value function's fit."""
        union, permutation = self._union(batch), self._permutation()
        return (deal(union, self.batch_size, permutation) for _ in range(self.n_critic_updates))

    def _epochs(self, batch: Batch) -> Iterator[Iterator[Minibatch[Any]]]:
        """Return the minibatches of each epoch of the value function's fit."""
        return (minibatches(batch, cards) for cards in self._deals(batch))

    def _plain_actor(self) -> PlainActor | None:
        """Return what computes the actor in closed form, if something does."""
        mlp = plain_actor(self.policy)
        return None if mlp is None else PlainActor(self.policy, mlp)

    def _policy_step(self, batch: Batch, before: Snapshot) -> TrustRegionResult:
        target_kl = self._current("target_kl")

        def step(actor_batch_size: int | None) -> TrustRegionResult:
            self.actor_batch_size = actor_batch_size
            before.restore_buffers()  # a step that ran out of memory may have counted passes
            return self._trust_region_step(batch, target_kl)

        if self._processes.size > 1:  # all of them would have to start again
            return step(self.actor_batch_size)
        given = self.actor_batch_size
        try:
            return in_chunks_that_fit(step, given, n_samples=len(batch))
        except BaseException:
            self.actor_batch_size = given
            raise

    def _trust_region_step(self, batch: Batch, target_kl: float) -> TrustRegionResult:
        # In eval mode, so that equal parameters mean equal policies under dropout and batch norm.
        self.policy.set_training_mode(False)
        with unvalidated():
            problem, self._jacobian_form = actor_problem(self, batch, self._jacobian_form)
            return trust_region_step(
                problem,
                target_kl=target_kl,
                damping=self.cg_damping,
                cg_max_iterations=self.cg_max_steps,
                cg_relative_tolerance=self.cg_relative_tolerance,
                jacobian_form=self._jacobian_form or "reverse",
                line_search=partial(
                    kl_matching_search if self.match_kl else backtracking_search,
                    shrinking_factor=self.line_search_shrinking_factor,
                    max_iterations=self.line_search_max_iter,
                ),
            )

    def _current(self, name: str) -> float:
        """Return what a hyperparameter that may be a schedule is now."""
        return scheduled(name, getattr(self, name), self._current_progress_remaining)

    def learn(
        self: SelfTRPO,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "TRPO",
        reset_num_timesteps: bool = True,  # noqa: FBT001, FBT002  # SB3's signature
        progress_bar: bool = False,  # noqa: FBT001, FBT002
    ) -> SelfTRPO:
        """
        Train, as all SB3 algorithms do.

        :param total_timesteps: of all environments together; rounded up to whole rollouts
        :param callback: called at every step
        :param log_interval: updates between two dumps of the log
        :param tb_log_name: name of the run in TensorBoard
        :param reset_num_timesteps: count from zero; False continues, but the progress that
            schedules see still jumps, since it refers to the new total (not after
            ``sb3_trpo.checkpoint.resume``, where ``learn_rest`` knows the old one)
        :param progress_bar: show one (needs tqdm and rich)
        :return: self
        :raises ValueError: an argument is not what is allowed
        """
        check_arguments(self)  # they may have been changed since the model was built
        check_noise(self.policy, self.noise_correlation)
        return super().learn(
            total_timesteps=total_timesteps,
            callback=callback,
            log_interval=log_interval,
            tb_log_name=tb_log_name,
            reset_num_timesteps=reset_num_timesteps,
            progress_bar=progress_bar,
        )
