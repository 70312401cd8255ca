"""Whole ``learn()`` of all algorithms, beside stepping the same environments at random."""

from collections.abc import Callable, Collection
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from benchmarks.speed.models import MASKED_TASK, TASK, build, real_env
from benchmarks.speed.sizes import Sizes
from benchmarks.speed.timing import Contender, in_turns

RANDOM_ACTIONS = "random_actions"


def one_env(sizes: Sizes, contenders: Collection[str]) -> dict[str, Any]:
    """Time ``learn()`` with one environment; see :func:`_compare`."""
    return _compare(sizes, contenders, n_envs=1, n_steps=sizes.n_steps)


def eight_envs(sizes: Sizes, contenders: Collection[str]) -> dict[str, Any]:
    """Time ``learn()`` with eight environments; see :func:`_compare`."""
    return _compare(sizes, contenders, n_envs=8, n_steps=sizes.n_steps_of_eight)


def with_masks(sizes: Sizes, contenders: Collection[str]) -> dict[str, Any]:
    """Time ``learn()`` on a task with invalid actions, all at their defaults."""
    return _compare(sizes, contenders, n_envs=1, n_steps=sizes.n_steps, task=MASKED_TASK)


def with_memory(sizes: Sizes, contenders: Collection[str]) -> dict[str, Any]:
    """Time ``learn()`` with an LSTM, all at their defaults."""
    lstm = {"policy": "MlpLstmPolicy"}
    return _compare(sizes, contenders, n_envs=1, n_steps=sizes.n_steps, **lstm)


def _compare(
    sizes: Sizes,
    contenders: Collection[str],
    *,
    n_envs: int,
    n_steps: int,
    task: str = TASK,
    policy: str = "MlpPolicy",
) -> dict[str, Any]:
    """
    Time contenders in turn, each round with new models of the round's seed.

    :param sizes: how much
    :param contenders: algorithms, and ``RANDOM_ACTIONS`` for the environments alone
    :param n_envs: stepped in turn, in one process
    :param n_steps: of the TRPOs' rollouts; PPO and A2C keep their own
    :param task: id of the environments
    :param policy: alias of all policies
    :return: what is recorded
    """
    n_timesteps = sizes.learn_rollouts * n_steps * n_envs

    def model_of(name: str, seed: int) -> OnPolicyAlgorithm:
        # The default n_steps of the TRPOs and PPO is 2048, A2C's 5, RecurrentPPO's 128.
        settings = {"n_steps": n_steps} if "trpo" in name else {}
        env = real_env(n_envs, seed, task=task)
        return build(name, env, seed, policy=policy, **settings)

    runners = [
        Contender(
            name,
            _stepping(n_envs, n_timesteps, task)
            if name == RANDOM_ACTIONS
            else _learning(partial(model_of, name), n_steps * n_envs, n_timesteps),
        )
        for name in contenders
    ]
    timings = in_turns(runners, sizes.rounds)
    return {
        "n_envs": n_envs,
        "n_steps": n_steps,
        "timesteps": n_timesteps,
        "timings": {name: [asdict(t) for t in of_name] for name, of_name in timings.items()},
    }


def _learning(
    model_of: Callable[[int], OnPolicyAlgorithm], n_of_rollout: int, n_timesteps: int
) -> Callable[[int], Callable[[], float]]:
    def prepare(number: int) -> Callable[[], float]:
        is_warm_up = number < 0
        model = model_of(max(number, 0))
        wanted = min(n_timesteps, n_of_rollout) if is_warm_up else n_timesteps

        def run() -> float:
            model.learn(wanted)
            return float(model.num_timesteps)

        return run

    return prepare


def _stepping(n_envs: int, n_timesteps: int, task: str) -> Callable[[int], Callable[[], float]]:
    def prepare(number: int) -> Callable[[], float]:
        env = real_env(n_envs, max(number, 0), task=task)
        space, rng = env.action_space, np.random.default_rng(max(number, 0))
        shape = (n_timesteps // n_envs, n_envs, *space.shape)
        actions = rng.uniform(space.low, space.high, shape).astype(space.dtype)
        env.reset()

        def run() -> float:
            for of_timestep in actions:
                env.step(of_timestep)
            return float(n_timesteps)

        return run

    return prepare
