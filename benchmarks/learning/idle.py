"""
What an agent gets that never acts: a return above it is what was learned.

    python -m benchmarks.learning.idle
"""

import json
from pathlib import Path
from statistics import fmean

import gymnasium as gym
import numpy as np

from benchmarks.learning.single_run import EVALUATION_EPISODES, EVALUATION_SEED_OFFSET
from benchmarks.learning.suites import SUITES

RETURNS = Path("benchmarks", "learning", "idle.json")


def returns(task: str) -> list[float]:
    """
    Run episodes in which every action is zero.

    :param task: id of a task with Box actions
    :return: raw returns of as many episodes as a score is the mean of
    """
    env = gym.make(task)
    found = []
    for episode in range(EVALUATION_EPISODES):
        env.reset(seed=EVALUATION_SEED_OFFSET + episode)
        total, is_over = 0.0, False
        while not is_over:
            _, reward, terminated, truncated, _ = env.step(np.zeros(env.action_space.shape))
            total, is_over = total + float(reward), terminated or truncated
        found.append(round(total, 3))
    env.close()
    return found


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
