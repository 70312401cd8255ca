"""
The constructor's defaults, one of them changed at a time: why they are what they are.

One environment, as ``TRPO("MlpPolicy", "Hopper-v5")`` makes it; on MuJoCo ``VecNormalize``, and
half the steps of the tables.
"""

from typing import Any

from benchmarks.learning.configuration import Configuration
from benchmarks.learning.suites import ABLATION_TASKS, OURS, SUITES

DEFAULTS_STEPS = {**dict.fromkeys(ABLATION_TASKS, 500_000), **SUITES["classic"]}
DEFAULTS_TASKS = tuple(DEFAULTS_STEPS)
# Named, so that what was tried remains the same when a default follows from it.
STARTING_POINT: dict[str, Any] = {
    "n_steps": 2048,
    "gamma": 0.99,
    "target_kl": 0.01,
    "gae_lambda": 0.95,
    "n_critic_updates": 10,
    "clipped_actions": False,
}
CHANGES: dict[str, dict[str, Any]] = {
    "starting_point": {},
    "delta_02": {"target_kl": 0.02},
    "delta_04": {"target_kl": 0.04},
    "n_steps_1024": {"n_steps": 1024},
    "gae_lambda_90": {"gae_lambda": 0.9},
    "critic_20": {"n_critic_updates": 20},
    "clipped": {"clipped_actions": True},
}
CHANGES_IN_WORDS = {
    name: ", ".join(
        f"`{argument}={value}`" for argument, value in (found or STARTING_POINT).items()
    )
    for name, found in CHANGES.items()
}


def configurations(task: str) -> dict[str, Configuration]:
    """
    Return the defaults and each change of them.

    :param task: one of ``DEFAULTS_TASKS``
    :return: by the names of ``CHANGES``
    """
    normalize: dict[str, Any] | None = {} if task in ABLATION_TASKS else None
    bare = Configuration(OURS, task, DEFAULTS_STEPS[task], normalize=normalize)
    return {name: bare.changed({**STARTING_POINT, **found}) for name, found in CHANGES.items()}
