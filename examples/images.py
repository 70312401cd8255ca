"""
Train on images, in chunks that bound the memory of the actor's step.

    python examples/images.py --steps 8192
"""

import argparse
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_util import make_vec_env

from sb3_trpo import TRPO


class Brightest(gym.Env[np.ndarray, int]):
    """One of four quarters of an image is bright: name it. Each episode is one step."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 255, (36, 36, 1), np.uint8)
        self.action_space = gym.spaces.Discrete(4)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw an image."""
        super().reset(seed=seed, options=options)
        self.quarter = int(self.np_random.integers(4))
        image = self.np_random.integers(0, 128, (36, 36, 1)).astype(np.uint8)
        row, column = divmod(self.quarter, 2)
        image[18 * row : 18 * row + 18, 18 * column : 18 * column + 18] += 100
        return image, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """1 for the right quarter, else 0."""
        image = np.zeros(self.observation_space.shape, np.uint8)
        return image, float(action == self.quarter), True, False, {}


def main() -> None:
    """Train; a policy that guesses scores 0.25."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--steps", type=int, default=8192)
    options = parser.parse_args()

    model = TRPO(
        "CnnPolicy",  # NatureCNN, one for the actor and one for the critic
        make_vec_env(Brightest, n_envs=8, seed=0),
        n_steps=64,
        gamma=0.0,
        target_kl=0.05,
        n_critic_updates=2,
        actor_batch_size=256,  # samples per pass; a bound on memory, the step is the same
        seed=0,
        verbose=1,
    )
    model.learn(options.steps)
    returns = [episode["r"] for episode in model.ep_info_buffer]
    print(f"right answers in the last {len(returns)} episodes: {sum(returns) / len(returns):.0%}")


if __name__ == "__main__":
    main()
