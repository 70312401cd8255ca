"""How the cost of an update grows: on images, with the batch, with the parameters."""

import json
import os
import subprocess
import sys
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.learning.runner import ONE_THREAD
from benchmarks.speed.models import CONTRIB, OURS
from benchmarks.speed.resident_memory import available
from benchmarks.speed.sizes import Sizes
from benchmarks.speed.update_cost import Order

ROOT = Path(__file__).parents[2]
PROBES = 256, 1024  # samples of two small updates that foretell what a large one needs
SHARE_OF_MEMORY = 0.85  # of what is available; the rest is for whoever else is there
BYTES_PER_SAMPLE = 4 * 84 * 84  # of the rollout itself
FEW_STEPS = {"cg_max_steps": 3, "n_critic_updates": 1}  # the graph is what takes memory


def image_update(sizes: Sizes, contenders: Collection[str]) -> dict[str, Any]:
    """
    Measure the memory of an update on images, with as many samples as the peer has room for.

    :param sizes: how many samples are wanted
    :param contenders: ours works in chunks
    :return: what is recorded; ``samples`` may be fewer than ``samples_wanted``
    """
    samples = _affordable(sizes.image_samples)
    settings = {
        OURS: {**FEW_STEPS, "actor_batch_size": sizes.image_chunk},
        CONTRIB: FEW_STEPS,
    }
    costs = {
        name: _cost(Order(name, samples, on_images=True, settings=settings[name]))
        for name in contenders
    }
    return {
        "samples": samples,
        "samples_wanted": sizes.image_samples,
        "actor_batch_size": sizes.image_chunk,
        **FEW_STEPS,
        "costs": {name: [cost] for name, cost in costs.items()},
    }


def growth_with_batch(sizes: Sizes, contenders: Collection[str]) -> dict[str, Any]:
    """Measure updates of the default MLP on larger and larger rollouts, contenders in turn."""
    names = [*contenders, *(name for name in sizes.batch_contenders if name not in contenders)]
    costs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for samples in sizes.batch_sizes:
        for name in names:
            costs[name].append(_cost(Order(name, samples, repeats=sizes.growth_repeats)))
    return {"costs": costs}


def growth_with_parameters(sizes: Sizes, contenders: Collection[str]) -> dict[str, Any]:
    """Measure updates of wider and wider MLPs on rollouts of one size."""
    costs: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for wanted in sizes.parameters:
        width = width_for(wanted)
        for name in contenders:
            order = Order(
                name,
                sizes.parameter_samples,
                settings={"policy_kwargs": {"net_arch": [width, width]}},
                repeats=sizes.growth_repeats,
            )
            costs[name].append(_cost(order))
    return {"costs": costs}


def width_for(n_parameters: int) -> int:
    """
    Return the width of two hidden layers, in actor and critic each, that makes so many parameters.

    :param n_parameters: wanted of both networks, at the sizes of HalfCheetah
    :return: units of a layer: the positive root of 2w² + 45w + 19 = n_parameters, rounded
    """
    linear, constant = 2 * 17 + 2 * 2 + 6 + 1, 6 + 1 + 6 + 6  # log_std among them
    return round((-linear + (linear**2 + 8 * (n_parameters - constant)) ** 0.5) / 4)


def _affordable(wanted: int) -> int:
    """Halve the samples until sb3_contrib's update fits into memory."""
    room = available()
    if room is None or wanted <= max(PROBES):
        return wanted
    small, large = (
        _cost(Order(CONTRIB, samples, on_images=True, settings=FEW_STEPS))["growth_bytes"]
        for samples in PROBES
    )
    per_sample = (large - small) / (PROBES[1] - PROBES[0]) + BYTES_PER_SAMPLE
    samples = wanted
    while samples > PROBES[1] and small + samples * per_sample > SHARE_OF_MEMORY * room:
        samples //= 2
    return samples


def _cost(order: Order) -> dict[str, Any]:
    """
    Measure in a fresh process.

    :param order: what
    :return: a :class:`benchmarks.speed.update_cost.Cost` as JSON has it
    :raises RuntimeError: the process failed
    """
    command = [sys.executable, "-m", "benchmarks.speed.update_cost", json.dumps(asdict(order))]
    environment = {**os.environ, **ONE_THREAD}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-5:])
        raise RuntimeError(f"{order} ended with status {done.returncode}:\n{tail}")
    cost: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return cost
