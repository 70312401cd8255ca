"""The report's tables, as text."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from benchmarks.learning.aggregates import (
    complete_scores,
    estimate,
    interquartile_mean,
    mean_over_tasks,
    of_ratios,
    probability_of_improvement,
    ratios,
    scores,
)
from benchmarks.learning.markdown import interval, score_cell, signed, table
from benchmarks.learning.store import Run
from benchmarks.learning.suites import (
    ALGORITHMS,
    OURS,
    REFERENCE,
    THRESHOLDS,
)

CSV_COLUMNS = "algo,env,seed,steps,eval_mean,eval_std,train_last100,wall_s,cpu_s"


def results_csv(runs: Sequence[Run]) -> str:
    """
    Write the raw table.

    :param runs: finished runs
    :return: a row per run, sorted by algorithm, task and seed
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS.split(","))
    for run in sorted(runs, key=lambda run: (run.algorithm, run.environment, run.seed)):
        figures = [run.evaluation["mean"], run.evaluation["std"], run.train_last100]
        rounded = ["" if figure is None else f"{figure:.3f}" for figure in figures]
        times = [f"{run.wall_s:.1f}", f"{run.cpu_s:.1f}"]
        writer.writerow([run.algorithm, run.environment, run.seed, run.steps, *rounded, *times])
    return text.getvalue()


def scores_table(runs: Sequence[Run], tasks: Sequence[str], algorithms: Sequence[str]) -> str:
    """
    Return a suite's final scores: a row per task, a column per algorithm.

    :param runs: finished runs
    :param tasks: ids of the suite's tasks, in order
    :param algorithms: keys of ``ALGORITHMS``, in order
    :return: Markdown
    """
    rows = []
    for task in tasks:
        of_task = [run for run in runs if run.environment == task]
        steps = sorted({run.configuration["steps"] for run in of_task})
        cells = [score_cell(scores(of_task, algorithm, task).values()) for algorithm in algorithms]
        rows.append([task, " / ".join(f"{n:,}" for n in steps) or "none", *cells])
    return table(["task", "steps", *(ALGORITHMS[name] for name in algorithms)], rows)


def steps_to_threshold(runs: Sequence[Run], tasks: Sequence[str], algorithms: Sequence[str]) -> str:
    """
    Return the training steps after which the last 20 episodes had a mean of the threshold.

    :param runs: finished runs
    :param tasks: ids of the suite's tasks, in order
    :param algorithms: keys of ``ALGORITHMS``, in order
    :return: Markdown: medians over seeds, and how many seeds got there
    """
    rows = []
    for task in tasks:
        row = [task, signed(f"{THRESHOLDS[task]:g}")]
        for algorithm in algorithms:
            of_cell = [r for r in runs if (r.environment, r.algorithm) == (task, algorithm)]
            found = [first_step_above(run, THRESHOLDS[task]) for run in of_cell]
            steps = [np.inf if step is None else step for step in found]
            n_reached = sum(step is not None for step in found)
            median = float(np.median(steps)) if steps else np.nan
            said = f"{median:,.0f}" if np.isfinite(median) else "none"
            row.append(f"{said} ({n_reached} of {len(found)})")
        rows.append(row)
    return table(["task", "threshold", *(ALGORITHMS[name] for name in algorithms)], rows)


def first_step_above(run: Run, threshold: float, *, episodes: int = 20) -> int | None:
    """
    Find when training first reached a return.

    :param run: finished
    :param threshold: for the mean of the last episodes
    :param episodes: how many, at least; a point of a thinned curve may stand for several
    :return: timesteps; None if never
    """
    columns = [np.asarray(run.curve[name], dtype=float) for name in ("rows", "return", "step")]
    present = np.isfinite(columns[1])
    # An episode whose return was not finite is None in the file.
    rows, returns, ends = (column[present] for column in columns)
    sums = np.concatenate([[0.0], np.cumsum(rows * returns)])
    counts = np.concatenate([[0.0], np.cumsum(rows)])
    for last in np.flatnonzero(counts >= episodes):
        first = np.searchsorted(counts, counts[last] - episodes, side="right") - 1
        if (sums[last] - sums[first]) / (counts[last] - counts[first]) >= threshold:
            return int(ends[last - 1])
    return None


