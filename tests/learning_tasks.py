"""
Small tasks that must be learnt, each with its setting and the score that counts as learnt.

``python -m tests.learning_tasks TASK [FIRST_SEED N_SEEDS]`` runs one on many seeds and appends the
scores to ``tests/learning_seeds.csv``: a setting enters the tests only when all of them pass.
"""

import csv
import hashlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import IdentityEnvMultiDiscrete
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecNormalize

from sb3_trpo import TRPO

RECORD = Path(__file__).with_name("learning_seeds.csv")


class BitFlipping(gym.Env):
    """Flip just the bits that are 0; the reward is the share of ones afterwards."""

    def __init__(self, n_bits: int = 6, length: int = 20) -> None:
        self.observation_space = spaces.MultiBinary(n_bits)
        self.action_space = spaces.MultiBinary(n_bits)
        self._length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._draw(), {}

    def _draw(self) -> np.ndarray:
        self._bits = self.np_random.integers(0, 2, self.observation_space.n).astype(np.int8)
        return self._bits

    def step(self, action):
        reward = float(np.mean(self._bits ^ np.asarray(action, dtype=np.int8)))
        self._steps += 1
        return self._draw(), reward, False, self._steps >= self._length, {}


class SignOfIndexed(gym.Env):
    """A Dict task: tell the sign of the value that an index points to."""

    def __init__(self, n_values: int = 3, length: int = 20) -> None:
        self.observation_space = spaces.Dict(
            index=spaces.Discrete(n_values),
            numbers=spaces.Box(-1.0, 1.0, (n_values,), np.float32),
        )
        self.action_space = spaces.Discrete(2)
        self._length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._draw(), {}

    def _draw(self) -> dict[str, Any]:
        values = self.np_random.uniform(-1, 1, self.observation_space["numbers"].shape)
        index = int(self.np_random.integers(len(values)))
        self._answer = int(values[index] > 0)
        return {"index": index, "numbers": values.astype(np.float32)}

    def step(self, action):
        reward = float(int(action) == self._answer)
        self._steps += 1
        return self._draw(), reward, False, self._steps >= self._length, {}


class SameShade(gym.Env):
    """
    An image task: do two patches, anywhere in a grey field, have the same of two shades?

    An exclusive-or of two things at unknown places, so that no linear read-out of a random
    convolution solves it: the features must be learnt.
    """

    SIDE = 16
    PATCH = 4

    def __init__(self, length: int = 20) -> None:
        self.observation_space = spaces.Box(0, 255, (1, self.SIDE, self.SIDE), np.uint8)
        self.action_space = spaces.Discrete(2)
        self._length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._draw(), {}

    def _draw(self) -> np.ndarray:
        image = np.full(self.observation_space.shape, 128, np.uint8)
        shades = self.np_random.integers(0, 2, 2)
        half = self.SIDE // 2
        for left, shade in zip((0, half), shades, strict=True):
            row = int(self.np_random.integers(self.SIDE - self.PATCH))
            column = left + int(self.np_random.integers(half - self.PATCH))
            image[0, row : row + self.PATCH, column : column + self.PATCH] = 255 * shade
        self._answer = int(shades[0] == shades[1])
        return image

    def step(self, action):
        reward = float(int(action) == self._answer)
        self._steps += 1
        return self._draw(), reward, False, self._steps >= self._length, {}


