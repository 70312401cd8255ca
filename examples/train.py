"""
Train TRPO on a gymnasium task, evaluate it, and say where everything lies.

    python examples/train.py --env HalfCheetah-v5 --steps 200000 --seed 0
"""

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from sb3_trpo import TRPO


def continuous_settings() -> tuple[int, dict[str, Any]]:
    """For Box actions: environments and arguments; 2048 samples an update, wide trust region."""
    return 4, {
        "n_steps": 512,
        "target_kl": 0.04,
        "learning_rate": lambda progress: 1e-3 * progress,
        "policy_kwargs": {"log_std_init": -0.5},
    }


def discrete_settings() -> tuple[int, dict[str, Any]]:
    """For other actions: environments and arguments; short rollouts, wide steps at first."""
    return 8, {
        "n_steps": 64,
        "batch_size": 64,
        "gamma": 0.98,
        "cg_damping": 0.01,
        "n_critic_updates": 20,
        "target_kl": lambda progress: 0.001 + 0.03 * progress,
        "learning_rate": lambda progress: 2e-3 * progress,
    }


def main() -> None:
    """Train, evaluate, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--env", default="HalfCheetah-v5", help="id of the task")
    parser.add_argument("--steps", type=int, default=200_000, help="timesteps to train for")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the results")
    options = parser.parse_args()

    th.set_num_threads(1)  # fastest for networks as small as these
    folder = options.out / f"{options.env}-seed{options.seed}"
    is_box = isinstance(gym.make(options.env).action_space, spaces.Box)
    n_envs, settings = continuous_settings() if is_box else discrete_settings()
    env = make_vec_env(options.env, n_envs=n_envs, seed=options.seed)
    if is_box:  # on CartPole-v1 moving statistics cost a third of the return in so short a run
        env = VecNormalize(env)
    model = TRPO(
        "MlpPolicy",
        env,
        seed=options.seed,
        tensorboard_log=str(folder / "tensorboard"),
        device="cpu",
        **settings,
    )
    model.learn(options.steps, progress_bar=True)

    model.save(folder / "model.zip")
    statistics = "none"
    if isinstance(env, VecNormalize):
        statistics = str(folder / "vec_normalize.pkl")
        env.save(statistics)
        env.training, env.norm_reward = False, False
    env.seed(options.seed + 10_000)  # episodes that training has not seen
    mean, std = evaluate_policy(model, env, n_eval_episodes=10, deterministic=True)
    print(f"{options.env}, {model.num_timesteps} steps, 10 episodes: {mean:.1f} ± {std:.1f}")
    print(f"model:            {folder / 'model.zip'}")
    print(f"VecNormalize:     {statistics}")
    print(f"TensorBoard log:  {folder / 'tensorboard'}")


if __name__ == "__main__":
    main()
