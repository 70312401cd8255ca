"""Whole ``learn()`` of several ranks on this machine, and what goes into messages."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch as th
import torch.distributed as dist
from stable_baselines3.common.logger import Logger
from torch.multiprocessing import get_context, spawn

from benchmarks.scaling.environments import make_env
from sb3_trpo import TRPO
from sb3_trpo.union import Union, deal

N_ENVS, N_STEPS = 4, 512
"""Of each rank."""
CASES = (("HalfCheetah-v5", 128), ("HalfCheetah-v5", 1024), ("Humanoid-v5", 1024))
"""Task, and samples of each rank in a minibatch."""
MESSAGE_SIZES = tuple(4**k for k in range(13))  # floats: up to 67 MB


class Messages:
    """The all-reduces of a run, and the seconds spent in them and in exchanging objects."""

    def __init__(self) -> None:
        self.n_bytes: list[int] = []
        self.seconds = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count inside the block."""
        all_reduce, gather = dist.all_reduce, dist.all_gather_object

        def reduce_timed(tensor: th.Tensor, *args: Any, **kwargs: Any) -> Any:
            self.n_bytes.append(tensor.numel() * tensor.element_size())
            return self._timed(all_reduce, tensor, *args, **kwargs)

        def gather_timed(*args: Any, **kwargs: Any) -> Any:
            return self._timed(gather, *args, **kwargs)

        dist.all_reduce, dist.all_gather_object = reduce_timed, gather_timed
        try:
            yield
        finally:
            dist.all_reduce, dist.all_gather_object = all_reduce, gather

    def _timed(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - started


def learning(size: int, n_updates: int, task: str, batch_size: int) -> dict[str, Any]:
    """
    Run ``learn()`` on some ranks.

    :param size: ranks
    :param n_updates: of the timed run
    :param task: id of the environments
    :param batch_size: samples of each rank in a minibatch
    :return: steps per second of all, share of the time in messages, bytes of each all-reduce of an
        update
    """
    return _on_ranks(_learn, size, n_updates, task, batch_size)


def messages() -> list[dict[str, float]]:
    """Return the seconds that an all-reduce of two ranks takes, by its bytes."""
    return _on_ranks(_time_messages, 2)


def _learn(n_updates: int, task: str, batch_size: int) -> dict[str, Any]:
    size = dist.get_world_size()
    model = TRPO(
        "MlpPolicy",
        make_env("dummy", N_ENVS, seed=0, task=task),
        n_steps=N_STEPS,
        batch_size=batch_size * size,
        seed=0,
        device="cpu",
        distributed=True,
    )
    model.set_logger(Logger(None, []))
    samples = N_STEPS * N_ENVS * size
    model.learn(samples)  # the first update makes what later ones find
    dist.barrier()
    counted, started = Messages(), time.perf_counter()
    with counted.counted():
        model.learn(n_updates * samples)
    wall_s = time.perf_counter() - started
    return {
        "task": task,
        "batch_size": batch_size,
        "ranks": size,
        "steps_per_s": n_updates * samples / wall_s,
        "s_per_update": wall_s / n_updates,
        "share_in_messages": counted.seconds / wall_s,
        "messages_per_update": len(counted.n_bytes) / n_updates,
        "bytes_per_update": sum(counted.n_bytes) / n_updates,
    }


def _time_messages() -> list[dict[str, float]]:
    rows = []
    for size in MESSAGE_SIZES:
        tensor, n_times = th.zeros(size), 200 if size < 10_000 else 20 if size < 1_000_000 else 5
        seconds = []
        for _ in range(n_times + 5):
            started = time.perf_counter()
            dist.all_reduce(tensor)
            seconds.append(time.perf_counter() - started)
        seconds = seconds[5:]  # the first ones also wait for the other rank to get here
        rows.append(
            {"bytes": 4 * size, "seconds": median(seconds), "mean_s": sum(seconds) / n_times}
        )
    return rows


def dealing_s() -> float:
    """Return the seconds that a rank takes per sample of all ranks to shuffle and cut an epoch."""
    shapes, permutation = ((N_STEPS, N_ENVS),) * 64, np.random.RandomState(0).permutation
    union = Union.in_time_order(shapes, 0)
    seconds = []
    for _ in range(10):
        started = time.perf_counter()
        deal(union, 64 * 128, permutation)
        seconds.append(time.perf_counter() - started)
    return median(seconds) / union.total


def _on_ranks(function: Callable[..., Any], size: int, *args: Any) -> Any:
    """Call a function on some ranks; what the first returns."""
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting, answers = Path(folder, "meeting").as_uri(), context.SimpleQueue()
        spawn(_serve, (size, meeting, answers, function, args), nprocs=size)
        return answers.get()


def _serve(
    rank: int, size: int, meeting: str, answers: Any, function: Callable[..., Any], args: Any
) -> None:
    th.set_num_threads(1)
    timeout = timedelta(minutes=5)
    dist.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=size, timeout=timeout
    )
    result = function(*args)
    if rank == 0:
        answers.put(result)
    dist.barrier()
    dist.destroy_process_group()
    time.sleep(0.1)  # see sb3_trpo.distributed: gloo's threads must finish first
