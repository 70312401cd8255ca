"""Timing contenders in turn, so that a noisy machine hits all alike."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """
    One piece of work, timed.

    :param wall_s: seconds that passed
    :param cpu_s: seconds of processor time, of all threads of this process
    :param work: how much was done: timesteps, or updates
    """

    wall_s: float
    cpu_s: float
    work: float


@dataclass(frozen=True)
class Contender:
    """
    Something to be timed.

    :param name: in the results
    :param prepare: gets a round's number (-1: the warm-up) and returns what is to be timed, which
        returns how much work it did
    """

    name: str
    prepare: Callable[[int], Callable[[], float]]


def timed(function: Callable[[], float]) -> Timing:
    """
    Time one call, after the garbage of others is gone.

    :param function: returns how much work it did
    :return: its times
    """
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    work = function()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu, work)


def in_turns(contenders: Sequence[Contender], rounds: int) -> dict[str, list[Timing]]:
    """
    Time all contenders once per round, each round beginning with another one.

    :param contenders: each is warmed up once first, untimed
    :param rounds: timings of each
    :return: the timings by contender, in the order of rounds
    """
    timings: dict[str, list[Timing]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        contender.prepare(-1)()
    for number in range(rounds):
        first = number % max(len(contenders), 1)
        for contender in [*contenders[first:], *contenders[:first]]:
            timings[contender.name].append(timed(contender.prepare(number)))
    return timings
