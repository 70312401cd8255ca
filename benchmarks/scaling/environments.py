"""Whole ``learn()`` against the number of environments, of each kind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sb3_contrib import TRPO as ContribTRPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from benchmarks.speed.timing import Contender, in_turns
from sb3_trpo import TRPO
from sb3_trpo.envs import EnvPoolVecEnv

TASK = "HalfCheetah-v5"
MOST = {"dummy": 256, "subproc": 64, "envpool": 256}
"""Environments of each kind; a process takes 180 MB, and 128 of them more than this machine has."""


@dataclass(frozen=True)
class Sizes:
    """
    How much to measure.

    :param n_envs: numbers of environments
    :param samples: of a rollout, whatever the number of environments
    :param rollouts: in each timed ``learn``
    :param rounds: timings of each
    """

    n_envs: tuple[int, ...]
    samples: int
    rollouts: int
    rounds: int


FULL = Sizes((1, 2, 4, 8, 16, 32, 64, 128, 256), samples=8192, rollouts=2, rounds=3)
QUICK = Sizes((2, 8), samples=512, rollouts=1, rounds=1)


def make_env(kind: str, n_envs: int, seed: int, *, task: str = TASK) -> VecEnv:
    """Make environments of a task, with episode statistics."""
    if kind == "envpool":
        return EnvPoolVecEnv(task, n_envs, seed=seed)
    kinds: dict[str, Any] = {"dummy": DummyVecEnv, "subproc": SubprocVecEnv}
    return make_vec_env(task, n_envs, seed=seed, vec_env_cls=kinds[kind])


def by_kind_and_number(sizes: Sizes) -> list[dict[str, Any]]:
    """
    Time ours with each kind and number of environments, and the environments alone.

    :param sizes: how much
    :return: one row per kind and number: steps per second of ``learn()`` and of random actions
    """
    rows = []
    for n_envs in sizes.n_envs:
        for kind, most in MOST.items():
            if n_envs > most:
                continue
            learning = Contender("learn", _learning(kind, n_envs, sizes))
            stepping = Contender("step", _stepping(kind, n_envs, sizes))
            timings = in_turns([learning, stepping], sizes.rounds)
            rates = {
                name: [timing.work / timing.wall_s for timing in of_name]
                for name, of_name in timings.items()
            }
            rows.append({"kind": kind, "n_envs": n_envs, **rates})
            medians = {name: round(float(np.median(rate))) for name, rate in rates.items()}
            print(f"{kind} {n_envs}: {medians} steps/s", flush=True)
    return rows


def beside_contrib(sizes: Sizes) -> dict[str, list[float]]:
    """
    Time ours on 64 environments of EnvPool beside sb3_contrib's on 8 of DummyVecEnv.

    Samples per update are the same (2048 · 8), ours fits the critic on minibatches as much larger
    as there are more environments.

    :param sizes: how many rounds
    :return: steps per second by name
    """
    n_steps = 2048 if sizes is FULL else 64

    def ours(seed: int) -> OnPolicyAlgorithm:
        env = make_env("envpool", 64, seed)
        options = {"n_steps": n_steps // 8, "batch_size": 1024, "device": "cpu"}
        return TRPO("MlpPolicy", env, seed=seed, **options)

    def contribs(seed: int) -> OnPolicyAlgorithm:
        env = make_env("dummy", 8, seed)
        return ContribTRPO("MlpPolicy", env, n_steps=n_steps, seed=seed, device="cpu")

    n_samples = 8 * n_steps
    timings = in_turns(
        [
            Contender("sb3_trpo, 64 EnvPool", _run(ours, n_samples, sizes)),
            Contender("sb3_contrib, 8 DummyVecEnv", _run(contribs, n_samples, sizes)),
        ],
        max(sizes.rounds, 5) if sizes is FULL else sizes.rounds,
    )
    return {name: [t.work / t.wall_s for t in of_name] for name, of_name in timings.items()}


def _learning(kind: str, n_envs: int, sizes: Sizes) -> Callable[[int], Callable[[], float]]:
    def model(seed: int) -> OnPolicyAlgorithm:
        n_steps = sizes.samples // n_envs
        options = {"n_steps": n_steps, "batch_size": 512, "device": "cpu"}
        return TRPO("MlpPolicy", make_env(kind, n_envs, seed), seed=seed, **options)

    return _run(model, sizes.samples, sizes)


def _run(
    model_of: Callable[[int], OnPolicyAlgorithm], n_samples: int, sizes: Sizes
) -> Callable[[int], Callable[[], float]]:
    def prepare(number: int) -> Callable[[], float]:
        model = model_of(max(number, 0))
        wanted = n_samples * (sizes.rollouts if number >= 0 else 1)

        def run() -> float:
            model.learn(wanted)
            model.env.close()
            return float(model.num_timesteps)

        return run

    return prepare


def _stepping(kind: str, n_envs: int, sizes: Sizes) -> Callable[[int], Callable[[], float]]:
    def prepare(number: int) -> Callable[[], float]:
        env = make_env(kind, n_envs, max(number, 0))
        n_steps = sizes.samples * (sizes.rollouts if number >= 0 else 1) // n_envs
        space, rng = env.action_space, np.random.default_rng(max(number, 0))
        actions = rng.uniform(space.low, space.high, (n_steps, n_envs, *space.shape))
        env.reset()

        def run() -> float:
            for of_timestep in actions.astype(space.dtype):
                env.step(of_timestep)
            env.close()
            return float(n_steps * n_envs)

        return run

    return prepare
