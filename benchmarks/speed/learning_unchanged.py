"""
Does the fast path learn as SB3's loop and autograd do? The same seeds on both.

    python -m benchmarks.speed.learning_unchanged --steps 200000 --seeds 5

Physics makes a different run of every rounding, so that curves can agree in distribution alone: the
means over seeds must not differ by more than the seeds do.
"""

import argparse
import json
import statistics
from pathlib import Path

import torch as th
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize

from benchmarks.learning.recorder import Recorder
from sb3_trpo import TRPO

OUT = Path(__file__).with_name("learning_unchanged.json")
EPISODES = 20  # of the end of training


class GeneralPolicy(ActorCriticPolicy):
    """SB3's policy under another name, for which no closed form stands in."""


POLICIES = {"fast": "MlpPolicy", "general": GeneralPolicy}


def final_return(path: str, seed: int, steps: int) -> float:
    """
    Train on HalfCheetah-v5 with the settings of ``examples/train.py``.

    :param path: a key of ``POLICIES``
    :param seed: of the run
    :param steps: timesteps to train for
    :return: mean return of the last episodes of the training
    """
    env = VecNormalize(make_vec_env("HalfCheetah-v5", n_envs=4, seed=seed))
    recorder = Recorder(with_updates=False)
    model = TRPO(
        POLICIES[path],
        env,
        n_steps=512,
        target_kl=0.04,
        learning_rate=lambda progress: 1e-3 * progress,
        policy_kwargs={"log_std_init": -0.5},
        seed=seed,
        device="cpu",
    )
    model.learn(steps, callback=recorder)
    return statistics.fmean(recorder.episodes["return"][-EPISODES:])


def main() -> None:
    """Train both ways on each seed, print and keep the returns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    th.set_num_threads(1)
    returns: dict[str, list[float]] = {path: [] for path in POLICIES}
    for seed in range(options.seeds):
        for path, values in returns.items():
            values.append(round(final_return(path, seed, options.steps), 1))
            print(f"seed {seed}, {path} path: {values[-1]}", flush=True)
    for path, values in returns.items():
        print(f"{path}: {statistics.fmean(values):.0f} ± {statistics.stdev(values):.0f}")
    options.out.write_text(json.dumps({"steps": options.steps, "returns": returns}) + "\n")


if __name__ == "__main__":
    main()
