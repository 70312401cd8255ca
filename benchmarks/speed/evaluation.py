"""What the measurements come to: ratios of medians, and exponents of growth."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np

Record = dict[str, Any]
"""What an experiment recorded, as JSON has it."""


@dataclass(frozen=True)
class Value:
    """
    A row's figure.

    :param value: that is held against the mark
    :param low: the least of it in any round, or between any two neighbouring sizes
    :param high: the most
    :param ours: what we need or reach, with its unit
    :param theirs: what it is held against
    """

    value: float
    low: float
    high: float
    ours: str
    theirs: str


def speedup(record: Record, *, ours: str, theirs: str) -> Value:
    """
    Compare how much is done per second by the clock.

    :param record: with timings of both, taken in turns
    :param ours: a contender
    :param theirs: another
    :return: ratio of the medians; the extremes are those of the ratios within one round
    """
    our_rates, their_rates = (_rates(record["timings"][name]) for name in (ours, theirs))
    rounds = [mine / other for mine, other in zip(our_rates, their_rates, strict=True)]
    is_of_updates = "samples" in record
    return Value(
        median(our_rates) / median(their_rates),
        min(rounds),
        max(rounds),
        *(_said(median(rates), is_of_updates) for rates in (our_rates, their_rates)),
    )


def _rates(timings: Sequence[Record]) -> list[float]:
    return [timing["work"] / timing["wall_s"] for timing in timings]


def _said(rate: float, is_of_updates: bool) -> str:  # noqa: FBT001  # either unit, from one caller
    return f"{1e3 / rate:,.1f} ms" if is_of_updates else f"{rate:,.0f} steps/s"


def memory_share(record: Record, *, ours: str, theirs: str) -> Value:
    """
    Compare the growth of resident memory.

    :param record: with costs of both
    :param ours: a contender
    :param theirs: another
    :return: our growth over theirs
    """
    grown = [record["costs"][name][0]["growth_bytes"] for name in (ours, theirs)]
    share = grown[0] / max(grown[1], 1)
    return Value(share, share, share, *(f"{n / 2**20:,.0f} MiB" for n in grown))


def exponent(
    record: Record,
    *,
    ours: str,
    over: Literal["samples", "parameters"],
    of: Literal["time", "memory"],
) -> Value:
    """
    Fit the p in cost ∝ size^p.

    :param record: with costs of ours at several sizes
    :param ours: the contender
    :param over: the size
    :param of: the cost
    :return: the least-squares slope of the logarithms; the extremes are the slopes between
        neighbouring sizes
    """
    costs = record["costs"][ours]
    sizes = np.log([cost[over] for cost in costs])
    needs = [seconds(cost) if of == "time" else mebibytes(cost) for cost in costs]
    logs = np.log(needs)
    slopes = np.diff(logs) / np.diff(sizes)
    slope = float(np.polyfit(sizes, logs, 1)[0])
    said = [f"{need:.3g} {'s' if of == 'time' else 'MiB'}" for need in (needs[0], needs[-1])]
    span = f"{costs[0][over]:,} → {costs[-1][over]:,}"
    return Value(slope, float(slopes.min()), float(slopes.max()), " → ".join(said), span)


def seconds(cost: Record) -> float:
    """Return the median time of an update by the clock."""
    return median(timing["wall_s"] for timing in cost["timings"])


def mebibytes(cost: Record) -> float:
    """Return an update's growth of memory; less than one MiB counts as one."""
    return float(max(cost["growth_bytes"] / 2**20, 1.0))
