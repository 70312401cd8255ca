"""The actor's step on a GPU, where there is one."""

from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

import torch as th

from benchmarks.speed.models import blank_env, build, fill_buffer, vectors
from benchmarks.speed.products import all_iterations, fix_products
from benchmarks.speed.replay import Replay
from benchmarks.speed.sizes import Sizes
from benchmarks.speed.timing import Contender, in_turns
from benchmarks.speed.updates import ACTOR_ALONE, N_PRODUCTS, updating

_N_ENVS = 8


def gpu_actor_step(sizes: Sizes, contenders: Collection[str]) -> dict[str, Any]:
    """
    Time the actor's step at HalfCheetah's sizes on larger and larger made-up rollouts.

    :param sizes: how many samples
    :param contenders: the two TRPOs
    :return: what is recorded: timings by contender and number of samples
    """
    by_samples = {}
    for samples in sizes.gpu_samples:
        models = {
            name: build(
                name,
                blank_env(*vectors(17, 6), _N_ENVS),
                0,
                n_steps=samples // _N_ENVS,
                device="cuda",
                **ACTOR_ALONE[name],
            )
            for name in contenders
        }
        source = next(iter(models.values()))
        fill_buffer(source, seed=0)
        replay = Replay(source)
        with all_iterations():
            for model in models.values():
                fix_products(model, replay, N_PRODUCTS)
            runners = [Contender(name, _awaited(updating(m, replay))) for name, m in models.items()]
            timings = in_turns(runners, sizes.rounds)
        by_samples[str(samples)] = {name: [asdict(t) for t in ts] for name, ts in timings.items()}
    return {"gpu": th.cuda.get_device_name(), "timings": by_samples}


def _awaited(
    prepare: Callable[[int], Callable[[], float]],
) -> Callable[[int], Callable[[], float]]:
    """Let the clock run until the GPU is done, and start it when the GPU is idle."""

    def prepare_awaited(number: int) -> Callable[[], float]:
        run = prepare(number)
        th.cuda.synchronize()

        def run_to_the_end() -> float:
            work = run()
            th.cuda.synchronize()
            return work

        return run_to_the_end

    return prepare_awaited
