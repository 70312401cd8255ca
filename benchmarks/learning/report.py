"""Tables and pictures from the raw files alone."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.learning import beside, figures, selection, tables
from benchmarks.learning.aggregates import BOOTSTRAP_REPETITIONS
from benchmarks.learning.configurations import FIRST_NOISE, trpo_mujoco
from benchmarks.learning.marks import beside_idle, marks_table
from benchmarks.learning.pace import Paces, seconds_per_step, short_runs, spread
from benchmarks.learning.store import Run
from benchmarks.learning.suites import (
    ALGORITHMS,
    ALL_OF_OURS,
    CONTESTANTS,
    REFERENCE,
    SUITES,
    TASKS,
)

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

Made by `{command}` from the {n_runs} runs that `python -m benchmarks.learning run` had finished,
{n_beside} of them beside the tables (`--experiment`). They took {hours:.2f} CPU hours of learning
({hours_each}); tuning is not counted. Ours were made by the code of {commits}. {machines}

A score is the final deterministic return: the mean of 20 episodes that training has not seen, with
frozen observation statistics and raw rewards. Tables show mean ± standard deviation (n − 1) over
seeds, and in brackets how many seeds there are. All algorithms round the steps up to whole
rollouts.

Our settings were tuned for these tasks and steps, on seeds of 100 and up, but not on these alone.
For the MuJoCo tasks they are the third that ran on seeds 0 to 4: what the first two showed there
led to `average_last`, the mean of the last parameters that a training ends with, and to the first
policy's standard deviation. This is {noise} divided by the dimensions of an action, so
`log_std_init` is {log_stds}; all else is one setting, γ of Swimmer-v5 apart. That CartPole-v1 does
better on raw observations was first seen on seeds 1 to 4, and on the tasks with hidden velocities
ours ran on seeds 0 to 4 before and was then improved (`TUNING.md` has all scores).

The others' settings are what their projects publish (`configurations.py`), for earlier versions of
the tasks and in part for longer trainings: PPO's on Ant are for 10 M steps, on classic control for
1 M steps of Acrobot and LunarLanderContinuous and 100 000 of CartPole, A2C's for 500 000 steps of
CartPole and Acrobot, 1 M of Pendulum and 5 M of LunarLanderContinuous, `sb3_contrib.TRPO`'s for
100 000 of CartPole; RecurrentPPO's on HalfCheetah are PPO's for 1 M steps with velocities,
MaskablePPO's an example of its documentation.
"""

ONE_MACHINE = "All runs are of one kind of machine, {}."

MACHINES = """All runs together are of several kinds of machines, {}, so that times in `results.csv`
cannot be compared; the paces of the learning curves can."""

MARKS = """## What was asked, and what there is

The marks are the project's own, named with others' published scores in view. Ant's is far below
these: Ant-v5 observes contact forces, which earlier versions left out or had as zeros. Steps are
those of the tables, rounded up to whole rollouts. "In PPO's time" is so at the paces of one
machine; the section "As long as PPO takes" has what the runs took. "Open": runs are missing.
"""

AGGREGATES = f"""Scores divided by the mean score of {ALGORITHMS[REFERENCE]} on the same task, of
seeds that have a run on every task. IQM is the interquartile mean over tasks and seeds; the last
columns are the ratios of the means. In brackets: 95 % intervals of a bootstrap over the seeds,
stratified by task ({BOOTSTRAP_REPETITIONS:,} repetitions, percentiles), in which the runs that the
others are divided by are drawn as well. Probability of improvement: that a run of ours beats one
of theirs on the same task, averaged over tasks."""

NO_AGGREGATES = """No aggregates here: returns that are negative, or whose zero means nothing, have
no meaningful ratios."""

STEPS_TO_THRESHOLD = """Training steps until the last 20 episodes had the mean return of the
threshold: median over seeds, and how many seeds got there."""

CURVES = """In the pictures: training return (raw, the policy still exploring), a running mean over
{window:.0%} of a run; line: mean over seeds, band: lowest to highest seed."""

TIME_AXIS = """Time is steps at the median pace of short runs; those of all algorithms were made in
turn on one machine ({cpu}; `python -m benchmarks.learning run --steps 10240 --seeds 0,1,2 --jobs 1
--out benchmarks/learning/paces`). Runs of the same differ by {spread:.0%} of their median (the
longest less the shortest; median over algorithms and tasks)."""

NO_TIME_AXIS = """No picture over time: no paces are measured (`benchmarks/learning/pace.py`)."""

UPDATES = """Of the updates behind our runs the tables have medians over all of the realised KL
divided by δ and of the steps of the line search, and how many were skipped since their data were
not finite."""


@dataclass(frozen=True)
class TimeAxis:
    """
    How steps become time.

    :param paces: seconds per step
    :param text: what is said of them
    """

    paces: Paces
    text: str

    @classmethod
    def of(cls, short: Sequence[Run]) -> "TimeAxis":
        """
        Measure it by short runs.

        :param short: runs on one machine; without any there is no time axis
        :return: the axis
        :raises ValueError: as :func:`~benchmarks.learning.pace.seconds_per_step`
        """
        if not short:
            return cls({}, NO_TIME_AXIS)
        text = TIME_AXIS.format(cpu=short[0].machine["cpu"], spread=spread(short))
        return cls(seconds_per_step(short), text)


