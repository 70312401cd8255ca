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
    """Mean return of the episodes between two points of a grid of timesteps, NaN where none."""
    seen = Returns()
    env = make_vec_env(env_id, n_envs=4, seed=seed)
    model = ALGORITHMS[algorithm]("MlpPolicy", env, seed=seed, device="cpu")
    model.learn(steps, callback=seen)
    places = np.digitize(seen.steps, grid)
    returns = np.array(seen.returns)
    means = [
        returns[places == i].mean() if (places == i).any() else np.nan for i in range(len(grid))
    ]
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
        curves = [
            curve(algorithm, options.env, options.steps, seed, grid)
            for seed in range(options.seeds)
        ]
        mean = np.nanmean(curves, axis=0)
        print(f"{algorithm}: {mean[~np.isnan(mean)][-1]:.1f}")
        axis.plot(grid, mean, label=algorithm)
        axis.fill_between(grid, np.nanmin(curves, axis=0), np.nanmax(curves, axis=0), alpha=0.2)
    axis.set(xlabel="timesteps", ylabel="return", title=options.env)
    axis.legend()
    figure.savefig(options.out, dpi=110)
    print(options.out)


if __name__ == "__main__":
    main()