def over_all_tasks(runs: Sequence[Run], tasks: Sequence[str], algorithms: Sequence[str]) -> str:
    """
    Return a suite's aggregates, from the seeds that have all its tasks.

    :param runs: finished runs
    :param tasks: ids of the suite's tasks, in order
    :param algorithms: keys of ``ALGORITHMS``, in order; ours and the reference among them
    :return: Markdown
    """
    complete = {algorithm: complete_scores(runs, algorithm, tasks) for algorithm in algorithms}
    if not len(complete[REFERENCE]):
        return f"No aggregates yet: no seed of {ALGORITHMS[REFERENCE]} has a run on every task."
    scale = complete[REFERENCE].mean(axis=0)
    if not (scale > 0).all():
        bad = ", ".join(task for task, mean in zip(tasks, scale, strict=True) if mean <= 0)
        return f"No aggregates: the mean of {ALGORITHMS[REFERENCE]} is not positive on {bad}."
    present = {name: found for name, found in complete.items() if len(found)}
    parts = [_ratios_table(present, tasks)]
    absent = [ALGORITHMS[name] for name in algorithms if name not in present]
    if absent:
        parts.append(f"Left out, no seed has a run on every task: {', '.join(absent)}.")
    if OURS in present:
        parts.append(_improvement_table(present))
        parts.append("The same without one of the tasks, to see what hangs on it:")
        parts.append(_without_each_task(runs, tasks))
    return "\n\n".join(parts)


def updates(runs: Sequence[Run], tasks: Sequence[str]) -> str:
    """
    Return how our updates went.

    :param runs: finished runs of a suite
    :param tasks: ids of the suite's tasks, in order
    :return: Markdown, a row per task
    """
    rows = []
    for task in tasks:
        noted = [run for run in runs if run.environment == task and run.updates]
        if not noted:
            continue
        columns = {
            name: [
                value for run in noted for value in (run.updates or {})[name] if value is not None
            ]
            for name in ("kl_utilization", "line_search_steps")
        }
        skipped = sum(run.skipped_updates or 0 for run in noted)
        kl, steps = (f"{np.median(values):.3g}" for values in columns.values())
        rows.append([task, kl, steps, str(skipped)])
    return table(["task", "KL / δ", "steps of the search", "skipped updates"], rows)


def _ratios_table(complete: dict[str, np.ndarray], tasks: Sequence[str]) -> str:
    rows = []
    for algorithm, own in complete.items():
        samples = (own,) if algorithm == REFERENCE else (own, complete[REFERENCE])
        aggregates = [
            interval(estimate(of_ratios(statistic), *samples))
            for statistic in (interquartile_mean, mean_over_tasks)
        ]
        by_task = ratios(own, complete[REFERENCE]).mean(axis=0)
        figures = (signed(f"{ratio:.2f}") for ratio in by_task)
        rows.append([ALGORITHMS[algorithm], str(len(own)), *aggregates, *figures])
    header = ["algorithm", "seeds", "IQM", "mean of the ratios", *tasks]
    return table(header, rows)


def _improvement_table(complete: dict[str, np.ndarray]) -> str:
    rows = [
        [
            ALGORITHMS[peer],
            interval(estimate(probability_of_improvement, complete[OURS], complete[peer])),
        ]
        for peer in complete
        if peer != OURS
    ]
    return table([f"{ALGORITHMS[OURS]} over", "probability of improvement"], rows)


def _without_each_task(runs: Sequence[Run], tasks: Sequence[str]) -> str:
    """Return the aggregates of all tasks but one, values alone."""
    shown = (OURS, "ppo")
    statistics = {"IQM": interquartile_mean, "mean of the ratios": mean_over_tasks}
    rows = []
    for left_out in tasks:
        others = [task for task in tasks if task != left_out]
        complete = {name: complete_scores(runs, name, others) for name in (*shown, REFERENCE)}
        reference = complete[REFERENCE]
        cells = [
            signed(f"{of_ratios(statistic)(complete[name], reference):.2f}")
            if len(complete[name])
            else "none"
            for name in shown
            for statistic in statistics.values()
        ]
        better = probability_of_improvement(complete[OURS], reference)
        rows.append([left_out, *cells, f"{better:.2f}"])
    columns = [f"{ALGORITHMS[name]}: {what}" for name in shown for what in statistics]
    last = f"probability that ours beats {ALGORITHMS[REFERENCE]}"
    return table(["without", *columns, last], rows)
