"""
Statistics over tasks and seeds, with their intervals.

The methods are rliable's (Agarwal et al. 2021, arXiv:2108.13264): interquartile mean, probability
of improvement, percentile intervals of a stratified bootstrap over the runs. The bootstrap is
scipy's. rliable 1.2.0 itself draws from numpy's global state whatever its ``random_state``, so that
the same files would make another report, and it needs pandas < 3; a test holds the two equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.stats import bootstrap, trim_mean

from benchmarks.learning.store import Run

BOOTSTRAP_REPETITIONS = 20_000
BOOTSTRAP_SEED = 0  # the same raw files give the same report


@dataclass(frozen=True)
class Estimate:
    """
    A statistic and its 95 % interval.

    :param value: of the statistic
    :param interval: lower and upper bound; None where a single run gives none
    """

    value: float
    interval: tuple[float, float] | None


def scores(runs: Sequence[Run], algorithm: str, task: str) -> dict[int, float]:
    """
    Gather final scores of an algorithm on a task.

    :param runs: finished runs
    :param algorithm: whose
    :param task: id of the task
    :return: by seed
    """
    cell = (algorithm, task)
    return {
        run.seed: run.evaluation["mean"] for run in runs if (run.algorithm, run.environment) == cell
    }


def complete_scores(runs: Sequence[Run], algorithm: str, tasks: Sequence[str]) -> np.ndarray:
    """
    Gather final scores of the seeds that have a run on every task.

    :param runs: finished runs
    :param algorithm: whose
    :param tasks: ids of the tasks, in order
    :return: (seeds, tasks), lowest seed first
    """
    by_task = [scores(runs, algorithm, task) for task in tasks]
    complete = sorted(set.intersection(*(set(of_task) for of_task in by_task)))
    table = [[of_task[seed] for of_task in by_task] for seed in complete]
    return np.asarray(table, dtype=float).reshape(len(complete), len(tasks))


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """
    Return the mean of the middle half of all scores, whatever their task.

    :param scores: (…, runs, tasks)
    :return: (…)
    """
    flat = scores.reshape(*scores.shape[:-2], -1)
    return np.asarray(trim_mean(flat, 0.25, axis=-1))


def mean_over_tasks(scores: np.ndarray) -> np.ndarray:
    """
    Return the mean over tasks of the mean over runs.

    :param scores: (…, runs, tasks)
    :return: (…)
    """
    return np.asarray(scores.mean(axis=(-2, -1)))


def ratios(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """
    Return scores divided by the reference's mean on the same task.

    :param scores: (…, runs, tasks)
    :param reference: (…, runs, tasks); another number of runs is fine
    :return: (…, runs, tasks)
    """
    return np.asarray(scores / reference.mean(axis=-2, keepdims=True))


def of_ratios(statistic: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    """
    Return a statistic of scores divided by the reference's mean on the same task.

    :param statistic: of an array (…, runs, tasks), to (…)
    :return: the same of two arrays, the scores and the reference's. Of the reference's alone: both
        are the same draw
    """

    def found(scores: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
        return statistic(ratios(scores, scores if reference is None else reference))

    return found


def probability_of_improvement(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """
    Return how probably a run of ours beats one of theirs on the same task, averaged over tasks.

    :param ours: (…, runs, tasks)
    :param theirs: (…, runs, tasks); another number of runs is fine
    :return: (…); a tie counts half
    """
    mine, other = ours[..., :, None, :], theirs[..., None, :, :]
    wins = (mine > other) + 0.5 * (mine == other)
    return np.asarray(wins.mean(axis=(-3, -2, -1)))


def estimate(statistic: Callable[..., np.ndarray], *samples: np.ndarray) -> Estimate:
    """
    Compute a statistic with its stratified bootstrap interval.

    Each repetition draws, for every task of every sample by itself and with replacement, as many
    runs as there are.

    :param statistic: of one or several arrays (…, runs, tasks), to (…)
    :param samples: its arguments (runs, tasks)
    :return: the statistic, with the 2.5th and 97.5th percentile over the repetitions
    """
    value = float(statistic(*samples))
    if any(len(sample) < 2 for sample in samples):
        return Estimate(value, None)
    columns = [column for sample in samples for column in sample.T]
    ends = np.cumsum([sample.shape[1] for sample in samples])[:-1]

    def of_columns(*drawn: np.ndarray, axis: int) -> np.ndarray:
        tables = [drawn[start:end] for start, end in pairwise((0, *ends, len(drawn)))]
        return statistic(*(np.stack(np.moveaxis(table, axis, -1), axis=-1) for table in tables))

    result = bootstrap(
        columns,
        of_columns,
        n_resamples=BOOTSTRAP_REPETITIONS,
        method="percentile",
        rng=BOOTSTRAP_SEED,
    )
    interval = result.confidence_interval
    return Estimate(value, (float(interval.low), float(interval.high)))
