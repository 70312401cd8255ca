"""
What an agent gets that never acts: a return above it is what was learned.

    python -m benchmarks.learning.idle
"""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from benchmarks.learning.single_run import EVALUATION_EPISODES, EVALUATION_SEED_OFFSET
from benchmarks.learning.suites import SUITES

RETURNS = Path("benchmarks", "learning", "idle.json")


class Idle:
    """
    A policy whose every action is zero.

    :param shape: of an action
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def predict(self, observation: np.ndarray, state: Any = None, **_: Any) -> tuple[Any, Any]:
        """Return a zero action per observation, and the state as it was."""
        return np.zeros((len(observation), *self.shape), dtype=np.float32), state


def returns(task: str) -> list[float]:
    """
    Evaluate as the benchmark's policies are.

    :param task: id of a task with Box actions
    :return: raw returns of as many episodes as a score is the mean of
    """
    env = make_vec_env(task, seed=EVALUATION_SEED_OFFSET)
    idle = Idle(env.action_space.shape)
    found, _ = evaluate_policy(idle, env, EVALUATION_EPISODES, return_episode_rewards=True)
    env.close()
    return [round(value, 3) for value in found]


def read(path: Path) -> dict[str, float]:
    """
    Read the mean returns.

    :param path: of the file
    :return: by task; empty if there is no file
    """
    if not path.exists():
        return {}
    return {task: fmean(found) for task, found in json.loads(path.read_text()).items()}


if __name__ == "__main__":
    lines = (f'"{task}": {json.dumps(returns(task))}' for task in SUITES["mujoco"])
    RETURNS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    for task, mean in read(RETURNS).items():
        print(f"{task}: {mean:.1f}")
