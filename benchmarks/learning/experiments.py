"""
Further runs of ours beside the table.

On seeds that no choice was made on, with settings of their own for single tasks, as long as PPO
takes, with one part changed at a time, and with the constructor's defaults. Their files lie apart
from the table's, one folder per experiment, and are reported beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.learning import changed_defaults
from benchmarks.learning.changed_defaults import DEFAULTS_TASKS
from benchmarks.learning.configuration import Configuration
from benchmarks.learning.configurations import configuration, trpo_mujoco
from benchmarks.learning.schedules import linear
from benchmarks.learning.selection import Job, job
from benchmarks.learning.suites import ABLATION_TASKS, ACTION_DIMENSIONS, OURS, SUITES

FRESH, OWN, EQUAL_TIME = "fresh_seeds", "own_settings", "equal_time"
OWN_FRESH = "own_settings_fresh_seeds"
ABLATION, DEFAULTS = "ablation", "defaults"
SEEDS = {
    FRESH: (5, 6, 7, 8, 9),
    OWN: (0, 1, 2, 3, 4),
    OWN_FRESH: (5, 6, 7, 8, 9),
    EQUAL_TIME: (0, 1, 2),
    ABLATION: (0, 1, 2),
    DEFAULTS: (100, 101, 102),
}
NAMES = tuple(SEEDS)

# --- a setting of its own, where one for all tasks costs much --------------------------------

OWN_SETTINGS: dict[str, dict[str, Any]] = {
    "Hopper-v5": {
        "gamma": 0.995,
        "policy_kwargs": {**trpo_mujoco("Hopper-v5")["policy_kwargs"], "log_std_init": -0.5},
    },
    "Swimmer-v5": {"noise_correlation": linear(0.8)},
}
"""What is changed in our setting, by task; found on tuning seeds."""
OWN_IN_ZOO = ("Hopper-v5",)
"""Whose own setting is in our file for rl_zoo3, which has no word for Swimmer's schedule."""
OWN_IN_WORDS = {
    "Hopper-v5": "γ 0.995, a first standard deviation of 0.61 (`log_std_init=-0.5`)",
    "Swimmer-v5": "`noise_correlation` falling from 0.8 to 0",
}

# --- as many steps as fit into PPO's time for 1 M ----------------------------------------------

EQUAL_TIME_STEPS = {
    "HalfCheetah-v5": 7_510_000,
    "Hopper-v5": 4_170_000,
    "Walker2d-v5": 6_210_000,
    "Ant-v5": 3_750_000,
    "Swimmer-v5": 2_000_000,
}
"""Printed by ``python -m benchmarks.learning steps``."""


def _longer(bare: Configuration) -> Configuration:
    """Return our setting for the equal time: the mean at its end is of as many policies."""
    steps = EQUAL_TIME_STEPS[bare.environment]
    share = bare.settings["average_last"] * bare.steps / steps
    return replace(bare, steps=steps).changed({"average_last": share})


# --- one part changed at a time ----------------------------------------------------------------

VARIANTS = {
    "paper_search": "the paper's backtracking (`match_kl=False`)",
    "per_dimension": "δ in proportion to the dimensions of an action (0.048, 0.024, 0.048)",
    "fisher_every_2": "Fisher-vector products on every 2nd sample",
    "fisher_every_5": "Fisher-vector products on every 5th sample",
    "fisher_every_10": "Fisher-vector products on every 10th sample",
    "damping_tenth": "a tenth of the damping",
    "damping_tenfold": "ten times the damping",
    "critic_half": "half the critic epochs",
    "critic_double": "twice the critic epochs",
    "critic_small": "a critic of 2 × 64 units, as the actor's",
    "gae_lambda_95": "`gae_lambda=0.95`",
    "constant_rate": "a constant learning rate of the critic (1e-3)",
    "not_centred": "values as the critic gives them (`center_td_errors=False`)",
    "as_drawn": "probabilities of actions as drawn (`clipped_actions=False`)",
    "wide": "a first standard deviation of 0.61 on all tasks (`log_std_init=-0.5`)",
}


def ablations(task: str) -> dict[str, dict[str, Any]]:
    """
    Return what each variant changes in our MuJoCo setting.

    :param task: one of ``ABLATION_TASKS``
    :return: changed settings, by the names of ``VARIANTS``
    """
    ours = configuration(OURS, task).settings
    share = ACTION_DIMENSIONS[task] / fmean(ACTION_DIMENSIONS[other] for other in ABLATION_TASKS)
    damping, epochs, kwargs = ours["cg_damping"], ours["n_critic_updates"], ours["policy_kwargs"]
    return {
        "paper_search": {"match_kl": False},
        "per_dimension": {"target_kl": ours["target_kl"] * share},
        **{f"fisher_every_{k}": {"sub_sampling_factor": k} for k in (2, 5, 10)},
        "damping_tenth": {"cg_damping": damping / 10},
        "damping_tenfold": {"cg_damping": damping * 10},
        "critic_half": {"n_critic_updates": epochs // 2},
        "critic_double": {"n_critic_updates": epochs * 2},
        "critic_small": {"policy_kwargs": {**kwargs, "net_arch": [64, 64]}},
        "gae_lambda_95": {"gae_lambda": 0.95},
        "constant_rate": {"learning_rate": 1e-3},
        "not_centred": {"center_td_errors": False},
        "as_drawn": {"clipped_actions": False},
        "wide": {"policy_kwargs": {**kwargs, "log_std_init": -0.5}},
    }


# --- all of them ----------------------------------------------------------------------------------


def jobs(name: str, folder: Path, tasks: Sequence[str], seeds: Sequence[int] | None) -> list[Job]:
    """
    List an experiment's runs.

    :param name: of ``NAMES``
    :param folder: of all experiments
    :param tasks: ids of tasks; others than the experiment's are left out
    :param seeds: to do, as far as they are the experiment's; None: all that are
    :return: the jobs, seed by seed
    """
    return [
        job(folder / place, settings, seed)
        for seed in SEEDS[name]
        if seeds is None or seed in seeds
        for task in tasks
        for place, settings in _of_task(name, task)
    ]


def _of_task(name: str, task: str) -> Iterator[tuple[Path, Configuration]]:
    """Give an experiment's settings on a task, each with its folder."""
    if name == FRESH and task in SUITES["mujoco"]:
        yield Path(FRESH), configuration(OURS, task)
    if name in (OWN, OWN_FRESH) and task in OWN_SETTINGS:
        yield Path(name), configuration(OURS, task).changed(OWN_SETTINGS[task])
    if name == EQUAL_TIME and task in EQUAL_TIME_STEPS:
        yield Path(EQUAL_TIME), _longer(configuration(OURS, task))
    if name == ABLATION and task in ABLATION_TASKS:
        for variant, changes in ablations(task).items():
            yield Path(ABLATION, variant), configuration(OURS, task).changed(changes)
    if name == DEFAULTS and task in DEFAULTS_TASKS:
        for change, settings in changed_defaults.configurations(task).items():
            yield Path(DEFAULTS, change), settings
