"""
Collecting a rollout with SB3's own policies: the actor alone at each step, the critic afterwards.

SB3 runs actor and critic, builds a distribution and computes log-probabilities at every step. The
critic's values are wanted only when the rollout is whole, so here they come in batches, and the
actor runs without gradients and distribution objects. Actions, log-probabilities, values, returns
and the state of the random generators are those of SB3's loop, to rounding.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy, BaseModel
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from sb3_trpo.callback_locals import RolloutLocals
from sb3_trpo.correlated_noise import CorrelatedNoise
from sb3_trpo.finite_observations import check_finite, check_terminal
from sb3_trpo.mlp import MlpPass, PlainMlp, flat_observations, plain_actor, plain_critic
from sb3_trpo.policies import is_unmodified
from sb3_trpo.samplers import Sampler, gaussian_sampler, sampler_of
from sb3_trpo.value_level import Continuations

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO

ROWS_PER_PASS = 256  # of the critic; images in such number need no memory worth mentioning

Actor = Callable[[Any], tuple[th.Tensor, th.Tensor]]
"""Maps observations (E, …) to the outputs of ``action_net`` (E, …) and its inputs (E, units)."""


def collects_fast(model: "TRPO", buffer: RolloutBuffer) -> bool:
    """
    Tell whether the model's :class:`FastRollout` may stand in for SB3's loop.

    :param model: about to collect
    :param buffer: to fill
    :return: False where a class of the user's may do something else than SB3's
    """
    rollout = model._rollout_class
    return (
        type(buffer) in rollout.buffers()
        and is_unmodified(model.policy)
        and rollout.sampler_of(model.policy) is not None
    )


@dataclass(frozen=True)
class Acted:
    """
    What the actor did in one timestep.

    :param actions: (E, …) as drawn
    :param latent: (E, units) inputs of ``action_net``
    :param masks: (E, choices) True where an action was allowed; None: all of them
    """

    actions: th.Tensor
    latent: th.Tensor
    masks: np.ndarray | None = None


class FastRollout:
    """
    One rollout.

    :param model: satisfies :func:`collects_fast`
    :param env: the training environments
    :param callback: called at each step, and at the rollout's start and end
    :param buffer: to fill
    """

    def __init__(
        self, model: "TRPO", env: VecEnv, callback: BaseCallback, buffer: RolloutBuffer
    ) -> None:
        self._model, self._env, self._callback, self._buffer = model, env, callback, buffer
        self._policy: ActorCriticPolicy = model.policy
        self._device = model.device
        self._actor = _actor_of(self._policy, self._device, env.num_envs)
        self._sample = cast(Sampler, self.sampler_of(self._policy))
        correlation = model._current("noise_correlation")
        if correlation > 0:
            self._sample = gaussian_sampler(self._policy, CorrelatedNoise(correlation))
        self._critic = plain_critic(self._policy)
        shared = callback.locals
        self._locals = shared if isinstance(shared, RolloutLocals) else RolloutLocals({})
        self._acted: list[Acted] = []
        self._thunks: dict[str, Callable[[], Any]] = {}
        self._action_shape = cast(tuple[int, ...], model.action_space.shape)
        space = model.action_space
        self._bounds = (space.low, space.high) if isinstance(space, spaces.Box) else None
        self._truncated: list[tuple[int, int, Any]] = []  # timestep, environment, observation

    @staticmethod
    def buffers() -> tuple[type[RolloutBuffer], ...]:
        """Return the classes of buffers that it knows how to fill."""
        return RolloutBuffer, DictRolloutBuffer

    @staticmethod
    def sampler_of(policy: ActorCriticPolicy) -> Sampler | None:
        """Return what draws a policy's actions; None where that is not known."""
        return sampler_of(policy)

    def collect(self, n_steps: int) -> bool:
        """
        Fill the buffer.

        :param n_steps: timesteps per environment
        :return: False if the callback ended the rollout early
        :raises ValueError: an observation is not finite
        """
        model, env = self._model, self._env
        self._policy.set_training_mode(False)
        self._buffer.reset()
        if model.use_sde:
            self._policy.reset_noise(env.num_envs)
        self._locals.update(
            {
                "self": model,
                "env": env,
                "callback": self._callback,
                "rollout_buffer": self._buffer,
                "n_rollout_steps": n_steps,
            }
        )
        self._callback.on_rollout_start()
        self._begin()
        for step in range(n_steps):
            if model.use_sde and model.sde_sample_freq > 0 and step % model.sde_sample_freq == 0:
                self._policy.reset_noise(env.num_envs)
            if not self._step(step):
                return False
        self._thunks.update(self._after(self._finish(n_steps)))
        self._locals.defer(**self._thunks)
        self._callback.update_locals(self._locals)
        self._callback.on_rollout_end()
        return True

    def _begin(self) -> None:
        """Take over what a callback may have set at the rollout's start."""

    def _after(self, last_values: th.Tensor) -> dict[str, Callable[[], Any]]:
        """Return which of the last step's costly variables are others at the rollout's end."""
        return {"values": lambda: last_values}

    def _step(self, step: int) -> bool:
        model = self._model
        observations: Any = model._last_obs
        acted = self._act(observations)
        actions: np.ndarray = acted.actions.cpu().numpy().reshape((-1, *self._action_shape))
        clipped = self._within_bounds(actions)
        new_observations: Any
        new_observations, rewards, dones, infos = self._env.step(clipped)
        model.num_timesteps += self._env.num_envs
        check_finite(new_observations, model.num_timesteps, self._env)
        if np.count_nonzero(dones):  # a third of the time of dones.any()
            check_terminal(dones, infos, model.num_timesteps)
            self._note_truncated(step, dones, infos)
        self._locals.update(
            {
                "n_steps": step,
                "actions": actions,
                "clipped_actions": clipped,
                "new_obs": new_observations,
                "rewards": rewards,
                "dones": dones,
                "infos": infos,
            }
        )
        self._thunks = self._deferred(observations, acted)
        self._locals.defer(**self._thunks)
        self._callback.update_locals(self._locals)
        if not self._callback.on_step():
            return False
        model._update_info_buffer(infos, dones)
        self._acted.append(acted)
        self._store(step, observations, actions, rewards)
        model._last_obs, model._last_episode_starts = new_observations, dones
        return True

    def _deferred(self, observations: Any, acted: Acted) -> dict[str, Callable[[], Any]]:
        """Return what computes this timestep's costly variables, should a callback read them."""
        return {
            "obs_tensor": lambda: obs_as_tensor(observations, self._device),
            "values": lambda: self._values(observations),
            "log_probs": lambda: self._log_prob([acted]),
        }

    def _act(self, observations: Any) -> Acted:
        outputs, latent = self._actor(observations)
        return Acted(self._sample(outputs, latent), latent)

    def _within_bounds(self, actions: np.ndarray) -> np.ndarray:
        if self._bounds is None:
            return actions
        if self._policy.squash_output:
            return self._policy.unscale_action(actions)
        low, high = self._bounds
        clipped: np.ndarray = np.maximum(actions, low)  # as np.clip, in a third of its time
        np.minimum(clipped, high, out=clipped)
        return clipped

    def _note_truncated(self, step: int, dones: np.ndarray, infos: list[dict[str, Any]]) -> None:
        for index in np.flatnonzero(dones):
            terminal = infos[index].get("terminal_observation")
            if terminal is not None and infos[index].get("TimeLimit.truncated", False):
                self._truncated.append((step, int(index), copy.deepcopy(terminal)))

    def _store(
        self, step: int, observations: Any, actions: np.ndarray, rewards: np.ndarray
    ) -> None:
        buffer, stored = self._buffer, cast(Any, self._buffer.observations)
        if isinstance(observations, dict):
            for key, array in stored.items():
                array[step] = observations[key].reshape(array.shape[1:])
        else:
            stored[step] = observations.reshape(stored.shape[1:])
        buffer.actions[step] = actions.reshape(buffer.actions.shape[1:])
        buffer.rewards[step] = rewards
        buffer.episode_starts[step] = self._model._last_episode_starts
        buffer.pos += 1
        buffer.full = buffer.pos == buffer.buffer_size

    @th.no_grad()
    def _finish(self, n_steps: int) -> th.Tensor:
        """Evaluate critic and log-probabilities of the rollout; return the values after it."""
        model, buffer = self._model, self._buffer
        shape = (n_steps, buffer.n_envs)
        buffer.values[:n_steps] = self._rollout_values(n_steps).cpu().numpy().reshape(shape)
        log_prob = self._log_prob(self._acted)
        buffer.log_probs[:n_steps] = log_prob.cpu().numpy().reshape(shape)
        if self._truncated:
            terminal = self._terminal_values().cpu().numpy()
            for (step, index, _), value in zip(self._truncated, terminal[:, 0], strict=True):
                buffer.rewards[step, index] += model.gamma * value
        last_values = self._last_values()
        dones = cast(np.ndarray, model._last_episode_starts)
        going_on = 1.0 - np.concatenate([buffer.episode_starts[1:], dones[None].astype(np.float32)])
        _estimate_advantages(buffer, last_values.cpu().numpy()[:, 0], going_on)
        bootstrapped = going_on.copy()
        for step, index, _ in self._truncated:
            bootstrapped[step, index] = 1
        model._continuations = Continuations(going_on, bootstrapped, buffer.advantages)
        return last_values

    def _rollout_values(self, n_steps: int) -> th.Tensor:
        """Values (T·E, 1) of all observations in the buffer."""
        stored = self._buffer.observations
        return self._values(map_arrays(stored, lambda x: x[:n_steps].reshape(-1, *x.shape[2:])))

    def _terminal_values(self) -> th.Tensor:
        """Values (n, 1) of the observations that time limits cut an episode at."""
        return self._values(self._terminal_observations())

    def _last_values(self) -> th.Tensor:
        """Values (E, 1) of the observations after the rollout."""
        return self._values(self._model._last_obs)

    @th.no_grad()
    def _log_prob(self, acted: Sequence[Acted]) -> th.Tensor:
        latent = th.cat([step.latent for step in acted])
        distribution: Any = self._policy._get_action_dist_from_latent(latent)
        if acted[0].masks is not None:
            distribution.apply_masking(np.concatenate([step.masks for step in acted]))
        log_prob: th.Tensor = distribution.log_prob(th.cat([step.actions for step in acted]))
        return log_prob

    @th.no_grad()
    def _values(self, observations: Any) -> th.Tensor:
        """Values (n, 1) of any number of observations, some at a time."""
        if self._critic is not None:
            tensor = map_arrays(observations, lambda x: th.as_tensor(x, device=self._device))
            return MlpPass(self._critic, flat_observations(self._policy)(tensor)).outputs
        is_dict = isinstance(observations, dict)
        n_rows = len(next(iter(observations.values())) if is_dict else observations)
        values = []
        for start in range(0, n_rows, ROWS_PER_PASS):

            def part(array: Any, start: int = start) -> th.Tensor:
                return th.as_tensor(array[start : start + ROWS_PER_PASS], device=self._device)

            values.append(self._policy.predict_values(map_arrays(observations, part)))
        return th.cat(values)

    def _terminal_observations(self) -> Any:
        tensors: list[Any]
        tensors = [self._policy.obs_to_tensor(terminal)[0] for *_, terminal in self._truncated]
        if isinstance(tensors[0], dict):
            return {key: th.cat([tensor[key] for tensor in tensors]) for key in tensors[0]}
        return th.cat(tensors)


