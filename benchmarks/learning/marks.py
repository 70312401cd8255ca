"""What the project asks of our scores, and whether they have it."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from benchmarks.learning.aggregates import (
    complete_scores,
    estimate,
    interquartile_mean,
    mean_over_tasks,
    of_ratios,
    probability_of_improvement,
)
from benchmarks.learning.markdown import interval, score_cell, signed, table
from benchmarks.learning.store import Run
from benchmarks.learning.suites import ALGORITHMS, OURS, REFERENCE, SUITES

RETURNS = {  # final deterministic return, mean of five seeds, at least
    "HalfCheetah-v5": 6000.0,
    "Hopper-v5": 3400.0,
    "Walker2d-v5": 4800.0,
    "Ant-v5": 2000.0,
    "Swimmer-v5": 355.0,
    "CartPole-v1": 490.0,
    "Acrobot-v1": -85.0,
    "Pendulum-v1": -170.0,
    "LunarLanderContinuous-v3": 250.0,
}
AGGREGATES = {  # at least, and what the lower bound of the interval must be above
    "mean of the ratios": (1.3, None),
    "IQM": (1.1, 1.0),
    "probability of improvement": (0.7, 0.5),
}
Row = tuple[str, str, str, bool]
"""What is asked of, the mark, ours, and whether it is met."""


def marks_table(runs: Sequence[Run], longer: Sequence[Run]) -> str:
    """
    Hold our scores against the marks.

    :param runs: finished runs of the table
    :param longer: our runs that last as long as PPO's
    :return: Markdown, a row per mark that there are runs for
    """
    rows = [*_returns(runs), *_aggregates(runs), *_equal_time(runs, longer)]
    cells = [(what, mark, ours, "met" if met else "**missed**") for what, mark, ours, met in rows]
    return table(["what", "mark", "ours", ""], cells)


def _scores(runs: Sequence[Run], algorithm: str, task: str) -> list[float]:
    of_cell = (run for run in runs if (run.algorithm, run.environment) == (algorithm, task))
    return [run.evaluation["mean"] for run in of_cell]


def _returns(runs: Sequence[Run]) -> Iterator[Row]:
    for task, mark in RETURNS.items():
        if ours := _scores(runs, OURS, task):
            yield task, signed(f"≥ {mark:g}"), score_cell(ours), fmean(ours) >= mark


def _aggregates(runs: Sequence[Run]) -> Iterator[Row]:
    tasks = list(SUITES["mujoco"])
    ours, theirs = (complete_scores(runs, name, tasks)[1] for name in (OURS, REFERENCE))
    if not (len(ours) and len(theirs) and (theirs.mean(axis=0) > 0).all()):
        return
    statistics = (
        of_ratios(mean_over_tasks),
        of_ratios(interquartile_mean),
        probability_of_improvement,
    )
    for (name, (mark, bound)), statistic in zip(AGGREGATES.items(), statistics, strict=True):
        found = estimate(statistic, ours, theirs)
        is_above = bound is None or (found.interval is not None and found.interval[0] > bound)
        asked = f"≥ {mark:g}" if bound is None else f"≥ {mark:g}, lower bound > {bound:g}"
        what = f"{name} over {ALGORITHMS[REFERENCE]}"
        yield what, asked, interval(found), found.value >= mark and is_above


def _equal_time(runs: Sequence[Run], longer: Sequence[Run]) -> Iterator[Row]:
    for task in SUITES["mujoco"]:
        ours, theirs = _scores(longer, OURS, task), _scores(runs, "ppo", task)
        if ours and theirs:
            asked = f"> {score_cell(theirs)}"
            yield f"{task}, in PPO's time", asked, score_cell(ours), fmean(ours) > fmean(theirs)
