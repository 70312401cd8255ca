"""One actor step and one whole update: every contender from the same rollout and parameters."""

from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from benchmarks.speed.models import (
    CONTRIB,
    OURS,
    blank_env,
    build,
    collect,
    fill_buffer,
    real_env,
    vectors,
)
from benchmarks.speed.products import all_iterations, fix_products, train_quietly
from benchmarks.speed.replay import Replay
from benchmarks.speed.sizes import Sizes
from benchmarks.speed.timing import Contender, in_turns

N_PRODUCTS = 15
ACTOR_ALONE = {
    OURS: {"n_critic_updates": 0, "cg_relative_tolerance": 0.0},
    CONTRIB: {"n_critic_updates": 0},
}
HUMANOID = vectors(348, 17)
_N_ENVS = 8  # of made-up rollouts


def actor_step(sizes: Sizes, contenders: Collection[str]) -> dict[str, Any]:
    """Time the actor's step on a rollout of HalfCheetah-v5."""
    models = {
        name: build(name, real_env(1, 0), 0, n_steps=sizes.actor_samples, **ACTOR_ALONE[name])
        for name in contenders
    }
    source = next(iter(models.values()))
    collect(source)
    return _actor_steps(models, Replay(source), sizes)


def wide_actor_step(sizes: Sizes, contenders: Collection[str]) -> dict[str, Any]:
    """Time the actor's step at the sizes of Humanoid-v5, on made-up samples."""
    n_steps = sizes.wide_samples // _N_ENVS
    models = {
        name: build(name, blank_env(*HUMANOID, _N_ENVS), 0, n_steps=n_steps, **ACTOR_ALONE[name])
        for name in contenders
    }
    source = next(iter(models.values()))
    fill_buffer(source, seed=0)
    return _actor_steps(models, Replay(source), sizes)


def whole_update(sizes: Sizes, contenders: Collection[str]) -> dict[str, Any]:
    """Time ``train()`` as a whole, at the defaults, on a rollout of HalfCheetah-v5."""
    models = {
        name: build(name, real_env(1, 0), 0, n_steps=sizes.actor_samples) for name in contenders
    }
    source = next(iter(models.values()))
    collect(source)
    return _compare(models, Replay(source), sizes.rounds)


def _actor_steps(
    models: dict[str, OnPolicyAlgorithm], replay: Replay, sizes: Sizes
) -> dict[str, Any]:
    with all_iterations():
        products = {name: fix_products(model, replay, N_PRODUCTS) for name, model in models.items()}
        iterations = {name: model.cg_max_steps for name, model in models.items()}
        measured = _compare(models, replay, sizes.rounds)
    return {"products": products, "cg_max_steps": iterations, **measured}


def _compare(models: dict[str, OnPolicyAlgorithm], replay: Replay, rounds: int) -> dict[str, Any]:
    contenders = [Contender(name, updating(model, replay)) for name, model in models.items()]
    timings = in_turns(contenders, rounds)
    buffer = next(iter(models.values())).rollout_buffer
    return {
        "samples": buffer.buffer_size * buffer.n_envs,
        "timings": {name: [asdict(t) for t in of_name] for name, of_name in timings.items()},
    }


def updating(model: OnPolicyAlgorithm, replay: Replay) -> Callable[[int], Callable[[], float]]:
    """
    Make a contender's ``prepare``: everything is put back to where it was, then ``train()``.

    :param model: whose update
    :param replay: what it starts from
    :return: see :class:`benchmarks.speed.timing.Contender`
    """

    def prepare(_: int) -> Callable[[], float]:
        replay.put_into(model)
        return lambda: train_quietly(model)

    return prepare
