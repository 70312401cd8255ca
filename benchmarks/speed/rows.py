"""The table's rows, with their marks, and the experiments behind them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.speed.evaluation import Record, Value, exponent, memory_share, speedup
from benchmarks.speed.gpu import gpu_actor_step
from benchmarks.speed.growth import growth_with_batch, growth_with_parameters, image_update
from benchmarks.speed.models import (
    A2C,
    CONTRIB,
    MASKABLE,
    MASKABLE_PPO,
    OURS,
    PPO,
    RECURRENT,
    RECURRENT_PPO,
)
from benchmarks.speed.shares import shares
from benchmarks.speed.sizes import Sizes
from benchmarks.speed.updates import actor_step, whole_update, wide_actor_step
from benchmarks.speed.whole_learn import (
    RANDOM_ACTIONS,
    eight_envs,
    one_env,
    with_masks,
    with_memory,
)

EXPERIMENTS: dict[str, Callable[[Sizes, Collection[str]], Record]] = {
    "one_env": one_env,
    "eight_envs": eight_envs,
    "with_masks": with_masks,
    "with_memory": with_memory,
    "actor_step": actor_step,
    "wide_actor_step": wide_actor_step,
    "whole_update": whole_update,
    "image_update": image_update,
    "growth_with_batch": growth_with_batch,
    "growth_with_parameters": growth_with_parameters,
    "shares": shares,
    "gpu": gpu_actor_step,
}
WITHOUT_ROW = {"shares": (OURS, CONTRIB, PPO, A2C), "gpu": (OURS, CONTRIB)}
MOSTLY_LINEAR = 1.1  # an exponent of 1, and room for noise


@dataclass(frozen=True)
class Row:
    """
    A row of the table.

    :param name: for ``--only``
    :param what: for readers
    :param experiment: a key of ``EXPERIMENTS``
    :param contenders: who takes part
    :param evaluate: from the experiment's record to the figure
    :param mark: what the figure must reach; None: for information
    :param aim: what it should reach
    :param at_most: the mark is an upper bound
    """

    name: str
    what: str
    experiment: str
    contenders: tuple[str, ...]
    evaluate: Callable[[Record], Value]
    mark: float | None
    aim: float | None = None
    at_most: bool = False

    def is_met(self, value: float) -> bool | None:
        """Whether the figure reaches the mark; None without one."""
        if self.mark is None:
            return None
        return value <= self.mark if self.at_most else value >= self.mark


def _against(
    name: str,
    what: str,
    experiment: str,
    theirs: str,
    mark: float | None,
    *,
    ours: str = OURS,
    **keywords: Any,
) -> Row:
    evaluate = partial(speedup, ours=ours, theirs=theirs)
    return Row(name, what, experiment, (ours, theirs), evaluate, mark, **keywords)


def _growth(name: str, what: str, experiment: str, **keywords: Any) -> Row:
    evaluate = partial(exponent, ours=OURS, **keywords)
    return Row(name, what, experiment, (OURS,), evaluate, MOSTLY_LINEAR, at_most=True)


ROWS = (
    _against("learn-1", "learn(), 1 env, against sb3_contrib", "one_env", CONTRIB, 3.0),
    _against("learn-8", "learn(), 8 envs, against sb3_contrib", "eight_envs", CONTRIB, 1.8, aim=2),
    _against("learn-ppo", "learn(), 1 env, against PPO", "one_env", PPO, 4.0),
    _against("learn-a2c", "learn(), 1 env, against A2C", "one_env", A2C, 5.0),
    _against(
        "share-8", "learn(), 8 envs, of random actions", "eight_envs", RANDOM_ACTIONS, mark=0.65
    ),
    _against("share-1", "learn(), 1 env, of random actions", "one_env", RANDOM_ACTIONS, mark=None),
    _against(
        "learn-masked",
        "MaskableTRPO's learn(), against MaskablePPO",
        "with_masks",
        MASKABLE_PPO,
        1.5,
        ours=MASKABLE,
    ),
    _against(
        "learn-memory",
        "RecurrentTRPO's learn(), against RecurrentPPO",
        "with_memory",
        RECURRENT_PPO,
        1.5,
        ours=RECURRENT,
    ),
    _against("actor", "actor step, 15 products, 17 → 6", "actor_step", CONTRIB, 4.0, aim=5),
    _against(
        "actor-wide", "actor step, 15 products, 348 → 17", "wide_actor_step", CONTRIB, 2.0, aim=2.5
    ),
    _against("update", "whole update, against sb3_contrib", "whole_update", CONTRIB, 3.0, aim=4),
    _against("update-ppo", "whole update, against PPO", "whole_update", PPO, 8.0),
    Row(
        "memory",
        "memory of an update on images, of sb3_contrib's",
        "image_update",
        (OURS, CONTRIB),
        partial(memory_share, ours=OURS, theirs=CONTRIB),
        mark=0.2,
        at_most=True,
    ),
    _growth("batch-time", "time ∝ samples^p", "growth_with_batch", over="samples", of="time"),
    _growth("batch-memory", "memory ∝ samples^p", "growth_with_batch", over="samples", of="memory"),
    _growth(
        "parameters-time",
        "time ∝ parameters^p",
        "growth_with_parameters",
        over="parameters",
        of="time",
    ),
    _growth(
        "parameters-memory",
        "memory ∝ parameters^p",
        "growth_with_parameters",
        over="parameters",
        of="memory",
    ),
)
NAMES = (*(row.name for row in ROWS), *WITHOUT_ROW)


def needed(names: Collection[str]) -> dict[str, list[str]]:
    """
    Tell which experiments some rows need, and with whom.

    :param names: of ``NAMES``
    :return: contenders by experiment, in the order of ``EXPERIMENTS``
    """
    found: dict[str, list[str]] = {}
    for experiment in EXPERIMENTS:
        wanted = [row for row in ROWS if row.experiment == experiment and row.name in names]
        contenders = dict.fromkeys(name for row in wanted for name in row.contenders)
        if experiment in names:
            contenders |= dict.fromkeys(WITHOUT_ROW[experiment])
        if contenders:
            found[experiment] = list(contenders)
    return found
