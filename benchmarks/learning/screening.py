"""
A screening of our MuJoCo settings: eleven factors at two levels in twelve runs a task.

One-at-a-time trials cannot tell a setting from the luck of a seed: each compares two runs that
differ by thousands. In a Plackett-Burman design every run informs every factor: a factor's effect
is the mean of the runs at its high level less the mean of those at its low level, and over five
tasks each mean is of thirty runs (γ is fixed on Swimmer-v5: of 24). Main effects are clear of each
other, not of interactions.
Source: Plackett and Burman, *The Design of Optimum Multifactorial Experiments*, Biometrika 33
(1946), 305-325.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning.configurations import configuration
from benchmarks.learning.schedules import linear
from benchmarks.learning.selection import Job, job
from benchmarks.learning.store import Run
from benchmarks.learning.suites import FIRST_TUNING_SEED, OURS, SUITES

# Final returns that the project asks for: what scores of different tasks are measured in.
MARKS = {
    "HalfCheetah-v5": 6000.0,
    "Hopper-v5": 3400.0,
    "Walker2d-v5": 4800.0,
    "Ant-v5": 2000.0,
    "Swimmer-v5": 355.0,
}
GAMMA = "γ (Swimmer-v5 apart)"
FACTORS: dict[str, tuple[Any, Any]] = {  # name: (low level, high level)
    "rollout (environments × steps)": ((4, 512), (2, 1024)),
    "δ at the start": (0.02, 0.04),
    "δ at the end / at the start": (1.0, 0.125),
    "λ (GAE)": (0.95, 0.98),
    "critic's units": (64, 256),
    "critic's epochs": (10, 20),
    "critic's rate at the end / at the start": (1.0, 0.0),
    "log_std_init": (-0.5, 0.0),
    "damping": (0.03, 0.2),
    GAMMA: (0.99, 0.995),
    "critic's minibatch": (128, 512),
}
# What the setting had when the first rows were run.
_AS_IT_WAS = {
    "cg_max_steps": 15,
    "center_td_errors": False,
    "clipped_actions": False,
    "average_last": 0.0,
}
_GENERATOR = (1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0)


def design() -> np.ndarray:
    """Return the levels (12, 11) of the factors, 0 low and 1 high, a row per run."""
    rows = [np.roll(_GENERATOR, shift) for shift in range(len(_GENERATOR))]
    return np.stack([*rows, np.zeros(len(_GENERATOR), dtype=int)])


def settings(levels: Sequence[int], task: str) -> dict[str, Any]:
    """
    Return what a run changes in our MuJoCo setting.

    :param levels: (11,) of the factors, in their order
    :param task: id of the task
    :return: changed settings
    """
    values = [pair[level] for pair, level in zip(FACTORS.values(), levels, strict=True)]
    (n_envs, n_steps), start, decay, gae, units, epochs, rate, log_std, damping, gamma, size = (
        values
    )
    return {
        "n_envs": n_envs,
        "n_steps": n_steps,
        "target_kl": linear(start, start * decay),
        "gae_lambda": gae,
        "n_critic_updates": epochs,
        "learning_rate": linear(1e-3, 1e-3 * rate),
        "cg_damping": damping,
        "gamma": 0.9999 if task == "Swimmer-v5" else gamma,
        "batch_size": size,
        **_AS_IT_WAS,
        "policy_kwargs": {
            "log_std_init": log_std,
            "net_arch": {"pi": [64, 64], "vf": [units, units]},
        },
    }


def jobs(folder: Path, *, folded: bool) -> list[Job]:
    """
    List the runs.

    :param folder: of the screening
    :param folded: add the mirror image of the design, which clears main effects of interactions
        of two factors
    :return: the jobs, row by row, each row with a seed of its own
    """
    rows = np.concatenate([design(), 1 - design()]) if folded else design()
    return [
        job(
            folder / f"row-{number:02d}",
            configuration(OURS, task).changed(settings(levels, task)),
            FIRST_TUNING_SEED + number,
        )
        for number, levels in enumerate(rows)
        for task in SUITES["mujoco"]
    ]


def effects(scores: Mapping[int, float]) -> dict[str, float]:
    """
    Return each factor's effect on a score.

    :param scores: by row of the design (of the folded one from row 12 on)
    :return: mean at the high level less mean at the low one, in units of the score
    :raises ValueError: a factor has no row at one of its levels
    """
    rows = np.concatenate([design(), 1 - design()])[list(scores)].astype(bool)
    values = np.array(list(scores.values()))
    if not (rows.any(axis=0) & ~rows.all(axis=0)).all():
        raise ValueError(f"every factor needs rows at both levels, got rows {sorted(scores)}")
    high, low = (np.array([values[at].mean() for at in level.T]) for level in (rows, ~rows))
    return dict(zip(FACTORS, (high - low).tolist(), strict=True))


def table(runs: Sequence[tuple[int, Run]]) -> str:
    """
    Return the effects as Markdown, as shares of the marks.

    :param runs: row of the design and finished run
    :return: one line a factor, one column a task, their mean last
    """
    columns = {}
    for task in SUITES["mujoco"]:
        of_task = {row: run for row, run in runs if run.environment == task}
        scores = {row: run.evaluation["mean"] / MARKS[task] for row, run in of_task.items()}
        columns[task] = effects(scores)
    lines = [
        f"| factor | low → high | {' | '.join(columns)} | mean |",
        f"|---|---|{'---|' * (len(columns) + 1)}",
    ]
    for factor, (low, high) in FACTORS.items():
        found = [column[factor] for task, column in columns.items() if not _is_fixed(factor, task)]
        cells = " | ".join(
            "fixed" if _is_fixed(factor, task) else f"{column[factor]:+.2f}"
            for task, column in columns.items()
        )
        cells += f" | {np.mean(found):+.2f}"
        lines.append(f"| {factor} | {low} → {high} | {cells} |")
    return "\n".join(lines)


def _is_fixed(factor: str, task: str) -> bool:
    return factor == GAMMA and task == "Swimmer-v5"