class SmallCnn(BaseFeaturesExtractor):
    """Two convolutions and a dense layer, quick enough for the tests."""

    def __init__(self, observation_space: spaces.Box, features_dim: int = 64) -> None:
        super().__init__(observation_space, features_dim)
        channels, side, _ = observation_space.shape
        self.layers = th.nn.Sequential(
            th.nn.Conv2d(channels, 16, kernel_size=4, stride=2),
            th.nn.ReLU(),
            th.nn.Conv2d(16, 16, kernel_size=3, stride=2),
            th.nn.ReLU(),
            th.nn.Flatten(),
            th.nn.Linear(16 * (((side - 4) // 2 + 1 - 3) // 2 + 1) ** 2, features_dim),
            th.nn.ReLU(),
        )

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return self.layers(observations)


@dataclass(frozen=True)
class LearningTask:
    """What to learn, how, and what counts as learnt."""

    make: str | Callable[[], gym.Env]
    steps: int
    threshold: float
    policy: str = "MlpPolicy"
    n_envs: int = 4
    normalize: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    # A bit of training that must already show, for `make test` where the whole run is slow.
    short_steps: int | None = None
    short_threshold: float = 0.0

    def digest(self) -> str:
        """A short name for everything that decides the score, so that a record of it can age."""
        parts = (self.steps, self.policy, self.n_envs, self.normalize, _plain(self.settings))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in sorted(value.items())}
    return value.__name__ if isinstance(value, type) else value


TASKS = {
    "cartpole": LearningTask(
        "CartPole-v1",
        steps=20_000,
        threshold=400,
        n_envs=8,
        settings={
            "n_steps": 64,
            "batch_size": 64,
            "gamma": 0.98,
            "cg_damping": 0.01,
            "n_critic_updates": 20,
            # Wide steps while there is much to gain, small ones at the end.
            "target_kl": LinearSchedule(0.031, 0.001, 1.0),
            "learning_rate": LinearSchedule(2e-3, 0.0, 1.0),
        },
    ),
    "pendulum": LearningTask(
        "Pendulum-v1",
        steps=100_000,
        threshold=-300,
        normalize=True,
        settings={
            "n_steps": 512,
            "gamma": 0.9,
            "n_critic_updates": 15,
            "target_kl": 0.02,
        },
        short_steps=25_000,
        short_threshold=-900,
    ),
    "bit_flipping": LearningTask(
        BitFlipping,
        steps=12_000,
        threshold=0.95 * 20,
        settings={"n_steps": 128, "batch_size": 64, "gamma": 0.0, "target_kl": 0.05},
    ),
    "multi_discrete": LearningTask(
        lambda: IdentityEnvMultiDiscrete(dim=3, ep_length=20),
        steps=12_000,
        threshold=0.9 * 20,
        settings={"n_steps": 128, "batch_size": 64, "gamma": 0.0, "target_kl": 0.05},
    ),
    "dict": LearningTask(
        SignOfIndexed,
        steps=20_000,
        threshold=0.85 * 20,
        policy="MultiInputPolicy",
        settings={"n_steps": 128, "batch_size": 64, "gamma": 0.0, "target_kl": 0.05},
    ),
    "image": LearningTask(
        SameShade,
        steps=20_000,
        threshold=0.9 * 20,
        policy="CnnPolicy",
        settings={
            "n_steps": 64,
            "batch_size": 128,
            "gamma": 0.0,
            "target_kl": 0.05,
            "n_critic_updates": 1,
            "cg_max_steps": 8,
            "cg_damping": 0.01,
            "policy_kwargs": {"features_extractor_class": SmallCnn, "net_arch": []},
        },
    ),
}


def train(task: LearningTask, seed: int, steps: int | None = None, **changes: Any) -> TRPO:
    """Train on a task with its own setting, changed where told."""
    env = make_vec_env(task.make, n_envs=task.n_envs, seed=seed)
    if task.normalize:
        env = VecNormalize(env, gamma=task.settings.get("gamma", 0.99))
    settings = {**task.settings, **changes}
    model = TRPO(task.policy, env, seed=seed, device="cpu", **settings)
    return model.learn(task.steps if steps is None else steps)


def score(model: TRPO, seed: int) -> float:
    """Mean return of 20 episodes, deterministic, on other episodes than the training's."""
    env = model.get_env()
    if isinstance(env, VecNormalize):
        env.training, env.norm_reward = False, False
    env.seed(seed + 10_000)
    return float(evaluate_policy(model, env, n_eval_episodes=20, deterministic=True)[0])


def main() -> None:
    """Run one task on many seeds."""
    name = sys.argv[1]
    first, count = (int(x) for x in sys.argv[2:4]) if len(sys.argv) > 3 else (100, 20)
    task = TASKS[name]
    th.set_num_threads(1)
    for seed in range(first, first + count):
        started = time.perf_counter()
        result = score(train(task, seed), seed)
        seconds = time.perf_counter() - started
        with RECORD.open("a", newline="") as file:
            passed = int(result >= task.threshold)
            row = [
                name,
                seed,
                task.digest(),
                round(result, 2),
                task.threshold,
                passed,
                int(seconds),
            ]
            csv.writer(file, lineterminator="\n").writerow(row)
        print(name, seed, result, "passed" if passed else "FAILED", f"{seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
