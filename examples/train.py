"""
Train TRPO on a gymnasium task, evaluate it, and say where everything lies.

    python examples/train.py --env HalfCheetah-v5 --steps 200000 --seed 0

With --resume go on from the newest checkpoint, if there is one, to the --steps of its first start.
Box actions get the setting for continuous control of docs/settings.md, others that for CartPole.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecNormalize

from sb3_trpo import TRPO, load_normalization
from sb3_trpo.checkpoint import TrainingCheckpoint, learn_rest, newest_checkpoint, resume


def continuous_settings() -> tuple[int, dict[str, Any]]:
    """For Box actions: environments and arguments; 2048 samples an update, wide trust region."""
    return 4, {
        "n_steps": 512,
        "target_kl": 0.04,
        "learning_rate": LinearSchedule(1e-3, 0.0, 1.0),
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
        "target_kl": LinearSchedule(0.031, 0.001, 1.0),
        "learning_rate": LinearSchedule(2e-3, 0.0, 1.0),
    }


def main() -> None:
    """Train, evaluate, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--env", default="HalfCheetah-v5", help="id of the task")
    parser.add_argument("--steps", type=int, default=200_000, help="timesteps to train for")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the results")
    options = parser.parse_args()

    th.set_num_threads(1)  # fastest for networks as small as these
    folder = options.out / f"{options.env}-seed{options.seed}"
    is_box = isinstance(gym.make(options.env).action_space, spaces.Box)
    n_envs, settings = continuous_settings() if is_box else discrete_settings()
    checkpoints = folder / "checkpoints"
    goes_on = options.resume and newest_checkpoint(checkpoints) is not None
    env = make_vec_env(
        options.env,
        n_envs=n_envs,
        seed=options.seed,
        monitor_dir=str(folder),  # episodes, for python -m sb3_trpo.report
        monitor_kwargs={"override_existing": not goes_on},
    )
    if not options.resume:  # no result of an earlier run stays beside those of this one
        shutil.rmtree(checkpoints, ignore_errors=True)
        (folder / "model.zip").unlink(missing_ok=True)
    saving = TrainingCheckpoint(5 * settings["n_steps"], checkpoints)  # every fifth update
    if goes_on:
        model = resume(checkpoints, env, device="cpu")
        print(f"goes on from {model.num_timesteps} steps; its first start decides where it ends")
        learn_rest(model, callback=saving, progress_bar=True)
    else:
        # On CartPole-v1 moving statistics cost a third of the return in so short a run.
        model = TRPO(
            "MlpPolicy",
            VecNormalize(env) if is_box else env,
            seed=options.seed,
            tensorboard_log=str(folder / "tensorboard"),
            device="cpu",
            **settings,
        )
        model.learn(options.steps, callback=saving, progress_bar=True)

    model.save(folder / "model.zip")
    # Episodes that training has not seen, in environments whose Monitors write no file.
    env = make_vec_env(options.env, n_envs=n_envs, seed=options.seed + 10_000)
    if is_box:
        env = load_normalization(folder / "model.zip", env, training=False)
    mean, std = evaluate_policy(model, env, n_eval_episodes=10, deterministic=True)
    print(f"{options.env}, {model.num_timesteps} steps, 10 episodes: {mean:.1f} ± {std:.1f}")
    print(f"model:            {folder / 'model.zip'} (with VecNormalize's statistics, if any)")
    print(f"checkpoints:      {checkpoints}")
    print(f"TensorBoard log:  {folder / 'tensorboard'}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same with --resume goes on from the newest checkpoint, if any.")
