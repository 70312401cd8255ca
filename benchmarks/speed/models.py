"""The contenders' models, on real and on made-up tasks."""

import inspect
import sys
from typing import Any, cast

import gymnasium as gym
import mujoco
import numpy as np
import sb3_contrib
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from benchmarks.learning.models import algorithm_class

OURS, CONTRIB, PPO, A2C = "trpo", "contrib_trpo", "ppo", "a2c"
MASKABLE, MASKABLE_PPO = "maskable_trpo", "maskable_ppo"
RECURRENT, RECURRENT_PPO = "recurrent_trpo", "recurrent_ppo"
TASK, MASKED_TASK = "HalfCheetah-v5", "InvalidActionDiscrete-v0"
_ROWS_PER_PASS = 256
_OF_THE_RUN = ("seed", "verbose", "stats_window_size", "tensorboard_log", "_init_setup_model")


def contrib_defaults() -> dict[str, Any]:
    """Return the numbers that sb3_contrib's TRPO works with unless told otherwise."""
    parameters = inspect.signature(sb3_contrib.TRPO).parameters
    return {
        name: parameter.default
        for name, parameter in parameters.items()
        if isinstance(parameter.default, int | float) and name not in _OF_THE_RUN
    }


def build(
    algorithm: str, env: VecEnv, seed: int, *, policy: str = "MlpPolicy", **settings: Any
) -> OnPolicyAlgorithm:
    """
    Make a model that can be trained without ``learn()``.

    :param algorithm: a key of ``benchmarks.learning.configurations.ALGORITHMS``
    :param env: to train in
    :param seed: of the model
    :param policy: its alias
    :param settings: where it departs from its own defaults (ours: from sb3_contrib's)
    :return: the model, on the CPU unless ``settings`` say otherwise
    """
    if algorithm == OURS:
        settings = {**contrib_defaults(), **settings}
    settings = {"device": "cpu", **settings}
    model = algorithm_class(algorithm)(policy, env, seed=seed, **settings)
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def real_env(n_envs: int, seed: int, *, task: str = TASK) -> VecEnv:
    """Make the task's environments as SB3 does: a DummyVecEnv of Monitors."""
    mujoco.set_mju_user_warning(_say_unless_known)
    return make_vec_env(task, n_envs, seed=seed)


def _say_unless_known(message: str) -> None:
    if "settotalmass" not in message:  # of gymnasium's own file, once per environment
        print(f"MuJoCo: {message}", file=sys.stderr)


class Blank(gym.Env[Any, Any]):
    """
    An environment that only has spaces.

    :param observation_space: of any kind
    :param action_space: of any kind
    """

    def __init__(
        self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
    ) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        """Return any observation."""
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ARG002
        """Return any observation."""
        return self.observation_space.sample(), 0.0, False, False, {}


def blank_env(
    observation_space: spaces.Space[Any], action_space: spaces.Space[Any], n_envs: int
) -> VecEnv:
    """Make environments that only have spaces."""
    return DummyVecEnv([lambda: Blank(observation_space, action_space)] * n_envs)


def vectors(n_observations: int, n_actions: int) -> tuple[spaces.Box, spaces.Box]:
    """Return the spaces of a MuJoCo task: numbers in, torques out."""
    return spaces.Box(-np.inf, np.inf, (n_observations,)), spaces.Box(-1.0, 1.0, (n_actions,))


def images() -> tuple[spaces.Box, spaces.Discrete]:
    """Return the spaces of an Atari game: four grey frames in, one of six buttons out."""
    return spaces.Box(0, 255, (4, 84, 84), np.uint8), spaces.Discrete(6)


@th.no_grad()
def fill_buffer(model: OnPolicyAlgorithm, seed: int) -> None:
    """
    Fill the rollout buffer with made-up observations and rewards, and the policy's own actions.

    :param model: whose buffer; its policy acts
    :param seed: of what is made up
    """
    buffer, rng = model.rollout_buffer, np.random.default_rng(seed)
    buffer.reset()
    n_samples = buffer.buffer_size * buffer.n_envs
    arrays = (buffer.observations, buffer.actions, buffer.values, buffer.log_probs)
    observations, actions, values, log_probs = (
        cast(np.ndarray, array).reshape(n_samples, *array.shape[2:]) for array in arrays
    )
    for start in range(0, n_samples, _ROWS_PER_PASS):
        rows = slice(start, start + _ROWS_PER_PASS)
        observations[rows] = _made_up(observations[rows], rng)
        drawn, value, log_prob = model.policy(obs_as_tensor(observations[rows], model.device))
        actions[rows] = drawn.cpu().numpy().reshape(actions[rows].shape)
        values[rows] = value.cpu().numpy()[:, 0]
        log_probs[rows] = log_prob.cpu().numpy()
    buffer.rewards[:] = rng.standard_normal(buffer.rewards.shape)
    buffer.pos, buffer.full = buffer.buffer_size, True
    buffer.compute_returns_and_advantage(
        last_values=th.zeros(buffer.n_envs), dones=np.zeros(buffer.n_envs)
    )


def _made_up(like: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if like.dtype == np.uint8:
        return rng.integers(0, 256, like.shape, dtype=np.uint8)
    return rng.standard_normal(like.shape, dtype=np.float32)


def collect(model: OnPolicyAlgorithm) -> None:
    """Fill the rollout buffer with the policy's experience."""
    n_samples = model.n_steps * model.n_envs
    _, callback = model._setup_learn(n_samples, None)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
