"""Tables and pictures from the raw files alone."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.learning import figures, store, tables
from benchmarks.learning.experiments import ABLATION as ABLATION_RUNS
from benchmarks.learning.experiments import EQUAL_TIME as EQUAL_TIME_RUNS
from benchmarks.learning.experiments import VARIANTS
from benchmarks.learning.store import Run
from benchmarks.learning.suites import ALGORITHMS, CONTESTANTS, OURS, REFERENCE, SUITES

TITLES = {
    "mujoco": "MuJoCo",
    "classic": "Classic control",
    "masked": "Invalid actions",
    "memory": "Hidden velocities",
}
TIME = {
    "mujoco": figures.OVER_MINUTES,
    "classic": figures.OVER_SECONDS,
    "masked": figures.OVER_SECONDS,
    "memory": figures.OVER_MINUTES,
}

HEAD = """# Learning benchmark

Made by `{command}` from the {n_runs} runs that `python -m benchmarks.learning run` had finished.
They took {hours:.2f} CPU hours of learning ({hours_each}).

A score is the final deterministic return: the mean of 20 episodes that training has not seen, with
frozen observation statistics and raw rewards. Tables show mean ± standard deviation (n − 1) over
seeds, and in brackets how many seeds there are.
"""

AGGREGATES = f"""Scores divided by the mean score of {ALGORITHMS[REFERENCE]} on the same task, of
seeds that have a run on every task. IQM is the interquartile mean over tasks and seeds; the last
columns are the ratios of the means. In brackets: 95 % intervals of a bootstrap over the seeds,
stratified by task (20 000 repetitions, percentiles; the divisor is held fixed). Probability of
improvement: that a run of ours beats one of theirs on the same task, averaged over tasks."""

NO_AGGREGATES = """No aggregates here: returns that are negative, or whose zero means nothing, have
no meaningful ratios."""

STEPS_TO_THRESHOLD = """Training steps until the last 20 episodes had the mean return of the
threshold: median over seeds, and how many seeds got there."""

CURVES = """Training return (raw, the policy still exploring), a running mean over {window:.0%} of a
run; line: mean over seeds, band: lowest to highest seed. Time is steps multiplied by the median CPU
time of one, on the kind of processor on which most of a panel's algorithms have runs."""


EQUAL_TIME = f"""## As long as PPO takes

{ALGORITHMS[OURS]} for as many steps as fit into the time in which {ALGORITHMS["ppo"]} takes its
own, schedules set for that length (`python -m benchmarks.learning run --experiment equal_time`).
CPU minutes are of a kind of processor on which both have runs."""

ABLATION = f"""## One part changed at a time

{ALGORITHMS[OURS]} with one setting changed, on the seeds of the ablation (`python -m
benchmarks.learning run --experiment ablation`). Last column: the mean over tasks of the score
divided by that of the setting as it is."""


def make_report(results: Path, experiments: Path, out: Path, *, command: str) -> None:
    """
    Write ``results.csv``, ``report.md`` and the learning curves.

    :param results: folder of the finished runs; any number of them may be missing
    :param experiments: folder of the runs beside the table, likewise
    :param out: folder to write to
    :param command: what made the report
    :raises ValueError: there is no finished run
    """
    runs, broken = store.read_all(results)
    for path in broken:
        print(f"left out, not a finished run: {path}", file=sys.stderr)
    if not runs:
        raise ValueError(f"{results} holds no finished run")
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.csv").write_text(tables.results_csv(runs))
    sections = [_head(runs, command)]
    for suite, tasks in SUITES.items():
        of_suite = [run for run in runs if run.environment in tasks]
        sections.append(_section(suite, of_suite, out))
    longer, _ = store.read_all(experiments / EQUAL_TIME_RUNS)
    if longer:
        sections += [EQUAL_TIME, "", tables.equal_time(runs, longer), ""]
    variants = {name: store.read_all(experiments / ABLATION_RUNS / name)[0] for name in VARIANTS}
    if any(variants.values()):
        sections += [ABLATION, "", tables.ablation(runs, variants), ""]
    (out / "report.md").write_text("\n".join(sections))
    print(f"{len(runs)} runs: {out / 'report.md'}")


def _head(runs: Sequence[Run], command: str) -> str:
    hours: dict[str, float] = defaultdict(float)
    for run in runs:
        hours[run.algorithm] += run.cpu_s / 3600
    each = ", ".join(f"{name} {hours[key]:.2f}" for key, name in ALGORITHMS.items() if key in hours)
    head = HEAD.format(
        command=command, n_runs=len(runs), hours=sum(hours.values()), hours_each=each
    )
    return "\n".join([head, *_of_several_settings(runs)])


def _of_several_settings(runs: Sequence[Run]) -> list[str]:
    """Warn of seeds that cannot be averaged."""
    settings: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        known = settings[run.algorithm, run.environment]
        if run.configuration not in known:
            known.append(run.configuration)
    return [
        f"**Warning: the seeds of {algorithm} on {task} were run with different settings.**\n"
        for (algorithm, task), known in settings.items()
        if len(known) > 1
    ]


def _section(suite: str, runs: Sequence[Run], out: Path) -> str:
    title = f"## {TITLES[suite]}\n"
    if not runs:
        return f"{title}\nNo runs yet.\n"
    tasks, algorithms = list(SUITES[suite]), CONTESTANTS[suite]
    parts = [title, tables.scores_table(runs, tasks, algorithms), ""]
    if suite == "mujoco":
        parts += [
            "### Over all tasks\n",
            AGGREGATES,
            "",
            tables.aggregates(runs, tasks, algorithms),
            "",
        ]
    elif suite in ("masked", "memory"):
        parts += [STEPS_TO_THRESHOLD, "", tables.steps_to_threshold(runs, tasks, algorithms), ""]
    else:
        parts += [NO_AGGREGATES, ""]
    parts += ["### Learning curves\n", CURVES.format(window=figures.WINDOW), ""]
    for axis, name in ((figures.OVER_STEPS, "steps"), (TIME[suite], "time")):
        stem = out / f"{suite}_{name}"
        figures.draw(runs, tasks, axis, stem)
        parts.append(f"![{TITLES[suite]}, return over {name}]({stem.name}.png)\n")
    return "\n".join(parts)
