"""
How long a step of an algorithm takes: all of them measured in turn on one machine.

The runs of a table may come from several machines, so their own times cannot be compared: the same
1 M steps of PPO on Swimmer-v5 took 2.8 CPU minutes on one and 8.1 on another (``results.csv``).
Short runs of everything, made one after another, can:

    python -m benchmarks.learning run --steps 10240 --seeds 0,1,2 --jobs 1 --out OUT

with ``benchmarks/learning/paces`` as OUT.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.learning import store
from benchmarks.learning.configurations import configuration
from benchmarks.learning.models import constructor_defaults
from benchmarks.learning.store import Run
from benchmarks.learning.suites import OURS, SUITES

Paces = Mapping[tuple[str, str], float]
"""CPU seconds per step, by algorithm and task."""


def short_runs(folder: Path) -> list[Run]:
    """
    Read the short runs; those that are broken are named and left out.

    :param folder: of the runs
    :return: them
    """
    runs, broken = store.read_all(folder)
    for path in broken:
        print(f"left out, not a finished run: {path}", file=sys.stderr)
    return runs


def seconds_per_step(runs: Sequence[Run]) -> Paces:
    """
    Take the medians.

    :param runs: short runs on one machine
    :return: by algorithm and task
    :raises ValueError: they are of several machines, or were made with other settings than today's
    """
    machines = sorted({json.dumps(run.machine, sort_keys=True) for run in runs})
    if len(machines) > 1:
        raise ValueError(f"paces must all be of one machine, got {' and '.join(machines)}")
    others = sorted({f"{run.algorithm} on {run.environment}" for run in runs if _is_stale(run)})
    if others:
        raise ValueError(f"paces of other settings, to be measured again: {', '.join(others)}")
    return {cell: median(times) for cell, times in _by_cell(runs).items()}


def spread(runs: Sequence[Run]) -> float:
    """
    Tell how far runs of the same algorithm and task differ.

    :param runs: short runs on one machine, at least one
    :return: (longest − shortest) / median, the median over algorithms and tasks
    """
    return median((max(times) - min(times)) / median(times) for times in _by_cell(runs).values())


def _by_cell(runs: Sequence[Run]) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in runs:
        found[run.algorithm, run.environment].append(run.cpu_s / run.steps)
    return found


def _is_stale(run: Run) -> bool:
    today = configuration(run.algorithm, run.environment)
    short = replace(today, steps=run.configuration["steps"])
    return not run.is_of(short, constructor_defaults(short))


def steps_in_peers_time(paces: Paces, peer: str) -> dict[str, int]:
    """
    Tell how many steps ours takes in the time that a peer takes for its own.

    :param paces: as measured
    :param peer: key of ``ALGORITHMS``
    :return: by MuJoCo task with paces of both, rounded down to 10 000
    """
    return {
        task: int(n_steps * paces[peer, task] / paces[OURS, task]) // 10_000 * 10_000
        for task, n_steps in SUITES["mujoco"].items()
        if {(peer, task), (OURS, task)} <= paces.keys()
    }
