"""Tables of our runs beside the report's own, as text."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from benchmarks.learning.aggregates import estimate, mean_over_tasks, of_ratios, scores
from benchmarks.learning.experiments import OWN_IN_WORDS
from benchmarks.learning.markdown import interval, score_cell, table
from benchmarks.learning.pace import Paces
from benchmarks.learning.store import Run
from benchmarks.learning.suites import ALGORITHMS, CONTESTANTS, OURS


def own_settings(runs: Sequence[Run], own: Sequence[Run], own_fresh: Sequence[Run]) -> str:
    """
    Return our runs with settings of their own beside all algorithms' of the table.

    :param runs: finished runs of the table
    :param own: our runs with settings of their own
    :param own_fresh: the same on other seeds
    :return: Markdown, a row per task
    """
    rows = []
    for task in dict.fromkeys(run.environment for run in own):
        columns = [scores(side, OURS, task) for side in (own, own_fresh)]
        columns += [scores(runs, algorithm, task) for algorithm in CONTESTANTS["mujoco"]]
        rows.append([task, OWN_IN_WORDS[task], *(score_cell(of.values()) for of in columns)])
    names = [ALGORITHMS[name] for name in CONTESTANTS["mujoco"]]
    changed = f"{names[0]}, changed"
    return table(["task", "change", changed, f"{changed}, other seeds", *names], rows)


def equal_time(runs: Sequence[Run], longer: Sequence[Run], paces: Paces) -> str:
    """
    Return our longer runs beside PPO's of the table: scores, steps and CPU time.

    :param runs: finished runs of the table
    :param longer: our runs that last as long as PPO's
    :param paces: that turn steps into time
    :return: Markdown, a row per task
    """
    theirs = [run for run in runs if run.algorithm == "ppo"]
    rows = []
    for task in dict.fromkeys(run.environment for run in longer):
        row = [task]
        for side, algorithm in ((longer, OURS), (theirs, "ppo")):
            on_task = [run for run in side if run.environment == task]
            steps = sorted({run.steps for run in on_task})
            pace = paces.get((algorithm, task))
            minutes = "none" if pace is None else " / ".join(f"{n * pace / 60:.1f}" for n in steps)
            score = score_cell(scores(side, algorithm, task).values())
            row += [score, " / ".join(f"{n:,}" for n in steps), minutes]
        rows.append(row)
    columns = ["{}", "steps", "CPU minutes"]
    names = (ALGORITHMS[OURS], ALGORITHMS["ppo"])
    return table(["task", *(c.format(name) for name in names for c in columns)], rows)


def times_by_machine(runs: Sequence[Run], longer: Sequence[Run]) -> str:
    """
    Return what our longer runs and PPO's of the table took, where one kind of machine made both.

    :param runs: finished runs of the table
    :param longer: our runs that last as long as PPO's
    :return: Markdown, a row per task and kind of machine: means over the runs
    """
    theirs = [run for run in runs if run.algorithm == "ppo"]
    rows = []
    for task in dict.fromkeys(run.environment for run in longer):
        ours, ppo = (_minutes_by_machine(side, task) for side in (longer, theirs))
        for cpu in sorted(ours.keys() & ppo.keys()):
            both = ours[cpu], ppo[cpu]
            cells = [f"{fmean(minutes):.1f} ({len(minutes)})" for minutes in both]
            rows.append([task, cpu, *cells, f"{fmean(ours[cpu]) / fmean(ppo[cpu]):.2f}"])
    return table(["task", "machine", ALGORITHMS[OURS], ALGORITHMS["ppo"], "ratio"], rows)


def _minutes_by_machine(runs: Sequence[Run], task: str) -> dict[str, list[float]]:
    """Return the CPU minutes of the runs on a task."""
    found: dict[str, list[float]] = {}
    for run in runs:
        if run.environment == task:
            found.setdefault(run.machine["cpu"], []).append(run.cpu_s / 60)
    return found


def one_changed(
    rows: Mapping[str, Sequence[Run]], tasks: Sequence[str], ratio_tasks: Sequence[str]
) -> str:
    """
    Return scores with one setting changed at a time, beside those of the first row.

    :param rows: finished runs, by what is said of them; the first row's are the divisor
    :param tasks: ids of the tasks, in order
    :param ratio_tasks: those whose scores' ratios have a meaning
    :return: Markdown, a row each; ratios are of the seeds that both have
    """
    base = next(iter(rows.values()))
    found = []
    for what, runs in rows.items():
        cells = [score_cell(scores(runs, OURS, task).values()) for task in tasks]
        found.append([what, *cells, _mean_ratio(runs, base, ratio_tasks)])
    return table(["what", *tasks, "mean of ratios"], found)


def _mean_ratio(runs: Sequence[Run], base: Sequence[Run], tasks: Sequence[str]) -> str:
    """Return the mean ratio over tasks and the seeds that both have on all of them."""
    sides = [[scores(side, OURS, task) for task in tasks] for side in (runs, base)]
    both = sorted(set.intersection(*(set(of_task) for side in sides for of_task in side)))
    if not both:
        return "none"
    if runs is base:
        return "1.00"
    samples = (np.array([[of_task[seed] for of_task in side] for seed in both]) for side in sides)
    return interval(estimate(of_ratios(mean_over_tasks), *samples))
