"""
One run, in a process of its own: train, evaluate, write the file.

The runner starts it as ``python -m benchmarks.learning.single_run ORDER``, ORDER being the JSON of
the configuration, the seed and the file to write.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from benchmarks.learning import circumstances, store
from benchmarks.learning.configuration import Configuration
from benchmarks.learning.models import build_model, constructor_defaults, evaluation_env
from benchmarks.learning.recorder import Recorder
from benchmarks.learning.suites import ALL_OF_OURS, suite_of
from benchmarks.learning.thinning import thin

EVALUATION_EPISODES = 20
EVALUATION_SEED_OFFSET = 10_000  # episodes that training has not seen
MAX_POINTS = 1000


def perform(configuration: Configuration, seed: int) -> store.Run:
    """
    Do a run.

    :param configuration: its settings
    :param seed: of the training
    :return: all that is to be kept of it
    """
    # Before the training: the source may change while it runs.
    versions = circumstances.versions()
    is_ours = configuration.algorithm in ALL_OF_OURS
    model = build_model(configuration, seed)
    recorder = Recorder(with_updates=is_ours)
    wall, cpu = time.perf_counter(), time.process_time()
    model.learn(configuration.steps, callback=recorder)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

    returns = [r for r in recorder.episodes["return"][-100:] if r is not None]
    n_steps = model.num_timesteps
    return store.Run(
        algorithm=configuration.algorithm,
        environment=configuration.environment,
        seed=seed,
        steps=n_steps,
        configuration=configuration.as_json(),
        defaults=constructor_defaults(configuration),
        versions=versions,
        machine=circumstances.machine(),
        curve=thin(recorder.episodes, n_steps=n_steps, max_points=MAX_POINTS),
        updates=thin(recorder.updates, n_steps=n_steps, max_points=MAX_POINTS) if is_ours else None,
        skipped_updates=recorder.skipped_updates if is_ours else None,
        evaluation=evaluate(model, configuration.environment, seed + EVALUATION_SEED_OFFSET),
        train_last100=float(np.mean(returns)) if returns else None,
        wall_s=round(wall, 3),
        cpu_s=round(cpu, 3),
    )


def evaluate(model: OnPolicyAlgorithm, environment: str, seed: int) -> dict[str, Any]:
    """
    Score the deterministic policy, with frozen observation statistics and raw rewards.

    :param model: to score
    :param environment: id of the task
    :param seed: of the episodes
    :return: the seed, each episode's return and length, mean and standard deviation
    """
    env = evaluation_env(model, environment, seed)
    # Where the environment says which actions are invalid, the policy is told in both.
    evaluate_with = evaluate_masked if suite_of(environment) == "masked" else evaluate_policy
    returns, lengths = evaluate_with(
        model,
        env,
        n_eval_episodes=EVALUATION_EPISODES,
        deterministic=True,
        return_episode_rewards=True,
    )
    env.close()
    return {
        "seed": seed,
        "returns": returns,
        "lengths": lengths,
        "mean": float(np.mean(returns)),
        "std": float(np.std(returns)),
    }


def _end_with_the_runner() -> None:
    """End when the runner does, however it ends: standard input is a pipe that it holds open."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Carry out the order on the command line."""
    order = json.loads(sys.argv[1])
    _end_with_the_runner()
    th.set_num_threads(1)
    run = perform(Configuration(**order["configuration"]), order["seed"])
    store.write(Path(order["path"]), run)


if __name__ == "__main__":
    main()
