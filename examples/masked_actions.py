"""
Train where some actions are invalid: the environment says which.

    python examples/masked_actions.py --steps 10000
"""

import argparse
from typing import Any

import gymnasium as gym
import numpy as np
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from sb3_contrib.common.wrappers import ActionMasker

from sb3_trpo import MaskableTRPO


class Corridor(gym.Env[np.ndarray, int]):
    """Walk from the left end to the right; doors open now and then, walls never."""

    LENGTH = 8

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 1, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(3)  # stay, left, right

    def _observation(self) -> np.ndarray:
        return np.array([self.place / self.LENGTH, self.is_open], np.float32)

    def valid_actions(self) -> np.ndarray:
        """Which actions may be taken now."""
        return np.array([True, self.place > 0, self.is_open])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin at the left end."""
        super().reset(seed=seed, options=options)
        self.place, self.time, self.is_open = 0, 0, True
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move; an invalid action is an error, so that a policy without masks would stop here."""
        if not self.valid_actions()[action]:
            raise ValueError(f"action {action} is invalid at {self.place}")
        self.place += (0, -1, 1)[action]
        self.time += 1
        self.is_open = bool(self.np_random.random() < 0.5)
        is_there = self.place == self.LENGTH
        return self._observation(), -1.0, is_there, self.time == 100, {}


def main() -> None:
    """Train and evaluate, both with masks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--steps", type=int, default=10_000)
    options = parser.parse_args()

    env = ActionMasker(
        gym.wrappers.RecordEpisodeStatistics(Corridor()), lambda e: e.unwrapped.valid_actions()
    )
    model = MaskableTRPO("MlpPolicy", env, n_steps=512, target_kl=0.03, seed=0, verbose=1)
    model.learn(options.steps)
    # No walk takes fewer than 8 steps; a door is shut every second time: about 15 at best.
    mean, std = evaluate_policy(model, env, n_eval_episodes=20, warn=False)
    print(f"return: {mean:.1f} ± {std:.1f}")


if __name__ == "__main__":
    main()
