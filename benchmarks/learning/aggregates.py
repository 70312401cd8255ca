"""
Statistics over tasks and seeds, with their intervals.

The methods are rliable's (Agarwal et al. 2021, arXiv:2108.13264): interquartile mean, probability
of improvement, percentile intervals of a stratified bootstrap over the runs. The library itself is
not used: rliable 1.2.0 needs arch < 8, whose import fails with pandas 3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

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


def complete_scores(
    runs: Sequence[Run], algorithm: str, tasks: Sequence[str]
) -> tuple[list[int], np.ndarray]:
    """
    Gather final scores of the seeds that have a run on every task.

    :param runs: finished runs
    :param algorithm: whose
    :param tasks: ids of the tasks, in order
    :return: the seeds and their scores (seeds, tasks)
    """
    scores = {
        (run.seed, run.environment): run.evaluation["mean"]
        for run in runs
        if run.algorithm == algorithm
    }
    seeds = sorted({seed for seed, _ in scores})
    complete = [seed for seed in seeds if all((seed, task) in scores for task in tasks)]
    table = [[scores[seed, task] for task in tasks] for seed in complete]
    return complete, np.asarray(table, dtype=float).reshape(len(complete), len(tasks))


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """
    Return the mean of the middle half of all scores, whatever their task.

    :param scores: (…, runs, tasks)
    :return: (…)
    """
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4  # from either end
    return np.asarray(flat[..., cut : flat.shape[-1] - cut].mean(axis=-1))


def mean_of_ratios(scores: np.ndarray) -> np.ndarray:
    """
    Return the mean over tasks of the mean over runs.

    :param scores: normalised, (…, runs, tasks)
    :return: (…)
    """
    return np.asarray(scores.mean(axis=(-2, -1)))


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

    Each repetition draws, for every task by itself and with replacement, as many runs as there are.

    :param statistic: of one or several arrays (…, runs, tasks), to (…)
    :param samples: its arguments (runs, tasks)
    :return: the statistic, with the 2.5th and 97.5th percentile over the repetitions
    """
    value = float(statistic(*samples))
    if any(len(sample) < 2 for sample in samples):
        return Estimate(value, None)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    resampled = []
    for sample in samples:
        rows = rng.integers(len(sample), size=(BOOTSTRAP_REPETITIONS, *sample.shape))
        resampled.append(np.take_along_axis(sample[None], rows, axis=1))
    low, high = np.percentile(statistic(*resampled), [2.5, 97.5])
    return Estimate(value, (float(low), float(high)))
