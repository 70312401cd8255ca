"""
Train TRPO, PPO and A2C with their defaults on one task, and draw all on one plot.

    python examples/compare.py --env CartPole-v1 --steps 30000 --seeds 3 --out compare.png
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch as th
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from sb3_trpo import TRPO

ALGORITHMS = {"TRPO": TRPO, "PPO": PPO, "A2C": A2C}


class Returns(BaseCallback):
    """Note the return of each episode, and when it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.steps.append(self.num_timesteps)
                self.returns.append(info["episode"]["r"])
        return True


def curve(algorithm: str, env_id: str, steps: int, seed: int, grid: np.ndarray) -> np.ndarray:
    """Mean return of the last 20 episodes at the points of a grid of timesteps; NaN: none yet."""
    seen = Returns()
    env = make_vec_env(env_id, n_envs=4, seed=seed)
    model = ALGORITHMS[algorithm]("MlpPolicy", env, seed=seed, device="cpu")
    model.learn(steps, callback=seen)
    ended = np.searchsorted(seen.steps, grid, side="right")
    means = [np.mean(seen.returns[max(0, n - 20) : n]) if n else np.nan for n in ended]
    return np.array(means)


def main() -> None:
    """Train all, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--out", type=Path, default=Path("compare.png"))
    options = parser.parse_args()

    th.set_num_threads(1)
    grid = np.linspace(0, options.steps, 31)[1:]
    figure, axis = plt.subplots(figsize=(6, 4), constrained_layout=True)
    for algorithm in ALGORITHMS:
        curves = np.array(
            [
                curve(algorithm, options.env, options.steps, seed, grid)
                for seed in range(options.seeds)
            ]
        )
        known = ~np.isnan(curves).any(axis=0)  # from where each seed has ended an episode
        if not known.any():
            parser.error(f"no episode of {options.env} ends within {options.steps} steps")
        curves = curves[:, known]
        mean = curves.mean(axis=0)
        print(f"{algorithm}: {mean[-1]:.1f}")
        axis.plot(grid[known], mean, label=algorithm)
        axis.fill_between(grid[known], curves.min(axis=0), curves.max(axis=0), alpha=0.2)
    axis.set(xlabel="timesteps", ylabel="return", title=options.env)
    axis.legend()
    figure.savefig(options.out, dpi=110)
    print(options.out)


if __name__ == "__main__":
    main()
