"""
How long a step of an algorithm takes, compared on one kind of processor.

Runs of a table come from several machines, of which one may take twice as long as another.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from benchmarks.learning.store import Run


def common_processor(runs: Sequence[Run]) -> str:
    """
    Name the kind of processor on which most algorithms have runs; of several, that of most runs.

    :param runs: one or more finished runs on a task
    :return: as ``circumstances.machine`` calls it
    """
    on: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        on[run.machine["cpu"]].append(run.algorithm)
    return max(sorted(on), key=lambda cpu: (len(set(on[cpu])), len(on[cpu])))


def seconds_per_step(runs: Sequence[Run]) -> dict[str, float]:
    """
    Measure every algorithm on the common processor.

    :param runs: finished runs on a task
    :return: median CPU seconds per step, by algorithm; without those that have no run there
    """
    if not runs:
        return {}
    processor = common_processor(runs)
    paces: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        if run.machine["cpu"] == processor:
            paces[run.algorithm].append(run.cpu_s / run.steps)
    return {algorithm: median(found) for algorithm, found in paces.items()}
