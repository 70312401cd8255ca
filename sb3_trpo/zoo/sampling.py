"""What Optuna tries when rl_zoo3 searches for TRPO's hyperparameters."""

import math
from typing import Any

import optuna
from torch import nn

_UNITS = {"small": [64, 64], "medium": [256, 256]}
_ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


def sample_parameters(
    trial: optuna.Trial, n_actions: int, n_envs: int, additional_args: dict[str, Any]
) -> dict[str, Any]:
    """
    Draw a setting.

    δ is joint, the mean KL of all action dimensions together, and so its range grows with their
    number.

    :param trial: draws
    :param n_actions: dimensions of the action; 1 for Discrete
    :param n_envs: environments that are stepped at a time
    :param additional_args: rl_zoo3's own, unused
    :return: arguments of the constructor
    """
    del additional_args
    scale = max(n_actions, 1)
    sampled: dict[str, Any] = {
        "target_kl": trial.suggest_float("target_kl", 0.002, 0.02 * scale, log=True),
        "cg_damping": trial.suggest_float("cg_damping", 0.003, 0.3, log=True),
        "n_critic_updates": trial.suggest_int("n_critic_updates", 5, 30),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 4e-3, log=True),
        "one_minus_gamma": trial.suggest_float("one_minus_gamma", 1e-4, 0.05, log=True),
        "one_minus_gae_lambda": trial.suggest_float("one_minus_gae_lambda", 0.005, 0.2, log=True),
        "n_steps_pow": trial.suggest_int("n_steps_pow", *_powers(n_envs)),
        "net_arch_actor": trial.suggest_categorical("net_arch_actor", list(_UNITS)),
        "net_arch_critic": trial.suggest_categorical("net_arch_critic", list(_UNITS)),
        "activation_fn": trial.suggest_categorical("activation_fn", list(_ACTIVATIONS)),
        "log_std_init": trial.suggest_float("log_std_init", -2, 0.5),
    }
    hyperparameters = converted(sampled)
    trial.set_user_attr("gamma", hyperparameters["gamma"])
    trial.set_user_attr("gae_lambda", hyperparameters["gae_lambda"])
    trial.set_user_attr("n_steps", hyperparameters["n_steps"])
    return hyperparameters


def _powers(n_envs: int) -> tuple[int, int]:
    """Least and greatest power of two for 512 to 8192 samples an update."""
    fewer = int(math.log2(n_envs))
    return max(9 - fewer, 1), max(13 - fewer, 1)


def converted(sampled_params: dict[str, Any]) -> dict[str, Any]:
    """
    Make arguments of the constructor out of what was drawn.

    :param sampled_params: by the names that the trial stores
    :return: the arguments
    """
    rest = dict(sampled_params)
    policy_kwargs = {
        "net_arch": {
            "pi": _UNITS[rest.pop("net_arch_actor")],
            "vf": _UNITS[rest.pop("net_arch_critic")],
        },
        "activation_fn": _ACTIVATIONS[rest.pop("activation_fn")],
        "log_std_init": rest.pop("log_std_init"),
    }
    return {
        "gamma": 1 - rest.pop("one_minus_gamma"),
        "gae_lambda": 1 - rest.pop("one_minus_gae_lambda"),
        "n_steps": 2 ** rest.pop("n_steps_pow"),
        "policy_kwargs": policy_kwargs,
        **rest,
    }