def _estimate_advantages(
    buffer: RolloutBuffer, last_values: np.ndarray, going_on: np.ndarray
) -> None:
    """
    Do ``buffer.compute_returns_and_advantage``, bit for bit, in a third of its time.

    What does not depend on the next timestep is reckoned for all of them at once.
    """
    next_values = np.concatenate([buffer.values[1:], last_values[None]])
    errors = buffer.rewards + buffer.gamma * next_values * going_on - buffer.values
    decay = buffer.gamma * buffer.gae_lambda * going_on
    later = np.zeros_like(last_values)
    rows = zip(errors[::-1], decay[::-1], buffer.advantages[::-1], strict=True)
    for error, factor, advantage in rows:
        np.multiply(factor, later, out=advantage)
        advantage += error
        later = advantage
    buffer.returns = buffer.advantages + buffer.values


def map_arrays(observations: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to an array of observations, or to each in a dict."""
    if isinstance(observations, dict):
        return {key: function(value) for key, value in observations.items()}
    return function(observations)


def _is_large(mlp: PlainMlp, n_envs: int) -> bool:
    """Tell whether NumPy would multiply in several threads, which torch's setting cannot stop."""
    # OpenBLAS's limits for a matrix and a vector, and for two matrices.
    largest = max(weight.numel() for weight in mlp.parameters[::2])
    return largest >= 9216 or n_envs * largest >= 262_144


def _actor_of(policy: ActorCriticPolicy, device: th.device, n_envs: int) -> Actor:
    mlp = plain_actor(policy)
    # gSDE multiplies by matrices of its own, which makes more of a rounding than 1e-6.
    if (
        mlp is None
        or device.type != "cpu"
        or getattr(policy, "use_sde", False)
        or _is_large(mlp, n_envs)
    ):

        @th.no_grad()
        def general(observations: Any) -> tuple[th.Tensor, th.Tensor]:
            tensor = obs_as_tensor(observations, device)
            features = BaseModel.extract_features(policy, tensor, policy.pi_features_extractor)
            latent = policy.mlp_extractor.forward_actor(features)
            return policy.action_net(latent), latent

        return general

    # NumPy: for a row or a few, the time in torch goes into dispatching its operations.
    *hidden, (last_weight, last_bias) = [(w.t().numpy(), b.numpy()) for w, b in mlp.layers()]
    flatten, is_tanh = _flat_arrays(policy), mlp.activation is th.nn.Tanh

    def plain(observations: Any) -> tuple[th.Tensor, th.Tensor]:
        units = flatten(observations)
        for weight, bias in hidden:
            units = units @ weight
            units += bias
            np.tanh(units, out=units) if is_tanh else np.maximum(units, 0, out=units)
        outputs = units @ last_weight
        outputs += last_bias
        return th.from_numpy(outputs), th.from_numpy(units)

    return plain


def _flat_arrays(policy: ActorCriticPolicy) -> Callable[[Any], np.ndarray]:
    """Return :func:`flat_observations` from arrays to arrays."""
    flatten = flat_observations(policy)

    def flat(observations: np.ndarray) -> np.ndarray:
        if observations.dtype.kind == "f" and observations.ndim == 2:
            return observations.astype(np.float32, copy=False)  # all that is to be done to them
        array: np.ndarray = flatten(th.as_tensor(observations)).numpy()
        return array

    return flat
