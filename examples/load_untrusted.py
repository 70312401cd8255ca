"""
Look into a model that somebody else saved, and load it without running anything of it.

    python examples/load_untrusted.py                      # trains one that holds code, first
    python examples/load_untrusted.py --file model.zip --env CartPole-v1
"""

import argparse
import sys

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_trpo import TRPO, inspect


def main() -> None:
    """Inspect, load, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--file", help="zip of a model; left out: one is made")
    parser.add_argument("--env", default="CartPole-v1", help="to evaluate in")
    parser.add_argument("--steps", type=int, default=10_000, help="of the model that is made")
    options = parser.parse_args()

    env = make_vec_env(options.env, n_envs=4, seed=0)
    path = options.file or made("somebodys.zip", options.steps)

    inspect.main([path])
    try:
        model = TRPO.load(path, env, trusted=False)
        print("loaded as it is", end=": ")
    except ValueError as refusal:
        # It says of each thing what to pass instead. Here: schedules that are functions.
        print(refusal, file=sys.stderr)
        ours = {"learning_rate": 1e-3, "target_kl": 0.01}
        model = TRPO.load(path, env, trusted=False, custom_objects=ours)
        print("loaded with settings of our own", end=": ")
    mean, std = evaluate_policy(model, env, n_eval_episodes=20)
    print(f"{mean:.0f} ± {std:.0f}")


def made(path: str, steps: int) -> str:
    """Save a model as somebody might: its learning rate is a function, stored with its code."""
    env = make_vec_env("CartPole-v1", n_envs=4, seed=0)
    model = TRPO("MlpPolicy", env, n_steps=128, learning_rate=lambda left: 1e-3 * left, seed=0)
    model.learn(steps).save(path)
    return path


if __name__ == "__main__":
    main()
