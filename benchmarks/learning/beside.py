"""The report's sections on our runs beside the tables."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.learning import beside_tables, tables
from benchmarks.learning.changed_defaults import (
    CHANGES,
    CHANGES_IN_WORDS,
    DEFAULTS_STEPS,
    DEFAULTS_TASKS,
)
from benchmarks.learning.experiments import (
    ABLATION,
    DEFAULTS,
    EQUAL_TIME,
    FRESH,
    OWN,
    OWN_FRESH,
    SEEDS,
    VARIANTS,
    jobs,
)
from benchmarks.learning.marks import marks_table
from benchmarks.learning.pace import Paces
from benchmarks.learning.selection import Job, finished
from benchmarks.learning.store import Run
from benchmarks.learning.suites import ABLATION_TASKS, ALGORITHMS, CONTESTANTS, OURS, SUITES

COMMAND = "python -m benchmarks.learning run --experiment"

FRESH_TEXT = f"""## On seeds that no choice was made on

{ALGORITHMS[OURS]} on seeds {SEEDS[FRESH][0]} to {SEEDS[FRESH][-1]} (`{COMMAND}
{FRESH}`), the others' runs as above."""

OWN_TEXT = f"""## With a setting of their own

On these tasks, on which our setting fails on some seeds of the table, one setting for all costs
much. {ALGORITHMS[OURS]} with changes found on tuning seeds, on the seeds of the table (`{COMMAND}
{OWN}`), which these tasks were chosen by, and on others (`{OWN_FRESH}`)."""

EQUAL_TIME_TEXT = f"""## As long as PPO takes

{ALGORITHMS[OURS]} for as many steps as fit into the time in which {ALGORITHMS["ppo"]} takes its
own, schedules set for that length, the mean at the end of as many policies (`{COMMAND}
{EQUAL_TIME}`). CPU minutes are steps at the paces of the pictures over time, on that one machine.
Ours steps four environments in turn, {ALGORITHMS["ppo"]} one, on Swimmer-v5 four, as their settings
are."""

BY_MACHINE_TEXT = """On another machine the same steps take another share of PPO's time. CPU minutes
of the runs themselves (means, and how many there are), which need not have run alone:"""

ABLATION_TEXT = f"""## One part changed at a time

{ALGORITHMS[OURS]} with one setting changed, on seeds {SEEDS[ABLATION][0]} to {SEEDS[ABLATION][-1]}
of the table, after whose runs our setting was last changed (`{COMMAND}
{ABLATION}`). Last column: the mean over tasks and seeds of the score divided by the mean score of
our setting on the same task and seeds, and in brackets its 95 % interval, as above."""

DEFAULTS_TEXT = f"""## The constructor's defaults

{ALGORITHMS[OURS]} with one environment, on MuJoCo with `VecNormalize` for
{DEFAULTS_STEPS[ABLATION_TASKS[0]]:,} steps, on classic control for the table's, and nothing
named but what stands here: the first row, and one change of it at a time, on tuning seeds
(`{COMMAND} {DEFAULTS}`). Where actions are discrete, `clipped_actions` changes nothing. Last
column: as above, of the MuJoCo tasks."""


@dataclass(frozen=True)
class Beside:
    """
    Finished runs beside the tables.

    :param fresh: on seeds that no choice was made on
    :param own: with settings of their own for single tasks
    :param own_fresh: the same on seeds that no choice was made on
    :param longer: as long as PPO takes
    :param variants: with one part changed, by name of ``VARIANTS``
    :param defaults: with the constructor's defaults, by name of ``CHANGES``
    """

    fresh: list[Run]
    own: list[Run]
    own_fresh: list[Run]
    longer: list[Run]
    variants: dict[str, list[Run]]
    defaults: dict[str, list[Run]]

    def all_runs(self) -> list[Run]:
        """Return them all."""
        by_name = itertools.chain(*self.variants.values(), *self.defaults.values())
        return [*self.fresh, *self.own, *self.own_fresh, *self.longer, *by_name]


def read(folder: Path) -> Beside:
    """
    Read what is finished.

    :param folder: of the experiments; any number of runs may be missing
    :return: the runs
    :raises ValueError: one was made with other settings than today's
    """
    fresh, own, own_fresh, longer, changed, of_defaults = (
        jobs(name, folder, [*SUITES["mujoco"], *SUITES["classic"]], None)
        for name in (FRESH, OWN, OWN_FRESH, EQUAL_TIME, ABLATION, DEFAULTS)
    )
    return Beside(
        finished(fresh),
        finished(own),
        finished(own_fresh),
        finished(longer),
        _by_folder(changed, VARIANTS),
        _by_folder(of_defaults, CHANGES),
    )


def _by_folder(of_experiment: Sequence[Job], names: Iterable[str]) -> dict[str, list[Run]]:
    """Read runs whose tasks' folders lie in one of a name each."""
    return {
        name: finished([job for job in of_experiment if job.path.parents[1].name == name])
        for name in names
    }


def sections(
    runs: Sequence[Run], extra: Beside, paces: Paces, idle: Mapping[str, float]
) -> list[str]:
    """
    Write the sections there are runs for.

    :param runs: finished runs of the tables
    :param extra: those beside them
    :param paces: that turn steps into time
    :param idle: mean return of an agent that never acts, by MuJoCo task
    :return: pieces of Markdown
    """
    others = [run for run in runs if run.algorithm != OURS]
    ours = [run for run in runs if run.algorithm == OURS and run.seed in SEEDS[ABLATION]]
    variants = {"our setting": ours, **{VARIANTS[name]: of for name, of in extra.variants.items()}}
    defaults = {CHANGES_IN_WORDS[name]: of for name, of in extra.defaults.items()}
    found = [
        (FRESH_TEXT, extra.fresh, lambda: _fresh([*extra.fresh, *others], idle)),
        (
            OWN_TEXT,
            extra.own,
            lambda: beside_tables.own_settings(runs, extra.own, extra.own_fresh),
        ),
        (EQUAL_TIME_TEXT, extra.longer, lambda: _equal_time(runs, extra.longer, paces)),
        (
            ABLATION_TEXT,
            any(extra.variants.values()),
            lambda: beside_tables.one_changed(variants, ABLATION_TASKS, ABLATION_TASKS),
        ),
        (
            DEFAULTS_TEXT,
            any(extra.defaults.values()),
            lambda: beside_tables.one_changed(defaults, DEFAULTS_TASKS, ABLATION_TASKS),
        ),
    ]
    return [piece for text, there, table in found if there for piece in (text, "", table(), "")]


def _fresh(runs: Sequence[Run], idle: Mapping[str, float]) -> str:
    over_all = tables.over_all_tasks(runs, list(SUITES["mujoco"]), CONTESTANTS["mujoco"])
    return "\n\n".join([marks_table(runs, [], idle), over_all])


def _equal_time(runs: Sequence[Run], longer: Sequence[Run], paces: Paces) -> str:
    scores, times = (
        beside_tables.equal_time(runs, longer, paces),
        beside_tables.times_by_machine(runs, longer),
    )
    return "\n\n".join([scores, BY_MACHINE_TEXT, times])
