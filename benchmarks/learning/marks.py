"""What the project asks of our scores, and whether they have it."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from benchmarks.learning.aggregates import (
    complete_scores,
    estimate,
    interquartile_mean,
    mean_over_tasks,
    of_ratios,
    probability_of_improvement,
    scores,
)
from benchmarks.learning.experiments import EQUAL_TIME, SEEDS
from benchmarks.learning.markdown import interval, score_cell, signed, table
from benchmarks.learning.store import Run
from benchmarks.learning.suites import ALGORITHMS, OURS, REFERENCE, SUITES, seeds

RETURNS = {  # final deterministic return, mean over all seeds, at least
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
Row = tuple[str, str, str, bool | None]
"""What is asked of, the mark, ours, and whether it is met; None while runs are missing."""
VERDICTS = {True: "met", False: "**missed**", None: "open"}


def marks_table(runs: Sequence[Run], longer: Sequence[Run], idle: Mapping[str, float]) -> str:
    """
    Hold our scores against the marks.

    :param runs: finished runs of the table
    :param longer: our runs that last as long as PPO's
    :param idle: mean return of an agent that never acts, by MuJoCo task; may be empty
    :return: Markdown, a row per mark that there are runs for; those of the aggregates once more
        without the tasks on which the reference ends below that agent
    """
    tasks = list(SUITES["mujoco"])
    rows = [*_returns(runs), *_aggregates(runs, tasks)]
    failed = [task for algorithm, task in _below(runs, idle) if algorithm == REFERENCE]
    if failed:
        rows += [
            (f"{what}, without {' and '.join(failed)}", *rest)
            for what, *rest in _aggregates(runs, [task for task in tasks if task not in failed])
        ]
    rows += _equal_time(runs, longer)
    cells = [(what, mark, ours, VERDICTS[met]) for what, mark, ours, met in rows]
    return table(["what", "mark", "ours", ""], cells)


def beside_idle(runs: Sequence[Run], idle: Mapping[str, float]) -> str:
    """
    Say what an agent gets that never acts, and who ends below it.

    :param runs: finished runs
    :param idle: its mean return, by task
    :return: a paragraph
    """
    gets = ", ".join(f"{signed(str(round(mean)))} on {task}" for task, mean in idle.items())
    said = f"An agent that never acts (`python -m benchmarks.learning.idle`) gets {gets}."
    below = [f"{ALGORITHMS[algorithm]} on {task}" for algorithm, task in _below(runs, idle)]
    if not below:
        return said
    return f"{said} Below it end: {', '.join(below)}; a ratio to such a score says little."


def _below(runs: Sequence[Run], idle: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return who ends on which task below an agent that never acts."""
    return [
        (algorithm, task)
        for task, mean in idle.items()
        for algorithm in ALGORITHMS
        if (found := scores(runs, algorithm, task).values()) and fmean(found) < mean
    ]


def _returns(runs: Sequence[Run]) -> Iterator[Row]:
    for task, mark in RETURNS.items():
        if ours := scores(runs, OURS, task).values():
            is_whole = len(ours) >= len(seeds(OURS, task))
            met = fmean(ours) >= mark if is_whole else None
            yield task, signed(f"≥ {mark:g}"), score_cell(ours), met


def _aggregates(runs: Sequence[Run], tasks: Sequence[str]) -> Iterator[Row]:
    ours, theirs = (complete_scores(runs, name, tasks) for name in (OURS, REFERENCE))
    if not (len(ours) and len(theirs) and (theirs.mean(axis=0) > 0).all()):
        return
    is_whole = min(len(ours), len(theirs)) >= len(seeds(OURS, tasks[0]))
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
        met = found.value >= mark and is_above if is_whole else None
        yield what, asked, interval(found), met


def _equal_time(runs: Sequence[Run], longer: Sequence[Run]) -> Iterator[Row]:
    for task in SUITES["mujoco"]:
        ours, theirs = scores(longer, OURS, task).values(), scores(runs, "ppo", task).values()
        if ours and theirs:
            asked = f"> {score_cell(theirs)}"
            is_whole = min(len(ours), len(theirs)) >= len(SEEDS[EQUAL_TIME])
            met = fmean(ours) > fmean(theirs) if is_whole else None
            yield f"{task}, in PPO's time", asked, score_cell(ours), met
