"""
How far the last policies of a training differ, and what their mean is worth.

    python -m benchmarks.learning.last_policies --env Hopper-v5 --seed 103

Trains with our setting, evaluates every fifth of the last hundred policies without noise, and then
the means of the last 5 to 100, which are what `average_last` would have ended with.
"""

import argparse
import json
from dataclasses import replace

import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy

from benchmarks.learning.configurations import configuration
from benchmarks.learning.models import build_model, evaluation_env
from benchmarks.learning.single_run import EVALUATION_SEED_OFFSET
from benchmarks.learning.suites import FIRST_TUNING_SEED, OURS, SUITES
from sb3_trpo import TRPO
from sb3_trpo.averaging import ParameterMean

N_LAST, EVERY = 100, 5
MEANS = (5, 10, 20, 50, 100)


def score(model: TRPO, environment: str, n_episodes: int) -> str:
    """
    Evaluate without noise.

    :param model: whose policy
    :param environment: id of the task
    :param n_episodes: how many
    :return: mean ± standard deviation over episodes
    """
    env = evaluation_env(model, environment, EVALUATION_SEED_OFFSET + model.seed)
    mean, std = evaluate_policy(model, env, n_episodes, deterministic=True)
    env.close()
    return f"{mean:.0f} ± {std:.0f}"


class LastPolicies(BaseCallback):
    """
    Keeps the last parameters, and evaluates some of them.

    :param environment: id of the task
    :param first: update from which on parameters are kept
    """

    def __init__(self, environment: str, first: int) -> None:
        super().__init__()
        self.environment, self.first = environment, first
        self.kept: list[list[th.Tensor]] = []
        self.scores: list[str] = []

    def keep(self) -> None:
        """Keep the parameters as they are."""
        self.kept.append([p.detach().clone() for p in self.model.policy.parameters()])
        if len(self.kept) % EVERY == 0:
            self.scores.append(score(self.model, self.environment, 5))

    def _on_rollout_start(self) -> None:
        if self.model._n_updates >= self.first:
            self.keep()

    def _on_step(self) -> bool:
        return True


def run(environment: str, seed: int, steps: int, setting: dict) -> tuple[list[str], dict[int, str]]:
    """
    Train with the parameters kept.

    :param environment: id of the task
    :param seed: of the training
    :param steps: of the training
    :param setting: what to change in ours
    :return: the scores of single policies, and of the means by their number
    """
    config = replace(configuration(OURS, environment), steps=steps)
    config = config.changed({**setting, "average_last": 0.0})
    model = build_model(config, seed)
    n_updates = -(-steps // (model.n_steps * model.n_envs))
    last = LastPolicies(environment, max(n_updates - N_LAST + 1, 1))
    model.learn(steps, callback=last)
    last.keep()
    means = {}
    for n in MEANS:
        mean = ParameterMean()
        for parameters in last.kept[-n:]:
            mean.include(parameters)
        mean.put_into(list(model.policy.parameters()))
        means[n] = score(model, environment, 20)
    return last.scores, means


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--env", choices=list(SUITES["mujoco"]), required=True)
    parser.add_argument("--seed", type=int, default=FIRST_TUNING_SEED)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--setting", type=json.loads, default={}, help="JSON of what to change")
    options = parser.parse_args()
    th.set_num_threads(1)
    scores, means = run(options.env, options.seed, options.steps, options.setting)
    print(
        f"{options.env}, seed {options.seed}, every {EVERY}th of the last policies, oldest first:"
    )
    print(", ".join(scores))
    print("mean of the last:", *(f"{n}: {found};" for n, found in means.items()))


if __name__ == "__main__":
    main()