def make_report(
    results: Path,
    experiments: Path,
    paces: Path,
    *,
    idle: Mapping[str, float],
    out: Path,
    command: str,
) -> None:
    """
    Write ``results.csv``, ``report.md`` and the learning curves.

    :param results: folder of the finished runs; any number of them may be missing
    :param experiments: folder of the runs beside the table, likewise
    :param paces: folder of short runs that tell how long a step takes, likewise
    :param idle: mean return of an agent that never acts, by MuJoCo task; may be empty
    :param out: folder to write to
    :param command: what made the report
    :raises ValueError: there is no finished run; one, or a short run, was made with other settings
        than today's; the paces are of several machines
    """
    jobs = selection.reported_jobs(results, list(ALGORITHMS), TASKS, None)
    runs = selection.finished(jobs)
    if not runs:
        raise ValueError(f"{results} holds no finished run of the tables' tasks and seeds")
    time_axis = TimeAxis.of(short_runs(paces))
    extra = beside.read(experiments)
    out.mkdir(parents=True, exist_ok=True)
    sections = [
        _head(runs, extra.all_runs(), command),
        "\n\n".join([CURVES.format(window=figures.WINDOW), time_axis.text, UPDATES]),
        "",
        MARKS,
        marks_table(runs, extra.longer, idle),
        "",
        *([beside_idle(runs, idle), ""] if idle else []),
    ]
    for suite, tasks in SUITES.items():
        of_suite = [run for run in runs if run.environment in tasks]
        sections.append(_section(suite, of_suite, time_axis, out))
    sections += beside.sections(runs, extra, time_axis.paces, idle)
    (out / "results.csv").write_text(tables.results_csv(runs))
    (out / "report.md").write_text("\n".join(sections))
    print(f"{len(runs) + len(extra.all_runs())} runs: {out / 'report.md'}")


def _head(of_tables: Sequence[Run], others: Sequence[Run], command: str) -> str:
    runs = [*of_tables, *others]
    hours: dict[str, float] = defaultdict(float)
    for run in runs:
        hours[run.algorithm] += run.cpu_s / 3600
    each = ", ".join(f"{name} {hours[key]:.2f}" for key, name in ALGORITHMS.items() if key in hours)
    of_ours = [run for run in runs if run.algorithm in ALL_OF_OURS]
    cpus = [run.machine["cpu"] for run in runs]
    return HEAD.format(
        command=command,
        n_runs=len(runs),
        n_beside=len(others),
        hours=sum(hours.values()),
        hours_each=each,
        machines=(ONE_MACHINE if len(set(cpus)) == 1 else MACHINES).format(_counted(cpus)),
        commits=_counted(map(_commit, of_ours)) or "no commit",
        noise=FIRST_NOISE,
        log_stds=_log_stds(),
    )


def _commit(run: Run) -> str:
    """Say which code made a run."""
    name = (run.versions.get("sb3_trpo_commit") or "unknown")[:7]
    return f"{name} and changes" if run.versions.get("sb3_trpo_changed_since") else name


def _counted(names: Iterable[str]) -> str:
    """Say how many runs there are of each."""
    counts = Counter(names).items()
    return ", ".join(f"{name} ({n} run{'s' * (n > 1)})" for name, n in counts)


def _log_stds() -> str:
    """Say what the rule of the first noise gives."""
    by_value: dict[float, list[str]] = defaultdict(list)
    for task in SUITES["mujoco"]:
        by_value[trpo_mujoco(task)["policy_kwargs"]["log_std_init"]].append(task)
    return ", ".join(f"{value} ({', '.join(tasks)})" for value, tasks in by_value.items())


def _section(suite: str, runs: Sequence[Run], time_axis: TimeAxis, out: Path) -> str:
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
            tables.over_all_tasks(runs, tasks, algorithms),
            "",
        ]
    elif suite in ("masked", "memory"):
        parts += [STEPS_TO_THRESHOLD, "", tables.steps_to_threshold(runs, tasks, algorithms), ""]
    else:
        parts += [NO_AGGREGATES, ""]
    if any(run.updates for run in runs):
        parts += [f"### Updates of {ALGORITHMS[algorithms[0]]}\n"]
        parts += [tables.updates(runs, tasks), ""]
    return "\n".join([*parts, *_curves(suite, runs, time_axis, out)])


def _curves(suite: str, runs: Sequence[Run], time_axis: TimeAxis, out: Path) -> list[str]:
    parts = ["### Learning curves\n"]
    axes = {"steps": figures.OVER_STEPS}
    if time_axis.paces:
        axes["time"] = TIME[suite]
    for name, axis in axes.items():
        stem = out / f"{suite}_{name}"
        figures.draw(runs, list(SUITES[suite]), axis, time_axis.paces, stem)
        parts.append(f"![{TITLES[suite]}, return over {name}]({stem.name}.png)\n")
    return parts
