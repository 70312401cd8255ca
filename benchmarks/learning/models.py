"""Models and environments as a configuration describes them."""

import copy
import importlib
import inspect
from typing import Any

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

import benchmarks.learning.tasks  # noqa: F401  # registers tasks
from benchmarks.learning.configuration import Configuration
from benchmarks.learning.schedules import resolve

# Imported by the runs that need them: the peers' must not fail while our source is being edited.
CLASSES = {
    "trpo": ("sb3_trpo", "TRPO"),
    "contrib_trpo": ("sb3_contrib", "TRPO"),
    "ppo": ("stable_baselines3", "PPO"),
    "a2c": ("stable_baselines3", "A2C"),
    "maskable_trpo": ("sb3_trpo", "MaskableTRPO"),
    "maskable_ppo": ("sb3_contrib", "MaskablePPO"),
    "recurrent_trpo": ("sb3_trpo", "RecurrentTRPO"),
    "recurrent_ppo": ("sb3_contrib", "RecurrentPPO"),
}


def algorithm_class(algorithm: str) -> type[OnPolicyAlgorithm]:
    """Return the class that a configuration names."""
    module, name = CLASSES[algorithm]
    found: type[OnPolicyAlgorithm] = getattr(importlib.import_module(module), name)
    return found


def build_model(configuration: Configuration, seed: int) -> OnPolicyAlgorithm:
    """
    Make a model on the CPU, with its training environments.

    :param configuration: what to make
    :param seed: of the model and of the environments
    :return: the model, not trained
    """
    env: VecEnv = make_vec_env(configuration.environment, configuration.n_envs, seed=seed)
    if configuration.normalize is not None:
        gamma = configuration.settings["gamma"]
        env = VecNormalize(env, **{"gamma": gamma, **configuration.normalize})
    return algorithm_class(configuration.algorithm)(
        configuration.policy, env, seed=seed, device="cpu", **resolve(configuration.settings)
    )


def evaluation_env(model: OnPolicyAlgorithm, environment: str, seed: int) -> VecEnv:
    """
    Make one fresh environment that shows the model what it saw in training, without learning.

    :param model: whose observation statistics are taken over as they are
    :param environment: id of the task
    :param seed: of the episodes
    :return: the environment, with raw rewards
    """
    env: VecEnv = make_vec_env(environment, n_envs=1, seed=seed)
    trained_on = model.get_vec_normalize_env()
    if trained_on is None:
        return env
    env = VecNormalize(
        env,
        training=False,
        norm_obs=trained_on.norm_obs,
        norm_reward=False,
        clip_obs=trained_on.clip_obs,
        epsilon=trained_on.epsilon,
    )
    if trained_on.norm_obs:
        env.obs_rms = copy.deepcopy(trained_on.obs_rms)
    return env


def constructor_defaults(configuration: Configuration) -> dict[str, Any]:
    """Return the plain defaults that a run had because its configuration does not name them."""
    parameters = inspect.signature(algorithm_class(configuration.algorithm)).parameters
    return {
        name: parameter.default
        for name, parameter in parameters.items()
        if isinstance(parameter.default, int | float | str | None)
        and name not in (*configuration.settings, "seed", "device", "verbose", "tensorboard_log")
        and not name.startswith("_")
    }
