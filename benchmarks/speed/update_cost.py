"""One model's update, in a process of its own: its growth of memory, and its time."""

import contextlib
import json
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch as th
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from benchmarks.speed.models import blank_env, build, fill_buffer, images, vectors
from benchmarks.speed.products import train_quietly
from benchmarks.speed.replay import Replay
from benchmarks.speed.resident_memory import growth
from benchmarks.speed.timing import timed
from benchmarks.speed.updates import updating

_N_ENVS = 8
_FEW = 64  # samples of the warm-up


@dataclass(frozen=True)
class Order:
    """
    What to measure.

    :param algorithm: whose update
    :param samples: of the rollout; a multiple of 8
    :param on_images: NatureCNN on images and Discrete actions, or the default MLP at the sizes of
        HalfCheetah
    :param settings: departures from the defaults
    :param repeats: timings after the update whose memory is measured
    """

    algorithm: str
    samples: int
    on_images: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    repeats: int = 0


@dataclass(frozen=True)
class Cost:
    """
    What was measured.

    :param samples: of the rollout
    :param parameters: of the policy, the value function included
    :param growth_bytes: of resident memory during one update
    :param timings: of further updates
    """

    samples: int
    parameters: int
    growth_bytes: int
    timings: list[dict[str, float]]


def measure(order: Order) -> Cost:
    """
    Measure; only in a fresh process is the growth of memory what the update needs.

    :param order: what
    :return: its cost
    """
    few = _model(replace(order, samples=min(_FEW, order.samples)))
    train_quietly(few)  # loads what torch loads when it is first used
    del few
    model = _model(order)
    replay = Replay(model) if order.repeats else None
    grown = growth(lambda: train_quietly(model))
    timings = []
    for number in range(order.repeats if replay else 0):
        timings.append(asdict(timed(updating(model, replay)(number))))
    n_parameters = sum(parameter.numel() for parameter in model.policy.parameters())
    return Cost(order.samples, n_parameters, grown, timings)


def _model(order: Order) -> OnPolicyAlgorithm:
    spaces = images() if order.on_images else vectors(17, 6)
    model = build(
        order.algorithm,
        blank_env(*spaces, _N_ENVS),
        seed=0,
        policy="CnnPolicy" if order.on_images else "MlpPolicy",
        n_steps=order.samples // _N_ENVS,
        **order.settings,
    )
    fill_buffer(model, seed=0)
    return model


def _offer_to_die_first() -> None:
    """Where memory runs out, this process shall be the one that the kernel ends."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    _offer_to_die_first()
    th.set_num_threads(1)
    print(json.dumps(asdict(measure(Order(**json.loads(sys.argv[1]))))))
