"""
Train with an LSTM where one observation does not say enough: CartPole without velocities.

    python examples/memory.py --steps 60000
"""

import argparse

import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import LinearSchedule

from sb3_trpo import TRPO, RecurrentTRPO


class WithoutVelocities(gym.ObservationWrapper[np.ndarray, int, np.ndarray]):
    """Positions and angles alone."""

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Drop what moves."""
        return observation[[0, 2]]


def main() -> None:
    """Train with memory and without; evaluate both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--steps", type=int, default=60_000)
    options = parser.parse_args()

    env = make_vec_env(WithoutVelocities, n_envs=8, seed=0)
    arguments = {"n_steps": 128, "gamma": 0.98, "seed": 0, "device": "cpu"}
    arguments["target_kl"] = LinearSchedule(0.021, 0.001, 1.0)
    plain = TRPO("MlpPolicy", env, **arguments).learn(options.steps)
    mean, std = evaluate_policy(plain, env, n_eval_episodes=20)
    print(f"without memory: {mean:.0f} ± {std:.0f}")
    small = {"lstm_hidden_size": 64}
    recurrent = RecurrentTRPO("MlpLstmPolicy", env, policy_kwargs=small, **arguments)
    recurrent.learn(options.steps)
    mean, std = evaluate_policy(recurrent, env, n_eval_episodes=20)
    print(f"with memory:    {mean:.0f} ± {std:.0f}")


if __name__ == "__main__":
    main()
